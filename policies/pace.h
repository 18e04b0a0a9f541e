/* SPDX-License-Identifier: MIT */
/*
 * How fast a queue is drained: at its fastest of late, since who reads in bursts should find the
 * next burst loaded. Goes up at once and comes down within some ten seconds.
 */
#ifndef SPILLWAY_POLICIES_PACE_H
#define SPILLWAY_POLICIES_PACE_H

#include <stdint.h>

/* All zero: nothing is known. */
struct pace {
    uint64_t position, since_ns; /* of the stream, when what is measured now began */
    double rate;                 /* bytes a second; 0: not known, or nobody drains it */
};

/* The head is at `position` of the stream now. What is measured takes `window_ns` or more. */
void pace_look(struct pace *pace, uint64_t position, uint64_t window_ns, uint64_t now_ns);

/* What is drained in so much time. */
uint64_t pace_bytes(const struct pace *pace, uint64_t ns);

#endif
