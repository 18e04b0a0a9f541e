/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

#include "utf8.h"

void json_begin(struct json *json, FILE *file)
{
    *json = (struct json){.file = file};
}

static void new_line(struct json *json)
{
    if (json->flat[json->depth])
        return;
    fprintf(json->file, "\n%*s", 2 * (int)json->depth, "");
}

/* What must stand before a value or a key. */
static void member(struct json *json)
{
    if (json->keyed) {
        json->keyed = false;
        return;
    }
    if (json->depth == 0)
        return;
    if (json->filled[json->depth])
        fputs(json->flat[json->depth] ? ", " : ",", json->file);
    json->filled[json->depth] = true;
    new_line(json);
}

void json_open(struct json *json, char open, bool flat)
{
    member(json);
    putc(open, json->file);
    bool outer = json->flat[json->depth];
    if (json->depth + 1 < JSON_DEPTH_MAX)
        json->depth++;
    json->filled[json->depth] = false;
    json->flat[json->depth] = flat || outer;
}

void json_close(struct json *json, char close)
{
    bool filled = json->filled[json->depth], flat = json->flat[json->depth];
    if (json->depth > 0)
        json->depth--;
    if (filled && !flat)
        fprintf(json->file, "\n%*s", 2 * (int)json->depth, "");
    putc(close, json->file);
    if (json->depth == 0)
        putc('\n', json->file);
}

static void quoted(struct json *json, const char *text)
{
    putc('"', json->file);
    for (const char *at = text; *at;) {
        size_t length = utf8_sequence(at);
        unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\')
            fprintf(json->file, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            fprintf(json->file, "\\u%04x", byte);
        else if (length == 0)
            putc('?', json->file);
        else
            fwrite(at, 1, length, json->file);
        at += length ? length : 1;
    }
    putc('"', json->file);
}

void json_key(struct json *json, const char *key)
{
    member(json);
    quoted(json, key);
    fputs(": ", json->file);
    json->keyed = true;
}

void json_text(struct json *json, const char *text)
{
    member(json);
    if (text)
        quoted(json, text);
    else
        fputs("null", json->file);
}

void json_number(struct json *json, double value)
{
    member(json);
    if (!isfinite(value))
        fputs("null", json->file);
    else if (value == (double)(long long)value && value < 1e15 && value > -1e15)
        fprintf(json->file, "%lld", (long long)value);
    else
        fprintf(json->file, "%.9g", value);
}

void json_count(struct json *json, uint64_t value)
{
    member(json);
    fprintf(json->file, "%" PRIu64, value);
}

void json_bool(struct json *json, bool value)
{
    member(json);
    fputs(value ? "true" : "false", json->file);
}
