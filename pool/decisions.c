/* SPDX-License-Identifier: MIT */
#include "decisions.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "../lib/growable.h"

int decisions_init(struct decisions *decisions, spw_decision *ring)
{
    decisions->ring = ring;
    return -pthread_mutex_init(&decisions->lock, NULL);
}

void decisions_fini(struct decisions *decisions)
{
    pthread_mutex_destroy(&decisions->lock);
}

static spw_decision *decision_at(struct decisions *decisions, uint64_t number)
{
    return &decisions->ring[number % SPILLWAY_DECISIONS_KEPT];
}

void decisions_add(struct decisions *decisions, spw_decision *decision)
{
    pthread_mutex_lock(&decisions->lock);
    decision->number = ++decisions->count;
    spw_decision *place = decision_at(decisions, decision->number);
    /* Who looks from another process takes only what has the same number before and behind. */
    place->number = 0;
    atomic_thread_fence(memory_order_release);
    spw_decision now = *decision;
    now.number = 0;
    *place = now;
    atomic_thread_fence(memory_order_release);
    place->number = decision->number;
    pthread_mutex_unlock(&decisions->lock);
}

long decisions_copy(struct decisions *decisions, uint64_t from, spw_decision *out, size_t count)
{
    size_t struct_bytes = out ? out->size : 0;
    if (!out || growable_check(struct_bytes, DECISION_FIRST_BYTES))
        return -EINVAL;
    long copied = 0;
    pthread_mutex_lock(&decisions->lock);
    uint64_t last = decisions->count;
    uint64_t oldest = last > SPILLWAY_DECISIONS_KEPT ? last - SPILLWAY_DECISIONS_KEPT + 1 : 1;
    for (uint64_t i = from > oldest ? from : oldest; i <= last && (size_t)copied < count; i++) {
        /* An array of what the caller takes for a decision, which may be longer or shorter. */
        spw_decision *to = (spw_decision *)(void *)((char *)out + (size_t)copied * struct_bytes);
        memcpy(&to->size, &struct_bytes, sizeof(struct_bytes));
        growable_write(to, DECISION_FIRST_BYTES, decision_at(decisions, i), sizeof(*to));
        copied++;
    }
    pthread_mutex_unlock(&decisions->lock);
    return copied;
}
