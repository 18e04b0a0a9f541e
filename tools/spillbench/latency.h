/* SPDX-License-Identifier: MIT */
/* How long an extend and a drain take while the device is busy, but not more than it can be. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_LATENCY_H
#define SPILLWAY_TOOLS_SPILLBENCH_LATENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow.h"
#include "series.h"
#include "spillway/spillway.h"

struct latency_plan {
    const char *dir;
    uint64_t memory_bytes, total_bytes, chunk_bytes;
    double write_rate, read_rate; /* bytes a second that producer and consumer keep to */
    bool heap;                    /* chunks on the heap instead of in the pool's slabs */
    bool time_all; /* every hold of a lock, with its CPU time: slows all calls down */
};

/* A thread that only spins, in calls of SPIN_NS: how long each took more than that. */
enum { SPIN_NS = 1000, SPIN_GAP_NS = 50000 };
struct spin {
    struct latency excess;
    uint64_t gaps; /* of more than SPIN_GAP_NS */
    double seconds;
    bool own_cpu; /* set by the caller: look at the thread's own CPU clock, and at nothing else */
    uint64_t cpu_gap_ns; /* the most between two readings of it */
};

struct latency_phase {
    struct flow_watch watch;
    struct spin spin;
};

struct latency_result {
    struct latency_phase extend, drain;
    spw_histograms histograms; /* of the pool, over both phases */
    spw_stats stats;
};

/* In a process of its own. Returns false with the reason in `why`. */
bool latency_run(const struct latency_plan *plan, struct latency_result *result, char *why,
                 size_t why_bytes);

#endif
