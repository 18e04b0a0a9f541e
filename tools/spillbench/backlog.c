/* SPDX-License-Identifier: MIT */
#include "backlog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

#include "load.h"

int consumer_take(struct consumer *consumer, const void *data, uint64_t bytes)
{
    const unsigned char *at = data;

    while (bytes > 0) {
        uint64_t part = consumer->chunk_bytes - consumer->offset;

        if (part > bytes)
            part = bytes;
        if (!chunk_matches(at, part, consumer->sequence, consumer->offset)) {
            measure_fail(consumer->measure, -EBADMSG, "chunk %" PRIu64 " came back changed",
                         consumer->sequence);
            return -EBADMSG;
        }
        at += part;
        bytes -= part;
        consumer->offset += part;
        if (consumer->offset == consumer->chunk_bytes) {
            uint64_t now = now_ns();

            latency_add(&consumer->measure->drain, now - consumer->last_ns);
            consumer->last_ns = now;
            consumer->offset = 0;
            consumer->sequence++;
            atomic_fetch_add_explicit(&consumer->measure->drained_bytes, consumer->chunk_bytes,
                                      memory_order_relaxed);
        }
    }
    return 0;
}

static int produce(const struct backlog_ops *ops, void *backlog, uint64_t from, uint64_t to,
                   uint64_t chunk_bytes, struct measure *measure)
{
    uint64_t before = now_ns();

    for (uint64_t i = from; i < to; i++) {
        int err = ops->produce(backlog, i);
        uint64_t now = now_ns();

        if (err)
            return err;
        latency_add(&measure->extend, now - before);
        before = now;
        atomic_fetch_add_explicit(&measure->produced_bytes, chunk_bytes, memory_order_relaxed);
    }
    return 0;
}

static int consume(const struct backlog_ops *ops, void *backlog, uint64_t to,
                   struct consumer *consumer)
{
    int err = 0;

    consumer->last_ns = now_ns();
    while (!err && consumer->sequence < to)
        err = ops->consume(backlog, consumer);
    return err;
}

/* One pass of `count` chunks, numbered from `first`. */
static int pass(const struct backlog_ops *ops, void *backlog, const struct compare_plan *plan,
                uint64_t first, uint64_t count, uint64_t drain_every, struct measure *measure)
{
    struct consumer consumer = {
        .measure = measure, .chunk_bytes = plan->chunk_bytes, .sequence = first};
    uint64_t turn = drain_every ? drain_every : count;
    int err = 0;

    for (uint64_t at = first, end = first + count; at < end && !err; at += turn) {
        uint64_t to = end - at < turn ? end : at + turn;
        double start = now_s(), middle;

        err = produce(ops, backlog, at, to, plan->chunk_bytes, measure);
        middle = now_s();
        if (!err)
            err = consume(ops, backlog, to, &consumer);
        measure->produce_s += middle - start;
        measure->drain_s += now_s() - middle;
    }
    if (!err && ops->rewind)
        err = ops->rewind(backlog);
    return err;
}

/* What the warm-up left in the measure. */
static void forget(struct measure *measure)
{
    measure->produce_s = measure->drain_s = 0;
    measure->extend = measure->drain = (struct latency){0};
    atomic_store(&measure->produced_bytes, 0);
    atomic_store(&measure->drained_bytes, 0);
}

void backlog_run(const struct backlog_ops *ops, const struct compare_plan *plan,
                 uint64_t drain_every, struct measure *measure)
{
    uint64_t warm = plan->warm_bytes / plan->chunk_bytes;
    uint64_t count = plan->total_bytes / plan->chunk_bytes;
    void *backlog = ops->open(plan, measure);

    if (!backlog)
        return;
    if (warm == 0 || pass(ops, backlog, plan, 0, warm, drain_every, measure) == 0) {
        forget(measure);
        measure_begin(measure);
        if (pass(ops, backlog, plan, warm, count, drain_every, measure) == 0)
            measure->bytes = count * plan->chunk_bytes;
        measure_end(measure);
    }
    ops->close(backlog);
}
