/* SPDX-License-Identifier: MIT */
/* poolstat doctor: each check finds what the seam makes of this host, and names the remedy. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../tools/poolstat/doctor.h"
#include "dirs.h"
#include "fault.h"
#include "harness.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

enum { VARIABLES_MAX = 8, VARIABLE_BYTES = 512 };

static struct doctor doctor;
static char variables[VARIABLES_MAX][VARIABLE_BYTES];
static char *environment[VARIABLES_MAX + 1];

/* Sets the environment that doctor sees: "NAME=value", NULL at the end. */
static void set(const char *first, ...)
{
    unsigned count = 0;
    va_list more;

    va_start(more, first);
    for (const char *at = first; at != NULL; at = va_arg(more, const char *)) {
        cr_assert_lt(count, VARIABLES_MAX);
        snprintf(variables[count], VARIABLE_BYTES, "%s", at);
        environment[count] = variables[count];
        count++;
    }
    va_end(more);
    environment[count] = NULL;
}

static void begin(const char *root)
{
    free(doctor.findings);
    cr_assert_eq(doctor_open(&doctor, &fault_os, root, environment), 0);
    doctor.probe_ns = 20000000;
}

/* The worst finding of one check. */
static const struct doctor_finding *look_below(const char *root, const char *check)
{
    const char *const only[] = {check, NULL};
    const struct doctor_finding *worst;

    begin(root);
    cr_assert_eq(doctor_run(&doctor, only), 0, "%s", check);
    cr_assert_gt(doctor.count, 0);
    worst = &doctor.findings[0];
    for (unsigned i = 0; i < doctor.count; i++) {
        const struct doctor_finding *finding = &doctor.findings[i];

        cr_assert_str_eq(finding->check->name, check);
        cr_assert(finding->found[0] != '\0');
        cr_assert((finding->level == DOCTOR_OK) == (finding->happens[0] == '\0'), "%s",
                  finding->found);
        if (finding->level > worst->level)
            worst = finding;
    }
    cr_assert_eq(doctor_worst(&doctor), worst->level);
    return worst;
}

static const struct doctor_finding *look(const char *check)
{
    return look_below("", check);
}

static void end(void)
{
    doctor_close(&doctor);
    cr_assert_eq(fault_open_fds(), 0);
    fault_clear();
}

static void expect(const struct doctor_finding *finding, enum doctor_level level, const char *found,
                   const char *remedy)
{
    cr_assert_eq(finding->level, level, "%d: %s: %s", (int)finding->level, finding->found,
                 finding->happens);
    cr_assert(strstr(finding->found, found) != NULL, "'%s' is not in '%s'", found, finding->found);
    if (remedy != NULL)
        cr_assert_str_eq(finding->remedy, remedy, "%s, not %s", finding->remedy, remedy);
}

static void put(const char *path, const char *text)
{
    char full[200];

    snprintf(full, sizeof(full), "/fx%s", path);
    fault_file(full, text);
}

/* ---- the table ---- */

Test(doctor, each_check_is_whole)
{
    for (const struct doctor_check *check = doctor_checks; check->name != NULL; check++) {
        cr_assert_not_null(check->run);
        cr_assert(strlen(check->name) <= 12, "%s: names are a column", check->name);
        cr_assert(check->looks_at[0] && check->how[0] && check->without[0] && check->remedy[0],
                  "%s", check->name);
        for (const struct doctor_check *other = check + 1; other->name != NULL; other++)
            cr_assert_str_neq(check->name, other->name);
    }
}

Test(doctor, an_unknown_check_is_refused_before_any_is_run)
{
    const char *const only[] = {"maps", "nonsense", NULL};

    set(NULL);
    begin("");
    cr_assert_eq(doctor_run(&doctor, only), -ENOENT);
    cr_assert_eq(doctor.count, 0);
    cr_assert_eq(doctor_worst(&doctor), DOCTOR_OK);
    end();
}

Test(doctor, too_many_findings_are_cut)
{
    set(NULL);
    begin("");
    doctor.check = &doctor_checks[0];
    for (int i = 0; i < 2 * DOCTOR_FINDINGS_MAX; i++)
        cr_assert_not_null(doctor_add(&doctor, DOCTOR_OK, "%d", i));
    cr_assert_eq(doctor.count, DOCTOR_FINDINGS_MAX);
    end();
}

