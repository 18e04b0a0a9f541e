/* SPDX-License-Identifier: MIT */
/*
 * Public structs that start with `size` and grow at the end. A program may have been built against
 * an older header than the library, or against a newer one: what one side has and the other does
 * not know is where they differ, and it is always the tail.
 */
#ifndef SPILLWAY_LIB_GROWABLE_H
#define SPILLWAY_LIB_GROWABLE_H

#include <stddef.h>

#include "spillway/spillway.h"

/* Where `member` ends: what a struct holds that has it as its last one. */
#define GROWABLE_END(type, member) (offsetof(type, member) + sizeof(((type *)NULL)->member))

/*
 * What each struct held when it first came. No caller can have less, so less is a mistake. These
 * never change: what is added later comes behind the member that is named here.
 */
enum {
    POOL_CONFIG_FIRST_BYTES = GROWABLE_END(spw_pool_config, allocator),
    QUEUE_OPTIONS_FIRST_BYTES = GROWABLE_END(spw_queue_options, allocator),
    THRESHOLD_CONFIG_FIRST_BYTES = GROWABLE_END(spw_threshold_config, allocator),
    PREFETCH_CONFIG_FIRST_BYTES = GROWABLE_END(spw_prefetch_config, allocator),
    COMPRESS_CONFIG_FIRST_BYTES = GROWABLE_END(spw_compress_config, allocator),
    PRESSURE_CONFIG_FIRST_BYTES = GROWABLE_END(spw_pressure_config, allocator),
    PERIODIC_CONFIG_FIRST_BYTES = GROWABLE_END(spw_periodic_config, allocator),
    ADAPTIVE_CONFIG_FIRST_BYTES = GROWABLE_END(spw_adaptive_config, allocator),
    MANUAL_CONFIG_FIRST_BYTES = GROWABLE_END(spw_manual_config, allocator),
    MOCK_CONFIG_FIRST_BYTES = GROWABLE_END(spw_mock_config, allocator),
    STATS_FIRST_BYTES = GROWABLE_END(spw_stats, syscalls_total),
    HISTOGRAMS_FIRST_BYTES = GROWABLE_END(spw_histograms, device_read_ns),
    QUEUE_INFO_FIRST_BYTES = GROWABLE_END(spw_queue_info, skipped_bytes_total),
    MOCK_INFO_FIRST_BYTES = GROWABLE_END(spw_mock_info, dropped_total),
    REST_FIRST_BYTES = GROWABLE_END(spw_rest, epoch_seen),
    GUIDANCE_FIRST_BYTES = GROWABLE_END(spw_guidance, spill_now),
    DECISION_FIRST_BYTES = GROWABLE_END(spw_decision, spill_bytes),
    OPTION_INFO_FIRST_BYTES = GROWABLE_END(spw_option_info, help),
};

/* No struct will ever be larger: a size above is a mistake, and nothing is read or written there.
 */
enum { GROWABLE_MAX_BYTES = 1 << 14 };

/* Returns 0, or -EINVAL when `struct_bytes` cannot be the size of a struct that first had so many.
 */
int growable_check(size_t struct_bytes, size_t first_bytes);

/*
 * Copies the caller's struct `from` to the library's own, `to`, of `to_bytes`. Where `from` ends
 * before, `to` keeps what it had: its defaults. The same for all of it when `from` is NULL. The
 * size in `to` is then `to_bytes`. Returns 0, or -EINVAL (and changes nothing): a size as above, or
 * something other than zero in what lies behind `to_bytes`, which would be ignored silently.
 */
int growable_read(const void *from, size_t first_bytes, void *to, size_t to_bytes);

/*
 * Copies the library's own struct `from`, of `from_bytes`, to the caller's `to`, as much as its
 * size holds, and sets that size to what was copied. What is left of `to` is zeroed. Returns 0, or
 * -EINVAL (and changes nothing): `to` is NULL, or a size as above.
 */
int growable_write(void *to, size_t first_bytes, const void *from, size_t from_bytes);

/* Whether an ops table has this optional member: its size reaches there, and it is not NULL. */
#define OPS_HAS(ops, member)                                                                       \
    ((ops)->size >= GROWABLE_END(__typeof__(*(ops)), member) && (ops)->member != NULL)

#endif
