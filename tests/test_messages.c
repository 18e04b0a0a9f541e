/* SPDX-License-Identifier: MIT */
/* What a pool says when it opens: the setting at fault, and what would mend it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "pool_tools.h"

/* Opens a pool, expecting `want` of it, and closes it. */
static void open_expecting(const struct setting *settings, int want)
{
    struct bed bed;

    log_forget();
    cr_assert_eq(bed_try(&bed, settings, 1), want);
    if (want == 0)
        bed_close(&bed);
    else
        bed_remove(&bed);
    fault_clear();
}

static void expect_line(const char *text, unsigned times)
{
    cr_assert_eq(log_lines_with(text), times, "%u lines with '%s'", log_lines_with(text), text);
}

Test(messages, ring_refused_names_what_to_raise)
{
    static const struct {
        int err;
        const char *hint;
    } cases[] = {
        {-EMFILE, "(EMFILE): threads do the I/O instead; see RLIMIT_NOFILE"},
        {-ENFILE, "(ENFILE): threads do the I/O instead; see fs.file-max"},
        {-ENOMEM, "see RLIMIT_MEMLOCK"},
        {-EAGAIN, "see RLIMIT_NPROC, pids.max"},
        {-EPERM, "see kernel.io_uring_disabled and seccomp"},
        {-ENOSYS, "see kernel.io_uring_disabled and seccomp"},
    };
    struct setting settings[] = {{"memory", "1MiB"}, {NULL, NULL}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fault_fail(FAULT_RING_ALLOWED, 0, FAULT_ALWAYS, cases[i].err);
        open_expecting(settings, 0);
        expect_line(cases[i].hint, 1);
    }
}

Test(messages, no_thread_at_all)
{
    struct setting settings[] = {{"memory", "1MiB"}, {"engine", "threads"}, {NULL, NULL}};
    struct setting strict[] = {
        {"memory", "1MiB"}, {"engine", "threads"}, {"strict", "on"}, {NULL, NULL}};

    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    open_expecting(settings, 0);
    expect_line("no I/O engine can be started (EAGAIN): nothing is spilled; see RLIMIT_NPROC", 1);
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    open_expecting(strict, -EOPNOTSUPP);
    expect_line("no I/O engine can be started (EAGAIN); see RLIMIT_NPROC", 1);
}

Test(messages, fewer_threads)
{
    struct setting settings[] = {{"memory", "1MiB"}, {"engine", "threads"}, {NULL, NULL}};

    fault_fail(FAULT_THREAD, 1, FAULT_ALWAYS, -EAGAIN);
    open_expecting(settings, 0);
    expect_line("I/O runs on 1 of 6 threads: Resource temporarily unavailable", 1);
}

/* Settings of a tier that there is none of do nothing, which nobody who gave them expects. */
Test(messages, settings_without_a_memory_tier)
{
    static const struct setting cases[] = {
        {"mlock", "on"}, {"seal", "strict"}, {"nodes", "far"}, {"huge_pages", "on"}};
    char line[100];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct setting off[] = {{"memory", "1MiB"}, cases[i], {NULL, NULL}};
        struct setting strict[] = {{"strict", "on"}, {"memory", "1MiB"}, cases[i], {NULL, NULL}};

        open_expecting(off, 0);
        (void)snprintf(line, sizeof(line), "without effect: %s; there is no memory tier",
                       cases[i].name);
        expect_line(line, 1);
        expect_line("SPILLWAY_MEMORY_TIER", 1);
        open_expecting(strict, -EINVAL);
        expect_line(line, 1);
    }
}

Test(messages, memory_tier_left_out)
{
    struct setting settings[] = {{"memory", "1MiB"},
                                 {"tiers", "disk"},
                                 {"memory_tier", "8MiB"},
                                 {"mlock", "on"},
                                 {NULL, NULL}};
    struct setting plain[] = {{"memory", "1MiB"}, {"tiers", "disk"}, {NULL, NULL}};
    struct setting used[] = {
        {"memory", "1MiB"}, {"memory_tier", "8MiB"}, {"seal", "strict"}, {NULL, NULL}};

    open_expecting(settings, 0);
    expect_line("without effect: memory_tier, mlock; there is no memory tier (SPILLWAY_TIERS", 1);
    open_expecting(plain, 0);
    expect_line("without effect", 0);
    open_expecting(used, 0);
    expect_line("without effect", 0);
}
