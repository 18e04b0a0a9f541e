/* SPDX-License-Identifier: MIT */
/* How much tasks wait, from the totals of readings that come at any time. Pure. */
#ifndef SPILLWAY_POLICIES_PRESSURE_METER_H
#define SPILLWAY_POLICIES_PRESSURE_METER_H

#include "pressure_source.h"

/* The least time between two totals that are compared: the kernel brings those that it shows up to
 * date once in 2 s. */
#define PRESSURE_SPAN_NS UINT64_C(1900000000)

/* All zero in the beginning. */
struct pressure_meter {
    bool begun, has_events;
    struct pressure_reading from; /* where the span under way began */
    struct memory_events events;  /* last seen */
};

struct pressure_measured {
    uint64_t span_ns; /* 0: no span has ended with this reading, and the shares say nothing */
    unsigned memory_permille, io_permille; /* of the span, at most 1000 */
    bool has_memory, has_io;
    uint64_t limits_hit; /* memory.events high and max, in the span */
    uint64_t kills;      /* oom and oom_kill, since the reading before */
};

/* Takes a reading in. */
struct pressure_measured pressure_measure(struct pressure_meter *meter,
                                          const struct pressure_reading *reading);

#endif
