/* SPDX-License-Identifier: MIT */
/* A pool from the inside. Lock order: queue, pool, buffers, engine and tiers. */
#ifndef SPILLWAY_POOL_POOL_H
#define SPILLWAY_POOL_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../lib/account.h"
#include "../lib/counters.h"
#include "../lib/histogram.h"
#include "../lib/log.h"
#include "../lib/os.h"
#include "../lib/settings.h"
#include "buffer.h"
#include "cgroup.h"
#include "coding.h"
#include "control.h"
#include "disk.h"
#include "engine.h"
#include "governor.h"
#include "ledger.h"
#include "memtier.h"
#include "page.h"
#include "retune.h"
#include "spillway/pool.h"

/* A smaller budget than this cannot hold a run in each stage of its life. */
#define BUDGET_MIN_BYTES (UINT64_C(1) << 20)

/* Runs and slabs are powers of two between these. */
#define RUN_MAX_BYTES BUFFER_MAX_BYTES
#define RUN_MIN_BYTES BUFFER_MIN_BYTES

/* Payload in flight at most: a quarter of the budget, but no more than keeps fast devices busy. */
#define WINDOW_MAX_BYTES (UINT64_C(64) << 20)

/* A queue's head reserve where none is set: a quarter of the budget for all, but no more than this
 * for one. */
#define HEAD_RESERVE_MAX_BYTES (UINT64_C(64) << 20)

/* All queues together may report as much of the budget too much. */
#define SLACK_SHARE 128

/* The part of the budget that empty blocks in queues may take. */
#define SPARE_SHARE 16

/* Direct I/O of every scratch directory works in pages. */
#define REGION_ALIGN ((size_t)4096)

struct run;

struct spw_pool {
    const struct os *os;
    const spw_allocator *allocator;
    struct log log;
    struct guard guard;
    struct spw_account account;
    struct page_owner page;       /* its texts: guarded by the lock */
    struct queue_rows queue_rows; /* that the page has, if any */
    struct counters
        *counters; /* in the page; in_flight_bytes: staged and writing, with staging buffers */
    char name[64];
    uint64_t id; /* part of every checksum */

    /* Moved under the budget's lock, see ceiling.c; read by anybody. */
    _Atomic uint64_t budget_bytes;  /* of now */
    _Atomic uint64_t ceiling_bytes; /* what it may be at most */
    _Atomic uint64_t window_bytes;  /* of payload in flight at most */

    /* Orders of the governor's; 0: none. */
    _Atomic uint64_t threshold_bytes, prefetch_bytes, prefetch_ns;
    _Atomic bool disk_held; /* nothing goes to disk unless writers would have to wait */
    _Atomic bool was_short; /* the budget was once lowered: some of our memory may be in swap */

    /* Fixed after open. */
    enum checksum_mode checksum;
    enum seal_mode seal;
    bool strict;
    struct disk *disk;       /* NULL: no disk tier */
    struct memtier *memtier; /* NULL: no memory tier */
    struct engine *engine;   /* NULL: no tier at all */

    _Atomic uint64_t refs; /* opener, strategies, runs, buffers in use, lent slots, queues */
    _Atomic unsigned queues;
    _Atomic uint64_t next_run_id;
    _Atomic uint64_t held_weight_bytes; /* the part that speaks against offering more */
    _Atomic uint64_t held_retry_ns;     /* held runs are not offered before */
    _Atomic unsigned ahead;             /* reads that wait for memory */
    _Atomic unsigned waiters; /* for progress; seq_cst against the sums that it waits for */
    _Atomic bool calm;        /* see budget_look() */
    _Atomic bool told_over;   /* that the budget is exceeded: once */

    pthread_mutex_t budget_lock; /* before the buffers'; guards the next two */
    struct amount asked;         /* what the ceiling was wished to be */
    uint64_t limit_bytes;        /* the tightest limit when last looked at */
    char root[256];              /* before /proc and /sys, in tests */

    pthread_mutex_t lock;    /* guards the state of runs, and all below */
    pthread_cond_t progress; /* something was written, read or freed */
    struct run *held_first, *held_last;
    struct run *memory_first, *memory_last; /* stored in memory */
    uint64_t memory_run_bytes;              /* of these runs */
    struct run_queue {
        struct run *first, *last;
    } ahead_next, ahead_later; /* to be read once there is memory for them, in this order */
    struct ledger ledger;
    uint64_t load_ns;         /* what reading a run has taken of late; 0: not known */
    uint64_t held_backoff_ns; /* doubled each time that a held run is refused again */
    bool fallback_taken;

    struct buffers buffers;
    struct governor governor;
    struct retune retune;
    struct control control;
    struct coding coding;
};

/* As spw_pool_open(), over a given operating system; `root` prefixes /proc and /sys in tests. */
int pool_open_with(const struct os *os, const char *root, const spw_pool_config *config,
                   spw_pool **out);

void pool_acquire(struct spw_pool *pool);
void pool_release(struct spw_pool *pool); /* the last one ends the pool */

static inline bool pool_in_child(const struct spw_pool *pool)
{
    return guard_is_child(&pool->guard);
}

/* Whether the caller is inside a callback on a thread of the pool's, which must not wait for I/O.
 */
static inline bool pool_on_engine(const struct spw_pool *pool)
{
    return (pool->engine &&
            (engine_on_thread(pool->engine) || workers_on_thread(&pool->coding.workers))) ||
           governor_on_thread(&pool->governor);
}

/* Starts or wakes the governor if somebody called who could not do so. No lock held. */
static inline void pool_hear_calls(struct spw_pool *pool)
{
    if (atomic_load_explicit(&pool->governor.called, memory_order_relaxed))
        governor_call(&pool->governor);
}

