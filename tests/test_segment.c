/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../pool/segment.h"
#include "fault.h"
#include "harness.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 0x0004U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGE = 4096, BYTES = 2 * 1024 * 1024, HUGE_PAGE = 2 * 1024 * 1024 };

static const struct segment_plan plain_plan = {
    .os = &fault_os, .page_bytes = PAGE, .huge_page_bytes = HUGE_PAGE};
static struct segment segment;
static enum segment_step step;
static unsigned char pattern[BYTES] __attribute__((aligned(PAGE)));

static void make_pattern(void)
{
    size_t i;

    for (i = 0; i < sizeof(pattern); i++)
        pattern[i] = (unsigned char)(i * 7 + i / 251);
}

static unsigned fills;

static void fill_pattern(void *context, unsigned char *to)
{
    fills++;
    memcpy(to, pattern, *(const size_t *)context);
}

static int open_strict(const struct segment_plan *plan, size_t bytes, size_t len, bool whole)
{
    struct segment_source source = {.len = len,
                                    .whole = whole ? pattern : NULL,
                                    .fill = whole ? NULL : fill_pattern,
                                    .context = &len};

    make_pattern();
    return segment_open_strict(plan, bytes, &source, &segment, &step);
}

static void assert_nothing_left(void)
{
    cr_assert_eq(fault_mapped_bytes(), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

static void close_segment(void)
{
    segment_close(&fault_os, &segment);
    assert_nothing_left();
}

/* The file behind a map, opened anew as another process could; -1 where that is not permitted. */
static int reopen_map(const void *start, size_t len, int flags)
{
    char path[128];
    uintptr_t at = (uintptr_t)start;

    (void)snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)at,
                   (unsigned long)(at + len));
    return open(path, flags | O_CLOEXEC);
}

