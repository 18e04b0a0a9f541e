/* SPDX-License-Identifier: MIT */
#include "psi_text.h"

#include <errno.h>
#include <string.h>

/* What is left of a text. */
struct span {
    const char *at, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool span_is(struct span span, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(span.end - span.at) == len && memcmp(span.at, word, len) == 0;
}

/* Cuts the next line off; false when there is none left. */
static bool next_line(struct span *text, struct span *line)
{
    const char *newline;

    if (text->at == text->end)
        return false;
    newline = memchr(text->at, '\n', (size_t)(text->end - text->at));
    line->at = text->at;
    line->end = newline != NULL ? newline : text->end;
    text->at = newline != NULL ? newline + 1 : text->end;
    return true;
}

/* Cuts the next word off, up to a space; false when there is none left. */
static bool next_word(struct span *line, struct span *word)
{
    while (line->at < line->end && *line->at == ' ')
        line->at++;
    word->at = line->at;
    while (line->at < line->end && *line->at != ' ')
        line->at++;
    word->end = line->at;
    return word->at < word->end;
}

/* Every character can be seen: no NUL, no control character. */
static bool is_visible(struct span span)
{
    const char *p;

    for (p = span.at; p < span.end; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    }
    return true;
}

/* Digits at the start, at least one; too many do not fit. */
static bool take_number(struct span *span, uint64_t *out)
{
    uint64_t value = 0;

    if (span->at == span->end || !is_digit(*span->at))
        return false;
    for (; span->at < span->end && is_digit(*span->at); span->at++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*span->at - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

static bool parse_number(struct span span, uint64_t *out)
{
    return take_number(&span, out) && span.at == span.end;
}

/* "12.34" in hundredths; digits behind the second are cut off, none at all are zeros. */
static bool parse_average(struct span span, uint32_t *out)
{
    uint32_t hundredths = 0, weight = 10;
    uint64_t whole;

    if (!take_number(&span, &whole))
        return false;
    if (span.at < span.end) {
        if (*span.at++ != '.' || span.at == span.end)
            return false;
        for (; span.at < span.end; span.at++) {
            if (!is_digit(*span.at))
                return false;
            hundredths += weight * (uint32_t)(*span.at - '0');
            weight /= 10;
        }
    }
    if (whole > UINT32_MAX)
        return false;
    *out = whole >= PSI_WHOLE / 100 ? PSI_WHOLE : (uint32_t)whole * 100 + hundredths;
    return true;
}

/* --- pressure ------------------------------------------------------------------------------- */

enum { HAS_AVG10 = 1, HAS_AVG60 = 2, HAS_AVG300 = 4, HAS_TOTAL = 8 };

/* One "key=value" of a line. */
static bool parse_pair(struct span word, struct psi_line *line, unsigned *has)
{
    const char *equals = memchr(word.at, '=', (size_t)(word.end - word.at));
    struct span key, value;
    uint32_t *average;
    unsigned bit;

    if (equals == NULL || equals == word.at || equals + 1 == word.end || !is_visible(word))
        return false;
    key = (struct span){word.at, equals};
    value = (struct span){equals + 1, word.end};
    if (span_is(key, "total")) {
        if (*has & HAS_TOTAL)
            return false;
        *has |= HAS_TOTAL;
        return parse_number(value, &line->total_us);
    }
    if (span_is(key, "avg10")) {
        average = &line->avg10;
        bit = HAS_AVG10;
    } else if (span_is(key, "avg60")) {
        average = &line->avg60;
        bit = HAS_AVG60;
    } else if (span_is(key, "avg300")) {
        average = &line->avg300;
        bit = HAS_AVG300;
    } else {
        return true;
    }
    if (*has & bit)
        return false;
    *has |= bit;
    return parse_average(value, average);
}

/* At least one: a line without is one that was cut off. */
static bool parse_pairs(struct span rest, struct psi_line *out, unsigned *has)
{
    struct span word;
    unsigned pairs = 0;

    *has = 0;
    for (; next_word(&rest, &word); pairs++) {
        if (!parse_pair(word, out, has))
            return false;
    }
    return pairs > 0;
}

int psi_parse(const char *text, size_t len, struct psi_text *out)
{
    const unsigned needed = HAS_AVG10 | HAS_TOTAL;
    struct span rest = {text, text + len}, line, word;
    struct psi_text found = {.has_full = false};
    bool has_some = false;

    while (next_line(&rest, &line)) {
        struct psi_line values = {.total_us = 0};
        bool some, full;
        unsigned has;

        if (!next_word(&line, &word) || !is_visible(word))
            return -EBADMSG;
        some = span_is(word, "some");
        full = span_is(word, "full");
        if ((some && has_some) || (full && found.has_full) || !parse_pairs(line, &values, &has))
            return -EBADMSG;
        if (!some && !full)
            continue;
        if ((has & needed) != needed)
            return -EBADMSG;
        *(some ? &found.some : &found.full) = values;
        has_some |= some;
        found.has_full |= full;
    }
    if (!has_some)
        return -EBADMSG;
    *out = found;
    return 0;
}

int psi_trigger_parse(const char *text, size_t len, struct psi_trigger *out)
{
    struct span rest = {text, text + len}, word, stall, window, more;
    struct psi_trigger found;

    if (len > 0 && (text[len - 1] == '\0' || text[len - 1] == '\n'))
        rest.end--;
    if (!next_word(&rest, &word) || !next_word(&rest, &stall) || !next_word(&rest, &window) ||
        next_word(&rest, &more))
        return -EBADMSG;
    found.full = span_is(word, "full");
    if ((!found.full && !span_is(word, "some")) || !parse_number(stall, &found.stall_us) ||
        !parse_number(window, &found.window_us))
        return -EBADMSG;
    *out = found;
    return 0;
}

/* --- memory.events -------------------------------------------------------------------------- */

int memory_events_parse(const char *text, size_t len, struct memory_events *out)
{
    struct memory_events found = {.low = 0};
    const struct {
        const char *key;
        uint64_t *count;
    } known[] = {{"low", &found.low},
                 {"high", &found.high},
                 {"max", &found.max},
                 {"oom", &found.oom},
                 {"oom_kill", &found.oom_kill}};
    enum { KNOWN = sizeof(known) / sizeof(known[0]) };
    struct span rest = {text, text + len}, line, key, value, more;
    unsigned seen = 0, i;

    while (next_line(&rest, &line)) {
        if (!next_word(&line, &key) || !next_word(&line, &value) || !is_visible(key) ||
            !is_visible(value))
            return -EBADMSG;
        for (i = 0; i < KNOWN && !span_is(key, known[i].key); i++)
            ;
        if (i == KNOWN)
            continue;
        if ((seen & 1u << i) || next_word(&line, &more) || !parse_number(value, known[i].count))
            return -EBADMSG;
        seen |= 1u << i;
    }
    if (seen == 0)
        return -EBADMSG;
    *out = found;
    return 0;
}

/* --- base64 --------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The six bits of a letter, -1: it is none. */
static int six_bits(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The next four letters, which may be the last two or three and padding. Returns how many bytes
 * they are, 0 at the end, or -1. */
static int next_group(const char **text, unsigned char bytes[3])
{
    uint32_t bits = 0;
    int letters = 0, padding = 0;

    for (; **text != '\0' && letters + padding < 4; (*text)++) {
        int six;

        if (is_blank(**text))
            continue;
        if (**text == '=') {
            padding++;
            continue;
        }
        six = six_bits(**text);
        if (six < 0 || padding > 0)
            return -1;
        bits = bits << 6 | (uint32_t)six;
        letters++;
    }
    if (letters + padding == 0)
        return 0;
    if (letters < 2 || letters + padding != 4)
        return -1;
    bits <<= 6 * padding;
    bytes[0] = (unsigned char)(bits >> 16);
    bytes[1] = (unsigned char)(bits >> 8);
    bytes[2] = (unsigned char)bits;
    /* Bits that no byte takes must be clear: there is one way to write each value. */
    if ((padding >= 1 && bytes[2] != 0) || (padding == 2 && bytes[1] != 0))
        return -1;
    return letters - 1;
}

long base64_decode(const char *text, unsigned char *out, size_t capacity)
{
    unsigned char bytes[3];
    size_t used = 0;
    int n;

    while ((n = next_group(&text, bytes)) > 0) {
        if ((size_t)n > capacity - used)
            return -EFBIG;
        memcpy(out + used, bytes, (size_t)n);
        used += (size_t)n;
        if (n < 3)
            break;
    }
    if (n < 0)
        return -EBADMSG;
    while (is_blank(*text))
        text++;
    return *text == '\0' ? (long)used : -EBADMSG;
}
