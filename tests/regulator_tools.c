/* SPDX-License-Identifier: MIT */
#include "regulator_tools.h"

#include <inttypes.h>
#include <stdio.h>

#include "harness.h"

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct figures figures_open(uint64_t ceiling_bytes)
{
    return (struct figures){.now_ns = 100 * SECOND_NS,
                            .begin_ns = 100 * SECOND_NS,
                            .ceiling_bytes = ceiling_bytes,
                            .budget_bytes = ceiling_bytes,
                            .used_bytes = ceiling_bytes,
                            .inflow = UINT64_C(200) << 20,
                            .disk = UINT64_C(500) << 20,
                            .wake_ns = SPILLWAY_NEVER,
                            .wake_in_use_ns = SPILLWAY_NEVER};
}

void figures_pass(struct figures *figures, uint64_t ns)
{
    uint64_t ms = ns / MS_NS;
    uint64_t landed = least(figures->in_flight_bytes, figures->disk * ms / 1000);
    figures->now_ns += ns;
    figures->in_flight_bytes -= landed;
    figures->warm_bytes += landed;
    if (figures->used_bytes < figures->budget_bytes)
        figures->used_bytes +=
            least(figures->budget_bytes - figures->used_bytes, figures->inflow * ms / 1000);
}

spw_outlook figures_outlook(const struct figures *figures)
{
    return (spw_outlook){.size = sizeof(spw_outlook),
                         .now_ns = figures->now_ns,
                         .budget_bytes = figures->budget_bytes,
                         .ceiling_bytes = figures->ceiling_bytes,
                         .used_bytes = figures->used_bytes,
                         .warm_bytes = figures->warm_bytes,
                         .in_flight_bytes = figures->in_flight_bytes,
                         .spilled_bytes_total = figures->spilled_bytes_total,
                         .queues = 1};
}

spw_orders figures_no_orders(void)
{
    return (spw_orders){.size = sizeof(spw_orders),
                        .budget_bytes = SPILLWAY_KEEP,
                        .spill_older_ns = SPILLWAY_NEVER,
                        .hold_disk = -1,
                        .threshold_bytes = SPILLWAY_KEEP,
                        .prefetch_bytes = SPILLWAY_KEEP,
                        .prefetch_ns = SPILLWAY_KEEP,
                        .memory_stall_permille = -1,
                        .io_stall_permille = -1,
                        .wake_in_use_ns = SPILLWAY_NEVER,
                        .wake_ns = SPILLWAY_NEVER};
}

static void figures_write(struct figures *figures, const spw_orders *orders, uint64_t before_bytes)
{
    int n = snprintf(figures->text + figures->text_used, figures->text_bytes - figures->text_used,
                     "%3" PRIu64 ".%03" PRIu64 " s  %" PRIu64 " -> %" PRIu64 " KiB  %s: %s\n",
                     (figures->now_ns - figures->begin_ns) / SECOND_NS,
                     (figures->now_ns - figures->begin_ns) / MS_NS % 1000, before_bytes >> 10,
                     figures->budget_bytes >> 10, orders->action, orders->reason);
    cr_assert_gt(n, 0);
    figures->text_used += (size_t)n;
    cr_assert_lt(figures->text_used, figures->text_bytes, "more decisions than there is room for");
}

void figures_obey(struct figures *figures, const spw_orders *orders)
{
    uint64_t before = figures->budget_bytes, trimmed, spilled, there;
    figures->orders = *orders;
    figures->wake_ns = orders->wake_ns;
    figures->wake_in_use_ns = orders->wake_in_use_ns;
    if (orders->budget_bytes != SPILLWAY_KEEP) {
        int direction = orders->budget_bytes > before ? 1 : orders->budget_bytes < before ? -1 : 0;
        if (direction != 0 && figures->direction != 0 && direction != figures->direction)
            figures->turns++;
        if (direction != 0)
            figures->direction = direction;
        figures->budget_bytes = orders->budget_bytes;
    }
    trimmed = least(orders->trim_bytes, figures->warm_bytes);
    figures->warm_bytes -= trimmed;
    figures->used_bytes -= trimmed;
    there = figures->used_bytes - figures->warm_bytes - figures->in_flight_bytes;
    spilled = least(orders->spill_bytes, there);
    figures->in_flight_bytes += spilled;
    figures->spilled_bytes_total += spilled;
    if (orders->hold_disk >= 0)
        figures->held = orders->hold_disk;
    if (orders->action && figures->text)
        figures_write(figures, orders, before);
}

uint64_t figures_due_ns(const struct figures *figures)
{
    uint64_t in_use = figures->used_bytes > 0 ? figures->wake_in_use_ns : SPILLWAY_NEVER;
    return least(figures->wake_ns, in_use);
}
