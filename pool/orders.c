/* SPDX-License-Identifier: MIT */
/* What a regulator sees, and what becomes of what it wants. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../lib/growable.h"
#include "../lib/probes.h"
#include "governor.h"
#include "pool.h"

#define COUNTER(pool, name) atomic_load_explicit(&(pool)->counters->name, memory_order_relaxed)

void outlook_fill(struct spw_pool *pool, spw_outlook *out)
{
    out->size = sizeof(*out);
    out->now_ns = pool->os->clock_ns();
    out->budget_bytes = budget_now(pool);
    out->ceiling_bytes = atomic_load_explicit(&pool->ceiling_bytes, memory_order_relaxed);
    out->used_bytes = budget_used(pool);
    out->warm_bytes = buffers_used(&pool->buffers, USE_WARM);
    out->in_flight_bytes = counters_sum(COUNTER(pool, in_flight_bytes));
    if (pool->memtier) {
        struct memtier_info info;
        memtier_info(pool->memtier, &info);
        out->memory_tier_bytes = info.stored_bytes;
        out->memory_tier_capacity_bytes = info.capacity_bytes;
    }
    if (pool->disk) {
        struct disk_info info;
        disk_info(pool->disk, &info);
        out->disk_bytes = info.stored_bytes;
        out->disk_limit_bytes = info.limit_bytes;
    }
    out->spilled_bytes_total = COUNTER(pool, spilled_bytes_total);
    out->fetched_bytes_total = COUNTER(pool, fetched_bytes_total);
    out->fetched_runs_total = COUNTER(pool, fetched_runs_total);
    out->late_runs_total = COUNTER(pool, late_runs_total);
    out->hasty_bytes_total = COUNTER(pool, hasty_bytes_total);
    pthread_mutex_lock(&pool->lock);
    out->device_read_ns = pool->load_ns;
    ledger_advance(&pool->ledger, out->now_ns);
    out->freed_byte_seconds_total = pool_tell_ledger(pool);
    pthread_mutex_unlock(&pool->lock);
    out->writer_wait_ns_total = COUNTER(pool, writer_wait_ns_total);
    out->reader_wait_ns_total = COUNTER(pool, reader_wait_ns_total);
    out->queues = atomic_load_explicit(&pool->queues, memory_order_relaxed);
}

/* ---- decisions ---- */

static void text_put(char *to, size_t capacity, const char *from)
{
    snprintf(to, capacity, "%s", from);
}

static void decision_note(struct governor *governor, const char *name, const char *action,
                          const char *reason, uint64_t budget_before_bytes, uint64_t spill_bytes)
{
    struct spw_pool *pool = governor->pool;
    spw_decision decision = {.size = sizeof(decision),
                             .time_ns = pool->os->clock_ns(),
                             .budget_before_bytes = budget_before_bytes,
                             .budget_bytes = budget_now(pool),
                             .used_bytes = budget_used(pool),
                             .spill_bytes = spill_bytes};
    text_put(decision.regulator, sizeof(decision.regulator), name);
    text_put(decision.action, sizeof(decision.action), action);
    text_put(decision.reason, sizeof(decision.reason), reason);
    PROBE5(decision, decision.regulator, decision.action, budget_before_bytes,
           decision.budget_bytes, spill_bytes);
    decisions_add(&governor->decisions, &decision);
    pool_count(pool, decisions_total, 1);
    log_line(&pool->log, SPILLWAY_LOG_DEBUG, "%s: %s: %s (budget %llu bytes, %llu in use)",
             decision.regulator, decision.action, decision.reason,
             (unsigned long long)decision.budget_bytes, (unsigned long long)decision.used_bytes);
}

void governor_note(struct governor *governor, const char *action, uint64_t before_bytes,
                   const char *format, ...)
{
    char reason[sizeof(((spw_decision *)NULL)->reason)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    decision_note(governor, "governor", action, reason, before_bytes, 0);
}

void governor_note_coder(struct governor *governor, const char *name, const char *action,
                         const char *reason)
{
    decision_note(governor, name, action, reason, budget_now(governor->pool), 0);
}

void governor_note_set(struct governor *governor, const char *who, uint64_t before_bytes,
                       const char *reason)
{
    decision_note(governor, who, "set", reason, before_bytes, 0);
}

/* ---- orders ---- */

/* Sizes that policies are to take, as far as these say something. */
static void sizes_order(struct spw_pool *pool, const spw_orders *orders)
{
    bool threshold =
        orders->threshold_bytes != SPILLWAY_KEEP &&
        atomic_exchange(&pool->threshold_bytes, orders->threshold_bytes) != orders->threshold_bytes;
    bool prefetch =
        orders->prefetch_bytes != SPILLWAY_KEEP &&
        atomic_exchange(&pool->prefetch_bytes, orders->prefetch_bytes) != orders->prefetch_bytes;
    if (orders->prefetch_ns != SPILLWAY_KEEP) /* who reads ahead looks each time */
        atomic_store_explicit(&pool->prefetch_ns, orders->prefetch_ns, memory_order_relaxed);
    if (threshold || prefetch)
        epoch_advance(&pool->account.epoch);
}

/* What a regulator has measured, for whoever looks from outside. */
static void stalls_publish(struct spw_pool *pool, const spw_orders *orders)
{
    struct counters *counters = pool->counters;
    int memory = orders->memory_stall_permille, io = orders->io_stall_permille;
    if (memory >= 0)
        atomic_store_explicit(&counters->memory_stall_permille, (uint64_t)memory,
                              memory_order_relaxed);
    if (io >= 0)
        atomic_store_explicit(&counters->io_stall_permille, (uint64_t)io, memory_order_relaxed);
    if (memory >= 0 || io >= 0)
        pool_count(pool, stalls_measured_total, 1);
}

void orders_carry_out(struct governor *governor, const char *name, const spw_orders *orders)
{
    struct spw_pool *pool = governor->pool;
    uint64_t before_bytes = budget_now(pool);
    if (orders->budget_bytes != SPILLWAY_KEEP)
        budget_move(pool, orders->budget_bytes);
    if (budget_now(pool) < before_bytes)
        atomic_store_explicit(&pool->was_short, true, memory_order_relaxed);
    if (orders->trim_bytes > 0)
        buffers_trim(&pool->buffers, orders->trim_bytes);
    if (orders->hold_disk >= 0)
        pool_hold_disk(pool, orders->hold_disk > 0);
    sizes_order(pool, orders);
    stalls_publish(pool, orders);
    if (orders->spill_older_ns != SPILLWAY_NEVER)
        share_spill_older(governor, orders->spill_older_ns, orders->take_reserves > 0);
    if (orders->spill_bytes > 0)
        share_spill(governor, orders->spill_bytes, orders->take_reserves > 0);
    if (orders->action)
        decision_note(governor, name, orders->action, orders->reason, before_bytes,
                      orders->spill_bytes);
    if (orders->action && orders->fallback)
        (void)governor_lacks(governor, orders->fallback, orders->reason);
}
