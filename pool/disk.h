/* SPDX-License-Identifier: MIT */
/*
 * The disk tier: unnamed scratch files, one a directory, and the extents in
 * them. It hands out places; the engine moves the bytes.
 *
 * Space is allocated in zones (DISK_ZONE_BYTES, less near the limit) with one fallocate each, so a
 * full disk is known before data is in flight. Inside a zone a buddy system gives extents of
 * power-of-two sizes; freeing is a change in memory only, and zones that were written before are
 * used first.
 */
#ifndef SPILLWAY_POOL_DISK_H
#define SPILLWAY_POOL_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/counters.h"
#include "../lib/log.h"
#include "../lib/os.h"
#include "../lib/settings.h"
#include "rows.h"
#include "spillway/alloc.h"

#define DISK_EXTENT_MIN_BYTES (UINT64_C(64) << 10)
#define DISK_ZONE_BYTES       (UINT64_C(64) << 20) /* also the largest extent */

struct disk_config {
    const struct os *os;
    const spw_allocator *allocator; /* never NULL */
    struct log *log;
    char (*dirs)[SETTINGS_TEXT]; /* NULL: SLURM_TMPDIR, TMPDIR, /var/tmp, the first that works */
    unsigned dir_count;
    struct amount limit;       /* over all directories; auto: 50 % of what is free at start */
    bool strict;               /* a directory that does not work is an error, not a fallback */
    struct counters *counters; /* where disk_* and enospc_total are told; NULL: nowhere */
    struct dir_row *rows;      /* ROW_DIRS of them; NULL: nowhere */
    /* Told about each fallback ("tmpfs", "buffered", "scratch-directory", ...); may be NULL. */
    void (*fallback)(void *context, const char *name);
    void *fallback_context;
};

struct disk;

/* An allocated place. */
struct extent {
    uint64_t offset;
    uint32_t len; /* as allocated, a power of two */
    uint16_t dir; /* also the engine's file index */
};

struct disk_info {
    uint64_t limit_bytes;  /* lowered by a full file system, raised again when space is back */
    uint64_t file_bytes;   /* allocated in the scratch files */
    uint64_t stored_bytes; /* extents in use */
    uint64_t enospc_total;
    unsigned dirs, quarantined;
};

/*
 * Opens the tier. Fails with -errno when no directory works (the log says why for each); with
 * `strict` when one of those named does not.
 */
int disk_open(const struct disk_config *config, struct disk **out);
void disk_close(struct disk *disk);

/* One descriptor a directory, in `dir` order; valid while the tier is open. */
unsigned disk_files(const struct disk *disk, const int **fds);

/* Alignment that I/O on this directory needs: 1 when it is buffered. */
uint32_t disk_align(const struct disk *disk, unsigned dir);

/* Whether that of some directory is. */
bool disk_is_buffered(const struct disk *disk);

/*
 * Finds room for `len` bytes (at most DISK_ZONE_BYTES), directories in turn. May call
 * fallocate, so never under a lock of others. Any thread. Returns 0, or -ENOSPC when no directory
 * has room or is in use (told once), -ENOMEM.
 */
int disk_alloc(struct disk *disk, uint64_t len, struct extent *out);

/* Any thread, never slow. */
void disk_free(struct disk *disk, const struct extent *extent);

/*
 * A cheap guess, without a system call, whether disk_alloc() of `len` may work now: false when
 * every directory is full (until something is freed or the backoff has run out) or withdrawn.
 */
bool disk_may_accept(struct disk *disk, uint64_t len);

/*
 * A write to `dir` failed with -errno `err`: withdraws the directory (told once); its data stays
 * readable. When the file system was full after all (-ENOSPC, -EDQUOT, -EFBIG), or on -ENOMEM,
 * -EAGAIN and -EINTR, the directory gets nothing new until the backoff has run out.
 */
void disk_write_failed(struct disk *disk, unsigned dir, int err);

/*
 * Returns the space of zones in which nothing is stored to their file systems. Slow, so never
 * under a lock of others. Any thread. Returns the bytes.
 */
uint64_t disk_trim(struct disk *disk);

void disk_info(const struct disk *disk, struct disk_info *out);

#endif
