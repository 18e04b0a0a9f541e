/* SPDX-License-Identifier: MIT */
#include "columns.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../common/text.h"

const char columns_default[] =
    "pid,pool,resident,use,queues,memory,disk,spill,fetch,late,wwait,rwait";

#define STAT(name, title, unit, row, width, help)                                                  \
    {                                                                                              \
        name, title, unit, FROM_STAT, row, NULL, width, help                                       \
    }
#define OF(name, title, row, whole, help)                                                          \
    {                                                                                              \
        name, title, UNIT_BYTES, FROM_STAT, row, whole, 7, help                                    \
    }
#define GROWTH(name, title, unit, row, help)                                                       \
    {                                                                                              \
        name, title, unit, FROM_GROWTH, row, NULL, 8, help                                         \
    }
#define P99(name, title, histogram, help)                                                          \
    {                                                                                              \
        name, title, UNIT_TIME, FROM_P99, histogram, NULL, 8, help                                 \
    }
#define ELSEWHERE(name, title, unit, width, help)                                                  \
    {                                                                                              \
        name, title, unit, FROM_ELSEWHERE, NULL, NULL, width, help                                 \
    }

const struct column columns_table[] = {
    ELSEWHERE("pid", "PID", UNIT_COUNT, 7, "the process"),
    ELSEWHERE("pool", "POOL", UNIT_TEXT, 12, "the pool's name"),
    ELSEWHERE("process", "PROCESS", UNIT_TEXT, 15, "the process's name"),
    ELSEWHERE("user", "USER", UNIT_TEXT, 10, "whose process it is"),
    ELSEWHERE("state", "STATE", UNIT_TEXT, 8,
              "of the process: running, stopped, traced, ended, or gone: another one, its child, "
              "still holds the page"),
    ELSEWHERE("up", "UP", UNIT_TIME, 8, "how long the pool is open"),
    ELSEWHERE("engine", "ENGINE", UNIT_TEXT, 8, "io_uring, threads or none"),
    ELSEWHERE("fallbacks", "FALLBACKS", UNIT_TEXT, 10, "the fallbacks taken"),
    STAT("budget", "BUDGET", UNIT_BYTES, "budget_bytes", 7, "the budget"),
    OF("resident", "RESIDENT", "used_bytes", "budget_bytes",
       "everything resident in queues and pool; 100% is the budget"),
    {"use", "USE%", UNIT_PERCENT, FROM_SHARE, "used_bytes", "budget_bytes", 5,
     "the same in per cent of the budget"},
    OF("peak", "PEAK", "used_peak_bytes", "budget_bytes", "the highest resident so far"),
    OF("payload", "PAYLOAD", "resident_foreign_bytes", "budget_bytes",
       "of resident: in the service's own memory"),
    OF("blocks", "BLOCKS", "entry_block_bytes", "budget_bytes", "of resident: entries of queues"),
    OF("buffers", "BUFFERS", "buffer_bytes", "budget_bytes", "of resident: the pool's own buffers"),
    OF("warm", "WARM", "warm_bytes", "budget_bytes", "of buffers: kept for reuse"),
    OF("lent", "LENT", "lent_bytes", "budget_bytes", "of buffers: fetched and not yet released"),
    OF("inflight", "INFLIGHT", "in_flight_bytes", "budget_bytes",
       "payload staged or being written"),
    OF("held", "HELD", "held_bytes", "budget_bytes", "payload that no tier takes now"),
    STAT("queues", "QUEUES", UNIT_COUNT, "queues", 6, "open queues"),
    STAT("runs", "RUNS", UNIT_COUNT, "runs", 7, "spilled runs"),
    OF("memory", "MEMORY", "memory_tier_stored_bytes", "memory_tier_capacity_bytes",
       "stored in the memory tier; 100% is its capacity"),
    OF("segments", "SEGMENTS", "memory_tier_bytes", "memory_tier_capacity_bytes",
       "segments that the memory tier has"),
    OF("disk", "DISK", "disk_stored_bytes", "disk_limit_bytes",
       "stored in the disk tier; 100% is its limit"),
    OF("file", "FILE", "disk_file_bytes", "disk_limit_bytes", "space of its scratch files"),
    GROWTH("spill", "SPILL/s", UNIT_BYTES_PER_S, "spilled_bytes_total", "spilled, per second"),
    GROWTH("fetch", "FETCH/s", UNIT_BYTES_PER_S, "fetched_bytes_total", "fetched, per second"),
    GROWTH("elided", "ELIDED/s", UNIT_BYTES_PER_S, "elided_bytes_total",
           "fetched or dropped before it was written, per second"),
    GROWTH("demoted", "DEMOTE/s", UNIT_BYTES_PER_S, "demoted_bytes_total",
           "moved from the memory tier to disk, per second"),
    GROWTH("copied", "COPY/s", UNIT_BYTES_PER_S, "copied_bytes_total",
           "copied by the library, per second"),
    GROWTH("late", "LATE/s", UNIT_PER_S, "late_runs_total",
           "head fetches that had to wait for their run, per second"),
    GROWTH("wasted", "WASTED/s", UNIT_PER_S, "wasted_runs_total",
           "runs read and then dropped unread, per second"),
    {"wwait", "WWAIT%", UNIT_PERCENT, FROM_TIME_SHARE, "writer_wait_ns_total", NULL, 6,
     "writers that waited for the budget: 100% is one writer all the time"},
    {"rwait", "RWAIT%", UNIT_PERCENT, FROM_TIME_SHARE, "reader_wait_ns_total", NULL, 6,
     "readers that waited for I/O: 100% is one reader all the time"},
    GROWTH("io", "IO/s", UNIT_PER_S, "requests_total", "I/O requests that ended, per second"),
    GROWTH("wakeups", "WAKE/s", UNIT_PER_S, "wakeups_total",
           "times that an I/O thread was woken, per second"),
    STAT("oldest", "OLDEST", UNIT_TIME, "oldest_request_ns", 8, "age of the oldest I/O in flight"),
    ELSEWHERE("errors", "ERRORS", UNIT_COUNT, 6,
              "writes, reads and checksums that failed since the pool was opened"),
    STAT("lost", "LOST", UNIT_COUNT, "lost_runs_total", 6,
         "runs that could not be brought back since the pool was opened"),
    STAT("over", "OVER", UNIT_COUNT, "over_budget_total", 6,
         "times that something was admitted over the budget"),
    STAT("full", "FULL", UNIT_COUNT, "full_total", 6, "times that every tier refused a run"),
    P99("extend_p99", "EXTEND99", "extend_ns", "what 99% of the timed extends took at most"),
    P99("drain_p99", "DRAIN99", "drain_ns", "what 99% of the timed drains took at most"),
    P99("hold_p99", "HOLD99", "lock_hold_ns",
        "how long a queue's lock was held at most, in 99% of the timed cases"),
    P99("write_p99", "WRITE99", "device_write_ns", "what 99% of the writes took at most"),
    P99("read_p99", "READ99", "device_read_ns", "what 99% of the reads took at most"),
    {.name = NULL},
};

