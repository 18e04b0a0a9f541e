/* SPDX-License-Identifier: MIT */
/* What stands behind spw_bytes: a counted allocation. */
#ifndef SPILLWAY_OWNER_H
#define SPILLWAY_OWNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "spillway/bytes.h"

/*
 * 64 bits cannot overflow: at one clone a nanosecond it would take 584 years.
 * Embedded as the first member of whatever the allocation is described by.
 */
struct spw_owner {
    _Atomic uint64_t refs;
    bool pooled;                           /* the pool counts this memory itself */
    void (*last)(struct spw_owner *owner); /* the last reference is gone; frees the owner */
};

static inline void owner_init(struct spw_owner *owner, uint64_t refs, bool pooled,
                              void (*last)(struct spw_owner *))
{
    atomic_init(&owner->refs, refs);
    owner->pooled = pooled;
    owner->last = last;
}

static inline void owner_acquire(struct spw_owner *owner)
{
    atomic_fetch_add_explicit(&owner->refs, 1, memory_order_relaxed);
}

static inline void owner_acquire_many(struct spw_owner *owner, uint64_t count)
{
    atomic_fetch_add_explicit(&owner->refs, count, memory_order_relaxed);
}

/* Gives `count` references back while the caller keeps another one. */
static inline void owner_release_many(struct spw_owner *owner, uint64_t count)
{
    atomic_fetch_sub_explicit(&owner->refs, count, memory_order_release);
}

static inline void owner_release(struct spw_owner *owner)
{
    /* Release: our reads are done. Acquire in the last one: so are everybody's. */
    if (atomic_fetch_sub_explicit(&owner->refs, 1, memory_order_acq_rel) == 1)
        owner->last(owner);
}

/* Whether the caller's reference is the only one. */
static inline bool owner_is_unique(struct spw_owner *owner)
{
    return atomic_load_explicit(&owner->refs, memory_order_acquire) == 1;
}

/* What these bytes add to the memory outside a pool's own buffers. */
static inline size_t bytes_foreign_part(const spw_bytes *bytes)
{
    return bytes->owner && bytes->owner->pooled ? 0 : bytes->len;
}

/* Whether `next` follows `bytes` in the same allocation. */
static inline bool bytes_adjoin(const spw_bytes *bytes, const spw_bytes *next)
{
    return bytes->data + bytes->len == next->data && bytes->owner == next->owner && bytes->owner &&
           bytes != next;
}

/* An owner with `len` bytes of its own behind it, one allocation, one reference. NULL without
 * memory. */
struct spw_owner *owner_open(size_t len, const spw_allocator *allocator, unsigned char **data);

/* Makes a slab over memory that `owner` keeps alive; takes over one reference on success. Bytes
 * point to `readable`, the producer writes through `writable`; both have `capacity` bytes. */
int slab_open_over(struct spw_owner *owner, unsigned char *writable, const unsigned char *readable,
                   size_t capacity, const spw_allocator *allocator, spw_slab **out);

#endif
