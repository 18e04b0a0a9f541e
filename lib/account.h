/* SPDX-License-Identifier: MIT */
/* What queues keep resident outside the pool's own buffers; the pool reads it as part of its
 * budget. */
#ifndef SPILLWAY_ACCOUNT_H
#define SPILLWAY_ACCOUNT_H

#include <stdatomic.h>
#include <stdint.h>

#include "guard.h"
#include "histogram.h"
#include "spillway/queue.h"

struct spw_account {
    _Atomic int64_t foreign_bytes; /* payload in the user's memory, in queues or staged */
    _Atomic int64_t block_bytes;   /* entry blocks */
    const struct guard *guard;     /* NULL: forks are not noticed */
    struct histograms *histograms; /* NULL: nobody keeps them */
    /* A queue's claim on whoever owns the account. */
    void (*acquire)(struct spw_account *account);
    void (*release)(struct spw_account *account);
    /* Called, without a lock, after the sums have fallen while `waiters` was not 0. */
    void (*relieved)(struct spw_account *account);
    _Atomic unsigned waiters;
};

/* Sequentially consistent, like the look at `waiters`: either a waiter sees the new sum, or it is
 * seen waiting. */
static inline void account_add_blocks(struct spw_account *account, int64_t bytes)
{
    if (account)
        atomic_fetch_add_explicit(&account->block_bytes, bytes, memory_order_seq_cst);
}

static inline void account_add_foreign(struct spw_account *account, int64_t bytes)
{
    if (account && bytes != 0)
        atomic_fetch_add_explicit(&account->foreign_bytes, bytes, memory_order_seq_cst);
}

/* Call without a lock after memory was given up. */
static inline void account_relieved(struct spw_account *account)
{
    if (account && atomic_load_explicit(&account->waiters, memory_order_seq_cst) != 0)
        account->relieved(account);
}

static inline bool account_in_child(const struct spw_account *account)
{
    return account && account->guard && guard_is_child(account->guard);
}

#endif
