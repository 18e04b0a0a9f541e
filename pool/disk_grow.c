/* SPDX-License-Identifier: MIT */
/* The disk tier's file space: growing, full and failing directories, trimming. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <string.h>

#include "disk_tier.h"

/* How long a full directory is left alone before it is tried again; doubles. */
#define BACKOFF_MIN_NS UINT64_C(100000000)
#define BACKOFF_MAX_NS UINT64_C(5000000000)
/* Near the limit several directories share what is left, in growths of at least this. */
#define GROWTH_SHARE_BYTES (UINT64_C(4) << 20)

enum { ERROR_TEXT = 96 };

static const char *error_text(int err, char text[ERROR_TEXT])
{
    return strerror_r(err < 0 ? -err : err, text, ERROR_TEXT);
}

/* The file system has no room, in one of the ways it may say so. */
static bool means_full(int err)
{
    return err == -ENOSPC || err == -EDQUOT || err == -EFBIG;
}

/* Not the directory's fault. */
static bool means_later(int err)
{
    return err == -ENOMEM || err == -EAGAIN || err == -EINTR;
}

/* --- state; the lock is held in all of these ------------------------------------------------- */

uint64_t disk_file_bytes(const struct disk *disk)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < disk->count; i++)
        bytes += disk->dirs[i].space.ready_bytes;
    return bytes;
}

uint64_t disk_limit_room(const struct disk *disk)
{
    uint64_t taken = disk_file_bytes(disk) + disk->pending_bytes;

    return taken < disk->limit_bytes ? disk->limit_bytes - taken : 0;
}

uint64_t disk_limit_now(const struct disk *disk)
{
    uint64_t file_bytes = disk_file_bytes(disk);
    bool can_grow = false;

    for (unsigned i = 0; i < disk->count; i++)
        can_grow =
            can_grow || (!disk->dirs[i].withdrawn && disk->dirs[i].full_order == EXTENT_ORDERS);
    return !can_grow && file_bytes < disk->limit_bytes ? file_bytes : disk->limit_bytes;
}

bool directory_takes_new(const struct directory *dir, uint64_t now_ns)
{
    return !dir->withdrawn && now_ns >= dir->rest_until_ns;
}

bool directory_worth_growing(const struct directory *dir, unsigned order, uint64_t now_ns)
{
    return order < dir->full_order || now_ns >= dir->retry_at_ns;
}

/* A failure before the time for another attempt has come counts with the one before it. */
static void back_off(struct directory *dir, uint64_t now_ns)
{
    if (dir->backoff_ns > 0 && now_ns < dir->retry_at_ns)
        return;
    if (dir->backoff_ns == 0 || now_ns > dir->retry_at_ns + BACKOFF_MAX_NS)
        dir->backoff_ns = BACKOFF_MIN_NS;
    else if (dir->backoff_ns < BACKOFF_MAX_NS / 2)
        dir->backoff_ns *= 2;
    else
        dir->backoff_ns = BACKOFF_MAX_NS;
    dir->retry_at_ns = now_ns + dir->backoff_ns;
}

static void note_room(struct directory *dir)
{
    dir->full_order = EXTENT_ORDERS;
    dir->backoff_ns = 0;
    dir->retry_at_ns = 0;
    dir->rest_until_ns = 0;
}

static void note_full(struct disk *disk, struct directory *dir, unsigned order, int err)
{
    if (means_full(err)) {
        disk->enospc_total++;
        if (disk->counters != NULL)
            atomic_fetch_add_explicit(&disk->counters->enospc_total, 1, memory_order_relaxed);
        if (disk->rows != NULL)
            row_add(&disk->rows[dir - disk->dirs].full_total, 1);
    }
    if (order < dir->full_order)
        dir->full_order = order;
    back_off(dir, disk->os->clock_ns());
}

void disk_tell_stored(const struct disk *disk, unsigned number)
{
    uint64_t bytes = 0;

    if (disk->rows != NULL)
        row_set(&disk->rows[number].stored_bytes, disk->dirs[number].space.used_bytes);
    if (disk->counters == NULL)
        return;
    for (unsigned i = 0; i < disk->count; i++)
        bytes += disk->dirs[i].space.used_bytes;
    row_set(&disk->counters->disk_stored_bytes, bytes);
}

