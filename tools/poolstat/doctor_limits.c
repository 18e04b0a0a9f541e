/* SPDX-License-Identifier: MIT */
/* doctor: limits of the process, of its control groups and of the host. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../pool/cgroup.h"
#include "../common/text.h"
#include "doctor.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

#define UNLIMITED UINT64_MAX
#define MIB       (UINT64_C(1) << 20)
/* What rings need of RLIMIT_MEMLOCK where there are a few pools, see Kbuild-notes.md. */
#define RINGS_BYTES (UINT64_C(64) << 10)

enum {
    CAP_IPC_LOCK_BIT = 14,
    DESCRIPTORS_LEAST = 64, /* a program's own, a scratch directory, a ring, a few readers */
    DESCRIPTORS_USUAL = 1024,
    DESCRIPTOR_SHARE = 4, /* strict segments take at most this part of the limit */
    MAPS_USUAL = 65530,
    STATUS_ROOM = 8192,
};

static uint64_t limit_of(const struct doctor *doctor, int resource)
{
    uint64_t soft;

    return doctor->os->limit(resource, &soft) == 0 ? soft : UNLIMITED;
}

static const char *size_or_unlimited(char out[TEXT_NUMBER_BYTES], uint64_t bytes)
{
    if (bytes == UNLIMITED)
        (void)snprintf(out, TEXT_NUMBER_BYTES, "unlimited");
    else
        text_size(out, bytes);
    return out;
}

static bool may_lock_anything(const struct doctor *doctor)
{
    char text[STATUS_ROOM], path[1024];
    const char *line;

    (void)snprintf(path, sizeof(path), "%s/proc/self/status", doctor->root);
    if (os_read_file(doctor->os, path, text, sizeof(text)) <= 0)
        return false;
    line = strstr(text, "\nCapEff:");
    return line != NULL &&
           (strtoull(line + strlen("\nCapEff:"), NULL, 16) >> CAP_IPC_LOCK_BIT & 1) != 0;
}

static uint64_t capacity_of(const struct doctor *doctor)
{
    const struct settings *settings = &doctor->settings;

    return settings->tier_memory
               ? amount_of(settings->memory_tier, host_memory(doctor->os, doctor->root, NULL), 0)
               : 0;
}

/* ---- memlock ---- */

/* As the pool asks: a map without pages. */
static int lock_try(const struct doctor *doctor, uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    void *start;
    int err;

    bytes = (bytes + page - 1) / page * page;
    err = doctor->os->map(bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
                          &start);
    if (err)
        return err;
    err = doctor->os->lock(start, bytes, MLOCK_ONFAULT);
    (void)doctor->os->unmap(start, bytes);
    return err;
}

void doctor_check_memlock(struct doctor *doctor)
{
    uint64_t limit = limit_of(doctor, RLIMIT_MEMLOCK), capacity = capacity_of(doctor);
    bool any = may_lock_anything(doctor), wanted = doctor->settings.mlock && capacity > 0;
    char shown[TEXT_NUMBER_BYTES], want[TEXT_NUMBER_BYTES];
    struct doctor_finding *finding;

    size_or_unlimited(shown, limit);
    if (wanted && lock_try(doctor, capacity) != 0) {
        finding = doctor_add(doctor, doctor->settings.strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                             "RLIMIT_MEMLOCK is %s, and the memory tier of %s is to be locked",
                             shown, text_size(want, capacity));
        doctor_happens(finding, doctor->settings.strict ? "in strict mode no pool is opened"
                                                        : "segments beyond it are not locked");
        doctor_mend(finding, "ulimit -l %" PRIu64, capacity / 1024 + RINGS_BYTES / 1024 + 1);
        return;
    }
    if (!any && limit < RINGS_BYTES) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK,
                             "RLIMIT_MEMLOCK is %s, and this user lacks CAP_IPC_LOCK", shown);
        doctor_happens(finding, "a ring of io_uring needs 8 KiB of it, and may be refused");
        doctor_mend(finding, "ulimit -l %" PRIu64, RINGS_BYTES / 1024);
        return;
    }
    (void)doctor_add(doctor, DOCTOR_OK, "RLIMIT_MEMLOCK is %s%s%s", shown,
                     any ? ", which does not bind this user (CAP_IPC_LOCK)" : "",
                     wanted ? "; the memory tier can be locked" : "");
}

