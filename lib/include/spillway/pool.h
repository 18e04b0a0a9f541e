/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_POOL_H
#define SPILLWAY_POOL_H

#include "governor.h"
#include "log.h"
#include "options.h"
#include "queue.h"
#include "stats.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Budget, tiers and I/O engine, shared by any number of queues. All calls may be
 * made from any thread at any time; a process usually has one pool.
 *
 * What is resident in queues and pool stays within the budget and 16 MiB, as long as a tier takes
 * what has to go, but for large entries, which are never split: what a writer extends with is taken
 * in before anything is spilled for it, and what lies at the head of a queue is read even where
 * there is no room. So where entries are larger than spw_pool_run_bytes(), each queue may have two
 * of them beyond the budget, one on its way in and one on its way out. (`used_peak_bytes` in the
 * stats says what the most was.)
 */
typedef struct spw_pool spw_pool;

typedef struct spw_pool_config {
    size_t size;                /**< sizeof(spw_pool_config) */
    const char *name;           /**< copied; NULL: "pool" */
    const spw_options *options; /**< read during the call; NULL: defaults and environment */
    spw_log_fn *log;            /**< NULL: nothing is told */
    void *log_context;
    const spw_allocator *allocator; /**< NULL: malloc */
} spw_pool_config;

/**
 * Opens a pool. `config` may be NULL. What is missing on this host (io_uring,
 * O_DIRECT, NUMA, locked memory, a scratch directory) falls back to the best
 * that remains, is told once through the log and counted in the stats; with the
 * option `strict` it fails instead. Returns 0 or:
 *
 *  -EINVAL      a setting is refused (the log says which), or `config` has a size that this
 *               library does not know, or the kernel lacks MADV_WIPEONFORK
 *  -ENOMEM      no memory for the pool itself
 *
 * or, where `strict` is set, with a line in the log that says what is missing:
 *
 *  -EINVAL      a setting is without effect beside the others
 *  -EOPNOTSUPP  something would fall back: nodes, huge pages, locked memory, O_DIRECT, fallocate,
 *               the I/O engine
 *  -ENOENT, -ENOTDIR, -EACCES, -EPERM, -EROFS, -ENAMETOOLONG, -ELOOP
 *               a scratch directory is not there, or not to be written to
 *  -EMEDIUMTYPE a scratch directory is on tmpfs
 *  -ENOSPC, -EDQUOT, -EFBIG
 *               the file systems of the scratch directories, or their limits, leave no room
 *  -EMFILE, -ENFILE
 *               no descriptor is left
 *
 * and what else the kernel says when it refuses a scratch file or a segment (-EIO, -ENOSYS).
 */
SPILLWAY_API int spw_pool_open(const spw_pool_config *config, spw_pool **out);

/**
 * Drops the opener's reference. Queues, handles, slabs and bytes that are still
 * alive keep the pool working; the last of them ends it and waits for I/O in
 * flight. NULL is harmless. Returns 0, or -EOWNERDEAD in a forked child (and does nothing).
 */
SPILLWAY_API int spw_pool_close(spw_pool *pool);

/**
 * As spw_pool_close(), but returns -EBUSY and does nothing while anything of the pool is alive.
 * Waits for I/O in flight first, so not from a callback.
 */
SPILLWAY_API int spw_pool_close_idle(spw_pool *pool);

/**
 * A strategy that spills one queue's runs to this pool; give it to that queue's
 * policy. Returns 0, -ENOMEM or -EOWNERDEAD.
 */
SPILLWAY_API int spw_pool_strategy(spw_pool *pool, spw_strategy **out);

/** The account that the pool's queues report to; lives as long as the pool. */
SPILLWAY_API spw_account *spw_pool_account(spw_pool *pool);

/**
 * A slab in the pool's own memory: bytes cut from it spill without a copy. `capacity_bytes` 0
 * means spw_pool_run_bytes(); more is rounded up to pages. Waits for I/O in flight while the
 * process is over its budget, unless `flags` has SPILLWAY_EXTEND_NOWAIT (-EAGAIN) or
 * SPILLWAY_EXTEND_BOUNDED (see spw_writer_extend()).
 * Returns 0, -ENOMEM, -EAGAIN, -ENOSPC, -EMSGSIZE or -EOWNERDEAD. Close it with spw_slab_close().
 *
 * Where there is a memory tier in recycle mode on the node that the caller runs on (`nodes` is
 * local, or that node, or the machine has only one), the slab lies in a segment of that tier as
 * long as it has room: it counts against the tier's capacity and not against the budget, so nothing
 * is waited for. Spilling what fills at least an eighth of it, and 32 KiB, then means to adopt it
 * where it lies: no copy, no thread, no room asked for. All of the slab stays in the segment until
 * the last of its bytes is released. The bytes are at another address than the producer's space, in
 * a map that cannot be written to.
 *
 * When a reader has taken runs back, what fills the budget may be spillable again although nothing
 * is in flight: after -EAGAIN, spw_writer_extend() of nothing (count 0) lets the policy look again.
 */
