/* SPDX-License-Identifier: MIT */
/*
 * A staged run at a worker: it asks the coder, encodes the run if that is worth it, and passes it
 * on to the engine, which writes the frame or the run as it is. A fetch or drop meanwhile takes the
 * bytes as it does from a run that is being written.
 */
#include <errno.h>
#include <string.h>

#include "run.h"

/* A frame saves an eighth at least, or is not worth its decoding. */
enum { SAVED_SHARE = 8 };

uint64_t encode_charge(const struct run *run)
{
    return buffer_capacity(run_total_bytes(run));
}

void encode_undo(struct flight *flight)
{
    if (flight->frame)
        buffer_release(flight->frame);
    flight->frame = NULL;
    flight->region = NULL;
    flight->run->code = 0;
    flight->run->lines = 0;
}

/* ---- asking ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where a worker reads a single chunk. */
static const unsigned char *whole_chunk(const struct flight *flight)
{
    const unsigned char *own = chunks_own_pages(flight->pieces.pool, &flight->chunks);
    return own ? own : spw_chunks_peek(&flight->chunks)->data;
}

/* A part from each of as many stretches of a run, somewhere in it, and in the next run elsewhere:
 * what a run holds may come in turns, and headers at a regular distance are not all of it. */
struct sample {
    unsigned char *to;
    uint64_t stride;
    size_t part, len;
    uint64_t starts[SAMPLE_PARTS]; /* in each stretch */
};

static uint64_t sample_offset(const struct sample *sample, size_t at)
{
    size_t index = at / sample->part;
    return index * sample->stride + sample->starts[index] + at % sample->part;
}

static void sample_place(struct sample *sample, uint64_t run_id)
{
    uint64_t room = sample->stride - sample->part;
    for (unsigned i = 0; i < SAMPLE_PARTS; i++) {
        uint64_t draw = (run_id * SAMPLE_PARTS + i) * UINT64_C(0x9e3779b97f4a7c15) >> 48;
        sample->starts[i] = room * draw >> 16;
    }
}

/* Copies what of the sample lies in a chunk that begins at `begin` of the run. Returns how much of
 * it is there then. */
static size_t sample_take(const struct sample *sample, uint64_t begin, const unsigned char *data,
                          uint64_t len, size_t at)
{
    for (uint64_t from; at < sample->len && (from = sample_offset(sample, at)) < begin + len;) {
        size_t step = least(sample->part - at % sample->part, (size_t)(begin + len - from));
        memcpy(sample->to + at, data + (from - begin), step);
        at += step;
    }
    return at;
}

static void sample_gather(const struct flight *flight, const struct sample *sample)
{
    uint64_t begin = 0;
    size_t at = 0;
    spw_chunks_iter iter = spw_chunks_begin(&flight->chunks);
    const spw_bytes *bytes;
    while (at < sample->len && (bytes = spw_chunks_next(&iter))) {
        at = sample_take(sample, begin, bytes->data, bytes->len, at);
        begin += bytes->len;
    }
}

static uint8_t encode_ask(struct flight *flight)
{
    const struct run *run = flight->run;
    unsigned char bytes[SAMPLE_MOST_BYTES];
    size_t len = least((size_t)run->bytes / 16, SAMPLE_MOST_BYTES);
    if (len < SAMPLE_LEAST_BYTES)
        len = SAMPLE_LEAST_BYTES; /* a run has more, see coding_asks() */
    struct sample sample = {
        .to = bytes, .stride = run->bytes / SAMPLE_PARTS, .part = len / SAMPLE_PARTS};
    sample.len = sample.part * SAMPLE_PARTS;
    sample_place(&sample, run->id);
    if (run->count == 1)
        sample_take(&sample, 0, whole_chunk(flight), run->bytes, 0);
    else
        sample_gather(flight, &sample);
    return coding_choose(run->pool, run, bytes, sample.len);
}

/* ---- encoding ---- */

/* Payload and table in one piece; NULL without memory. */
static const unsigned char *encode_input(struct flight *flight)
{
    struct lane *lane = flight->pieces.starter;
    if (flight->run->count == 1) {
        const unsigned char *chunk = whole_chunk(flight);
        run_expect(flight->pieces.pool, chunk, (size_t)flight->run->bytes);
        return chunk;
    }
    if (!lane->staging && staging_open(flight, lane, CLAIM_FORCE))
        return NULL;
    gather_piece(flight, run_piece(flight->run, 0), lane->staging->base);
    store_let_go(flight, true);
    return lane->staging->base;
}

