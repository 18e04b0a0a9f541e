/* SPDX-License-Identifier: MIT */
/* What an extend and a drain cost, by how much stands in the queue and how many queues there are.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_SCALE_H
#define SPILLWAY_TOOLS_SPILLBENCH_SCALE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "child.h"
#include "spillway/spillway.h"

enum scale_kind {
    SCALE_PLAIN,    /* queues without policies or pool */
    SCALE_RESIDENT, /* policies and a pool whose budget holds everything: nothing spills */
    SCALE_SPILLING, /* policies and a pool with a small budget */
};

struct scale_point {
    enum scale_kind kind;
    uint64_t depth; /* entries that stand in all queues of a thread together */
    uint64_t entry_bytes;
    unsigned queues;     /* of each thread; extended and drained in turn */
    unsigned threads;    /* each with its own queues, all with one pool */
    uint64_t operations; /* entries extended and drained again in one measured round */
    const char *dir;     /* of scratch files, SCALE_SPILLING */
};

/* Nanoseconds an entry, a value a round, over all threads: own CPU time, or, where it spills, time
 * on the clock. `cpu_ns` is the CPU of the whole process. */
struct scale_cost {
    struct series extend_ns, drain_ns, cpu_ns;
    uint64_t spilled_bytes; /* in all, 0 where nothing should spill */
};

/*
 * Up to eight points in one process, in turns, after a round that warms up; so they may be
 * compared. Returns false with the reason in `why`.
 */
bool scale_run(const struct scale_point *points, unsigned count, unsigned rounds,
               struct scale_cost *costs, char *why, size_t why_bytes);

#endif
