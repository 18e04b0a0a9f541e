/* SPDX-License-Identifier: MIT */
/* Slabs that lie in the memory tier's segments, and runs that adopt what was cut from them. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "../lib/block.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#define SLAB  ((size_t)(1 * MIB)) /* what a budget of 8 MiB gives */
#define CHUNK ((size_t)200000)

static const struct setting in_memory[] = {
    {"memory", "8MiB"}, {"memory_tier", "16MiB"}, {"tiers", "memory"}, {NULL, NULL}};
static const struct setting both[] = {
    {"memory", "8MiB"}, {"memory_tier", "16MiB"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting both_summed[] = {{"memory", "8MiB"},
                                             {"memory_tier", "16MiB"},
                                             {"engine", "threads"},
                                             {"checksum", "all"},
                                             {NULL, NULL}};

/* ---- tools ---- */

static spw_slab *slab_open(struct hand *hand, size_t bytes)
{
    spw_slab *slab;
    cr_assert_eq(spw_pool_slab_open(hand->bed.pool, bytes, 0, &slab), 0);
    return slab;
}

/* The next `len` bytes of a slab, which are what the stream has at `at`. */
static spw_bytes slab_cut(spw_slab *slab, uint64_t at, size_t len)
{
    spw_bytes bytes;
    stream_fill(spw_slab_space(slab), at, len);
    cr_assert_eq(spw_slab_cut(slab, len, &bytes), 0);
    return bytes;
}

static void fetch_is_right(struct run *run, uint64_t at, size_t len)
{
    spw_chunks out;
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, at, 1, len));
}

static void drop(struct run *run)
{
    run->handle.ops->drop(&run->handle);
}

struct wanted {
    struct run *run;
    enum run_state state;
    enum run_place place;
};

static bool is_so(void *context)
{
    struct wanted *wanted = context;
    pthread_mutex_lock(&wanted->run->pool->lock);
    bool so = wanted->run->state == wanted->state && wanted->run->place == wanted->place;
    pthread_mutex_unlock(&wanted->run->pool->lock);
    return so;
}

static void wait_for(struct run *run, enum run_state state, enum run_place place)
{
    struct wanted wanted = {run, state, place};
    cr_assert(wait_until(is_so, &wanted), "state %d, place %d", run->state, run->place);
}

static void is_adopted_now(struct run *run)
{
    struct wanted wanted = {run, RUN_STORED, PLACE_SHARED};
    cr_assert(is_so(&wanted), "state %d, place %d", run->state, run->place);
}

/* ---- slabs ---- */

Test(adopt, slab_lies_in_a_segment)
{
    struct hand hand;
    hand_open(&hand, in_memory, 0);
    uint64_t used = bed_stats(&hand.bed).used_bytes;
    spw_slab *slab = slab_open(&hand, 0);
    spw_bytes bytes = slab_cut(slab, 7, 1000), more = slab_cut(slab, 1007, 500);
    cr_assert_eq(spw_slab_capacity(slab), SLAB);
    cr_assert(stream_is(&bytes, 7));
    cr_assert_eq(mprotect((void *)(uintptr_t)bytes.data, 1, PROT_READ | PROT_WRITE), -1);
    cr_assert_eq(spw_bytes_try_merge(&bytes, &more), 1);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.memory_tier_slab_bytes, SLAB);
    cr_assert_eq(stats.memory_tier_stored_bytes, SLAB);
    cr_assert_eq(stats.used_bytes, used, "it is in the capacity, not in the budget");
    cr_assert_eq(stats.slab_bytes, 0);
    cr_assert_eq(spw_slab_regain(slab), -EBUSY);
    spw_bytes_release(&bytes);
    cr_assert_eq(spw_slab_regain(slab), 0);
    cr_assert_eq(spw_slab_room(slab), SLAB);
    bytes = slab_cut(slab, 0, SLAB);
    spw_slab_close(slab);
    cr_assert_eq(bed_stats(&hand.bed).memory_tier_slab_bytes, SLAB, "the bytes keep it");
    spw_bytes_release(&bytes);
    hand_close(&hand);
}

Test(adopt, slabs_have_the_same_sizes_everywhere)
{
    static const size_t asked[] = {1, 65536, 65537, 300000, 2 * MIB, 2 * MIB + 1};
    static const struct setting none[] = {{"memory", "64MiB"}, {"tiers", "disk"}, {NULL, NULL}};
    size_t capacity[6];
    struct hand hand;
    for (unsigned round = 0; round < 2; round++) {
        hand_open(&hand, round ? none : in_memory, 1);
        for (unsigned i = 0; i < 6; i++) {
            spw_slab *slab = slab_open(&hand, asked[i]);
            if (round == 0)
                capacity[i] = spw_slab_capacity(slab);
            cr_assert_geq(spw_slab_capacity(slab), asked[i]);
            cr_assert_eq(spw_slab_capacity(slab), capacity[i]);
            cr_assert_eq((uintptr_t)spw_slab_space(slab) % 4096, 0);
            spw_slab_close(slab);
        }
        hand_close(&hand);
    }
}

