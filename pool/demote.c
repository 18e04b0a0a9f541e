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
    struct slot_owner *slot; /* kept until the write has ended */
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
    const unsigned char *data = run_slot_own_view(run);
    demotion->shape.skip = (uint16_t)((uintptr_t)data & (REGION_ALIGN - 1));
    demotion->region = data - demotion->shape.skip;
    demotion->checksum = checksum_identity(run->pool->id, run->id, run->bytes);
    demotion->extents = allocator_zeroed(allocator, extents_size(demotion));
    if (!demotion->extents || run_share(run)) {
        demotion_free(demotion);
        return NULL;
    }
    demotion->slot = run->at.shared.owner;
    owner_acquire(&demotion->slot->owner);
    return demotion;
}

/* Where memory runs have checksums, what is wrong must not get a new one on disk. */
static bool demotion_is_intact(const struct demotion *demotion)
{
    const struct spw_pool *pool = demotion->pool;
    const struct run *shape = &demotion->shape;
    return pool->checksum != CHECKSUM_ALL ||
           checksum_update(checksum_identity(pool->id, shape->id, shape->bytes),
                           demotion->region + shape->skip,
                           (size_t)run_total_bytes(shape)) == shape->checksum;
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
    owner_release(&run_unshare(run)->owner); /* not the last: the demotion has one */
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
    pthread_mutex_lock(&pool->lock);
    struct run *run = demotion->run;
    if (run) {
        run->demotion = NULL;
        run->state = RUN_STORED;
        if (err)
            memory_append(run); /* where it was */
        else
            demotion_move(demotion, run);
        waker = run_take_waker(run);
    }
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < demotion->placed; i++)
        disk_free(pool->disk, &demotion->extents[i]);
    struct slot_owner *slot = demotion->slot;
    demotion_free(demotion);
    run_wake(waker);
    pool_progress(pool);
    owner_release(&slot->owner); /* last: it may end the pool */
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

void demote_orphan(struct run *run)
{
    run->demotion->run = NULL;
    run->demotion = NULL;
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