/* ---- descriptors, files, maps ---- */

void doctor_check_descriptors(struct doctor *doctor)
{
    uint64_t limit = limit_of(doctor, RLIMIT_NOFILE), keep = limit / DESCRIPTOR_SHARE;
    uint64_t segments = capacity_of(doctor) / (2 * MIB);
    struct doctor_finding *finding;

    if (doctor->settings.seal == SEAL_STRICT && limit != UNLIMITED && segments > keep) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK,
                             "RLIMIT_NOFILE is %" PRIu64 "; strict segments may be %" PRIu64
                             ", and keep a descriptor each",
                             limit, segments);
        doctor_happens(finding,
                       "all but %" PRIu64 " of them keep none, and cannot be handed to "
                       "another process",
                       keep);
        uint64_t wanted = segments * DESCRIPTOR_SHARE;
        doctor_mend(finding, "ulimit -n %" PRIu64,
                    wanted > DESCRIPTORS_USUAL ? wanted : DESCRIPTORS_USUAL);
        return;
    }
    if (limit >= DESCRIPTORS_USUAL) {
        (void)doctor_add(doctor, DOCTOR_OK, "RLIMIT_NOFILE is %" PRIu64, limit);
        return;
    }
    finding = doctor_add(doctor, limit < DESCRIPTORS_LEAST ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                         "RLIMIT_NOFILE is %" PRIu64, limit);
    doctor_happens(finding, limit < DESCRIPTORS_LEAST
                                ? "a pool needs about 8, and a service more: parts of it are off "
                                  "where they cannot be had"
                                : "readers that ask for an event descriptor may be refused one");
    doctor_mend(finding, "ulimit -n 65536");
}

void doctor_check_file_size(struct doctor *doctor)
{
    uint64_t limit = limit_of(doctor, RLIMIT_FSIZE);
    struct doctor_finding *finding;
    char shown[TEXT_NUMBER_BYTES];

    if (limit == UNLIMITED || !doctor->settings.tier_disk) {
        (void)doctor_add(doctor, DOCTOR_OK, "RLIMIT_FSIZE is %s", size_or_unlimited(shown, limit));
        return;
    }
    finding = doctor_add(doctor, limit < MIB ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                         "RLIMIT_FSIZE is %s", text_size(shown, limit));
    doctor_happens(finding, "no scratch file grows beyond it: what does not fit stays in memory");
    doctor_mend(finding, "ulimit -f unlimited");
}

void doctor_check_maps(struct doctor *doctor)
{
    static const char path[] = "/proc/sys/vm/max_map_count";
    uint64_t maps = doctor_number(doctor, path, UNLIMITED);
    struct doctor_finding *finding;

    if (maps == UNLIMITED) {
        (void)doctor_add(doctor, DOCTOR_OK, "vm.max_map_count cannot be read; %d is assumed",
                         MAPS_USUAL);
        return;
    }
    if (maps >= MAPS_USUAL) {
        (void)doctor_add(doctor, DOCTOR_OK, "vm.max_map_count is %" PRIu64, maps);
        return;
    }
    finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "vm.max_map_count is %" PRIu64, maps);
    doctor_happens(finding, "segments of the memory tier become larger, so that their maps stay "
                            "below half of it; the service has the other half");
    doctor_mend_as_root(finding, "sysctl -w vm.max_map_count=%d", MAPS_USUAL);
}

/* ---- cgroups ---- */

/* The group with the least room, and the file that says its limit. */
static const char *tightest_file(const struct doctor *doctor, const struct cgroup *cgroup,
                                 uint64_t limit)
{
    for (unsigned i = 0; i < cgroup->count; i++) {
        const struct cgroup one = {.levels = {cgroup->levels[i]}, .count = 1};

        if (cgroup_limit(doctor->os, &one) == limit)
            return cgroup->levels[i].limit;
    }
    return "";
}

