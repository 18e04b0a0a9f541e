/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

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

/* The length of a well-formed UTF-8 sequence at `text`, 0 when there is none. */
static size_t sequence(const unsigned char *text)
{
    static const unsigned char first[] = {0xc2, 0xe0, 0xf0, 0xf5};
    size_t length = 1;
    if (*text < 0x80)
        return 1;
    if (*text < first[0] || *text >= first[3])
        return 0;
    length = *text < first[1] ? 2 : *text < first[2] ? 3 : 4;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((*text == 0xe0 && text[1] < 0xa0) || (*text == 0xed && text[1] > 0x9f) ||
        (*text == 0xf0 && text[1] < 0x90) || (*text == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static void quoted(struct json *json, const char *text)
{
    putc('"', json->file);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = sequence(at);
        if (*at == '"' || *at == '\\')
            fprintf(json->file, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(json->file, "\\u%04x", *at);
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
