/* SPDX-License-Identifier: MIT */
#include "backlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "seed.h"

struct backlog {
    struct measure *measure;
    uint64_t chunk_bytes;
    struct seed_queue *queue;
    struct seed_bytes *drained; /* kept from drain to drain, as the original's callers do */
    size_t capacity;
};

static void *seed_backlog_open(const struct compare_plan *plan, struct measure *measure)
{
    struct seed_config config = {.dir = plan->dir,
                                 .threshold_bytes = plan->threshold_bytes,
                                 .head_reserve_bytes = plan->head_reserve_bytes};
    struct backlog *backlog = calloc(1, sizeof *backlog);

    if (backlog)
        backlog->queue = seed_open(&config);
    if (!backlog || !backlog->queue) {
        measure_fail(measure, -ENOMEM, "no memory for a queue");
        free(backlog);
        return NULL;
    }
    backlog->measure = measure;
    backlog->chunk_bytes = plan->chunk_bytes;
    return backlog;
}

static int seed_backlog_produce(void *context, uint64_t sequence)
{
    struct backlog *backlog = context;
    struct seed_bytes bytes;
    int err = seed_chunk(backlog->chunk_bytes, &bytes);

    if (!err) {
        chunk_fill(bytes.data, backlog->chunk_bytes, sequence);
        err = seed_push(backlog->queue, &bytes);
        seed_release(&bytes);
    }
    if (err)
        measure_fail(backlog->measure, err, "the seed's queue: %s", strerror(-err));
    return err;
}

static int seed_backlog_consume(void *context, struct consumer *consumer)
{
    struct backlog *backlog = context;
    size_t count = 0;
    int err = seed_drain(backlog->queue, &backlog->drained, &count, &backlog->capacity);

    if (!err && count == 0)
        err = -ENODATA;
    if (err)
        measure_fail(backlog->measure, err, "the seed's queue: %s", strerror(-err));
    for (size_t i = 0; i < count; i++) {
        if (!err)
            err = consumer_take(consumer, backlog->drained[i].data, backlog->drained[i].len);
        seed_release(&backlog->drained[i]);
    }
    return err;
}

static void seed_backlog_close(void *context)
{
    struct backlog *backlog = context;

    seed_close(backlog->queue);
    free(backlog->drained);
    free(backlog);
}

const struct backlog_ops backlog_seed = {
    .open = seed_backlog_open,
    .produce = seed_backlog_produce,
    .consume = seed_backlog_consume,
    .close = seed_backlog_close,
};
