/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/cgroup_path.h"
#include "../lib/lines.h"
#include "fault.h"
#include "harness.h"

/* Every path below is made up; nothing outside /fx is looked at. */
static struct cgroup_path v1, v2;

static void find(const char *cgroup_text, const char *mountinfo)
{
    fault_path_fail("/fx", -ENOENT);
    if (cgroup_text != NULL)
        fault_file("/fx/proc/self/cgroup", cgroup_text);
    if (mountinfo != NULL)
        fault_file("/fx/proc/self/mountinfo", mountinfo);
    memset(&v1, 'x', sizeof(v1));
    memset(&v2, 'x', sizeof(v2));
    cr_assert_eq(cgroup_paths(&fault_os, "/fx", &v1, &v2), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

static void is(const struct cgroup_path *path, const char *mount, const char *below)
{
    char whole[CGROUP_PATH_BYTES];

    (void)snprintf(whole, sizeof(whole), "%s%s", mount, below);
    cr_assert(path->found);
    cr_assert_str_eq(path->directory, whole);
    cr_assert_eq(path->mount_len, strlen(mount));
}

static const char hybrid_mounts[] =
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
static const char v2_mounts[] = "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

Test(cgroup_path, nothing_there)
{
    find(NULL, NULL);
    cr_assert(!v1.found && !v2.found);
    find("0::/a\n", NULL);
    cr_assert(!v1.found && !v2.found);
    find(NULL, v2_mounts);
    cr_assert(!v1.found && !v2.found);
    find("", "");
    cr_assert(!v1.found && !v2.found);
}

Test(cgroup_path, pure_v2)
{
    find("0::/a/b\n", v2_mounts);
    cr_assert(!v1.found);
    is(&v2, "/fx/sys/fs/cgroup", "/a/b");
}

Test(cgroup_path, hybrid_has_both)
{
    find("4:memory:/m\n1:cpu:/\n0::/u\n", hybrid_mounts);
    is(&v1, "/fx/sys/fs/cgroup/memory", "/m");
    is(&v2, "/fx/sys/fs/cgroup/unified", "/u");
}

Test(cgroup_path, v1_without_the_memory_controller)
{
    find("1:cpu:/m\n0::/\n", hybrid_mounts);
    cr_assert(!v1.found);
    is(&v2, "/fx/sys/fs/cgroup/unified", "");
}

/* The namespace of a container: its own group is the root of what it sees. */
Test(cgroup_path, only_a_part_is_mounted)
{
    find("0::/a/b/c\n", "30 22 0:26 /a/b /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    is(&v2, "/fx/sys/fs/cgroup", "/c");
    find("0::/a\n", "30 22 0:26 /elsewhere /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    is(&v2, "/fx/sys/fs/cgroup", "");
    find("0::/../../x\n", v2_mounts);
    is(&v2, "/fx/sys/fs/cgroup", "");
}

Test(cgroup_path, mounted_at_the_root)
{
    find("0::/a\n", "30 22 0:26 / / rw - cgroup2 cgroup2 rw\n");
    is(&v2, "/fx", "/a");
}

Test(cgroup_path, too_long_to_be_true)
{
    char text[800];

    (void)snprintf(text, sizeof(text), "0::/%0700d\n", 0);
    find(text, v2_mounts);
    cr_assert(!v2.found);
}

Test(cgroup_path, no_descriptor)
{
    static const int errors[] = {-EMFILE, -ENFILE, -ENOMEM};
    unsigned i;

    find("0::/a\n", v2_mounts);
    for (i = 0; i < 6; i++) {
        fault_fail(FAULT_OPEN, i % 2, 1, errors[i / 2]);
        cr_assert_eq(cgroup_paths(&fault_os, "/fx", &v1, &v2), errors[i / 2]);
        cr_assert(!v2.found);
        fault_heal(FAULT_OPEN);
    }
    fault_fail(FAULT_OPEN, 1, 1, -EACCES);
    find("0::/a\n", v2_mounts);
    cr_assert(!v2.found);
}

Test(lines, one_by_one)
{
    static char text[3 * LINES_MAX_BYTES];
    struct lines lines;

    cr_assert_eq(lines_open(&lines, &fault_os, "/fx/none"), -ENOENT);
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "first\n\n", 7);
    memcpy(text + sizeof(text) - 6, "\nlast", 5); /* what is between is too long */
    fault_file("/fx/text", text);
    fault_short(FAULT_READ, 0, FAULT_ALWAYS, 1000);
    fault_fail(FAULT_READ, 0, 1, -EINTR);
    cr_assert_eq(lines_open(&lines, &fault_os, "/fx/text"), 0);
    cr_assert_str_eq(lines_next(&lines), "first");
    cr_assert_str_eq(lines_next(&lines), "");
    cr_assert_str_eq(lines_next(&lines), "last");
    cr_assert_null(lines_next(&lines));
    cr_assert_null(lines_next(&lines));
    lines_close(&lines);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(lines, an_error_ends_them)
{
    struct lines lines;

    fault_file("/fx/text", "one\ntwo");
    fault_short(FAULT_READ, 0, 1, 5);
    fault_fail(FAULT_READ, 1, FAULT_ALWAYS, -EIO);
    cr_assert_eq(lines_open(&lines, &fault_os, "/fx/text"), 0);
    cr_assert_str_eq(lines_next(&lines), "one");
    cr_assert_str_eq(lines_next(&lines), "t");
    cr_assert_null(lines_next(&lines));
    lines_close(&lines);
    cr_assert_eq(fault_open_fds(), 0);
}
