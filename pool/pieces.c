/* SPDX-License-Identifier: MIT */
#include "pieces.h"

#include <errno.h>

#include "../lib/alloc.h"
#include "pool.h"

static struct lane *lane_of(struct job *job)
{
    return (struct lane *)job;
}

static int lane_prepare(struct job *job);
static void lane_complete(struct job *job);

static void lane_init(struct lane *lane, struct pieces *pieces, enum job_op op)
{
    lane->job =
        (struct job){.op = op, .prepare = lane_prepare, .complete = lane_complete, .align = 1};
    lane->pieces = pieces;
}

/* ---- lanes ---- */

/* So many at most: pieces on their way are bounded by the window, and a device that hangs may not
 * take the whole engine with the pieces of one. */
static unsigned lanes_allowed(const struct pieces *pieces)
{
    uint64_t most = budget_window(pieces->pool) / 2 / RUN_MAX_BYTES;
    if (most > LANES_MAX)
        most = LANES_MAX;
    if (most > engine_share(pieces->pool->engine))
        most = engine_share(pieces->pool->engine);
    return (unsigned)(most < pieces->count ? most : pieces->count);
}

/* Makes the other lanes. Without memory there are fewer, or none. */
static void lanes_make(struct pieces *pieces)
{
    struct spw_pool *pool = pieces->pool;
    unsigned most = lanes_allowed(pieces);
    if (pieces->more || most < 2)
        return;
    pieces->more = allocator_zeroed(pool->allocator, (LANES_MAX - 1) * sizeof(struct lane));
    if (!pieces->more)
        return;
    unsigned lanes = 0;
    while (lanes < most - 1 &&
           (!pieces->ops->widen || pieces->ops->widen(pieces, &pieces->more[lanes])))
        lanes++;
    pthread_mutex_lock(&pool->lock);
    pieces->lanes = lanes;
    pthread_mutex_unlock(&pool->lock);
}

/* Sends all lanes but the one that runs already. Each may have ended before this returns. */
static void lanes_launch(struct pieces *pieces, struct lane *running)
{
    struct spw_pool *pool = pieces->pool;
    enum job_op op = running->job.op;
    unsigned file = running->job.file; /* most likely */
    lanes_make(pieces);
    pthread_mutex_lock(&pool->lock);
    if (running != &pieces->first)
        lane_init(&pieces->first, pieces, op);
    for (unsigned i = 0; i < pieces->lanes; i++)
        if (&pieces->more[i] != running)
            lane_init(&pieces->more[i], pieces, op);
    pieces->first.job.file = file;
    for (unsigned i = 0; i < pieces->lanes; i++)
        pieces->more[i].job.file = file;
    pieces->moving = pieces->lanes + 1;
    /* All with the lock held: a lane that fails may not end the whole meanwhile. */
    if (running != &pieces->first)
        engine_submit(pool->engine, &pieces->first.job, pieces->urgent);
    for (unsigned i = 0; i < pieces->lanes; i++)
        if (&pieces->more[i] != running)
            engine_submit(pool->engine, &pieces->more[i].job, pieces->urgent);
    pthread_mutex_unlock(&pool->lock);
}

/* ---- the job of a lane ---- */

/* What happens once. Returns as a job's prepare does. */
static int pieces_begin(struct pieces *pieces, struct lane *lane)
{
    struct spw_pool *pool = pieces->pool;
    pthread_mutex_lock(&pool->lock);
    pieces->begun = true;
    bool orphan = pieces->orphan;
    pthread_mutex_unlock(&pool->lock);
    if (orphan)
        return -ECANCELED;
    int rc = pieces->ops->begin(pieces);
    if (rc == JOB_ISSUE && pieces->count > 1)
        lanes_launch(pieces, lane);
    return rc;
}