Test(doctor, a_remedy_is_one_word_of_a_shell)
{
    char out[DOCTOR_TEXT];

    cr_assert_str_eq(doctor_quoted("/var/tmp", out), "/var/tmp");
    cr_assert_str_eq(doctor_quoted("", out), "''");
    cr_assert_str_eq(doctor_quoted("a b;c", out), "'a b;c'");
    cr_assert_str_eq(doctor_quoted("it's", out), "'it'\\''s'");
}

/* ---- settings ---- */

Test(doctor, settings)
{
    set("PATH=/bin", NULL);
    expect(look("settings"), DOCTOR_OK, "0 SPILLWAY_* variables", "");
    set("SPILLWAY_MEMORY=1GiB", "SPILLWAY_TEST_SCALE=9", NULL);
    expect(look("settings"), DOCTOR_OK, "none is refused", "");
    set("SPILLWAY_MEMORY=lots", "SPILLWAY_DEPTH=4", NULL);
    expect(look("settings"), DOCTOR_BROKEN, "SPILLWAY_MEMORY: 'lots' is not allowed",
           "unset SPILLWAY_MEMORY");
    set("SPILLWAY_MEMROY=1GiB", NULL);
    expect(look("settings"), DOCTOR_FALLS_BACK, "the nearest is SPILLWAY_MEMORY",
           "export SPILLWAY_MEMORY=\"$SPILLWAY_MEMROY\"; unset SPILLWAY_MEMROY");
    set("SPILLWAY_MEMROY=1GiB", "SPILLWAY_STRICT=on", NULL);
    expect(look("settings"), DOCTOR_BROKEN, "SPILLWAY_MEMROY is not a setting", NULL);
    set("SPILLWAY_$(reboot)=1", NULL);
    expect(look("settings"), DOCTOR_FALLS_BACK, "is not a setting", "unset 'SPILLWAY_$(reboot)'");
    end();
}

/* ---- engines ---- */

Test(doctor, io_uring_and_why_not)
{
    static const char container[] = "docker run --security-opt seccomp=unconfined";

    if (!SPILLWAY_HAVE_URING)
        test_skip("built without io_uring");
    set(NULL);
    fault_path_fail("/fx", -ENOENT);
    fault_fail(FAULT_RING_ALLOWED, 0, FAULT_ALWAYS, -EPERM);
    expect(look_below("/fx", "io_uring"), DOCTOR_FALLS_BACK, "(EPERM)", container);
    put("/proc/sys/kernel/io_uring_disabled", "2\n");
    expect(look_below("/fx", "io_uring"), DOCTOR_FALLS_BACK, "kernel.io_uring_disabled",
           "sysctl -w kernel.io_uring_disabled=0");
    cr_assert(doctor.findings[0].as_root);
    put("/proc/sys/kernel/io_uring_disabled", "0\n");
    put("/proc/self/status", "Name:\tx\nSeccomp:\t2\n");
    fault_heal(FAULT_RING_ALLOWED);
    fault_fail(FAULT_RING_ALLOWED, 0, FAULT_ALWAYS, -ENOSYS);
    expect(look_below("/fx", "io_uring"), DOCTOR_FALLS_BACK, "a seccomp filter", container);
    put("/proc/self/status", "Name:\tx\nSeccomp:\t0\n");
    put("/proc/sys/kernel/io_uring_disabled", NULL);
    expect(look_below("/fx", "io_uring"), DOCTOR_FALLS_BACK, "(ENOSYS): CONFIG_IO_URING",
           "apt-get install linux-image-$(dpkg --print-architecture) && reboot");
    fault_heal(FAULT_RING_ALLOWED);
    fault_fail(FAULT_RING_ALLOWED, 0, FAULT_ALWAYS, -ENOMEM);
    expect(look_below("/fx", "io_uring"), DOCTOR_FALLS_BACK, "RLIMIT_MEMLOCK",
           "ulimit -l unlimited");
    set("SPILLWAY_STRICT=on", NULL);
    expect(look_below("/fx", "io_uring"), DOCTOR_BROKEN, "(ENOMEM)", "ulimit -l unlimited");
    set("SPILLWAY_ENGINE=threads", NULL);
    expect(look_below("/fx", "io_uring"), DOCTOR_OK, "SPILLWAY_ENGINE=threads does without", "");
    end();
}

