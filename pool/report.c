/* SPDX-License-Identifier: MIT */
/* What a pool says of itself. */
#include <errno.h>
#include <string.h>

#include "../lib/growable.h"
#include "../lib/probes.h"
#include "pool.h"

/* ---- fallbacks ---- */

bool pool_fallback_new(struct spw_pool *pool, const char *name)
{
    struct page *page = pool->page.page;
    char *told = page->texts.fallbacks;
    pthread_mutex_lock(&pool->lock);
    size_t len = strlen(told), need = strlen(name) + 1;
    bool known = false;
    for (const char *at = told; (at = strstr(at, name)); at += need - 1) {
        char before = at == told ? ' ' : at[-1], after = at[need - 1];
        known = known || (before == ' ' && (after == ' ' || after == '\0'));
    }
    if (!known && len + need + 1 <= sizeof(page->texts.fallbacks)) {
        page_texts_begin(page);
        if (len > 0)
            told[len++] = ' ';
        memcpy(told + len, name, need);
        page_texts_end(page);
    }
    pool->fallback_taken = true;
    pthread_mutex_unlock(&pool->lock);
    if (!known) {
        PROBE1(fallback, name);
        pool_count(pool, fallbacks_total, 1);
    }
    return !known;
}

void pool_fallback(void *pool, const char *name)
{
    (void)pool_fallback_new(pool, name);
}

/* ---- the stats page ---- */

static const char *page_hint(int err)
{
    switch (-err) {
    case EMFILE:
        return "RLIMIT_NOFILE";
    case ENFILE:
        return "fs.file-max";
    case EFBIG:
        return "RLIMIT_FSIZE";
    case ENOMEM:
    case ENOSPC:
        return "RLIMIT_AS and vm.overcommit_memory";
    case EINVAL:
        return "the version of the kernel (5.1 is needed)";
    default:
        return "seccomp and vm.memfd_noexec";
    }
}

int pool_page_open(struct spw_pool *pool, const struct settings *settings, const char *root)
{
    struct page_config config = {.os = pool->os,
                                 .allocator = pool->allocator,
                                 .shared = settings->stats_page,
                                 .root = root,
                                 .name = pool->name,
                                 .id = pool->id};
    int why, err = page_open(&config, &pool->page, &why);
    if (err)
        return err;
    struct page *page = pool->page.page;
    pool->counters = pool->account.counters = &page->counters;
    pool->account.histograms = &page->histograms;
    pool->queue_rows.rows = pool->page.queues;
    pool->account.queue_rows = pool->page.queues ? &pool->queue_rows : NULL;
    if (!why)
        return 0;
    log_line(&pool->log, SPILLWAY_LOG_WARN,
             "no stats page can be made (%s): poolstat does not see this pool; see %s",
             strerrorname_np(-why), page_hint(why));
    pool_fallback(pool, "stats-page");
    return 0;
}

void pool_page_publish(struct spw_pool *pool, const spw_options *options)
{
    struct page *page = pool->page.page;
    const char *engine = pool->engine ? engine_name(pool->engine) : "none";
    pthread_mutex_lock(&pool->lock);
    page_texts_begin(page);
    strncpy(page->texts.engine, engine, sizeof(page->texts.engine) - 1);
    strncpy(page->texts.seal_mode, pool->seal == SEAL_STRICT ? "strict" : "recycle",
            sizeof(page->texts.seal_mode) - 1);
    page_texts_end(page);
    if (pool->page.fd >= 0)
        page_tell_settings(page, options);
    pthread_mutex_unlock(&pool->lock);
    page_publish(page);
}

void pool_page_close(struct spw_pool *pool)
{
    page_close(&(struct page_config){.os = pool->os, .allocator = pool->allocator}, &pool->page);
}

uint64_t pool_tell_ledger(struct spw_pool *pool)
{
    uint64_t byte_seconds = ledger_byte_seconds(&pool->ledger);
    atomic_store_explicit(&pool->counters->freed_byte_seconds_total, byte_seconds,
                          memory_order_relaxed);
    return byte_seconds;
}

/* ---- for the service itself ---- */

#define COPY_COUNTER(name, kind, help)                                                             \
    stats->name = atomic_load_explicit(&pool->counters->name, memory_order_relaxed);

/* Buffers go from one use to another while we look. */
enum { LOOKS_MAX = 100 };

/*
 * The whole and its parts, as they are told together: looked at until they agree. They only do not
 * while a buffer is just between two uses; whoever stops its thread there sees the parts' sum.
 */
static void report_buffers(const struct spw_pool *pool, spw_stats *stats)
{
    const struct buffers *buffers = &pool->buffers;
    for (unsigned i = 0; i < LOOKS_MAX; i++) {
        uint64_t whole = counters_sum(atomic_load(&pool->counters->buffer_bytes));
        stats->slab_bytes = buffers_used(buffers, USE_SLAB);
        stats->staging_bytes = buffers_used(buffers, USE_STAGING);
        stats->reading_bytes = buffers_used(buffers, USE_READING);
        stats->loaded_bytes = buffers_used(buffers, USE_LOADED);
        stats->lent_bytes = buffers_used(buffers, USE_LENT);
        stats->warm_bytes = buffers_used(buffers, USE_WARM);
        stats->reserve_bytes = buffers_used(buffers, USE_RESERVE);
        stats->buffer_bytes = stats->slab_bytes + stats->staging_bytes + stats->reading_bytes +
                              stats->loaded_bytes + stats->lent_bytes + stats->warm_bytes +
                              stats->reserve_bytes;
        if (stats->buffer_bytes == whole)
            return;
    }
}

static void report_budget(const struct spw_pool *pool, spw_stats *stats)
{
    stats->resident_foreign_bytes = counters_sum(stats->resident_foreign_bytes);
    stats->reported_ahead_bytes = counters_sum(stats->reported_ahead_bytes);
    stats->entry_block_bytes = counters_sum(stats->entry_block_bytes);
    report_buffers(pool, stats);
    stats->used_bytes =
        stats->resident_foreign_bytes + stats->entry_block_bytes + stats->buffer_bytes;
    if (stats->used_peak_bytes < stats->used_bytes)
        stats->used_peak_bytes = stats->used_bytes;
}

int spw_pool_stats(const spw_pool *pool, spw_stats *out)
{
    spw_stats now = {0}, *stats = &now;
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    const struct page_texts *texts = &pool->page.page->texts;
    SPILLWAY_STATS_TABLE(COPY_COUNTER)
    report_budget(pool, stats);
    if (pool->engine)
        stats->oldest_request_ns = engine_oldest_ns(pool->engine);
    pthread_mutex_t *lock = (pthread_mutex_t *)&pool->lock;
    pthread_mutex_lock(lock);
    memcpy(stats->engine, texts->engine, sizeof(stats->engine));
    memcpy(stats->seal_mode, texts->seal_mode, sizeof(stats->seal_mode));
    memcpy(stats->fallbacks, texts->fallbacks, sizeof(stats->fallbacks));
    pthread_mutex_unlock(lock);
    return growable_write(out, STATS_FIRST_BYTES, &now, sizeof(now));
}

int spw_pool_histograms(const spw_pool *pool, spw_histograms *out)
{
    spw_histograms now = {0};
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    histograms_copy(pool->account.histograms, &now);
    return growable_write(out, HISTOGRAMS_FIRST_BYTES, &now, sizeof(now));
}