static void slab_is_a_buffer(struct hand *hand)
{
    spw_slab *slab = slab_open(hand, 0);
    spw_bytes bytes = slab_cut(slab, 0, CHUNK);
    cr_assert_eq(bed_stats(&hand->bed).memory_tier_slab_bytes, 0);
    cr_assert_eq(bed_stats(&hand->bed).slab_bytes, spw_slab_capacity(slab));
    spw_slab_close(slab);
    struct run *run = hand_spill_bytes(hand, bytes);
    wait_for(run, RUN_STORED, PLACE_MEMORY);
    cr_assert_eq(bed_quiet(&hand->bed).copied_bytes_total, CHUNK);
    cr_assert_eq(bed_stats(&hand->bed).adopted_bytes_total, 0);
    fetch_is_right(run, 0, CHUNK);
    hand_close(hand);
}

Test(adopt, strict_segments_are_filled_by_a_copy)
{
    static const struct setting settings[] = {{"memory", "8MiB"},
                                              {"memory_tier", "16MiB"},
                                              {"tiers", "memory"},
                                              {"seal", "strict"},
                                              {NULL, NULL}};
    struct hand hand;
    hand_open(&hand, settings, 0);
    slab_is_a_buffer(&hand);
}

Test(adopt, far_segments_are_filled_by_a_copy)
{
    static const struct setting settings[] = {{"memory", "8MiB"},
                                              {"memory_tier", "16MiB"},
                                              {"tiers", "memory"},
                                              {"nodes", "1"},
                                              {NULL, NULL}};
    struct hand hand;
    fault_file("/sys/devices/system/node/online", "0-1\n");
    fault_file("/sys/devices/system/node/has_memory", "0-1\n");
    fault_file("/sys/devices/system/node/has_cpu", "0\n");
    fault_file("/proc/self/status", "\nMems_allowed_list:\t0-1\n");
    fault_fail(FAULT_SET_POLICY, 0, FAULT_ALWAYS, 0);
    fault_node(1);
    hand_open(&hand, settings, 0);
    slab_is_a_buffer(&hand);
}

Test(adopt, a_full_tier_leaves_slabs_to_the_budget)
{
    struct hand hand;
    spw_slab *slabs[18];
    hand_open(&hand, in_memory, 0);
    for (unsigned i = 0; i < 18; i++)
        slabs[i] = slab_open(&hand, SLAB);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.memory_tier_slab_bytes, 16 * MIB);
    cr_assert_eq(stats.slab_bytes, 2 * MIB);
    spw_slab_close(slabs[3]); /* its neighbour in the segment stays */
    cr_assert_eq(bed_quiet(&hand.bed).memory_tier_slab_bytes, 15 * MIB);
    slabs[3] = slab_open(&hand, SLAB);
    cr_assert_eq(bed_quiet(&hand.bed).memory_tier_slab_bytes, 16 * MIB);
    for (unsigned i = 0; i < 18; i++)
        spw_slab_close(slabs[i]);
    hand_close(&hand);
}

Test(adopt, no_headroom_leaves_slabs_to_the_budget)
{
    struct hand hand;
    hand_open(&hand, in_memory, 0);
    fault_file("/proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 1000 kB\n");
    spw_slab *slab = slab_open(&hand, 0);
    cr_assert_eq(bed_quiet(&hand.bed).slab_bytes, SLAB);
    spw_slab_close(slab);
    hand_close(&hand);
}

/* The writer would have to wait for the budget, or be refused: not for what costs none of it. */
Test(adopt, a_full_budget_does_not_matter)
{
    struct hand hand;
    hand_open(&hand, in_memory, 0);
    struct ends ends = ends_open(&hand.bed);
    fault_fail(FAULT_MEMFD_CREATE, 0, 8, -EMFILE);
    spw_bytes bytes = stream_piece(0, 8 * MIB);
    cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    spw_slab *slab;
    fault_heal(FAULT_MEMFD_CREATE);
    wait_stat(&hand.bed, in_flight_bytes, ==, 0);
    cr_assert_eq(spw_pool_slab_open(hand.bed.pool, 0, SPILLWAY_EXTEND_BOUNDED, &slab), 0);
    spw_slab_close(slab);
    ends_close(&ends);
    hand_close(&hand);
}

/* ---- adoption ---- */

Test(adopt, spilling_moves_nothing)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, in_memory, 0);
    spw_slab *slab = slab_open(&hand, 0);
    spw_bytes bytes = slab_cut(slab, 3, SLAB);
    const unsigned char *data = bytes.data;
    spw_slab_close(slab);
    int64_t live = fault_alloc_live_bytes();
    struct run *run = hand_spill_bytes(&hand, bytes);
    is_adopted_now(run); /* no thread had to take part */
    /* With what the slab itself costs it is still no more than a run may. */
    cr_assert_leq(fault_alloc_live_bytes() - live + (int64_t)sizeof(struct slot_owner), 160);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.copied_bytes_total, 0);
    cr_assert_eq(stats.adopted_bytes_total, SLAB);
    cr_assert_eq(stats.spilled_memory_bytes_total, SLAB);
    cr_assert_eq(stats.spilled_runs_total, 1);
    cr_assert_eq(stats.memory_tier_stored_bytes, SLAB);
    cr_assert_eq(run->handle.ops->prefetch(&run->handle, 0), 0);
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), 0);
    cr_assert_eq(spw_chunks_peek(&out)->data, data);
    cr_assert(chunks_are(&out, 3, 1, SLAB));
    stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.fetched_memory_bytes_total, SLAB);
    cr_assert_eq(stats.prefetched_runs_total + stats.late_runs_total, 0);
    hand_close(&hand);
}

