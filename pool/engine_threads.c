/* SPDX-License-Identifier: MIT */
/* The plain engine: a few threads, each with one pread or pwrite at a time. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <string.h>

#include "engine_impl.h"

/* The next job, after `ended` jobs; NULL at the end. Sleeps without a time limit. */
static struct job *next_job(struct engine *engine, unsigned ended)
{
    struct job *job;

    pthread_mutex_lock(&engine->lock);
    engine_ended_locked(engine, ended);
    while (engine->first == NULL && !engine->closing) {
        engine->sleepers++;
        pthread_cond_wait(&engine->wakeup, &engine->lock);
        engine_awake_locked(engine);
        engine_count_wakeup(engine);
    }
    /* A job that another thread resubmits while we close is taken by that thread at the latest. */
    job = engine_take_locked(engine);
    pthread_mutex_unlock(&engine->lock);
    return job;
}

static void *thread_main(void *argument)
{
    struct engine *engine = argument;
    struct job *job;
    unsigned slot;

    pthread_mutex_lock(&engine->lock);
    slot = engine->started++;
    pthread_mutex_unlock(&engine->lock);
    for (job = next_job(engine, 0); job != NULL; job = next_job(engine, 1)) {
        if (engine_prepare(engine, job)) {
            struct request all = {.job = job, .end = job->len};

            job->result = engine_run_io(engine, &all, slot);
        }
        engine_complete(job);
    }
    return NULL;
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
    return 0;
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
    *out = (struct engine_tuning){.depth = engine->thread_count};
}

const struct engine_ops engine_threads_ops = {
    .name = "threads",
    .start = threads_start,
    .wake = threads_wake,
    .release = threads_release,
    .tuning = threads_tuning,
};
