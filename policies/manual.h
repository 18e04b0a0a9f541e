/* SPDX-License-Identifier: MIT */
/* The manual policy over another system than the real one, for tests. */
#ifndef SPILLWAY_POLICIES_MANUAL_H
#define SPILLWAY_POLICIES_MANUAL_H

#include "../lib/os.h"
#include "spillway/policies.h"

/* As spw_manual_open(). */
int manual_open_on(const struct os *os, const spw_manual_config *config, spw_regulator **out);

#endif
