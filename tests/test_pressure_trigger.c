/* SPDX-License-Identifier: MIT */
/* Triggers of the kernel: how they are asked for, what happens where they are refused, and what a
 * wake-up is worth. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/cgroup_path.h"
#include "child.h"
#include "fault.h"
#include "harness.h"
#include "pressure_tools.h"

#define S UINT64_C(1000000000)

/* "some 200000 2000000" and its NUL */
#define SYSTEMD "c29tZSAyMDAwMDAgMjAwMDAwMAA="

static const int yes[] = {0}, no[] = {-EINVAL}, other[] = {-EINVAL, 0};

/* A group and the machine, both of which the kernel is asked about. */
static void begin(const int *answers, unsigned count)
{
    rig_begin();
    rig_pure_v2();
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 1000);
    rig_put_pressure(RIG_PROC, 5000);
    rig_kernel(answers, count);
}

static void trigger_is(unsigned n, const char *text)
{
    size_t len = 0;
    const char *written = rig_trigger(n, &len);

    cr_assert_not_null(written);
    cr_assert_eq(len, strlen(text) + 1, "%zu bytes", len); /* with the NUL */
    cr_assert_str_eq(written, text);
}

static void no_trigger(unsigned n)
{
    size_t len;

    cr_assert_null(rig_trigger(n, &len));
}

static void total(uint64_t total_us)
{
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", total_us);
}

/* ---- asking ---- */

