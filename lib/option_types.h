/* SPDX-License-Identifier: MIT */
/* What values of an option may look like: text to a member of struct settings, and back. */
#ifndef SPILLWAY_LIB_OPTION_TYPES_H
#define SPILLWAY_LIB_OPTION_TYPES_H

#include <stddef.h>

#include "options_table.h"
#include "settings.h"

struct option_type;

struct option_row {
    const char *name;
    const char *variable;
    const struct option_type *type;
    size_t offset; /* of the member in struct settings */
    const char *fallback;
    const char *live; /* who takes a change while the pool is open; NULL: nobody */
    const char *allowed;
    const char *help;
};

#define OPTIONS_COUNT_ROW(name, variable, ...) OPTION_##variable,
enum option_index { OPTIONS_TABLE(OPTIONS_COUNT_ROW) OPTION_COUNT };
#undef OPTIONS_COUNT_ROW

extern const struct option_row option_rows[OPTION_COUNT];

/*
 * Reads a value into its member. Blanks at the ends do not matter; control characters are refused.
 * Where settings->strict is set, doubtful values are refused as well (64MB, which may mean
 * two things; relative directories). Returns 0, or -EINVAL and changes nothing.
 */
int option_parse(const struct option_row *row, const char *text, struct settings *settings);

/* The member as canonical text, which option_parse() takes back. */
void option_format(const struct option_row *row, const struct settings *settings,
                   char out[SETTINGS_TEXT]);

#endif
