/* SPDX-License-Identifier: MIT */
/* doctor: what the kernel allows a pool, found by doing it. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../lib/alloc.h"
#include "../../lib/options.h"
#include "../../pool/engine.h"
#include "../../pool/page.h"
#include "../../pool/segment.h"
#include "doctor.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define ALLOW_IN_CONTAINER "docker run --security-opt seccomp=unconfined"
#define NEWER_KERNEL       "apt-get install linux-image-$(dpkg --print-architecture) && reboot"

enum { TRIAL_PAGES = 16, NAME_ROOM = 128 };

/* ---- settings ---- */

/* What "SPILLWAY_X is not a setting; the nearest is SPILLWAY_Y" names last. */
static const char *nearest_in(const char *message)
{
    const char *at = strstr(message, "the nearest is ");

    return at != NULL ? at + strlen("the nearest is ") : NULL;
}

static void judge_variable(struct doctor *doctor, spw_options *options, char *entry, unsigned *ours)
{
    char *const environment[] = {entry, NULL};
    char name[NAME_ROOM], quoted[DOCTOR_TEXT];
    const char *message, *nearest;
    struct doctor_finding *finding;
    int err;

    (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(entry, "="), entry);
    err = options_load_from(options, environment);
    message = spw_options_message(options);
    nearest = nearest_in(message);
    *ours += 1;
    if (message[0] == '\0')
        return;
    if (err && options_find(name) != NULL) {
        finding = doctor_add(doctor, DOCTOR_BROKEN, "%s", message);
        doctor_happens(finding, "a service that takes errors seriously does not start, any other "
                                "goes on with the default");
        doctor_mend(finding, "unset %s", name);
        return;
    }
    finding = doctor_add(doctor, doctor->settings.strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK, "%s",
                         message);
    doctor_happens(finding, doctor->settings.strict ? "in strict mode no pool is opened"
                                                    : "it does nothing");
    doctor_quoted(name, quoted);
    if (nearest != NULL && strcmp(name, quoted) == 0)
        doctor_mend(finding, "export %s=\"$%s\"; unset %s", nearest, name, name);
    else
        doctor_mend(finding, "unset %s", quoted);
}

void doctor_check_settings(struct doctor *doctor)
{
    spw_options *options;
    unsigned ours = 0, before = doctor->count;

    for (char *const *at = doctor->environment; *at != NULL; at++) {
        if (strncmp(*at, "SPILLWAY_", strlen("SPILLWAY_")) != 0)
            continue;
        if (options_open(allocator_or_default(NULL), &options) != 0)
            return;
        judge_variable(doctor, options, *at, &ours);
        spw_options_close(options);
    }
    if (doctor->count == before)
        (void)doctor_add(doctor, DOCTOR_OK, "%u SPILLWAY_* variable%s set, none is refused", ours,
                         ours == 1 ? "" : "s");
}

/* ---- engines ---- */

static int engine_try(const struct doctor *doctor, enum engine_kind kind)
{
    struct log silent = {.level = SPILLWAY_LOG_OFF};
    const struct engine_config config = {
        .os = doctor->os,
        .allocator = allocator_or_default(NULL),
        .log = &silent,
        .kind = kind,
        .depth = 4,
    };
    struct engine *engine;
    int why, err;

    log_init(&silent, doctor->os, NULL, NULL, SPILLWAY_LOG_OFF);
    err = engine_open(&config, &engine, &why);
    if (err == 0)
        engine_close(engine);
    return err;
}

