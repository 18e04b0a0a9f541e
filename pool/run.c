/* SPDX-License-Identifier: MIT */
/* Runs as handles: what a queue and its policies do with them, in any state. */
#include "run.h"
#include "spillway/errors.h"

#include <errno.h>

#include "../lib/alloc.h"
#include "../lib/block.h"
#include "../lib/probes.h"
#include "checksum.h"

static struct run *run_of(spw_handle *handle)
{
    return (struct run *)handle;
}

uint64_t run_piece_checksum(const struct run *run, uint32_t index, const unsigned char *data)
{
    const struct spw_pool *pool = run->pool;
    if (pool->checksum == CHECKSUM_OFF)
        return 0;
    struct piece piece = run_piece(run, index);
    uint64_t begin = run->skip > piece.offset ? run->skip - piece.offset : 0;
    uint64_t end = run->skip + run_stored_bytes(run) - piece.offset;
    if (end > piece.len)
        end = piece.len;
    return checksum_update(checksum_identity(pool->id, run->id, run->bytes) + index, data + begin,
                           (size_t)(end - begin));
}

/* ---- pieces of a frame ---- */

enum { FRAME_PIECES_MAX = 3 };

static uint64_t power_up(uint64_t units)
{
    return units > 1 ? UINT64_C(1) << (64 - __builtin_clzll(units - 1)) : 1;
}

/* The length of a piece when `rest` bytes are left: the largest power of two below, unless what it
 * takes to hold all of the rest is hardly more. */
static uint64_t frame_cut(uint64_t rest, uint32_t index)
{
    uint64_t units = (rest + DISK_EXTENT_MIN_BYTES - 1) / DISK_EXTENT_MIN_BYTES;
    uint64_t whole = power_up(units);
    if (index + 1 == FRAME_PIECES_MAX || (whole - units) * 8 <= whole)
        return rest;
    return whole / 2 * DISK_EXTENT_MIN_BYTES;
}

struct piece frame_piece(const struct run *run, uint32_t index)
{
    uint64_t offset = 0, rest = run_region_bytes(run);
    for (uint32_t i = 0;; i++) {
        uint64_t len = frame_cut(rest, i);
        if (i == index)
            return (struct piece){offset, len};
        offset += len;
        rest -= len;
    }
}

uint32_t frame_pieces(const struct run *run)
{
    uint32_t pieces = 0;
    for (uint64_t rest = run_region_bytes(run); rest > 0; pieces++)
        rest -= frame_cut(rest, pieces);
    return pieces;
}

/* ---- life ---- */

static struct run *run_new(struct spw_pool *pool, uint64_t bytes, size_t count)
{
    struct run *run = allocator_zeroed(pool->allocator, sizeof(*run));
    if (!run)
        return NULL;
    run->handle.ops = &run_handle_ops;
    run->pool = pool;
    run->id = atomic_fetch_add_explicit(&pool->next_run_id, 1, memory_order_relaxed);
    run->bytes = bytes;
    run->count = (uint32_t)count;
    return run;
}

static void run_begin(struct run *run)
{
    pool_acquire(run->pool);
    pool_count(run->pool, runs, 1);
}

struct run *run_open_adopted(struct spw_pool *pool, const spw_bytes *bytes)
{
    struct run *run = run_new(pool, bytes->len, 1);
    if (!run)
        return NULL;
    run_begin(run);
    run_adopt(run, bytes);
    run->state = RUN_STORED;
    pthread_mutex_lock(&pool->lock);
    count_stored(run, false);
    memory_append(run);
    pthread_mutex_unlock(&pool->lock);
    return run;
}

struct run *run_open(struct spw_pool *pool, spw_chunks *chunks)
{
    struct run *run = run_new(pool, chunks->bytes, chunks->count);
    if (!run)
        return NULL;
    struct flight *flight = allocator_zeroed(pool->allocator, sizeof(*flight));
    if (!flight) {
        allocator_release(pool->allocator, run, sizeof(*run));
        return NULL;
    }
    run->flight = flight;
    run->state = RUN_STAGED;
    flight->pieces.pool = pool;
    flight->run = run;
    account_add_foreign(&pool->account, (int64_t)chunks->foreign_bytes);
    spw_chunks_join(&flight->chunks, chunks);
    run_begin(run);
    return run;
}

int run_open_extents(struct run *run)
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

