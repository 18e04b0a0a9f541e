/* SPDX-License-Identifier: MIT */
/* The way back: from stored to loaded. */
#include <errno.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/block.h"
#include "checksum.h"
#include "hint.h"
#include "run.h"
#include "spillway/errors.h"

enum {
    READ_TRIES = 3,  /* reads before a fetch is told */
    READ_ROUNDS = 4, /* failed fetches before a run counts as lost */
    LOAD_MEAN_BITS = 3,
};

/* ---- chunks of what was read ---- */

/* Fills one empty block with chunks `index` and up, whose memory the pool counts itself. Returns 0
 * or -EBADMSG. */
static int block_rebuild(const struct run *run, const struct payload *payload, uint32_t index,
                         uint64_t *offset, struct spw_owner *owner, struct spw_block *block)
{
    const unsigned char *table = payload->table + (size_t)index * sizeof(uint32_t);
    const unsigned char *data = payload->data + *offset;
    uint64_t left = run->bytes - *offset;
    uint16_t end = 0;
    for (; end < block->capacity; end++) {
        uint32_t entry;
        uint64_t len = run->bytes;
        if (run->count > 1) {
            memcpy(&entry, table + (size_t)end * sizeof(entry), sizeof(entry));
            len = entry;
        }
        if (len > left)
            break;
        block->entries[end].bytes = (spw_bytes){data, (size_t)len, owner};
        data += len;
        left -= len;
    }
    block->end = end;
    block->bytes = run->bytes - *offset - left;
    *offset += block->bytes;
    return end < block->capacity ? -EBADMSG : 0;
}

int chunks_rebuild(const struct run *run, const struct payload *payload, struct spw_owner *owner,
                   spw_chunks *out)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    uint64_t offset = 0;
    int err = 0;
    owner_acquire_many(owner, run->count);
    while (!err && chunks.count < run->count) {
        size_t left = run->count - chunks.count;
        struct spw_block *block =
            block_open(run->pool->allocator, &run->pool->account,
                       left < BLOCK_ENTRIES ? (unsigned)left : BLOCK_ENTRIES, false);
        if (!block) {
            err = -ENOMEM;
            break;
        }
        err = block_rebuild(run, payload, (uint32_t)chunks.count, &offset, owner, block);
        list_append(&chunks, block);
    }
    if (!err && offset != run->bytes)
        err = -EBADMSG;
    if (err) { /* the caller's reference stays */
        owner_release_many(owner, run->count - chunks.count);
        list_clear(&chunks);
        return err;
    }
    owner_release(owner); /* not the last: each chunk has one */
    spw_chunks_join(out, &chunks);
    return 0;
}

int run_lend(struct run *run, spw_chunks *out)
{
    int err = run_share(run);
    if (err)
        return err;
    const struct payload payload = {run_slot_data(run), run_slot_own_view(run) + run->bytes};
    err = chunks_rebuild(run, &payload, &run->at.shared.owner->owner, out);
    if (!err)
        run_unshare(run); /* the chunks keep it now */
    return err;
}

/* Builds the chunks of a run in the memory tier. */
static int load_from_memory(struct flight *flight)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    if (pool->checksum == CHECKSUM_ALL &&
        checksum_update(checksum_identity(pool->id, run->id, run->bytes), run_slot_own_view(run),
                        (size_t)run_total_bytes(run)) != run->checksum)
        return -EBADMSG;
    return run_lend(run, &flight->chunks);
}

/* ---- the pieces ---- */

static int load_begin(struct pieces *pieces)
{
    struct flight *flight = flight_of(pieces);
    struct run *run = flight->run;
    buffers_reap(&pieces->pool->buffers); /* what made room for this read */
    if (run_is_in_memory(run)) {
        int err = load_from_memory(flight);
        return err ? err : JOB_DONE;
    }
    pieces->count = run_pieces(run);
    atomic_store(&flight->checksum, 0);
    return JOB_ISSUE;
}

