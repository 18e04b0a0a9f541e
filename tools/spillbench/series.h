/* SPDX-License-Identifier: MIT */
/* Repeated measurements of one figure: median, min, max; and latencies with percentiles. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_SERIES_H
#define SPILLWAY_TOOLS_SPILLBENCH_SERIES_H

#include <stddef.h>
#include <stdint.h>

enum { SERIES_MAX = 64 };

struct series {
    double values[SERIES_MAX];
    unsigned count;
};

void series_add(struct series *series, double value); /* the 65th and later are left out */
double series_median(const struct series *series);    /* 0 without values */
double series_min(const struct series *series);
double series_max(const struct series *series);

/* The series of a[i] / b[i]: what interleaved pairs are compared by. */
void series_ratio(const struct series *a, const struct series *b, struct series *out);

/* Log-linear buckets: 16 to a power of two, so a percentile is right to 6 %. */
enum { LATENCY_SUB = 16, LATENCY_BUCKETS = 64 * LATENCY_SUB };

struct latency {
    uint64_t buckets[LATENCY_BUCKETS];
    uint64_t count, max_ns, sum_ns;
};

void latency_add(struct latency *latency, uint64_t ns);
void latency_join(struct latency *latency, const struct latency *other);

/* The upper bound of the bucket in which that share (0 to 1) of all values lies; never above max.
 */
uint64_t latency_at(const struct latency *latency, double share);

#endif
