/* SPDX-License-Identifier: MIT */
/* Opening the disk tier: which directories, and what limit. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/text.h"
#include "disk_tier.h"

enum { DEFAULT_DIRS = 3 };

/* A directory that works, but not in the best way. */
static int judge_directory(struct disk *disk, const struct scratch *scratch, const char *name,
                           bool strict)
{
    const enum spw_log_level level = strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN;

    if (!scratch->direct) {
        log_line(disk->log, level,
                 "scratch directory %s takes no direct I/O (O_DIRECT): spilled data would fill the "
                 "page cache; name one that does",
                 name);
        if (strict)
            return -EOPNOTSUPP;
        disk_tell_fallback(disk, "buffered");
    }
    if (scratch->zero_fill) {
        log_line(disk->log, level,
                 "scratch directory %s has no fallocate: space is claimed by writing zeros, which "
                 "is slow; name one that has",
                 name);
        if (strict)
            return -EOPNOTSUPP;
        disk_tell_fallback(disk, "fallocate");
    }
    return 0;
}

/* What never changes. */
static void directory_tell(struct dir_row *row, const struct directory *dir)
{
    text_copy_clean(row->name, sizeof(row->name), dir->name);
    row_set(&row->direct, dir->scratch.direct);
    row_set(&row->align_bytes, dir->scratch.align);
    row_set(&row->used, 1);
}

static int directory_open(struct disk *disk, const char *name, bool strict, char why[SCRATCH_WHY])
{
    struct directory *dir = &disk->dirs[disk->count];
    int rc;

    rc = scratch_open(disk->os, name, &dir->scratch, why);
    if (rc < 0)
        return rc;
    (void)snprintf(why, SCRATCH_WHY, "falls short of what strict mode asks for");
    rc = judge_directory(disk, &dir->scratch, name, strict);
    if (rc < 0)
        goto scratch;
    rc = -ENOMEM;
    (void)snprintf(why, SCRATCH_WHY, "cannot be used: no memory");
    dir->name = allocator_acquire(disk->allocator, strlen(name) + 1);
    if (dir->name == NULL)
        goto scratch;
    memcpy(dir->name, name, strlen(name) + 1);
    dir->full_order = EXTENT_ORDERS;
    extent_init(&dir->space, disk->allocator);
    dir->group = disk->count;
    for (unsigned i = disk->count; i-- > 0;) {
        if (scratch_same_space(&disk->dirs[i].scratch, &dir->scratch))
            dir->group = disk->dirs[i].group;
    }
    if (disk->rows != NULL)
        directory_tell(&disk->rows[disk->count], dir);
    disk->fds[disk->count++] = dir->scratch.fd;
    log_line(disk->log, SPILLWAY_LOG_INFO, "scratch directory %s: %s I/O, blocks of %u bytes", name,
             dir->scratch.direct ? "direct" : "buffered", dir->scratch.align);
    return 0;

scratch:
    scratch_close(&dir->scratch);
    return rc;
}

static void directory_close(struct disk *disk, struct directory *dir)
{
    extent_fini(&dir->space);
    allocator_release(disk->allocator, dir->name, strlen(dir->name) + 1);
    scratch_close(&dir->scratch);
}

static int open_named_dirs(struct disk *disk, const struct disk_config *config)
{
    char why[SCRATCH_WHY];
    int rc, first = -EINVAL;

    if (config->dir_count == 0 || config->dir_count > SETTINGS_MAX_DIRS)
        return -EINVAL;
    for (unsigned i = 0; i < config->dir_count; i++) {
        rc = directory_open(disk, config->dirs[i], config->strict, why);
        if (rc == 0)
            continue;
        log_line(disk->log, config->strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN,
                 "scratch directory %s %s", config->dirs[i], why);
        if (config->strict || rc == -ENOMEM)
            return rc;
        if (first == -EINVAL)
            first = rc;
        disk_tell_fallback(disk, rc == -EMEDIUMTYPE ? "tmpfs" : "scratch-directory");
    }
    if (disk->count > 0)
        return 0;
    log_line(
        disk->log, SPILLWAY_LOG_ERROR,
        "none of the scratch directories named can be used: name one that can in SPILLWAY_DIRS");
    return first;
}

