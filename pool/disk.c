/* SPDX-License-Identifier: MIT */
#include "disk.h"

#include <errno.h>
#include <string.h>

#include "disk_tier.h"

static bool may_grow(const struct disk *disk, const struct directory *dir, unsigned order,
                     uint64_t now_ns)
{
    return directory_takes_new(dir, now_ns) && !dir->growing &&
           directory_worth_growing(dir, order, now_ns) &&
           disk_limit_room(disk) >= extent_bytes(order);
}

enum step { STEP_TAKE, STEP_GROW, STEP_WAIT, STEP_FULL };

static unsigned nth_from_turn(const struct disk *disk, unsigned n)
{
    return (disk->turn + n) % disk->count;
}

/*
 * Chooses the directory for an extent of `order`: the one whose turn it is if it has room; else
 * warm space anywhere; else it grows; else what else there is. `failed` are those whose growth
 * failed.
 */
static enum step choose(const struct disk *disk, unsigned order, uint32_t failed, unsigned *chosen)
{
    uint64_t now_ns = disk->os->clock_ns();
    bool growing = false;
    unsigned i, n, first;

    for (first = 0; first < disk->count; first++) {
        if (directory_takes_new(&disk->dirs[nth_from_turn(disk, first)], now_ns))
            break;
    }
    for (n = first; n < disk->count; n++) {
        const struct directory *dir = &disk->dirs[i = nth_from_turn(disk, n)];

        if (directory_takes_new(dir, now_ns) &&
            (n == first ? extent_has(&dir->space, order) : extent_has_warm(&dir->space, order))) {
            *chosen = i;
            return STEP_TAKE;
        }
    }
    for (n = first; n < disk->count; n++) {
        const struct directory *dir = &disk->dirs[i = nth_from_turn(disk, n)];

        *chosen = i;
        if (directory_takes_new(dir, now_ns) && extent_has(&dir->space, order))
            return STEP_TAKE;
        if (!(failed >> i & 1) && may_grow(disk, dir, order, now_ns))
            return STEP_GROW;
        growing = growing || (dir->growing && directory_takes_new(dir, now_ns));
    }
    return growing ? STEP_WAIT : STEP_FULL;
}

static int find_room(struct disk *disk, unsigned order, struct extent *out)
{
    uint32_t failed = 0;
    unsigned i = 0;
    int rc, why = -ENOSPC;

    for (;;) {
        switch (choose(disk, order, failed, &i)) {
        case STEP_TAKE:
            rc = extent_take(&disk->dirs[i].space, order, &out->offset);
            break;
        case STEP_GROW:
            rc = directory_grow(disk, &disk->dirs[i], order, &out->offset);
            failed |= UINT32_C(1) << i;
            break;
        case STEP_WAIT:
            disk->waiting++;
            pthread_cond_wait(&disk->changed, &disk->lock);
            disk->waiting--;
            failed = 0;
            continue;
        case STEP_FULL:
        default:
            return why;
        }
        if (rc < 0) {
            why = rc == -ENOMEM ? rc : why;
            continue;
        }
        out->len = (uint32_t)extent_bytes(order);
        out->dir = (uint16_t)i;
        disk_tell_stored(disk, i);
        disk->turn = (i + 1) % disk->count;
        return 0;
    }
}

/* Every directory refused: says so once, and once when the reason is our own limit. */
static void tell_nothing(struct disk *disk, unsigned order)
{
    bool limit, nothing;

    pthread_mutex_lock(&disk->lock);
    limit = disk_limit_room(disk) < extent_bytes(order) && first_time(&disk->told_limit);
    nothing =
        !limit && disk_limit_room(disk) >= extent_bytes(order) && first_time(&disk->told_nothing);
    pthread_mutex_unlock(&disk->lock);
    if (limit)
        log_line(disk->log, SPILLWAY_LOG_WARN,
                 "the disk tier has reached its limit of %llu bytes: raise SPILLWAY_DISK_LIMIT if "
                 "the file systems "
                 "have room",
                 (unsigned long long)disk->limit_bytes);
    if (nothing)
        log_line(disk->log, SPILLWAY_LOG_WARN,
                 "no scratch directory takes data now: each is full or withdrawn");
}

int disk_alloc(struct disk *disk, uint64_t len, struct extent *out)
{
    int order = extent_order(len), rc;

    if (order < 0)
        return order;
    pthread_mutex_lock(&disk->lock);
    rc = find_room(disk, (unsigned)order, out);
    pthread_mutex_unlock(&disk->lock);
    if (rc == -ENOSPC)
        tell_nothing(disk, (unsigned)order);
    return rc;
}

void disk_free(struct disk *disk, const struct extent *extent)
{
    int rc = -EINVAL;

    pthread_mutex_lock(&disk->lock);
    if (extent->dir < disk->count)
        rc = extent_give(&disk->dirs[extent->dir].space, extent->offset, extent->len);
    if (rc == 0)
        disk_tell_stored(disk, extent->dir);
    if (disk->waiting > 0)
        pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
    if (rc < 0)
        log_line(disk->log, SPILLWAY_LOG_ERROR,
                 "an extent was freed that is not in use (directory %u, %u bytes at %llu)",
                 extent->dir, extent->len, (unsigned long long)extent->offset);
}

bool disk_may_accept(struct disk *disk, uint64_t len)
{
    int order = extent_order(len);
    bool may = false;
    uint64_t now_ns;

    if (order < 0)
        return false;
    now_ns = disk->os->clock_ns();
    pthread_mutex_lock(&disk->lock);
    for (unsigned i = 0; i < disk->count && !may; i++) {
        const struct directory *dir = &disk->dirs[i];

        may = directory_takes_new(dir, now_ns) &&
              (extent_has(&dir->space, (unsigned)order) ||
               (directory_worth_growing(dir, (unsigned)order, now_ns) &&
                disk_limit_room(disk) + disk->pending_bytes >= extent_bytes((unsigned)order)));
    }
    pthread_mutex_unlock(&disk->lock);
    return may;
}

void disk_info(const struct disk *disk, struct disk_info *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&disk->lock;

    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(lock);
    out->file_bytes = disk_file_bytes(disk);
    out->enospc_total = disk->enospc_total;
    out->dirs = disk->count;
    for (unsigned i = 0; i < disk->count; i++) {
        const struct directory *dir = &disk->dirs[i];

        out->stored_bytes += dir->space.used_bytes;
        out->quarantined += dir->withdrawn;
    }
    out->limit_bytes = disk_limit_now(disk);
    pthread_mutex_unlock(lock);
}
