/* SPDX-License-Identifier: MIT */
/* Which source is taken, and what takes its place when it ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "harness.h"
#include "pressure_tools.h"

#define S UINT64_C(1000000000)

/* A whole machine: group and proc. */
static void begin_v2(void)
{
    rig_begin();
    rig_pure_v2();
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 1000);
    rig_put_pressure(RIG_GROUP_V2 "/io.pressure", 2000);
    rig_put(RIG_GROUP_V2 "/memory.events", "low 0\nhigh 3\nmax 4\noom 1\noom_kill 1\n");
    rig_put_pressure(RIG_PROC, 5000);
    rig_put_pressure("/proc/pressure/io", 6000);
}

/* ---- the order ---- */

Test(pressure_source, nothing_there)
{
    rig_begin();
    rig_open();
    rig_is("off", PRESSURE_NONE, "");
    rig_why("cgroup: No such file");
    rig_why("proc: ");
    cr_assert(pressure_source_is_fallback(rig.source));
    cr_assert_eq(rig.lines, 1);
    cr_assert_eq(rig.last_level, SPILLWAY_LOG_WARN);
    cr_assert_eq(pressure_source_events(rig.source), 0);
    cr_assert_eq(pressure_source_window_ns(rig.source), 0);
    cr_assert(!rig_read(0));
    cr_assert(!rig.reading.has_memory && !rig.reading.has_io && !rig.reading.has_events);
    cr_assert_eq(rig.reading.now_ns, 100 * S);
    rig_end();
}

Test(pressure_source, own_group_of_version_2)
{
    begin_v2();
    rig_open();
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    cr_assert_str_eq(pressure_source_why(rig.source), "");
    cr_assert(!pressure_source_is_fallback(rig.source));
    cr_assert_eq(rig.last_level, SPILLWAY_LOG_INFO);
    cr_assert(!rig_read(0));
    cr_assert(rig.reading.has_memory && rig.reading.has_io && rig.reading.has_events);
    cr_assert_eq(rig.reading.memory.some.total_us, 1000);
    cr_assert_eq(rig.reading.memory.full.total_us, 500);
    cr_assert_eq(rig.reading.memory.some.avg10, 150);
    cr_assert_eq(rig.reading.io.some.total_us, 2000);
    cr_assert_eq(rig.reading.events.high, 3);
    cr_assert_eq(rig.reading.events.oom_kill, 1);
    rig_end();
}

Test(pressure_source, own_group_of_a_hybrid_machine)
{
    rig_begin();
    rig_hybrid();
    rig_put_pressure(RIG_GROUP_HYBRID "/memory.pressure", 1000);
    rig_put_pressure("/proc/pressure/io", 6000);
    rig_open();
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_HYBRID "/memory.pressure");
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.memory.some.total_us, 1000);
    /* the machine's, where the group has none */
    cr_assert_eq(rig.reading.io.some.total_us, 6000);
    cr_assert(!rig.reading.has_events);
    rig_end();
}

Test(pressure_source, version_1_alone_has_the_machine)
{
    rig_begin();
    rig_hybrid();
    rig_put("/proc/self/cgroup", "4:memory:/m\n");
    rig_put_pressure(RIG_PROC, 5000);
    rig_open();
    rig_is("proc", PRESSURE_POLLED, RIG_PROC);
    rig_why("cgroup: No such file");
    cr_assert(!pressure_source_is_fallback(rig.source)); /* all that such a machine has */
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.memory.some.total_us, 5000);
    cr_assert(!rig.reading.has_io);
    rig_end();
}

Test(pressure_source, turned_off)
{
    begin_v2();
    rig.config.explicit_path = "off";
    rig.config.watch = rig_path(RIG_PROC);
    rig_open();
    rig_is("off", PRESSURE_NONE, "");
    rig_why("option: off: turned off");
    cr_assert(!pressure_source_is_fallback(rig.source));
    cr_assert_eq(rig.last_level, SPILLWAY_LOG_INFO);
    pressure_source_close(rig.source);
    rig.config.explicit_path = NULL;
    rig.config.watch = "/dev/null";
    rig_open();
    rig_is("off", PRESSURE_NONE, "");
    rig_why("systemd: /dev/null: turned off");
    cr_assert(!pressure_source_is_fallback(rig.source));
    pressure_source_close(rig.source);
    /* by another name */
    cr_assert_eq(symlink("/dev/null", rig_path("/null")), 0);
    rig.config.watch = rig_path("/null");
    rig_open();
    rig_is("off", PRESSURE_NONE, "");
    rig_end();
}

