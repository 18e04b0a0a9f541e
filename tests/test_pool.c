/* SPDX-License-Identifier: MIT */
/* Runs by hand: fetch, drop, prefetch and wake-ups in every state of a run's life. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"
#include "traffic.h"

enum { ENGINE_THREADS_USED = 4 };
#define CHUNK ((size_t)100000)

static const struct setting on_disk[] = {
    {"memory", "64MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting on_disk_ring[] = {
    {"memory", "64MiB"}, {"engine", "io_uring"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting in_memory[] = {
    {"memory", "64MiB"}, {"memory_tier", "16MiB"}, {"tiers", "memory"}, {NULL, NULL}};

/* ---- tools ---- */

/* `count` runs of one chunk each. */
static void hand_spill_each(struct hand *hand, size_t count, size_t len)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(hand_spill(hand, stream_chunks(i * len, 1, len)), 1);
}

/* A pool with one run in it, which is stored. */
static void hand_open_stored(struct hand *hand, const struct setting *settings, unsigned dirs,
                             spw_chunks chunks)
{
    hand_open(hand, settings, dirs);
    hand_spill(hand, chunks);
    wait_state(hand->handles[0], RUN_STORED);
}

static int fetch_nowait(spw_handle *handle, spw_chunks *out)
{
    return fetch(handle, SPILLWAY_FETCH_NOWAIT, out);
}

/* A waker that counts. */
struct bell {
    spw_waker waker;
    _Atomic int holders, rings;
};

static void bell_wake(spw_waker *waker)
{
    atomic_fetch_add(&((struct bell *)waker)->rings, 1);
}

static void bell_acquire(spw_waker *waker)
{
    atomic_fetch_add(&((struct bell *)waker)->holders, 1);
}

static void bell_release(spw_waker *waker)
{
    atomic_fetch_sub(&((struct bell *)waker)->holders, 1);
}

static struct bell bell_make(void)
{
    return (struct bell){.waker = {bell_wake, bell_acquire, bell_release}};
}

static bool bell_has_rung(void *bell)
{
    return atomic_load(&((struct bell *)bell)->rings) > 0 &&
           atomic_load(&((struct bell *)bell)->holders) == 0;
}

static void bell_must_ring(struct bell *bell)
{
    cr_assert(wait_until(bell_has_rung, bell), "nobody called");
    cr_assert_eq(atomic_load(&bell->rings), 1);
}

static int arm(spw_handle *handle, struct bell *bell)
{
    return handle->ops->on_ready(handle, &bell->waker);
}

/* ---- staged ---- */

/* Four runs keep the engine's threads busy; those behind them are staged. */
static void engine_occupy(struct hand *hand)
{
    gate_shut(FAULT_PWRITE);
    hand_spill_each(hand, ENGINE_THREADS_USED, MIB);
    gate_wait(ENGINE_THREADS_USED);
}

static void drop_all(struct hand *hand)
{
    for (size_t i = 0; i < hand->count; i++)
        if (hand->handles[i])
            hand->handles[i]->ops->drop(hand->handles[i]);
    hand->count = 0;
}

Test(pool, staged_is_handed_over_as_it_is)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, on_disk, 1);
    engine_occupy(&hand);
    spw_chunks chunks = stream_chunks(77, 1, 512 * KIB);
    const unsigned char *where = spw_chunks_peek(&chunks)->data;
    hand_spill(&hand, chunks);
    spw_handle *last = hand.handles[hand.count - 1];
    struct bell bell = bell_make();
    cr_assert_eq(arm(last, &bell), 1, "ready at once");
    cr_assert_eq(fetch_nowait(last, &out), 0);
    cr_assert_eq(spw_chunks_peek(&out)->data, where, "not a copy");
    cr_assert(chunks_are(&out, 77, 1, 512 * KIB));
    spw_stats stats = bed_stats(&hand.bed);
    cr_assert_eq(stats.elided_runs_total, 1);
    cr_assert_eq(stats.elided_bytes_total, 512 * KIB);
    cr_assert_eq(atomic_load(&bell.holders) + atomic_load(&bell.rings), 0);
    gate_open();
    hand.count--;
    drop_all(&hand);
    stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.runs, 0);
    hand_close(&hand);
}

Test(pool, staged_and_dropped_is_never_written)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    engine_occupy(&hand);
    uint64_t in_flight = bed_stats(&hand.bed).in_flight_bytes;
    hand_spill_each(&hand, 1, 512 * KIB);
    hand.count--;
    hand.handles[hand.count]->ops->drop(hand.handles[hand.count]);
    spw_stats stats = bed_stats(&hand.bed);
    cr_assert_eq(stats.elided_runs_total, 1);
    cr_assert_eq(stats.in_flight_bytes, in_flight);
    gate_open();
    for (size_t i = 0; i < hand.count; i++)
        wait_state(hand.handles[i], RUN_STORED);
    stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.spilled_runs_total, ENGINE_THREADS_USED);
    cr_assert_eq(fault_calls(FAULT_PWRITE), ENGINE_THREADS_USED);
    drop_all(&hand);
    hand_close(&hand);
}

/* ---- writing ---- */

