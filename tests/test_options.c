/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/growable.h"
#include "../lib/options.h"
#include "../lib/units.h"
#include "fault.h"
#include "harness.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static spw_options *open_options(void)
{
    spw_options *options = NULL;

    cr_assert_eq(spw_options_open(&options), 0);
    return options;
}

/* The canonical text, and where it is from. */
static void check_value(const spw_options *options, const char *name, const char *want,
                        const char *want_origin)
{
    const char *origin = NULL;

    cr_assert_str_eq(spw_options_value(options, name, &origin), want);
    cr_assert_str_eq(origin, want_origin, "%s", name);
}

static void check_set(spw_options *options, const char *name, const char *value, const char *want)
{
    int rc = spw_options_set(options, name, value);

    cr_assert_eq(rc, 0, "%s=%s: %s", name, value, spw_options_message(options));
    cr_assert_str_eq(spw_options_message(options), "");
    check_value(options, name, want, "call");
}

/* Must be refused, leave the value alone, and say name and what is allowed. */
static void check_refused(spw_options *options, const char *name, const char *value)
{
    char before[SETTINGS_TEXT];
    struct settings was, is;
    const char *message;
    int rc;

    settings_read(options, &was);
    (void)snprintf(before, sizeof(before), "%s", spw_options_value(options, name, NULL));
    rc = spw_options_set(options, name, value);
    cr_assert_eq(rc, -EINVAL, "%s=%s gives %d", name, value, rc);
    cr_assert_str_eq(spw_options_value(options, name, NULL), before);
    settings_read(options, &is);
    cr_assert_eq(memcmp(&was, &is, sizeof(was)), 0, "%s=%s changed a setting", name, value);
    message = spw_options_message(options);
    cr_assert_eq(strncmp(message, name, strlen(name)), 0, "%s", message);
    cr_assert_not_null(strstr(message, options_find(name)->allowed), "%s", message);
}

static void check_all_refused(const char *name, const char *const *values, size_t count)
{
    spw_options *options = open_options();
    size_t i;

    for (i = 0; i < count; i++)
        check_refused(options, name, values[i]);
    spw_options_close(options);
}

/* --- the table --- */

Test(options, table_is_sound)
{
    size_t i, j, at;

    for (i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        char variable[64];

        (void)snprintf(variable, sizeof(variable), "SPILLWAY_%s", row->name);
        for (at = 0; variable[at] != '\0'; at++)
            variable[at] = (char)toupper((unsigned char)variable[at]);
        cr_assert_str_eq(row->variable, variable);
        cr_assert_gt(strlen(row->help), 10, "%s", row->name);
        cr_assert_null(strchr(row->help, '\n'), "%s", row->name);
        cr_assert_gt(strlen(row->allowed), 5, "%s", row->name);
        cr_assert_lt(strlen(row->allowed), 300, "%s", row->name);
        for (j = 0; j < i; j++)
            cr_assert_neq(strcmp(row->name, option_rows[j].name), 0, "%s twice", row->name);
    }
    cr_assert_eq(OPTION_COUNT, 28);
}

Test(options, defaults_are_values)
{
    spw_options *options = open_options();
    struct settings was, is;
    size_t i;

    settings_read(options, &was);
    for (i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];

        check_value(options, row->name, row->fallback, "default");
        check_set(options, row->name, row->fallback, row->fallback);
    }
    settings_read(options, &is);
    cr_assert_eq(memcmp(&was, &is, sizeof(was)), 0);
    spw_options_close(options);
}

Test(options, describe)
{
    union {
        spw_option_info info;
        char room[sizeof(spw_option_info) + 16];
    } large;
    spw_option_info info = {.size = sizeof(info)};
    size_t i;

    for (i = 0; i < OPTION_COUNT; i++) {
        cr_assert_eq(spw_options_describe(i, &info), 0);
        cr_assert_str_eq(info.name, option_rows[i].name);
        cr_assert_str_eq(info.variable, option_rows[i].variable);
        cr_assert_str_eq(info.fallback, option_rows[i].fallback);
        cr_assert_str_eq(info.allowed, option_rows[i].allowed);
        cr_assert_str_eq(info.help, option_rows[i].help);
    }
    cr_assert_eq(spw_options_describe(i, &info), -ENOENT);
    cr_assert_eq(spw_options_describe(SIZE_MAX, &info), -ENOENT);
    info.size = OPTION_INFO_FIRST_BYTES - 1;
    cr_assert_eq(spw_options_describe(0, &info), -EINVAL);
    cr_assert_eq(spw_options_describe(0, NULL), -EINVAL);
    /* a caller with a later header */
    memset(&large, 0xff, sizeof(large));
    large.info.size = sizeof(large);
    cr_assert_eq(spw_options_describe(0, &large.info), 0);
    cr_assert_str_eq(large.info.name, "memory");
    for (i = sizeof(spw_option_info); i < sizeof(large); i++)
        cr_assert_eq(large.room[i], 0);
}

