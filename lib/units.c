/* SPDX-License-Identifier: MIT */
#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "text.h"

enum { FRACTION_DIGITS = 9 };

static const char unit_letters[] = "KMGTP";

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits up to the first other character, at least one. */
static int parse_digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    uint64_t value = 0;
    bool overflow = false;

    if (!is_digit(*at))
        return -EINVAL;
    for (; is_digit(*at); at++) {
        overflow |= __builtin_mul_overflow(value, 10, &value);
        overflow |= __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value);
    }
    *text = at;
    *out = value;
    /* Junk behind too many digits is junk first, so the caller looks at the rest as well. */
    return overflow ? -ERANGE : 0;
}

/* "5" as 5 and 1, "5.25" as 5, 25 and 100. Returns as parse_digits(). */
static int parse_decimal(const char **text, uint64_t *whole, uint64_t *fraction, uint64_t *scale)
{
    int range = parse_digits(text, whole);

    *fraction = 0;
    *scale = 1;
    if (range != -EINVAL && **text == '.') {
        const char *digit = ++*text;

        if (parse_digits(text, fraction) != 0 || *text - digit > FRACTION_DIGITS)
            return -EINVAL;
        for (; digit < *text; digit++)
            *scale *= 10;
    }
    return range;
}

/* The power of two behind a number, or -EINVAL. */
static int parse_unit(const char *text)
{
    unsigned i;

    if (text_equal(text, "") || text_equal(text, "B"))
        return 0;
    for (i = 0; unit_letters[i] != '\0'; i++) {
        const char letter[2] = {text[0], '\0'}, wanted[2] = {unit_letters[i], '\0'};

        if (!text_equal(letter, wanted))
            continue;
        if (text_equal(text + 1, "") || text_equal(text + 1, "B") || text_equal(text + 1, "iB"))
            return (int)(10 * (i + 1));
        return -EINVAL;
    }
    return -EINVAL;
}

int units_parse_bytes(const char *text, uint64_t *out)
{
    uint64_t whole, fraction, scale;
    unsigned __int128 bytes;
    int range, shift;

    range = parse_decimal(&text, &whole, &fraction, &scale);
    if (range == -EINVAL)
        return range;
    shift = parse_unit(text);
    if (shift < 0 || (scale > 1 && shift == 0))
        return -EINVAL;
    if (range != 0)
        return range;
    bytes = ((unsigned __int128)whole << shift) + ((unsigned __int128)fraction << shift) / scale;
    if (bytes > UNITS_MAX_BYTES)
        return -ERANGE;
    *out = (uint64_t)bytes;
    return 0;
}

int units_parse_percent(const char *text, unsigned *out)
{
    uint64_t value;
    int rc = parse_digits(&text, &value);

    if (rc == -EINVAL || !text_equal(text, "%"))
        return -EINVAL;
    if (rc != 0 || value < 1 || value > 100)
        return -ERANGE;
    *out = (unsigned)value;
    return 0;
}

/* From the largest down. */
static const struct {
    const char *name;
    uint64_t ns;
} time_units[] = {{"h", UINT64_C(3600000000000)}, {"min", UINT64_C(60000000000)},
                  {"s", UINT64_C(1000000000)},    {"ms", UINT64_C(1000000)},
                  {"us", UINT64_C(1000)},         {"ns", 1}};

enum { TIME_UNITS = sizeof(time_units) / sizeof(time_units[0]), TIME_UNIT_S = 2 };

int units_parse_duration(const char *text, uint64_t *out_ns)
{
    uint64_t whole, fraction, scale;
    unsigned __int128 ns;
    unsigned unit = 0;
    int range;

    range = parse_decimal(&text, &whole, &fraction, &scale);
    if (range == -EINVAL)
        return range;
    while (unit < TIME_UNITS && !text_equal(text, time_units[unit].name))
        unit++;
    if (unit == TIME_UNITS)
        return -EINVAL;
    if (range != 0)
        return range;
    ns = (unsigned __int128)whole * time_units[unit].ns +
         (unsigned __int128)fraction * time_units[unit].ns / scale;
    if (ns > UNITS_MAX_NS)
        return -ERANGE;
    *out_ns = (uint64_t)ns;
    return 0;
}

int units_parse_bool(const char *text, bool *out)
{
    static const char *const words[][2] = {
        {"off", "on"}, {"no", "yes"}, {"false", "true"}, {"0", "1"}};
    unsigned i, value;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (value = 0; value < 2; value++) {
            if (text_equal(text, words[i][value])) {
                *out = value == 1;
                return 0;
            }
        }
    }
    return -EINVAL;
}

void units_format_bytes(uint64_t bytes, char *out, size_t capacity)
{
    unsigned unit = 0;

    while (bytes > 0 && bytes % 1024 == 0 && unit_letters[unit] != '\0') {
        bytes /= 1024;
        unit++;
    }
    if (unit == 0)
        (void)snprintf(out, capacity, "%" PRIu64, bytes);
    else
        (void)snprintf(out, capacity, "%" PRIu64 "%ciB", bytes, unit_letters[unit - 1]);
}

void units_format_duration(uint64_t ns, char *out, size_t capacity)
{
    unsigned unit = 0;

    while (ns % time_units[unit].ns != 0)
        unit++;
    if (ns == 0)
        unit = TIME_UNIT_S;
    (void)snprintf(out, capacity, "%" PRIu64 "%s", ns / time_units[unit].ns, time_units[unit].name);
}
