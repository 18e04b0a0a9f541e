/* SPDX-License-Identifier: MIT */
/*
 * How much each of several queues keeps resident, so that what is needed last goes first. A queue
 * is drained at a rate, so each of its bytes has a time until it is needed: the bytes ahead of it
 * through that rate. There is one horizon for all queues: what is needed within it stays. A pure
 * function of figures; who acts on it is in share.c.
 */
#ifndef SPILLWAY_POOL_PLAN_H
#define SPILLWAY_POOL_PLAN_H

#include <stddef.h>
#include <stdint.h>

struct plan_queue {
    void *queue;            /* whose figures these are; not used here */
    uint64_t head_bytes;    /* resident, before anything that is paged */
    uint64_t paged_bytes;   /* behind those */
    uint64_t tail_bytes;    /* resident, behind those */
    uint64_t reserve_bytes; /* next to the head, which it keeps whatever the plan */
    double rate;            /* bytes a second that leave at the head; below 1 nobody drains it */
    uint64_t keep_bytes;    /* the plan: so much next to the head; UINT64_MAX: whatever it has */
};

/* A horizon that nothing lies behind. */
#define PLAN_FOR_EVER (1.0 / 0.0)

static inline uint64_t plan_resident(const struct plan_queue *queue)
{
    return queue->head_bytes + queue->tail_bytes;
}

/* What is left of it with this plan. */
static inline uint64_t plan_kept(const struct plan_queue *queue)
{
    uint64_t resident = plan_resident(queue);
    return queue->keep_bytes < resident ? queue->keep_bytes : resident;
}

/*
 * Fills in what each keeps, so that all of it together is `target_bytes` at most, or else no more
 * than the head reserves. Queues that nobody drains give up first: among them what has most bytes
 * ahead of it. Returns the horizon in seconds: 0 where only these are left,
 * PLAN_FOR_EVER where everything fits.
 */
double plan_make(struct plan_queue *queues, size_t count, uint64_t target_bytes);

/* In how many seconds the last resident byte is needed; PLAN_FOR_EVER: never. */
double plan_seconds(const struct plan_queue *queue);

/* For qsort(3): what is needed last comes first. */
int plan_compare(const void *a, const void *b);

#endif
