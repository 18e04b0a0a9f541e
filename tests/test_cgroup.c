/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "../pool/cgroup.h"
#include "fault.h"
#include "harness.h"

#define MIB UINT64_C(1048576)

/* Every path below is made up; nothing outside /fx is looked at. */
static struct cgroup group;

static void put(const char *path, const char *text)
{
    char full[512];

    (void)snprintf(full, sizeof(full), "/fx%s", path);
    fault_file(full, text);
}

static void put_number(const char *directory, const char *file, uint64_t value)
{
    char path[400], text[32];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, file);
    (void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
    put(path, text);
}

static void put_text(const char *directory, const char *file, const char *text)
{
    char path[400];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, file);
    put(path, text);
}

/* A version 2 group; limits in MiB, 0 for "max". */
static void put_v2(const char *directory, uint64_t max, uint64_t high, uint64_t usage,
                   const char *stat)
{
    if (max == 0)
        put_text(directory, "memory.max", "max\n");
    else
        put_number(directory, "memory.max", max * MIB);
    if (high == 0)
        put_text(directory, "memory.high", "max\n");
    else
        put_number(directory, "memory.high", high * MIB);
    put_number(directory, "memory.current", usage * MIB);
    put_text(directory, "memory.stat", stat);
}

static void put_v1(const char *directory, uint64_t limit_bytes, uint64_t usage_bytes,
                   const char *stat)
{
    put_number(directory, "memory.limit_in_bytes", limit_bytes);
    put_number(directory, "memory.usage_in_bytes", usage_bytes);
    put_text(directory, "memory.stat", stat);
}

static void find(void)
{
    fault_path_fail("/fx", -ENOENT);
    cgroup_find(&fault_os, "/fx", &group);
}

/* The newest rule wins, so the catch-all has to be the oldest. */
static void begin(const char *cgroup_text, const char *mountinfo)
{
    fault_path_fail("/fx", -ENOENT);
    put("/proc/self/cgroup", cgroup_text);
    put("/proc/self/mountinfo", mountinfo);
}

static void find_begun(void)
{
    cgroup_find(&fault_os, "/fx", &group);
    cr_assert_eq(fault_open_fds(), 0);
}

static const char v2_mounts[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

static uint64_t headroom(void)
{
    uint64_t room;

    cr_assert_eq(cgroup_headroom(&fault_os, &group, &room), 0);
    return room;
}

/* It cannot be read: -errno, and no room. */
static int headroom_error(void)
{
    uint64_t room = 1;
    int rc = cgroup_headroom(&fault_os, &group, &room);

    cr_assert_eq(room, 0);
    return rc;
}

Test(cgroup, no_files_no_limits)
{
    find();
    cr_assert_eq(group.count, 0);
    cr_assert_eq(cgroup_limit(&fault_os, &group), CGROUP_UNLIMITED);
    cr_assert_eq(headroom(), CGROUP_UNLIMITED);
}

Test(cgroup, v2_takes_the_tightest_of_the_path)
{
    begin("0::/a/b\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 500, 0, 450, "anon 5\n");
    put_v2("/sys/fs/cgroup/a/b", 200, 0, 100, "anon 5\n");
    find_begun();
    cr_assert_eq(group.count, 2);
    cr_assert_eq(cgroup_limit(&fault_os, &group), 200 * MIB);
    cr_assert_eq(headroom(), 50 * MIB);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(cgroup, v2_max_is_no_limit_and_high_is_one)
{
    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 0, 0, 100, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), CGROUP_UNLIMITED);
    put_v2("/sys/fs/cgroup/a", 0, 300, 100, "");
    cr_assert_eq(cgroup_limit(&fault_os, &group), 300 * MIB);
    cr_assert_eq(headroom(), 200 * MIB);
    put_v2("/sys/fs/cgroup/a", 250, 300, 100, "");
    cr_assert_eq(headroom(), 150 * MIB);
}

Test(cgroup, v2_without_memory_high)
{
    begin("0::/a\n", v2_mounts);
    put_number("/sys/fs/cgroup/a", "memory.max", 64 * MIB);
    put_number("/sys/fs/cgroup/a", "memory.current", 4 * MIB);
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), 60 * MIB);
}

Test(cgroup, clean_page_cache_is_room_and_dirty_is_not)
{
    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 90,
           "anon 1\nfile 99\nfile_dirty 2097152\nfile_writeback 1048576\n"
           "inactive_anon 77777777\ninactive_file 20971520\nactive_file 33333333\n");
    find_begun();
    cr_assert_eq(headroom(), (10 + 20 - 2 - 1) * MIB);
}

