/* SPDX-License-Identifier: MIT */
/* Repeated figures and latencies, as spillbench sums them up. */
#include <stdlib.h>
#include <string.h>

#include "../tools/spillbench/series.h"
#include "harness.h"

static struct series of(unsigned count, const double *values)
{
    struct series series = {.count = 0};
    for (unsigned i = 0; i < count; i++)
        series_add(&series, values[i]);
    return series;
}

static bool same(double a, double b)
{
    return !(a < b) && !(a > b);
}

Test(bench_series, nothing_is_zero)
{
    struct series none = {.count = 0};
    cr_assert(same(series_median(&none), 0));
    cr_assert(same(series_min(&none), 0));
    cr_assert(same(series_max(&none), 0));
}

Test(bench_series, median_min_max)
{
    const double odd[] = {5, -1, 3}, even[] = {4, 1, 3, 2};
    struct series series = of(3, odd);
    cr_assert(same(series_median(&series), 3));
    cr_assert(same(series_min(&series), -1));
    cr_assert(same(series_max(&series), 5));
    series = of(4, even);
    cr_assert(same(series_median(&series), 2.5));
    cr_assert(same(series.values[0], 4)); /* the order of measuring stays */
}

Test(bench_series, more_than_it_holds)
{
    struct series series = {.count = 0};
    for (unsigned i = 0; i < SERIES_MAX + 10; i++)
        series_add(&series, i);
    cr_assert_eq(series.count, (unsigned)SERIES_MAX);
    cr_assert(same(series_max(&series), SERIES_MAX - 1));
}

Test(bench_series, ratios_are_of_pairs)
{
    const double a[] = {10, 20, 30, 7}, b[] = {5, 0, 10};
    struct series left = of(4, a), right = of(3, b), out;
    series_ratio(&left, &right, &out);
    cr_assert_eq(out.count, 2); /* nothing is divided by 0, and the fourth has no partner */
    cr_assert(same(out.values[0], 2));
    cr_assert(same(out.values[1], 3));
    series_ratio(&left, &right, &left); /* in place */
    cr_assert_eq(left.count, 2);
}

/* ---- latencies ---- */

Test(bench_series, a_single_latency)
{
    static struct latency latency;
    for (uint64_t ns = 0; ns < UINT64_C(1) << 62; ns = ns * 3 / 2 + 1) {
        memset(&latency, 0, sizeof(latency));
        latency_add(&latency, ns);
        /* Never above the highest value, so a single one is exact. */
        cr_assert_eq(latency_at(&latency, 0.5), ns);
        cr_assert_eq(latency_at(&latency, 1), ns);
    }
    memset(&latency, 0, sizeof(latency));
    latency_add(&latency, UINT64_MAX);
    cr_assert_eq(latency_at(&latency, 1), UINT64_MAX);
}

Test(bench_series, percentiles_are_right_to_a_sixteenth)
{
    static struct latency latency;
    enum { COUNT = 100000 };
    for (uint64_t i = 1; i <= COUNT; i++)
        latency_add(&latency, i * 10);
    cr_assert_eq(latency.count, COUNT);
    cr_assert_eq(latency.max_ns, COUNT * 10);
    for (unsigned percent = 1; percent <= 100; percent++) {
        double truth = percent * (COUNT / 100) * 10.0;
        double told = (double)latency_at(&latency, percent / 100.0);
        cr_assert_geq(told, truth * 0.999);
        cr_assert_leq(told, truth * (1 + 1.0 / 16));
    }
    cr_assert_eq(latency_at(&latency, 1), COUNT * 10);
}

Test(bench_series, no_latency)
{
    static struct latency latency;
    cr_assert_eq(latency_at(&latency, 0.99), 0);
}

Test(bench_series, latencies_are_joined)
{
    static struct latency a, b;
    latency_add(&a, 5);
    latency_add(&b, 7);
    latency_add(&b, 1000000);
    latency_join(&a, &b);
    cr_assert_eq(a.count, 3);
    cr_assert_eq(a.sum_ns, 1000012);
    cr_assert_eq(a.max_ns, 1000000);
    cr_assert_eq(latency_at(&a, 0.3), 5);
    cr_assert_eq(latency_at(&a, 0.6), 7);
}