/* What came from the tier, however it got there, goes back without a copy. */
Test(adopt, fetched_bytes_can_be_spilled_again)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, in_memory, 0);
    struct run *run = hand_spill_bytes(&hand, stream_piece(5, CHUNK));
    wait_for(run, RUN_STORED, PLACE_MEMORY);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), 0);
        spw_bytes bytes;
        cr_assert_eq(spw_chunks_pop(&out, &bytes), 1);
        run = hand_spill_bytes(&hand, bytes);
        is_adopted_now(run);
    }
    cr_assert_eq(bed_stats(&hand.bed).copied_bytes_total, CHUNK);
    fetch_is_right(run, 5, CHUNK);
    hand_close(&hand);
}

/* Entries of one slab in runs of their own, which come back or are dropped in any order. */
Test(adopt, the_last_of_a_slab_frees_it)
{
    enum { PARTS = 5 };
    struct hand hand;
    struct run *runs[PARTS];
    hand_open(&hand, in_memory, 0);
    spw_slab *slab = slab_open(&hand, 0);
    spw_bytes kept = slab_cut(slab, 0, 1);
    for (unsigned i = 0; i < PARTS; i++) {
        spw_bytes gap = slab_cut(slab, 0, 13);
        runs[i] = hand_spill_bytes(&hand, slab_cut(slab, i, CHUNK));
        is_adopted_now(runs[i]);
        spw_bytes_release(&gap);
    }
    cr_assert_eq(bed_quiet(&hand.bed).adopted_bytes_total, PARTS * CHUNK);
    spw_slab_close(slab);
    drop(runs[2]);
    fetch_is_right(runs[4], 4, CHUNK);
    fetch_is_right(runs[0], 0, CHUNK);
    drop(runs[1]);
    spw_bytes_release(&kept);
    cr_assert_eq(bed_quiet(&hand.bed).memory_tier_slab_bytes, SLAB);
    fetch_is_right(runs[3], 3, CHUNK);
    cr_assert_eq(bed_quiet(&hand.bed).memory_tier_slab_bytes, 0);
    hand_close(&hand);
}

/* A small part would keep all of the slab from being used again. */
Test(adopt, small_parts_of_a_slab_are_copied)
{
    struct hand hand;
    hand_open(&hand, in_memory, 0);
    spw_slab *slab = slab_open(&hand, SLAB);
    struct run *small = hand_spill_bytes(&hand, slab_cut(slab, 0, SLAB / 8 - 1));
    struct run *enough = hand_spill_bytes(&hand, slab_cut(slab, 1, SLAB / 8));
    spw_slab_close(slab);
    slab = slab_open(&hand, 64 * KIB);
    struct run *tiny = hand_spill_bytes(&hand, slab_cut(slab, 2, 32 * KIB - 1));
    struct run *half = hand_spill_bytes(&hand, slab_cut(slab, 3, 32 * KIB));
    spw_slab_close(slab);
    wait_for(small, RUN_STORED, PLACE_MEMORY);
    wait_for(tiny, RUN_STORED, PLACE_MEMORY);
    is_adopted_now(enough);
    is_adopted_now(half);
    cr_assert_eq(bed_quiet(&hand.bed).copied_bytes_total, SLAB / 8 - 1 + 32 * KIB - 1);
    fetch_is_right(small, 0, SLAB / 8 - 1);
    fetch_is_right(enough, 1, SLAB / 8);
    fetch_is_right(tiny, 2, 32 * KIB - 1);
    fetch_is_right(half, 3, 32 * KIB);
    hand_close(&hand);
}

/* Not worth keeping, and no room for a copy: the disk has it, straight from the segment. */
Test(adopt, small_parts_of_a_slab_in_a_full_tier_go_to_disk)
{
    struct hand hand;
    spw_slab *slabs[8];
    hand_open(&hand, both, 1);
    for (unsigned i = 0; i < 8; i++)
        slabs[i] = slab_open(&hand, 2 * MIB);
    spw_bytes gap = slab_cut(slabs[0], 0, 777);
    struct run *run = hand_spill_bytes(&hand, slab_cut(slabs[0], 9, CHUNK));
    wait_for(run, RUN_STORED, PLACE_DISK);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.copied_bytes_total + stats.adopted_bytes_total, 0);
    cr_assert_eq(stats.direct_bytes_total, CHUNK);
    spw_bytes_release(&gap);
    fetch_is_right(run, 9, CHUNK);
    for (unsigned i = 0; i < 8; i++)
        spw_slab_close(slabs[i]);
    hand_close(&hand);
}

/* The payload is summed where it lies, by an engine thread, and checked on the way back. */
Test(adopt, checksums_of_adopted_bytes)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, both_summed, 1);
    spw_slab *slab = slab_open(&hand, 0);
    unsigned char *space = spw_slab_space(slab);
    struct run *wrong = hand_spill_bytes(&hand, slab_cut(slab, 0, CHUNK));
    struct run *right = hand_spill_bytes(&hand, slab_cut(slab, CHUNK, CHUNK));
    wait_for(wrong, RUN_STORED, PLACE_SHARED);
    wait_for(right, RUN_STORED, PLACE_SHARED);
    cr_assert_eq(bed_quiet(&hand.bed).copied_bytes_total, 0);
    cr_assert_eq(bed_stats(&hand.bed).adopted_bytes_total, 2 * CHUNK);
    space[77777] ^= 1; /* a producer that writes behind its back */
    cr_assert_eq(fetch(&wrong->handle, SPILLWAY_FETCH_HEAD, &out), -EBADMSG);
    fetch_is_right(right, CHUNK, CHUNK);
    drop(wrong);
    spw_slab_close(slab);
    hand_close(&hand);
}

