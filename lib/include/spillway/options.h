/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_OPTIONS_H
#define SPILLWAY_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A set of named settings with defaults, read from SPILLWAY_* variables and set through calls. */
typedef struct spw_options spw_options;

/** All settings at their defaults. Returns 0 or -ENOMEM. */
SPILLWAY_API int spw_options_open(spw_options **out);

/** NULL is harmless. */
SPILLWAY_API void spw_options_close(spw_options *options);

/**
 * Reads every SPILLWAY_* variable of the environment (nothing in a set-uid
 * program). A variable that is empty, or blank, counts as unset. Returns 0, or -EINVAL when a value
 * is refused: that setting keeps what it had, the others are read all the same, and
 * spw_options_message() names the first refused variable, its value and what is allowed. So a
 * program may go on with -EINVAL where it sets what was refused by itself. An unknown
 * SPILLWAY_* name leaves a message, with a known name that is like it; it is refused
 * (-EINVAL) only in strict mode.
 */
SPILLWAY_API int spw_options_load(spw_options *options);

/**
 * Sets one setting by name ("memory") or variable ("SPILLWAY_MEMORY") from text.
 * Returns 0, -ENOENT (no such setting) or -EINVAL (value refused); then nothing
 * changed and spw_options_message() says why.
 */
SPILLWAY_API int spw_options_set(spw_options *options, const char *name, const char *value);

/** The last message, a full sentence, "" when there is none. Valid until the next call on
 * `options`. */
SPILLWAY_API const char *spw_options_message(const spw_options *options);

/** One row of the options table; the text is static. */
typedef struct spw_option_info {
    size_t size;          /**< sizeof(spw_option_info); set to what was filled in */
    const char *name;     /**< "memory" */
    const char *variable; /**< "SPILLWAY_MEMORY" */
    const char *fallback; /**< the default as text, "auto" where it is computed */
    const char *allowed;  /**< what a value may look like */
    const char *help;     /**< one line */
    int live;             /**< 1: spw_pool_set() takes it while the pool is open */
} spw_option_info;

/**
 * Row `index` of the table. Returns 0, -ENOENT past the last row, or -EINVAL (`info` is NULL, or a
 * size that this library does not know).
 */
SPILLWAY_API int spw_options_describe(size_t index, spw_option_info *info);

/**
 * The present value as text, and where it came from: "default", "environment" or
 * "call" (`origin` may be NULL). Valid until the next change. NULL: no such setting.
 */
SPILLWAY_API const char *spw_options_value(const spw_options *options, const char *name,
                                           const char **origin);

#ifdef __cplusplus
}
#endif
#endif
