/* SPDX-License-Identifier: MIT */
/*
 * What the adaptive policy does, as a function of what was seen before, what is seen now, and the
 * time: no clock, no system call. The same outlooks give the same orders, word by word.
 *
 *   raise    what is spilled is fetched again at once, or it is waited for longer than what it
 *            frees is worth, and there is memory: the threshold doubles, up to half of the budget
 *   lower    writers wait though what is spilled is not needed soon: the threshold is halved, so
 *            that spilling begins sooner
 *   back     it has been calm for a while: one step back to the threshold that follows from the
 *            budget
 *   ahead    what a queue is to read ahead: what it is drained of while a run is read, twice
 *   deeper   runs are late all the same: twice as much
 *   shallow  none has been late for a while: half of it
 *
 * Between what is a reason to push and what is calm lies a band in which nothing changes.
 */
#ifndef SPILLWAY_POLICIES_ADAPTIVE_DECIDE_H
#define SPILLWAY_POLICIES_ADAPTIVE_DECIDE_H

#include "lever.h"
#include "spillway/governor.h"

/* Between two looks, while anything moves; more and more while nothing does. */
#define ADAPTIVE_LOOK_NS     UINT64_C(1000000000)
#define ADAPTIVE_LOOK_MAX_NS (8 * ADAPTIVE_LOOK_NS)

struct adaptive_wish {
    uint64_t price_ns;                    /* that a GiB out of memory for a second may cost */
    bool keeps_threshold, keeps_prefetch; /* somebody has set them */
};

/* All zero in the beginning. */
struct adaptive_state {
    spw_outlook from; /* at the last look; its time is 0 before the first one */
    uint64_t look_ns; /* until the next one */
    struct lever threshold;
    uint64_t threshold_bytes; /* as ordered; 0: as it follows from the budget */
    struct lever ahead;
    uint64_t ahead_ns;                    /* as ordered; 0: never */
    uint64_t ahead_noted_ns;              /* when that was last told */
    uint64_t ahead_runs, ahead_late_runs; /* of which it knows: it may miss a look */
};

/* Adds what is to be done to `orders`, which hold none yet. */
void adaptive_decide(struct adaptive_state *state, const struct adaptive_wish *wish,
                     const spw_outlook *outlook, spw_orders *orders);

#endif
