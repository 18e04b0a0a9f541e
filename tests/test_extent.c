/* SPDX-License-Identifier: MIT */
/* The extent allocator, alone and against a plain bitmap. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../pool/extent.h"
#include "fault.h"
#include "harness.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)

enum { ORDER_64K = 0, ORDER_1M = 4, ORDER_32M = 9, ORDER_64M = 10 };

static void space_open(struct extent_space *space)
{
    extent_init(space, &fault_allocator);
}

static void space_close(struct extent_space *space)
{
    extent_fini(space);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* Grows by `len` bytes as planned for `order`, at most. */
static uint64_t grow(struct extent_space *space, unsigned order, uint64_t len)
{
    struct extent_growth plan;

    cr_assert_eq(extent_plan(space, order, &plan), 0);
    cr_assert_leq(plan.min_bytes, plan.max_bytes);
    if (len < plan.min_bytes)
        len = plan.min_bytes;
    if (len > plan.max_bytes)
        len = plan.max_bytes;
    extent_grown(space, plan.offset, len);
    cr_assert(extent_has(space, order));
    return plan.offset;
}

static uint64_t take(struct extent_space *space, unsigned order)
{
    uint64_t offset = 0;

    cr_assert_eq(extent_take(space, order, &offset), 0);
    cr_assert_eq(offset % extent_bytes(order), 0);
    return offset;
}

Test(extent, orders)
{
    cr_assert_eq(extent_order(0), -EINVAL);
    cr_assert_eq(extent_order(1), 0);
    cr_assert_eq(extent_order(64 * KIB), 0);
    cr_assert_eq(extent_order(64 * KIB + 1), 1);
    cr_assert_eq(extent_order(3 * MIB), 6);
    cr_assert_eq(extent_order(DISK_ZONE_BYTES), ORDER_64M);
    cr_assert_eq(extent_order(DISK_ZONE_BYTES + 1), -EINVAL);
    cr_assert_eq(extent_order(UINT64_MAX), -EINVAL);
    for (unsigned order = 0; order < EXTENT_ORDERS; order++)
        cr_assert_eq(extent_order(extent_bytes(order)), (int)order);
}

