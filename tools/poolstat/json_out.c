/* SPDX-License-Identifier: MIT */
/* Everything as JSON; schema.json says what there is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_out.h"
#include "show.h"
#include "spillway/version.h"

/* Goes up when a name changes its meaning or goes away, not when one is added. */
enum { JSON_SCHEMA = 1 };

static void pair_count(struct json *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_count(json, value);
}

static void pair_text(struct json *json, const char *key, const char *text)
{
    json_key(json, key);
    json_text(json, text);
}

/* All rows that the page has, be they known here or not. */
static void put_stats(struct json *json, const struct page_copy *copy)
{
    const struct copied_section *section = page_section(copy, "stats");
    uint64_t value;

    json_key(json, "stats");
    json_open(json, '{', false);
    for (uint32_t i = 0; section != NULL && i < section->fields; i++) {
        const struct copied_field *field = &copy->fields[section->first_field + i];

        if (field->kind != PAGE_TEXT && value_stat(copy, field->name, &value))
            pair_count(json, field->name, value);
    }
    json_close(json, '}');
}

static void put_histogram(struct json *json, const char *name, const spw_histogram *histogram,
                          uint64_t sum)
{
    static const struct {
        const char *key;
        double percent;
    } percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99_9", 99.9}};

    json_key(json, name);
    json_open(json, '{', true);
    pair_count(json, "count", spw_histogram_count(histogram));
    pair_count(json, "sum", sum);
    pair_count(json, "highest", histogram->highest);
    for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
        pair_count(json, percentiles[i].key,
                   spw_histogram_percentile(histogram, percentiles[i].percent));
    json_key(json, "buckets");
    json_open(json, '[', true);
    for (unsigned i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] == 0)
            continue;
        json_open(json, '[', true);
        json_count(json, spw_histogram_bound(i));
        json_count(json, histogram->counts[i]);
        json_close(json, ']');
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void put_histograms(struct json *json, const struct page_copy *copy)
{
    const struct copied_section *section = page_section(copy, "histograms");
    spw_histogram histogram;
    uint64_t sum;

    json_key(json, "histograms");
    json_open(json, '{', false);
    for (uint32_t i = 0; section != NULL && i < section->fields; i++) {
        const char *name = copy->fields[section->first_field + i].name;

        if (value_histogram(copy, NULL, name, &histogram, &sum))
            put_histogram(json, name, &histogram, sum);
    }
    json_close(json, '}');
}

/* The rows of a section that are in use, with all their fields but `used`. */
void json_put_rows(struct json *json, const struct page_copy *copy, const char *name)
{
    const struct copied_section *section = page_section(copy, name);
    const struct copied_field *used = page_field(copy, section, "used");
    char text[512];

    json_key(json, name);
    json_open(json, '[', false);
    for (uint32_t row = 0; section != NULL && row < section->rows; row++) {
        if (used != NULL && page_number(copy, section, row, used) == 0)
            continue;
        json_open(json, '{', true);
        for (uint32_t i = 0; i < section->fields; i++) {
            const struct copied_field *field = &copy->fields[section->first_field + i];

            if (field == used)
                continue;
            if (field->kind == PAGE_TEXT)
                pair_text(json, field->name,
                          page_text(copy, section, row, field, text, sizeof(text)));
            else
                pair_count(json, field->name, page_number(copy, section, row, field));
        }
        json_close(json, '}');
    }
    json_close(json, ']');
}

void json_put_queues(struct json *json, const struct page_copy *copy)
{
    uint64_t open = value_stat_or_0(copy, "queues");
    size_t count;
    struct queue_value *queues = value_queues(copy, &count);

    json_key(json, "queues");
    json_open(json, '[', false);
    for (size_t i = 0; i < count; i++) {
        const struct queue_value *queue = &queues[i];

        json_open(json, '{', true);
        pair_text(json, "name", queue->name);
        pair_count(json, "id", queue->id);
        pair_count(json, "entries", queue->entries);
        pair_count(json, "paged_entries", queue->paged_entries);
        pair_count(json, "resident_bytes", queue->resident_bytes);
        pair_count(json, "paged_bytes", queue->paged_bytes);
        pair_count(json, "extended_bytes_total", queue->extended_bytes_total);
        pair_count(json, "drained_bytes_total", queue->drained_bytes_total);
        pair_count(json, "merged_total", queue->merged_total);
        pair_count(json, "skipped_bytes_total", queue->skipped_bytes_total);
        json_close(json, '}');
    }
    json_close(json, ']');
    pair_count(json, "queues_not_listed", open > count ? open - count : 0);
    free(queues);
}

