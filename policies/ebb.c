/* SPDX-License-Identifier: MIT */
#include "ebb.h"

#include <stdbool.h>

#define MORE_FIRST_BYTES (UINT64_C(1) << 20)

/* What is on its way out already is not asked for again. */
static void ebb_order(struct ebb *ebb, const spw_outlook *outlook, spw_orders *orders)
{
    uint64_t used = outlook->used_bytes, leaving = outlook->in_flight_bytes;
    uint64_t excess = used > ebb->target_bytes ? used - ebb->target_bytes : 0;
    orders->trim_bytes = excess < outlook->warm_bytes ? excess : outlook->warm_bytes;
    excess -= orders->trim_bytes;
    orders->spill_bytes = excess > leaving ? excess - leaving + ebb->more_bytes : 0;
    ebb->spilled_bytes = outlook->spilled_bytes_total;
}

void ebb_begin(struct ebb *ebb, uint64_t target_bytes, uint64_t slack_bytes, uint64_t due_ns,
               const spw_outlook *outlook, spw_orders *orders)
{
    *ebb = (struct ebb){.target_bytes = target_bytes,
                        .slack_bytes = slack_bytes,
                        .due_ns = outlook->now_ns + due_ns,
                        .until_ns = outlook->now_ns + EBB_PATIENCE_NS};
    ebb_order(ebb, outlook, orders);
}

enum ebb_state ebb_look(struct ebb *ebb, const spw_outlook *outlook, spw_orders *orders)
{
    if (ebb->until_ns == 0)
        return EBB_NONE;
    if (outlook->used_bytes <= ebb->target_bytes + ebb->slack_bytes) {
        ebb->until_ns = 0;
        return EBB_REACHED;
    }
    bool moves = outlook->spilled_bytes_total != ebb->spilled_bytes ||
                 outlook->in_flight_bytes > 0 || outlook->warm_bytes > 0;
    if (moves)
        ebb->more_bytes = 0;
    else
        ebb->more_bytes = ebb->more_bytes > 0 ? 2 * ebb->more_bytes : MORE_FIRST_BYTES;
    ebb_order(ebb, outlook, orders);
    if (outlook->now_ns >= ebb->until_ns)
        ebb->until_ns = 0;
    bool is_short = ebb->due_ns != 0 && outlook->now_ns >= ebb->due_ns;
    if (is_short)
        ebb->due_ns = 0;
    return is_short ? EBB_SHORT : EBB_GOES_ON;
}
