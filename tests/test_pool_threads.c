/* SPDX-License-Identifier: MIT */
/* Writers and readers on threads of their own, at full speed, with constant spilling. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "harness.h"
#include "pool_tools.h"
#include "traffic.h"

#define SECOND_NS UINT64_C(1000000000)

enum { LINES_MAX = 64, BATCH = 16 };

/* How a reader waits. */
enum waiting { WAIT_CALL, WAIT_EVENT, WAIT_CALLBACK, WAITINGS };

struct line {
    spw_pool *pool;
    struct ends ends;
    struct source source;
    struct random random;
    uint64_t bytes; /* that pass through it */
    size_t most;    /* a value */
    enum waiting waiting;
    uint64_t read;
    pthread_t writer, reader;
    /* WAIT_CALLBACK; guarded by the lock */
    pthread_mutex_t lock;
    pthread_cond_t called;
    bool ready;
};

static void *writer_main(void *context)
{
    struct line *line = context;
    enum origin origin = ORIGIN_LOAN;
    while (line->source.mark.at < line->bytes) {
        struct value values[BATCH];
        spw_bytes bytes[BATCH];
        size_t count = 1 + random_below(&line->random, BATCH);
        if (random_percent(&line->random, 10))
            origin = (enum origin)random_below(&line->random, ORIGINS);
        for (size_t i = 0; i < count; i++) {
            size_t len = 1 + random_below(&line->random, line->most);
            int err = source_make(&line->source, &line->random, origin, len, &values[i], &bytes[i]);
            cr_assert_eq(err, 0);
        }
        cr_assert_eq(spw_writer_extend(line->ends.writer, bytes, count, 0), 0);
    }
    line->bytes = line->source.mark.at;
    spw_writer_close(line->ends.writer);
    line->ends.writer = NULL;
    return NULL;
}

static void line_called(void *context)
{
    struct line *line = context;
    pthread_mutex_lock(&line->lock);
    line->ready = true;
    pthread_cond_signal(&line->called);
    pthread_mutex_unlock(&line->lock);
}

static void line_wait(struct line *line)
{
    struct pollfd news = {.events = POLLIN};
    if (line->waiting == WAIT_EVENT) {
        news.fd = spw_reader_event_fd(line->ends.reader);
        cr_assert_eq(poll(&news, 1, 60000), 1, "nobody called");
        return;
    }
    pthread_mutex_lock(&line->lock);
    line->ready = false;
    pthread_mutex_unlock(&line->lock);
    if (spw_reader_arm(line->ends.reader, line_called, line) != 0)
        return;
    pthread_mutex_lock(&line->lock);
    while (!line->ready)
        pthread_cond_wait(&line->called, &line->lock);
    pthread_mutex_unlock(&line->lock);
}

/* On a quiet machine readers keep up and nothing is spilled: so they begin once something is. */
static void wait_for_spill(const struct line *line)
{
    spw_stats stats = {.size = sizeof(stats)};
    for (unsigned i = 0; i < 5000; i++) {
        cr_assert_eq(spw_pool_stats(line->pool, &stats), 0);
        if (stats.spilled_bytes_total > 0)
            return;
        poll(NULL, 0, 1);
    }
}

static void *reader_main(void *context)
{
    struct line *line = context;
    spw_bytes bytes[BATCH];
    wait_for_spill(line);
    for (;;) {
        long count = line->waiting == WAIT_CALL
                         ? spw_reader_drain_wait(line->ends.reader, bytes, BATCH, 60 * SECOND_NS)
                         : spw_reader_drain(line->ends.reader, bytes, BATCH);
        if (count == -EAGAIN && line->waiting != WAIT_CALL) {
            line_wait(line);
            continue;
        }
        if (count == 0)
            return NULL;
        cr_assert_gt(count, 0, "drain: %ld", count);
        for (long i = 0; i < count; i++) {
            cr_assert(content_is(bytes[i].data, line->source.stream, line->read, bytes[i].len),
                      "wrong content at %llu", (unsigned long long)line->read);
            line->read += bytes[i].len;
            spw_bytes_release(&bytes[i]);
        }
    }
}

