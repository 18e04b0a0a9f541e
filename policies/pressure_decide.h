/* SPDX-License-Identifier: MIT */
/*
 * What to do about pressure, as a function of what was seen before, what is seen now, and the time:
 * no clock, no system call. The same readings give the same orders, word by word.
 *
 *   lower    on pressure the budget goes down at once, by a part of what is in use, to the floor
 *            at least; warm memory goes back, and runs are spilled until the use fits
 *   short    the use did not come down in time, and what is left cannot go
 *   raise    after a while without pressure the budget comes back in steps; less than 30 s of calm
 *   whole    and it is whole
 *   hold     tasks wait for the disk, much more than for memory: nothing goes there that the
 *            budget does not demand
 *   release  and no more
 *
 * Between what is pressure and what is calm lies a band in which nothing changes.
 */
#ifndef SPILLWAY_POLICIES_PRESSURE_DECIDE_H
#define SPILLWAY_POLICIES_PRESSURE_DECIDE_H

#include "../lib/settings.h"
#include "ebb.h"
#include "pressure_meter.h"
#include "spillway/governor.h"

/* All zero in the beginning. */
struct pressure_state {
    struct pressure_meter meter;
    bool lowered;          /* the budget is not what was set, because of pressure */
    uint64_t budget_bytes; /* what it was lowered to, or raised to since */
    uint64_t low_bytes;    /* what it was lowered to at last */
    uint64_t lowered_ns;   /* when that was */
    uint64_t calm_ns;      /* of calm since then, as far as there were spans to tell */
    struct ebb ebb;        /* the use is to fit the budget */
    bool holding;
    unsigned io_spans; /* in a row that spoke for holding, or for the end of it */
};

/* What is known of the source, and what it shows. */
struct pressure_input {
    const struct pressure_reading *reading; /* NULL: nothing new could be read */
    enum pressure_way way;
    uint64_t interval_ns;         /* of polling; 0: the source tells by itself */
    uint64_t stall_ns, window_ns; /* what an event means; 0: only who sends it knows */
};

/* Adds what is to be done to `orders`, which hold none yet. A `floor` in percent is of the
 * ceiling. */
void pressure_decide(struct pressure_state *state, struct amount floor,
                     const struct pressure_input *input, const spw_outlook *outlook,
                     spw_orders *orders);

/* How far pressure may lower a budget. */
uint64_t pressure_floor(struct amount floor, uint64_t ceiling_bytes);

#endif