Test(doctor, no_threads)
{
    set(NULL);
    expect(look("threads"), DOCTOR_OK, "can be started", "");
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    expect(look("threads"), DOCTOR_BROKEN, "no threads for I/O", "ulimit -u unlimited");
    end();
}

/* ---- memory of the kernel's ---- */

Test(doctor, seals)
{
    set("SPILLWAY_MEMORY_TIER=64MiB", NULL);
    fault_path_fail("/fx", -ENOENT);
    expect(look("seals"), DOCTOR_OK, "SPILLWAY_SEAL=recycle", "");
    cr_assert_eq(doctor.count, 2);
    fault_fail(FAULT_FCNTL, 0, FAULT_ALWAYS, -EINVAL);
    expect(look_below("/fx", "seals"), DOCTOR_FALLS_BACK, "no segment for SPILLWAY_SEAL=recycle",
           "apt-get install linux-image-$(dpkg --print-architecture) && reboot");
    cr_assert(strstr(doctor.findings[0].happens, "the memory tier is off") != NULL);
    fault_heal(FAULT_FCNTL);
    fault_fail(FAULT_MEMFD_CREATE, 0, FAULT_ALWAYS, -EMFILE);
    expect(look_below("/fx", "seals"), DOCTOR_FALLS_BACK, "Too many open files", "ulimit -n 65536");
    fault_heal(FAULT_MEMFD_CREATE);
    fault_fail(FAULT_MEMFD_CREATE, 0, FAULT_ALWAYS, -EPERM);
    expect(look_below("/fx", "seals"), DOCTOR_FALLS_BACK, "Operation not permitted",
           "docker run --security-opt seccomp=unconfined");
    end();
}

Test(doctor, the_stats_page)
{
    set(NULL);
    expect(look("stats-page"), DOCTOR_OK, "can be made", "");
    fault_fail(FAULT_MEMFD_CREATE, 0, FAULT_ALWAYS, -ENOMEM);
    expect(look("stats-page"), DOCTOR_FALLS_BACK, "Cannot allocate memory",
           "sysctl -w vm.overcommit_memory=0");
    fault_clear();
    fault_limit(RLIMIT_FSIZE, 4096);
    expect(look("stats-page"), DOCTOR_FALLS_BACK, "File too large", "ulimit -f unlimited");
    fault_clear();
    set("SPILLWAY_STATS_PAGE=off", NULL);
    expect(look("stats-page"), DOCTOR_FALLS_BACK, "SPILLWAY_STATS_PAGE=off",
           "unset SPILLWAY_STATS_PAGE");
    end();
}

Test(doctor, fork_and_populate)
{
    set(NULL);
    fault_fail_when(FAULT_ADVISE, MADV_WIPEONFORK, 0, FAULT_ALWAYS, -EINVAL);
    expect(look("fork"), DOCTOR_BROKEN, "MADV_WIPEONFORK: Invalid argument",
           "apt-get install linux-image-$(dpkg --print-architecture) && reboot");
    fault_clear();
    fault_fail_when(FAULT_ADVISE, MADV_POPULATE_WRITE, 0, FAULT_ALWAYS, -EINVAL);
    expect(look("populate"), DOCTOR_FALLS_BACK, "MADV_POPULATE_WRITE", NULL);
    fault_clear();
    fault_fail_when(FAULT_ADVISE, MADV_POPULATE_READ, 0, FAULT_ALWAYS, -EINVAL);
    expect(look("populate"), DOCTOR_FALLS_BACK, "MADV_POPULATE_READ", NULL);
    end();
}

/* ---- limits ---- */

Test(doctor, memlock)
{
    fault_path_fail("/fx", -ENOENT);
    put("/proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\n");
    put("/proc/meminfo", "MemTotal:       4194304 kB\nMemAvailable:   4194304 kB\n");
    set(NULL);
    fault_limit(RLIMIT_MEMLOCK, 8 << 20);
    expect(look_below("/fx", "memlock"), DOCTOR_OK, "RLIMIT_MEMLOCK is 8.00 MiB", "");
    fault_limit(RLIMIT_MEMLOCK, 0);
    expect(look_below("/fx", "memlock"), DOCTOR_FALLS_BACK, "lacks CAP_IPC_LOCK", "ulimit -l 64");
    put("/proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n");
    expect(look_below("/fx", "memlock"), DOCTOR_OK, "does not bind", "");
    set("SPILLWAY_MLOCK=on", "SPILLWAY_MEMORY_TIER=1GiB", NULL);
    fault_fail(FAULT_LOCK, 0, FAULT_ALWAYS, -ENOMEM);
    expect(look_below("/fx", "memlock"), DOCTOR_FALLS_BACK, "1.00 GiB is to be locked",
           "ulimit -l 1048641");
    set("SPILLWAY_MLOCK=on", "SPILLWAY_MEMORY_TIER=1GiB", "SPILLWAY_STRICT=on", NULL);
    expect(look_below("/fx", "memlock"), DOCTOR_BROKEN, "to be locked", NULL);
    end();
}

