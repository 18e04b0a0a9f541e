/* SPDX-License-Identifier: MIT */
/* The way out: from staged to stored, or to held (held.c) when no tier takes the run. */
#include <errno.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/probes.h"
#include "checksum.h"
#include "run.h"
#include "segment.h"

/* After this many failed writes a run is held. Each failure withdraws a directory. */
enum { WRITE_ATTEMPTS = SETTINGS_MAX_DIRS + 1 };

void flight_discharge(struct flight *flight, uint64_t bytes)
{
    struct spw_pool *pool = flight->pieces.pool;
    pthread_mutex_lock(&pool->lock);
    flight->charge_bytes -= bytes;
    atomic_fetch_sub(&pool->counters->in_flight_bytes, bytes);
    pthread_mutex_unlock(&pool->lock);
    pool_progress(pool);
}

void flight_uncharge(struct flight *flight)
{
    atomic_fetch_sub(&flight->pieces.pool->counters->in_flight_bytes, flight->charge_bytes);
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

void gather_piece(struct flight *flight, struct piece piece, unsigned char *to)
{
    const struct run *run = flight->run;
    uint64_t filled = run_total_bytes(run), copied = run->bytes;
    if (run->count > 1) { /* several chunks always fit one piece */
        gather(flight, to);
    } else {
        const unsigned char *from = spw_chunks_peek(&flight->chunks)->data;
        filled -= piece.offset;
        filled = copied = filled < piece.len ? filled : piece.len;
        run_expect(run->pool, from + piece.offset, filled);
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
                                        run_slot_own_view(run), (size_t)run_stored_bytes(run));
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
    struct memtier_source source = {.len = run_stored_bytes(run)};
    if (!memtier_may_accept(pool->memtier, source.len))
        return -ENOSPC;
    if (flight->frame) {
        source.whole = flight->frame->base;
    } else if (run->count == 1) {
        source.whole = spw_chunks_peek(&flight->chunks)->data;
    } else {
        source.fill = gather;
        source.context = flight;
    }
    struct memslot slot;
    int err = memtier_put(pool->memtier, &source, &slot);
    if (err)
        return err;
    run->at.slot = (struct own_slot){slot.segment, slot.data};
    run->skip = 0;
    run->place = PLACE_MEMORY;
    sum_in_memory(run);
    pool_count(pool, copied_bytes_total, flight->frame ? source.len : run->bytes);
    return 0;
}

/* ---- disk tier ---- */

const unsigned char *chunks_own_pages(const struct spw_pool *pool, const spw_chunks *chunks)
{
    const spw_bytes *bytes = spw_chunks_peek(chunks);
    if (chunks->count > 1)
        return NULL;
    const struct slot_owner *slot = slot_owner_of(pool, bytes);
    if (slot)
        return segment_own_view(slot->segment, bytes->data);
    return buffer_of(pool, bytes) ? bytes->data : NULL;
}

/* Finds where the region lies: a frame, or in the slab's own pages if the bytes are the pool's,
 * else nowhere yet. */
static void region_find(struct flight *flight)
{
    struct run *run = flight->run;
    run->skip = 0;
    flight->direct = false;
    flight->region = flight->frame ? flight->frame->base : NULL;
    if (flight->frame)
        return;
    const unsigned char *pages = chunks_own_pages(run->pool, &flight->chunks);
    flight->direct = pages != NULL;
    if (!pages)
        return;
    run->skip = (uint16_t)((uintptr_t)pages & (REGION_ALIGN - 1));
    flight->region = (unsigned char *)(uintptr_t)pages - run->skip; /* a write only reads it */
}

int staging_open(struct flight *flight, struct lane *lane, enum buffer_claim claim)
{
    struct buffers *buffers = &flight->pieces.pool->buffers;
    uint64_t bytes = run_piece(flight->run, 0).len;
    int err = buffer_acquire(buffers, bytes, USE_STAGING, claim, &lane->staging);
    buffers_reap(buffers);
    return err;
}

static int store_on_disk(struct flight *flight)
{
    struct run *run = flight->run;
    region_find(flight);
    /* The window counts the first staging buffer too, so that forcing it stays within the budget's
     * slack. */
    struct lane *lane = flight->pieces.starter;
    int err = flight->region || lane->staging ? 0 : staging_open(flight, lane, CLAIM_FORCE);
    if (!err)
        err = run_open_extents(run);
    if (err)
        return err;
    run->place = PLACE_DISK;
    flight->pieces.count = run_pieces(run);
    atomic_store(&flight->checksum, 0);
    return 0;
}

/* ---- the pieces ---- */

/* Picks a tier. Returns as a job's prepare does. */
static int store_pick(struct flight *flight)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    if ((!flight->frame && store_adopted(flight)) ||
        (pool->memtier && store_in_memory(flight) == 0))
        return JOB_DONE;
    int err = pool->disk ? store_on_disk(flight) : -ENOSPC;
    return err ? err : JOB_ISSUE;
}

