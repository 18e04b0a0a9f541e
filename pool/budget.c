/* SPDX-License-Identifier: MIT */
/*
 * One budget for the process. Readers may always use a quarter of it (what is
 * being read, loaded or lent); writers spill from five eighths on, and wait from
 * three quarters on while I/O is in flight that will free something.
 */
#include <errno.h>

#include "pool.h"
#include "run.h"

uint64_t budget_used(const struct spw_pool *pool)
{
    const struct counters *counters = pool->counters;
    return counters_sum(atomic_load(&counters->resident_foreign_bytes) +
                        atomic_load(&counters->entry_block_bytes) +
                        atomic_load(&counters->buffer_bytes));
}

uint64_t budget_in_use(const struct spw_pool *pool)
{
    const struct counters *counters = pool->counters;
    uint64_t foreign = counters_sum(atomic_load(&counters->resident_foreign_bytes));
    uint64_t ahead = counters_sum(atomic_load(&counters->reported_ahead_bytes));
    uint64_t buffers = counters_sum(atomic_load(&counters->buffer_bytes));
    uint64_t reserve = buffers_used(&pool->buffers, USE_RESERVE);
    return (foreign > ahead ? foreign - ahead : 0) + (buffers > reserve ? buffers - reserve : 0);
}

void budget_note_peak(struct spw_pool *pool, uint64_t used_bytes)
{
    counters_raise(&pool->counters->used_peak_bytes, used_bytes);
}

static uint64_t readers_share(const struct spw_pool *pool)
{
    return budget_now(pool) / 4;
}

static uint64_t used_by_readers(const struct buffers *buffers)
{
    return buffers_used(buffers, USE_READING) + buffers_used(buffers, USE_LOADED) +
           buffers_used(buffers, USE_LENT) + buffers_used(buffers, USE_RESERVE);
}

struct budget_use budget_use_now(struct spw_pool *pool)
{
    const struct buffers *buffers = &pool->buffers;
    uint64_t warm = buffers_used(buffers, USE_WARM), share = readers_share(pool);
    struct budget_use use = {.all = budget_used(pool), .readers = used_by_readers(buffers)};
    budget_note_peak(pool, use.all);
    uint64_t apart = warm + (use.readers < share ? use.readers : share);
    use.writers = use.all > apart ? use.all - apart : 0;
    return use;
}

uint64_t budget_used_by_writers(struct spw_pool *pool)
{
    return budget_use_now(pool).writers;
}

uint64_t budget_read_room(const struct spw_pool *pool, const struct budget_use *use)
{
    uint64_t share = readers_share(pool), mark = budget_spill_mark(pool);
    return (use->readers < share ? share - use->readers : 0) +
           (use->writers < mark ? (mark - use->writers) / 2 : 0);
}

uint64_t budget_stuck(const struct spw_pool *pool, uint64_t used_bytes)
{
    uint64_t in_flight =
        atomic_load_explicit(&pool->counters->in_flight_bytes, memory_order_relaxed);
    uint64_t lands = budget_wait_mark(pool) + in_flight;
    return used_bytes > lands ? used_bytes - lands : 0;
}

/*
 * The budget is calm while writers need not spill or wait, and warm memory need not make room;
 * nobody rests on the epoch otherwise. Calm again only a little below the mark, so that a use that
 * stays near it does not wake everybody over and over.
 */
static bool calm_now(const struct spw_pool *pool, const struct budget_use *use, bool was_calm)
{
    uint64_t mark = budget_spill_mark(pool);
    return use->writers <= (was_calm ? mark : mark - budget_now(pool) / 64) &&
           use->all <= budget_now(pool);
}

/* What the governor waits for. All look again for its sake: who can call it, holding no lock, is
 * who comes to settle. */
static void governor_notice(struct spw_pool *pool, uint64_t used_by_writers)
{
    struct governor *governor = &pool->governor;
    uint64_t level = atomic_load(&governor->level_bytes);
    bool in_use = level != UINT64_MAX && budget_in_use(pool) > level &&
                  atomic_exchange(&governor->level_bytes, UINT64_MAX) != UINT64_MAX;
    bool guide = used_by_writers > budget_guide_mark(pool) &&
                 atomic_load_explicit(&pool->account.queues, memory_order_relaxed) > 1 &&
                 !atomic_load(&governor->guiding) && !atomic_exchange(&governor->guiding, true);
    if (!in_use && !guide)
        return;
    atomic_store(&governor->called, true);
    epoch_advance(&pool->account.epoch);
}