/* --- each option --- */

static const char *const bad_amounts[] = {
    "",
    " ",
    "\t",
    "64Q",
    "64MM",
    "-1",
    "+1",
    "-64M",
    "1.5",
    "1e9",
    "0x10000",
    "nan",
    "NaN",
    "inf",
    "64 M",
    "64M;",
    "64M 32M",
    "101%",
    "0%",
    "-5%",
    "5.5%",
    "%",
    "50%%",
    "5%M",
    "M",
    "none",
    "unlimited",
    "8192P",
    "9223372036854775808",
    "18446744073709551616",
    "64M\n1",
    "64\x01M",
    "\xff",
};

static void check_amount(const char *name, size_t offset, bool with_auto, bool with_off,
                         uint64_t least)
{
    spw_options *options = open_options();
    struct settings settings;
    const struct amount *amount = (const struct amount *)((char *)&settings + offset);
    char text[UNITS_TEXT_BYTES];

    check_set(options, name, "64M", "64MiB");
    settings_read(options, &settings);
    cr_assert_eq(amount->bytes, UINT64_C(64) << 20);
    cr_assert_eq(amount->percent, 0);
    check_set(options, name, " 1.5GiB\n", "1536MiB");
    check_set(options, name, "64KB", "64KiB");
    check_set(options, name, "100%", "100%");
    check_set(options, name, " 1% ", "1%");
    settings_read(options, &settings);
    cr_assert_eq(amount->percent, 1);
    check_set(options, name, "9223372036854775807", "9223372036854775807");
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)least);
    cr_assert_eq(spw_options_set(options, name, text), 0);
    settings_read(options, &settings);
    cr_assert_eq(amount->bytes, least);
    if (least > 0) {
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)least - 1);
        check_refused(options, name, text);
        check_refused(options, name, "0");
    }
    if (with_auto) {
        check_set(options, name, "Auto", "auto");
        settings_read(options, &settings);
        cr_assert_eq(amount->bytes, SETTINGS_AUTO);
        cr_assert_eq(amount->percent, 0);
    } else {
        check_refused(options, name, "auto");
    }
    if (with_off) {
        check_set(options, name, "OFF", "off");
        settings_read(options, &settings);
        cr_assert_eq(amount->bytes, 0);
        cr_assert_eq(amount->percent, 0);
        check_set(options, name, "0", "off");
        check_set(options, name, "0K", "off");
    } else {
        check_refused(options, name, "off");
    }
    spw_options_close(options);
    check_all_refused(name, bad_amounts, COUNT(bad_amounts));
}

Test(options, memory)
{
    check_amount("memory", offsetof(struct settings, memory), true, false, 65536);
}

Test(options, memory_tier)
{
    check_amount("memory_tier", offsetof(struct settings, memory_tier), false, true, 0);
}

Test(options, threshold)
{
    check_amount("threshold", offsetof(struct settings, threshold), true, false, 0);
}

Test(options, head_reserve)
{
    check_amount("head_reserve", offsetof(struct settings, head_reserve), true, false, 0);
}

Test(options, prefetch)
{
    check_amount("prefetch", offsetof(struct settings, prefetch), true, true, 0);
}

Test(options, depth)
{
    static const char *const bad[] = {"",    "0",   "65",  "-1",         "+1",  "0x8",
                                      "8.5", "8 8", "8K",  "4294967297", "off", "max",
                                      "50%", "1e1", "641", "8\n9"};
    spw_options *options = open_options();
    struct settings settings;

    settings_read(options, &settings);
    cr_assert_eq(settings.depth, 0);
    check_set(options, "depth", " 8 ", "8");
    settings_read(options, &settings);
    cr_assert_eq(settings.depth, 8);
    check_set(options, "depth", "1", "1");
    check_set(options, "depth", "064", "64");
    settings_read(options, &settings);
    cr_assert_eq(settings.depth, 64);
    check_set(options, "depth", "AUTO", "auto");
    settings_read(options, &settings);
    cr_assert_eq(settings.depth, 0);
    spw_options_close(options);
    check_all_refused("depth", bad, COUNT(bad));
}

