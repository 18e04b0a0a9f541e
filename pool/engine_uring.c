/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine: one thread, which makes the ring, fills it, and is the only one to touch
 * it. It sleeps in poll(2) on an event descriptor that both the ring and whoever submits a job
 * write to, never inside io_uring_enter(2).
 *
 * Requests in flight never exceed the depth. So there is always a free place in the submission
 * queue, and completions, which have room for twice as many, cannot overflow.
 */
#include <errno.h>

#include "engine_impl.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../lib/alloc.h"
#include "spillway/errors.h"

enum {
    DEFAULT_DEPTH = 16,
    /* So many jobs are prepared, or completed, before the other side gets its turn: both may
     * copy or sum up data. */
    TURN_JOBS = 4,
    /* Refused submissions in a row before the jobs concerned are done without the ring. */
    SUBMIT_TRIES_MAX = 100,
    OPERATIONS = IORING_OP_WRITE + 1, /* up to the highest-numbered one that we need */
    NO_SLOT = ENGINE_DEPTH_MAX,
};
#define PAUSE_NS (ENGINE_PAUSE_MS * UINT64_C(1000000))

/* Where a job is between prepare and complete. */
struct slot {
    struct job *job;
    unsigned next; /* in the list of free or of paused slots; NO_SLOT: the last */
};

struct uring {
    struct engine *engine;
    int wake_fd;
    unsigned depth;

    bool reported;   /* guarded by the engine's lock */
    int start_error; /* guarded by the engine's lock; 0 or -errno once reported */

    /* The engine thread's own from here on. */
    struct io_uring ring;
    bool fixed_files;
    bool broken;           /* the ring is refused for good: jobs go on without it */
    bool must_pause;       /* the ring refused something in this round */
    unsigned submit_tries; /* refusals in a row */
    unsigned used;         /* slots with a job */
    unsigned in_ring;      /* of these, in the submission queue or the kernel */
    unsigned first_free;
    unsigned first_paused;
    uint64_t resume_ns; /* when the paused ones are issued again */
    struct slot slots[ENGINE_DEPTH_MAX];
};

/* --- the ring --- */

/* One round trip of nothing: some sandboxes allow a ring to be made, but not to be used. */
static int ring_try(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    struct io_uring_cqe *cqe;
    int rc;

    io_uring_prep_nop(sqe);
    rc = io_uring_submit_and_get_events(ring);
    if (rc < 0)
        return rc;
    rc = io_uring_peek_cqe(ring, &cqe);
    if (rc < 0)
        return rc;
    rc = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    return rc;
}

static int ring_check_operations(struct io_uring *ring)
{
    union {
        struct io_uring_probe probe;
        char room[sizeof(struct io_uring_probe) + OPERATIONS * sizeof(struct io_uring_probe_op)];
    } answer;

    memset(&answer, 0, sizeof(answer));
    if (io_uring_register_probe(ring, &answer.probe, OPERATIONS) < 0 ||
        !io_uring_opcode_supported(&answer.probe, IORING_OP_READ) ||
        !io_uring_opcode_supported(&answer.probe, IORING_OP_WRITE))
        return -EOPNOTSUPP;
    return 0;
}

static int ring_make(struct uring *uring, unsigned flags)
{
    int rc = uring->engine->os->ring_allowed();

    return rc < 0 ? rc : io_uring_queue_init(uring->depth, &uring->ring, flags);
}

