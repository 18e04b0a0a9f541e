/* SPDX-License-Identifier: MIT */
/* What stress was asked, found, and tells. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_STRESS_H
#define SPILLWAY_TOOLS_SPILLBENCH_STRESS_H

#include "args.h"
#include "child.h"
#include "report.h"

enum { STRESS_QUEUES_MAX = 65536 };

struct stress_options {
    struct bench_common common;
    uint64_t total_bytes, chunk_bytes, drain_every, queues, limit_bytes;
    unsigned origin;
    const char *memory, *memory_tier, *tiers, *engine, *checksum;
    bool no_verify, no_latency, control, cold;
};

/* Places in measure->figures: the pool's own counters over the measured part. */
enum stress_figure {
    STRESS_BUDGET,
    STRESS_USED_PEAK,
    STRESS_SPILLED,
    STRESS_FETCHED,
    STRESS_COPIED,
    STRESS_DIRECT,
    STRESS_RUNS,
    STRESS_LATE,
    STRESS_SYSCALLS,
    STRESS_WRITER_WAIT, /* seconds */
    STRESS_READER_WAIT,
    STRESS_FIGURES,
};

/* All rounds of one side. */
struct stress_side {
    struct series wall, produce, drain; /* seconds */
    struct series cpu;                  /* seconds per 10^9 bytes */
    struct series rss, charge, cache;   /* peaks, growth */
    struct series faults_minor, faults_major;
    struct series figures[STRESS_FIGURES];
    struct latency extend, drains, control; /* of all rounds together */
    struct measure *last;                   /* for the curves */
};

void stress_note(struct stress_side *side, const struct measure *measure);

void stress_tell(struct report *report, const struct stress_options *options,
                 const struct stress_side *null, const struct stress_side *pool);

#endif
