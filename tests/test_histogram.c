/* SPDX-License-Identifier: MIT */
/* Histograms: which bucket takes what, percentiles, many threads at once, and as text. */
#include "../lib/histogram.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "harness.h"

enum { BUCKETS = SPILLWAY_HISTOGRAM_BUCKETS };

/* --- buckets --- */

Test(histogram, small_values_have_a_bucket_each)
{
    for (unsigned value = 0; value < 8; value++) {
        cr_assert_eq(histogram_bucket(value), value);
        cr_assert_eq(spw_histogram_bound(value), value);
    }
}

Test(histogram, buckets_lie_side_by_side)
{
    for (unsigned i = 0; i + 1 < BUCKETS; i++) {
        uint64_t bound = spw_histogram_bound(i);
        cr_assert_eq(histogram_bucket(bound), i, "%u", i);
        cr_assert_eq(histogram_bucket(bound + 1), i + 1, "%u", i);
    }
    cr_assert_eq(spw_histogram_bound(BUCKETS - 1), UINT64_MAX);
    cr_assert_eq(spw_histogram_bound(BUCKETS), UINT64_MAX);
    cr_assert_eq(spw_histogram_bound(UINT32_MAX), UINT64_MAX);
    cr_assert_eq(histogram_bucket(UINT64_MAX), BUCKETS - 1);
    cr_assert_eq(histogram_bucket(UINT64_C(1) << 33), BUCKETS - 1);
}

/* What the header promises: never too low, and at most a quarter too high. */
Test(histogram, a_bound_is_at_most_a_quarter_above)
{
    for (uint64_t value = 1; value < spw_histogram_bound(BUCKETS - 2); value += 1 + value / 77) {
        uint64_t bound = spw_histogram_bound(histogram_bucket(value));
        cr_assert_geq(bound, value);
        cr_assert_leq(bound - value, value / 4);
    }
    cr_assert_gt(spw_histogram_bound(BUCKETS - 2), UINT64_C(7500000000));
}

/* --- percentiles --- */

static spw_histogram snapshot(const struct histogram *histogram)
{
    static struct histograms all;
    spw_histograms out;
    memset(&all, 0, sizeof(all));
    memcpy(&all.drain_ns, histogram, sizeof(*histogram));
    histograms_copy(&all, &out);
    cr_assert_eq(spw_histogram_count(&out.extend_ns), 0);
    return out.drain_ns;
}

Test(histogram, empty_has_no_percentile)
{
    spw_histogram empty = {0};
    cr_assert_eq(spw_histogram_count(&empty), 0);
    cr_assert_eq(spw_histogram_percentile(&empty, 0), 0);
    cr_assert_eq(spw_histogram_percentile(&empty, 50), 0);
    cr_assert_eq(spw_histogram_percentile(&empty, 100), 0);
    histogram_add(NULL, 5); /* nobody keeps it */
}

Test(histogram, percentiles)
{
    struct histogram histogram = {0};
    for (uint64_t value = 1; value <= 1000; value++)
        histogram_add(&histogram, value);
    spw_histogram seen = snapshot(&histogram);
    cr_assert_eq(spw_histogram_count(&seen), 1000);
    cr_assert_eq(seen.highest, 1000);
    cr_assert_eq(spw_histogram_percentile(&seen, 0), 1);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t value = spw_histogram_percentile(&seen, percent), exact = percent * 10;
        cr_assert_geq(value, exact, "%u", percent);
        cr_assert_leq(value, exact + exact / 4, "%u", percent);
    }
    cr_assert_eq(spw_histogram_percentile(&seen, 100), 1000, "never above the highest");
    cr_assert_eq(spw_histogram_percentile(&seen, 200), 1000);
    cr_assert_eq(spw_histogram_percentile(&seen, -1), 1);
}

Test(histogram, rare_values_show_at_the_end_only)
{
    struct histogram histogram = {0};
    for (unsigned i = 0; i < 999; i++)
        histogram_add(&histogram, 100);
    histogram_add(&histogram, UINT64_C(1) << 40); /* beyond all buckets */
    spw_histogram seen = snapshot(&histogram);
    cr_assert_eq(spw_histogram_percentile(&seen, 99.9), 111);
    cr_assert_eq(spw_histogram_percentile(&seen, 99.95), UINT64_C(1) << 40);
    /* One that was counted and is not yet the highest. */
    seen.highest = 100;
    cr_assert_eq(spw_histogram_percentile(&seen, 100), UINT64_C(7) << 30);
    cr_assert_eq(seen.counts[BUCKETS - 1], 1);
}

/* --- threads --- */

enum { ADDERS = 4, ADDED = 50000 };

static void *add_many(void *argument)
{
    struct histogram *histogram = argument;
    for (uint64_t i = 0; i < ADDED; i++)
        histogram_add(histogram, i * 997 % 65536);
    return NULL;
}

