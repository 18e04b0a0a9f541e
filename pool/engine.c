/* SPDX-License-Identifier: MIT */
/* The front of both engines: choice, pending jobs, and how a job goes on after each request. */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "../lib/alloc.h"
#include "engine_impl.h"

/* --- life --- */

static size_t engine_bytes(unsigned fd_count)
{
    return sizeof(struct engine) + fd_count * sizeof(int);
}

static int open_kind(const struct engine_config *config, const struct engine_ops *ops,
                     struct engine **out)
{
    struct engine *engine = allocator_zeroed(config->allocator, engine_bytes(config->fd_count));
    int rc;

    if (engine == NULL)
        return -ENOMEM;
    engine->ops = ops;
    engine->os = config->os;
    engine->allocator = config->allocator;
    engine->log = config->log;
    engine->write_ns = config->write_ns;
    engine->read_ns = config->read_ns;
    engine->fd_count = config->fd_count;
    if (config->fd_count > 0)
        memcpy(engine->fds, config->fds, config->fd_count * sizeof(int));
    rc = -pthread_mutex_init(&engine->lock, NULL);
    if (rc < 0)
        goto fail_mutex;
    rc = -pthread_cond_init(&engine->wakeup, NULL);
    if (rc < 0)
        goto fail_cond;
    rc = -pthread_cond_init(&engine->idle, NULL);
    if (rc < 0)
        goto fail_idle;
    rc = ops->start(engine, config);
    if (rc < 0)
        goto fail_start;
    *out = engine;
    return 0;

fail_start:
    pthread_cond_destroy(&engine->idle);
fail_idle:
    pthread_cond_destroy(&engine->wakeup);
fail_cond:
    pthread_mutex_destroy(&engine->lock);
fail_mutex:
    allocator_release(config->allocator, engine, engine_bytes(config->fd_count));
    return rc;
}

int engine_open(const struct engine_config *config, struct engine **out, int *why)
{
    int rc;

    *why = 0;
    if (config->kind == ENGINE_THREADS)
        return open_kind(config, &engine_threads_ops, out);
    rc = open_kind(config, &engine_uring_ops, out);
    if (rc == 0 || config->kind == ENGINE_IO_URING)
        return rc;
    *why = rc;
    return open_kind(config, &engine_threads_ops, out);
}

void engine_close(struct engine *engine)
{
    unsigned i;

    pthread_mutex_lock(&engine->lock);
    engine->closing = true;
    pthread_mutex_unlock(&engine->lock);
    engine->ops->wake(engine, true);
    for (i = 0; i < engine->thread_count; i++)
        pthread_join(engine->threads[i], NULL);
    engine->ops->release(engine);
    pthread_cond_destroy(&engine->idle);
    pthread_cond_destroy(&engine->wakeup);
    pthread_mutex_destroy(&engine->lock);
    allocator_release(engine->allocator, engine, engine_bytes(engine->fd_count));
}

/* --- pending jobs --- */

/* Behind `before`, or in front of all where it is NULL. */
static void list_insert(struct engine *engine, struct job *job, struct job *before)
{
    job->prev = before;
    job->next = before != NULL ? before->next : engine->first;
    if (job->prev != NULL)
        job->prev->next = job;
    else
        engine->first = job;
    if (job->next != NULL)
        job->next->prev = job;
    else
        engine->last = job;
}

static void list_remove(struct engine *engine, struct job *job)
{
    /* What lies before an urgent job is urgent too. */
    if (engine->last_urgent == job)
        engine->last_urgent = job->prev;
    if (job->prev != NULL)
        job->prev->next = job->next;
    else
        engine->first = job->next;
    if (job->next != NULL)
        job->next->prev = job->prev;
    else
        engine->last = job->prev;
    job->next = job->prev = NULL;
}

struct job *engine_take_locked(struct engine *engine)
{
    struct job *job = engine->first;