/* ---- by name ---- */

static enum unit unit_of(const char *row)
{
    size_t len = strlen(row);

    if (strstr(row, "bytes") != NULL)
        return UNIT_BYTES;
    if (strstr(row, "_ns_total") != NULL || (len > 3 && strcmp(row + len - 3, "_ns") == 0))
        return UNIT_TIME;
    return UNIT_COUNT;
}

#define IS_ROW(row, kind, help)                                                                    \
    if (strcmp(name, #row) == 0)                                                                   \
        return true;

static bool is_row(const char *name, const struct pools *pools)
{
    SPILLWAY_STATS_TABLE(IS_ROW)
    for (size_t i = 0; i < pools->count; i++) {
        if (page_field(&pools->items[i].now, page_section(&pools->items[i].now, "stats"), name))
            return true;
    }
    return false;
}

const struct column *column_find(const char *name, const struct pools *pools, struct column *made,
                                 char made_name[PAGE_NAME_BYTES])
{
    for (const struct column *column = columns_table; column->name != NULL; column++) {
        if (strcmp(column->name, name) == 0)
            return column;
    }
    if (strlen(name) >= PAGE_NAME_BYTES || !is_row(name, pools))
        return NULL;
    memcpy(made_name, name, strlen(name) + 1);
    *made = (struct column){.name = made_name,
                            .title = made_name,
                            .unit = unit_of(made_name),
                            .source = FROM_STAT,
                            .stat = made_name,
                            .width = (int)strlen(made_name),
                            .help = "a row of the stats table"};
    return made;
}

int columns_parse(const char *names, const struct pools *pools, struct columns *out,
                  char bad[PAGE_NAME_BYTES])
{
    for (;;) {
        size_t len = strcspn(names, ",");
        char name[PAGE_NAME_BYTES];
        unsigned at = out->count;

        (void)snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name)),
                       names);
        if (at < COLUMNS_MAX)
            out->items[at] = column_find(name, pools, &out->stats[at], out->names[at]);
        if (at == COLUMNS_MAX || out->items[at] == NULL) {
            memcpy(bad, name, sizeof(name));
            return -EINVAL;
        }
        out->count++;
        if (names[len] == '\0')
            return 0;
        names += len + 1;
    }
}

/* ---- values ---- */

static void set_number(struct value *value, double number)
{
    value->known = true;
    value->number = number;
    value->count = value_rounded(number);
}

static void set_count(struct value *value, uint64_t count)
{
    value->known = true;
    value->number = (double)count;
    value->count = count;
}

static void set_text(struct value *value, const char *text)
{
    value->known = true;
    (void)snprintf(value->text, sizeof(value->text), "%s", text);
}