static void write_and_fetch(const struct setting *settings, spw_chunks (*make)(spw_pool *pool),
                            size_t count, size_t len)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, settings, 1);
    enum fault kind = settings == on_disk_ring ? FAULT_RING_WRITE : FAULT_PWRITE;
    gate_shut(kind);
    cr_assert_eq(hand_spill(&hand, make(hand.bed.pool)), 1);
    gate_wait(1);
    spw_handle *handle = hand.handles[0];
    struct bell bell = bell_make();
    cr_assert_eq((int)state_of(handle), RUN_WRITING);
    cr_assert_eq(handle->ops->size_bytes(handle), (uint64_t)count * len);
    cr_assert_eq(handle->ops->count(handle), count);
    cr_assert_eq(handle->ops->prefetch(handle, 0), 0, "later");
    cr_assert_eq(handle->ops->prefetch(handle, SPILLWAY_FETCH_SPARE), -EAGAIN);
    cr_assert_eq(arm(handle, &bell), 1);
    cr_assert_eq(fetch_nowait(handle, &out), 0);
    cr_assert(chunks_are(&out, 5, count, len));
    gate_open();
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.spilled_runs_total + stats.fetched_runs_total, 0);
    wait_stat(&hand.bed, disk_stored_bytes, ==, 0);
    wait_stat(&hand.bed, runs, ==, 0);
    hand_close(&hand);
}

static spw_chunks make_one(spw_pool *pool)
{
    (void)pool;
    return stream_chunks(5, 1, CHUNK);
}

static spw_chunks make_many(spw_pool *pool)
{
    (void)pool;
    return stream_chunks(5, 300, 1000);
}

static spw_chunks make_direct(spw_pool *pool)
{
    return slab_chunk(pool, 5, CHUNK, 1234);
}

static spw_chunks make_large(spw_pool *pool)
{
    (void)pool;
    return stream_chunks(5, 1, 5 * MIB + 11);
}

static spw_chunks make_large_direct(spw_pool *pool)
{
    return slab_chunk(pool, 5, 5 * MIB + 11, 4097);
}

Test(pool, writing_one_chunk_is_handed_over)
{
    write_and_fetch(on_disk, make_one, 1, CHUNK);
}

Test(pool, writing_many_chunks_is_handed_over)
{
    write_and_fetch(on_disk, make_many, 300, 1000);
}

Test(pool, writing_from_a_slab_is_handed_over)
{
    write_and_fetch(on_disk, make_direct, 1, CHUNK);
}

Test(pool, writing_a_large_run_is_handed_over)
{
    write_and_fetch(on_disk, make_large, 1, 5 * MIB + 11);
}

Test(pool, writing_a_large_run_from_a_slab_is_handed_over)
{
    write_and_fetch(on_disk, make_large_direct, 1, 5 * MIB + 11);
}

Test(pool, writing_to_the_ring_is_handed_over)
{
    write_and_fetch(on_disk_ring, make_direct, 1, CHUNK);
}

/* While the engine's thread looks for a place, the run cannot be had; who asked is called. */
Test(pool, busy_calls_when_it_can_be_had)
{
    struct hand hand;
    spw_chunks out;
    struct bell bell = bell_make();
    hand_open(&hand, on_disk, 1);
    gate_shut(FAULT_FALLOCATE);
    hand_spill(&hand, stream_chunks(0, 1, CHUNK));
    gate_wait(1);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), -EAGAIN);
    cr_assert_eq(arm(hand.handles[0], &bell), 0);
    cr_assert_eq(atomic_load(&bell.holders), 1);
    cr_assert_eq(atomic_load(&bell.rings), 0);
    gate_open();
    bell_must_ring(&bell);
    int err = fetch(hand.handles[0], 0, &out); /* handed over, or read back */
    cr_assert_eq(err, 0);
    cr_assert(chunks_are(&out, 0, 1, CHUNK));
    bed_quiet(&hand.bed);
    hand_close(&hand);
}

Test(pool, busy_and_dropped_ends_by_itself)
{
    struct hand hand;
    struct bell bell = bell_make();
    hand_open(&hand, on_disk, 1);
    gate_shut(FAULT_FALLOCATE);
    hand_spill(&hand, stream_chunks(0, 1, CHUNK));
    gate_wait(1);
    cr_assert_eq(arm(hand.handles[0], &bell), 0);
    hand.handles[0]->ops->drop(hand.handles[0]);
    cr_assert_eq(atomic_load(&bell.holders), 0, "a dropped handle keeps nobody");
    gate_open();
    wait_stat(&hand.bed, runs, ==, 0);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.disk_stored_bytes, 0);
    cr_assert_eq(atomic_load(&bell.rings), 0);
    hand_close(&hand);
}

Test(pool, second_arming_replaces_the_first)
{
    struct hand hand;
    struct bell first = bell_make(), second = bell_make();
    hand_open(&hand, on_disk, 1);
    gate_shut(FAULT_FALLOCATE);
    hand_spill(&hand, stream_chunks(0, 1, CHUNK));
    gate_wait(1);
    cr_assert_eq(arm(hand.handles[0], &first), 0);
    cr_assert_eq(arm(hand.handles[0], &second), 0);
    cr_assert_eq(atomic_load(&first.holders), 0);
    gate_open();
    bell_must_ring(&second);
    cr_assert_eq(atomic_load(&first.rings), 0);
    drop_all(&hand);
    hand_close(&hand);
}

