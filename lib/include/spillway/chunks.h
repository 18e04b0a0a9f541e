/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_CHUNKS_H
#define SPILLWAY_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

#ifdef __cplusplus
extern "C" {
#endif

struct spw_block; /* a fixed-size block of entries; opaque */

/**
 * An owning list of bytes, kept in blocks so that taking and joining lists moves
 * blocks by pointer: the cost does not depend on how many bytes or chunks there
 * are. One thread at a time. A zeroed struct is the empty list.
 */
typedef struct spw_chunks {
    struct spw_block *first, *last;
    size_t count;           /**< chunks in the list */
    uint64_t bytes;         /**< sum of their lengths */
    uint64_t foreign_bytes; /**< the part of it that lives outside a pool's buffers */
} spw_chunks;

/** The empty list. */
#define SPILLWAY_CHUNKS_NONE                                                                       \
    {                                                                                              \
        0, 0, 0, 0, 0                                                                              \
    }

/** Moves `*bytes` to the end of the list. Returns 0 or -ENOMEM (and moves nothing). */
SPILLWAY_API int spw_chunks_push(spw_chunks *chunks, spw_bytes *bytes,
                                 const spw_allocator *allocator);

/** Moves the first chunk out. Returns 1, or 0 when the list is empty. */
SPILLWAY_API int spw_chunks_pop(spw_chunks *chunks, spw_bytes *out);

/** The first chunk, still owned by the list; NULL when it is empty. */
SPILLWAY_API const spw_bytes *spw_chunks_peek(const spw_chunks *chunks);

/**
 * Moves chunks from the front of `from` to the end of `to`: as many as fit in
 * both limits, and at least one if `from` has one and `max_count` > 0. Returns
 * how many moved. Without memory to split a block it moves fewer, possibly none.
 */
SPILLWAY_API size_t spw_chunks_take(spw_chunks *from, size_t max_count, uint64_t max_bytes,
                                    spw_chunks *to);

/** Moves all of `tail` to the end of `chunks`; never fails. */
SPILLWAY_API void spw_chunks_join(spw_chunks *chunks, spw_chunks *tail);

/** Releases every chunk and leaves the empty list. */
SPILLWAY_API void spw_chunks_clear(spw_chunks *chunks);

/** A place in a list; valid until the list changes. */
typedef struct spw_chunks_iter {
    const struct spw_block *block;
    unsigned index;
} spw_chunks_iter;

/** Before the first chunk. */
SPILLWAY_API spw_chunks_iter spw_chunks_begin(const spw_chunks *chunks);

/** The next chunk, still owned by the list; NULL at the end. */
SPILLWAY_API const spw_bytes *spw_chunks_next(spw_chunks_iter *iter);

#ifdef __cplusplus
}
#endif
#endif