void store_let_go(struct flight *flight, bool wake)
{
    struct spw_pool *pool = flight->pieces.pool;
    pthread_mutex_lock(&pool->lock);
    flight->busy = false;
    spw_waker *waker = wake && !flight->pieces.orphan ? run_take_waker(flight->run) : NULL;
    if (atomic_load(&pool->waiters))
        pthread_cond_broadcast(&pool->progress);
    pthread_mutex_unlock(&pool->lock);
    run_wake(waker);
}

static int store_begin(struct pieces *pieces)
{
    struct flight *flight = flight_of(pieces);
    struct spw_pool *pool = pieces->pool;
    pthread_mutex_lock(&pool->lock);
    /* What is written once more, or comes from a worker, may have been fetched meanwhile. */
    bool orphan = pieces->orphan;
    flight->run->state = RUN_WRITING;
    flight->busy = !orphan && !flight->frame;
    pthread_mutex_unlock(&pool->lock);
    if (orphan)
        return -ECANCELED;
    int rc = store_pick(flight);
    /* One chunk is shared with whoever fetches it; several are moved, so they are copied first. */
    if (rc != JOB_ISSUE || flight->run->count == 1 || flight->frame)
        store_let_go(flight, rc == JOB_ISSUE);
    flight->gauged = rc == JOB_ISSUE && atomic_load(&pool->coding.coder);
    if (flight->gauged)
        coding_write_begins(pool);
    return rc;
}

/* Foreign bytes need staging in each lane, if there is room for it. */
static bool store_widen(struct pieces *pieces, struct lane *lane)
{
    struct flight *flight = flight_of(pieces);
    struct spw_pool *pool = pieces->pool;
    if (flight->region)
        return true;
    if (staging_open(flight, lane, CLAIM_WITHIN))
        return false;
    uint64_t bytes = lane->staging->capacity;
    pthread_mutex_lock(&pool->lock);
    flight->charge_bytes += bytes;
    atomic_fetch_add(&pool->counters->in_flight_bytes, bytes);
    pthread_mutex_unlock(&pool->lock);
    return true;
}

/* Gets a piece ready for the device. */
static int store_ready(struct pieces *pieces, struct lane *lane)
{
    struct flight *flight = flight_of(pieces);
    struct run *run = flight->run;
    struct piece piece = run_piece(run, lane->index);
    const struct extent *extent = run_extent(run, lane->index);
    unsigned char *data = flight->region ? flight->region + piece.offset : lane->staging->base;
    if (!flight->region)
        gather_piece(flight, piece, data);
    else if (flight->direct)
        run_expect(pieces->pool, data, piece.len);
    atomic_fetch_add(&flight->checksum, run_piece_checksum(run, lane->index, data));
    struct job *job = &lane->job;
    job->file = extent->dir;
    job->align = disk_align(pieces->pool->disk, extent->dir);
    job->buffer = data;
    job->len = piece.len;
    job->offset = extent->offset;
    if (run->count > 1 && !flight->frame)
        store_let_go(flight, true);
    return 0;
}

void count_stored(struct run *run, bool direct)
{
    struct spw_pool *pool = run->pool;
    ledger_stored(&pool->ledger, run->bytes,
                  atomic_load_explicit(&pool->next_run_id, memory_order_relaxed),
                  pool->os->clock_ns());
    PROBE3(store, run->id, run->bytes, run->place == PLACE_DISK ? 2 : 1);
    pool_count(pool, spilled_runs_total, 1);
    pool_count(pool, spilled_bytes_total, run->bytes);
    if (run->place == PLACE_DISK)
        pool_count(pool, spilled_disk_bytes_total, run->bytes);
    else
        pool_count(pool, spilled_memory_bytes_total, run->bytes);
    if (direct && run->place == PLACE_DISK)
        pool_count(pool, direct_bytes_total, run->bytes);
    if (run->code) {
        pool_count(pool, encoded_runs_total, 1);
        pool_count(pool, encoded_bytes_total, run->bytes);
        pool_count(pool, encoded_stored_bytes_total, run_stored_bytes(run));
    }
}

