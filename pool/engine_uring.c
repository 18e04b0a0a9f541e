/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine: one thread, which makes the ring, fills it, and is the only one to touch
 * it. It sleeps in read(2) on an event descriptor that both the ring and whoever submits a job
 * write to, never inside io_uring_enter(2).
 *
 * Each request in flight has a slot, and there are no more slots than places in the submission
 * queue. So there is always a free place, and completions, which have room for twice as many,
 * cannot overflow. How many slots may be in use, and how large a request is, a calibration says
 * for each direction. Beyond that, what hangs leaves room to others: see has_room().
 */
#include <errno.h>

#include "engine_impl.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../lib/alloc.h"
#include "spillway/errors.h"

enum {
    /* Completions of one turn; submissions have theirs in between. */
    TURN_REQUESTS = 16,
    /* Refused submissions in a row before the requests concerned are done without the ring. */
    SUBMIT_TRIES_MAX = 100,
    OPERATIONS = IORING_OP_WRITE + 1, /* up to the highest-numbered one that we need */
    NO_SLOT = ENGINE_SLOTS_MAX,
    /* Jobs of one direction that are prepared and not all issued; more are not taken. */
    PARKED_MAX = 8,
};
/* So long jobs are prepared, or completed, before the other side gets its turn: both may copy or
 * sum up data. What is prepared waits even less where the device has nothing to do. */
#define TURN_NS            UINT64_C(50000)
#define TURN_DRY_NS        UINT64_C(5000)
#define PAUSE_NS           (ENGINE_PAUSE_MS * UINT64_C(1000000))
#define REQUEST_UNIT_BYTES ((size_t)4096)

/* A request between its issue and its end. */
struct slot {
    struct request request;
    size_t bytes; /* as issued */
    bool in_kernel;
    unsigned next; /* in the list of free or of paused slots; NO_SLOT: the last */
};

/* One direction of one file. */
struct stream {
    struct job *first, *last; /* prepared, and not all of them issued yet; urgent ones first */
    unsigned used;            /* slots */
    unsigned urgent;          /* of these: of urgent jobs */
};

/* Writes and reads apart. */
struct direction {
    struct calibration calibration;
    struct stream streams[ENGINE_FILES_MAX];
    unsigned parked;       /* jobs in streams */
    unsigned used;         /* slots */
    uint64_t flight_bytes; /* of these */
    uint64_t ended_bytes;  /* requests that have ended in this turn */
    unsigned ended_requests;
};
enum { WRITES, READS, DIRECTIONS };

struct uring {
    struct engine *engine;
    int wake_fd;

    bool reported;   /* guarded by the engine's lock */
    int start_error; /* guarded by the engine's lock; 0 or -errno once reported */

    /* The engine thread's own from here on. */
    struct io_uring ring;
    bool ring_open;
    bool fixed_files;
    int end_fd;  /* hangs up when the ring is closed and nothing is in flight; -1: there is none */
    bool broken; /* the ring is refused for good: jobs go on without it */
    bool must_pause;       /* the ring refused something in this round */
    unsigned submit_tries; /* refusals in a row */
    unsigned ended_jobs;   /* complete, and not yet told to the engine */
    unsigned used;         /* slots with a request */
    uint64_t flight_bytes; /* of these */
    unsigned unsent_count; /* slots in the submission queue, in its order */
    unsigned in_kernel;    /* slots that the kernel has accepted */
    unsigned first_free;
    unsigned first_paused;
    uint64_t resume_ns; /* when the paused ones are issued again */
    struct direction directions[DIRECTIONS];
    unsigned unsent[ENGINE_SLOTS_MAX];
    struct slot slots[ENGINE_SLOTS_MAX];
};

static struct direction *direction_of(struct uring *uring, enum job_op op)
{
    return &uring->directions[op == JOB_READ ? READS : WRITES];
}

static struct stream *stream_of(struct uring *uring, enum job_op op, unsigned file)
{
    return &direction_of(uring, op)->streams[file % ENGINE_FILES_MAX];
}

/*
 * Room for one more request. Both directions share what may be in flight, but half of it is each
 * one's own. A file of which nothing is in flight has room whatever the others do, and so has an
 * urgent read where no other is: requests that hang keep nobody else waiting.
 */
