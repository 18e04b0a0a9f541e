/* SPDX-License-Identifier: MIT */
/*
 * Reading ahead of a reader: what is asked for is there when its turn comes, within the budget and
 * in every state of a run, and a reader that is slower than the device never waits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../pool/engine_impl.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"
#include "traffic.h"

static const struct setting on_disk[] = {
    {"memory", "64MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting on_little[] = {
    {"memory", "1MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};

/* ---- tools ---- */

static int ask(const struct hand *hand, size_t index, unsigned flags)
{
    spw_handle *handle = hand->handles[index];
    return handle->ops->prefetch(handle, SPILLWAY_FETCH_NOWAIT | flags);
}

static void spill_each(struct hand *hand, size_t count, size_t len)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(hand_spill(hand, stream_chunks(i * len, 1, len)), 1);
}

static void wait_stored(const struct hand *hand)
{
    for (size_t i = 0; i < hand->count; i++)
        wait_state(hand->handles[i], RUN_STORED);
}

static void take(struct hand *hand, size_t index, size_t len)
{
    spw_chunks out;
    cr_assert_eq(fetch(hand->handles[index], SPILLWAY_FETCH_NOWAIT, &out), 0);
    cr_assert(chunks_are(&out, index * len, 1, len));
    hand->handles[index] = NULL;
}

static void drop_rest(struct hand *hand)
{
    for (size_t i = 0; i < hand->count; i++)
        if (hand->handles[i])
            hand->handles[i]->ops->drop(hand->handles[i]);
    hand->count = 0;
}

/* ---- what cannot be read at once ---- */

static void read_once_written(const struct setting *settings, enum fault kind)
{
    struct hand hand;
    hand_open(&hand, settings, 1);
    gate_shut(kind);
    spill_each(&hand, 1, 100000);
    gate_wait(1);
    cr_assert_eq((int)state_of(hand.handles[0]), RUN_WRITING);
    cr_assert_eq(ask(&hand, 0, 0), 0);
    gate_open();
    wait_state(hand.handles[0], RUN_LOADED);
    take(&hand, 0, 100000);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.prefetched_runs_total, 1);
    cr_assert_eq(stats.on_time_runs_total, 1);
    cr_assert_eq(stats.late_runs_total + stats.wasted_runs_total, 0);
    hand_close(&hand);
}

Test(prefetch, what_is_being_written_is_read_once_it_is_stored)
{
    read_once_written(on_disk, FAULT_PWRITE);
}

Test(prefetch, the_same_with_io_uring)
{
    static const struct setting ring[] = {
        {"memory", "64MiB"}, {"engine", "io_uring"}, {"tiers", "disk"}, {NULL, NULL}};
    read_once_written(ring, FAULT_RING_WRITE);
}

Test(prefetch, what_was_written_in_vain_is_not_read)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, on_disk, 1);
    gate_shut(FAULT_PWRITE);
    spill_each(&hand, 1, 100000);
    gate_wait(1);
    cr_assert_eq(ask(&hand, 0, 0), 0);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_NOWAIT, &out), 0);
    cr_assert(chunks_are(&out, 0, 1, 100000));
    gate_open();
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.prefetched_runs_total + stats.wasted_runs_total, 0);
    hand.count = 0;
    hand_close(&hand);
}

/* Many chunks in the memory tier have to be listed by an engine thread first. */
Test(prefetch, what_is_staged_for_memory_is_listed_once_it_is_there)
{
    static const struct setting in_memory[] = {{"memory", "64MiB"},
                                               {"memory_tier", "16MiB"},
                                               {"tiers", "memory"},
                                               {"engine", "threads"},
                                               {NULL, NULL}};
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, in_memory, 0);
    gate_shut(FAULT_MEMFD_CREATE);
    cr_assert_eq(hand_spill(&hand, stream_chunks(5, 2 * INSTANT_CHUNKS, 100)), 1);
    gate_wait(1);
    cr_assert_eq(ask(&hand, 0, 0), 0);
    gate_open();
    wait_state(hand.handles[0], RUN_LOADED);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_NOWAIT, &out), 0);
    cr_assert(chunks_are(&out, 5, 2 * INSTANT_CHUNKS, 100));
    hand.count = 0;
    hand_close(&hand);
}