static spw_stats run_lines(const struct setting *settings, unsigned dirs, unsigned count,
                           uint64_t bytes, size_t most)
{
    static struct line lines[LINES_MAX];
    struct bed bed;
    bed_open(&bed, settings, dirs);
    for (unsigned i = 0; i < count; i++) {
        struct line *line = &lines[i];
        *line = (struct line){.pool = bed.pool,
                              .ends = ends_open(&bed),
                              .random = {i},
                              .bytes = test_scaled(bytes),
                              .most = most,
                              .waiting = (enum waiting)(i % WAITINGS),
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .called = PTHREAD_COND_INITIALIZER};
        source_open(&line->source, bed.pool, i, 64 * KIB);
    }
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(pthread_create(&lines[i].writer, NULL, writer_main, &lines[i]), 0);
        cr_assert_eq(pthread_create(&lines[i].reader, NULL, reader_main, &lines[i]), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(lines[i].writer, NULL);
        pthread_join(lines[i].reader, NULL);
        cr_assert_eq(lines[i].read, lines[i].bytes);
        ends_close(&lines[i].ends);
        source_close(&lines[i].source);
    }
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(loans_out(), 0);
    cr_assert_eq(stats.runs + stats.queues, 0);
    cr_assert_eq(stats.disk_stored_bytes + stats.memory_tier_stored_bytes, 0);
    cr_assert_eq(stats.resident_foreign_bytes + stats.entry_block_bytes, 0);
    cr_assert_gt(stats.spilled_bytes_total, 0);
    bed_close(&bed);
    return stats;
}

Test(pool_threads, disk)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};
    run_lines(settings, 2, 3, 40 * MIB, 20000);
}

Test(pool_threads, ring)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
    run_lines(settings, 1, 3, 40 * MIB, 20000);
}

Test(pool_threads, memory)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"tiers", "memory"}, {"memory_tier", "48MiB"}, {NULL, NULL}};
    run_lines(settings, 0, 3, 40 * MIB, 20000);
}

Test(pool_threads, strict_memory_then_disk)
{
    static const struct setting settings[] = {{"memory", "2MiB"},
                                              {"memory_tier", "4MiB"},
                                              {"seal", "strict"},
                                              {"checksum", "all"},
                                              {NULL, NULL}};
    run_lines(settings, 1, 3, 30 * MIB, 20000);
}

Test(pool_threads, small_entries)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "2MiB"}, {"engine", "threads"}, {NULL, NULL}};
    run_lines(settings, 1, 3, 8 * MIB, 400);
}

Test(pool_threads, full_tiers)
{
    static const struct setting settings[] = {{"memory", "1MiB"},
                                              {"memory_tier", "2MiB"},
                                              {"disk_limit", "4MiB"},
                                              {"engine", "threads"},
                                              {NULL, NULL}};
    run_lines(settings, 1, 3, 20 * MIB, 20000);
}

Test(pool_threads, sixty_four_queues)
{
    static const struct setting settings[] = {
        {"memory", "16MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
    run_lines(settings, 1, 64, 2 * MIB, 20000);
}

/* From the memory tier to disk all the while. */
static void *demoter_main(void *context)
{
    struct bed *bed = context;
    for (unsigned i = 0; i < 400; i++) {
        spw_pool_demote(bed->pool, MIB, NULL);
        nap();
    }
    return NULL;
}

Test(pool_threads, demotion)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "16MiB"}, {"engine", "threads"}, {NULL, NULL}};
    static struct line line;
    struct bed bed;
    pthread_t demoter;
    bed_open(&bed, settings, 1);
    line = (struct line){.pool = bed.pool,
                         .ends = ends_open(&bed),
                         .bytes = test_scaled(60 * MIB),
                         .most = 5000,
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .called = PTHREAD_COND_INITIALIZER};
    source_open(&line.source, bed.pool, 3, 64 * KIB);
    cr_assert_eq(pthread_create(&demoter, NULL, demoter_main, &bed), 0);
    cr_assert_eq(pthread_create(&line.writer, NULL, writer_main, &line), 0);
    cr_assert_eq(pthread_create(&line.reader, NULL, reader_main, &line), 0);
    pthread_join(line.writer, NULL);
    pthread_join(line.reader, NULL);
    pthread_join(demoter, NULL);
    cr_assert_eq(line.read, line.bytes);
    ends_close(&line.ends);
    source_close(&line.source);
    bed_quiet(&bed);
    bed_close(&bed);
}