/* ---- what it tells of itself (report.c) ---- */

/* Makes the page in which everything is counted. Returns 0 or -ENOMEM: that it is not shared is a
 * fallback. */
int pool_page_open(struct spw_pool *pool, const struct settings *settings, const char *root);

/* All is there: others may read it. */
void pool_page_publish(struct spw_pool *pool, const spw_options *options);

void pool_page_close(struct spw_pool *pool);

/* Publishes what the ledger says; with the lock held. Returns the bytes times seconds. */
uint64_t pool_tell_ledger(struct spw_pool *pool);

/* Tells once and counts that something fell back; `name` is a word of letters and dashes. */
void pool_fallback(void *pool, const char *name);

/* The same; whether it is the first time. */
bool pool_fallback_new(struct spw_pool *pool, const char *name);

#define pool_count(pool, name, n)                                                                  \
    atomic_fetch_add_explicit(&(pool)->counters->name, (uint64_t)(n), memory_order_relaxed)

/* ---- the budget (budget.c) ---- */

static inline uint64_t budget_now(const struct spw_pool *pool)
{
    return atomic_load_explicit(&pool->budget_bytes, memory_order_relaxed);
}

static inline uint64_t budget_window(const struct spw_pool *pool)
{
    return atomic_load_explicit(&pool->window_bytes, memory_order_relaxed);
}

/* Everything resident in queues and pool. */
uint64_t budget_used(const struct spw_pool *pool);

/* The sums of one look. */
struct budget_use {
    uint64_t all;     /* everything resident */
    uint64_t writers; /* without warm memory, which is free for the asking, and without what readers
                         may take */
    uint64_t readers; /* what these have, whether they may or not */
};
struct budget_use budget_use_now(struct spw_pool *pool);
uint64_t budget_used_by_writers(struct spw_pool *pool);

/* The same without what is there for an empty pool as well: the reserve, and what queues report
 * ahead. */
uint64_t budget_in_use(const struct spw_pool *pool);

/* Keeps the highest use seen. */
void budget_note_peak(struct spw_pool *pool, uint64_t used_bytes);

/*
 * Looks whether the budget is far away, after its use has risen, and sends everybody who rests on
 * that to look again when it no longer is. Any lock may be held. Returns what it saw last.
 */
struct budget_use budget_look(struct spw_pool *pool);

/* Whether policies may rest on the account's present epoch, which was read before. */
bool budget_is_calm(struct spw_pool *pool);

/* Where the governor begins to tell queues what to keep, where these begin to spill, and where
 * writers begin to wait. */
uint64_t budget_guide_mark(const struct spw_pool *pool);
uint64_t budget_spill_mark(const struct spw_pool *pool);
uint64_t budget_wait_mark(const struct spw_pool *pool);

/* What of `used_bytes`, by writers, is above the wait mark and will be when all that is in flight
 * has landed. */
uint64_t budget_stuck(const struct spw_pool *pool, uint64_t used_bytes);

/* What readers may take beyond what each is in need of: what is left of their share, and where
 * writers are far from spilling, half of what is left until then. */
uint64_t budget_read_room(const struct spw_pool *pool, const struct budget_use *use);

/* What each queue keeps next to its head whatever happens. */
uint64_t budget_head_reserve(const struct spw_pool *pool);

/* The largest run with the present number of queues. */
size_t budget_run_bytes(const struct spw_pool *pool);

/* The same for any budget and number of queues. */
size_t budget_bytes_of_runs(uint64_t budget_bytes, unsigned queues);

/* Gives up warm memory where the budget is exceeded; counts, and tells once, where that does not
 * do. */
void budget_make_room(struct spw_pool *pool);

/* What may be put in flight now: 0 when no tier accepts a run or the window is full. */
uint64_t budget_room(struct spw_pool *pool);

/* Whether some tier may take a run now. */
bool pool_accepts(struct spw_pool *pool);

/* Whether the disk tier may take so much now. */
bool pool_disk_accepts(struct spw_pool *pool, uint64_t bytes);

/* Holds the disk back, or no longer. No lock held. */
void pool_hold_disk(struct spw_pool *pool, bool hold);

/* Waits, or says why not, until `bytes` more fit below the wait mark; flags as in extend. Returns
 * 0, -EAGAIN or -ENOSPC. */
int budget_admit(struct spw_pool *pool, uint64_t bytes, unsigned flags, bool wait);

/* Waits once for I/O in flight if a writer has to; returns 1 after waiting, else 0. */
int budget_settle(struct spw_pool *pool, unsigned flags);

/* ---- how large it is (ceiling.c) ---- */

/* Sets the budget at open; `root` as for pool_open_with(). Returns 0, -ENOMEM or -ENAMETOOLONG. */
int budget_open(struct spw_pool *pool, struct amount asked, const char *root);

/* Moves the budget to `bytes`, or as near as the ceiling and what a pool needs allow. No lock held.
 */
void budget_move(struct spw_pool *pool, uint64_t bytes);

/* Reads the limits of the process again, which go to `*limit_bytes`; returns whether the ceiling is
 * another now. No lock held. */
bool budget_look_at_limits(struct spw_pool *pool, uint64_t *limit_bytes);

struct budget_change {
    uint64_t before_bytes, asked_bytes, limit_bytes, ceiling_bytes;
};

/* Another wish for the budget, which it is from then on; tells nobody. The retuning lock held. */
void budget_ask(struct spw_pool *pool, struct amount asked, struct budget_change *out);

/* Tells of it, and has everybody look. No lock held. */
void budget_asked(struct spw_pool *pool, const struct budget_change *change);

/* Memory was given up: wakes who waits for it. No lock held. */
void pool_progress(struct spw_pool *pool);

#endif
