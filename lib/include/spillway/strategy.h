/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_STRATEGY_H
#define SPILLWAY_STRATEGY_H

#include "chunks.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A strategy decides where bytes go; a handle is the consume-once claim on what
 * went there. Both are ops tables that a user of the library can implement; the
 * pool (pool.h) is the strategy for production, mock.h one for tests.
 */

typedef struct spw_handle spw_handle;
typedef struct spw_strategy spw_strategy;

/**
 * Something that wants to hear of an event once. Whoever stores a waker holds a
 * reference through `acquire` and gives it back through `release`; `wake` may be
 * called from any thread that holds no lock of the library.
 */
typedef struct spw_waker {
    void (*wake)(struct spw_waker *waker);
    void (*acquire)(struct spw_waker *waker);
    void (*release)(struct spw_waker *waker);
} spw_waker;

/** Flags of fetch and prefetch. */
enum {
    SPILLWAY_FETCH_NOWAIT = 1, /**< -EAGAIN instead of waiting for I/O */
    SPILLWAY_FETCH_HEAD = 2,   /**< the queue's head: someone waits, memory may be reserved */
    SPILLWAY_FETCH_SPARE = 4,  /**< beyond the queue's own share of memory: only what nobody else
                                  asks for, and -EAGAIN rather than later */
    SPILLWAY_FETCH_NEXT = 8,   /**< the first that the reader will come to: before others */
    SPILLWAY_FETCH_HINT = 16   /**< not yet, but in a while: to be brought nearer as far as that
                                  takes none of the budget */
};

/**
 * What a handle can do. All but `fetch`, `size_bytes`, `count` and `drop` may be
 * NULL; without `prefetch` and `on_ready` the handle is synchronous. Called
 * under the queue's lock, so nothing here may be slow with
 * SPILLWAY_FETCH_NOWAIT set, and nothing may call into the queue. Later versions append
 * optional members.
 */
typedef struct spw_handle_ops {
    size_t size; /**< sizeof(spw_handle_ops) */
    /**
     * Consumes the handle and appends its chunks to `*out`, in order and with the
     * boundaries they had. On failure (-errno, see errors.h) the handle stays valid
     * and stays with the caller, and `*out` is unchanged.
     */
    int (*fetch)(spw_handle *handle, unsigned flags, spw_chunks *out);
    /** Payload bytes behind the handle. */
    uint64_t (*size_bytes)(const spw_handle *handle);
    /** Chunks behind the handle. */
    size_t (*count)(const spw_handle *handle);
    /** Gives the claim up; the bytes are gone. */
    void (*drop)(spw_handle *handle);
    /**
     * Starts bringing the bytes back. Returns 0 when they are on their way, will be once there is
     * memory for them, or are there to stay; -EAGAIN when it should be asked again; another -errno
     * when the last attempt failed for good.
     */
    int (*prefetch)(spw_handle *handle, unsigned flags);
    /**
     * Arms one wake-up for when a fetch with SPILLWAY_FETCH_NOWAIT would no longer
     * return -EAGAIN, or a retry is due. Returns 1 if that is so already (nothing is
     * armed), 0 when armed, -errno. A second call replaces the first.
     */
    int (*on_ready)(spw_handle *handle, spw_waker *waker);
} spw_handle_ops;

struct spw_handle {
    const spw_handle_ops *ops;
};

/** Receives the handles that a spill yields; made by the queue's view. */
typedef struct spw_sink spw_sink;

/** Makes sure that the next spw_sink_add() works. Returns 0 or -ENOMEM. */
SPILLWAY_API int spw_sink_reserve(spw_sink *sink);

/**
 * Yields the next handle, which stands for the next `count` chunks. The sink owns
 * the handle from here on. Needs one successful spw_sink_reserve() before each call.
 */
SPILLWAY_API void spw_sink_add(spw_sink *sink, spw_handle *handle, size_t count);

/**
 * Counts the changes of something that others rely on, so that they need not look again before it
 * has changed. Ready when zeroed; to be read and advanced by the calls below alone, by any thread.
 */
typedef struct spw_epoch {
    uint64_t changes;
} spw_epoch;

/** To be read before looking at what one will rely on. */
SPILLWAY_API uint64_t spw_epoch_read(const spw_epoch *epoch);

/** To be called after each change. */
SPILLWAY_API void spw_epoch_advance(spw_epoch *epoch);