/* A demotion that fails, or works, leaves a run that someone asked for meanwhile. */
static void read_once_demoted(int err)
{
    static const struct setting both[] = {
        {"memory", "64MiB"}, {"memory_tier", "16MiB"}, {"engine", "threads"}, {NULL, NULL}};
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, both, 1);
    cr_assert_eq(hand_spill(&hand, stream_chunks(5, 2 * INSTANT_CHUNKS, 100)), 1);
    wait_state(hand.handles[0], RUN_STORED);
    gate_shut(FAULT_PWRITE);
    if (err)
        fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, err);
    cr_assert_eq(spw_pool_demote(hand.bed.pool, UINT64_MAX, NULL), 0);
    gate_wait(1);
    cr_assert_eq((int)state_of(hand.handles[0]), RUN_DEMOTING);
    cr_assert_eq(ask(&hand, 0, SPILLWAY_FETCH_SPARE), -EAGAIN);
    cr_assert_eq(ask(&hand, 0, 0), 0);
    gate_open();
    wait_state(hand.handles[0], RUN_LOADED);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_NOWAIT, &out), 0);
    cr_assert(chunks_are(&out, 5, 2 * INSTANT_CHUNKS, 100));
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.fetched_disk_bytes_total > 0, err == 0);
    cr_assert_eq(stats.on_time_runs_total, 1);
    hand.count = 0;
    hand_close(&hand);
}

Test(prefetch, what_is_being_demoted_is_read_from_disk_then)
{
    read_once_demoted(0);
}

Test(prefetch, or_from_memory_when_that_fails)
{
    read_once_demoted(-EIO);
}

Test(prefetch, what_no_tier_takes_is_read_once_one_did)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    fault_fail(FAULT_FALLOCATE, 0, FAULT_ALWAYS, -ENOSPC);
    spill_each(&hand, 1, MIB);
    wait_state(hand.handles[0], RUN_HELD);
    cr_assert_eq(ask(&hand, 0, SPILLWAY_FETCH_SPARE), -EAGAIN);
    cr_assert_eq(ask(&hand, 0, 0), 0);
    fault_heal(FAULT_FALLOCATE);
    for (unsigned i = 0; i < 30000 && state_of(hand.handles[0]) == RUN_HELD; i++) {
        pool_retry_held(hand.bed.pool);
        nap();
    }
    wait_state(hand.handles[0], RUN_LOADED);
    take(&hand, 0, MIB);
    hand.count = 0;
    hand_close(&hand);
}

/* ---- what finds no memory ---- */

#define LITTLE (128 * KIB)

/* Thirty runs of which the first few fill the budget, all of them asked for. */
static size_t fill_up(struct hand *hand)
{
    hand_open(hand, on_little, 1);
    spill_each(hand, 30, LITTLE);
    wait_stored(hand);
    bed_quiet(&hand->bed);
    for (size_t i = 0; i < hand->count; i++)
        cr_assert_eq(ask(hand, i, 0), 0);
    size_t started = 0;
    while (((struct run *)hand->handles[started])->queued == 0)
        started++;
    cr_assert_gt(started, 2);
    cr_assert_lt(started, 9);
    for (size_t i = 0; i < started; i++)
        wait_state(hand->handles[i], RUN_LOADED);
    for (size_t i = started; i < hand->count; i++)
        cr_assert_eq((int)state_of(hand->handles[i]), RUN_STORED);
    return started;
}