/* The run has a place, or none wanted it, or nobody wants it any more. */
static void store_end(struct flight *flight, int result)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    pieces_free(&flight->pieces); /* staging */
    if (result && run->place == PLACE_NONE)
        encode_undo(flight);
    pthread_mutex_lock(&pool->lock);
    bool orphan = flight->pieces.orphan;
    flight_uncharge(flight);
    flight->busy = false;
    spw_waker *waker = NULL;
    if (!orphan) {
        waker = run_take_waker(run);
        if (result == 0) {
            run->checksum =
                run->place == PLACE_DISK ? atomic_load(&flight->checksum) : run->checksum;
            run->state = RUN_STORED;
            run->flight = NULL;
            pool->held_backoff_ns = 0;
            run_list(run);
            count_stored(run, flight->direct);
        } else {
            held_append(run);
            pool_count(pool, full_total, 1);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    if (orphan)
        run_close(run);
    else if (result == 0)
        flight_close(flight);
    pool_progress(pool);
    run_wake(waker);
}

void write_failed(struct spw_pool *pool, unsigned dir, int err)
{
    if (err != -ENOSPC && err != -EDQUOT) /* those the disk tier counts */
        pool_count(pool, write_errors_total, 1);
    disk_write_failed(pool->disk, dir, err);
}

/* A write failed: the directory rests or is withdrawn, and the run tries elsewhere. Returns whether
 * it does. */
static bool store_again(struct flight *flight, int err, uint32_t index)
{
    struct run *run = flight->run;
    unsigned dir = run_extent(run, index)->dir;
    run_free_extents(run);
    write_failed(run->pool, dir, err);
    return ++flight->attempts < WRITE_ATTEMPTS;
}

static bool store_ended(struct pieces *pieces, int err, uint32_t index)
{
    struct flight *flight = flight_of(pieces);
    if (flight->gauged)
        coding_write_ended(pieces->pool, flight->run, err != 0);
    flight->gauged = false;
    /* An orphan that begins again ends there; what it has on disk is freed with it. */
    if (err && index != UINT32_MAX && store_again(flight, err, index))
        return true;
    store_end(flight, err);
    return false;
}

static const struct pieces_ops store_ops = {
    .begin = store_begin,
    .widen = store_widen,
    .ready = store_ready,
    .ended = store_ended,
};

void run_stage(struct run *run)
{
    struct spw_pool *pool = run->pool;
    struct flight *flight = run->flight;
    /* Staging doubles what a run of foreign bytes needs; a large one is staged piece by piece. */
    uint64_t staging = chunks_own_pages(pool, &flight->chunks) ? 0 : run->bytes;
    if (staging > RUN_MAX_BYTES)
        staging = RUN_MAX_BYTES;
    flight->encoding = coding_asks(pool, run);
    flight->charge_bytes = run->bytes + staging + (flight->encoding ? encode_charge(run) : 0);
    flight->attempts = 0;
    atomic_fetch_add(&pool->counters->in_flight_bytes, flight->charge_bytes);
    pieces_init(&flight->pieces, pool, &store_ops, JOB_WRITE, false);
    if (flight->encoding)
        encode_stage(flight);
    else
        pieces_start(&flight->pieces);
}

bool store_cancel(struct flight *flight)
{
    struct coding *coding = &flight->pieces.pool->coding;
    if (!flight->encoding)
        return pieces_cancel(&flight->pieces);
    if (!workers_cancel(&coding->workers, &flight->task))
        return false;
    atomic_fetch_sub(&coding->encoding, 1);
    return true;
}

bool store_is_pending(const struct flight *flight)
{
    return flight->encoding
               ? workers_is_pending(&flight->pieces.pool->coding.workers, &flight->task)
               : pieces_are_pending(&flight->pieces);
}
