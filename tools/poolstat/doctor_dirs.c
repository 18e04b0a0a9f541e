/* SPDX-License-Identifier: MIT */
/* doctor: scratch directories, opened as the pool opens them, and how fast they are. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../pool/cgroup.h"
#include "../../pool/scratch.h"
#include "../common/text.h"
#include "doctor.h"

#define USUAL_DIR   "/var/tmp"
#define MIB         (UINT64_C(1) << 20)
#define PIECE_BYTES MIB
/* A probe leaves nine tenths of what is free alone, and never writes more than this. */
#define PROBE_MAX_BYTES (UINT64_C(256) << 20)
/* Slower than this, spilling holds a service up. */
#define SLOW_BYTES (UINT64_C(100) * 1000 * 1000)

enum { FREE_SHARE = 10, AUTO_DIRS = 3 };

static const struct {
    uint64_t type;
    const char *name;
} file_systems[] = {
    {0xef53, "ext4"},          {0x58465342, "xfs"},   {0x9123683e, "btrfs"},
    {0x01021994, "tmpfs"},     {0x858458f6, "ramfs"}, {0x6969, "nfs"},
    {0x0bd00bd0, "lustre"},    {0x47504653, "gpfs"},  {0x65735546, "fuse"},
    {0x794c7630, "overlayfs"}, {0x2fc12fc1, "zfs"},   {0xf2f52010, "f2fs"},
    {0xff534d42, "cifs"},      {0x19830326, "fhgfs"}, {0xca451a4e, "bcachefs"},
    {0x00c36400, "ceph"},
};

static const char *type_name(uint64_t type, char out[TEXT_NUMBER_BYTES])
{
    for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++) {
        if (file_systems[i].type == (type & UINT32_MAX))
            return file_systems[i].name;
    }
    (void)snprintf(out, TEXT_NUMBER_BYTES, "type %#" PRIx64, type);
    return out;
}

/* ---- speed ---- */

struct speed {
    uint64_t write, read; /* bytes a second; 0: not measured */
};

/* Writes, or reads, `most` bytes at most and for as long at most; how many, and the time. */
static uint64_t move(const struct doctor *doctor, const struct scratch *scratch, void *piece,
                     bool write, uint64_t most, uint64_t *ns)
{
    uint64_t begin = doctor->os->clock_ns(), moved = 0;

    for (*ns = 0; moved < most && *ns < doctor->probe_ns / 2;
         *ns = doctor->os->clock_ns() - begin) {
        ssize_t n = write ? doctor->os->pwrite(scratch->fd, piece, PIECE_BYTES, moved)
                          : doctor->os->pread(scratch->fd, piece, PIECE_BYTES, moved);

        if (n != (ssize_t)PIECE_BYTES)
            break;
        moved += PIECE_BYTES;
    }
    *ns = doctor->os->clock_ns() - begin;
    return moved;
}

/* Where nothing random is written, some devices only pretend. */
static void fill(uint64_t *words, size_t count)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        words[i] = state;
    }
}

static void measure(const struct doctor *doctor, struct scratch *scratch, struct speed *speed)
{
    uint64_t most = scratch_free_bytes(scratch) / FREE_SHARE, ns;
    void *piece;

    *speed = (struct speed){0};
    if (most > PROBE_MAX_BYTES)
        most = PROBE_MAX_BYTES;
    most -= most % PIECE_BYTES;
    if (most == 0 || doctor->probe_ns == 0 || scratch_grow(scratch, 0, most) != 0 ||
        doctor->os->map(PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
                        &piece) != 0)
        return;
    fill(piece, PIECE_BYTES / sizeof(uint64_t));
    most = move(doctor, scratch, piece, true, most, &ns);
    speed->write = text_per_second(most, ns);
    most = move(doctor, scratch, piece, false, most, &ns);
    speed->read = text_per_second(most, ns);
    (void)doctor->os->unmap(piece, PIECE_BYTES);
}

/* ---- one directory ---- */

/* Another directory: the usual one, where that works. */
static void mend_name(const struct doctor *doctor, struct doctor_finding *finding, const char *dir)
{
    char why[SCRATCH_WHY];
    struct scratch scratch;

    if (strcmp(dir, USUAL_DIR) != 0 && scratch_open(doctor->os, USUAL_DIR, &scratch, why) == 0) {
        scratch_close(&scratch);
        doctor_mend(finding, "export SPILLWAY_DIRS=" USUAL_DIR);
        return;
    }
    doctor_mend(finding, "export SPILLWAY_DIRS=/a/directory/on/a/local/disk");
}

static void mend_refused(const struct doctor *doctor, struct doctor_finding *finding,
                         const char *dir, int err)
{
    char quoted[DOCTOR_TEXT];

    doctor_quoted(dir, quoted);
    switch (-err) {
    case ENOENT:
        doctor_mend(finding, "mkdir -p -m 700 %s", quoted);
        break;
    case EACCES:
    case EPERM:
        doctor_mend_as_root(finding, "install -d -o %lu -m 700 %s", (unsigned long)geteuid(),
                            quoted);
        break;
    case EROFS:
        doctor_mend_as_root(finding, "mount -o remount,rw \"$(findmnt -n -o TARGET -T %s)\"",
                            quoted);
        break;
    case EMFILE:
    case ENFILE:
        doctor_mend(finding, "ulimit -n 65536");
        break;
    default:
        mend_name(doctor, finding, dir);
    }
}

