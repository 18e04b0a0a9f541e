/* SPDX-License-Identifier: MIT */
/* Entries of many pieces: several on their way at a time, in any order, one of them failing. */
#include <errno.h>
#include <stdlib.h>

#include "harness.h"
#include "pool_tools.h"

/* Half of the threads that one direction may have: two lanes. */
static const struct setting threads[] = {
    {"memory", "64MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting ring[] = {
    {"memory", "64MiB"}, {"engine", "io_uring"}, {"tiers", "disk"}, {NULL, NULL}};

enum { LANES = 2 };
#define LEN  ((size_t)9 * MIB + 1234) /* 5 pieces */
#define SKIP 17                       /* unaligned, in a slab */

static void large_spill(struct hand *large, bool slab)
{
    large->count = 0; /* one at a time */
    hand_spill_run(large,
                   slab ? slab_chunk(large->bed.pool, 7, LEN, SKIP) : stream_chunks(7, 1, LEN));
}

static void large_spill_and_wait(struct hand *large, bool slab)
{
    large_spill(large, slab);
    wait_state(large->handles[0], RUN_STORED);
}

static void large_fetch(struct hand *large)
{
    spw_chunks out = SPILLWAY_CHUNKS_NONE;
    cr_assert_eq(large->handles[0]->ops->fetch(large->handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 7, 1, LEN));
}

/* ---- several at a time ---- */

static void writes_together(bool slab)
{
    struct hand large;
    hand_open(&large, threads, 1);
    gate_shut(FAULT_PWRITE);
    large_spill(&large, slab);
    gate_wait(LANES);
    spw_stats stats = bed_stats(&large.bed);
    cr_assert_eq(stats.staging_bytes, slab ? 0 : LANES * RUN_MAX_BYTES);
    cr_assert_leq(stats.used_bytes, stats.budget_bytes);
    gate_open();
    wait_state(large.handles[0], RUN_STORED);
    stats = bed_quiet(&large.bed);
    cr_assert_eq(stats.copied_bytes_total, slab ? 0 : LEN);
    cr_assert_eq(stats.direct_bytes_total, slab ? LEN : 0);
    large_fetch(&large);
    cr_assert_eq(bed_stats(&large.bed).copied_bytes_total, slab ? 0 : LEN);
    hand_close(&large);
}

Test(large, pieces_of_a_slab_are_written_together)
{
    writes_together(true);
}

Test(large, pieces_of_foreign_bytes_are_written_together)
{
    writes_together(false);
}

Test(large, pieces_are_read_together)
{
    struct hand large;
    hand_open(&large, threads, 1);
    large_spill_and_wait(&large, true);
    gate_shut(FAULT_PREAD);
    cr_assert_eq(large.handles[0]->ops->prefetch(large.handles[0], SPILLWAY_FETCH_NOWAIT), 0);
    gate_wait(LANES);
    gate_open();
    large_fetch(&large);
    hand_close(&large);
}

Test(large, round_trips_through_the_ring)
{
    struct hand large;
    hand_open(&large, ring, 1);
    for (unsigned i = 0; i < 4; i++) {
        large_spill_and_wait(&large, i % 2 == 0);
        large_fetch(&large);
    }
    hand_close(&large);
}

/* A small window has one lane, and no more staging than that. */
Test(large, small_windows_move_piece_by_piece)
{
    static const struct setting small[] = {
        {"memory", "12MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
    struct hand large;
    hand_open(&large, small, 1);
    gate_shut(FAULT_PWRITE);
    large_spill(&large, false);
    gate_wait(1);
    cr_assert_eq(bed_stats(&large.bed).staging_bytes, RUN_MAX_BYTES);
    gate_open();
    wait_state(large.handles[0], RUN_STORED);
    large_fetch(&large);
    hand_close(&large);
}

/* Without room for more staging there are fewer lanes. */
Test(large, lanes_need_room_in_the_budget)
{
    struct hand large;
    spw_slab *slab;
    hand_open(&large, threads, 1);
    cr_assert_eq(spw_pool_slab_open(large.bed.pool, 50 * MIB, SPILLWAY_EXTEND_NOWAIT, &slab), 0);
    gate_shut(FAULT_PWRITE);
    large_spill(&large, false);
    gate_wait(1);
    cr_assert_leq(bed_stats(&large.bed).staging_bytes, RUN_MAX_BYTES);
    gate_open();
    wait_state(large.handles[0], RUN_STORED);
    spw_slab_close(slab);
    large_fetch(&large);
    hand_close(&large);
}

/* ---- on a device that hangs ---- */

/* What is being written, or read, hangs with as many pieces as it may have on their way: the data
 * of others still comes back. */
static void hung_entry_leaves_room(bool written)
{
    struct hand large;
    hand_open(&large, threads, 1);
    hand_spill_run(&large, stream_chunks(0, 1, 500000));
    spw_handle *small = large.handles[0];
    spw_chunks out = SPILLWAY_CHUNKS_NONE;
    wait_state(small, RUN_STORED);
    if (!written)
        large_spill_and_wait(&large, true);
    gate_shut(written ? FAULT_PWRITE : FAULT_PREAD);
    if (written)
        large_spill(&large, true);
    else
        cr_assert_eq(large.handles[0]->ops->prefetch(large.handles[0], SPILLWAY_FETCH_HEAD), 0);
    gate_wait(LANES);
    if (written) {
        cr_assert_eq(small->ops->fetch(small, SPILLWAY_FETCH_HEAD, &out), 0); /* or it hangs */
    } else { /* the same device: its read is at least on its way */
        cr_assert_eq(small->ops->prefetch(small, SPILLWAY_FETCH_HEAD), 0);
        gate_wait(LANES + 1);
        gate_open();
        cr_assert_eq(small->ops->fetch(small, SPILLWAY_FETCH_HEAD, &out), 0);
    }
    cr_assert(chunks_are(&out, 0, 1, 500000));
    gate_open();
    large_fetch(&large);
    hand_close(&large);
}

Test(large, a_large_write_that_hangs_blocks_no_read)
{
    hung_entry_leaves_room(true);
}

Test(large, a_large_read_that_hangs_leaves_threads_to_others)
{
    hung_entry_leaves_room(false);
}

/* ---- wanted meanwhile ---- */

static void taken_while_written(bool slab, bool drop, unsigned passed)
{
    struct hand large;
    hand_open(&large, threads, 1);
    gate_shut(FAULT_PWRITE);
    large_spill(&large, slab);
    gate_wait(passed);
    if (drop)
        large.handles[0]->ops->drop(large.handles[0]);
    else
        large_fetch(&large);
    gate_open();
    hand_close(&large);
}

Test(large, fetched_while_pieces_are_written)
{
    taken_while_written(true, false, 1);
    taken_while_written(false, false, 1);
    taken_while_written(true, false, LANES);
    taken_while_written(false, false, LANES);
}

Test(large, dropped_while_pieces_are_written)
{
    taken_while_written(true, true, 1);
    taken_while_written(false, true, 1);
    taken_while_written(true, true, LANES);
    taken_while_written(false, true, LANES);
}

Test(large, dropped_while_pieces_are_read)
{
    for (unsigned i = 1; i <= LANES; i += LANES - 1) {
        struct hand large;
        hand_open(&large, threads, 1);
        large_spill_and_wait(&large, true);
        gate_shut(FAULT_PREAD);
        cr_assert_eq(large.handles[0]->ops->prefetch(large.handles[0], SPILLWAY_FETCH_NOWAIT), 0);
        gate_wait(i);
        large.handles[0]->ops->drop(large.handles[0]);
        gate_open();
        hand_close(&large);
    }
}

/* ---- one of them fails ---- */

/* Whichever piece it is, the whole goes to the other directory. */
static void write_fails(const struct setting *settings, enum fault kind, bool slab)
{
    for (uint32_t n = 0; n < 5; n += 2) {
        struct hand large;
        hand_open(&large, settings, 2);
        fault_fail(kind, n, 1, -EIO);
        large_spill_and_wait(&large, slab);
        fault_clear();
        spw_stats stats = bed_quiet(&large.bed);
        cr_assert_eq(stats.write_errors_total, 1);
        cr_assert_eq(stats.quarantined_dirs, 1);
        large_fetch(&large);
        hand_close(&large);
    }
}

Test(large, any_write_may_fail)
{
    write_fails(threads, FAULT_PWRITE, true);
    write_fails(threads, FAULT_PWRITE, false);
}

Test(large, any_write_of_the_ring_may_fail)
{
    write_fails(ring, FAULT_RING_WRITE, true);
    write_fails(ring, FAULT_RING_WRITE, false);
}

/* All at once, and everywhere: it stays resident, whole. */
Test(large, all_writes_fail)
{
    struct hand large;
    hand_open(&large, threads, 2);
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EIO);
    large_spill(&large, false);
    wait_stat(&large.bed, held_bytes, ==, LEN);
    cr_assert_eq(bed_stats(&large.bed).disk_stored_bytes, 0);
    cr_assert_eq(bed_stats(&large.bed).staging_bytes, 0);
    large_fetch(&large);
    hand_close(&large);
}

static void read_fails(const struct setting *settings, enum fault kind, bool corrupt)
{
    for (uint32_t n = 0; n < 5; n += 2) {
        struct hand large;
        hand_open(&large, settings, 1);
        large_spill_and_wait(&large, n == 0);
        if (corrupt)
            fault_corrupt(kind, n, 1);
        else
            fault_fail(kind, n, 1, -EIO);
        large_fetch(&large);
        fault_clear();
        spw_stats stats = bed_quiet(&large.bed);
        cr_assert_eq(corrupt ? stats.checksum_errors_total : stats.read_errors_total, 1);
        cr_assert_eq(stats.lost_runs_total, 0);
        hand_close(&large);
    }
}

Test(large, any_read_may_fail_once)
{
    read_fails(threads, FAULT_PREAD, false);
}

Test(large, any_read_of_the_ring_may_fail_once)
{
    read_fails(ring, FAULT_RING_READ, false);
}

Test(large, a_wrong_byte_in_any_piece_is_noticed)
{
    read_fails(threads, FAULT_PREAD, true);
}

/* Pieces that changed places are not what was written, whatever the sum of what they hold. */
Test(large, pieces_in_the_wrong_place_are_noticed)
{
    struct hand large;
    spw_chunks out = SPILLWAY_CHUNKS_NONE;
    hand_open(&large, threads, 1);
    large_spill_and_wait(&large, true);
    struct run *run = (struct run *)large.handles[0];
    struct extent first = *run_extent(run, 1);
    *run_extent(run, 1) = *run_extent(run, 2);
    *run_extent(run, 2) = first;
    cr_assert_eq(large.handles[0]->ops->fetch(large.handles[0], SPILLWAY_FETCH_HEAD, &out),
                 -EBADMSG);
    large.handles[0]->ops->drop(large.handles[0]);
    hand_close(&large);
}

/* Whichever allocation fails, fewer lanes do, or the run stays resident for a while. */
static void an_allocation_fails(uint64_t n, bool slab)
{
    struct hand large;
    hand_open(&large, threads, 1);
    gate_shut(FAULT_FALLOCATE);
    large_spill(&large, slab);
    gate_wait(1);
    fault_alloc_after(n);
    gate_open();
    wait_stat(&large.bed, in_flight_bytes, ==, 0);
    fault_alloc_after(n);
    int err = large.handles[0]->ops->prefetch(large.handles[0], SPILLWAY_FETCH_NOWAIT);
    cr_assert(err == 0 || err == -ENOMEM);
    bed_quiet(&large.bed);
    fault_alloc_after(0);
    spw_chunks out;
    err = fetch(large.handles[0], SPILLWAY_FETCH_HEAD, &out);
    if (err == -ENOMEM) /* told of the read that failed */
        large_fetch(&large);
    else
        cr_assert(err == 0 && chunks_are(&out, 7, 1, LEN));
    hand_close(&large);
}

Test(large, allocations_may_fail)
{
    for (uint64_t n = 1; n <= 6; n++) {
        an_allocation_fails(n, false);
        an_allocation_fails(n, true);
    }
}

/* ---- the budget ---- */

/* Pushes entries of `len` bytes, `ahead` of the reader at most, and drains them all. */
static spw_stats budget_trip(size_t len, unsigned count, unsigned ahead, bool slabs)
{
    struct bed bed;
    bed_open(&bed, threads, 1);
    struct ends ends = ends_open(&bed);
    unsigned char *foreign = calloc(1, len);
    cr_assert_not_null(foreign);
    unsigned pushed = 0, drained = 0;
    while (drained < count) {
        spw_bytes bytes;
        spw_slab *slab = NULL;
        if (pushed < count && pushed < drained + ahead) {
            if (slabs) {
                cr_assert_eq(spw_pool_slab_open(bed.pool, len, 0, &slab), 0);
                cr_assert_eq(spw_slab_cut(slab, len, &bytes), 0);
                spw_slab_close(slab);
            } else {
                cr_assert_eq(spw_bytes_wrap(foreign, len, NULL, NULL, &fault_allocator, &bytes), 0);
            }
            cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
            pushed++;
        } else {
            cr_assert_eq(spw_reader_drain_wait(ends.reader, &bytes, 1, SPILLWAY_FOREVER), 1);
            cr_assert_eq(bytes.len, len);
            spw_bytes_release(&bytes);
            drained++;
        }
    }
    ends_close(&ends);
    spw_stats stats = bed_quiet(&bed);
    free(foreign);
    bed_close(&bed);
    return stats;
}

/* The bound that pool.h states. */
static void budget_holds(size_t len)
{
    enum { COUNT = 24 };
    for (unsigned way = 0; way < 4; way++) {
        spw_stats stats = budget_trip(len, COUNT, way / 2 ? COUNT : 8, way % 2);
        cr_assert_leq(stats.used_peak_bytes, stats.budget_bytes + 2 * len + 16 * MIB,
                      "%llu bytes at the peak", (unsigned long long)stats.used_peak_bytes);
        cr_assert_eq(stats.fetched_bytes_total, stats.spilled_bytes_total);
        if (way / 2)
            cr_assert_gt(stats.spilled_bytes_total, COUNT * len / 2);
    }
}

Test(large, budget_with_entries_beyond_half_a_window)
{
    budget_holds(10 * MIB);
}

Test(large, budget_with_entries_beyond_the_window)
{
    budget_holds(20 * MIB);
}