Test(cgroup, page_cache_never_exceeds_what_is_used)
{
    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "inactive_file 99999999999\n");
    find_begun();
    cr_assert_eq(headroom(), 100 * MIB);
    put_v2("/sys/fs/cgroup/a", 100, 0, 95, "inactive_file 1048576\nfile_dirty 99999999\n");
    cr_assert_eq(headroom(), 5 * MIB);
}

Test(cgroup, usage_above_the_limit_is_no_room)
{
    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 120, "");
    find_begun();
    cr_assert_eq(headroom(), 0);
}

static const char v1_mounts[] =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

Test(cgroup, v1_path_with_unlimited_levels)
{
    begin("9:name=systemd:/\n4:memory:/job/step\n1:cpu,cpuacct:/\n0::/\n", v1_mounts);
    put_v1("/sys/fs/cgroup/memory", UINT64_C(9223372036854771712), 9000 * MIB, "");
    put_v1("/sys/fs/cgroup/memory/job", 128 * MIB, 100 * MIB,
           "inactive_file 1048576\ntotal_inactive_file 8388608\ntotal_dirty 4194304\n");
    put_v1("/sys/fs/cgroup/memory/job/step", UINT64_C(9223372036854710272), 50 * MIB, "");
    find_begun();
    cr_assert_eq(group.count, 3);
    cr_assert_eq(group.levels[0].version, 1);
    cr_assert_str_eq(group.levels[0].high, "");
    cr_assert_eq(cgroup_limit(&fault_os, &group), 128 * MIB);
    cr_assert_eq(headroom(), (28 + 8 - 4) * MIB);
}

Test(cgroup, hybrid_counts_both)
{
    begin("4:memory:/m\n0::/u\n", v1_mounts);
    put_v1("/sys/fs/cgroup/memory/m", 128 * MIB, 28 * MIB, "");
    put_v2("/sys/fs/cgroup/unified/u", 90, 0, 10, "");
    find_begun();
    cr_assert_eq(group.count, 2);
    cr_assert_eq(cgroup_limit(&fault_os, &group), 90 * MIB);
    cr_assert_eq(headroom(), 80 * MIB);
}

Test(cgroup, controller_names_match_whole_words)
{
    begin("4:notmemory,memoryx:/m\n5:hugetlb,memory,pids:/right\n", v1_mounts);
    put_v1("/sys/fs/cgroup/memory/m", 1 * MIB, 0, "");
    put_v1("/sys/fs/cgroup/memory/right", 128 * MIB, 28 * MIB, "");
    find_begun();
    cr_assert_eq(cgroup_limit(&fault_os, &group), 128 * MIB);
}

