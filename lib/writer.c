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

/* Makes sure that `count` values can be taken: what that needs is allocated without the lock, which
 * is held before and after. Returns 0 or why none will be taken. */
static int writer_prepare(struct queue *queue, size_t count, struct spares *spares)
{
    int err = writer_refused(queue);
    for (size_t made = 0, needed; !err && (needed = blocks_needed(queue, count)) > made;) {
        queue_unlock(queue, &queue->writer_watch);
        err = spares_make(spares, queue, needed - made);
        made = needed;
        queue_lock(queue, &queue->writer_watch);
        if (!err)
            err = writer_refused(queue);
    }
    if (!err && queue->view.spare_count == 0)
        err = view_reserve(&queue->view);
    return err;
}

/* What follows an extend, without the lock: the reader is woken, the policy may wait. Then the call
 * is over. */
static void writer_finish(struct queue *queue, unsigned flags, bool fire, bool settle)
{
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
}

/* Appends everything or nothing, tells whoever is to hear of it, and ends the call. With the lock
 * held, which it gives up. `fire`: the reader is to be woken anyway. */
static int extend_locked(struct queue *queue, spw_bytes *bytes, size_t count, unsigned flags,
                         bool fire)
{
    struct spares spares = {0};
    bool settle = false;
    int err = writer_prepare(queue, count, &spares);
    if (!err) {
        const struct queue_sums *sums = queue->view.sums;
        bool was_empty = sums->entries == 0;
        push_all(queue, bytes, count, &spares);
        fire |= was_empty && sums->entries > 0 && queue->armed;
        settle = !queue_rests(queue, &queue->writer_rest);
        if (settle)
            fire |= apply_locked(queue);
    }
    queue_unlock(queue, &queue->writer_watch);
    spares_free(&spares);
    for (size_t i = 0; !err && i < count; i++)
        if (bytes[i].owner) /* what was empty */
            spw_bytes_release(&bytes[i]);
    writer_finish(queue, flags, fire, settle);
    return err;
}

/* Asks the policy first, for those who do not want to wait or to go over the budget. */
static int extend_admitted(struct queue *queue, spw_bytes *bytes, size_t count, unsigned flags)
{
    bool fire = false;
    int err = writer_admit(queue, bytes, count, flags, &fire);
    if (err) {
        writer_finish(queue, flags, fire, false);
        return err;
    }
    queue_lock(queue, &queue->writer_watch);
    return extend_locked(queue, bytes, count, flags, fire);
}

/*
 * The usual case: one value goes to a tail that takes it, and nobody has to hear of that. There are
 * entries before it, so the reader is not waiting for one, and has not closed. Takes it, or changes
 * nothing. With the lock held.
 */
static inline bool extend_quietly(struct queue *queue, spw_bytes *bytes)
{
    struct spw_view *view = &queue->view;
    struct queue_sums *sums = view->sums;
    uint64_t len = bytes->len, foreign_bytes = bytes_foreign_part(bytes);
    if (len == 0 || queue_must_report(queue, view->foreign_bytes + foreign_bytes) ||
        !rest_holds(&queue->writer_rest, sums->resident_bytes + len, sums->paged_entries))
        return false;
    int pushed = view_push_here(view, bytes);
    if (pushed < 0)
        return false;
    if (pushed > 0)
        sums->merged_total++;
    sums->extended_bytes_total += len;
    return true;
}

int spw_writer_extend(spw_writer *writer, spw_bytes *bytes, size_t count, unsigned flags)
{
    struct queue *queue = writer->queue;
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    stopwatch_begin(&queue->writer_watch);
    if (flags != 0)
        return extend_admitted(queue, bytes, count, flags);
    queue_lock(queue, &queue->writer_watch);
    if (count != 1 || !extend_quietly(queue, bytes))
        return extend_locked(queue, bytes, count, 0, false);
    queue_unlock_quiet(queue, &queue->writer_watch);
    stopwatch_end(&queue->writer_watch, extend_ns);
    return 0;
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
