/* SPDX-License-Identifier: MIT */
/* A budget that moves: set anew, lowered under load, following the limits of the process, and a
 * disk that is held back. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

static const struct setting plain[] = {{"memory", "32MiB"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting two_tiers[] = {
    {"memory", "16MiB"}, {"memory_tier", "4MiB"}, {"engine", "threads"}, {NULL, NULL}};

enum { PIECE = 100000 };

static uint64_t put_some(struct ends *ends, uint64_t at, uint64_t bytes)
{
    for (uint64_t end = at + bytes; at < end; at += PIECE) {
        spw_bytes piece = stream_piece(at, PIECE);
        cr_assert_eq(spw_writer_extend(ends->writer, &piece, 1, 0), 0);
    }
    return at;
}

static uint64_t take_some(struct ends *ends, uint64_t at, uint64_t end)
{
    spw_bytes bytes;
    for (; at < end; at += PIECE) {
        cr_assert_eq(spw_reader_drain_wait(ends->reader, &bytes, 1, SPILLWAY_FOREVER), 1);
        cr_assert_eq(bytes.len, PIECE);
        cr_assert(stream_is(&bytes, at));
        spw_bytes_release(&bytes);
    }
    return at;
}

/* ---- set anew ---- */

Test(ceiling, the_budget_can_be_set)
{
    struct bed bed;
    bed_open(&bed, plain, 1);
    cr_assert_eq(spw_pool_set_budget(bed.pool, MIB - 1), -EINVAL);
    cr_assert_eq(spw_pool_set_budget(bed.pool, UINT64_MAX), -EINVAL);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 32 * MIB, "nothing changed");
    cr_assert_eq(spw_pool_set_budget(bed.pool, 8 * MIB), 0);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 8 * MIB);
    cr_assert_eq(bed_stats(&bed).budget_ceiling_bytes, 8 * MIB);
    cr_assert_eq(bed_stats(&bed).reserve_bytes, MIB);
    cr_assert_eq(spw_pool_set_budget(bed.pool, 64 * MIB), 0);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 64 * MIB);
    cr_assert_eq(bed_stats(&bed).reserve_bytes, 2 * MIB);
    cr_assert_eq(log_lines_with("does not fit"), 0);
    bed_quiet(&bed);
    bed_close(&bed);
}

Test(ceiling, no_more_than_the_limits_leave)
{
    struct bed bed;
    fault_limit(RLIMIT_AS, 64 * MIB);
    bed_open(&bed, (struct setting[]){{"memory", "16MiB"}, {"tiers", "none"}, {NULL, NULL}}, 0);
    cr_assert_eq(spw_pool_set_budget(bed.pool, 1024 * MIB), 0);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 48 * MIB);
    cr_assert_eq(log_lines_with("does not fit"), 1);
    cr_assert(strstr(bed_stats(&bed).fallbacks, "budget"));
    bed_close(&bed);
}

/* The reserve may be out at that time, or there may be no memory for another. */
Test(ceiling, a_reserve_that_cannot_be_replaced_stays)
{
    struct bed bed;
    bed_open(&bed, plain, 1);
    fault_fail(FAULT_MAP, 0, 1, -ENOMEM);
    cr_assert_eq(spw_pool_set_budget(bed.pool, 4 * MIB), 0);
    spw_stats stats = bed_stats(&bed);
    cr_assert_eq(stats.budget_bytes, 4 * MIB);
    cr_assert_eq(stats.reserve_bytes, 2 * MIB);
    identity_holds(&stats);
    struct buffer *head;
    struct buffers *buffers = &bed.pool->buffers;
    cr_assert_eq(buffer_acquire(buffers, 3 * MIB, USE_SLAB, CLAIM_FORCE, &head), 0);
    struct buffer *reserve;
    cr_assert_eq(buffer_acquire(buffers, 2 * MIB, USE_READING, CLAIM_HEAD, &reserve), 0);
    cr_assert_eq(bed_stats(&bed).reserve_bytes, 0, "it is out");
    cr_assert_eq(spw_pool_set_budget(bed.pool, 8 * MIB), 0);
    cr_assert_eq(bed_stats(&bed).reserve_bytes, MIB);
    buffer_release(reserve);
    buffer_release(head);
    stats = bed_stats(&bed);
    cr_assert_eq(stats.reserve_bytes, MIB);
    identity_holds(&stats);
    bed_close(&bed);
}