/* Whether a forked child has anything at this address. */
static int child_sees(const void *start)
{
    unsigned char vector[1]; /* 2: mincore failed in some other way */
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(mincore((void *)(uintptr_t)start, PAGE, vector) == 0 ? 1 : errno == ENOMEM ? 0 : 2);
    cr_assert_gt(child, 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

Test(segment, recycle_round_trip)
{
    make_pattern();
    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    cr_assert_eq(segment.bytes, BYTES);
    cr_assert_eq(segment.fd, -1);
    cr_assert_eq(fault_open_fds(), 0, "the descriptor is closed");
    cr_assert_eq(fault_mapped_bytes(), 2 * BYTES);
    cr_assert_eq(segment.read[0], 0);
    memcpy(segment.write, pattern, BYTES);
    cr_assert_eq(memcmp(segment.read, pattern, BYTES), 0);
    segment.write[5] = 99;
    cr_assert_eq(segment.read[5], 99);
    cr_assert_eq(segment.lacks, 0);
    close_segment();
    cr_assert_null(segment.read);
}

Test(segment, recycle_pages_are_there_before_the_first_touch)
{
    unsigned char resident[BYTES / PAGE];
    size_t i;

    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    cr_assert_eq(mincore(segment.write, BYTES, resident), 0);
    for (i = 0; i < sizeof(resident); i++)
        cr_assert(resident[i] & 1, "page %zu", i);
    close_segment();
}

Test(segment, recycle_read_map_cannot_be_made_writable)
{
    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    cr_assert_eq(mprotect((void *)(uintptr_t)segment.read, BYTES, PROT_READ | PROT_WRITE), -1);
    cr_assert(errno == EACCES || errno == EPERM);
    close_segment();
}

Test(segment, recycle_file_is_sealed)
{
    int fd, seals;

    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    fd = reopen_map(segment.read, BYTES, O_RDWR);
    if (fd < 0)
        test_skip("map_files cannot be opened here: %s", strerror(errno));
    seals = fcntl(fd, F_GET_SEALS);
    cr_assert_eq(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
                 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    cr_assert_eq(pwrite(fd, "x", 1, 0), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(ftruncate(fd, 0), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    cr_assert_eq(errno, EPERM);
    close(fd);
    close_segment();
}

Test(segment, recycle_is_kept_from_children_and_dumps)
{
    char line[256];
    bool found = false, flagged = false;
    char start[32];
    FILE *smaps;

    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    cr_assert_eq(child_sees(segment.write), 0);
    cr_assert_eq(child_sees(segment.read), 0);
    cr_assert_eq(child_sees(pattern), 1, "the probe itself works");
    smaps = fopen("/proc/self/smaps", "re");
    cr_assert_not_null(smaps);
    (void)snprintf(start, sizeof(start), "%08lx-", (unsigned long)(uintptr_t)segment.read);
    while (fgets(line, sizeof(line), smaps) != NULL) {
        if (strncmp(line, start, strlen(start)) == 0)
            found = true;
        if (found && strncmp(line, "VmFlags:", 8) == 0) {
            flagged = strstr(line, " dc") != NULL && strstr(line, " dd") != NULL;
            break;
        }
    }
    fclose(smaps);
    cr_assert(found);
    cr_assert(flagged, "%s", line);
    close_segment();
}

Test(segment, strict_round_trip_by_writing)
{
    cr_assert_eq(open_strict(&plain_plan, 5 * PAGE, 4 * PAGE + 77, true), 0);
    cr_assert_null(segment.write);
    cr_assert_geq(segment.fd, 0);
    cr_assert_eq(fault_open_fds(), 1);
    cr_assert_eq(fault_mapped_bytes(), 5 * PAGE);
    cr_assert_eq(memcmp(segment.read, pattern, 4 * PAGE + 77), 0);
    cr_assert_eq(segment.read[4 * PAGE + 77], 0);
    cr_assert_gt(fault_calls(FAULT_PWRITE), 0);
    cr_assert_eq(fault_calls(FAULT_MAP), 1);
    close_segment();
}

Test(segment, strict_round_trip_by_filling)
{
    cr_assert_eq(open_strict(&plain_plan, 5 * PAGE, 4 * PAGE + 77, false), 0);
    cr_assert_eq(memcmp(segment.read, pattern, 4 * PAGE + 77), 0);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 0);
    cr_assert_eq(fills, 1);
    cr_assert_eq(fault_mapped_bytes(), 5 * PAGE);
    close_segment();
}

Test(segment, strict_survives_short_and_interrupted_writes)
{
    fault_fail(FAULT_PWRITE, 1, 2, -EINTR);
    fault_short(FAULT_PWRITE, 0, 5, 1000);
    cr_assert_eq(open_strict(&plain_plan, 5 * PAGE, 5 * PAGE, true), 0);
    cr_assert_eq(memcmp(segment.read, pattern, 5 * PAGE), 0);
    close_segment();
    fault_clear();
    fault_short(FAULT_PWRITE, 0, 1, 0);
    cr_assert_eq(open_strict(&plain_plan, PAGE, PAGE, true), -EIO);
    cr_assert_eq(step, SEGMENT_STEP_WRITE);
    assert_nothing_left();
}

Test(segment, strict_cannot_be_written_by_anyone)
{
    static const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    char path[64];
    int fd;

    cr_assert_eq(open_strict(&plain_plan, BYTES, BYTES, true), 0);
    cr_assert_eq(mprotect((void *)(uintptr_t)segment.read, BYTES, PROT_READ | PROT_WRITE), -1);
    cr_assert_eq(fcntl(segment.fd, F_GET_SEALS) & all, all);
    cr_assert_eq(fcntl(segment.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    cr_assert(fcntl(segment.fd, F_GETFD) & FD_CLOEXEC);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", segment.fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        cr_assert_eq(pwrite(fd, "x", 1, 0), -1);
        cr_assert_eq(errno, EPERM);
        cr_assert_eq(ftruncate(fd, 0), -1);
        cr_assert_eq(errno, EPERM);
        cr_assert(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
        close(fd);
    }
    cr_assert_eq(child_sees(segment.read), 0);
    close_segment();
}

Test(segment, old_kernel_without_the_no_exec_flag)
{
    fault_fail_when(FAULT_MEMFD_CREATE, MFD_NOEXEC_SEAL, 0, FAULT_ALWAYS, -EINVAL);
    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    cr_assert_eq(fault_calls(FAULT_MEMFD_CREATE), 2);
    close_segment();
}

Test(segment, old_kernel_without_populate_allocates_the_file)
{
    fault_fail_when(FAULT_ADVISE, MADV_POPULATE_WRITE, 0, FAULT_ALWAYS, -EINVAL);
    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    cr_assert_eq(fault_calls(FAULT_FALLOCATE), 1);
    cr_assert_eq(fault_last(FAULT_FALLOCATE).offset, 0);
    cr_assert_eq(fault_last(FAULT_FALLOCATE).len, BYTES);
    make_pattern();
    memcpy(segment.write, pattern, BYTES);
    cr_assert_eq(memcmp(segment.read, pattern, BYTES), 0);
    close_segment();
    fault_fail(FAULT_FALLOCATE, 0, 1, -ENOSPC);
    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), -ENOSPC);
    cr_assert_eq(step, SEGMENT_STEP_POPULATE);
    assert_nothing_left();
}

Test(segment, interrupted_populate_is_repeated_but_not_for_ever)
{
    fault_fail_when(FAULT_ADVISE, MADV_POPULATE_WRITE, 0, 3, -EINTR);
    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), 0);
    close_segment();
    fault_fail_when(FAULT_ADVISE, MADV_POPULATE_WRITE, 0, FAULT_ALWAYS, -EAGAIN);
    cr_assert_eq(segment_open_recycle(&plain_plan, BYTES, &segment, &step), -EAGAIN);
    assert_nothing_left();
}

/* Fails call after call of every kind until the segment is made. */
static unsigned sweep(bool strict_seal, bool whole, const struct segment_plan *plan, int err)
{
    static const enum fault kinds[] = {FAULT_MEMFD_CREATE, FAULT_FTRUNCATE, FAULT_MAP,
                                       FAULT_ADVISE,       FAULT_FCNTL,     FAULT_OPEN,
                                       FAULT_PWRITE,       FAULT_LOCK,      FAULT_SET_POLICY};
    unsigned i, after, failures = 0;
    int rc;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (after = 0; after < 20; after++) {
            fault_clear();
            fault_fail(kinds[i], after, 1, err);
            rc = strict_seal ? open_strict(plan, BYTES, BYTES - 9, whole)
                             : segment_open_recycle(plan, BYTES, &segment, &step);
            if (fault_calls(kinds[i]) <= after) {
                cr_assert_eq(rc, 0);
                close_segment();
                break;
            }
            if (rc == 0) { /* MADV_POPULATE_READ is only asked for */
                close_segment();
                continue;
            }
            failures++;
            cr_assert_eq(rc, err);
            cr_assert_neq(step, SEGMENT_STEP_NONE);
            assert_nothing_left();
        }
    }
    fault_clear();
    return failures;
}

Test(segment, each_step_of_recycle_may_fail)
{
    /* memfd, ftruncate, two maps with two advices each, populate, seals */
    cr_assert_eq(sweep(false, true, &plain_plan, -EPERM), 1 + 1 + 2 + 5 + 1);
    cr_assert_eq(sweep(false, true, &plain_plan, -ENOMEM), 1 + 1 + 2 + 5 + 1);
}

Test(segment, each_step_of_strict_may_fail)
{
    /* memfd, ftruncate, write, seals, open, map with two advices */
    cr_assert_eq(sweep(true, true, &plain_plan, -EPERM), 1 + 1 + 1 + 1 + 1 + 1 + 2);
    /* two maps, populate, no write */
    cr_assert_eq(sweep(true, false, &plain_plan, -ENOMEM), 1 + 1 + 1 + 1 + 2 + 5);
}

Test(segment, each_step_may_fail_with_everything_asked_for)
{
    struct node_set nodes = {{1}};
    struct segment_plan plan = plain_plan;

    plan.nodes = &nodes;
    plan.mlock = true;
    plan.strict = true;
    if (segment_open_recycle(&plan, BYTES, &segment, &step) != 0)
        test_skip("no placement or no locking here (%s)", segment_step_name(step));
    close_segment();
    cr_assert_eq(sweep(false, true, &plan, -EPERM), 10 + 2);
    cr_assert_eq(sweep(true, true, &plan, -EPERM), 8 + 1 + 2 + 1 + 1);
}

Test(segment, step_names)
{
    int i;

    for (i = SEGMENT_STEP_NONE + 1; i <= SEGMENT_STEP_LOCK; i++)
        cr_assert_neq(strcmp(segment_step_name((enum segment_step)i), "nothing"), 0);
    cr_assert_str_eq(segment_step_name(SEGMENT_STEP_NONE), "nothing");
}

Test(segment, locked_pages)
{
    struct segment_plan plan = plain_plan;

    plan.mlock = true;
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    if (segment.lacks & SEGMENT_LACK_MLOCK)
        test_skip("RLIMIT_MEMLOCK is too small");
    cr_assert_eq(segment.locked_bytes, BYTES);
    close_segment();
    cr_assert_eq(open_strict(&plan, BYTES, 100, true), 0);
    cr_assert_eq(segment.locked_bytes, BYTES);
    close_segment();
}

Test(segment, locking_refused_is_a_lack_or_an_error)
{
    struct segment_plan plan = plain_plan;

    plan.mlock = true;
    fault_fail(FAULT_LOCK, 0, FAULT_ALWAYS, -ENOMEM);
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    cr_assert_eq(segment.lacks, SEGMENT_LACK_MLOCK);
    cr_assert_eq(segment.locked_bytes, 0);
    cr_assert_eq(fault_calls(FAULT_UNLOCK), 1, "nothing stays half locked");
    close_segment();
    cr_assert_eq(open_strict(&plan, BYTES, 100, true), 0);
    cr_assert_eq(segment.lacks, SEGMENT_LACK_MLOCK);
    close_segment();
    plan.strict = true;
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), -ENOMEM);
    cr_assert_eq(step, SEGMENT_STEP_LOCK);
    cr_assert_eq(open_strict(&plan, BYTES, 100, true), -ENOMEM);
    assert_nothing_left();
}