Test(histogram, threads_lose_no_count)
{
    static struct histogram together, alone;
    pthread_t threads[ADDERS];
    for (unsigned i = 0; i < ADDERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, add_many, &together), 0);
    for (unsigned i = 0; i < ADDERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    (void)add_many(&alone);
    spw_histogram all = snapshot(&together), one = snapshot(&alone);
    cr_assert_eq(all.highest, one.highest);
    for (unsigned i = 0; i < BUCKETS; i++)
        cr_assert_eq(all.counts[i], ADDERS * one.counts[i]);
}

/* --- as text --- */

static void fill(spw_histograms *histograms, uint64_t count)
{
    memset(histograms, 0, sizeof(*histograms));
    histograms->size = sizeof(*histograms);
#define HISTOGRAM_FILL(name, help)                                                                 \
    for (unsigned i = 0; i < BUCKETS; i++)                                                         \
        histograms->name.counts[i] = count;                                                        \
    histograms->name.highest = count ? UINT64_MAX : 0;
    SPILLWAY_HISTOGRAMS_TABLE(HISTOGRAM_FILL)
#undef HISTOGRAM_FILL
}

Test(histogram, json)
{
    char json[48 << 10];
    spw_histograms histograms;
    fill(&histograms, 0);
    histograms.drain_ns.counts[2] = 3;
    histograms.drain_ns.counts[9] = 1;
    histograms.drain_ns.highest = 11;
    long len = spw_report_json(NULL, &histograms, json, sizeof(json));
    cr_assert_gt(len, 0);
    cr_assert_eq((size_t)len, strlen(json));
    cr_assert_not_null(strstr(json, "\"drain_ns\":{\"count\":4,\"highest\":11,\"p50\":2,\"p90\":11,"
                                    "\"p99\":11,\"p99_9\":11,\"buckets\":[[2,3],[11,1]]}"),
                       "%s", json);
#define HISTOGRAM_NAMED(name, help) cr_assert_not_null(strstr(json, "\"" #name "\":{\"count\":"));
    SPILLWAY_HISTOGRAMS_TABLE(HISTOGRAM_NAMED)
#undef HISTOGRAM_NAMED
    cr_assert_not_null(strstr(json, "\"device_read_ns\":{\"count\":0,\"highest\":0,\"p50\":0,"
                                    "\"p90\":0,\"p99\":0,\"p99_9\":0,\"buckets\":[]}}}"));
    cr_assert_not_null(strstr(json, ",\"histograms\":{\"extend_ns\":{"));
    cr_assert_eq(strncmp(json, "{\"schema\":", 10), 0);
}

Test(histogram, json_is_the_stats_and_more)
{
    char json[48 << 10], stats_only[8192], twice[8192];
    spw_stats stats = {.size = sizeof(stats), .engine = "threads", .used_bytes = 5};
    spw_histograms histograms;
    fill(&histograms, 0);
    long stats_len = spw_stats_json(&stats, stats_only, sizeof(stats_only));
    cr_assert_gt(stats_len, 0);
    cr_assert_eq(spw_report_json(&stats, NULL, twice, sizeof(twice)), stats_len);
    cr_assert_str_eq(twice, stats_only);
    cr_assert_gt(spw_report_json(&stats, &histograms, json, sizeof(json)), stats_len);
    cr_assert_eq(memcmp(json, stats_only, (size_t)stats_len - 1), 0);
    cr_assert_not_null(strstr(json, ",\"fallbacks\":\"\",\"histograms\":{"));
}

Test(histogram, json_fits_where_the_header_says)
{
    char json[48 << 10];
    spw_stats stats = {.size = sizeof(stats)};
    spw_histograms histograms;
    fill(&histograms, UINT64_MAX);
    memset(stats.fallbacks, '\x01', sizeof(stats.fallbacks));
    long len = spw_report_json(&stats, &histograms, json, sizeof(json));
    cr_assert_gt(len, 0);
    json[len] = 0x55;
    cr_assert_eq(spw_report_json(&stats, &histograms, json, (size_t)len), -ENOSPC);
    cr_assert_eq(json[len], 0x55);
    cr_assert_eq(spw_report_json(&stats, &histograms, NULL, 0), -ENOSPC);
}

Test(histogram, json_of_other_sizes)
{
    char json[48 << 10];
    spw_histograms histograms;
    fill(&histograms, 1);
    cr_assert_eq(spw_report_json(NULL, NULL, json, sizeof(json)), -EINVAL);
    cr_assert_eq(spw_report_json(NULL, &histograms, NULL, 10), -EINVAL);
    const size_t bad[] = {0, offsetof(spw_histograms, device_read_ns), SIZE_MAX};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        histograms.size = bad[i];
        cr_assert_eq(spw_report_json(NULL, &histograms, json, sizeof(json)), -EINVAL);
    }
}
