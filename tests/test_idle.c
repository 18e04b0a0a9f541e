/* SPDX-License-Identifier: MIT */
/* That a queue far from any limit costs nothing: who is not called, and that all are when it ends.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/queue.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

enum { CALLS = 10000 };

/* ---- a policy that counts, and rests as it is told ---- */

struct watcher {
    spw_policy policy;
    spw_rest rest; /* size 0: never */
    int rested;    /* what spw_view_rest() said */
    unsigned applied, settled;
};

static void watcher_apply(spw_policy *policy, spw_view *view)
{
    struct watcher *watcher = (struct watcher *)policy;
    watcher->applied++;
    if (watcher->rest.size > 0)
        watcher->rested = spw_view_rest(view, &watcher->rest);
}

static int watcher_settle(spw_policy *policy, unsigned flags)
{
    (void)flags;
    ((struct watcher *)policy)->settled++;
    return 0;
}

static void watcher_close(spw_policy *policy)
{
    (void)policy;
}

static const spw_policy_ops watcher_ops = {.size = sizeof(watcher_ops),
                                           .name = "watcher",
                                           .apply = watcher_apply,
                                           .settle = watcher_settle,
                                           .close = watcher_close};

struct rig {
    struct watcher writer, reader;
    struct ends ends;
    spw_bytes piece; /* what is extended by: clones of it */
};

static void rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->writer.policy.ops = rig->reader.policy.ops = &watcher_ops;
    spw_queue_options options = {.size = sizeof(options),
                                 .writer_policy = &rig->writer.policy,
                                 .reader_policy = &rig->reader.policy};
    cr_assert_eq(spw_queue_open(&options, &rig->ends.writer, &rig->ends.reader), 0);
    rig->piece = stream_piece(0, 100);
}

static void rig_close(struct rig *rig)
{
    ends_close(&rig->ends);
    spw_bytes_release(&rig->piece);
}

static void give(const struct ends *ends, const spw_bytes *piece)
{
    spw_bytes bytes = spw_bytes_clone(piece);
    cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
}

static void take(const struct ends *ends)
{
    spw_bytes bytes;
    cr_assert_eq(spw_reader_drain(ends->reader, &bytes, 1), 1);
    spw_bytes_release(&bytes);
}

static void rig_pairs(struct rig *rig, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        give(&rig->ends, &rig->piece);
        take(&rig->ends);
    }
}

Test(idle, a_policy_that_says_nothing_is_always_called)
{
    struct rig rig;
    rig_open(&rig);
    rig_pairs(&rig, CALLS);
    cr_assert_eq(rig.writer.applied, CALLS);
    cr_assert_eq(rig.writer.settled, CALLS);
    cr_assert_eq(rig.reader.applied, CALLS);
    cr_assert_eq(rig.reader.settled, CALLS);
    rig_close(&rig);
}

static spw_rest rest_at(uint64_t resident_bytes, size_t paged_entries, const spw_epoch *epoch)
{
    return (spw_rest){.size = sizeof(spw_rest),
                      .resident_bytes = resident_bytes,
                      .paged_entries = paged_entries,
                      .epoch = epoch,
                      .epoch_seen = epoch ? spw_epoch_read(epoch) : 0};
}

Test(idle, a_policy_that_rests_is_called_once)
{
    struct rig rig;
    rig_open(&rig);
    rig.writer.rest = rest_at(1000, 0, NULL);
    rig.reader.rest = rest_at(UINT64_MAX, 0, NULL);
    rig_pairs(&rig, CALLS);
    cr_assert_eq(rig.writer.applied, 1);
    cr_assert_eq(rig.writer.settled, 1);
    cr_assert_eq(rig.reader.applied, 1);
    cr_assert_eq(rig.reader.settled, 1);
    rig_close(&rig);
}

Test(idle, a_rest_ends_with_too_many_resident_bytes)
{
    struct rig rig;
    rig_open(&rig);
    rig.writer.rest = rest_at(1000, 0, NULL);
    for (unsigned i = 0; i < 10; i++)
        give(&rig.ends, &rig.piece);
    cr_assert_eq(rig.writer.applied, 1, "1000 bytes are not more than 1000");
    for (unsigned i = 0; i < 10; i++)
        give(&rig.ends, &rig.piece);
    cr_assert_eq(rig.writer.applied, 11, "and it is called as long as there are more");
    cr_assert_eq(rig.writer.settled, 11);
    for (unsigned i = 0; i < 20; i++)
        take(&rig.ends);
    rig_pairs(&rig, 10);
    cr_assert_eq(rig.writer.applied, 11, "it had said so again");
    rig_close(&rig);
}