struct fetcher {
    spw_handle *handle;
    spw_chunks chunks;
    int err;
    pthread_t thread;
};

static void *fetcher_main(void *context)
{
    struct fetcher *fetcher = context;
    fetcher->err = fetch(fetcher->handle, SPILLWAY_FETCH_HEAD, &fetcher->chunks);
    return NULL;
}

static bool somebody_waits(void *pool)
{
    return atomic_load(&((spw_pool *)pool)->waiters) > 0;
}

/* A fetch that waits gets the bytes out of any state. */
static void fetch_waits(enum fault kind, bool stored, const struct setting *settings)
{
    struct hand hand;
    struct fetcher fetcher = {0};
    hand_open(&hand, settings, settings == in_memory ? 0 : 1);
    if (!stored)
        gate_shut(kind);
    hand_spill(&hand, stream_chunks(9, 200, 1000));
    fetcher.handle = hand.handles[0];
    if (stored) {
        wait_state(fetcher.handle, RUN_STORED);
        gate_shut(kind);
    } else {
        gate_wait(1);
    }
    cr_assert_eq(pthread_create(&fetcher.thread, NULL, fetcher_main, &fetcher), 0);
    if (stored)
        gate_wait(1);
    cr_assert(wait_until(somebody_waits, hand.bed.pool));
    gate_open();
    pthread_join(fetcher.thread, NULL);
    cr_assert_eq(fetcher.err, 0);
    cr_assert(chunks_are(&fetcher.chunks, 9, 200, 1000));
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_gt(stats.reader_wait_ns_total, 0);
    if (stored)
        cr_assert_eq(stats.late_runs_total, 1);
    hand_close(&hand);
}

Test(pool, fetch_waits_while_busy)
{
    fetch_waits(FAULT_FALLOCATE, false, on_disk);
}

Test(pool, fetch_waits_while_busy_in_memory)
{
    fetch_waits(FAULT_MEMFD_CREATE, false, in_memory);
}

Test(pool, fetch_waits_for_a_read)
{
    fetch_waits(FAULT_PREAD, true, on_disk);
}

Test(pool, fetch_waits_for_a_read_of_the_ring)
{
    fetch_waits(FAULT_RING_READ, true, on_disk_ring);
}

/* ---- stored, reading, loaded ---- */

static void stored_comes_back(const struct setting *settings, spw_chunks (*make)(spw_pool *pool),
                              size_t count, size_t len)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, settings, 1);
    cr_assert_eq(hand_spill(&hand, make(hand.bed.pool)), 1);
    spw_handle *handle = hand.handles[0];
    wait_state(handle, RUN_STORED);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.resident_foreign_bytes, 0, "the memory was given back");
    cr_assert_eq(stats.slab_bytes, 0);
    cr_assert_eq(stats.spilled_runs_total, 1);
    cr_assert_eq(stats.spilled_disk_bytes_total, (uint64_t)count * len);
    cr_assert_geq(stats.disk_stored_bytes, (uint64_t)count * len);
    cr_assert_eq(fetch_nowait(handle, &out), -EAGAIN);
    cr_assert_eq((int)state_of(handle), RUN_STORED);
    cr_assert_eq(handle->ops->prefetch(handle, 0), 0);
    cr_assert_eq(handle->ops->prefetch(handle, 0), 0);
    wait_state(handle, RUN_LOADED);
    cr_assert_gt(bed_stats(&hand.bed).loaded_bytes, 0);
    cr_assert_eq(handle->ops->prefetch(handle, 0), 0);
    struct bell bell = bell_make();
    cr_assert_eq(arm(handle, &bell), 1);
    cr_assert_eq(fetch_nowait(handle, &out), 0);
    stats = bed_stats(&hand.bed);
    cr_assert_eq(stats.prefetched_runs_total, 1);
    cr_assert_eq(stats.late_runs_total + stats.wasted_runs_total, 0);
    cr_assert_eq(stats.fetched_runs_total, 1);
    cr_assert_eq(stats.fetched_disk_bytes_total, (uint64_t)count * len);
    cr_assert_eq(stats.loaded_bytes, 0);
    cr_assert_gt(stats.lent_bytes, 0);
    cr_assert_eq(stats.disk_stored_bytes, 0);
    cr_assert(chunks_are(&out, 5, count, len));
    cr_assert_eq(bed_quiet(&hand.bed).lent_bytes, 0);
    hand_close(&hand);
}

Test(pool, stored_one_chunk_comes_back)
{
    stored_comes_back(on_disk, make_one, 1, CHUNK);
}

Test(pool, stored_many_chunks_come_back)
{
    stored_comes_back(on_disk, make_many, 300, 1000);
}

Test(pool, stored_from_a_slab_comes_back)
{
    stored_comes_back(on_disk, make_direct, 1, CHUNK);
}

Test(pool, stored_large_run_comes_back_in_one_piece)
{
    stored_comes_back(on_disk, make_large, 1, 5 * MIB + 11);
}

