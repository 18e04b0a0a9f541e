/* SPDX-License-Identifier: MIT */
/* Where messages go: one sink per pool, with a level and a rate limit. */
#ifndef SPILLWAY_LIB_LOG_H
#define SPILLWAY_LIB_LOG_H

#include <stdatomic.h>
#include <stdint.h>

#include "os.h"
#include "spillway/log.h"

/* At most this many lines per LOG_WINDOW_NS; the next line after says how many were left out. */
enum { LOG_LINES_PER_WINDOW = 20 };
#define LOG_WINDOW_NS UINT64_C(1000000000)

struct log {
    spw_log_fn *fn; /* NULL: silent */
    void *context;
    _Atomic enum spw_log_level level; /* may be changed at any time */
    const struct os *os;
    _Atomic uint64_t window_start_ns;
    _Atomic uint32_t lines;
    _Atomic uint64_t suppressed;
};

void log_init(struct log *log, const struct os *os, spw_log_fn *fn, void *context,
              enum spw_log_level level);

/* One line of at most 512 bytes; control characters in it (from file names) are replaced by '?'. */
void log_line(struct log *log, enum spw_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
