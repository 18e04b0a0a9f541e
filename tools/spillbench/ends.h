/* SPDX-License-Identifier: MIT */
/* A queue for a measurement, and memory for what a run in a child says. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_ENDS_H
#define SPILLWAY_TOOLS_SPILLBENCH_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "child.h"
#include "spillway/spillway.h"

struct ends {
    spw_writer *writer;
    spw_reader *reader;
};

/* With the usual policies over `pool`, or plain where that is NULL. Returns 0 or -errno, and then
 * both ends are NULL. */
int ends_make(struct ends *ends, spw_pool *pool, const spw_options *options);

/* The same with another policy for the reader, which is the queue's if this succeeds. */
int ends_make_with(struct ends *ends, spw_pool *pool, const spw_options *options,
                   spw_policy *reader);

void ends_drop(struct ends *ends);

/* Zeroed memory that a child shares with its parent. NULL without memory. */
void *shared_open(size_t bytes);
void shared_close(void *memory, size_t bytes);

/*
 * Runs a child that leaves its result in `shared`, of shared_open() and maybe NULL, which ends
 * here. Returns false with the reason in `why` where there is none.
 */
bool shared_run(const struct child_plan *child, void *shared, void *result, size_t bytes, char *why,
                size_t why_bytes);

#endif
