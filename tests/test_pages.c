/* SPDX-License-Identifier: MIT */
/* Private memory: where it lies, what is asked for it, and what happens where that is refused. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../pool/pages.h"
#include "fault.h"
#include "harness.h"

#define PAGE  ((size_t)4096)
#define HUGE  PAGES_HUGE_BYTES
#define COUNT 8
#define ODD   (HUGE + HUGE / 2 + PAGE) /* no kernel aligns such a length by itself */

static bool is_aligned(const unsigned char *pages)
{
    return ((uintptr_t)pages & (HUGE - 1)) == 0;
}

/* Maps, fills and unmaps several of one size, among maps that keep them from lying in a row. */
static unsigned aligned_of(size_t bytes)
{
    unsigned char *pages[COUNT], *between[COUNT];
    unsigned aligned = 0;
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(pages_map(&fault_os, PAGE * (i + 1), &between[i]), 0);
        cr_assert_eq(pages_map(&fault_os, bytes, &pages[i]), 0);
        aligned += is_aligned(pages[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        memset(pages[i], (int)i + 1, bytes);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(pages[i][0], i + 1);
        cr_assert_eq(pages[i][bytes - 1], i + 1);
        pages_unmap(&fault_os, pages[i], bytes);
        pages_unmap(&fault_os, between[i], PAGE * (i + 1));
    }
    cr_assert_eq(fault_mapped_bytes(), 0, "what was cut off went back");
    return aligned;
}

Test(pages, large_ones_are_aligned_to_huge_pages)
{
    cr_assert_eq(aligned_of(HUGE), COUNT);
    cr_assert_eq(aligned_of(ODD), COUNT);
    cr_assert_eq(aligned_of(10 * HUGE), COUNT);
    aligned_of(PAGE);
    aligned_of(HUGE - PAGE);
}

Test(pages, large_ones_ask_for_huge_pages)
{
    unsigned char *pages;
    cr_assert_eq(pages_map(&fault_os, HUGE, &pages), 0);
    struct fault_args last = fault_last(FAULT_ADVISE);
    cr_assert_eq(last.argument, MADV_HUGEPAGE);
    cr_assert_eq(last.start, pages);
    cr_assert_eq(last.len, HUGE);
    cr_assert_eq(fault_calls(FAULT_ADVISE), 3);
    pages_unmap(&fault_os, pages, HUGE);
    cr_assert_eq(pages_map(&fault_os, HUGE - PAGE, &pages), 0);
    cr_assert_neq(fault_last(FAULT_ADVISE).argument, MADV_HUGEPAGE);
    pages_unmap(&fault_os, pages, HUGE - PAGE);
}

/* Refused advice changes nothing else: these are pages like all others. */
Test(pages, refused_advice_is_not_an_error)
{
    fault_fail(FAULT_ADVISE, 0, FAULT_ALWAYS, -EINVAL);
    cr_assert_eq(aligned_of(HUGE), COUNT);
}

/* Without addresses for the aligned range the first one serves. */
Test(pages, unaligned_where_addresses_are_short)
{
    fault_fail_when(FAULT_MAP, MAP_ANONYMOUS, 0, 1, -ENOMEM);
    unsigned char *pages;
    cr_assert_eq(pages_map(&fault_os, ODD, &pages), -ENOMEM);
    cr_assert_eq(fault_mapped_bytes(), 0);
    unsigned unaligned = 0;
    for (unsigned i = 0; i < 64 && unaligned == 0; i++) {
        unsigned char *between;
        cr_assert_eq(pages_map(&fault_os, PAGE, &between), 0);
        fault_clear();
        fault_fail(FAULT_MAP, 1, 1, -ENOMEM);
        cr_assert_eq(pages_map(&fault_os, ODD, &pages), 0);
        fault_clear();
        unaligned += !is_aligned(pages);
        memset(pages, 1, ODD);
        pages_unmap(&fault_os, pages, ODD);
        pages_unmap(&fault_os, between, PAGE);
    }
    cr_assert_gt(unaligned, 0, "the second attempt was never needed");
    cr_assert_eq(fault_mapped_bytes(), 0);
}

/* Bytes on huge pages in the map that has `start` in it. */
static uint64_t huge_kib_at(const void *start)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    uint64_t kib = 0;
    bool inside = false;
    while (file && fgets(line, sizeof(line), file)) {
        unsigned long begin, end;
        unsigned long long n;
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            inside = begin <= (uintptr_t)start && (uintptr_t)start < end;
        else if (inside && sscanf(line, "AnonHugePages: %llu kB", &n) == 1)
            kib = n;
    }
    if (file)
        (void)fclose(file);
    return kib;
}

/* What the kernel has made of the advice, where it follows such advice at all just now. */
Test(pages, large_ones_are_on_huge_pages)
{
    size_t room = 2 * HUGE;
    unsigned char *start =
        mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(start, MAP_FAILED);
    (void)madvise(start, room, MADV_HUGEPAGE);
    memset(start, 1, room);
    bool given = huge_kib_at(start) > 0;
    munmap(start, room);
    if (!given)
        test_skip("no huge pages here (transparent_hugepage/enabled, or none are free)");
    unsigned char *pages;
    cr_assert_eq(pages_map(&fault_os, ODD, &pages), 0);
    memset(pages, 1, ODD);
    cr_assert_geq(huge_kib_at(pages), HUGE / 1024);
    pages_unmap(&fault_os, pages, ODD);
}

/* Whole pages, of what is worth a call; what the kernel makes of it does not matter. */
Test(pages, what_is_about_to_be_read_is_told)
{
    unsigned char *pages;
    cr_assert_eq(pages_map(&fault_os, HUGE, &pages), 0);
    memset(pages, 7, HUGE);
    pages_expect(&fault_os, pages + PAGE + 17, HUGE / 2);
    struct fault_args last = fault_last(FAULT_ADVISE);
    cr_assert_eq(last.argument, MADV_WILLNEED);
    cr_assert_eq(last.start, pages + PAGE);
    cr_assert_eq(last.len, HUGE / 2 + 17);
    uint64_t calls = fault_calls(FAULT_ADVISE);
    pages_expect(&fault_os, pages, PAGE);
    cr_assert_eq(fault_calls(FAULT_ADVISE), calls, "little comes in by itself");
    fault_fail_when(FAULT_ADVISE, MADV_WILLNEED, 0, FAULT_ALWAYS, -ENOMEM);
    pages_expect(&fault_os, pages, HUGE);
    cr_assert_eq(fault_calls(FAULT_ADVISE), calls + 1);
    cr_assert_eq(pages[HUGE - 1], 7);
    pages_unmap(&fault_os, pages, HUGE);
}
