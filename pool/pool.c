/* SPDX-License-Identifier: MIT */
/* The life of a pool, and what a service asks of it. */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "../lib/options.h"
#include "run.h"
#include "slot.h"

/* ---- references ---- */

void pool_acquire(struct spw_pool *pool)
{
    atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

static void locks_close(struct spw_pool *pool)
{
    coding_fini(pool);
    retune_fini(&pool->retune);
    pthread_mutex_destroy(&pool->budget_lock);
    pthread_cond_destroy(&pool->progress);
    pthread_mutex_destroy(&pool->lock);
}

static void pool_free(struct spw_pool *pool)
{
    const spw_allocator *allocator = pool->allocator;
    governor_fini(&pool->governor);
    control_close(pool);
    if (pool->engine)
        engine_close(pool->engine);
    buffers_fini(&pool->buffers);
    if (pool->memtier)
        memtier_close(pool->memtier);
    if (pool->disk)
        disk_close(pool->disk);
    locks_close(pool);
    guard_close(&pool->guard, pool->os);
    pool_page_close(pool);
    allocator_release(allocator, pool, sizeof(*pool));
}

static void *pool_reap(void *pool)
{
    pool_free(pool);
    return NULL;
}

void pool_release(struct spw_pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (!pool_on_engine(pool)) {
        pool_free(pool);
        return;
    }
    /* A thread of the pool's cannot wait for its own end, so another one does. */
    pthread_t reaper;
    if (pool->os->thread(&reaper, pool_reap, pool) == 0)
        pthread_detach(reaper);
    else
        log_line(&pool->log, SPILLWAY_LOG_ERROR, "no thread to close the pool with; it stays open");
}

static struct spw_pool *pool_of_account(struct spw_account *account)
{
    return (struct spw_pool *)((char *)account - offsetof(struct spw_pool, account));
}

static void account_acquire(struct spw_account *account)
{
    pool_acquire(pool_of_account(account));
}

static void account_release(struct spw_account *account)
{
    pool_release(pool_of_account(account));
}

static void account_attach(struct spw_account *account, struct queue *queue)
{
    census_add(&pool_of_account(account)->governor.census, queue);
}

static void account_detach(struct spw_account *account, struct queue *queue)
{
    census_remove(&pool_of_account(account)->governor.census, queue);
}

static void account_has_relief(struct spw_account *account)
{
    pool_progress(pool_of_account(account));
}

static void account_cork(struct spw_account *account)
{
    struct spw_pool *pool = pool_of_account(account);
    if (pool->engine)
        engine_cork(pool->engine);
    workers_cork(&pool->coding.workers);
}

static void account_uncork(struct spw_account *account)
{
    struct spw_pool *pool = pool_of_account(account);
    if (pool->engine)
        engine_uncork(pool->engine);
    pool_hear_calls(pool);
    workers_uncork(&pool->coding.workers);
}

static void account_has_risen(struct spw_account *account)
{
    budget_look(pool_of_account(account));
}

int spw_pool_close(spw_pool *pool)
{
    if (!pool)
        return 0;
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    pool_release(pool);
    return 0;
}

int spw_pool_close_idle(spw_pool *pool)
{
    if (!pool)
        return 0;
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    /* Writes that nobody waits for any more are the pool's own business, not somebody alive; so is
     * a queue that an engine thread is just about to let go. */
    governor_wait_quiet(&pool->governor);
    if (pool->engine) {
        engine_wait_idle(pool->engine);
        workers_wait_idle(&pool->coding.workers); /* they come from there, and go there */
        engine_wait_idle(pool->engine);
    }
    if (atomic_load_explicit(&pool->refs, memory_order_acquire) != 1)
        return -EBUSY;
    pool_release(pool);
    return 0;
}

/* ---- open ---- */

static int locks_open(struct spw_pool *pool)
{
    pthread_condattr_t attributes;
    int err = -pthread_condattr_init(&attributes);
    if (err)
        return err;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    err = -pthread_cond_init(&pool->progress, &attributes);
    pthread_condattr_destroy(&attributes);
    if (err)
        return err;
    err = -pthread_mutex_init(&pool->lock, NULL);
    if (err)
        goto no_lock;
    err = -pthread_mutex_init(&pool->budget_lock, NULL);
    if (err)
        goto no_budget_lock;
    err = retune_init(&pool->retune);
    if (err)
        goto no_retune;
    err = coding_init(pool);
    if (!err)
        return 0;
    retune_fini(&pool->retune);
no_retune:
    pthread_mutex_destroy(&pool->budget_lock);
no_budget_lock:
    pthread_mutex_destroy(&pool->lock);
no_lock:
    pthread_cond_destroy(&pool->progress);
    return err;
}

static int disk_tier_open(struct spw_pool *pool, struct settings *settings)
{
    if (!settings->tier_disk)
        return 0;
    struct disk_config config = {.os = pool->os,
                                 .allocator = pool->allocator,
                                 .log = &pool->log,
                                 .dirs = settings->dir_count ? settings->dirs : NULL,
                                 .dir_count = settings->dir_count,
                                 .limit = settings->disk_limit,
                                 .strict = settings->strict,
                                 .counters = pool->counters,
                                 .rows = pool->page.page->dirs,
                                 .fallback = pool_fallback,
                                 .fallback_context = pool};
    int err = disk_open(&config, &pool->disk);
    if (!err)
        return 0;
    pool->disk = NULL;
    if (settings->strict || err == -ENOMEM)
        return err;
    log_line(&pool->log, SPILLWAY_LOG_WARN,
             "no scratch directory works (%s): nothing is spilled to disk", strerrorname_np(-err));
    pool_fallback(pool, "no-disk-tier");
    return 0;
}

/* What the budget may still grow by: the memory tier must leave it in the cgroup. */
static uint64_t unused_budget(void *context)
{
    const struct spw_pool *pool = context;
    uint64_t used = budget_used(pool);
    uint64_t budget = budget_now(pool);
    return used < budget ? budget - used : 0;
}

/* Settings of a memory tier that there is none of: told, and a mistake where strict. */
static int memory_tier_missing(struct spw_pool *pool, const struct settings *settings,
                               uint64_t capacity)
{
    char names[128];
    int len =
        snprintf(names, sizeof(names), "%s%s%s%s%s", capacity > 0 ? ", memory_tier" : "",
                 strcmp(settings->nodes, "local") != 0 ? ", nodes" : "",
                 settings->seal != SEAL_RECYCLE ? ", seal" : "", settings->mlock ? ", mlock" : "",
                 settings->huge_pages != HUGE_OFF ? ", huge_pages" : "");
    if (len == 0)
        return 0;
    log_line(&pool->log, settings->strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN,
             "without effect: %s; there is no memory tier (%s)", names + 2,
             settings->tier_memory ? "SPILLWAY_MEMORY_TIER gives it a capacity"
                                   : "SPILLWAY_TIERS leaves it out");
    return settings->strict ? -EINVAL : 0;
}

static int memory_tier_open(struct spw_pool *pool, const struct settings *settings,
                            const char *root)
{
    uint64_t whole = host_memory(pool->os, root, &(uint64_t){0});
    uint64_t capacity = amount_of(settings->memory_tier, whole, 0);
    if (!settings->tier_memory || capacity == 0)
        return memory_tier_missing(pool, settings, capacity);
    struct memtier_config config = {.os = pool->os,
                                    .allocator = pool->allocator,
                                    .log = &pool->log,
                                    .capacity_bytes = capacity,
                                    .segment_bytes = RUN_MAX_BYTES,
                                    .nodes = settings->nodes,
                                    .seal = settings->seal,
                                    .mlock = settings->mlock,
                                    .huge_pages = settings->huge_pages,
                                    .strict = settings->strict,
                                    .counters = pool->counters,
                                    .rows = pool->page.page->nodes,
                                    .fallback = pool_fallback,
                                    .fallback_context = pool,
                                    .unused_budget = unused_budget,
                                    .unused_budget_context = pool};
    int err = memtier_open(&config, &pool->memtier);
    if (!err)
        return 0;
    pool->memtier = NULL;
    if (settings->strict || err == -ENOMEM)
        return err;
    log_line(&pool->log, SPILLWAY_LOG_WARN, "the memory tier cannot be opened (%s): it is off",
             strerrorname_np(-err));
    pool_fallback(pool, "no-memory-tier");
    return 0;
}

/* What to look at when an engine cannot be started. */
static const char *engine_hint(int err)
{
    switch (-err) {
    case EMFILE:
        return "RLIMIT_NOFILE";
    case ENFILE:
        return "fs.file-max";
    case EAGAIN:
        return "RLIMIT_NPROC, pids.max and RLIMIT_AS";
    case ENOMEM:
        return "RLIMIT_MEMLOCK and RLIMIT_AS";
    default:
        return "kernel.io_uring_disabled and seccomp";
    }
}

/* No engine: nothing can be spilled. */
static int engine_missing(struct spw_pool *pool, const struct settings *settings, int err)
{
    pool->engine = NULL;
    if (err == -ENOMEM)
        return err;
    log_line(&pool->log, settings->strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN,
             "no I/O engine can be started (%s)%s; see %s", strerrorname_np(-err),
             settings->strict ? "" : ": nothing is spilled", engine_hint(err));
    if (settings->strict)
        return -EOPNOTSUPP;
    pool_fallback(pool, "no-engine");
    return 0;
}

static int engine_choose(struct spw_pool *pool, const struct settings *settings)
{
    if (!pool->disk && !pool->memtier)
        return 0;
    struct engine_config config = {.os = pool->os,
                                   .allocator = pool->allocator,
                                   .log = &pool->log,
                                   .kind = settings->engine,
                                   .depth = settings->depth,
                                   .request_bytes = settings->request_bytes,
                                   .window_bytes = pool->window_bytes,
                                   .counters = pool->counters,
                                   .request_start_ns = pool->page.page->request_start_ns,
                                   .write_ns = &pool->account.histograms->device_write_ns,
                                   .read_ns = &pool->account.histograms->device_read_ns};
    if (pool->disk)
        config.fd_count = disk_files(pool->disk, &config.fds);
    else
        config.kind = ENGINE_THREADS; /* copies only */
    int why = 0;
    int err = engine_open(&config, &pool->engine, &why);
    if (err && config.kind == ENGINE_IO_URING && !settings->strict) {
        why = err;
        config.kind = ENGINE_THREADS;
        err = engine_open(&config, &pool->engine, &(int){0});
    }
    if (err)
        return engine_missing(pool, settings, err);
    if (why) {
        log_line(&pool->log, SPILLWAY_LOG_WARN,
                 "io_uring is refused (%s): threads do the I/O instead; see %s",
                 strerrorname_np(-why), engine_hint(why));
        pool_fallback(pool, "io_uring");
    }
    return 0;
}

/* Everything that depends on the settings. What was opened stays for pool_free(). */
static int parts_open(struct spw_pool *pool, struct settings *settings, const char *root)
{
    pool->checksum = settings->checksum;
    pool->account.timing = settings->timing;
    pool->seal = settings->seal;
    pool->strict = settings->strict;
    retune_begin(&pool->retune, settings);
    int err = budget_open(pool, settings->memory, root);
    if (err)
        return err;
    err = buffers_init(&pool->buffers, pool, budget_run_bytes(pool));
    if (err)
        return err;
    err = disk_tier_open(pool, settings);
    if (!err)
        err = memory_tier_open(pool, settings, root);
    if (!err)
        err = engine_choose(pool, settings);
    if (!err && pool->engine) /* there may be something to govern when it is a quarter full */
        atomic_store(&pool->governor.level_bytes, budget_now(pool) / 4);
    if (!err) /* before there is a thread */
        err = control_open(pool, settings->control);
    if (!err && pool->strict && pool->engine)
        governor_call(&pool->governor); /* so that a refusal is known now */
    if (!err && pool->strict && pool->fallback_taken) {
        log_line(&pool->log, SPILLWAY_LOG_ERROR, "strict: these fell back: %s",
                 pool->page.page->texts.fallbacks);
        err = -EOPNOTSUPP;
    }
    if (err) {
        governor_stop(&pool->governor);
        control_close(pool);
        if (pool->engine)
            engine_close(pool->engine);
        if (pool->memtier)
            memtier_close(pool->memtier);
        if (pool->disk)
            disk_close(pool->disk);
        buffers_fini(&pool->buffers);
    }
    return err;
}

/* What a pool is opened with. */
struct opening {
    struct settings settings;
    spw_options *options; /* a copy; NULL: the governor's by now */
};

static void opening_close(const struct spw_pool *pool, struct opening *opening)
{
    spw_options_close(opening->options);
    allocator_release(pool->allocator, opening, sizeof(*opening));
}

/* Reads the settings: the caller's options, or (NULL) the environment over the defaults. */
static int settings_open(struct spw_pool *pool, const spw_options *options, struct opening *opening)
{
    int err = options_open(pool->allocator, &opening->options);
    if (err)
        return err;
    if (options)
        options_copy(opening->options, options);
    else
        err = spw_options_load(opening->options);
    settings_read(opening->options, &opening->settings);
    pool->log.level = opening->settings.log_level;
    const char *message = spw_options_message(opening->options);
    if (!options && *message)
        log_line(&pool->log, err ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN, "%s", message);
    return err;
}

static struct spw_pool *pool_make(const struct os *os, const spw_pool_config *config)
{
    const spw_allocator *allocator = allocator_or_default(config->allocator);
    struct spw_pool *pool = allocator_zeroed(allocator, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->os = os;
    pool->allocator = allocator;
    pool->id = os->clock_ns() ^ ((uint64_t)(uintptr_t)pool << 16);
    const char *name = config->name ? config->name : "pool";
    strncpy(pool->name, name, sizeof(pool->name) - 1);
    log_init(&pool->log, os, config->log, config->log_context, SPILLWAY_LOG_WARN);
    pool->account.guard = &pool->guard;
    pool->account.acquire = account_acquire;
    pool->account.release = account_release;
    pool->account.attach = account_attach;
    pool->account.detach = account_detach;
    pool->account.relieved = account_has_relief;
    pool->account.risen = account_has_risen;
    pool->account.cork = account_cork;
    pool->account.uncork = account_uncork;
    pool->control.fd = -1;
    atomic_init(&pool->refs, 1);
    atomic_init(&pool->next_run_id, 1);
    return pool;
}

int pool_open_with(const struct os *os, const char *root, const spw_pool_config *config,
                   spw_pool **out)
{
    spw_pool_config known = {0};
    int err = growable_read(config, POOL_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    struct spw_pool *pool = pool_make(os, &known);
    if (!pool)
        return -ENOMEM;
    err = -ENOMEM;
    struct opening *opening = allocator_zeroed(pool->allocator, sizeof(*opening));
    if (!opening)
        goto no_opening;
    err = settings_open(pool, known.options, opening);
    if (err)
        goto no_locks;
    err = locks_open(pool);
    if (err)
        goto no_locks;
    err = guard_open(&pool->guard, os);
    if (err)
        goto no_guard;
    err = pool_page_open(pool, &opening->settings, root);
    if (err)
        goto no_page;
    err = governor_init(&pool->governor, pool, opening->options);
    if (err)
        goto no_governor;
    const spw_options *options = opening->options;
    opening->options = NULL;
    err = parts_open(pool, &opening->settings, root);
    if (err)
        goto no_parts;
    pool_page_publish(pool, options);
    log_line(&pool->log, SPILLWAY_LOG_INFO, "pool %s: budget %llu bytes, engine %s", pool->name,
             (unsigned long long)budget_now(pool),
             pool->engine ? engine_name(pool->engine) : "none");
    opening_close(pool, opening);
    *out = pool;
    return 0;

no_parts:
    governor_fini(&pool->governor);
no_governor:
    pool_page_close(pool);
no_page:
    guard_close(&pool->guard, os);
no_guard:
    locks_close(pool);
no_locks:
    opening_close(pool, opening);
no_opening:
    allocator_release(pool->allocator, pool, sizeof(*pool));
    return err;
}

int spw_pool_open(const spw_pool_config *config, spw_pool **out)
{
    return pool_open_with(&os_linux, "", config, out);
}

/* ---- use ---- */

spw_account *spw_pool_account(spw_pool *pool)
{
    return &pool->account;
}

size_t spw_pool_run_bytes(const spw_pool *pool)
{
    return budget_run_bytes(pool);
}

int spw_pool_slab_open(spw_pool *pool, size_t capacity_bytes, unsigned flags, spw_slab **out)
{
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    if (capacity_bytes == 0)
        capacity_bytes = budget_run_bytes(pool);
    if (slot_slab_open(pool, capacity_bytes, out) == 0)
        return 0;
    int err = budget_admit(pool, capacity_bytes, flags, true);
    if (err)
        return err;
    struct buffer *buffer;
    err = buffer_acquire(&pool->buffers, capacity_bytes, USE_SLAB, CLAIM_FORCE, &buffer);
    buffers_reap(&pool->buffers);
    if (err)
        return err;
    err = slab_open_over(&buffer->owner, buffer->base, buffer->base, buffer->capacity,
                         pool->allocator, out);
    if (err)
        buffer_release(buffer);
    pool_hear_calls(pool);
    return err;
}

uint64_t spw_pool_trim(spw_pool *pool)
{
    if (pool_in_child(pool))
        return 0;
    uint64_t freed = buffers_trim(&pool->buffers, UINT64_MAX);
    if (pool->memtier)
        freed += memtier_trim(pool->memtier);
    return freed;
}