Test(extent, nothing_before_the_first_growth)
{
    struct extent_space space;
    uint64_t offset = 7;

    space_open(&space);
    cr_assert_not(extent_has(&space, 0));
    cr_assert_eq(extent_take(&space, 0, &offset), -ENOSPC);
    cr_assert_eq(offset, 7);
    cr_assert_eq(extent_give(&space, 0, 64 * KIB), -EINVAL);
    cr_assert_eq(extent_end(&space), 0);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, splits_and_coalesces)
{
    struct extent_space space;
    uint64_t offsets[EXTENT_LEAVES];

    space_open(&space);
    cr_assert_eq(grow(&space, ORDER_64M, DISK_ZONE_BYTES), 0);
    cr_assert(extent_has(&space, ORDER_64M));
    for (unsigned i = 0; i < EXTENT_LEAVES; i++) {
        offsets[i] = take(&space, ORDER_64K);
        cr_assert_eq(offsets[i], i * 64 * KIB, "lowest place first");
    }
    cr_assert_not(extent_has(&space, ORDER_64K));
    cr_assert_eq(space.used_bytes, DISK_ZONE_BYTES);
    cr_assert(extent_valid(&space));
    /* Every second one: nothing to merge. */
    for (unsigned i = 0; i < EXTENT_LEAVES; i += 2)
        cr_assert_eq(extent_give(&space, offsets[i], 64 * KIB), 0);
    cr_assert(extent_has(&space, ORDER_64K));
    cr_assert_not(extent_has(&space, 1));
    cr_assert(extent_valid(&space));
    for (unsigned i = 1; i < EXTENT_LEAVES; i += 2)
        cr_assert_eq(extent_give(&space, offsets[i], 64 * KIB), 0);
    cr_assert_eq(take(&space, ORDER_64M), 0, "all of it is one piece again");
    cr_assert_eq(extent_give(&space, 0, DISK_ZONE_BYTES), 0);
    cr_assert_eq(space.used_bytes, 0);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, refuses_what_is_not_in_use)
{
    struct extent_space space;
    uint64_t a;

    space_open(&space);
    grow(&space, ORDER_1M, 4 * MIB);
    a = take(&space, ORDER_1M);
    cr_assert_eq(extent_give(&space, a, 512 * KIB), -EINVAL, "a part");
    cr_assert_eq(extent_give(&space, a, 2 * MIB), -EINVAL, "more than it has");
    cr_assert_eq(extent_give(&space, a + 512 * KIB, 64 * KIB), -EINVAL, "inside");
    cr_assert_eq(extent_give(&space, a + 64, MIB), -EINVAL, "askew");
    cr_assert_eq(extent_give(&space, a, MIB - 1), -EINVAL, "not a power of two");
    cr_assert_eq(extent_give(&space, a, 0), -EINVAL);
    cr_assert_eq(extent_give(&space, 2 * MIB, MIB), -EINVAL, "free");
    cr_assert_eq(extent_give(&space, 8 * MIB, 64 * KIB), -EINVAL, "not there yet");
    cr_assert_eq(extent_give(&space, DISK_ZONE_BYTES, MIB), -EINVAL, "no such zone");
    cr_assert_eq(extent_give(&space, UINT64_MAX & ~(MIB - 1), MIB), -EINVAL, "far away");
    cr_assert_eq(space.used_bytes, MIB);
    cr_assert_eq(extent_give(&space, a, MIB), 0);
    cr_assert_eq(extent_give(&space, a, MIB), -EINVAL, "twice");
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, partial_zone_grows_on)
{
    struct extent_space space;
    struct extent_growth plan;

    space_open(&space);
    /* 192 KiB: no power of two. */
    grow(&space, ORDER_64K, 192 * KIB);
    cr_assert_eq(extent_end(&space), 192 * KIB);
    cr_assert(extent_has(&space, 1));
    cr_assert_not(extent_has(&space, 2));
    cr_assert_eq(take(&space, ORDER_64K), 0);
    cr_assert(extent_valid(&space));
    /* An extent of 1 MiB needs an aligned place, so the growth covers the gap before it. */
    cr_assert_eq(extent_plan(&space, ORDER_1M, &plan), 0);
    cr_assert_eq(plan.offset, 192 * KIB);
    cr_assert_eq(plan.min_bytes, 2 * MIB - 192 * KIB);
    cr_assert_eq(plan.max_bytes, DISK_ZONE_BYTES - 192 * KIB);
    extent_grown(&space, plan.offset, plan.min_bytes);
    cr_assert_eq(take(&space, ORDER_1M), MIB);
    cr_assert(extent_valid(&space));
    /* Too large for what the zone may still become: the next zone. */
    cr_assert_eq(extent_plan(&space, ORDER_64M, &plan), 0);
    cr_assert_eq(plan.offset, DISK_ZONE_BYTES);
    cr_assert_eq(plan.min_bytes, DISK_ZONE_BYTES);
    /* Given up: a smaller one still goes on in the first. */
    grow(&space, ORDER_32M, DISK_ZONE_BYTES);
    cr_assert_eq(space.ready_bytes, DISK_ZONE_BYTES);
    cr_assert_eq(take(&space, ORDER_32M), 32 * MIB);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, best_fit_over_zones)
{
    struct extent_space space;
    uint64_t a, b;

    space_open(&space);
    grow(&space, ORDER_64M, DISK_ZONE_BYTES);
    a = take(&space, ORDER_64M);
    grow(&space, ORDER_64M, DISK_ZONE_BYTES);
    b = take(&space, ORDER_32M);
    (void)take(&space, 8);
    cr_assert_eq(extent_give(&space, take(&space, 8), 16 * MIB), 0); /* 16 MiB free and warm */
    cr_assert_eq(extent_give(&space, a, DISK_ZONE_BYTES), 0);
    /* The tight zone is used, the empty one kept whole, although it was touched last. */
    cr_assert_eq(take(&space, ORDER_1M) / DISK_ZONE_BYTES, 1);
    cr_assert(extent_has(&space, ORDER_64M));
    cr_assert_eq(extent_give(&space, b, 32 * MIB), 0);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, best_fit_in_a_zone)
{
    struct extent_space space;
    uint64_t offsets[64];

    space_open(&space);
    grow(&space, ORDER_64M, DISK_ZONE_BYTES);
    for (int i = 0; i < 64; i++)
        offsets[i] = take(&space, ORDER_1M);
    for (int i = 8; i < 16; i++) /* a hole of 8 MiB */
        cr_assert_eq(extent_give(&space, offsets[i], MIB), 0);
    cr_assert_eq(extent_give(&space, offsets[42], MIB), 0); /* and one of 1 MiB */
    cr_assert_eq(take(&space, ORDER_64K), offsets[42]);
    cr_assert_eq(take(&space, 7), offsets[8]);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, warm_places_first)
{
    struct extent_space space;
    uint64_t offsets[200], warm;

    space_open(&space);
    for (int i = 0; i < 4; i++)
        grow(&space, ORDER_64M, DISK_ZONE_BYTES);
    for (int i = 0; i < 100; i++)
        offsets[i] = take(&space, ORDER_1M);
    warm = space.opened_bytes;
    cr_assert_eq(warm, 100 * MIB);
    /* However often it is freed and filled again, nothing cold is touched. */
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 100; i++)
            cr_assert_eq(extent_give(&space, offsets[i], MIB), 0);
        for (int i = 0; i < 100; i++)
            offsets[i] = take(&space, ORDER_1M);
        cr_assert_eq(space.opened_bytes, warm);
        cr_assert(extent_valid(&space));
    }
    for (int i = 100; i < 200; i++)
        offsets[i] = take(&space, ORDER_1M);
    cr_assert_eq(space.opened_bytes, 200 * MIB);
    space_close(&space);
}

