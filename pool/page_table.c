/* SPDX-License-Identifier: MIT */
/* What the stats page says of its own layout. */
#include <stddef.h>
#include <string.h>

#include "page.h"

#define FIELD(type, member, kind)                                                                  \
    {                                                                                              \
#member, offsetof(type, member), sizeof(((type *)NULL)->member), kind, 0                   \
    }
#define KIND_counter PAGE_COUNTER
#define KIND_gauge   PAGE_GAUGE

#define STATS_ROW(name, kind, help) FIELD(struct counters, name, KIND_##kind),
#define HISTOGRAMS_ROW(name, help)  FIELD(struct histograms, name, PAGE_HISTOGRAM),
#define SUMS_FIELD(member, kind)                                                                   \
    {                                                                                              \
#member, offsetof(struct queue_row, sums.member), sizeof(uint64_t), kind, 0                \
    }

static const struct page_field fields[] = {
    /* stats */
    SPILLWAY_STATS_TABLE(STATS_ROW)
    /* histograms */
    SPILLWAY_HISTOGRAMS_TABLE(HISTOGRAMS_ROW)
    /* texts */
    FIELD(struct page_texts, engine, PAGE_TEXT),
    FIELD(struct page_texts, seal_mode, PAGE_TEXT),
    FIELD(struct page_texts, fallbacks, PAGE_TEXT),
    /* requests */
    {"start_ns", 0, sizeof(uint64_t), PAGE_TIME, 0},
    /* dirs */
    FIELD(struct dir_row, name, PAGE_TEXT),
    FIELD(struct dir_row, used, PAGE_GAUGE),
    FIELD(struct dir_row, file_bytes, PAGE_GAUGE),
    FIELD(struct dir_row, stored_bytes, PAGE_GAUGE),
    FIELD(struct dir_row, full_total, PAGE_COUNTER),
    FIELD(struct dir_row, errors_total, PAGE_COUNTER),
    FIELD(struct dir_row, withdrawn, PAGE_GAUGE),
    FIELD(struct dir_row, full, PAGE_GAUGE),
    FIELD(struct dir_row, direct, PAGE_GAUGE),
    FIELD(struct dir_row, align_bytes, PAGE_GAUGE),
    /* nodes */
    FIELD(struct node_row, used, PAGE_GAUGE),
    FIELD(struct node_row, node, PAGE_GAUGE),
    FIELD(struct node_row, segment_bytes, PAGE_GAUGE),
    FIELD(struct node_row, misplaced_bytes, PAGE_GAUGE),
    /* decisions */
    FIELD(spw_decision, number, PAGE_GAUGE),
    FIELD(spw_decision, time_ns, PAGE_TIME),
    FIELD(spw_decision, regulator, PAGE_TEXT),
    FIELD(spw_decision, action, PAGE_TEXT),
    FIELD(spw_decision, reason, PAGE_TEXT),
    FIELD(spw_decision, budget_before_bytes, PAGE_GAUGE),
    FIELD(spw_decision, budget_bytes, PAGE_GAUGE),
    FIELD(spw_decision, used_bytes, PAGE_GAUGE),
    FIELD(spw_decision, spill_bytes, PAGE_GAUGE),
    /* settings */
    FIELD(struct page_setting, name, PAGE_TEXT),
    FIELD(struct page_setting, value, PAGE_TEXT),
    FIELD(struct page_setting, fallback, PAGE_TEXT),
    FIELD(struct page_setting, origin, PAGE_TEXT),
    FIELD(struct page_setting, help, PAGE_TEXT),
    FIELD(struct page_setting, set_ns, PAGE_TIME),
    /* queues */
    FIELD(struct queue_row, name, PAGE_TEXT),
    FIELD(struct queue_row, state, PAGE_GAUGE),
    FIELD(struct queue_row, id, PAGE_GAUGE),
    SUMS_FIELD(entries, PAGE_GAUGE),
    SUMS_FIELD(paged_entries, PAGE_GAUGE),
    SUMS_FIELD(resident_bytes, PAGE_GAUGE),
    SUMS_FIELD(paged_bytes, PAGE_GAUGE),
    SUMS_FIELD(extended_bytes_total, PAGE_COUNTER),
    SUMS_FIELD(gone_bytes_total, PAGE_COUNTER),
    SUMS_FIELD(merged_total, PAGE_COUNTER),
    SUMS_FIELD(skipped_bytes_total, PAGE_COUNTER),
    /* control */
    FIELD(struct page_control, open, PAGE_GAUGE),
    FIELD(struct page_control, fd, PAGE_GAUGE),
    FIELD(struct page_control, inode, PAGE_GAUGE),
    /* answers */
    FIELD(struct answer_row, id, PAGE_GAUGE),
    FIELD(struct answer_row, error, PAGE_GAUGE),
    FIELD(struct answer_row, text, PAGE_TEXT),
};

