/* SPDX-License-Identifier: MIT */
/* The way out: from staged to stored, or to held (held.c) when no tier takes the run. */
#include <errno.h>
#include <string.h>

#include "../lib/alloc.h"
#include "checksum.h"
#include "run.h"
#include "segment.h"

/* After this many failed writes a run is held. Each failure withdraws a directory. */
enum { WRITE_ATTEMPTS = SETTINGS_MAX_DIRS + 1 };

static struct flight *flight_of(struct job *job)
{
    return (struct flight *)job;
}

void flight_uncharge(struct flight *flight)
{
    atomic_fetch_sub(&flight->pool->in_flight_bytes, flight->charge_bytes);
    flight->charge_bytes = 0;
}

/* ---- gathering ---- */

/* Copies payload and table of a run of several chunks to `to`. */
static void gather(void *context, unsigned char *to)
{
    struct flight *flight = context;
    const struct run *run = flight->run;
    unsigned char *table = to + run->bytes;
    spw_chunks_iter iter = spw_chunks_begin(&flight->chunks);
    const spw_bytes *bytes;
    while ((bytes = spw_chunks_next(&iter))) {
        memcpy(to, bytes->data, bytes->len);
        to += bytes->len;
        if (run->count > 1) {
            uint32_t len = (uint32_t)bytes->len;
            memcpy(table, &len, sizeof(len));
            table += sizeof(len);
        }
    }
}

/* Copies one piece of the region of a staged run to the staging buffer. */
static void gather_piece(struct flight *flight, struct piece piece)
{
    const struct run *run = flight->run;
    unsigned char *to = flight->buffer->base;
    uint64_t filled = run_total_bytes(run), copied = run->bytes;
    if (run->count > 1) { /* several chunks always fit one piece */
        gather(flight, to);
    } else {
        const unsigned char *from = spw_chunks_peek(&flight->chunks)->data;
        filled -= piece.offset;
        filled = copied = filled < piece.len ? filled : piece.len;
        memcpy(to, from + piece.offset, filled);
    }
    memset(to + filled, 0, piece.len - filled);
    pool_count(run->pool, copied_bytes_total, copied);
}

/* ---- memory tier ---- */

/* The checksum of a run in memory, where such runs have one. */
static void sum_in_memory(struct run *run)
{
    struct spw_pool *pool = run->pool;
    if (pool->checksum == CHECKSUM_ALL)
        run->checksum = checksum_update(checksum_identity(pool->id, run->id, run->bytes),
                                        run_slot_own_view(run), (size_t)run_total_bytes(run));
}

/* What lies in a segment stays there: neither room nor a copy is needed. Returns whether it does.
 */
static bool store_adopted(struct flight *flight)
{
    struct run *run = flight->run;
    const spw_bytes *bytes = spw_chunks_peek(&flight->chunks);
    if (run->count > 1 || !slot_is_adoptable(run->pool, bytes))
        return false;
    run_adopt(run, bytes);
    sum_in_memory(run);
    return true;
}

static int store_in_memory(struct flight *flight)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    struct memtier_source source = {.len = run_total_bytes(run)};
    if (!memtier_may_accept(pool->memtier, source.len))
        return -ENOSPC;
    if (run->count == 1) {
        source.whole = spw_chunks_peek(&flight->chunks)->data;
    } else {
        source.fill = gather;
        source.context = flight;
    }
    struct memslot slot;
    int err = memtier_put(pool->memtier, &source, &slot);
    if (err)
        return err;
    run->at.slot = slot;
    run->skip = 0;
    run->place = PLACE_MEMORY;
    sum_in_memory(run);
    pool_count(pool, copied_bytes_total, run->bytes);
    return 0;
}

/* ---- disk tier ---- */

/* Where the pool reads a single chunk that lies in whole pages of its own, which can be written as
 * they are; NULL for all else. */
