/* SPDX-License-Identifier: MIT */
/* The life of a queue, and how its reader is woken. The ends are in writer.c and reader.c. */
#include "queue.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "growable.h"

static struct queue *queue_of(spw_waker *waker)
{
    return (struct queue *)waker;
}

static void waker_wake(spw_waker *waker)
{
    queue_fire(queue_of(waker));
}

static void waker_acquire(spw_waker *waker)
{
    queue_acquire(queue_of(waker));
}

static void waker_release(spw_waker *waker)
{
    queue_release(queue_of(waker));
}

static int locks_init(struct queue *queue)
{
    pthread_condattr_t attributes;
    int err = -pthread_condattr_init(&attributes);
    if (err)
        return err;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    err = -pthread_cond_init(&queue->news, &attributes);
    pthread_condattr_destroy(&attributes);
    if (err)
        return err;
    err = -pthread_cond_init(&queue->quiet, NULL);
    if (err)
        goto no_quiet;
    err = -pthread_mutex_init(&queue->lock, NULL);
    if (err)
        goto no_lock;
    return 0;

no_lock:
    pthread_cond_destroy(&queue->quiet);
no_quiet:
    pthread_cond_destroy(&queue->news);
    return err;
}

/* Without an account there is nothing to report and nobody to look for. */
static void account_attach(struct queue *queue)
{
    static const unsigned always = 1;
    struct spw_account *account = queue->account;
    queue->alive = account && account->guard ? account->guard->word : &always;
    queue->account_epoch = account ? &account->epoch : &epoch_fixed;
    queue->account_seen = account ? epoch_read(&account->epoch) - 1 : 0;
    queue->slack_bytes = account ? 0 : UINT64_MAX;
}

static int queue_make(const struct os *os, const spw_queue_options *options,
                      const spw_allocator *allocator, struct queue **out)
{
    struct queue *queue = allocator_zeroed(allocator, sizeof(*queue));
    if (!queue)
        return -ENOMEM;
    queue->waker = (spw_waker){waker_wake, waker_acquire, waker_release};
    queue->os = os;
    queue->allocator = allocator;
    queue->account = options->account;
    queue->writer_open = queue->reader_open = true;
    account_attach(queue);
    queue->event_fd = -1;
    atomic_init(&queue->refs, 2);
    int err = -ENOMEM;
    if (options->name) {
        size_t len = strlen(options->name) + 1;
        queue->name = allocator_acquire(allocator, len);
        if (!queue->name)
            goto no_name;
        memcpy(queue->name, options->name, len);
    }
    err = locks_init(queue);
    if (err)
        goto no_locks;
    view_init(&queue->view, allocator, options->account);
    stopwatch_init(&queue->writer_watch, os, options->account);
    queue->reader_watch = queue->writer_watch;
    queue->view.clock = stopwatch_clock(&queue->writer_watch);
    *out = queue;
    return 0;

no_locks:
    if (queue->name)
        allocator_release(allocator, queue->name, strlen(queue->name) + 1);
no_name:
    allocator_release(allocator, queue, sizeof(*queue));
    return err;
}

/* Keeps count in a row of the account's from now on, if that has one left. */
static void row_open(struct queue *queue)
{
    if (!queue->account || !queue->account->queue_rows)
        return;
    queue->row = queue_row_take(queue->account->queue_rows, queue->name);
    if (queue->row)
        queue->view.sums = &queue->row->sums;
}

