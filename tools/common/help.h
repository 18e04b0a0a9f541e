/* SPDX-License-Identifier: MIT */
/* What --help of every tool is made with; the library's settings as long options. */
#ifndef SPILLWAY_TOOLS_COMMON_HELP_H
#define SPILLWAY_TOOLS_COMMON_HELP_H

#include <stdbool.h>
#include <stddef.h>

#include "spillway/options.h"

enum { HELP_FLAG_BYTES = 64 };

/* The long option of a row of the options table: "memory_tier" is "memory-tier". */
void help_flag(const spw_option_info *info, char out[HELP_FLAG_BYTES]);

/* Whether the setting is on or off, so that its option may stand alone. */
bool help_is_switch(const spw_option_info *info);

/* Row `index` of the library's options table; 0, or -errno past the end. */
int help_row(size_t index, spw_option_info *info);

/* Words from column `indent` on, within 80 columns; the line has `used` columns already. */
void help_wrapped(const char *text, size_t indent, size_t used);

/* Whether all of standard output was taken; says on stderr when not. */
bool help_finish(const char *program);

#endif
