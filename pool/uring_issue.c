/* SPDX-License-Identifier: MIT */
/* From jobs to requests: room, slots, splitting. */
#include "../lib/probes.h"
#include "uring.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#define PAUSE_NS           (ENGINE_PAUSE_MS * UINT64_C(1000000))
#define REQUEST_UNIT_BYTES ((size_t)4096)

/* --- room --- */

/*
 * Room for one more request. Both directions share what may be in flight, but half of it is each
 * one's own. A file of which nothing is in flight has room whatever the others do, and so has an
 * urgent read where no other is: requests that hang keep nobody else waiting.
 */
bool uring_room(struct uring *uring, enum job_op op, unsigned file, bool urgent)
{
    const struct direction *direction = uring_direction(uring, op);
    const struct calibration *calibration = &direction->calibration;
    const struct stream *stream = uring_stream(uring, op, file);

    if (stream->used == 0)
        return true;
    if (calibration_has_room(calibration, direction->used, direction->flight_bytes) &&
        (calibration_has_room(calibration, uring->used, uring->flight_bytes) ||
         calibration_has_room(calibration, 2 * direction->used, 2 * direction->flight_bytes)))
        return true;
    return urgent && op == JOB_READ && stream->urgent == 0 && calibration->forced_depth == 0;
}

/* --- slots --- */

/* A prepared job waits to be issued. */
static void park(struct uring *uring, struct job *job)
{
    struct stream *stream = uring_stream(uring, job->op, job->file);

    job->prev = job->urgent ? NULL : stream->last;
    job->next = job->urgent ? stream->first : NULL;
    *(job->prev != NULL ? &job->prev->next : &stream->first) = job;
    *(job->next != NULL ? &job->next->prev : &stream->last) = job;
    uring_direction(uring, job->op)->parked++;
}

static void unpark(struct uring *uring, struct job *job)
{
    struct stream *stream = uring_stream(uring, job->op, job->file);

    *(job->prev != NULL ? &job->prev->next : &stream->first) = job->next;
    *(job->next != NULL ? &job->next->prev : &stream->last) = job->prev;
    job->next = job->prev = NULL;
    uring_direction(uring, job->op)->parked--;
}

static void hint_finish(struct uring *uring, unsigned index, int error)
{
    struct job *job = uring->slots[index].request.job;

    uring->slots[index].request.job = NULL;
    uring->hints--;
    job->result = error;
    engine_complete(job);
    uring->ended_jobs++;
}

/* The slot is free before `complete` runs: the job may come back through it. */
void uring_slot_finish(struct uring *uring, unsigned index, int error)
{
    struct slot *slot = &uring->slots[index];
    struct job *job = slot->request.job;

    if (job->op == JOB_HINT) {
        hint_finish(uring, index, error);
        return;
    }

    struct direction *direction = uring_direction(uring, job->op);
    struct stream *stream = uring_stream(uring, job->op, job->file);

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

void uring_slot_pause(struct uring *uring, unsigned index)
{
    if (uring->first_paused == NO_SLOT)
        uring->resume_ns = uring->engine->os->clock_ns() + PAUSE_NS;
    uring->slots[index].next = uring->first_paused;
    uring->first_paused = index;
}

void uring_resume_paused(struct uring *uring)
{
    unsigned index, next;

    if (uring->first_paused == NO_SLOT || uring->engine->os->clock_ns() < uring->resume_ns)
        return;
    next = uring->first_paused;
    uring->first_paused = NO_SLOT;
    while (next != NO_SLOT) {
        index = next;
        next = uring->slots[index].next;
        uring_slot_issue(uring, index);
    }
}

/* Does the rest of a slot's request without the ring. */
void uring_slot_run(struct uring *uring, unsigned index)
{
    struct request *request = &uring->slots[index].request;

    uring_slot_finish(uring, index,
                      request->job->op == JOB_HINT ? engine_run_hint(uring->engine, request->job)
                                                   : engine_run_io(uring->engine, request, index));
}

static void hint_prepare(struct io_uring_sqe *sqe, int fd, const struct job *job)
{
    if (job->buffer != NULL)
        io_uring_prep_madvise(sqe, job->buffer, (unsigned)job->len, job->advice);
    else
        io_uring_prep_fadvise(sqe, fd, job->offset, (unsigned)job->len, job->advice);
}

/* Puts what is left of a slot's request into the submission queue. */
void uring_slot_issue(struct uring *uring, unsigned index)
{
    const struct request *request = &uring->slots[index].request;
    const struct job *job = request->job;
    void *start = (char *)job->buffer + request->at;
    uint64_t offset = job->offset + request->at;
    unsigned len = (unsigned)(request->end - request->at);
    bool no_file = job->op == JOB_HINT && job->buffer != NULL;
    struct io_uring_sqe *sqe;
    int fd;

    if (uring->broken) {
        uring_slot_run(uring, index);
        return;
    }
    fd = uring->fixed_files || no_file ? (int)job->file : uring->engine->fds[job->file];
    sqe = io_uring_get_sqe(&uring->ring);
    if (job->op == JOB_WRITE)
        PROBE3(write, job->file, offset, len);
    if (job->op == JOB_READ)
        io_uring_prep_read(sqe, fd, start, len, offset);
    else if (job->op == JOB_WRITE)
        io_uring_prep_write(sqe, fd, start, len, offset);
    else
        hint_prepare(sqe, fd, job);
    if (uring->fixed_files && !no_file)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data64(sqe, index);
    uring->unsent[uring->unsent_count++] = index;
}

/* --- from jobs to requests --- */

/* Where the next request of a job ends: all of them are about as long, and none is longer than the
 * calibration says. */
static size_t request_end(struct uring *uring, const struct job *job)
{
    size_t most = atomic_load_explicit(&uring_direction(uring, job->op)->calibration.request_bytes,
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
    struct direction *direction = uring_direction(uring, job->op);
    struct stream *stream = uring_stream(uring, job->op, job->file);
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
    uring_slot_issue(uring, index);
}

/* There is a free slot for it: see uring_has_room(). */
static void issue_hint(struct uring *uring, struct job *job)
{
    unsigned index = ENGINE_SLOTS_MAX;

    while (uring->slots[index].request.job != NULL)
        index++;
    uring->slots[index].request = (struct request){.job = job, .end = job->len};
    uring->hints++;
    uring_slot_issue(uring, index);
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
                   uring_room(uring, job->op, job->file, job->urgent)) {
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
bool uring_fill(struct uring *uring)
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
            if (job->op == JOB_HINT)
                issue_hint(uring, job);
            else
                park(uring, job);
        } else {
            engine_complete(job);
            uring->ended_jobs++;
        }
    }
    return moved;
}

#endif
