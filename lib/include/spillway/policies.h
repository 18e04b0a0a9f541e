/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_POLICIES_H
#define SPILLWAY_POLICIES_H

#include "coder.h"
#include "options.h"
#include "policy.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A size that is computed when it is needed. */
#define SPILLWAY_AUTO UINT64_MAX

/**
 * The threshold policy, for a writer: when a queue's resident bytes exceed head
 * reserve + threshold (or the strategy is over its budget), it spills what lies past the head
 * reserve, never the last entry. What the strategy does not take stays resident.
 */
typedef struct spw_threshold_config {
    size_t size;                 /**< sizeof(spw_threshold_config) */
    uint64_t threshold_bytes;    /**< SPILLWAY_AUTO: as a regulator orders, else
                                      min(256 MiB, budget / 2n), n the open queues */
    uint64_t head_reserve_bytes; /**< SPILLWAY_AUTO: min(64 MiB, budget / 4n) */
    const spw_allocator *allocator;
} spw_threshold_config;

/**
 * Takes over `strategy` on success. `config` NULL: both sizes automatic (256 MiB and 64 MiB for a
 * strategy without a budget). Returns 0, -EINVAL (no strategy, or a size that this library does not
 * know) or -ENOMEM.
 */
SPILLWAY_API int spw_threshold_open(spw_strategy *strategy, const spw_threshold_config *config,
                                    spw_policy **out);

/**
 * The prefetch policy, for a reader. Synchronous handles within `budget_bytes` of
 * the head are fetched; asynchronous ones are started, and taken in up to the first that
 * is not loaded. A failed fetch puts the handle back and stops.
 */
typedef struct spw_prefetch_config {
    size_t size;           /**< sizeof(spw_prefetch_config) */
    uint64_t budget_bytes; /**< SPILLWAY_AUTO: as a regulator orders, else min(64 MiB, budget / 4n)
                              of `limits`, and what they leave free; 64 MiB without */
    /** Where automatic sizes come from; may be NULL; must outlive the policy. */
    void (*limits)(void *context, spw_limits *limits);
    void *limits_context;
    const spw_allocator *allocator;
} spw_prefetch_config;

/** `config` NULL: automatic. Returns 0, -EINVAL (a size that this library does not know) or
 * -ENOMEM. */
SPILLWAY_API int spw_prefetch_open(const spw_prefetch_config *config, spw_policy **out);

/**
 * The compress policy, for a pool: makes runs smaller with lz4 or zstd on their way to a tier,
 * where that is worth it. It chooses code and level, or none, by what is scarce: the room of the
 * tier, or the speed of the device.
 */
typedef struct spw_compress_config {
    size_t size;      /**< sizeof(spw_compress_config) */
    const char *mode; /**< as SPILLWAY_COMPRESS has it; NULL: "auto" */
    const spw_allocator *allocator;
} spw_compress_config;

/**
 * Makes a coder for spw_governor_attach_coder(), which takes it over. `config` NULL: automatic.
 * Returns 0, -EINVAL (no such mode, or a size that this library does not know), -ENOTSUP (the
 * library was built without the codec that the mode names, or without any) or -ENOMEM.
 */
SPILLWAY_API int spw_compress_open(const spw_compress_config *config, spw_coder **out);

/**
 * The usual pair for one queue over `strategy`: threshold for its writer, prefetch
 * for its reader, with sizes from `options` (NULL: automatic). Takes over
 * `strategy` on success. Returns 0, -EINVAL or -ENOMEM.
 */
SPILLWAY_API int spw_policies_open(spw_strategy *strategy, const spw_options *options,
                                   spw_policy **writer, spw_policy **reader);

#ifdef __cplusplus
}
#endif
#endif
