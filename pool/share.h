/* SPDX-License-Identifier: MIT */
/*
 * How the governor shares the budget out: while it is exceeded, it looks over all queues every few
 * milliseconds, plans who keeps how much (plan.h), and has those that keep too much spill. All of
 * this runs on the governor's thread, with no lock held.
 */
#ifndef SPILLWAY_POOL_SHARE_H
#define SPILLWAY_POOL_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"
#include "spillway/alloc.h"

struct governor;
struct queue;

struct share {
    struct plan_queue *plans; /* during a look: one for each queue, with a reference */
    struct queue **queues;    /* of the same capacity */
    unsigned capacity, count;
    bool active;          /* queues are guided */
    bool above, below;    /* the use was where queues are guided, or was not, at the last look */
    uint64_t next_ns;     /* when to look again; SPILLWAY_NEVER */
    uint64_t moved_bytes; /* what had gone in and out of all queues at the last look */
    uint64_t owed_bytes;  /* were ordered to go, and could not so far */
    bool owed_reserves;   /* for these, automatic head reserves give way */
    uint64_t age_ns;      /* as last ordered; 0: never */
    uint64_t noted_ns;    /* when a decision of this kind was last noted */
};

void share_init(struct share *share);
void share_fini(struct share *share, const spw_allocator *allocator);

/* Looks, if its time has come or the budget is exceeded. */
void share_pass(struct governor *governor, uint64_t now_ns);

/* So much is to go, what is needed last first; what cannot go now does as soon as it can. */
void share_spill(struct governor *governor, uint64_t bytes, bool take_reserves);

/* What has been resident for longer is to go, but for head reserves unless they are taken too. */
void share_spill_older(struct governor *governor, uint64_t age_ns, bool take_reserves);

#endif
