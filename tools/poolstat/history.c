/* SPDX-License-Identifier: MIT */
#include "history.h"

#include <stdlib.h>
#include <string.h>

static struct history *find(const struct histories *histories, const struct pool *pool)
{
    for (size_t i = 0; i < histories->count; i++) {
        if (histories->items[i]->dev == pool->dev && histories->items[i]->ino == pool->ino)
            return histories->items[i];
    }
    return NULL;
}

static struct history *find_or_make(struct histories *histories, const struct pool *pool)
{
    struct history *history = find(histories, pool);

    if (history != NULL)
        return history;
    if (histories->count == histories->capacity) {
        size_t capacity = 2 * histories->capacity + 8;
        struct history **grown = realloc(histories->items, capacity * sizeof(*grown));

        if (grown == NULL)
            return NULL;
        histories->items = grown;
        histories->capacity = capacity;
    }
    history = calloc(1, sizeof(*history));
    if (history == NULL)
        return NULL;
    history->dev = pool->dev;
    history->ino = pool->ino;
    histories->items[histories->count++] = history;
    return history;
}

static float share(const struct pool *pool, const char *part, const char *whole)
{
    uint64_t all = value_stat_or_0(&pool->now, whole);

    return all > 0 ? (float)((double)value_stat_or_0(&pool->now, part) / (double)all) : 0;
}

static float rate(const struct pool *pool, const char *counter, double unit)
{
    double seconds = (double)value_span_ns(pool) / 1e9;

    return seconds > 0 ? (float)((double)value_growth(pool, counter) / unit / seconds) : 0;
}

static void push(struct history *history, const float values[SERIES_COUNT])
{
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        if (history->count == HISTORY_KEPT)
            memmove(history->values[i], history->values[i] + 1, (HISTORY_KEPT - 1) * sizeof(float));
        history->values[i][history->count < HISTORY_KEPT ? history->count : HISTORY_KEPT - 1] =
            values[i];
    }
    history->count += history->count < HISTORY_KEPT;
}

static void add(struct histories *histories, const struct pool *pool)
{
    struct history *history = find_or_make(histories, pool);
    const float values[SERIES_COUNT] = {
        [SERIES_RESIDENT] = share(pool, "used_bytes", "budget_bytes"),
        [SERIES_MEMORY] = share(pool, "memory_tier_stored_bytes", "memory_tier_capacity_bytes"),
        [SERIES_DISK] = share(pool, "disk_stored_bytes", "disk_limit_bytes"),
        [SERIES_SPILL] = rate(pool, "spilled_bytes_total", 1),
        [SERIES_FETCH] = rate(pool, "fetched_bytes_total", 1),
        [SERIES_WRITERS] = rate(pool, "writer_wait_ns_total", 1e9),
        [SERIES_READERS] = rate(pool, "reader_wait_ns_total", 1e9),
    };

    if (history == NULL)
        return;
    history->seen = true;
    push(history, values);
}

void histories_add(struct histories *histories, const struct pools *pools)
{
    for (size_t i = 0; i < histories->count; i++)
        histories->items[i]->seen = false;
    for (size_t i = 0; i < pools->count; i++)
        add(histories, &pools->items[i]);
    for (size_t i = histories->count; i-- > 0;) {
        if (histories->items[i]->seen)
            continue;
        free(histories->items[i]);
        histories->items[i] = histories->items[--histories->count];
    }
}

const struct history *history_of(const struct histories *histories, const struct pool *pool)
{
    return find(histories, pool);
}

void histories_close(struct histories *histories)
{
    while (histories->count > 0)
        free(histories->items[--histories->count]);
    free(histories->items);
    *histories = (struct histories){0};
}