static void judge_shortcomings(struct doctor *doctor, const struct scratch *scratch,
                               const char *dir, const struct speed *speed)
{
    const enum doctor_level level = doctor->settings.strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK;
    uint64_t free_bytes = scratch_free_bytes(scratch);
    char text[TEXT_NUMBER_BYTES];
    struct doctor_finding *finding;

    if (!scratch->direct) {
        finding = doctor_add(doctor, level, "%s takes no direct I/O", dir);
        doctor_happens(finding, "spilled data goes through the page cache");
        mend_name(doctor, finding, dir);
    }
    if (scratch->zero_fill) {
        finding = doctor_add(doctor, level, "%s has no fallocate", dir);
        doctor_happens(finding, "space is claimed by writing zeros, which is slow");
        mend_name(doctor, finding, dir);
    }
    if (free_bytes < 2 * MIB) {
        finding =
            doctor_add(doctor, DOCTOR_BROKEN, "%s has %s free", dir, text_size(text, free_bytes));
        doctor_happens(finding, "nothing can be spilled there");
        mend_name(doctor, finding, dir);
    } else if (free_bytes / 2 < host_memory(doctor->os, doctor->root, NULL) / 4 &&
               doctor->settings.disk_limit.bytes == SETTINGS_AUTO &&
               doctor->settings.disk_limit.percent == 0) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK,
                             "%s has %s free, which is little beside this host's memory", dir,
                             text_size(text, free_bytes));
        doctor_happens(finding, "the disk tier holds half of it; what does not fit stays in "
                                "memory");
        mend_name(doctor, finding, dir);
    }
    if (speed->write != 0 && (speed->write < SLOW_BYTES || speed->read < SLOW_BYTES)) {
        finding = doctor_add(doctor, DOCTOR_FALLS_BACK, "%s is slow", dir);
        doctor_happens(finding, "writers and readers wait for it; the policy compress may help");
        doctor_mend(finding, "export SPILLWAY_POLICIES=threshold,prefetch,pressure,compress");
    }
}

/* Returns whether a pool would use it. `asked`: it is named in SPILLWAY_DIRS. */
static bool judge_directory(struct doctor *doctor, const char *dir, bool asked)
{
    char why[SCRATCH_WHY], type[TEXT_NUMBER_BYTES], room[TEXT_NUMBER_BYTES];
    char write[TEXT_NUMBER_BYTES], read[TEXT_NUMBER_BYTES];
    struct doctor_finding *finding;
    struct scratch scratch;
    struct speed speed;
    struct os_dio dio = {0, 0};
    int err = scratch_open(doctor->os, dir, &scratch, why);

    if (err) {
        finding =
            doctor_add(doctor, asked && doctor->settings.strict ? DOCTOR_BROKEN : DOCTOR_FALLS_BACK,
                       "%s %s", dir, why);
        doctor_happens(finding, "it is not used");
        mend_refused(doctor, finding, dir, err);
        return false;
    }
    (void)doctor->os->dio_align(scratch.fd, &dio);
    measure(doctor, &scratch, &speed);
    (void)doctor_add(
        doctor, DOCTOR_OK,
        "%s: %s, %s I/O, blocks of %u bytes%s, %s free; one request at a time, "
        "writes %s, reads %s",
        dir, type_name(scratch.fs.type, type), scratch.direct ? "direct" : "buffered",
        scratch.align,
        !scratch.direct         ? ""
        : dio.memory_align == 0 ? " (found by trying)"
                                : " (the kernel says so)",
        text_size(room, scratch_free_bytes(&scratch)),
        speed.write ? text_rate(write, speed.write, UINT64_C(1000000000)) : "not measured",
        speed.read ? text_rate(read, speed.read, UINT64_C(1000000000)) : "not measured");
    judge_shortcomings(doctor, &scratch, dir, &speed);
    scratch_close(&scratch);
    return true;
}

/* ---- all of them ---- */

void doctor_check_scratch(struct doctor *doctor)
{
    const struct settings *settings = &doctor->settings;
    const char *names[AUTO_DIRS] = {doctor_variable(doctor, "SLURM_TMPDIR"),
                                    doctor_variable(doctor, "TMPDIR"), USUAL_DIR};
    struct doctor_finding *finding;
    unsigned used = 0;

    if (!settings->tier_disk) {
        (void)doctor_add(doctor, DOCTOR_OK, "not used: SPILLWAY_TIERS leaves the disk out");
        return;
    }
    for (unsigned i = 0; i < settings->dir_count; i++)
        used += judge_directory(doctor, settings->dirs[i], true);
    for (unsigned i = 0; settings->dir_count == 0 && used == 0 && i < AUTO_DIRS; i++) {
        if (names[i] != NULL)
            used += judge_directory(doctor, names[i], false);
    }
    if (used > 0)
        return;
    finding = doctor_add(doctor, DOCTOR_BROKEN, "no scratch directory can be used");
    doctor_happens(finding, "there is no disk tier");
    mend_name(doctor, finding, "");
}
