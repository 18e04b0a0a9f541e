/* SPDX-License-Identifier: MIT */
/* doctor: memory pressure, NUMA nodes, huge pages, and who cannot be seen. */
#define _GNU_SOURCE 1

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../lib/cgroup_path.h"
#include "../../lib/text.h"
#include "../../policies/pressure_source.h"
#include "../../pool/cgroup.h"
#include "../../pool/node.h"
#include "../../pool/segment.h"
#include "doctor.h"
#include "find.h"

enum { LIST_ROOM = 256, NAMES_ROOM = 160, NAMES_MAX = 4, PRESSURE_ROOM = 512 };

#define THP             "/sys/kernel/mm/transparent_hugepage/"
#define NS_PER_S        UINT64_C(1000000000)
#define WINDOW_UNIT_NS  (2 * NS_PER_S)
#define HUGE_PAGES_BACK (UINT64_C(1) << 30) /* asked to be reserved where no capacity is set */

/* ---- pressure ---- */

/* The file of the process's own group is not what is used. */
static void mend_group(struct doctor *doctor, struct doctor_finding *finding)
{
    struct cgroup_path v1, v2;
    char path[CGROUP_PATH_BYTES + sizeof("/memory.pressure")], text[PRESSURE_ROOM];
    char group[DOCTOR_TEXT];

    if (cgroup_paths(doctor->os, doctor->root, &v1, &v2) != 0 || !v2.found) {
        doctor_mend_as_root(finding, "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none "
                                     "/sys/fs/cgroup/unified");
        return;
    }
    (void)snprintf(path, sizeof(path), "%s/memory.pressure", v2.directory);
    doctor_quoted(v2.directory, group);
    if (os_read_file(doctor->os, path, text, sizeof(text)) < 0 &&
        v2.directory[v2.mount_len] != '\0')
        doctor_mend_as_root(finding, "echo 1 >%s/cgroup.pressure", group);
    else /* the top group, which is the whole machine */
        doctor_mend_as_root(finding,
                            "mkdir -p %s/spillway && chown %lu %s/spillway/memory.pressure && "
                            "echo %ld >%s/spillway/cgroup.procs",
                            group, (unsigned long)geteuid(), group, (long)getppid(), group);
}

static void mend_pressure(struct doctor *doctor, struct doctor_finding *finding,
                          const struct pressure_source *source)
{
    enum pressure_kind kind = pressure_source_kind(source);
    char text[PRESSURE_ROOM], quoted[DOCTOR_TEXT];

    if (doctor->settings.pressure[0] == '/' && kind != PRESSURE_OPTION)
        doctor_mend(finding, "unset SPILLWAY_PRESSURE");
    else if (doctor_variable(doctor, "MEMORY_PRESSURE_WATCH") != NULL && kind > PRESSURE_SYSTEMD)
        doctor_mend(finding, "unset MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE");
    else if (pressure_source_way(source) == PRESSURE_POLLED && kind != PRESSURE_PROC)
        doctor_mend_as_root(finding, "chown %lu %s", (unsigned long)geteuid(),
                            doctor_quoted(pressure_source_path(source), quoted));
    else if (!doctor_read(doctor, "/proc/pressure/memory", text, sizeof(text)))
        doctor_mend_as_root(finding, "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&psi=1 /' "
                                     "/etc/default/grub && update-grub && reboot");
    else
        mend_group(doctor, finding);
}