Test(segment, placed_on_node_0_and_verified)
{
    struct node_set nodes = {{1}};
    struct segment_plan plan = plain_plan;
    void *page;
    int node = -1;

    plan.nodes = &nodes;
    plan.bind = true;
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    if (segment.lacks & SEGMENT_LACK_NODES)
        test_skip("placement is refused here");
    cr_assert_eq(segment.misplaced_bytes, 0);
    cr_assert_gt(fault_calls(FAULT_WHERE), 0);
    page = segment.write + BYTES - PAGE;
    cr_assert_eq(os_linux.where(1, &page, &node), 0);
    cr_assert_eq(node, 0);
    close_segment();
    plan.bind = false;
    cr_assert_eq(open_strict(&plan, BYTES, BYTES, true), 0);
    cr_assert_eq(segment.lacks, 0);
    cr_assert_eq(segment.misplaced_bytes, 0);
    cr_assert_eq(memcmp(segment.read, pattern, BYTES), 0);
    page = (void *)(uintptr_t)segment.read;
    cr_assert_eq(os_linux.where(1, &page, &node), 0);
    cr_assert_eq(node, 0, "the map is populated, so that it can be asked");
    close_segment();
}

Test(segment, misplaced_pages_are_counted)
{
    struct node_set nodes = {{1}};
    struct segment_plan plan = plain_plan;

    plan.nodes = &nodes;
    fault_node(1);
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    cr_assert_eq(segment.misplaced_bytes, BYTES);
    close_segment();
    cr_assert_eq(segment_open_recycle(&plan, 5 * BYTES + PAGE, &segment, &step), 0);
    cr_assert_eq(segment.misplaced_bytes, 5 * BYTES + PAGE);
    cr_assert_leq(fault_calls(FAULT_WHERE), 2 * 512 / 64 + 1, "a sample, not every page");
    close_segment();
    fault_fail(FAULT_WHERE, 0, FAULT_ALWAYS, -ENOSYS);
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    cr_assert_eq(segment.misplaced_bytes, 0);
    close_segment();
}