Test(pressure_source, not_set_is_like_nothing)
{
    begin_v2();
    rig.config.watch = "";
    rig.config.write = "junk";
    rig.config.explicit_path = "auto";
    rig_open();
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    cr_assert_str_eq(pressure_source_why(rig.source), "");
    rig_end();
}

Test(pressure_source, given_paths_come_first)
{
    begin_v2();
    rig_put_pressure("/given", 1);
    rig_put_pressure("/watched", 2);
    rig.config.explicit_path = rig_path("/given");
    rig.config.watch = rig_path("/watched");
    rig_open();
    rig_is("option", PRESSURE_POLLED, "/given");
    rig_remove("/given");
    cr_assert(!rig_read(0));
    rig_is("systemd", PRESSURE_POLLED, "/watched");
    cr_assert_eq(rig.reading.memory.some.total_us, 2);
    rig_end();
}

/* ---- what is refused ---- */

/* MEMORY_PRESSURE_WATCH and the option are refused for the same reasons. */
static void refused(const char *path, const char *reason)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        rig.config.watch = i == 0 ? path : NULL;
        rig.config.explicit_path = i == 1 ? path : NULL;
        rig_open();
        rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
        rig_why(i == 0 ? "systemd: " : "option: ");
        rig_why(reason);
        cr_assert(pressure_source_is_fallback(rig.source));
        cr_assert_eq(rig.last_level, SPILLWAY_LOG_WARN);
        cr_assert_eq(rig_read(0), false);
        pressure_source_close(rig.source);
        rig.source = NULL;
        cr_assert_eq(fault_open_fds(), 0);
    }
}

Test(pressure_source, given_paths_that_are_refused)
{
    char text[6000];

    begin_v2();
    rig_put("/junk", "hello\n");
    rig_put("/empty", "");
    rig_put("/cut", "some avg10=0.00 avg60=0.00 avg300=0.00 tot");
    memset(text, 'x', sizeof(text));
    memcpy(text, "some avg10=0.00 total=1 new=", 28);
    text[sizeof(text) - 1] = '\0';
    rig_put("/large", text);
    refused("/nonexistent/file", "No such file");
    refused("relative/path", "not an absolute path");
    refused(rig_path("/junk"), "not the text of a pressure file");
    refused(rig_path("/empty"), "not the text of a pressure file");
    refused(rig_path("/cut"), "not the text of a pressure file");
    refused(rig_path("/large"), "not the text of a pressure file");
    refused(rig_path("/proc"), "Is a directory");
    refused("/dev/zero", "neither a file, a FIFO nor a socket");
    cr_assert_eq(symlink(rig_path("/loop"), rig_path("/loop")), 0);
    refused(rig_path("/loop"), "Too many levels");
    cr_assert_eq(symlink("/dev/zero", rig_path("/zero")), 0);
    refused(rig_path("/zero"), "neither a file, a FIFO nor a socket");
    refused("/proc/self/status", "not the text of a pressure file");
    rig_end();
}

Test(pressure_source, unreadable)
{
    begin_v2();
    rig_put_pressure("/secret", 1);
    cr_assert_eq(chmod(rig_path("/secret"), 0), 0);
    if (access(rig_path("/secret"), R_OK) == 0) /* root reads everything */
        fault_path_fail(rig_path("/secret"), -EACCES);
    refused(rig_path("/secret"), "Permission denied");
    rig_end();
}

/* Nothing is ever written to a file that is not the kernel's. */
Test(pressure_source, files_of_users_are_not_written)
{
    begin_v2();
    rig.config.watch = rig_path(RIG_PROC);
    rig.config.write = "c29tZSAyMDAwMDAgMjAwMDAwMAA=";
    rig_open();
    rig_is("systemd", PRESSURE_POLLED, RIG_PROC);
    cr_assert_eq(fault_calls(FAULT_WRITE), 0);
    cr_assert(!pressure_source_is_fallback(rig.source));
    rig_end();
}

