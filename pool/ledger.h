/* SPDX-License-Identifier: MIT */
/*
 * What spilling has bought: how much payload was in tiers instead of in the budget, and for how
 * long; and what it was not worth it for, since it was fetched again at once. Guarded by the pool's
 * lock. Costs the same however much is stored.
 */
#ifndef SPILLWAY_POOL_LEDGER_H
#define SPILLWAY_POOL_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

/* A run that is fetched sooner after it began to be spilled was spilled in haste. */
#define LEDGER_HASTE_NS UINT64_C(1000000000)

/* Times are told apart in such steps. */
#define LEDGER_STEP_NS (LEDGER_HASTE_NS / 8)

/* As many as the haste takes, and one that is not over. */
enum { LEDGER_STEPS = 10 };

struct ledger {
    uint64_t stored_bytes;     /* payload of runs that a tier has */
    uint64_t since_ns;         /* up to then it is part of the next */
    unsigned __int128 byte_ns; /* bytes times ns */
    struct {
        uint64_t begin_ns, end_ns; /* runs were stored then; 0: never */
        uint64_t next_run_id;      /* those below were there at the end */
    } steps[LEDGER_STEPS];         /* a ring */
    unsigned step;                 /* the last one */
};

/* A tier has `bytes` more; `next_run_id`: all runs so far have a lower one. */
void ledger_stored(struct ledger *ledger, uint64_t bytes, uint64_t next_run_id, uint64_t now_ns);

/* They are in memory again, or nobody wants them any more. */
void ledger_gone(struct ledger *ledger, uint64_t bytes, uint64_t now_ns);

/* Whether a run that is fetched now was spilled in haste. */
bool ledger_is_hasty(const struct ledger *ledger, uint64_t run_id, uint64_t now_ns);

/* Time has passed. */
void ledger_advance(struct ledger *ledger, uint64_t now_ns);

/* Bytes times seconds, up to the last of these calls. */
uint64_t ledger_byte_seconds(const struct ledger *ledger);

#endif
