/* SPDX-License-Identifier: MIT */
/* Which calls of a queue are timed. No test says how long any takes. */
#include <pthread.h>

#include "../lib/queue.h"
#include "../lib/stopwatch.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

enum { CALLS = 8 * STOPWATCH_PERIOD };

static spw_histograms histograms_of(const struct bed *bed)
{
    spw_histograms histograms = {.size = sizeof(histograms)};
    cr_assert_eq(spw_pool_histograms(bed->pool, &histograms), 0);
    return histograms;
}

static void give(const struct ends *ends, size_t len)
{
    spw_bytes bytes = stream_piece(0, len);
    cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
}

static long take(const struct ends *ends)
{
    spw_bytes bytes;
    long count = spw_reader_drain_wait(ends->reader, &bytes, 1, SPILLWAY_FOREVER);
    cr_assert_eq(count, 1);
    spw_bytes_release(&bytes);
    return count;
}

/* So many quiet pairs of calls; then so many extends that spill in the end, and the drains. */
static void traffic(struct bed *bed, const char *timing, uint64_t *quiet_extends,
                    uint64_t *quiet_drains, uint64_t *quiet_holds)
{
    const struct setting settings[] = {{"memory", "8MiB"},
                                       {"tiers", "disk"},
                                       {"engine", "threads"},
                                       {"timing", timing},
                                       {NULL, NULL}};
    bed_open(bed, settings, 1);
    struct ends ends = ends_open(bed);
    for (unsigned i = 0; i < CALLS; i++) {
        give(&ends, 100);
        take(&ends);
    }
    spw_histograms quiet = histograms_of(bed);
    *quiet_extends = spw_histogram_count(&quiet.extend_ns);
    *quiet_drains = spw_histogram_count(&quiet.drain_ns);
    *quiet_holds = spw_histogram_count(&quiet.lock_hold_ns);
    for (unsigned i = 0; i < 160; i++)
        give(&ends, 100000);
    cr_assert_gt(bed_stats(bed).spilled_runs_total + bed_stats(bed).in_flight_bytes, 0);
    for (unsigned i = 0; i < 160; i++)
        take(&ends);
    ends_close(&ends);
}

Test(timing, all)
{
    struct bed bed;
    uint64_t extends, drains, holds;
    traffic(&bed, "all", &extends, &drains, &holds);
    cr_assert_eq(extends, CALLS);
    cr_assert_eq(drains, CALLS);
    cr_assert_geq(holds, 2 * CALLS); /* more where a block was made without the lock */
    spw_histograms after = histograms_of(&bed);
    cr_assert_eq(spw_histogram_count(&after.extend_ns), CALLS + 160);
    cr_assert_eq(spw_histogram_count(&after.drain_ns), CALLS + 160);
    cr_assert_gt(bed_stats(&bed).lock_hold_cpu_peak_ns, 0);
    bed_close(&bed);
}

Test(timing, off)
{
    struct bed bed;
    uint64_t extends, drains, holds;
    traffic(&bed, "off", &extends, &drains, &holds);
    spw_histograms after = histograms_of(&bed);
    cr_assert_eq(spw_histogram_count(&after.extend_ns) + spw_histogram_count(&after.drain_ns), 0);
    cr_assert_eq(spw_histogram_count(&after.lock_hold_ns), 0);
    cr_assert_eq(bed_stats(&bed).lock_hold_cpu_peak_ns, 0);
    bed_close(&bed);
}

/* Few of the quiet ones, and those that spill or fetch. */
Test(timing, automatic)
{
    struct bed bed;
    uint64_t extends, drains, holds;
    traffic(&bed, "auto", &extends, &drains, &holds);
    cr_assert_eq(extends, CALLS / STOPWATCH_PERIOD);
    cr_assert_eq(drains, CALLS / STOPWATCH_PERIOD);
    cr_assert_geq(holds, extends + drains);
    cr_assert_leq(holds, 2 * (extends + drains));
    spw_histograms after = histograms_of(&bed);
    cr_assert_gt(spw_histogram_count(&after.extend_ns), extends);
    cr_assert_gt(spw_histogram_count(&after.drain_ns), drains);
    cr_assert_gt(spw_histogram_count(&after.lock_hold_ns), holds);
    cr_assert_eq(bed_stats(&bed).lock_hold_cpu_peak_ns, 0, "processor time is only for all");
    bed_close(&bed);
}

/* ---- who waits ---- */

struct producer {
    struct ends ends;
    _Atomic unsigned made;
};

static void *producer_main(void *context)
{
    struct producer *producer = context;
    for (unsigned i = 0; i < 100; i++) {
        give(&producer->ends, 100000);
        atomic_fetch_add(&producer->made, 1);
    }
    return NULL;
}

static const struct setting four[] = {
    {"memory", "4MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};

/* The extend that waited says how long: at least as long as we slept meanwhile. */
Test(timing, an_extend_that_waits_is_timed)
{
    struct bed bed;
    pthread_t thread;
    static struct producer producer;
    bed_open(&bed, four, 1);
    producer.ends = ends_open(&bed);
    gate_shut(FAULT_PWRITE);
    cr_assert_eq(pthread_create(&thread, NULL, producer_main, &producer), 0);
    gate_wait(1);
    for (unsigned tries = 0; atomic_load(&bed.pool->account.waiters) == 0 && tries < 30000; tries++)
        nap();
    cr_assert_eq(atomic_load(&bed.pool->account.waiters), 1);
    for (unsigned i = 0; i < 50; i++)
        nap();
    gate_open();
    pthread_join(thread, NULL);
    spw_histograms after = histograms_of(&bed);
    cr_assert_geq(after.extend_ns.highest, 50 * 1000000);
    ends_close(&producer.ends);
    bed_close(&bed);
}

static void *reader_main(void *context)
{
    take(context);
    return NULL;
}

static bool someone_sleeps(void *context)
{
    const struct queue *queue = ((const struct ends *)context)->reader->queue;
    pthread_mutex_lock((pthread_mutex_t *)&queue->lock);
    bool sleeps = queue->armed != 0;
    pthread_mutex_unlock((pthread_mutex_t *)&queue->lock);
    return sleeps;
}

/* Who waits for a writer does not drain. */
Test(timing, waiting_for_data_is_no_drain)
{
    static const struct setting settings[] = {
        {"memory", "4MiB"}, {"tiers", "none"}, {"timing", "all"}, {NULL, NULL}};
    struct bed bed;
    pthread_t thread;
    bed_open(&bed, settings, 0);
    struct ends ends = ends_open(&bed);
    cr_assert_eq(pthread_create(&thread, NULL, reader_main, &ends), 0);
    cr_assert(wait_until(someone_sleeps, &ends));
    for (unsigned i = 0; i < 50; i++)
        nap();
    uint64_t woken_ns = bed.pool->os->clock_ns();
    give(&ends, 100);
    pthread_join(thread, NULL);
    uint64_t since_ns = bed.pool->os->clock_ns() - woken_ns;
    spw_histograms after = histograms_of(&bed);
    cr_assert_eq(spw_histogram_count(&after.drain_ns), 1);
    cr_assert_leq(after.drain_ns.highest, since_ns, "no more than since there was something");
    ends_close(&ends);
    bed_close(&bed);
}