Test(pool, stored_large_run_of_a_slab_comes_back_in_one_piece)
{
    stored_comes_back(on_disk_ring, make_large_direct, 1, 5 * MIB + 11);
}

Test(pool, stored_through_the_ring_comes_back)
{
    stored_comes_back(on_disk_ring, make_many, 300, 1000);
}

Test(pool, stored_in_memory_is_there_at_once)
{
    struct hand hand;
    spw_chunks out;
    hand_open_stored(&hand, in_memory, 0, stream_chunks(5, 1, CHUNK));
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.memory_tier_stored_bytes, CHUNK);
    cr_assert_eq(stats.resident_foreign_bytes, 0);
    cr_assert_eq(hand.handles[0]->ops->prefetch(hand.handles[0], 0), 0);
    struct bell bell = bell_make();
    cr_assert_eq(arm(hand.handles[0], &bell), 1);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), 0);
    stats = bed_stats(&hand.bed);
    cr_assert_eq(stats.fetched_memory_bytes_total, CHUNK);
    cr_assert_eq(stats.late_runs_total + stats.prefetched_runs_total, 0);
    cr_assert_eq(stats.memory_tier_stored_bytes, CHUNK, "kept while somebody reads");
    cr_assert(chunks_are(&out, 5, 1, CHUNK));
    cr_assert_eq(bed_stats(&hand.bed).memory_tier_stored_bytes, 0);
    cr_assert_eq(bed_stats(&hand.bed).copied_bytes_total, CHUNK);
    hand_close(&hand);
}

Test(pool, stored_chunks_in_memory_come_back_without_a_copy)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, in_memory, 0);
    hand_spill(&hand, stream_chunks(5, 300, 1000));
    hand_spill(&hand, stream_chunks(5, 300, 1000));
    wait_state(hand.handles[0], RUN_STORED);
    wait_state(hand.handles[1], RUN_STORED);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert_eq(bed_quiet(&hand.bed).copied_bytes_total, 600000);
    /* What comes next must not use their memory. */
    hand_spill(&hand, stream_chunks(400000, 300, 1000));
    wait_state(hand.handles[2], RUN_STORED);
    cr_assert(chunks_are(&out, 5, 300, 1000));
    cr_assert_eq(hand.handles[1]->ops->prefetch(hand.handles[1], 0), 0);
    wait_state(hand.handles[1], RUN_LOADED);
    hand.handles[1]->ops->drop(hand.handles[1]);
    hand.handles[2]->ops->drop(hand.handles[2]);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.memory_tier_stored_bytes, 0);
    cr_assert_eq(stats.wasted_runs_total, 1);
    hand_close(&hand);
}

Test(pool, reading_calls_when_it_is_loaded)
{
    struct hand hand;
    spw_chunks out;
    struct bell bell = bell_make();
    hand_open_stored(&hand, on_disk, 1, stream_chunks(5, 1, CHUNK));
    gate_shut(FAULT_PREAD);
    cr_assert_eq(arm(hand.handles[0], &bell), 0, "arming starts the read");
    gate_wait(1);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), -EAGAIN);
    cr_assert_gt(bed_stats(&hand.bed).reading_bytes, 0);
    gate_open();
    bell_must_ring(&bell);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), 0);
    cr_assert_eq(bed_stats(&hand.bed).late_runs_total, 1);
    cr_assert(chunks_are(&out, 5, 1, CHUNK));
    hand_close(&hand);
}

/* Reads that nobody wants any more: one the device has, one that waits, one that is done. */
Test(pool, reading_and_loaded_can_be_dropped)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    hand_spill_each(&hand, ENGINE_THREADS_USED + 2, 256 * KIB);
    hand_spill_each(&hand, ENGINE_THREADS_USED + 2, 512 * KIB);
    for (size_t i = 0; i < hand.count; i++)
        wait_state(hand.handles[i], RUN_STORED);
    spw_handle *loaded = hand.handles[0];
    cr_assert_eq(loaded->ops->prefetch(loaded, 0), 0);
    wait_state(loaded, RUN_LOADED);
    gate_shut(FAULT_PREAD);
    for (size_t i = 1; i <= ENGINE_THREADS_USED; i++)
        cr_assert_eq(hand.handles[i]->ops->prefetch(hand.handles[i], 0), 0);
    gate_wait(ENGINE_THREADS_USED);
    spw_handle *waiting = hand.handles[ENGINE_THREADS_USED + 1];
    cr_assert_eq(waiting->ops->prefetch(waiting, 0), 0);
    uint64_t reading = bed_stats(&hand.bed).reading_bytes;
    waiting->ops->drop(waiting);
    cr_assert_lt(bed_stats(&hand.bed).reading_bytes, reading, "cancelled at once");
    for (size_t i = 0; i <= ENGINE_THREADS_USED; i++)
        hand.handles[i]->ops->drop(hand.handles[i]);
    cr_assert_eq(bed_stats(&hand.bed).wasted_runs_total, ENGINE_THREADS_USED + 2);
    gate_open();
    for (size_t i = ENGINE_THREADS_USED + 2; i < hand.count; i++)
        hand.handles[i]->ops->drop(hand.handles[i]);
    wait_stat(&hand.bed, runs, ==, 0);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.disk_stored_bytes + stats.loaded_bytes, 0);
    hand_close(&hand);
}