Test(options, request)
{
    static const char *const bad[] = {"", "0", "4095", "1025M", "2G", "off", "50%", "-1", "8192P"};
    spw_options *options = open_options();
    struct settings settings;

    settings_read(options, &settings);
    cr_assert_eq(settings.request_bytes, 0);
    check_set(options, "request", "512K", "512KiB");
    settings_read(options, &settings);
    cr_assert_eq(settings.request_bytes, 512 << 10);
    check_set(options, "request", "4KiB", "4KiB");
    check_set(options, "request", " 1G ", "1GiB");
    settings_read(options, &settings);
    cr_assert_eq(settings.request_bytes, 1 << 30);
    check_set(options, "request", "1MB", "1MiB");
    check_set(options, "request", "Auto", "auto");
    settings_read(options, &settings);
    cr_assert_eq(settings.request_bytes, 0);
    cr_assert_eq(spw_options_set(options, "strict", "on"), 0);
    check_refused(options, "request", "1MB");
    spw_options_close(options);
    check_all_refused("request", bad, COUNT(bad));
}

Test(options, disk_limit)
{
    check_amount("disk_limit", offsetof(struct settings, disk_limit), true, false, 65536);
}

Test(options, tiers)
{
    static const char *const bad[] = {
        "",          ",",           "memory,",     ",disk", "disk,disk", "memory disk",
        "none,disk", "memory,none", "memory,nvme", "all",   "nan",       "memory,disk,memory"};
    spw_options *options = open_options();
    struct settings settings;

    check_set(options, "tiers", "memory", "memory");
    settings_read(options, &settings);
    cr_assert(settings.tier_memory);
    cr_assert_not(settings.tier_disk);
    check_set(options, "tiers", "Disk", "disk");
    settings_read(options, &settings);
    cr_assert_not(settings.tier_memory);
    cr_assert(settings.tier_disk);
    check_set(options, "tiers", "disk, memory", "memory,disk");
    settings_read(options, &settings);
    cr_assert(settings.tier_memory);
    cr_assert(settings.tier_disk);
    check_set(options, "tiers", "none", "none");
    settings_read(options, &settings);
    cr_assert_not(settings.tier_memory);
    cr_assert_not(settings.tier_disk);
    spw_options_close(options);
    check_all_refused("tiers", bad, COUNT(bad));
}

Test(options, nodes)
{
    static const char *const good[] = {"local", "far", "cpuless", "all",  "0",   "0-1,3",
                                       "!1",    "+0",  "!0-3",    "1023", "0,0", "7-7"};
    static const char *const bad[] = {
        "",     "near", "-1",         "1-",      "0-",   "1-0",   ",",
        "0,",   ",0",   "!",          "!!1",     "0,,1", "0-1-2", "0 1",
        "1024", "0x1",  "4294967296", "0,local", "1.5",  "nan",   "99999999999999999999"};
    spw_options *options = open_options();
    struct settings settings;
    size_t i;

    for (i = 0; i < COUNT(good); i++) {
        check_set(options, "nodes", good[i], good[i]);
        settings_read(options, &settings);
        cr_assert_str_eq(settings.nodes, good[i]);
    }
    check_set(options, "nodes", " CPUless ", "cpuless");
    spw_options_close(options);
    check_all_refused("nodes", bad, COUNT(bad));
}

Test(options, dirs)
{
    static const char *const bad[] = {
        "",       ":",     "/a:",   ":/a",
        "/a::/b", "/a:/a", "/a\nb", "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17"};
    spw_options *options = open_options();
    struct settings settings;

    settings_read(options, &settings);
    cr_assert_eq(settings.dir_count, 0);
    check_set(options, "dirs", "/scratch", "/scratch");
    settings_read(options, &settings);
    cr_assert_eq(settings.dir_count, 1);
    cr_assert_str_eq(settings.dirs[0], "/scratch");
    check_set(options, "dirs", "/a b:/c:rel", "/a b:/c:rel");
    settings_read(options, &settings);
    cr_assert_eq(settings.dir_count, 3);
    cr_assert_str_eq(settings.dirs[0], "/a b");
    cr_assert_str_eq(settings.dirs[1], "/c");
    cr_assert_str_eq(settings.dirs[2], "rel");
    check_set(options, "dirs", "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16",
              "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16");
    settings_read(options, &settings);
    cr_assert_eq(settings.dir_count, SETTINGS_MAX_DIRS);
    cr_assert_str_eq(settings.dirs[15], "16");
    check_set(options, "dirs", "auto", "auto");
    settings_read(options, &settings);
    cr_assert_eq(settings.dir_count, 0);
    spw_options_close(options);
    check_all_refused("dirs", bad, COUNT(bad));
}