_Static_assert(sizeof(fields) == sizeof(((struct page *)NULL)->fields), "PAGE_FIELDS of them");

#define QUEUES                                                                                     \
    {                                                                                              \
        "queues", PAGE_QUEUES_OFFSET, QUEUE_ROWS, sizeof(struct queue_row), 0, PAGE_QUEUE_FIELDS   \
    }
#define SECTION(name, member, count, field_count)                                                  \
    {                                                                                              \
        name, offsetof(struct page, member), count,                                                \
            sizeof(((struct page *)NULL)->member) / (count), 0, field_count                        \
    }

/* In the order of their fields above. */
static const struct page_section sections[PAGE_SECTIONS] = {
    SECTION("stats", counters, 1, PAGE_STATS),
    SECTION("histograms", histograms, 1, PAGE_HISTOGRAMS),
    SECTION("texts", texts, 1, PAGE_TEXT_FIELDS),
    SECTION("requests", request_start_ns, ENGINE_SLOTS_MAX, PAGE_REQUEST_FIELDS),
    SECTION("dirs", dirs, ROW_DIRS, PAGE_DIR_FIELDS),
    SECTION("nodes", nodes, ROW_NODES, PAGE_NODE_FIELDS),
    SECTION("decisions", decisions, SPILLWAY_DECISIONS_KEPT, PAGE_DECISION_FIELDS),
    SECTION("settings", settings, OPTION_COUNT, PAGE_SETTING_FIELDS),
    QUEUES,
    SECTION("control", control, 1, PAGE_CONTROL_FIELDS),
    SECTION("answers", answers, ROW_ANSWERS, PAGE_ANSWER_FIELDS),
    SECTION("fields", fields, PAGE_FIELDS, 0),
};

/* Sums of parts that are changed one after the other. */
static const char *const sums[] = {
    "resident_foreign_bytes", "entry_block_bytes", "buffer_bytes", "slab_bytes", "staging_bytes",
    "reading_bytes",          "loaded_bytes",      "lent_bytes",   "warm_bytes", "reserve_bytes",
    "reported_ahead_bytes",
};

static void kind_set(struct page *page, const char *name, enum page_kind kind)
{
    for (unsigned i = 0; i < PAGE_STATS; i++)
        if (strcmp(page->fields[i].name, name) == 0)
            page->fields[i].kind = kind;
}

void page_describe(struct page *page)
{
    uint32_t first = 0;

    memcpy(page->fields, fields, sizeof(fields));
    for (unsigned i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
        kind_set(page, sums[i], PAGE_SUM);
    kind_set(page, "used_bytes", PAGE_COMPUTED);
    kind_set(page, "oldest_request_ns", PAGE_COMPUTED);
    for (unsigned i = 0; i < PAGE_SECTIONS; i++) {
        page->sections[i] = sections[i];
        page->sections[i].first_field = first;
        first += sections[i].fields;
    }
}