/* The head is read before what was asked for earlier. */
Test(pool, head_overtakes)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, on_disk, 1);
    hand_spill_each(&hand, 10, 512 * KIB);
    for (size_t i = 0; i < hand.count; i++)
        wait_state(hand.handles[i], RUN_STORED);
    gate_shut(FAULT_PREAD);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(hand.handles[i]->ops->prefetch(hand.handles[i], 0), 0);
    gate_wait(ENGINE_THREADS_USED);
    spw_handle *head = hand.handles[9], *hurried = hand.handles[7];
    struct engine *engine = hand.bed.pool->engine;
    cr_assert_eq(head->ops->prefetch(head, SPILLWAY_FETCH_HEAD), 0);
    cr_assert_eq(hurried->ops->prefetch(hurried, SPILLWAY_FETCH_HEAD), 0);
    cr_assert(engine_is_pending(engine, &((struct run *)head)->flight->pieces.first.job));
    cr_assert(engine_is_pending(engine, &((struct run *)hurried)->flight->pieces.first.job));
    cr_assert_eq(bed_stats(&hand.bed).late_runs_total, 2);
    gate_open();
    cr_assert_eq(fetch(head, 0, &out), 0);
    cr_assert(chunks_are(&out, 9 * 512 * KIB, 1, 512 * KIB));
    hand.count--;
    drop_all(&hand);
    hand_close(&hand);
}

/* ---- held ---- */

/* A run that the disk has refused. */
static void hold_begin(struct hand *hand, spw_chunks chunks)
{
    hand_open(hand, on_disk, 1);
    fault_fail(FAULT_FALLOCATE, 0, FAULT_ALWAYS, -ENOSPC);
    cr_assert_eq(hand_spill(hand, chunks), 1);
    wait_state(hand->handles[0], RUN_HELD);
    spw_stats stats = bed_quiet(&hand->bed);
    cr_assert_gt(stats.held_bytes, 0);
    cr_assert_eq(stats.full_total, 1);
    cr_assert_eq(stats.staging_bytes, 0);
}

Test(pool, held_is_handed_over_as_it_is)
{
    struct hand hand;
    spw_chunks out, chunks = stream_chunks(3, 1, CHUNK);
    const unsigned char *where = spw_chunks_peek(&chunks)->data;
    struct bell bell = bell_make();
    hold_begin(&hand, chunks);
    cr_assert_eq(arm(hand.handles[0], &bell), 1);
    cr_assert_eq(hand.handles[0]->ops->prefetch(hand.handles[0], 0), 0);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), 0);
    cr_assert_eq(spw_chunks_peek(&out)->data, where);
    cr_assert(chunks_are(&out, 3, 1, CHUNK));
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.elided_bytes_total, CHUNK);
    cr_assert_eq(stats.held_bytes + stats.resident_foreign_bytes, 0);
    hand_close(&hand);
}

Test(pool, held_and_dropped_is_gone)
{
    struct hand hand;
    hold_begin(&hand, stream_chunks(3, 300, 1000));
    drop_all(&hand);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.elided_runs_total, 1);
    cr_assert_eq(stats.held_bytes + stats.resident_foreign_bytes + stats.runs, 0);
    hand_close(&hand);
}

Test(pool, held_is_offered_again)
{
    struct hand hand;
    spw_chunks out;
    hold_begin(&hand, stream_chunks(3, 300, 1000));
    fault_heal(FAULT_FALLOCATE);
    for (unsigned i = 0; i < 30000 && bed_stats(&hand.bed).held_bytes > 0; i++) {
        hand.strategy->ops->room_bytes(hand.strategy);
        nap();
    }
    wait_state(hand.handles[0], RUN_STORED);
    cr_assert_eq(bed_quiet(&hand.bed).spilled_bytes_total, 300000);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 3, 300, 1000));
    hand_close(&hand);
}

/* ---- failed ---- */

Test(pool, failed_read_is_told_and_tried_again)
{
    struct hand hand;
    spw_chunks out;
    struct bell bell = bell_make();
    hand_open_stored(&hand, on_disk, 1, stream_chunks(3, 300, 1000));
    fault_fail(FAULT_PREAD, 0, 3, -EIO);
    gate_shut(FAULT_PREAD);
    cr_assert_eq(arm(hand.handles[0], &bell), 0);
    gate_open();
    bell_must_ring(&bell); /* a failure is news, too */
    cr_assert_eq((int)state_of(hand.handles[0]), RUN_FAILED);
    cr_assert_eq(hand.handles[0]->ops->prefetch(hand.handles[0], 0), -EIO);
    cr_assert_eq(arm(hand.handles[0], &bell), 1);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), -EIO);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.read_errors_total, 3);
    cr_assert_eq(stats.reading_bytes + stats.loaded_bytes, 0);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 3, 300, 1000));
    hand_close(&hand);
}