static int ring_open(struct uring *uring)
{
    struct engine *engine = uring->engine;
    int rc;

    rc = ring_make(uring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                              IORING_SETUP_TASKRUN_FLAG);
    if (rc == -EINVAL) /* a kernel before 6.1 */
        rc = ring_make(uring, 0);
    if (rc < 0)
        return rc;
    rc = ring_check_operations(&uring->ring);
    if (rc < 0)
        goto fail_check;
    rc = io_uring_ring_dontfork(&uring->ring);
    if (rc < 0)
        goto fail_check;
    rc = ring_try(&uring->ring);
    if (rc < 0)
        goto fail_check;
    /*
     * One descriptor for both kinds of news. Poll on the ring itself would sleep through
     * completions: with DEFER_TASKRUN they are posted only once this very thread asks for them.
     */
    rc = io_uring_register_eventfd(&uring->ring, uring->wake_fd);
    if (rc < 0)
        goto fail_check;
    if (engine->fd_count > 0) {
        rc = io_uring_register_files(&uring->ring, engine->fds, engine->fd_count);
        uring->fixed_files = rc == 0;
        if (rc < 0)
            log_line(engine->log, SPILLWAY_LOG_DEBUG, "scratch files are not registered: %s",
                     spw_error_text(rc));
    }
    return 0;

fail_check:
    io_uring_queue_exit(&uring->ring);
    return rc;
}

/* --- slots --- */

static unsigned slot_acquire(struct uring *uring, struct job *job)
{
    unsigned index = uring->first_free;

    uring->first_free = uring->slots[index].next;
    uring->slots[index].job = job;
    uring->used++;
    return index;
}

/* The slot is free before `complete` runs: the job may come back through it. */
static void slot_finish(struct uring *uring, unsigned index)
{
    struct slot *slot = &uring->slots[index];
    struct job *job = slot->job;

    slot->job = NULL;
    slot->next = uring->first_free;
    uring->first_free = index;
    uring->used--;
    engine_complete(uring->engine, job);
}

static void slot_pause(struct uring *uring, unsigned index)
{
    if (uring->first_paused == NO_SLOT)
        uring->resume_ns = uring->engine->os->clock_ns() + PAUSE_NS;
    uring->slots[index].next = uring->first_paused;
    uring->first_paused = index;
}

/* Does the rest of a slot's job without the ring. */
static void slot_run(struct uring *uring, unsigned index)
{
    engine_run_io(uring->engine, uring->slots[index].job, index);
    slot_finish(uring, index);
}

/* Puts a request for the rest of a slot's job into the submission queue. */
static void slot_issue(struct uring *uring, unsigned index)
{
    const struct job *job = uring->slots[index].job;
    void *start = (char *)job->buffer + job->done;
    uint64_t offset = job->offset + job->done;
    unsigned len = (unsigned)job_request_len(job);
    int fd = uring->fixed_files ? (int)job->file : uring->engine->fds[job->file];
    struct io_uring_sqe *sqe;

    if (uring->broken) {
        slot_run(uring, index);
        return;
    }
    sqe = io_uring_get_sqe(&uring->ring);
    if (job->op == JOB_READ)
        io_uring_prep_read(sqe, fd, start, len, offset);
    else
        io_uring_prep_write(sqe, fd, start, len, offset);
    if (uring->fixed_files)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data64(sqe, index);
    engine_request_begin(uring->engine, index);
    uring->in_ring++;
}

/* --- the rounds --- */

static unsigned take_jobs(struct uring *uring)
{
    struct engine *engine = uring->engine;
    struct job *job;
    unsigned taken;

    for (taken = 0; taken < TURN_JOBS && uring->used < uring->depth; taken++) {
        pthread_mutex_lock(&engine->lock);
        job = engine_take_locked(engine);
        pthread_mutex_unlock(&engine->lock);
        if (job == NULL)
            break;
        if (engine_prepare(engine, job))
            slot_issue(uring, slot_acquire(uring, job));
        else
            engine_complete(engine, job);
    }
    return taken;
}

/*
 * Takes back what the kernel has not accepted and does it without the ring. The kernel reads the
 * submission queue only inside io_uring_enter, so that its unread end is still ours.
 */
static void submission_withdraw(struct uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;
    unsigned head = *sq->khead, tail = sq->sqe_tail, at, count = 0, i;
    unsigned indexes[ENGINE_DEPTH_MAX];

    for (at = head; at != tail; at++)
        indexes[count++] = (unsigned)sq->sqes[at & sq->ring_mask].user_data;
    sq->sqe_head = sq->sqe_tail = head;
    *sq->ktail = head;
    uring->in_ring -= count;
    uring->submit_tries = 0;
    for (i = 0; i < count; i++)
        slot_run(uring, indexes[i]);
}

