/* SPDX-License-Identifier: MIT */
/* The front of both engines: choice, pending jobs, and how a job goes on after each request. */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/probes.h"
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
    engine->counters = config->counters != NULL ? config->counters : &engine->own.counters;
    engine->request_start_ns =
        config->request_start_ns != NULL ? config->request_start_ns : engine->own.request_start_ns;
    engine->write_ns = config->write_ns;
    engine->read_ns = config->read_ns;
    engine->fd_count = config->fd_count;
    engine->files = config->fd_count < ENGINE_FILES_MAX ? config->fd_count : ENGINE_FILES_MAX;
    if (engine->files == 0)
        engine->files = 1;
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

static struct job_line *line_for(struct engine *engine, const struct job *job)
{
    bool moves = job->op == JOB_READ || job->op == JOB_WRITE;

    return &engine->lines[job->op][moves ? job->file % engine->files : 0];
}

/* Behind `before`, or in front of all where it is NULL. */
static void list_insert(struct job_line *line, struct job *job, struct job *before)
{
    job->line = line;
    job->prev = before;
    job->next = before != NULL ? before->next : line->first;
    if (job->prev != NULL)
        job->prev->next = job;
    else
        line->first = job;
    if (job->next != NULL)
        job->next->prev = job;
    else
        line->last = job;
}

static void list_remove(struct job *job)
{
    struct job_line *line = job->line;

    /* What lies before an urgent job is urgent too. */
    if (line->last_urgent == job)
        line->last_urgent = job->prev;
    if (job->prev != NULL)
        job->prev->next = job->next;
    else
        line->first = job->next;
    if (job->next != NULL)
        job->next->prev = job->prev;
    else
        line->last = job->prev;
    job->next = job->prev = NULL;
}

static bool goes_before(const struct job *job, const struct job *other)
{
    return job->urgent != other->urgent ? job->urgent : job->order < other->order;
}

/* The first of each line is all that can be next. */
struct job *engine_find_locked(struct engine *engine)
{
    struct job *best = NULL;
    unsigned op, i;

    for (op = 0; op < JOB_OPS; op++) {
        for (i = 0; i < engine->files; i++) {
            struct job *job = engine->lines[op][i].first;

            if (job != NULL && (best == NULL || goes_before(job, best)) &&
                engine->ops->has_room(engine, job))
                best = job;
        }
    }
    return best;
}

struct job *engine_take_locked(struct engine *engine)
{
    struct job *job = engine_find_locked(engine);

    if (job != NULL) {
        list_remove(job);
        job->pending = false;
    }
    return job;
}

