/* SPDX-License-Identifier: MIT */
/* What tiers tell of themselves in parts: a row a scratch directory, a row a node. In the stats
 * page, so other processes may read while they change: each field by itself is right. */
#ifndef SPILLWAY_POOL_ROWS_H
#define SPILLWAY_POOL_ROWS_H

#include <stdatomic.h>
#include <stdint.h>

#include "../lib/settings.h"

enum {
    ROW_DIRS = SETTINGS_MAX_DIRS,
    ROW_DIR_NAME = 184, /* longer names are cut */
    ROW_NODES = 64,     /* the first that were seen */
};

struct dir_row {
    char name[ROW_DIR_NAME]; /* fixed once `used` is set */
    _Atomic uint64_t used;
    _Atomic uint64_t file_bytes, stored_bytes;
    _Atomic uint64_t full_total, errors_total;
    _Atomic uint64_t withdrawn; /* 1: after an error */
    _Atomic uint64_t full;      /* 1: it takes no more for now */
    _Atomic uint64_t direct;    /* 1: its I/O bypasses the page cache */
    _Atomic uint64_t align_bytes;
};

struct node_row {
    _Atomic uint64_t used;
    _Atomic uint64_t node;            /* its number */
    _Atomic uint64_t segment_bytes;   /* found there */
    _Atomic uint64_t misplaced_bytes; /* the same, of segments that should lie elsewhere */
};

static inline void row_set(_Atomic uint64_t *place, uint64_t value)
{
    atomic_store_explicit(place, value, memory_order_relaxed);
}

static inline uint64_t row_get(const _Atomic uint64_t *place)
{
    return atomic_load_explicit(place, memory_order_relaxed);
}

/* For one writer at a time. */
static inline void row_add(_Atomic uint64_t *place, uint64_t value)
{
    row_set(place, row_get(place) + value);
}

#endif
