/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

enum {
    LINE_BYTES = 512 + 1,
    LEFT_OUT_BYTES = 64, /* room for the note about suppressed lines */
};

void log_init(struct log *log, const struct os *os, spw_log_fn *fn, void *context,
              enum spw_log_level level)
{
    log->fn = fn;
    log->context = context;
    log->level = level;
    log->os = os;
    atomic_init(&log->window_start_ns, 0);
    atomic_init(&log->lines, 0);
    atomic_init(&log->suppressed, 0);
}

/*
 * Counts one line in the present window. Relaxed order throughout: the counters guard no
 * other memory, and two threads that meet at the start of a window may at worst let a few lines
 * more through.
 */
static bool admit_line(struct log *log)
{
    uint64_t now_ns = log->os->clock_ns();
    uint64_t start_ns = atomic_load_explicit(&log->window_start_ns, memory_order_relaxed);

    if (now_ns > start_ns && now_ns - start_ns >= LOG_WINDOW_NS &&
        atomic_compare_exchange_strong_explicit(&log->window_start_ns, &start_ns, now_ns,
                                                memory_order_relaxed, memory_order_relaxed))
        atomic_store_explicit(&log->lines, 0, memory_order_relaxed);
    if (atomic_load_explicit(&log->lines, memory_order_relaxed) < LOG_LINES_PER_WINDOW &&
        atomic_fetch_add_explicit(&log->lines, 1, memory_order_relaxed) < LOG_LINES_PER_WINDOW)
        return true;
    atomic_fetch_add_explicit(&log->suppressed, 1, memory_order_relaxed);
    return false;
}

void log_line(struct log *log, enum spw_log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    size_t room = sizeof(line);
    uint64_t left_out;
    va_list args;
    int saved_errno = errno, n;

    if (log->fn == NULL || level == SPILLWAY_LOG_OFF || level > log->level)
        return;
    if (!admit_line(log))
        return;
    left_out = atomic_exchange_explicit(&log->suppressed, 0, memory_order_relaxed);
    if (left_out > 0)
        room -= LEFT_OUT_BYTES;
    va_start(args, format);
    n = vsnprintf(line, room, format, args);
    va_end(args);
    if (n < 0)
        (void)snprintf(line, room, "%s", format);
    else if ((size_t)n >= room)
        text_mark_cut(line, room - 1);
    text_clean(line);
    if (left_out > 0)
        (void)snprintf(line + strlen(line), LEFT_OUT_BYTES, " (%llu messages before it left out)",
                       (unsigned long long)left_out);
    log->fn(log->context, level, line);
    errno = saved_errno;
}

const char *spw_log_level_name(enum spw_log_level level)
{
    switch (level) {
    case SPILLWAY_LOG_OFF:
        return "off";
    case SPILLWAY_LOG_ERROR:
        return "error";
    case SPILLWAY_LOG_WARN:
        return "warning";
    case SPILLWAY_LOG_INFO:
        return "info";
    case SPILLWAY_LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}

void spw_log_stderr(void *context, enum spw_log_level level, const char *line)
{
    char clean[LINE_BYTES], out[LINE_BYTES + 64];
    int saved_errno = errno, n;

    (void)context;
    text_copy_clean(clean, sizeof(clean), line);
    n = snprintf(out, sizeof(out), "spillway: %s: %s\n", spw_log_level_name(level), clean);
    if (n > 0) {
        while (os_linux.write(STDERR_FILENO, out, (size_t)n) == -EINTR)
            ;
    }
    errno = saved_errno;
}
