/* SPDX-License-Identifier: MIT */
/*
 * Moving a region in pieces. Most have one; a large one has several of them on their way at a time,
 * each in a lane, which takes the next piece when it has moved one. Pieces may arrive in any order.
 */
#ifndef SPILLWAY_POOL_PIECES_H
#define SPILLWAY_POOL_PIECES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

enum { LANES_MAX = 8 };

struct spw_pool;
struct buffer;
struct pieces;

struct lane {
    struct job job; /* first */
    struct pieces *pieces;
    struct buffer *staging; /* for whoever copies pieces; released at the end */
    uint32_t index;         /* the piece on its way */
    bool taken, issued;     /* it has a piece; the device has seen it */
};

/* All of them run on engine threads with no lock held, and return 0 or -errno unless they say else.
 */
struct pieces_ops {
    /* Once, before the first piece: sets `count`. Returns as a job's prepare does. */
    int (*begin)(struct pieces *pieces);
    /* Whether one more lane may be opened; NULL: always. */
    bool (*widen)(struct pieces *pieces, struct lane *lane);
    /* Fills in the lane's job. Several at a time. */
    int (*ready)(struct pieces *pieces, struct lane *lane);
    /* The piece has been moved; NULL: nothing to do. Several at a time. */
    int (*arrived)(struct pieces *pieces, struct lane *lane);
    /* All is still: everything was moved, or `err` is the first error, and `index` the piece of
     * the device's error (UINT32_MAX: it was another's). True: begin again; else all is over, and
     * the pieces may be gone. */
    bool (*ended)(struct pieces *pieces, int err, uint32_t index);
};

struct pieces {
    const struct pieces_ops *ops;
    struct spw_pool *pool;
    struct lane first;
    struct lane *more; /* `lanes` of them */
    /* Guarded by the pool's lock, as all below. */
    struct lane *starter; /* whose job begins */
    uint32_t count, next; /* how many there are, and the first that no lane has taken */
    uint32_t failed;      /* see ended() */
    unsigned lanes, moving;
    int error;
    bool begun;
    bool urgent;
    bool orphan; /* nobody wants it any more: -ECANCELED before the next piece */
};

/* Nobody else knows the pieces yet, or the pool's lock is held. */
void pieces_init(struct pieces *pieces, struct spw_pool *pool, const struct pieces_ops *ops,
                 enum job_op op, bool urgent);

/* Starts moving. From here on all may be over and gone. */
void pieces_start(struct pieces *pieces);

/* Once more, after ended() said that all is over; all is still. The same holds as when they were
 * started. */
void pieces_again(struct pieces *pieces);

/* With the lock held: takes back what no engine thread has seen: true when ended() will not run. */
bool pieces_cancel(struct pieces *pieces);

/* With the lock held: whether pieces_cancel() would. */
bool pieces_are_pending(const struct pieces *pieces);

/* With the lock held: what is not issued yet goes first. */
void pieces_hurry(struct pieces *pieces);

/* Frees lanes and staging; nothing moves. No lock held. */
void pieces_free(struct pieces *pieces);

#endif
