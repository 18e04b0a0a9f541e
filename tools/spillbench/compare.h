/* SPDX-License-Identifier: MIT */
/*
 * The ways to keep a backlog of bytes that is larger than memory allows, each given the same
 * incompressible data in the same memory cgroup limit.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_COMPARE_H
#define SPILLWAY_TOOLS_SPILLBENCH_COMPARE_H

#include <limits.h>
#include <stdint.h>

#include "child.h"

/* X(identifier, name in options and JSON, what it is) */
#define CONTENDERS(X)                                                                              \
    X(NULL, "null", "a queue that is drained before it grows: what the work itself takes")         \
    X(SPILLWAY, "spillway", "a pool, chunks from its slabs")                                       \
    X(SPILLWAY_HEAP, "spillway-heap", "a pool, each chunk on the heap")                            \
    X(SEED, "seed", "the seed's strategy: a buffered temporary file a batch")                      \
    X(SWAP, "swap", "plain heap, the kernel swaps to a file on the same disk")                     \
    X(ZRAM, "zram", "plain heap, the kernel compresses it in memory, half of the limit")           \
    X(MAPPED, "mapped", "a shared map of an unnamed file")

#define CONTENDER_ID(id, name, text) CONTENDER_##id,
enum contender { CONTENDERS(CONTENDER_ID) CONTENDER_COUNT };
#undef CONTENDER_ID

struct compare_plan {
    const char *dir;      /* for all that goes to disk; NULL: where the library would put it */
    uint64_t total_bytes; /* produced, then all consumed */
    uint64_t chunk_bytes;
    uint64_t limit_bytes; /* of the run's own memory cgroup */
    /* Of the seed's strategy. Their sum is what it keeps resident before it spills, and is
     * spillway's budget. 0: 256 MiB and 64 MiB. */
    uint64_t threshold_bytes, head_reserve_bytes;
    const char *policies;  /* of the pool, as SPILLWAY_POLICIES has them; NULL: the usual ones */
    uint64_t warm_bytes;   /* passed through before what counts, by the same process */
    uint64_t disk_bytes;   /* a run may take at most; 0: no limit */
    unsigned time_limit_s; /* 0: 600 */
};

const char *contender_name(enum contender contender);
const char *contender_text(enum contender contender);

/*
 * One run in a process and a memory cgroup of its own. `measure->extend` and `->drain` are the
 * times from one produced (consumed) chunk to the next, filling (verifying) it included. What it
 * sets up on the system is undone when it ends, and when this process is killed. The caller must
 * have one thread.
 *
 * Returns the measure, to be given back with child_release(); NULL without memory. With `error`
 * -EOPNOTSUPP or -EPERM this machine or user cannot run it, `why` says what is lacking; any other
 * error is a run that failed.
 */
struct measure *compare_run(enum contender contender, const struct compare_plan *plan);

/* Where a contender's data goes unless the plan says: the first place that the library would take.
 */
void compare_find_dir(char out[PATH_MAX]);

/* The case with many entries: 256 MiB, threshold 32 MiB, head reserve 16 MiB, limit 192 MiB. Leaves
 * dir, disk and time limit as they are. */
void compare_small(struct compare_plan *plan, uint64_t chunk_bytes);

#endif
