/* SPDX-License-Identifier: MIT */
/* How large the budget is: what was asked for, what the limits leave of it, and what regulators do
 * with the rest. */
#include <errno.h>
#include <string.h>

#include "../lib/alloc.h"
#include "pool.h"

/* ---- what follows from the budget ---- */

/* With the budget's lock held, or before anybody else knows the pool. */
static void budget_store(struct spw_pool *pool, uint64_t ceiling_bytes, uint64_t bytes)
{
    uint64_t window_bytes = bytes / 4;
    if (window_bytes > WINDOW_MAX_BYTES)
        window_bytes = WINDOW_MAX_BYTES;
    atomic_store_explicit(&pool->ceiling_bytes, ceiling_bytes, memory_order_relaxed);
    atomic_store_explicit(&pool->budget_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&pool->window_bytes, window_bytes, memory_order_relaxed);
    atomic_store_explicit(&pool->account.slack_bytes, bytes / SLACK_SHARE, memory_order_relaxed);
    atomic_store_explicit(&pool->account.spare_bytes, bytes / SPARE_SHARE, memory_order_relaxed);
    atomic_store_explicit(&pool->counters->budget_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&pool->counters->budget_ceiling_bytes, ceiling_bytes,
                          memory_order_relaxed);
}

/* Everybody looks again: with another budget there is another share for each. No lock held. */
static void budget_moved(struct spw_pool *pool)
{
    buffers_fit(&pool->buffers, budget_bytes_of_runs(budget_now(pool), 0));
    epoch_advance(&pool->account.epoch);
    budget_look(pool);
    budget_make_room(pool);
    pool_progress(pool);
}

void budget_move(struct spw_pool *pool, uint64_t bytes)
{
    pthread_mutex_lock(&pool->budget_lock);
    uint64_t before_bytes = budget_now(pool);
    uint64_t ceiling_bytes = atomic_load_explicit(&pool->ceiling_bytes, memory_order_relaxed);
    if (bytes < BUDGET_MIN_BYTES)
        bytes = BUDGET_MIN_BYTES;
    if (bytes > ceiling_bytes)
        bytes = ceiling_bytes;
    budget_store(pool, ceiling_bytes, bytes);
    pthread_mutex_unlock(&pool->budget_lock);
    if (bytes != before_bytes)
        budget_moved(pool);
}

/* ---- the ceiling ---- */

/* What is asked for, within what a pool needs and what the limits leave. */
static uint64_t ceiling_choose(const struct spw_pool *pool, uint64_t limit)
{
    uint64_t asked = amount_of(pool->asked, limit, limit / 2);
    /* The rest of the process needs memory too, and beyond a cgroup's limit it would be killed. */
    uint64_t most = limit / 4 * 3;
    if (asked < BUDGET_MIN_BYTES)
        return BUDGET_MIN_BYTES;
    return asked <= most || most < BUDGET_MIN_BYTES ? asked : most;
}

/* Says so where the ceiling is not what was asked for. */
static void ceiling_tell(struct spw_pool *pool, uint64_t asked, uint64_t limit, uint64_t ceiling)
{
    if (ceiling > asked) {
        log_line(&pool->log, SPILLWAY_LOG_WARN,
                 "memory: %llu bytes is too small a budget; it is raised to %llu",
                 (unsigned long long)asked, (unsigned long long)ceiling);
    } else if (ceiling < asked) {
        log_line(&pool->log, SPILLWAY_LOG_WARN,
                 "memory: a budget of %llu bytes does not fit below the limit of %llu (memory "
                 "cgroup, RLIMIT_AS, RLIMIT_DATA or the host); it is lowered to %llu",
                 (unsigned long long)asked, (unsigned long long)limit, (unsigned long long)ceiling);
        pool_fallback(pool, "budget");
    }
}

/* The tightest limit of now; 0 where there is no memory to look for it. */
static uint64_t limit_read(struct spw_pool *pool)
{
    struct cgroup *cgroup = allocator_acquire(pool->allocator, sizeof(*cgroup));
    if (!cgroup)
        return 0;
    cgroup_find(pool->os, pool->root, cgroup);
    uint64_t limit = memory_limit(pool->os, cgroup, pool->root);
    allocator_release(pool->allocator, cgroup, sizeof(*cgroup));
    return limit;
}

int budget_open(struct spw_pool *pool, struct amount asked, const char *root)
{
    size_t len = strlen(root) + 1;
    if (len > sizeof(pool->root))
        return -ENAMETOOLONG;
    memcpy(pool->root, root, len);
    uint64_t limit = limit_read(pool);
    if (limit == 0)
        return -ENOMEM;
    pool->asked = asked;
    pool->limit_bytes = limit;
    uint64_t ceiling = ceiling_choose(pool, limit);
    ceiling_tell(pool, amount_of(asked, limit, limit / 2), limit, ceiling);
    budget_store(pool, ceiling, ceiling);
    return 0;
}

/* With the budget's lock held: another limit, or another wish. Returns whether the ceiling moved;
 * a budget that was not lowered goes with it. */
static bool ceiling_move(struct spw_pool *pool, uint64_t limit)
{
    uint64_t before = atomic_load_explicit(&pool->ceiling_bytes, memory_order_relaxed);
    uint64_t budget = budget_now(pool), ceiling = ceiling_choose(pool, limit);
    pool->limit_bytes = limit;
    if (ceiling != before)
        budget_store(pool, ceiling, budget == before || budget > ceiling ? ceiling : budget);
    return ceiling != before;
}

bool budget_look_at_limits(struct spw_pool *pool, uint64_t *limit_bytes)
{
    uint64_t limit = limit_read(pool);
    pthread_mutex_lock(&pool->budget_lock);
    bool other = limit != 0 && limit != pool->limit_bytes;
    bool moved = other && ceiling_move(pool, limit);
    uint64_t asked = amount_of(pool->asked, limit, limit / 2);
    pthread_mutex_unlock(&pool->budget_lock);
    *limit_bytes = limit;
    if (moved) {
        ceiling_tell(pool, asked, limit,
                     atomic_load_explicit(&pool->ceiling_bytes, memory_order_relaxed));
        budget_moved(pool);
    }
    return moved;
}

void budget_ask(struct spw_pool *pool, struct amount asked, struct budget_change *out)
{
    uint64_t limit = limit_read(pool);
    pthread_mutex_lock(&pool->budget_lock);
    if (limit == 0)
        limit = pool->limit_bytes;
    out->before_bytes = budget_now(pool);
    pool->asked = asked;
    ceiling_move(pool, limit);
    out->ceiling_bytes = atomic_load_explicit(&pool->ceiling_bytes, memory_order_relaxed);
    budget_store(pool, out->ceiling_bytes, out->ceiling_bytes);
    pthread_mutex_unlock(&pool->budget_lock);
    out->limit_bytes = limit;
    out->asked_bytes = amount_of(asked, limit, limit / 2);
}

void budget_asked(struct spw_pool *pool, const struct budget_change *change)
{
    ceiling_tell(pool, change->asked_bytes, change->limit_bytes, change->ceiling_bytes);
    budget_moved(pool);
    /* Queues may rest, and then nobody else would see to it. */
    if (pool->engine && budget_used_by_writers(pool) > budget_spill_mark(pool)) {
        atomic_store(&pool->governor.shrunk, true);
        governor_call(&pool->governor);
    }
    pool_hear_calls(pool);
}
