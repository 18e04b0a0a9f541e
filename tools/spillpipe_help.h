/* SPDX-License-Identifier: MIT */
/* What --help and --version print. */
#ifndef SPILLPIPE_HELP_H
#define SPILLPIPE_HELP_H

#include <stdbool.h>

#include "spillway/options.h"

enum { HELP_FLAG_BYTES = 64 };

/* The long option of a row of the options table: "memory_tier" is "memory-tier". */
void help_flag(const spw_option_info *info, char out[HELP_FLAG_BYTES]);

/* Whether the setting is on or off, so that its option may stand alone. */
bool help_is_switch(const spw_option_info *info);

/* Row `index` of the library's options table; 0, or -errno past the end. */
int help_row(size_t index, spw_option_info *info);

/* Both write to standard output and return the program's exit code. */
int help_print(void);
int help_version(void);

#endif
