/* SPDX-License-Identifier: MIT */
/*
 * Rows of a table that queues keep up to date about themselves, in the stats page of their pool:
 * other processes read them while they change. A queue that comes when all rows are taken has none.
 */
#ifndef SPILLWAY_LIB_QUEUE_ROW_H
#define SPILLWAY_LIB_QUEUE_ROW_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    QUEUE_ROWS = 1024,
    QUEUE_ROW_NAME = 48, /* longer names are cut */
};

enum queue_row_state { QUEUE_ROW_FREE, QUEUE_ROW_TAKEN, QUEUE_ROW_USED };

/*
 * What a queue is summed up to: not a copy, but where the queue itself keeps count, so that to
 * publish it costs nothing. Guarded by the queue's lock; who reads it in another process gets whole
 * words.
 */
struct queue_sums {
    uint64_t entries, paged_entries;
    uint64_t resident_bytes, paged_bytes;
    uint64_t extended_bytes_total;
    uint64_t gone_bytes_total; /* left at the head: drained or skipped */
    uint64_t merged_total, skipped_bytes_total;
};

struct queue_row {
    _Atomic uint64_t state; /* enum queue_row_state; the rest is right while it is in use */
    _Atomic uint64_t id;    /* no other queue of the pool ever has the same */
    char name[QUEUE_ROW_NAME];
    struct queue_sums sums; /* a cache line of its own */
};

_Static_assert(sizeof(struct queue_row) == 128, "two cache lines");

struct queue_rows {
    struct queue_row *rows; /* QUEUE_ROWS of them */
    _Atomic unsigned used;
    _Atomic unsigned next; /* where a free one is sought first */
    _Atomic uint64_t last_id;
};

/* NULL: all are taken. `name` may be NULL. */
struct queue_row *queue_row_take(struct queue_rows *rows, const char *name);
void queue_row_give(struct queue_rows *rows, struct queue_row *row);

#endif
