/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_TOOLS_MKMAN_POOLSTAT_H
#define SPILLWAY_TOOLS_MKMAN_POOLSTAT_H

#include <stdbool.h>

/* The line @POOLSTAT_COMMANDS@, @POOLSTAT_OPTIONS@, @POOLSTAT_COLUMNS@ or @DOCTOR_CHECKS@ becomes
 * that table of poolstat's. False: it is none of these. */
bool roff_poolstat(const char *line);

#endif
