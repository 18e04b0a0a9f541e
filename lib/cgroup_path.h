/* SPDX-License-Identifier: MIT */
/* Where this process's control groups are mounted. */
#ifndef SPILLWAY_LIB_CGROUP_PATH_H
#define SPILLWAY_LIB_CGROUP_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "os.h"

enum { CGROUP_PATH_BYTES = 3 * 512 };

/* The process's own group in one hierarchy, as a directory that can be opened. */
struct cgroup_path {
    bool found; /* it is in one, and that is mounted; the rest counts only then */
    char directory[CGROUP_PATH_BYTES];
    size_t mount_len; /* of the part of `directory` that is the mount point; behind it the groups
                       * that can be seen begin, each with a slash */
};

/*
 * Looks at <root>/proc/self/cgroup and mountinfo for the memory hierarchy of version 1 and for the
 * one of version 2; a machine may have both. `root` is "" except in tests (a fixture tree).
 * What cannot be read is not there. Returns 0, or -EMFILE, -ENFILE, -ENOMEM where that may be for
 * want of a descriptor or of memory only.
 */
int cgroup_paths(const struct os *os, const char *root, struct cgroup_path *v1_memory,
                 struct cgroup_path *v2);

#endif
