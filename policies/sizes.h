/* SPDX-License-Identifier: MIT */
/*
 * The scaled defaults: with a budget B and n queues, head reserve = min(64 MiB,
 * B/4n) and threshold = min(256 MiB, B/2n); without a budget the seed's own values.
 */
#ifndef SPILLWAY_POLICIES_SIZES_H
#define SPILLWAY_POLICIES_SIZES_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/growable.h"
#include "spillway/strategy.h"

#define HEAD_RESERVE_MAX_BYTES (UINT64_C(64) << 20)
#define THRESHOLD_MAX_BYTES    (UINT64_C(256) << 20)

/* What the strategy says of itself; no limits where it says nothing. */
static inline spw_limits limits_of(spw_strategy *strategy)
{
    spw_limits limits = {.size = sizeof(limits), .queues = 1};
    if (OPS_HAS(strategy->ops, limits))
        strategy->ops->limits(strategy, &limits);
    return limits;
}

/* A size, or what was set in its place since, for a policy that follows that. */
static inline uint64_t size_now(uint64_t own_bytes, uint64_t follows, const spw_limits *limits,
                                uint64_t bit, uint64_t set_bytes)
{
    return (limits->set & follows & bit) != 0 ? set_bytes : own_bytes;
}

static inline uint64_t scaled(const spw_limits *limits, unsigned part, uint64_t max_bytes)
{
    if (limits->budget_bytes == 0)
        return max_bytes;
    uint64_t queues = limits->queues > 0 ? limits->queues : 1;
    uint64_t share = limits->budget_bytes / part / queues;
    return share < max_bytes ? share : max_bytes;
}

static inline uint64_t scaled_head_reserve(const spw_limits *limits)
{
    return scaled(limits, 4, HEAD_RESERVE_MAX_BYTES);
}

static inline uint64_t scaled_threshold(const spw_limits *limits)
{
    return limits->threshold_bytes > 0 ? limits->threshold_bytes
                                       : scaled(limits, 2, THRESHOLD_MAX_BYTES);
}

#endif
