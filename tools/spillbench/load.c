/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "control.h"

enum { BATCH = 64, NULL_SLABS_BYTES = 2 << 20 };

/* One queue, and where its two ends are. */
struct lane {
    spw_writer *writer;
    spw_reader *reader;
    spw_slab *slab;
    uint64_t next_sequence; /* of the chunk that is drained next */
    uint64_t offset;        /* in that chunk */
    uint64_t queued_bytes;
};

struct run {
    const struct load *load;
    spw_pool *pool;
    struct measure *measure;
    struct lane *lanes;
    unsigned lane_count;
    uint64_t chunks, drain_every;
    uint64_t produced_bytes, drained_bytes;
};

static uint64_t chunk_bytes(const struct run *run, uint64_t sequence)
{
    uint64_t start = sequence * run->load->chunk_bytes;
    uint64_t left = run->load->total_bytes - start;
    return left < run->load->chunk_bytes ? left : run->load->chunk_bytes;
}

static bool failed(const struct run *run)
{
    return run->measure->error != 0;
}

static void fail(struct run *run, const char *what, int err)
{
    measure_fail(run->measure, err, "%s: %s", what, spw_error_text(err));
}

/* ---- queues ---- */

static int lane_open(struct run *run, struct lane *lane, const spw_options *options)
{
    spw_queue_options queue = {.size = sizeof(queue), .name = "bench"};
    spw_strategy *strategy;
    int err;
    if (!run->pool)
        return spw_queue_open(&queue, &lane->writer, &lane->reader);
    err = spw_pool_strategy(run->pool, &strategy);
    if (err)
        return err;
    err = spw_policies_open(strategy, options, &queue.writer_policy, &queue.reader_policy);
    if (err) {
        strategy->ops->close(strategy);
        return err;
    }
    queue.account = spw_pool_account(run->pool);
    err = spw_queue_open(&queue, &lane->writer, &lane->reader);
    if (err) {
        queue.writer_policy->ops->close(queue.writer_policy);
        queue.reader_policy->ops->close(queue.reader_policy);
    }
    return err;
}

static void lanes_close(struct run *run)
{
    for (unsigned i = 0; i < run->lane_count; i++) {
        spw_slab_close(run->lanes[i].slab);
        spw_writer_close(run->lanes[i].writer);
        spw_reader_close(run->lanes[i].reader);
    }
    free(run->lanes);
}

static void lanes_open(struct run *run, const spw_options *options)
{
    run->lanes = calloc(run->lane_count, sizeof(struct lane));
    if (!run->lanes) {
        run->lane_count = 0;
        fail(run, "cannot open queues", -ENOMEM);
        return;
    }
    for (unsigned i = 0; i < run->lane_count && !failed(run); i++) {
        int err = lane_open(run, &run->lanes[i], options);
        run->lanes[i].next_sequence = i;
        if (err)
            fail(run, "cannot open a queue", err);
    }
}

/* ---- producing ---- */

/* Of the null strategy, whose slabs together are no more however many queues there are. */
static uint64_t null_slab_bytes(const struct run *run)
{
    uint64_t bytes = NULL_SLABS_BYTES / run->lane_count;
    return bytes > run->load->chunk_bytes ? bytes : run->load->chunk_bytes;
}

/* A slab with room for the chunk. */
static int slab_ready(struct run *run, struct lane *lane, uint64_t bytes)
{
    if (lane->slab && spw_slab_room(lane->slab) >= bytes)
        return 0;
    uint64_t want = run->pool ? 0 : null_slab_bytes(run);
    uint64_t usual = run->pool ? spw_pool_run_bytes(run->pool) : want;
    if (bytes > usual)
        want = bytes;
    if (lane->slab && !run->pool && spw_slab_capacity(lane->slab) >= bytes &&
        spw_slab_regain(lane->slab) == 0)
        return 0;
    spw_slab_close(lane->slab);
    lane->slab = NULL;
    if (run->pool)
        return spw_pool_slab_open(run->pool, want, 0, &lane->slab);
    return spw_slab_open(want, NULL, &lane->slab);
}

static void release_heap(void *context, const void *data, size_t len)
{
    (void)data;
    (void)len;
    free(context);
}

static int make_heap(uint64_t bytes, uint64_t sequence, spw_bytes *out)
{
    void *data = malloc(bytes);
    if (!data)
        return -ENOMEM;
    chunk_fill(data, bytes, sequence);
    int err = spw_bytes_wrap(data, bytes, release_heap, data, NULL, out);
    if (err)
        free(data);
    return err;
}

/* Makes the chunk and appends it; `*ns` is what the library took. */
static int push(struct run *run, struct lane *lane, uint64_t sequence, bool timed, uint64_t *ns)
{
    uint64_t bytes = chunk_bytes(run, sequence), start = 0;
    spw_bytes chunk = SPILLWAY_BYTES_NONE;
    int err;
    *ns = 0;
    if (run->load->origin == ORIGIN_HEAP) {
        err = make_heap(bytes, sequence, &chunk);
    } else {
        start = timed ? now_ns() : 0;
        err = slab_ready(run, lane, bytes);
        *ns = timed ? now_ns() - start : 0;
        if (err == 0) {
            chunk_fill(spw_slab_space(lane->slab), bytes, sequence);
            err = spw_slab_cut(lane->slab, bytes, &chunk);
        }
    }
    if (err)
        return err;
    start = timed ? now_ns() : 0;
    err = spw_writer_extend(lane->writer, &chunk, 1, 0);
    *ns += timed ? now_ns() - start : 0;
    spw_bytes_release(&chunk);
    lane->queued_bytes += err ? 0 : bytes;
    run->produced_bytes += err ? 0 : bytes;
    return err;
}