Test(doctor, descriptors)
{
    set(NULL);
    fault_limit(RLIMIT_NOFILE, 1024);
    expect(look("descriptors"), DOCTOR_OK, "RLIMIT_NOFILE is 1024", "");
    fault_limit(RLIMIT_NOFILE, 256);
    expect(look("descriptors"), DOCTOR_FALLS_BACK, "256", "ulimit -n 65536");
    fault_limit(RLIMIT_NOFILE, 16);
    expect(look("descriptors"), DOCTOR_BROKEN, "16", "ulimit -n 65536");
    fault_limit(RLIMIT_NOFILE, 1024);
    set("SPILLWAY_SEAL=strict", "SPILLWAY_MEMORY_TIER=2GiB", NULL);
    expect(look("descriptors"), DOCTOR_FALLS_BACK, "strict segments may be 1024", "ulimit -n 4096");
    fault_limit(RLIMIT_NOFILE, 64);
    set("SPILLWAY_SEAL=strict", "SPILLWAY_MEMORY_TIER=64MiB", NULL);
    expect(look("descriptors"), DOCTOR_FALLS_BACK, "strict segments may be 32", "ulimit -n 1024");
    end();
}

Test(doctor, file_size_and_maps)
{
    set(NULL);
    fault_limit(RLIMIT_FSIZE, UINT64_MAX);
    expect(look("file-size"), DOCTOR_OK, "unlimited", "");
    fault_limit(RLIMIT_FSIZE, 1 << 30);
    expect(look("file-size"), DOCTOR_FALLS_BACK, "1.00 GiB", "ulimit -f unlimited");
    fault_limit(RLIMIT_FSIZE, 4096);
    expect(look("file-size"), DOCTOR_BROKEN, "4.00 KiB", "ulimit -f unlimited");
    set("SPILLWAY_TIERS=memory", NULL);
    expect(look("file-size"), DOCTOR_OK, "", "");
    set(NULL);
    fault_path_fail("/fx", -ENOENT);
    expect(look_below("/fx", "maps"), DOCTOR_OK, "cannot be read", "");
    put("/proc/sys/vm/max_map_count", "65530\n");
    expect(look_below("/fx", "maps"), DOCTOR_OK, "65530", "");
    put("/proc/sys/vm/max_map_count", "1000\n");
    expect(look_below("/fx", "maps"), DOCTOR_FALLS_BACK, "1000",
           "sysctl -w vm.max_map_count=65530");
    end();
}

/* ---- control groups ---- */

