/* SPDX-License-Identifier: MIT */
/* To the kernel and back: batches out, completions in, and what to do when the ring is refused. */
#include "uring.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "spillway/errors.h"

enum {
    /* Completions of one turn; submissions have theirs in between. */
    TURN_REQUESTS = 16,
    /* Refused submissions in a row before the requests concerned are done without the ring. */
    SUBMIT_TRIES_MAX = 100,
};

/*
 * Takes back what the kernel has not accepted and does it without the ring. The kernel reads the
 * submission queue only inside io_uring_enter, so that its unread end is still ours.
 */
static void submission_withdraw(struct uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;
    unsigned count = uring->unsent_count, i;
    unsigned indexes[RING_SLOTS];

    sq->sqe_head = sq->sqe_tail = *sq->khead;
    *sq->ktail = *sq->khead;
    memcpy(indexes, uring->unsent, count * sizeof(indexes[0]));
    uring->unsent_count = 0;
    uring->submit_tries = 0;
    for (i = 0; i < count; i++)
        uring_slot_run(uring, indexes[i]);
}

static bool refusal_passes(int rc)
{
    return rc == 0 || rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM || rc == -EINTR;
}

/* For good. */
static void ring_refused(struct uring *uring, int rc)
{
    if (!uring->broken)
        log_line(uring->engine->log, SPILLWAY_LOG_WARN,
                 "io_uring stopped working, going on without: %s", spw_error_text(rc));
    uring->broken = true;
}

static void note_submission(struct uring *uring)
{
    uint64_t now_ns = uring->engine->os->clock_ns();
    unsigned i;

    for (i = 0; i < uring->unsent_count; i++)
        if (uring->unsent[i] < ENGINE_SLOTS_MAX)
            engine_request_begin(uring->engine, uring->unsent[i], now_ns);
}

static void submission_accepted(struct uring *uring, unsigned count)
{
    unsigned i;

    engine_count_syscall(uring->engine);
    uring->submit_tries = 0;
    uring->in_kernel += count;
    uring->unsent_count -= count;
    for (i = 0; i < count; i++)
        uring->slots[uring->unsent[i]].in_kernel = true;
    memmove(uring->unsent, uring->unsent + count, uring->unsent_count * sizeof(uring->unsent[0]));
}

/* One system call for all that is in the queue. What is refused stays there for the next round. */
void uring_submit(struct uring *uring)
{
    int rc;

    while (!uring->must_pause && uring->unsent_count > 0) {
        note_submission(uring);
        rc = io_uring_submit_and_get_events(&uring->ring);
        if (rc > 0) {
            submission_accepted(uring, (unsigned)rc);
            continue;
        }
        uring->must_pause = true;
        calibration_void(&uring->directions[WRITES].calibration);
        calibration_void(&uring->directions[READS].calibration);
        if (!refusal_passes(rc)) {
            ring_refused(uring, rc);
        } else if (++uring->submit_tries < SUBMIT_TRIES_MAX) {
            return;
        }
        submission_withdraw(uring);
    }
}

static void request_ended(struct uring *uring, unsigned index, int result)
{
    struct engine *engine = uring->engine;
    struct request *request = &uring->slots[index].request;
    enum job_op op = request->job->op;
    enum request_step step;
    int error;

    if (op == JOB_HINT) {
        result = engine->os->ring_result('h', result);
        uring_slot_finish(uring, index, result < 0 ? result : 0);
        return;
    }
    result = engine->os->ring_result(op == JOB_READ ? 'r' : 'w', result);
    engine_request_end(engine, index, op, engine->os->clock_ns());
    step = request_advance(request, result, &error);
    if (step != STEP_FINISHED || error < 0)
        calibration_void(&uring_direction(uring, op)->calibration);
    switch (step) {
    case STEP_FINISHED:
        uring_slot_finish(uring, index, error);
        break;
    case STEP_AGAIN:
        uring_slot_issue(uring, index);
        break;
    case STEP_PAUSE:
        uring_slot_pause(uring, index);
        break;
    }
}

/* Completions that the kernel holds back until this thread comes for them. */
static void fetch_completions(struct uring *uring)
{
    unsigned flags = __atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED);
    int rc;

    if (uring->broken || !(flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
        return;
    rc = io_uring_get_events(&uring->ring);
    uring->must_pause |= rc < 0;
    if (rc < 0 && !refusal_passes(rc))
        ring_refused(uring, rc);
}

bool uring_reap(struct uring *uring)
{
    const struct os *os = uring->engine->os;
    uint64_t start_ns;
    struct io_uring_cqe *cqe;
    unsigned ended, index, i;
    int result;

    if (uring->in_kernel == 0)
        return false;
    if (io_uring_cq_ready(&uring->ring) == 0)
        fetch_completions(uring);
    start_ns = os->clock_ns();
    for (ended = 0; ended < TURN_REQUESTS && uring->in_kernel > 0; ended++) {
        if (io_uring_cq_ready(&uring->ring) == 0 || io_uring_peek_cqe(&uring->ring, &cqe) < 0 ||
            (ended > 0 && os->clock_ns() - start_ns >= TURN_NS))
            break;
        index = (unsigned)cqe->user_data;
        result = cqe->res;
        io_uring_cqe_seen(&uring->ring, cqe);
        uring->in_kernel--;
        uring->slots[index].in_kernel = false;
        request_ended(uring, index, result);
    }
    for (i = 0; ended > 0 && i < DIRECTIONS; i++) {
        struct direction *direction = &uring->directions[i];

        calibration_moved(&direction->calibration, start_ns, direction->ended_bytes,
                          direction->ended_requests);
        direction->ended_bytes = direction->ended_requests = 0;
    }
    return ended > 0;
}

/*
 * The ring is refused for good while it has requests, and may never post what has become of them.
 * It is closed, they are waited for, since their buffers are the kernel's until then, and then done
 * once more without it: that moves the same bytes between the same places.
 */
bool uring_leave_ring(struct uring *uring)
{
    struct pollfd end = {.fd = uring->end_fd};
    unsigned i;

    if (!uring->broken || uring->in_kernel == 0 || uring->end_fd < 0)
        return false;
    while (uring_reap(uring))
        ;
    uring_ring_close(uring);
    while (poll(&end, 1, -1) < 0)
        ;
    uring->in_kernel = 0;
    for (i = 0; i < RING_SLOTS; i++) {
        if (uring->slots[i].in_kernel) {
            uring->slots[i].in_kernel = false;
            uring_slot_run(uring, i);
        }
    }
    return true;
}

#endif
