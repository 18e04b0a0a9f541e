/* SPDX-License-Identifier: MIT */
#include "govern.h"

/* Times that the lock is taken for one call: a policy that has more to do goes on the next time. */
enum { LOOKS_MAX = 64 };

bool queue_try_acquire(struct queue *queue)
{
    unsigned refs = atomic_load_explicit(&queue->refs, memory_order_relaxed);
    while (refs > 0)
        if (atomic_compare_exchange_weak_explicit(&queue->refs, &refs, refs + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    return false;
}

void queue_look(struct queue *queue, struct queue_figures *out)
{
    pthread_mutex_lock(&queue->lock);
    const struct spw_stretch *first = queue->view.first;
    const struct queue_sums *sums = queue->view.sums;
    out->head_bytes = first && !first->paged ? first->list.bytes : 0;
    out->paged_bytes = sums->paged_bytes;
    out->tail_bytes = sums->resident_bytes - out->head_bytes;
    out->extended_bytes_total = sums->extended_bytes_total;
    out->gone_bytes_total = sums->gone_bytes_total;
    pthread_mutex_unlock(&queue->lock);
    out->spills = queue->writer_policy != NULL;
}

/* One look of the writer's policy, what it spilled is added. Returns whether another one may do
 * more. */
static bool policy_look(struct queue *queue, uint64_t *spilled_bytes, bool *fire)
{
    struct spw_view *view = &queue->view;
    unsigned head_changes = view->head_changes;
    uint64_t before_bytes = view->sums->resident_bytes;
    bool paused = queue_apply(queue, queue->writer_policy, &queue->writer_rest);
    uint64_t after_bytes = view->sums->resident_bytes;
    *fire |= queue->armed && view->head_changes != head_changes;
    if (after_bytes >= before_bytes)
        return paused;
    *spilled_bytes += before_bytes - after_bytes;
    return true;
}

uint64_t queue_guide(struct queue *queue, const struct queue_guidance *guidance)
{
    struct spw_view *view = &queue->view;
    struct stopwatch watch;
    uint64_t spilled_bytes = 0;
    bool fire = false, more = true;
    stopwatch_init(&watch, queue->os, queue->account);
    for (unsigned i = 0; more && i < LOOKS_MAX; i++) {
        queue_lock(queue, &watch);
        if (view->keep_bytes != guidance->keep_bytes && queue->writer_policy)
            queue->writer_rest = rest_none(); /* it rested on what it knew */
        view->keep_bytes = guidance->keep_bytes;
        view->until_position = guidance->until_position;
        view->spill_now = guidance->spill_now;
        more = guidance->spill_now && queue->writer_policy &&
               policy_look(queue, &spilled_bytes, &fire);
        view->until_position = UINT64_MAX;
        view->spill_now = false;
        queue_unlock(queue, &watch);
    }
    if (fire)
        queue_fire(queue);
    return spilled_bytes;
}