Test(prefetch, what_finds_no_memory_is_read_when_some_is_given_back)
{
    struct hand hand;
    size_t started = fill_up(&hand);
    for (size_t i = 0; i < hand.count; i++) {
        wait_state(hand.handles[i], RUN_LOADED);
        take(&hand, i, LITTLE);
        /* The entries of what was taken may have used up the last one's room. */
        if (i > 0 && i + started - 1 < hand.count)
            wait_state(hand.handles[i + started - 1], RUN_LOADED);
    }
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.prefetched_runs_total, 30);
    cr_assert_eq(stats.on_time_runs_total, 30);
    cr_assert_eq(stats.late_runs_total + stats.wasted_runs_total + stats.over_budget_total, 0);
    cr_assert_leq(stats.used_peak_bytes, MIB + 16 * KIB);
    hand.count = 0;
    hand_close(&hand);
}

Test(prefetch, the_head_is_read_before_its_turn)
{
    struct hand hand;
    size_t started = fill_up(&hand);
    cr_assert_eq(ask(&hand, 29, SPILLWAY_FETCH_HEAD), 0);
    wait_state(hand.handles[29], RUN_LOADED);
    take(&hand, 29, LITTLE);
    cr_assert_eq((int)state_of(hand.handles[started]), RUN_STORED, "it had the reserve");
    take(&hand, 0, LITTLE);
    take(&hand, 1, LITTLE);
    wait_state(hand.handles[started], RUN_LOADED);
    drop_rest(&hand);
    hand_close(&hand);
}

Test(prefetch, dropped_while_they_wait)
{
    struct hand hand;
    size_t started = fill_up(&hand);
    static const size_t which[] = {29, 15, 16}; /* at the end, and in the middle */
    hand.handles[started]->ops->drop(hand.handles[started]);
    hand.handles[started] = NULL;
    for (size_t i = 0; i < 3; i++) {
        hand.handles[which[i]]->ops->drop(hand.handles[which[i]]);
        hand.handles[which[i]] = NULL;
    }
    take(&hand, 0, LITTLE);
    take(&hand, 1, LITTLE);
    wait_state(hand.handles[started + 1], RUN_LOADED);
    cr_assert_eq((int)state_of(hand.handles[started + 3]), RUN_STORED);
    drop_rest(&hand);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.runs, 0);
    hand_close(&hand);
}

Test(prefetch, nothing_is_spared_while_someone_waits)
{
    struct hand hand;
    size_t started = fill_up(&hand);
    spill_each(&hand, 1, LITTLE);
    wait_state(hand.handles[30], RUN_STORED);
    cr_assert_eq(ask(&hand, 30, SPILLWAY_FETCH_SPARE), -EAGAIN);
    for (size_t i = started; i < 30; i++) {
        hand.handles[i]->ops->drop(hand.handles[i]);
        hand.handles[i] = NULL;
    }
    cr_assert_eq(ask(&hand, 30, SPILLWAY_FETCH_SPARE), -EAGAIN, "more than readers' share");
    for (size_t i = 0; i < started; i++)
        take(&hand, i, LITTLE);
    cr_assert_eq(ask(&hand, 30, SPILLWAY_FETCH_SPARE), 0);
    wait_state(hand.handles[30], RUN_LOADED);
    drop_rest(&hand);
    hand_close(&hand);
}

/* A read that cannot be started after all goes on waiting. */
Test(prefetch, without_memory_it_goes_on_waiting)
{
    struct hand hand;
    spw_chunks out;
    fill_up(&hand);
    take(&hand, 0, LITTLE);
    cr_assert_eq(fetch(hand.handles[1], SPILLWAY_FETCH_NOWAIT, &out), 0);
    hand.handles[1] = NULL;
    uint64_t before = bed_quiet(&hand.bed).prefetched_runs_total;
    fault_alloc_from(1);
    cr_assert(chunks_are(&out, LITTLE, 1, LITTLE));
    cr_assert_eq(bed_stats(&hand.bed).prefetched_runs_total, before);
    fault_alloc_from(0);
    take(&hand, 2, LITTLE);
    wait_stat(&hand.bed, prefetched_runs_total, >, before);
    drop_rest(&hand);
    hand_close(&hand);
}