static void put_group(const char *limit, const char *usage)
{
    fault_path_fail("/fx", -ENOENT);
    put("/proc/self/cgroup", "0::/a\n");
    put("/proc/self/mountinfo",
        "30 29 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
    put("/proc/meminfo", "MemTotal:       8388608 kB\nMemAvailable:   8388608 kB\n");
    put("/sys/fs/cgroup/a/memory.max", limit);
    put("/sys/fs/cgroup/a/memory.current", usage);
    put("/sys/fs/cgroup/a/memory.stat", "inactive_file 0\nfile_dirty 0\nfile_writeback 0\n");
}

Test(doctor, control_groups)
{
    set(NULL);
    put_group("max\n", "0\n");
    expect(look_below("/fx", "cgroup"), DOCTOR_OK, "no memory cgroup limits this process", "");
    put_group("1073741824\n", "104857600\n");
    expect(look_below("/fx", "cgroup"), DOCTOR_OK, "limit 1.00 GiB", "");
    put_group("1073741824\n", "1063741824\n");
    expect(look_below("/fx", "cgroup"), DOCTOR_FALLS_BACK, "room for 9.54 MiB",
           "echo 1527M >/fx/sys/fs/cgroup/a/memory.max");
    put_group("1073741824\n", "104857600\n");
    set("SPILLWAY_MEMORY=1GiB", NULL);
    expect(look_below("/fx", "cgroup"), DOCTOR_FALLS_BACK, "a budget of 1.00 GiB",
           "echo 1367M >/fx/sys/fs/cgroup/a/memory.max");
    end();
}

Test(doctor, swap)
{
    fault_path_fail("/fx", -ENOENT);
    put("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 8388608 kB\nSwapTotal: 0 kB\n");
    set("SPILLWAY_MEMORY_TIER=1GiB", NULL);
    expect(look_below("/fx", "swap"), DOCTOR_OK, "there is none", "");
    put("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 8388608 kB\nSwapTotal: 1048576 kB\n");
    expect(look_below("/fx", "swap"), DOCTOR_FALLS_BACK, "1.00 GiB", "export SPILLWAY_MLOCK=on");
    set("SPILLWAY_MEMORY_TIER=1GiB", "SPILLWAY_MLOCK=on", NULL);
    expect(look_below("/fx", "swap"), DOCTOR_OK, "locked", "");
    set(NULL);
    expect(look_below("/fx", "swap"), DOCTOR_OK, "no memory tier", "");
    end();
}

/* ---- pressure ---- */

Test(doctor, pressure)
{
    static const char group[] = "/fx/sys/fs/cgroup/spillway";
    static const char text[] = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
                               "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    char remedy[300];

    fault_path_fail("/fx", -ENOENT);
    set(NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_FALLS_BACK, "no pressure can be seen",
           "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&psi=1 /' /etc/default/grub && update-grub && reboot");
    set("SPILLWAY_STRICT=on", NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_BROKEN, "no pressure can be seen", NULL);
    set("SPILLWAY_PRESSURE=off", NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_OK, "SPILLWAY_PRESSURE leaves it out", "");
    set("SPILLWAY_POLICIES=threshold", NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_OK, "SPILLWAY_POLICIES leaves it out", "");
    put("/proc/pressure/memory", text);
    set(NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_FALLS_BACK, "/fx/proc/pressure/memory",
           "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified");
    put_group("max\n", "0\n"); /* nothing else is there then */
    put("/proc/pressure/memory", text);
    expect(look_below("/fx", "pressure"), DOCTOR_FALLS_BACK, "/fx/proc/pressure/memory",
           "echo 1 >/fx/sys/fs/cgroup/a/cgroup.pressure");
    put("/proc/self/cgroup", "0::/a\\x2db\n"); /* as service managers name them */
    expect(look_below("/fx", "pressure"), DOCTOR_FALLS_BACK, "/fx/proc/pressure/memory",
           "echo 1 >'/fx/sys/fs/cgroup/a\\x2db'/cgroup.pressure");
    put("/proc/self/cgroup", "0::/\n");
    snprintf(remedy, sizeof(remedy),
             "mkdir -p %s && chown %lu %s/memory.pressure && echo %ld >%s/cgroup.procs", group,
             (unsigned long)geteuid(), group, (long)getppid(), group);
    expect(look_below("/fx", "pressure"), DOCTOR_FALLS_BACK, "/fx/proc/pressure/memory", remedy);
    set("SPILLWAY_PRESSURE=/fx/no/such/file", NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_FALLS_BACK, "/fx/proc/pressure/memory", NULL);
    set("MEMORY_PRESSURE_WATCH=/fx/no/such/file", NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_FALLS_BACK, "/fx/proc/pressure/memory",
           "unset MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE");
    set("MEMORY_PRESSURE_WATCH=/dev/null", NULL);
    expect(look_below("/fx", "pressure"), DOCTOR_OK, "turned off by MEMORY_PRESSURE_WATCH", "");
    end();
}

/* ---- nodes and pages ---- */

static void put_nodes(const char *allowed)
{
    char status[200];

    fault_path_fail("/fx", -ENOENT);
    put("/sys/devices/system/node/online", "0-1,3\n");
    put("/sys/devices/system/node/has_memory", "0-1,3\n");
    put("/sys/devices/system/node/has_cpu", "0\n");
    put("/sys/devices/system/node/node0/distance", "10 21 31\n");
    snprintf(status, sizeof(status), "Name:\tx\nMems_allowed:\tf\nMems_allowed_list:\t%s\n",
             allowed);
    put("/proc/self/status", status);
}

Test(doctor, nodes)
{
    set(NULL);
    if (look("nodes")->level == DOCTOR_OK && strstr(doctor.findings[0].found, "no NUMA calls")) {
        end();
        test_skip("built without libnuma");
    }
    put_nodes("0-1,3");
    fault_fail(FAULT_SET_POLICY, 0, FAULT_ALWAYS, 0);
    expect(look_below("/fx", "nodes"), DOCTOR_OK, "3 nodes with memory, this process may use 0-1,3",
           "");
    set("SPILLWAY_NODES=1", NULL);
    expect(look_below("/fx", "nodes"), DOCTOR_OK, "SPILLWAY_NODES=1", "");
    set("SPILLWAY_NODES=7", NULL);
    expect(look_below("/fx", "nodes"), DOCTOR_FALLS_BACK, "not all of them are there",
           "export SPILLWAY_NODES=0-1,3");
    put_nodes("0");
    set("SPILLWAY_NODES=1", "SPILLWAY_STRICT=on", NULL);
    expect(look_below("/fx", "nodes"), DOCTOR_BROKEN, "this process may use 0",
           "export SPILLWAY_NODES=0");
    put_nodes("0-1,3");
    fault_heal(FAULT_SET_POLICY);
    fault_fail(FAULT_SET_POLICY, 0, FAULT_ALWAYS, -EPERM);
    set("SPILLWAY_NODES=1", NULL);
    expect(look_below("/fx", "nodes"), DOCTOR_FALLS_BACK, "Operation not permitted",
           "docker run --cap-add SYS_NICE");
    set(NULL);
    expect(look_below("/fx", "nodes"), DOCTOR_OK, "mbind(2) is refused", "");
    end();
}

Test(doctor, huge_pages)
{
    static const char reserve[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/";
    char path[128];

    fault_path_fail("/fx", -ENOENT);
    put("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 8388608 kB\n");
    set("SPILLWAY_HUGE_PAGES=on", "SPILLWAY_MEMORY_TIER=1GiB", NULL);
    expect(look_below("/fx", "huge-pages"), DOCTOR_FALLS_BACK, "0 reserved huge pages",
           "sysctl -w vm.nr_hugepages=512");
    snprintf(path, sizeof(path), "%snr_hugepages", reserve);
    put(path, "600\n");
    snprintf(path, sizeof(path), "%sfree_hugepages", reserve);
    put(path, "100\n");
    expect(look_below("/fx", "huge-pages"), DOCTOR_FALLS_BACK, "100 reserved huge pages",
           "sysctl -w vm.nr_hugepages=1012");
    put(path, "512\n");
    expect(look_below("/fx", "huge-pages"), DOCTOR_OK, "512 of 600", "");
    set("SPILLWAY_HUGE_PAGES=transparent", NULL);
    put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
        "always within_size advise [never] deny force\n");
    expect(look_below("/fx", "huge-pages"), DOCTOR_FALLS_BACK, "shmem_enabled is never",
           "echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
        "always within_size [advise] never deny force\n");
    expect(look_below("/fx", "huge-pages"), DOCTOR_OK, "shmem_enabled is advise", "");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    expect(look_below("/fx", "thp"), DOCTOR_FALLS_BACK, "is never",
           "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    expect(look_below("/fx", "thp"), DOCTOR_OK, "is madvise", "");
    put("/sys/kernel/mm/transparent_hugepage/enabled", NULL);
    expect(look_below("/fx", "thp"), DOCTOR_FALLS_BACK, "not there", "");
    end();
}

/* ---- scratch directories ---- */

static char dir[DIRS_PATH];

static void set_dir(const char *more)
{
    char text[VARIABLE_BYTES];

    snprintf(text, sizeof(text), "SPILLWAY_DIRS=%s%s", dir, more);
    set(text, "SPILLWAY_DISK_LIMIT=1MiB", NULL);
}

/* The finding with this level and text. */
static const struct doctor_finding *finding_of(enum doctor_level level, const char *found)
{
    for (unsigned i = 0; i < doctor.count; i++) {
        if (doctor.findings[i].level == level && strstr(doctor.findings[i].found, found) != NULL)
            return &doctor.findings[i];
    }
    return NULL;
}

Test(doctor, scratch_directories)
{
    const struct doctor_finding *finding;
    struct os_fs fs = {.type = 0xef53, .free_bytes = 64 << 20, .total_bytes = 128 << 20};

    if (!dirs_make(dir))
        test_skip("no directory on a disk");
    set_dir("");
    look("scratch");
    cr_assert_not_null(finding_of(DOCTOR_OK, dir));
    cr_assert_not_null(finding_of(DOCTOR_OK, "writes "));
    cr_assert_null(finding_of(DOCTOR_OK, "not measured"));
    cr_assert_null(finding_of(DOCTOR_BROKEN, ""));

    set_dir("/missing");
    look("scratch");
    finding = finding_of(DOCTOR_FALLS_BACK, "does not exist");
    cr_assert_not_null(finding);
    cr_assert(strncmp(finding->remedy, "mkdir -p -m 700 ", 16) == 0, "%s", finding->remedy);
    cr_assert_not_null(finding_of(DOCTOR_BROKEN, "no scratch directory can be used"));

    set_dir("");
    fs.type = 0x01021994;
    fault_fs(&fs);
    look("scratch");
    finding = finding_of(DOCTOR_FALLS_BACK, "tmpfs");
    cr_assert_not_null(finding);
    fault_fs(NULL);

    fault_fail_when(FAULT_OPEN, O_DIRECT, 0, FAULT_ALWAYS, -EINVAL);
    look("scratch");
    finding = finding_of(DOCTOR_FALLS_BACK, "takes no direct I/O");
    cr_assert_not_null(finding);
    cr_assert(strstr(finding->remedy, "export SPILLWAY_DIRS=") != NULL);
    fault_clear();

    fault_fail(FAULT_FALLOCATE, 0, FAULT_ALWAYS, -EOPNOTSUPP);
    look("scratch");
    cr_assert_not_null(finding_of(DOCTOR_FALLS_BACK, "has no fallocate"));
    fault_clear();

    fault_fail(FAULT_OPEN, 0, FAULT_ALWAYS, -EROFS);
    look("scratch");
    finding = finding_of(DOCTOR_FALLS_BACK, "read-only");
    cr_assert_not_null(finding);
    cr_assert(strncmp(finding->remedy, "mount -o remount,rw ", 20) == 0);
    cr_assert(finding->as_root);
    fault_clear();

    fs = (struct os_fs){.type = 0xef53, .free_bytes = 4096, .total_bytes = 128 << 20};
    fault_fs(&fs);
    look("scratch");
    cr_assert_not_null(finding_of(DOCTOR_BROKEN, "4.00 KiB free"));
    set("SPILLWAY_TIERS=memory", NULL);
    expect(look("scratch"), DOCTOR_OK, "SPILLWAY_TIERS", "");
    end();
    cr_assert(dirs_remove(dir), "something was left behind");
}

static void half_a_second_passes(void *context)
{
    (void)context;
    fault_clock_advance(UINT64_C(500000000));
}

Test(doctor, a_slow_directory)
{
    const struct doctor_finding *finding;

    if (!dirs_make(dir))
        test_skip("no directory on a disk");
    set_dir("");
    fault_clock_set(1);
    fault_hook(FAULT_PWRITE, half_a_second_passes, NULL);
    fault_hook(FAULT_PREAD, half_a_second_passes, NULL);
    look("scratch");
    finding = finding_of(DOCTOR_FALLS_BACK, "is slow");
    cr_assert_not_null(finding);
    cr_assert_str_eq(finding->remedy,
                     "export SPILLWAY_POLICIES=threshold,prefetch,pressure,compress");
    end();
    cr_assert(dirs_remove(dir), "something was left behind");
}

Test(doctor, the_default_directory_is_the_first_that_works)
{
    char text[VARIABLE_BYTES];

    if (!dirs_make(dir))
        test_skip("no directory on a disk");
    snprintf(text, sizeof(text), "TMPDIR=%s", dir);
    set("SLURM_TMPDIR=/no/such/directory", text, "SPILLWAY_DISK_LIMIT=1MiB", NULL);
    look("scratch");
    cr_assert_not_null(finding_of(DOCTOR_FALLS_BACK, "/no/such/directory does not exist"));
    cr_assert_not_null(finding_of(DOCTOR_OK, dir));
    cr_assert_null(finding_of(DOCTOR_OK, "/var/tmp:"), "not looked at");
    end();
    cr_assert(dirs_remove(dir));
}
