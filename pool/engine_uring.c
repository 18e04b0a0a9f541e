/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine: one thread, which makes the ring, fills it, and is the only one to touch
 * it. It sleeps in read(2) on an event descriptor that both the ring and whoever submits a job
 * write to, never inside io_uring_enter(2).
 *
 * Each request in flight has a slot, and there are no more slots than places in the submission
 * queue. So there is always a free place, and completions, which have room for twice as many,
 * cannot overflow. How many slots may be in use, and how large a request is, a calibration says
 * for each direction. Beyond that, what hangs leaves room to others: see uring_room().
 */
#include <errno.h>

#include "uring.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../lib/alloc.h"
#include "spillway/errors.h"

static bool uring_has_room(struct engine *engine, const struct job *job)
{
    struct uring *uring = engine->state;

    if (job->op == JOB_HINT)
        return uring->hints < HINTS_MAX;
    return job->op == JOB_WORK || (uring_direction(uring, job->op)->parked < PARKED_MAX &&
                                   uring_room(uring, job->op, job->file, job->urgent));
}

/* --- sleep --- */

static void sleep_for_news(struct uring *uring)
{
    bool timed = uring->must_pause || uring->first_paused != NO_SLOT;
    struct pollfd news = {.fd = uring->wake_fd, .events = POLLIN};
    uint64_t count;

    if (timed && poll(&news, 1, ENGINE_PAUSE_MS) <= 0) {
        uring->resume_ns = 0;
        return;
    }
    (void)uring->engine->os->read(uring->wake_fd, &count, sizeof(count));
    engine_count_wakeup(uring->engine);
}

/* Sleeps, and lets the calibrations know. `full`: directions with more to do, but no room for it.
 */
static void sleep_and_tell(struct uring *uring, unsigned full_directions)
{
    const struct os *os = uring->engine->os;
    struct direction *writes = &uring->directions[WRITES], *reads = &uring->directions[READS];
    struct direction *only = writes->used == 0 ? reads : writes;

    bool full = (full_directions >> (only == writes ? WRITES : READS) & 1) &&
                uring->used == only->used && !uring->must_pause;
    if (!full) {
        calibration_void(&writes->calibration);
        calibration_void(&reads->calibration);
    }
    if (full && !calibration_is_over(&only->calibration)) {
        uint64_t start_ns = os->clock_ns();

        sleep_for_news(uring);
        calibration_slept_full(&only->calibration, os->clock_ns() - start_ns);
    } else {
        sleep_for_news(uring);
    }
}

/* A new job that has no room waits for a completion, and needs not wake us. With the engine's lock
 * held. */
static void lines_listen(struct uring *uring)
{
    struct engine *engine = uring->engine;
    unsigned op, file;

    for (op = JOB_READ; op <= JOB_WRITE; op++) {
        bool parked = uring_direction(uring, op)->parked >= PARKED_MAX;

        for (file = 0; file < engine->files; file++) {
            struct job_line *line = &engine->lines[op][file];

            line->deaf = parked || !uring_room(uring, op, file, false);
            line->deaf_urgent = parked || !uring_room(uring, op, file, true);
        }
    }
    engine->lines[JOB_HINT][0].deaf = uring->hints >= HINTS_MAX;
}

/* Whether some prepared job can be issued. */
static bool parked_has_room(struct uring *uring)
{
    unsigned i, file;

    for (i = 0; i < DIRECTIONS; i++) {
        struct direction *direction = &uring->directions[i];

        for (file = 0; direction->parked > 0 && file < ENGINE_FILES_MAX; file++) {
            const struct job *job = direction->streams[file].first;

            if (job != NULL && uring_room(uring, job->op, job->file, job->urgent))
                return true;
        }
    }
    return false;
}

/* Those with jobs that wait, as a mask. With the engine's lock held. */
static unsigned waiting_directions(const struct uring *uring)
{
    const struct engine *engine = uring->engine;
    unsigned mask = 0;

    if (uring->directions[WRITES].parked > 0 || engine_has_pending_locked(engine, JOB_WRITE))
        mask |= 1u << WRITES;
    if (uring->directions[READS].parked > 0 || engine_has_pending_locked(engine, JOB_READ))
        mask |= 1u << READS;
    return mask;
}

