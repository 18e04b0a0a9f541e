/* SPDX-License-Identifier: MIT */
/*
 * An I/O engine runs jobs on threads of its own: io_uring on one thread, or
 * pread/pwrite on several. Both behave alike, and share one contract:
 *
 *  - `prepare` (may be NULL) runs on an engine thread before the I/O and may set
 *    file, buffer, length and offset. It returns JOB_ISSUE, JOB_DONE (no I/O
 *    is needed, `result` is set), or -errno (which becomes the result).
 *  - a job may be split into several requests, which are in flight together; it is complete when
 *    all have ended, and its result is 0 or the first error.
 *  - the engine carries on after short counts and EINTR until all `len` bytes
 *    are done; a read that meets the end of the file gives -EIO. After a short count it goes on
 *    from an aligned place (`align`), as direct I/O needs.
 *  - `complete` runs on an engine thread with no lock held; it may free the job
 *    or submit it again.
 *  - EAGAIN is tried again after a pause, for about a second.
 *  - idle threads sleep without a time limit.
 *  - requests that hang do not fill the engine: each direction has room that the other cannot take,
 *    a file that has nothing in flight has room for one request, and so has an urgent read. Jobs
 * that need no I/O go on meanwhile. `file` when the job is submitted says where it belongs, as far
 * as is known by then.
 *
 * The engine's lock is the innermost one. Whoever is inside a call keeps the engine open.
 */
#ifndef SPILLWAY_POOL_ENGINE_H
#define SPILLWAY_POOL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/counters.h"
#include "../lib/histogram.h"
#include "../lib/log.h"
#include "../lib/os.h"
#include "../lib/settings.h"
#include "calibrate.h"
#include "spillway/alloc.h"

/* JOB_WORK: prepare is all there is. JOB_HINT: tells the kernel what is wanted soon, or no more;
 * one call, tried once, a few at a time, and others do not wait for it. */
enum job_op { JOB_WORK, JOB_READ, JOB_WRITE, JOB_HINT };
enum { JOB_ISSUE = 0, JOB_DONE = 1 };

enum {
    ENGINE_FILES_MAX = SETTINGS_MAX_DIRS,   /* told apart; with more, some share their room */
    ENGINE_DEPTH_MAX = CALIBRATE_DEPTH_MAX, /* requests of one direction in flight */
    /* Requests in flight in all: of both directions, and what each file may have beyond that. */
    ENGINE_SLOTS_MAX = 2 * ENGINE_DEPTH_MAX + 4 * ENGINE_FILES_MAX,
};

struct job {
    struct job *next, *prev; /* the engine's */
    enum job_op op;
    int (*prepare)(struct job *job);
    void (*complete)(struct job *job);
    unsigned file;  /* index into engine_config.fds */
    uint32_t align; /* of address, length and offset; 1 when buffered */
    void *buffer;
    size_t len;
    uint64_t offset;
    int advice; /* JOB_HINT: as in madvise(2) for `buffer`, or in posix_fadvise(2) where that is
                   NULL */
    int result; /* 0 or -errno, set before complete */
    /* the engine's own; all zero before the first submit */
    struct job_line *line; /* guarded by the engine's lock: where it is pending */
    uint64_t order;        /* the same: when it came; 0: hurried */
    bool urgent;           /* the same while it is pending */
    size_t issued;         /* bytes that requests were made for */
    unsigned requests;     /* that have not ended */
    bool pending;          /* guarded by the engine's lock: queued and not yet taken */
    bool completing;       /* `complete` is running */
};

struct engine_config {
    const struct os *os;
    const spw_allocator *allocator; /* never NULL */
    struct log *log;
    enum engine_kind kind;
    unsigned depth; /* requests of one direction in flight at most; 0: found out (calibrate.h) */
    uint32_t request_bytes; /* larger jobs are split; 0: found out; threads do not split */
    uint64_t window_bytes;  /* of jobs under way at most, as far as is known; 0: it is not */
    uint64_t trial_bytes;   /* that one measurement moves; 0: enough to rely on it */
    const int *fds;         /* scratch files; copied; may be empty */
    unsigned fd_count;
    struct histogram *write_ns, *read_ns; /* of requests; NULL: not kept */
    struct counters
        *counters; /* where it tells what it has done, and how it does it; NULL: nowhere */
    _Atomic uint64_t *request_start_ns; /* ENGINE_SLOTS_MAX of them, see there; NULL: nowhere */
};

struct engine;

/*
 * Opens an engine of the kind asked for. ENGINE_AUTO tries io_uring and falls
 * back to threads; *why then holds the -errno that refused io_uring, else 0.
 * ENGINE_IO_URING fails with that -errno instead (-EPERM, -ENOSYS, -ENOMEM, -EOPNOTSUPP, ...).
 */
int engine_open(const struct engine_config *config, struct engine **out, int *why);

/* Runs what is pending, waits for what is in flight, ends the threads. Not from an engine thread.
 */
void engine_close(struct engine *engine);

/* Queues a job; urgent ones go first, in the order they came. Any thread, also under a queue's
 * lock. Never fails. */
void engine_submit(struct engine *engine, struct job *job, bool urgent);

/*
 * Between these two, threads that submissions call are not woken yet, whoever submits: that takes a
 * system call, which may be long, and who corks holds a queue's lock. Any thread may cork, several
 * at a time; each uncorks soon, without that lock.
 */
void engine_cork(struct engine *engine);
void engine_uncork(struct engine *engine);

/* Wakes them all the same: for who is going to wait for a job. */
void engine_wake_due(struct engine *engine);

/* Takes a pending job back: true when it was still queued (`complete` will not run). */
bool engine_cancel(struct engine *engine, struct job *job);

/* Whether the job is queued and not yet taken. */
bool engine_is_pending(struct engine *engine, const struct job *job);

/* Moves a job that is still pending to the front. */
void engine_hurry(struct engine *engine, struct job *job);

/* Waits until nothing is under way, or until as many jobs have ended as were when it was called: so
 * that it ends although others go on submitting. Not from an engine thread. */
void engine_wait_idle(struct engine *engine);

/* Whether the caller is one of the engine's threads. */
bool engine_on_thread(const struct engine *engine);

/* So many jobs of one caller may be under way at once and still leave room for others. */
unsigned engine_share(const struct engine *engine);

/* "io_uring" or "threads". */
const char *engine_name(const struct engine *engine);

/* Age of the oldest request handed to the kernel, 0 when there is none; any thread. */
uint64_t engine_oldest_ns(const struct engine *engine);

/* What it has done so far, and how it does it. */
struct engine_info {
    uint64_t syscalls; /* that carried I/O */
    uint64_t requests; /* that ended */
    uint64_t wakeups;  /* times that a thread slept and was woken */
    struct engine_tuning {
        unsigned depth;         /* requests of this direction in flight at most */
        uint32_t request_bytes; /* of one request at most; 0: not split */
        bool measured;          /* found out on this device, neither a default nor forced */
    } write, read;
};
void engine_info(const struct engine *engine, struct engine_info *out);

#endif