static void tell_no_limit(struct doctor *doctor, const struct cgroup *cgroup, uint64_t tightest)
{
    char shown[TEXT_NUMBER_BYTES];

    (void)doctor_add(doctor, DOCTOR_OK,
                     "%s limits this process; the default budget is half of %s (RLIMIT_AS, "
                     "RLIMIT_DATA or the host's memory)",
                     cgroup->count > 0 ? "no memory cgroup" : "no memory cgroup is seen that",
                     size_or_unlimited(shown, tightest));
}

static void mend_limit(struct doctor_finding *finding, const char *file, uint64_t need)
{
    uint64_t mib = (need + MIB - 1) / MIB;
    char quoted[DOCTOR_TEXT];

    doctor_mend_as_root(finding, "echo %" PRIu64 "M >%s", mib, doctor_quoted(file, quoted));
}

static void judge_group(struct doctor *doctor, const struct cgroup *cgroup, uint64_t limit)
{
    uint64_t tightest = memory_limit(doctor->os, cgroup, doctor->root), room = 0;
    uint64_t budget = amount_of(doctor->settings.memory, tightest, tightest / 2);
    uint64_t most = tightest / 4 * 3, want = budget + capacity_of(doctor);
    const char *file = tightest_file(doctor, cgroup, limit);
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES], c[TEXT_NUMBER_BYTES];
    struct doctor_finding *finding;
    int err = cgroup_headroom(doctor->os, cgroup, &room);

    if (err) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "the use of %s cannot be read: %s", file,
                             strerrordesc_np(-err));
        doctor_happens(finding, "no room is assumed: the memory tier makes no segments");
        doctor_mend(finding, "ulimit -n 65536");
    } else if (budget > most) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "limit %s (%s), and a budget of %s",
                             text_size(a, tightest), file, text_size(b, budget));
        doctor_happens(finding, "the budget is lowered to %s, three quarters of the limit",
                       text_size(c, most));
        mend_limit(finding, file, budget / 3 * 4 + MIB);
    } else if (want > room) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK,
                             "limit %s (%s), room for %s, and budget and memory tier are %s",
                             text_size(a, limit), file, text_size(b, room), text_size(c, want));
        doctor_happens(finding, "what others in the group use is not there for the service: the "
                                "memory tier stays below its capacity, and the kernel reclaims");
        mend_limit(finding, file, limit + want - room);
    } else {
        (void)doctor_add(doctor, DOCTOR_OK, "limit %s (%s), room for %s; the budget is %s",
                         text_size(a, limit), file, text_size(b, room), text_size(c, budget));
    }
}

void doctor_check_cgroup(struct doctor *doctor)
{
    struct cgroup *cgroup = calloc(1, sizeof(*cgroup));
    uint64_t limit;

    if (cgroup == NULL)
        return;
    cgroup_find(doctor->os, doctor->root, cgroup);
    limit = cgroup_limit(doctor->os, cgroup);
    if (limit == CGROUP_UNLIMITED)
        tell_no_limit(doctor, cgroup, memory_limit(doctor->os, cgroup, doctor->root));
    else
        judge_group(doctor, cgroup, limit);
    free(cgroup);
}

/* ---- swap ---- */

void doctor_check_swap(struct doctor *doctor)
{
    uint64_t swap = host_swap(doctor->os, doctor->root);
    bool wanted = capacity_of(doctor) > 0 && !doctor->settings.mlock;
    char shown[TEXT_NUMBER_BYTES];
    struct doctor_finding *finding;

    if (swap == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "there is none: nothing can be swapped out");
        return;
    }
    text_size(shown, swap);
    if (!wanted) {
        (void)doctor_add(doctor, DOCTOR_OK, "%s; %s", shown,
                         doctor->settings.mlock ? "segments are locked"
                                                : "no memory tier is asked for");
        return;
    }
    finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "%s, and segments are not locked", shown);
    doctor_happens(finding, "segments may be swapped out; they are read back ahead of the reader");
    doctor_mend(finding, "export SPILLWAY_MLOCK=on");
}