/** What a policy may want to know of the place that it spills to. */
typedef struct spw_limits {
    size_t size;           /**< sizeof(spw_limits), set by who asks; nothing is written beyond it */
    uint64_t budget_bytes; /**< 0: no budget is set */
    uint64_t excess_bytes; /**< how far the budget's use is above where spilling should begin */
    uint64_t run_bytes;    /**< the largest run; 0: no bound */
    unsigned queues;       /**< queues that share the budget, at least 1 */
    /**
     * NULL: ask again each time. Else all of the above holds, `excess_bytes` is 0 and `settle` has
     * nothing to do, for as long as this epoch, which lives until `close`, reads `epoch_seen`.
     */
    const spw_epoch *epoch;
    uint64_t epoch_seen;
    /**
     * What will still be in use above where writers wait once everything under way has landed:
     * small entries may keep much larger slabs from being used again. While this is not 0, it is
     * worth to give up head reserve and to spill less than a decent run.
     */
    uint64_t stuck_bytes;
    /** What a queue may read ahead beyond its own share, since other readers leave it free now. */
    uint64_t read_ahead_bytes;
    /** What a queue is to take where it has no such size of its own (see spw_orders); 0: what
     * follows from the rest. */
    uint64_t threshold_bytes;
    uint64_t prefetch_bytes;
    int hints; /**< 1: SPILLWAY_FETCH_HINT is of use */
    /** Not 0: a queue is to read ahead what it is drained of in so much time, rather than as far as
     * there is memory (see spw_orders); it is `now_ns` now, on any clock that does not go back. */
    uint64_t prefetch_ns;
    uint64_t now_ns;
    /** Sizes that were set since the pool was opened, for policies that follow its settings: bits
     * SPILLWAY_SET_* say which. UINT64_MAX: automatic again. */
    uint64_t set;
    uint64_t set_threshold_bytes;
    uint64_t set_head_reserve_bytes;
    uint64_t set_prefetch_bytes;
} spw_limits;

/** Bits of `set` in spw_limits. */
enum { SPILLWAY_SET_THRESHOLD = 1, SPILLWAY_SET_HEAD_RESERVE = 2, SPILLWAY_SET_PREFETCH = 4 };

/** Flags of spw_writer_extend(), passed on to admit and settle. */
enum {
    SPILLWAY_EXTEND_NOWAIT = 1, /**< -EAGAIN where the call would wait for I/O in flight */
    SPILLWAY_EXTEND_BOUNDED = 2 /**< -ENOSPC where it would go over budget for want of a tier */
};

/** What a strategy can do. All but `spill` and `close` may be NULL; later versions append optional
 * members. */
typedef struct spw_strategy_ops {
    size_t size;      /**< sizeof(spw_strategy_ops) */
    const char *name; /**< for messages */
    /**
     * Takes chunks from the front of `*chunks` and yields handles, in order. May stop
     * anywhere between two handles: what it took is spilled, what it left is untouched
     * and will be offered again. Called under the queue's lock: no I/O, no copy, no
     * waiting. Returns 0, or -errno for why it stopped early.
     */
    int (*spill)(spw_strategy *strategy, spw_chunks *chunks, spw_sink *sink);
    /** Fills in `*limits`; asked for at every extend unless it gives an epoch, so it must be
     * cheap. Any thread. */
    void (*limits)(spw_strategy *strategy, spw_limits *limits);
    /** How many bytes a spill would take now; a policy offers no more than that, but for what
     * `adopts` says of the first. */
    uint64_t (*room_bytes)(spw_strategy *strategy);
    /**
     * Before an extend of `bytes` (those outside the pool's own slabs), without any lock: 0, or
     * -EAGAIN / -ENOSPC as the flags ask for.
     */
    int (*admit)(spw_strategy *strategy, uint64_t bytes, unsigned flags);
    /**
     * After an extend, without any lock: waits for I/O in flight where the budget asks
     * for it. Returns 1 when the policy should look again, 0 when all is settled.
     */
    int (*settle)(spw_strategy *strategy, unsigned flags);
    /** The end of the strategy; handles that it yielded live on. */
    void (*close)(spw_strategy *strategy);
    /**
     * Whether these bytes lie where a spill would bring them, so that spilling them needs no room:
     * a policy may offer them first of all even where `room_bytes` is 0. Must be cheap.
     */
    int (*adopts)(spw_strategy *strategy, const spw_bytes *bytes);
    /** The governor of the pool behind the strategy (governor.h); lives until `close`. */
    struct spw_governor *(*governor)(spw_strategy *strategy);
} spw_strategy_ops;

struct spw_strategy {
    const spw_strategy_ops *ops;
};

#ifdef __cplusplus
}
#endif
#endif
