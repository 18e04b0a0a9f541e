/* SPDX-License-Identifier: MIT */
/* What a pool's page says, by name, and what follows from two looks at it. */
#ifndef SPILLWAY_TOOLS_POOLSTAT_VALUES_H
#define SPILLWAY_TOOLS_POOLSTAT_VALUES_H

#include "find.h"
#include "spillway/stats.h"

/*
 * A row of the stats table, as spw_pool_stats() has it: what readers are to compute is computed.
 * False: this page has none of that name.
 */
bool value_stat(const struct page_copy *copy, const char *name, uint64_t *out);

/* The same, 0 where there is none. */
uint64_t value_stat_or_0(const struct page_copy *copy, const char *name);

/* A number as a count: rounded, 0 where it is less, the highest where it is more. */
static inline uint64_t value_rounded(double number)
{
    return number >= 18446744073709549568.0 ? UINT64_MAX
           : number > 0                     ? (uint64_t)(number + 0.5)
                                            : 0;
}

/* A text of the section "texts"; "" where there is none. Returns `out`. */
const char *value_text(const struct page_copy *copy, const char *name, char *out, size_t capacity);

/* How long the pool is open. */
uint64_t value_up_ns(const struct page_copy *copy);

/* The time between the two looks at a pool; since it was opened, where there was one only. */
uint64_t value_span_ns(const struct pool *pool);

/* What a counter grew by in that time. */
uint64_t value_growth(const struct pool *pool, const char *name);

/* A histogram, or what came to it between two looks where `before` is not NULL; `sum` may be NULL.
 * False: the page has none of that name, or with other buckets. */
bool value_histogram(const struct page_copy *now, const struct page_copy *before, const char *name,
                     spw_histogram *out, uint64_t *sum);

/* `before` of a pool, NULL when there was one look only. */
const struct page_copy *value_before(const struct pool *pool);

/* "running", "stopped", "gone", ... */
const char *value_state(const struct pool *pool);

/* The user's name, or number. Returns `out`. */
const char *value_user(const struct process *process, char *out, size_t capacity);

/* One queue of a page. */
struct queue_value {
    char name[64];
    uint64_t id, entries, paged_entries, resident_bytes, paged_bytes;
    uint64_t extended_bytes_total, drained_bytes_total, merged_total, skipped_bytes_total;
};

/* A decision over all queues of a pool. */
struct decision_value {
    uint64_t number, time_ns;
    char regulator[32], action[32], reason[256];
    uint64_t budget_before_bytes, budget_bytes, used_bytes, spill_bytes;
};

/* The last decisions, the oldest first; `*count` of them, to be freed. NULL: none, or no memory. */
struct decision_value *value_decisions(const struct page_copy *copy, size_t *count);

/* Row `row` of the section "queues"; false when it is not in use. */
bool value_queue(const struct page_copy *copy, uint32_t row, struct queue_value *out);

/* All of them, the largest first; `*count` of them, to be freed. NULL: none, or no memory. */
struct queue_value *value_queues(const struct page_copy *copy, size_t *count);

#endif