/* Sleeps while there is nothing to do; false when the engine closes and all is done. */
static bool wait_for_work(struct uring *uring)
{
    struct engine *engine = uring->engine;
    unsigned waiting;
    bool ends;

    pthread_mutex_lock(&engine->lock);
    engine_ended_locked(engine, uring->ended_jobs);
    uring->ended_jobs = 0;
    waiting = waiting_directions(uring);
    ends = engine->closing && waiting == 0 && uring->used == 0 && uring->hints == 0 &&
           !engine_has_pending_locked(engine, JOB_WORK) &&
           !engine_has_pending_locked(engine, JOB_HINT);
    if (ends || parked_has_room(uring) || engine_find_locked(engine) != NULL) {
        pthread_mutex_unlock(&engine->lock);
        return !ends;
    }
    lines_listen(uring);
    engine->sleepers = 1;
    pthread_mutex_unlock(&engine->lock);

    sleep_and_tell(uring, waiting);

    pthread_mutex_lock(&engine->lock);
    engine_awake_locked(engine);
    pthread_mutex_unlock(&engine->lock);
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
    bool moved;
    int rc;

    rc = uring_ring_open(uring);
    report_start(uring, rc);
    if (rc < 0)
        return NULL;
    do {
        uring->must_pause = false;
        uring_resume_paused(uring);
        moved = uring_fill(uring);
        uring_submit(uring);
        moved |= uring_reap(uring);
        moved |= uring_leave_ring(uring);
    } while (moved || wait_for_work(uring));
    uring_ring_close(uring);
    os_close(uring->engine->os, uring->end_fd);
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

static void uring_init(struct uring *uring, struct engine *engine,
                       const struct engine_config *config)
{
    struct calibrate_config calibrate = {
        .depth = config->depth < ENGINE_DEPTH_MAX ? config->depth : ENGINE_DEPTH_MAX,
        .request_bytes = config->request_bytes,
        .window_bytes = config->window_bytes,
        .trial_bytes = config->trial_bytes};
    unsigned i;

    uring->engine = engine;
    for (i = 0; i < ENGINE_SLOTS_MAX; i++)
        uring->slots[i].next = i + 1;
    uring->first_free = 0;
    uring->first_paused = NO_SLOT;
    for (i = 0; i < DIRECTIONS; i++) {
        calibrate.told = engine_told(engine, i == READS ? JOB_READ : JOB_WRITE);
        calibration_init(&uring->directions[i].calibration, &calibrate);
    }
}

static int uring_start(struct engine *engine, const struct engine_config *config)
{
    struct uring *uring;
    int rc;

    uring = allocator_zeroed(engine->allocator, sizeof(*uring));
    if (uring == NULL)
        return -ENOMEM;
    uring_init(uring, engine, config);
    engine->state = uring;
    rc = engine->os->eventfd(0, EFD_CLOEXEC);
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

static void uring_tuning(const struct engine *engine, enum job_op op, struct engine_tuning *out)
{
    struct uring *uring = engine->state;
    const struct calibration *calibration = &uring_direction(uring, op)->calibration;

    out->depth = atomic_load_explicit(&calibration->depth, memory_order_relaxed);
    out->request_bytes = atomic_load_explicit(&calibration->request_bytes, memory_order_relaxed);
    out->measured = atomic_load_explicit(&calibration->measured, memory_order_relaxed);
}

/* What is kept for others is enough. */
static unsigned uring_share(const struct engine *engine)
{
    (void)engine;
    return ENGINE_DEPTH_MAX;
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

/* None of these is ever called, since none was started. */
static bool uring_has_room(struct engine *engine, const struct job *job)
{
    (void)engine;
    (void)job;
    return true;
}

static unsigned uring_share(const struct engine *engine)
{
    (void)engine;
    return 1;
}

static void uring_wake(struct engine *engine, bool all)
{
    (void)engine;
    (void)all;
}

static void uring_tuning(const struct engine *engine, enum job_op op, struct engine_tuning *out)
{
    (void)engine;
    (void)op;
    *out = (struct engine_tuning){0};
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
    .has_room = uring_has_room,
    .share = uring_share,
    .tuning = uring_tuning,
};
