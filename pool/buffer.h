/* SPDX-License-Identifier: MIT */
/*
 * The pool's own memory: mapped buffers, kept warm for reuse, each counted under what it is used
 * for. Their sizes are powers of two up to 2 MiB; larger ones are made to measure.
 */
#ifndef SPILLWAY_POOL_BUFFER_H
#define SPILLWAY_POOL_BUFFER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/owner.h"

#define BUFFER_MIN_BYTES ((size_t)64 << 10)
#define BUFFER_MAX_BYTES ((size_t)2 << 20) /* larger ones are made to measure */
enum {
    BUFFER_CLASSES = 6,            /* 64 KiB to 2 MiB */
    BUFFER_LARGE = BUFFER_CLASSES, /* the list of larger ones */
    BUFFER_LISTS
};

enum buffer_use {
    USE_SLAB,
    USE_STAGING,
    USE_READING,
    USE_LOADED,
    USE_LENT,
    USE_WARM,
    USE_RESERVE,
    BUFFER_USES
};

/* How much an acquire may insist. */
enum buffer_claim {
    CLAIM_WITHIN, /* only inside the budget */
    CLAIM_HEAD,   /* a head fetch: the reserved buffer, else over the budget */
    CLAIM_FORCE,  /* over the budget if need be */
};

struct spw_pool;

struct buffer {
    struct spw_owner owner; /* first; the references of bytes and slabs */
    struct spw_pool *pool;
    unsigned char *base; /* see pages.h */
    size_t capacity;
    _Atomic unsigned use; /* enum buffer_use */
    struct buffer *next;  /* warm list; guarded by the lock */
};

struct buffers {
    struct spw_pool *pool;
    pthread_mutex_t lock;              /* innermost but for the engine's; guards the next four */
    struct buffer *warm[BUFFER_LISTS]; /* last in, first out */
    struct buffer *reserve;            /* NULL while it is out */
    struct buffer *retired;            /* no longer counted, still mapped */
    size_t reserve_capacity;
    _Atomic uint64_t *use_bytes;   /* of each use; rows of the pool's counters */
    _Atomic uint64_t mapped_total; /* buffers mapped so far: steady state maps none */
};

int buffers_init(struct buffers *buffers, struct spw_pool *pool, size_t reserve_bytes);

/* The reserve is to have `reserve_bytes` from now on; without memory it stays as it is. */
void buffers_fit(struct buffers *buffers, size_t reserve_bytes);

void buffers_fini(struct buffers *buffers); /* everything must be warm */

/*
 * A buffer of at least `bytes`, with one reference for the caller and one on the
 * pool. Returns 0, -EAGAIN (CLAIM_WITHIN and the budget is used up) or -ENOMEM.
 */
int buffer_acquire(struct buffers *buffers, size_t bytes, enum buffer_use use,
                   enum buffer_claim claim, struct buffer **out);

/* Two at once, or none. Returns as above. */
int buffer_acquire_pair(struct buffers *buffers, const size_t bytes[2], enum buffer_use use,
                        enum buffer_claim claim, struct buffer *out[2]);

/* What a buffer for `bytes`, at most SIZE_MAX / 2 of them, really has. */
size_t buffer_capacity(size_t bytes);

/* Drops the caller's reference. */
void buffer_release(struct buffer *buffer);

void buffer_set_use(struct buffer *buffer, enum buffer_use use);

/* What the last reference calls; tells a buffer from other owners. */
void buffer_last(struct spw_owner *owner);

/* The buffer behind bytes of this pool, NULL for all others. */
struct buffer *buffer_of(const struct spw_pool *pool, const spw_bytes *bytes);

/* Unmaps warm buffers until `bytes` are freed; returns how many were. */
uint64_t buffers_trim(struct buffers *buffers, uint64_t bytes);

/* Unmaps what had to make room. Not under a queue's lock: a system call each. */
void buffers_reap(struct buffers *buffers);

uint64_t buffers_used(const struct buffers *buffers, enum buffer_use use);

#endif
