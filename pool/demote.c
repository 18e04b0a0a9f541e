/* SPDX-License-Identifier: MIT */
/*
 * From the memory tier to disk, straight from the segment's pages. A fetch or drop meanwhile takes
 * the run away at once; the write then ends as an orphan.
 */
#include <errno.h>

#include "../lib/alloc.h"
#include "checksum.h"
#include "run.h"

struct demotion {
    struct job job; /* first */
    struct spw_pool *pool;
    struct run *run;         /* guarded by the pool's lock; NULL: taken or dropped */
    struct run shape;        /* its numbers: the run itself may be gone */
    struct slot_owner *lent; /* keeps the segment until the write has ended */
    struct extent *extents;  /* one a piece */
    const unsigned char *region;
    uint64_t checksum;
    uint32_t placed; /* extents that are allocated */
    bool issued;     /* the device has seen the last of them */
};

static struct demotion *demotion_of(struct job *job)
{
    return (struct demotion *)job;
}

/* ---- runs stored in memory ---- */

void memory_append(struct run *run)
{
    struct spw_pool *pool = run->pool;
    run->memory_prev = pool->memory_last;
    run->memory_next = NULL;
    *(pool->memory_last ? &pool->memory_last->memory_next : &pool->memory_first) = run;
    pool->memory_last = run;
}

void memory_remove(struct run *run)
{
    struct spw_pool *pool = run->pool;
    if (!run->memory_prev && pool->memory_first != run)
        return; /* on disk, or off the list already */
    *(run->memory_prev ? &run->memory_prev->memory_next : &pool->memory_first) = run->memory_next;
    *(run->memory_next ? &run->memory_next->memory_prev : &pool->memory_last) = run->memory_prev;
    run->memory_prev = run->memory_next = NULL;
}

/* ---- a demotion ---- */

static size_t extents_size(const struct demotion *demotion)
{
    return run_pieces(&demotion->shape) * sizeof(struct extent);
}

static void demotion_free(struct demotion *demotion)
{
    const spw_allocator *allocator = demotion->pool->allocator;
    allocator_release(allocator, demotion->extents, extents_size(demotion));
    allocator_release(allocator, demotion, sizeof(*demotion));
}

/* With the lock held: makes what a demotion of `run` needs. NULL without memory. */
static struct demotion *demotion_open(struct run *run)
{
    const spw_allocator *allocator = run->pool->allocator;
    struct demotion *demotion = allocator_zeroed(allocator, sizeof(*demotion));
    if (!demotion)
        return NULL;
    demotion->pool = run->pool;
    demotion->run = run;
    demotion->shape = *run;
    demotion->shape.skip = (uint16_t)((uintptr_t)run->at.slot.data & (REGION_ALIGN - 1));
    demotion->region = run->at.slot.data - demotion->shape.skip;
    demotion->checksum = checksum_identity(run->pool->id, run->id, run->bytes);
    demotion->extents = allocator_zeroed(allocator, extents_size(demotion));
    demotion->lent = demotion->extents ? slot_owner_open(run) : NULL;
    if (demotion->lent)
        return demotion;
    demotion_free(demotion);
    return NULL;
}

/* Where memory runs have checksums, what is wrong must not get a new one on disk. */
static bool demotion_is_intact(const struct demotion *demotion)
{
    const struct spw_pool *pool = demotion->pool;
    const struct run *shape = &demotion->shape;
    const struct memslot *slot = &demotion->lent->slot;
    return pool->checksum != CHECKSUM_ALL ||
           checksum_update(checksum_identity(pool->id, shape->id, shape->bytes), slot->data,
                           slot->len) == shape->checksum;
}

/* Gets the next piece ready for the device. */
static int demotion_prepare(struct job *job)
{
    struct demotion *demotion = demotion_of(job);
    struct spw_pool *pool = demotion->pool;
    uint32_t index = demotion->placed;
    demotion->issued = false;
    pthread_mutex_lock(&pool->lock);
    bool orphan = !demotion->run;
    pthread_mutex_unlock(&pool->lock);
    if (orphan)
        return -ECANCELED;
    if (index == 0 && !demotion_is_intact(demotion))
        return -EBADMSG;
    struct piece piece = run_piece(&demotion->shape, index);
    struct extent *extent = &demotion->extents[index];
    int err = disk_alloc(pool->disk, piece.len, extent);
    if (err)
        return err;
    demotion->placed++;
    const unsigned char *data = demotion->region + piece.offset;
    if (pool->checksum != CHECKSUM_OFF)
        demotion->checksum = run_piece_checksum(&demotion->shape, index, data, demotion->checksum);
    job->file = extent->dir;
    job->align = disk_align(pool->disk, extent->dir);
    job->buffer = (void *)(uintptr_t)data; /* a write only reads it */
    job->len = piece.len;
    job->offset = extent->offset;
    demotion->issued = true;
    return JOB_ISSUE;
}

