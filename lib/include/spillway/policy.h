/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_POLICY_H
#define SPILLWAY_POLICY_H

#include "strategy.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A policy looks at a locked queue through a view and decides which entries to
 * spill or to bring back. It does no I/O itself.
 */

typedef struct spw_policy spw_policy;

/** A locked queue; valid only during the `apply` that it was passed to. */
typedef struct spw_view spw_view;

enum spw_entry_kind {
    SPILLWAY_ENTRY_NONE = 0, /**< past the end */
    SPILLWAY_ENTRY_BYTES,    /**< resident */
    SPILLWAY_ENTRY_HANDLE    /**< paged */
};

/** A place in a view. A call that rewrites entries says where its cursor ends; other cursors die.
 */
typedef struct spw_cursor {
    struct spw_stretch *stretch;
    struct spw_block *block;
    unsigned index;
} spw_cursor;

/** Constant-time sums over the queue. */
SPILLWAY_API size_t spw_view_entries(const spw_view *view);       /**< resident and paged */
SPILLWAY_API size_t spw_view_paged_entries(const spw_view *view); /**< handles */
SPILLWAY_API uint64_t spw_view_resident_bytes(const spw_view *view);
SPILLWAY_API uint64_t spw_view_paged_bytes(const spw_view *view);

/** At the head; spw_cursor_kind() tells whether there is an entry. */
SPILLWAY_API spw_cursor spw_view_head(const spw_view *view);

/**
 * The first resident entry that has at least `resident_bytes` of resident bytes
 * before it. Walks blocks from the nearest known place: an end of the stretch, or where it was
 * sought last. When that is too far for one time, the cursor is past the end and
 * spw_view_should_pause() says so; the next one goes on from there.
 */
SPILLWAY_API spw_cursor spw_view_seek(spw_view *view, uint64_t resident_bytes);

/** Where the head is in the stream: the bytes that have left before it. */
SPILLWAY_API uint64_t spw_view_position(const spw_view *view);

/**
 * The first entry that begins at `*position` of the stream or behind; says where. Walks, and may
 * pause, like spw_view_seek().
 */
SPILLWAY_API spw_cursor spw_view_seek_position(spw_view *view, uint64_t *position);

/** Where in the stream the entry here begins; past the end, where the next one would. */
SPILLWAY_API uint64_t spw_view_position_of(spw_view *view, const spw_cursor *cursor);

/**
 * Where in the stream the first of those entries begins that have become handles since the last
 * call; UINT64_MAX when there are none. For one policy that remembers how far it has come.
 */
SPILLWAY_API uint64_t spw_view_paged_since(spw_view *view);

/**
 * Whether so much has been done with the queue locked that the rest should wait for another time: a
 * policy stops, and its `settle` returns 1 so that it soon looks again.
 */
SPILLWAY_API int spw_view_should_pause(const spw_view *view);

SPILLWAY_API enum spw_entry_kind spw_cursor_kind(const spw_cursor *cursor);

/** To the next entry. */
SPILLWAY_API void spw_cursor_next(spw_cursor *cursor);

/** Past all entries of the same kind as the one here, in one step; returns their bytes from here
 * on. */
SPILLWAY_API uint64_t spw_cursor_skip(spw_cursor *cursor);

/** Whether this is the queue's last entry, the merge target. */
SPILLWAY_API int spw_cursor_is_last(const spw_cursor *cursor);

/** The bytes or the handle here, owned by the queue; NULL when the entry is of the other kind. */
SPILLWAY_API const spw_bytes *spw_cursor_bytes(const spw_cursor *cursor);
SPILLWAY_API spw_handle *spw_cursor_handle(const spw_cursor *cursor);

/** The payload size of the entry here, resident or paged; 0 past the end. */
SPILLWAY_API uint64_t spw_cursor_size(const spw_cursor *cursor);

/**
 * Offers the resident entries from `*cursor` on to `strategy`: all up to the next
 * paged entry, the queue's last entry, or `max_bytes`. What the strategy takes is
 * replaced by its handles; the cursor ends behind them. Returns how many entries
 * were spilled, or -errno when none was (-EINVAL: the cursor is not at a resident
 * entry; -ENOMEM; or the strategy's own).
 */
SPILLWAY_API long spw_view_spill(spw_view *view, spw_cursor *cursor, uint64_t max_bytes,
                                 spw_strategy *strategy);

/**
 * Fetches the handle at `*cursor` and puts its chunks in its place; the cursor
 * ends behind them. `flags` as in spw_handle_ops::fetch. Returns how many entries
 * came back; on failure -errno, the handle is where it was and so is the cursor.
 */