Test(options, dirs_as_long_as_may_be)
{
    spw_options *options = open_options();
    struct settings settings;
    char value[SETTINGS_TEXT + 1];

    memset(value, 'd', sizeof(value));
    value[SETTINGS_TEXT] = '\0';
    check_refused(options, "dirs", value);
    cr_assert_lt(strlen(spw_options_message(options)), OPTIONS_MESSAGE_BYTES - 1);
    cr_assert_not_null(strstr(spw_options_message(options), "ddd...'"));
    value[SETTINGS_TEXT - 1] = '\0';
    value[100] = ':';
    check_set(options, "dirs", value, value);
    settings_read(options, &settings);
    cr_assert_eq(settings.dir_count, 2);
    cr_assert_eq(strlen(settings.dirs[0]), 100);
    cr_assert_eq(strlen(settings.dirs[1]), SETTINGS_TEXT - 1 - 101);
    spw_options_close(options);
}

static unsigned word_of(const spw_options *options, size_t offset)
{
    struct settings settings;
    unsigned value;

    settings_read(options, &settings);
    memcpy(&value, (char *)&settings + offset, sizeof(value));
    return value;
}

static void check_words(const char *name, size_t offset, const char *const *words, size_t count)
{
    static const char *const bad[] = {"", " ", "nan", "x", "0", "-1", "auto,off", "io"};
    spw_options *options = open_options();
    size_t i;

    for (i = 0; i < count; i++) {
        char upper[32];
        size_t at;

        check_set(options, name, words[i], words[i]);
        cr_assert_eq(word_of(options, offset), i, "%s", words[i]);
        for (at = 0; at <= strlen(words[i]); at++)
            upper[at] = (char)toupper((unsigned char)words[i][at]);
        check_set(options, name, upper, words[i]);
        upper[strlen(upper) - 1] = '\0';
        check_refused(options, name, upper);
    }
    spw_options_close(options);
    check_all_refused(name, bad, COUNT(bad));
}

Test(options, engine)
{
    static const char *const words[] = {
        [ENGINE_AUTO] = "auto", [ENGINE_IO_URING] = "io_uring", [ENGINE_THREADS] = "threads"};

    check_words("engine", offsetof(struct settings, engine), words, COUNT(words));
}

Test(options, seal)
{
    static const char *const words[] = {[SEAL_RECYCLE] = "recycle", [SEAL_STRICT] = "strict"};

    check_words("seal", offsetof(struct settings, seal), words, COUNT(words));
}

Test(options, huge_pages)
{
    static const char *const words[] = {
        [HUGE_OFF] = "off", [HUGE_ON] = "on", [HUGE_TRANSPARENT] = "transparent"};

    check_words("huge_pages", offsetof(struct settings, huge_pages), words, COUNT(words));
}

Test(options, checksum)
{
    static const char *const words[] = {
        [CHECKSUM_DISK] = "disk", [CHECKSUM_ALL] = "all", [CHECKSUM_OFF] = "off"};

    check_words("checksum", offsetof(struct settings, checksum), words, COUNT(words));
}

Test(options, log_level)
{
    static const char *const words[] = {[SPILLWAY_LOG_OFF] = "off",
                                        [SPILLWAY_LOG_ERROR] = "error",
                                        [SPILLWAY_LOG_WARN] = "warning",
                                        [SPILLWAY_LOG_INFO] = "info",
                                        [SPILLWAY_LOG_DEBUG] = "debug"};

    check_words("log_level", offsetof(struct settings, log_level), words, COUNT(words));
}

Test(options, policies)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "threshold,",
                                      ",threshold",
                                      "threshold,,prefetch",
                                      "threshold,threshold",
                                      "Pressure,pressure",
                                      "threshold prefetch",
                                      "none,threshold",
                                      "threshold,none",
                                      "all",
                                      "auto",
                                      "off",
                                      "on",
                                      "nan",
                                      "press",
                                      "thresholds",
                                      "threshold;prefetch"};
    spw_options *options = open_options();
    struct settings settings;

    settings_read(options, &settings);
    cr_assert_eq(settings.policies,
                 1u << POLICY_THRESHOLD | 1u << POLICY_PREFETCH | 1u << POLICY_PRESSURE);
    check_set(options, "policies", "none", "none");
    settings_read(options, &settings);
    cr_assert_eq(settings.policies, 0);
    check_set(options, "policies", " NONE ", "none");
    check_set(options, "policies", "compress", "compress");
    settings_read(options, &settings);
    cr_assert_eq(settings.policies, 1u << POLICY_COMPRESS);
    check_set(options, "policies", "manual , threshold, Periodic", "threshold,periodic,manual");
    check_set(options, "policies", "compress,adaptive,manual,periodic,pressure,prefetch,threshold",
              "threshold,prefetch,pressure,periodic,manual,adaptive,compress");
    settings_read(options, &settings);
    cr_assert_eq(settings.policies, (1u << POLICY_KINDS) - 1);
    spw_options_close(options);
    check_all_refused("policies", bad, COUNT(bad));
}