/* Takes the next piece. Returns 0, JOB_DONE when there is none, or -ECANCELED. */
static int lane_take(struct pieces *pieces, struct lane *lane)
{
    struct spw_pool *pool = pieces->pool;
    int rc = 0;
    pthread_mutex_lock(&pool->lock);
    if (pieces->orphan)
        rc = -ECANCELED;
    else if (pieces->error || pieces->next == pieces->count)
        rc = JOB_DONE;
    else
        lane->index = pieces->next++;
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

static int lane_prepare(struct job *job)
{
    struct lane *lane = lane_of(job);
    struct pieces *pieces = lane->pieces;
    lane->taken = lane->issued = false;
    /* Only the lane that begins runs while nothing has begun. */
    int rc = pieces->begun ? JOB_ISSUE : pieces_begin(pieces, lane);
    if (rc != JOB_ISSUE)
        return rc;
    rc = lane_take(pieces, lane);
    if (rc)
        return rc;
    lane->taken = true;
    rc = pieces->ops->ready(pieces, lane);
    lane->issued = rc == 0;
    return rc;
}

/* Everything is to be moved, `starter` begins. */
static void pieces_rewind(struct pieces *pieces, struct lane *starter)
{
    pieces->starter = starter;
    pieces->count = 1;
    pieces->next = 0;
    pieces->failed = UINT32_MAX;
    pieces->moving = 1;
    pieces->error = 0;
    pieces->begun = false;
}

static void lane_complete(struct job *job)
{
    struct lane *lane = lane_of(job);
    struct pieces *pieces = lane->pieces;
    struct spw_pool *pool = pieces->pool;
    int err = job->result;
    bool of_device = err && lane->issued;
    if (!err && lane->taken && pieces->ops->arrived)
        err = pieces->ops->arrived(pieces, lane);
    pthread_mutex_lock(&pool->lock);
    if (err && !pieces->error) {
        pieces->error = err;
        pieces->failed = of_device ? lane->index : UINT32_MAX;
    }
    bool more = lane->taken && !pieces->error && pieces->next < pieces->count;
    bool last = !more && --pieces->moving == 0;
    bool urgent = pieces->urgent;
    err = pieces->error;
    uint32_t failed = pieces->failed;
    pthread_mutex_unlock(&pool->lock);
    if (last && pieces->ops->ended(pieces, err, failed)) {
        pthread_mutex_lock(&pool->lock);
        pieces_rewind(pieces, lane);
        pthread_mutex_unlock(&pool->lock);
        more = true;
    }
    if (more)
        engine_submit(pool->engine, job, urgent);
}

/* ---- from outside ---- */

void pieces_init(struct pieces *pieces, struct spw_pool *pool, const struct pieces_ops *ops,
                 enum job_op op, bool urgent)
{
    lane_init(&pieces->first, pieces, op);
    pieces->ops = ops;
    pieces->pool = pool;
    pieces->urgent = urgent;
    pieces_rewind(pieces, &pieces->first);
}

void pieces_start(struct pieces *pieces)
{
    engine_submit(pieces->pool->engine, &pieces->first.job, pieces->urgent);
}

void pieces_again(struct pieces *pieces)
{
    struct spw_pool *pool = pieces->pool;
    enum job_op op = pieces->first.job.op;
    unsigned file = pieces->first.job.file;
    pthread_mutex_lock(&pool->lock);
    lane_init(&pieces->first, pieces, op);
    pieces->first.job.file = file;
    pieces_rewind(pieces, &pieces->first);
    bool urgent = pieces->urgent;
    pthread_mutex_unlock(&pool->lock);
    engine_submit(pool->engine, &pieces->first.job, urgent);
}

bool pieces_are_pending(const struct pieces *pieces)
{
    return !pieces->begun && engine_is_pending(pieces->pool->engine, &pieces->starter->job);
}

bool pieces_cancel(struct pieces *pieces)
{
    return !pieces->begun && engine_cancel(pieces->pool->engine, &pieces->starter->job);
}

void pieces_hurry(struct pieces *pieces)
{
    struct engine *engine = pieces->pool->engine;
    pieces->urgent = true;
    engine_hurry(engine, &pieces->first.job);
    for (unsigned i = 0; i < pieces->lanes; i++)
        engine_hurry(engine, &pieces->more[i].job);
}

void pieces_free(struct pieces *pieces)
{
    if (pieces->first.staging)
        buffer_release(pieces->first.staging);
    pieces->first.staging = NULL;
    if (!pieces->more)
        return;
    for (unsigned i = 0; i < pieces->lanes; i++)
        if (pieces->more[i].staging)
            buffer_release(pieces->more[i].staging);
    allocator_release(pieces->pool->allocator, pieces->more, (LANES_MAX - 1) * sizeof(struct lane));
    pieces->more = NULL;
    pieces->lanes = 0;
}