Test(pool, failed_and_dropped_gives_its_place_back)
{
    struct hand hand;
    spw_chunks out;
    hand_open_stored(&hand, on_disk, 1, stream_chunks(3, 1, CHUNK));
    fault_fail(FAULT_PREAD, 0, FAULT_ALWAYS, -EIO);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(fetch(hand.handles[0], 0, &out), -EIO);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(fetch(hand.handles[0], 0, &out), -ENOTRECOVERABLE);
    drop_all(&hand);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.lost_runs_total, 1);
    cr_assert_eq(stats.disk_stored_bytes + stats.wasted_runs_total, 0);
    hand_close(&hand);
}

/* ---- demotion ---- */

static const struct setting both[] = {
    {"memory", "64MiB"}, {"memory_tier", "32MiB"}, {"engine", "threads"}, {NULL, NULL}};

/* A run in the memory tier, and its demotion stopped at the device. */
static void demote_begin(struct hand *hand, spw_chunks chunks)
{
    uint64_t started, bytes = chunks.bytes;
    hand_open(hand, both, 1);
    cr_assert_eq(hand_spill(hand, chunks), 1);
    wait_state(hand->handles[0], RUN_STORED);
    cr_assert_eq(bed_quiet(&hand->bed).memory_tier_stored_bytes > 0, 1);
    gate_shut(FAULT_PWRITE);
    cr_assert_eq(spw_pool_demote(hand->bed.pool, bytes - 1, &started), 0);
    cr_assert_eq(started, 0, "more than asked for");
    cr_assert_eq(spw_pool_demote(hand->bed.pool, bytes, &started), 0);
    cr_assert_eq(started, bytes);
    gate_wait(1);
    cr_assert_eq((int)state_of(hand->handles[0]), RUN_DEMOTING);
}

Test(pool, demoting_is_handed_over)
{
    struct hand hand;
    spw_chunks out;
    demote_begin(&hand, stream_chunks(3, 1, CHUNK));
    struct bell bell = bell_make();
    cr_assert_eq(arm(hand.handles[0], &bell), 1);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), 0);
    cr_assert_eq(bed_stats(&hand.bed).fetched_memory_bytes_total, CHUNK);
    gate_open();
    bed_quiet(&hand.bed);
    cr_assert(chunks_are(&out, 3, 1, CHUNK));
    cr_assert_eq(bed_stats(&hand.bed).demoted_bytes_total, 0);
    hand_close(&hand);
}

/* Several chunks have to be listed by an engine's thread, from memory: the device may hang. */
Test(pool, demoting_many_chunks_is_read_from_memory)
{
    struct hand hand;
    spw_chunks out;
    demote_begin(&hand, stream_chunks(3, 300, 1000));
    struct bell bell = bell_make();
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), -EAGAIN);
    int ready = arm(hand.handles[0], &bell);
    cr_assert_geq(ready, 0);
    cr_assert_eq(fetch(hand.handles[0], 0, &out), 0);
    cr_assert(chunks_are(&out, 3, 300, 1000));
    if (!ready)
        bell_must_ring(&bell);
    gate_open();
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.demoted_bytes_total, 0);
    cr_assert_eq(stats.fetched_memory_bytes_total, 300000);
    hand_close(&hand);
}

Test(pool, demoting_and_dropped_ends_by_itself)
{
    struct hand hand;
    demote_begin(&hand, stream_chunks(3, 300, 1000));
    drop_all(&hand);
    gate_open();
    hand_close(&hand);
}

Test(pool, demoted_comes_back_from_disk)
{
    struct hand hand;
    spw_chunks out;
    demote_begin(&hand, stream_chunks(3, 1, 5 * MIB + 11));
    gate_open();
    wait_state(hand.handles[0], RUN_STORED);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.memory_tier_stored_bytes, 0);
    cr_assert_eq(stats.demoted_bytes_total, 5 * MIB + 11);
    cr_assert_eq(stats.copied_bytes_total, 5 * MIB + 11, "no second copy");
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 3, 1, 5 * MIB + 11));
    hand_close(&hand);
}

Test(pool, failed_demotion_leaves_the_run_in_memory)
{
    struct hand hand;
    spw_chunks out;
    demote_begin(&hand, stream_chunks(3, 1, 11 * MIB));
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EIO);
    gate_open(); /* the first pieces pass, the others fail */
    wait_state(hand.handles[0], RUN_STORED);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.disk_stored_bytes, 0);
    cr_assert_eq(stats.quarantined_dirs, 1);
    cr_assert_eq(stats.demoted_bytes_total, 0);
    uint64_t reads = fault_calls(FAULT_PREAD);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert_eq(fault_calls(FAULT_PREAD), reads);
    cr_assert(chunks_are(&out, 3, 1, 11 * MIB));
    hand_close(&hand);
}

Test(pool, demotion_without_memory_changes_nothing)
{
    struct hand hand;
    spw_chunks out;
    uint64_t started = 1;
    hand_open_stored(&hand, both, 1, stream_chunks(3, 1, 5 * MIB));
    bed_quiet(&hand.bed);
    for (uint64_t n = 1; n <= 2; n++) {
        fault_alloc_after(n);
        cr_assert_eq(spw_pool_demote(hand.bed.pool, UINT64_MAX, &started), -ENOMEM);
        cr_assert_eq(started, 0);
        cr_assert_eq((int)state_of(hand.handles[0]), RUN_STORED);
    }
    fault_alloc_after(0);
    cr_assert_eq(fetch_nowait(hand.handles[0], &out), 0);
    cr_assert(chunks_are(&out, 3, 1, 5 * MIB));
    hand_close(&hand);
}

