/* SPDX-License-Identifier: MIT */
/* What the library knows of an spw_options beyond its public face. */
#ifndef SPILLWAY_LIB_OPTIONS_H
#define SPILLWAY_LIB_OPTIONS_H

#include "option_types.h"
#include "spillway/alloc.h"
#include "spillway/options.h"

enum option_origin { ORIGIN_DEFAULT, ORIGIN_ENVIRONMENT, ORIGIN_CALL, ORIGIN_CONTROL };

enum { OPTIONS_MESSAGE_BYTES = 1024 };

struct spw_options {
    const spw_allocator *allocator;
    struct settings settings;
    struct {
        char text[SETTINGS_TEXT]; /* canonical */
        enum option_origin origin;
    } values[OPTION_COUNT];
    char message[OPTIONS_MESSAGE_BYTES];
};

/* spw_options_open() with an allocator. */
int options_open(const spw_allocator *allocator, spw_options **out);

/* All values and the message of `from`. */
void options_copy(spw_options *to, const spw_options *from);

/* spw_options_load() from an array of "NAME=value", NULL at the end. */
int options_load_from(spw_options *options, char *const *environment);

/* Sets one row; a refusal leaves a message that calls the setting `shown`. */
int options_apply(spw_options *options, const struct option_row *row, const char *shown,
                  const char *value, enum option_origin origin);

/* spw_options_set() on somebody's behalf; `options` and `name` are there. */
int options_set(spw_options *options, const char *name, const char *value,
                enum option_origin origin);

/* By name or variable; NULL when there is no such row. */
const struct option_row *options_find(const char *name);

/* The row whose name (or variable, where `name` starts as one) takes the fewest changes of a
 * letter; NULL when none is like it. */
const struct option_row *options_nearest(const char *name);

#endif
