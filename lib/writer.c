/* SPDX-License-Identifier: MIT */
/* The writer's end of a queue. */
#include <errno.h>

#include "alloc.h"
#include "growable.h"
#include "owner.h"
#include "queue.h"

/* The error of a queue that takes no more, else 0. With the lock held. */
static int writer_refused(const struct queue *queue)
{
    if (queue->reader_open)
        return 0;
    return queue->reader_error ? queue->reader_error : -EPIPE;
}

/* Blocks made ready before the lock is taken, so that extending under it cannot fail halfway. */
struct spares {
    struct spw_block *first; /* linked by next */
};

static void spares_free(struct spares *spares)
{
    while (spares->first) {
        struct spw_block *block = spares->first;
        spares->first = block->next;
        block_close(block);
    }
}

static int spares_make(struct spares *spares, struct queue *queue, size_t blocks)
{
    for (; blocks > 0; blocks--) {
        struct spw_block *block =
            block_open(queue->allocator, queue->account, BLOCK_ENTRIES, false);
        if (!block) {
            spares_free(spares);
            return -ENOMEM;
        }
        block->next = spares->first;
        spares->first = block;
    }
    return 0;
}

static struct spw_block *spares_take(struct spares *spares)
{
    struct spw_block *block = spares->first;
    if (block)
        spares->first = block->next;
    return block;
}

/*
 * How many blocks `count` new entries can need at most, given the room at the tail.
 * Only the writer adds there, but the reader can empty the queue, and a policy page the tail, so
 * the answer may be stale: push_all() checks again.
 */
