/* SPDX-License-Identifier: MIT */
/* The threads of a crowd, and what is looked at meanwhile. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../lib/os.h"
#include "../../pool/governor.h"
#include "crowd.h"
#include "ends.h"
#include "load.h"

/* Nobody found anything to do. */
enum { REST_NS = 200000, LOOK_NS = 1000000, TRIM_BYTES = 1 << 20 };

struct job {
    const struct crowd_plan *plan;
    struct crowd_result *result;
};

/* ---- no governor ---- */

static int thread_apart(pthread_t *thread, void *(*run)(void *), void *argument)
{
    return run == governor_main ? -EAGAIN : os_linux.thread(thread, run, argument);
}

/* A system that has no thread for a governor: the library goes on without. */
static const struct os *os_apart(void)
{
    static struct os os;
    os = os_linux;
    os.thread = thread_apart;
    return &os;
}

/* ---- threads ---- */

/* Queues of a thread: those that others leave to it. */
struct hand {
    struct crowd *crowd;
    bool pushes, drains;
    bool greedy, others; /* which of the queues */
    unsigned nth, of;    /* and of these every so many */
    pthread_t thread;
};

static bool is_mine(const struct hand *hand, const struct crowd_lane *lane)
{
    bool greedy = lane->role == CROWD_GREEDY;
    return (greedy ? hand->greedy : hand->others) && lane->id % hand->of == hand->nth;
}

/* One turn of each queue. Returns the bytes moved or -errno; `*left`: there is more to come. */
static int64_t hand_pass(const struct hand *hand, bool *left)
{
    int64_t moved = 0;
    *left = false;
    for (unsigned i = 0; i < hand->crowd->lane_count; i++) {
        struct crowd_lane *lane = &hand->crowd->lanes[i];
        int64_t pushed = 0, drained = 0;
        if (!is_mine(hand, lane))
            continue;
        if (hand->pushes)
            pushed = crowd_push(lane);
        if (hand->drains && pushed >= 0)
            drained = crowd_drain(lane);
        if (pushed < 0 || drained < 0)
            return pushed < 0 ? pushed : drained;
        moved += pushed + drained;
        *left = *left || (hand->pushes && !crowd_pushed(lane)) ||
                (hand->drains && !crowd_drained(lane));
    }
    return moved;
}

static void *hand_main(void *argument)
{
    const struct hand *hand = argument;
    static const struct timespec rest = {.tv_nsec = REST_NS};
    bool left = true;
    while (left && atomic_load(&hand->crowd->error) == 0) {
        int64_t moved = hand_pass(hand, &left);
        int none = 0;
        if (moved < 0)
            atomic_compare_exchange_strong(&hand->crowd->error, &none, (int)moved);
        if (moved == 0 && left)
            nanosleep(&rest, NULL);
    }
    return NULL;
}

/* The greedy have threads of their own, where there are enough. */
static unsigned hands_make(struct crowd *crowd, struct hand *hands)
{
    unsigned threads = crowd->plan->threads, count = 0;
    if (threads == 1) {
        hands[0] = (struct hand){crowd, true, true, true, true, 0, 1, 0};
        return 1;
    }
    for (unsigned side = 0; side < 2; side++) {
        unsigned mine = side == 0 ? threads / 2 : threads - threads / 2;
        unsigned greedy = mine / 2, others = mine - greedy;
        for (unsigned i = 0; i < mine; i++)
            hands[count++] = (struct hand){.crowd = crowd,
                                           .pushes = side == 0,
                                           .drains = side == 1,
                                           .greedy = i < greedy || greedy == 0,
                                           .others = i >= greedy,
                                           .nth = i < greedy ? i : i - greedy,
                                           .of = i < greedy ? greedy : others};
    }
    return count;
}

/* ---- looking on ---- */

struct watch {
    struct crowd *crowd;
    struct crowd_result *result;
    _Atomic bool done;
    pthread_t thread;
};

static bool identity_holds(const spw_stats *stats)
{
    return stats->used_bytes ==
               stats->resident_foreign_bytes + stats->entry_block_bytes + stats->buffer_bytes &&
           stats->buffer_bytes == stats->slab_bytes + stats->staging_bytes + stats->reading_bytes +
                                      stats->loaded_bytes + stats->lent_bytes + stats->warm_bytes +
                                      stats->reserve_bytes;
}

