/* SPDX-License-Identifier: MIT */
/*
 * Which parts of one scratch file are in use: a buddy system over zones of
 * DISK_ZONE_BYTES. Pure bookkeeping, no I/O, no lock (the caller has one).
 *
 * Zone n owns the file's bytes from n * DISK_ZONE_BYTES on. A part of it, from its start, is
 * ready: the file system has given the space. Near a limit, or on a file system that is almost
 * full, a zone is not ready to its end, or (after a trim) not at all. Of what is ready, a part
 * from the start is opened: it went into the tree of free blocks. The rest is opened piece by
 * piece only when the opened part of all zones has no room, since what was written before is
 * faster to write than what was not.
 *
 * Taking and giving back cost O(log DISK_ZONE_BYTES) however many zones there are. Only
 * extent_plan() may need memory.
 */
#ifndef SPILLWAY_POOL_EXTENT_H
#define SPILLWAY_POOL_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"
#include "spillway/alloc.h"

/* An extent of order k has DISK_EXTENT_MIN_BYTES << k bytes. */
enum { EXTENT_ORDERS = 11, EXTENT_LEAVES = 1 << (EXTENT_ORDERS - 1) };
_Static_assert(DISK_EXTENT_MIN_BYTES *EXTENT_LEAVES == DISK_ZONE_BYTES,
               "the largest extent is a whole zone");

/* Zones of one file at most: 4 PiB, so that no offset overflows. */
enum { EXTENT_ZONES_MAX = 1 << 26 };

struct zone;

struct extent_space {
    const spw_allocator *allocator;
    struct zone **zones; /* by number */
    uint32_t zone_count, zone_capacity;
    /* opened zones by their largest free order, last touched first, and a bit for each list */
    struct zone *by_order[EXTENT_ORDERS];
    uint32_t occupied;
    /* zones by the largest extent that opening the rest of them gives */
    struct zone *cold[EXTENT_ORDERS];
    uint32_t cold_occupied;
    struct zone *idle;     /* ready and without an extent, also in by_order */
    struct zone *absent;   /* nothing ready; last withdrawn first */
    struct zone *partial;  /* the one that is to grow first, if any */
    uint64_t ready_bytes;  /* given by the file system */
    uint64_t used_bytes;   /* in extents */
    uint64_t opened_bytes; /* all that was ever taken, and little else */
};

/* Where the file may grow, and by how much so that the extent asked for fits. */
struct extent_growth {
    uint64_t offset;
    uint64_t min_bytes, max_bytes; /* multiples of DISK_EXTENT_MIN_BYTES */
};

void extent_init(struct extent_space *space, const spw_allocator *allocator);

/* Extents may still be in use. */
void extent_fini(struct extent_space *space);

/* The order that holds `len` bytes; -EINVAL for 0 and for more than DISK_ZONE_BYTES. */
int extent_order(uint64_t len);

uint64_t extent_bytes(unsigned order);

/* Whether extent_take() of this order would work. */
bool extent_has(const struct extent_space *space, unsigned order);

/* The same, without opening anything new. */
bool extent_has_warm(const struct extent_space *space, unsigned order);

/* Best fit; among equals the zone touched last, and in it the lowest place. -ENOSPC. */
int extent_take(struct extent_space *space, unsigned order, uint64_t *offset);

/* Never fails for an extent that is in use; -EINVAL and no change for anything else. */
int extent_give(struct extent_space *space, uint64_t offset, uint64_t len);

/*
 * Where to grow next for an extent of `order`. One plan at a time: until it is grown or given up,
 * no other is made and no zone withdrawn. Returns 0, -ENOMEM, or -ENOSPC at EXTENT_ZONES_MAX.
 */
int extent_plan(struct extent_space *space, unsigned order, struct extent_growth *out);

/* The file has grown by `len` bytes at the plan's offset, between its min and its max. */
void extent_grown(struct extent_space *space, uint64_t offset, uint64_t len);

/*
 * Takes a zone that is ready and has no extent out of circulation, so that its space can be
 * returned; with `last`, only the one where the file's ready part ends. Returns its number, or
 * -ENOENT.
 */
int64_t extent_withdraw(struct extent_space *space, bool last, struct extent_growth *out);

/* The withdrawn zone's space is gone; or it is not, and the zone is used again. */
void extent_withdrawn(struct extent_space *space, uint32_t zone, bool gone);

/* Where the last ready byte ends, a withdrawn zone apart. */
uint64_t extent_end(const struct extent_space *space);

/* Walks everything; for tests and debug builds. */
bool extent_valid(const struct extent_space *space);

#endif