static void mend_io_uring(struct doctor *doctor, struct doctor_finding *finding, int err)
{
    uint64_t disabled = doctor_number(doctor, "/proc/sys/kernel/io_uring_disabled", 0);
    bool known = doctor_number(doctor, "/proc/sys/kernel/io_uring_disabled", UINT64_MAX) < 3;

    if (err == -ENOMEM)
        doctor_mend(finding, "ulimit -l unlimited");
    else if (err == -EMFILE)
        doctor_mend(finding, "ulimit -n 65536");
    else if (err == -EAGAIN)
        doctor_mend(finding, "ulimit -u unlimited");
    else if (!SPILLWAY_HAVE_URING)
        doctor_mend(finding, "make WITH_URING=1");
    else if (disabled > 0)
        doctor_mend_as_root(finding, "sysctl -w kernel.io_uring_disabled=0");
    else if (known || doctor_filtered(doctor) || err == -EPERM)
        doctor_mend(finding, ALLOW_IN_CONTAINER);
    else
        doctor_mend_as_root(finding, NEWER_KERNEL);
}

static const char *io_uring_reason(struct doctor *doctor, int err)
{
    if (err == -ENOMEM)
        return "RLIMIT_MEMLOCK leaves no room for a ring";
    if (err == -EMFILE)
        return "RLIMIT_NOFILE";
    if (err == -EAGAIN)
        return "no thread can be started";
    if (!SPILLWAY_HAVE_URING)
        return "this build has no liburing";
    if (doctor_number(doctor, "/proc/sys/kernel/io_uring_disabled", 0) > 0)
        return "kernel.io_uring_disabled";
    if (doctor_filtered(doctor))
        return "a seccomp filter";
    return err == -ENOSYS ? "CONFIG_IO_URING, or a seccomp filter" : "seccomp or another policy";
}

void doctor_check_io_uring(struct doctor *doctor)
{
    const struct settings *settings = &doctor->settings;
    struct doctor_finding *finding;
    int err = engine_try(doctor, ENGINE_IO_URING);

    if (err == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "a ring can be made%s",
                         settings->engine == ENGINE_THREADS ? "; SPILLWAY_ENGINE=threads does "
                                                              "without"
                                                            : "");
        return;
    }
    if (settings->engine == ENGINE_THREADS) {
        (void)doctor_add(doctor, DOCTOR_OK,
                         "no ring (%s: %s); SPILLWAY_ENGINE=threads does "
                         "without",
                         strerrorname_np(-err), io_uring_reason(doctor, err));
        return;
    }
    finding = doctor_add(doctor, settings->strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                         "no ring can be made (%s): %s", strerrorname_np(-err),
                         io_uring_reason(doctor, err));
    doctor_happens(finding, settings->strict ? "in strict mode no pool is opened"
                                             : "threads do the I/O, at most four requests at a "
                                               "time");
    mend_io_uring(doctor, finding, err);
}

void doctor_check_threads(struct doctor *doctor)
{
    struct doctor_finding *finding;
    int err = engine_try(doctor, ENGINE_THREADS);

    if (err == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "the thread engine's can be started");
        return;
    }
    finding = doctor_add(doctor, DOCTOR_BROKEN, "no threads for I/O: %s", strerrordesc_np(-err));
    doctor_happens(finding, "without io_uring nothing is spilled");
    if (err == -ENOMEM)
        doctor_mend(finding, "ulimit -v unlimited");
    else
        doctor_mend(finding, "ulimit -u unlimited");
}

/* ---- memory ---- */

static void mend_segment(struct doctor *doctor, struct doctor_finding *finding,
                         enum segment_step step, int err)
{
    if (err == -EMFILE)
        doctor_mend(finding, "ulimit -n 65536");
    else if (err == -EFBIG)
        doctor_mend(finding, "ulimit -f unlimited");
    else if (err == -ENOMEM || err == -ENOSPC)
        doctor_mend_as_root(finding, "sysctl -w vm.overcommit_memory=0");
    else if (doctor_filtered(doctor) || err == -EPERM || err == -EACCES)
        doctor_mend(finding, ALLOW_IN_CONTAINER);
    else if (step == SEGMENT_STEP_REOPEN)
        doctor_mend_as_root(finding, "mount -t proc proc /proc");
    else
        doctor_mend_as_root(finding, NEWER_KERNEL);
}

