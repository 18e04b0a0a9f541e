/* SPDX-License-Identifier: MIT */
/* The plain engine: a few threads, each with one pread or pwrite at a time. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <string.h>

#include "engine_impl.h"

/* Threads that hang with one direction, or with the reads from one file, leave some to the others.
 * Where a write goes is only known once it runs. */
static bool threads_have_room(struct engine *engine, const struct job *job)
{
    unsigned most = engine->direction_most;

    if (job->op == JOB_WORK)
        return true;
    if (engine->busy[job->op] >= (job->op == JOB_HINT ? 1 : most) ||
        engine->busy[JOB_READ] + engine->busy[JOB_WRITE] + engine->busy[JOB_HINT] >=
            engine->io_most)
        return false;
    return job->op != JOB_READ || engine->files == 1 || most == 1 || job->line->busy < most - 1;
}

/* What a thread runs. */
struct claim {
    struct job_line *line; /* NULL: nothing */
    enum job_op op;
};

static void claim_locked(struct engine *engine, struct claim *claim, const struct job *job)
{
    *claim = (struct claim){.line = job->line, .op = job->op};
    claim->line->busy++;
    engine->busy[claim->op]++;
}

static void unclaim_locked(struct engine *engine, struct claim *claim)
{
    if (claim->line == NULL)
        return;
    engine_ended_locked(engine, 1);
    claim->line->busy--;
    engine->busy[claim->op]--;
    claim->line = NULL;
}

/* The next job, after the one claimed; NULL at the end. Sleeps without a time limit. */
static struct job *next_job(struct engine *engine, struct claim *claim)
{
    struct job *job;

    pthread_mutex_lock(&engine->lock);
    unclaim_locked(engine, claim);
    while (engine_find_locked(engine) == NULL && !engine->closing) {
        engine->sleepers++;
        pthread_cond_wait(&engine->wakeup, &engine->lock);
        engine_awake_locked(engine);
        engine_count_wakeup(engine);
    }
    /* A job that another thread resubmits while we close is taken by that thread at the latest. */
    job = engine_take_locked(engine);
    if (job != NULL)
        claim_locked(engine, claim, job);
    /* Others may have had no room before, and slept. */
    if (job != NULL && engine->sleepers > engine->woken && engine_find_locked(engine) != NULL) {
        engine->woken++;
        pthread_cond_signal(&engine->wakeup);
    }
    pthread_mutex_unlock(&engine->lock);
    return job;
}

static void *thread_main(void *argument)
{
    struct engine *engine = argument;
    struct claim claim = {0};
    struct job *job;
    unsigned slot;

    pthread_mutex_lock(&engine->lock);
    slot = engine->started++;
    pthread_mutex_unlock(&engine->lock);
    while ((job = next_job(engine, &claim)) != NULL) {
        bool issue = engine_prepare(engine, job);

        if (issue && job->op == JOB_HINT) {
            job->result = engine_run_hint(engine, job);
        } else if (issue) {
            struct request all = {.job = job, .end = job->len};

            job->result = engine_run_io(engine, &all, slot);
        }
        engine_complete(job);
    }
    return NULL;
}

/* So many threads are left to the other direction and to jobs without I/O, as there are. */
static void limits_set_locked(struct engine *engine)
{
    unsigned count = engine->thread_count;

    engine->io_most = count > 4 ? count - 1 : count;
    engine->direction_most = engine->io_most > 1 ? engine->io_most - 1 : 1;
}

/* Another engine may have told something before it was refused. */
static void tell_tuning(struct engine *engine, enum job_op op)
{
    struct engine_tuning tuning;
    _Atomic uint64_t *told = engine_told(engine, op);

    engine->ops->tuning(engine, op, &tuning);
    atomic_store_explicit(&told[0], tuning.depth, memory_order_relaxed);
    atomic_store_explicit(&told[1], tuning.request_bytes, memory_order_relaxed);
    atomic_store_explicit(&told[2], tuning.measured, memory_order_relaxed);
}

static int threads_start(struct engine *engine, const struct engine_config *config)
{
    unsigned wanted = ENGINE_THREADS_MAX;
    int rc = 0;

    if (config->depth > 0 && config->depth < wanted)
        wanted = config->depth;
    while (engine->thread_count < wanted) {
        rc = engine->os->thread(&engine->threads[engine->thread_count], thread_main, engine);
        if (rc < 0)
            break;
        engine->thread_count++;
    }
    if (engine->thread_count == 0)
        return rc;
    if (engine->thread_count < wanted)
        log_line(engine->log, SPILLWAY_LOG_WARN,
                 "I/O runs on %u of %u threads: %s (see RLIMIT_NPROC, pids.max and RLIMIT_AS)",
                 engine->thread_count, wanted, strerrordesc_np(-rc));
    pthread_mutex_lock(&engine->lock);
    limits_set_locked(engine);
    pthread_mutex_unlock(&engine->lock);
    tell_tuning(engine, JOB_WRITE);
    tell_tuning(engine, JOB_READ);
    return 0;
}

static unsigned threads_share(const struct engine *engine)
{
    return engine->direction_most > 1 ? engine->direction_most / 2 : 1;
}

static void threads_wake(struct engine *engine, bool all)
{
    if (all)
        pthread_cond_broadcast(&engine->wakeup);
    else
        pthread_cond_signal(&engine->wakeup);
}

static void threads_release(struct engine *engine)
{
    (void)engine;
}

static void threads_tuning(const struct engine *engine, enum job_op op, struct engine_tuning *out)
{
    (void)op;
    *out = (struct engine_tuning){.depth = engine->direction_most};
}

const struct engine_ops engine_threads_ops = {
    .name = "threads",
    .start = threads_start,
    .wake = threads_wake,
    .release = threads_release,
    .has_room = threads_have_room,
    .share = threads_share,
    .tuning = threads_tuning,
};
