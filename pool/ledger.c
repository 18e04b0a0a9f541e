/* SPDX-License-Identifier: MIT */
#include "ledger.h"

void ledger_advance(struct ledger *ledger, uint64_t now_ns)
{
    if (now_ns > ledger->since_ns) {
        ledger->byte_ns += (unsigned __int128)ledger->stored_bytes * (now_ns - ledger->since_ns);
        ledger->since_ns = now_ns;
    }
}

void ledger_stored(struct ledger *ledger, uint64_t bytes, uint64_t next_run_id, uint64_t now_ns)
{
    ledger_advance(ledger, now_ns);
    ledger->stored_bytes += bytes;
    if (now_ns - ledger->steps[ledger->step].begin_ns >= LEDGER_STEP_NS) {
        ledger->step = (ledger->step + 1) % LEDGER_STEPS;
        ledger->steps[ledger->step].begin_ns = now_ns;
    }
    ledger->steps[ledger->step].end_ns = now_ns;
    ledger->steps[ledger->step].next_run_id = next_run_id;
}

void ledger_gone(struct ledger *ledger, uint64_t bytes, uint64_t now_ns)
{
    ledger_advance(ledger, now_ns);
    ledger->stored_bytes -= bytes < ledger->stored_bytes ? bytes : ledger->stored_bytes;
}

/* Runs are numbered as they begin to be spilled, so those of long ago are known by their numbers.
 */
bool ledger_is_hasty(const struct ledger *ledger, uint64_t run_id, uint64_t now_ns)
{
    for (unsigned i = 0; i < LEDGER_STEPS; i++)
        if (now_ns - ledger->steps[i].end_ns >= LEDGER_HASTE_NS &&
            run_id < ledger->steps[i].next_run_id)
            return false;
    return true;
}

uint64_t ledger_byte_seconds(const struct ledger *ledger)
{
    return (uint64_t)(ledger->byte_ns / 1000000000);
}