/* ---- a reader that is slower than the device ---- */

enum { QUEUES_MAX = 16, DRAINED_MAX = 64 };

struct course {
    const char *engine, *budget, *memory_tier;
    unsigned queues;
    size_t chunk_bytes, capacity;
    uint64_t bytes;      /* of each queue */
    uint64_t least_runs; /* are fetched */
    bool slabs;          /* chunks lie in the pool's slabs */
    bool behind;         /* the reader follows a writer that is some way ahead */
};

struct lane_of_course {
    struct ends ends;
    spw_slab *slab;
    uint64_t pushed, drained;
    spw_bytes held[DRAINED_MAX]; /* what the reader is busy with */
    long held_count;
};

static void course_push(const struct bed *bed, const struct course *course,
                        struct lane_of_course *lane, uint64_t bytes)
{
    for (uint64_t end = lane->pushed + bytes; lane->pushed < end;
         lane->pushed += course->chunk_bytes) {
        spw_bytes chunk;
        if (!course->slabs) {
            chunk = stream_piece(lane->pushed, course->chunk_bytes);
        } else {
            if (!lane->slab || spw_slab_room(lane->slab) < course->chunk_bytes) {
                spw_slab_close(lane->slab);
                cr_assert_eq(spw_pool_slab_open(bed->pool, course->chunk_bytes, 0, &lane->slab), 0);
            }
            stream_fill(spw_slab_space(lane->slab), lane->pushed, course->chunk_bytes);
            cr_assert_eq(spw_slab_cut(lane->slab, course->chunk_bytes, &chunk), 0);
        }
        cr_assert_eq(spw_writer_extend(lane->ends.writer, &chunk, 1, 0), 0);
    }
}

static void course_end(struct lane_of_course *lane)
{
    spw_slab_close(lane->slab);
    lane->slab = NULL;
    spw_writer_close(lane->ends.writer);
    lane->ends.writer = NULL;
}

/* Until nothing is on its way: what has been written may be read back after that. */
static void course_rest(const struct bed *bed)
{
    struct engine *engine = bed->pool->engine;
    for (bool idle = false; !idle;) {
        engine_wait_idle(engine);
        pthread_mutex_lock(&engine->lock);
        idle = engine->outstanding == 0;
        pthread_mutex_unlock(&engine->lock);
    }
}

/* Gives back what the reader was busy with, and takes more. Returns false at the end. */
static bool course_drain(const struct course *course, struct lane_of_course *lane)
{
    for (long i = 0; i < lane->held_count; i++) {
        cr_assert(stream_is(&lane->held[i], lane->drained));
        lane->drained += lane->held[i].len;
        spw_bytes_release(&lane->held[i]);
    }
    lane->held_count =
        spw_reader_drain_wait(lane->ends.reader, lane->held, course->capacity, SPILLWAY_FOREVER);
    cr_assert_geq(lane->held_count, 0);
    return lane->held_count > 0;
}

/* All queues in turns. The device has all the time that it needs between two drains. Returns
 * whether hardly any run was late. */