Test(cgroup, container_whose_mount_shows_its_own_group)
{
    begin("4:memory:/docker/abc\n",
          "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put_v1("/sys/fs/cgroup/memory", 256 * MIB, 56 * MIB, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), 200 * MIB);
}

Test(cgroup, mount_that_shows_most_of_the_path_wins)
{
    begin("0::/a/b\n", "30 1 0:26 /a/b /inner rw - cgroup2 cgroup2 rw\n"
                       "31 1 0:26 / /outer rw - cgroup2 cgroup2 rw\n"
                       "32 1 0:26 /other /wrong rw - cgroup2 cgroup2 rw\n");
    put_v2("/inner", 100, 0, 0, "");
    put_v2("/outer/a", 50, 0, 0, "");
    put_v2("/outer/a/b", 100, 0, 0, "");
    put_v2("/wrong", 1, 0, 0, "");
    find_begun();
    cr_assert_eq(cgroup_limit(&fault_os, &group), 50 * MIB);
}

Test(cgroup, prefix_of_a_name_is_not_a_parent)
{
    begin("0::/abc\n", "30 1 0:26 /ab /ab rw - cgroup2 cgroup2 rw\n"
                       "31 1 0:26 /abc /abc rw - cgroup2 cgroup2 rw\n");
    put_v2("/ab", 1, 0, 0, "");
    put_v2("/abc", 70, 0, 0, "");
    find_begun();
    cr_assert_eq(cgroup_limit(&fault_os, &group), 70 * MIB);
}

Test(cgroup, mount_root_above_the_namespace)
{
    begin("0::/\n", "30 1 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put_v2("/sys/fs/cgroup", 80, 0, 30, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), 50 * MIB);
}

Test(cgroup, group_outside_the_namespace_does_not_climb_out_of_the_mount)
{
    begin("0::/../../other\n", v2_mounts);
    put_v2("/sys/fs/cgroup", 80, 0, 30, "");
    put_v2("/sys/fs/cgroup/../../other", 10, 0, 0, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(cgroup_limit(&fault_os, &group), 80 * MIB);
}

Test(cgroup, escaped_mount_point_and_optional_fields)
{
    begin("0::/x y\n", "30 1 0:26 / /my\\040mount\\134s rw shared:1 master:2 - cgroup2 none rw\n");
    put_v2("/my mount\\s/x y", 80, 0, 30, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), 50 * MIB);
}

Test(cgroup, group_names_with_colons)
{
    begin("0::/a:b/c\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a:b/c", 80, 0, 30, "");
    find_begun();
    cr_assert_eq(group.count, 1);
}

Test(cgroup, malformed_and_missing_files_are_passed_over)
{
    begin("nonsense\n::\n0:\n0::relative\n0::/a/b/c/d\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "");
    put_v2("/sys/fs/cgroup/a/b", 50, 0, 10, "");
    put_text("/sys/fs/cgroup/a/b", "memory.max", "lots\n");
    put_v2("/sys/fs/cgroup/a/b/c", 50, 0, 10, "");
    put_text("/sys/fs/cgroup/a/b/c", "memory.current", NULL);
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), 90 * MIB);
}

Test(cgroup, malformed_mount_lines)
{
    begin("0::/a\n", "\n - \n30 1\n30 1 0:26 / /x rw\n30 1 0:26 / /x rw - cgroup2\n"
                     "30 1 0:26 / - cgroup2 cgroup2 rw\n"
                     "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "");
    find_begun();
    cr_assert_eq(group.count, 1);
}

Test(cgroup, numbers_with_junk_or_overflow)
{
    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    put_text("/sys/fs/cgroup/a", "memory.max", "99999999999999999999999\n");
    cr_assert_eq(headroom(), CGROUP_UNLIMITED);
    put_text("/sys/fs/cgroup/a", "memory.max", "100MiB\n"); /* was a number when it was found */
    cr_assert_eq(headroom_error(), -EINVAL);
}

Test(cgroup, removed_group_limits_nobody)
{
    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "");
    find_begun();
    put_text("/sys/fs/cgroup/a", "memory.max", NULL);
    put_text("/sys/fs/cgroup/a", "memory.high", NULL);
    cr_assert_eq(headroom(), CGROUP_UNLIMITED);
    cr_assert_eq(cgroup_limit(&fault_os, &group), CGROUP_UNLIMITED);
}

Test(cgroup, unreadable_files_are_no_room)
{
    unsigned after;

    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "inactive_file 0\n");
    find_begun();
    for (after = 0; after < 3; after++) { /* max, high, current */
        fault_fail(FAULT_OPEN, after, FAULT_ALWAYS, -EMFILE);
        cr_assert_eq(headroom_error(), -EMFILE, "call %u", after);
        fault_heal(FAULT_OPEN);
    }
    fault_fail(FAULT_OPEN, 3, FAULT_ALWAYS, -EMFILE); /* stat: counts as no page cache */
    cr_assert_eq(headroom(), 90 * MIB);
    fault_heal(FAULT_OPEN);
    fault_fail(FAULT_READ, 0, 1, -EIO);
    cr_assert_eq(headroom_error(), -EIO);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(cgroup, short_and_interrupted_reads)
{
    begin("4:memory:/job\n0::/\n", v1_mounts);
    put_v1("/sys/fs/cgroup/memory/job", 128 * MIB, 100 * MIB, "total_inactive_file 8388608\n");
    fault_fail(FAULT_READ, 2, 3, -EINTR);
    fault_short(FAULT_READ, 0, FAULT_ALWAYS, 3);
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), 36 * MIB);
}

