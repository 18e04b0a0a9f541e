/* SPDX-License-Identifier: MIT */
/* The policies of one queue. */
#ifndef SPILLWAY_POLICIES_PAIR_H
#define SPILLWAY_POLICIES_PAIR_H

#include "../lib/settings.h"
#include "spillway/policies.h"

/*
 * Those that `settings` name, over `strategy`, with its sizes. What is not wanted is NULL. Takes
 * the strategy over on success: where nothing needs it, it is closed. Returns 0 or -ENOMEM.
 */
int pair_open(spw_strategy *strategy, const struct settings *settings, spw_policy **writer,
              spw_policy **reader);

#endif
