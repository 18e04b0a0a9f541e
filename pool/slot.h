/* SPDX-License-Identifier: MIT */
/*
 * Places in the memory tier that several may hold at once: a slab that lies in a segment with
 * all that was cut from it, runs that adopted such bytes, what readers were lent. A run whose
 * place is its own alone has no owner; run_share() gives it one.
 *
 * Adoption: bytes of a slab that lies in a segment are in the memory tier from the beginning, at
 * the cost of its capacity, not of the budget. Spilling them moves nothing and waits for nothing.
 */
#ifndef SPILLWAY_POOL_SLOT_H
#define SPILLWAY_POOL_SLOT_H

#include "../lib/owner.h"
#include "memtier.h"
#include "spillway/chunks.h"

struct spw_pool;
struct run;

struct slot_owner {
    struct spw_owner owner; /* first */
    struct spw_pool *pool;
    struct segment *segment;
    uint64_t len : 56; /* of the piece */
    uint64_t cell : 8; /* where the segment has cells */
};

/* The owner behind bytes that lie in this pool's memory tier, NULL for all others. */
struct slot_owner *slot_owner_of(const struct spw_pool *pool, const spw_bytes *bytes);

/* A slab that lies in a segment. Returns 0, -ENOSPC (the tier is full, elsewhere, or copies only)
 * or -ENOMEM. */
int slot_slab_open(struct spw_pool *pool, size_t capacity_bytes, spw_slab **out);

/* Whether a run of these bytes alone should leave them where they are. */
bool slot_is_adoptable(const struct spw_pool *pool, const spw_bytes *bytes);

/* ---- runs; with the pool's lock held, or by the engine's thread that works on the run ---- */

/* The segment of a run in the memory tier. */
struct segment *run_segment(const struct run *run);

/* Where a run in the memory tier is read. */
const unsigned char *run_slot_data(const struct run *run);

/* The same in the pool's own map. */
const unsigned char *run_slot_own_view(const struct run *run);

/* The run takes part in holding the place of adoptable bytes, and is in the memory tier with that.
 */
void run_adopt(struct run *run, const spw_bytes *bytes);

/* Gives the place of a run in the memory tier an owner. Returns 0 or -ENOMEM. */
int run_share(struct run *run);

/* Takes the run's part in a shared place away from it; the caller has it now. */
struct slot_owner *run_unshare(struct run *run);

#endif