static bool has_room(struct uring *uring, enum job_op op, unsigned file, bool urgent)
{
    const struct direction *direction = direction_of(uring, op);
    const struct calibration *calibration = &direction->calibration;
    const struct stream *stream = stream_of(uring, op, file);

    if (stream->used == 0)
        return true;
    if (calibration_has_room(calibration, direction->used, direction->flight_bytes) &&
        (calibration_has_room(calibration, uring->used, uring->flight_bytes) ||
         calibration_has_room(calibration, 2 * direction->used, 2 * direction->flight_bytes)))
        return true;
    return urgent && op == JOB_READ && stream->urgent == 0 && calibration->forced_depth == 0;
}

static bool uring_has_room(struct engine *engine, const struct job *job)
{
    struct uring *uring = engine->state;

    return job->op == JOB_WORK || (direction_of(uring, job->op)->parked < PARKED_MAX &&
                                   has_room(uring, job->op, job->file, job->urgent));
}

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

    return rc < 0 ? rc : io_uring_queue_init(ENGINE_SLOTS_MAX, &uring->ring, flags);
}

/*
 * The ring keeps the files that are registered with it until its last request has ended, also when
 * it is closed before. So the other end of a pipe tells when that is.
 */
static void register_files(struct uring *uring)
{
    struct engine *engine = uring->engine;
    int fds[SETTINGS_MAX_DIRS + 1], ends[2], rc;

    uring->end_fd = -1;
    if (engine->fd_count == 0 || engine->fd_count > SETTINGS_MAX_DIRS)
        return;
    memcpy(fds, engine->fds, engine->fd_count * sizeof(fds[0]));
    rc = engine->os->pipe(ends, O_CLOEXEC);
    if (rc < 0)
        ends[0] = ends[1] = -1; /* a place in the table may be empty */
    fds[engine->fd_count] = ends[1];
    rc = io_uring_register_files(&uring->ring, fds, engine->fd_count + 1);
    os_close(engine->os, ends[1]);
    uring->fixed_files = rc == 0;
    if (rc == 0) {
        uring->end_fd = ends[0];
        return;
    }
    os_close(engine->os, ends[0]);
    log_line(engine->log, SPILLWAY_LOG_DEBUG, "scratch files are not registered: %s",
             spw_error_text(rc));
}

static void ring_close(struct uring *uring)
{
    if (uring->ring_open)
        io_uring_queue_exit(&uring->ring);
    uring->ring_open = false;
}

static int ring_open(struct uring *uring)
{
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
    register_files(uring);
    uring->ring_open = true;
    return 0;

fail_check:
    io_uring_queue_exit(&uring->ring);
    return rc;
}

/* --- slots --- */

/* A prepared job waits to be issued. */
static void park(struct uring *uring, struct job *job)
{
    struct stream *stream = stream_of(uring, job->op, job->file);

    job->prev = job->urgent ? NULL : stream->last;
    job->next = job->urgent ? stream->first : NULL;
    *(job->prev != NULL ? &job->prev->next : &stream->first) = job;
    *(job->next != NULL ? &job->next->prev : &stream->last) = job;
    direction_of(uring, job->op)->parked++;
}

static void unpark(struct uring *uring, struct job *job)
{
    struct stream *stream = stream_of(uring, job->op, job->file);

    *(job->prev != NULL ? &job->prev->next : &stream->first) = job->next;
    *(job->next != NULL ? &job->next->prev : &stream->last) = job->prev;
    job->next = job->prev = NULL;
    direction_of(uring, job->op)->parked--;
}

/* The slot is free before `complete` runs: the job may come back through it. */
static void slot_finish(struct uring *uring, unsigned index, int error)
{
    struct slot *slot = &uring->slots[index];
    struct job *job = slot->request.job;
    struct direction *direction = direction_of(uring, job->op);
    struct stream *stream = stream_of(uring, job->op, job->file);

    slot->next = uring->first_free;
    uring->first_free = index;
    uring->used--;
    uring->flight_bytes -= slot->bytes;
    direction->used--;
    direction->flight_bytes -= slot->bytes;
    stream->used--;
    stream->urgent -= job->urgent;
    direction->ended_bytes += slot->bytes;
    direction->ended_requests++;
    job->requests--;
    if (error < 0 && job->result == 0)
        job->result = error;
    if (job->issued < job->len && job->result < 0) {
        unpark(uring, job); /* the rest of it is not issued any more */
        job->issued = job->len;
    }
    if (job->issued == job->len && job->requests == 0) {
        engine_complete(job);
        uring->ended_jobs++;
    }
}

