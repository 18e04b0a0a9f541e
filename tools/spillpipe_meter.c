/* SPDX-License-Identifier: MIT */
#include "spillpipe_meter.h"

#include <string.h>
#include <time.h>

uint64_t meter_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void meter_init(struct meter *meter)
{
    memset(meter, 0, sizeof(*meter));
    meter->start_ns = meter_now_ns();
    meter_enter(&meter->in, METER_BUSY);
    meter_enter(&meter->out, METER_BUSY);
}

/* Each half has one writer, and readers only show it: no order is needed. */
void meter_add(struct meter_end *end, uint64_t bytes)
{
    atomic_fetch_add_explicit(&end->bytes, bytes, memory_order_relaxed);
}

void meter_enter(struct meter_end *end, enum meter_state state)
{
    if (atomic_load_explicit(&end->state, memory_order_relaxed) == (int)state)
        return;
    atomic_store_explicit(&end->since_ns, meter_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&end->state, (int)state, memory_order_relaxed);
}

uint64_t meter_in_state_ns(const struct meter_end *end, enum meter_state state)
{
    uint64_t since = atomic_load_explicit(&end->since_ns, memory_order_relaxed);
    uint64_t now = meter_now_ns();
    if (atomic_load_explicit(&end->state, memory_order_relaxed) != (int)state || since > now)
        return 0;
    return now - since;
}