static void judge_pressure(struct doctor *doctor, const struct pressure_source *source)
{
    enum pressure_kind kind = pressure_source_kind(source);
    enum pressure_way way = pressure_source_way(source);
    const char *why = pressure_source_why(source);
    uint64_t window = pressure_source_window_ns(source);
    struct doctor_finding *finding;

    if (kind == PRESSURE_OFF && !pressure_source_is_fallback(source)) {
        (void)doctor_add(doctor, DOCTOR_OK, "turned off by MEMORY_PRESSURE_WATCH");
        return;
    }
    if (kind == PRESSURE_OFF) {
        finding = doctor_add(doctor, doctor->settings.strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                             "no pressure can be seen (%s)", why);
        doctor_happens(finding, "the budget is all that decides: it does not shrink when others "
                                "need memory");
        mend_pressure(doctor, finding, source);
        return;
    }
    if (way == PRESSURE_POLLED || kind == PRESSURE_PROC || pressure_source_is_fallback(source)) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "%s%s%s%s%s", pressure_source_path(source),
                             way == PRESSURE_POLLED ? ", without a trigger" : "",
                             why[0] != '\0' ? " (" : "", why, why[0] != '\0' ? ")" : "");
        doctor_happens(finding, way == PRESSURE_POLLED
                                    ? "it is read once a second while something is resident"
                                : kind == PRESSURE_PROC ? "this is the whole machine's pressure, "
                                                          "not the service's"
                                                        : "it is not what was asked for");
        mend_pressure(doctor, finding, source);
        return;
    }
    (void)doctor_add(doctor, DOCTOR_OK, "%s, %s%s", pressure_source_path(source),
                     way == PRESSURE_TRIGGER ? "with a trigger" : "messages",
                     window > WINDOW_UNIT_NS ? " (its window is longer than asked for)" : "");
}

void doctor_check_pressure(struct doctor *doctor)
{
    const struct settings *settings = &doctor->settings;
    const struct pressure_source_config config = {
        .os = doctor->os,
        .root = doctor->root,
        .watch = doctor_variable(doctor, "MEMORY_PRESSURE_WATCH"),
        .write = doctor_variable(doctor, "MEMORY_PRESSURE_WRITE"),
        .explicit_path = settings->pressure,
        .stall_ns = settings->stall_ns,
        .window_ns = settings->stall_window_ns,
    };
    struct pressure_source *source;
    int err;

    if (strcmp(settings->pressure, "off") == 0 ||
        (settings->policies >> POLICY_PRESSURE & 1) == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "not used: SPILLWAY_%s leaves it out",
                         strcmp(settings->pressure, "off") == 0 ? "PRESSURE" : "POLICIES");
        return;
    }
    err = pressure_source_open(&config, &source);
    if (err) {
        struct doctor_finding *finding =
            doctor_add(doctor, DOCTOR_BROKEN, "cannot be looked at: %s", strerrordesc_np(-err));
        doctor_happens(finding, "the policy cannot be opened");
        doctor_mend(finding, "ulimit -n 65536");
        return;
    }
    judge_pressure(doctor, source);
    pressure_source_close(source);
}

/* ---- nodes ---- */

/* "0-1,3" */
static const char *list_text(const struct node_set *set, char out[LIST_ROOM])
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned first = 0, last; first < NODE_MAX && used + 16 < LIST_ROOM; first = last + 1) {
        last = first;
        if (!node_has(set, first))
            continue;
        while (node_has(set, last + 1))
            last++;
        used += (size_t)snprintf(out + used, LIST_ROOM - used, "%s%u", used > 0 ? "," : "", first);
        if (last > first)
            used += (size_t)snprintf(out + used, LIST_ROOM - used, "-%u", last);
    }
    return out;
}

/* Whether a segment on these nodes can be had; 0 or -errno. */
static int place_try(const struct doctor *doctor, const struct node_set *nodes)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *start;
    int err =
        doctor->os->map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0, &start);

    if (err)
        return err;
    err = doctor->os->set_policy(start, bytes, NODE_PREFERRED, nodes->words, NODE_MAX, 0);
    (void)doctor->os->unmap(start, bytes);
    return err;
}