Test(cgroup, endless_lines_are_passed_over)
{
    static char mounts[20000];
    size_t len;

    (void)snprintf(mounts, sizeof(mounts), "22 1 0:1 / /big rw - overlay overlay rw,lowerdir=");
    len = strlen(mounts);
    memset(mounts + len, 'x', 15000);
    (void)snprintf(mounts + len + 15000, 1000, " - cgroup2 cgroup2 rw\n%s", v2_mounts);
    begin("0::/a\n", mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    cr_assert_eq(headroom(), 90 * MIB);
}

Test(cgroup, deep_and_long_paths_are_bounded)
{
    char text[900] = "0::", stat[1000];
    unsigned i;

    for (i = 0; i < 200; i++) /* 400 characters */
        strcat(text, "/a");
    begin(text, v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "");
    find_begun();
    cr_assert_eq(group.count, 1);
    fault_clear();
    (void)snprintf(stat, sizeof(stat), "0::/");
    memset(stat + 4, 'n', 700);
    stat[704] = '\0';
    begin(stat, v2_mounts); /* a name that we cannot hold */
    find_begun();
    cr_assert_eq(group.count, 0);
}

Test(cgroup, more_levels_than_there_is_room_for)
{
    char text[300] = "0::", directory[300] = "/m";
    unsigned i;

    for (i = 0; i < CGROUP_MAX_LEVELS + 8; i++)
        strcat(text, "/g");
    begin(text, "30 1 0:26 / /m rw - cgroup2 cgroup2 rw\n");
    for (i = 0; i < CGROUP_MAX_LEVELS + 8; i++) {
        strcat(directory, "/g");
        if (i + 14 < CGROUP_MAX_LEVELS + 8)
            continue; /* a script holds so many files and no more */
        put_number(directory, "memory.max", 100 * MIB + i);
        put_number(directory, "memory.current", 10 * MIB);
    }
    find_begun();
    cr_assert_eq(group.count, 14);
    cr_assert_eq(cgroup_limit(&fault_os, &group), 100 * MIB + CGROUP_MAX_LEVELS + 8 - 14);
}

Test(cgroup, host_memory)
{
    uint64_t available = 7;

    fault_path_fail("/fx", -ENOENT);
    cr_assert_eq(host_memory(&fault_os, "/fx", &available), 0);
    cr_assert_eq(available, 0);
    put("/proc/meminfo", "MemTotal:       24683540 kB\nMemFree:         1 kB\n"
                         "MemAvailable:   24270000 kB\nBuffers: 3 kB\n");
    cr_assert_eq(host_memory(&fault_os, "/fx", &available), UINT64_C(24683540) * 1024);
    cr_assert_eq(available, UINT64_C(24270000) * 1024);
    cr_assert_eq(host_memory(&fault_os, "/fx", NULL), UINT64_C(24683540) * 1024);
    cr_assert_eq(host_swap(&fault_os, "/fx"), 0);
    put("/proc/meminfo", "MemTotal: 1 kB\nSwapTotal:       524284 kB\nSwapFree: 1 kB\n");
    cr_assert_eq(host_swap(&fault_os, "/fx"), UINT64_C(524284) * 1024);
    put("/proc/meminfo", "MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n");
    cr_assert_eq(host_memory(&fault_os, "/fx", &available), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(cgroup, memory_limit_is_the_tightest_of_all)
{
    fault_limit(RLIMIT_AS, UINT64_MAX);
    fault_limit(RLIMIT_DATA, UINT64_MAX);
    begin("0::/a\n", v2_mounts);
    put_v2("/sys/fs/cgroup/a", 100, 0, 10, "");
    find_begun();
    cr_assert_eq(memory_limit(&fault_os, &group, "/fx"), 100 * MIB);
    put("/proc/meminfo", "MemTotal: 92160 kB\nMemAvailable: 1 kB\n");
    cr_assert_eq(memory_limit(&fault_os, &group, "/fx"), 90 * MIB);
    fault_limit(RLIMIT_DATA, 80 * MIB);
    cr_assert_eq(memory_limit(&fault_os, &group, "/fx"), 80 * MIB);
    fault_limit(RLIMIT_AS, 70 * MIB);
    cr_assert_eq(memory_limit(&fault_os, &group, "/fx"), 70 * MIB);
}

Test(cgroup, this_machine)
{
    uint64_t available, total = host_memory(&os_linux, "", &available), limit, room;

    cgroup_find(&os_linux, "", &group);
    cr_assert_gt(total, 0);
    cr_assert_leq(available, total);
    limit = cgroup_limit(&os_linux, &group);
    cr_assert_leq(memory_limit(&os_linux, &group, ""), total);
    cr_assert_eq(cgroup_headroom(&os_linux, &group, &room), 0);
    if (limit != CGROUP_UNLIMITED)
        cr_assert_leq(room, limit);
}
