/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "values.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Behind the counts of a histogram: the highest value, and the sum. */
enum { HISTOGRAM_MORE = 2 };

static bool stat_as_told(const struct page_copy *copy, const char *name, uint64_t *out)
{
    const struct copied_section *section = page_section(copy, "stats");
    const struct copied_field *field = page_field(copy, section, name);

    *out = page_number(copy, section, 0, field);
    return field != NULL;
}

/* A buffer may be between two uses: the sum is what is told. Pages that lack a part have their own.
 */
static uint64_t buffer_bytes(const struct page_copy *copy, uint64_t told)
{
    static const char *const parts[] = {"slab_bytes",   "staging_bytes", "reading_bytes",
                                        "loaded_bytes", "lent_bytes",    "warm_bytes",
                                        "reserve_bytes"};
    uint64_t part, sum = 0;

    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!stat_as_told(copy, parts[i], &part))
            return told;
        sum += part;
    }
    return sum;
}

/* The parts are read one after the other, but the sum is always theirs. */
static uint64_t used_bytes(const struct page_copy *copy)
{
    return value_stat_or_0(copy, "resident_foreign_bytes") +
           value_stat_or_0(copy, "entry_block_bytes") + value_stat_or_0(copy, "buffer_bytes");
}

static uint64_t oldest_request_ns(const struct page_copy *copy)
{
    const struct copied_section *section = page_section(copy, "requests");
    const struct copied_field *field = page_field(copy, section, "start_ns");
    uint64_t oldest = 0;

    for (uint32_t row = 0; field != NULL && row < section->rows; row++) {
        uint64_t start_ns = page_number(copy, section, row, field);

        if (start_ns != 0 && (oldest == 0 || start_ns < oldest))
            oldest = start_ns;
    }
    if (oldest == 0)
        return 0;
    return copy->taken_ns > oldest ? copy->taken_ns - oldest : 1;
}

bool value_stat(const struct page_copy *copy, const char *name, uint64_t *out)
{
    uint64_t used;

    if (!stat_as_told(copy, name, out))
        return false;
    if (strcmp(name, "used_bytes") == 0) {
        *out = used_bytes(copy);
    } else if (strcmp(name, "buffer_bytes") == 0) {
        *out = buffer_bytes(copy, *out);
    } else if (strcmp(name, "used_peak_bytes") == 0) {
        used = used_bytes(copy);
        *out = *out > used ? *out : used;
    } else if (strcmp(name, "oldest_request_ns") == 0) {
        *out = oldest_request_ns(copy);
    }
    return true;
}

uint64_t value_stat_or_0(const struct page_copy *copy, const char *name)
{
    uint64_t value;

    return value_stat(copy, name, &value) ? value : 0;
}

const char *value_text(const struct page_copy *copy, const char *name, char *out, size_t capacity)
{
    const struct copied_section *section = page_section(copy, "texts");

    return page_text(copy, section, 0, page_field(copy, section, name), out, capacity);
}

uint64_t value_up_ns(const struct page_copy *copy)
{
    uint64_t opened_ns = copy->header.opened_ns;

    return copy->taken_ns > opened_ns ? copy->taken_ns - opened_ns : 0;
}

const struct page_copy *value_before(const struct pool *pool)
{
    return pool->before.bytes != NULL ? &pool->before : NULL;
}

uint64_t value_span_ns(const struct pool *pool)
{
    const struct page_copy *before = value_before(pool);

    return before != NULL ? pool->now.taken_ns - before->taken_ns : value_up_ns(&pool->now);
}

uint64_t value_growth(const struct pool *pool, const char *name)
{
    const struct page_copy *before = value_before(pool);
    uint64_t now = value_stat_or_0(&pool->now, name);
    uint64_t then = before != NULL ? value_stat_or_0(before, name) : 0;

    return now > then ? now - then : 0;
}

