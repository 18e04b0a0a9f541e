/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "growable.h"

/* Goes up when a name changes its meaning or goes away, not when one is added. */
#define STATS_SCHEMA 1

struct writer {
    char *out;
    size_t capacity;
    size_t used; /* what would have been needed, the NUL apart */
};

static void put(struct writer *writer, const char *text, size_t len)
{
    if (writer->used < writer->capacity) {
        size_t room = writer->capacity - writer->used;

        memcpy(writer->out + writer->used, text, len < room ? len : room);
    }
    writer->used += len;
}

static void put_text(struct writer *writer, const char *text)
{
    put(writer, text, strlen(text));
}

/* Names come from the tables and need no escapes. */
static void put_name(struct writer *writer, const char *name)
{
    put_text(writer, ",\"");
    put_text(writer, name);
    put_text(writer, "\":");
}

static void put_number(struct writer *writer, const char *name, uint64_t value)
{
    char digits[24];

    put_name(writer, name);
    (void)snprintf(digits, sizeof(digits), "%" PRIu64, value);
    put_text(writer, digits);
}

/* `text` may fill its array to the end; bytes that are not ASCII become U+FFFD. */
static void put_string(struct writer *writer, const char *name, const char *text, size_t capacity)
{
    size_t len = strnlen(text, capacity), i;

    put_name(writer, name);
    put_text(writer, "\"");
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        char escape[8];

        if (c == '"' || c == '\\') {
            (void)snprintf(escape, sizeof(escape), "\\%c", c);
            put_text(writer, escape);
        } else if (c < 0x20 || c == 0x7f) {
            (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
            put_text(writer, escape);
        } else if (c > 0x7f) {
            put_text(writer, "\\ufffd");
        } else {
            put(writer, &text[i], 1);
        }
    }
    put_text(writer, "\"");
}

static void put_head(struct writer *writer)
{
    char digits[12];

    put_text(writer, "{\"schema\":");
    (void)snprintf(digits, sizeof(digits), "%d", STATS_SCHEMA);
    put_text(writer, digits);
    put_string(writer, "version", spw_version_text(), SIZE_MAX);
}

static void put_stats(struct writer *writer, const spw_stats *stats, size_t stats_bytes)
{
#define STATS_PUT(name, kind, help)                                                                \
    if (stats_bytes >= GROWABLE_END(spw_stats, name))                                              \
        put_number(writer, #name, stats->name);
    SPILLWAY_STATS_TABLE(STATS_PUT)
#undef STATS_PUT
    put_string(writer, "engine", stats->engine, sizeof(stats->engine));
    put_string(writer, "seal_mode", stats->seal_mode, sizeof(stats->seal_mode));
    put_string(writer, "fallbacks", stats->fallbacks, sizeof(stats->fallbacks));
}

static void put_histogram(struct writer *writer, const char *name, const spw_histogram *histogram)
{
    char text[64];
    bool first = true;

    (void)snprintf(text, sizeof(text), "\"%s\":{\"count\":%" PRIu64, name,
                   spw_histogram_count(histogram));
    put_text(writer, text);
    put_number(writer, "highest", histogram->highest);
    put_number(writer, "p50", spw_histogram_percentile(histogram, 50));
    put_number(writer, "p90", spw_histogram_percentile(histogram, 90));
    put_number(writer, "p99", spw_histogram_percentile(histogram, 99));
    put_number(writer, "p99_9", spw_histogram_percentile(histogram, 99.9));
    put_name(writer, "buckets");
    for (unsigned i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] == 0)
            continue;
        (void)snprintf(text, sizeof(text), "%s[%" PRIu64 ",%" PRIu64 "]", first ? "[" : ",",
                       spw_histogram_bound(i), histogram->counts[i]);
        put_text(writer, text);
        first = false;
    }
    put_text(writer, first ? "[]}" : "]}");
}

static void put_histograms(struct writer *writer, const spw_histograms *histograms)
{
    const char *separator = "{";

    put_name(writer, "histograms");
#define HISTOGRAMS_PUT(name, help)                                                                 \
    if (histograms->size >= GROWABLE_END(spw_histograms, name)) {                                  \
        put_text(writer, separator);                                                               \
        put_histogram(writer, #name, &histograms->name);                                           \
        separator = ",";                                                                           \
    }
    SPILLWAY_HISTOGRAMS_TABLE(HISTOGRAMS_PUT)
#undef HISTOGRAMS_PUT
    put_text(writer, "}");
}

static long put_end(struct writer *writer)
{
    put(writer, "}", sizeof("}"));
    return writer->used > writer->capacity ? -ENOSPC : (long)writer->used - 1;
}

long stats_json(const spw_stats *stats, size_t stats_bytes, char *out, size_t capacity)
{
    struct writer writer = {.out = out, .capacity = capacity};

    put_head(&writer);
    put_stats(&writer, stats, stats_bytes);
    return put_end(&writer);
}

long spw_report_json(const spw_stats *stats, const spw_histograms *histograms, char *out,
                     size_t capacity)
{
    struct writer writer = {.out = out, .capacity = capacity};

    if ((stats == NULL && histograms == NULL) || (out == NULL && capacity > 0) ||
        (stats != NULL && growable_check(stats->size, STATS_FIRST_BYTES) != 0) ||
        (histograms != NULL && growable_check(histograms->size, HISTOGRAMS_FIRST_BYTES) != 0))
        return -EINVAL;
    put_head(&writer);
    if (stats != NULL)
        put_stats(&writer, stats, stats->size);
    if (histograms != NULL)
        put_histograms(&writer, histograms);
    return put_end(&writer);
}

long spw_stats_json(const spw_stats *stats, char *out, size_t capacity)
{
    return stats == NULL ? -EINVAL : spw_report_json(stats, NULL, out, capacity);
}
