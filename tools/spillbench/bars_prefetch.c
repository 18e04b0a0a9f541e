/* SPDX-License-Identifier: MIT */
/* The bar of reading ahead: a reader that is slower than the device finds what it comes for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bars.h"
#include "flow.h"
#include "load.h"

enum { QUEUES_MAX = 8, AT_ONCE = 16, WRITES_END_MOST_S = 30, SLIP_NS = 2000000 };

static const double asked_share = 0.99, pace_share = 0.5;
/* Fetching from memory moves nothing, so that its rate says nothing: as fast as fast disks. */
static const double pace_most = 2e9;
static const char asked_text[] = ">= 99 % on time, 0 wasted";

struct course {
    const struct bars *bars;
    const char *engine, *memory_tier, *where;
    unsigned queues;
};

/* In memory shared with the parent. */
struct outcome {
    double full_rate, paced_rate; /* bytes a second, of all queues together */
    uint64_t fetched, on_time, wasted;
    uint64_t read_most_ns; /* the slowest read of the device meanwhile */
    char engine[16];
};

struct context {
    const struct course *course;
    struct outcome *outcome;
};

struct queues {
    struct flow flows[QUEUES_MAX];
    unsigned count;
};

/* ---- moving ---- */

static int produce(struct queues *queues, uint64_t bytes)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < queues->count; i++)
        rc = flow_produce(&queues->flows[i], bytes / queues->count, NULL);
    return rc;
}