int queue_open_with(const struct os *os, const spw_queue_options *options, spw_writer **writer,
                    spw_reader **reader)
{
    spw_queue_options known = {0};
    int err = growable_read(options, QUEUE_OPTIONS_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    options = &known;
    if (account_in_child(options->account))
        return -EOWNERDEAD;
    const spw_allocator *allocator = allocator_or_default(options->allocator);
    struct spw_writer *writer_end = allocator_acquire(allocator, sizeof(*writer_end));
    if (!writer_end)
        return -ENOMEM;
    struct spw_reader *reader_end = allocator_acquire(allocator, sizeof(*reader_end));
    err = -ENOMEM;
    if (!reader_end)
        goto no_reader;
    struct queue *queue;
    err = queue_make(os, options, allocator, &queue);
    if (err)
        goto no_queue;
    queue->writer_policy = options->writer_policy;
    queue->reader_policy = options->reader_policy;
    queue->writer_rest = queue->writer_policy ? rest_none() : rest_forever();
    queue->reader_rest = queue->reader_policy ? rest_none() : rest_forever();
    account_add_queues(queue->account, 1);
    if (queue->account)
        queue->account->acquire(queue->account);
    row_open(queue);
    if (queue->account && queue->account->attach) {
        queue->opened_ns = os->clock_ns();
        queue->account->attach(queue->account, queue);
    }
    writer_end->queue = reader_end->queue = queue;
    *writer = writer_end;
    *reader = reader_end;
    return 0;

no_queue:
    allocator_release(allocator, reader_end, sizeof(*reader_end));
no_reader:
    allocator_release(allocator, writer_end, sizeof(*writer_end));
    return err;
}

int spw_queue_open(const spw_queue_options *options, spw_writer **writer, spw_reader **reader)
{
    return queue_open_with(&os_linux, options, writer, reader);
}

static void policy_close(spw_policy *policy)
{
    if (policy)
        policy->ops->close(policy);
}

void queue_acquire(struct queue *queue)
{
    atomic_fetch_add_explicit(&queue->refs, 1, memory_order_relaxed);
}

void queue_release(struct queue *queue)
{
    if (atomic_fetch_sub_explicit(&queue->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct spw_account *account = queue->account;
    if (account && account->detach)
        account->detach(account, queue);
    view_fini(&queue->view);
    /* The reader's first: it may take its sizes from the writer's strategy. */
    policy_close(queue->reader_policy);
    policy_close(queue->writer_policy);
    if (queue->row)
        queue_row_give(account->queue_rows, queue->row);
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->quiet);
    pthread_cond_destroy(&queue->news);
    const spw_allocator *allocator = queue->allocator;
    if (queue->name)
        allocator_release(allocator, queue->name, strlen(queue->name) + 1);
    allocator_release(allocator, queue, sizeof(*queue));
    if (account) {
        account_add_queues(account, -1);
        account_relieved(account);
        account->release(account);
    }
}

void queue_set_event(struct queue *queue)
{
    static const uint64_t one = 1;
    if (queue->event_set)
        return;
    /* The only other error is a counter at its limit, and that is readable. */
    while (queue->os->write(queue->event_fd, &one, sizeof(one)) == -EINTR)
        ;
    queue->event_set = true;
}

void queue_fire(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    unsigned armed = queue->armed;
    queue->armed = 0;
    if (armed & ARM_WAIT)
        pthread_cond_signal(&queue->news);
    if (armed & ARM_EVENT)
        queue_set_event(queue);
    if (!(armed & ARM_CALLBACK)) {
        pthread_mutex_unlock(&queue->lock);
        return;
    }
    spw_ready_fn *ready = queue->ready;
    void *context = queue->ready_context;
    struct firing firing = {queue->firing, pthread_self()};
    queue->firing = &firing;
    pthread_mutex_unlock(&queue->lock);

    ready(context);

    pthread_mutex_lock(&queue->lock);
    struct firing **at = &queue->firing;
    while (*at != &firing)
        at = &(*at)->next;
    *at = firing.next;
    pthread_cond_broadcast(&queue->quiet);
    pthread_mutex_unlock(&queue->lock);
}

static bool fires_elsewhere(const struct queue *queue)
{
    for (const struct firing *firing = queue->firing; firing; firing = firing->next)
        if (!pthread_equal(firing->thread, pthread_self()))
            return true;
    return false;
}

void queue_wait_quiet(struct queue *queue)
{
    while (fires_elsewhere(queue))
        pthread_cond_wait(&queue->quiet, &queue->lock);
}

/*
 * Arms the handle at the head; as queue_arm(). Nobody may have started its read
 * yet, so this does: else the wake-up might never come.
 */
static int head_arm(struct queue *queue, spw_handle *handle)
{
    /* A synchronous handle is there to be tried; after -EAGAIN it cannot tell when to try again. */
    if (!OPS_HAS(handle->ops, on_ready))
        return queue->view.fetch_error == -EAGAIN ? -ENOTSUP : 1;
    view_acts(&queue->view);
    if (OPS_HAS(handle->ops, prefetch)) {
        int err = handle->ops->prefetch(handle, SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_HEAD);
        if (err && err != -EAGAIN)
            return 1; /* draining says what is wrong */
    }
    return handle->ops->on_ready(handle, &queue->waker);
}

int queue_arm(struct queue *queue, unsigned bits)
{
    struct spw_view *view = &queue->view;
    spw_cursor head = spw_view_head(view);
    spw_handle *handle = spw_cursor_handle(&head);
    if (queue->writer_error || (!handle && view->sums->entries > 0) ||
        (view->sums->entries == 0 && !queue->writer_open))
        return 1;
    int ready = handle ? head_arm(queue, handle) : 0;
    if (ready)
        return ready;
    queue->armed |= bits;
    return 0;
}

int queue_info(struct queue *queue, spw_queue_info *info)
{
    if (queue_in_child(queue))
        return -EOWNERDEAD;
    pthread_mutex_lock(&queue->lock);
    const struct queue_sums *sums = queue->view.sums;
    spw_queue_info now = {
        .name = queue->name,
        .entries = sums->entries,
        .paged_entries = sums->paged_entries,
        .resident_bytes = sums->resident_bytes,
        .paged_bytes = sums->paged_bytes,
        .extended_bytes_total = sums->extended_bytes_total,
        .drained_bytes_total = sums->gone_bytes_total - sums->skipped_bytes_total,
        .merged_total = sums->merged_total,
        .skipped_bytes_total = sums->skipped_bytes_total,
    };
    pthread_mutex_unlock(&queue->lock);
    return growable_write(info, QUEUE_INFO_FIRST_BYTES, &now, sizeof(now));
}

/* Reports with this much room to go up and down until the next report. */
static void queue_report_with(struct queue *queue, uint64_t slack_bytes)
{
    uint64_t report = queue->view.foreign_bytes + slack_bytes / 2;
    int64_t change = (int64_t)(report - queue->reported_bytes);
    atomic_fetch_add_explicit(&queue->account->counters->reported_ahead_bytes,
                              slack_bytes - queue->slack_bytes, memory_order_relaxed);
    queue->slack_bytes = slack_bytes;
    queue->reported_bytes = report;
    account_add_foreign(queue->account, change);
}

void queue_report_anew(struct queue *queue)
{
    queue_report_with(queue, account_slack(queue->account));
}

void queue_take_all(struct queue *queue, struct spw_view *out)
{
    struct queue_sums *sums = queue->view.sums;
    view_move(&queue->view, out);
    queue->view.sums = sums;
    view_clear_sums(&queue->view);
    if (!queue->account)
        return;
    queue_report_with(queue, 0); /* it ends: nothing may be left in the account */
}

bool queue_apply(struct queue *queue, spw_policy *policy, struct rest *rest)
{
    struct spw_view *view = &queue->view;
    *rest = rest_none();
    view->rest = rest;
    view->patience = VIEW_PATIENCE;
    policy->ops->apply(policy, view);
    bool paused = view->patience == 0;
    view->patience = VIEW_PATIENT;
    view->rest = NULL;
    queue_report(queue);
    return paused;
}

bool queue_look_at_account(struct queue *queue)
{
    struct spw_account *account = queue->account;
    uint64_t seen = epoch_read(&account->epoch);
    bool waits = account_waits(account);
    queue->account_seen = waits ? seen - 1 : seen; /* while somebody waits, look each time */
    uint64_t slack_bytes = account_slack(account);
    if (slack_bytes != queue->slack_bytes)
        queue_report_with(queue, slack_bytes);
    return waits;
}
