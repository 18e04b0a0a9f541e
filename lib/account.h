/* SPDX-License-Identifier: MIT */
/* What queues keep resident outside the pool's own buffers; the pool reads it as part of its
 * budget. */
#ifndef SPILLWAY_ACCOUNT_H
#define SPILLWAY_ACCOUNT_H

#include <stdatomic.h>
#include <stdint.h>

#include "counters.h"
#include "epoch.h"
#include "guard.h"
#include "histogram.h"
#include "queue_row.h"
#include "spillway/queue.h"

struct queue;

/*
 * A queue does not report each byte. It reports ahead: what is counted for it is never less than
 * what it keeps, and at most its slack more, which `reported_ahead_bytes` sums up. So the budget is
 * never exceeded unseen, and a queue that goes up and down a little touches nothing that others
 * share. Its slack is a share of `slack_bytes` as of its last report: queues that came one after
 * another and stay idle may have a few times `slack_bytes` together.
 */
struct spw_account {
    /*
     * Never NULL. Queues add to resident_foreign_bytes (payload in the user's memory, in queues or
     * staged), entry_block_bytes, reported_ahead_bytes (the slack of all queues) and, of all timed
     * holds with TIMING_ALL, lock_hold_cpu_peak_ns.
     */
    struct counters *counters;
    _Atomic unsigned queues;       /* that report here */
    _Atomic uint64_t slack_bytes;  /* 0: every byte is reported at once */
    _Atomic uint64_t spare_bytes;  /* what empty blocks kept by queues may take */
    const struct guard *guard;     /* NULL: forks are not noticed */
    struct histograms *histograms; /* NULL: nobody keeps them */
    struct queue_rows *queue_rows; /* NULL: there are none */
    unsigned timing;               /* enum timing_mode: which calls go there */
    /* A queue's claim on whoever owns the account. */
    void (*acquire)(struct spw_account *account);
    void (*release)(struct spw_account *account);
    /* Called, without a lock, after the sums have fallen while `waiters` was not 0. */
    void (*relieved)(struct spw_account *account);
    /* A queue is about to put runs in motion, with its lock held; it has, and holds no lock. What
     * is slow can wait until then. NULL: nothing is. */
    void (*cork)(struct spw_account *account);
    void (*uncork)(struct spw_account *account);
    /* A queue is there, and is about to be freed; without a lock. NULL: nobody looks over them. */
    void (*attach)(struct spw_account *account, struct queue *queue);
    void (*detach)(struct spw_account *account, struct queue *queue);
    /* Called, with any lock held, after the sums have risen. NULL: nobody asks. */
    void (*risen)(struct spw_account *account);
    _Atomic unsigned waiters;
    /* Advances when there are more or fewer queues or waiters, and when queues can no longer take
     * it that the budget is far away. Read at every call, so on a cache line of its own. */
    char apart[64];
    spw_epoch epoch;
    char apart_behind[64];
};

/* What one queue may report too much. */
#define ACCOUNT_SLACK_MAX_BYTES (UINT64_C(1) << 20)

static inline bool account_waits(struct spw_account *account)
{
    return atomic_load_explicit(&account->waiters, memory_order_seq_cst) != 0;
}

static inline uint64_t account_slack(struct spw_account *account)
{
    if (account_waits(account))
        return 0; /* for whoever waits, every byte counts */
    unsigned queues = atomic_load_explicit(&account->queues, memory_order_relaxed);
    uint64_t slack = atomic_load_explicit(&account->slack_bytes, memory_order_relaxed) /
                     (queues > 0 ? queues : 1);
    return slack < ACCOUNT_SLACK_MAX_BYTES ? slack : ACCOUNT_SLACK_MAX_BYTES;
}

/* Whether each queue may keep an empty block of that size. */
static inline bool account_may_keep(struct spw_account *account, uint64_t bytes)
{
    return !account || atomic_load_explicit(&account->queues, memory_order_relaxed) * bytes <=
                           atomic_load_explicit(&account->spare_bytes, memory_order_relaxed);
}

/* Sequentially consistent, like the look at `waiters`: either a waiter sees the new sum, or it is
 * seen waiting. */
static inline void account_add_blocks(struct spw_account *account, int64_t bytes)
{
    if (!account)
        return;
    atomic_fetch_add_explicit(&account->counters->entry_block_bytes, (uint64_t)bytes,
                              memory_order_seq_cst);
    if (bytes > 0 && account->risen)
        account->risen(account);
}

static inline void account_add_foreign(struct spw_account *account, int64_t bytes)
{
    if (!account || bytes == 0)
        return;
    atomic_fetch_add_explicit(&account->counters->resident_foreign_bytes, (uint64_t)bytes,
                              memory_order_seq_cst);
    if (bytes > 0 && account->risen)
        account->risen(account);
}

/* A queue comes (1) or goes (-1): each one's share changes. */
static inline void account_add_queues(struct spw_account *account, int queues)
{
    if (!account)
        return;
    atomic_fetch_add_explicit(&account->queues, (unsigned)queues, memory_order_relaxed);
    epoch_advance(&account->epoch);
}

/*
 * Who waits for the sums to fall announces it before looking at them. A queue's drain changes the
 * sums before it reads the epoch: either the waiter sees the new sums, or the queue the new epoch
 * and so the waiter, and then reports each byte.
 */
static inline void account_add_waiters(struct spw_account *account, int waiters)
{
    atomic_fetch_add_explicit(&account->waiters, (unsigned)waiters, memory_order_seq_cst);
    if (waiters > 0)
        epoch_advance(&account->epoch);
}

/* Call without a lock after memory was given up. */
static inline void account_relieved(struct spw_account *account)
{
    if (account && account_waits(account))
        account->relieved(account);
}

static inline bool account_in_child(const struct spw_account *account)
{
    return account && account->guard && guard_is_child(account->guard);
}

#endif
