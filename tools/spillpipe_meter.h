/* SPDX-License-Identifier: MIT */
/* What the two ends have done and are waiting for; each end writes its half, anyone reads. */
#ifndef SPILLPIPE_METER_H
#define SPILLPIPE_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What an end is doing. */
enum meter_state {
    METER_BUSY,
    METER_WAITS_OUTSIDE, /* in read(2) or write(2): for the producer, or the consumer */
    METER_WAITS_INSIDE,  /* for room in the pool, or for bytes from the queue */
    METER_DONE,
};

struct meter_end {
    _Atomic uint64_t bytes;
    _Atomic int state;
    _Atomic uint64_t since_ns; /* when the state began */
};

struct meter {
    uint64_t start_ns;
    struct meter_end in, out;
    _Atomic bool in_failed; /* input ended early; what was read before is still delivered */
};

/* CLOCK_MONOTONIC. */
uint64_t meter_now_ns(void);

void meter_init(struct meter *meter);
void meter_add(struct meter_end *end, uint64_t bytes);
void meter_enter(struct meter_end *end, enum meter_state state);

/* How long the end has been in `state`; 0 when it is in another. */
uint64_t meter_in_state_ns(const struct meter_end *end, enum meter_state state);

#endif
