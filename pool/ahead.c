/* SPDX-License-Identifier: MIT */
/*
 * Reads that are asked for before anybody waits for them. What cannot be read at once is not
 * refused: what is still on its way out is read when it is stored, and what finds no memory when
 * there is some, first come, first served, but for what some reader will come to next. A queue
 * asks in this way for no more than its share of what readers may use, so that none waits for long
 * behind another; what it asks for beyond that (SPILLWAY_FETCH_SPARE) is only read while nobody
 * waits.
 */
#include <errno.h>

#include "hint.h"
#include "run.h"

/* Reads started in one go, since it may be under a queue's lock. Each of them gives its memory up
 * one day, and then the next ones start. */
enum { STARTS_MAX = 4 };

/* ---- the list ---- */

static struct run_queue *ahead_of(struct run *run)
{
    return run->next ? &run->pool->ahead_next : &run->pool->ahead_later;
}

void ahead_append(struct run *run)
{
    struct run_queue *ahead = ahead_of(run);
    run->queued = true;
    run->list_prev = ahead->last;
    run->list_next = NULL;
    *(ahead->last ? &ahead->last->list_next : &ahead->first) = run;
    ahead->last = run;
    atomic_fetch_add(&run->pool->ahead, 1);
}

void ahead_remove(struct run *run)
{
    struct run_queue *ahead = ahead_of(run);
    *(run->list_prev ? &run->list_prev->list_next : &ahead->first) = run->list_next;
    *(run->list_next ? &run->list_next->list_prev : &ahead->last) = run->list_prev;
    run->list_prev = run->list_next = NULL;
    run->queued = false;
    atomic_fetch_sub(&run->pool->ahead, 1);
}

/* With the lock held. */
static struct run *ahead_first(const struct spw_pool *pool)
{
    return pool->ahead_next.first ? pool->ahead_next.first : pool->ahead_later.first;
}

/* With the lock held: the reader will come to this one first. */
static void ahead_hurry(struct run *run)
{
    bool queued = run->queued;
    if (queued)
        ahead_remove(run);
    run->next = true;
    if (queued)
        ahead_append(run);
}

void run_list(struct run *run)
{
    bool wanted = run->wanted;
    run->wanted = false;
    if (wanted && !run_is_instant(run))
        ahead_append(run);
    else if (run_is_in_memory(run))
        memory_append(run);
}

/* ---- asking ---- */

/* The run could not be read yet. */
static void ahead_wait(struct run *run)
{
    struct spw_pool *pool = run->pool;
    pthread_mutex_lock(&pool->lock);
    if (run->state == RUN_STORED && !run->queued) {
        memory_remove(run); /* it will be read soon: not the one to demote */
        ahead_append(run);
    }
    pthread_mutex_unlock(&pool->lock);
    pool_read_ahead(pool); /* what was given up before it was on the list told nobody */
}

/* Whether there is room for a read of which nobody is in need. */
static bool room_to_spare(struct spw_pool *pool, uint64_t bytes)
{
    struct budget_use use = budget_use_now(pool);
    return atomic_load(&pool->ahead) == 0 && budget_read_room(pool, &use) >= bytes;
}

int run_ask(struct run *run, unsigned flags)
{
    struct spw_pool *pool = run->pool;
    bool spare = flags & SPILLWAY_FETCH_SPARE;
    if (flags & SPILLWAY_FETCH_HINT)
        return run_hint(run);
    if (atomic_load(&pool->ahead) > 0)
        pool_read_ahead(pool);
    pthread_mutex_lock(&pool->lock);
    enum run_state state = run->state;
    bool there = state == RUN_DEMOTING && run_is_instant(run), waits = run->queued;
    bool moves = state == RUN_STAGED || state == RUN_WRITING || state == RUN_HELD ||
                 (state == RUN_DEMOTING && !there);
    if (moves && !spare)
        run->wanted = true;
    if ((flags & SPILLWAY_FETCH_NEXT) && !run->next)
        ahead_hurry(run);
    int err = state == RUN_FAILED ? run->error : 0;
    /* Where and as what it lies is the storing thread's until it is stored. */
    uint64_t bytes = 0;
    if (state == RUN_STORED)
        bytes = run_region_bytes(run) + (run->code ? run_total_bytes(run) : 0);
    pthread_mutex_unlock(&pool->lock);
    if (moves && spare)
        return -EAGAIN;
    if (state != RUN_STORED || waits)
        return err;
    if (spare && !room_to_spare(pool, bytes))
        return -EAGAIN;
    err = run_load(run, false);
    if (err != -EAGAIN || spare)
        return err;
    ahead_wait(run);
    return 0;
}

/* ---- starting ---- */

/*
 * Starts the first read that waits. Returns whether to go on. The run is its queue's, which may
 * take it away at any time: so its read is made ready for any run of its kind, and given to the
 * one that is first by then.
 */
static bool ahead_start(struct spw_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct run *run = ahead_first(pool);
    struct load_need need = run ? run_need(run) : (struct load_need){.place = PLACE_NONE};
    pthread_mutex_unlock(&pool->lock);
    struct flight *flight;
    if (!run || load_open(pool, &need, false, &flight))
        return false;
    engine_cork(pool->engine);
    workers_cork(&pool->coding.workers);
    pthread_mutex_lock(&pool->lock);
    run = ahead_first(pool);
    bool fits = run && run_needs(run, &need);
    if (fits) {
        load_take_off(run, flight);
        load_start(flight); /* with the lock held: after that it may be gone */
    }
    pthread_mutex_unlock(&pool->lock);
    engine_uncork(pool->engine);
    workers_uncork(&pool->coding.workers);
    if (fits)
        pool_count(pool, prefetched_runs_total, 1);
    else
        flight_close(flight);
    return true;
}

void pool_read_ahead(struct spw_pool *pool)
{
    for (unsigned i = 0; i < STARTS_MAX && atomic_load(&pool->ahead) > 0; i++)
        if (!ahead_start(pool))
            return;
}