static int load_ready(struct pieces *pieces, struct lane *lane)
{
    struct flight *flight = flight_of(pieces);
    struct piece piece = run_piece(flight->run, lane->index);
    const struct extent *extent = run_extent(flight->run, lane->index);
    struct job *job = &lane->job;
    job->file = extent->dir;
    job->align = disk_align(pieces->pool->disk, extent->dir);
    job->buffer = flight->buffer->base + piece.offset;
    job->len = piece.len;
    job->offset = extent->offset;
    return 0;
}

static int load_arrived(struct pieces *pieces, struct lane *lane)
{
    struct flight *flight = flight_of(pieces);
    const unsigned char *data = lane->job.buffer;
    atomic_fetch_add(&flight->checksum, run_piece_checksum(flight->run, lane->index, data));
    hint_was_read(pieces->pool, &lane->job);
    return 0;
}

/* All pieces have arrived. Returns 0, or -EBADMSG when they are not what was written. */
static int load_check(struct flight *flight)
{
    const struct run *run = flight->run;
    return run->place == PLACE_DISK && run->pool->checksum != CHECKSUM_OFF &&
                   atomic_load(&flight->checksum) != run->checksum
               ? -EBADMSG
               : 0;
}

/* Builds the chunks. Returns 0 when the run is right, or -errno. */
static int load_finish(struct flight *flight)
{
    struct run *run = flight->run;
    if (run->place != PLACE_DISK)
        return 0;
    const unsigned char *data = flight->buffer->base + run->skip;
    const struct payload payload = {data, data + run->bytes};
    int err = chunks_rebuild(run, &payload, &flight->buffer->owner, &flight->chunks);
    if (!err) {
        buffer_set_use(flight->buffer, USE_LOADED);
        flight->buffer = NULL; /* the chunks keep it */
    }
    return err;
}

bool load_again(struct flight *flight, int err)
{
    struct spw_pool *pool = flight->run->pool;
    if (err == -EBADMSG)
        pool_count(pool, checksum_errors_total, flight->attempts == 0); /* runs, not reads */
    else if (err == -ENOMEM)
        pool_count(pool, no_memory_total, 1);
    else
        pool_count(pool, read_errors_total, 1);
    return err != -ENOMEM && ++flight->attempts < READ_TRIES;
}

/* The run is in memory again; what reading one takes at present is the mean of the last few. With
 * the lock held. */
static void load_count(const struct flight *flight)
{
    struct spw_pool *pool = flight->pieces.pool;
    uint64_t now_ns = pool->os->clock_ns(), took_ns = now_ns - flight->begun_ns;
    pool->load_ns +=
        pool->load_ns ? (took_ns >> LOAD_MEAN_BITS) - (pool->load_ns >> LOAD_MEAN_BITS) : took_ns;
    count_gone(flight->run, now_ns);
}

void load_end(struct flight *flight, int err)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    struct buffer *buffer = flight->buffer;
    flight->buffer = NULL;
    bool lost = false;
    pthread_mutex_lock(&pool->lock);
    bool orphan = flight->pieces.orphan;
    spw_waker *waker = NULL;
    if (!orphan) {
        waker = run_take_waker(run);
        if (!err) {
            load_count(flight);
            run->state = RUN_LOADED;
        } else {
            run->state = RUN_FAILED;
            run->flight = NULL;
            if (err != -EBADMSG && err != -ENOMEM && ++run->rounds >= READ_ROUNDS)
                err = -ENOTRECOVERABLE;
            run->error = (int16_t)err;
            lost = spw_error_class(err) == SPILLWAY_CLASS_LOST;
        }
        if (atomic_load(&pool->waiters))
            pthread_cond_broadcast(&pool->progress);
    }
    uint64_t id = run->id, bytes = run->bytes;
    pthread_mutex_unlock(&pool->lock);
    if (buffer)
        buffer_release(buffer);
    if (orphan)
        run_close(run);
    else if (err)
        flight_close(flight);
    if (lost) {
        pool_count(pool, lost_runs_total, 1);
        log_line(&pool->log, SPILLWAY_LOG_ERROR, "run %llu of %llu bytes is lost: %s",
                 (unsigned long long)id, (unsigned long long)bytes, spw_error_text(err));
    }
    run_wake(waker);
}

