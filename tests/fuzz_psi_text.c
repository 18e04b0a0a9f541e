/* SPDX-License-Identifier: MIT */
#include "fuzz_psi_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policies/psi_text.h"

enum { TEXT_BYTES = 512 };

/* Memory of exactly this size, so that a sanitizer sees a read behind it. */
static char *copy_of(const uint8_t *data, size_t len, size_t more)
{
    char *copy = malloc(len + more > 0 ? len + more : 1);

    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

/* ---- pressure ---- */

static bool line_is_sane(const struct psi_line *line)
{
    return line->avg10 <= PSI_WHOLE && line->avg60 <= PSI_WHOLE && line->avg300 <= PSI_WHOLE;
}

static int print_line(char *out, size_t capacity, const char *word, const struct psi_line *line)
{
    return snprintf(out, capacity,
                    "%s avg10=%u.%02u avg60=%u.%02u avg300=%u.%02u total=%" PRIu64 "\n", word,
                    line->avg10 / 100, line->avg10 % 100, line->avg60 / 100, line->avg60 % 100,
                    line->avg300 / 100, line->avg300 % 100, line->total_us);
}

static bool lines_equal(const struct psi_line *a, const struct psi_line *b)
{
    return a->avg10 == b->avg10 && a->avg60 == b->avg60 && a->avg300 == b->avg300 &&
           a->total_us == b->total_us;
}

static bool texts_equal(const struct psi_text *a, const struct psi_text *b)
{
    return lines_equal(&a->some, &b->some) && lines_equal(&a->full, &b->full) &&
           a->has_full == b->has_full;
}

static const char *check_psi(const char *text, size_t len)
{
    static const struct psi_line zeros;
    struct psi_text found, again, before;
    char printed[TEXT_BYTES];
    int rc, n;

    memset(&found, 0x5a, sizeof(found));
    before = found;
    rc = psi_parse(text, len, &found);
    if (rc != 0)
        return rc != -EBADMSG                                ? "psi_parse: another error"
               : memcmp(&found, &before, sizeof(found)) != 0 ? "psi_parse: failed, and wrote"
                                                             : NULL;
    if (!line_is_sane(&found.some) || !line_is_sane(&found.full))
        return "psi_parse: more than all of the time";
    if (!found.has_full && !lines_equal(&found.full, &zeros))
        return "psi_parse: numbers of a line that is missing";
    n = print_line(printed, sizeof(printed), "some", &found.some);
    if (found.has_full)
        n += print_line(printed + n, sizeof(printed) - (size_t)n, "full", &found.full);
    if (psi_parse(printed, (size_t)n, &again) != 0 || !texts_equal(&found, &again))
        return "psi_parse: not the same when it is printed and read again";
    if (psi_parse(printed, (size_t)n - 1, &again) != 0 || !texts_equal(&found, &again))
        return "psi_parse: the last newline matters";
    return NULL;
}

/* ---- the others ---- */

static const char *check_events(const char *text, size_t len)
{
    struct memory_events found, again, before;
    char printed[TEXT_BYTES];
    int rc, n;

    memset(&found, 0x5a, sizeof(found));
    before = found;
    rc = memory_events_parse(text, len, &found);
    if (rc != 0)
        return rc != -EBADMSG                                ? "memory_events_parse: another error"
               : memcmp(&found, &before, sizeof(found)) != 0 ? "memory_events_parse: wrote"
                                                             : NULL;
    n = snprintf(printed, sizeof(printed),
                 "low %" PRIu64 "\nhigh %" PRIu64 "\nmax %" PRIu64 "\noom %" PRIu64
                 "\noom_kill %" PRIu64 "\n",
                 found.low, found.high, found.max, found.oom, found.oom_kill);
    if (memory_events_parse(printed, (size_t)n, &again) != 0 || again.low != found.low ||
        again.high != found.high || again.max != found.max || again.oom != found.oom ||
        again.oom_kill != found.oom_kill)
        return "memory_events_parse: not the same when it is printed and read again";
    return NULL;
}

static const char *check_trigger(const char *text, size_t len)
{
    struct psi_trigger found, again;
    char printed[TEXT_BYTES];
    int n;

    if (psi_trigger_parse(text, len, &found) != 0)
        return NULL;
    n = snprintf(printed, sizeof(printed), "%s %" PRIu64 " %" PRIu64, found.full ? "full" : "some",
                 found.stall_us, found.window_us);
    if (psi_trigger_parse(printed, (size_t)n + 1, &again) != 0 || again.full != found.full ||
        again.stall_us != found.stall_us || again.window_us != found.window_us)
        return "psi_trigger_parse: not the same when it is printed and read again";
    return NULL;
}

static size_t base64_encode(const unsigned char *data, size_t len, char *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t used = 0, i;

    for (i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (left > 2 ? data[i + 2] : 0);

        out[used++] = letters[bits >> 18];
        out[used++] = letters[bits >> 12 & 63];
        out[used++] = left > 1 ? letters[bits >> 6 & 63] : '=';
        out[used++] = left > 2 ? letters[bits & 63] : '=';
    }
    return used;
}

/* What is decoded must be what was there, blanks apart. */
static const char *check_decoded(const char *text, const unsigned char *decoded, size_t len)
{
    char *encoded = copy_of(NULL, 0, (len + 2) / 3 * 4);
    size_t n = base64_encode(decoded, len, encoded), i;
    const char *wrong = NULL;

    for (i = 0; i < n && wrong == NULL; text++) {
        if (*text == ' ' || (*text >= '\t' && *text <= '\r'))
            continue;
        if (*text != encoded[i++])
            wrong = "base64_decode: other bytes";
    }
    free(encoded);
    return wrong;
}

static const char *check_base64(const char *text, size_t len)
{
    size_t capacity = len / 4 * 3;
    unsigned char *out = (unsigned char *)copy_of(NULL, 0, capacity), *small;
    long n = base64_decode(text, out, capacity);
    const char *wrong = NULL;

    if (n > 0) {
        wrong = check_decoded(text, out, (size_t)n);
        small = (unsigned char *)copy_of(NULL, 0, (size_t)n - 1);
        if (base64_decode(text, small, (size_t)n - 1) != -EFBIG)
            wrong = "base64_decode: more than the buffer holds";
        free(small);
    } else if (n < 0 && n != -EBADMSG) {
        wrong = "base64_decode: another error";
    }
    free(out);
    return wrong;
}

const char *fuzz_psi_text(const uint8_t *data, size_t len)
{
    char *text = copy_of(data, len, 0), *string = copy_of(data, len, 1);
    const char *wrong = check_psi(text, len);

    string[len] = '\0';
    if (wrong == NULL)
        wrong = check_events(text, len);
    if (wrong == NULL)
        wrong = check_trigger(text, len);
    if (wrong == NULL)
        wrong = check_base64(string, len);
    free(text);
    free(string);
    return wrong;
}
