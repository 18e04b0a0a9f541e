/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_POLICIES_COMPRESS_H
#define SPILLWAY_POLICIES_COMPRESS_H

#include "../lib/os.h"
#include "spillway/policies.h"

/* As spw_compress_open(), with the clock of this operating system. */
int compress_open_with(const struct os *os, const spw_compress_config *config, spw_coder **out);

#endif
