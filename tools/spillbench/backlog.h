/* SPDX-License-Identifier: MIT */
/* What every contender of `compare` is to the load that drives it: a FIFO of bytes. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_BACKLOG_H
#define SPILLWAY_TOOLS_SPILLBENCH_BACKLOG_H

#include <stdint.h>

#include "child.h"
#include "compare.h"
#include "spillway/pool.h"

/* Where the consumer is. */
struct consumer {
    struct measure *measure;
    uint64_t chunk_bytes;
    uint64_t sequence, offset; /* of the next byte */
    uint64_t last_ns;          /* when the chunk before was done */
};

/* The next bytes in order: verifies them. Returns 0, or -EBADMSG after failing the measure. */
int consumer_take(struct consumer *consumer, const void *data, uint64_t bytes);

/* A contender. Calls that fail have failed the measure, with a reason. */
struct backlog_ops {
    /* Returns NULL on failure. */
    void *(*open)(const struct compare_plan *plan, struct measure *measure);
    /* Makes the chunk with that number, incompressible, and appends it. Returns 0 or -errno. */
    int (*produce)(void *backlog, uint64_t sequence);
    /* Takes some of what is there, in order. Returns 0 or -errno. */
    int (*consume)(void *backlog, struct consumer *consumer);
    /* Between passes: everything was consumed. May be NULL. Returns 0 or -errno. */
    int (*rewind)(void *backlog);
    void (*close)(void *backlog);
};

extern const struct backlog_ops backlog_queue, backlog_slabs, backlog_plain, backlog_swapped,
    backlog_seed, backlog_mapped;

/* The pool below one of the first two; NULL: it has none. */
spw_pool *backlog_pool(void *backlog);

/* The load: a warm-up, then everything is produced, then consumed, `drain_every` chunks a turn
 * (0: all in one turn). Fills the measure. */
void backlog_run(const struct backlog_ops *ops, const struct compare_plan *plan,
                 uint64_t drain_every, struct measure *measure);

#endif