Test(extent, zone_touched_last_first)
{
    struct extent_space space;
    uint64_t offsets[4];

    space_open(&space);
    for (int i = 0; i < 4; i++) {
        grow(&space, ORDER_64M, DISK_ZONE_BYTES);
        offsets[i] = take(&space, ORDER_64M);
    }
    cr_assert_eq(extent_give(&space, offsets[2], DISK_ZONE_BYTES), 0);
    cr_assert_eq(extent_give(&space, offsets[0], DISK_ZONE_BYTES), 0);
    cr_assert_eq(extent_give(&space, offsets[3], DISK_ZONE_BYTES), 0);
    cr_assert_eq(take(&space, ORDER_64M), offsets[3]);
    cr_assert_eq(take(&space, ORDER_64M), offsets[0]);
    cr_assert_eq(take(&space, ORDER_64M), offsets[2]);
    cr_assert_not(extent_has(&space, ORDER_64K));
    space_close(&space);
}

/* What was opened and is free again joins the rest: no space is lost to large extents. */
Test(extent, rest_joins_what_is_free)
{
    struct extent_space space;
    struct extent_growth plan;
    uint64_t small;

    space_open(&space);
    grow(&space, ORDER_32M, 32 * MIB);
    small = take(&space, ORDER_64K);
    (void)take(&space, ORDER_64K);
    cr_assert_eq(extent_give(&space, small, 64 * KIB), 0);
    cr_assert_not(extent_has(&space, ORDER_32M));
    cr_assert_eq(extent_give(&space, 64 * KIB, 64 * KIB), 0);
    cr_assert(extent_has(&space, ORDER_32M));
    cr_assert_not(extent_has_warm(&space, 2));
    cr_assert_eq(extent_plan(&space, ORDER_64M, &plan), 0);
    cr_assert_eq(plan.offset, 32 * MIB);
    cr_assert_eq(plan.min_bytes, 32 * MIB);
    cr_assert_eq(take(&space, ORDER_32M), 0);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, withdraw_and_come_back)
{
    struct extent_space space;
    struct extent_growth range;
    uint64_t offsets[3];

    space_open(&space);
    for (int i = 0; i < 3; i++) {
        grow(&space, ORDER_64M, DISK_ZONE_BYTES);
        offsets[i] = take(&space, ORDER_64M);
    }
    cr_assert_eq(extent_withdraw(&space, false, &range), -ENOENT);
    cr_assert_eq(extent_give(&space, offsets[1], DISK_ZONE_BYTES), 0);
    cr_assert_eq(extent_withdraw(&space, true, &range), -ENOENT, "the last one is in use");
    cr_assert_eq(extent_withdraw(&space, false, &range), 1);
    cr_assert_eq(range.offset, offsets[1]);
    cr_assert_eq(range.max_bytes, DISK_ZONE_BYTES);
    cr_assert_not(extent_has(&space, ORDER_64K), "a withdrawn zone gives nothing");
    cr_assert(extent_valid(&space));
    extent_withdrawn(&space, 1, false);
    cr_assert(extent_has(&space, ORDER_64M), "back in circulation");
    cr_assert(extent_valid(&space));
    cr_assert_eq(extent_withdraw(&space, false, &range), 1);
    extent_withdrawn(&space, 1, true);
    cr_assert_eq(space.ready_bytes, 2 * DISK_ZONE_BYTES);
    cr_assert_eq(space.opened_bytes, 2 * DISK_ZONE_BYTES);
    cr_assert(extent_valid(&space));
    /* At the end of the file. */
    cr_assert_eq(extent_end(&space), 3 * DISK_ZONE_BYTES);
    cr_assert_eq(extent_give(&space, offsets[2], DISK_ZONE_BYTES), 0);
    cr_assert_eq(extent_withdraw(&space, true, &range), 2);
    cr_assert_eq(extent_end(&space), DISK_ZONE_BYTES);
    extent_withdrawn(&space, 2, true);
    /* Its place in the file is used again before the file gets longer. */
    cr_assert_eq(grow(&space, ORDER_1M, 2 * MIB), offsets[2]);
    cr_assert_eq(take(&space, ORDER_1M), offsets[2]);
    cr_assert_eq(grow(&space, ORDER_64M, DISK_ZONE_BYTES), offsets[1]);
    cr_assert_eq(grow(&space, ORDER_64M, DISK_ZONE_BYTES), 3 * DISK_ZONE_BYTES);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, idle_partial_zone_is_withdrawn_too)
{
    struct extent_space space;
    struct extent_growth range;

    space_open(&space);
    grow(&space, ORDER_64K, 64 * KIB);
    cr_assert_eq(extent_withdraw(&space, false, &range), 0);
    cr_assert_eq(range.max_bytes, 64 * KIB);
    extent_withdrawn(&space, 0, true);
    cr_assert_eq(space.ready_bytes, 0);
    cr_assert(extent_valid(&space));
    cr_assert_eq(grow(&space, ORDER_64M, DISK_ZONE_BYTES), 0);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

/* A failure of each allocation in turn changes nothing, and giving back needs none. */
Test(extent, no_memory)
{
    struct extent_space space;
    uint64_t offsets[40], n;

    space_open(&space);
    for (int i = 0; i < 40; i++) {
        for (n = 1;; n++) {
            struct extent_growth plan;
            int rc;

            fault_alloc_after(n);
            rc = extent_plan(&space, ORDER_64M, &plan);
            fault_alloc_after(0);
            cr_assert(extent_valid(&space));
            if (rc == 0) {
                extent_grown(&space, plan.offset, plan.max_bytes);
                break;
            }
            cr_assert_eq(rc, -ENOMEM);
        }
        cr_assert_gt(n, 1, "a new zone needs memory");
        cr_assert_eq(space.zone_count, (uint32_t)i + 1);
        offsets[i] = take(&space, ORDER_64M);
    }
    fault_alloc_from(1);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(extent_give(&space, offsets[i], DISK_ZONE_BYTES), 0);
    for (int i = 0; i < 40; i++)
        offsets[i] = take(&space, ORDER_64M);
    fault_alloc_from(0);
    cr_assert(extent_valid(&space));
    space_close(&space);
}

Test(extent, metadata_stays_small)
{
    struct extent_space space;

    space_open(&space);
    for (int i = 0; i < 256; i++)
        grow(&space, ORDER_64M, DISK_ZONE_BYTES);
    cr_assert_lt(fault_alloc_live_bytes(), 256 * 2200);
    space_close(&space);
}

/* --- random operations against a bitmap ------------------------------------------------------- */

enum { MODEL_ZONES = 4, MODEL_LEAVES = MODEL_ZONES * EXTENT_LEAVES };

struct live {
    uint64_t offset;
    unsigned order;
};

struct model {
    unsigned char state[MODEL_LEAVES]; /* 0 not ready, 1 free, 2 in use */
    struct live live[MODEL_LEAVES];
    unsigned live_count;
    uint64_t random, seed;
};

static uint64_t next_random(struct model *model)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random;
}

