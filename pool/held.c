/* SPDX-License-Identifier: MIT */
/*
 * Runs that no tier would take: kept resident in their handles, and offered again
 * when something is freed or a while has passed.
 */
#include "run.h"

/* How long a refused run is held before it is offered again; doubled with each round. */
#define HELD_BACKOFF_FIRST_NS UINT64_C(2000000)
#define HELD_BACKOFF_LAST_NS  UINT64_C(500000000)

/* Held runs looked at in one go, with the pool's lock held. */
enum { HELD_LOOK_MAX = 64 };

/* What a held run counts against new ones. A large one may be refused where others fit. */
static uint64_t held_weight(const struct run *run)
{
    return run_total_bytes(run) <= RUN_MAX_BYTES ? run->bytes : 0;
}

bool held_is_full(const struct spw_pool *pool)
{
    return atomic_load(&pool->held_weight_bytes) >= budget_window(pool);
}

static void held_link(struct run *run)
{
    struct spw_pool *pool = run->pool;
    run->flight->held_prev = pool->held_last;
    run->flight->held_next = NULL;
    *(pool->held_last ? &pool->held_last->flight->held_next : &pool->held_first) = run;
    pool->held_last = run;
}

static void held_unlink(struct run *run)
{
    struct spw_pool *pool = run->pool;
    struct run *prev = run->flight->held_prev, *next = run->flight->held_next;
    *(prev ? &prev->flight->held_next : &pool->held_first) = next;
    *(next ? &next->flight->held_prev : &pool->held_last) = prev;
}

void held_append(struct run *run)
{
    struct spw_pool *pool = run->pool;
    uint64_t now_ns = pool->os->clock_ns();
    /* Runs that are refused together are one round. */
    if (now_ns >= atomic_load(&pool->held_retry_ns)) {
        uint64_t backoff_ns = pool->held_backoff_ns * 2;
        if (backoff_ns < HELD_BACKOFF_FIRST_NS)
            backoff_ns = HELD_BACKOFF_FIRST_NS;
        if (backoff_ns > HELD_BACKOFF_LAST_NS)
            backoff_ns = HELD_BACKOFF_LAST_NS;
        pool->held_backoff_ns = backoff_ns;
        atomic_store(&pool->held_retry_ns, now_ns + backoff_ns);
    }
    run->state = RUN_HELD;
    held_link(run);
    atomic_fetch_add(&pool->counters->held_bytes, run->bytes);
    atomic_fetch_add(&pool->held_weight_bytes, held_weight(run));
}

void held_remove(struct run *run)
{
    struct spw_pool *pool = run->pool;
    held_unlink(run);
    atomic_fetch_sub(&pool->counters->held_bytes, run->bytes);
    atomic_fetch_sub(&pool->held_weight_bytes, held_weight(run));
}

/* Whether a tier may take this very run. */
static bool run_may_fit(struct run *run)
{
    struct spw_pool *pool = run->pool;
    uint64_t region = run_region_bytes(run);
    return (pool->memtier && memtier_may_accept(pool->memtier, run_total_bytes(run))) ||
           pool_disk_accepts(pool, region < RUN_MAX_BYTES ? region : RUN_MAX_BYTES);
}

void pool_retry_held(struct spw_pool *pool)
{
    if (atomic_load_explicit(&pool->counters->held_bytes, memory_order_relaxed) == 0 ||
        pool->os->clock_ns() < atomic_load(&pool->held_retry_ns))
        return;
    pthread_mutex_lock(&pool->lock);
    struct run *run = pool->held_first;
    for (unsigned i = 0; run && i < HELD_LOOK_MAX; i++) {
        struct run *next = run->flight->held_next;
        if (atomic_load(&pool->counters->in_flight_bytes) >= budget_window(pool))
            break;
        if (run_may_fit(run)) {
            held_remove(run);
            run->state = RUN_STAGED;
            /* Under the lock: once it is unlocked a fetch may take the run and free it. */
            run_stage(run);
        } else { /* to the end, so that the next round looks at others */
            held_unlink(run);
            held_link(run);
        }
        run = next;
    }
    pthread_mutex_unlock(&pool->lock);
}

void pool_room_freed(struct spw_pool *pool)
{
    if (atomic_load_explicit(&pool->counters->held_bytes, memory_order_relaxed) > 0) {
        atomic_store(&pool->held_retry_ns, 0);
        pool_retry_held(pool);
    }
    pool_progress(pool);
}