/* Encodes to `frame`. Returns the lines of the frame, or -errno. */
static long encode_to(struct flight *flight, uint8_t code, struct buffer *frame)
{
    struct run *run = flight->run;
    spw_coder *coder = atomic_load(&run->pool->coding.coder);
    size_t total = (size_t)run_total_bytes(run);
    const unsigned char *in = encode_input(flight);
    if (!in)
        return -ENOMEM;
    size_t capacity = total - total / SAVED_SHARE - FRAME_HEADER_BYTES;
    long len =
        coder->ops->encode(coder, code, in, total, frame->base + FRAME_HEADER_BYTES, capacity);
    if (len <= 0 || (size_t)len > capacity) /* what claims to be larger has no room here */
        return len < 0 ? len : -EINVAL;
    struct frame header = {
        .run_id = run->id, .whole_bytes = total, .coded_bytes = (uint32_t)len, .code = code};
    return (long)frame_close(frame->base, &header);
}

/* The frame is what is stored from now on. */
static void encode_done(struct flight *flight, uint8_t code, struct buffer *frame, size_t lines)
{
    struct run *run = flight->run;
    struct lane *lane = flight->pieces.starter;
    run->code = code;
    run->lines = (uint16_t)lines;
    run->skip = 0;
    flight->frame = frame;
    uint64_t stored = run_stored_bytes(run);
    memset(frame->base + stored, 0, (size_t)(run_region_bytes(run) - stored));
    if (!lane->staging)
        return;
    buffer_release(lane->staging); /* it was gathered there */
    lane->staging = NULL;
    flight_discharge(flight, run->bytes);
}

static void encode_run(struct flight *flight, uint8_t code)
{
    struct run *run = flight->run;
    struct spw_pool *pool = run->pool;
    struct buffer *frame = NULL;
    long lines = buffer_acquire(&pool->buffers, (size_t)run_total_bytes(run), USE_STAGING,
                                CLAIM_FORCE, &frame);
    if (lines == 0)
        lines = encode_to(flight, code, frame);
    if (lines > 0) {
        encode_done(flight, code, frame, (size_t)lines);
        return;
    }
    if (lines == -ENOSPC)
        pool_count(pool, coder_refused_total, 1);
    if (frame)
        buffer_release(frame);
}

/* ---- the task ---- */

/* A worker has taken the run. Returns whether somebody still wants it. */
static bool encode_begin(struct flight *flight)
{
    struct spw_pool *pool = flight->pieces.pool;
    pthread_mutex_lock(&pool->lock);
    bool orphan = flight->pieces.orphan;
    flight->run->state = RUN_WRITING;
    /* One chunk is shared with whoever fetches it; several are moved. */
    flight->busy = !orphan && flight->run->count > 1;
    pthread_mutex_unlock(&pool->lock);
    if (!flight->busy && !orphan)
        store_let_go(flight, true);
    return !orphan;
}

static void encode_task(struct task *task)
{
    struct flight *flight = flight_of_task(task);
    struct spw_pool *pool = flight->pieces.pool;
    pool_acquire(pool); /* for what is left to do once the run may be gone */
    if (encode_begin(flight)) {
        uint64_t start_ns = pool->os->thread_cpu_ns();
        uint8_t code = encode_ask(flight);
        buffers_reap(&pool->buffers);
        if (code)
            encode_run(flight, code);
        coding_note_bytes(pool);
        pool_count(pool, encode_ns_total, pool->os->thread_cpu_ns() - start_ns);
        if (!flight->frame)
            flight_discharge(flight, encode_charge(flight->run));
        if (flight->busy)
            store_let_go(flight, true);
    }
    atomic_fetch_sub(&pool->coding.encoding, 1);
    pieces_start(&flight->pieces);
    engine_wake_due(pool->engine); /* no queue is locked here, so no cork is this thread's */
    pool_release(pool);
}

void encode_stage(struct flight *flight)
{
    struct coding *coding = &flight->pieces.pool->coding;
    flight->task = (struct task){.run = encode_task};
    atomic_fetch_add(&coding->encoding, 1);
    workers_submit(&coding->workers, &flight->task, false);
}
