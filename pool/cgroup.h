/* SPDX-License-Identifier: MIT */
/* What the memory cgroups (v1 and v2, the whole path to the root), resource limits and the host
 * allow. */
#ifndef SPILLWAY_POOL_CGROUP_H
#define SPILLWAY_POOL_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/os.h"

#define CGROUP_UNLIMITED UINT64_MAX

enum { CGROUP_MAX_LEVELS = 32 };

/* One group on the path that has a limit. */
struct cgroup_level {
    int version;                                       /* 1 or 2 */
    char usage[512], limit[512], high[512], stat[512]; /* paths of its files; high "" in v1 */
};

struct cgroup {
    struct cgroup_level levels[CGROUP_MAX_LEVELS];
    unsigned count;
};

/* Finds the groups this process is in. `root` is "" except in tests (a fixture tree). Never fails:
 * no groups found means no limits. */
void cgroup_find(const struct os *os, const char *root, struct cgroup *out);

/* The tightest limit on the path, CGROUP_UNLIMITED when there is none. */
uint64_t cgroup_limit(const struct os *os, const struct cgroup *cgroup);

/*
 * What can still be charged before the tightest group starts to kill: limit - usage, with clean
 * page cache counted as room. CGROUP_UNLIMITED when there is no limit. Returns 0 or -errno: what
 * cannot be read any more (no descriptor left, say) counts as no room, since a wrong "yes" would
 * kill the process.
 */
int cgroup_headroom(const struct os *os, const struct cgroup *cgroup, uint64_t *out);

/* The tightest of cgroup limit, RLIMIT_AS, RLIMIT_DATA and host memory. */
uint64_t memory_limit(const struct os *os, const struct cgroup *cgroup, const char *root);

/* SwapTotal of <root>/proc/meminfo, in bytes; 0 when unreadable. */
uint64_t host_swap(const struct os *os, const char *root);

/* MemTotal and MemAvailable of <root>/proc/meminfo, in bytes; 0 when unreadable. */
uint64_t host_memory(const struct os *os, const char *root, uint64_t *available);

#endif
