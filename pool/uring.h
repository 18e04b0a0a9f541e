/* SPDX-License-Identifier: MIT */
/*
 * The inside of the io_uring engine: engine_uring.c (its thread, sleep, life), uring_ring.c (making
 * the ring), uring_issue.c (from jobs to requests) and uring_submit.c (to the kernel and back). All
 * of it runs on the engine's thread, unless said otherwise.
 */
#ifndef SPILLWAY_POOL_URING_H
#define SPILLWAY_POOL_URING_H

#include "engine_impl.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#include <liburing.h>

enum {
    NO_SLOT = ENGINE_SLOTS_MAX,
    HINTS_MAX = 4, /* on their way to the kernel or there; the kernel has threads for them */
    RING_SLOTS = ENGINE_SLOTS_MAX + HINTS_MAX, /* those of hints come last */
    /* Jobs of one direction that are prepared and not all issued; more are not taken. */
    PARKED_MAX = 8,
};
/* So long jobs are prepared, or completed, before the other side gets its turn: both may copy or
 * sum up data. What is prepared waits even less where the device has nothing to do. */
#define TURN_NS     UINT64_C(50000)
#define TURN_DRY_NS UINT64_C(5000)

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
    unsigned hints; /* slots of them with a request; not in `used` */
    unsigned unsent[RING_SLOTS];
    struct slot slots[RING_SLOTS];
};

static inline struct direction *uring_direction(struct uring *uring, enum job_op op)
{
    return &uring->directions[op == JOB_READ ? READS : WRITES];
}

static inline struct stream *uring_stream(struct uring *uring, enum job_op op, unsigned file)
{
    return &uring_direction(uring, op)->streams[file % ENGINE_FILES_MAX];
}

/* Room for one more request. Any thread that holds the engine's lock may ask. */
bool uring_room(struct uring *uring, enum job_op op, unsigned file, bool urgent);

/* ---- uring_ring.c ---- */

/* Returns 0 or -errno, and then nothing is left. */
int uring_ring_open(struct uring *uring);
void uring_ring_close(struct uring *uring);

/* ---- uring_issue.c ---- */

/* Takes, prepares and issues what there is room for, as long as the device has enough to do.
 * Returns whether something moved. */
bool uring_fill(struct uring *uring);

/* Puts what is left of a slot's request into the submission queue; does it without the ring where
 * that is broken. */
void uring_slot_issue(struct uring *uring, unsigned index);

/* Does the rest of a slot's request without the ring. */
void uring_slot_run(struct uring *uring, unsigned index);

/* Ends a slot's request with 0 or -errno. */
void uring_slot_finish(struct uring *uring, unsigned index, int error);

/* Issues a slot's request again a little later, with uring_resume_paused(). */
void uring_slot_pause(struct uring *uring, unsigned index);
void uring_resume_paused(struct uring *uring);

/* ---- uring_submit.c ---- */

/* One system call for all that is in the queue. What is refused stays there for the next round. */
void uring_submit(struct uring *uring);

/* Takes in what has ended. Returns whether something had. */
bool uring_reap(struct uring *uring);

/* Where the ring is refused for good while it has requests: does them without it. Returns whether
 * there was something to do. */
bool uring_leave_ring(struct uring *uring);

#endif
#endif