static size_t blocks_needed(const struct queue *queue, size_t count)
{
    size_t room = view_needs_block(&queue->view) ? 0
                                                 : (size_t)queue->view.last->list.last->capacity -
                                                       queue->view.last->list.last->end;
    if (count <= room)
        return 0;
    size_t blocks = (count - room + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES;
    return blocks - (queue->view.spare_block != NULL);
}

/* With the lock held and enough spares: takes all values. */
static void push_all(struct queue *queue, spw_bytes *bytes, size_t count, struct spares *spares)
{
    struct spw_view *view = &queue->view;
    struct queue_sums *sums = view->sums;
    struct spw_block *spare = NULL;
    for (size_t i = 0; i < count; i++) {
        if (bytes[i].len == 0)
            continue; /* released by the caller, without the lock */
        sums->extended_bytes_total += bytes[i].len;
        if (!spare)
            spare = spares_take(spares);
        sums->merged_total += view_push(view, &bytes[i], &spare) == 1;
    }
    if (spare) {
        spare->next = spares->first;
        spares->first = spare;
    }
    queue_report(queue);
}

/* Lets the policy look; true when it changed what an armed reader waits for. */
static bool apply_locked(struct queue *queue)
{
    unsigned head_changes = queue->view.head_changes;
    queue_apply(queue, queue->writer_policy, &queue->writer_rest);
    return queue->armed && queue->view.head_changes != head_changes;
}

static bool apply_again(struct queue *queue)
{
    queue_lock(queue, &queue->writer_watch);
    bool fire = apply_locked(queue);
    queue_unlock(queue, &queue->writer_watch);
    return fire;
}

/* Waits as the policy asks for, and lets it look again; never while holding the lock. `*held`: we
 * hold a reference on the queue. */
static void writer_settle(struct queue *queue, unsigned flags, bool *held)
{
    spw_policy *policy = queue->writer_policy;
    if (!OPS_HAS(policy->ops, settle))
        return;
    uint64_t since_ns = stopwatch_may_wait(&queue->writer_watch);
    if (policy->ops->settle(policy, flags) != 1)
        return;
    stopwatch_waited(&queue->writer_watch, since_ns);
    if (!*held)
        queue_acquire(queue); /* a callback may close the writer */
    *held = true;
    do {
        if (apply_again(queue))
            queue_fire(queue);
    } while (policy->ops->settle(policy, flags) == 1);
}

static int writer_admit(struct queue *queue, const spw_bytes *bytes, size_t count, unsigned flags,
                        bool *fire)
{
    spw_policy *policy = queue->writer_policy;
    if (!policy || !OPS_HAS(policy->ops, admit) || !flags)
        return 0;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += bytes_foreign_part(&bytes[i]);
    int err = policy->ops->admit(policy, total, flags);
    if (!err)
        return 0;
    /* What stands in the way may be spillable by now. */
    do
        *fire |= apply_again(queue);
    while (OPS_HAS(policy->ops, settle) &&
           policy->ops->settle(policy, flags | SPILLWAY_EXTEND_NOWAIT) == 1);
    return policy->ops->admit(policy, total, flags);
}

/*
 * Appends everything or nothing. `*fire` is set when the reader is to be woken, `*settle` when the
 * policy may have to wait.
 */
static int writer_append(struct queue *queue, spw_bytes *bytes, size_t count, bool *fire,
                         bool *settle)
{
    struct spares spares = {0};
    queue_lock(queue, &queue->writer_watch);
    int err = writer_refused(queue);
    for (size_t made = 0, needed; !err && (needed = blocks_needed(queue, count)) > made;) {
        queue_unlock(queue, &queue->writer_watch);
        err = spares_make(&spares, queue, needed - made);
        made = needed;
        queue_lock(queue, &queue->writer_watch);
        if (!err)
            err = writer_refused(queue);
    }
    if (!err && queue->view.spare_count == 0)
        err = view_reserve(&queue->view);
    if (!err) {
        const struct queue_sums *sums = queue->view.sums;
        bool was_empty = sums->entries == 0;
        push_all(queue, bytes, count, &spares);
        *fire |= was_empty && sums->entries > 0 && queue->armed;
        *settle = !queue_rests(queue, &queue->writer_rest);
        if (*settle)
            *fire |= apply_locked(queue);
    }
    queue_unlock(queue, &queue->writer_watch);
    spares_free(&spares);
    for (size_t i = 0; !err && i < count; i++)
        if (bytes[i].owner) /* what was empty */
            spw_bytes_release(&bytes[i]);
    return err;
}

int spw_writer_extend(spw_writer *writer, spw_bytes *bytes, size_t count, unsigned flags)
{
    struct queue *queue = writer->queue;
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    bool fire = false, settle = false;
    stopwatch_begin(&queue->writer_watch);
    int err = writer_admit(queue, bytes, count, flags, &fire);
    if (!err)
        err = writer_append(queue, bytes, count, &fire, &settle);
    if (fire) {
        queue_acquire(queue); /* a callback may close both ends */
        queue_fire(queue);
    }
    bool held = fire;
    if (settle)
        writer_settle(queue, flags, &held);
    stopwatch_end(&queue->writer_watch, extend_ns);
    if (held)
        queue_release(queue);
    return err;
}

static void writer_end(spw_writer *writer, bool clean, int err)
{
    if (!writer || queue_in_child(writer->queue))
        return;
    struct queue *queue = writer->queue;
    struct spw_view rest = {0};
    pthread_mutex_lock(&queue->lock);
    queue->writer_open = false;
    if (!clean) {
        queue->writer_error = err < 0 ? err : -ECONNRESET;
        queue_take_all(queue, &rest);
    }
    pthread_mutex_unlock(&queue->lock);
    view_fini(&rest);
    account_relieved(queue->account);
    queue_fire(queue);
    allocator_release(queue->allocator, writer, sizeof(*writer));
    queue_release(queue);
}

void spw_writer_close(spw_writer *writer)
{
    writer_end(writer, true, 0);
}

void spw_writer_abort(spw_writer *writer, int err)
{
    writer_end(writer, false, err);
}

int spw_writer_info(const spw_writer *writer, spw_queue_info *info)
{
    return queue_info(writer->queue, info);
}
