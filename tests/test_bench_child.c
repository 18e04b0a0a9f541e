/* SPDX-License-Identifier: MIT */
/* Measured runs in processes of their own: what they say, how they end, what is left of them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../tools/spillbench/cached.h"
#include "../tools/spillbench/child.h"
#include "../tools/spillbench/group.h"
#include "../tools/spillbench/load.h"
#include "dirs.h"
#include "harness.h"

enum { MIB = 1 << 20 };

static struct measure *start(void (*run)(void *, struct measure *), void *context)
{
    struct child_plan plan = {.name = "it", .run = run, .context = context, .sampled = true};
    struct measure *measure = child_run(&plan);
    cr_assert(measure != NULL);
    return measure;
}

/* Holds memory until it was sampled; a parent may be slow, but not for ever. */
static void hold(void *context, struct measure *measure)
{
    size_t bytes = *(size_t *)context;
    measure_begin(measure);
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; at < bytes; at += 4096)
        memory[at] = 1;
    measure->produced_bytes = 1;
    unsigned before = *(volatile unsigned *)&measure->sample_count;
    for (int i = 0; i < 6000 && *(volatile unsigned *)&measure->sample_count < before + 3; i++)
        usleep(10000);
    measure->produced_bytes = 7;
    measure_end(measure);
    measure->figures[0] = 42;
}

static bool may_make_groups(void)
{
    static struct group group;
    char why[GROUP_WHY];
    bool may = group_open(&group, 0, why) == 0;
    group_close(&group);
    return may;
}

Test(bench_child, is_measured_and_sampled)
{
    size_t bytes = 24 * MIB;
    struct measure *measure = start(hold, &bytes);
    cr_assert_eq(measure->error, 0, "%s", measure->why);
    cr_assert_gt(measure->wall_s, 0);
    cr_assert(measure->figures[0] > 41 && measure->figures[0] < 43);
    cr_assert_geq(measure->sample_count, 3);
    cr_assert_geq(measure->faults_minor, bytes / 4096 / 512); /* huge pages take fewer */
    cr_assert_geq(measure->rss_peak_bytes, bytes);
    if (may_make_groups()) {
        /* The kernel adds up a group's pages in batches: the last ones may not be in the sum. */
        cr_assert_geq(measure->charge_peak_bytes, bytes - bytes / 8);
        cr_assert_lt(measure->charge_peak_bytes, bytes + 64 * MIB);
    }
    for (unsigned i = 1; i < measure->sample_count; i++)
        cr_assert_geq(measure->samples[i].at_s, measure->samples[i - 1].at_s);
    child_release(measure);
}

/* A warm-up's figures are not those of the run. */
static void warm_then_idle(void *context, struct measure *measure)
{
    hold(context, measure);
    size_t little = MIB;
    hold(&little, measure);
}

Test(bench_child, what_a_warm_up_held_is_forgotten)
{
    size_t bytes = 4 * MIB;
    struct measure *measure = start(warm_then_idle, &bytes);
    cr_assert_eq(measure->error, 0, "%s", measure->why);
    cr_assert_lt(measure->faults_minor, 4 * MIB / 4096);
    child_release(measure);
}

static void fail_twice(void *context, struct measure *measure)
{
    (void)context;
    measure_fail(measure, -ENOSPC, "no room for %d", 7);
    measure_fail(measure, -EIO, "because of that");
}

static void kill_itself(void *context, struct measure *measure)
{
    (void)context;
    (void)measure;
    signal(SIGUSR1, SIG_DFL);
    raise(SIGUSR1);
}

static void leave(void *context, struct measure *measure)
{
    (void)measure;
    _exit(*(int *)context);
}

static void hang(void *context, struct measure *measure)
{
    (void)context;
    (void)measure;
    for (;;)
        pause();
}

Test(bench_child, says_how_it_failed)
{
    int code = 9;
    struct measure *measure = start(fail_twice, NULL);
    cr_assert_eq(measure->error, -ENOSPC);
    cr_assert_str_eq(measure->why, "no room for 7");
    child_release(measure);
    measure = start(kill_itself, NULL);
    cr_assert_neq(measure->error, 0);
    cr_assert(strstr(measure->why, "it: killed by signal 10") != NULL, "%s", measure->why);
    child_release(measure);
    measure = start(leave, &code);
    cr_assert_str_eq(measure->why, "it: ended with exit code 9");
    child_release(measure);
}

Test(bench_child, one_that_hangs_is_ended)
{
    struct child_plan plan = {.name = "it", .run = hang, .time_limit_s = 1};
    struct measure *measure = child_run(&plan);
    cr_assert(measure != NULL);
    cr_assert_eq(measure->error, -ETIMEDOUT);
    cr_assert_str_eq(measure->why, "it: no end after 1 s");
    child_release(measure);
}

static void devour(void *context, struct measure *measure)
{
    size_t bytes = *(size_t *)context;
    memory_warm(bytes);
    measure->figures[0] = 1;
}

/* Swap may save it; then it ends well. */
Test(bench_child, too_much_memory_is_told_as_such)
{
    size_t bytes = 64 * MIB;
    struct child_plan plan = {
        .name = "it",
        .run = devour,
        .context = &bytes,
        .limit_bytes = 16 * MIB,
        .cgroup_needed = true,
    };
    struct measure *measure = child_run(&plan);
    cr_assert(measure != NULL);
    if (!may_make_groups()) {
        cr_assert(strstr(measure->why, "needs a memory cgroup") != NULL, "%s", measure->why);
    } else if (measure->error) {
        cr_assert_eq(measure->error, -ENOMEM);
        cr_assert_str_eq(measure->why, "it: killed for want of memory in its cgroup");
    }
    child_release(measure);
}

/* What the page cache holds of an unnamed file, and of no other. */
Test(bench_child, scratch_in_the_page_cache_is_counted)
{
    static char page[65536];
    char dir[DIRS_PATH];
    uint64_t bytes, bytes_before;
    unsigned files, files_before; /* whoever runs the tests may have some */
    if (!dirs_make(dir))
        test_skip("no directory on a disk");
    cr_assert_eq(cached_bytes(&bytes_before, &files_before), 0);
    char path[DIRS_PATH + 8];
    snprintf(path, sizeof(path), "%s/file", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
    cr_assert_eq(cached_bytes(&bytes, &files), 0);
    cr_assert_eq(files, files_before, "it has a name");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(cached_bytes(&bytes, &files), 0);
    cr_assert_eq(files, files_before + 1);
    cr_assert_eq(bytes - bytes_before, sizeof(page));
    /* The file may be larger than what is looked at in one go. */
    cr_assert_eq(ftruncate(fd, (INT64_C(1) << 30) + 3 * (off_t)sizeof(page)), 0);
    cr_assert_eq(pwrite(fd, page, sizeof(page), INT64_C(1) << 30), (ssize_t)sizeof(page));
    cr_assert_eq(cached_bytes(&bytes, &files), 0);
    cr_assert_eq(bytes - bytes_before, 2 * sizeof(page));
    cr_assert_eq(fdatasync(fd), 0);
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    cr_assert_eq(cached_bytes(&bytes, &files), 0);
    cr_assert_lt(bytes - bytes_before, 2 * sizeof(page));
    cr_assert_eq(close(fd), 0);
    cr_assert(dirs_remove(dir));
}
