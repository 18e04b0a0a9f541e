/* SPDX-License-Identifier: MIT */
/* That I/O threads are woken without a queue's lock, and are woken in the end. */
#include <errno.h>
#include <pthread.h>

#include "../lib/queue.h"
#include "fault.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

static const struct setting ring[] = {
    {"memory", "8MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
static const struct setting threads[] = {
    {"memory", "8MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};

struct watched {
    struct queue *queue;
    pthread_t thread; /* that uses the queue */
    _Atomic unsigned wakes, locked;
};

/* A mutex that this thread holds cannot be had once more. */
static void on_write(void *context)
{
    struct watched *watched = context;
    if (!pthread_equal(pthread_self(), watched->thread))
        return;
    watched->wakes++;
    if (pthread_mutex_trylock(&watched->queue->lock) == EBUSY)
        watched->locked++;
    else
        pthread_mutex_unlock(&watched->queue->lock);
}

Test(cork, nobody_is_woken_under_the_lock_of_a_queue)
{
    static struct watched watched;
    struct bed bed;
    bed_open(&bed, ring, 1);
    struct ends ends = ends_open(&bed);
    watched.queue = ends.writer->queue;
    watched.thread = pthread_self();
    fault_hook(FAULT_WRITE, on_write, &watched); /* the engine's event descriptor */
    for (unsigned i = 0; i < 400; i++) {
        spw_bytes bytes = stream_piece(0, 100000);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
        if (i % 100 == 50)
            bed_quiet(&bed); /* the engine sleeps, and has to be woken */
    }
    bed_quiet(&bed);
    unsigned spilling = watched.wakes;
    cr_assert_gt(spilling, 0);
    for (unsigned i = 0; i < 400; i++) {
        spw_bytes bytes;
        cr_assert_eq(spw_reader_drain_wait(ends.reader, &bytes, 1, SPILLWAY_FOREVER), 1);
        spw_bytes_release(&bytes);
        if (i % 100 == 50)
            bed_quiet(&bed);
    }
    cr_assert_gt(watched.wakes, spilling);
    cr_assert_eq(watched.locked, 0, "%u of %u", watched.locked, watched.wakes);
    fault_hook(FAULT_WRITE, NULL, NULL);
    ends_close(&ends);
    bed_close(&bed);
}

/* ---- a policy that waits within its apply for what it has just put in motion ---- */

struct patient {
    spw_policy policy;
    spw_strategy *strategy;
    unsigned fetched;
};

static void patient_apply(spw_policy *policy, spw_view *view)
{
    struct patient *patient = (struct patient *)policy;
    spw_cursor cursor = spw_view_head(view);
    if (spw_view_entries(view) < 3 ||
        spw_view_spill(view, &cursor, UINT64_MAX, patient->strategy) <= 0)
        return;
    cursor = spw_view_head(view);
    cr_assert_gt(spw_view_fetch(view, &cursor, 0), 0);
    patient->fetched++;
}

static void patient_close(spw_policy *policy)
{
    spw_strategy *strategy = ((struct patient *)policy)->strategy;
    strategy->ops->close(strategy);
}

static const spw_policy_ops patient_ops = {
    .size = sizeof(patient_ops), .name = "patient", .apply = patient_apply, .close = patient_close};

static void waits_within(const struct setting *settings)
{
    static struct patient patient;
    struct bed bed;
    struct ends ends;
    bed_open(&bed, settings, 1);
    patient = (struct patient){.policy = {&patient_ops}};
    cr_assert_eq(spw_pool_strategy(bed.pool, &patient.strategy), 0);
    spw_queue_options options = {.size = sizeof(options),
                                 .account = spw_pool_account(bed.pool),
                                 .writer_policy = &patient.policy,
                                 .allocator = &fault_allocator};
    cr_assert_eq(spw_queue_open(&options, &ends.writer, &ends.reader), 0);
    for (unsigned i = 0; i < 40; i++) {
        spw_bytes bytes = stream_piece(0, 70000);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    cr_assert_gt(patient.fetched, 0);
    ends_close(&ends);
    bed_close(&bed);
}

Test(cork, who_waits_within_apply_is_served_by_threads)
{
    waits_within(threads);
}

Test(cork, who_waits_within_apply_is_served_by_the_ring)
{
    waits_within(ring);
}

/* ---- many queues cork and uncork at once ---- */

struct line {
    struct ends ends;
    pthread_t thread;
};

static void *line_main(void *context)
{
    struct line *line = context;
    for (unsigned i = 0; i < 300; i++) {
        spw_bytes bytes = stream_piece(0, 20000);
        cr_assert_eq(spw_writer_extend(line->ends.writer, &bytes, 1, 0), 0);
    }
    for (unsigned i = 0; i < 300; i++) {
        spw_bytes bytes;
        cr_assert_eq(spw_reader_drain_wait(line->ends.reader, &bytes, 1, SPILLWAY_FOREVER), 1);
        spw_bytes_release(&bytes);
    }
    return NULL;
}

Test(cork, no_wake_is_lost)
{
    enum { LINES = 4 };
    struct line lines[LINES];
    struct bed bed;
    bed_open(&bed, threads, 1);
    for (unsigned i = 0; i < LINES; i++)
        lines[i].ends = ends_open(&bed);
    for (unsigned i = 0; i < LINES; i++)
        cr_assert_eq(pthread_create(&lines[i].thread, NULL, line_main, &lines[i]), 0);
    for (unsigned i = 0; i < LINES; i++)
        pthread_join(lines[i].thread, NULL);
    for (unsigned i = 0; i < LINES; i++)
        ends_close(&lines[i].ends);
    bed_quiet(&bed);
    bed_close(&bed);
}