static int seal_try(const struct doctor *doctor, bool strict, enum segment_step *step)
{
    static const unsigned char byte = 1;
    const struct segment_source source = {.len = 1, .whole = &byte};
    const struct segment_plan plan = {.os = doctor->os,
                                      .page_bytes = (size_t)sysconf(_SC_PAGESIZE)};
    struct segment segment = {0};
    int err;

    *step = SEGMENT_STEP_NONE;
    err = strict ? segment_open_strict(&plan, plan.page_bytes, &source, &segment, step)
                 : segment_open_recycle(&plan, TRIAL_PAGES * plan.page_bytes, &segment, step);
    if (err == 0)
        segment_close(doctor->os, &segment);
    return err;
}

void doctor_check_seals(struct doctor *doctor)
{
    const struct settings *settings = &doctor->settings;
    bool wanted = settings->tier_memory && settings->memory_tier.bytes != 0;
    struct doctor_finding *finding;
    enum segment_step step;
    int err;

    for (int strict = 0; strict <= 1; strict++) {
        const char *kind = strict ? "strict" : "recycle";

        err = seal_try(doctor, strict, &step);
        if (err == 0) {
            (void)doctor_add(doctor, DOCTOR_OK, "segments sealed as SPILLWAY_SEAL=%s can be made",
                             kind);
            continue;
        }
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "no segment for SPILLWAY_SEAL=%s: %s: %s",
                             kind, segment_step_name(step), strerrordesc_np(-err));
        doctor_happens(finding, wanted ? "the memory tier is off"
                                       : "the memory tier, which is not asked for, could not be "
                                         "used");
        mend_segment(doctor, finding, step, err);
    }
}

void doctor_check_stats_page(struct doctor *doctor)
{
    const struct page_config config = {.os = doctor->os,
                                       .allocator = allocator_or_default(NULL),
                                       .shared = doctor->settings.stats_page,
                                       .root = doctor->root,
                                       .name = "doctor"};
    struct doctor_finding *finding;
    struct page_owner owner;
    int why, err = page_open(&config, &owner, &why);

    if (err == 0)
        page_close(&config, &owner);
    if (!config.shared) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "SPILLWAY_STATS_PAGE=off");
        doctor_happens(finding, "poolstat does not see pools that are opened with it");
        doctor_mend(finding, "unset SPILLWAY_STATS_PAGE");
        return;
    }
    if (err == 0 && why == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "can be made and sealed");
        return;
    }
    err = why != 0 ? why : err;
    finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "cannot be made: %s", strerrordesc_np(-err));
    doctor_happens(finding, "a pool counts in private memory, and poolstat does not see it");
    mend_segment(doctor, finding, SEGMENT_STEP_MEMFD, err);
}

static int advise_try(const struct doctor *doctor, int advice)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *page;
    int err =
        doctor->os->map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &page);

    if (err)
        return err;
    err = doctor->os->advise(page, bytes, advice);
    (void)doctor->os->unmap(page, bytes);
    return err;
}

void doctor_check_fork(struct doctor *doctor)
{
    struct doctor_finding *finding;
    int err = advise_try(doctor, MADV_WIPEONFORK);

    if (err == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "a page can be wiped in forked children");
        return;
    }
    finding = doctor_add(doctor, DOCTOR_BROKEN, "MADV_WIPEONFORK: %s", strerrordesc_np(-err));
    doctor_happens(finding, "spw_pool_open() fails with -EINVAL");
    doctor_mend_as_root(finding, NEWER_KERNEL);
}

void doctor_check_populate(struct doctor *doctor)
{
    struct doctor_finding *finding;
    int write = advise_try(doctor, MADV_POPULATE_WRITE);
    int read = advise_try(doctor, MADV_POPULATE_READ);

    if (write == 0 && read == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "pages can be made before they are used");
        return;
    }
    finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "%s: %s",
                         write ? "MADV_POPULATE_WRITE" : "MADV_POPULATE_READ",
                         strerrordesc_np(write ? -write : -read));
    doctor_happens(finding, write ? "segments are filled in by fallocate(2)"
                                  : "readers map swapped segments by their faults");
    doctor_mend_as_root(finding, NEWER_KERNEL);
}