/* What the group and the machine have is refused for the same reasons. */
Test(pressure_source, broken_files_of_the_machine)
{
    static const char *const texts[] = {"", "hello", "some avg10=0.00 avg60=0.00", "full total=1"};
    unsigned i;

    begin_v2();
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        rig_put_pressure(RIG_PROC, 5000);
        rig_put(RIG_GROUP_V2 "/memory.pressure", texts[i]);
        rig_open();
        rig_is("proc", PRESSURE_POLLED, RIG_PROC);
        rig_why("memory.pressure: not the text of a pressure file");
        pressure_source_close(rig.source);
        rig_put(RIG_PROC, texts[i]);
        rig_open();
        rig_is("off", PRESSURE_NONE, "");
        pressure_source_close(rig.source);
        rig.source = NULL;
    }
    rig_put_pressure(RIG_PROC, 5000);
    fault_path_fail(rig_path(RIG_GROUP_V2 "/memory.pressure"), -EACCES);
    rig_open();
    rig_is("proc", PRESSURE_POLLED, RIG_PROC);
    rig_why("Permission denied");
    pressure_source_close(rig.source);
    fault_path_fail(rig_path(RIG_PROC), -EOPNOTSUPP); /* psi=0 */
    rig_open();
    rig_is("off", PRESSURE_NONE, "");
    rig_why("not supported");
    rig_end();
}

/* Paths come from outside, and what is said of them goes to logs and screens. */
Test(pressure_source, control_characters_are_not_shown)
{
    begin_v2();
    rig.config.watch = "/tmp/\033[2Jx";
    rig_open();
    rig_why("systemd: /tmp/?[2Jx: No such");
    cr_assert_null(strchr(rig.last_line, '\033'));
    rig_end();
}

Test(pressure_source, very_long_paths)
{
    char path[3000];

    begin_v2();
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    rig.config.watch = path;
    rig.config.explicit_path = path;
    rig_open();
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    rig_why("option: /xxx");
    rig_why("systemd: /xxx");
    /* and many reasons: what does not fit is left out */
    rig_remove(RIG_GROUP_V2 "/memory.pressure");
    cr_assert(!rig_read(0));
    rig_remove(RIG_PROC);
    cr_assert(!rig_read(0));
    rig_is("off", PRESSURE_NONE, "");
    rig_why("...");
    rig_end();
}

Test(pressure_source, arguments)
{
    rig_begin();
    rig.config.stall_ns = 0;
    cr_assert_eq(pressure_source_open(&rig.config, &rig.source), -EINVAL);
    rig.config.stall_ns = 999;
    cr_assert_eq(pressure_source_open(&rig.config, &rig.source), -EINVAL);
    rig.config.stall_ns = RIG_WINDOW_NS + 1;
    cr_assert_eq(pressure_source_open(&rig.config, &rig.source), -EINVAL);
    rig.config.stall_ns = RIG_WINDOW_NS;
    fault_alloc_after(1);
    cr_assert_eq(pressure_source_open(&rig.config, &rig.source), -ENOMEM);
    pressure_source_close(NULL);
    rig.config.log = NULL;
    rig_open();
    rig_is("off", PRESSURE_NONE, "");
    rig_end();
}

/* ---- polling ---- */

Test(pressure_source, polled_file)
{
    begin_v2();
    rig_open();
    cr_assert_eq(pressure_source_interval_ns(rig.source), S / 2);
    cr_assert_eq(pressure_source_stall_ns(rig.source), RIG_STALL_NS);
    cr_assert_eq(pressure_source_window_ns(rig.source), RIG_WINDOW_NS);
    cr_assert(!rig_read(0));
    fault_clock_advance(S / 2);
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 150999);
    cr_assert(!rig_read(0));
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 151000);
    cr_assert(rig_read(0));
    cr_assert_eq(rig.reading.memory.some.total_us, 151000);
    cr_assert_eq(rig.reading.now_ns, 100 * S + S / 2);
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.lines, 1);
    rig_end();
}

