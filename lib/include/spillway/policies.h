/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_POLICIES_H
#define SPILLWAY_POLICIES_H

#include "governor.h"
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
    /** Of SPILLWAY_SET_THRESHOLD and SPILLWAY_SET_HEAD_RESERVE: sizes in whose place is taken what
     * is set for the strategy's pool later, by spw_pool_set(). */
    uint64_t follows;
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
    uint64_t
        follows; /**< SPILLWAY_SET_PREFETCH: what `limits` say was set later is taken instead */
} spw_prefetch_config;

/** `config` NULL: automatic. Returns 0, -EINVAL (a size that this library does not know) or
 * -ENOMEM. */
SPILLWAY_API int spw_prefetch_open(const spw_prefetch_config *config, spw_policy **out);

/*
 * Policies for a whole pool (governor.h): give each to spw_governor_attach(), which owns it from
 * then on. A pool has at most one of each.
 */

/**
 * The pressure policy: on memory pressure, as the kernel reports it (PSI) or whoever watches it for
 * us, the budget goes down at once, to a floor at least; warm memory goes back to the kernel and
 * runs are spilled until the use fits. Without pressure it comes back in steps, whole within 30 s.
 * While tasks wait for the disk much more than for memory, nothing goes to disk that the budget
 * does not demand. Where there is no word of pressure the policy does nothing, and says so in its
 * first decision (spw_pool_decisions()).
 */
typedef struct spw_pressure_config {
    size_t size; /**< sizeof(spw_pressure_config) */
    /**
     * The whole path of a pressure file, FIFO or stream socket; "off"; or "auto" or NULL: what
     * MEMORY_PRESSURE_WATCH and MEMORY_PRESSURE_WRITE say (not in a set-uid program), the own
     * cgroup's memory.pressure, /proc/pressure/memory, in this order. Copied.
     */
    const char *source;
    uint64_t floor_bytes;   /**< SPILLWAY_AUTO: the next */
    unsigned floor_percent; /**< of the budget that was set, up to 100; 0: 25 */
    int strict;             /**< less than was asked for is an error, not a fallback */
    /** Pressure is that some task waited for memory for so long within the window; 0: 200 ms, 2 s.
     * Where the kernel allows only windows of whole 2 s, both grow in proportion. */
    uint64_t stall_ns;
    uint64_t window_ns;
    const spw_allocator *allocator;
} spw_pressure_config;

/**
 * `config` NULL: all of it automatic. Returns 0, -EINVAL (a size that this library does not know, a
 * share above 100, a stall longer than its window), -ENOMEM, -EMFILE or -ENFILE; -EOPNOTSUPP with
 * `strict`: a path from outside cannot be used, or there is no word of pressure although it was not
 * turned off.
 */
SPILLWAY_API int spw_pressure_open(const spw_pressure_config *config, spw_regulator **out);

/**
 * The periodic policy: every period, while something is in use, what has been resident for
 * longer than that is spilled, and memory that became free through it goes back to the kernel.
 */
typedef struct spw_periodic_config {
    size_t size;        /**< sizeof(spw_periodic_config) */
    uint64_t period_ns; /**< 0: 10 s */
    const spw_allocator *allocator;
} spw_periodic_config;

/** `config` NULL: automatic. Returns 0, -EINVAL (a size that this library does not know) or
 * -ENOMEM. */
SPILLWAY_API int spw_periodic_open(const spw_periodic_config *config, spw_regulator **out);

/**
 * The manual policy: nothing goes until somebody asks for it, by spw_manual_spill() or by a number
 * that is written to the descriptor. Then warm memory goes back to the kernel and runs are
 * spilled, what is needed last first, until so much less is in use. What is asked for meanwhile
 * adds up.
 */
typedef struct spw_manual_config {
    size_t size; /**< sizeof(spw_manual_config) */
    const spw_allocator *allocator;
} spw_manual_config;

/** `config` may be NULL. Returns 0, -EINVAL (a size that this library does not know), -ENOMEM,
 * -EMFILE or -ENFILE. */
SPILLWAY_API int spw_manual_open(const spw_manual_config *config, spw_regulator **out);

/** All of it, as a number of MiB for the descriptor. */
#define SPILLWAY_MANUAL_ALL (UINT64_C(1) << 40)

/**
 * An event descriptor: write(2) to it a uint64_t, how many MiB are to go, or SPILLWAY_MANUAL_ALL. A
 * signal handler may do that. It is the policy's own, and closed with it; duplicate it to keep it.
 * `regulator` NULL, or one that is not of the manual policy: -EINVAL.
 */
SPILLWAY_API int spw_manual_fd(const spw_regulator *regulator);

/**
 * Asks for so many bytes (rounded up to MiB; UINT64_MAX: all) to go, and does not wait. Any thread,
 * also in a signal handler, while the policy lives. Returns 0 or -EINVAL as above.
 */
SPILLWAY_API int spw_manual_spill(const spw_regulator *regulator, uint64_t bytes);

/**
 * The adaptive policy moves two sizes that are automatic otherwise. The threshold of queues goes
 * up, to half of the budget at most, when what they spill is fetched again at once, or when writers
 * and readers wait longer for it than it is worth; it goes down when writers wait for want of
 * memory; and goes back in calm, the later the more often that was too soon. And each queue reads
 * ahead what it is drained of in a few times the time that reading a run takes at present; more
 * while runs are late.
 */
typedef struct spw_adaptive_config {
    size_t size;         /**< sizeof(spw_adaptive_config) */
    uint64_t price_ns;   /**< how long writers and readers may wait for each GiB that is kept out of
                            memory for a second; 0: 100 ms */
    int keeps_threshold; /**< 1: the threshold is set already, and not moved */
    int keeps_prefetch;  /**< 1: the same for reading ahead */
    const spw_allocator *allocator;
} spw_adaptive_config;

/** `config` NULL: automatic. Returns 0, -EINVAL (a size that this library does not know, or a price
 * of more than 292 years) or -ENOMEM. */
SPILLWAY_API int spw_adaptive_open(const spw_adaptive_config *config, spw_regulator **out);

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
 * The policies that the option `policies` names, with what the other options say of them: those
 * for one queue over `strategy`, and, unless another queue has brought them, those for its pool.
 * `options` NULL: those that the pool was opened with, or the defaults where there is none.
 *
 * `*writer` and `*reader` are for spw_queue_options; NULL means that there is none. Without
 * `threshold` a queue spills only what policies for the pool order, or the budget; with neither,
 * nothing.
 * Takes over `strategy` on success.
 *
 * What is not to be had, such as a thread for the pool's policies, is told and left out; with the
 * option `strict` it is an error. Returns 0, -EINVAL (no strategy), -ENOMEM, -EOWNERDEAD, or
 * -EOPNOTSUPP (strict).
 */
SPILLWAY_API int spw_policies_open(spw_strategy *strategy, const spw_options *options,
                                   spw_policy **writer, spw_policy **reader);

#ifdef __cplusplus
}
#endif
#endif
