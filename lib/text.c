/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool text_equal(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

long text_trim(char *out, size_t capacity, const char *text)
{
    size_t len;

    while (is_blank(*text))
        text++;
    len = strlen(text);
    while (len > 0 && is_blank(text[len - 1]))
        len--;
    if (len >= capacity)
        return -ENAMETOOLONG;
    memcpy(out, text, len);
    out[len] = '\0';
    return (long)len;
}

bool text_has_controls(const char *text)
{
    const unsigned char *at;

    for (at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f)
            return true;
    }
    return false;
}

void text_clean(char *text)
{
    unsigned char *at;

    for (at = (unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f) {
            *at = '?';
        } else if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f) {
            at[0] = '?';
            at[1] = '?';
        }
    }
}

void text_mark_cut(char *text, size_t len)
{
    size_t cut = len - 3;

    while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80)
        cut--;
    memcpy(text + cut, "...", 4);
}

void text_copy_clean(char *out, size_t capacity, const char *text)
{
    size_t len = strnlen(text, capacity);

    if (len < capacity) {
        memcpy(out, text, len + 1);
    } else {
        memcpy(out, text, capacity - 1);
        out[capacity - 1] = '\0';
        text_mark_cut(out, capacity - 1);
    }
    text_clean(out);
}
