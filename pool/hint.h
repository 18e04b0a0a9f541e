/* SPDX-License-Identifier: MIT */
/* What the kernel is told of runs that it may keep elsewhere than in memory. */
#ifndef SPILLWAY_POOL_HINT_H
#define SPILLWAY_POOL_HINT_H

#include <stdbool.h>

struct job;
struct run;
struct spw_pool;

/* Whether some tier can make use of run_hint(). */
bool pool_hints(const struct spw_pool *pool);

/* The run's reader will come in a while. Once for each run, and never slow. Returns 0, or -EAGAIN:
 * the run is on its way. No pool lock held. */
int run_hint(struct run *run);

/* What this job has read is in a buffer now. */
void hint_was_read(struct spw_pool *pool, const struct job *read);

#endif
