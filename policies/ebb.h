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

/* All zero: nothing is under way. */
struct ebb {
    uint64_t target_bytes;
    uint64_t until_ns; /* 0: nothing is under way */
};

/* From now on use is to come down to `target_bytes`, for `patience_ns`. */
void ebb_begin(struct ebb *ebb, uint64_t target_bytes, uint64_t now_ns, uint64_t patience_ns);

/* What is to go now. What is on its way out already is not asked for again. */
void ebb_order(const struct ebb *ebb, const spw_outlook *outlook, spw_orders *orders);

/* What has come of it. All but EBB_GOES_ON end it; nothing is under way then. */
enum ebb_state { EBB_NONE, EBB_GOES_ON, EBB_REACHED, EBB_SHORT };

/* The next look, with its orders. */
enum ebb_state ebb_look(struct ebb *ebb, const spw_outlook *outlook, spw_orders *orders);

#endif