Test(idle, a_rest_ends_with_the_epoch)
{
    struct rig rig;
    spw_epoch epoch = {0};
    rig_open(&rig);
    rig.writer.rest = rest_at(UINT64_MAX, SIZE_MAX, &epoch);
    rig_pairs(&rig, 10);
    cr_assert_eq(rig.writer.applied, 1);
    spw_epoch_advance(&epoch);
    rig_pairs(&rig, 10);
    cr_assert_eq(rig.writer.applied, 11, "it still rests on the epoch that has passed");
    rig.writer.rest = rest_at(UINT64_MAX, SIZE_MAX, &epoch);
    rig_pairs(&rig, 10);
    cr_assert_eq(rig.writer.applied, 12);
    rig.writer.rest.size = 0;
    spw_epoch_advance(&epoch);
    rig_pairs(&rig, 10);
    cr_assert_eq(rig.writer.applied, 22, "what is not said again is over");
    rig_close(&rig);
}

Test(idle, a_rest_of_another_version_is_refused)
{
    struct rig rig;
    rig_open(&rig);
    rig.writer.rest = rest_at(UINT64_MAX, SIZE_MAX, NULL);
    rig.writer.rest.size = sizeof(size_t);
    rig_pairs(&rig, 10);
    cr_assert_eq(rig.writer.rested, -EINVAL);
    cr_assert_eq(rig.writer.applied, 10);
    rig_close(&rig);
}

/* ---- the shipped policies ---- */

/* A strategy that counts what it is asked, and never takes anything. */
struct counted {
    spw_strategy strategy;
    spw_epoch epoch;
    bool steady;           /* gives its epoch */
    uint64_t excess_bytes; /* then it does not */
    unsigned limits, settles, spills;
};

static int counted_spill(spw_strategy *strategy, spw_chunks *chunks, spw_sink *sink)
{
    (void)chunks;
    (void)sink;
    ((struct counted *)strategy)->spills++;
    return -EAGAIN;
}

static void counted_limits(spw_strategy *strategy, spw_limits *limits)
{
    struct counted *counted = (struct counted *)strategy;
    counted->limits++;
    limits->budget_bytes = MIB;
    limits->excess_bytes = counted->excess_bytes;
    if (counted->steady && counted->excess_bytes == 0)
        limits->epoch = &counted->epoch;
    limits->epoch_seen = spw_epoch_read(&counted->epoch);
}

static int counted_settle(spw_strategy *strategy, unsigned flags)
{
    (void)flags;
    ((struct counted *)strategy)->settles++;
    return 0;
}

static void counted_close(spw_strategy *strategy)
{
    (void)strategy;
}

static const spw_strategy_ops counted_ops = {.size = sizeof(counted_ops),
                                             .name = "counted",
                                             .spill = counted_spill,
                                             .limits = counted_limits,
                                             .settle = counted_settle,
                                             .close = counted_close};

static void counted_open(struct counted *counted, bool steady, struct rig *rig)
{
    *counted = (struct counted){.strategy = {&counted_ops}, .steady = steady};
    spw_queue_options options = {.size = sizeof(options)};
    cr_assert_eq(
        spw_policies_open(&counted->strategy, NULL, &options.writer_policy, &options.reader_policy),
        0);
    cr_assert_eq(spw_queue_open(&options, &rig->ends.writer, &rig->ends.reader), 0);
    rig->piece = stream_piece(0, 1000);
}

Test(idle, limits_are_asked_for_once)
{
    struct counted counted;
    struct rig rig;
    counted_open(&counted, true, &rig);
    rig_pairs(&rig, CALLS);
    cr_assert_eq(counted.limits, 1);
    cr_assert_leq(counted.settles, 1);
    spw_epoch_advance(&counted.epoch);
    rig_pairs(&rig, CALLS);
    cr_assert_eq(counted.limits, 2);
    counted.excess_bytes = 1;
    spw_epoch_advance(&counted.epoch);
    rig_pairs(&rig, 10);
    cr_assert_eq(counted.limits, 12, "the budget is in need: each time");
    cr_assert_geq(counted.settles, 10);
    rig_close(&rig);
}

