/* SPDX-License-Identifier: MIT */
/* The reader's end of a queue. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>

#include "alloc.h"
#include "growable.h"
#include "queue.h"

/* Between two tries of a head whose handle cannot tell when it is ready; doubled up to the last. */
#define RETRY_FIRST_NS UINT64_C(1000000)
#define RETRY_LAST_NS  UINT64_C(200000000)

/* Lets the reader's policy bring the head back, or tries it itself where the policy did not. */
static int head_fetch(struct queue *queue)
{
    struct spw_view *view = &queue->view;
    view->fetch_error = 0;
    if (!queue_rests(queue, &queue->reader_rest))
        queue_apply(queue, queue->reader_policy, &queue->reader_rest);
    spw_cursor head = spw_view_head(view);
    spw_handle *handle = spw_cursor_handle(&head);
    int err = handle ? view->fetch_error : 0;
    if (handle && !err) {
        long fetched = spw_view_fetch(view, &head, SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_HEAD);
        err = fetched < 0 ? (int)fetched : 0;
    }
    if (err == -EAGAIN && OPS_HAS(handle->ops, prefetch)) {
        head = spw_view_head(view);
        handle = spw_cursor_handle(&head);
        int started = handle->ops->prefetch(handle, SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_HEAD);
        if (started)
            err = started;
    }
    queue_report(queue);
    /* Short memory says nothing about the run. */
    queue->head_failed = err && err != -EAGAIN && err != -ENOMEM;
    queue->failed_changes = view->head_changes;
    return err;
}

/* How many entries are taken with the lock held once, and how often a drain lets the policy look
 * ahead of what it took, each time with the lock taken anew. */
enum { HOLD_ENTRIES = 256, LOOKS_AHEAD = 32 };

/* What a drain has to do after it, without the lock. */
struct drained {
    bool relieve; /* somebody waits for memory to be given up */
    bool settle;  /* the policy has looked */
    bool ahead;   /* and should look again at what comes next */
    struct spw_block *emptied;
};

/* Lets the policy ask for what comes next, with what `patience` is left. Returns whether there may
 * be more to ask for. With the lock held. */
static bool look_ahead(struct queue *queue, unsigned patience)
{
    struct spw_view *view = &queue->view;
    spw_policy *policy = queue->reader_policy;
    if (view->sums->paged_entries == 0 || !policy || !OPS_HAS(policy->ops, ahead))
        return false;
    view->patience = patience;
    bool more = policy->ops->ahead(policy, view) == 1;
    view->patience = VIEW_PATIENT;
    return more;
}

/* One drain with the lock held; as spw_reader_drain(). */
static long drain_locked(struct queue *queue, spw_bytes *out, size_t capacity,
                         struct drained *drained)
{
    struct spw_view *view = &queue->view;
    if (queue->writer_error)
        return queue->writer_error;
    bool quiet = view->sums->paged_entries == 0 && queue_rests(queue, &queue->reader_rest);
    int err = quiet ? 0 : head_fetch(queue);
    size_t count = 0, held = 0;
    while (count < capacity && view->first && !view->first->paged) {
        if (held >= HOLD_ENTRIES) {
            queue_unlock(queue, &queue->reader_watch);
            queue_lock(queue, &queue->reader_watch);
            held = 0;
            if (queue->writer_error || !view->first || view->first->paged)
                break; /* what was taken is taken */
        }
        size_t taken = view_pop(view, &out[count], capacity - count);
        count += taken;
        held += taken;
    }
    drained->emptied = view->emptied;
    view->emptied = NULL;
    queue_report(queue);
    if (epoch_read(queue->account_epoch) != queue->account_seen)
        drained->relieve |= queue_look_at_account(queue);
    drained->settle |= !quiet;
    drained->ahead = count > 0 && look_ahead(queue, VIEW_PATIENCE / 2);
    if (count > 0)
        return (long)count;
    if (view->sums->entries == 0)
        return queue->writer_open ? -EAGAIN : 0;
    return err ? err : -EAGAIN;
}

/* The event descriptor is readable exactly while draining may bring something. */
static void event_reset(struct queue *queue)
{
    if (queue->event_fd < 0)
        return;
    if (queue->event_set) {
        uint64_t count;
        while (queue->os->read(queue->event_fd, &count, sizeof(count)) == -EINTR)
            ;
        queue->event_set = false;
    }
    if (queue_arm(queue, ARM_EVENT) != 0)
        queue_set_event(queue);
}

