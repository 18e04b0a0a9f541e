/* SPDX-License-Identifier: MIT */
#include "slot.h"

#include <errno.h>

#include "../lib/alloc.h"
#include "pool.h"
#include "run.h"
#include "segment.h"

enum {
    /* A run of a smaller part of a slab is copied: it would keep all of the slab from reuse. */
    ADOPT_SHARE = 8,
    /* Smaller ones are better off in one run with others. */
    ADOPT_MIN_BYTES = RUN_MIN_BYTES / 2,
};

/* ---- owners ---- */

static void slot_give_back(struct slot_owner *slot)
{
    struct spw_pool *pool = slot->pool;
    struct segment *segment = slot->segment;
    memtier_release(pool->memtier,
                    &(struct memslot){.segment = segment,
                                      .data = segment->read + slot->cell * segment->cell_bytes,
                                      .len = slot->len});
    allocator_release(pool->allocator, slot, sizeof(*slot));
    pool_room_freed(pool);
    pool_release(pool);
}

static void slot_last(struct spw_owner *owner)
{
    struct slot_owner *slot = (struct slot_owner *)owner;
    if (!pool_in_child(slot->pool)) /* there the segment is the parent's */
        slot_give_back(slot);
}

/* The same for what was a slab. */
static void slot_slab_last(struct spw_owner *owner)
{
    struct slot_owner *slot = (struct slot_owner *)owner;
    if (pool_in_child(slot->pool))
        return;
    atomic_fetch_sub_explicit(&slot->pool->counters->memory_tier_slab_bytes, slot->len,
                              memory_order_relaxed);
    slot_give_back(slot);
}

/* Takes the piece over; one reference for the caller, and one on the pool. NULL without memory. */
static struct slot_owner *slot_owner_open(struct spw_pool *pool, const struct memslot *piece,
                                          void (*last)(struct spw_owner *))
{
    struct slot_owner *slot = allocator_zeroed(pool->allocator, sizeof(*slot));
    if (!slot)
        return NULL;
    /* Segments have a capacity of their own, so the budget does not count them: pooled. */
    owner_init(&slot->owner, 1, true, last);
    slot->pool = pool;
    slot->segment = piece->segment;
    slot->len = piece->len & ((UINT64_C(1) << 56) - 1);
    if (piece->segment->cell_bytes) /* does not change while a piece of it is held */
        slot->cell = segment_cell(piece->segment, piece->data) & 0xff;
    pool_acquire(pool);
    return slot;
}

struct slot_owner *slot_owner_of(const struct spw_pool *pool, const spw_bytes *bytes)
{
    struct spw_owner *owner = bytes->owner;
    if (!owner || (owner->last != slot_slab_last && owner->last != slot_last))
        return NULL;
    struct slot_owner *slot = (struct slot_owner *)owner;
    return slot->pool == pool ? slot : NULL;
}

/* ---- slabs ---- */

int slot_slab_open(struct spw_pool *pool, size_t capacity_bytes, spw_slab **out)
{
    if (!pool->memtier || !pool->engine || !memtier_is_near(pool->memtier) ||
        coding_keeps_slabs_out(pool))
        return -ENOSPC;
    if (capacity_bytes > SIZE_MAX / 2)
        return -ENOSPC;
    size_t capacity = buffer_capacity(capacity_bytes);
    struct memslot piece;
    unsigned char *write;
    int err = memtier_take(pool->memtier, capacity, &piece, &write);
    if (err)
        return err;
    struct slot_owner *slot = slot_owner_open(pool, &piece, slot_slab_last);
    if (!slot) {
        memtier_release(pool->memtier, &piece);
        return -ENOMEM;
    }
    atomic_fetch_add_explicit(&pool->counters->memory_tier_slab_bytes, capacity,
                              memory_order_relaxed);
    err = slab_open_over(&slot->owner, write, piece.data, capacity, pool->allocator, out);
    if (err)
        owner_release(&slot->owner);
    return err;
}

/* ---- runs ---- */

bool slot_is_adoptable(const struct spw_pool *pool, const spw_bytes *bytes)
{
    const struct slot_owner *slot = slot_owner_of(pool, bytes);
    return slot && bytes->len >= ADOPT_MIN_BYTES && bytes->len >= slot->len / ADOPT_SHARE;
}

const unsigned char *run_slot_data(const struct run *run)
{
    return run->place == PLACE_SHARED ? run->at.shared.data : run->at.slot.data;
}

struct segment *run_segment(const struct run *run)
{
    return run->place == PLACE_SHARED ? run->at.shared.owner->segment : run->at.slot.segment;
}

const unsigned char *run_slot_own_view(const struct run *run)
{
    return segment_own_view(run_segment(run), run_slot_data(run));
}

void run_adopt(struct run *run, const spw_bytes *bytes)
{
    struct slot_owner *owner = slot_owner_of(run->pool, bytes);
    owner_acquire(&owner->owner);
    run->at.shared = (struct shared_slot){bytes->data, owner};
    run->place = PLACE_SHARED;
    run->skip = 0;
    pool_count(run->pool, adopted_bytes_total, run->bytes);
}

int run_share(struct run *run)
{
    if (run->place == PLACE_SHARED)
        return 0;
    struct memslot piece = run_slot(run);
    struct slot_owner *owner = slot_owner_open(run->pool, &piece, slot_last);
    if (!owner)
        return -ENOMEM;
    run->at.shared = (struct shared_slot){run->at.slot.data, owner};
    run->place = PLACE_SHARED;
    return 0;
}

struct slot_owner *run_unshare(struct run *run)
{
    struct slot_owner *owner = run->at.shared.owner;
    run->place = PLACE_NONE;
    return owner;
}
