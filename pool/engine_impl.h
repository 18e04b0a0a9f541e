/* SPDX-License-Identifier: MIT */
/* What the two engines share: pending jobs, how a job goes on, and the few things that differ. */
#ifndef SPILLWAY_POOL_ENGINE_IMPL_H
#define SPILLWAY_POOL_ENGINE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine.h"

enum {
    /* Four for one direction, one that is left to the other, one for jobs that need no I/O. */
    ENGINE_THREADS_MAX = 6,
    ENGINE_PAUSE_MS = 1,          /* before EAGAIN is tried again */
    ENGINE_STALLS_MAX = 1000,     /* EINTR and EAGAIN in a row before a job fails with it */
    ENGINE_SHORT_STALLS_MAX = 16, /* counts too short for one aligned step in a row, then -EIO */
};

/* One system call moves at most this much; the kernel stops just below 2 GiB. */
#define ENGINE_REQUEST_MAX_BYTES ((size_t)1 << 30)

_Static_assert((int)ENGINE_THREADS_MAX <= (int)ENGINE_SLOTS_MAX,
               "each thread has a request of its own");

/* Pending jobs of one kind and, as far as is known, one file. Urgent ones lie before all others;
 * `last_urgent` is NULL where there are none. */
struct job_line {
    struct job *first, *last, *last_urgent;
    /* Nobody needs to be woken for one more, since there is no room for it. */
    bool deaf, deaf_urgent;
    unsigned busy; /* threads that run a job of it */
};
enum { JOB_OPS = JOB_HINT + 1 };

struct engine_ops {
    const char *name;
    /* Starts the threads, or -errno with nothing left behind. */
    int (*start)(struct engine *engine, const struct engine_config *config);
    /* Wakes one sleeping thread, or all. No lock held. */
    void (*wake)(struct engine *engine, bool all);
    /* Frees what start() made; the threads are gone. */
    void (*release)(struct engine *engine);
    /* Whether the job may go now. With the engine's lock held, on an engine thread. */
    bool (*has_room)(struct engine *engine, const struct job *job);
    /* See engine_share(). */
    unsigned (*share)(const struct engine *engine);
    /* How requests of this direction are made. Any thread. */
    void (*tuning)(const struct engine *engine, enum job_op op, struct engine_tuning *out);
};

struct engine {
    const struct engine_ops *ops;
    const struct os *os;
    const spw_allocator *allocator;
    struct log *log;

    pthread_mutex_t lock;
    pthread_cond_t wakeup; /* with lock; io_uring uses it at the start only */
    pthread_cond_t idle;   /* with lock; `ended` has grown */
    unsigned outstanding;  /* guarded by lock: jobs from submit until `complete` has returned */
    unsigned watchers;     /* guarded by lock: who waits for `idle` */
    uint64_t ended;        /* guarded by lock: jobs that have left `outstanding` for good */
    /* Lines, their links and each job's `pending` are guarded by lock. */
    struct job_line lines[JOB_OPS][ENGINE_FILES_MAX];
    unsigned files;          /* lines of each kind in use; constant */
    uint64_t submitted;      /* guarded by lock */
    unsigned io_most;        /* of the threads, that do I/O at most; constant once there are jobs */
    unsigned direction_most; /* the same, of one direction */
    unsigned busy[JOB_OPS];  /* guarded by lock: threads that run such jobs */
    unsigned sleepers;       /* guarded by lock */
    unsigned woken;          /* guarded by lock: sleepers that were called and have not come yet */
    unsigned started;        /* guarded by lock: threads that took a number */
    _Atomic unsigned corks;  /* nobody is woken meanwhile */
    _Atomic unsigned unwoken; /* of `woken`: still to be woken */
    bool closing;             /* guarded by lock */

    /* Written before any job can come, constant afterwards. */
    pthread_t threads[ENGINE_THREADS_MAX];
    unsigned thread_count;
    void *state; /* the kind's own */

    /* When each request was handed to the kernel; 0: none. Relaxed, for looking only. */
    _Atomic uint64_t *request_start_ns;
    struct counters *counters;            /* never NULL: syscalls, requests, wakeups, tuning */
    struct histogram *write_ns, *read_ns; /* NULL: not kept */
    struct {
        _Atomic uint64_t request_start_ns[ENGINE_SLOTS_MAX];
        struct counters counters;
    } own; /* where nobody else keeps them */

    unsigned fd_count;
    int fds[]; /* a copy */
};

extern const struct engine_ops engine_threads_ops, engine_uring_ops;

/* All with the engine's lock held. Find: the job that goes next; NULL when none is pending that has
 * room. Take: the same, and takes it. */
struct job *engine_find_locked(struct engine *engine);
struct job *engine_take_locked(struct engine *engine);
/* Whether one is pending, be there room or not; `op`: of this kind. */
bool engine_has_pending_locked(const struct engine *engine, enum job_op op);
void engine_awake_locked(struct engine *engine);
/* So many jobs have left for good. */
void engine_ended_locked(struct engine *engine, unsigned count);

/* Runs `prepare`. True: issue the job; false: its result is set. No lock held. */
bool engine_prepare(struct engine *engine, struct job *job);

/* Calls `complete`, after which the job may be gone; engine_ended_locked() has to follow soon. No
 * lock held. */
void engine_complete(struct job *job);

/* A part of a job that goes to the kernel by itself. */
struct request {
    struct job *job;
    size_t at, end;  /* of the job's bytes: what is left to move */
    unsigned stalls; /* rounds in a row that did not move `at` */
};

/* What to do with a request after it has ended with a count or -errno. */
enum request_step {
    STEP_FINISHED, /* *error is 0 or -errno */
    STEP_AGAIN,    /* issue the rest at once */
    STEP_PAUSE,    /* issue the rest a little later */
};
enum request_step request_advance(struct request *request, ssize_t result, int *error);

/* Does all of a request's I/O in the calling thread; `slot` is where its time is noted. Returns 0
 * or -errno. */
int engine_run_io(struct engine *engine, struct request *request, unsigned slot);

/* Gives a job's hint in the calling thread. Returns 0 or -errno. */
int engine_run_hint(struct engine *engine, const struct job *job);

/* Notes that a request of this slot is handed to the kernel, and that it has ended. */
void engine_request_begin(struct engine *engine, unsigned slot, uint64_t now_ns);
void engine_request_end(struct engine *engine, unsigned slot, enum job_op op, uint64_t now_ns);

/* Where the tuning of a direction is told: depth, request_bytes, measured. */
_Atomic uint64_t *engine_told(const struct engine *engine, enum job_op op);

void engine_count_syscall(struct engine *engine);
void engine_count_wakeup(struct engine *engine);

/* Sleeps for ENGINE_PAUSE_MS. */
void engine_pause(void);

#endif