static bool refusal_passes(int rc)
{
    return rc == 0 || rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM || rc == -EINTR;
}

/* One system call for all that is in the queue. What is refused stays there for the next round. */
static void submit_requests(struct uring *uring)
{
    int rc;

    while (!uring->must_pause && io_uring_sq_ready(&uring->ring) > 0) {
        rc = io_uring_submit_and_get_events(&uring->ring);
        if (rc > 0) {
            engine_count_syscall(uring->engine);
            uring->submit_tries = 0;
            continue;
        }
        uring->must_pause = true;
        if (!refusal_passes(rc)) {
            uring->broken = true;
            log_line(uring->engine->log, SPILLWAY_LOG_WARN,
                     "io_uring stopped working, going on without: %s", spw_error_text(rc));
        } else if (++uring->submit_tries < SUBMIT_TRIES_MAX) {
            return;
        }
        submission_withdraw(uring);
    }
}

static void request_ended(struct uring *uring, unsigned index, int result)
{
    struct job *job = uring->slots[index].job;

    result = uring->engine->os->ring_result(job->op == JOB_READ ? 'r' : 'w', result);
    engine_request_end(uring->engine, index, job->op);
    switch (job_advance(job, result)) {
    case STEP_FINISHED:
        slot_finish(uring, index);
        break;
    case STEP_AGAIN:
        slot_issue(uring, index);
        break;
    case STEP_PAUSE:
        slot_pause(uring, index);
        break;
    }
}

static unsigned reap(struct uring *uring)
{
    struct io_uring_cqe *cqe;
    unsigned ended, index;
    int rc, result;

    for (ended = 0; ended < TURN_JOBS && uring->in_ring > 0; ended++) {
        rc = io_uring_peek_cqe(&uring->ring, &cqe);
        if (rc < 0) {
            uring->must_pause |= rc != -EAGAIN;
            break;
        }
        index = (unsigned)cqe->user_data;
        result = cqe->res;
        io_uring_cqe_seen(&uring->ring, cqe);
        uring->in_ring--;
        request_ended(uring, index, result);
    }
    return ended;
}

static void resume_paused(struct uring *uring)
{
    unsigned index, next;

    if (uring->first_paused == NO_SLOT || uring->engine->os->clock_ns() < uring->resume_ns)
        return;
    next = uring->first_paused;
    uring->first_paused = NO_SLOT;
    while (next != NO_SLOT) {
        index = next;
        next = uring->slots[index].next;
        slot_issue(uring, index);
    }
}

/* --- sleep --- */

static void sleep_for_news(struct uring *uring)
{
    bool timed = uring->must_pause || uring->first_paused != NO_SLOT;
    struct pollfd news = {.fd = uring->wake_fd, .events = POLLIN};
    uint64_t count;
    int rc;

    rc = poll(&news, 1, timed ? ENGINE_PAUSE_MS : -1);
    if (rc == 0)
        uring->resume_ns = 0;
    if (rc > 0)
        (void)uring->engine->os->read(uring->wake_fd, &count, sizeof(count));
}

/* Sleeps while there is nothing to do; false when the engine closes and all is done. */
static bool wait_for_work(struct uring *uring)
{
    struct engine *engine = uring->engine;
    bool has_room = uring->used < uring->depth, ends;

    pthread_mutex_lock(&engine->lock);
    ends = engine->closing && engine->first == NULL && uring->used == 0;
    if (ends || (has_room && engine->first != NULL)) {
        pthread_mutex_unlock(&engine->lock);
        return !ends;
    }
    /* Without room a new job has to wait for a completion, and needs not wake us. */
    engine->sleepers = has_room ? 1 : 0;
    pthread_mutex_unlock(&engine->lock);

    sleep_for_news(uring);

    if (has_room) {
        pthread_mutex_lock(&engine->lock);
        engine_awake_locked(engine);
        pthread_mutex_unlock(&engine->lock);
    }
    return true;
}

