/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "pressure_tools.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "harness.h"

struct pressure_rig rig;

static struct {
    char text[RIG_WRITES][RIG_WRITE_BYTES];
    size_t len[RIG_WRITES];
    unsigned count;
} triggers;

/* ---- the root ---- */

static void take_line(void *context, enum spw_log_level level, const char *line)
{
    (void)context;
    (void)snprintf(rig.last_line, sizeof(rig.last_line), "%s", line);
    rig.last_level = level;
    rig.lines++;
}

void rig_begin(void)
{
    const char *base = getenv("SPILLWAY_TEST_DIR");

    (void)snprintf(rig.root, sizeof(rig.root), "%s/spillway-pressure-XXXXXX",
                   base != NULL ? base : "/var/tmp");
    if (mkdtemp(rig.root) == NULL)
        test_skip("no directory for files (SPILLWAY_TEST_DIR): %s", strerror(errno));
    fault_clock_set(UINT64_C(100000000000));
    log_init(&rig.log, &os_linux, take_line, NULL, SPILLWAY_LOG_DEBUG);
    rig.config = (struct pressure_source_config){.os = &fault_os,
                                                 .allocator = &fault_allocator,
                                                 .log = &rig.log,
                                                 .root = rig.root,
                                                 .stall_ns = RIG_STALL_NS,
                                                 .window_ns = RIG_WINDOW_NS};
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void rig_end(void)
{
    pressure_source_close(rig.source);
    rig.source = NULL;
    (void)nftw(rig.root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    cr_assert_eq(fault_open_fds(), 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

void rig_skip(const char *format, ...)
{
    static char why[BUFSIZ];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    rig_end();
    test_skip("%s", why);
}

const char *rig_path(const char *path)
{
    static char buffers[2][RIG_PATH];
    static unsigned next;
    char *out = buffers[next++ % 2];

    (void)snprintf(out, RIG_PATH, "%s%s", rig.root, path);
    return out;
}

void rig_put(const char *path, const char *text)
{
    char full[RIG_PATH];
    FILE *file;
    char *slash;

    (void)snprintf(full, sizeof(full), "%s%s", rig.root, path);
    for (slash = strchr(full + strlen(rig.root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0755);
        *slash = '/';
    }
    file = fopen(full, "w");
    cr_assert_not_null(file, "%s", full);
    cr_assert_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    cr_assert_eq(fclose(file), 0);
}

void rig_remove(const char *path)
{
    cr_assert_eq(unlink(rig_path(path)), 0);
}

void rig_put_pressure(const char *path, uint64_t total_us)
{
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "some avg10=1.50 avg60=0.00 avg300=0.00 total=%" PRIu64 "\n"
                   "full avg10=0.75 avg60=0.00 avg300=0.00 total=%" PRIu64 "\n",
                   total_us, total_us / 2);
    rig_put(path, text);
}

void rig_pure_v2(void)
{
    rig_put("/proc/self/cgroup", "0::/a/b\n");
    rig_put("/proc/self/mountinfo", "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
}

void rig_hybrid(void)
{
    rig_put("/proc/self/cgroup", "4:memory:/m\n1:cpu:/\n0::/a/b\n");
    rig_put("/proc/self/mountinfo",
            "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
            "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
}

/* ---- the source ---- */

void rig_open(void)
{
    cr_assert_eq(pressure_source_open(&rig.config, &rig.source), 0);
}

short rig_poll(void)
{
    struct pollfd pollfd = {.fd = pressure_source_fd(rig.source),
                            .events = pressure_source_events(rig.source)};

    cr_assert_geq(poll(&pollfd, 1, 0), 0);
    return pollfd.revents;
}

bool rig_read(short revents)
{
    cr_assert_eq(pressure_source_read(rig.source, revents, &rig.reading), 0);
    return rig.reading.event;
}

bool rig_turn(void)
{
    return rig_read(rig_poll());
}

void rig_is(const char *name, enum pressure_way way, const char *path)
{
    cr_assert_str_eq(pressure_source_name(rig.source), name);
    cr_assert_eq(pressure_source_way(rig.source), way, "why: %s", pressure_source_why(rig.source));
    cr_assert_str_eq(pressure_source_path(rig.source), path[0] != '\0' ? rig_path(path) : "");
    cr_assert_eq(pressure_source_fd(rig.source) >= 0,
                 way == PRESSURE_TRIGGER || way == PRESSURE_MESSAGES);
    cr_assert_eq(pressure_source_interval_ns(rig.source) > 0, way == PRESSURE_POLLED);
}

void rig_why(const char *text)
{
    const char *why = pressure_source_why(rig.source);

    cr_assert_not_null(strstr(why, text), "\"%s\" is not in \"%s\"", text, why);
}

/* ---- the kernel ---- */

static void take_trigger(void *context)
{
    struct fault_args args = fault_last(FAULT_WRITE);

    (void)context;
    cr_assert_lt(triggers.count, RIG_WRITES);
    cr_assert_leq(args.len, RIG_WRITE_BYTES);
    memcpy(triggers.text[triggers.count], args.start, args.len);
    triggers.len[triggers.count++] = args.len;
}

/* A write that succeeds returns its length, and each of these texts has its own. */
static ssize_t answer_write(int fd, const void *buf, size_t len)
{
    ssize_t n = fault_os.write(fd, buf, len);

    return n == 0 ? (ssize_t)len : n;
}

void rig_kernel(const int *answers, unsigned count)
{
    static const struct os_fs proc = {.type = PROC_SUPER_MAGIC};
    static struct os os;
    unsigned i;

    os = fault_os;
    os.write = answer_write;
    rig.config.os = &os;
    memset(&triggers, 0, sizeof(triggers));
    fault_heal(FAULT_WRITE);
    fault_fs(&proc);
    fault_hook(FAULT_WRITE, take_trigger, NULL);
    for (i = 0; i < count; i++)
        fault_fail(FAULT_WRITE, i, i + 1 < count ? 1 : FAULT_ALWAYS, answers[i]);
}

const char *rig_trigger(unsigned n, size_t *len)
{
    if (n >= triggers.count)
        return NULL;
    *len = triggers.len[n];
    return triggers.text[n];
}