static bool load_ended(struct pieces *pieces, int err, uint32_t index)
{
    struct flight *flight = flight_of(pieces);
    struct spw_pool *pool = pieces->pool;
    (void)index;
    pthread_mutex_lock(&pool->lock);
    bool orphan = pieces->orphan;
    pthread_mutex_unlock(&pool->lock);
    if (!err && !orphan)
        err = load_check(flight);
    if (!err && !orphan && flight->run->code) {
        decode_start(flight);
        workers_wake_due(&pool->coding.workers); /* whoever corks may be waiting for this */
        return false;
    }
    if (!err && !orphan)
        err = load_finish(flight);
    if (err && !orphan && load_again(flight, err))
        return true;
    load_end(flight, err);
    return false;
}

static const struct pieces_ops load_ops = {
    .begin = load_begin,
    .ready = load_ready,
    .arrived = load_arrived,
    .ended = load_ended,
};

/* The buffers that a load needs, if any. */
static int load_buffers(struct flight *flight, const struct load_need *need,
                        enum buffer_claim claim)
{
    struct buffers *buffers = &flight->pieces.pool->buffers;
    /* First what the reader gets, so that the reserve is kept for that. */
    const size_t bytes[2] = {need->whole_bytes, need->region_bytes};
    struct buffer *pair[2] = {NULL, NULL};
    int err;
    if (need->place != PLACE_DISK && need->whole_bytes == 0)
        return 0;
    if (need->whole_bytes == 0)
        return buffer_acquire(buffers, need->region_bytes, USE_READING, claim, &flight->buffer);
    if (need->place != PLACE_DISK)
        return buffer_acquire(buffers, need->whole_bytes, USE_READING, claim, &flight->whole);
    err = buffer_acquire_pair(buffers, bytes, USE_READING, claim, pair);
    flight->whole = pair[0];
    flight->buffer = pair[1];
    return err;
}

int load_open(struct spw_pool *pool, const struct load_need *need, bool head, struct flight **out)
{
    enum job_op op = need->place == PLACE_DISK ? JOB_READ : JOB_WORK;
    struct flight *flight = allocator_zeroed(pool->allocator, sizeof(*flight));
    if (!flight)
        return -ENOMEM;
    pieces_init(&flight->pieces, pool, &load_ops, op, head);
    int err = load_buffers(flight, need, head ? CLAIM_HEAD : CLAIM_WITHIN);
    if (err)
        allocator_release(pool->allocator, flight, sizeof(*flight));
    else
        *out = flight;
    return err;
}

void load_take_off(struct run *run, struct flight *flight)
{
    run_unlist(run);
    flight->run = run;
    flight->begun_ns = run->pool->os->clock_ns();
    run->flight = flight;
    run->state = RUN_READING;
    if (run->place == PLACE_DISK) /* so that the engine knows whom a device that hangs concerns */
        flight->pieces.first.job.file = run_extent(run, 0)->dir;
}

void load_start(struct flight *flight)
{
    if (flight->run->code && flight->run->place != PLACE_DISK)
        decode_start(flight);
    else
        pieces_start(&flight->pieces);
}

int run_load(struct run *run, bool head)
{
    struct spw_pool *pool = run->pool;
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        bool needed = run->state == RUN_STORED && !run_is_instant(run);
        struct load_need need = run_need(run);
        pthread_mutex_unlock(&pool->lock);
        if (!needed)
            return 0;
        struct flight *flight;
        int err = load_open(pool, &need, head, &flight);
        if (err)
            return err;
        /* Meanwhile a demotion may have begun, or even be over, or its turn may have come. */
        pthread_mutex_lock(&pool->lock);
        bool moved = run->state != RUN_STORED || !run_needs(run, &need);
        if (!moved)
            load_take_off(run, flight);
        pthread_mutex_unlock(&pool->lock);
        if (moved) {
            flight_close(flight);
            continue;
        }
        if (!head)
            pool_count(pool, prefetched_runs_total, 1);
        load_start(flight);
        return 0;
    }
}