static void refuse_nodes(struct doctor *doctor, const struct node_map *map,
                         const struct node_choice *choice, int err)
{
    const struct settings *settings = &doctor->settings;
    char have[LIST_ROOM];
    struct doctor_finding *finding;

    list_text(&map->allowed, have);
    finding = doctor_add(doctor, settings->strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                         "SPILLWAY_NODES=%.100s: %s; this process may use %s", settings->nodes,
                         err == -ENOSYS ? "no NUMA calls, in the kernel or in this build"
                         : err          ? strerrordesc_np(-err)
                                        : "not all of them are there, or allowed",
                         have);
    doctor_happens(finding, settings->strict       ? "in strict mode no pool is opened"
                            : choice->local || err ? "segments go where the kernel puts them"
                                                   : "segments go to those that are there");
    if (err == -EPERM || err == -EACCES)
        doctor_mend(finding, "docker run --cap-add SYS_NICE");
    else if (err == -ENOSYS)
        doctor_mend(finding, "make WITH_NUMA=1");
    else
        doctor_mend(finding, "export SPILLWAY_NODES=%s", have[0] != '\0' ? have : "local");
}

static void judge_nodes(struct doctor *doctor, struct node_map *map)
{
    const struct settings *settings = &doctor->settings;
    struct node_choice choice = {.local = true};
    struct node_set current = {{0}};
    char have[LIST_ROOM];
    unsigned count;
    int err = node_map_read(doctor->os, doctor->root, -1, map);
    bool local = strcmp(settings->nodes, "local") == 0;

    if (err == 0)
        err = node_choose(map, settings->nodes, &choice);
    if (!local && (err != 0 || choice.incomplete)) {
        refuse_nodes(doctor, map, &choice, err);
        return;
    }
    if (err) {
        (void)doctor_add(doctor, DOCTOR_OK, "no NUMA calls; SPILLWAY_NODES=local needs none");
        return;
    }
    node_add(&current, map->current >= 0 ? (unsigned)map->current : 0);
    err = place_try(doctor, local ? &current : &choice.set);
    if (!local && err) {
        refuse_nodes(doctor, map, &choice, err);
        return;
    }
    count = node_count(&map->memory);
    (void)doctor_add(doctor, DOCTOR_OK,
                     "%u node%s with memory, this process may use %s; mbind(2) "
                     "%s; SPILLWAY_NODES=%.100s",
                     count, count == 1 ? "" : "s", list_text(&map->allowed, have),
                     err ? "is refused" : "works", settings->nodes);
}

void doctor_check_nodes(struct doctor *doctor)
{
    struct node_map *map = calloc(1, sizeof(*map));

    if (map != NULL)
        judge_nodes(doctor, map);
    free(map);
}

/* ---- huge pages ---- */