static void value_elsewhere(const char *name, const struct pool *pool, struct value *out)
{
    char text[VALUE_TEXT];
    const struct page_copy *now = &pool->now;

    if (strcmp(name, "pid") == 0)
        set_count(out, (uint64_t)pool->process.pid);
    else if (strcmp(name, "pool") == 0)
        set_text(out, now->header.name);
    else if (strcmp(name, "process") == 0)
        set_text(out, pool->process.comm);
    else if (strcmp(name, "user") == 0)
        set_text(out, value_user(&pool->process, text, sizeof(text)));
    else if (strcmp(name, "state") == 0)
        set_text(out, value_state(pool));
    else if (strcmp(name, "up") == 0)
        set_count(out, value_up_ns(now));
    else if (strcmp(name, "engine") == 0)
        set_text(out, value_text(now, "engine", text, sizeof(text)));
    else if (strcmp(name, "fallbacks") == 0)
        set_text(out, value_text(now, "fallbacks", text, sizeof(text)));
    else if (strcmp(name, "errors") == 0)
        set_count(out, value_stat_or_0(now, "write_errors_total") +
                           value_stat_or_0(now, "read_errors_total") +
                           value_stat_or_0(now, "checksum_errors_total"));
}

static void value_p99(const struct column *column, const struct pool *pool, struct value *out)
{
    spw_histogram histogram;

    if (!value_histogram(&pool->now, value_before(pool), column->stat, &histogram, NULL))
        return;
    out->idle = spw_histogram_count(&histogram) == 0;
    if (!out->idle)
        set_count(out, spw_histogram_percentile(&histogram, 99));
}

void column_value(const struct column *column, const struct pool *pool, struct value *out)
{
    double seconds = (double)value_span_ns(pool) / 1e9;
    uint64_t number = 0;
    bool there = column->source == FROM_ELSEWHERE || column->source == FROM_P99 ||
                 value_stat(&pool->now, column->stat, &number);

    *out = (struct value){.whole = 0};
    if (!there)
        return;
    if (column->whole != NULL)
        out->whole = value_stat_or_0(&pool->now, column->whole);
    switch (column->source) {
    case FROM_STAT:
        set_count(out, number);
        break;
    case FROM_GROWTH:
        set_number(out, seconds > 0 ? (double)value_growth(pool, column->stat) / seconds : 0);
        break;
    case FROM_TIME_SHARE:
        set_number(out, seconds > 0 ? (double)value_growth(pool, column->stat) / 1e7 / seconds : 0);
        break;
    case FROM_SHARE:
        if (out->whole > 0)
            set_number(out, (double)number * 100 / (double)out->whole);
        break;
    case FROM_P99:
        value_p99(column, pool, out);
        break;
    case FROM_ELSEWHERE:
        value_elsewhere(column->name, pool, out);
        break;
    }
}

/* "0", "830ns", "12us", "4.1ms", "17s", "5:03". */
static const char *time_text(char out[VALUE_TEXT], uint64_t ns)
{
    char clock[TEXT_NUMBER_BYTES];

    if (ns >= UINT64_C(100000000000))
        (void)snprintf(out, VALUE_TEXT, "%s", text_clock(clock, ns));
    else if (ns >= UINT64_C(1000000000))
        (void)snprintf(out, VALUE_TEXT, "%.*fs", ns < UINT64_C(9950000000), (double)ns / 1e9);
    else if (ns >= 1000000)
        (void)snprintf(out, VALUE_TEXT, "%.*fms", ns < 9950000, (double)ns / 1e6);
    else if (ns >= 1000)
        (void)snprintf(out, VALUE_TEXT, "%.*fus", ns < 9950, (double)ns / 1e3);
    else
        (void)snprintf(out, VALUE_TEXT, "%" PRIu64 "%s", ns, ns > 0 ? "ns" : "");
    return out;
}

const char *column_text(const struct column *column, const struct value *value, bool exact,
                        char out[VALUE_TEXT])
{
    char number[TEXT_NUMBER_BYTES];
    enum unit unit = column->unit;

    if (!value->known)
        (void)snprintf(out, VALUE_TEXT, "-");
    else if (unit == UNIT_TEXT)
        (void)snprintf(out, VALUE_TEXT, "%s", value->text[0] != '\0' ? value->text : "-");
    else if (unit == UNIT_PERCENT || (unit == UNIT_PER_S && value->number < 100))
        (void)snprintf(out, VALUE_TEXT, "%.1f", value->number);
    else if (unit == UNIT_TIME && !exact)
        time_text(out, value->count);
    else if ((unit == UNIT_BYTES || unit == UNIT_BYTES_PER_S) && !exact)
        (void)snprintf(out, VALUE_TEXT, "%s", text_short(number, value->count));
    else
        (void)snprintf(out, VALUE_TEXT, "%" PRIu64, value->count);
    return out;
}