SPILLWAY_API long spw_view_fetch(spw_view *view, spw_cursor *cursor, unsigned flags);

/**
 * Asks the handle at `*cursor` to bring its bytes back, as spw_handle_ops::prefetch. Returns what
 * that does, -EINVAL (no handle here) or -ENOTSUP (a synchronous one).
 */
SPILLWAY_API int spw_view_prefetch(spw_view *view, const spw_cursor *cursor, unsigned flags);

/**
 * Replaces `count` entries from `*cursor` on, all resident, by one handle that
 * the queue owns from here on; their bytes move to `*removed`. The cursor ends
 * behind the handle. Returns 0, -EINVAL, -ERANGE or -ENOMEM.
 */
SPILLWAY_API int spw_view_page(spw_view *view, spw_cursor *cursor, size_t count, spw_handle *handle,
                               spw_chunks *removed);

/**
 * Replaces the handle at `*cursor` by `chunks` (emptied); the handle is the
 * caller's again. The cursor ends behind the new entries. Returns 0, -EINVAL or -ENOMEM.
 */
SPILLWAY_API int spw_view_unpage(spw_view *view, spw_cursor *cursor, spw_chunks *chunks,
                                 spw_handle **out);

/** For how long a policy has nothing to do, see spw_view_rest(). */
typedef struct spw_rest {
    size_t size;             /**< sizeof(spw_rest) */
    uint64_t resident_bytes; /**< until more bytes than that are resident */
    size_t paged_entries;    /**< or there are more handles than that */
    const spw_epoch *epoch;  /**< or this reads other than `epoch_seen`; NULL: nothing else matters.
                                Must live until the policy's `close` */
    uint64_t epoch_seen;
} spw_rest;

/**
 * Within `apply`: neither `apply` nor `settle` of this policy need be called while what `rest` says
 * holds; a queue that is far from any limit then costs no more than one without policies. Holds for
 * one time: what is not said again in the next `apply` is over. A policy that never says it is
 * called each time. Returns 0 or -EINVAL.
 */
SPILLWAY_API int spw_view_rest(spw_view *view, const spw_rest *rest);

/**
 * What the governor wants of one queue, so that over all queues what is needed last goes first. It
 * sees how soon each is drained; where the budget is exceeded it says how much a queue may keep,
 * and also has the policies of writers look that are idle.
 */
typedef struct spw_guidance {
    size_t size;         /**< sizeof(spw_guidance), set by who asks */
    uint64_t keep_bytes; /**< resident bytes next to the head that others' bytes should go before;
                            UINT64_MAX: nothing was said of this queue, it decides for itself */
    int spill_now;       /**< what lies behind those is to go now, whatever the budget says */
    uint64_t until_position; /**< with `spill_now`: but nothing from this place in the stream on,
                                see spw_view_position(); UINT64_MAX: all of it */
} spw_guidance;

/** Returns 0 or -EINVAL. */
SPILLWAY_API int spw_view_guidance(const spw_view *view, spw_guidance *guidance);

/** What a policy can do. `admit` and `settle` may be NULL; later versions append optional members.
 */
typedef struct spw_policy_ops {
    size_t size;      /**< sizeof(spw_policy_ops) */
    const char *name; /**< for messages */
    /** Called with the queue locked: for the writer after each extend, for the reader before each
     * drain, but not while it rests; and for the writer, by a thread of the pool's, where the
     * governor wants it to spill. */
    void (*apply)(spw_policy *policy, spw_view *view);
    /** As in spw_strategy_ops; without the lock. */
    int (*admit)(spw_policy *policy, uint64_t bytes, unsigned flags);
    int (*settle)(spw_policy *policy, unsigned flags);
    /** The queue is gone; frees the policy, and the strategy it holds. */
    void (*close)(spw_policy *policy);
    /**
     * For the reader, with the queue locked, after a drain has taken entries and while others are
     * paged: what comes next may be asked for, so that it is there when the reader comes back.
     * Returns 1 when it had to pause and should soon be called again, 0 when that is all.
     */
    int (*ahead)(spw_policy *policy, spw_view *view);
} spw_policy_ops;

struct spw_policy {
    const spw_policy_ops *ops;
};

/** Makes a matched pair of policies for one queue. */
typedef struct spw_policy_factory {
    /** Returns 0 and both policies (either may be NULL), or -errno. */
    int (*make)(void *context, spw_policy **writer, spw_policy **reader);
    void *context;
} spw_policy_factory;

#ifdef __cplusplus
}
#endif
#endif
