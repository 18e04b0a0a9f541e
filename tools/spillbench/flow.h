/* SPDX-License-Identifier: MIT */
/*
 * A producer and a consumer by hand, for measurements that need a phase alone, a pace, or the time
 * of each call; load.h runs the usual load as a whole.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_FLOW_H
#define SPILLWAY_TOOLS_SPILLBENCH_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "ends.h"
#include "series.h"

struct flow {
    spw_pool *pool; /* NULL: plain */
    struct ends ends;
    uint64_t chunk_bytes;
    bool heap;                 /* chunks on the heap instead of in slabs */
    spw_slab *slab;            /* the present one; without a pool it is on the heap and regained */
    const unsigned char *text; /* what chunks are filled from in turn; NULL: chunk_fill() */
    uint64_t text_bytes;
    uint64_t due_bytes; /* whole chunks produced so far and not yet consumed */
};

/* What is recorded of a phase. */
struct flow_watch {
    double rate;           /* bytes a second that it keeps to; 0: as fast as it goes */
    struct latency call;   /* extend, or drain where something was there */
    struct latency around; /* opening a slab, or waiting for the head */
    double seconds;
};

/* Whole chunks of at least `bytes` in all; `watch` may be NULL. Returns 0 or -errno. */
int flow_produce(struct flow *flow, uint64_t bytes, struct flow_watch *watch);

/* All that was produced. */
int flow_consume(struct flow *flow, struct flow_watch *watch);

/* Closes slab and ends. */
void flow_close(struct flow *flow);

#endif
