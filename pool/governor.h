/* SPDX-License-Identifier: MIT */
/*
 * The governor of a pool: one thread that looks over all queues. It is started the first time that
 * there is something to look after, and sleeps while there is nothing to do. Its lock comes before
 * that of the decisions and is held with no other: it chooses under it, drops it, then acts.
 */
#ifndef SPILLWAY_POOL_GOVERNOR_H
#define SPILLWAY_POOL_GOVERNOR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "census.h"
#include "decisions.h"
#include "share.h"
#include "spillway/governor.h"

/* More regulators than anybody needs in one pool. */
enum { REGULATORS_MAX = 16 };

struct spw_pool;

/* A regulator and what it waits for. Guarded by the governor's lock. */
struct regulated {
    spw_regulator *regulator;
    uint64_t id; /* never the same twice */
    unsigned watch_count;
    spw_watch watches[SPILLWAY_WATCHES_MAX];
    unsigned ready;                       /* of these, a bit each */
    short reported[SPILLWAY_WATCHES_MAX]; /* what each said */
    uint64_t ready_ns;                    /* when one of them last was */
    uint64_t wake_ns, wake_in_use_ns;     /* see spw_orders */
    bool due;                             /* it is to look anyway */
    uint64_t pass;                        /* it had its turn in this one */
    uint64_t tuned; /* rows of the options that it has to hear of, a bit each */
};

struct governor {
    spw_governor governor; /* first */
    struct spw_pool *pool;
    spw_options *options; /* what the pool was opened with */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a call has returned */
    /* Guarded by the lock. */
    struct regulated *regulators[REGULATORS_MAX];
    unsigned count;
    uint64_t next_id;
    uint64_t calling; /* the id of the one whose call is under way or is carried out; 0: none */
    bool started;
    bool refused; /* no thread could be had */
    bool closing;
    bool looking; /* the thread holds queues */
    bool woken;   /* it was called and has not heard so far */
    bool resting; /* it sleeps until it is called or a regulator's time comes */

    pthread_t thread;
    int event_fd; /* wakes the thread */
    pthread_t self;
    _Atomic bool running; /* `self` is the thread */

    /*
     * Somebody has to start or to wake the thread, who holds no lock. Set under any lock, when the
     * pool comes to use more than `level_bytes`, which is UINT64_MAX while nobody waits for that;
     * or when its writers come to use more than budget_guide_mark().
     */
    _Atomic bool called;
    _Atomic uint64_t level_bytes;
    _Atomic bool
        guiding; /* it was called to guide queues, and does not stop before they need none */

    _Atomic bool shrunk; /* the budget was set to less than is in use: the rest is to go */

    /* The thread's own. */
    uint64_t pass;
    uint64_t limits_ns; /* when to look at the limits of the process again */
    struct share share;

    struct census census;

    struct decisions decisions;
};

/* Before the pool has any queue. `options` are the governor's from success on. */
int governor_init(struct governor *governor, struct spw_pool *pool, spw_options *options);

/* Ends the thread for good. Not from the thread itself. */
void governor_stop(struct governor *governor);

/* The same, and closes all regulators. */
void governor_fini(struct governor *governor);

/* Starts or wakes the thread. No lock held. Returns 0 or -EAGAIN (no thread can be started). */
int governor_call(struct governor *governor);

/* Tells and counts, once, that what `name` stands for is not to be had. Returns 0 or -EOPNOTSUPP
 * (strict). No lock held. */
int governor_lacks(struct governor *governor, const char *name, const char *why);
/* Waits until the thread holds no queue; afterwards it finds only those that are open then. */
void governor_wait_quiet(struct governor *governor);

/* Whether the thread, if there is one, has nothing left to do but what regulators may want. */
bool governor_is_quiet(struct governor *governor);

/* Between these two the thread holds queues. */
void governor_begin_look(struct governor *governor);
void governor_end_look(struct governor *governor);

/* Whether the caller is the governor's thread. */
bool governor_on_thread(const struct governor *governor);

/* ---- governor_thread.c ---- */

void *governor_main(void *governor);

/* ---- orders.c ---- */

/* What a regulator sees now. */
void outlook_fill(struct spw_pool *pool, spw_outlook *out);

/* Carries out what a regulator wants, and notes it. No lock held. */
void orders_carry_out(struct governor *governor, const char *name, const spw_orders *orders);

/* Notes a decision of the governor's own, since which the budget is no longer `before_bytes`. */
void governor_note(struct governor *governor, const char *action, uint64_t before_bytes,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Has the regulator of that name hear of these rows of the options before it looks next, soon. */
void governor_tune(struct governor *governor, const char *name, uint64_t rows);

/* Notes that `who` had a setting changed. */
void governor_note_set(struct governor *governor, const char *who, uint64_t before_bytes,
                       const char *reason);

/* Notes what a coder decided. Any thread, no lock held. */
void governor_note_coder(struct governor *governor, const char *name, const char *action,
                         const char *reason);

#endif