void run_free_extents(struct run *run)
{
    struct spw_pool *pool = run->pool;
    uint32_t pieces = run_pieces(run);
    for (uint32_t i = 0; i < pieces; i++)
        disk_free(pool->disk, run_extent(run, i));
    if (pieces > 1)
        allocator_release(pool->allocator, run->at.extents, pieces * sizeof(struct extent));
    run->place = PLACE_NONE;
}

static void run_release_slot(const struct run *run)
{
    struct memslot slot = run_slot(run);
    memtier_release(run->pool->memtier, &slot);
}

/* Gives the stored place back to its tier. No lock held. */
static void run_free_place(struct run *run)
{
    struct spw_pool *pool = run->pool;
    if (run->place == PLACE_SHARED) {
        owner_release(&run_unshare(run)->owner); /* the last one says that there is room */
        return;
    }
    if (run->place == PLACE_MEMORY)
        run_release_slot(run);
    else if (run->place == PLACE_DISK)
        run_free_extents(run);
    else
        return;
    run->place = PLACE_NONE;
    pool_room_freed(pool);
}

void flight_close(struct flight *flight)
{
    struct spw_pool *pool = flight->pieces.pool;
    account_add_foreign(&pool->account, -(int64_t)flight->chunks.foreign_bytes);
    spw_chunks_clear(&flight->chunks);
    pieces_free(&flight->pieces);
    struct buffer *const buffers[] = {flight->buffer, flight->whole, flight->frame};
    for (unsigned i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
        if (buffers[i])
            buffer_release(buffers[i]);
    allocator_release(pool->allocator, flight, sizeof(*flight));
}

void run_close(struct run *run)
{
    struct spw_pool *pool = run->pool;
    run_free_place(run);
    if (run->flight)
        flight_close(run->flight);
    run_wake(run_take_waker(run)); /* only to give its reference back; nobody waits any more */
    pool_count(pool, runs, -1);
    allocator_release(pool->allocator, run, sizeof(*run));
    pool_progress(pool);
    pool_release(pool);
}

spw_waker *run_take_waker(struct run *run)
{
    spw_waker *waker = run->waker;
    run->waker = NULL;
    return waker;
}

void run_wake(spw_waker *waker)
{
    if (!waker)
        return;
    waker->wake(waker);
    waker->release(waker);
}

/* ---- fetch ---- */

/* Moves the flight's chunks to `out`; the foreign ones are the queue's to count again. */
static void chunks_hand_over(struct flight *flight, spw_chunks *out)
{
    account_add_foreign(&flight->pieces.pool->account, -(int64_t)flight->chunks.foreign_bytes);
    spw_chunks_join(out, &flight->chunks);
}

static void count_elided(struct run *run)
{
    pool_count(run->pool, elided_runs_total, 1);
    pool_count(run->pool, elided_bytes_total, run->bytes);
}

/*
 * A run whose write is under way: its bytes are still here. With the lock held.
 * The flight finishes as an orphan and frees the run. Returns 0, -EAGAIN while the engine's thread
 * reads the chunks, or -ENOMEM.
 */
static int fetch_writing(struct run *run, spw_chunks *out)
{
    struct flight *flight = run->flight;
    if (flight->busy || run->state == RUN_STAGED)
        return -EAGAIN;
    if (run->count == 1) {
        /* The device may be reading these very pages, so the flight keeps its reference. */
        spw_bytes bytes = spw_bytes_clone(spw_chunks_peek(&flight->chunks));
        if (spw_chunks_push(out, &bytes, run->pool->allocator)) {
            spw_bytes_release(&bytes);
            return -ENOMEM;
        }
    } else {
        chunks_hand_over(flight, out); /* the device reads a staging buffer */
    }
    flight->pieces.orphan = true;
    return 0;
}

/* What a fetch did with the lock held. */
enum fetched {
    FETCHED_OPEN, /* nothing: an error */
    FETCHED_RUN,  /* the caller frees the run after unlocking */
    FETCHED_LEFT, /* the flight frees it */
};

/* Tells the error of a failed run; unless it is lost, the next attempt reads again. */
static int fetch_failed(struct run *run)
{
    int err = run->error;
    if (spw_error_class(err) != SPILLWAY_CLASS_LOST) {
        run->state = RUN_STORED;
        if (run_is_in_memory(run))
            memory_append(run); /* a load takes it off */
    }
    return err;
}

void count_gone(const struct run *run, uint64_t now_ns)
{
    struct spw_pool *pool = run->pool;
    ledger_gone(&pool->ledger, run->bytes, now_ns);
    pool_tell_ledger(pool);
}

/* With the lock held. */
static void count_fetched(struct run *run)
{
    struct spw_pool *pool = run->pool;
    uint64_t now_ns = pool->os->clock_ns();
    if (run->state != RUN_LOADED)
        count_gone(run, now_ns);
    PROBE4(fetch, run->id, run->bytes, run->place == PLACE_DISK ? 2 : 1, run->late ? 1 : 0);
    pool_count(pool, fetched_runs_total, 1);
    pool_count(pool, fetched_bytes_total, run->bytes);
    pool_count(pool, on_time_runs_total, !run->late);
    if (ledger_is_hasty(&pool->ledger, run->id, now_ns))
        pool_count(pool, hasty_bytes_total, run->bytes);
    if (run->place == PLACE_DISK)
        pool_count(pool, fetched_disk_bytes_total, run->bytes);
    else
        pool_count(pool, fetched_memory_bytes_total, run->bytes);
}

/*
 * A run in memory whose chunks can be had at once. With the lock held. Lengths that do not add up
 * are an engine thread's to find: to count, and to tell, which nobody may do under a queue's lock.
 */
static int fetch_instant(struct run *run, spw_chunks *out)
{
    if (!run_is_instant(run))
        return -EAGAIN;
    int err = run_lend(run, out);
    if (err != -EBADMSG)
        return err;
    run->suspect = true;
    return -EAGAIN;
}

/* With the lock held. */
static int fetch_locked(struct run *run, spw_chunks *out, enum fetched *fetched)
{
    struct spw_pool *pool = run->pool;
    *fetched = FETCHED_OPEN;
    switch ((enum run_state)run->state) {
    case RUN_STAGED:
        if (store_cancel(run->flight)) {
            flight_uncharge(run->flight);
            chunks_hand_over(run->flight, out);
            count_elided(run);
            *fetched = FETCHED_RUN;
            return 0;
        }
        return -EAGAIN; /* an engine thread has just taken it */
    case RUN_WRITING: {
        int err = fetch_writing(run, out);
        if (!err)
            *fetched = FETCHED_LEFT;
        return err;
    }
    case RUN_HELD:
        held_remove(run);
        chunks_hand_over(run->flight, out);
        count_elided(run);
        *fetched = FETCHED_RUN;
        return 0;
    case RUN_STORED: {
        int err = fetch_instant(run, out);
        if (!err) {
            memory_remove(run);
            count_fetched(run);
            *fetched = FETCHED_RUN;
        }
        return err;
    }
    case RUN_DEMOTING: {
        int err = fetch_instant(run, out);
        if (!err) {
            demote_orphan(run);
            count_fetched(run);
            *fetched = FETCHED_RUN;
        }
        return err;
    }
    case RUN_READING:
        return -EAGAIN;
    case RUN_LOADED: {
        struct buffer *buffer = buffer_of(pool, spw_chunks_peek(&run->flight->chunks));
        if (buffer)
            buffer_set_use(buffer, USE_LENT);
        spw_chunks_join(out, &run->flight->chunks);
        count_fetched(run);
        *fetched = FETCHED_RUN;
        return 0;
    }
    case RUN_FAILED:
        return fetch_failed(run);
    }
    return -EINVAL;
}

/* A run at the head of its queue that is not there yet: read it first, count it once. */
static int run_hurry(struct run *run)
{
    struct spw_pool *pool = run->pool;
    pthread_mutex_lock(&pool->lock);
    /* What can be read from memory does not wait for a device, which may hang. */
    if (run->state == RUN_DEMOTING && !run_is_instant(run))
        demote_take_back(run);
    enum run_state state = run->state;
    if (!run->late && (state == RUN_READING || (state == RUN_STORED && !run_is_instant(run)))) {
        run->late = true;
        pool_count(pool, late_runs_total, 1);
    }
    if (state == RUN_READING)
        pieces_hurry(&run->flight->pieces);
    pthread_mutex_unlock(&pool->lock);
    return state == RUN_STORED ? run_load(run, true) : 0;
}

/* Waits until the run's state moves on. With the lock held. */
static void run_wait(struct run *run)
{
    struct spw_pool *pool = run->pool;
    uint64_t start_ns = pool->os->clock_ns();
    atomic_fetch_add(&pool->waiters, 1);
    engine_wake_due(pool->engine); /* a policy may wait within its apply */
    workers_wake_due(&pool->coding.workers);
    enum run_state state = run->state;
    while (run->state == state &&
           (state == RUN_READING || state == RUN_STAGED || run->flight->busy))
        pthread_cond_wait(&pool->progress, &pool->lock);
    atomic_fetch_sub(&pool->waiters, 1);
    pool_count(pool, reader_wait_ns_total, pool->os->clock_ns() - start_ns);
}

static int run_fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    struct run *run = run_of(handle);
    struct spw_pool *pool = run->pool;
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    enum fetched fetched;
    int err;
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        err = fetch_locked(run, out, &fetched);
        bool hurry = run->state == RUN_STORED || run->state == RUN_DEMOTING;
        if (err == -EAGAIN && !(flags & SPILLWAY_FETCH_NOWAIT) && !hurry) {
            run_wait(run);
            pthread_mutex_unlock(&pool->lock);
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        if (err != -EAGAIN || (flags & SPILLWAY_FETCH_NOWAIT))
            break;
        err = run_hurry(run);
        if (err)
            return err;
    }
    if (fetched == FETCHED_RUN)
        run_close(run);
    return err;
}