/* Chunks [from, to). */
static void produce(struct run *run, uint64_t from, uint64_t to)
{
    bool timed = run->load->latency;
    uint64_t start = now_ns(), ns;
    for (uint64_t sequence = from; sequence < to; sequence++) {
        struct lane *lane = &run->lanes[sequence % run->lane_count];
        int err = push(run, lane, sequence, timed, &ns);
        if (err) {
            fail(run, "cannot push a chunk", err);
            break;
        }
        if (timed)
            latency_add(&run->measure->extend, ns);
        atomic_store_explicit(&run->measure->produced_bytes, run->produced_bytes,
                              memory_order_relaxed);
    }
    run->measure->produce_s += (double)(now_ns() - start) / 1e9;
}

/* ---- consuming ---- */

/* Takes one drained entry, which is one chunk or several that merged. */
static void consume(struct run *run, struct lane *lane, const spw_bytes *entry)
{
    const unsigned char *data = entry->data;
    uint64_t left = entry->len;
    lane->queued_bytes -= left;
    run->drained_bytes += left;
    while (left > 0) {
        uint64_t chunk = chunk_bytes(run, lane->next_sequence);
        uint64_t here = chunk - lane->offset < left ? chunk - lane->offset : left;
        if (run->load->verify && !chunk_matches(data, here, lane->next_sequence, lane->offset)) {
            measure_fail(run->measure, -EBADMSG,
                         "chunk %llu came back with wrong bytes at offset %llu or behind",
                         (unsigned long long)lane->next_sequence, (unsigned long long)lane->offset);
            return;
        }
        data += here;
        left -= here;
        lane->offset += here;
        if (lane->offset == chunk) {
            lane->offset = 0;
            lane->next_sequence += run->lane_count;
        }
    }
}

static void drain_lane(struct run *run, struct lane *lane)
{
    bool timed = run->load->latency;
    spw_bytes out[BATCH];
    while (lane->queued_bytes > 0 && !failed(run)) {
        uint64_t start = timed ? now_ns() : 0;
        long count = spw_reader_drain_wait(lane->reader, out, BATCH, SPILLWAY_FOREVER);
        if (timed)
            latency_add(&run->measure->drain, now_ns() - start);
        if (count <= 0) {
            fail(run, "cannot drain", count ? (int)count : -EPIPE);
            return;
        }
        for (long i = 0; i < count; i++) {
            if (!failed(run))
                consume(run, lane, &out[i]);
            spw_bytes_release(&out[i]);
        }
        atomic_store_explicit(&run->measure->drained_bytes, run->drained_bytes,
                              memory_order_relaxed);
    }
}

static void drain(struct run *run)
{
    uint64_t start = now_ns();
    for (unsigned i = 0; i < run->lane_count; i++)
        drain_lane(run, &run->lanes[i]);
    run->measure->drain_s += (double)(now_ns() - start) / 1e9;
}

/* ---- all of it ---- */

static void measure_reset(struct measure *measure)
{
    measure->produce_s = measure->drain_s = 0;
    measure->produced_bytes = measure->drained_bytes = 0;
    memset(&measure->extend, 0, sizeof(measure->extend));
    memset(&measure->drain, 0, sizeof(measure->drain));
    memset(&measure->control, 0, sizeof(measure->control));
}

/* Chunks between two drains. */
static uint64_t drain_every(const struct run *run)
{
    const struct load *load = run->load;
    uint64_t every = load->drain_every ? load->drain_every : run->chunks;
    if (!run->pool) {
        uint64_t slabs = null_slab_bytes(run) / load->chunk_bytes * run->lane_count;
        every = slabs < every ? slabs : every;
    }
    return every ? every : 1;
}

void load_run(const struct load *load, spw_pool *pool, const spw_options *options,
              struct measure *measure)
{
    struct run run = {
        .load = load,
        .pool = pool,
        .measure = measure,
        .lane_count = load->queues ? load->queues : 1,
        .chunks = (load->total_bytes + load->chunk_bytes - 1) / load->chunk_bytes,
    };
    struct control control = {.running = false};
    run.drain_every = drain_every(&run);
    measure_reset(measure);
    lanes_open(&run, options);
    if (load->control && !failed(&run)) {
        int err = control_start(&control, &measure->control);
        if (err)
            fail(&run, "cannot start a thread", err);
    }
    measure_begin(measure);
    for (uint64_t from = 0; from < run.chunks && !failed(&run); from += run.drain_every) {
        uint64_t left = run.chunks - from;
        produce(&run, from, from + (left < run.drain_every ? left : run.drain_every));
        if (!failed(&run))
            drain(&run);
    }
    double spun_s = control_stop(&control);
    measure_end(measure);
    measure->user_s -= spun_s;
    measure->bytes = run.produced_bytes;
    if (!failed(&run) && run.drained_bytes != load->total_bytes)
        measure_fail(measure, -EBADMSG, "pushed %llu bytes, drained %llu",
                     (unsigned long long)run.produced_bytes, (unsigned long long)run.drained_bytes);
    lanes_close(&run);
}

void memory_warm(uint64_t bytes)
{
    unsigned char *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return; /* a warm-up is no condition */
    for (uint64_t at = 0; at < bytes; at += 4096)
        *(volatile unsigned char *)(memory + at) = 1;
    munmap(memory, bytes);
}