static const unsigned char *chunks_own_pages(const struct spw_pool *pool, const spw_chunks *chunks)
{
    const spw_bytes *bytes = spw_chunks_peek(chunks);
    if (chunks->count > 1)
        return NULL;
    const struct slot_owner *slot = slot_owner_of(pool, bytes);
    if (slot)
        return segment_own_view(slot->segment, bytes->data);
    return buffer_of(pool, bytes) ? bytes->data : NULL;
}

/* Finds where the region lies: in the slab's own pages if the bytes are the pool's, else in
 * staging. */
static int region_find(struct flight *flight)
{
    struct run *run = flight->run;
    const unsigned char *pages = chunks_own_pages(run->pool, &flight->chunks);
    run->skip = 0;
    flight->direct = pages != NULL;
    if (pages) {
        run->skip = (uint16_t)((uintptr_t)pages & (REGION_ALIGN - 1));
        flight->region = (unsigned char *)(uintptr_t)pages - run->skip; /* a write only reads it */
        return 0;
    }
    if (flight->buffer)
        return 0;
    uint64_t bytes_needed = run_piece(run, 0).len;
    /* The window counts staging too, so that forcing it stays within the budget's slack. */
    int err = buffer_acquire(&run->pool->buffers, bytes_needed, USE_STAGING, CLAIM_FORCE,
                             &flight->buffer);
    buffers_reap(&run->pool->buffers);
    return err;
}

/* Finds all extents of the region before the first byte is written. */
static int extents_open(struct run *run)
{
    struct spw_pool *pool = run->pool;
    uint32_t pieces = run_pieces(run), found = 0;
    int err = 0;
    if (pieces > 1) {
        run->at.extents = allocator_zeroed(pool->allocator, pieces * sizeof(struct extent));
        if (!run->at.extents)
            return -ENOMEM;
    }
    while (!err && found < pieces) {
        err = disk_alloc(pool->disk, run_piece(run, found).len, run_extent(run, found));
        found += !err;
    }
    if (!err)
        return 0;
    while (found-- > 0)
        disk_free(pool->disk, run_extent(run, found));
    if (pieces > 1)
        allocator_release(pool->allocator, run->at.extents, pieces * sizeof(struct extent));
    return err;
}

static int store_on_disk(struct flight *flight)
{
    struct run *run = flight->run;
    int err = region_find(flight);
    if (!err)
        err = extents_open(run);
    if (err)
        return err;
    run->place = PLACE_DISK;
    flight->checksum = checksum_identity(run->pool->id, run->id, run->bytes);
    return 0;
}

/* Gets the next piece ready for the device. */
static void store_piece(struct flight *flight)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    struct piece piece = run_piece(run, flight->piece);
    const struct extent *extent = run_extent(run, flight->piece);
    unsigned char *data = flight->direct ? flight->region + piece.offset : flight->buffer->base;
    if (!flight->direct)
        gather_piece(flight, piece);
    if (pool->checksum != CHECKSUM_OFF)
        flight->checksum = run_piece_checksum(run, flight->piece, data, flight->checksum);
    struct job *job = &flight->job;
    job->file = extent->dir;
    job->align = disk_align(pool->disk, extent->dir);
    job->buffer = data;
    job->len = piece.len;
    job->offset = extent->offset;
}

/* ---- the job ---- */

/* Picks a tier, unless that is done. Returns as a job's prepare does. */
static int store_pick(struct flight *flight)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    if (run->place == PLACE_NONE) {
        if (store_adopted(flight) || (pool->memtier && store_in_memory(flight) == 0)) {
            flight->job.result = 0;
            return JOB_DONE;
        }
        int err = pool->disk ? store_on_disk(flight) : -ENOSPC;
        if (err)
            return err;
    }
    store_piece(flight);
    flight->issued = true;
    return JOB_ISSUE;
}