/* Waits until all that was spilled has been written. */
static int writes_end(spw_pool *pool, spw_stats *stats)
{
    static const struct timespec pause = {.tv_nsec = 100000};
    double until_s = now_s() + WRITES_END_MOST_S;
    int rc;

    stats->size = sizeof(*stats);
    while ((rc = spw_pool_stats(pool, stats)) == 0 && stats->in_flight_bytes > 0) {
        if (now_s() > until_s)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    return rc;
}

/* Until the reader may go on; a machine that stalls makes no reader that catches up. */
static void pace_keep(uint64_t *start_ns, uint64_t bytes, double rate)
{
    uint64_t due_ns = *start_ns + (uint64_t)((double)bytes / rate * 1e9), now = now_ns();
    struct timespec due = {(time_t)(due_ns / 1000000000), (long)(due_ns % 1000000000)};

    if (now > due_ns + SLIP_NS)
        *start_ns += now - due_ns;
    else if (now < due_ns)
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
            ;
}

/* All queues in turns, a few entries of each; `rate` 0: as fast as it goes. */
static int consume(struct queues *queues, double rate)
{
    uint64_t start_ns = now_ns(), bytes = 0;
    spw_bytes out[AT_ONCE];

    for (unsigned open = queues->count; open > 0;) {
        open = 0;
        for (unsigned i = 0; i < queues->count; i++) {
            struct flow *flow = &queues->flows[i];
            if (flow->due_bytes == 0)
                continue;
            long got = spw_reader_drain_wait(flow->ends.reader, out, AT_ONCE, SPILLWAY_FOREVER);
            if (got <= 0)
                return got < 0 ? (int)got : -EPIPE;
            for (long k = 0; k < got; k++)
                bytes += out[k].len, flow->due_bytes -= out[k].len;
            if (rate > 0) /* busy with them */
                pace_keep(&start_ns, bytes, rate);
            for (long k = 0; k < got; k++)
                spw_bytes_release(&out[k]);
            open += flow->due_bytes > 0;
        }
    }
    return 0;
}

/* ---- measuring ---- */

/* The slowest of what came to the histogram between two looks. */
static uint64_t slowest_ns(const spw_histogram *before, const spw_histogram *after)
{
    for (unsigned i = SPILLWAY_HISTOGRAM_BUCKETS; i-- > 0;)
        if (after->counts[i] > before->counts[i])
            return spw_histogram_bound(i) < after->highest ? spw_histogram_bound(i)
                                                           : after->highest;
    return 0;
}

static int full_round(struct queues *queues, spw_pool *pool, uint64_t bytes,
                      struct outcome *outcome)
{
    spw_stats stats;
    int rc = produce(queues, bytes);

    if (rc == 0)
        rc = writes_end(pool, &stats);
    double start_s = now_s();
    if (rc == 0)
        rc = consume(queues, 0);
    outcome->full_rate = (double)bytes / (now_s() - start_s);
    return rc;
}

static int paced_round(struct queues *queues, spw_pool *pool, uint64_t bytes,
                       struct outcome *outcome)
{
    spw_stats before, after = {.size = sizeof(after)};
    spw_histograms then = {.size = sizeof(then)}, now = {.size = sizeof(now)};
    double rate = pace_share * outcome->full_rate;
    int rc = produce(queues, bytes);

    if (rate > pace_most)
        rate = pace_most;
    if (rc == 0)
        rc = writes_end(pool, &before);
    if (rc == 0)
        rc = spw_pool_histograms(pool, &then);
    double start_s = now_s();
    if (rc == 0)
        rc = consume(queues, rate);
    outcome->paced_rate = (double)bytes / (now_s() - start_s);
    if (rc == 0)
        rc = spw_pool_stats(pool, &after);
    if (rc == 0)
        rc = spw_pool_histograms(pool, &now);
    if (rc != 0)
        return rc;
    outcome->fetched = after.fetched_runs_total - before.fetched_runs_total;
    outcome->on_time = after.on_time_runs_total - before.on_time_runs_total;
    outcome->wasted = after.wasted_runs_total - before.wasted_runs_total;
    outcome->read_most_ns = slowest_ns(&then.device_read_ns, &now.device_read_ns);
    memcpy(outcome->engine, after.engine, sizeof(outcome->engine));
    return 0;
}

static void run_child(void *argument, struct measure *measure)
{
    const struct context *context = argument;
    const struct course *course = context->course;
    const struct bars *bars = course->bars;
    const char *const settings[] = {"engine", course->engine, "memory_tier", course->memory_tier,
                                    NULL};
    struct queues queues = {.count = course->queues};
    spw_options *options;
    spw_pool *pool = load_pool(measure, bars->budget_bytes, bars->dir, &options, settings);
    int rc = pool ? 0 : measure->error;

    for (unsigned i = 0; rc == 0 && i < queues.count; i++) {
        queues.flows[i] = (struct flow){.pool = pool, .chunk_bytes = 64 << 10};
        rc = ends_make(&queues.flows[i].ends, pool, options);
    }
    if (rc == 0)
        rc = full_round(&queues, pool, bars->data_bytes / 2, context->outcome);
    if (rc == 0)
        rc = paced_round(&queues, pool, bars->data_bytes / 2, context->outcome);
    if (rc != 0 && measure->error == 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
    for (unsigned i = 0; i < queues.count; i++)
        flow_close(&queues.flows[i]);
    if (!pool)
        return;
    spw_pool_close(pool);
    spw_options_close(options);
}

/* ---- rows ---- */

static void outcome_row(struct bars *bars, const char *what, const struct outcome *outcome)
{
    double share = (double)outcome->on_time / (double)outcome->fetched;
    /* A quarter of the budget is read ahead at most. */
    double lead_ns = (double)bars->budget_bytes / 4 / outcome->paced_rate * 1e9;
    bool reached = at_least(share, asked_share) && outcome->wasted == 0;
    bool machine = outcome->wasted == 0 && (double)outcome->read_most_ns > lead_ns / 2;
    char why[160];

    snprintf(
        why, sizeof(why),
        "one read took the device %.1f ms; this reader takes what can be read ahead in %.1f ms",
        (double)outcome->read_most_ns / 1e6, lead_ns / 1e6);
    bars_row(bars, what, asked_text, verdict_of(reached, machine), reached || !machine ? NULL : why,
             "%.2f %% of %llu runs, %llu wasted; %.2f of %.2f GB/s, slowest read %.1f ms",
             100 * share, (unsigned long long)outcome->fetched, (unsigned long long)outcome->wasted,
             gigabytes(outcome->paced_rate), gigabytes(outcome->full_rate),
             (double)outcome->read_most_ns / 1e6);
}

static void course_run(struct course *course, struct bars *bars)
{
    struct outcome *shared = shared_open(sizeof(*shared)), outcome;
    struct context context = {course, shared};
    struct child_plan child = {.name = "bars: prefetch", .run = run_child, .context = &context};
    char what[128], why[256];

    course->bars = bars;
    snprintf(what, sizeof(what), "prefetch, reader slower than the device: %s, %u queue%s",
             course->where, course->queues, course->queues == 1 ? "" : "s");
    if (!shared_run(&child, shared, &outcome, sizeof(outcome), why, sizeof(why)))
        bars_failed(bars, what, asked_text, why);
    else if (*course->memory_tier == 'o' && strcmp(outcome.engine, course->engine) != 0)
        bars_limited(bars, what, asked_text, "io_uring is refused here");
    else
        outcome_row(bars, what, &outcome);
}

static void run(struct bars *bars)
{
    struct course courses[] = {
        {.engine = "io_uring", .memory_tier = "off", .where = "io_uring", .queues = 1},
        {.engine = "io_uring", .memory_tier = "off", .where = "io_uring", .queues = QUEUES_MAX},
        {.engine = "threads", .memory_tier = "off", .where = "threads", .queues = 1},
        {.engine = "threads", .memory_tier = "off", .where = "threads", .queues = QUEUES_MAX},
        {.engine = "auto", .memory_tier = "256MiB", .where = "memory, then disk", .queues = 2},
    };

    for (unsigned i = 0; i < sizeof(courses) / sizeof(courses[0]); i++) {
        progress("bars: prefetch, %s, %u queues", courses[i].where, courses[i].queues);
        course_run(&courses[i], bars);
    }
}

const struct bars_group bars_prefetch = {"prefetch", run};
