/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../lib/growable.h"
#include "harness.h"
#include "spillway/stats.h"
#include "spillway/version.h"

static spw_stats full_stats(uint64_t first)
{
    spw_stats stats;

    memset(&stats, 0, sizeof(stats));
    stats.size = sizeof(stats);
#define STATS_SET(name, kind, help) stats.name = first++;
    SPILLWAY_STATS_TABLE(STATS_SET)
#undef STATS_SET
    (void)snprintf(stats.engine, sizeof(stats.engine), "threads");
    (void)snprintf(stats.seal_mode, sizeof(stats.seal_mode), "recycle");
    return stats;
}

/* A strict reader of one flat object of numbers and strings; returns how many members it has, or
 * -1. */
static const char *read_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
            return NULL;
        if (*at != '\\')
            continue;
        at++;
        if (*at == 'u') {
            if (strspn(at + 1, "0123456789abcdef") < 4)
                return NULL;
            at += 4;
        } else if (*at != '"' && *at != '\\') {
            return NULL;
        }
    }
    return at + 1;
}

static int json_members(const char *at)
{
    int members = 0;

    if (*at++ != '{')
        return -1;
    for (;; at++) {
        at = read_string(at);
        if (at == NULL || *at++ != ':')
            return -1;
        if (*at == '"') {
            at = read_string(at);
            if (at == NULL)
                return -1;
        } else {
            size_t digits = strspn(at, "0123456789");

            if (digits == 0)
                return -1;
            at += digits;
        }
        members++;
        if (*at == '}')
            return at[1] == '\0' ? members : -1;
        if (*at != ',')
            return -1;
    }
}

Test(stats, json_holds_every_field)
{
    spw_stats stats = full_stats(1000);
    uint64_t value = 1000;
    int fields = 0;
    char json[8192], wanted[128];
    long len = spw_stats_json(&stats, json, sizeof(json));

    cr_assert_gt(len, 0);
    cr_assert_eq((size_t)len, strlen(json));
#define STATS_CHECK(name, kind, help)                                                              \
    (void)snprintf(wanted, sizeof(wanted), ",\"%s\":%" PRIu64 ",", #name, value++);                \
    cr_assert_not_null(strstr(json, wanted), "%s", wanted);                                        \
    fields++;
    SPILLWAY_STATS_TABLE(STATS_CHECK)
#undef STATS_CHECK
    cr_assert_not_null(strstr(json, ",\"engine\":\"threads\""));
    cr_assert_not_null(strstr(json, ",\"seal_mode\":\"recycle\""));
    cr_assert_not_null(strstr(json, ",\"fallbacks\":\"\"}"));
    cr_assert_not_null(strstr(json, "{\"schema\":1,"));
    (void)snprintf(wanted, sizeof(wanted), "\"version\":\"%s\"", spw_version_text());
    cr_assert_not_null(strstr(json, wanted));
    cr_assert_eq(json_members(json), fields + 5);
}

Test(stats, json_fits_where_the_header_says)
{
    spw_stats stats = full_stats(UINT64_MAX - 1000);
    char json[8192];

    memset(stats.engine, '\x01', sizeof(stats.engine));
    memset(stats.seal_mode, '\x01', sizeof(stats.seal_mode));
    memset(stats.fallbacks, '\x01', sizeof(stats.fallbacks));
    cr_assert_gt(spw_stats_json(&stats, json, sizeof(json)), 0);
    cr_assert_gt(json_members(json), 0);
}

Test(stats, json_escapes)
{
    spw_stats stats = full_stats(0);
    char json[8192];

    (void)snprintf(stats.fallbacks, sizeof(stats.fallbacks),
                   "a\"b\\c\nd\xff"
                   "e\x7f");
    /* filled to the end, without a NUL */
    memset(stats.engine, 'e', sizeof(stats.engine));
    cr_assert_gt(spw_stats_json(&stats, json, sizeof(json)), 0);
    cr_assert_not_null(strstr(json, "\"fallbacks\":\"a\\\"b\\\\c\\u000ad\\ufffde\\u007f\"}"));
    cr_assert_not_null(strstr(json, "\"engine\":\"eeeeeeeeeeeeeeee\","));
    cr_assert_gt(json_members(json), 0);
}

Test(stats, json_does_not_fit)
{
    spw_stats stats = full_stats(7);
    char json[8192], small[8192];
    long len = spw_stats_json(&stats, json, sizeof(json));
    size_t capacity;

    cr_assert_gt(len, 0);
    cr_assert_eq(spw_stats_json(&stats, small, (size_t)len + 1), len);
    cr_assert_str_eq(small, json);
    for (capacity = 0; capacity <= (size_t)len; capacity++) {
        small[capacity] = 0x55;
        cr_assert_eq(spw_stats_json(&stats, small, capacity), -ENOSPC, "%zu", capacity);
        cr_assert_eq(small[capacity], 0x55, "%zu", capacity);
    }
    cr_assert_eq(spw_stats_json(&stats, NULL, 0), -ENOSPC);
}

Test(stats, json_refuses)
{
    spw_stats stats = full_stats(7);
    char json[8192];

    cr_assert_eq(spw_stats_json(NULL, json, sizeof(json)), -EINVAL);
    cr_assert_eq(spw_stats_json(&stats, NULL, 10), -EINVAL);
    stats.size = STATS_FIRST_BYTES - 1;
    cr_assert_eq(spw_stats_json(&stats, json, sizeof(json)), -EINVAL);
    stats.size = 0;
    cr_assert_eq(spw_stats_json(&stats, json, sizeof(json)), -EINVAL);
}

/* Counters end in _total, and only they. */
static void check_row(const char *name, const char *kind, const char *help)
{
    size_t len = strlen(name);
    bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;

    cr_assert(strcmp(kind, total ? "counter" : "gauge") == 0, "%s", name);
    cr_assert_gt(strlen(help), 0, "%s", name);
    cr_assert_null(strchr(help, '\n'), "%s", name);
}

Test(stats, table_is_well_formed)
{
    static const char *const names[] = {
#define STATS_NAME(name, kind, help) #name,
        SPILLWAY_STATS_TABLE(STATS_NAME)
#undef STATS_NAME
    };
    size_t count = sizeof(names) / sizeof(names[0]), i, j;

    for (i = 0; i < count; i++) {
        for (j = 0; j < i; j++)
            cr_assert_neq(strcmp(names[i], names[j]), 0, "%s twice", names[i]);
    }
#define STATS_KIND(name, kind, help) check_row(#name, #kind, help);
    SPILLWAY_STATS_TABLE(STATS_KIND)
#undef STATS_KIND
}
