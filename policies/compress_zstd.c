/* SPDX-License-Identifier: MIT */
#include "compress_codec.h"

#if defined(SPILLWAY_HAVE_ZSTD) && SPILLWAY_HAVE_ZSTD

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "../lib/alloc.h"

/* Each half is made when it is needed: most threads encode or decode, few do both. What is inside
 * comes from malloc: the library has no stable way to be given an allocator. Its bytes are told. */
struct zstd_context {
    ZSTD_CCtx *encoder;
    ZSTD_DCtx *decoder;
};

static void *zstd_open(const spw_allocator *allocator)
{
    return allocator_zeroed(allocator, sizeof(struct zstd_context));
}

static void zstd_close(void *context, const spw_allocator *allocator)
{
    struct zstd_context *zstd = context;

    if (!zstd)
        return;
    ZSTD_freeCCtx(zstd->encoder);
    ZSTD_freeDCtx(zstd->decoder);
    allocator_release(allocator, zstd, sizeof(*zstd));
}

static size_t zstd_bytes(const void *context)
{
    const struct zstd_context *zstd = context;

    return sizeof(*zstd) + ZSTD_sizeof_CCtx(zstd->encoder) + ZSTD_sizeof_DCtx(zstd->decoder);
}

static int zstd_error(size_t result, int otherwise)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
        return -ENOMEM;
    case ZSTD_error_dstSize_tooSmall:
        return otherwise == -EBADMSG ? -EBADMSG : -ENOSPC;
    default:
        return otherwise;
    }
}

static long zstd_encode(void *context, int level, const void *in, size_t in_bytes, void *out,
                        size_t capacity)
{
    struct zstd_context *zstd = context;

    if (!zstd->encoder && !(zstd->encoder = ZSTD_createCCtx()))
        return -ENOMEM;
    size_t len = ZSTD_compressCCtx(zstd->encoder, out, capacity, in, in_bytes, level);
    return ZSTD_isError(len) ? zstd_error(len, -EINVAL) : (long)len;
}

static int zstd_decode(void *context, const void *in, size_t in_bytes, void *out, size_t out_bytes)
{
    struct zstd_context *zstd = context;

    if (!zstd->decoder && !(zstd->decoder = ZSTD_createDCtx()))
        return -ENOMEM;
    size_t len = ZSTD_decompressDCtx(zstd->decoder, out, out_bytes, in, in_bytes);
    if (ZSTD_isError(len))
        return zstd_error(len, -EBADMSG);
    return len == out_bytes ? 0 : -EBADMSG;
}

const struct codec codec_zstd = {
    .name = "zstd",
    .built = true,
    .open = zstd_open,
    .close = zstd_close,
    .bytes = zstd_bytes,
    .encode = zstd_encode,
    .decode = zstd_decode,
};

#else

const struct codec codec_zstd = {.name = "zstd"};

#endif