void json_put_decisions(struct json *json, const struct page_copy *copy)
{
    size_t count;
    struct decision_value *decisions = value_decisions(copy, &count);

    json_key(json, "decisions");
    json_open(json, '[', false);
    for (size_t i = 0; i < count; i++) {
        const struct decision_value *decision = &decisions[i];

        json_open(json, '{', true);
        pair_count(json, "number", decision->number);
        pair_count(json, "time_ns", decision->time_ns);
        pair_text(json, "regulator", decision->regulator);
        pair_text(json, "action", decision->action);
        pair_text(json, "reason", decision->reason);
        pair_count(json, "budget_before_bytes", decision->budget_before_bytes);
        pair_count(json, "budget_bytes", decision->budget_bytes);
        pair_count(json, "used_bytes", decision->used_bytes);
        pair_count(json, "spill_bytes", decision->spill_bytes);
        json_close(json, '}');
    }
    json_close(json, ']');
    free(decisions);
}

static void put_fallbacks(struct json *json, const struct page_copy *copy)
{
    char text[512], *rest = text, *word;

    value_text(copy, "fallbacks", text, sizeof(text));
    json_key(json, "fallbacks");
    json_open(json, '[', true);
    while ((word = strsep(&rest, " ")) != NULL) {
        if (*word != '\0')
            json_text(json, word);
    }
    json_close(json, ']');
}

/* What counters grew by per second; only where there were two looks. */
static void put_rates(struct json *json, const struct pool *pool)
{
    const struct copied_section *section = page_section(&pool->now, "stats");
    double seconds = (double)value_span_ns(pool) / 1e9;

    json_key(json, "interval_ns");
    json_count(json, value_span_ns(pool));
    json_key(json, "per_second");
    json_open(json, '{', false);
    for (uint32_t i = 0; section != NULL && i < section->fields; i++) {
        const struct copied_field *field = &pool->now.fields[section->first_field + i];

        if (field->kind != PAGE_COUNTER)
            continue;
        json_key(json, field->name);
        json_number(json, seconds > 0 ? (double)value_growth(pool, field->name) / seconds : 0);
    }
    json_close(json, '}');
}

void json_put_owner(struct json *json, const struct pool *pool)
{
    const struct page_copy *copy = &pool->now;
    char text[64];

    pair_count(json, "pid", (uint64_t)pool->process.pid);
    pair_text(json, "process", pool->process.comm);
    pair_count(json, "uid", pool->process.uid);
    pair_text(json, "state", value_state(pool));
    pair_text(json, "name", copy->header.name);
    (void)snprintf(text, sizeof(text), "%016" PRIx64, copy->header.id);
    pair_text(json, "id", text);
    pair_text(json, "library", copy->header.library);
    pair_count(json, "up_ns", value_up_ns(copy));
}

static void put_pool(struct json *json, const struct pool *pool)
{
    const struct page_copy *copy = &pool->now;
    char text[64];

    json_open(json, '{', false);
    json_put_owner(json, pool);
    pair_text(json, "engine", value_text(copy, "engine", text, sizeof(text)));
    pair_text(json, "seal_mode", value_text(copy, "seal_mode", text, sizeof(text)));
    put_fallbacks(json, copy);
    put_stats(json, copy);
    if (value_before(pool) != NULL)
        put_rates(json, pool);
    put_histograms(json, copy);
    json_put_rows(json, copy, "dirs");
    json_put_rows(json, copy, "nodes");
    json_put_queues(json, copy);
    json_put_decisions(json, copy);
    json_put_rows(json, copy, "settings");
    json_close(json, '}');
}

void json_begin_document(struct json *json, const struct session *session)
{
    json_begin(json, stdout);
    json_open(json, '{', session->args->interval_ns > 0);
    pair_count(json, "schema", JSON_SCHEMA);
    pair_text(json, "poolstat", spw_version_text());
    pair_count(json, "hidden_processes", session->pools.hidden);
    pair_count(json, "refused_pages", session->pools.refused);
    json_key(json, "pools");
    json_open(json, '[', false);
}

int show_json(const struct args *args)
{
    struct session session;
    struct json json;
    int code = session_open(&session, args, true);

    if (code == EXIT_FINE)
        code = session_sort(&session);
    if (code == EXIT_FINE) {
        do {
            (void)session_sort(&session);
            json_begin_document(&json, &session);
            for (size_t i = 0; i < session.pools.count; i++)
                put_pool(&json, &session.pools.items[i]);
            json_close(&json, ']');
            json_close(&json, '}');
            session_forget_gone(&session);
        } while (session_again(&session));
    }
    session_close(&session);
    return show_end(code);
}