Test(options, floor)
{
    check_amount("floor", offsetof(struct settings, floor), false, false, 65536);
}

Test(options, pressure)
{
    static const char *const bad[] = {"",       "on",  "yes",   "0",    "proc",
                                      "./auto", "a/b", "200ms", "/a\nb"};
    spw_options *options = open_options();
    struct settings settings;
    char longest[SETTINGS_TEXT];

    check_set(options, "pressure", "OFF", "off");
    settings_read(options, &settings);
    cr_assert_str_eq(settings.pressure, "off");
    check_set(options, "pressure", "Auto", "auto");
    check_set(options, "pressure", " /run/Pressure ", "/run/Pressure");
    memset(longest, 'x', sizeof(longest) - 1);
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    check_set(options, "pressure", longest, longest);
    check_set(options, "pressure", "/dev/null", "/dev/null");
    check_set(options, "strict", "on", "on");
    check_set(options, "pressure", "/a b", "/a b");
    spw_options_close(options);
    check_all_refused("pressure", bad, COUNT(bad));
}

Test(options, stall)
{
    static const char *const bad[] = {
        "",         "200",      "0s",          "0ms/2s", "200ms/",  "/2s",    "200ms/2s/",
        "3s",       "2s/1s",    "200ms/400ms", "1s/11s", "-1ms/2s", "off",    "auto",
        "200ms 2s", "200ms/2x", "200ms//2s",   "999ns",  "10%",     "nan/2s", "200ms/1h"};
    spw_options *options = open_options();
    struct settings settings;

    settings_read(options, &settings);
    cr_assert_eq(settings.stall_ns, 200000000);
    cr_assert_eq(settings.stall_window_ns, 2000000000);
    check_set(options, "stall", "150ms", "150ms/2s");
    settings_read(options, &settings);
    cr_assert_eq(settings.stall_ns, 150000000);
    cr_assert_eq(settings.stall_window_ns, 2000000000);
    check_set(options, "stall", " 0.05S/1000ms", "50ms/1s");
    check_set(options, "stall", "10s/10s", "10s/10s");
    check_set(options, "stall", "1us/500ms", "1us/500ms");
    settings_read(options, &settings);
    cr_assert_eq(settings.stall_ns, 1000);
    cr_assert_eq(settings.stall_window_ns, 500000000);
    spw_options_close(options);
    check_all_refused("stall", bad, COUNT(bad));
}

Test(options, period)
{
    static const char *const bad[] = {"",    "10",   "0s",   "9ms", "25h", "-1s",
                                      "off", "auto", "10S1", "1m",  "nan", "10s 20s"};
    spw_options *options = open_options();
    struct settings settings;

    settings_read(options, &settings);
    cr_assert_eq(settings.period_ns, UINT64_C(10000000000));
    check_set(options, "period", "10ms", "10ms");
    check_set(options, "period", "24h", "24h");
    check_set(options, "period", " 1.5min\n", "90s");
    settings_read(options, &settings);
    cr_assert_eq(settings.period_ns, UINT64_C(90000000000));
    spw_options_close(options);
    check_all_refused("period", bad, COUNT(bad));
}

Test(options, price)
{
    static const char *const bad[] = {"",    "10",   "0s",   "999us", "61min", "-1s",
                                      "off", "auto", "10S1", "1m",    "nan",   "100ms/s"};
    spw_options *options = open_options();
    struct settings settings;

    settings_read(options, &settings);
    cr_assert_eq(settings.price_ns, 100000000);
    check_set(options, "price", "1ms", "1ms");
    check_set(options, "price", "1h", "1h");
    check_set(options, "price", " 0.25S ", "250ms");
    settings_read(options, &settings);
    cr_assert_eq(settings.price_ns, 250000000);
    spw_options_close(options);
    check_all_refused("price", bad, COUNT(bad));
}

static void check_toggle(const char *name, size_t offset)
{
    static const char *const on[] = {"on", "yes", "TRUE", " 1 "};
    static const char *const off[] = {"off", "No", "false", "0"};
    static const char *const bad[] = {"", "2", "-1", "01", "maybe", "nan", "on off", "o"};
    spw_options *options = open_options();
    struct settings settings;
    const bool *value = (const bool *)((char *)&settings + offset);
    size_t i;

    for (i = 0; i < COUNT(on); i++) {
        check_set(options, name, on[i], "on");
        settings_read(options, &settings);
        cr_assert(*value);
        check_set(options, name, off[i], "off");
        settings_read(options, &settings);
        cr_assert_not(*value);
    }
    spw_options_close(options);
    check_all_refused(name, bad, COUNT(bad));
}

Test(options, mlock)
{
    check_toggle("mlock", offsetof(struct settings, mlock));
}

