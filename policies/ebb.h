/* SPDX-License-Identifier: MIT */
/*
 * How use comes down to a target over some time: warm memory first, then runs; and what these
 * leave behind warm once they are stored goes as well.
 */
#ifndef SPILLWAY_POLICIES_EBB_H
#define SPILLWAY_POLICIES_EBB_H

#include "spillway/governor.h"

/* Between two looks. */
#define EBB_LOOK_NS UINT64_C(100000000)

/* After that it is given up: runs that were spilled have landed by then, on any disk worth it. */
#define EBB_PATIENCE_NS UINT64_C(5000000000)

/* All zero: nothing is under way. */
struct ebb {
    uint64_t target_bytes;
    uint64_t slack_bytes; /* so much more is as good */
    uint64_t due_ns;      /* when it should be reached; 0: that was told */
    uint64_t until_ns;    /* when it is given up; 0: nothing is under way */
    /* An order that is less than one entry moves nothing: then it grows, until something moves. */
    uint64_t more_bytes;
    uint64_t spilled_bytes; /* in total, at the look before */
};

/* From now on use is to come down to `target_bytes`, or `slack_bytes` more, within `due_ns`. Gives
 * the first orders. */
void ebb_begin(struct ebb *ebb, uint64_t target_bytes, uint64_t slack_bytes, uint64_t due_ns,
               const spw_outlook *outlook, spw_orders *orders);

/* What has come of it. EBB_SHORT is told once, and it goes on for a while. */
enum ebb_state { EBB_NONE, EBB_GOES_ON, EBB_REACHED, EBB_SHORT };

/* The next look, with its orders. */
enum ebb_state ebb_look(struct ebb *ebb, const spw_outlook *outlook, spw_orders *orders);

#endif