Test(segment, placement_refused_is_a_lack_or_an_error)
{
    struct node_set nodes = {{1}};
    struct segment_plan plan = plain_plan;

    plan.nodes = &nodes;
    plan.bind = true;
    fault_fail(FAULT_SET_POLICY, 0, FAULT_ALWAYS, -EPERM);
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    cr_assert_eq(segment.lacks, SEGMENT_LACK_NODES);
    close_segment();
    plan.strict = true;
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), -EPERM);
    cr_assert_eq(step, SEGMENT_STEP_POLICY);
    assert_nothing_left();
}

Test(segment, old_kernel_prefers_one_node)
{
    struct node_set nodes = {{1}};
    struct segment_plan plan = plain_plan;

    plan.nodes = &nodes;
    fault_fail_when(FAULT_SET_POLICY, NODE_PREFERRED_MANY, 0, FAULT_ALWAYS, -EINVAL);
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    cr_assert_eq(fault_last(FAULT_SET_POLICY).argument, NODE_PREFERRED);
    close_segment();
}

Test(segment, no_huge_pages_falls_back)
{
    struct segment_plan plan = plain_plan;

    plan.huge = HUGE_ON;
    fault_fail_when(FAULT_MEMFD_CREATE, MFD_HUGETLB, 0, FAULT_ALWAYS, -ENOENT);
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    cr_assert_eq(segment.lacks, SEGMENT_LACK_HUGE);
    cr_assert_not(segment.huge);
    close_segment();
    cr_assert_eq(open_strict(&plan, BYTES, 100, true), 0);
    cr_assert_eq(segment.lacks, SEGMENT_LACK_HUGE);
    cr_assert_eq(segment.bytes, PAGE, "no larger than it has to be");
    close_segment();
    plan.strict = true;
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), -ENOENT);
    cr_assert_eq(open_strict(&plan, BYTES, 100, true), -ENOENT);
    assert_nothing_left();
}