/* What was resident goes, as fast as the disk takes it, and comes back as it was. */
Test(ceiling, lowering_it_under_load)
{
    struct bed bed;
    bed_open(&bed, plain, 1);
    struct ends ends = ends_open(&bed);
    uint64_t end = put_some(&ends, 0, 18 * MIB), at = 0;
    cr_assert_eq(bed_quiet(&bed).spilled_bytes_total, 0);
    cr_assert_eq(spw_pool_set_budget(bed.pool, 8 * MIB), 0);
    for (unsigned i = 0; i < 20; i++) {
        end = put_some(&ends, end, 1);
        bed_quiet(&bed);
    }
    spw_stats stats = bed_quiet(&bed);
    cr_assert_leq(stats.used_bytes, 8 * MIB);
    cr_assert_gt(stats.spilled_bytes_total, 8 * MIB);
    at = take_some(&ends, at, end / 2);
    cr_assert_eq(spw_pool_set_budget(bed.pool, 64 * MIB), 0);
    uint64_t spilled_bytes = bed_quiet(&bed).spilled_bytes_total;
    end = put_some(&ends, end, 16 * MIB);
    cr_assert_eq(bed_quiet(&bed).spilled_bytes_total, spilled_bytes, "there is room again");
    at = take_some(&ends, at, end);
    ends_close(&ends);
    bed_close(&bed);
}

struct mover {
    spw_pool *pool;
    _Atomic bool done;
};

static void *move_it(void *context)
{
    struct mover *mover = context;
    for (unsigned i = 0; !atomic_load(&mover->done); i++) {
        cr_assert_eq(spw_pool_set_budget(mover->pool, (2 + i * 7 % 31) * MIB), 0);
        nap();
    }
    return NULL;
}

Test(ceiling, moving_it_all_the_time)
{
    struct bed bed;
    struct mover mover = {0};
    pthread_t thread;
    bed_open(&bed, plain, 1);
    mover.pool = bed.pool;
    cr_assert_eq(pthread_create(&thread, NULL, move_it, &mover), 0);
    struct ends ends = ends_open(&bed);
    uint64_t end = 0, at = 0;
    for (unsigned i = 0; i < test_scaled(30); i++) {
        end = put_some(&ends, end, 4 * MIB);
        at = take_some(&ends, at, end - 2 * PIECE * (i % 10));
    }
    take_some(&ends, at, end);
    atomic_store(&mover.done, true);
    pthread_join(thread, NULL);
    ends_close(&ends);
    bed_quiet(&bed);
    bed_close(&bed);
}

/* ---- with the limits ---- */

static void group_limit(const char *file, uint64_t bytes)
{
    char path[128], text[64];
    snprintf(path, sizeof(path), "/fixture/sys/fs/cgroup/%s", file);
    snprintf(text, sizeof(text), "%llu\n", (unsigned long long)bytes);
    fault_file(path, text);
}

static void fixture_open(void)
{
    fault_file("/fixture/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 1048576 kB\n");
    fault_file("/fixture/proc/self/cgroup", "0::/jobs/one\n");
    fault_file("/fixture/proc/self/mountinfo",
               "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/one/memory.max", "max\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/one/memory.high", "max\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/one/memory.current", "0\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/memory.current", "0\n");
    group_limit("jobs/memory.max", 256 * MIB);
}

static void expect_ceiling(struct bed *bed, bool moves, uint64_t bytes)
{
    uint64_t limit;
    bool moved = budget_look_at_limits(bed->pool, &limit);
    spw_stats stats = bed_stats(bed);
    cr_assert_eq(stats.budget_ceiling_bytes, bytes, "%llu",
                 (unsigned long long)stats.budget_ceiling_bytes);
    cr_assert_eq(stats.budget_bytes, bytes);
    cr_assert_eq(moved, moves);
}

static void fixture_pool(struct bed *bed, const char *memory)
{
    const struct setting settings[] = {{"memory", memory}, {"tiers", "none"}, {NULL, NULL}};
    fixture_open();
    cr_assert_eq(bed_try_in(bed, "/fixture", settings, 0), 0);
}

