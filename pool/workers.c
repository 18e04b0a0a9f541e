/* SPDX-License-Identifier: MIT */
#include "workers.h"

#include <errno.h>
#include <string.h>

unsigned workers_wanted(unsigned processors)
{
    /* One is left to the service. */
    if (processors <= 2)
        return 1;
    return processors - 1 < WORKERS_MAX ? processors - 1 : WORKERS_MAX;
}

/* ---- the queue; with the lock held ---- */

static void queue_remove(struct workers *workers, struct task *task)
{
    unsigned line = task->first;
    *(task->prev ? &task->prev->next : &workers->queue[line]) = task->next;
    *(task->next ? &task->next->prev : &workers->last[line]) = task->prev;
    task->next = task->prev = NULL;
    task->pending = false;
}

static void queue_append(struct workers *workers, struct task *task)
{
    unsigned line = task->first;
    task->prev = workers->last[line];
    task->next = NULL;
    *(task->prev ? &task->prev->next : &workers->queue[line]) = task;
    workers->last[line] = task;
    task->pending = true;
}

static struct task *queue_take(struct workers *workers)
{
    struct task *task = workers->queue[1] ? workers->queue[1] : workers->queue[0];
    if (task)
        queue_remove(workers, task);
    return task;
}

static void task_ended(struct workers *workers)
{
    workers->outstanding--;
    workers->ended++;
    if (workers->waiting > 0)
        pthread_cond_broadcast(&workers->idle);
}

/* ---- threads ---- */

static void *worker_main(void *argument)
{
    struct workers *workers = argument;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        struct task *task = queue_take(workers);
        if (!task && workers->closing)
            break;
        if (!task) {
            workers->sleepers++;
            pthread_cond_wait(&workers->wakeup, &workers->lock);
            workers->sleepers--;
            if (workers->woken > 0)
                workers->woken--;
            continue;
        }
        pthread_mutex_unlock(&workers->lock);
        task->run(task);
        pthread_mutex_lock(&workers->lock);
        task_ended(workers);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

int workers_init(struct workers *workers, const struct os *os)
{
    memset(workers, 0, sizeof(*workers));
    workers->os = os;
    int err = -pthread_mutex_init(&workers->lock, NULL);
    if (err)
        return err;
    err = -pthread_cond_init(&workers->wakeup, NULL);
    if (err)
        goto no_wakeup;
    err = -pthread_cond_init(&workers->idle, NULL);
    if (err)
        goto no_idle;
    return 0;

no_idle:
    pthread_cond_destroy(&workers->wakeup);
no_wakeup:
    pthread_mutex_destroy(&workers->lock);
    return err;
}

void workers_fini(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->closing = true;
    pthread_cond_broadcast(&workers->wakeup);
    pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->count; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->idle);
    pthread_cond_destroy(&workers->wakeup);
    pthread_mutex_destroy(&workers->lock);
}

int workers_start(struct workers *workers, unsigned wanted, int *why)
{
    unsigned count = atomic_load(&workers->count);
    *why = 0;
    while (count < wanted && *why == 0) {
        *why = workers->os->thread(&workers->threads[count], worker_main, workers);
        count += *why == 0;
        atomic_store(&workers->count, count);
    }
    return count > 0 ? 0 : *why;
}

/* ---- tasks ---- */

void workers_wake_due(struct workers *workers)
{
    if (atomic_load(&workers->unwoken) == 0)
        return;
    for (unsigned due = atomic_exchange(&workers->unwoken, 0); due > 0; due--)
        pthread_cond_signal(&workers->wakeup);
}

void workers_submit(struct workers *workers, struct task *task, bool first)
{
    pthread_mutex_lock(&workers->lock);
    task->first = first;
    queue_append(workers, task);
    workers->outstanding++;
    /* As in the engine: first counted, then a look for corks. With the lock held, since once it is
     * given up the task may be over, and all be gone. */
    if (workers->sleepers > workers->woken) {
        workers->woken++;
        atomic_fetch_add(&workers->unwoken, 1);
        if (atomic_load(&workers->corks) == 0)
            workers_wake_due(workers);
    }
    pthread_mutex_unlock(&workers->lock);
}

bool workers_cancel(struct workers *workers, struct task *task)
{
    pthread_mutex_lock(&workers->lock);
    bool pending = task->pending;
    if (pending) {
        queue_remove(workers, task);
        task_ended(workers);
    }
    pthread_mutex_unlock(&workers->lock);
    return pending;
}

bool workers_is_pending(struct workers *workers, const struct task *task)
{
    pthread_mutex_lock(&workers->lock);
    bool pending = task->pending;
    pthread_mutex_unlock(&workers->lock);
    return pending;
}

void workers_cork(struct workers *workers)
{
    atomic_fetch_add(&workers->corks, 1);
}

void workers_uncork(struct workers *workers)
{
    atomic_fetch_sub(&workers->corks, 1);
    workers_wake_due(workers);
}

void workers_wait_idle(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    uint64_t enough = workers->ended + workers->outstanding;
    workers->waiting++;
    while (workers->outstanding > 0 && workers->ended < enough)
        pthread_cond_wait(&workers->idle, &workers->lock);
    workers->waiting--;
    pthread_mutex_unlock(&workers->lock);
}

bool workers_on_thread(const struct workers *workers)
{
    unsigned count = atomic_load(&workers->count);
    for (unsigned i = 0; i < count; i++)
        if (pthread_equal(workers->threads[i], pthread_self()))
            return true;
    return false;
}
