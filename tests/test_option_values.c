/* SPDX-License-Identifier: MIT */
/* Every setting with valid, boundary, junk and overflowing values; and with made-up ones. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/options.h"
#include "fuzz_options.h"
#include "harness.h"
#include "queue_tools.h"

enum { VALUES_MAX = 12 };

#define HUGE_NUMBER "99999999999999999999999999"
/* One above what a signed 64-bit number of bytes can be. */
#define TOO_MANY_BYTES "9223372036854775808"
#define BYTES_JUNK     "1X", "-1", "0x10", "1 GiB", "1GiB!", "nan"

/* What is taken, and what it reads as; and what is not. */
struct taken {
    const char *text, *reads;
};
static const struct {
    const char *name;
    struct taken good[VALUES_MAX];
    const char *junk[VALUES_MAX];     /* of another kind */
    const char *overflow[VALUES_MAX]; /* too much, or just beyond the boundary */
} table[] = {
    {"memory",
     {{"auto", "auto"},
      {"64KiB", "64KiB"},
      {"1.5g", "1536MiB"},
      {"1%", "1%"},
      {"100%", "100%"},
      {"9223372036854775807", "9223372036854775807"}},
     {BYTES_JUNK, "off", "%", "50 %"},
     {"65535", "0", "0%", "101%", TOO_MANY_BYTES, HUGE_NUMBER, "8388608T"}},
    {"memory_tier",
     {{"off", "off"}, {"0", "off"}, {"1", "1"}, {"25%", "25%"}, {"2TiB", "2TiB"}},
     {BYTES_JUNK, "auto"},
     {"101%", TOO_MANY_BYTES, HUGE_NUMBER}},
    {"threshold",
     {{"auto", "auto"}, {"0", "0"}, {"1MiB", "1MiB"}, {"100%", "100%"}},
     {BYTES_JUNK, "off"},
     {"101%", TOO_MANY_BYTES, HUGE_NUMBER}},
    {"head_reserve",
     {{"auto", "auto"}, {"0", "0"}, {"1MiB", "1MiB"}, {"1%", "1%"}},
     {BYTES_JUNK, "off"},
     {"0%", "101%", TOO_MANY_BYTES, HUGE_NUMBER}},
    {"prefetch",
     {{"auto", "auto"}, {"off", "off"}, {"0", "off"}, {"32MiB", "32MiB"}},
     {BYTES_JUNK, "on"},
     {"101%", TOO_MANY_BYTES, HUGE_NUMBER}},
    {"tiers",
     {{"memory,disk", "memory,disk"},
      {"disk, memory", "memory,disk"},
      {"DISK", "disk"},
      {"none", "none"}},
     {"tape", "memory,", ",", "memory;disk", "none,disk"},
     {"disk,disk", "memory,disk,memory"}},
    {"nodes",
     {{"local", "local"},
      {"FAR", "far"},
      {"cpuless", "cpuless"},
      {"all", "all"},
      {"0", "0"},
      {"1023", "1023"},
      {"0-1,3", "0-1,3"},
      {"!0", "!0"},
      {"+0", "+0"}},
     {"near", "1,", "1-", "-1", "0x1", "1 2"},
     {"1024", "3-1", "0-1024", HUGE_NUMBER}},
    {"dirs",
     {{"auto", "auto"},
      {"/a", "/a"},
      {"/a:/b c", "/a:/b c"},
      {"1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16", "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16"}},
     {":", "/a:", "::", "/a\n/b"},
     {"/a:/a", "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17"}},
    {"disk_limit",
     {{"auto", "auto"}, {"64KiB", "64KiB"}, {"80%", "80%"}, {"10TiB", "10TiB"}},
     {BYTES_JUNK, "off"},
     {"65535", "101%", TOO_MANY_BYTES, HUGE_NUMBER}},
    {"engine",
     {{"auto", "auto"}, {"io_uring", "io_uring"}, {"Threads", "threads"}},
     {"uring", "aio", "0"},
     {"io_uring2", "threads,io_uring"}},
    {"depth",
     {{"auto", "auto"}, {"1", "1"}, {"64", "64"}, {"007", "7"}},
     {"-1", "1.5", "0x8", "eight", "8B"},
     {"0", "65", "4294967297", HUGE_NUMBER}},
    {"request",
     {{"auto", "auto"}, {"4KiB", "4KiB"}, {"1GiB", "1GiB"}, {"4096", "4KiB"}},
     {BYTES_JUNK, "off", "50%"},
     {"4095", "1073741825", "4GiB", HUGE_NUMBER}},
    {"seal",
     {{"recycle", "recycle"}, {"STRICT", "strict"}},
     {"none", "0", "on"},
     {"stricter", "recycle,strict"}},
    {"mlock",
     {{"on", "on"}, {"off", "off"}, {"1", "on"}, {"No", "off"}},
     {"maybe", "o", "-"},
     {"2", "01", "true!"}},
    {"huge_pages",
     {{"off", "off"}, {"on", "on"}, {"transparent", "transparent"}},
     {"thp", "2MiB", "yes"},
     {"ons", "on,transparent"}},
    {"checksum",
     {{"disk", "disk"}, {"all", "all"}, {"off", "off"}},
     {"crc", "on", "1"},
     {"disks", "disk,all"}},
    {"stats_page",
     {{"on", "on"}, {"off", "off"}, {"yes", "on"}, {"0", "off"}},
     {"maybe", "page", "-"},
     {"2", "00", "onn"}},
    {"control",
     {{"on", "on"}, {"off", "off"}, {"yes", "on"}, {"0", "off"}},
     {"maybe", "pipe", "-"},
     {"2", "00", "onn"}},
    {"log_level",
     {{"off", "off"},
      {"error", "error"},
      {"warning", "warning"},
      {"info", "info"},
      {"debug", "debug"}},
     {"warn!", "all", "3"},
     {"-1", "debugs"}},
    {"strict",
     {{"on", "on"}, {"off", "off"}, {"TRUE", "on"}, {"false", "off"}},
     {"very", "-", "o"},
     {"2", "11", "offf"}},
    {"timing",
     {{"auto", "auto"}, {"all", "all"}, {"off", "off"}},
     {"on", "1", "some"},
     {"alls", "auto,all"}},
    {"policies",
     {{"threshold,prefetch,pressure", "threshold,prefetch,pressure"},
      {"none", "none"},
      {"prefetch,threshold", "threshold,prefetch"},
      {"adaptive,compress", "adaptive,compress"}},
     {"magic", "threshold,", ",", "none,manual"},
     {"manual,manual", "threshold,prefetch,threshold"}},
    {"floor",
     {{"25%", "25%"}, {"64KiB", "64KiB"}, {"100%", "100%"}, {"1%", "1%"}},
     {BYTES_JUNK, "auto", "off"},
     {"65535", "0", "0%", "101%", TOO_MANY_BYTES, HUGE_NUMBER}},
    {"pressure",
     {{"auto", "auto"}, {"OFF", "off"}, {"/proc/pressure/memory", "/proc/pressure/memory"}},
     {"on", "pressure", "./x", "1"},
     {"auto,off", "off/"}},
    {"stall",
     {{"200ms/2s", "200ms/2s"},
      {"200ms", "200ms/2s"},
      {"1us/500ms", "1us/500ms"},
      {"10s/10s", "10s/10s"}},
     {"200", "/2s", "200ms/", "a/b", "1ms/1s/1s", "-1ms"},
     {"999ns", "3s", "500ms/499ms", "1ms/10001ms", "11s/11s", HUGE_NUMBER "s"}},
    {"period",
     {{"10s", "10s"}, {"10ms", "10ms"}, {"24h", "24h"}, {"1.5s", "1500ms"}},
     {"10", "s", "-1s", "1 s", "off"},
     {"9ms", "9999999ns", "25h", "86401s", HUGE_NUMBER "h"}},
    {"compress",
     {{"auto", "auto"},
      {"none", "none"},
      {"lz4", "lz4"},
      {"zstd:-7", "zstd:-7"},
      {"zstd:19", "zstd:19"},
      {"room", "room"},
      {"speed", "speed"}},
     {"gzip", "zstd:", "zstd:x", "lz4:1", ":3"},
     {"zstd:-8", "zstd:20", "zstd:" HUGE_NUMBER}},
    {"price",
     {{"100ms", "100ms"}, {"1ms", "1ms"}, {"1h", "1h"}, {"0.25s", "250ms"}},
     {"10", "s", "-1s", "1 s", "auto"},
     {"999us", "999999ns", "61min", "3601s", HUGE_NUMBER "h"}},
};
enum { ROWS = sizeof(table) / sizeof(table[0]) };
_Static_assert((unsigned)ROWS == (unsigned)OPTION_COUNT, "each setting has its values here");

