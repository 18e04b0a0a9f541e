/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_MOCK_H
#define SPILLWAY_MOCK_H

#include "strategy.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A strategy that keeps everything in memory, for testing policies and services:
 * it can be synchronous or asynchronous, and told to refuse, delay and fail.
 */
typedef struct spw_mock spw_mock;

typedef struct spw_mock_config {
    size_t size;                    /**< sizeof(spw_mock_config) */
    int asynchronous;               /**< handles load only when spw_mock_load() says so */
    size_t chunks_per_handle;       /**< 0 means 1, as the seed's mock */
    size_t max_chunks_per_spill;    /**< a spill stops after so many; 0: no limit */
    uint64_t budget_bytes;          /**< reported as limits.budget_bytes */
    const spw_allocator *allocator; /**< NULL: malloc */
} spw_mock_config;

/** Opens a mock; `config` may be NULL (synchronous). Returns 0, -EINVAL (a size that this library
 * does not know) or -ENOMEM. */
SPILLWAY_API int spw_mock_open(const spw_mock_config *config, spw_mock **out);

/** Drops the opener's reference; strategies and handles keep the mock alive. NULL is harmless. */
SPILLWAY_API void spw_mock_close(spw_mock *mock);

/** A strategy over the mock, for one queue. Returns 0 or -ENOMEM. */
SPILLWAY_API int spw_mock_strategy(spw_mock *mock, spw_strategy **out);

/** The next `times` spills take nothing and return `err`. */
SPILLWAY_API void spw_mock_fail_spill(spw_mock *mock, int err, unsigned times);

/** The next `times` fetches of any handle fail with `err`. */
SPILLWAY_API void spw_mock_fail_fetch(spw_mock *mock, int err, unsigned times);

/** Asynchronous: finishes up to `count` started prefetches, oldest first; returns how many. */
SPILLWAY_API size_t spw_mock_load(spw_mock *mock, size_t count);

typedef struct spw_mock_info {
    size_t size;            /**< sizeof(spw_mock_info); set to what was filled in */
    size_t handles;         /**< live */
    uint64_t bytes;         /**< held for them */
    size_t pending;         /**< prefetches started and not loaded */
    uint64_t spills_total;  /**< calls of spill */
    uint64_t chunks_total;  /**< chunks taken */
    uint64_t fetches_total; /**< successful */
    uint64_t dropped_total; /**< handles dropped unread */
} spw_mock_info;

/** Returns 0 or -EINVAL (a size that this library does not know). */
SPILLWAY_API int spw_mock_info_get(const spw_mock *mock, spw_mock_info *info);

#ifdef __cplusplus
}
#endif
#endif