/* ---- who holds what, until when ---- */

Test(adopt, bytes_outlive_run_slab_and_pool)
{
    struct hand hand;
    hand_open(&hand, in_memory, 0);
    spw_slab *slab = slab_open(&hand, 0);
    spw_bytes bytes = slab_cut(slab, 11, CHUNK), kept = spw_bytes_clone(&bytes);
    struct run *run = hand_spill_bytes(&hand, bytes);
    drop(run);
    cr_assert(stream_is(&kept, 11));
    cr_assert_eq(spw_pool_close_idle(hand.bed.pool), -EBUSY);
    hand.strategy->ops->close(hand.strategy);
    cr_assert_eq(spw_pool_close(hand.bed.pool), 0);
    spw_slab_close(slab);
    cr_assert(stream_is(&kept, 11));
    spw_bytes_release(&kept);
    nothing_left();
    bed_remove(&hand.bed);
}

Test(adopt, a_run_is_the_last)
{
    struct hand hand;
    hand_open(&hand, in_memory, 0);
    spw_slab *slab = slab_open(&hand, 0);
    struct run *run = hand_spill_bytes(&hand, slab_cut(slab, 11, CHUNK));
    spw_slab_close(slab);
    hand.strategy->ops->close(hand.strategy);
    cr_assert_eq(spw_pool_close(hand.bed.pool), 0);
    drop(run);
    nothing_left();
    bed_remove(&hand.bed);
}

Test(adopt, pools_do_not_adopt_from_each_other)
{
    struct hand one, other;
    hand_open(&one, in_memory, 0);
    hand_open(&other, in_memory, 0);
    spw_slab *slab = slab_open(&one, 0);
    struct run *run = hand_spill_bytes(&other, slab_cut(slab, 1, CHUNK));
    spw_slab_close(slab);
    wait_for(run, RUN_STORED, PLACE_MEMORY);
    cr_assert_eq(bed_quiet(&other.bed).copied_bytes_total, CHUNK);
    cr_assert_eq(bed_quiet(&one.bed).memory_tier_slab_bytes, 0);
    fetch_is_right(run, 1, CHUNK);
    one.strategy->ops->close(one.strategy);
    other.strategy->ops->close(other.strategy);
    cr_assert_eq(spw_pool_close_idle(one.bed.pool), 0);
    cr_assert_eq(spw_pool_close_idle(other.bed.pool), 0);
    nothing_left();
    bed_remove(&one.bed);
    bed_remove(&other.bed);
}

/* ---- demotion ---- */

static uint64_t demote(struct hand *hand)
{
    uint64_t started;
    cr_assert_eq(spw_pool_demote(hand->bed.pool, UINT64_MAX, &started), 0);
    return started;
}

static void demoted_is_identical(const struct setting *settings)
{
    struct hand hand;
    hand_open(&hand, settings, 1);
    spw_slab *slab = slab_open(&hand, 0);
    spw_bytes gap = slab_cut(slab, 0, 4097);
    struct run *first = hand_spill_bytes(&hand, slab_cut(slab, 1, CHUNK));
    struct run *second = hand_spill_bytes(&hand, slab_cut(slab, 2, SLAB - 4097 - CHUNK));
    wait_for(first, RUN_STORED, PLACE_SHARED);
    wait_for(second, RUN_STORED, PLACE_SHARED);
    cr_assert_eq(demote(&hand), SLAB - 4097);
    wait_for(first, RUN_STORED, PLACE_DISK);
    wait_for(second, RUN_STORED, PLACE_DISK);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.demoted_bytes_total, SLAB - 4097);
    cr_assert_eq(stats.copied_bytes_total, 0);
    cr_assert_eq(stats.memory_tier_slab_bytes, SLAB, "the producer holds it");
    spw_slab_close(slab);
    spw_bytes_release(&gap);
    cr_assert_eq(bed_quiet(&hand.bed).memory_tier_stored_bytes, 0);
    fetch_is_right(first, 1, CHUNK);
    fetch_is_right(second, 2, SLAB - 4097 - CHUNK);
    hand_close(&hand);
}

Test(adopt, demoted_is_identical)
{
    demoted_is_identical(both);
}

Test(adopt, demoted_is_identical_with_checksums)
{
    demoted_is_identical(both_summed);
}

Test(adopt, failed_demotion_changes_nothing)
{
    struct hand hand;
    hand_open(&hand, both, 1);
    spw_slab *slab = slab_open(&hand, 0);
    struct run *run = hand_spill_bytes(&hand, slab_cut(slab, 1, CHUNK));
    struct run *copy = hand_spill_bytes(&hand, stream_piece(3, CHUNK));
    spw_slab_close(slab);
    wait_for(copy, RUN_STORED, PLACE_MEMORY);
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EIO);
    cr_assert_eq(demote(&hand), 2 * CHUNK);
    wait_for(run, RUN_STORED, PLACE_SHARED);
    wait_for(copy, RUN_STORED, PLACE_SHARED); /* it has an owner now */
    cr_assert_eq(bed_quiet(&hand.bed).demoted_bytes_total, 0);
    fetch_is_right(run, 1, CHUNK);
    fetch_is_right(copy, 3, CHUNK);
    hand_close(&hand);
}

