/* SPDX-License-Identifier: MIT */
/* The budget where it is eaten by what is small: slabs that are hardly filled, queues that are
 * empty. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

static const struct setting small_budget[] = {{"memory", "16MiB"}, {"tiers", "disk"}, {NULL, NULL}};

/* A slab of the usual size with `len` bytes of the stream in it, and no more. */
static spw_bytes sparse(spw_pool *pool, uint64_t at, size_t len)
{
    spw_slab *slab;
    spw_bytes bytes;
    cr_assert_eq(spw_pool_slab_open(pool, 0, 0, &slab), 0);
    stream_fill(spw_slab_space(slab), at, len);
    cr_assert_eq(spw_slab_cut(slab, len, &bytes), 0);
    spw_slab_close(slab);
    return bytes;
}

/* Hundreds of slabs of a budget together, and little in each of them. */
static void sparse_slabs(size_t len)
{
    enum { SLABS = 200 };
    struct bed bed;
    uint64_t at = 0;
    bed_open(&bed, small_budget, 1);
    struct ends ends = ends_open(&bed);
    for (unsigned i = 0; i < SLABS; i++) {
        spw_bytes bytes = sparse(bed.pool, (uint64_t)i * len, len);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    spw_stats stats = bed_quiet(&bed);
    /* A staging buffer may be one too many for a moment. */
    cr_assert_leq(stats.used_peak_bytes, stats.budget_bytes + 2 * spw_pool_run_bytes(bed.pool));
    cr_assert_gt(stats.spilled_bytes_total, SLABS / 2 * len);
    spw_writer_close(ends.writer);
    ends.writer = NULL;
    spw_bytes out[16];
    long got;
    while ((got = spw_reader_drain_wait(ends.reader, out, 16, SPILLWAY_FOREVER)) > 0) {
        for (long i = 0; i < got; i++) {
            cr_assert(stream_is(&out[i], at));
            at += out[i].len;
            spw_bytes_release(&out[i]);
        }
    }
    cr_assert_eq(got, 0);
    cr_assert_eq(at, (uint64_t)SLABS * len);
    ends_close(&ends);
    bed_close(&bed);
}

Test(crowd, hardly_filled_slabs_stay_within_the_budget)
{
    sparse_slabs(4096);
}

Test(crowd, slabs_with_a_few_bytes_stay_within_the_budget)
{
    sparse_slabs(100);
}

/* Passes one entry through, so that the queue has reported and has a block. */
static void pass_one(struct ends *ends, const void *data, size_t len)
{
    spw_bytes bytes;
    cr_assert_eq(spw_bytes_wrap(data, len, NULL, NULL, NULL, &bytes), 0);
    cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
    cr_assert_eq(spw_reader_drain_wait(ends->reader, &bytes, 1, SPILLWAY_FOREVER), 1);
    spw_bytes_release(&bytes);
}

/* Empty queues, opened one after another, take nothing from who asks for all that is free. */
static void empty_queues(const char *memory, unsigned count, size_t len, uint64_t leave_bytes)
{
    const struct setting settings[] = {{"memory", memory}, {"tiers", "disk"}, {NULL, NULL}};
    struct bed bed;
    struct ends *ends = calloc(count, sizeof(*ends));
    cr_assert_not_null(ends);
    bed_open(&bed, settings, 1);
    unsigned char *data = calloc(1, bed_stats(&bed).budget_bytes);
    cr_assert_not_null(data);
    for (unsigned i = 0; i < count; i++) {
        ends[i] = ends_open(&bed);
        pass_one(&ends[i], data, len);
    }
    spw_stats stats = bed_quiet(&bed);
    cr_assert_leq(stats.resident_foreign_bytes, stats.reported_ahead_bytes);
    cr_assert_leq(stats.entry_block_bytes, stats.budget_bytes / 8);
    uint64_t free_bytes = stats.budget_bytes - stats.buffer_bytes + stats.warm_bytes;
    cr_assert_eq(spw_pool_wait_room(bed.pool, free_bytes - leave_bytes, 60000000000), 0);
    spw_bytes bytes;
    cr_assert_eq(spw_bytes_wrap(data, free_bytes - leave_bytes, NULL, NULL, NULL, &bytes), 0);
    cr_assert_eq(spw_writer_extend(ends[0].writer, &bytes, 1, SPILLWAY_EXTEND_BOUNDED), 0);
    for (unsigned i = 0; i < count; i++)
        ends_close(&ends[i]);
    stats = bed_quiet(&bed);
    cr_assert_eq(stats.resident_foreign_bytes + stats.entry_block_bytes, 0);
    cr_assert_eq(stats.reported_ahead_bytes, 0);
    bed_close(&bed);
    free(data);
    free(ends);
}

Test(crowd, an_empty_queue_leaves_the_budget_to_others)
{
    empty_queues("64MiB", 1, 600000, 8192);
}

Test(crowd, queues_opened_one_after_another_leave_the_budget_to_others)
{
    empty_queues("64MiB", 64, 600000, 256 << 10);
}

Test(crowd, many_empty_queues_leave_a_small_budget_to_others)
{
    empty_queues("1MiB", 400, 64, 128 << 10);
}