/* Once it has begun, it goes on with less, or leaves the run where it is. */
Test(pool, demotion_with_little_memory_loses_nothing)
{
    struct hand hand;
    spw_chunks out;
    for (uint64_t n = 3; n <= 8; n++) {
        hand_open_stored(&hand, both, 1, stream_chunks(3, 1, 5 * MIB));
        bed_quiet(&hand.bed);
        fault_alloc_after(n);
        cr_assert_eq(spw_pool_demote(hand.bed.pool, UINT64_MAX, NULL), 0);
        wait_state(hand.handles[0], RUN_STORED);
        fault_alloc_after(0);
        cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
        cr_assert(chunks_are(&out, 3, 1, 5 * MIB));
        hand_close(&hand);
    }
}

Test(pool, demotion_needs_both_tiers)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    cr_assert_eq(spw_pool_demote(hand.bed.pool, MIB, NULL), -ENODEV);
    hand_close(&hand);
}

/* ---- the budget of reads ---- */

/* Reads ahead stay inside the budget; the head may always be read: its buffer is reserved. */
Test(pool, prefetch_stays_inside_the_budget)
{
    static const struct setting small[] = {
        {"memory", "1MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
    struct hand hand;
    spw_chunks out, head_out;
    hand_open(&hand, small, 1);
    hand_spill_each(&hand, 30, 128 * KIB);
    for (size_t i = 0; i < hand.count; i++)
        wait_state(hand.handles[i], RUN_STORED);
    for (size_t i = 0; i < hand.count; i++)
        cr_assert_eq(hand.handles[i]->ops->prefetch(hand.handles[i], 0), 0);
    size_t started = (size_t)bed_stats(&hand.bed).prefetched_runs_total;
    cr_assert_gt(started, 2);
    cr_assert_lt(started, 9, "more than the budget");
    for (size_t i = 0; i < started; i++)
        wait_state(hand.handles[i], RUN_LOADED);
    /* A loaded run brings a small block of entries. */
    cr_assert_leq(bed_stats(&hand.bed).used_peak_bytes, MIB + 16 * KIB);
    cr_assert_gt(bed_stats(&hand.bed).reserve_bytes, 0);
    spw_handle *head = hand.handles[29];
    cr_assert_eq(fetch(head, SPILLWAY_FETCH_HEAD, &head_out), 0);
    spw_stats stats = bed_stats(&hand.bed);
    cr_assert_eq(stats.reserve_bytes, 0, "in use");
    cr_assert_leq(stats.used_peak_bytes, MIB + 16 * KIB);
    cr_assert_eq(stats.over_budget_total, 0);
    /* And another, with the reserve out: over the budget, and counted. */
    cr_assert_eq(fetch(hand.handles[28], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert_eq(bed_stats(&hand.bed).over_budget_total, 1);
    cr_assert(chunks_are(&out, 28 * 128 * KIB, 1, 128 * KIB));
    cr_assert(chunks_are(&head_out, 29 * 128 * KIB, 1, 128 * KIB));
    cr_assert_gt(bed_quiet(&hand.bed).reserve_bytes, 0, "it is back");
    hand.count = 28;
    drop_all(&hand);
    hand_close(&hand);
}

/* ---- what it costs ---- */

Test(pool, resident_metadata_of_a_run)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    cr_assert_leq(sizeof(struct run), 160);
    hand_spill(&hand, stream_chunks(0, 1, 64 * KIB)); /* whatever is needed once */
    wait_state(hand.handles[0], RUN_STORED);
    bed_quiet(&hand.bed);
    int64_t before = fault_alloc_live_bytes();
    for (size_t i = 0; i < 20; i++)
        hand_spill(&hand, stream_chunks(0, 700, 100));
    for (size_t i = 0; i < hand.count; i++)
        wait_state(hand.handles[i], RUN_STORED);
    bed_quiet(&hand.bed);
    int64_t runs = (int64_t)hand.count - 1, each = (fault_alloc_live_bytes() - before) / runs;
    cr_assert_geq(runs, 20);
    cr_assert_leq(each, 160, "%lld bytes a run", (long long)each);
    drop_all(&hand);
    hand_close(&hand);
}

Test(pool, slabs_are_written_without_a_copy)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    hand_spill(&hand, slab_chunk(hand.bed.pool, 0, 300001, 17));
    hand_spill(&hand, slab_chunk(hand.bed.pool, 0, 3 * MIB, 4096));
    wait_state(hand.handles[0], RUN_STORED);
    wait_state(hand.handles[1], RUN_STORED);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.copied_bytes_total, 0);
    cr_assert_eq(stats.direct_bytes_total, 300001 + 3 * MIB);
    cr_assert_eq(stats.spilled_bytes_total, stats.direct_bytes_total);
    drop_all(&hand);
    hand_close(&hand);
}

/* Pages that were swapped out come in at once, not a few at each touch; without the hint too. No
 * call is spent on it as long as memory was never short. */
Test(pool, pages_that_are_written_are_asked_for_first)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    hand_spill(&hand, slab_chunk(hand.bed.pool, 0, MIB, 0));
    wait_state(hand.handles[0], RUN_STORED);
    cr_assert_neq(fault_last(FAULT_ADVISE).argument, MADV_WILLNEED);
    atomic_store(&hand.bed.pool->was_short, true);
    for (unsigned refused = 0; refused < 2; refused++) {
        if (refused)
            fault_fail_when(FAULT_ADVISE, MADV_WILLNEED, 0, FAULT_ALWAYS, -ENOMEM);
        hand_spill(&hand, slab_chunk(hand.bed.pool, 0, MIB, 0));
        wait_state(hand.handles[2 * refused + 1], RUN_STORED);
        struct fault_args last = fault_last(FAULT_ADVISE);
        cr_assert_eq(last.argument, MADV_WILLNEED);
        cr_assert_geq(last.len, MIB, "its own pages");
        hand_spill(&hand, stream_chunks(0, 1, 300001));
        wait_state(hand.handles[2 * refused + 2], RUN_STORED);
        last = fault_last(FAULT_ADVISE);
        cr_assert_eq(last.argument, MADV_WILLNEED);
        cr_assert_geq(last.len, 300001, "what is copied");
        cr_assert_lt(last.len, MIB);
    }
    bed_quiet(&hand.bed);
    drop_all(&hand);
    hand_close(&hand);
}