/* Two runs, of which the one stored last was tried, and stays. */
static void demotion_fails_once(struct hand *hand, struct run *runs[2], int err)
{
    hand_open(hand, both, 2); /* a directory that failed takes no more */
    for (unsigned i = 0; i < 2; i++) {
        runs[i] = hand_spill_bytes(hand, stream_piece(i, CHUNK));
        wait_for(runs[i], RUN_STORED, PLACE_MEMORY);
    }
    fault_fail(FAULT_PWRITE, 0, 1, err);
    uint64_t started;
    cr_assert_eq(spw_pool_demote(hand->bed.pool, CHUNK, &started), 0);
    cr_assert_eq(started, CHUNK);
    wait_for(runs[1], RUN_STORED, PLACE_SHARED);
    fault_clear();
}

static void hand_fetch_both(struct hand *hand, struct run *runs[2])
{
    for (unsigned i = 0; i < 2; i++)
        fetch_is_right(runs[i], i, CHUNK);
    hand_close(hand);
}

Test(adopt, after_a_failed_demotion_others_are_tried)
{
    struct hand hand;
    struct run *runs[2];
    demotion_fails_once(&hand, runs, -EIO);
    cr_assert_eq(spw_pool_demote(hand.bed.pool, CHUNK, NULL), 0);
    wait_for(runs[0], RUN_STORED, PLACE_DISK);
    cr_assert_eq(runs[1]->place, PLACE_SHARED);
    cr_assert_eq(demote(&hand), CHUNK, "then this one again");
    wait_for(runs[1], RUN_STORED, PLACE_DISK);
    cr_assert_eq(demote(&hand), 0);
    hand_fetch_both(&hand, runs);
}

/* As when it is stored. */
Test(adopt, a_full_disk_is_counted_once)
{
    struct hand hand;
    struct run *runs[2];
    demotion_fails_once(&hand, runs, -ENOSPC);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.enospc_total, 1);
    cr_assert_eq(stats.write_errors_total, 0);
    hand_fetch_both(&hand, runs);
}

/* However soon it is known that they cannot be moved. */
Test(adopt, a_demotion_begins_each_run_once)
{
    enum { COUNT = 512 };
    static const struct setting no_room[] = {{"memory", "8MiB"},       {"memory_tier", "64MiB"},
                                             {"engine", "threads"},    {"threshold", "32KiB"},
                                             {"head_reserve", "4KiB"}, {NULL, NULL}};
    struct hand hand;
    hand_open(&hand, no_room, 1);
    struct ends ends = ends_open(&hand.bed);
    for (unsigned i = 0; i < COUNT; i++) {
        spw_slab *slab = slab_open(&hand, 64 * KIB);
        spw_bytes bytes = slab_cut(slab, i, 64 * KIB);
        spw_slab_close(slab);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EIO);
    uint64_t stored = bed_quiet(&hand.bed).adopted_bytes_total;
    cr_assert_gt(stored, 0);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(demote(&hand), stored);
        bed_quiet(&hand.bed);
    }
    cr_assert_eq(bed_stats(&hand.bed).demoted_bytes_total, 0);
    ends_close(&ends);
    hand_close(&hand);
}

/* Told by an engine thread that it could not be read for want of memory, it is stored as before. */
Test(adopt, after_a_failed_read_it_can_be_demoted)
{
    enum { COUNT = INSTANT_CHUNKS + 1 };
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, both, 1);
    struct run *run = hand_spill_run(&hand, stream_chunks(0, COUNT, 1000));
    wait_for(run, RUN_STORED, PLACE_MEMORY);
    fault_alloc_after(2); /* the flight is there, a block is not */
    cr_assert_eq(run->handle.ops->prefetch(&run->handle, SPILLWAY_FETCH_NOWAIT), 0);
    wait_state(&run->handle, RUN_FAILED);
    fault_alloc_after(0);
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), -ENOMEM);
    cr_assert_eq(demote(&hand), COUNT * 1000);
    wait_for(run, RUN_STORED, PLACE_DISK);
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 0, COUNT, 1000));
    hand_close(&hand);
}

static void taken_while_it_is_demoted(bool fetched)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, both, 1);
    spw_slab *slab = slab_open(&hand, 0);
    struct run *run = hand_spill_bytes(&hand, slab_cut(slab, 1, CHUNK));
    spw_slab_close(slab);
    gate_shut(FAULT_PWRITE);
    cr_assert_eq(demote(&hand), CHUNK);
    gate_wait(1);
    if (fetched) {
        cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), 0);
        cr_assert(chunks_are(&out, 1, 1, CHUNK));
    } else {
        drop(run);
    }
    cr_assert_eq(bed_stats(&hand.bed).memory_tier_slab_bytes, SLAB, "it is being read");
    gate_open();
    wait_stat(&hand.bed, memory_tier_slab_bytes, ==, 0);
    hand_close(&hand);
}

Test(adopt, fetched_while_it_is_demoted)
{
    taken_while_it_is_demoted(true);
}

Test(adopt, dropped_while_it_is_demoted)
{
    taken_while_it_is_demoted(false);
}

