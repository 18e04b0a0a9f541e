/* SPDX-License-Identifier: MIT */
/*
 * From the memory tier to disk, straight from the segment's pages. A fetch or drop meanwhile takes
 * the run away at once; the write then ends as an orphan.
 */
#include <errno.h>

#include "../lib/alloc.h"
#include "../lib/probes.h"
#include "checksum.h"
#include "run.h"

struct demotion {
    struct pieces pieces;    /* first */
    struct run *run;         /* guarded by the pool's lock; NULL: taken or dropped */
    struct run shape;        /* its numbers and its extents: the run itself may be gone */
    struct slot_owner *slot; /* kept until the write has ended */
    const unsigned char *region;
    _Atomic uint64_t checksum;
};

static const struct pieces_ops demotion_ops;

static struct demotion *demotion_of(struct pieces *pieces)
{
    return (struct demotion *)pieces;
}

/* ---- runs stored in memory ---- */

void memory_append(struct run *run)
{
    struct spw_pool *pool = run->pool;
    run->list_prev = pool->memory_last;
    run->list_next = NULL;
    *(pool->memory_last ? &pool->memory_last->list_next : &pool->memory_first) = run;
    pool->memory_last = run;
    pool->memory_run_bytes += run->bytes;
}

/* A run that could not be moved: all others are tried before it is again. */
static void memory_prepend(struct run *run)
{
    struct spw_pool *pool = run->pool;
    run->list_prev = NULL;
    run->list_next = pool->memory_first;
    *(pool->memory_first ? &pool->memory_first->list_prev : &pool->memory_last) = run;
    pool->memory_first = run;
    pool->memory_run_bytes += run->bytes;
}

void memory_remove(struct run *run)
{
    struct spw_pool *pool = run->pool;
    if (!run->list_prev && pool->memory_first != run)
        return; /* on disk, or off the list already */
    *(run->list_prev ? &run->list_prev->list_next : &pool->memory_first) = run->list_next;
    *(run->list_next ? &run->list_next->list_prev : &pool->memory_last) = run->list_prev;
    run->list_prev = run->list_next = NULL;
    pool->memory_run_bytes -= run->bytes;
}

/* ---- a demotion ---- */

static void demotion_free(struct demotion *demotion)
{
    pieces_free(&demotion->pieces);
    allocator_release(demotion->pieces.pool->allocator, demotion, sizeof(*demotion));
}

/* With the lock held: makes what a demotion of `run` needs. NULL without memory. */
static struct demotion *demotion_open(struct run *run)
{
    struct spw_pool *pool = run->pool;
    struct demotion *demotion = allocator_zeroed(pool->allocator, sizeof(*demotion));
    if (!demotion)
        return NULL;
    pieces_init(&demotion->pieces, pool, &demotion_ops, JOB_WRITE, false);
    demotion->run = run;
    demotion->shape = *run;
    demotion->shape.place = PLACE_NONE;
    const unsigned char *data = run_slot_own_view(run);
    demotion->shape.skip = (uint16_t)((uintptr_t)data & (REGION_ALIGN - 1));
    demotion->region = data - demotion->shape.skip;
    if (run_share(run)) {
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
    const struct run *shape = &demotion->shape;
    const struct spw_pool *pool = shape->pool;
    return pool->checksum != CHECKSUM_ALL ||
           checksum_update(checksum_identity(pool->id, shape->id, shape->bytes),
                           demotion->region + shape->skip,
                           (size_t)run_stored_bytes(shape)) == shape->checksum;
}

static int demotion_begin(struct pieces *pieces)
{
    struct demotion *demotion = demotion_of(pieces);
    if (!demotion_is_intact(demotion))
        return -EBADMSG;
    int err = run_open_extents(&demotion->shape);
    if (err)
        return err;
    demotion->shape.place = PLACE_DISK;
    pieces->count = run_pieces(&demotion->shape);
    return JOB_ISSUE;
}

static int demotion_ready(struct pieces *pieces, struct lane *lane)
{
    struct demotion *demotion = demotion_of(pieces);
    struct piece piece = run_piece(&demotion->shape, lane->index);
    const struct extent *extent = run_extent(&demotion->shape, lane->index);
    const unsigned char *data = demotion->region + piece.offset;
    run_expect(pieces->pool, data, piece.len);
    atomic_fetch_add(&demotion->checksum, run_piece_checksum(&demotion->shape, lane->index, data));
    struct job *job = &lane->job;
    job->file = extent->dir;
    job->align = disk_align(pieces->pool->disk, extent->dir);
    job->buffer = (void *)(uintptr_t)data; /* a write only reads it */
    job->len = piece.len;
    job->offset = extent->offset;
    return 0;
}

/* With the lock held: the run is stored on disk from now on. */
static void demotion_move(struct demotion *demotion, struct run *run)
{
    owner_release(&run_unshare(run)->owner); /* not the last: the demotion has one */
    run->place = PLACE_DISK;
    run->skip = demotion->shape.skip;
    run->checksum = atomic_load(&demotion->checksum);
    run->at = demotion->shape.at;
    demotion->shape.place = PLACE_NONE;
    PROBE2(evict, run->id, run->bytes);
    pool_count(run->pool, demoted_bytes_total, run->bytes);
}

/* The run is on disk, or stays in memory, or is gone. */
static void demotion_end(struct demotion *demotion, int err)
{
    struct spw_pool *pool = demotion->pieces.pool;
    spw_waker *waker = NULL;
    pthread_mutex_lock(&pool->lock);
    struct run *run = demotion->run;
    if (run) {
        run->demotion = NULL;
        run->state = RUN_STORED;
        if (!err)
            demotion_move(demotion, run);
        if (run->wanted || !err)
            run_list(run);
        else
            memory_prepend(run);
        waker = run_take_waker(run);
    }
    pthread_mutex_unlock(&pool->lock);
    if (demotion->shape.place == PLACE_DISK)
        run_free_extents(&demotion->shape); /* it was for nothing */
    struct slot_owner *slot = demotion->slot;
    demotion_free(demotion);
    run_wake(waker);
    pool_progress(pool);
    owner_release(&slot->owner); /* last: it may end the pool */
}

static bool demotion_ended(struct pieces *pieces, int err, uint32_t index)
{
    struct demotion *demotion = demotion_of(pieces);
    struct spw_pool *pool = pieces->pool;
    bool of_device = err && index != UINT32_MAX;
    unsigned dir = of_device ? run_extent(&demotion->shape, index)->dir : 0;
    if (err && demotion->shape.place == PLACE_DISK)
        run_free_extents(&demotion->shape);
    if (of_device)
        write_failed(pool, dir, err);
    demotion_end(demotion, err);
    return false;
}

static const struct pieces_ops demotion_ops = {
    .begin = demotion_begin,
    .ready = demotion_ready,
    .ended = demotion_ended,
};

/* ---- a run that is wanted meanwhile ---- */

void demote_orphan(struct run *run)
{
    run->demotion->run = NULL;
    run->demotion->pieces.orphan = true;
    run->demotion = NULL;
}

void demote_take_back(struct run *run)
{
    demote_orphan(run);
    run->state = RUN_STORED;
    memory_prepend(run);
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
    memory_remove(run);
    run->state = RUN_DEMOTING;
    run->demotion = demotion;
    pieces_start(&demotion->pieces);
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
    /* No more than there is now, and what fails goes to the list's other end: so it is not begun
     * again as long as anything else is left. */
    pthread_mutex_lock(&pool->lock);
    if (bytes > pool->memory_run_bytes)
        bytes = pool->memory_run_bytes;
    pthread_mutex_unlock(&pool->lock);
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