Test(idle, limits_without_an_epoch_are_asked_for_each_time)
{
    struct counted counted;
    struct rig rig;
    counted_open(&counted, false, &rig);
    rig_pairs(&rig, CALLS);
    cr_assert_eq(counted.limits, CALLS);
    cr_assert_eq(counted.settles, CALLS);
    rig_close(&rig);
}

/* Half of a MiB is the threshold, a quarter the head reserve. */
Test(idle, a_threshold_is_noticed_at_once)
{
    struct counted counted;
    struct rig rig;
    counted_open(&counted, true, &rig);
    for (unsigned i = 0; i < MIB / 4 * 3 / 1000; i++)
        give(&rig.ends, &rig.piece);
    cr_assert_eq(counted.limits, 1);
    cr_assert_eq(counted.spills, 0);
    give(&rig.ends, &rig.piece);
    cr_assert_eq(counted.spills, 1);
    rig_close(&rig);
}

/* ---- the pool's account ---- */

static const struct setting eight[] = {
    {"memory", "8MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};

static uint64_t counted_bytes(const struct bed *bed)
{
    return atomic_load(&bed->pool->counters->resident_foreign_bytes);
}

static bool rests(const struct ends *ends)
{
    return queue_rests(ends->writer->queue, &ends->writer->queue->writer_rest);
}

Test(idle, small_changes_are_not_reported)
{
    struct bed bed;
    bed_open(&bed, eight, 1);
    struct ends ends = ends_open(&bed);
    spw_bytes piece = stream_piece(0, 4096);
    give(&ends, &piece);
    uint64_t counted = counted_bytes(&bed);
    uint64_t epoch = spw_epoch_read(&bed.pool->account.epoch);
    for (unsigned i = 0; i < CALLS; i++) {
        give(&ends, &piece);
        take(&ends);
        cr_assert_eq(counted_bytes(&bed), counted);
    }
    cr_assert_eq(spw_epoch_read(&bed.pool->account.epoch), epoch);
    cr_assert(rests(&ends));
    spw_bytes_release(&piece);
    ends_close(&ends);
    cr_assert_eq(counted_bytes(&bed), 0);
    bed_close(&bed);
}

/* The pool's threads sleep on, and nobody asks the kernel for anything. */
static void nobody_is_woken(const struct setting *settings)
{
    struct bed bed;
    bed_open(&bed, settings, 1);
    struct ends ends = ends_open(&bed);
    spw_bytes piece = stream_piece(0, 4096);
    give(&ends, &piece);
    bed_quiet(&bed);
    struct engine_info before, after;
    uint64_t syscalls = bed_stats(&bed).syscalls_total, writes = fault_calls(FAULT_WRITE);
    engine_info(bed.pool->engine, &before);
    for (unsigned i = 0; i < CALLS; i++) {
        give(&ends, &piece);
        take(&ends);
    }
    engine_info(bed.pool->engine, &after);
    cr_assert_eq(after.wakeups, before.wakeups);
    cr_assert_eq(bed_stats(&bed).syscalls_total, syscalls);
    cr_assert_eq(fault_calls(FAULT_WRITE), writes);
    spw_bytes_release(&piece);
    ends_close(&ends);
    bed_close(&bed);
}

Test(idle, nobody_is_woken_with_threads)
{
    nobody_is_woken(eight);
}

Test(idle, nobody_is_woken_with_a_ring)
{
    static const struct setting ring[] = {
        {"memory", "8MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
    nobody_is_woken(ring);
}

/* Never too little, and not more than the slack too much. */
Test(idle, accounts_are_exact_within_their_slack)
{
    enum { QUEUES = 5 };
    struct bed bed;
    struct ends ends[QUEUES];
    uint64_t held[QUEUES] = {0}, slack = 8 * MIB / SLACK_SHARE;
    struct random random = random_open("idle::accounts_are_exact_within_their_slack");
    bed_open(&bed, eight, 1);
    for (unsigned q = 0; q < QUEUES; q++)
        ends[q] = ends_open(&bed);
    spw_bytes piece = stream_piece(0, 700);
    for (unsigned i = 0; i < 5 * CALLS; i++) {
        unsigned q = (unsigned)random_below(&random, QUEUES);
        if (held[q] > 0 && random_percent(&random, held[q] > 300 ? 70 : 48)) {
            take(&ends[q]);
            held[q]--;
        } else {
            give(&ends[q], &piece);
            held[q]++;
        }
        uint64_t all = 0;
        for (unsigned k = 0; k < QUEUES; k++)
            all += held[k] * 700;
        cr_assert_geq(counted_bytes(&bed), all);
        cr_assert_leq(counted_bytes(&bed), all + slack);
    }
    cr_assert_eq(bed_stats(&bed).spilled_runs_total, 0);
    for (unsigned q = 0; q < QUEUES; q++)
        ends_close(&ends[q]);
    spw_bytes_release(&piece);
    cr_assert_eq(counted_bytes(&bed), 0);
    bed_close(&bed);
}

Test(idle, for_who_waits_every_byte_is_reported)
{
    struct bed bed;
    bed_open(&bed, eight, 1);
    struct ends ends = ends_open(&bed);
    spw_bytes piece = stream_piece(0, 700);
    for (unsigned i = 0; i < 20; i++)
        give(&ends, &piece);
    take(&ends);
    cr_assert_gt(counted_bytes(&bed), 19 * 700);
    account_add_waiters(&bed.pool->account, 1);
    for (unsigned i = 18; i > 8; i--) {
        take(&ends);
        cr_assert_eq(counted_bytes(&bed), i * 700);
    }
    account_add_waiters(&bed.pool->account, -1);
    take(&ends);
    cr_assert_gt(counted_bytes(&bed), 8 * 700, "and ahead again");
    spw_bytes_release(&piece);
    ends_close(&ends);
    bed_close(&bed);
}

/* ---- quiet queues act when others use the budget up ---- */

enum { FOUR = 4 };

/* Four queues with 0.9 MiB each: below their own mark of 1.5 MiB, and together below half of the
 * budget, where the governor would begin to guide them. All rest. */
static void four_open(struct bed *bed, struct ends ends[FOUR], const spw_bytes *piece)
{
    bed_open(bed, eight, 1);
    for (unsigned q = 0; q < FOUR; q++)
        ends[q] = ends_open(bed);
    for (unsigned i = 0; i < 95; i++)
        for (unsigned q = 0; q < FOUR; q++)
            give(&ends[q], piece);
    for (unsigned q = 0; q < FOUR; q++)
        cr_assert(rests(&ends[q]));
    cr_assert_eq(bed_stats(bed).spilled_runs_total, 0);
}

static void four_act(struct bed *bed, struct ends ends[FOUR], const spw_bytes *piece)
{
    for (unsigned q = 0; q < FOUR; q++) /* unless the governor was quicker than we are */
        cr_assert(!rests(&ends[q]) || bed_stats(bed).spilled_runs_total > 0);
    for (unsigned q = 0; q < FOUR; q++)
        give(&ends[q], piece);
    wait_stat(bed, spilled_runs_total, >=, 1);
    bed_quiet(bed);
    for (unsigned q = 0; q < FOUR; q++)
        ends_close(&ends[q]);
}

Test(idle, quiet_queues_spill_when_another_queue_uses_the_budget)
{
    struct bed bed;
    struct ends ends[FOUR], greedy;
    spw_bytes piece = stream_piece(0, 10000);
    four_open(&bed, ends, &piece);
    /* Without policies: it never spills itself. */
    spw_queue_options options = {.size = sizeof(options), .account = spw_pool_account(bed.pool)};
    cr_assert_eq(spw_queue_open(&options, &greedy.writer, &greedy.reader), 0);
    for (unsigned i = 0; i < 200; i++)
        give(&greedy, &piece);
    four_act(&bed, ends, &piece);
    ends_close(&greedy);
    spw_bytes_release(&piece);
    bed_close(&bed);
}

Test(idle, quiet_queues_spill_when_slabs_use_the_budget)
{
    struct bed bed;
    struct ends ends[FOUR];
    spw_slab *slab;
    spw_bytes piece = stream_piece(0, 10000);
    four_open(&bed, ends, &piece);
    cr_assert_eq(spw_pool_slab_open(bed.pool, 2 * MIB, 0, &slab), 0);
    four_act(&bed, ends, &piece);
    spw_slab_close(slab);
    spw_bytes_release(&piece);
    bed_close(&bed);
}

/* More queues mean smaller shares: whoever rests looks again. */
Test(idle, quiet_queues_look_again_when_a_queue_opens_or_closes)
{
    struct bed bed;
    bed_open(&bed, eight, 1);
    struct ends one = ends_open(&bed), other;
    spw_bytes piece = stream_piece(0, 1000);
    give(&one, &piece);
    cr_assert(rests(&one));
    other = ends_open(&bed);
    cr_assert_not(rests(&one));
    give(&one, &piece);
    cr_assert(rests(&one));
    ends_close(&other);
    cr_assert_not(rests(&one));
    spw_bytes_release(&piece);
    ends_close(&one);
    bed_close(&bed);
}

/* Use that stays around the mark does not wake everybody over and over. */
Test(idle, the_mark_has_two_sides)
{
    struct bed bed;
    struct ends ends[FOUR], greedy;
    spw_bytes piece = stream_piece(0, 100000);
    bed_open(&bed, eight, 1);
    for (unsigned q = 0; q < FOUR; q++)
        ends[q] = ends_open(&bed);
    spw_queue_options options = {.size = sizeof(options), .account = spw_pool_account(bed.pool)};
    cr_assert_eq(spw_queue_open(&options, &greedy.writer, &greedy.reader), 0);
    give(&ends[0], &piece);
    while (rests(&ends[0]))
        give(&greedy, &piece);
    uint64_t epoch = spw_epoch_read(&bed.pool->account.epoch);
    for (unsigned i = 0; i < 100; i++) {
        take(&greedy);
        give(&ends[0], &piece);
        take(&ends[0]);
        give(&greedy, &piece);
    }
    cr_assert_eq(spw_epoch_read(&bed.pool->account.epoch), epoch);
    for (unsigned i = 0; i < 10; i++)
        take(&greedy);
    give(&ends[0], &piece);
    cr_assert(rests(&ends[0]), "far below, all may rest again");
    spw_bytes_release(&piece);
    ends_close(&greedy);
    for (unsigned q = 0; q < FOUR; q++)
        ends_close(&ends[q]);
    bed_close(&bed);
}

/* ---- races ---- */

struct race {
    struct ends quiet;
    spw_bytes piece;
    _Atomic bool stop;
};

static void *race_main(void *context)
{
    struct race *race = context;
    while (!atomic_load(&race->stop)) {
        give(&race->quiet, &race->piece);
        take(&race->quiet);
    }
    return NULL;
}

/*
 * One queue is busy and rests whenever it may, another goes over the mark and below again. Each
 * time that it stays over the mark, the first one must not rest any more.
 */
Test(idle, no_change_of_the_budget_is_missed)
{
    static struct race race;
    struct bed bed;
    struct ends greedy;
    pthread_t thread;
    bed_open(&bed, eight, 1);
    race.quiet = ends_open(&bed);
    race.piece = stream_piece(0, 100);
    spw_queue_options options = {.size = sizeof(options), .account = spw_pool_account(bed.pool)};
    cr_assert_eq(spw_queue_open(&options, &greedy.writer, &greedy.reader), 0);
    spw_bytes piece = stream_piece(0, 200000);
    cr_assert_eq(pthread_create(&thread, NULL, race_main, &race), 0);
    uint64_t seed = 1;
    for (unsigned i = 0; i < test_scaled(3000); i++) {
        unsigned count = 0;
        while (bed.pool->budget_bytes / 8 * 5 >= budget_used_by_writers(bed.pool)) {
            give(&greedy, &piece);
            count++;
        }
        struct queue *queue = race.quiet.writer->queue;
        pthread_mutex_lock(&queue->lock);
        bool rests_now = queue_rests(queue, &queue->writer_rest);
        pthread_mutex_unlock(&queue->lock);
        cr_assert_not(rests_now, "round %u", i);
        for (unsigned k = 0; k < count; k++)
            take(&greedy);
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        for (unsigned k = 0; k < seed >> 54; k++)
            atomic_thread_fence(memory_order_seq_cst);
    }
    atomic_store(&race.stop, true);
    pthread_join(thread, NULL);
    spw_bytes_release(&piece);
    spw_bytes_release(&race.piece);
    ends_close(&greedy);
    ends_close(&race.quiet);
    bed_close(&bed);
}
