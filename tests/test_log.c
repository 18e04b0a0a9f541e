/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/log.h"
#include "fault.h"
#include "harness.h"

struct seen {
    unsigned lines;
    enum spw_log_level level;
    char last[1024];
};

static void remember(void *context, enum spw_log_level level, const char *line)
{
    struct seen *seen = context;

    seen->lines++;
    seen->level = level;
    (void)snprintf(seen->last, sizeof(seen->last), "%s", line);
}

Test(log, levels)
{
    struct seen seen = {0};
    struct log log;
    int level, limit;

    for (limit = SPILLWAY_LOG_OFF; limit <= SPILLWAY_LOG_DEBUG; limit++) {
        log_init(&log, &fault_os, remember, &seen, (enum spw_log_level)limit);
        for (level = SPILLWAY_LOG_OFF; level <= SPILLWAY_LOG_DEBUG; level++) {
            unsigned before = seen.lines;

            log_line(&log, (enum spw_log_level)level, "number %d", level);
            cr_assert_eq(seen.lines - before, level != SPILLWAY_LOG_OFF && level <= limit ? 1u : 0u,
                         "%d at %d", level, limit);
        }
    }
    cr_assert_eq((int)seen.level, SPILLWAY_LOG_DEBUG);
    cr_assert_str_eq(seen.last, "number 4");
}

Test(log, silent_without_a_function)
{
    struct log log;

    log_init(&log, &fault_os, NULL, NULL, SPILLWAY_LOG_DEBUG);
    log_line(&log, SPILLWAY_LOG_ERROR, "nobody hears this");
    cr_assert_eq(atomic_load(&log.lines), 0);
}

Test(log, errno_survives)
{
    struct seen seen = {0};
    struct log log;

    log_init(&log, &fault_os, remember, &seen, SPILLWAY_LOG_DEBUG);
    errno = ENOTTY;
    log_line(&log, SPILLWAY_LOG_ERROR, "%s", "x");
    cr_assert_eq(errno, ENOTTY);
}

Test(log, control_characters)
{
    struct seen seen = {0};
    struct log log;

    log_init(&log, &fault_os, remember, &seen, SPILLWAY_LOG_DEBUG);
    log_line(&log, SPILLWAY_LOG_WARN, "%s", "/tmp/a\nb\x1b[2J\x7f\tc");
    cr_assert_str_eq(seen.last, "/tmp/a?b?[2J??c");
}

Test(log, long_lines_are_cut)
{
    struct seen seen = {0};
    struct log log;
    char text[700];

    memset(text, 'x', sizeof(text));
    text[512] = '\0';
    log_init(&log, &fault_os, remember, &seen, SPILLWAY_LOG_DEBUG);
    log_line(&log, SPILLWAY_LOG_WARN, "%s", text);
    cr_assert_str_eq(seen.last, text);
    text[512] = 'x';
    text[sizeof(text) - 1] = '\0';
    log_line(&log, SPILLWAY_LOG_WARN, "%s", text);
    cr_assert_eq(strlen(seen.last), 512);
    cr_assert_str_eq(seen.last + 509, "...");
}

Test(log, rate_limit)
{
    struct seen seen = {0};
    struct log log;
    char text[700];
    int i;

    fault_clock_set(UINT64_C(5000000000));
    log_init(&log, &fault_os, remember, &seen, SPILLWAY_LOG_DEBUG);
    for (i = 0; i < LOG_LINES_PER_WINDOW + 7; i++)
        log_line(&log, SPILLWAY_LOG_ERROR, "line %d", i);
    cr_assert_eq(seen.lines, LOG_LINES_PER_WINDOW);
    cr_assert_str_eq(seen.last, "line 19");

    fault_clock_advance(LOG_WINDOW_NS - 1);
    log_line(&log, SPILLWAY_LOG_ERROR, "still the same window");
    cr_assert_eq(seen.lines, LOG_LINES_PER_WINDOW);

    fault_clock_advance(1);
    log_line(&log, SPILLWAY_LOG_ERROR, "next");
    cr_assert_eq(seen.lines, LOG_LINES_PER_WINDOW + 1);
    cr_assert_str_eq(seen.last, "next (8 messages before it left out)");
    log_line(&log, SPILLWAY_LOG_ERROR, "after");
    cr_assert_str_eq(seen.last, "after");

    /* the window starts anew, and the note is still there behind a line that is cut */
    for (i = 0; i < LOG_LINES_PER_WINDOW; i++)
        log_line(&log, SPILLWAY_LOG_ERROR, "line %d", i);
    cr_assert_eq(seen.lines, 2 * LOG_LINES_PER_WINDOW);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    fault_clock_advance(LOG_WINDOW_NS);
    log_line(&log, SPILLWAY_LOG_ERROR, "%s", text);
    cr_assert_leq(strlen(seen.last), 512);
    cr_assert_not_null(strstr(seen.last, "... (2 messages before it left out)"));
}

