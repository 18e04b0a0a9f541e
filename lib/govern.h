/* SPDX-License-Identifier: MIT */
/* What a governor does with a queue of others: looks at it, and has its writer's policy look though
 * its writer may be idle. The caller holds a reference and no lock. */
#ifndef SPILLWAY_LIB_GOVERN_H
#define SPILLWAY_LIB_GOVERN_H

#include "queue.h"

/* How a queue stands at one moment. */
struct queue_figures {
    uint64_t head_bytes;  /* resident, before anything that is paged */
    uint64_t paged_bytes; /* behind those */
    uint64_t tail_bytes;  /* resident, behind those: of several stretches the sum */
    uint64_t extended_bytes_total, gone_bytes_total;
    bool spills; /* it has a policy for its writer */
};

/* Another reference, unless the last one has gone and the queue is about to be freed. */
bool queue_try_acquire(struct queue *queue);

void queue_look(struct queue *queue, struct queue_figures *out);

/* What the policy of a queue's writer is to do, see spw_guidance. */
struct queue_guidance {
    uint64_t keep_bytes;
    uint64_t until_position;
    bool spill_now; /* for the one look that this call has it have */
};

/* Guides the queue from now on; has its policy look at once where it is to spill now, several times
 * if it asks for that. Returns how many bytes it spilled. */
uint64_t queue_guide(struct queue *queue, const struct queue_guidance *guidance);

#endif
