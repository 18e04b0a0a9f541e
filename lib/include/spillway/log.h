/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_LOG_H
#define SPILLWAY_LOG_H

#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

enum spw_log_level {
    SPILLWAY_LOG_OFF = 0,
    SPILLWAY_LOG_ERROR, /**< bytes lost, or a tier withdrawn */
    SPILLWAY_LOG_WARN,  /**< a fallback was taken, or a tier is full */
    SPILLWAY_LOG_INFO,  /**< what was chosen at start */
    SPILLWAY_LOG_DEBUG
};

/**
 * Receives one finished line without a newline. Called from any thread, also from such with
 * little stack (take less than 100 KiB), never
 * under a lock of the library; must not call into the pool that logs.
 * The library itself prints nothing.
 */
typedef void spw_log_fn(void *context, enum spw_log_level level, const char *line);

/** A ready spw_log_fn for programs: "spillway: warning: ..." on stderr, one write per line. */
SPILLWAY_API void spw_log_stderr(void *context, enum spw_log_level level, const char *line);

/** "error", "warning", "info" or "debug". Static storage. */
SPILLWAY_API const char *spw_log_level_name(enum spw_log_level level);

#ifdef __cplusplus
}
#endif
#endif