/* Whether an aligned free block of this order exists. */
static bool model_has(const struct model *model, unsigned order)
{
    unsigned size = 1U << order, leaf, n;

    for (leaf = 0; leaf < MODEL_LEAVES; leaf += size) {
        for (n = 0; n < size && model->state[leaf + n] == 1; n++)
            ;
        if (n == size)
            return true;
    }
    return false;
}

static void model_set(struct model *model, uint64_t offset, uint64_t len, int from, int to)
{
    for (uint64_t leaf = offset / (64 * KIB); leaf < (offset + len) / (64 * KIB); leaf++) {
        cr_assert_lt(leaf, MODEL_LEAVES);
        cr_assert_eq((int)model->state[leaf], from, "leaf %llu, seed %llu",
                     (unsigned long long)leaf, (unsigned long long)model->seed);
        model->state[leaf] = (unsigned char)to;
    }
}

static void random_take(struct model *model, struct extent_space *space)
{
    unsigned order = (unsigned)(next_random(model) % 8);
    uint64_t offset, opened = space->opened_bytes;
    bool warm;
    int rc;

    if (next_random(model) % 16 == 0)
        order = 8 + (unsigned)(next_random(model) % 3);
    warm = extent_has_warm(space, order);
    rc = extent_take(space, order, &offset);
    if (warm)
        cr_assert_eq(space->opened_bytes, opened, "what was used before comes first");
    cr_assert_eq(rc == 0, model_has(model, order), "seed %llu", (unsigned long long)model->seed);
    if (rc < 0)
        return;
    cr_assert_eq(offset % extent_bytes(order), 0);
    model_set(model, offset, extent_bytes(order), 1, 2);
    model->live[model->live_count++] = (struct live){offset, order};
}

