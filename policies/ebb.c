/* SPDX-License-Identifier: MIT */
#include "ebb.h"

#include <stdbool.h>

void ebb_begin(struct ebb *ebb, uint64_t target_bytes, uint64_t now_ns, uint64_t patience_ns)
{
    ebb->target_bytes = target_bytes;
    ebb->until_ns = now_ns + patience_ns;
}

void ebb_order(const struct ebb *ebb, const spw_outlook *outlook, spw_orders *orders)
{
    uint64_t used = outlook->used_bytes, leaving = outlook->in_flight_bytes;
    uint64_t excess = used > ebb->target_bytes ? used - ebb->target_bytes : 0;
    orders->trim_bytes = excess < outlook->warm_bytes ? excess : outlook->warm_bytes;
    excess -= orders->trim_bytes;
    orders->spill_bytes = excess > leaving ? excess - leaving : 0;
}

enum ebb_state ebb_look(struct ebb *ebb, const spw_outlook *outlook, spw_orders *orders)
{
    if (ebb->until_ns == 0)
        return EBB_NONE;
    bool reached = outlook->used_bytes <= ebb->target_bytes;
    bool over = outlook->now_ns >= ebb->until_ns;
    if (!reached)
        ebb_order(ebb, outlook, orders);
    if (reached || over)
        ebb->until_ns = 0;
    return reached ? EBB_REACHED : over ? EBB_SHORT : EBB_GOES_ON;
}