static bool course_run(const struct course *course)
{
    struct setting settings[] = {{"engine", course->engine},
                                 {"memory", course->budget},
                                 {"memory_tier", course->memory_tier},
                                 {NULL, NULL}};
    static struct lane_of_course lanes[QUEUES_MAX];
    struct bed bed;
    bed_open(&bed, settings, 1);
    unsigned open = course->queues;
    for (unsigned i = 0; i < open; i++)
        lanes[i] = (struct lane_of_course){.ends = ends_open(&bed)};
    for (unsigned i = 0; i < course->queues; i++) {
        course_push(&bed, course, &lanes[i], course->behind ? course->bytes / 2 : course->bytes);
        if (!course->behind)
            course_end(&lanes[i]);
    }
    course_rest(&bed);
    while (open > 0) {
        for (unsigned i = 0; i < course->queues; i++) {
            struct lane_of_course *lane = &lanes[i];
            if (!lane->ends.reader)
                continue;
            uint64_t before = lane->drained;
            if (!course_drain(course, lane)) {
                ends_close(&lane->ends);
                open--;
            } else if (lane->ends.writer) {
                course_push(&bed, course, lane, lane->drained - before);
                if (lane->pushed >= course->bytes)
                    course_end(lane);
            }
            course_rest(&bed);
        }
    }
    spw_stats stats = bed_quiet(&bed);
    uint64_t fetched = stats.fetched_runs_total;
    cr_assert_geq(fetched, course->least_runs);
    bool on_time = 100 * stats.on_time_runs_total >= 99 * fetched;
    if (!on_time)
        fprintf(stderr, "%llu of %llu were late\n", (unsigned long long)stats.late_runs_total,
                (unsigned long long)fetched);
    cr_assert_eq(stats.on_time_runs_total + stats.late_runs_total, fetched);
    cr_assert_eq(stats.wasted_runs_total, 0);
    for (unsigned i = 0; i < course->queues; i++)
        cr_assert_eq(lanes[i].drained, lanes[i].pushed);
    bed_close(&bed);
    return on_time;
}

static const char *const engines[] = {"threads", "io_uring"};

/* The same on both engines, with few and with many entries taken at a time. What is needed next is
 * guessed from how fast each queue was drained, which tells little where the machine does other
 * work in between: a few tries, then. */
static void course_all(struct course course)
{
    static const size_t capacities[] = {8, 1, DRAINED_MAX};
    const char *under = getenv("SPILLWAY_TEST_UNDER");
    bool slow = under && strcmp(under, "thread") == 0;
    course.least_runs = slow ? 15 : 100;
    if (slow) /* each byte that a test fills or compares takes tens of ns there */
        course.bytes /= 4;
    for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        for (unsigned k = 0; k < (slow ? 1 : sizeof(capacities) / sizeof(capacities[0])); k++) {
            course.engine = engines[i];
            course.capacity = capacities[k];
            bool on_time = false;
            for (unsigned try = 0; !on_time && try < 3; try++)
                on_time = course_run(&course);
            cr_assert(on_time, "runs were late each time");
        }
    }
}

Test(prefetch, a_slow_reader_never_waits)
{
    course_all((struct course){.budget = "8MiB",
                               .memory_tier = "off",
                               .queues = 1,
                               .chunk_bytes = 64 * KIB,
                               .bytes = 112 * MIB});
}

Test(prefetch, nor_with_slabs)
{
    course_all((struct course){.budget = "8MiB",
                               .memory_tier = "off",
                               .queues = 1,
                               .chunk_bytes = 64 * KIB,
                               .bytes = 112 * MIB,
                               .slabs = true});
}

Test(prefetch, nor_with_the_least_budget)
{
    course_all((struct course){.budget = "1MiB",
                               .memory_tier = "off",
                               .queues = 1,
                               .chunk_bytes = 16 * KIB,
                               .bytes = 16 * MIB});
}

Test(prefetch, nor_with_many_queues)
{
    course_all((struct course){.budget = "16MiB",
                               .memory_tier = "off",
                               .queues = 8,
                               .chunk_bytes = 32 * KIB,
                               .bytes = 12 * MIB});
}

Test(prefetch, nor_behind_a_writer)
{
    course_all((struct course){.budget = "8MiB",
                               .memory_tier = "off",
                               .queues = 4,
                               .chunk_bytes = 32 * KIB,
                               .bytes = 24 * MIB,
                               .behind = true});
}

Test(prefetch, nor_with_the_memory_tier)
{
    course_all((struct course){.budget = "8MiB",
                               .memory_tier = "128MiB",
                               .queues = 2,
                               .chunk_bytes = KIB, /* runs of many chunks */
                               .bytes = 48 * MIB});
}
