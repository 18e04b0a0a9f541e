/* SPDX-License-Identifier: MIT */
/*
 * What the kernel is told of runs that it may keep elsewhere than in memory. Segments of the
 * memory tier may be swapped out: a little before their reader comes they are brought in, all pages
 * at once (MADV_WILLNEED), and then mapped (MADV_POPULATE_READ), where the reader would fault them
 * in a few at a time. Scratch files without direct I/O are read ahead into the page cache
 * (POSIX_FADV_WILLNEED) beyond what the budget has room for, and what has been read is dropped from
 * it (POSIX_FADV_DONTNEED), so that the cache holds nothing twice. All of it goes through the ring,
 * or through a thread of the engine; none of it is needed.
 */
#include "hint.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "../lib/alloc.h"
#include "run.h"
#include "segment.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; -EINVAL before that */
#endif

enum { PIECES_MAX = 16 }; /* of one run that are told of: it is under a queue's lock */

/* What one call tells of at most. */
#define HINT_MAX_BYTES (UINT64_C(1) << 30)

struct hint {
    struct job job; /* first */
    struct spw_pool *pool;
    struct slot_owner *slot; /* keeps the range mapped; NULL: of a file */
    bool allowed;            /* there is room for the segment's range */
};

static struct hint *hint_of(struct job *job)
{
    return (struct hint *)job;
}

static struct hint *hint_new(struct spw_pool *pool, int (*prepare)(struct job *job),
                             void (*complete)(struct job *job))
{
    struct hint *hint = allocator_zeroed(pool->allocator, sizeof(*hint));
    if (!hint)
        return NULL;
    hint->pool = pool;
    hint->job.op = JOB_HINT;
    hint->job.align = 1;
    hint->job.prepare = prepare;
    hint->job.complete = complete;
    return hint;
}

static void hint_free(struct hint *hint)
{
    allocator_release(hint->pool->allocator, hint, sizeof(*hint));
}

/* ---- segments ---- */

/* To bring pages in may call the OOM killer, as any touch may: so not without room for them. */
static int segment_prepare(struct job *job)
{
    struct hint *hint = hint_of(job);
    if (job->advice != MADV_WILLNEED)
        return JOB_ISSUE;
    hint->allowed = memtier_may_bring_in(hint->pool->memtier, job->len);
    if (!hint->allowed)
        return JOB_DONE;
    pool_count(hint->pool, hints_total, 1);
    return JOB_ISSUE;
}

static void segment_complete(struct job *job)
{
    struct hint *hint = hint_of(job);
    if (job->advice == MADV_WILLNEED && hint->allowed && job->result == 0) {
        job->advice = MADV_POPULATE_READ;
        engine_submit(hint->pool->engine, job, false);
        return;
    }
    struct slot_owner *slot = hint->slot;
    if (hint->allowed)
        memtier_brought_in(hint->pool->memtier, job->len);
    hint_free(hint);
    owner_release(&slot->owner); /* last: it may end the pool */
}

/* With the lock held. Whole pages: those beside the run are its neighbours', which are due soon. */
static void hint_segment(struct run *run)
{
    struct spw_pool *pool = run->pool;
    struct hint *hint = hint_new(pool, segment_prepare, segment_complete);
    if (!hint)
        return;
    if (run_share(run)) {
        hint_free(hint);
        return;
    }
    uint64_t page_bytes = memtier_page_bytes(pool->memtier);
    uint64_t skip = (uintptr_t)run_slot_data(run) & (page_bytes - 1);
    uint64_t len = (skip + run_total_bytes(run) + page_bytes - 1) & ~(page_bytes - 1);
    hint->slot = run->at.shared.owner;
    owner_acquire(&hint->slot->owner);
    hint->job.buffer = (void *)(uintptr_t)(run_slot_data(run) - skip);
    hint->job.len = (size_t)(len < HINT_MAX_BYTES ? len : HINT_MAX_BYTES);
    hint->job.advice = MADV_WILLNEED;
    engine_submit(pool->engine, &hint->job, false);
}

/* ---- files ---- */

static int file_prepare(struct job *job)
{
    pool_count(hint_of(job)->pool, hints_total, job->advice == POSIX_FADV_WILLNEED);
    return JOB_ISSUE;
}

static void file_complete(struct job *job)
{
    hint_free(hint_of(job));
}

static void hint_file(struct spw_pool *pool, const struct extent *extent, uint64_t len, int advice)
{
    struct hint *hint = hint_new(pool, file_prepare, file_complete);
    if (!hint)
        return;
    hint->job.file = extent->dir;
    hint->job.offset = extent->offset;
    hint->job.len = (size_t)len;
    hint->job.advice = advice;
    engine_submit(pool->engine, &hint->job, false);
}

/* With the lock held. */
static void hint_files(struct run *run)
{
    struct spw_pool *pool = run->pool;
    uint32_t pieces = run_pieces(run);
    for (uint32_t i = 0; i < pieces && i < PIECES_MAX; i++) {
        const struct extent *extent = run_extent(run, i);
        if (disk_align(pool->disk, extent->dir) == 1)
            hint_file(pool, extent, run_piece(run, i).len, POSIX_FADV_WILLNEED);
    }
}

void hint_was_read(struct spw_pool *pool, const struct job *read)
{
    const struct extent extent = {.dir = (uint16_t)read->file, .offset = read->offset};
    if (read->align == 1)
        hint_file(pool, &extent, read->len, POSIX_FADV_DONTNEED);
}

/* ---- runs ---- */

bool pool_hints(const struct spw_pool *pool)
{
    return (pool->memtier && memtier_swaps(pool->memtier)) ||
           (pool->disk && disk_is_buffered(pool->disk));
}

int run_hint(struct run *run)
{
    struct spw_pool *pool = run->pool;
    int rc = 0;
    pthread_mutex_lock(&pool->lock);
    enum run_state state = run->state;
    if (state == RUN_STAGED || state == RUN_WRITING || state == RUN_DEMOTING) {
        rc = -EAGAIN;
    } else if (state == RUN_STORED && !run->hinted) {
        run->hinted = true;
        if (run->place == PLACE_DISK)
            hint_files(run);
        else if (memtier_swaps(pool->memtier) && segment_swaps(run_segment(run)))
            hint_segment(run);
    }
    pthread_mutex_unlock(&pool->lock);
    return rc;
}
