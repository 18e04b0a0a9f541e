/* SPDX-License-Identifier: MIT */
#include "compress_codec.h"

#if defined(SPILLWAY_HAVE_LZ4) && SPILLWAY_HAVE_LZ4

#include <errno.h>
#include <limits.h>
#include <lz4.h>

#include "../lib/alloc.h"

static void *lz4_open(const spw_allocator *allocator)
{
    return allocator_acquire(allocator, (size_t)LZ4_sizeofState());
}

static void lz4_close(void *context, const spw_allocator *allocator)
{
    allocator_release(allocator, context, (size_t)LZ4_sizeofState());
}

static size_t lz4_bytes(const void *context)
{
    (void)context;
    return (size_t)LZ4_sizeofState();
}

static long lz4_encode(void *context, int level, const void *in, size_t in_bytes, void *out,
                       size_t capacity)
{
    int room = capacity < INT_MAX ? (int)capacity : INT_MAX;

    if (in_bytes > LZ4_MAX_INPUT_SIZE)
        return -EINVAL;
    int len = LZ4_compress_fast_extState(context, in, out, (int)in_bytes, room, level);
    return len > 0 ? len : -ENOSPC;
}

static int lz4_decode(void *context, const void *in, size_t in_bytes, void *out, size_t out_bytes)
{
    (void)context;
    if (in_bytes > INT_MAX || out_bytes > INT_MAX)
        return -EBADMSG;
    int len = LZ4_decompress_safe(in, out, (int)in_bytes, (int)out_bytes);
    return len >= 0 && (size_t)len == out_bytes ? 0 : -EBADMSG;
}

const struct codec codec_lz4 = {
    .name = "lz4",
    .built = true,
    .open = lz4_open,
    .close = lz4_close,
    .bytes = lz4_bytes,
    .encode = lz4_encode,
    .decode = lz4_decode,
};

#else

const struct codec codec_lz4 = {.name = "lz4"};

#endif
