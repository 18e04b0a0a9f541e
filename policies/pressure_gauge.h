/* SPDX-License-Identifier: MIT */
/* Whether a reading of a total is an event: so much growth within a window. Pure. */
#ifndef SPILLWAY_POLICIES_PRESSURE_GAUGE_H
#define SPILLWAY_POLICIES_PRESSURE_GAUGE_H

#include <stdbool.h>
#include <stdint.h>

struct gauge {
    uint64_t stall_us, window_ns; /* an event is stall_us of growth within window_ns */
    uint64_t event_us;            /* the total at the last event, or at the start */
    bool began;                   /* there has been an event */
    uint64_t window_us, at_ns;    /* the total and time at which the window of readings began */
};

void gauge_begin(struct gauge *gauge, uint64_t stall_us, uint64_t window_ns, uint64_t total_us,
                 uint64_t now_ns);

/*
 * `woken`: the kernel's trigger says that it is one. The first time that may be false (a new
 * trigger counts what happened before it), so the total must have grown by the stall since the
 * start, and later at all.
 *
 * Without a wake-up it is one as well where readings show so much growth in one of their windows:
 * there may be no trigger, and Linux passes over an unprivileged trigger that is due when somebody
 * has just read the file.
 */
bool gauge_read(struct gauge *gauge, bool woken, uint64_t total_us, uint64_t now_ns);

#endif
