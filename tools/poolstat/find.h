/* SPDX-License-Identifier: MIT */
/*
 * Finds the stats pages of all processes that this user may look into, through /proc/PID/fd. Each
 * step may find that the process is just gone: that is no error.
 */
#ifndef SPILLWAY_TOOLS_POOLSTAT_FIND_H
#define SPILLWAY_TOOLS_POOLSTAT_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "page_copy.h"

enum { COMM_BYTES = 32 };

/* What /proc says of a process. */
struct process {
    pid_t pid;
    pid_t own_pid; /* as it sees itself, in its PID namespace */
    uid_t uid;
    char comm[COMM_BYTES]; /* cleaned */
    char state;            /* as in /proc/PID/stat: R S D T t Z X */
    bool kernel;           /* a thread of the kernel's */
    uint64_t start_ticks;
};

/* A pool whose page is open. */
struct pool {
    struct process process; /* its owner; or, where that is gone, one that still has its page */
    bool gone;              /* the owner is */
    int fd;                 /* read-only */
    dev_t dev;
    ino_t ino;
    struct page_copy now, before; /* `before` has no bytes until there was a second look */
};

struct pools {
    struct pool *items;
    size_t count, capacity;
    unsigned hidden;          /* processes of other users, or not dumpable: they may have pools */
    unsigned refused;         /* pages that are not what a pool makes */
    char why[PAGE_WHY + 128]; /* the last of these */
};

/* What one process says of itself. Returns 0, -ESRCH (there is none) or another -errno. */
int process_look(const char *proc, pid_t pid, struct process *out);

/*
 * Adds what pools there are below `proc` ("/proc") and are not in the list yet; of one process
 * where `only` is not 0. A page that cannot be understood is counted, and told in `why`. Returns 0,
 * or -errno: -EACCES (`only` may not be looked into), -ESRCH (there is none), -ENOMEM, or what
 * reading `proc` says.
 */
int pools_find(const char *proc, pid_t only, struct pools *pools);

/* Looks at all anew; pools whose owner is gone are marked so, and those that ended are left out. */
void pools_refresh(const char *proc, struct pools *pools, bool queues);

/* Takes one out of the list. */
void pools_remove(struct pools *pools, size_t index);

void pools_close(struct pools *pools);

#endif