Test(pool, foreign_bytes_are_copied_once)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, on_disk, 1);
    hand_spill(&hand, stream_chunks(0, 1, 300001));
    hand_spill(&hand, stream_chunks(0, 200, 1001));
    hand_spill(&hand, stream_chunks(0, 1, 3 * MIB));
    uint64_t bytes = 300001 + 200 * 1001 + 3 * MIB;
    for (size_t i = 0; i < hand.count; i++)
        wait_state(hand.handles[i], RUN_STORED);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.copied_bytes_total, bytes);
    cr_assert_eq(stats.direct_bytes_total, 0);
    for (size_t i = 0; i < hand.count; i++) {
        cr_assert_eq(fetch(hand.handles[i], SPILLWAY_FETCH_HEAD, &out), 0);
        spw_chunks_clear(&out);
    }
    cr_assert_eq(bed_quiet(&hand.bed).copied_bytes_total, bytes,
                 "nothing is copied on the way back");
    hand_close(&hand);
}

/* What was fetched can go on through another queue, and be spilled from where it is. */
Test(pool, fetched_bytes_spill_again_from_their_buffer)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, on_disk, 1);
    hand_spill(&hand, slab_chunk(hand.bed.pool, 31, 300001, 17));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(fetch(hand.handles[i], SPILLWAY_FETCH_HEAD, &out), 0);
        cr_assert_eq(hand_spill(&hand, out), 1);
        wait_state(hand.handles[i + 1], RUN_STORED);
    }
    cr_assert_eq(bed_quiet(&hand.bed).copied_bytes_total, 0);
    cr_assert_eq(fetch(hand.handles[3], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 31, 1, 300001));
    hand_close(&hand);
}

/* Warm memory serves again; hardly anything is mapped in steady state. */
Test(pool, steady_state_maps_nothing)
{
    struct hand hand;
    spw_chunks out;
    uint64_t maps = 0;
    hand_open(&hand, on_disk, 1);
    for (unsigned i = 0; i < 60; i++) {
        if (i == 10)
            maps = fault_calls(FAULT_MAP);
        hand_spill(&hand, stream_chunks(0, 1, 200000));
        hand_spill(&hand, slab_chunk(hand.bed.pool, 0, 200000, 0));
        for (unsigned j = 0; j < 2; j++) {
            wait_state(hand.handles[j], RUN_STORED);
            cr_assert_eq(fetch(hand.handles[j], SPILLWAY_FETCH_HEAD, &out), 0);
            cr_assert(chunks_are(&out, 0, 1, 200000));
        }
        hand.count = 0;
        bed_quiet(&hand.bed);
    }
    /* The next run may be on its way before the last one's buffer is back. */
    cr_assert_leq(fault_calls(FAULT_MAP), maps + 2);
    hand_close(&hand);
}

Test(pool, window_is_bounded)
{
    struct hand hand;
    hand_open(&hand, on_disk, 1);
    gate_shut(FAULT_PWRITE);
    uint64_t room = hand.strategy->ops->room_bytes(hand.strategy);
    cr_assert_eq(room, hand.bed.pool->window_bytes);
    size_t more = 1;
    while (more > 0 && hand.count < 24) {
        more = hand.strategy->ops->room_bytes(hand.strategy) > 0
                   ? hand_spill(&hand, stream_chunks(0, 1, MIB))
                   : 0;
        cr_assert_leq(bed_stats(&hand.bed).in_flight_bytes, hand.bed.pool->window_bytes);
    }
    cr_assert_eq(hand.strategy->ops->room_bytes(hand.strategy), 0, "full");
    cr_assert_geq(hand.count, 2);
    gate_open();
    drop_all(&hand);
    hand_close(&hand);
}
