/* SPDX-License-Identifier: MIT */
/*
 * Standard error: messages and the progress line share it, so both go through
 * here. Whatever comes from outside (file names, values) is shown without its
 * control characters. Calls may come from any thread.
 */
#ifndef SPILLPIPE_CONSOLE_H
#define SPILLPIPE_CONSOLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "spillway/log.h"

enum console_progress {
    CONSOLE_NO_PROGRESS,
    CONSOLE_REDRAW, /* one line on a terminal, drawn over */
    CONSOLE_APPEND, /* asked for, and no terminal: one line after the other */
};

struct console {
    pthread_mutex_t lock;
    bool quiet; /* errors only */
    enum console_progress progress;
    size_t drawn;               /* columns that the progress line covers now; guarded by lock */
    _Atomic bool library_error; /* the library has told of an error */
};

void console_init(struct console *console, bool quiet, enum console_progress progress);

/* "spillpipe: TEXT", below errors "spillpipe: warning: TEXT" and not when quiet; one write. */
void console_say(struct console *console, enum spw_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line that was asked for (-v, --stats -): also when quiet, as it is. */
void console_print(struct console *console, const char *line);

/* The library's messages; `context` is the console. */
void console_log(void *context, enum spw_log_level level, const char *line);

/* Columns that a progress line may cover now. */
size_t console_columns(const struct console *console);

/* Draws the progress line anew; nothing while the program is in the background. */
void console_progress(struct console *console, const char *line);

/* Removes the progress line, if there is one. */
void console_clear(struct console *console);

#endif