bool engine_has_pending_locked(const struct engine *engine, enum job_op op)
{
    unsigned i;

    for (i = 0; i < engine->files; i++)
        if (engine->lines[op][i].first != NULL)
            return true;
    return false;
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

/*
 * Wakes the threads that submissions have called. Who submits counts first and looks for corks
 * then, who uncorks does the reverse: so one of them sees what the other has done.
 */
void engine_wake_due(struct engine *engine)
{
    if (atomic_load(&engine->unwoken) == 0)
        return;
    for (unsigned due = atomic_exchange(&engine->unwoken, 0); due > 0; due--)
        engine->ops->wake(engine, false);
}

/* One call is enough until the called thread has come: it takes all that it finds. */
static bool call_thread(struct engine *engine, const struct job *job)
{
    bool deaf = job->urgent ? job->line->deaf_urgent : job->line->deaf;

    if (deaf || engine->sleepers <= engine->woken)
        return false;
    engine->woken++;
    return true;
}

static void wake_called(struct engine *engine)
{
    atomic_fetch_add(&engine->unwoken, 1);
    if (atomic_load(&engine->corks) == 0)
        engine_wake_due(engine);
}

void engine_submit(struct engine *engine, struct job *job, bool urgent)
{
    struct job_line *line;
    bool wake;

    job->issued = 0;
    job->requests = 0;
    job->result = 0;
    pthread_mutex_lock(&engine->lock);
    if (job->completing) { /* out of its own `complete`: it has not ended after all */
        job->completing = false;
        engine->ended--;
    }
    line = line_for(engine, job);
    job->urgent = urgent;
    job->order = ++engine->submitted;
    list_insert(line, job, urgent ? line->last_urgent : line->last);
    if (urgent)
        line->last_urgent = job;
    job->pending = true;
    engine->outstanding++;
    wake = call_thread(engine, job);
    pthread_mutex_unlock(&engine->lock);
    /* From here on the job may be done and gone. */
    if (wake)
        wake_called(engine);
}

void engine_cork(struct engine *engine)
{
    atomic_fetch_add(&engine->corks, 1);
}

void engine_uncork(struct engine *engine)
{
    atomic_fetch_sub(&engine->corks, 1);
    engine_wake_due(engine);
}

void engine_ended_locked(struct engine *engine, unsigned count)
{
    engine->outstanding -= count;
    engine->ended += count;
    if (count > 0 && engine->watchers > 0)
        pthread_cond_broadcast(&engine->idle);
}

void engine_complete(struct job *job)
{
    job->completing = true;
    job->complete(job);
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
        list_remove(job);
        job->pending = false;
        engine_ended_locked(engine, 1);
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
    bool wake = false;

    pthread_mutex_lock(&engine->lock);
    if (job->pending) {
        struct job_line *line = job->line;

        list_remove(job);
        list_insert(line, job, NULL);
        if (line->last_urgent == NULL)
            line->last_urgent = job;
        job->urgent = true;
        job->order = 0;
        wake = call_thread(engine, job); /* there may be room for it now */
    }
    pthread_mutex_unlock(&engine->lock);
    if (wake)
        wake_called(engine);
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

unsigned engine_share(const struct engine *engine)
{
    return engine->ops->share(engine);
}

const char *engine_name(const struct engine *engine)
{
    return engine->ops->name;
}

uint64_t engine_oldest_ns(const struct engine *engine)
{
    uint64_t oldest = 0, start_ns, now_ns;
    unsigned i;

    for (i = 0; i < ENGINE_SLOTS_MAX; i++) {
        start_ns = atomic_load_explicit(&engine->request_start_ns[i], memory_order_relaxed);
        if (start_ns != 0 && (oldest == 0 || start_ns < oldest))
            oldest = start_ns;
    }
    if (oldest == 0)
        return 0;
    now_ns = engine->os->clock_ns();
    return now_ns > oldest ? now_ns - oldest : 1;
}

void engine_info(const struct engine *engine, struct engine_info *out)
{
    const struct counters *counters = engine->counters;

    out->syscalls = atomic_load_explicit(&counters->syscalls_total, memory_order_relaxed);
    out->requests = atomic_load_explicit(&counters->requests_total, memory_order_relaxed);
    out->wakeups = atomic_load_explicit(&counters->wakeups_total, memory_order_relaxed);
    engine->ops->tuning(engine, JOB_WRITE, &out->write);
    engine->ops->tuning(engine, JOB_READ, &out->read);
}

/* --- what the kinds note --- */

#define TOLD_IS_PLACED(first, behind, n)                                                           \
    _Static_assert(offsetof(struct counters, behind) ==                                            \
                       offsetof(struct counters, first) + (n) * sizeof(uint64_t),                  \
                   "these rows follow each other")
TOLD_IS_PLACED(write_depth, write_request_bytes, 1);
TOLD_IS_PLACED(write_depth, write_calibrated, 2);
TOLD_IS_PLACED(read_depth, read_request_bytes, 1);
TOLD_IS_PLACED(read_depth, read_calibrated, 2);

_Atomic uint64_t *engine_told(const struct engine *engine, enum job_op op)
{
    return op == JOB_READ ? &engine->counters->read_depth : &engine->counters->write_depth;
}

void engine_count_syscall(struct engine *engine)
{
    atomic_fetch_add_explicit(&engine->counters->syscalls_total, 1, memory_order_relaxed);
}

void engine_count_wakeup(struct engine *engine)
{
    atomic_fetch_add_explicit(&engine->counters->wakeups_total, 1, memory_order_relaxed);
}

void engine_request_begin(struct engine *engine, unsigned slot, uint64_t now_ns)
{
    atomic_store_explicit(&engine->request_start_ns[slot], now_ns > 0 ? now_ns : 1,
                          memory_order_relaxed);
}

void engine_request_end(struct engine *engine, unsigned slot, enum job_op op, uint64_t now_ns)
{
    uint64_t start_ns =
        atomic_exchange_explicit(&engine->request_start_ns[slot], 0, memory_order_relaxed);

    atomic_fetch_add_explicit(&engine->counters->requests_total, 1, memory_order_relaxed);
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
    if (job->file >= engine->fd_count && !(job->op == JOB_HINT && job->buffer != NULL)) {
        job->result = -EBADF;
        return false;
    }
    return true;
}

/* `stalls` is bounded, so that neither a device nor an odd end of file holds a job for ever. */
static enum request_step request_stalled(struct request *request, unsigned stalls_max,
                                         enum request_step step)
{
    return ++request->stalls < stalls_max ? step : STEP_FINISHED;
}

enum request_step request_advance(struct request *request, ssize_t result, int *error)
{
    size_t rest = request->end - request->at, moved;

    *error = result < 0 ? (int)result : -EIO;
    if (result == -EINTR)
        return request_stalled(request, ENGINE_STALLS_MAX, STEP_AGAIN);
    if (result == -EAGAIN)
        return request_stalled(request, ENGINE_STALLS_MAX, STEP_PAUSE);
    if (result <= 0)
        return STEP_FINISHED;
    moved = (size_t)result < rest ? (size_t)result : rest;
    if (moved == rest) {
        request->at = request->end;
        *error = 0;
        return STEP_FINISHED;
    }
    if (request->job->align > 1)
        moved -= moved % request->job->align;
    if (moved == 0)
        return request_stalled(request, ENGINE_SHORT_STALLS_MAX, STEP_AGAIN);
    request->at += moved;
    request->stalls = 0;
    return STEP_AGAIN;
}

void engine_pause(void)
{
    (void)poll(NULL, 0, ENGINE_PAUSE_MS);
}

int engine_run_hint(struct engine *engine, const struct job *job)
{
    const struct os *os = engine->os;

    engine_count_syscall(engine);
    return job->buffer != NULL
               ? os->advise(job->buffer, job->len, job->advice)
               : os->fadvise(engine->fds[job->file], job->offset, job->len, job->advice);
}

int engine_run_io(struct engine *engine, struct request *request, unsigned slot)
{
    const struct os *os = engine->os;
    const struct job *job = request->job;
    enum request_step step = STEP_AGAIN;
    int fd = engine->fds[job->file], error = 0;

    while (step != STEP_FINISHED) {
        char *start = (char *)job->buffer + request->at;
        uint64_t offset = job->offset + request->at;
        size_t len = request->end - request->at;
        ssize_t result;

        if (len > ENGINE_REQUEST_MAX_BYTES)
            len = ENGINE_REQUEST_MAX_BYTES;
        if (step == STEP_PAUSE)
            engine_pause();
        if (job->op == JOB_WRITE)
            PROBE3(write, job->file, offset, len);
        engine_request_begin(engine, slot, os->clock_ns());
        result = job->op == JOB_READ ? os->pread(fd, start, len, offset)
                                     : os->pwrite(fd, start, len, offset);
        engine_request_end(engine, slot, job->op, os->clock_ns());
        engine_count_syscall(engine);
        step = request_advance(request, result, &error);
    }
    return error;
}
