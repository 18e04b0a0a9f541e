/* SPDX-License-Identifier: MIT */
/* The pool as a strategy: cuts what it is offered into runs and puts them in flight. */
#include <errno.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "../lib/probes.h"
#include "hint.h"
#include "run.h"

/* Adopted in one go, under the queue's lock: no window bounds them. */
enum { ADOPT_BATCH = 64 };

struct pool_strategy {
    spw_strategy strategy; /* first */
    struct spw_pool *pool;
};

static struct spw_pool *pool_of(spw_strategy *strategy)
{
    return ((struct pool_strategy *)strategy)->pool;
}

/*
 * Moves the next run's chunks to `run`. A large chunk, or one that can be written
 * from its own pages, is a run by itself; small ones are grouped, with room for their lengths
 * (at most a sixteenth) left in the run.
 */
static void run_cut(const struct spw_pool *pool, spw_chunks *chunks, size_t run_bytes,
                    spw_chunks *run)
{
    const spw_bytes *first = spw_chunks_peek(chunks);
    bool alone = first->len >= run_bytes / 2 ||
                 (first->len >= RUN_MIN_BYTES &&
                  (buffer_of(pool, first) != NULL || slot_owner_of(pool, first) != NULL));
    if (alone)
        spw_chunks_take(chunks, 1, UINT64_MAX, run);
    else
        spw_chunks_take(chunks, run_bytes / 16 / sizeof(uint32_t), run_bytes - run_bytes / 16, run);
}

/* Bytes that lie in the memory tier already: a run of them needs no room in the window, no tier's
 * consent and no I/O thread. */
static bool is_adoptable(const struct spw_pool *pool, const spw_bytes *bytes)
{
    return pool->checksum != CHECKSUM_ALL && slot_is_adoptable(pool, bytes);
}

/* Returns 1 when the first chunk was adopted, 0 when it cannot be, or should take the way of others
 * since it may get smaller there, -ENOMEM. */
static int adopt_first(struct spw_pool *pool, spw_chunks *chunks, spw_sink *sink)
{
    if (!is_adoptable(pool, spw_chunks_peek(chunks)) ||
        (coding_wants_adopted(pool) && budget_room(pool) > 0))
        return 0;
    if (spw_sink_reserve(sink))
        return -ENOMEM;
    struct run *run = run_open_adopted(pool, spw_chunks_peek(chunks));
    if (!run)
        return -ENOMEM;
    spw_bytes bytes;
    spw_chunks_pop(chunks, &bytes);
    spw_bytes_release(&bytes); /* not the last: the run has its own part */
    spw_sink_add(sink, &run->handle, 1);
    PROBE3(spill, run->id, run->bytes, 1);
    return 1;
}

static int strategy_spill(spw_strategy *strategy, spw_chunks *chunks, spw_sink *sink)
{
    struct spw_pool *pool = pool_of(strategy);
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    size_t run_bytes = budget_run_bytes(pool);
    bool any = false;
    unsigned adoptions = 0;
    while (chunks->count > 0) {
        int adopted = adopt_first(pool, chunks, sink);
        if (adopted < 0)
            return adopted;
        if (adopted > 0) {
            any = true;
            if (++adoptions == ADOPT_BATCH)
                return 0;
            continue;
        }
        uint64_t room = budget_room(pool);
        /* A crumb at the end may wait for what is behind it. */
        if (any && (room == 0 || chunks->bytes < run_bytes / 2))
            return 0;
        if (room == 0)
            return pool_accepts(pool) ? -EAGAIN : -ENOSPC;
        /*
         * An entry that is larger than the room goes all the same, so that the window is exceeded
         * by one entry at most. Were it refused, its writer would neither spill nor wait, since to
         * others the window is not full.
         */
        spw_chunks cut = SPILLWAY_CHUNKS_NONE;
        if (spw_sink_reserve(sink))
            return -ENOMEM;
        run_cut(pool, chunks, run_bytes, &cut);
        struct run *run = cut.count > 0 ? run_open(pool, &cut) : NULL;
        if (!run) {
            spw_chunks_join(&cut, chunks); /* back to the front */
            *chunks = cut;
            return -ENOMEM;
        }
        spw_sink_add(sink, &run->handle, run->count);
        PROBE3(spill, run->id, run->bytes, run->count);
        run_stage(run);
        any = true;
    }
    return 0;
}