Test(options, strict)
{
    check_toggle("strict", offsetof(struct settings, strict));
}

Test(options, strict_refuses_what_is_doubtful)
{
    static const char *const doubtful[] = {"64KB", "64mb", "1.5GB", "2TB"};
    spw_options *options = open_options();
    size_t i;

    for (i = 0; i < COUNT(doubtful); i++)
        cr_assert_eq(spw_options_set(options, "memory", doubtful[i]), 0);
    cr_assert_eq(spw_options_set(options, "dirs", "a:/b"), 0);
    check_set(options, "strict", "on", "on");
    for (i = 0; i < COUNT(doubtful); i++)
        check_refused(options, "memory", doubtful[i]);
    check_refused(options, "dirs", "/b:a");
    check_set(options, "memory", "64MiB", "64MiB");
    check_set(options, "memory", "1048576B", "1MiB");
    check_set(options, "dirs", "/b:/a", "/b:/a");
    spw_options_close(options);
}

/* --- names and messages --- */

Test(options, by_variable)
{
    spw_options *options = open_options();

    check_set(options, "SPILLWAY_MEMORY", "1G", "1GiB");
    cr_assert_str_eq(spw_options_value(options, "memory", NULL), "1GiB");
    cr_assert_eq(spw_options_set(options, "SPILLWAY_MEMORY", "64Q"), -EINVAL);
    cr_assert_eq(strncmp(spw_options_message(options),
                         "SPILLWAY_MEMORY: '64Q' is not allowed; give bytes with a unit (64MiB, 2G",
                         72),
                 0, "%s", spw_options_message(options));
    spw_options_close(options);
}

