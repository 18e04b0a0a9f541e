/* SPDX-License-Identifier: MIT */
/* The life of a governor, and what others ask of it. The thread itself is in governor_thread.c. */
#include "governor.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "pool.h"

static struct governor *governor_of(spw_governor *governor)
{
    return (struct governor *)governor;
}

/* ---- the thread ---- */

bool governor_on_thread(const struct governor *governor)
{
    return atomic_load_explicit(&governor->running, memory_order_acquire) &&
           pthread_equal(governor->self, pthread_self());
}

/* With the lock held. */
static void governor_wake_thread(struct governor *governor)
{
    static const uint64_t one = 1;
    governor->woken = true;
    /* The only other error is a counter at its limit, and that is readable. */
    while (governor->pool->os->write(governor->event_fd, &one, sizeof(one)) == -EINTR)
        ;
}

/* With the lock held. */
static int governor_start(struct governor *governor)
{
    const struct os *os = governor->pool->os;
    int fd = os->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return fd;
    governor->event_fd = fd;
    int err = os->thread(&governor->thread, governor_main, governor);
    if (err) {
        os_close(os, fd);
        governor->event_fd = -1;
        return err;
    }
    governor->started = true;
    return 0;
}

/* Tells once that each queue looks after itself alone. */
static void governor_missing(struct governor *governor, int err)
{
    struct spw_pool *pool = governor->pool;
    log_line(&pool->log, pool->strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN,
             "no thread for the governor can be started (%s): each queue keeps to its own share; "
             "see RLIMIT_NPROC, pids.max and RLIMIT_NOFILE",
             strerrorname_np(-err));
    pool_fallback(pool, "no-governor");
}

/* Starts the thread, or wakes it. `again`: also where it was refused before. */
static int governor_rouse(struct governor *governor, bool again)
{
    atomic_store(&governor->called, false);
    pthread_mutex_lock(&governor->lock);
    int err = 0;
    bool tell = false;
    if (governor->started) {
        governor_wake_thread(governor);
    } else if (governor->refused && !again) {
        err = -EAGAIN;
    } else {
        err = governor_start(governor);
        tell = err && !governor->refused;
        governor->refused = err != 0;
    }
    pthread_mutex_unlock(&governor->lock);
    if (tell)
        governor_missing(governor, err);
    return err ? -EAGAIN : 0;
}

int governor_call(struct governor *governor)
{
    return governor_rouse(governor, false);
}

void governor_begin_look(struct governor *governor)
{
    pthread_mutex_lock(&governor->lock);
    governor->looking = true;
    pthread_mutex_unlock(&governor->lock);
}

void governor_end_look(struct governor *governor)
{
    pthread_mutex_lock(&governor->lock);
    governor->looking = false;
    pthread_cond_broadcast(&governor->changed);
    pthread_mutex_unlock(&governor->lock);
}

bool governor_is_quiet(struct governor *governor)
{
    pthread_mutex_lock(&governor->lock);
    bool quiet = !governor->started || (governor->resting && !governor->woken);
    pthread_mutex_unlock(&governor->lock);
    return quiet;
}

void governor_wait_quiet(struct governor *governor)
{
    pthread_mutex_lock(&governor->lock);
    while (governor->looking && !governor_on_thread(governor))
        pthread_cond_wait(&governor->changed, &governor->lock);
    pthread_mutex_unlock(&governor->lock);
}

/* ---- regulators ---- */

/* With the lock held: where the regulator of that name is; `count` when there is none. */
static unsigned regulator_find(const struct governor *governor, const char *name)
{
    unsigned i = 0;
    while (i < governor->count && strcmp(governor->regulators[i]->regulator->ops->name, name) != 0)
        i++;
    return i;
}

static int governor_attach(spw_governor *face, spw_regulator *regulator)
{
    struct governor *governor = governor_of(face);
    struct spw_pool *pool = governor->pool;
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    struct regulated *added = allocator_zeroed(pool->allocator, sizeof(*added));
    if (!added)
        return -ENOMEM;
    *added = (struct regulated){.regulator = regulator,
                                .wake_ns = SPILLWAY_NEVER,
                                .wake_in_use_ns = SPILLWAY_NEVER,
                                .due = true};
    /* First the thread: a regulator that nobody calls would be of no use. */
    int err = governor_rouse(governor, true);
    pthread_mutex_lock(&governor->lock);
    if (regulator_find(governor, regulator->ops->name) < governor->count)
        err = -EEXIST;
    else if (!err && governor->count == REGULATORS_MAX)
        err = -ENOMEM;
    if (!err) {
        added->id = ++governor->next_id;
        added->tuned = retune_rows_of(pool, regulator->ops->name);
        governor->regulators[governor->count++] = added;
        governor_wake_thread(governor);
    }
    pthread_mutex_unlock(&governor->lock);
    if (err)
        allocator_release(pool->allocator, added, sizeof(*added));
    return err;
}

static void regulated_close(struct governor *governor, struct regulated *regulated)
{
    regulated->regulator->ops->close(regulated->regulator);
    allocator_release(governor->pool->allocator, regulated, sizeof(*regulated));
}