Test(pressure_source, another_meaning)
{
    begin_v2();
    rig_open();
    cr_assert(!rig_read(0));
    pressure_source_tune(rig.source, S / 2, S);
    cr_assert_eq(pressure_source_kind(rig.source), PRESSURE_CGROUP);
    cr_assert_eq(pressure_source_stall_ns(rig.source), S / 2);
    cr_assert_eq(pressure_source_window_ns(rig.source), S);
    fault_clock_advance(S / 2);
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 400000);
    cr_assert(!rig_read(0));
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 600000);
    cr_assert(rig_read(0));
    rig_end();
}

Test(pressure_source, intervals)
{
    begin_v2();
    rig.config.stall_ns = 10000000;
    rig.config.window_ns = 20000000;
    rig_open();
    cr_assert_eq(pressure_source_interval_ns(rig.source), S / 20);
    pressure_source_close(rig.source);
    rig.config.window_ns = 10 * S;
    rig_open();
    cr_assert_eq(pressure_source_interval_ns(rig.source), S);
    rig_end();
}

/* ---- while it is used ---- */

Test(pressure_source, files_that_vanish)
{
    begin_v2();
    rig_open();
    cr_assert(!rig_read(0));
    uint32_t generation = rig.reading.generation;
    rig_remove(RIG_GROUP_V2 "/memory.pressure");
    cr_assert(!rig_read(0));
    rig_is("proc", PRESSURE_POLLED, RIG_PROC);
    cr_assert_eq(rig.reading.memory.some.total_us, 5000);
    cr_assert_gt(rig.reading.generation, generation);
    cr_assert(pressure_source_is_fallback(rig.source));
    cr_assert_eq(rig.lines, 2);
    cr_assert_eq(rig.last_level, SPILLWAY_LOG_WARN);
    /* told once, and it does not go back and forth */
    generation = rig.reading.generation;
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 1000);
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.generation, generation);
    cr_assert_eq(rig.lines, 2);
    rig_remove(RIG_PROC);
    cr_assert(!rig_read(0));
    rig_is("off", PRESSURE_NONE, "");
    cr_assert(!rig.reading.has_memory);
    cr_assert_eq(rig.lines, 3);
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.lines, 3);
    rig_end();
}

Test(pressure_source, files_that_are_damaged)
{
    begin_v2();
    rig.config.watch = rig_path("/watched");
    rig_put_pressure("/watched", 1);
    rig_open();
    cr_assert(!rig_read(0));
    rig_put("/watched", "some avg10=0.");
    cr_assert(!rig_read(0));
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    rig_why("watched: not the text");
    rig_put(RIG_GROUP_V2 "/memory.pressure", "");
    cr_assert(!rig_read(0));
    rig_is("proc", PRESSURE_POLLED, RIG_PROC);
    /* a device in its place */
    rig_remove(RIG_PROC);
    cr_assert_eq(symlink("/dev/zero", rig_path(RIG_PROC)), 0);
    cr_assert(!rig_read(0));
    rig_is("off", PRESSURE_NONE, "");
    rig_end();
}

Test(pressure_source, a_file_that_grows_large)
{
    char text[6000];

    begin_v2();
    rig_open();
    memset(text, 'x', sizeof(text));
    memcpy(text, "some avg10=0.00 total=1 new=", 28);
    text[sizeof(text) - 1] = '\0';
    rig_put(RIG_GROUP_V2 "/memory.pressure", text);
    cr_assert(!rig_read(0));
    rig_is("proc", PRESSURE_POLLED, RIG_PROC);
    rig_why("not the text of a pressure file");
    rig_end();
}

/* A process that is moved before its group is removed watches the new one. */
Test(pressure_source, another_group)
{
    begin_v2();
    rig_open();
    rig_put("/proc/self/cgroup", "0::/c\n");
    rig_put_pressure("/sys/fs/cgroup/c/memory.pressure", 77);
    rig_remove(RIG_GROUP_V2 "/memory.pressure");
    cr_assert(!rig_read(0));
    rig_is("cgroup", PRESSURE_POLLED, "/sys/fs/cgroup/c/memory.pressure");
    cr_assert_eq(rig.reading.memory.some.total_us, 77);
    cr_assert_eq(rig.reading.io.some.total_us, 6000);
    rig_end();
}

