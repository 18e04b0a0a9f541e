/* SPDX-License-Identifier: MIT */
/* Writes JSON: commas, indents and escapes take care of themselves. */
#ifndef SPILLWAY_TOOLS_COMMON_JSON_H
#define SPILLWAY_TOOLS_COMMON_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_DEPTH_MAX = 16 };

struct json {
    FILE *file;
    unsigned depth;
    bool filled[JSON_DEPTH_MAX]; /* whether the object or array at that depth has a member */
    bool flat[JSON_DEPTH_MAX];   /* on one line */
    bool keyed;                  /* a key was written, its value comes next */
};

void json_begin(struct json *json, FILE *file);

/* `open` is '{' or '['; a flat one stays on one line, and so does all in it. */
void json_open(struct json *json, char open, bool flat);
void json_close(struct json *json, char close);

void json_key(struct json *json, const char *key);
void json_text(struct json *json, const char *text); /* NULL is null; bad UTF-8 becomes '?' */
void json_number(struct json *json, double value);   /* null where it is not finite */
void json_count(struct json *json, uint64_t value);  /* to the last digit */
void json_bool(struct json *json, bool value);

#endif
