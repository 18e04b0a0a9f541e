/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_BYTES_H
#define SPILLWAY_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Who keeps an allocation alive; opaque. Reference counts are atomic and 64 bits wide. */
typedef struct spw_owner spw_owner;

/**
 * An immutable slice of a reference-counted allocation.
 *
 * A plain value that holds one reference: moving it (by assignment) moves the
 * reference, spw_bytes_clone() adds one, spw_bytes_release() drops it. Reading
 * `data` and `len` is free; never write to any member. One value must not be
 * used by two threads at once; two values of one owner may.
 *
 * In a forked child, bytes of a pool must not be read: their pages are not there.
 */
typedef struct spw_bytes {
    const unsigned char *data;
    size_t len;
    spw_owner *owner; /**< NULL for the empty value */
} spw_bytes;

/** The empty value: no bytes, no reference. */
#define SPILLWAY_BYTES_NONE                                                                        \
    {                                                                                              \
        0, 0, 0                                                                                    \
    }

/** Gives foreign memory back; called once, from whichever thread drops the last reference. */
typedef void spw_bytes_release_fn(void *context, const void *data, size_t len);

/**
 * Makes bytes of memory that the caller owns. From success on the memory must
 * stay readable and unchanged until `release` (may be NULL) is called.
 *
 * Returns 0, -EINVAL (data is NULL with len > 0, or the range wraps around the
 * address space) or -ENOMEM; on failure `release` is not called.
 */
SPILLWAY_API int spw_bytes_wrap(const void *data, size_t len, spw_bytes_release_fn *release,
                                void *context, const spw_allocator *allocator, spw_bytes *out);

/** Bytes over a private copy of `len` bytes at `data`. Returns 0, -EINVAL or -ENOMEM. */
SPILLWAY_API int spw_bytes_copy(const void *data, size_t len, const spw_allocator *allocator,
                                spw_bytes *out);

/** A second reference to the same slice. Never fails. */
SPILLWAY_API spw_bytes spw_bytes_clone(const spw_bytes *bytes);

/** Drops the reference and makes `*bytes` the empty value. Harmless on the empty value. */
SPILLWAY_API void spw_bytes_release(spw_bytes *bytes);

/**
 * Cuts the first `n` bytes off `*bytes` into `*front`; both share the owner.
 * Returns 0, or -ERANGE when n > bytes->len.
 */
SPILLWAY_API int spw_bytes_split_front(spw_bytes *bytes, size_t n, spw_bytes *front);

/**
 * Appends `*next` to `*bytes` without a copy where both are slices of one owner
 * and `next` starts where `bytes` ends. Returns 1 and empties `*next` when
 * merged, 0 (and changes nothing) otherwise.
 */
SPILLWAY_API int spw_bytes_try_merge(spw_bytes *bytes, spw_bytes *next);

/** A writable allocation that a producer fills front to back; opaque, one thread at a time. */
typedef struct spw_slab spw_slab;

/**
 * A slab on the heap. `capacity_bytes` > 0. Returns 0, -EINVAL or -ENOMEM.
 * A pool's own slabs (spw_pool_slab_open()) spill without a copy; these cost one.
 */
SPILLWAY_API int spw_slab_open(size_t capacity_bytes, const spw_allocator *allocator,
                               spw_slab **out);

/** Drops the producer's hold. Bytes that were cut stay valid. NULL is harmless. */
SPILLWAY_API void spw_slab_close(spw_slab *slab);

/**
 * Where the producer writes next; spw_slab_room() bytes are writable there. What is cut off may be
 * readable at another address.
 */
SPILLWAY_API unsigned char *spw_slab_space(const spw_slab *slab);

/** Bytes not yet cut off. */
SPILLWAY_API size_t spw_slab_room(const spw_slab *slab);

/** The whole allocation, cut or not. */
SPILLWAY_API size_t spw_slab_capacity(const spw_slab *slab);

/**
 * Freezes the first `n` bytes of the room into bytes; the producer must not
 * write there again. Consecutive cuts are adjacent, so they merge in a queue.
 * Returns 0 or -ERANGE when n > spw_slab_room().
 */
SPILLWAY_API int spw_slab_cut(spw_slab *slab, size_t n, spw_bytes *out);

/**
 * Takes the whole capacity back for writing once no bytes of the slab are left
 * anywhere. Returns 0, or -EBUSY while some are.
 */
SPILLWAY_API int spw_slab_regain(spw_slab *slab);

#ifdef __cplusplus
}
#endif
#endif