static void reader_settle(struct queue *queue, const struct drained *drained)
{
    blocks_close(drained->emptied);
    if (drained->relieve)
        account_relieved(queue->account);
    bool more = drained->ahead;
    for (unsigned i = 0; more && i < LOOKS_AHEAD; i++) {
        queue_lock(queue, &queue->reader_watch);
        more = look_ahead(queue, VIEW_PATIENCE);
        queue_unlock(queue, &queue->reader_watch);
    }
    spw_policy *policy = queue->reader_policy;
    if (drained->settle && policy && OPS_HAS(policy->ops, settle))
        policy->ops->settle(policy, SPILLWAY_EXTEND_NOWAIT);
}

long spw_reader_drain(spw_reader *reader, spw_bytes *out, size_t capacity)
{
    struct queue *queue = reader->queue;
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    if (capacity == 0)
        return -EINVAL;
    struct drained drained = {0};
    stopwatch_begin(&queue->reader_watch);
    queue_lock(queue, &queue->reader_watch);
    long count = drain_locked(queue, out, capacity, &drained);
    if (count == -EAGAIN)
        event_reset(queue);
    queue_unlock(queue, &queue->reader_watch);
    reader_settle(queue, &drained);
    stopwatch_end(&queue->reader_watch, drain_ns);
    return count;
}

static bool news_sleep(struct queue *queue, uint64_t deadline_ns)
{
    if (deadline_ns == SPILLWAY_FOREVER) {
        pthread_cond_wait(&queue->news, &queue->lock);
        return true;
    }
    if (queue->os->clock_ns() >= deadline_ns)
        return false;
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                             .tv_nsec = (long)(deadline_ns % 1000000000)};
    pthread_cond_timedwait(&queue->news, &queue->lock, &until);
    return true;
}

/* Sleeps until woken or `deadline_ns`; false when that has passed. With the lock held. */
static bool news_wait(struct queue *queue, uint64_t deadline_ns)
{
    struct stopwatch *watch = &queue->reader_watch;
    bool paged = queue->view.sums->entries > 0;
    uint64_t since_ns = paged ? stopwatch_may_wait(watch) : 0;
    uint64_t start_ns = paged && queue->account ? queue->os->clock_ns() : 0;
    view_uncork(&queue->view);
    stopwatch_unlocking(watch, &queue->view);
    stopwatch_waited(watch, since_ns);
    bool woken = news_sleep(queue, deadline_ns);
    if (start_ns != 0)
        atomic_fetch_add_explicit(&queue->account->counters->reader_wait_ns_total,
                                  queue->os->clock_ns() - start_ns, memory_order_relaxed);
    if (!paged)
        stopwatch_restart(watch); /* there was nothing to drain: that is no time of ours */
    stopwatch_locked(watch);
    return woken;
}

static uint64_t deadline_after(const struct queue *queue, uint64_t timeout_ns)
{
    if (timeout_ns == SPILLWAY_FOREVER)
        return SPILLWAY_FOREVER;
    uint64_t now = queue->os->clock_ns();
    return timeout_ns > SPILLWAY_FOREVER - now ? SPILLWAY_FOREVER : now + timeout_ns;
}