void disk_tell_state(const struct disk *disk)
{
    uint64_t withdrawn = 0;

    for (unsigned i = 0; i < disk->count; i++) {
        const struct directory *dir = &disk->dirs[i];

        withdrawn += dir->withdrawn;
        if (disk->rows == NULL)
            continue;
        row_set(&disk->rows[i].file_bytes, dir->space.ready_bytes);
        row_set(&disk->rows[i].withdrawn, dir->withdrawn);
        row_set(&disk->rows[i].full, dir->full_order < EXTENT_ORDERS);
    }
    if (disk->counters == NULL)
        return;
    row_set(&disk->counters->disk_limit_bytes, disk_limit_now(disk));
    row_set(&disk->counters->disk_file_bytes, disk_file_bytes(disk));
    row_set(&disk->counters->quarantined_dirs, withdrawn);
}

/* An error that withdraws the directory; true for the first one. */
static bool note_error(struct disk *disk, struct directory *dir)
{
    if (disk->rows != NULL)
        row_add(&disk->rows[dir - disk->dirs].errors_total, 1);
    return first_time(&dir->withdrawn);
}

/* --- telling; without the lock --------------------------------------------------------------- */

static void tell_full(const struct disk *disk, const struct directory *dir, int err, bool first)
{
    char text[ERROR_TEXT];

    log_line(
        disk->log, first ? SPILLWAY_LOG_WARN : SPILLWAY_LOG_DEBUG,
        "scratch directory %s takes no more for now (%s): free some room, or name another; it is "
        "tried again from time to time",
        dir->name, error_text(err, text));
}

static void tell_withdrawn(const struct disk *disk, const struct directory *dir, int err)
{
    char text[ERROR_TEXT];

    log_line(disk->log, SPILLWAY_LOG_ERROR,
             "scratch directory %s is withdrawn after an error (%s): what it holds stays readable, "
             "nothing new goes there",
             dir->name, error_text(err, text));
}

void disk_tell_fallback(const struct disk *disk, const char *name)
{
    if (disk->fallback != NULL)
        disk->fallback(disk->fallback_context, name);
}

/* --- growing --------------------------------------------------------------------------------- */

/* How much to grow by: a whole zone, or a fair share of what the limit leaves. */
static uint64_t growth_bytes(const struct disk *disk, const struct extent_growth *plan)
{
    uint64_t room = disk_limit_room(disk), share, len = plan->max_bytes;
    unsigned sharers = 0;

    for (unsigned i = 0; i < disk->count; i++)
        sharers += !disk->dirs[i].withdrawn;
    share = sharers > 1 ? room / sharers : room;
    if (share < GROWTH_SHARE_BYTES)
        share = room < GROWTH_SHARE_BYTES ? room : GROWTH_SHARE_BYTES;
    share -= share % DISK_EXTENT_MIN_BYTES;
    if (len > share)
        len = share;
    return len > plan->min_bytes ? len : plan->min_bytes;
}

/*
 * Grows the file by *len bytes, or by less down to the plan's minimum, without the lock. `end`
 * is where the rest of the file ends. Returns what stopped the last attempt, *len what was got.
 */
static int grow_file(struct directory *dir, const struct extent_growth *plan, uint64_t end,
                     uint64_t *len)
{
    uint64_t want = *len, tried = 0;
    int rc;

    for (;;) {
        rc = -ENOSPC;
        /* Asking first keeps us from taking the last byte for a moment, and as root from the
         * reserve. */
        if (scratch_free_bytes(&dir->scratch) >= want) {
            tried = tried > want ? tried : want;
            rc = scratch_grow(&dir->scratch, plan->offset, want);
        }
        if (rc == 0 || want == plan->min_bytes || !(means_full(rc) || rc == -EINTR))
            break;
        want = want / 2 - want / 2 % DISK_EXTENT_MIN_BYTES;
        if (want < plan->min_bytes)
            want = plan->min_bytes;
    }
    *len = rc == 0 ? want : 0;
    /* A growth that failed may have got a part of its range. */
    if (tried > *len) {
        if (end < plan->offset + *len)
            end = plan->offset + *len;
        (void)scratch_shrink(&dir->scratch, plan->offset + *len, tried - *len, end);
    }
    return rc;
}

/* What a failed growth means for the directory. Takes the lock off while it tells. */
static int growth_failed(struct disk *disk, struct directory *dir, unsigned order, int err)
{
    bool first;

    if (err == -ENOMEM)
        return -ENOMEM;
    if (means_full(err) || means_later(err)) {
        note_full(disk, dir, order, err);
        first = first_time(&dir->told_full);
        disk_tell_state(disk);
        pthread_mutex_unlock(&disk->lock);
        tell_full(disk, dir, err, first);
    } else {
        first = note_error(disk, dir);
        disk_tell_state(disk);
        pthread_mutex_unlock(&disk->lock);
        if (first)
            tell_withdrawn(disk, dir, err);
    }
    pthread_mutex_lock(&disk->lock);
    return -ENOSPC;
}

