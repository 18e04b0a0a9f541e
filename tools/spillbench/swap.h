/* SPDX-License-Identifier: MIT */
/* Swap space for the time of one run; the whole machine may use it while it is there. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_SWAP_H
#define SPILLWAY_TOOLS_SPILLBENCH_SWAP_H

#include <stdint.h>

struct swap;

enum {
    SWAP_SPARE_BYTES = 256 << 20
}; /* beyond the data: the process itself, clusters with holes */

/* Each returns NULL with *err set to -errno and, in why[why_bytes], what was refused. Both are
 * undone when this process is killed. The caller must have one thread. */
struct swap *swap_open_file(const char *dir, uint64_t bytes, int *err, char *why,
                            unsigned why_bytes);

/* A compressed device in memory that takes `bytes` and at most `memory_bytes` of memory. */
struct swap *swap_open_zram(const char *dir, uint64_t bytes, uint64_t memory_bytes, int *err,
                            char *why, unsigned why_bytes);

/* Only once those that use it are gone. NULL is harmless. */
void swap_close(struct swap *swap);

#endif