static int store_prepare(struct job *job)
{
    struct flight *flight = flight_of(job);
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    pthread_mutex_lock(&pool->lock);
    bool orphan = flight->orphan;
    if (!orphan) {
        run->state = RUN_WRITING;
        flight->busy = true;
    }
    pthread_mutex_unlock(&pool->lock);
    flight->issued = false;
    if (orphan)
        return -ECANCELED;
    int err = store_pick(flight);
    pthread_mutex_lock(&pool->lock);
    flight->busy = false;
    spw_waker *waker = err == JOB_ISSUE ? run_take_waker(run) : NULL;
    if (atomic_load(&pool->waiters))
        pthread_cond_broadcast(&pool->progress);
    pthread_mutex_unlock(&pool->lock);
    run_wake(waker); /* its bytes can be handed over now */
    return err;
}

void count_stored(struct run *run, bool direct)
{
    struct spw_pool *pool = run->pool;
    pool_count(pool, spilled_runs_total, 1);
    pool_count(pool, spilled_bytes_total, run->bytes);
    if (run->place == PLACE_DISK)
        pool_count(pool, spilled_disk_bytes_total, run->bytes);
    else
        pool_count(pool, spilled_memory_bytes_total, run->bytes);
    if (direct && run->place == PLACE_DISK)
        pool_count(pool, direct_bytes_total, run->bytes);
}

/* The run has a place, or none wanted it, or nobody wants it any more. */
static void store_end(struct flight *flight, int result)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    struct buffer *staging = flight->buffer;
    flight->buffer = NULL;
    pthread_mutex_lock(&pool->lock);
    bool orphan = flight->orphan;
    flight_uncharge(flight);
    spw_waker *waker = NULL;
    if (!orphan) {
        waker = run_take_waker(run);
        if (result == 0) {
            run->checksum = run->place == PLACE_DISK ? flight->checksum : run->checksum;
            run->state = RUN_STORED;
            run->flight = NULL;
            pool->held_backoff_ns = 0;
            if (run_is_in_memory(run))
                memory_append(run);
            count_stored(run, flight->direct);
        } else {
            held_append(run);
            pool_count(pool, full_total, 1);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    if (staging)
        buffer_release(staging);
    if (orphan)
        run_close(run);
    else if (result == 0)
        flight_close(flight);
    pool_progress(pool);
    run_wake(waker);
}

/* A write failed: the directory rests or is withdrawn, and the run tries elsewhere. Returns whether
 * it does. */
static bool store_again(struct flight *flight, int err)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    unsigned dir = run_extent(run, flight->piece)->dir;
    if (err != -ENOSPC && err != -EDQUOT) /* those the disk tier counts */
        pool_count(pool, write_errors_total, 1);
    run_free_extents(run);
    disk_write_failed(pool->disk, dir, err);
    flight->piece = 0;
    return ++flight->attempts < WRITE_ATTEMPTS;
}

static void store_complete(struct job *job)
{
    struct flight *flight = flight_of(job);
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    int result = job->result;
    bool again = false;
    if (flight->issued && result < 0) {
        again = store_again(flight, result);
    } else if (flight->issued && flight->piece + 1 < run_pieces(run)) {
        flight->piece++;
        again = true;
    }
    /* An orphan that is submitted again ends in prepare; what it has on disk is freed with it. */
    if (again)
        engine_submit(pool->engine, job, false);
    else
        store_end(flight, result);
}

void run_stage(struct run *run)
{
    struct spw_pool *pool = run->pool;
    struct flight *flight = run->flight;
    /* Staging doubles what a run of foreign bytes needs; a large one is staged piece by piece. */
    uint64_t staging = chunks_own_pages(pool, &flight->chunks) ? 0 : run->bytes;
    if (staging > RUN_MAX_BYTES)
        staging = RUN_MAX_BYTES;
    flight->charge_bytes = run->bytes + staging;
    flight->piece = flight->attempts = 0;
    flight->issued = false;
    flight->job = (struct job){
        .op = JOB_WRITE, .prepare = store_prepare, .complete = store_complete, .align = 1};
    atomic_fetch_add(&pool->in_flight_bytes, flight->charge_bytes);
    engine_submit(pool->engine, &flight->job, false);
}
