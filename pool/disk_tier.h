/* SPDX-License-Identifier: MIT */
/*
 * The inside of the disk tier, shared by the files that make it: disk_open.c (which
 * directories, what limit), disk_grow.c (file space: growing, full and failing directories,
 * trimming) and disk.c (extents).
 */
#ifndef SPILLWAY_POOL_DISK_TIER_H
#define SPILLWAY_POOL_DISK_TIER_H

#include <pthread.h>

#include "disk.h"
#include "extent.h"
#include "scratch.h"

struct directory {
    /* fixed after open, except what scratch_grow() and _shrink() change: that belongs to
     * whoever has set `growing` */
    struct scratch scratch;
    char *name;
    unsigned group; /* first directory that shares its free space */
    /* guarded by disk->lock */
    struct extent_space space;
    bool growing;   /* the file is being grown or trimmed, without the lock */
    bool withdrawn; /* after an error: nothing new goes here */
    bool told_full;
    unsigned full_order; /* growing for this order or more failed; EXTENT_ORDERS: did not */
    uint64_t backoff_ns;
    uint64_t retry_at_ns;   /* a full directory is not grown before */
    uint64_t rest_until_ns; /* nothing new goes here before: a write found it full */
};

struct disk {
    const struct os *os;
    const spw_allocator *allocator;
    struct log *log;
    void (*fallback)(void *context, const char *name);
    void *fallback_context;
    unsigned count;
    int fds[SETTINGS_MAX_DIRS];
    uint64_t limit_bytes;
    struct counters *counters; /* NULL: nobody wants to know */
    struct dir_row *rows;      /* the same */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a growth ended, or something was freed while `waiting` */
    /* guarded by lock */
    unsigned waiting;
    unsigned turn;          /* the directory that serves the next extent if it can */
    uint64_t pending_bytes; /* growths under way, counted against the limit */
    uint64_t enospc_total;
    bool told_limit, told_nothing;
    struct directory dirs[SETTINGS_MAX_DIRS];
};

_Static_assert(SETTINGS_MAX_DIRS <= 32, "a set of directories is a bit mask");

/* --- the lock is held in all of these -------------------------------------------------------- */

/* Allocated in all scratch files. */
uint64_t disk_file_bytes(const struct disk *disk);

/* What the disk tier may hold: less than its limit once no directory can grow any more. */
uint64_t disk_limit_now(const struct disk *disk);

/* What the limit leaves for growing. */
uint64_t disk_limit_room(const struct disk *disk);

/* New data may go to the directory. */
bool directory_takes_new(const struct directory *dir, uint64_t now_ns);

/* Its file system was not found full for this order, or that was long ago. */
bool directory_worth_growing(const struct directory *dir, unsigned order, uint64_t now_ns);

/* Tells a directory's row and the tier's gauges: after extents came or went; after all else. */
void disk_tell_stored(const struct disk *disk, unsigned number);
void disk_tell_state(const struct disk *disk);

/*
 * Grows a directory's file and takes an extent from what came. The lock is held on entry and
 * return, not in between. -ENOSPC: not here; the directory remembers why. -ENOMEM.
 */
int directory_grow(struct disk *disk, struct directory *dir, unsigned order, uint64_t *offset);

/* Sets a flag and returns true when it was not set before. */
static inline bool first_time(bool *flag)
{
    bool before = *flag;

    *flag = true;
    return !before;
}

/* --- without the lock ------------------------------------------------------------------------ */

void disk_tell_fallback(const struct disk *disk, const char *name);

#endif
