/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "../lib/text.h"
#include "../lib/units.h"
#include "harness.h"

struct bytes_case {
    const char *text;
    int rc;
    uint64_t bytes;
};

static void check_bytes(const struct bytes_case *cases, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        uint64_t bytes = 12345;
        int rc = units_parse_bytes(cases[i].text, &bytes);

        cr_assert_eq(rc, cases[i].rc, "'%s' gives %d", cases[i].text, rc);
        if (rc != 0)
            cr_assert_eq(bytes, 12345, "'%s' changes the result", cases[i].text);
        else
            cr_assert_eq(bytes, cases[i].bytes, "'%s' is %llu", cases[i].text,
                         (unsigned long long)bytes);
    }
}

Test(units, bytes_valid)
{
    static const struct bytes_case cases[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"007", 0, 7},
        {"4096", 0, 4096},
        {"4096B", 0, 4096},
        {"1K", 0, 1024},
        {"1k", 0, 1024},
        {"64KiB", 0, 65536},
        {"64kib", 0, 65536},
        {"64KB", 0, 65536},
        {"64M", 0, UINT64_C(64) << 20},
        {"2G", 0, UINT64_C(2) << 30},
        {"3T", 0, UINT64_C(3) << 40},
        {"4P", 0, UINT64_C(4) << 50},
        {"1.5G", 0, UINT64_C(1536) << 20},
        {"0.1K", 0, 102},
        {"0.999999999K", 0, 1023},
        {"1.000000000T", 0, UINT64_C(1) << 40},
        {"9223372036854775807", 0, INT64_MAX},
        {"8191P", 0, UINT64_C(8191) << 50},
    };

    check_bytes(cases, sizeof(cases) / sizeof(cases[0]));
}

Test(units, bytes_refused)
{
    static const struct bytes_case cases[] = {
        {"", -EINVAL, 0},         {" ", -EINVAL, 0},    {"K", -EINVAL, 0},
        {"-1", -EINVAL, 0},       {"+1", -EINVAL, 0},   {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},       {"1 K", -EINVAL, 0},  {"64Q", -EINVAL, 0},
        {"64KK", -EINVAL, 0},     {"64Kx", -EINVAL, 0}, {"64KiBx", -EINVAL, 0},
        {"64Ki", -EINVAL, 0},     {"64Bi", -EINVAL, 0}, {"0x10", -EINVAL, 0},
        {"1e3", -EINVAL, 0},      {"nan", -EINVAL, 0},  {"inf", -EINVAL, 0},
        {"1.5", -EINVAL, 0},      {"1.5B", -EINVAL, 0}, {"1.", -EINVAL, 0},
        {"1.K", -EINVAL, 0},      {".5K", -EINVAL, 0},  {"1.2.3K", -EINVAL, 0},
        {"1,5G", -EINVAL, 0},     {"50%", -EINVAL, 0},  {"1.0000000001G", -EINVAL, 0},
        {"\xd9\xa3", -EINVAL, 0}, {"off", -EINVAL, 0},
    };

    check_bytes(cases, sizeof(cases) / sizeof(cases[0]));
}