static void slot_pause(struct uring *uring, unsigned index)
{
    if (uring->first_paused == NO_SLOT)
        uring->resume_ns = uring->engine->os->clock_ns() + PAUSE_NS;
    uring->slots[index].next = uring->first_paused;
    uring->first_paused = index;
}

/* Does the rest of a slot's request without the ring. */
static void slot_run(struct uring *uring, unsigned index)
{
    slot_finish(uring, index, engine_run_io(uring->engine, &uring->slots[index].request, index));
}

/* Puts what is left of a slot's request into the submission queue. */
static void slot_issue(struct uring *uring, unsigned index)
{
    const struct request *request = &uring->slots[index].request;
    const struct job *job = request->job;
    void *start = (char *)job->buffer + request->at;
    uint64_t offset = job->offset + request->at;
    unsigned len = (unsigned)(request->end - request->at);
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
    uring->unsent[uring->unsent_count++] = index;
}

/* --- from jobs to requests --- */

/* Where the next request of a job ends: all of them are about as long, and none is longer than the
 * calibration says. */
static size_t request_end(struct uring *uring, const struct job *job)
{
    size_t most = atomic_load_explicit(&direction_of(uring, job->op)->calibration.request_bytes,
                                       memory_order_relaxed);
    size_t unit = job->align > REQUEST_UNIT_BYTES ? job->align : REQUEST_UNIT_BYTES;
    size_t rest = job->len - job->issued, count, bytes;

    most = most > unit ? most - most % unit : unit;
    if (rest <= most)
        return job->len;
    count = (rest + most - 1) / most;
    bytes = (rest + count - 1) / count;
    return job->issued + (bytes + unit - 1) / unit * unit;
}

static void issue_request(struct uring *uring, struct job *job)
{
    struct direction *direction = direction_of(uring, job->op);
    struct stream *stream = stream_of(uring, job->op, job->file);
    unsigned index = uring->first_free;
    struct slot *slot = &uring->slots[index];

    slot->request = (struct request){.job = job, .at = job->issued, .end = request_end(uring, job)};
    slot->bytes = slot->request.end - slot->request.at;
    uring->first_free = slot->next;
    uring->used++;
    uring->flight_bytes += slot->bytes;
    direction->used++;
    direction->flight_bytes += slot->bytes;
    stream->used++;
    stream->urgent += job->urgent;
    calibration_void(
        &uring->directions[direction == &uring->directions[READS] ? WRITES : READS].calibration);
    job->issued = slot->request.end;
    job->requests++;
    if (job->issued == job->len)
        unpark(uring, job);
    slot_issue(uring, index);
}

/* Issues what is prepared, as far as there is room. */
static bool issue_parked(struct uring *uring)
{
    bool moved = false;
    unsigned i, file;

    for (i = 0; i < DIRECTIONS; i++) {
        struct direction *direction = &uring->directions[i];

        for (file = 0; direction->parked > 0 && file < ENGINE_FILES_MAX; file++) {
            const struct job *job;

            while ((job = direction->streams[file].first) != NULL &&
                   has_room(uring, job->op, job->file, job->urgent)) {
                issue_request(uring, direction->streams[file].first);
                moved = true;
            }
        }
    }
    return moved;
}

/* The pending job that goes next, if there is room for one. What has ended is told in passing. */
static struct job *take_job(struct uring *uring)
{
    struct engine *engine = uring->engine;
    struct job *job;

    pthread_mutex_lock(&engine->lock);
    engine_ended_locked(engine, uring->ended_jobs);
    uring->ended_jobs = 0;
    job = engine_take_locked(engine);
    pthread_mutex_unlock(&engine->lock);
    return job;
}

