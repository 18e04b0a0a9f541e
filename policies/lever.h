/* SPDX-License-Identifier: MIT */
/*
 * A step of a scale that is pushed by what happens and goes back by itself once it is calm. Who has
 * to push again soon after it went back is patient the next time: what comes in waves is followed
 * once or twice, and then no more.
 */
#ifndef SPILLWAY_POLICIES_LEVER_H
#define SPILLWAY_POLICIES_LEVER_H

#include <stdbool.h>
#include <stdint.h>

/* Of calm, until it goes back. */
#define LEVER_PATIENCE_MIN_NS UINT64_C(30000000000)
#define LEVER_PATIENCE_MAX_NS (32 * LEVER_PATIENCE_MIN_NS)

/* After a push it takes so long until it can be seen what that did. */
#define LEVER_GAP_NS UINT64_C(2000000000)

/* All zero: it has never been moved. */
struct lever {
    int level;
    uint64_t moved_ns;    /* 0: never */
    uint64_t calm_ns;     /* since when */
    uint64_t patience_ns; /* 0: the least */
    bool returned;        /* its last move was back, or against the one before */
};

/* Whether it may be pushed that way, 1 or -1: not against where it was pushed before it was calm
 * for a while. */
bool lever_may_push(const struct lever *lever, int way, uint64_t now_ns);

void lever_push(struct lever *lever, int way, uint64_t now_ns);

/* It is not calm. */
void lever_stir(struct lever *lever, uint64_t now_ns);

/* It is; returns whether it went back by one. */
bool lever_rest(struct lever *lever, uint64_t now_ns);

#endif
