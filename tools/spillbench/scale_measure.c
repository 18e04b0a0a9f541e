/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ends.h"
#include "load.h"
#include "scale.h"

enum {
    GROUP = 256,   /* entries made before the clock starts */
    IN_TURN = 256, /* entries of one queue before the next one's */
    AT_ONCE = 64   /* entries a drain may take */
};

/* Small, so that a few hundred KiB are enough to spill. */
static const uint64_t spilling_budget_bytes = UINT64_C(4) << 20;

/* One thread and its queues. */
struct lane {
    const struct scale_point *point;
    pthread_barrier_t *barrier;
    pthread_t thread;
    struct ends *ends;
    spw_bytes source; /* what all its entries are slices of: their content costs nothing */
    void *memory;
    uint64_t extend_ns, drain_ns, done; /* of the last round */
    int error;
    bool stop; /* read after the barrier */
};

/* Own CPU time where nothing waits: on a shared machine others take the processor in between. */
static uint64_t lane_now_ns(const struct lane *lane)
{
    struct timespec now;

    if (lane->point->kind == SCALE_SPILLING)
        return now_ns();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* One entry for each queue in turn, from queue `at` on. The clock runs only while the library
 * works. */
static int lane_extend(struct lane *lane, uint64_t at, uint64_t count)
{
    spw_bytes made[GROUP];

    while (count > 0) {
        unsigned n = count < GROUP ? (unsigned)count : GROUP;
        for (unsigned i = 0; i < n; i++)
            made[i] = spw_bytes_clone(&lane->source);
        uint64_t start_ns = lane_now_ns(lane);
        for (unsigned i = 0; i < n; i++) {
            int rc = spw_writer_extend(lane->ends[at].writer, &made[i], 1, 0);
            if (rc != 0) {
                for (; i < n; i++)
                    spw_bytes_release(&made[i]);
                return rc;
            }
            if (++at == lane->point->queues)
                at = 0;
        }
        lane->extend_ns += lane_now_ns(lane) - start_ns;
        count -= n;
    }
    return 0;
}

/* `count` entries of one queue, releases included. */
static int lane_drain(struct lane *lane, spw_reader *reader, uint64_t count)
{
    spw_bytes out[AT_ONCE];
    uint64_t start_ns = lane_now_ns(lane);

    while (count > 0) {
        size_t n = count < AT_ONCE ? (size_t)count : AT_ONCE;
        long got = spw_reader_drain(reader, out, n);
        if (got == -EAGAIN)
            got = spw_reader_drain_wait(reader, out, n, SPILLWAY_FOREVER);
        if (got <= 0)
            return got == 0 ? -EPIPE : (int)got;
        for (long i = 0; i < got; i++)
            spw_bytes_release(&out[i]);
        count -= (uint64_t)got;
    }
    lane->drain_ns += lane_now_ns(lane) - start_ns;
    return 0;
}

static int lane_round(struct lane *lane)
{
    const struct scale_point *point = lane->point;
    int rc = 0;

    lane->extend_ns = lane->drain_ns = lane->done = 0;
    while (rc == 0 && lane->done < point->operations) {
        rc = lane_extend(lane, 0, (uint64_t)point->queues * IN_TURN);
        for (unsigned i = 0; rc == 0 && i < point->queues; i++)
            rc = lane_drain(lane, lane->ends[i].reader, IN_TURN);
        lane->done += (uint64_t)point->queues * IN_TURN;
    }
    return rc;
}

/* Every lane takes part in every round, also after an error: the others wait for it. */
static void *lane_main(void *context)
{
    struct lane *lane = context;

    lane->error = lane_extend(lane, 0, lane->point->depth);
    for (;;) {
        pthread_barrier_wait(lane->barrier);
        if (lane->stop)
            return NULL;
        if (lane->error == 0)
            lane->error = lane_round(lane);
        pthread_barrier_wait(lane->barrier);
    }
}

static int lane_open(struct lane *lane, spw_pool *pool, const spw_options *options)
{
    const struct scale_point *point = lane->point;
    int rc = 0;

    lane->memory = malloc(point->entry_bytes);
    lane->ends = calloc(point->queues, sizeof(*lane->ends));
    if (!lane->memory || !lane->ends)
        return -ENOMEM;
    chunk_fill(lane->memory, point->entry_bytes, 1);
    rc = spw_bytes_wrap(lane->memory, point->entry_bytes, NULL, NULL, NULL, &lane->source);
    for (unsigned i = 0; rc == 0 && i < point->queues; i++)
        rc = ends_make(&lane->ends[i], pool, options);
    return rc;
}

static void lane_close(struct lane *lane)
{
    for (unsigned i = 0; lane->ends && i < lane->point->queues; i++)
        ends_drop(&lane->ends[i]);
    spw_bytes_release(&lane->source);
    free(lane->ends);
}

struct scale {
    struct scale_point point;
    spw_pool *pool; /* NULL: plain */
    spw_options *options;
    struct lane *lanes;
    pthread_barrier_t barrier; /* the lanes, and who asks for rounds */
    unsigned running;          /* lanes with a thread */
};

static spw_pool *open_pool(const struct scale_point *point, spw_options **options,
                           struct measure *measure)
{
    /* Sizes as numbers: nothing may spill where it should not, and no slab is used. */
    char bytes[32];
    uint64_t whole = point->depth * point->entry_bytes * point->threads;
    uint64_t budget = 4 * whole + (UINT64_C(1) << 30);
    snprintf(bytes, sizeof(bytes), "%" PRIu64, budget / 2);
    const char *const resident[] = {"threshold", bytes, "memory_tier", "off", NULL};
    const char *const spilling[] = {"threshold", "64KiB", "head_reserve", "64KiB", "memory_tier",
                                    "off",       NULL};
    bool small = point->kind == SCALE_SPILLING;

    return load_pool(measure, small ? spilling_budget_bytes : budget, point->dir, options,
                     small ? spilling : resident);
}

static int start_lanes(struct scale *scale)
{
    const struct scale_point *point = &scale->point;
    int rc = -pthread_barrier_init(&scale->barrier, NULL, point->threads + 1);

    for (unsigned i = 0; rc == 0 && i < point->threads; i++) {
        struct lane *lane = &scale->lanes[i];
        lane->barrier = &scale->barrier;
        rc = -pthread_create(&lane->thread, NULL, lane_main, lane);
        if (rc == 0)
            scale->running++;
    }
    return rc;
}

static struct scale *scale_open(const struct scale_point *point, struct measure *measure)
{
    struct scale *scale = calloc(1, sizeof(*scale));
    int rc = scale ? 0 : -ENOMEM;

    if (scale) {
        scale->point = *point;
        if (point->kind != SCALE_PLAIN &&
            !(scale->pool = open_pool(point, &scale->options, measure))) {
            free(scale);
            return NULL;
        }
        scale->lanes = calloc(point->threads, sizeof(*scale->lanes));
        rc = scale->lanes ? 0 : -ENOMEM;
    }
    for (unsigned i = 0; rc == 0 && i < point->threads; i++) {
        scale->lanes[i].point = &scale->point;
        rc = lane_open(&scale->lanes[i], scale->pool, scale->options);
    }
    if (rc == 0)
        rc = start_lanes(scale);
    if (rc == 0)
        return scale;
    /* A process whose threads cannot all start ends soon: those that wait for the others are left
     * behind, and with them all that they use. */
    measure_fail(measure, rc, "%u queues of %u threads: %s", point->queues, point->threads,
                 spw_error_text(rc));
    return NULL;
}

static int scale_round(struct scale *scale, struct scale_cost *cost)
{
    double extend = 0, drain = 0, done = 0;
    int rc = 0;

    pthread_barrier_wait(&scale->barrier);
    double cpu = cpu_s();
    pthread_barrier_wait(&scale->barrier);
    cpu = cpu_s() - cpu;
    for (unsigned i = 0; i < scale->point.threads; i++) {
        const struct lane *lane = &scale->lanes[i];
        extend += (double)lane->extend_ns;
        drain += (double)lane->drain_ns;
        done += (double)lane->done;
        rc = rc ? rc : lane->error;
    }
    if (cost && rc == 0) {
        series_add(&cost->extend_ns, extend / done);
        series_add(&cost->drain_ns, drain / done);
        series_add(&cost->cpu_ns, cpu * 1e9 / done);
    }
    return rc;
}

static void scale_close(struct scale *scale, struct scale_cost *cost)
{
    const struct scale_point *point = &scale->point;
    spw_stats stats = {.size = sizeof(stats)};

    for (unsigned i = 0; i < point->threads; i++)
        scale->lanes[i].stop = true;
    pthread_barrier_wait(&scale->barrier);
    for (unsigned i = 0; i < point->threads; i++)
        pthread_join(scale->lanes[i].thread, NULL);
    if (cost && scale->pool && spw_pool_stats(scale->pool, &stats) == 0)
        cost->spilled_bytes = stats.spilled_bytes_total;
    for (unsigned i = 0; i < point->threads; i++)
        lane_close(&scale->lanes[i]);
    spw_pool_close(scale->pool);
    /* A pool that still writes reads the entries' memory. */
    for (unsigned i = 0; i < point->threads; i++)
        free(scale->lanes[i].memory);
    pthread_barrier_destroy(&scale->barrier);
    spw_options_close(scale->options);
    free(scale->lanes);
    free(scale);
}

enum { POINTS_MOST = 8 };

struct job {
    const struct scale_point *points;
    unsigned count;
    unsigned rounds;
    struct scale_cost *costs; /* in memory shared with the parent */
};

static void run_child(void *context, struct measure *measure)
{
    const struct job *job = context;
    struct scale *scales[POINTS_MOST] = {NULL};
    int rc = 0;

    measure_begin(measure);
    for (unsigned i = 0; i < job->count; i++)
        if (!(scales[i] = scale_open(&job->points[i], measure)))
            return;
    /* The first round warms up. */
    for (unsigned round = 0; rc == 0 && round <= job->rounds; round++)
        for (unsigned i = 0; rc == 0 && i < job->count; i++)
            rc = scale_round(scales[i], round > 0 ? &job->costs[i] : NULL);
    for (unsigned i = 0; i < job->count; i++)
        scale_close(scales[i], &job->costs[i]);
    measure_end(measure);
    if (rc != 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

bool scale_run(const struct scale_point *points, unsigned count, unsigned rounds,
               struct scale_cost *costs, char *why, size_t why_bytes)
{
    size_t bytes = POINTS_MOST * sizeof(*costs);
    struct job job = {points, count, rounds, shared_open(bytes)};
    struct child_plan child = {.name = "scale", .run = run_child, .context = &job};
    struct measure *measure = job.costs && count <= POINTS_MOST ? child_run(&child) : NULL;
    bool done = measure && measure->error == 0;

    if (done)
        memcpy(costs, job.costs, count * sizeof(*costs));
    else
        snprintf(why, why_bytes, "%s", measure ? measure->why : "no memory");
    child_release(measure);
    shared_close(job.costs, bytes);
    return done;
}
