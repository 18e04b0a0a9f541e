/* SPDX-License-Identifier: MIT */
/* How many instructions run while a queue's lock is held, counted by valgrind. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_BARS_HOLDS_H
#define SPILLWAY_TOOLS_SPILLBENCH_BARS_HOLDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct holds {
    uint64_t count, longest; /* instructions of the longest one */
};

/*
 * Runs `spillbench stress` below callgrind, which starts to count anew when a lock was taken, and
 * writes down what it counted when it is given up: the same on every machine, and nothing of what a
 * machine does meanwhile is in it, nor what the kernel does in a system call. Three times the
 * budget `memory_bytes` goes through a queue. `dir` NULL: TMPDIR or /var/tmp. Returns 0 or -errno:
 * -ENOENT without valgrind, -ENODATA where it does not know the functions.
 */
int holds_count(const char *dir, uint64_t memory_bytes, struct holds *holds);

/* What a dump says. False: it is of something else than a hold. */
bool holds_read(FILE *dump, uint64_t *instructions);

#endif
