/* SPDX-License-Identifier: MIT */
/*
 * How long calls take and locks are held, for the histograms of an account. To read the clock at
 * each call would cost more than most calls do, so in the mode `auto` a call is timed when a policy
 * begins to move something, from that moment on; when it waits; and else one time in
 * STOPWATCH_PERIOD.
 */
#ifndef SPILLWAY_LIB_STOPWATCH_H
#define SPILLWAY_LIB_STOPWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "account.h"
#include "os.h"
#include "view.h"

enum { STOPWATCH_PERIOD = 1024 };

/* One for each end of a queue, used by the thread that calls there. */
struct stopwatch {
    const struct os *os;
    struct spw_account *account;   /* NULL: nothing is timed */
    unsigned left;                 /* calls up to and with the next one that is timed */
    uint64_t start_ns;             /* of this call, 0: it is not timed so far */
    uint64_t hold_ns, hold_cpu_ns; /* when the lock was taken, 0: that is not timed so far */
};

void stopwatch_init(struct stopwatch *watch, const struct os *os, struct spw_account *account);

/* The clock for a view's `clock`; NULL: nothing is timed. */
uint64_t (*stopwatch_clock(const struct stopwatch *watch))(void);

/* The slow parts of the calls below. */
void stopwatch_start_due(struct stopwatch *watch);
void stopwatch_hold(struct stopwatch *watch);
void stopwatch_let_go(struct stopwatch *watch, struct spw_view *view);
void stopwatch_stop(struct stopwatch *watch, struct histogram *histogram);

/* A call begins. */
static inline void stopwatch_begin(struct stopwatch *watch)
{
    if (--watch->left == 0)
        stopwatch_start_due(watch);
}

/* The lock was taken. */
static inline void stopwatch_locked(struct stopwatch *watch)
{
    if (watch->start_ns != 0)
        stopwatch_hold(watch);
}

/* The lock, of the queue with this view, is about to be given up. */
static inline void stopwatch_unlocking(struct stopwatch *watch, struct spw_view *view)
{
    if ((watch->start_ns | view->acted_ns) != 0)
        stopwatch_let_go(watch, view);
}

/* The call ends. `histogram` is not touched when it was not timed. */
#define stopwatch_end(watch, name)                                                                 \
    do {                                                                                           \
        if ((watch)->start_ns != 0)                                                                \
            stopwatch_stop(watch, &(watch)->account->histograms->name);                            \
    } while (0)

/* The call is going to wait, or may: it is timed from here on if it is not yet. Returns what to
 * give to stopwatch_waited(). */
static inline uint64_t stopwatch_may_wait(const struct stopwatch *watch)
{
    return watch->account && watch->start_ns == 0 ? watch->os->clock_ns() : 0;
}

/* What has passed of this call does not count. */
static inline void stopwatch_restart(struct stopwatch *watch)
{
    if (watch->start_ns != 0)
        watch->start_ns = watch->os->clock_ns();
}

static inline void stopwatch_waited(struct stopwatch *watch, uint64_t since_ns)
{
    if (watch->start_ns == 0)
        watch->start_ns = since_ns;
}

#endif