static void is_refused(spw_options *options, const struct option_row *row, const char *text)
{
    static char value[SETTINGS_TEXT];
    const char *origin;

    snprintf(value, sizeof(value), "%s", spw_options_value(options, row->name, NULL));
    cr_assert_eq(spw_options_set(options, row->name, text), -EINVAL, "%s=%.60s is taken as %s",
                 row->variable, text, spw_options_value(options, row->name, NULL));
    cr_assert_str_eq(spw_options_value(options, row->name, &origin), value);
    cr_assert(strstr(spw_options_message(options), row->allowed) != NULL,
              "%s: what is allowed is not said", row->variable);
}

Test(option_values, valid_junk_and_overflow)
{
    static char long_text[SETTINGS_TEXT + 2];
    spw_options *options;

    memset(long_text, '1', sizeof(long_text) - 1);
    cr_assert_eq(spw_options_open(&options), 0);
    for (unsigned i = 0; i < ROWS; i++) {
        const struct option_row *row = options_find(table[i].name);

        cr_assert_not_null(row, "%s", table[i].name);
        cr_assert_eq(row, &option_rows[i], "%s: in another order", table[i].name);
        for (unsigned j = 0; table[i].good[j].text != NULL; j++) {
            cr_assert_eq(spw_options_set(options, row->name, table[i].good[j].text), 0, "%s",
                         spw_options_message(options));
            cr_assert_str_eq(spw_options_value(options, row->name, NULL), table[i].good[j].reads,
                             "%s=%s reads %s", row->name, table[i].good[j].text,
                             spw_options_value(options, row->name, NULL));
        }
        cr_assert(table[i].good[1].text && table[i].junk[0] && table[i].overflow[0]);
        for (unsigned j = 0; j < VALUES_MAX && table[i].junk[j] != NULL; j++)
            is_refused(options, row, table[i].junk[j]);
        for (unsigned j = 0; j < VALUES_MAX && table[i].overflow[j] != NULL; j++)
            is_refused(options, row, table[i].overflow[j]);
        is_refused(options, row, "");
        is_refused(options, row, " \t");
        is_refused(options, row, "\x01");
        is_refused(options, row, long_text);
        cr_assert_eq(spw_options_set(options, row->name, row->fallback), 0);
    }
    spw_options_close(options);
}