/* ---- the rest of the handle ---- */

static uint64_t run_size(const spw_handle *handle)
{
    return ((const struct run *)handle)->bytes;
}

static size_t run_count(const spw_handle *handle)
{
    return ((const struct run *)handle)->count;
}

static void run_drop(spw_handle *handle)
{
    struct run *run = run_of(handle);
    struct spw_pool *pool = run->pool;
    if (pool_in_child(pool))
        return;
    bool close = true;
    pthread_mutex_lock(&pool->lock);
    if (run->state >= RUN_STORED && run->state != RUN_LOADED)
        count_gone(run, pool->os->clock_ns());
    switch ((enum run_state)run->state) {
    case RUN_STAGED:
        if (store_cancel(run->flight)) {
            flight_uncharge(run->flight);
            count_elided(run);
            break;
        }
        run->flight->pieces.orphan = true;
        close = false;
        break;
    case RUN_HELD:
        held_remove(run);
        count_elided(run);
        break;
    case RUN_WRITING:
        run->flight->pieces.orphan = true;
        close = false;
        break;
    case RUN_READING:
        pool_count(pool, wasted_runs_total, 1);
        if (pieces_cancel(&run->flight->pieces))
            break;
        run->flight->pieces.orphan = true;
        close = false;
        break;
    case RUN_LOADED:
        pool_count(pool, wasted_runs_total, 1);
        break;
    case RUN_DEMOTING:
        demote_orphan(run);
        break;
    case RUN_STORED:
        run_unlist(run);
        break;
    case RUN_FAILED:
        break;
    }
    spw_waker *waker = run_take_waker(run);
    pthread_mutex_unlock(&pool->lock);
    if (waker)
        waker->release(waker);
    if (close)
        run_close(run);
}