Test(adopt, no_memory_for_a_demotion)
{
    struct hand hand;
    hand_open(&hand, both, 1);
    struct run *run = hand_spill_bytes(&hand, stream_piece(1, CHUNK));
    wait_for(run, RUN_STORED, PLACE_MEMORY);
    for (unsigned n = 1; n <= 2; n++) { /* the demotion, an owner */
        fault_alloc_after(n);
        cr_assert_eq(spw_pool_demote(hand.bed.pool, UINT64_MAX, NULL), -ENOMEM);
        cr_assert_eq(run->state, RUN_STORED);
    }
    fetch_is_right(run, 1, CHUNK);
    hand_close(&hand);
}

/* ---- short memory ---- */

/* Each allocation fails once: the slab comes from elsewhere, or not at all; nothing is lost. */
Test(adopt, no_memory_for_a_slab)
{
    struct hand hand;
    unsigned buffers = 0, n;
    hand_open(&hand, in_memory, 0);
    for (n = 1;; n++) {
        spw_slab *slab = NULL;
        fault_alloc_after(n);
        int err = spw_pool_slab_open(hand.bed.pool, 0, 0, &slab);
        fault_alloc_after(0);
        cr_assert(err == 0 || err == -ENOMEM);
        bool there = err == 0 && bed_stats(&hand.bed).memory_tier_slab_bytes > 0;
        buffers += err == 0 && !there;
        spw_slab_close(slab);
        spw_stats stats = bed_quiet(&hand.bed);
        cr_assert_eq(stats.memory_tier_stored_bytes + stats.memory_tier_slab_bytes, 0);
        (void)spw_pool_trim(hand.bed.pool);
        if (there)
            break;
    }
    cr_assert_geq(n, 4); /* the segment, the owner, the slab */
    cr_assert_geq(buffers, 1);
    hand_close(&hand);
}

/* Each allocation of an extend that spills fails once. */
Test(adopt, no_memory_for_a_run)
{
    static const struct setting settings[] = {{"memory", "8MiB"},       {"memory_tier", "16MiB"},
                                              {"tiers", "memory"},      {"threshold", "64KiB"},
                                              {"head_reserve", "4KiB"}, {NULL, NULL}};
    enum { COUNT = 16, LEN = 64 << 10 };
    struct hand hand;
    unsigned delayed = 0;
    hand_open(&hand, settings, 0);
    struct ends ends = ends_open(&hand.bed);
    for (unsigned i = 0; i < COUNT; i++) {
        spw_slab *slab = slab_open(&hand, LEN);
        spw_bytes bytes = slab_cut(slab, i, LEN);
        spw_slab_close(slab);
        uint64_t before = bed_stats(&hand.bed).adopted_bytes_total;
        fault_alloc_after(1 + i % 8);
        int err = spw_writer_extend(ends.writer, &bytes, 1, 0);
        fault_alloc_after(0);
        cr_assert(err == 0 || err == -ENOMEM);
        if (err)
            cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
        delayed += i > 2 && bed_stats(&hand.bed).adopted_bytes_total == before;
    }
    cr_assert_geq(delayed, 1, "no allocation of a spill ever failed");
    cr_assert_eq(spw_writer_extend(ends.writer, NULL, 0, 0), 0);
    cr_assert_eq(bed_stats(&hand.bed).adopted_bytes_total, (COUNT - 2) * LEN);
    spw_writer_close(ends.writer);
    ends.writer = NULL;
    for (unsigned i = 0; i < COUNT; i++) {
        spw_bytes bytes;
        cr_assert_eq(spw_reader_drain_wait(ends.reader, &bytes, 1, SPILLWAY_FOREVER), 1);
        cr_assert_eq(bytes.len, LEN);
        cr_assert(stream_is(&bytes, i));
        spw_bytes_release(&bytes);
    }
    ends_close(&ends);
    hand_close(&hand);
}

/* With the strategy alone: each allocation of a spill fails once. */
Test(adopt, no_memory_while_spilling)
{
    struct hand hand;
    unsigned failed = 0;
    long spilled = 0;
    hand_open(&hand, in_memory, 0);
    spw_slab *slab = slab_open(&hand, 0);
    for (unsigned n = 1; spilled <= 0; n++) {
        struct spw_view view;
        struct spw_block *spare = block_open(&fault_allocator, NULL, 4, false);
        spw_bytes bytes = slab_cut(slab, n, 32 * KIB * 4), last = stream_piece(0, 1);
        cr_assert_not_null(spare);
        view_init(&view, &fault_allocator, NULL);
        cr_assert_eq(view_push(&view, &bytes, &spare), 0);
        cr_assert_eq(view_push(&view, &last, &spare), 0);
        spw_cursor cursor = spw_view_head(&view);
        fault_alloc_after(n);
        spilled = spw_view_spill(&view, &cursor, UINT64_MAX, hand.strategy);
        fault_alloc_after(0);
        failed += spilled <= 0;
        cr_assert_eq(bed_stats(&hand.bed).runs, spilled > 0);
        cr_assert_eq(spw_view_resident_bytes(&view), spilled > 0 ? 1 : 32 * KIB * 4 + 1);
        view_fini(&view);
        cr_assert_eq(bed_stats(&hand.bed).runs, 0);
        cr_assert_eq(spw_slab_regain(slab), 0, "nobody holds any of it");
    }
    cr_assert_geq(failed, 2);
    cr_assert_eq(bed_stats(&hand.bed).adopted_bytes_total, 32 * KIB * 4);
    spw_slab_close(slab);
    hand_close(&hand);
}