/* ---- made-up ones ---- */

enum { SEEDS_MAX = 64, MUTANT_BYTES = 512, MUTANTS = 20000 };

static struct {
    uint8_t data[MUTANT_BYTES];
    size_t len;
} seeds[SEEDS_MAX];
static size_t seed_count;

static void read_corpus(const char *directory)
{
    DIR *list = opendir(directory);
    struct dirent *entry;

    while (list != NULL && seed_count < SEEDS_MAX && (entry = readdir(list)) != NULL) {
        char path[512];
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        file = fopen(path, "rb");
        cr_assert_not_null(file);
        seeds[seed_count].len = fread(seeds[seed_count].data, 1, MUTANT_BYTES, file);
        fclose(file);
        seed_count++;
    }
    if (list != NULL)
        closedir(list);
}

static size_t mutate(struct random *random, uint8_t *data, size_t len)
{
    static const char letters[] = "0123456789-+,:/%. \n=KMGTiBsmunhautofdxSPILWAY_\0\xff\xc2\x80";
    size_t at = random_below(random, len + 1), n = 1 + random_below(random, 8);

    switch (random_below(random, 4)) {
    case 0:
        if (at < len)
            data[at] = (uint8_t)letters[random_below(random, sizeof(letters))];
        return len;
    case 1:
        return at;
    case 2:
        n = n > len - at ? len - at : n;
        memmove(data + at, data + at + n, len - at - n);
        return len - n;
    default:
        n = n > len - at ? len - at : n;
        if (len + n > MUTANT_BYTES)
            return len;
        memmove(data + at + n, data + at, len - at);
        return len + n;
    }
}

/* What a fuzzer does for longer: what fuzz_options.c says holds for anything. */
Test(option_values, mutants)
{
    struct random random = random_open("option mutants");
    uint64_t count = test_scaled(MUTANTS);

    read_corpus("tests/fuzz/corpus/options");
    if (seed_count == 0)
        test_skip("not at the top of the sources: no tests/fuzz/corpus/options here");
    for (uint64_t i = 0; i < count; i++) {
        uint8_t data[MUTANT_BYTES];
        size_t seed = i < seed_count ? i : random_below(&random, seed_count);
        size_t len = seeds[seed].len;
        uint64_t changes = i < seed_count ? 0 : 1 + random_below(&random, 6);
        const char *wrong;

        memcpy(data, seeds[seed].data, len);
        while (changes-- > 0)
            len = mutate(&random, data, len);
        wrong = fuzz_options(data, len);
        cr_assert_null(wrong, "%s: \"%.*s\"", wrong, (int)len, (const char *)data);
    }
}
