/* SPDX-License-Identifier: MIT */
/*
 * Epochs, and what rests on them. Who relies on something reads the epoch first, then looks, and
 * goes on relying for as long as the epoch reads the same; who changes it advances the epoch
 * afterwards. So a look that missed the change was made under an epoch that has passed.
 */
#ifndef SPILLWAY_LIB_EPOCH_H
#define SPILLWAY_LIB_EPOCH_H

#include <stdbool.h>

#include "spillway/policy.h"

/* Sequentially consistent, like the sums and the waiters of an account (account.h). */
static inline uint64_t epoch_read(const spw_epoch *epoch)
{
    return __atomic_load_n(&epoch->changes, __ATOMIC_SEQ_CST);
}

static inline void epoch_advance(spw_epoch *epoch)
{
    __atomic_fetch_add(&epoch->changes, 1, __ATOMIC_SEQ_CST);
}

/* Never advanced. */
extern const spw_epoch epoch_fixed;

/* For how long a policy, or where there is none a queue, need not look. */
struct rest {
    uint64_t resident_bytes; /* look once more are resident */
    size_t paged_entries;    /* or there are more handles */
    const spw_epoch *epoch;  /* or the epoch is another; not NULL */
    uint64_t epoch_seen;
};

/* Over at once. */
static inline struct rest rest_none(void)
{
    return (struct rest){UINT64_MAX, SIZE_MAX, &epoch_fixed, 1};
}

/* Never over. */
static inline struct rest rest_forever(void)
{
    return (struct rest){UINT64_MAX, SIZE_MAX, &epoch_fixed, 0};
}

static inline bool rest_holds(const struct rest *rest, uint64_t resident_bytes,
                              size_t paged_entries)
{
    return resident_bytes <= rest->resident_bytes && paged_entries <= rest->paged_entries &&
           epoch_read(rest->epoch) == rest->epoch_seen;
}

#endif