Test(options, unknown_name)
{
    static const char *const cases[][2] = {
        {"memroy", "memory"},
        {"memory-tier", "memory_tier"},
        {"treshold", "threshold"},
        {"uring_engine", "engine"},
        {"loglevel", "log_level"},
        {"MEMORY", "memory"},
        {"hugepages", "huge_pages"},
        {"SPILLWAY_MEMROY", "memory"},
        {"dir", "dirs"},
        {"SPILLWAY_CHEKSUM", "checksum"},
        {"SPILLWAY_NUMA_NODES", "nodes"},
    };
    static const char *const strangers[] = {"SPILLWAY_X", "x", "", "HOME", "SPILLWAY_COLOUR"};
    spw_options *options = open_options();
    char want[300], name[5000];
    size_t i;

    for (i = 0; i < COUNT(cases); i++) {
        cr_assert_eq(spw_options_set(options, cases[i][0], "1G"), -ENOENT);
        (void)snprintf(want, sizeof(want), "'%s' is not a setting; the nearest is %s", cases[i][0],
                       cases[i][1]);
        cr_assert_str_eq(spw_options_message(options), want);
    }
    /* a guess that is no help is left out */
    for (i = 0; i < COUNT(strangers); i++) {
        cr_assert_eq(spw_options_set(options, strangers[i], "1G"), -ENOENT);
        (void)snprintf(want, sizeof(want), "'%s' is not a setting; spillway(7) lists them",
                       strangers[i]);
        cr_assert_str_eq(spw_options_message(options), want);
    }
    memset(name, '\x1b', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(spw_options_set(options, name, "1G"), -ENOENT);
    cr_assert_null(strchr(spw_options_message(options), '\x1b'));
    cr_assert_lt(strlen(spw_options_message(options)), 200);
    cr_assert_eq(spw_options_set(options, "", "1G"), -ENOENT);
    cr_assert_eq(spw_options_set(options, NULL, "1G"), -ENOENT);
    cr_assert_null(spw_options_value(options, "memroy", NULL));
    cr_assert_null(spw_options_value(options, NULL, NULL));
    /* a good call clears the message */
    check_set(options, "memory", "1G", "1GiB");
    spw_options_close(options);
}

Test(options, hostile_value)
{
    spw_options *options = open_options();
    char value[20000];

    check_refused(options, "memory", "1\n2\x1b[2J'%s%n");
    cr_assert_not_null(strstr(spw_options_message(options), "'1?2?[2J'%s%n'"));
    memset(value, '9', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    check_refused(options, "memory", value);
    cr_assert_lt(strlen(spw_options_message(options)), 500);
    cr_assert_eq(spw_options_set(options, "memory", NULL), -EINVAL);
    spw_options_close(options);
}

Test(options, null_is_harmless)
{
    spw_options_close(NULL);
    cr_assert_eq(spw_options_load(NULL), -EINVAL);
    cr_assert_eq(spw_options_set(NULL, "memory", "1G"), -EINVAL);
    cr_assert_str_eq(spw_options_message(NULL), "");
    cr_assert_null(spw_options_value(NULL, "memory", NULL));
}

Test(options, no_memory)
{
    spw_options *options = NULL;

    fault_alloc_after(1);
    cr_assert_eq(options_open(&fault_allocator, &options), -ENOMEM);
    cr_assert_null(options);
    cr_assert_eq(fault_alloc_live(), 0);
    /* nothing else ever allocates */
    fault_alloc_from(2);
    cr_assert_eq(options_open(&fault_allocator, &options), 0);
    cr_assert_eq(spw_options_set(options, "memory", "1G"), 0);
    cr_assert_eq(spw_options_load(options), 0);
    cr_assert_eq(fault_alloc_calls(), 2);
    spw_options_close(options);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* --- the environment --- */

static char *const *env(const char *const *entries)
{
    return (char *const *)entries;
}

Test(options, load)
{
    static const char *const entries[] = {"HOME=/",
                                          "SPILLWAY_MEMORY=1G",
                                          "SPILLWAYMEMORY=1",
                                          "SPILLWAY_ENGINE=threads",
                                          "SPILLWAY_DIRS=/a=b",
                                          NULL};
    spw_options *options = open_options();

    check_set(options, "seal", "strict", "strict");
    cr_assert_eq(options_load_from(options, env(entries)), 0);
    cr_assert_str_eq(spw_options_message(options), "");
    check_value(options, "memory", "1GiB", "environment");
    check_value(options, "engine", "threads", "environment");
    check_value(options, "dirs", "/a=b", "environment");
    check_value(options, "seal", "strict", "call");
    check_value(options, "tiers", "memory,disk", "default");
    check_set(options, "memory", "2G", "2GiB");
    spw_options_close(options);
}

Test(options, load_names_the_first_refused_and_reads_the_rest)
{
    static const char *const entries[] = {"SPILLWAY_SEAL=soft", "SPILLWAY_MEMORY=64Q",
                                          "SPILLWAY_MEMROY=1G", "SPILLWAY_THRESHOLD=1M", NULL};
    spw_options *options = open_options();

    cr_assert_eq(options_load_from(options, env(entries)), -EINVAL);
    cr_assert_eq(strncmp(spw_options_message(options), "SPILLWAY_MEMORY: '64Q' is not", 29), 0,
                 "%s", spw_options_message(options));
    check_value(options, "memory", "auto", "default");
    check_value(options, "threshold", "1MiB", "environment");
    check_value(options, "seal", "recycle", "default");
    spw_options_close(options);
}

Test(options, load_empty_value_is_unset)
{
    static const char *const entries[] = {
        "SPILLWAY_STRICT=on", "SPILLWAY_MEMORY=", "SPILLWAY_SEAL= \t", "SPILLWAY_MEMROY=", NULL};
    spw_options *options = open_options();

    check_set(options, "memory", "2G", "2GiB");
    cr_assert_eq(options_load_from(options, env(entries)), 0);
    cr_assert_str_eq(spw_options_message(options), "");
    check_value(options, "memory", "2GiB", "call");
    check_value(options, "seal", "recycle", "default");
    /* a call has to say what it means */
    cr_assert_eq(spw_options_set(options, "memory", ""), -EINVAL);
    spw_options_close(options);
}

Test(options, load_unknown_name)
{
    static const char *const entries[] = {"SPILLWAY_MEMROY=1G", "SPILLWAY_\x1b[2J=1",
                                          "SPILLWAY_TEST_SCALE=10", NULL};
    static const char *const strict_first[] = {"SPILLWAY_STRICT=on", "SPILLWAY_MEMROY=1G", NULL};
    static const char *const strict_last[] = {"SPILLWAY_MEMROY=1G", "SPILLWAY_STRICT=on", NULL};
    static const char *const strict_test[] = {"SPILLWAY_TEST_SCALE=1", "SPILLWAY_STRICT=on", NULL};
    static const char *const hostile[] = {"SPILLWAY_\x1b[2J\n=1", NULL};
    static const char *const no_sign[] = {"SPILLWAY_MEMORY", "SPILLWAY_", NULL};
    static const char *const wanted =
        "SPILLWAY_MEMROY is not a setting; the nearest is SPILLWAY_MEMORY";
    spw_options *options = open_options();

    cr_assert_eq(options_load_from(options, env(entries)), 0);
    cr_assert(strncmp(spw_options_message(options), wanted, strlen(wanted)) == 0);
    cr_assert_str_eq(spw_options_message(options) + strlen(wanted), "; 1 more is unknown");
    cr_assert_eq(options_load_from(options, env(hostile)), 0);
    cr_assert_null(strchr(spw_options_message(options), '\x1b'));
    cr_assert_null(strchr(spw_options_message(options), '\n'));
    cr_assert_eq(options_load_from(options, env(no_sign)), 0);
    cr_assert_eq(options_load_from(options, env(strict_last)), -EINVAL);
    cr_assert_str_eq(spw_options_message(options), wanted);
    spw_options_close(options);
    options = open_options();
    cr_assert_eq(options_load_from(options, env(strict_first)), -EINVAL);
    cr_assert_str_eq(spw_options_message(options), wanted);
    cr_assert_eq(options_load_from(options, env(strict_test)), 0);
    cr_assert_str_eq(spw_options_message(options), "");
    spw_options_close(options);
}

Test(options, load_long_unknown_name)
{
    char entry[5000];
    const char *entries[] = {entry, NULL};
    spw_options *options = open_options();

    memset(entry, 'X', sizeof(entry));
    memcpy(entry, "SPILLWAY_", 9);
    memcpy(entry + sizeof(entry) - 3, "=1", 3);
    cr_assert_eq(options_load_from(options, env(entries)), 0);
    cr_assert_lt(strlen(spw_options_message(options)), 200);
    cr_assert_gt(strlen(spw_options_message(options)), 0);
    spw_options_close(options);
}

Test(options, load_strict_rules_over_order)
{
    static const char *const entries[] = {"SPILLWAY_MEMORY=64MB", "SPILLWAY_STRICT=yes", NULL};
    static const char *const junk[] = {"SPILLWAY_STRICT=junk", "SPILLWAY_MEMROY=1", NULL};
    spw_options *options = open_options();

    cr_assert_eq(options_load_from(options, env(entries)), -EINVAL);
    cr_assert_not_null(strstr(spw_options_message(options), "SPILLWAY_MEMORY: '64MB'"));
    spw_options_close(options);
    options = open_options();
    cr_assert_eq(options_load_from(options, env(junk)), -EINVAL);
    cr_assert_eq(strncmp(spw_options_message(options), "SPILLWAY_STRICT: 'junk'", 23), 0);
    spw_options_close(options);
}

Test(options, load_real_environment)
{
    spw_options *options = open_options();

    cr_assert_eq(setenv("SPILLWAY_CHECKSUM", "all", 1), 0);
    cr_assert_eq(spw_options_load(options), 0, "%s", spw_options_message(options));
    check_value(options, "checksum", "all", "environment");
    /* what is gone from the environment keeps its last value */
    cr_assert_eq(clearenv(), 0);
    cr_assert_eq(spw_options_load(options), 0);
    check_value(options, "checksum", "all", "environment");
    spw_options_close(options);
}

/* --- settings --- */

Test(settings, defaults)
{
    spw_options *options = open_options();
    struct settings without, with;

    settings_read(NULL, &without);
    settings_read(options, &with);
    cr_assert_eq(memcmp(&without, &with, sizeof(with)), 0);
    cr_assert_eq(with.memory.bytes, SETTINGS_AUTO);
    cr_assert_eq(with.memory_tier.bytes, 0);
    cr_assert_eq(with.threshold.bytes, SETTINGS_AUTO);
    cr_assert_eq(with.disk_limit.bytes, SETTINGS_AUTO);
    cr_assert(with.tier_memory);
    cr_assert(with.tier_disk);
    cr_assert_str_eq(with.nodes, "local");
    cr_assert_eq(with.dir_count, 0);
    cr_assert_eq((int)with.engine, ENGINE_AUTO);
    cr_assert_eq((int)with.seal, SEAL_RECYCLE);
    cr_assert_eq((int)with.checksum, CHECKSUM_DISK);
    cr_assert_eq((int)with.huge_pages, HUGE_OFF);
    cr_assert_eq((int)with.log_level, SPILLWAY_LOG_WARN);
    cr_assert_not(with.mlock);
    cr_assert_not(with.strict);
    spw_options_close(options);
}

Test(settings, amount_of)
{
    struct amount automatic = {SETTINGS_AUTO, 0}, bytes = {4096, 0}, zero = {0, 0};
    struct amount third = {0, 33}, all = {0, 100}, least = {0, 1};

    cr_assert_eq(amount_of(automatic, 1000, 77), 77);
    cr_assert_eq(amount_of(bytes, 1000, 77), 4096);
    cr_assert_eq(amount_of(zero, 1000, 77), 0);
    cr_assert_eq(amount_of(third, 1000, 77), 330);
    cr_assert_eq(amount_of(third, 10, 77), 3);
    cr_assert_eq(amount_of(least, 99, 77), 0);
    cr_assert_eq(amount_of(all, UINT64_MAX, 77), UINT64_MAX);
    cr_assert_eq(amount_of(third, UINT64_MAX, 77), UINT64_C(6087425544324152032));
}
