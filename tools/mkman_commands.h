/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_TOOLS_MKMAN_COMMANDS_H
#define SPILLWAY_TOOLS_MKMAN_COMMANDS_H

/* The subcommands of spillbench with their options, from the tables that --help prints. */
void roff_commands(void);

#endif