Test(ceiling, half_of_the_limit_follows_it)
{
    struct bed bed;
    fixture_pool(&bed, "auto");
    cr_assert_eq(bed_stats(&bed).budget_bytes, 128 * MIB);
    expect_ceiling(&bed, false, 128 * MIB);
    group_limit("jobs/memory.max", 64 * MIB);
    expect_ceiling(&bed, true, 32 * MIB);
    group_limit("jobs/one/memory.high", 32 * MIB);
    expect_ceiling(&bed, true, 16 * MIB);
    fault_limit(RLIMIT_DATA, 16 * MIB);
    expect_ceiling(&bed, true, 8 * MIB);
    fault_limit(RLIMIT_DATA, UINT64_MAX);
    fault_limit(RLIMIT_AS, 24 * MIB);
    expect_ceiling(&bed, true, 12 * MIB);
    fault_limit(RLIMIT_AS, UINT64_MAX);
    group_limit("jobs/one/memory.high", 512 * MIB);
    group_limit("jobs/memory.max", 2048 * MIB);
    expect_ceiling(&bed, true, 256 * MIB);
    bed_close(&bed);
}

Test(ceiling, a_share_of_the_limit_follows_it)
{
    struct bed bed;
    fixture_pool(&bed, "25%");
    cr_assert_eq(bed_stats(&bed).budget_bytes, 64 * MIB);
    group_limit("jobs/memory.max", 512 * MIB);
    expect_ceiling(&bed, true, 128 * MIB);
    bed_close(&bed);
}

Test(ceiling, of_bytes_only_what_does_not_fit_goes)
{
    struct bed bed;
    fixture_pool(&bed, "100MiB");
    cr_assert_eq(bed_stats(&bed).budget_bytes, 100 * MIB);
    group_limit("jobs/memory.max", 200 * MIB);
    expect_ceiling(&bed, false, 100 * MIB);
    group_limit("jobs/memory.max", 80 * MIB);
    expect_ceiling(&bed, true, 60 * MIB);
    cr_assert_eq(log_lines_with("does not fit"), 1);
    group_limit("jobs/memory.max", 300 * MIB);
    expect_ceiling(&bed, true, 100 * MIB);
    bed_close(&bed);
}

Test(ceiling, what_a_regulator_lowered_stays_low)
{
    struct bed bed;
    uint64_t limit;
    fixture_pool(&bed, "auto");
    budget_move(bed.pool, 50 * MIB);
    group_limit("jobs/memory.max", 200 * MIB);
    cr_assert(budget_look_at_limits(bed.pool, &limit));
    cr_assert_eq(limit, 200 * MIB);
    cr_assert_eq(bed_stats(&bed).budget_ceiling_bytes, 100 * MIB);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 50 * MIB);
    group_limit("jobs/memory.max", 80 * MIB);
    cr_assert(budget_look_at_limits(bed.pool, &limit));
    cr_assert_eq(bed_stats(&bed).budget_bytes, 40 * MIB);
    bed_close(&bed);
}

Test(ceiling, limits_that_cannot_be_read_change_nothing)
{
    struct bed bed;
    uint64_t limit;
    fixture_pool(&bed, "auto");
    group_limit("jobs/memory.max", 64 * MIB);
    fault_alloc_after(1);
    cr_assert_not(budget_look_at_limits(bed.pool, &limit));
    cr_assert_eq(bed_stats(&bed).budget_bytes, 128 * MIB);
    cr_assert(budget_look_at_limits(bed.pool, &limit));
    bed_close(&bed);
}

static bool has_followed(void *bed)
{
    return bed_stats(bed).budget_bytes == 32 * MIB;
}

/* The governor looks now and then while something is in use. */
Test(ceiling, the_governor_reads_them_again)
{
    const struct setting settings[] = {{"engine", "threads"}, {NULL, NULL}};
    struct bed bed;
    fixture_open();
    cr_assert_eq(bed_try_in(&bed, "/fixture", settings, 1), 0);
    struct ends ends = ends_open(&bed);
    uint64_t end = put_some(&ends, 0, 40 * MIB);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 128 * MIB);
    group_limit("jobs/memory.max", 64 * MIB);
    cr_assert(wait_until(has_followed, &bed));
    spw_decision decision = {.size = sizeof(decision)};
    wait_stat(&bed, decisions_total, >=, 1);
    cr_assert_eq(spw_pool_decisions(bed.pool, 0, &decision, 1), 1);
    cr_assert_str_eq(decision.regulator, "governor");
    cr_assert_str_eq(decision.action, "limit");
    cr_assert_eq(decision.budget_before_bytes, 128 * MIB);
    cr_assert_eq(decision.budget_bytes, 32 * MIB);
    cr_assert(strstr(decision.reason, "67108864"), "%s", decision.reason);
    take_some(&ends, 0, end);
    ends_close(&ends);
    bed_close(&bed);
}

/* ---- the disk is held back ---- */

