/* SPDX-License-Identifier: MIT */
/* The in-memory strategy for tests of policies and services. */
#include "spillway/mock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"

enum mock_state { MOCK_STORED, MOCK_STARTED, MOCK_LOADED };

struct mock_handle {
    spw_handle handle;
    struct spw_mock *mock;
    spw_chunks chunks;
    enum mock_state state;            /* guarded by the mock's lock, like all below */
    struct mock_handle *next_started; /* in order of their prefetch */
    spw_waker *waker;                 /* armed, with a reference */
};

struct spw_mock {
    spw_mock_config config;
    const spw_allocator *allocator;
    pthread_mutex_t lock; /* guards everything below */
    unsigned refs;        /* opener, strategies, handles */
    struct mock_handle *started_first;
    int spill_error, fetch_error;
    unsigned spill_failures, fetch_failures;
    spw_mock_info info;
};

struct mock_strategy {
    spw_strategy strategy;
    struct spw_mock *mock;
};

static void mock_release(struct spw_mock *mock)
{
    pthread_mutex_lock(&mock->lock);
    bool last = --mock->refs == 0;
    pthread_mutex_unlock(&mock->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&mock->lock);
    allocator_release(mock->allocator, mock, sizeof(*mock));
}

static void mock_acquire(struct spw_mock *mock)
{
    pthread_mutex_lock(&mock->lock);
    mock->refs++;
    pthread_mutex_unlock(&mock->lock);
}