static void *watch_main(void *argument)
{
    struct watch *watch = argument;
    static const struct timespec pause = {.tv_nsec = LOOK_NS};
    while (!atomic_load(&watch->done)) {
        spw_stats stats = {.size = sizeof(stats)};
        if (spw_pool_stats(watch->crowd->pool, &stats) == 0) {
            watch->result->samples++;
            watch->result->identity_broken += !identity_holds(&stats);
        }
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ---- the run ---- */

static int run_threads(struct crowd *crowd, struct crowd_result *result)
{
    struct hand hands[CROWD_THREADS_MAX];
    struct watch watch = {.crowd = crowd, .result = result};
    unsigned count = hands_make(crowd, hands), started = 0;
    int rc = -pthread_create(&watch.thread, NULL, watch_main, &watch);
    if (rc != 0)
        return rc;
    while (rc == 0 && started < count) {
        rc = -pthread_create(&hands[started].thread, NULL, hand_main, &hands[started]);
        started += rc == 0;
    }
    if (rc != 0)
        atomic_store(&crowd->error, rc);
    for (unsigned i = 0; i < started; i++)
        pthread_join(hands[i].thread, NULL);
    atomic_store(&watch.done, true);
    pthread_join(watch.thread, NULL);
    return atomic_load(&crowd->error);
}

static void sum_up(const struct crowd *crowd, struct crowd_result *result)
{
    spw_histograms histograms = {.size = sizeof(histograms)};
    for (unsigned i = 0; i < crowd->lane_count; i++) {
        const struct crowd_lane *lane = &crowd->lanes[i];
        struct crowd_outcome *role = &result->roles[lane->role];
        role->queues++;
        role->bytes += lane->drained_bytes;
        role->waits += lane->found.waits;
        if (role->extend_most_ns < lane->extend_most_ns)
            role->extend_most_ns = lane->extend_most_ns;
        if (role->wait_most_ns < lane->found.wait_most_ns)
            role->wait_most_ns = lane->found.wait_most_ns;
        if (role->passed_by_bytes < lane->found.passed_by_bytes)
            role->passed_by_bytes = lane->found.passed_by_bytes;
    }
    result->stats.size = sizeof(result->stats);
    (void)spw_pool_stats(crowd->pool, &result->stats);
    if (spw_pool_histograms(crowd->pool, &histograms) == 0) {
        result->write_most_ns = histograms.device_write_ns.highest;
        result->read_most_ns = histograms.device_read_ns.highest;
    }
}

static void run_child(void *context, struct measure *measure)
{
    const struct job *job = context;
    const struct crowd_plan *plan = job->plan;
    const char *const settings[] = {"memory",   plan->memory,   "memory_tier", plan->memory_tier,
                                    "tiers",    plan->tiers,    "engine",      plan->engine,
                                    "policies", plan->policies, "compress",    plan->compress,
                                    NULL};
    struct crowd crowd = {.plan = plan, .measure = measure};
    /* What is freed goes back to the kernel: what malloc keeps is not the library's. */
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
    mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
    crowd.pool = load_pool_on(plan->apart ? os_apart() : &os_linux, measure, 0, plan->dir,
                              &crowd.options, settings);
    if (!crowd.pool)
        return;
    measure_begin(measure);
    int rc = crowd_lanes_open(&crowd);
    if (rc == 0)
        rc = run_threads(&crowd, job->result);
    measure_end(measure);
    measure->bytes = measure->drained_bytes;
    if (rc == 0)
        sum_up(&crowd, job->result);
    crowd_lanes_close(&crowd);
    spw_pool_close(crowd.pool);
    spw_options_close(crowd.options);
    if (rc == -EBADMSG)
        measure_fail(measure, rc, "what came back is not what was pushed");
    else if (rc != 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

struct measure *crowd_run(const struct crowd_plan *plan, struct crowd_result *result)
{
    struct job job = {plan, shared_open(sizeof(*result))};
    struct child_plan child = {
        .name = "crowd", .run = run_child, .context = &job, .sampled = true, .time_limit_s = 3600};
    struct measure *measure = job.result ? child_run(&child) : NULL;
    if (measure && measure->error == 0)
        memcpy(result, job.result, sizeof(*result));
    shared_close(job.result, sizeof(*result));
    return measure;
}
