/* SPDX-License-Identifier: MIT */
#include "series.h"

#include <stdlib.h>
#include <string.h>

enum { SUB_BITS = 4 };
_Static_assert(LATENCY_SUB == 1 << SUB_BITS, "buckets");

void series_add(struct series *series, double value)
{
    if (series->count < SERIES_MAX)
        series->values[series->count++] = value;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double series_median(const struct series *series)
{
    double sorted[SERIES_MAX];
    unsigned n = series->count;
    if (n == 0)
        return 0;
    memcpy(sorted, series->values, n * sizeof(sorted[0]));
    qsort(sorted, n, sizeof(sorted[0]), by_value);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double series_min(const struct series *series)
{
    double least = series->count ? series->values[0] : 0;
    for (unsigned i = 1; i < series->count; i++)
        least = series->values[i] < least ? series->values[i] : least;
    return least;
}

double series_max(const struct series *series)
{
    double most = series->count ? series->values[0] : 0;
    for (unsigned i = 1; i < series->count; i++)
        most = series->values[i] > most ? series->values[i] : most;
    return most;
}

void series_ratio(const struct series *a, const struct series *b, struct series *out)
{
    unsigned n = a->count < b->count ? a->count : b->count;
    struct series ratio = {.count = 0};
    for (unsigned i = 0; i < n; i++) {
        /* A pair whose divisor was not measured says nothing. */
        if (b->values[i] > 0 || b->values[i] < 0)
            series_add(&ratio, a->values[i] / b->values[i]);
    }
    *out = ratio;
}

/* Values below LATENCY_SUB have a bucket each; above, the first four bits behind the leading one
 * choose one of 16 in that power of two. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < LATENCY_SUB)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    unsigned sub = (unsigned)(ns >> (power - SUB_BITS)) & (LATENCY_SUB - 1);
    return (power - SUB_BITS + 1) * LATENCY_SUB + sub;
}

static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < LATENCY_SUB)
        return bucket;
    unsigned power = bucket / LATENCY_SUB + SUB_BITS - 1;
    uint64_t sub = bucket % LATENCY_SUB;
    uint64_t start = (UINT64_C(1) << power) + (sub << (power - SUB_BITS));
    return start + ((UINT64_C(1) << (power - SUB_BITS)) - 1);
}

void latency_add(struct latency *latency, uint64_t ns)
{
    latency->buckets[bucket_of(ns)]++;
    latency->count++;
    latency->sum_ns += ns;
    if (ns > latency->max_ns)
        latency->max_ns = ns;
}

void latency_join(struct latency *latency, const struct latency *other)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        latency->buckets[i] += other->buckets[i];
    latency->count += other->count;
    latency->sum_ns += other->sum_ns;
    if (other->max_ns > latency->max_ns)
        latency->max_ns = other->max_ns;
}

uint64_t latency_at(const struct latency *latency, double share)
{
    uint64_t seen = 0;
    double wanted = share * (double)latency->count;
    if (latency->count == 0)
        return 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency->buckets[i];
        if (latency->buckets[i] && (double)seen >= wanted)
            return bucket_end(i) < latency->max_ns ? bucket_end(i) : latency->max_ns;
    }
    return latency->max_ns;
}
