/* SPDX-License-Identifier: MIT */
#include "flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

/* Who is so far ahead of its time sleeps; less than that is not worth a system call. */
enum { AHEAD_NS = 200000, SLAB_BYTES = 2 << 20, AT_ONCE = 64 };

struct pace {
    uint64_t start_ns;
    double rate;
};

static struct pace pace_begin(const struct flow_watch *watch)
{
    struct pace pace = {now_ns(), watch ? watch->rate : 0};

    return pace;
}

static void pace_keep(const struct pace *pace, uint64_t bytes)
{
    if (pace->rate <= 0)
        return;
    uint64_t due_ns = pace->start_ns + (uint64_t)((double)bytes / pace->rate * 1e9);
    if (due_ns < now_ns() + AHEAD_NS)
        return;
    struct timespec due = {(time_t)(due_ns / 1000000000), (long)(due_ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
}

static void pace_end(const struct pace *pace, struct flow_watch *watch)
{
    if (watch)
        watch->seconds = (double)(now_ns() - pace->start_ns) / 1e9;
}

static void heap_release(void *context, const void *data, size_t len)
{
    (void)data;
    (void)len;
    free(context);
}

static void fill(const struct flow *flow, void *to, uint64_t sequence)
{
    if (!flow->text) {
        chunk_fill(to, flow->chunk_bytes, sequence);
        return;
    }
    uint64_t chunks = flow->text_bytes / flow->chunk_bytes;
    memcpy(to, flow->text + sequence % chunks * flow->chunk_bytes, flow->chunk_bytes);
}

static int heap_chunk(const struct flow *flow, uint64_t sequence, spw_bytes *out)
{
    void *memory = malloc(flow->chunk_bytes);

    if (!memory)
        return -ENOMEM;
    fill(flow, memory, sequence);
    int rc = spw_bytes_wrap(memory, flow->chunk_bytes, heap_release, memory, NULL, out);
    if (rc != 0)
        free(memory);
    return rc;
}

static int next_slab(struct flow *flow)
{
    size_t bytes = flow->pool ? spw_pool_run_bytes(flow->pool) : SLAB_BYTES;

    if (flow->chunk_bytes > bytes)
        bytes = flow->chunk_bytes;
    spw_slab_close(flow->slab);
    flow->slab = NULL;
    if (flow->pool)
        return spw_pool_slab_open(flow->pool, bytes, 0, &flow->slab);
    return spw_slab_open(bytes, NULL, &flow->slab);
}

static int make_chunk(struct flow *flow, uint64_t sequence, struct flow_watch *watch,
                      spw_bytes *out)
{
    if (flow->heap)
        return heap_chunk(flow, sequence, out);
    if (!flow->slab || spw_slab_room(flow->slab) < flow->chunk_bytes) {
        uint64_t start_ns = now_ns();
        int rc = next_slab(flow);
        if (rc != 0)
            return rc;
        if (watch)
            latency_add(&watch->around, now_ns() - start_ns);
    }
    fill(flow, spw_slab_space(flow->slab), sequence);
    return spw_slab_cut(flow->slab, flow->chunk_bytes, out);
}

int flow_produce(struct flow *flow, uint64_t bytes, struct flow_watch *watch)
{
    struct pace pace = pace_begin(watch);

    for (uint64_t at = 0, n = 0; at < bytes; at += flow->chunk_bytes, n++) {
        spw_bytes chunk = SPILLWAY_BYTES_NONE;
        pace_keep(&pace, at);
        int rc = make_chunk(flow, n, watch, &chunk);
        if (rc != 0)
            return rc;
        uint64_t start_ns = watch ? now_ns() : 0;
        rc = spw_writer_extend(flow->ends.writer, &chunk, 1, 0);
        if (watch)
            latency_add(&watch->call, now_ns() - start_ns);
        if (rc != 0) {
            spw_bytes_release(&chunk);
            return rc;
        }
        flow->due_bytes += flow->chunk_bytes;
    }
    pace_end(&pace, watch);
    return 0;
}

/* A call at a time where calls are timed; else as many entries as there are. */
static long drain_some(struct flow *flow, struct flow_watch *watch, spw_bytes out[AT_ONCE])
{
    size_t most = watch ? 1 : AT_ONCE;
    uint64_t start_ns = watch ? now_ns() : 0;
    long got = spw_reader_drain(flow->ends.reader, out, most);

    if (watch && got > 0)
        latency_add(&watch->call, now_ns() - start_ns);
    if (got == -EAGAIN) {
        got = spw_reader_drain_wait(flow->ends.reader, out, most, SPILLWAY_FOREVER);
        if (watch)
            latency_add(&watch->around, now_ns() - start_ns);
    }
    return got == 0 ? -EPIPE : got;
}

int flow_consume(struct flow *flow, struct flow_watch *watch)
{
    struct pace pace = pace_begin(watch);
    spw_bytes out[AT_ONCE];

    for (uint64_t at = 0; flow->due_bytes > 0;) {
        pace_keep(&pace, at);
        long got = drain_some(flow, watch, out);
        if (got < 0)
            return (int)got;
        for (long i = 0; i < got; i++) {
            at += out[i].len;
            flow->due_bytes -= out[i].len;
            spw_bytes_release(&out[i]);
        }
    }
    pace_end(&pace, watch);
    return 0;
}

void flow_close(struct flow *flow)
{
    spw_slab_close(flow->slab);
    flow->slab = NULL;
    ends_drop(&flow->ends);
}