static int governor_detach(spw_governor *face, const char *name)
{
    struct governor *governor = governor_of(face);
    if (pool_in_child(governor->pool))
        return -EOWNERDEAD;
    pthread_mutex_lock(&governor->lock);
    unsigned i = regulator_find(governor, name);
    if (i == governor->count) {
        pthread_mutex_unlock(&governor->lock);
        return -ENOENT;
    }
    struct regulated *regulated = governor->regulators[i];
    governor->count--;
    memmove(&governor->regulators[i], &governor->regulators[i + 1],
            (governor->count - i) * sizeof(struct regulated *));
    /* A reader's callback on the thread itself cannot wait for it, and need not. */
    while (governor->calling == regulated->id && !governor_on_thread(governor))
        pthread_cond_wait(&governor->changed, &governor->lock);
    governor_wake_thread(governor); /* it may be waiting for a descriptor that goes now */
    pthread_mutex_unlock(&governor->lock);
    regulated_close(governor, regulated);
    return 0;
}

static void governor_wake(spw_governor *face, const char *name)
{
    struct governor *governor = governor_of(face);
    if (pool_in_child(governor->pool))
        return;
    pthread_mutex_lock(&governor->lock);
    bool any = false;
    for (unsigned i = 0; i < governor->count; i++) {
        struct regulated *regulated = governor->regulators[i];
        if (name && strcmp(regulated->regulator->ops->name, name) != 0)
            continue;
        regulated->due = true;
        any = true;
    }
    if (any)
        governor_wake_thread(governor);
    pthread_mutex_unlock(&governor->lock);
}

void governor_tune(struct governor *governor, const char *name, uint64_t rows)
{
    pthread_mutex_lock(&governor->lock);
    unsigned i = regulator_find(governor, name);
    if (i < governor->count) {
        governor->regulators[i]->tuned |= rows;
        governor->regulators[i]->due = true;
        governor_wake_thread(governor);
    }
    pthread_mutex_unlock(&governor->lock);
}

static spw_regulator *governor_regulator(spw_governor *face, const char *name)
{
    struct governor *governor = governor_of(face);
    if (pool_in_child(governor->pool))
        return NULL;
    pthread_mutex_lock(&governor->lock);
    unsigned i = regulator_find(governor, name);
    spw_regulator *found = i < governor->count ? governor->regulators[i]->regulator : NULL;
    pthread_mutex_unlock(&governor->lock);
    return found;
}

int governor_lacks(struct governor *governor, const char *name, const char *why)
{
    struct spw_pool *pool = governor->pool;
    if (pool_fallback_new(pool, name))
        log_line(&pool->log, pool->strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN, "%s: %s", name,
                 why);
    return pool->strict ? -EOPNOTSUPP : 0;
}

static int governor_fallback(spw_governor *face, const char *name, const char *why)
{
    struct governor *governor = governor_of(face);
    return pool_in_child(governor->pool) ? -EOWNERDEAD : governor_lacks(governor, name, why);
}

static int governor_attach_coder(spw_governor *governor, spw_coder *coder)
{
    struct spw_pool *pool = governor_of(governor)->pool;
    return pool_in_child(pool) ? -EOWNERDEAD : pool_attach_coder(pool, coder);
}

static const spw_options *governor_options(spw_governor *governor)
{
    return governor_of(governor)->options;
}

static const spw_governor_ops governor_ops = {
    .size = sizeof(governor_ops),
    .attach = governor_attach,
    .detach = governor_detach,
    .wake = governor_wake,
    .attach_coder = governor_attach_coder,
    .options = governor_options,
    .regulator = governor_regulator,
    .fallback = governor_fallback,
};

/* ---- life ---- */

static int locks_init(struct governor *governor)
{
    pthread_condattr_t attributes;
    int err = -pthread_condattr_init(&attributes);
    if (err)
        return err;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    err = -pthread_cond_init(&governor->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (err)
        return err;
    err = -pthread_mutex_init(&governor->lock, NULL);
    if (err)
        pthread_cond_destroy(&governor->changed);
    return err;
}

int governor_init(struct governor *governor, struct spw_pool *pool, spw_options *options)
{
    governor->governor.ops = &governor_ops;
    governor->pool = pool;
    governor->event_fd = -1;
    atomic_init(&governor->level_bytes, UINT64_MAX);
    int err = locks_init(governor);
    if (err)
        return err;
    err = decisions_init(&governor->decisions, pool->page.page->decisions);
    if (err)
        goto no_decisions;
    err = census_init(&governor->census);
    if (err)
        goto no_census;
    share_init(&governor->share);
    governor->options = options;
    return 0;

no_census:
    decisions_fini(&governor->decisions);
no_decisions:
    pthread_cond_destroy(&governor->changed);
    pthread_mutex_destroy(&governor->lock);
    return err;
}

void governor_stop(struct governor *governor)
{
    pthread_mutex_lock(&governor->lock);
    governor->closing = true;
    if (governor->started)
        governor_wake_thread(governor);
    bool started = governor->started;
    pthread_mutex_unlock(&governor->lock);
    if (!started)
        return;
    pthread_join(governor->thread, NULL);
    os_close(governor->pool->os, governor->event_fd);
    governor->event_fd = -1;
    governor->started = false;
}

void governor_fini(struct governor *governor)
{
    governor_stop(governor);
    while (governor->count > 0)
        regulated_close(governor, governor->regulators[--governor->count]);
    share_fini(&governor->share, governor->pool->allocator);
    census_fini(&governor->census);
    decisions_fini(&governor->decisions);
    pthread_cond_destroy(&governor->changed);
    pthread_mutex_destroy(&governor->lock);
    spw_options_close(governor->options);
}

spw_governor *spw_pool_governor(spw_pool *pool)
{
    return &pool->governor.governor;
}

long spw_pool_decisions(const spw_pool *pool, uint64_t from, spw_decision *out, size_t count)
{
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    /* Only its lock changes. */
    return decisions_copy((struct decisions *)&pool->governor.decisions, from, out, count);
}
