/* SPDX-License-Identifier: MIT */
/*
 * Traffic through a queue that can be checked at the other end: content that tells its place,
 * values from every kind of memory, and a model of what a queue holds.
 */
#ifndef SPILLWAY_TESTS_TRAFFIC_H
#define SPILLWAY_TESTS_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue_tools.h"
#include "spillway/spillway.h"

/* ---- content: eight bytes at a time, different in each stream ---- */

void content_fill(unsigned char *out, uint64_t stream, uint64_t at, size_t len);
bool content_is(const unsigned char *data, uint64_t stream, uint64_t at, size_t len);

/* ---- loans: foreign memory that must come back exactly once ---- */

/* Memory of `len` bytes with this content, wrapped; it is overwritten when it comes back. Returns 0
 * or -ENOMEM. */
int loan_make(uint64_t stream, uint64_t at, size_t len, spw_bytes *out);

uint64_t loans_out(void); /* not back yet */

/* ---- a source of values for one queue ---- */

enum origin { ORIGIN_LOAN, ORIGIN_COPY, ORIGIN_HEAP_SLAB, ORIGIN_POOL_SLAB, ORIGINS };

/* A value as it was made. */
struct value {
    uint64_t at;
    size_t len;
    bool joins; /* continues the memory of the one before it, so that they may merge */
};

/* Where the next value goes on. */
struct mark {
    uint64_t at;
    const void *owner; /* of the last value, and where that ends */
    const unsigned char *end;
};

struct source {
    spw_pool *pool;
    uint64_t stream;
    spw_slab *slabs[ORIGINS];
    size_t slab_bytes;
    unsigned gap_percent; /* of values in front of which a piece of the slab is wasted */
    struct mark mark;
};

void source_open(struct source *source, spw_pool *pool, uint64_t stream, size_t slab_bytes);
void source_close(struct source *source);

/*
 * Makes the next value. Slabs are filled to the end, with gaps where asked for, or regained.
 * Returns 0 or -errno, with nothing made. Who gives values up again sets `source->mark` back to
 * what it was before they were made.
 */
int source_make(struct source *source, struct random *random, enum origin origin, size_t len,
                struct value *value, spw_bytes *out);

/* ---- the model of a queue ---- */

struct model {
    uint64_t stream;
    struct value *values; /* a ring */
    size_t first, count, capacity;
    uint64_t bytes;
};

void model_open(struct model *model, uint64_t stream);
void model_close(struct model *model);
void model_push(struct model *model, const struct value *value);

/*
 * What was drained must be the next entry: whole values, merged only where they may be, with their
 * content. Returns the place of its first byte.
 */
uint64_t model_pop(struct model *model, const spw_bytes *bytes);

#endif
