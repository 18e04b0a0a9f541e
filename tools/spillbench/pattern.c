/* SPDX-License-Identifier: MIT */
/*
 * The content of chunks: a random page, repeated, each time under another 64-bit key. Neither lz4
 * nor zstd finds anything in it, and it costs about what copying costs.
 */
#include <string.h>

#include "load.h"

enum { PAGE_BYTES = 4096, PAGE_WORDS = PAGE_BYTES / 8, LANES = 4 };

typedef uint64_t lanes __attribute__((vector_size(8 * LANES), aligned(8 * LANES), may_alias));
typedef uint64_t any_lanes __attribute__((vector_size(8 * LANES), aligned(1), may_alias));

static union {
    uint64_t words[PAGE_WORDS];
    lanes lanes[PAGE_WORDS / LANES];
    unsigned char bytes[PAGE_BYTES];
} page;

/* splitmix64: each number leads to one that looks random. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

__attribute__((constructor)) static void page_make(void)
{
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        page.words[i] = mix(i);
}

static uint64_t key_of(uint64_t sequence, uint64_t page_number)
{
    return mix(sequence ^ mix(page_number + (UINT64_C(1) << 32)));
}

static unsigned char byte_at(uint64_t key, size_t at)
{
    return (unsigned char)(page.bytes[at] ^ (unsigned char)(key >> (8 * (at % 8))));
}

void chunk_fill(void *to, uint64_t bytes, uint64_t sequence)
{
    unsigned char *out = to;
    for (uint64_t number = 0; bytes > 0; number++) {
        size_t here = bytes < PAGE_BYTES ? (size_t)bytes : PAGE_BYTES;
        uint64_t key = key_of(sequence, number);
        lanes keys = {key, key, key, key};
        size_t at = 0;
        for (; at + sizeof(lanes) <= here; at += sizeof(lanes))
            *(any_lanes *)(out + at) = page.lanes[at / sizeof(lanes)] ^ keys;
        for (; at < here; at++)
            out[at] = byte_at(key, at);
        out += here;
        bytes -= here;
    }
}

/* Bytes [at, at + count) of a page. */
static bool page_matches(const unsigned char *data, size_t at, size_t count, uint64_t key)
{
    lanes keys = {key, key, key, key}, wrong = {0};
    size_t i = 0;
    for (; i < count && (at + i) % sizeof(lanes) != 0; i++) {
        if (data[i] != byte_at(key, at + i))
            return false;
    }
    for (; i + sizeof(lanes) <= count; i += sizeof(lanes))
        wrong |= *(const any_lanes *)(data + i) ^ page.lanes[(at + i) / sizeof(lanes)] ^ keys;
    for (; i < count; i++) {
        if (data[i] != byte_at(key, at + i))
            return false;
    }
    return (wrong[0] | wrong[1] | wrong[2] | wrong[3]) == 0;
}

bool chunk_matches(const void *data, uint64_t bytes, uint64_t sequence, uint64_t offset)
{
    const unsigned char *in = data;
    while (bytes > 0) {
        size_t at = (size_t)(offset % PAGE_BYTES);
        size_t here = bytes < PAGE_BYTES - at ? (size_t)bytes : PAGE_BYTES - at;
        if (!page_matches(in, at, here, key_of(sequence, offset / PAGE_BYTES)))
            return false;
        in += here;
        offset += here;
        bytes -= here;
    }
    return true;
}
