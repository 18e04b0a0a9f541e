/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <stdbool.h>

/* Halvings of the horizon: it may lie years ahead because of one queue, while nanoseconds matter to
 * another. */
enum { PLAN_ROUNDS = 64 };

/* Of a queue that was drained once, what is seen of late never falls to nothing. Below this, in
 * bytes a second, nobody does; and no horizon lies farther ahead than the rounds can tell apart. */
#define RATE_LEAST 1.0

static bool is_drained(const struct plan_queue *queue)
{
    return queue->rate >= RATE_LEAST;
}

/* Where nobody drains a queue, only its own bytes say what is needed later. */
static double rate_of(const struct plan_queue *queue)
{
    return is_drained(queue) ? queue->rate : 1;
}

static double seconds_of(const struct plan_queue *queue)
{
    uint64_t ahead = plan_resident(queue);
    if (queue->tail_bytes > 0)
        ahead += queue->paged_bytes;
    return (double)ahead / rate_of(queue);
}

double plan_seconds(const struct plan_queue *queue)
{
    if (plan_resident(queue) == 0)
        return 0;
    return is_drained(queue) ? seconds_of(queue) : PLAN_FOR_EVER;
}

int plan_compare(const void *a, const void *b)
{
    const struct plan_queue *first = a, *second = b;
    if (is_drained(first) != is_drained(second))
        return is_drained(first) ? 1 : -1;
    return (seconds_of(first) < seconds_of(second)) - (seconds_of(first) > seconds_of(second));
}

/* What a queue keeps with this horizon: of what is resident, and may come to be, that which is
 * needed within it; and the head reserve. */
static uint64_t keep_within(const struct plan_queue *queue, double seconds)
{
    double reach = rate_of(queue) * seconds;
    uint64_t ahead = reach < (double)(UINT64_MAX / 2) ? (uint64_t)reach : UINT64_MAX / 2;
    uint64_t keep = ahead < queue->head_bytes ? ahead : queue->head_bytes;
    if (ahead > queue->head_bytes + queue->paged_bytes)
        keep = ahead - queue->paged_bytes;
    return keep > queue->reserve_bytes ? keep : queue->reserve_bytes;
}

/* Queues that are drained have one horizon, the others one of their own. Returns what all keep. */
static uint64_t kept_within(struct plan_queue *queues, size_t count, double drained_s,
                            double idle_s)
{
    uint64_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        queues[i].keep_bytes = keep_within(&queues[i], is_drained(&queues[i]) ? drained_s : idle_s);
        kept += plan_kept(&queues[i]);
    }
    return kept;
}

/* Behind the last byte of these queues, however it is rounded. */
static double farthest(const struct plan_queue *queues, size_t count, bool drained)
{
    double high = 0;
    for (size_t i = 0; i < count; i++)
        if (is_drained(&queues[i]) == drained && seconds_of(&queues[i]) > high)
            high = seconds_of(&queues[i]);
    return high * 1.000001;
}

double plan_make(struct plan_queue *queues, size_t count, uint64_t target_bytes)
{
    uint64_t resident = 0;
    for (size_t i = 0; i < count; i++) {
        queues[i].keep_bytes = UINT64_MAX;
        resident += plan_resident(&queues[i]);
    }
    if (resident <= target_bytes)
        return PLAN_FOR_EVER;
    double drained_s = farthest(queues, count, true), low = 0, high = drained_s;
    /* What nobody drains goes first; where that is enough, only the part of it that has to. */
    int idle = kept_within(queues, count, drained_s, 0) <= target_bytes;
    if (idle)
        high = farthest(queues, count, false);
    for (unsigned i = 0; i < PLAN_ROUNDS; i++) {
        double middle = low + (high - low) / 2;
        uint64_t kept = idle ? kept_within(queues, count, drained_s, middle)
                             : kept_within(queues, count, middle, 0);
        if (kept <= target_bytes)
            low = middle;
        else
            high = middle;
    }
    if (idle)
        kept_within(queues, count, drained_s, low);
    else
        kept_within(queues, count, low, 0);
    return idle ? drained_s : low;
}
