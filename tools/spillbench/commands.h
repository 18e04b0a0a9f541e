/* SPDX-License-Identifier: MIT */
/* The subcommands, in the order of --help. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_COMMANDS_H
#define SPILLWAY_TOOLS_SPILLBENCH_COMMANDS_H

#include "args.h"

extern const struct command raw_command, stress_command, compare_command, scale_command,
    latency_command, tiers_command, crowd_command, pressure_command, bars_command;

/* Ended by NULL. */
extern const struct command *const commands[];

#endif