Test(segment, huge_pages_that_cannot_be_reserved_fall_back)
{
    struct segment_plan plan = plain_plan;
    size_t all = (size_t)1 << 42; /* no machine has reserved that many */

    plan.huge = HUGE_ON;
    plan.strict = true;
    cr_assert_lt(segment_open_recycle(&plan, all, &segment, &step), 0);
    assert_nothing_left();
}

/* Sets aside huge pages for as long as it is open; another test may want some at the same time. */
static int reserve_huge_pages(char before[32])
{
    int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX) == 0) {
        n = pread(fd, before, 31, 0);
        before[n > 0 ? n : 0] = '\0';
        if (n > 0 && pwrite(fd, "8", 1, 0) == 1)
            return fd;
    }
    close(fd);
    return -1;
}

static void return_huge_pages(int fd, const char *before)
{
    (void)!pwrite(fd, before, strlen(before), 0);
    close(fd);
}

/* Nothing is asserted before the machine has its huge pages back. */
Test(segment, huge_pages_from_the_reserve)
{
    struct segment_plan plan = plain_plan;
    bool same = false;
    char before[32];
    unsigned lacks;
    int fd = reserve_huge_pages(before), rc, rc_sealing;

    if (fd < 0)
        test_skip("huge pages cannot be reserved here");
    plan.huge = HUGE_ON;
    fault_fail(FAULT_FCNTL, 0, 1, -EBUSY);
    rc_sealing = open_strict(&plan, BYTES, 100, false);
    if (rc_sealing == 0)
        segment_close(&fault_os, &segment);
    fault_clear();
    rc = open_strict(&plan, BYTES, 100, false);
    lacks = segment.lacks;
    if (rc == 0) {
        same = segment.bytes == BYTES && memcmp(segment.read, pattern, 100) == 0;
        segment_close(&fault_os, &segment);
        rc = segment_open_recycle(&plan, BYTES, &segment, &step);
    }
    if (rc == 0) {
        lacks |= segment.lacks;
        segment.write[BYTES - 1] = 3;
        same = same && segment.read[BYTES - 1] == 3 && segment.huge;
        segment_close(&fault_os, &segment);
    }
    return_huge_pages(fd, before);
    assert_nothing_left();
    cr_assert_eq(rc, 0);
    if (lacks != 0)
        test_skip("no huge pages were free");
    cr_assert(same);
    cr_assert_eq(rc_sealing, -EBUSY, "filled once, not again on small pages");
    cr_assert_eq(fills, 2);
}

Test(segment, transparent_huge_pages_are_asked_for)
{
    struct segment_plan plan = plain_plan;

    plan.huge = HUGE_TRANSPARENT;
    fault_fail_when(FAULT_ADVISE, MADV_HUGEPAGE, 0, FAULT_ALWAYS, -EINVAL);
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), 0);
    cr_assert_eq(segment.lacks, SEGMENT_LACK_HUGE);
    close_segment();
    cr_assert_eq(open_strict(&plan, BYTES, BYTES, true), 0);
    cr_assert_eq(segment.lacks, SEGMENT_LACK_HUGE);
    cr_assert_eq(memcmp(segment.read, pattern, BYTES), 0);
    close_segment();
    plan.strict = true;
    cr_assert_eq(segment_open_recycle(&plan, BYTES, &segment, &step), -EINVAL);
    cr_assert_eq(step, SEGMENT_STEP_HUGE);
    assert_nothing_left();
}