Test(log, lines_below_the_level_cost_nothing)
{
    struct seen seen = {0};
    struct log log;
    int i;

    fault_clock_set(1);
    log_init(&log, &fault_os, remember, &seen, SPILLWAY_LOG_WARN);
    for (i = 0; i < 100; i++)
        log_line(&log, SPILLWAY_LOG_DEBUG, "chatter");
    log_line(&log, SPILLWAY_LOG_ERROR, "heard");
    cr_assert_eq(seen.lines, 1);
    cr_assert_str_eq(seen.last, "heard");
}

struct counter {
    struct log log;
    _Atomic uint64_t heard;
    _Atomic uint64_t told; /* as left out */
};

static void count(void *context, enum spw_log_level level, const char *line)
{
    struct counter *counter = context;
    unsigned long long left_out;
    const char *note = strchr(line, '(');

    (void)level;
    atomic_fetch_add(&counter->heard, 1);
    if (note != NULL && sscanf(note, "(%llu", &left_out) == 1)
        atomic_fetch_add(&counter->told, left_out);
}

enum { TALKERS = 4, LINES_EACH = 2000 };

static void *talk(void *argument)
{
    struct counter *counter = argument;
    int i;

    for (i = 0; i < LINES_EACH; i++) {
        log_line(&counter->log, SPILLWAY_LOG_INFO, "line %d", i);
        if (i % 100 == 0)
            fault_clock_advance(LOG_WINDOW_NS);
    }
    return NULL;
}

Test(log, threads_lose_no_count)
{
    struct counter counter = {0};
    pthread_t threads[TALKERS];
    int i;

    fault_clock_set(1);
    log_init(&counter.log, &fault_os, count, &counter, SPILLWAY_LOG_DEBUG);
    for (i = 0; i < TALKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, talk, &counter), 0);
    for (i = 0; i < TALKERS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(atomic_load(&counter.heard) + atomic_load(&counter.told) +
                     atomic_load(&counter.log.suppressed),
                 (uint64_t)TALKERS * LINES_EACH);
    cr_assert_lt(atomic_load(&counter.heard), (uint64_t)TALKERS * LINES_EACH);
}

Test(log, level_names)
{
    cr_assert_str_eq(spw_log_level_name(SPILLWAY_LOG_ERROR), "error");
    cr_assert_str_eq(spw_log_level_name(SPILLWAY_LOG_WARN), "warning");
    cr_assert_str_eq(spw_log_level_name(SPILLWAY_LOG_INFO), "info");
    cr_assert_str_eq(spw_log_level_name(SPILLWAY_LOG_DEBUG), "debug");
    cr_assert_str_eq(spw_log_level_name((enum spw_log_level)99), "unknown");
}

/* A datagram socket keeps each write apart from the next. */
static void stderr_lines(const char *line, char *out, size_t capacity)
{
    int pair[2], saved;
    ssize_t n;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    saved = dup(STDERR_FILENO);
    cr_assert_geq(dup2(pair[1], STDERR_FILENO), 0);
    errno = ENOTTY;
    spw_log_stderr(NULL, SPILLWAY_LOG_WARN, line);
    (void)dup2(saved, STDERR_FILENO);
    close(saved);
    cr_assert_eq(errno, ENOTTY);
    n = recv(pair[0], out, capacity - 1, MSG_DONTWAIT);
    cr_assert_gt(n, 0);
    out[n] = '\0';
    n = recv(pair[0], out + n, 1, MSG_DONTWAIT);
    cr_assert_eq(n, -1, "more than one write");
    close(pair[0]);
    close(pair[1]);
}

Test(log, stderr_gets_one_write_a_line)
{
    char out[2048], text[1000];

    stderr_lines("all is well", out, sizeof(out));
    cr_assert_str_eq(out, "spillway: warning: all is well\n");
    stderr_lines("two\nlines", out, sizeof(out));
    cr_assert_str_eq(out, "spillway: warning: two?lines\n");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    stderr_lines(text, out, sizeof(out));
    cr_assert_str_eq(out + strlen(out) - 4, "...\n");
}

Test(log, stderr_that_is_closed_does_no_harm)
{
    int saved = dup(STDERR_FILENO);

    close(STDERR_FILENO);
    spw_log_stderr(NULL, SPILLWAY_LOG_WARN, "nobody hears this");
    (void)dup2(saved, STDERR_FILENO);
    close(saved);
}