Test(pressure_trigger, as_asked_for)
{
    begin(yes, 1);
    rig_open();
    rig_is("cgroup", PRESSURE_TRIGGER, RIG_GROUP_V2 "/memory.pressure");
    trigger_is(0, "some 150000 1000000");
    no_trigger(1);
    cr_assert_eq(pressure_source_events(rig.source), POLLPRI);
    cr_assert_eq(pressure_source_interval_ns(rig.source), 0);
    cr_assert_eq(pressure_source_stall_ns(rig.source), RIG_STALL_NS);
    cr_assert_eq(pressure_source_window_ns(rig.source), RIG_WINDOW_NS);
    cr_assert_str_eq(pressure_source_why(rig.source), "");
    cr_assert_eq(fcntl(pressure_source_fd(rig.source), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_eq(fcntl(pressure_source_fd(rig.source), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    rig_end();
}

/* Without CAP_SYS_RESOURCE windows are multiples of 2 s. */
static void window(uint64_t stall_ns, uint64_t window_ns, const char *text)
{
    static const int refusals[] = {-EINVAL, -EPERM};
    unsigned i;

    for (i = 0; i < 2; i++) {
        int answers[] = {refusals[i], 0};

        rig_kernel(answers, 2);
        rig.config.stall_ns = stall_ns;
        rig.config.window_ns = window_ns;
        rig_open();
        rig_is("cgroup", PRESSURE_TRIGGER, RIG_GROUP_V2 "/memory.pressure");
        trigger_is(1, text);
        no_trigger(2);
        cr_assert(!pressure_source_is_fallback(rig.source));
        pressure_source_close(rig.source);
        rig.source = NULL;
    }
}

Test(pressure_trigger, windows_of_whole_periods)
{
    begin(yes, 1);
    window(S / 10, S, "some 200000 2000000");
    window(S / 10, S / 2, "some 400000 2000000");
    window(S, 2 * S + 1000, "some 1999999 4000000");
    window(S, 3 * S, "some 1333333 4000000");
    window(S, 11 * S, "some 909090 10000000");
    window(S, UINT64_MAX, "some 1 10000000");
    window(UINT64_MAX, UINT64_MAX, "some 10000000 10000000");
    window(1000, 9 * S, "some 1 10000000");
    rig_end();
}

/* ---- refusals ---- */

static void polled_after(int err, unsigned writes, const char *reason)
{
    int answers[] = {err};

    rig_kernel(answers, 1);
    rig_open();
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    cr_assert(pressure_source_is_fallback(rig.source));
    cr_assert_eq(rig.last_level, SPILLWAY_LOG_WARN);
    rig_why("no trigger: ");
    rig_why(reason);
    no_trigger(writes);
    cr_assert_eq(pressure_source_stall_ns(rig.source), RIG_STALL_NS);
    cr_assert_eq(pressure_source_window_ns(rig.source), RIG_WINDOW_NS);
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.memory.some.total_us, 1000);
    pressure_source_close(rig.source);
    rig.source = NULL;
    cr_assert_eq(fault_open_fds(), 0);
}

Test(pressure_trigger, refused_and_polled)
{
    begin(yes, 1);
    polled_after(-EINVAL, 2, "Invalid argument");
    polled_after(-EPERM, 2, "not permitted");
    polled_after(-EACCES, 1, "Permission denied");
    polled_after(-EBUSY, 1, "busy");
    polled_after(-EOPNOTSUPP, 1, "not supported");
    polled_after(-ENOMEM, 1, "memory");
    polled_after(5, 1, "Input/output"); /* not all of it was taken */
    rig_end();
}

/* For want of a descriptor nothing less is taken: it is tried again, at whatever step that was. */
Test(pressure_trigger, no_descriptor_at_any_step)
{
    uint32_t after;

    begin(yes, 1);
    for (after = 0; after < 10; after++) {
        fault_fail(FAULT_OPEN, after, 1, -EMFILE);
        if (pressure_source_open(&rig.config, &rig.source) == 0)
            break;
        cr_assert_eq(fault_open_fds(), 0);
        cr_assert_eq(fault_alloc_live(), 0);
        fault_heal(FAULT_OPEN);
    }
    /* cgroup, mountinfo, a look, for reading, for writing */
    cr_assert_eq(after, 5);
    rig_is("cgroup", PRESSURE_TRIGGER, RIG_GROUP_V2 "/memory.pressure");
    rig_end();
}

/* As it is for most users: a group's file can be read, not written. */
Test(pressure_trigger, not_to_be_opened_for_writing)
{
    static const int errors[] = {-EACCES, -EPERM, -EROFS};
    unsigned i;

    begin(yes, 1);
    for (i = 0; i < 3; i++) {
        fault_fail_when(FAULT_OPEN, O_RDWR, 0, 1, errors[i]);
        rig_open();
        rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
        rig_why("no trigger: ");
        cr_assert(pressure_source_is_fallback(rig.source));
        no_trigger(0);
        total(1000 + 150000 * (i + 1));
        cr_assert(rig_read(0));
        pressure_source_close(rig.source);
        rig.source = NULL;
        total(1000);
    }
    rig_end();
}

/* The top group's file is the machine's, which nobody is refused in /proc. */
Test(pressure_trigger, refused_at_the_top)
{
    begin(yes, 1);
    rig_put("/proc/self/cgroup", "0::/\n");
    rig_put_pressure("/sys/fs/cgroup/memory.pressure", 1000);
    fault_fail_when(FAULT_OPEN, O_RDWR, 0, 1, -EACCES);
    rig_open();
    rig_is("proc", PRESSURE_TRIGGER, RIG_PROC);
    rig_why("cgroup: ");
    rig_why("Permission denied");
    cr_assert(!pressure_source_is_fallback(rig.source));
    pressure_source_close(rig.source);
    /* inside a container it only looks like the top */
    rig_put("/sys/fs/cgroup/cgroup.type", "domain\n");
    fault_fail_when(FAULT_OPEN, O_RDWR, 0, 1, -EACCES);
    rig_open();
    rig_is("cgroup", PRESSURE_POLLED, "/sys/fs/cgroup/memory.pressure");
    pressure_source_close(rig.source);
    /* and root may have a trigger there */
    cr_assert_eq(unlink(rig_path("/sys/fs/cgroup/cgroup.type")), 0);
    rig_open();
    rig_is("cgroup", PRESSURE_TRIGGER, "/sys/fs/cgroup/memory.pressure");
    rig_end();
}

/* ---- systemd's text ---- */

Test(pressure_trigger, text_of_systemd)
{
    begin(yes, 1);
    rig.config.watch = rig_path(RIG_PROC);
    rig.config.write = SYSTEMD;
    rig_open();
    rig_is("systemd", PRESSURE_TRIGGER, RIG_PROC);
    trigger_is(0, "some 200000 2000000");
    no_trigger(1);
    cr_assert_eq(pressure_source_stall_ns(rig.source), S / 5);
    cr_assert_eq(pressure_source_window_ns(rig.source), 2 * S);
    rig_end();
}

Test(pressure_trigger, text_of_systemd_is_refused)
{
    begin(other, 2);
    rig.config.watch = rig_path(RIG_PROC);
    rig.config.write = SYSTEMD;
    rig_open();
    rig_is("systemd", PRESSURE_TRIGGER, RIG_PROC);
    trigger_is(1, "some 150000 1000000");
    no_trigger(2);
    pressure_source_close(rig.source);
    rig_kernel(no, 1);
    rig_open();
    rig_is("systemd", PRESSURE_POLLED, RIG_PROC);
    trigger_is(2, "some 300000 2000000");
    no_trigger(3);
    rig_end();
}

Test(pressure_trigger, no_text_of_systemd)
{
    begin(yes, 1);
    rig.config.watch = rig_path(RIG_PROC);
    rig_open();
    rig_is("systemd", PRESSURE_TRIGGER, RIG_PROC);
    trigger_is(0, "some 150000 1000000");
    cr_assert(!pressure_source_is_fallback(rig.source));
    pressure_source_close(rig.source);
    rig_kernel(yes, 1);
    rig.config.write = "not base64";
    rig_open();
    rig_is("systemd", PRESSURE_TRIGGER, RIG_PROC);
    trigger_is(0, "some 150000 1000000");
    cr_assert(pressure_source_is_fallback(rig.source));
    rig_why("MEMORY_PRESSURE_WRITE: not Base64");
    rig_end();
}

Test(pressure_trigger, too_much_text_of_systemd)
{
    static char text[8001];

    begin(yes, 1);
    memset(text, 'A', 8000);
    rig.config.watch = rig_path(RIG_PROC);
    rig.config.write = text;
    rig_open();
    rig_is("systemd", PRESSURE_TRIGGER, RIG_PROC);
    rig_why("MEMORY_PRESSURE_WRITE: too long");
    rig_end();
}

/* "full 1000 2000000": the other line counts. "new": only the kernel knows what it means. */
Test(pressure_trigger, other_texts)
{
    begin(yes, 1);
    rig.config.watch = rig_path(RIG_PROC);
    rig.config.write = "ZnVsbCAxMDAwIDIwMDAwMDA=";
    rig_open();
    cr_assert_eq(pressure_source_stall_ns(rig.source), 1000000);
    rig_put_pressure(RIG_PROC, 6000); /* full: from 2500 to 3000 */
    cr_assert(!rig_read(POLLPRI));
    rig_put_pressure(RIG_PROC, 7000);
    cr_assert(rig_read(POLLPRI));
    pressure_source_close(rig.source);
    rig_kernel(yes, 1);
    rig.config.write = "bmV3";
    rig_open();
    cr_assert_eq(pressure_source_stall_ns(rig.source), 0);
    cr_assert(!rig_read(POLLPRI));
    rig_put_pressure(RIG_PROC, 7001);
    cr_assert(rig_read(POLLPRI));
    rig_end();
}

/* ---- wake-ups ---- */

Test(pressure_trigger, false_first_event)
{
    begin(yes, 1);
    rig_open();
    cr_assert(!rig_read(POLLPRI)); /* the total has not grown */
    fault_clock_advance(2 * S);
    total(100000);
    cr_assert(!rig_read(POLLPRI)); /* not by the stall */
    fault_clock_advance(2 * S);
    total(151000);
    cr_assert(rig_read(POLLPRI));
    cr_assert(!rig_read(POLLPRI));
    total(151001);
    cr_assert(rig_read(POLLPRI));
    cr_assert_eq(rig.lines, 1);
    rig_end();
}

/* A reading can keep the kernel's trigger from firing, so it has to notice by itself. */
Test(pressure_trigger, event_without_a_wake_up)
{
    begin(yes, 1);
    rig_open();
    total(151000);
    cr_assert(rig_read(0));
    cr_assert(!rig_read(0));
    rig_end();
}

/* ---- while it is used ---- */

/* As when a group is removed: poll(2) reports an error, and reading fails. */
Test(pressure_trigger, group_that_is_removed)
{
    begin(yes, 1);
    rig_open();
    cr_assert(!rig_read(0));
    fault_fail(FAULT_PREAD, 0, 1, -ENODEV);
    cr_assert(!rig_read(POLLPRI | POLLERR));
    rig_is("proc", PRESSURE_TRIGGER, RIG_PROC);
    rig_why("memory.pressure: No such device");
    cr_assert(pressure_source_is_fallback(rig.source));
    cr_assert_eq(rig.reading.memory.some.total_us, 5000);
    cr_assert_eq(rig.lines, 2);
    /* the new trigger has a first event of its own, which may be false */
    cr_assert(!rig_read(POLLPRI));
    cr_assert_eq(rig.lines, 2);
    rig_end();
}

Test(pressure_trigger, damaged_text)
{
    begin(yes, 1);
    rig_open();
    rig_put(RIG_GROUP_V2 "/memory.pressure", "some");
    cr_assert(!rig_read(POLLPRI));
    rig_is("proc", PRESSURE_TRIGGER, RIG_PROC);
    rig_put(RIG_PROC, "");
    cr_assert(!rig_read(0));
    rig_is("off", PRESSURE_NONE, "");
    rig_end();
}

/* The trigger has gone, and the file is still there: no busy loop, it is polled. */
Test(pressure_trigger, error_without_a_reason)
{
    static const short errors[] = {POLLERR | POLLPRI, POLLHUP, POLLNVAL};
    unsigned i;

    begin(yes, 1);
    for (i = 0; i < 3; i++) {
        rig_kernel(yes, 1);
        total(1000);
        rig_open();
        total(900000);
        cr_assert(rig_read(POLLPRI));
        total(900001);
        rig.lines = 0;
        cr_assert(!rig_read(errors[i])); /* POLLPRI says nothing then */
        rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
        cr_assert_eq(rig.lines, 1);
        cr_assert(pressure_source_is_fallback(rig.source));
        cr_assert(!rig_read(0));
        cr_assert_eq(rig.lines, 1);
        pressure_source_close(rig.source);
        rig.source = NULL;
    }
    rig_end();
}

/* Something else comes to the path between the look at it and the opening. */
static void swap(void *target)
{
    static unsigned opens;

    if (++opens != 3) /* the group is looked for, the path is looked at, and now opened */
        return;
    cr_assert_eq(unlink(rig_path("/link")), 0);
    cr_assert_eq(symlink(target, rig_path("/link")), 0);
}

Test(pressure_trigger, swapped_for_a_device)
{
    begin(yes, 1);
    cr_assert_eq(symlink(rig_path(RIG_PROC), rig_path("/link")), 0);
    rig.config.watch = rig_path("/link");
    rig.config.root = "/nonexistent";
    fault_clear();
    rig_kernel(yes, 1);
    fault_hook(FAULT_OPEN, swap, "/dev/zero");
    rig_open();
    rig_is("off", PRESSURE_NONE, "");
    rig_why("systemd: ");
    rig_why("link: neither a file, a FIFO nor a socket");
    rig_end();
}

/* ---- the real kernel ---- */

static void open_real(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        test_skip("no %s: this kernel has no pressure stall information", path);
    rig_begin();
    rig.config.root = NULL;
    rig.config.watch = path;
    rig.config.write = SYSTEMD;
    fault_clock_real();
    rig_open();
    if (pressure_source_kind(rig.source) != PRESSURE_SYSTEMD)
        rig_skip("%s cannot be used: %s", path, pressure_source_why(rig.source));
}

Test(pressure_trigger, real_file_of_the_kernel)
{
    uint64_t first_us;
    unsigned i;

    open_real(RIG_PROC);
    if (pressure_source_way(rig.source) != PRESSURE_TRIGGER)
        rig_skip("no trigger here: %s", pressure_source_why(rig.source));
    cr_assert_eq(pressure_source_events(rig.source), POLLPRI);
    cr_assert_eq(pressure_source_stall_ns(rig.source), S / 5);
    cr_assert_eq(rig_poll() & ~POLLPRI, 0); /* no error: the trigger is set */
    cr_assert(!rig_read(0));
    cr_assert(rig.reading.has_memory && rig.reading.has_io);
    first_us = rig.reading.memory.some.total_us;
    for (i = 0; i < 3; i++) {
        (void)rig_turn();
        cr_assert_geq(rig.reading.memory.some.total_us, first_us);
    }
    cr_assert_eq(pressure_source_way(rig.source), PRESSURE_TRIGGER);
    rig_end();
}

/* ---- a real group ---- */

static struct cgroup_path parent;
static char group[CGROUP_PATH_BYTES + 64];

static bool move_to(const char *directory)
{
    char path[CGROUP_PATH_BYTES + 128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
    file = fopen(path, "w");
    if (file == NULL)
        return false;
    (void)fprintf(file, "%d", (int)getpid());
    return fclose(file) == 0;
}

/* Moves this process into a new group of version 2, or skips the test. */
static void begin_group(void)
{
    struct cgroup_path v1;

    (void)cgroup_paths(&os_linux, "", &v1, &parent);
    if (!parent.found)
        test_skip("no control groups of version 2 here");
    (void)snprintf(group, sizeof(group), "%s/spillway-test-%d", parent.directory, (int)getpid());
    if (mkdir(group, 0755) < 0)
        test_skip("no group can be made in %s: %s", parent.directory, strerror(errno));
    if (!move_to(group)) {
        (void)rmdir(group);
        test_skip("this process cannot be moved into a group of its own");
    }
    rig_begin();
    rig.config.root = "";
    fault_clock_real();
}

/* Before anything is asserted, so that no group is left behind. */
static bool leave_group(void)
{
    return move_to(parent.directory) && rmdir(group) == 0;
}

Test(pressure_trigger, real_group_that_is_removed)
{
    enum pressure_kind kind, later;
    enum pressure_way way;
    short quiet, revents;
    bool left;

    begin_group();
    if (pressure_source_open(&rig.config, &rig.source) < 0) {
        (void)leave_group();
        cr_assert(false, "not opened");
    }
    kind = pressure_source_kind(rig.source);
    way = pressure_source_way(rig.source);
    quiet = rig_poll();
    left = leave_group();
    revents = rig_poll();
    cr_assert(left, "%s is left", group);
    if (kind != PRESSURE_CGROUP || way != PRESSURE_TRIGGER)
        rig_skip("no trigger of a group's own here: %s", pressure_source_why(rig.source));
    cr_assert_eq(quiet & ~POLLPRI, 0);
    cr_assert_neq(revents & POLLERR, 0);
    (void)rig_read(revents);
    later = pressure_source_kind(rig.source);
    cr_assert(later == PRESSURE_CGROUP || later == PRESSURE_PROC); /* that of the group above */
    cr_assert_null(strstr(pressure_source_path(rig.source), group));
    cr_assert(rig.reading.has_memory);
    cr_assert_eq(rig_poll() & POLLERR, 0); /* nothing to be busy with */
    cr_assert_eq(rig.lines, 2);
    rig_end();
}

/* Users may read the file of their group, and not write it. */
Test(pressure_trigger, real_group_of_somebody_else)
{
    bool opened, left;
    pid_t child;
    int status = 0;

    begin_group();
    child = fork();
    if (child == 0) {
        if (setgid(65534) < 0 || setuid(65534) < 0 ||
            pressure_source_open(&rig.config, &rig.source) < 0)
            child_leaves(2);
        opened = pressure_source_kind(rig.source) == PRESSURE_CGROUP &&
                 pressure_source_way(rig.source) == PRESSURE_POLLED &&
                 pressure_source_is_fallback(rig.source) &&
                 strstr(pressure_source_why(rig.source), "Permission denied") != NULL &&
                 pressure_source_read(rig.source, 0, &rig.reading) == 0 && rig.reading.has_memory;
        child_leaves(opened ? 0 : 1);
    }
    (void)waitpid(child, &status, 0);
    left = leave_group();
    cr_assert(left, "%s is left", group);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
        rig_skip("no other user can be tried here");
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rig_end();
}

/* Without any of the made-up files: whatever this machine has, it is one of the ways. */
Test(pressure_trigger, this_machine)
{
    rig_begin();
    rig.config.root = "";
    rig_open();
    fprintf(stderr, "this machine: %s\n", rig.last_line);
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.has_memory, pressure_source_kind(rig.source) != PRESSURE_OFF);
    (void)rig_turn(); /* it may be under pressure just now */
    rig_end();
}