Test(pressure_source, side_files_come_and_go)
{
    begin_v2();
    rig_open();
    cr_assert(!rig_read(0));
    uint32_t generation = rig.reading.generation;
    rig_remove(RIG_GROUP_V2 "/io.pressure");
    rig_put(RIG_GROUP_V2 "/memory.events", "nonsense");
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.io.some.total_us, 6000);
    cr_assert(!rig.reading.has_events);
    cr_assert_gt(rig.reading.generation, generation);
    rig_remove("/proc/pressure/io");
    cr_assert(!rig_read(0));
    cr_assert(!rig.reading.has_io && rig.reading.has_memory);
    rig_put_pressure(RIG_GROUP_V2 "/io.pressure", 3000);
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.io.some.total_us, 3000);
    rig_end();
}

/* ---- without descriptors, memory ---- */

Test(pressure_source, no_descriptor_at_start)
{
    begin_v2();
    fault_fail_when(FAULT_OPEN, O_PATH, 0, 1, -EMFILE);
    cr_assert_eq(pressure_source_open(&rig.config, &rig.source), -EMFILE);
    cr_assert_null(rig.source);
    cr_assert_eq(fault_alloc_live(), 0);
    rig_open();
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    rig_end();
}

Test(pressure_source, no_descriptor_for_a_while)
{
    struct pressure_reading before;

    begin_v2();
    rig_open();
    cr_assert(!rig_read(0));
    before = rig.reading;
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 900000);
    /* of the file itself, of io.pressure, of memory.events: the event is kept */
    for (uint32_t after = 0; after < 3; after++) {
        fault_fail(FAULT_OPEN, after, 1, -ENFILE);
        cr_assert_eq(pressure_source_read(rig.source, 0, &rig.reading), -ENFILE);
        cr_assert_eq(memcmp(&before, &rig.reading, sizeof(before)), 0);
        fault_heal(FAULT_OPEN);
    }
    cr_assert(rig_read(0));
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    cr_assert_eq(rig.lines, 1);
    rig_end();
}

Test(pressure_source, no_descriptor_to_fall_back_with)
{
    begin_v2();
    rig_open();
    rig_remove(RIG_GROUP_V2 "/memory.pressure");
    fault_fail_when(FAULT_OPEN, O_PATH, 0, 2, -EMFILE);
    cr_assert_eq(pressure_source_read(rig.source, 0, &rig.reading), -EMFILE);
    cr_assert_str_eq(pressure_source_name(rig.source), "off");
    cr_assert_eq(pressure_source_fd(rig.source), -1);
    cr_assert_gt(pressure_source_interval_ns(rig.source), 0); /* it is tried again */
    cr_assert_eq(pressure_source_read(rig.source, 0, &rig.reading), -EMFILE);
    cr_assert_eq(rig.lines, 1);
    cr_assert(!rig_read(0));
    rig_is("proc", PRESSURE_POLLED, RIG_PROC);
    cr_assert_eq(rig.lines, 2);
    rig_end();
}

/* A call that fails, moved forward until none does: it always ends with some source or an error
 * that passes, and nothing is left open. */
Test(pressure_source, any_call_may_fail)
{
    static const enum fault kinds[] = {FAULT_OPEN, FAULT_PREAD, FAULT_READ, FAULT_FSTAT,
                                       FAULT_FSTATFS};
    static const int errors[] = {-EIO, -EINTR, -EMFILE};
    unsigned i, e;
    uint32_t after;

    begin_v2();
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
            for (after = 0; after < 40; after++) {
                uint64_t before = fault_calls(kinds[i]);
                int rc;

                fault_fail(kinds[i], after, 1, errors[e]);
                rc = pressure_source_open(&rig.config, &rig.source);
                if (rc == 0) {
                    rc = pressure_source_read(rig.source, 0, &rig.reading);
                    pressure_source_close(rig.source);
                }
                rig.source = NULL;
                cr_assert(rc == 0 || rc == errors[e], "%d", rc);
                cr_assert(rc == 0 || rc == -EMFILE, "%d", rc);
                cr_assert_eq(fault_open_fds(), 0);
                fault_heal(kinds[i]);
                if (fault_calls(kinds[i]) - before <= after)
                    break;
            }
            cr_assert_lt(after, 40);
        }
    }
    rig_end();
}
