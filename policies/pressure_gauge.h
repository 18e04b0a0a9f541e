/* SPDX-License-Identifier: MIT */
/*
 * Whether a reading of totals is an event. Pure: what a wake-up by the kernel is worth, and what
 * would have been one where nothing wakes.
 */
#ifndef SPILLWAY_POLICIES_PRESSURE_GAUGE_H
#define SPILLWAY_POLICIES_PRESSURE_GAUGE_H

#include <stdbool.h>
#include <stdint.h>

/* The kernel brings the totals that it shows up to date once in 2 s, its privileged triggers
 * sooner: growth may show so much later than the event. */
#define GAUGE_LAG_NS UINT64_C(2200000000)

struct gauge {
    uint64_t stall_us, window_ns; /* an event is stall_us of growth within window_ns */
    uint64_t total_us, at_ns;     /* where the window began: at the start, or with an event */
    uint64_t doubt_until_ns;      /* 0, or the kernel has told of growth that is not seen yet */
    bool began;                   /* an event has been counted */
};

void gauge_begin(struct gauge *gauge, uint64_t stall_us, uint64_t window_ns, uint64_t total_us,
                 uint64_t now_ns);

/*
 * For triggers. The first wake-up after a trigger is set may be false (it then counts what happened
 * before), so it is an event only when the total has grown by the stall; until GAUGE_LAG_NS later
 * that may still show. Those behind it need some growth, or such an event just before.
 */
bool gauge_woken(struct gauge *gauge, bool woken, uint64_t total_us, uint64_t now_ns);

/* For polling: one window after the other. */
bool gauge_polled(struct gauge *gauge, uint64_t total_us, uint64_t now_ns);

/* Whether it is to be read again soon, since a wake-up is in doubt. */
bool gauge_doubts(const struct gauge *gauge);

#endif