static int run_prefetch(spw_handle *handle, unsigned flags)
{
    struct run *run = run_of(handle);
    if (pool_in_child(run->pool))
        return -EOWNERDEAD;
    return flags & SPILLWAY_FETCH_HEAD ? run_hurry(run) : run_ask(run, flags);
}

/* Whether a fetch that does not wait has something to say now. With the lock held. */
static bool run_is_ready(const struct run *run)
{
    switch ((enum run_state)run->state) {
    case RUN_STAGED:
        return store_is_pending(run->flight);
    case RUN_WRITING:
        return !run->flight->busy;
    case RUN_STORED:
    case RUN_DEMOTING:
        return run_is_instant(run);
    case RUN_READING:
        return false;
    case RUN_HELD:
    case RUN_LOADED:
    case RUN_FAILED:
        return true;
    }
    return true;
}

static int run_on_ready(spw_handle *handle, spw_waker *waker)
{
    struct run *run = run_of(handle);
    struct spw_pool *pool = run->pool;
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    int err = run_hurry(run);
    if (err)
        return err;
    pthread_mutex_lock(&pool->lock);
    bool ready = run_is_ready(run);
    spw_waker *old = run_take_waker(run);
    if (!ready) {
        waker->acquire(waker);
        run->waker = waker;
    }
    pthread_mutex_unlock(&pool->lock);
    if (old)
        old->release(old); /* not the last reference: the queue is calling */
    return ready;
}

const spw_handle_ops run_handle_ops = {
    .size = sizeof(run_handle_ops),
    .fetch = run_fetch,
    .size_bytes = run_size,
    .count = run_count,
    .drop = run_drop,
    .prefetch = run_prefetch,
    .on_ready = run_on_ready,
};
