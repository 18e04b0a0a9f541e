/* SPDX-License-Identifier: MIT */
/* Looks at a run from within: its memory, its pool, and what the kernel says of pressure. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pressure.h"
#include "spillway/pool.h"

enum { LOOK_MS = 20, TEXT_BYTES = 4096 };

static const char trigger[] = "some 200000 2000000"; /* with its NUL */

struct pressure_watcher {
    pthread_t thread;
    struct pressure_record *record;
    spw_pool *pool;
    int trigger_fd, above_fd, status_fd;
    uint64_t decisions; /* noted so far */
    _Atomic bool stop;
};

static uint64_t value_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void read_text(int fd, char text[TEXT_BYTES])
{
    ssize_t len = fd < 0 ? 0 : pread(fd, text, TEXT_BYTES - 1, 0);

    text[len > 0 ? len : 0] = '\0';
}

static double since_s(const struct pressure_record *record, uint64_t ns)
{
    uint64_t begin_ns = atomic_load(&record->begin_ns);

    return ((double)ns - (double)begin_ns) / 1e9;
}

static void note_decisions(struct pressure_watcher *watcher)
{
    struct pressure_record *record = watcher->record;
    spw_decision decisions[SPILLWAY_DECISIONS_KEPT];
    long count;

    decisions[0].size = sizeof decisions[0];
    count = spw_pool_decisions(watcher->pool, watcher->decisions + 1, decisions,
                               SPILLWAY_DECISIONS_KEPT);
    for (long i = 0; i < count; i++) {
        const spw_decision *from = &decisions[i];
        struct pressure_decision *to = &record->decisions[record->decision_count];

        watcher->decisions = from->number;
        if (strcmp(from->action, "watch") == 0)
            snprintf(record->source, sizeof record->source, "%.*s", (int)strcspn(from->reason, ","),
                     from->reason);
        if (strcmp(from->regulator, "pressure") != 0 || record->decision_count == DECISIONS_MAX)
            continue;
        to->at_s = since_s(record, from->time_ns);
        to->before_bytes = from->budget_before_bytes;
        to->budget_bytes = from->budget_bytes;
        memcpy(to->action, from->action, sizeof to->action);
        memcpy(to->reason, from->reason, sizeof to->reason);
        record->decision_count++;
    }
}

static void note_moment(struct pressure_watcher *watcher)
{
    struct pressure_record *record = watcher->record;
    spw_stats stats = {.size = sizeof stats};
    char text[TEXT_BYTES];
    struct moment now = {.at_s = since_s(record, now_ns()),
                         .hog_bytes = atomic_load(&record->hog_now_bytes)};

    read_text(watcher->status_fd, text);
    now.rss_bytes = value_of(text, "VmRSS:") << 10;
    now.swapped_bytes = value_of(text, "VmSwap:") << 10;
    read_text(watcher->above_fd, text);
    now.waited_us = value_of(text, "total="); /* the first line's */
    if (watcher->pool && spw_pool_stats(watcher->pool, &stats) == 0) {
        now.used_bytes = stats.used_bytes;
        now.budget_bytes = stats.budget_bytes;
        note_decisions(watcher);
    }
    if (record->moment_count < MOMENTS_MAX)
        record->moments[record->moment_count++] = now;
}

static void *watcher_main(void *context)
{
    struct pressure_watcher *watcher = context;
    struct pressure_record *record = watcher->record;
    uint64_t looked_ns = 0;

    while (!atomic_load(&watcher->stop)) {
        struct pollfd told = {.fd = watcher->trigger_fd, .events = POLLPRI};

        if (poll(&told, 1, LOOK_MS) > 0 && (told.revents & POLLPRI) &&
            record->event_count < EVENTS_MAX && atomic_load(&record->begin_ns))
            record->events_s[record->event_count++] = since_s(record, now_ns());
        if (told.revents & POLLERR)
            watcher->trigger_fd = -1;
        if (now_ns() - looked_ns < LOOK_MS * UINT64_C(1000000) || !atomic_load(&record->begin_ns))
            continue;
        looked_ns = now_ns();
        note_moment(watcher);
    }
    return NULL;
}

static void watcher_free(struct pressure_watcher *watcher)
{
    const int fds[] = {watcher->trigger_fd, watcher->above_fd, watcher->status_fd};

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(watcher);
}

struct pressure_watcher *pressure_watch_begin(const struct pressure_files *files, spw_pool *pool,
                                              struct pressure_record *record, int *err)
{
    struct pressure_watcher *watcher = calloc(1, sizeof *watcher);

    *err = -ENOMEM;
    if (!watcher)
        return NULL;
    watcher->record = record;
    watcher->pool = pool;
    watcher->trigger_fd = open(files->own, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    *err = watcher->trigger_fd < 0 ? -errno : 0;
    watcher->above_fd = open(files->above, O_RDONLY | O_CLOEXEC);
    watcher->status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (!*err && write(watcher->trigger_fd, trigger, sizeof trigger) < 0)
        *err = -errno;
    if (!*err)
        *err = -pthread_create(&watcher->thread, NULL, watcher_main, watcher);
    if (*err) {
        watcher_free(watcher);
        return NULL;
    }
    return watcher;
}

void pressure_watch_end(struct pressure_watcher *watcher)
{
    atomic_store(&watcher->stop, true);
    pthread_join(watcher->thread, NULL);
    if (watcher->pool)
        note_decisions(watcher);
    watcher_free(watcher);
}
