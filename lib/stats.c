/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
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

long stats_json(const spw_stats *stats, size_t stats_bytes, char *out, size_t capacity)
{
    struct writer writer = {.out = out, .capacity = capacity};
    char digits[12];

    put_text(&writer, "{\"schema\":");
    (void)snprintf(digits, sizeof(digits), "%d", STATS_SCHEMA);
    put_text(&writer, digits);
    put_string(&writer, "version", spw_version_text(), SIZE_MAX);
#define STATS_PUT(name, kind, help)                                                                \
    if (stats_bytes >= GROWABLE_END(spw_stats, name))                                              \
        put_number(&writer, #name, stats->name);
    SPILLWAY_STATS_TABLE(STATS_PUT)
#undef STATS_PUT
    put_string(&writer, "engine", stats->engine, sizeof(stats->engine));
    put_string(&writer, "seal_mode", stats->seal_mode, sizeof(stats->seal_mode));
    put_string(&writer, "fallbacks", stats->fallbacks, sizeof(stats->fallbacks));
    put(&writer, "}", sizeof("}"));
    if (writer.used > capacity)
        return -ENOSPC;
    return (long)writer.used - 1;
}

long spw_stats_json(const spw_stats *stats, char *out, size_t capacity)
{
    if (stats == NULL || (out == NULL && capacity > 0) ||
        growable_check(stats->size, STATS_FIRST_BYTES) != 0)
        return -EINVAL;
    return stats_json(stats, stats->size, out, capacity);
}
