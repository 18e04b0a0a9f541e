/* SPDX-License-Identifier: MIT */
/*
 * Log2 histograms that any thread adds to and any thread looks at: four linear buckets a power of
 * two (see stats.h), so that no percentile is off by more than a quarter. Adding takes two relaxed
 * atomic additions, no lock and no system call.
 */
#ifndef SPILLWAY_LIB_HISTOGRAM_H
#define SPILLWAY_LIB_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "spillway/stats.h"

struct histogram {
    _Atomic uint64_t counts[SPILLWAY_HISTOGRAM_BUCKETS];
    _Atomic uint64_t highest;
    _Atomic uint64_t sum;
};

#define HISTOGRAM_MEMBER(name, help) struct histogram name;
struct histograms {
    SPILLWAY_HISTOGRAMS_TABLE(HISTOGRAM_MEMBER)
};

/* Values up to 3 have a bucket each; from 2^e on (e from 2) there are four of 2^(e-2) values. */
static inline unsigned histogram_bucket(uint64_t value)
{
    if (value < 4)
        return (unsigned)value;
    unsigned power = 63U - (unsigned)__builtin_clzll(value);
    unsigned bucket = (power - 1) * 4 + (unsigned)(value >> (power - 2) & 3);
    return bucket < SPILLWAY_HISTOGRAM_BUCKETS ? bucket : SPILLWAY_HISTOGRAM_BUCKETS - 1;
}

/* NULL: nobody keeps it. */
static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    if (!histogram)
        return;
    atomic_fetch_add_explicit(&histogram->counts[histogram_bucket(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
    uint64_t highest = atomic_load_explicit(&histogram->highest, memory_order_relaxed);
    while (value > highest &&
           !atomic_compare_exchange_weak_explicit(&histogram->highest, &highest, value,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* What was added so far; what others add meanwhile may be there or not. */
void histograms_copy(const struct histograms *histograms, spw_histograms *out);

#endif
