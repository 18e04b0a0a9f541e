/* SPDX-License-Identifier: MIT */
/* The way back through a worker: from a frame that was read, or lies in the memory tier, to chunks.
 */
#include <errno.h>

#include "checksum.h"
#include "run.h"

/* Where the frame is. */
static const unsigned char *frame_at(const struct flight *flight)
{
    const struct run *run = flight->run;
    return run->place == PLACE_DISK ? flight->buffer->base + run->skip : run_slot_own_view(run);
}

/* What lies on disk was checked when it arrived. */
static int frame_check(const struct run *run, const unsigned char *frame)
{
    const struct spw_pool *pool = run->pool;
    if (run->place == PLACE_DISK || pool->checksum != CHECKSUM_ALL)
        return 0;
    return checksum_update(checksum_identity(pool->id, run->id, run->bytes), frame,
                           (size_t)run_stored_bytes(run)) == run->checksum
               ? 0
               : -EBADMSG;
}

static int decode_run(struct flight *flight)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    spw_coder *coder = atomic_load(&pool->coding.coder);
    size_t total = (size_t)run_total_bytes(run);
    unsigned char *to = flight->whole->base;
    const unsigned char *frame = frame_at(flight);
    struct frame header;
    int err = frame_check(run, frame);
    if (!err)
        err = frame_open(frame, run_stored_bytes(run), run->id, run->code, total, &header);
    if (!err)
        err = coder->ops->decode(coder, run->code, frame + FRAME_HEADER_BYTES, header.coded_bytes,
                                 to, total);
    if (err)
        return err == -ENOMEM ? -ENOMEM : -EBADMSG;
    const struct payload payload = {to, to + run->bytes};
    err = chunks_rebuild(run, &payload, &flight->whole->owner, &flight->chunks);
    if (!err) {
        buffer_set_use(flight->whole, USE_LOADED);
        flight->whole = NULL; /* the chunks keep it */
    }
    return err;
}

static void decode_task(struct task *task)
{
    struct flight *flight = flight_of_task(task);
    struct spw_pool *pool = flight->pieces.pool;
    pool_acquire(pool); /* for what is left to do once the run is gone */
    pthread_mutex_lock(&pool->lock);
    bool orphan = flight->pieces.orphan;
    pthread_mutex_unlock(&pool->lock);
    int err = -ECANCELED;
    if (!orphan) {
        uint64_t start_ns = pool->os->thread_cpu_ns();
        buffers_reap(&pool->buffers);
        err = decode_run(flight);
        coding_note_bytes(pool);
        pool_count(pool, decode_ns_total, pool->os->thread_cpu_ns() - start_ns);
    }
    if (!err || orphan || !load_again(flight, err))
        load_end(flight, err);
    else if (flight->run->place == PLACE_DISK)
        pieces_again(&flight->pieces);
    else
        decode_start(flight);
    engine_wake_due(pool->engine); /* whoever corks may be waiting for this */
    pool_release(pool);
}

void decode_start(struct flight *flight)
{
    flight->task = (struct task){.run = decode_task};
    workers_submit(&flight->pieces.pool->coding.workers, &flight->task, true);
}
