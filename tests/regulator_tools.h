/* SPDX-License-Identifier: MIT */
/*
 * What the tests of regulators share: a pool in figures. It has a budget that its use fills up to
 * as fast as it may, a disk with a rate, and does what it is ordered to; the clock is the
 * test's.
 */
#ifndef SPILLWAY_TESTS_REGULATOR_TOOLS_H
#define SPILLWAY_TESTS_REGULATOR_TOOLS_H

#include <stddef.h>
#include <stdint.h>

#include "spillway/governor.h"

#define SECOND_NS UINT64_C(1000000000)
#define MS_NS     UINT64_C(1000000)

struct figures {
    uint64_t now_ns, begin_ns;
    uint64_t ceiling_bytes, budget_bytes;
    uint64_t used_bytes, warm_bytes, in_flight_bytes; /* the last two are in the first */
    uint64_t spilled_bytes_total;
    int held; /* nothing more goes to disk than the budget demands */
    /* In bytes a second. */
    uint64_t inflow, disk;
    uint64_t wake_ns, wake_in_use_ns;
    /* Of the orders of the last time. */
    spw_orders orders;
    unsigned turns; /* times that the budget changed its direction */
    int direction;
    /* One line for each decision; NULL: none are kept. */
    char *text;
    size_t text_bytes, text_used;
};

/* All in use, nothing warm. */
struct figures figures_open(uint64_t ceiling_bytes);

/* Time passes: runs land, and leave warm memory behind; producers fill up. */
void figures_pass(struct figures *figures, uint64_t ns);

spw_outlook figures_outlook(const struct figures *figures);

/* No orders yet. */
spw_orders figures_no_orders(void);

/* Carries them out, and keeps them. */
void figures_obey(struct figures *figures, const spw_orders *orders);

/* When the regulator is to look next. */
uint64_t figures_due_ns(const struct figures *figures);

#endif
