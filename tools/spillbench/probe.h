/* SPDX-License-Identifier: MIT */
/* What a library does beside its calls: system calls, wake-ups, memory for each run. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_PROBE_H
#define SPILLWAY_TOOLS_SPILLBENCH_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "series.h"

struct probe_plan {
    const char *dir;
    uint64_t bytes;   /* spilled, for metadata */
    uint64_t entries; /* extended and drained, for system calls */
    double seconds;   /* watched, for wake-ups */
};

/* All in a process of its own. Each returns 0, or -errno with the reason in `why`. */

/* System calls in `entries` extends and drains of a queue that never spills; stops counting at the
 * first: 0 or 1. -EOPNOTSUPP where the kernel cannot filter them. */
int probe_system_calls(const struct probe_plan *plan, unsigned *calls, char *why, size_t why_bytes);

/* Times that the threads of a pool ran in `seconds`, with nothing spilled. */
int probe_wakeups(const struct probe_plan *plan, uint64_t *wakeups, unsigned *threads, char *why,
                  size_t why_bytes);

/* Nanoseconds an entry for extend and drain, a value a round: our queue and the seed's, both
 * without policies, in turns. */
int probe_seed(const struct probe_plan *plan, unsigned rounds, struct series *ours,
               struct series *seeds, char *why, size_t why_bytes);

/* Minor page faults of the process while `plan->bytes` go out and back from slabs, after as
 * many went out and back twice; and in how many runs. */
int probe_faults(const struct probe_plan *plan, uint64_t *faults, uint64_t *runs, char *why,
                 size_t why_bytes);

/* Heap bytes a spilled run, where a run is so many entries of so many bytes. */
int probe_metadata(const struct probe_plan *plan, uint64_t entry_bytes, double *bytes_per_run,
                   double *entries_per_run, uint64_t *runs, char *why, size_t why_bytes);

#endif
