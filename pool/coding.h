/* SPDX-License-Identifier: MIT */
/*
 * The pool's side of a coder (spillway/coder.h): who attached one, what it is told before a run,
 * and the threads on which it works. encode.c and decode.c take runs there and back.
 */
#ifndef SPILLWAY_POOL_CODING_H
#define SPILLWAY_POOL_CODING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "spillway/coder.h"
#include "workers.h"

struct spw_pool;
struct run;

/* Smaller runs are stored as they are: a page is the least that is saved. */
#define CODED_MIN_BYTES ((uint64_t)16 << 10)

/* Of a run, for its coder to try: from so many places of it. */
enum { SAMPLE_MOST_BYTES = 16 << 10, SAMPLE_LEAST_BYTES = 4 << 10, SAMPLE_PARTS = 4 };
_Static_assert(CODED_MIN_BYTES >= SAMPLE_LEAST_BYTES, "each run has that much");

/*
 * How fast the device is, as far as it shows: runs on their way to it, and what it does while it
 * has at least two of them to do. Only stretches of some length count: a device that lets bursts
 * through before it slows down would look faster than it is.
 */
struct device_gauge {
    pthread_mutex_t lock; /* a leaf; guards all below */
    unsigned writing;     /* runs */
    bool busy;            /* it has enough to do since `last_ns` */
    uint64_t last_ns;
    uint64_t stretch_ns, stretch_bytes; /* of the present stretch, not counted yet */
    bool long_enough;                   /* it counts */
    uint64_t busy_ns, written_bytes;    /* in all */
    bool full;                          /* the window is, since `last_ns` */
    uint64_t full_ns, passed_bytes;     /* so long in all, and the payload that went out then */
};

enum coding_answer { ANSWER_OPEN, ANSWER_NONE, ANSWER_CODE };

struct coding {
    struct workers workers;
    struct device_gauge gauge;
    _Atomic(spw_coder *) coder; /* NULL: none is attached; then for good */
    pthread_mutex_t attaching;  /* one at a time */
    _Atomic unsigned skip;      /* so many runs go without asking */
    _Atomic unsigned in_memory; /* enum coding_answer: the last one for the memory tier */
    _Atomic unsigned encoding;  /* runs at the workers, on their way out */
};

int coding_init(struct spw_pool *pool);

/* Ends the threads and closes the coder. */
void coding_fini(struct spw_pool *pool);

/*
 * Takes over `coder`, through which runs go from now on, for as long as the pool lives. Returns 0,
 * -EINVAL (an operation is missing), -EEXIST (there is one) or -EAGAIN (no thread can be started).
 */
int pool_attach_coder(struct spw_pool *pool, spw_coder *coder);

/* Whether this run should be shown to the coder. Counts it. */
bool coding_asks(struct spw_pool *pool, const struct run *run);

/*
 * Whether bytes that lie in the memory tier already should be shown to the coder instead of being
 * adopted: it encodes what goes there, or has to be asked, since the tier's room gets scarce.
 * Counts them.
 */
bool coding_wants_adopted(struct spw_pool *pool);

/* Whether slabs should not lie in the memory tier, since what goes there is encoded. */
bool coding_keeps_slabs_out(const struct spw_pool *pool);

/* The code for this run, of which `sample` is a part; 0: none. Tells what was decided. */
uint8_t coding_choose(struct spw_pool *pool, const struct run *run, const void *sample,
                      size_t sample_bytes);

/* A run was encoded or decoded: tells what the coder keeps now. */
void coding_note_bytes(struct spw_pool *pool);

/* A run is handed to the device; it was written, or that failed. */
void coding_write_begins(struct spw_pool *pool);
void coding_write_ended(struct spw_pool *pool, const struct run *run, bool failed);

#endif