int directory_grow(struct disk *disk, struct directory *dir, unsigned order, uint64_t *offset)
{
    struct extent_growth plan;
    uint64_t len, wanted, end;
    bool zeros_before, zeros;
    int rc;

    rc = extent_plan(&dir->space, order, &plan);
    if (rc < 0)
        return rc;
    if (plan.min_bytes > disk_limit_room(disk))
        return -ENOSPC;
    len = wanted = growth_bytes(disk, &plan);
    end = extent_end(&dir->space);
    dir->growing = true;
    disk->pending_bytes += wanted;
    pthread_mutex_unlock(&disk->lock);

    zeros_before = dir->scratch.zero_fill;
    rc = grow_file(dir, &plan, end, &len);
    zeros = dir->scratch.zero_fill && !zeros_before;
    if (zeros) {
        log_line(disk->log, SPILLWAY_LOG_WARN,
                 "scratch directory %s has no fallocate: space is claimed by writing zeros",
                 dir->name);
        disk_tell_fallback(disk, "fallocate");
    }

    pthread_mutex_lock(&disk->lock);
    dir->growing = false;
    disk->pending_bytes -= wanted;
    pthread_cond_broadcast(&disk->changed);
    if (rc < 0)
        return growth_failed(disk, dir, order, rc);
    extent_grown(&dir->space, plan.offset, len);
    if (order >= dir->full_order)
        note_room(dir);
    disk_tell_state(disk);
    /* A write may have failed meanwhile. */
    if (!directory_takes_new(dir, disk->os->clock_ns()))
        return -ENOSPC;
    return extent_take(&dir->space, order, offset);
}

void disk_write_failed(struct disk *disk, unsigned number, int err)
{
    struct directory *dir = &disk->dirs[number];
    bool first, full = means_full(err) || means_later(err);
    uint64_t now_ns = disk->os->clock_ns();

    pthread_mutex_lock(&disk->lock);
    if (full) {
        first = first_time(&dir->told_full);
        /* Writes that were in flight together fail together: that is one failure. */
        if (now_ns >= dir->rest_until_ns) {
            note_full(disk, dir, 0, err);
            dir->rest_until_ns = dir->retry_at_ns;
        }
    } else {
        first = note_error(disk, dir);
    }
    disk_tell_state(disk);
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
    if (full)
        tell_full(disk, dir, err, first);
    else if (first)
        tell_withdrawn(disk, dir, err);
}

/* --- trimming and telling -------------------------------------------------------------------- */

/* The directory's `growing` is set by us; the lock is held on entry and return, not in between. */
static uint64_t trim_directory(struct disk *disk, struct directory *dir)
{
    struct extent_growth range;
    uint64_t bytes = 0, end;
    bool last = false; /* without holes, only the end of the file can be returned */
    int64_t zone;
    int rc;

    for (;;) {
        zone = extent_withdraw(&dir->space, last, &range);
        if (zone < 0)
            return bytes;
        end = extent_end(&dir->space);
        pthread_mutex_unlock(&disk->lock);
        rc = scratch_shrink(&dir->scratch, range.offset, range.max_bytes, end);
        pthread_mutex_lock(&disk->lock);
        extent_withdrawn(&dir->space, (uint32_t)zone, rc == 0);
        if (rc == 0)
            bytes += range.max_bytes;
        else if (rc == -EOPNOTSUPP && !last)
            last = true;
        else
            return bytes;
    }
}

uint64_t disk_trim(struct disk *disk)
{
    uint64_t total = 0, bytes;

    pthread_mutex_lock(&disk->lock);
    for (unsigned i = 0; i < disk->count; i++) {
        struct directory *dir = &disk->dirs[i];

        if (dir->growing)
            continue; /* it wants more, not less */
        dir->growing = true;
        bytes = trim_directory(disk, dir);
        dir->growing = false;
        total += bytes;
        for (unsigned j = 0; j < disk->count && bytes > 0; j++) {
            if (disk->dirs[j].group == dir->group)
                note_room(&disk->dirs[j]);
        }
        disk_tell_state(disk);
        pthread_cond_broadcast(&disk->changed);
    }
    pthread_mutex_unlock(&disk->lock);
    return total;
}