static int open_default_dir(struct disk *disk, bool strict)
{
    const char *names[DEFAULT_DIRS] = {secure_getenv("SLURM_TMPDIR"), secure_getenv("TMPDIR"),
                                       "/var/tmp"};
    char why[SCRATCH_WHY];
    int rc = -ENOENT;

    for (unsigned i = 0; i < DEFAULT_DIRS; i++) {
        if (names[i] == NULL || names[i][0] == '\0')
            continue;
        rc = directory_open(disk, names[i], strict, why);
        if (rc == 0 || rc == -ENOMEM)
            return rc;
        log_line(disk->log, SPILLWAY_LOG_DEBUG, "scratch directory %s %s", names[i], why);
    }
    log_line(disk->log, SPILLWAY_LOG_ERROR,
             "none of SLURM_TMPDIR, TMPDIR and /var/tmp can hold scratch files (SPILLWAY_DIRS "
             "names others); /var/tmp %s",
             why);
    return rc;
}

/* Directories on one file system share its free space, so it counts once. */
static int settle_limit(struct disk *disk, struct amount limit)
{
    uint64_t free_bytes = 0;

    for (unsigned i = 0; i < disk->count; i++) {
        const struct directory *dir = &disk->dirs[i];

        if (dir->group == i &&
            __builtin_add_overflow(free_bytes, dir->scratch.fs.free_bytes, &free_bytes))
            free_bytes = UINT64_MAX;
    }
    disk->limit_bytes = amount_of(limit, free_bytes, free_bytes / 2);
    disk->limit_bytes -= disk->limit_bytes % DISK_EXTENT_MIN_BYTES;
    if (disk->limit_bytes == 0) {
        log_line(disk->log, SPILLWAY_LOG_ERROR,
                 "the disk limit comes to less than %llu bytes (%llu are free in the scratch "
                 "directories): free some, name another directory, or raise SPILLWAY_DISK_LIMIT",
                 (unsigned long long)DISK_EXTENT_MIN_BYTES, (unsigned long long)free_bytes);
        return -ENOSPC;
    }
    log_line(disk->log, SPILLWAY_LOG_INFO, "disk limit %llu bytes, %llu are free",
             (unsigned long long)disk->limit_bytes, (unsigned long long)free_bytes);
    return 0;
}

int disk_open(const struct disk_config *config, struct disk **out)
{
    struct disk *disk = allocator_zeroed(config->allocator, sizeof(*disk));
    int rc;

    if (disk == NULL)
        return -ENOMEM;
    disk->os = config->os;
    disk->allocator = config->allocator;
    disk->log = config->log;
    disk->fallback = config->fallback;
    disk->fallback_context = config->fallback_context;
    disk->counters = config->counters;
    disk->rows = config->rows;
    rc = -pthread_mutex_init(&disk->lock, NULL);
    if (rc < 0)
        goto disk;
    rc = -pthread_cond_init(&disk->changed, NULL);
    if (rc < 0)
        goto lock;
    rc = config->dirs != NULL ? open_named_dirs(disk, config)
                              : open_default_dir(disk, config->strict);
    if (rc < 0)
        goto dirs;
    rc = settle_limit(disk, config->limit);
    if (rc < 0)
        goto dirs;
    disk_tell_state(disk);
    *out = disk;
    return 0;

dirs:
    for (unsigned i = disk->count; i-- > 0;) {
        if (disk->rows != NULL)
            row_set(&disk->rows[i].used, 0);
        directory_close(disk, &disk->dirs[i]);
    }
    pthread_cond_destroy(&disk->changed);
lock:
    pthread_mutex_destroy(&disk->lock);
disk:
    allocator_release(config->allocator, disk, sizeof(*disk));
    return rc;
}

void disk_close(struct disk *disk)
{
    for (unsigned i = disk->count; i-- > 0;)
        directory_close(disk, &disk->dirs[i]);
    pthread_cond_destroy(&disk->changed);
    pthread_mutex_destroy(&disk->lock);
    allocator_release(disk->allocator, disk, sizeof(*disk));
}

unsigned disk_files(const struct disk *disk, const int **fds)
{
    *fds = disk->fds;
    return disk->count;
}

uint32_t disk_align(const struct disk *disk, unsigned dir)
{
    return disk->dirs[dir].scratch.align;
}

bool disk_is_buffered(const struct disk *disk)
{
    bool buffered = false;

    for (unsigned i = 0; i < disk->count; i++)
        buffered |= disk->dirs[i].scratch.align == 1;
    return buffered;
}