long spw_reader_drain_wait(spw_reader *reader, spw_bytes *out, size_t capacity, uint64_t timeout_ns)
{
    struct queue *queue = reader->queue;
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    if (capacity == 0)
        return -EINVAL;
    uint64_t deadline_ns = deadline_after(queue, timeout_ns);
    uint64_t retry_ns = RETRY_FIRST_NS;
    bool uncorked = false;
    bool again = false; /* the last try came to nothing though the head was called ready */
    struct drained drained = {0};
    long count;
    stopwatch_begin(&queue->reader_watch);
    queue_lock(queue, &queue->reader_watch);
    while ((count = drain_locked(queue, out, capacity, &drained)) == -EAGAIN) {
        if (queue->view.corked && !uncorked) { /* what we wait for must begin; then look again */
            uncorked = true;
            queue_unlock(queue, &queue->reader_watch);
            queue_lock(queue, &queue->reader_watch);
            continue;
        }
        uncorked = false;
        int armed = queue_arm(queue, ARM_WAIT);
        if (armed == 1 && !again) {
            again = true;
            continue;
        }
        again = false;
        uint64_t wake_ns = deadline_ns;
        if (armed) { /* nobody will wake us: look again by the clock, less and less often */
            queue->armed |= ARM_WAIT;
            wake_ns = deadline_after(queue, retry_ns);
            wake_ns = wake_ns < deadline_ns ? wake_ns : deadline_ns;
            retry_ns = retry_ns * 2 < RETRY_LAST_NS ? retry_ns * 2 : RETRY_LAST_NS;
        }
        if (!news_wait(queue, wake_ns) && wake_ns == deadline_ns) {
            count = -ETIMEDOUT;
            break;
        }
    }
    queue->armed &= ~(unsigned)ARM_WAIT;
    queue_unlock(queue, &queue->reader_watch);
    reader_settle(queue, &drained);
    stopwatch_end(&queue->reader_watch, drain_ns);
    return count;
}

int spw_reader_complete(const spw_reader *reader)
{
    struct queue *queue = reader->queue;
    if (queue_in_child(queue))
        return 0;
    pthread_mutex_lock(&queue->lock);
    int complete = !queue->writer_open && !queue->writer_error && queue->view.sums->entries == 0;
    pthread_mutex_unlock(&queue->lock);
    return complete;
}

int spw_reader_arm(spw_reader *reader, spw_ready_fn *ready, void *context)
{
    struct queue *queue = reader->queue;
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    pthread_mutex_lock(&queue->lock);
    queue->armed &= ~(unsigned)ARM_CALLBACK; /* an older arming ends here, whatever follows */
    queue->ready = ready;
    queue->ready_context = context;
    int armed = queue_arm(queue, ARM_CALLBACK);
    queue_unlock_untimed(queue);
    return armed;
}

int spw_reader_event_fd(spw_reader *reader)
{
    struct queue *queue = reader->queue;
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    pthread_mutex_lock(&queue->lock);
    int fd = queue->event_fd;
    if (fd < 0) {
        fd = queue->os->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd >= 0) {
            queue->event_fd = fd;
            event_reset(queue);
        }
    }
    queue_unlock_untimed(queue);
    return fd;
}

int spw_reader_skip(spw_reader *reader, uint64_t *lost_bytes)
{
    struct queue *queue = reader->queue;
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    uint64_t size_bytes = 0;
    spw_handle *handle = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->head_failed && queue->failed_changes == queue->view.head_changes &&
        queue->view.first && queue->view.first->paged) {
        handle = view_pop_handle(&queue->view, &size_bytes);
        queue->head_failed = false;
        queue->view.sums->skipped_bytes_total += size_bytes;
    }
    bool fire = handle && queue->armed; /* with that run, which will never be ready now */
    pthread_mutex_unlock(&queue->lock);
    if (!handle)
        return -EINVAL;
    handle->ops->drop(handle);
    if (lost_bytes)
        *lost_bytes = size_bytes;
    if (fire) {
        queue_acquire(queue); /* a callback may close both ends */
        queue_fire(queue);
        queue_release(queue);
    }
    return 0;
}

static void reader_end(spw_reader *reader, int err)
{
    if (!reader || queue_in_child(reader->queue))
        return;
    struct queue *queue = reader->queue;
    struct spw_view rest;
    pthread_mutex_lock(&queue->lock);
    queue->reader_open = false;
    queue->reader_error = err;
    queue->armed = 0;
    queue_wait_quiet(queue);
    queue_take_all(queue, &rest);
    int event_fd = queue->event_fd;
    queue->event_fd = -1;
    pthread_mutex_unlock(&queue->lock);
    os_close(queue->os, event_fd);
    view_fini(&rest);
    account_relieved(queue->account);
    allocator_release(queue->allocator, reader, sizeof(*reader));
    queue_release(queue);
}

void spw_reader_close(spw_reader *reader)
{
    reader_end(reader, 0);
}

void spw_reader_abort(spw_reader *reader, int err)
{
    reader_end(reader, err < 0 ? err : -ECONNRESET);
}

int spw_reader_info(const spw_reader *reader, spw_queue_info *info)
{
    return queue_info(reader->queue, info);
}