SPILLWAY_API int spw_pool_slab_open(spw_pool *pool, size_t capacity_bytes, unsigned flags,
                                    spw_slab **out);

/** The largest run with the present number of queues: also the best size for slabs. */
SPILLWAY_API size_t spw_pool_run_bytes(const spw_pool *pool);

/**
 * Waits until `bytes` more fit into the budget, or `timeout_ns` is over: for a writer that got
 * -ENOSPC or -EAGAIN. `bytes` 0 means spw_pool_run_bytes(). Returns 0, -ETIMEDOUT, -EMSGSIZE (more
 * than the whole budget), -EDEADLK (inside a callback on an I/O thread) or -EOWNERDEAD.
 */
SPILLWAY_API int spw_pool_wait_room(spw_pool *pool, uint64_t bytes, uint64_t timeout_ns);

/** Gives warm memory that is not in use back to the kernel; returns how many bytes. */
SPILLWAY_API uint64_t spw_pool_trim(spw_pool *pool);

/**
 * Starts moving up to `bytes` of what the memory tier holds to the disk tier, what was stored last
 * first, since a queue needs that last; written straight from the segments. Does not wait. Says
 * in `*started_bytes` (may be NULL) how much is on its way: 0 when nothing is left to move. Runs
 * can be fetched all the while, and stay in memory if the write fails. Returns 0, -ENODEV (not both
 * tiers), -ENOMEM or -EOWNERDEAD.
 */
SPILLWAY_API int spw_pool_demote(spw_pool *pool, uint64_t bytes, uint64_t *started_bytes);

/** The pool's governor (governor.h), which lives as long as the pool. */
SPILLWAY_API spw_governor *spw_pool_governor(spw_pool *pool);

/**
 * Sets the budget anew, as the option `memory` does at spw_pool_open() and bounded by the same
 * limits; what regulators had made of the one before is over, and they look again. Memory that is
 * too much now is given up as fast as tiers and readers take it. Returns 0, -EINVAL (less than
 * 1 MiB) or -EOWNERDEAD.
 */
SPILLWAY_API int spw_pool_set_budget(spw_pool *pool, uint64_t bytes);

/**
 * Sets one setting anew while the pool is open, by name ("threshold") or variable, from text as in
 * spw_options_set(). That is possible for those that spw_options_describe() calls `live`. Sizes of
 * queues ("threshold", "head_reserve", "prefetch") change for queues whose policies come from
 * spw_policies_open(), those that are open and those to come; shares are of the budget as it is
 * each time. What a policy for the whole pool takes it takes soon, and also where it comes later.
 * The change is told (as information), among the decisions, and in the stats page.
 * Any thread, and not from a callback that logs. Returns 0, or, and then nothing changed and the
 * log says why, as a warning:
 *
 *  -EINVAL      the value is refused, or `name` or `value` is NULL
 *  -ENOENT      there is no such setting
 *  -ENOTSUP     it is fixed while a pool is open, or the policy that takes it is not in use
 *  -ENOMEM      no memory
 *  -EOWNERDEAD  in a forked child
 */
SPILLWAY_API int spw_pool_set(spw_pool *pool, const char *name, const char *value);

/** So many decisions a pool remembers. */
#define SPILLWAY_DECISIONS_KEPT 64

/**
 * What the governor and its regulators have decided, oldest first: of the decisions that are
 * remembered those numbered `from` and up, at most `count`. Of the array `out` the caller sets
 * `size` in the first member; it holds for all. Returns how many were filled in, -EINVAL (a size
 * that this library does not know) or -EOWNERDEAD.
 */
SPILLWAY_API long spw_pool_decisions(const spw_pool *pool, uint64_t from, spw_decision *out,
                                     size_t count);

/** Fills in `*stats` (see stats.h). Returns 0, -EINVAL (a size that this library does not know) or
 * -EOWNERDEAD. */
SPILLWAY_API int spw_pool_stats(const spw_pool *pool, spw_stats *stats);

/** Fills in `*histograms` (see stats.h). Returns as spw_pool_stats(). */
SPILLWAY_API int spw_pool_histograms(const spw_pool *pool, spw_histograms *histograms);

#ifdef __cplusplus
}
#endif
#endif