static void strategy_limits(spw_strategy *strategy, spw_limits *limits)
{
    struct spw_pool *pool = pool_of(strategy);
    bool was_calm = budget_is_calm(pool);
    struct budget_use use = was_calm ? (struct budget_use){0} : budget_look(pool);
    uint64_t seen = epoch_read(&pool->account.epoch), mark = budget_spill_mark(pool);
    bool calm = budget_is_calm(pool);
    if (was_calm || calm) /* who may rest on the epoch looks after it was read */
        use = budget_use_now(pool);
    limits->budget_bytes = budget_now(pool);
    limits->excess_bytes = use.writers > mark ? use.writers - mark : 0;
    limits->run_bytes = budget_run_bytes(pool);
    limits->queues = atomic_load_explicit(&pool->queues, memory_order_relaxed);
    if (limits->size < GROWABLE_END(spw_limits, epoch_seen))
        return; /* who asks does not know that it could rest */
    limits->epoch = calm && limits->excess_bytes == 0 ? &pool->account.epoch : NULL;
    limits->epoch_seen = seen;
    if (limits->size < GROWABLE_END(spw_limits, read_ahead_bytes))
        return;
    limits->stuck_bytes = budget_stuck(pool, use.writers);
    limits->read_ahead_bytes = budget_read_room(pool, &use);
    if (limits->size < GROWABLE_END(spw_limits, prefetch_bytes))
        return;
    limits->threshold_bytes = atomic_load_explicit(&pool->threshold_bytes, memory_order_relaxed);
    limits->prefetch_bytes = atomic_load_explicit(&pool->prefetch_bytes, memory_order_relaxed);
    if (limits->size < GROWABLE_END(spw_limits, hints))
        return;
    limits->hints = pool_hints(pool);
    if (limits->size < GROWABLE_END(spw_limits, now_ns))
        return;
    limits->prefetch_ns = atomic_load_explicit(&pool->prefetch_ns, memory_order_relaxed);
    if (limits->prefetch_ns > 0)
        limits->now_ns = pool->os->clock_ns();
    if (limits->size < GROWABLE_END(spw_limits, set_prefetch_bytes))
        return;
    limits->set = atomic_load_explicit(&pool->retune.sizes, memory_order_acquire);
    if (limits->set != 0) {
        limits->set_threshold_bytes = size_share(&pool->retune.threshold, limits->budget_bytes);
        limits->set_head_reserve_bytes =
            size_share(&pool->retune.head_reserve, limits->budget_bytes);
        limits->set_prefetch_bytes = size_share(&pool->retune.prefetch, limits->budget_bytes);
    }
}

static uint64_t strategy_room(spw_strategy *strategy)
{
    struct spw_pool *pool = pool_of(strategy);
    return pool_in_child(pool) ? 0 : budget_room(pool);
}

static int strategy_adopts(spw_strategy *strategy, const spw_bytes *bytes)
{
    return is_adoptable(pool_of(strategy), bytes);
}

static int strategy_admit(spw_strategy *strategy, uint64_t bytes, unsigned flags)
{
    return budget_admit(pool_of(strategy), bytes, flags, false);
}

static int strategy_settle(spw_strategy *strategy, unsigned flags)
{
    return budget_settle(pool_of(strategy), flags);
}

static struct spw_governor *strategy_governor(spw_strategy *strategy)
{
    return &pool_of(strategy)->governor.governor;
}

static void strategy_close(spw_strategy *strategy)
{
    struct spw_pool *pool = pool_of(strategy);
    if (pool_in_child(pool))
        return;
    atomic_fetch_sub_explicit(&pool->queues, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&pool->counters->queues, 1, memory_order_relaxed);
    epoch_advance(&pool->account.epoch); /* the limits are others now */
    allocator_release(pool->allocator, strategy, sizeof(struct pool_strategy));
    pool_release(pool);
}

static const spw_strategy_ops strategy_ops = {
    .size = sizeof(strategy_ops),
    .name = "pool",
    .spill = strategy_spill,
    .limits = strategy_limits,
    .room_bytes = strategy_room,
    .admit = strategy_admit,
    .settle = strategy_settle,
    .close = strategy_close,
    .adopts = strategy_adopts,
    .governor = strategy_governor,
};

int spw_pool_strategy(spw_pool *pool, spw_strategy **out)
{
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    struct pool_strategy *strategy = allocator_zeroed(pool->allocator, sizeof(*strategy));
    if (!strategy)
        return -ENOMEM;
    strategy->strategy.ops = &strategy_ops;
    strategy->pool = pool;
    atomic_fetch_add_explicit(&pool->queues, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->counters->queues, 1, memory_order_relaxed);
    epoch_advance(&pool->account.epoch);
    pool_acquire(pool);
    *out = &strategy->strategy;
    return 0;
}