    if (job != NULL) {
        list_remove(engine, job);
        job->pending = false;
    }
    return job;
}

/*
 * Notes that a sleeper is up, whatever woke it. A call meant for one thread may be counted off by
 * another that woke by itself; the first then finds an empty list and sleeps again.
 */
void engine_awake_locked(struct engine *engine)
{
    engine->sleepers--;
    if (engine->woken > 0)
        engine->woken--;
}

void engine_submit(struct engine *engine, struct job *job, bool urgent)
{
    bool wake;

    job->done = 0;
    job->stalls = 0;
    job->result = 0;
    pthread_mutex_lock(&engine->lock);
    if (job->completing) { /* out of its own `complete`: it has not ended after all */
        job->completing = false;
        engine->ended--;
    }
    if (urgent) {
        list_insert(engine, job, engine->last_urgent);
        engine->last_urgent = job;
    } else {
        list_insert(engine, job, engine->last);
    }
    job->pending = true;
    engine->outstanding++;
    /* One call is enough until the called thread has come: it takes all that it finds. */
    wake = engine->sleepers > engine->woken;
    if (wake)
        engine->woken++;
    pthread_mutex_unlock(&engine->lock);
    /* From here on the job may be done and gone. */
    if (wake)
        engine->ops->wake(engine, false);
}

static void outstanding_less_locked(struct engine *engine)
{
    engine->outstanding--;
    engine->ended++;
    if (engine->watchers > 0)
        pthread_cond_broadcast(&engine->idle);
}

void engine_complete(struct engine *engine, struct job *job)
{
    job->completing = true;
    job->complete(job);
    pthread_mutex_lock(&engine->lock);
    outstanding_less_locked(engine);
    pthread_mutex_unlock(&engine->lock);
}

void engine_wait_idle(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    uint64_t enough = engine->ended + engine->outstanding;
    engine->watchers++;
    while (engine->outstanding > 0 && engine->ended < enough)
        pthread_cond_wait(&engine->idle, &engine->lock);
    engine->watchers--;
    pthread_mutex_unlock(&engine->lock);
}

bool engine_cancel(struct engine *engine, struct job *job)
{
    bool was_pending;

    pthread_mutex_lock(&engine->lock);
    was_pending = job->pending;
    if (was_pending) {
        list_remove(engine, job);
        job->pending = false;
        outstanding_less_locked(engine);
    }
    pthread_mutex_unlock(&engine->lock);
    return was_pending;
}

bool engine_is_pending(struct engine *engine, const struct job *job)
{
    bool pending;

    pthread_mutex_lock(&engine->lock);
    pending = job->pending;
    pthread_mutex_unlock(&engine->lock);
    return pending;
}

void engine_hurry(struct engine *engine, struct job *job)
{
    pthread_mutex_lock(&engine->lock);
    if (job->pending) {
        list_remove(engine, job);
        list_insert(engine, job, NULL);
        if (engine->last_urgent == NULL)
            engine->last_urgent = job;
    }
    pthread_mutex_unlock(&engine->lock);
}

/* --- looking --- */

bool engine_on_thread(const struct engine *engine)
{
    pthread_t self = pthread_self();
    unsigned i;

    for (i = 0; i < engine->thread_count; i++)
        if (pthread_equal(engine->threads[i], self))
            return true;
    return false;
}

const char *engine_name(const struct engine *engine)
{
    return engine->ops->name;
}

uint64_t engine_oldest_ns(const struct engine *engine)
{
    uint64_t oldest = 0, start_ns, now_ns;
    unsigned i;

    for (i = 0; i < ENGINE_DEPTH_MAX; i++) {
        start_ns = atomic_load_explicit(&engine->request_start_ns[i], memory_order_relaxed);
        if (start_ns != 0 && (oldest == 0 || start_ns < oldest))
            oldest = start_ns;
    }
    if (oldest == 0)
        return 0;
    now_ns = engine->os->clock_ns();
    return now_ns > oldest ? now_ns - oldest : 1;
}