/*
 * Why nobody rests when the budget is not calm, whatever the order: who adds to the sums looks
 * afterwards, and who has changed `calm` looks once more. So the last one to change it has seen
 * all that was added, and each change to false is followed by an advance of the epoch. A policy
 * reads the epoch, then sees `calm` true, then rests. If `calm` turns false after that, the epoch
 * advances after that, and its rest is over.
 */
struct budget_use budget_look(struct spw_pool *pool)
{
    struct budget_use use = budget_use_now(pool);
    governor_notice(pool, use.writers);
    for (;; use = budget_use_now(pool)) {
        bool was_calm = atomic_load(&pool->calm), calm = calm_now(pool, &use, was_calm);
        if (calm == was_calm)
            return use;
        atomic_store(&pool->calm, calm);
        if (!calm)
            epoch_advance(&pool->account.epoch);
    }
}

bool budget_is_calm(struct spw_pool *pool)
{
    return atomic_load(&pool->calm);
}

uint64_t budget_guide_mark(const struct spw_pool *pool)
{
    return budget_now(pool) / 2;
}

uint64_t budget_spill_mark(const struct spw_pool *pool)
{
    return budget_now(pool) / 8 * 5;
}

uint64_t budget_wait_mark(const struct spw_pool *pool)
{
    return budget_now(pool) / 4 * 3;
}

uint64_t budget_head_reserve(const struct spw_pool *pool)
{
    unsigned queues = atomic_load_explicit(&pool->queues, memory_order_relaxed);
    uint64_t budget = budget_now(pool), share = budget / 4 / (queues > 0 ? queues : 1);
    uint64_t bytes = size_share(&pool->retune.head_reserve, budget);
    if (bytes != SETTINGS_AUTO)
        return bytes;
    return share < HEAD_RESERVE_MAX_BYTES ? share : HEAD_RESERVE_MAX_BYTES;
}

size_t budget_bytes_of_runs(uint64_t budget_bytes, unsigned queues)
{
    uint64_t share = budget_bytes / 8 / (queues > 0 ? queues : 1);
    size_t run = RUN_MIN_BYTES;
    while (run < RUN_MAX_BYTES && run * 2 <= share)
        run *= 2;
    return run;
}

size_t budget_run_bytes(const struct spw_pool *pool)
{
    return budget_bytes_of_runs(budget_now(pool),
                                atomic_load_explicit(&pool->queues, memory_order_relaxed));
}

/* What only a spill can free. Copies on their way to the disk go by themselves: were they counted,
 * each run that is written would make the next one go too. */
static uint64_t waits_for_spill(const struct spw_pool *pool)
{
    const struct counters *counters = pool->counters;
    uint64_t reading = used_by_readers(&pool->buffers), share = readers_share(pool);
    return counters_sum(atomic_load(&counters->resident_foreign_bytes) +
                        atomic_load(&counters->entry_block_bytes) +
                        buffers_used(&pool->buffers, USE_SLAB)) +
           (reading > share ? reading - share : 0);
}

bool pool_disk_accepts(struct spw_pool *pool, uint64_t bytes)
{
    if (!pool->disk)
        return false;
    if (atomic_load_explicit(&pool->disk_held, memory_order_relaxed) &&
        waits_for_spill(pool) <= budget_wait_mark(pool))
        return false;
    return disk_may_accept(pool->disk, bytes);
}

void pool_hold_disk(struct spw_pool *pool, bool hold)
{
    if (atomic_exchange(&pool->disk_held, hold) == hold)
        return;
    atomic_store_explicit(&pool->counters->disk_held, hold, memory_order_relaxed);
    if (hold) {
        pool_count(pool, disk_held_total, 1);
        log_line(&pool->log, SPILLWAY_LOG_INFO,
                 "the disk is held back: only what writers would have to wait for goes there");
        return;
    }
    log_line(&pool->log, SPILLWAY_LOG_INFO, "the disk is held back no longer");
    epoch_advance(&pool->account.epoch);
    pool_room_freed(pool);
}

bool pool_accepts(struct spw_pool *pool)
{
    size_t run_bytes = budget_run_bytes(pool);
    return (pool->memtier && memtier_may_accept(pool->memtier, run_bytes)) ||
           pool_disk_accepts(pool, run_bytes);
}

