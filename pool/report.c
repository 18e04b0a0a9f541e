/* SPDX-License-Identifier: MIT */
/* What a pool says of itself. */
#include <errno.h>
#include <string.h>

#include "../lib/growable.h"
#include "pool.h"

#define COPY_COUNTER(name, kind, help)                                                             \
    stats->name = atomic_load_explicit(&pool->counters->name, memory_order_relaxed);

static void report_budget(const struct spw_pool *pool, spw_stats *stats)
{
    const struct buffers *buffers = &pool->buffers;
    stats->budget_bytes = pool->budget_bytes;
    stats->resident_foreign_bytes = counters_sum(stats->resident_foreign_bytes);
    stats->entry_block_bytes = counters_sum(stats->entry_block_bytes);
    stats->buffer_bytes = counters_sum(stats->buffer_bytes);
    stats->used_bytes =
        stats->resident_foreign_bytes + stats->entry_block_bytes + stats->buffer_bytes;
    if (stats->used_peak_bytes < stats->used_bytes)
        stats->used_peak_bytes = stats->used_bytes;
    stats->slab_bytes = buffers_used(buffers, USE_SLAB);
    stats->staging_bytes = buffers_used(buffers, USE_STAGING);
    stats->reading_bytes = buffers_used(buffers, USE_READING);
    stats->loaded_bytes = buffers_used(buffers, USE_LOADED);
    stats->lent_bytes = buffers_used(buffers, USE_LENT);
    stats->warm_bytes = buffers_used(buffers, USE_WARM);
    stats->reserve_bytes = buffers_used(buffers, USE_RESERVE);
}

static void report_engine(const struct engine *engine, spw_stats *stats)
{
    struct engine_info info;
    engine_info(engine, &info);
    stats->oldest_request_ns = engine_oldest_ns(engine);
    stats->syscalls_total = info.syscalls;
    stats->requests_total = info.requests;
    stats->wakeups_total = info.wakeups;
    stats->write_depth = info.write.depth;
    stats->write_request_bytes = info.write.request_bytes;
    stats->write_calibrated = info.write.measured;
    stats->read_depth = info.read.depth;
    stats->read_request_bytes = info.read.request_bytes;
    stats->read_calibrated = info.read.measured;
}

static void report_tiers(const struct spw_pool *pool, spw_stats *stats)
{
    if (pool->memtier) {
        struct memtier_info info;
        memtier_info(pool->memtier, &info);
        stats->memory_tier_capacity_bytes = info.capacity_bytes;
        stats->memory_tier_bytes = info.segment_bytes;
        stats->memory_tier_stored_bytes = info.stored_bytes;
        stats->memory_tier_misplaced_bytes = info.misplaced_bytes;
        stats->memory_tier_locked_bytes = info.locked_bytes;
        stats->memory_tier_huge_bytes = info.huge_bytes;
    }
    if (pool->disk) {
        struct disk_info info;
        disk_info(pool->disk, &info);
        stats->disk_limit_bytes = info.limit_bytes;
        stats->disk_file_bytes = info.file_bytes;
        stats->disk_stored_bytes = info.stored_bytes;
        stats->enospc_total += info.enospc_total;
        stats->quarantined_dirs = info.quarantined;
    }
    if (pool->engine) {
        report_engine(pool->engine, stats);
    }
}

int spw_pool_stats(const spw_pool *pool, spw_stats *out)
{
    spw_stats now = {0}, *stats = &now;
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    SPILLWAY_STATS_TABLE(COPY_COUNTER)
    report_budget(pool, stats);
    report_tiers(pool, stats);
    const char *engine = pool->engine ? engine_name(pool->engine) : "none";
    strncpy(stats->engine, engine, sizeof(stats->engine) - 1);
    stats->engine[sizeof(stats->engine) - 1] = '\0';
    strncpy(stats->seal_mode, pool->seal == SEAL_STRICT ? "strict" : "recycle",
            sizeof(stats->seal_mode));
    pthread_mutex_t *lock = (pthread_mutex_t *)&pool->lock;
    pthread_mutex_lock(lock);
    memcpy(stats->fallbacks, pool->fallbacks, sizeof(stats->fallbacks));
    pthread_mutex_unlock(lock);
    return growable_write(out, STATS_FIRST_BYTES, &now, sizeof(now));
}

int spw_pool_histograms(const spw_pool *pool, spw_histograms *out)
{
    spw_histograms now = {0};
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    histograms_copy(&pool->histograms, &now);
    return growable_write(out, HISTOGRAMS_FIRST_BYTES, &now, sizeof(now));
}