static void random_give(struct model *model, struct extent_space *space)
{
    struct live live;
    unsigned i;

    if (model->live_count == 0)
        return;
    i = (unsigned)(next_random(model) % model->live_count);
    live = model->live[i];
    model->live[i] = model->live[--model->live_count];
    cr_assert_eq(extent_give(space, live.offset, extent_bytes(live.order)), 0);
    model_set(model, live.offset, extent_bytes(live.order), 2, 1);
}

static void random_grow(struct model *model, struct extent_space *space)
{
    unsigned order = (unsigned)(next_random(model) % EXTENT_ORDERS);
    struct extent_growth plan;
    uint64_t len;

    cr_assert_eq(extent_plan(space, order, &plan), 0);
    if (plan.offset / DISK_ZONE_BYTES >= MODEL_ZONES)
        return;
    len = plan.min_bytes;
    if (next_random(model) % 2 == 0)
        len += next_random(model) % (plan.max_bytes - plan.min_bytes + 1) / (64 * KIB) * (64 * KIB);
    extent_grown(space, plan.offset, len);
    model_set(model, plan.offset, len, 0, 1);
    cr_assert(extent_has(space, order));
}

static void random_withdraw(struct model *model, struct extent_space *space)
{
    bool gone = next_random(model) % 2 == 0;
    struct extent_growth range;
    int64_t zone = extent_withdraw(space, next_random(model) % 2 == 0, &range);

    if (zone < 0)
        return;
    cr_assert(extent_valid(space), "seed %llu", (unsigned long long)model->seed);
    extent_withdrawn(space, (uint32_t)zone, gone);
    if (gone)
        model_set(model, range.offset, range.max_bytes, 1, 0);
}

Test(extent, random_against_a_bitmap)
{
    static struct model model;
    const char *seed = getenv("SPILLWAY_TEST_SEED"), *scale = getenv("SPILLWAY_TEST_SCALE");
    uint64_t operations = 40000 * (scale != NULL ? strtoull(scale, NULL, 10) : 100) / 100;
    struct extent_space space;

    model.seed = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    model.random = model.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    fprintf(stderr, "extent: SPILLWAY_TEST_SEED=%llu\n", (unsigned long long)model.seed);
    space_open(&space);
    for (uint64_t i = 0; i < operations; i++) {
        /* Phases of filling and of draining. */
        unsigned filling = i / 2000 % 2 == 0 ? 60 : 35;
        unsigned dice = (unsigned)(next_random(&model) % 100);

        if (dice < 2)
            random_grow(&model, &space);
        else if (dice < 4)
            random_withdraw(&model, &space);
        else if (dice < filling)
            random_take(&model, &space);
        else
            random_give(&model, &space);
        if (i % 128 == 0)
            cr_assert(extent_valid(&space), "seed %llu", (unsigned long long)model.seed);
    }
    while (model.live_count > 0)
        random_give(&model, &space);
    cr_assert_eq(space.used_bytes, 0);
    cr_assert(extent_valid(&space), "seed %llu", (unsigned long long)model.seed);
    space_close(&space);
}