/* With the lock held: the run is stored on disk from now on. */
static void demotion_move(struct demotion *demotion, struct run *run)
{
    run->place = PLACE_DISK;
    run->skip = demotion->shape.skip;
    run->checksum = demotion->checksum;
    if (run_pieces(run) > 1) {
        run->at.extents = demotion->extents;
        demotion->extents = NULL;
    } else {
        run->at.extent = demotion->extents[0];
    }
    demotion->placed = 0;
    pool_count(run->pool, demoted_bytes_total, run->bytes);
}

/* The run is on disk, or stays where it was, or is gone. */
static void demotion_end(struct demotion *demotion, int err)
{
    struct spw_pool *pool = demotion->pool;
    spw_waker *waker = NULL;
    bool stays = false;
    pthread_mutex_lock(&pool->lock);
    struct run *run = demotion->run;
    if (run) {
        run->demotion = NULL;
        run->state = RUN_STORED;
        stays = err != 0;
        if (stays)
            memory_append(run);
        else
            demotion_move(demotion, run);
        waker = run_take_waker(run);
    }
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < demotion->placed; i++)
        disk_free(pool->disk, &demotion->extents[i]);
    struct slot_owner *lent = demotion->lent;
    demotion_free(demotion);
    run_wake(waker);
    pool_progress(pool);
    if (stays)
        slot_owner_undo(lent); /* the segment is the run's */
    else
        owner_release(&lent->owner); /* last: it may end the pool */
}

static void demotion_complete(struct job *job)
{
    struct demotion *demotion = demotion_of(job);
    struct spw_pool *pool = demotion->pool;
    int err = job->result;
    if (err && demotion->issued) {
        pool_count(pool, write_errors_total, 1);
        disk_write_failed(pool->disk, job->file, err);
    }
    if (!err && demotion->placed < run_pieces(&demotion->shape))
        engine_submit(pool->engine, job, false);
    else
        demotion_end(demotion, err);
}

/* ---- a run that is wanted meanwhile ---- */

/* With the lock held: the demotion ends by itself, and keeps the segment until then. */
static void demotion_orphan(struct run *run)
{
    run->demotion->run = NULL;
    run->demotion = NULL;
    run->place = PLACE_NONE;
}

int demote_lend(struct run *run, spw_chunks *out)
{
    if (!run_is_instant(run))
        return -EAGAIN;
    struct slot_owner *lent = run->demotion->lent;
    spw_bytes bytes = {run->at.slot.data, (size_t)run->bytes, &lent->owner};
    owner_acquire(&lent->owner);
    if (spw_chunks_push(out, &bytes, run->pool->allocator)) {
        owner_release(&lent->owner); /* not the last */
        return -ENOMEM;
    }
    demotion_orphan(run);
    return 0;
}

void demote_drop(struct run *run)
{
    demotion_orphan(run);
}

/* ---- asking for it ---- */

/* Runs whose demotion begins in one go, with the pool's lock held. */
enum { DEMOTE_BATCH = 32 };

/* With the lock held: begins the next demotion within `bytes`. Returns its bytes, 0 when there is
 * none, or -ENOMEM. */
static int64_t demote_next(struct spw_pool *pool, uint64_t bytes)
{
    struct run *run = pool->memory_last;
    if (!run || run->bytes > bytes)
        return 0;
    struct demotion *demotion = demotion_open(run);
    if (!demotion)
        return -ENOMEM;
    demotion->job = (struct job){
        .op = JOB_WRITE, .prepare = demotion_prepare, .complete = demotion_complete, .align = 1};
    memory_remove(run);
    run->state = RUN_DEMOTING;
    run->demotion = demotion;
    engine_submit(pool->engine, &demotion->job, false);
    return (int64_t)run->bytes;
}

int spw_pool_demote(spw_pool *pool, uint64_t bytes, uint64_t *started_bytes)
{
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    if (!pool->disk || !pool->memtier)
        return -ENODEV;
    uint64_t started = 0;
    int64_t moved = 1;
    while (moved > 0) {
        pthread_mutex_lock(&pool->lock);
        for (unsigned i = 0; i < DEMOTE_BATCH && moved > 0; i++) {
            moved = demote_next(pool, bytes - started);
            started += moved > 0 ? (uint64_t)moved : 0;
        }
        pthread_mutex_unlock(&pool->lock);
    }
    if (started_bytes)
        *started_bytes = started;
    return moved < 0 && started == 0 ? -ENOMEM : 0;
}
