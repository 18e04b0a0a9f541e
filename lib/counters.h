/* SPDX-License-Identifier: MIT */
/*
 * What a pool counts, live: one place for each row of the table in stats.h, counters and gauges
 * alike, changed in place by whoever knows. Relaxed, unless somebody waits for a sum. Sums that may
 * fall below zero for a moment wrap there: read them with counters_sum().
 */
#ifndef SPILLWAY_LIB_COUNTERS_H
#define SPILLWAY_LIB_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "spillway/stats.h"

#define COUNTERS_PLACE(name, kind, help) _Atomic uint64_t name;
struct counters {
    SPILLWAY_STATS_TABLE(COUNTERS_PLACE)
};

/* A sum as it is told: never less than 0. */
static inline uint64_t counters_sum(uint64_t value)
{
    return value <= INT64_MAX ? value : 0;
}

static inline void counters_raise(_Atomic uint64_t *highest, uint64_t value)
{
    uint64_t so_far = atomic_load_explicit(highest, memory_order_relaxed);
    while (value > so_far &&
           !atomic_compare_exchange_weak_explicit(highest, &so_far, value, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

#endif