/* Takes, prepares and issues what there is room for, as long as the device has enough to do. */
static bool fill(struct uring *uring)
{
    const struct os *os = uring->engine->os;
    uint64_t start_ns = os->clock_ns();
    struct job *job;
    bool moved = false;

    for (;;) {
        uint64_t turn_ns = uring->in_kernel > 0 ? TURN_NS : TURN_DRY_NS;

        moved |= issue_parked(uring);
        if (moved && os->clock_ns() - start_ns >= turn_ns)
            break;
        job = take_job(uring);
        if (job == NULL)
            break;
        moved = true;
        if (engine_prepare(uring->engine, job)) {
            park(uring, job);
        } else {
            engine_complete(job);
            uring->ended_jobs++;
        }
    }
    return moved;
}

/* --- the rounds --- */

/*
 * Takes back what the kernel has not accepted and does it without the ring. The kernel reads the
 * submission queue only inside io_uring_enter, so that its unread end is still ours.
 */
static void submission_withdraw(struct uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;
    unsigned count = uring->unsent_count, i;
    unsigned indexes[ENGINE_SLOTS_MAX];

    sq->sqe_head = sq->sqe_tail = *sq->khead;
    *sq->ktail = *sq->khead;
    memcpy(indexes, uring->unsent, count * sizeof(indexes[0]));
    uring->unsent_count = 0;
    uring->submit_tries = 0;
    for (i = 0; i < count; i++)
        slot_run(uring, indexes[i]);
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
static void submit_requests(struct uring *uring)
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

    result = engine->os->ring_result(op == JOB_READ ? 'r' : 'w', result);
    engine_request_end(engine, index, op, engine->os->clock_ns());
    step = request_advance(request, result, &error);
    if (step != STEP_FINISHED || error < 0)
        calibration_void(&direction_of(uring, op)->calibration);
    switch (step) {
    case STEP_FINISHED:
        slot_finish(uring, index, error);
        break;
    case STEP_AGAIN:
        slot_issue(uring, index);
        break;
    case STEP_PAUSE:
        slot_pause(uring, index);
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

static bool reap(struct uring *uring)
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
static bool leave_ring(struct uring *uring)
{
    struct pollfd end = {.fd = uring->end_fd};
    unsigned i;

    if (!uring->broken || uring->in_kernel == 0 || uring->end_fd < 0)
        return false;
    while (reap(uring))
        ;
    ring_close(uring);
    while (poll(&end, 1, -1) < 0)
        ;
    uring->in_kernel = 0;
    for (i = 0; i < ENGINE_SLOTS_MAX; i++) {
        if (uring->slots[i].in_kernel) {
            uring->slots[i].in_kernel = false;
            slot_run(uring, i);
        }
    }
    return true;
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
        bool parked = direction_of(uring, op)->parked >= PARKED_MAX;

        for (file = 0; file < engine->files; file++) {
            struct job_line *line = &engine->lines[op][file];

            line->deaf = parked || !has_room(uring, op, file, false);
            line->deaf_urgent = parked || !has_room(uring, op, file, true);
        }
    }
}

/* Whether some prepared job can be issued. */
static bool parked_has_room(struct uring *uring)
{
    unsigned i, file;

    for (i = 0; i < DIRECTIONS; i++) {
        struct direction *direction = &uring->directions[i];

        for (file = 0; direction->parked > 0 && file < ENGINE_FILES_MAX; file++) {
            const struct job *job = direction->streams[file].first;

            if (job != NULL && has_room(uring, job->op, job->file, job->urgent))
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
    ends = engine->closing && waiting == 0 && uring->used == 0 &&
           !engine_has_pending_locked(engine, JOB_WORK);
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

    rc = ring_open(uring);
    report_start(uring, rc);
    if (rc < 0)
        return NULL;
    do {
        uring->must_pause = false;
        resume_paused(uring);
        moved = fill(uring);
        submit_requests(uring);
        moved |= reap(uring);
        moved |= leave_ring(uring);
    } while (moved || wait_for_work(uring));
    ring_close(uring);
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
    for (i = 0; i < DIRECTIONS; i++)
        calibration_init(&uring->directions[i].calibration, &calibrate);
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
    const struct calibration *calibration = &direction_of(uring, op)->calibration;

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
