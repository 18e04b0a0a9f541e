/* SPDX-License-Identifier: MIT */
/*
 * The strategy that Spillway started from, rebuilt for comparison: the same data structures,
 * scans, copies and system calls, so that it costs what the original costs.
 *
 * One queue under a lock, a ring of 32-byte entries. Each push sums the resident bytes of the
 * whole queue; above head reserve + threshold, all resident entries past the head reserve but the
 * last are written, under the lock, through a 4 MiB buffer to one unnamed temporary file. Each
 * drain brings paged entries within `head_reserve_bytes` of the head back, one by one; the first
 * fetch of a file reads all of it, a read a chunk, and its chunks live until the last is taken.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_SEED_H
#define SPILLWAY_TOOLS_SPILLBENCH_SEED_H

#include <stddef.h>
#include <stdint.h>

/* Both sizes 0: a queue without policies, which is never looked over. */
struct seed_config {
    const char *dir;
    uint64_t threshold_bytes;    /* the original's default is 256 MiB */
    uint64_t head_reserve_bytes; /* and 64 MiB; also what a drain may bring back */
};

struct seed_owner;

/* A slice of a reference-counted allocation of any kind: the original's reference to it is two
 * words, and so an entry of its queue four. */
struct seed_bytes {
    unsigned char *data;
    size_t len;
    struct seed_owner *owner;
    void (*drop)(struct seed_owner *owner); /* after the last reference */
};

struct seed_queue;

/* NULL without memory. `config` is copied; its dir must stay. */
struct seed_queue *seed_open(const struct seed_config *config);
void seed_close(struct seed_queue *queue);

/* A chunk of its own on the heap, to be filled and pushed. Returns 0 or -ENOMEM. */
int seed_chunk(size_t len, struct seed_bytes *out);
void seed_release(struct seed_bytes *bytes);

/* Moves `bytes` in. Returns 0; -ENOMEM and nothing taken; or what writing the file said, with the
 * bytes taken and resident. */
int seed_push(struct seed_queue *queue, struct seed_bytes *bytes);

/*
 * Moves resident entries, up to the first paged one, to the end of *out, an array of *capacity that
 * grows as needed and holds *count. Returns 0, -ENOMEM, or why a file could not be read.
 */
int seed_drain(struct seed_queue *queue, struct seed_bytes **out, size_t *count, size_t *capacity);

#endif