Test(units, bytes_too_large)
{
    static const struct bytes_case cases[] = {
        {"9223372036854775808", -ERANGE, 0},
        {"18446744073709551615", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999999999", -ERANGE, 0},
        {"8192P", -ERANGE, 0},
        {"18446744073709551615P", -ERANGE, 0},
        {"8191.999999999P", 0, 0},
        {"99999999999999999999999999999Q", -EINVAL, 0},
        {"99999999999999999999999999999.5", -EINVAL, 0},
    };
    uint64_t bytes = 0;

    check_bytes(cases, 6);
    check_bytes(cases + 7, 2);
    cr_assert_eq(units_parse_bytes(cases[6].text, &bytes), 0);
    cr_assert_lt(bytes, UINT64_C(8192) << 50);
    cr_assert_gt(bytes, UINT64_C(8191) << 50);
}

Test(units, percent)
{
    unsigned value = 7;

    cr_assert_eq(units_parse_percent("1%", &value), 0);
    cr_assert_eq(value, 1);
    cr_assert_eq(units_parse_percent("100%", &value), 0);
    cr_assert_eq(value, 100);
    value = 7;
    cr_assert_eq(units_parse_percent("0%", &value), -ERANGE);
    cr_assert_eq(units_parse_percent("101%", &value), -ERANGE);
    cr_assert_eq(units_parse_percent("4294967297%", &value), -ERANGE);
    cr_assert_eq(units_parse_percent("18446744073709551617%", &value), -ERANGE);
    cr_assert_eq(units_parse_percent("%", &value), -EINVAL);
    cr_assert_eq(units_parse_percent("", &value), -EINVAL);
    cr_assert_eq(units_parse_percent("50", &value), -EINVAL);
    cr_assert_eq(units_parse_percent("50%%", &value), -EINVAL);
    cr_assert_eq(units_parse_percent("-5%", &value), -EINVAL);
    cr_assert_eq(units_parse_percent("50.5%", &value), -EINVAL);
    cr_assert_eq(units_parse_percent("50 %", &value), -EINVAL);
    cr_assert_eq(value, 7);
}

Test(units, durations)
{
    static const struct {
        const char *text;
        int error;
        uint64_t ns;
    } cases[] = {
        {"250ms", 0, UINT64_C(250000000)},
        {"0s", 0, 0},
        {"0.5s", 0, UINT64_C(500000000)},
        {"2S", 0, UINT64_C(2000000000)},
        {"5min", 0, UINT64_C(300000000000)},
        {"1H", 0, UINT64_C(3600000000000)},
        {"1.5h", 0, UINT64_C(5400000000000)},
        {"007us", 0, 7000},
        {"1.0009us", 0, 1000},
        {"3ns", 0, 3},
        {"9223372036854775807ns", 0, INT64_MAX},
        {"9223372036854775808ns", -ERANGE, 0},
        {"2562048h", -ERANGE, 0},
        {"99999999999999999999999999s", -ERANGE, 0},
        {"99999999999999999999999999x", -EINVAL, 0},
        {"", -EINVAL, 0},
        {" ", -EINVAL, 0},
        {"250", -EINVAL, 0},
        {"0", -EINVAL, 0},
        {"ms", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"+1s", -EINVAL, 0},
        {" 1s", -EINVAL, 0},
        {"1s ", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1.s", -EINVAL, 0},
        {".5s", -EINVAL, 0},
        {"1.0000000001s", -EINVAL, 0},
        {"1m", -EINVAL, 0},
        {"1sec", -EINVAL, 0},
        {"1ss", -EINVAL, 0},
        {"1K", -EINVAL, 0},
        {"1e3s", -EINVAL, 0},
        {"nan", -EINVAL, 0},
        {"inf", -EINVAL, 0},
        {"1s1ms", -EINVAL, 0},
    };
    uint64_t ns;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ns = 12345;
        cr_assert_eq(units_parse_duration(cases[i].text, &ns), cases[i].error, "'%s'",
                     cases[i].text);
        cr_assert_eq(ns, cases[i].error != 0 ? 12345 : cases[i].ns, "'%s' is %llu", cases[i].text,
                     (unsigned long long)ns);
    }
}

Test(units, durations_are_formatted_exactly)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {1500, "1500ns"},
        {UINT64_C(250000000), "250ms"},
        {UINT64_C(90000000000), "90s"},
        {UINT64_C(120000000000), "2min"},
        {UINT64_C(86400000000000), "24h"},
        {INT64_MAX, "9223372036854775807ns"},
        {UINT64_MAX, "18446744073709551615ns"},
    };
    char text[UNITS_TEXT_BYTES];
    uint64_t back;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        units_format_duration(cases[i].ns, text, sizeof(text));
        cr_assert_str_eq(text, cases[i].text);
        if (cases[i].ns <= UNITS_MAX_NS) {
            cr_assert_eq(units_parse_duration(text, &back), 0, "%s", text);
            cr_assert_eq(back, cases[i].ns, "%s", text);
        }
    }
}

