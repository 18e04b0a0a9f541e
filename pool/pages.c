/* SPDX-License-Identifier: MIT */
#include "pages.h"

#include <stdint.h>
#include <sys/mman.h>

static int map(const struct os *os, size_t bytes, unsigned char **out)
{
    void *start;
    int err = os->map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &start);
    *out = err ? NULL : start;
    return err;
}

static size_t past_huge(const unsigned char *start)
{
    return (size_t)((uintptr_t)start & (PAGES_HUGE_BYTES - 1));
}

/* Maps as much as has an aligned range in it for certain, and gives the rest back. */
static int map_and_cut(const struct os *os, size_t bytes, unsigned char **out)
{
    unsigned char *start;
    int err = map(os, bytes + PAGES_HUGE_BYTES, &start);
    if (err)
        return err;
    size_t before = PAGES_HUGE_BYTES - past_huge(start), behind = PAGES_HUGE_BYTES - before;
    /* Nothing has touched these pages: should the kernel want to keep them, that costs addresses.
     */
    os->unmap(start, before);
    if (behind > 0)
        os->unmap(start + before + bytes, behind);
    *out = start + before;
    return 0;
}

/* Newer kernels align such maps by themselves. */
static int map_aligned(const struct os *os, size_t bytes, unsigned char **out)
{
    int err = map(os, bytes, out);
    if (err || past_huge(*out) == 0)
        return err;
    unsigned char *first = *out;
    err = map_and_cut(os, bytes, out);
    if (err)
        *out = first; /* it works without, at a price */
    else
        os->unmap(first, bytes);
    return 0;
}

int pages_map(const struct os *os, size_t bytes, unsigned char **out)
{
    bool huge = bytes >= PAGES_HUGE_BYTES;
    int err = huge ? map_aligned(os, bytes, out) : map(os, bytes, out);
    if (err)
        return err;
    /* A child must not share what the parent goes on to reuse; and no data in core dumps. */
    os->advise(*out, bytes, MADV_DONTFORK);
    os->advise(*out, bytes, MADV_DONTDUMP);
    /* Only asked for: where the system has none to give, these are pages like all others. */
    if (huge)
        os->advise(*out, bytes, MADV_HUGEPAGE);
    return 0;
}

/* A touch brings in about half of it by itself. */
#define EXPECT_MIN_BYTES ((size_t)64 << 10)
#define PAGE_BYTES       ((uintptr_t)4096) /* the smallest; where they are larger it is refused */

void pages_expect(const struct os *os, const void *start, size_t bytes)
{
    uintptr_t from = (uintptr_t)start & ~(PAGE_BYTES - 1);
    if (bytes >= EXPECT_MIN_BYTES)
        os->advise((void *)from, (uintptr_t)start + bytes - from, MADV_WILLNEED);
}

void pages_unmap(const struct os *os, unsigned char *pages, size_t bytes)
{
    os->unmap(pages, bytes);
}
