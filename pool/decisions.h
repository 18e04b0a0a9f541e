/* SPDX-License-Identifier: MIT */
/* The last decisions over all queues of a pool, for whoever asks what was done and why. */
#ifndef SPILLWAY_POOL_DECISIONS_H
#define SPILLWAY_POOL_DECISIONS_H

#include <pthread.h>
#include <stdint.h>

#include "spillway/pool.h"

struct decisions {
    pthread_mutex_t lock; /* innermost; guards the rest */
    uint64_t count;       /* so far: the number of the last one */
    spw_decision *ring;   /* SPILLWAY_DECISIONS_KEPT of them */
};

/* `ring` is empty memory that others may read meanwhile; it must outlive the decisions. */
int decisions_init(struct decisions *decisions, spw_decision *ring);
void decisions_fini(struct decisions *decisions);

/* Keeps a copy, under the next number, which goes to `decision` too. */
void decisions_add(struct decisions *decisions, spw_decision *decision);

/* As spw_pool_decisions(). */
long decisions_copy(struct decisions *decisions, uint64_t from, spw_decision *out, size_t count);

#endif
