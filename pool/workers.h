/* SPDX-License-Identifier: MIT */
/*
 * A few threads for work that only needs a processor. Idle ones sleep without a time limit.
 */
#ifndef SPILLWAY_POOL_WORKERS_H
#define SPILLWAY_POOL_WORKERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../lib/os.h"

enum { WORKERS_MAX = 4 };

struct task {
    struct task *next, *prev;       /* the workers' */
    void (*run)(struct task *task); /* with no lock held; the task may be gone afterwards */
    bool first;                     /* goes before those that are not */
    bool pending;                   /* guarded by the workers' lock: queued and not yet taken */
};

struct workers {
    const struct os *os;
    pthread_mutex_t lock; /* innermost, as the engine's */
    pthread_cond_t wakeup, idle;
    /* Guarded by the lock: */
    struct task *queue[2], *last[2]; /* [1]: those that go first */
    unsigned sleepers, woken;        /* woken: called and not come yet */
    unsigned outstanding;            /* tasks from submit until they have run */
    uint64_t ended;                  /* that have left `outstanding` */
    unsigned waiting;                /* for `idle` */
    bool closing;
    _Atomic unsigned corks, unwoken; /* as in engine.h */
    /* Constant once there are tasks. Others may look before: of the threads, so many are there. */
    pthread_t threads[WORKERS_MAX];
    _Atomic unsigned count;
};

/* So many are right for a machine with that many processors. */
unsigned workers_wanted(unsigned processors);

/* Without a thread. Returns 0 or -errno. */
int workers_init(struct workers *workers, const struct os *os);

/* Nothing is outstanding. Ends the threads. Not from a worker. */
void workers_fini(struct workers *workers);

/*
 * Starts `wanted` threads, once, or fewer where the system refuses: `*why` is then its -errno, else
 * 0. Returns 0, or that error when there is not even one.
 */
int workers_start(struct workers *workers, unsigned wanted, int *why);

/* Any thread, also under a queue's lock. Never fails. */
void workers_submit(struct workers *workers, struct task *task, bool first);

/* Takes a task back that nobody has taken: true when it will not run. */
bool workers_cancel(struct workers *workers, struct task *task);

bool workers_is_pending(struct workers *workers, const struct task *task);

/* See engine_cork(). */
void workers_cork(struct workers *workers);
void workers_uncork(struct workers *workers);
void workers_wake_due(struct workers *workers);

/* Waits until nothing is outstanding, or as many tasks have ended as were when it was called. Not
 * from a worker. */
void workers_wait_idle(struct workers *workers);

bool workers_on_thread(const struct workers *workers);

#endif