bool value_histogram(const struct page_copy *now, const struct page_copy *before, const char *name,
                     spw_histogram *out, uint64_t *sum)
{
    const struct copied_section *section = page_section(now, "histograms");
    const struct copied_field *field = page_field(now, section, name);
    uint32_t numbers = field != NULL ? page_histogram_numbers(field) : 0;

    if (field == NULL || field->kind != PAGE_HISTOGRAM ||
        numbers != SPILLWAY_HISTOGRAM_BUCKETS + HISTOGRAM_MORE)
        return false;
    for (uint32_t i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = page_histogram_number(now, section, field, i);
        uint64_t then = before != NULL ? page_histogram_number(before, section, field, i) : 0;

        out->counts[i] = count > then ? count - then : 0;
    }
    out->highest = page_histogram_number(now, section, field, SPILLWAY_HISTOGRAM_BUCKETS);
    if (sum != NULL)
        *sum = page_histogram_number(now, section, field, SPILLWAY_HISTOGRAM_BUCKETS + 1);
    return true;
}

const char *value_state(const struct pool *pool)
{
    if (pool->gone)
        return "gone";
    switch (pool->process.state) {
    case 'T':
        return "stopped";
    case 't':
        return "traced";
    case 'Z':
    case 'X':
        return "ended";
    default:
        return "running";
    }
}

const char *value_user(const struct process *process, char *out, size_t capacity)
{
    const struct passwd *user = getpwuid(process->uid);

    if (user != NULL)
        (void)snprintf(out, capacity, "%s", user->pw_name);
    else
        (void)snprintf(out, capacity, "%lu", (unsigned long)process->uid);
    return out;
}

/* ---- queues ---- */

bool value_queue(const struct page_copy *copy, uint32_t row, struct queue_value *out)
{
    static const struct {
        const char *name;
        size_t offset;
    } numbers[] = {
        {"id", offsetof(struct queue_value, id)},
        {"entries", offsetof(struct queue_value, entries)},
        {"paged_entries", offsetof(struct queue_value, paged_entries)},
        {"resident_bytes", offsetof(struct queue_value, resident_bytes)},
        {"paged_bytes", offsetof(struct queue_value, paged_bytes)},
        {"extended_bytes_total", offsetof(struct queue_value, extended_bytes_total)},
        {"gone_bytes_total", offsetof(struct queue_value, drained_bytes_total)},
        {"merged_total", offsetof(struct queue_value, merged_total)},
        {"skipped_bytes_total", offsetof(struct queue_value, skipped_bytes_total)},
    };
    const struct copied_section *section = page_section(copy, "queues");

    if (page_number(copy, section, row, page_field(copy, section, "state")) != 2)
        return false;
    *out = (struct queue_value){0};
    page_text(copy, section, row, page_field(copy, section, "name"), out->name, sizeof(out->name));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint64_t value =
            page_number(copy, section, row, page_field(copy, section, numbers[i].name));

        memcpy((char *)out + numbers[i].offset, &value, sizeof(value));
    }
    /* What has left was drained or skipped. */
    out->drained_bytes_total -= out->skipped_bytes_total < out->drained_bytes_total
                                    ? out->skipped_bytes_total
                                    : out->drained_bytes_total;
    return true;
}

static int largest_first(const void *a, const void *b)
{
    const struct queue_value *one = a, *other = b;
    uint64_t size = one->resident_bytes + one->paged_bytes;
    uint64_t other_size = other->resident_bytes + other->paged_bytes;

    if (size != other_size)
        return size < other_size ? 1 : -1;
    return one->id < other->id ? -1 : one->id > other->id;
}

struct queue_value *value_queues(const struct page_copy *copy, size_t *count)
{
    const struct copied_section *section = page_section(copy, "queues");
    struct queue_value *queues;

    *count = 0;
    if (section == NULL || section->rows == 0)
        return NULL;
    queues = calloc(section->rows, sizeof(*queues));
    for (uint32_t row = 0; queues != NULL && row < section->rows; row++)
        *count += value_queue(copy, row, &queues[*count]);
    if (*count > 0)
        qsort(queues, *count, sizeof(*queues), largest_first);
    return queues;
}
