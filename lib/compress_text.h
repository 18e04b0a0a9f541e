/* SPDX-License-Identifier: MIT */
/* How the compress policy is told what to do: "auto", "room", "lz4", "zstd:3", ... */
#ifndef SPILLWAY_LIB_COMPRESS_TEXT_H
#define SPILLWAY_LIB_COMPRESS_TEXT_H

#include <stddef.h>

enum compress_mode {
    COMPRESS_AUTO,  /* for room and for speed, whatever is scarce */
    COMPRESS_ROOM,  /* as small as makes sense, always */
    COMPRESS_SPEED, /* only where the device is slower than a processor */
    COMPRESS_NONE,
    COMPRESS_LZ4, /* this code, always */
    COMPRESS_ZSTD
};

enum { COMPRESS_LEVEL_MIN = -7, COMPRESS_LEVEL_MAX = 19, COMPRESS_LEVEL_USUAL = 1 };

struct compress_setting {
    enum compress_mode mode;
    int level; /* COMPRESS_ZSTD, else 0 */
};

/* In either case, without blanks. Returns 0, or -EINVAL and changes nothing. */
int compress_parse(const char *text, struct compress_setting *out);

/* What compress_parse() takes back. */
void compress_format(const struct compress_setting *setting, char *out, size_t capacity);

#endif