/* The same for who is over the mark with what comes: for such the disk is not held back. */
static bool accepts_over_mark(struct spw_pool *pool)
{
    size_t run_bytes = budget_run_bytes(pool);
    return (pool->memtier && memtier_may_accept(pool->memtier, run_bytes)) ||
           (pool->disk && disk_may_accept(pool->disk, run_bytes));
}

uint64_t budget_room(struct spw_pool *pool)
{
    if (!pool->engine)
        return 0;
    pool_retry_held(pool); /* what was refused goes first */
    if (held_is_full(pool) || !pool_accepts(pool))
        return 0;
    uint64_t in_flight =
        atomic_load_explicit(&pool->counters->in_flight_bytes, memory_order_relaxed);
    if (in_flight == 0)
        return budget_window(pool);
    uint64_t room = in_flight < budget_window(pool) ? budget_window(pool) - in_flight : 0;
    return room >= budget_run_bytes(pool) ? room : 0; /* no crumbs */
}

static bool over_mark(struct spw_pool *pool, uint64_t bytes)
{
    return budget_used_by_writers(pool) + bytes > budget_wait_mark(pool);
}

/*
 * The same for who would rather be refused: what queues report ahead of what they keep does not
 * count, since an idle queue never takes it back.
 */
static uint64_t less_ahead(const struct spw_pool *pool, uint64_t used_bytes)
{
    uint64_t ahead =
        atomic_load_explicit(&pool->counters->reported_ahead_bytes, memory_order_relaxed);
    return used_bytes > ahead ? used_bytes - ahead : 0;
}

static bool surely_over_mark(struct spw_pool *pool, uint64_t bytes)
{
    return less_ahead(pool, budget_used_by_writers(pool)) + bytes > budget_wait_mark(pool);
}

/*
 * A writer over the mark waits for what is in flight while a spill would take nothing more (the
 * window is full, or the tiers are), or would not free enough, or a reader needs the memory first.
 */
static bool writer_must_wait(struct spw_pool *pool, uint64_t bytes)
{
    uint64_t in_flight = atomic_load(&pool->counters->in_flight_bytes);
    return in_flight > 0 && over_mark(pool, bytes) && !pool_on_engine(pool) &&
           (in_flight + budget_run_bytes(pool) > budget_window(pool) || held_is_full(pool) ||
            atomic_load(&pool->ahead) > 0 || !pool_accepts(pool) ||
            budget_stuck(pool, budget_used_by_writers(pool)) > 0);
}

/* Sleeps until the next progress or `deadline_ns` (SPILLWAY_FOREVER: none). With the lock held. */
static void progress_wait(struct spw_pool *pool, uint64_t deadline_ns)
{
    if (deadline_ns == SPILLWAY_FOREVER) {
        pthread_cond_wait(&pool->progress, &pool->lock);
        return;
    }
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                             .tv_nsec = (long)(deadline_ns % 1000000000)};
    pthread_cond_timedwait(&pool->progress, &pool->lock, &until);
}

static void waiters_add(struct spw_pool *pool, int n)
{
    if (n > 0) {
        atomic_fetch_add(&pool->waiters, 1);
        account_add_waiters(&pool->account, 1);
    } else {
        account_add_waiters(&pool->account, -1);
        atomic_fetch_sub(&pool->waiters, 1);
    }
}

/* Sleeps until something was written, read or freed while `bytes` more are over the mark. */
static void wait_in_flight(struct spw_pool *pool, uint64_t bytes)
{
    uint64_t start_ns = pool->os->clock_ns();
    waiters_add(pool, 1);
    pthread_mutex_lock(&pool->lock);
    if (atomic_load(&pool->counters->in_flight_bytes) > 0 && over_mark(pool, bytes))
        progress_wait(pool, SPILLWAY_FOREVER);
    pthread_mutex_unlock(&pool->lock);
    waiters_add(pool, -1);
    pool_count(pool, writer_wait_ns_total, pool->os->clock_ns() - start_ns);
}

/*
 * For who would rather be refused than go over the budget: over the mark, everything in flight must
 * land first, and then a tier must take what will be spilled. Returns 0, or 1: wait for what is in
 * flight, -EAGAIN: readers hold the budget, -ENOSPC: no tier takes more, -EMSGSIZE: never.
 */