/* No window bounds what is adopted, but the time that a queue is locked must be. */
Test(adopt, a_spill_takes_so_many_and_no_more)
{
    enum { COUNT = 150, BATCH = 64 };
    struct hand hand;
    struct spw_view view;
    struct spw_block *spare = NULL;
    hand_open(&hand, in_memory, 0);
    view_init(&view, &fault_allocator, NULL);
    for (unsigned i = 0; i <= COUNT; i++) {
        spw_slab *slab = slab_open(&hand, 64 * KIB);
        spw_bytes bytes = slab_cut(slab, i, 64 * KIB);
        if (!spare)
            spare = block_open(&fault_allocator, NULL, BLOCK_ENTRIES, false);
        cr_assert_eq(view_push(&view, &bytes, &spare), 0);
        spw_slab_close(slab);
    }
    spw_cursor cursor = spw_view_head(&view);
    cr_assert_eq(spw_view_spill(&view, &cursor, UINT64_MAX, hand.strategy), BATCH);
    cr_assert_eq(spw_view_spill(&view, &cursor, UINT64_MAX, hand.strategy), BATCH);
    cr_assert_eq(spw_view_spill(&view, &cursor, UINT64_MAX, hand.strategy), COUNT - 2 * BATCH);
    cr_assert_eq(bed_stats(&hand.bed).runs, COUNT);
    if (spare)
        block_close(spare);
    view_fini(&view);
    hand_close(&hand);
}

/* ---- whole queues ---- */

/* Fails when adoption silently stops. */
Test(adopt, a_queue_of_slabs_is_never_copied)
{
    enum { PIECE = 50000, PIECES = 240 };
    struct hand hand;
    spw_slab *slab = NULL;
    uint64_t at = 0;
    hand_open(&hand, in_memory, 0);
    struct ends ends = ends_open(&hand.bed);
    for (unsigned i = 0; i < PIECES; i++) {
        if (!slab || spw_slab_room(slab) < PIECE) {
            spw_slab_close(slab);
            slab = slab_open(&hand, 0);
        }
        spw_bytes bytes = slab_cut(slab, (uint64_t)i * PIECE, PIECE);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    spw_slab_close(slab);
    spw_writer_close(ends.writer);
    ends.writer = NULL;
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_gt(stats.adopted_bytes_total, 5 * MIB);
    cr_assert_eq(stats.adopted_bytes_total, stats.spilled_bytes_total);
    cr_assert_lt(stats.used_peak_bytes, 3 * MIB);
    spw_bytes bytes;
    while (spw_reader_drain_wait(ends.reader, &bytes, 1, SPILLWAY_FOREVER) == 1) {
        cr_assert(stream_is(&bytes, at));
        at += bytes.len;
        spw_bytes_release(&bytes);
    }
    cr_assert_eq(at, (uint64_t)PIECE * PIECES);
    stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.copied_bytes_total, 0);
    cr_assert_eq(stats.late_runs_total, 0);
    /* Two calls each, where this machine may swap segments out. */
    cr_assert_eq(stats.syscalls_total, 2 * stats.hints_total, "no thread had anything to do");
    ends_close(&ends);
    hand_close(&hand);
}

/* What lies in the tier already needs no room in it, nor in a window: only the head reserve and the
 * threshold, 2 and 4 MiB here, stay. */
Test(adopt, a_full_tier_adopts)
{
    enum { SLABS = 16 };
    struct hand hand;
    spw_slab *slabs[SLABS];
    hand_open(&hand, in_memory, 0);
    struct ends ends = ends_open(&hand.bed);
    for (unsigned i = 0; i < SLABS; i++)
        slabs[i] = slab_open(&hand, SLAB);
    cr_assert_eq(bed_stats(&hand.bed).memory_tier_slab_bytes, SLABS * SLAB, "it is full");
    for (unsigned i = 0; i < SLABS; i++) {
        spw_bytes bytes = slab_cut(slabs[i], i, SLAB);
        spw_slab_close(slabs[i]);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_writer_info(ends.writer, &info), 0);
    cr_assert_leq(info.resident_bytes, 6 * MIB);
    cr_assert_eq(bed_quiet(&hand.bed).adopted_bytes_total, SLABS * SLAB - info.resident_bytes);
    spw_writer_close(ends.writer);
    ends.writer = NULL;
    for (unsigned i = 0; i < SLABS; i++) {
        spw_bytes bytes;
        cr_assert_eq(spw_reader_drain_wait(ends.reader, &bytes, 1, SPILLWAY_FOREVER), 1);
        cr_assert(bytes.len == SLAB && stream_is(&bytes, i));
        spw_bytes_release(&bytes);
    }
    ends_close(&ends);
    hand_close(&hand);
}

/* More than the tier holds: adopted, copied into it, written to disk from buffers, all in one
 * queue; and some of it demoted while it is read. */
static void *drain_main(void *context)
{
    spw_reader *reader = context;
    uint64_t at = 0;
    spw_bytes bytes;
    while (spw_reader_drain_wait(reader, &bytes, 1, SPILLWAY_FOREVER) == 1) {
        if (!stream_is(&bytes, at))
            return NULL;
        at += bytes.len;
        spw_bytes_release(&bytes);
    }
    return (void *)(uintptr_t)at;
}

