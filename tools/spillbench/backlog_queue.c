/* SPDX-License-Identifier: MIT */
/* Spillway's queues: over a pool, filled from its slabs or from the heap; or plain ones, whose
 * memory the kernel may swap out. */
#include "backlog.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "load.h"
#include "spillway/spillway.h"

enum { DRAIN_MAX = 64, MALLOC_MAP_BYTES = 128 << 10 };

struct backlog {
    struct measure *measure;
    uint64_t chunk_bytes;
    spw_pool *pool; /* NULL: a plain queue */
    spw_options *options;
    spw_writer *writer;
    spw_reader *reader;
    spw_slab *slab;
    spw_bytes drained[DRAIN_MAX];
};

static int backlog_fail(struct backlog *backlog, int err, const char *what)
{
    measure_fail(backlog->measure, err, "%s: %s", what, spw_error_text(err));
    return err;
}

static void queue_close(void *context)
{
    struct backlog *backlog = context;

    spw_slab_close(backlog->slab);
    spw_writer_close(backlog->writer);
    spw_reader_close(backlog->reader);
    if (backlog->pool)
        spw_pool_close(backlog->pool);
    spw_options_close(backlog->options);
    free(backlog);
}

/* The queue's policies over the pool. */
static int open_policies(struct backlog *backlog, spw_queue_options *options)
{
    spw_strategy *strategy;
    int err = spw_pool_strategy(backlog->pool, &strategy);

    if (err)
        return err;
    err = spw_policies_open(strategy, backlog->options, &options->writer_policy,
                            &options->reader_policy);
    if (err)
        strategy->ops->close(strategy);
    options->account = spw_pool_account(backlog->pool);
    return err;
}

static struct backlog *queue_new(const struct compare_plan *plan, struct measure *measure)
{
    struct backlog *backlog = calloc(1, sizeof *backlog);

    if (!backlog) {
        measure_fail(measure, -ENOMEM, "no memory for a queue");
        return NULL;
    }
    backlog->measure = measure;
    backlog->chunk_bytes = plan->chunk_bytes;
    return backlog;
}

static void *queue_start(struct backlog *backlog)
{
    spw_queue_options options = {.size = sizeof options};
    int err = backlog->pool ? open_policies(backlog, &options) : 0;

    if (!err)
        err = spw_queue_open(&options, &backlog->writer, &backlog->reader);
    if (err && options.writer_policy)
        options.writer_policy->ops->close(options.writer_policy);
    if (err && options.reader_policy)
        options.reader_policy->ops->close(options.reader_policy);
    if (err) {
        backlog_fail(backlog, err, "opening a queue");
        queue_close(backlog);
        return NULL;
    }
    return backlog;
}

static void *plain_open(const struct compare_plan *plan, struct measure *measure)
{
    struct backlog *backlog = queue_new(plan, measure);

    return backlog ? queue_start(backlog) : NULL;
}

/* As in a process that has freed nothing yet: a large chunk is a map of its own, so that what was
 * consumed goes at once. After a warm-up malloc would keep it, and the kernel would swap it again.
 */
static void *swapped_open(const struct compare_plan *plan, struct measure *measure)
{
    mallopt(M_MMAP_THRESHOLD, MALLOC_MAP_BYTES);
    return plain_open(plan, measure);
}

static void *queue_open(const struct compare_plan *plan, struct measure *measure)
{
    const char *const settings[] = {"policies", plan->policies, NULL};
    struct backlog *backlog = queue_new(plan, measure);

    if (!backlog)
        return NULL;
    backlog->pool = load_pool(measure, plan->threshold_bytes + plan->head_reserve_bytes, plan->dir,
                              &backlog->options, settings);
    if (!backlog->pool) {
        queue_close(backlog);
        return NULL;
    }
    return queue_start(backlog);
}

static int extend(struct backlog *backlog, spw_bytes *bytes)
{
    int err = spw_writer_extend(backlog->writer, bytes, 1, 0);

    spw_bytes_release(bytes);
    return err ? backlog_fail(backlog, err, "extend") : 0;
}

static void give_back(void *context, const void *data, size_t len)
{
    (void)context;
    (void)len;
    free((void *)(uintptr_t)data);
}

static int queue_produce(void *context, uint64_t sequence)
{
    struct backlog *backlog = context;
    spw_bytes bytes;
    void *memory = malloc(backlog->chunk_bytes);
    int err = -ENOMEM;

    if (memory) {
        chunk_fill(memory, backlog->chunk_bytes, sequence);
        err = spw_bytes_wrap(memory, backlog->chunk_bytes, give_back, NULL, NULL, &bytes);
    }
    if (err) {
        free(memory);
        return backlog_fail(backlog, err, "a chunk");
    }
    return extend(backlog, &bytes);
}

static int slabs_produce(void *context, uint64_t sequence)
{
    struct backlog *backlog = context;
    spw_bytes bytes;
    int err = 0;

    if (!backlog->slab || spw_slab_room(backlog->slab) < backlog->chunk_bytes) {
        size_t capacity = spw_pool_run_bytes(backlog->pool);

        spw_slab_close(backlog->slab);
        backlog->slab = NULL;
        err = spw_pool_slab_open(backlog->pool,
                                 backlog->chunk_bytes > capacity ? backlog->chunk_bytes : capacity,
                                 0, &backlog->slab);
        if (err)
            return backlog_fail(backlog, err, "a slab");
    }
    chunk_fill(spw_slab_space(backlog->slab), backlog->chunk_bytes, sequence);
    err = spw_slab_cut(backlog->slab, backlog->chunk_bytes, &bytes);
    return err ? backlog_fail(backlog, err, "a slab") : extend(backlog, &bytes);
}

static int queue_consume(void *context, struct consumer *consumer)
{
    struct backlog *backlog = context;
    long count =
        spw_reader_drain_wait(backlog->reader, backlog->drained, DRAIN_MAX, SPILLWAY_FOREVER);
    int err = 0;

    if (count <= 0)
        return backlog_fail(backlog, count < 0 ? (int)count : -ENODATA, "drain");
    for (long i = 0; i < count; i++) {
        if (!err)
            err = consumer_take(consumer, backlog->drained[i].data, backlog->drained[i].len);
        spw_bytes_release(&backlog->drained[i]);
    }
    return err;
}

spw_pool *backlog_pool(void *backlog)
{
    return ((struct backlog *)backlog)->pool;
}

const struct backlog_ops backlog_plain = {
    .open = plain_open, .produce = queue_produce, .consume = queue_consume, .close = queue_close};

const struct backlog_ops backlog_swapped = {
    .open = swapped_open, .produce = queue_produce, .consume = queue_consume, .close = queue_close};

const struct backlog_ops backlog_queue = {
    .open = queue_open, .produce = queue_produce, .consume = queue_consume, .close = queue_close};

const struct backlog_ops backlog_slabs = {
    .open = queue_open, .produce = slabs_produce, .consume = queue_consume, .close = queue_close};