static int bounded_check(struct spw_pool *pool, uint64_t bytes)
{
    if (!surely_over_mark(pool, bytes))
        return 0;
    if (bytes > budget_now(pool))
        return -EMSGSIZE;
    pool_retry_held(pool);
    if (atomic_load(&pool->counters->in_flight_bytes) > 0)
        return 1;
    if (!pool->engine || held_is_full(pool) || !accepts_over_mark(pool))
        return -ENOSPC;
    uint64_t used = less_ahead(pool, budget_used(pool)),
             warm = buffers_used(&pool->buffers, USE_WARM);
    return used - (warm < used ? warm : used) + bytes <= budget_now(pool) ? 0 : -EAGAIN;
}

static int bounded_admit(struct spw_pool *pool, uint64_t bytes, bool may_wait)
{
    for (;;) {
        int err = bytes > 0 ? bounded_check(pool, bytes) : 0;
        if (err != 1)
            return err;
        if (!may_wait)
            return -EAGAIN;
        wait_in_flight(pool, bytes);
    }
}

/* What was taken in may have to replace warm memory; else it is over the budget. */
void budget_make_room(struct spw_pool *pool)
{
    uint64_t used = budget_used(pool);
    if (used <= budget_now(pool))
        return;
    buffers_trim(&pool->buffers, used - budget_now(pool));
    if (budget_used(pool) <= budget_now(pool))
        return;
    pool_count(pool, over_budget_total, 1);
    bool full = !pool->engine || held_is_full(pool) || !accepts_over_mark(pool);
    if (full && !atomic_exchange_explicit(&pool->told_over, true, memory_order_relaxed))
        log_line(&pool->log, SPILLWAY_LOG_WARN,
                 "no tier takes more: the budget of %llu bytes is exceeded from now on",
                 (unsigned long long)budget_now(pool));
}

int budget_settle(struct spw_pool *pool, unsigned flags)
{
    pool_hear_calls(pool);
    if ((flags & SPILLWAY_EXTEND_NOWAIT) || !writer_must_wait(pool, 0)) {
        budget_make_room(pool);
        return 0;
    }
    wait_in_flight(pool, 0);
    return 1;
}

int budget_admit(struct spw_pool *pool, uint64_t bytes, unsigned flags, bool wait)
{
    bool may_wait = !(flags & SPILLWAY_EXTEND_NOWAIT) && !pool_on_engine(pool);
    if (flags & SPILLWAY_EXTEND_BOUNDED)
        return bounded_admit(pool, bytes, may_wait);
    while (writer_must_wait(pool, bytes)) {
        if (!may_wait)
            return -EAGAIN;
        if (!wait)
            break; /* extend waits afterwards, when it can spill what it took */
        wait_in_flight(pool, bytes);
    }
    return 0;
}

int spw_pool_wait_room(spw_pool *pool, uint64_t bytes, uint64_t timeout_ns)
{
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    if (pool_on_engine(pool))
        return -EDEADLK;
    /* A full tier says nothing when its backoff has run out, so look again now and then. */
    static const uint64_t look_ns = 100000000;
    uint64_t now_ns = pool->os->clock_ns();
    uint64_t deadline_ns =
        timeout_ns > SPILLWAY_FOREVER - now_ns ? SPILLWAY_FOREVER : now_ns + timeout_ns;
    if (bytes == 0)
        bytes = budget_run_bytes(pool);
    int err;
    waiters_add(pool, 1);
    while ((err = bounded_check(pool, bytes)) && err != -EMSGSIZE) {
        now_ns = pool->os->clock_ns();
        if (now_ns >= deadline_ns) {
            err = -ETIMEDOUT;
            break;
        }
        uint64_t wake_ns = now_ns + look_ns < deadline_ns ? now_ns + look_ns : deadline_ns;
        pthread_mutex_lock(&pool->lock);
        /* Not bounded_check(), which may offer held runs and needs the lock for it. */
        if (surely_over_mark(pool, bytes))
            progress_wait(pool, wake_ns);
        pthread_mutex_unlock(&pool->lock);
    }
    waiters_add(pool, -1);
    return err;
}

void pool_progress(struct spw_pool *pool)
{
    pool_read_ahead(pool);
    if (atomic_load(&pool->waiters) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->progress);
    pthread_mutex_unlock(&pool->lock);
}
