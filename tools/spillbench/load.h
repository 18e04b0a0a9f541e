/* SPDX-License-Identifier: MIT */
/* The work that all contenders do: produce incompressible bytes in chunks, consume and verify them.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_LOAD_H
#define SPILLWAY_TOOLS_SPILLBENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "child.h"
#include "spillway/spillway.h"

enum load_origin {
    ORIGIN_POOL_SLAB, /* slabs of the pool, filled front to back and cut into chunks */
    ORIGIN_HEAP,      /* each chunk a malloc of its own, as the seed's stress program does */
};

struct load {
    uint64_t total_bytes, chunk_bytes;
    uint64_t drain_every; /* chunks between two drains; 0: everything at the end */
    unsigned queues;      /* filled in turn; 0 counts as 1 */
    enum load_origin origin;
    bool verify;  /* content, as well as length and order */
    bool latency; /* fill measure->extend and ->drain */
    bool control; /* fill measure->control: a spinning thread beside */
};

/* Fills a chunk: incompressible, different for each sequence number, cheap (about memcpy's speed).
 */
void chunk_fill(void *to, uint64_t bytes, uint64_t sequence);

/* Whether these are bytes [offset, offset + bytes) of the chunk with that number. */
bool chunk_matches(const void *data, uint64_t bytes, uint64_t sequence, uint64_t offset);

/*
 * Runs the load through spillway queues in this process, and fills `measure` (measure_begin() and
 * _end() included): times, latencies, progress. An extend's latency is what the library needs for
 * a chunk: the call itself, and a new slab where one is due. Warm-up is the caller's: run it once
 * with a smaller load before; what `measure` said of that is forgotten.
 *
 * `pool` NULL: plain queues without policies, the null strategy whose time is subtracted from a
 * net figure. It only produces and consumes: it drains after each slab, whatever `drain_every`
 * says, so its memory stays the same.
 */
void load_run(const struct load *load, spw_pool *pool, const spw_options *options,
              struct measure *measure);

/* Touches `bytes` of fresh memory and gives them back: first touch is slow on some machines. */
void memory_warm(uint64_t bytes);

/*
 * A pool for a bench: options from the environment, then memory (unless 0), dir (unless NULL) and
 * what `settings` ("name", "value", ..., NULL) say; a NULL value leaves that one out. What it warns
 * of goes to measure->said. `*options` is to be closed after the pool. NULL after filling
 * `measure`'s error; then there are no options either.
 */
spw_pool *load_pool(struct measure *measure, uint64_t memory_bytes, const char *dir,
                    spw_options **options, const char *const *settings);

/* The same over an operating system that is not the real one. */
struct os;
spw_pool *load_pool_on(const struct os *os, struct measure *measure, uint64_t memory_bytes,
                       const char *dir, spw_options **options, const char *const *settings);

#endif
