/* SPDX-License-Identifier: MIT */
/* The queues of a pool, for who looks over all of them. */
#ifndef SPILLWAY_POOL_CENSUS_H
#define SPILLWAY_POOL_CENSUS_H

#include <pthread.h>

struct queue;

struct census {
    pthread_mutex_t lock; /* innermost; guards the list, and each queue's place in it */
    struct queue *first, *last;
    unsigned count;
};

int census_init(struct census *census);
void census_fini(struct census *census);

/* Called by queues, when they are open and before they are freed. */
void census_add(struct census *census, struct queue *queue);
void census_remove(struct census *census, struct queue *queue);

unsigned census_count(struct census *census);

/* Queues, with a reference on each, in the order they were opened; those that are about to be freed
 * are left out. Returns how many, `most` at most. */
unsigned census_take(struct census *census, struct queue **out, unsigned most);

#endif