static void judge_reserve(struct doctor *doctor)
{
    uint64_t kib = 2048, total, free_pages, capacity;
    char path[128];
    struct doctor_finding *finding;

    (void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/", kib);
    (void)strcat(path, "nr_hugepages");
    total = doctor_number(doctor, path, 0);
    (void)strcpy(strrchr(path, '/'), "/free_hugepages");
    free_pages = doctor_number(doctor, path, 0);
    capacity =
        amount_of(doctor->settings.memory_tier, host_memory(doctor->os, doctor->root, NULL), 0);
    if (capacity == 0)
        capacity = HUGE_PAGES_BACK;
    if (free_pages * kib * 1024 >= capacity) {
        (void)doctor_add(doctor, DOCTOR_OK, "%" PRIu64 " of %" PRIu64 " reserved huge pages free",
                         free_pages, total);
        return;
    }
    finding = doctor_add(doctor, doctor->settings.strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                         "SPILLWAY_HUGE_PAGES=on, and %" PRIu64 " reserved huge pages of %" PRIu64
                         " KiB are free",
                         free_pages, kib);
    doctor_happens(finding, "segments beyond them have normal pages");
    doctor_mend_as_root(finding, "sysctl -w vm.nr_hugepages=%" PRIu64,
                        total - free_pages + (capacity + kib * 1024 - 1) / (kib * 1024));
}

void doctor_check_huge_pages(struct doctor *doctor)
{
    struct doctor_finding *finding;
    char shmem[32];

    doctor_choice(doctor, THP "shmem_enabled", shmem, sizeof(shmem));
    if (doctor->settings.huge_pages == HUGE_ON) {
        judge_reserve(doctor);
        return;
    }
    if (doctor->settings.huge_pages == HUGE_TRANSPARENT &&
        (shmem[0] == '\0' || strcmp(shmem, "never") == 0 || strcmp(shmem, "deny") == 0)) {
        finding = doctor_add(doctor, doctor->settings.strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                             "SPILLWAY_HUGE_PAGES=transparent, and shmem_enabled is %s",
                             shmem[0] != '\0' ? shmem : "not there");
        doctor_happens(finding, "segments have normal pages");
        doctor_mend_as_root(finding, "echo advise >" THP "shmem_enabled");
        return;
    }
    (void)doctor_add(doctor, DOCTOR_OK, "SPILLWAY_HUGE_PAGES=%s; shmem_enabled is %s",
                     doctor->settings.huge_pages == HUGE_TRANSPARENT ? "transparent" : "off",
                     shmem[0] != '\0' ? shmem : "not there");
}

void doctor_check_thp(struct doctor *doctor)
{
    struct doctor_finding *finding;
    char enabled[32];

    doctor_choice(doctor, THP "enabled", enabled, sizeof(enabled));
    if (strcmp(enabled, "always") == 0 || strcmp(enabled, "madvise") == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "transparent_hugepage/enabled is %s", enabled);
        return;
    }
    finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "transparent_hugepage/enabled is %s",
                         enabled[0] != '\0' ? enabled : "not there");
    doctor_happens(finding, "buffers have pages of 4 KiB, and I/O costs more processor time");
    if (enabled[0] != '\0')
        doctor_mend_as_root(finding, "echo madvise >" THP "enabled");
}

/* ---- services ---- */

struct unseen {
    unsigned count;
    pid_t first;
    char names[NAMES_ROOM];
};

static void look_at(pid_t pid, struct unseen *unseen)
{
    char path[64];
    struct process process;
    size_t used = strlen(unseen->names);
    int fd;

    if (process_look("/proc", pid, &process) != 0 || process.kernel || process.uid != geteuid() ||
        process.state == 'Z')
        return;
    (void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return;
    }
    if (errno != EACCES && errno != EPERM)
        return;
    if (unseen->count++ == 0)
        unseen->first = pid;
    if (unseen->count <= NAMES_MAX && used + sizeof(process.comm) + 16 < sizeof(unseen->names))
        (void)snprintf(unseen->names + used, sizeof(unseen->names) - used, "%s%s (%ld)",
                       used > 0 ? ", " : "", process.comm, (long)pid);
    else if (unseen->count == NAMES_MAX + 1 && used + 5 < sizeof(unseen->names))
        (void)strcpy(unseen->names + used, ", ...");
}

void doctor_check_services(struct doctor *doctor)
{
    DIR *proc = opendir("/proc");
    struct unseen unseen = {.count = 0};
    struct doctor_finding *finding;
    struct dirent *entry;

    if (proc == NULL) {
        finding = doctor_add(doctor, DOCTOR_BROKEN, "/proc cannot be read: %s", strerror(errno));
        doctor_happens(finding, "poolstat sees nothing");
        doctor_mend_as_root(finding, "mount -t proc proc /proc");
        return;
    }
    while ((entry = readdir(proc)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]))
            look_at((pid_t)strtol(entry->d_name, NULL, 10), &unseen);
    }
    closedir(proc);
    if (unseen.count == 0) {
        (void)doctor_add(doctor, DOCTOR_OK, "all processes of this user can be looked into");
        return;
    }
    finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "%u process%s of this user %s not dumpable: %s",
                         unseen.count, unseen.count == 1 ? "" : "es",
                         unseen.count == 1 ? "is" : "are", unseen.names);
    doctor_happens(finding, "if they have pools, only root sees them; a service that has changed "
                            "its user becomes dumpable by prctl(PR_SET_DUMPABLE, 1)");
    doctor_mend_as_root(finding, "poolstat -p %ld", (long)unseen.first);
}