Test(ceiling, a_held_disk_gets_nothing_that_can_wait)
{
    struct bed bed;
    bed_open(&bed, plain, 1);
    struct ends ends = ends_open(&bed);
    pool_hold_disk(bed.pool, true);
    pool_hold_disk(bed.pool, true);
    /* Spilling would begin at 20 MiB, waiting at 24 MiB. */
    uint64_t end = put_some(&ends, 0, 23 * MIB);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.spilled_bytes_total, 0);
    cr_assert_eq(stats.disk_held, 1);
    cr_assert_eq(stats.disk_held_total, 1);
    end = put_some(&ends, end, 40 * MIB);
    stats = bed_quiet(&bed);
    cr_assert_gt(stats.spilled_bytes_total, 30 * MIB, "the budget holds");
    /* It begins to spill later, so the buffers that this takes come on top. */
    cr_assert_leq(stats.used_peak_bytes, 40 * MIB);
    /* What goes at once when writers would wait, however slow the disk is: a window, and a run. */
    uint64_t at_once = budget_window(bed.pool) + budget_run_bytes(bed.pool);
    cr_assert_gt(budget_used_by_writers(bed.pool), budget_wait_mark(bed.pool) - at_once);
    pool_hold_disk(bed.pool, false);
    /* A slow disk does not take all of it in one window. */
    for (unsigned i = 0; i < 8; i++) {
        end = put_some(&ends, end, 1);
        stats = bed_quiet(&bed);
    }
    cr_assert_eq(stats.disk_held, 0);
    cr_assert_leq(budget_used_by_writers(bed.pool), 20 * MIB);
    take_some(&ends, 0, end);
    ends_close(&ends);
    bed_close(&bed);
}

/* Copies that are being written are no reason to write more. */
Test(ceiling, a_held_disk_is_not_asked_for_the_sake_of_copies)
{
    struct bed bed;
    struct buffer *copy;
    bed_open(&bed, plain, 1);
    struct ends ends = ends_open(&bed);
    pool_hold_disk(bed.pool, true);
    uint64_t end = put_some(&ends, 0, 23 * MIB);
    cr_assert_eq(buffer_acquire(&bed.pool->buffers, 2 * MIB, USE_STAGING, CLAIM_FORCE, &copy), 0);
    cr_assert_gt(budget_used_by_writers(bed.pool), budget_wait_mark(bed.pool));
    cr_assert_not(pool_disk_accepts(bed.pool, PIECE));
    end = put_some(&ends, end, PIECE);
    cr_assert_eq(bed_stats(&bed).in_flight_bytes, 0);
    cr_assert_eq(bed_stats(&bed).spilled_bytes_total, 0);
    buffer_release(copy);
    end = put_some(&ends, end, 2 * MIB);
    cr_assert_gt(bed_quiet(&bed).spilled_bytes_total, 0);
    take_some(&ends, 0, end);
    ends_close(&ends);
    bed_close(&bed);
}

/* A disk that is held back is not a full one. */
Test(ceiling, a_held_disk_takes_what_bounded_writers_bring)
{
    struct bed bed;
    bed_open(&bed, plain, 1);
    struct ends ends = ends_open(&bed);
    pool_hold_disk(bed.pool, true);
    uint64_t end = 0;
    for (; end < 60 * MIB; end += PIECE) {
        spw_bytes piece = stream_piece(end, PIECE);
        cr_assert_eq(spw_writer_extend(ends.writer, &piece, 1, SPILLWAY_EXTEND_BOUNDED), 0);
    }
    cr_assert_gt(bed_quiet(&bed).spilled_bytes_total, 30 * MIB);
    cr_assert_eq(spw_pool_wait_room(bed.pool, 4 * MIB, 0), 0);
    take_some(&ends, 0, end);
    ends_close(&ends);
    bed_close(&bed);
}

Test(ceiling, a_held_disk_leaves_the_memory_tier_alone)
{
    struct bed bed;
    bed_open(&bed, two_tiers, 1);
    struct ends ends = ends_open(&bed);
    pool_hold_disk(bed.pool, true);
    uint64_t end = put_some(&ends, 0, 14 * MIB);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_gt(stats.spilled_memory_bytes_total, 0);
    end = put_some(&ends, end, 20 * MIB);
    stats = bed_quiet(&bed);
    cr_assert_gt(stats.spilled_disk_bytes_total, 10 * MIB);
    take_some(&ends, 0, end);
    ends_close(&ends);
    bed_close(&bed);
}