Test(adopt, adopted_copied_and_written_in_one_queue)
{
    struct hand hand;
    struct random random = random_open("adopted_copied_and_written_in_one_queue");
    spw_slab *slab = NULL;
    pthread_t reader;
    void *read_bytes;
    uint64_t at = 0, total = test_scaled(100 * MIB);
    hand_open(&hand, both, 1);
    struct ends ends = ends_open(&hand.bed);
    while (at < 30 * MIB || at < total) {
        size_t len = 1 + random_below(&random, random_percent(&random, 10) ? 400000 : 5000);
        spw_bytes bytes;
        if (random_percent(&random, 5)) {
            bytes = stream_piece(at, len);
        } else {
            if (!slab || spw_slab_room(slab) < len) {
                spw_slab_close(slab);
                slab = slab_open(&hand, 0);
            }
            bytes = slab_cut(slab, at, len);
        }
        at += len;
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
        if (at - len < 30 * MIB && at >= 30 * MIB)
            cr_assert_eq(pthread_create(&reader, NULL, drain_main, ends.reader), 0);
        if (random_percent(&random, 1))
            cr_assert_eq(spw_pool_demote(hand.bed.pool, MIB, NULL), 0);
    }
    spw_slab_close(slab);
    spw_writer_close(ends.writer);
    ends.writer = NULL;
    pthread_join(reader, &read_bytes);
    cr_assert_eq((uintptr_t)read_bytes, at);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_gt(stats.adopted_bytes_total, 0);
    cr_assert_gt(stats.copied_bytes_total, 0);
    cr_assert_gt(stats.spilled_disk_bytes_total, 0);
    cr_assert_gt(stats.demoted_bytes_total, 0);
    ends_close(&ends);
    hand_close(&hand);
}

/* ---- fetching a few chunks ---- */

static struct run *spill_chunks(struct hand *hand, size_t count)
{
    struct run *run = hand_spill_run(hand, stream_chunks(0, count, 64));
    wait_for(run, RUN_STORED, PLACE_MEMORY);
    return run;
}

Test(adopt, a_few_chunks_are_fetched_at_once)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, in_memory, 0);
    for (size_t count = 2; count <= INSTANT_CHUNKS; count += 63) {
        struct run *run = spill_chunks(&hand, count);
        cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), 0);
        cr_assert(chunks_are(&out, 0, count, 64));
        cr_assert_eq(bed_quiet(&hand.bed).memory_tier_stored_bytes, 0);
    }
    struct run *run = spill_chunks(&hand, INSTANT_CHUNKS + 1);
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), -EAGAIN);
    cr_assert_eq(fetch(&run->handle, 0, &out), 0);
    cr_assert(chunks_are(&out, 0, INSTANT_CHUNKS + 1, 64));
    cr_assert_eq(bed_quiet(&hand.bed).late_runs_total, 1);
    hand_close(&hand);
}

Test(adopt, no_memory_for_a_few_chunks)
{
    struct hand hand;
    spw_chunks out;
    int err = -ENOMEM;
    hand_open(&hand, in_memory, 0);
    struct run *run = spill_chunks(&hand, 20);
    for (unsigned n = 1; err; n++) {
        fault_alloc_after(n);
        err = fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out);
        fault_alloc_after(0);
        cr_assert(err == 0 || err == -ENOMEM);
        cr_assert(err == 0 || n < 3); /* an owner, a block */
    }
    cr_assert(chunks_are(&out, 0, 20, 64));
    hand_close(&hand);
}

static void lengths_spoil(struct run *run, uint8_t low, uint8_t high)
{
    unsigned char *table = (unsigned char *)(uintptr_t)run_slot_own_view(run) + run->bytes;
    table[4 * 7] = low;
    table[4 * 7 + 3] = high;
}

static void is_lost(struct hand *hand, struct run *run)
{
    spw_chunks out;
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_HEAD, &out), -EBADMSG);
    cr_assert_eq(out.count, 0);
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), -EBADMSG, "for good");
    spw_stats stats = bed_quiet(&hand->bed);
    cr_assert_eq(stats.lost_runs_total, 1);
    cr_assert_eq(stats.checksum_errors_total, 1);
    cr_assert_eq(log_lines_with("is lost"), 1);
    log_forget();
    drop(run);
    hand_close(hand);
}

/* Nothing but the library itself writes there, so this is about never going astray. Under a queue's
 * lock nothing may be logged, so an engine thread looks again. */
Test(adopt, lengths_that_do_not_add_up)
{
    static const uint8_t wrong[][2] = {{65, 0}, {63, 0}, {0xff, 0xff}};
    for (unsigned i = 0; i < 3; i++) {
        for (size_t count = 20; count <= 200; count += 180) { /* more than are fetched at once */
            struct hand hand;
            spw_chunks out;
            hand_open(&hand, in_memory, 0);
            struct run *run = spill_chunks(&hand, count);
            lengths_spoil(run, wrong[i][0], wrong[i][1]);
            cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), -EAGAIN);
            cr_assert_eq(log_lines_with("is lost"), 0);
            is_lost(&hand, run);
        }
    }
}

Test(adopt, lengths_that_do_not_add_up_when_it_is_demoted)
{
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, both, 1);
    struct run *run = spill_chunks(&hand, 20);
    lengths_spoil(run, 65, 0);
    gate_shut(FAULT_PWRITE);
    cr_assert_eq(demote(&hand), 20 * 64);
    gate_wait(1);
    cr_assert_eq(fetch(&run->handle, SPILLWAY_FETCH_NOWAIT, &out), -EAGAIN);
    gate_open();
    wait_for(run, RUN_STORED, PLACE_DISK);
    is_lost(&hand, run);
}
