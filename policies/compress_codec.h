/* SPDX-License-Identifier: MIT */
/* The libraries that do the work behind the compress policy; each may be missing from a build. */
#ifndef SPILLWAY_POLICIES_COMPRESS_CODEC_H
#define SPILLWAY_POLICIES_COMPRESS_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "spillway/alloc.h"

struct codec {
    const char *name;
    bool built;
    /* What one thread at a time works with. NULL without memory; closing NULL is harmless. */
    void *(*open)(const spw_allocator *allocator);
    void (*close)(void *context, const spw_allocator *allocator);
    /* What it takes; grows as it is used. */
    size_t (*bytes)(const void *context);
    /* Returns how many bytes of `out` it took, -ENOSPC where `capacity` is too small, -ENOMEM. */
    long (*encode)(void *context, int level, const void *in, size_t in_bytes, void *out,
                   size_t capacity);
    /* Exactly `out_bytes`. Returns 0, -EBADMSG or -ENOMEM. */
    int (*decode)(void *context, const void *in, size_t in_bytes, void *out, size_t out_bytes);
};

extern const struct codec codec_lz4, codec_zstd;

#endif