int spw_mock_open(const spw_mock_config *config, spw_mock **out)
{
    spw_mock_config known = {0};
    int err = growable_read(config, MOCK_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct spw_mock *mock = allocator_zeroed(allocator, sizeof(*mock));
    if (!mock)
        return -ENOMEM;
    mock->config = known;
    if (mock->config.chunks_per_handle == 0)
        mock->config.chunks_per_handle = 1;
    mock->allocator = allocator;
    mock->refs = 1;
    err = -pthread_mutex_init(&mock->lock, NULL);
    if (err) {
        allocator_release(allocator, mock, sizeof(*mock));
        return err;
    }
    *out = mock;
    return 0;
}

void spw_mock_close(spw_mock *mock)
{
    if (mock)
        mock_release(mock);
}

/* ---- handles ---- */

static struct mock_handle *handle_of(spw_handle *handle)
{
    return (struct mock_handle *)handle;
}

/* With the lock held: takes the handle out of the list of started ones. */
static void handle_unlist(struct mock_handle *handle)
{
    for (struct mock_handle **at = &handle->mock->started_first; *at; at = &(*at)->next_started) {
        if (*at == handle) {
            *at = handle->next_started;
            handle->mock->info.pending--;
            return;
        }
    }
}

static void handle_free(struct mock_handle *handle)
{
    struct spw_mock *mock = handle->mock;
    if (handle->waker)
        handle->waker->release(handle->waker);
    allocator_release(mock->allocator, handle, sizeof(*handle));
    mock_release(mock);
}

static int handle_fetch_locked(struct mock_handle *handle)
{
    struct spw_mock *mock = handle->mock;
    if (mock->fetch_failures > 0) {
        mock->fetch_failures--;
        return mock->fetch_error;
    }
    if (mock->config.asynchronous && handle->state != MOCK_LOADED)
        return -EAGAIN;
    mock->info.fetches_total++;
    mock->info.handles--;
    mock->info.bytes -= handle->chunks.bytes;
    return 0;
}

static int mock_fetch(spw_handle *base, unsigned flags, spw_chunks *out)
{
    (void)flags; /* nothing here waits: an asynchronous run is loaded by spw_mock_load() only */
    struct mock_handle *handle = handle_of(base);
    struct spw_mock *mock = handle->mock;
    pthread_mutex_lock(&mock->lock);
    int err = handle_fetch_locked(handle);
    pthread_mutex_unlock(&mock->lock);
    if (err)
        return err;
    spw_chunks_join(out, &handle->chunks);
    handle_free(handle);
    return 0;
}

static uint64_t mock_size(const spw_handle *base)
{
    return ((const struct mock_handle *)base)->chunks.bytes;
}

static size_t mock_count(const spw_handle *base)
{
    return ((const struct mock_handle *)base)->chunks.count;
}

static void mock_drop(spw_handle *base)
{
    struct mock_handle *handle = handle_of(base);
    struct spw_mock *mock = handle->mock;
    pthread_mutex_lock(&mock->lock);
    handle_unlist(handle);
    mock->info.dropped_total++;
    mock->info.handles--;
    mock->info.bytes -= handle->chunks.bytes;
    pthread_mutex_unlock(&mock->lock);
    spw_chunks_clear(&handle->chunks);
    handle_free(handle);
}

static int mock_prefetch(spw_handle *base, unsigned flags)
{
    (void)flags;
    struct mock_handle *handle = handle_of(base);
    struct spw_mock *mock = handle->mock;
    pthread_mutex_lock(&mock->lock);
    if (handle->state == MOCK_STORED) {
        struct mock_handle **at = &mock->started_first;
        while (*at)
            at = &(*at)->next_started;
        *at = handle;
        handle->next_started = NULL;
        handle->state = MOCK_STARTED;
        mock->info.pending++;
    }
    pthread_mutex_unlock(&mock->lock);
    return 0;
}

static int mock_on_ready(spw_handle *base, spw_waker *waker)
{
    struct mock_handle *handle = handle_of(base);
    struct spw_mock *mock = handle->mock;
    spw_waker *old = NULL;
    pthread_mutex_lock(&mock->lock);
    bool ready = handle->state == MOCK_LOADED;
    if (!ready) {
        waker->acquire(waker);
        old = handle->waker;
        handle->waker = waker;
    }
    pthread_mutex_unlock(&mock->lock);
    if (old)
        old->release(old);
    return ready;
}

static const spw_handle_ops synchronous_ops = {
    .size = sizeof(synchronous_ops),
    .fetch = mock_fetch,
    .size_bytes = mock_size,
    .count = mock_count,
    .drop = mock_drop,
};

static const spw_handle_ops asynchronous_ops = {
    .size = sizeof(asynchronous_ops),
    .fetch = mock_fetch,
    .size_bytes = mock_size,
    .count = mock_count,
    .drop = mock_drop,
    .prefetch = mock_prefetch,
    .on_ready = mock_on_ready,
};

size_t spw_mock_load(spw_mock *mock, size_t count)
{
    size_t loaded = 0;
    for (; loaded < count; loaded++) {
        pthread_mutex_lock(&mock->lock);
        struct mock_handle *handle = mock->started_first;
        spw_waker *waker = NULL;
        if (handle) {
            handle_unlist(handle);
            handle->state = MOCK_LOADED;
            waker = handle->waker;
            handle->waker = NULL;
        }
        pthread_mutex_unlock(&mock->lock);
        if (!handle)
            break;
        if (waker) {
            waker->wake(waker);
            waker->release(waker);
        }
    }
    return loaded;
}

/* ---- the strategy ---- */

static struct mock_handle *handle_open(struct spw_mock *mock, spw_chunks *chunks, size_t count)
{
    struct mock_handle *handle = allocator_zeroed(mock->allocator, sizeof(*handle));
    if (!handle)
        return NULL;
    if (spw_chunks_take(chunks, count, UINT64_MAX, &handle->chunks) == 0) {
        allocator_release(mock->allocator, handle, sizeof(*handle));
        return NULL;
    }
    handle->handle.ops = mock->config.asynchronous ? &asynchronous_ops : &synchronous_ops;
    handle->mock = mock;
    mock_acquire(mock);
    return handle;
}

static int mock_spill(spw_strategy *base, spw_chunks *chunks, spw_sink *sink)
{
    struct spw_mock *mock = ((struct mock_strategy *)base)->mock;
    size_t left = mock->config.max_chunks_per_spill;
    if (left == 0)
        left = SIZE_MAX;
    pthread_mutex_lock(&mock->lock);
    mock->info.spills_total++;
    int err = 0;
    if (mock->spill_failures > 0) {
        mock->spill_failures--;
        err = mock->spill_error;
    }
    pthread_mutex_unlock(&mock->lock);
    while (!err && chunks->count > 0 && left > 0) {
        size_t most = mock->config.chunks_per_handle;
        struct mock_handle *handle = NULL;
        if (spw_sink_reserve(sink) == 0)
            handle = handle_open(mock, chunks, most < left ? most : left);
        if (!handle)
            return -ENOMEM;
        size_t count = handle->chunks.count;
        pthread_mutex_lock(&mock->lock);
        mock->info.handles++;
        mock->info.bytes += handle->chunks.bytes;
        mock->info.chunks_total += count;
        pthread_mutex_unlock(&mock->lock);
        spw_sink_add(sink, &handle->handle, count);
        left -= count;
    }
    return err;
}

static void mock_limits(spw_strategy *base, spw_limits *limits)
{
    limits->budget_bytes = ((struct mock_strategy *)base)->mock->config.budget_bytes;
}

static void mock_strategy_close(spw_strategy *base)
{
    struct mock_strategy *strategy = (struct mock_strategy *)base;
    struct spw_mock *mock = strategy->mock;
    allocator_release(mock->allocator, strategy, sizeof(*strategy));
    mock_release(mock);
}

static const spw_strategy_ops strategy_ops = {
    .size = sizeof(strategy_ops),
    .name = "mock",
    .spill = mock_spill,
    .limits = mock_limits,
    .close = mock_strategy_close,
};

int spw_mock_strategy(spw_mock *mock, spw_strategy **out)
{
    struct mock_strategy *strategy = allocator_zeroed(mock->allocator, sizeof(*strategy));
    if (!strategy)
        return -ENOMEM;
    strategy->strategy.ops = &strategy_ops;
    strategy->mock = mock;
    mock_acquire(mock);
    *out = &strategy->strategy;
    return 0;
}

void spw_mock_fail_spill(spw_mock *mock, int err, unsigned times)
{
    pthread_mutex_lock(&mock->lock);
    mock->spill_error = err;
    mock->spill_failures = times;
    pthread_mutex_unlock(&mock->lock);
}

void spw_mock_fail_fetch(spw_mock *mock, int err, unsigned times)
{
    pthread_mutex_lock(&mock->lock);
    mock->fetch_error = err;
    mock->fetch_failures = times;
    pthread_mutex_unlock(&mock->lock);
}

int spw_mock_info_get(const spw_mock *mock, spw_mock_info *info)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&mock->lock;
    pthread_mutex_lock(lock);
    spw_mock_info now = mock->info;
    pthread_mutex_unlock(lock);
    return growable_write(info, MOCK_INFO_FIRST_BYTES, &now, sizeof(now));
}
