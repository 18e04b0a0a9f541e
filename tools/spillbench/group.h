/* SPDX-License-Identifier: MIT */
/* A memory cgroup for one run, v1 or v2: made, limited, entered, read, removed. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_GROUP_H
#define SPILLWAY_TOOLS_SPILLBENCH_GROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { GROUP_WHY = 160 };

struct undo;

struct group {
    int version; /* 1 or 2; 0: there is none */
    char dir[PATH_MAX];
    int stat_fd; /* its memory.stat */
    struct undo *undo;
};

struct group_charge {
    uint64_t memory_bytes; /* anonymous and shared memory */
    uint64_t cache_bytes;  /* page cache of files */
};

/*
 * Makes a group below our own, with a limit unless it is 0. `group` must stay where it is until
 * group_close(). Returns 0 or -errno, with the reason in `why`.
 */
int group_open(struct group *group, uint64_t limit_bytes, char why[GROUP_WHY]);

/* Puts the calling process into it. Returns 0 or -errno. */
int group_join(const struct group *group);

/* Returns 0 or -errno. */
int group_read(const struct group *group, struct group_charge *charge);

/* How many processes of it the OOM killer has ended. */
uint64_t group_kills(const struct group *group);

/* Removes it; every process must have left it. Harmless where there is none. */
void group_close(struct group *group);

#endif