uint64_t engine_syscalls(const struct engine *engine)
{
    return atomic_load_explicit(&engine->syscalls, memory_order_relaxed);
}

void engine_count_syscall(struct engine *engine)
{
    atomic_fetch_add_explicit(&engine->syscalls, 1, memory_order_relaxed);
}

void engine_request_begin(struct engine *engine, unsigned slot)
{
    uint64_t now_ns = engine->os->clock_ns();

    atomic_store_explicit(&engine->request_start_ns[slot], now_ns > 0 ? now_ns : 1,
                          memory_order_relaxed);
}

void engine_request_end(struct engine *engine, unsigned slot, enum job_op op)
{
    uint64_t start_ns =
        atomic_exchange_explicit(&engine->request_start_ns[slot], 0, memory_order_relaxed);
    uint64_t now_ns = engine->os->clock_ns();

    histogram_add(op == JOB_READ ? engine->read_ns : engine->write_ns,
                  now_ns > start_ns ? now_ns - start_ns : 0);
}

/* --- how a job goes on --- */

bool engine_prepare(struct engine *engine, struct job *job)
{
    int rc = job->prepare != NULL ? job->prepare(job) : JOB_ISSUE;

    if (rc < 0)
        job->result = rc;
    if (rc != JOB_ISSUE || job->op == JOB_WORK || job->len == 0)
        return false;
    if (job->file >= engine->fd_count) {
        job->result = -EBADF;
        return false;
    }
    return true;
}

size_t job_request_len(const struct job *job)
{
    size_t rest = job->len - job->done;

    return rest < ENGINE_REQUEST_MAX_BYTES ? rest : (size_t)ENGINE_REQUEST_MAX_BYTES;
}

/* `stalls` is bounded, so that neither a device nor an odd end of file holds a job for ever. */
static enum job_step job_stalled(struct job *job, int result, unsigned stalls_max,
                                 enum job_step step)
{
    if (++job->stalls < stalls_max)
        return step;
    job->result = result;
    return STEP_FINISHED;
}

enum job_step job_advance(struct job *job, ssize_t result)
{
    size_t rest = job->len - job->done, moved;

    if (result == -EINTR)
        return job_stalled(job, -EINTR, ENGINE_STALLS_MAX, STEP_AGAIN);
    if (result == -EAGAIN)
        return job_stalled(job, -EAGAIN, ENGINE_STALLS_MAX, STEP_PAUSE);
    if (result <= 0) {
        job->result = result < 0 ? (int)result : -EIO;
        return STEP_FINISHED;
    }
    moved = (size_t)result < rest ? (size_t)result : rest;
    if (moved == rest) {
        job->done = job->len;
        job->result = 0;
        return STEP_FINISHED;
    }
    if (job->align > 1)
        moved -= moved % job->align;
    if (moved == 0)
        return job_stalled(job, -EIO, ENGINE_SHORT_STALLS_MAX, STEP_AGAIN);
    job->done += moved;
    job->stalls = 0;
    return STEP_AGAIN;
}

void engine_pause(void)
{
    (void)poll(NULL, 0, ENGINE_PAUSE_MS);
}

void engine_run_io(struct engine *engine, struct job *job, unsigned slot)
{
    enum job_step step = STEP_AGAIN;

    while (step != STEP_FINISHED) {
        int fd = engine->fds[job->file];
        char *start = (char *)job->buffer + job->done;
        uint64_t offset = job->offset + job->done;
        size_t len = job_request_len(job);
        ssize_t result;

        if (step == STEP_PAUSE)
            engine_pause();
        engine_request_begin(engine, slot);
        result = job->op == JOB_READ ? engine->os->pread(fd, start, len, offset)
                                     : engine->os->pwrite(fd, start, len, offset);
        engine_request_end(engine, slot, job->op);
        engine_count_syscall(engine);
        step = job_advance(job, result);
    }
}