/* --- life --- */

static void report_start(struct uring *uring, int rc)
{
    struct engine *engine = uring->engine;

    pthread_mutex_lock(&engine->lock);
    uring->reported = true;
    uring->start_error = rc;
    pthread_cond_signal(&engine->wakeup);
    pthread_mutex_unlock(&engine->lock);
}

static void *uring_main(void *argument)
{
    struct uring *uring = argument;
    unsigned moved;
    int rc;

    rc = ring_open(uring);
    report_start(uring, rc);
    if (rc < 0)
        return NULL;
    do {
        uring->must_pause = false;
        resume_paused(uring);
        moved = take_jobs(uring);
        submit_requests(uring);
        moved += reap(uring);
    } while (moved > 0 || wait_for_work(uring));
    io_uring_queue_exit(&uring->ring);
    return NULL;
}

static int wait_for_start(struct uring *uring)
{
    struct engine *engine = uring->engine;
    int rc;

    pthread_mutex_lock(&engine->lock);
    while (!uring->reported)
        pthread_cond_wait(&engine->wakeup, &engine->lock);
    rc = uring->start_error;
    pthread_mutex_unlock(&engine->lock);
    return rc;
}

static void uring_init(struct uring *uring, struct engine *engine, unsigned depth)
{
    unsigned i;

    uring->engine = engine;
    uring->depth = depth == 0 ? DEFAULT_DEPTH : depth;
    if (uring->depth > ENGINE_DEPTH_MAX)
        uring->depth = ENGINE_DEPTH_MAX;
    for (i = 0; i < uring->depth; i++)
        uring->slots[i].next = i + 1 < uring->depth ? i + 1 : NO_SLOT;
    uring->first_free = 0;
    uring->first_paused = NO_SLOT;
}

static int uring_start(struct engine *engine, const struct engine_config *config)
{
    struct uring *uring;
    int rc;

    uring = allocator_zeroed(engine->allocator, sizeof(*uring));
    if (uring == NULL)
        return -ENOMEM;
    uring_init(uring, engine, config->depth);
    rc = engine->os->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (rc < 0)
        goto fail_eventfd;
    uring->wake_fd = rc;
    rc = engine->os->thread(&engine->threads[0], uring_main, uring);
    if (rc < 0)
        goto fail_thread;
    rc = wait_for_start(uring);
    if (rc < 0)
        goto fail_ring;
    engine->thread_count = 1;
    engine->state = uring;
    return 0;

fail_ring:
    pthread_join(engine->threads[0], NULL);
fail_thread:
    os_close(engine->os, uring->wake_fd);
fail_eventfd:
    allocator_release(engine->allocator, uring, sizeof(*uring));
    return rc;
}

static void uring_wake(struct engine *engine, bool all)
{
    struct uring *uring = engine->state;
    uint64_t one = 1;

    (void)all; /* there is one thread */
    while (engine->os->write(uring->wake_fd, &one, sizeof(one)) == -EINTR)
        ;
}

static void uring_release(struct engine *engine)
{
    struct uring *uring = engine->state;

    os_close(engine->os, uring->wake_fd);
    allocator_release(engine->allocator, uring, sizeof(*uring));
}

#else

static int uring_start(struct engine *engine, const struct engine_config *config)
{
    (void)engine;
    (void)config;
    return -ENOSYS;
}

/* Never called, since none was started. */
static void uring_wake(struct engine *engine, bool all)
{
    (void)engine;
    (void)all;
}

static void uring_release(struct engine *engine)
{
    (void)engine;
}

#endif

const struct engine_ops engine_uring_ops = {
    .name = "io_uring",
    .start = uring_start,
    .wake = uring_wake,
    .release = uring_release,
};
