/* SPDX-License-Identifier: MIT */
#include "spillpipe_console.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../lib/text.h"

enum {
    LINE_BYTES = 1024,
    COLUMNS_MAX = 512,    /* of a progress line */
    COLUMNS_DEFAULT = 80, /* where the terminal does not say */
};

/* What cannot be written is dropped: nobody can be told. */
static void write_all(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
            if (poll(&fd, 1, 1000) == 1)
                continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

/* Blanks over the progress line; needs no terminal type. Caller holds the lock. */
static void clear_locked(struct console *console)
{
    char blank[COLUMNS_MAX + 2];
    size_t n = console->drawn;
    if (n == 0)
        return;
    blank[0] = '\r';
    memset(blank + 1, ' ', n);
    blank[n + 1] = '\r';
    write_all(blank, n + 2);
    console->drawn = 0;
}

void console_init(struct console *console, bool quiet, enum console_progress progress)
{
    *console = (struct console){.quiet = quiet, .progress = progress};
    pthread_mutex_init(&console->lock, NULL);
}

void console_say(struct console *console, enum spw_log_level level, const char *format, ...)
{
    char text[LINE_BYTES], clean[LINE_BYTES], line[LINE_BYTES + 64];
    if (console->quiet && level > SPILLWAY_LOG_ERROR)
        return;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    text_copy_clean(clean, sizeof(clean), text);
    int n = snprintf(line, sizeof(line), "spillpipe: %s%s%s\n",
                     level == SPILLWAY_LOG_ERROR ? "" : spw_log_level_name(level),
                     level == SPILLWAY_LOG_ERROR ? "" : ": ", clean);
    pthread_mutex_lock(&console->lock);
    clear_locked(console);
    write_all(line, (size_t)n);
    pthread_mutex_unlock(&console->lock);
}

void console_print(struct console *console, const char *line)
{
    pthread_mutex_lock(&console->lock);
    clear_locked(console);
    write_all(line, strlen(line));
    write_all("\n", 1);
    pthread_mutex_unlock(&console->lock);
}

void console_log(void *context, enum spw_log_level level, const char *line)
{
    struct console *console = context;
    console_say(console, level, "%s", line);
    if (level == SPILLWAY_LOG_ERROR)
        atomic_store(&console->library_error, true);
}

size_t console_columns(const struct console *console)
{
    struct winsize size;
    if (console->progress != CONSOLE_REDRAW)
        return COLUMNS_MAX;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_DEFAULT - 1;
    /* The last column stays free: writing there wraps on some terminals. */
    size_t columns = (size_t)size.ws_col - 1;
    return columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
}

void console_progress(struct console *console, const char *line)
{
    char out[2 * COLUMNS_MAX + 4];
    if (console->progress == CONSOLE_NO_PROGRESS)
        return;
    size_t len = strnlen(line, console_columns(console));
    if (console->progress == CONSOLE_APPEND) {
        int n = snprintf(out, sizeof(out), "spillpipe: %.*s\n", (int)len, line);
        pthread_mutex_lock(&console->lock);
        write_all(out, (size_t)n);
        pthread_mutex_unlock(&console->lock);
        return;
    }
    pid_t foreground = tcgetpgrp(STDERR_FILENO);
    if (foreground != -1 && foreground != getpgrp())
        return;
    pthread_mutex_lock(&console->lock);
    size_t pad = console->drawn > len ? console->drawn - len : 0;
    int n = snprintf(out, sizeof(out), "\r%.*s%*s", (int)len, line, (int)pad, "");
    write_all(out, (size_t)n);
    console->drawn = len;
    pthread_mutex_unlock(&console->lock);
}

void console_clear(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    clear_locked(console);
    pthread_mutex_unlock(&console->lock);
}
