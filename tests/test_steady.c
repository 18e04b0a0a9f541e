/* SPDX-License-Identifier: MIT */
/*
 * Steady state: what has been used once serves again. Once everything has gone through a queue,
 * the same again maps nothing, faults in nothing, allocates no file space and copies nothing
 * that lay in the pool's own memory.
 */
#define _GNU_SOURCE 1

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "harness.h"
#include "pool_tools.h"

#define CHUNK (256 * KIB)
#define RUN   (2 * MIB) /* what a budget of 64 MiB makes of it */

/* A round is pushed whole, then drained whole. */
#define WARM_UP (96 * MIB)
#define VOLUME  (320 * MIB)

/*
 * Foreign bytes take warm memory's place when a budget is full, so that what reads them back is
 * mapped anew, once a round: a window of staging and a quarter of the budget. Beyond that, a round
 * may need a buffer or two more than those before it; but not each run.
 */
enum { MAPS_MAX = 24, WARM_ROUNDS = 2 };

static const struct setting ring[] = {
    {"memory", "64MiB"}, {"engine", "io_uring"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting threads[] = {
    {"memory", "64MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};

static unsigned char foreign[CHUNK];

/* What must not grow. */
struct costs {
    uint64_t maps, unmaps, advices, fallocates, faults, copied, spilled;
};

static struct costs costs_now(const struct bed *bed)
{
    spw_stats stats = bed_stats(bed);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct costs){.maps = fault_calls(FAULT_MAP),
                          .unmaps = fault_calls(FAULT_UNMAP),
                          .advices = fault_calls(FAULT_ADVISE),
                          .fallocates = fault_calls(FAULT_FALLOCATE),
                          .faults = (uint64_t)usage.ru_minflt,
                          .copied = stats.copied_bytes_total,
                          .spilled = stats.spilled_disk_bytes_total};
}

/* Makes the next chunk, marked with its number in each page. */
static void chunk_make(spw_pool *pool, spw_slab **slab, uint64_t number, spw_bytes *out)
{
    if (!slab) {
        cr_assert_eq(spw_bytes_wrap(foreign, CHUNK, NULL, NULL, &fault_allocator, out), 0);
        return;
    }
    if (!*slab || spw_slab_room(*slab) < CHUNK) {
        spw_slab_close(*slab);
        cr_assert_eq(spw_pool_slab_open(pool, 0, 0, slab), 0);
    }
    unsigned char *space = spw_slab_space(*slab);
    for (size_t at = 0; at < CHUNK; at += 4096)
        memcpy(space + at, &number, sizeof(number));
    cr_assert_eq(spw_slab_cut(*slab, CHUNK, out), 0);
}

static void push_all(const struct bed *bed, struct ends *ends, uint64_t volume, bool pooled)
{
    spw_slab *slab = NULL;
    for (uint64_t number = 0; number < volume / CHUNK; number++) {
        spw_bytes bytes;
        chunk_make(bed->pool, pooled ? &slab : NULL, number, &bytes);
        cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
    }
    spw_slab_close(slab);
    spw_writer_close(ends->writer);
    ends->writer = NULL;
}

static void drain_all(struct ends *ends, uint64_t volume, bool pooled)
{
    uint64_t drained = 0;
    for (;;) {
        spw_bytes out[8];
        long n = spw_reader_drain_wait(ends->reader, out, 8, SPILLWAY_FOREVER);
        cr_assert_geq(n, 0);
        if (n == 0)
            break;
        for (long i = 0; i < n; i++) {
            for (size_t at = 0; pooled && at < out[i].len; at += 4096) {
                uint64_t number;
                memcpy(&number, out[i].data + at, sizeof(number));
                cr_assert_eq(number, (drained + at) / CHUNK);
            }
            drained += out[i].len;
            spw_bytes_release(&out[i]);
        }
    }
    cr_assert_eq(drained, volume);
}

static void a_round(const struct bed *bed, uint64_t volume, bool pooled)
{
    struct ends ends = ends_open(bed);
    push_all(bed, &ends, volume, pooled);
    drain_all(&ends, volume, pooled);
    ends_close(&ends);
    bed_quiet(bed);
}

static void steady(const struct setting *settings, bool pooled)
{
    struct bed bed;
    bed_open(&bed, settings, 1);
    for (unsigned i = 0; i < WARM_ROUNDS; i++)
        a_round(&bed, WARM_UP, pooled);
    a_round(&bed, VOLUME, pooled);
    struct costs before = costs_now(&bed);
    a_round(&bed, VOLUME, pooled);
    struct costs after = costs_now(&bed);
    uint64_t spilled = after.spilled - before.spilled, runs = spilled / RUN;
    uint64_t maps = after.maps - before.maps;
    cr_assert_gt(runs, 5 * MAPS_MAX);
    cr_assert_leq(maps, MAPS_MAX);
    /* What the round before left may go, too. */
    cr_assert_leq(after.unmaps - before.unmaps, MAPS_MAX + maps);
    cr_assert_leq(after.advices - before.advices, 3 * MAPS_MAX);
    cr_assert_leq(after.fallocates - before.fallocates, 2);
    /* Once, and all of it; what is fetched while it is written was copied for nothing. */
    cr_assert_geq(after.copied - before.copied, pooled ? 0 : spilled);
    cr_assert_leq(after.copied - before.copied, pooled ? 0 : spilled + bed.pool->window_bytes);
    /* Tools have pages of their own. A new map has its faults, a page each at worst. */
    uint64_t faults = after.faults - before.faults, allowed = runs + maps * (RUN / 4096);
    if (!getenv("SPILLWAY_TEST_UNDER"))
        cr_assert_leq(faults, allowed, "%llu faults", (unsigned long long)faults);
    bed_close(&bed);
}

Test(steady, pool_slabs_through_the_ring)
{
    steady(ring, true);
}

Test(steady, pool_slabs_through_threads)
{
    steady(threads, true);
}

Test(steady, foreign_bytes_through_the_ring)
{
    steady(ring, false);
}

Test(steady, foreign_bytes_through_threads)
{
    steady(threads, false);
}