Test(units, bool_words)
{
    static const char *const yes[] = {"on", "ON", "yes", "Yes", "true", "1"};
    static const char *const no[] = {"off", "Off", "no", "NO", "false", "0"};
    static const char *const junk[] = {"", "2", "o", "onn", "of", "01", "enable", " on", "nan"};
    bool value;
    size_t i;

    for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        value = false;
        cr_assert_eq(units_parse_bool(yes[i], &value), 0, "%s", yes[i]);
        cr_assert(value, "%s", yes[i]);
    }
    for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        value = true;
        cr_assert_eq(units_parse_bool(no[i], &value), 0, "%s", no[i]);
        cr_assert_not(value, "%s", no[i]);
    }
    for (i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
        cr_assert_eq(units_parse_bool(junk[i], &value), -EINVAL, "'%s'", junk[i]);
}

Test(units, format_is_exact_and_read_back)
{
    static const uint64_t values[] = {0,
                                      1,
                                      1023,
                                      1024,
                                      1025,
                                      1536,
                                      UINT64_C(64) << 20,
                                      (UINT64_C(64) << 20) + 1,
                                      UINT64_C(1536) << 20,
                                      UINT64_C(7) << 50,
                                      UINT64_C(1) << 62,
                                      INT64_MAX};
    char text[UNITS_TEXT_BYTES];
    uint64_t back;
    size_t i;

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        units_format_bytes(values[i], text, sizeof(text));
        cr_assert_eq(units_parse_bytes(text, &back), 0, "%s", text);
        cr_assert_eq(back, values[i], "%s", text);
    }
    units_format_bytes(UINT64_C(64) << 20, text, sizeof(text));
    cr_assert_str_eq(text, "64MiB");
    units_format_bytes(UINT64_C(1536) << 20, text, sizeof(text));
    cr_assert_str_eq(text, "1536MiB");
    units_format_bytes(100, text, sizeof(text));
    cr_assert_str_eq(text, "100");
    units_format_bytes(UINT64_MAX, text, sizeof(text));
    cr_assert_str_eq(text, "18446744073709551615");
}

Test(text, equal)
{
    cr_assert(text_equal("", ""));
    cr_assert(text_equal("aBc", "AbC"));
    cr_assert_not(text_equal("a", ""));
    cr_assert_not(text_equal("", "a"));
    cr_assert_not(text_equal("ab", "ac"));
    cr_assert_not(text_equal("[", "{"));
}

Test(text, trim)
{
    char out[6];

    cr_assert_eq(text_trim(out, sizeof(out), " \t\nab c\r\n "), 4);
    cr_assert_str_eq(out, "ab c");
    cr_assert_eq(text_trim(out, sizeof(out), "  "), 0);
    cr_assert_str_eq(out, "");
    cr_assert_eq(text_trim(out, sizeof(out), "12345"), 5);
    cr_assert_eq(text_trim(out, sizeof(out), " 123456 "), -ENAMETOOLONG);
}

Test(text, clean)
{
    char text[] = "a\n\x1b[1m\x7f\xc2\x9b\xc3\xa9z";

    cr_assert(text_has_controls(text));
    text_clean(text);
    cr_assert_str_eq(text, "a??[1m???\xc3\xa9z");
    cr_assert_not(text_has_controls(text));
}

Test(text, copy_cuts_between_characters)
{
    char out[8];

    text_copy_clean(out, sizeof(out), "1234567");
    cr_assert_str_eq(out, "1234567");
    text_copy_clean(out, sizeof(out), "12345678");
    cr_assert_str_eq(out, "1234...");
    /* the cut would fall inside the two-byte character */
    text_copy_clean(out, sizeof(out),
                    "123\xc3\xa9"
                    "45678");
    cr_assert_str_eq(out, "123...");
    text_copy_clean(out, sizeof(out), "a\nb");
    cr_assert_str_eq(out, "a?b");
}
