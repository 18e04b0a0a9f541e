/* SPDX-License-Identifier: MIT */
/* Inside of a pressure source: the order of sources (pressure_source.c) and readings of the one in
 * use (pressure_read.c). */
#ifndef SPILLWAY_POLICIES_PRESSURE_IMPL_H
#define SPILLWAY_POLICIES_PRESSURE_IMPL_H

#include <errno.h>

#include "../lib/cgroup_path.h"
#include "pressure_gauge.h"
#include "pressure_source.h"
#include "pressure_watch.h"

#define NS_PER_US UINT64_C(1000)

enum { WHY_BYTES = 640, PATH_BYTES = CGROUP_PATH_BYTES + 32 };

/* Files beside the one that is watched: the own group's, and the machine's where that has none. */
enum side { SIDE_NONE, SIDE_GROUP, SIDE_MACHINE };

struct pressure_source {
    const struct os *os;
    const spw_allocator *allocator;
    struct log *log;
    size_t size_bytes; /* of this and the texts behind it */
    const char *root, *option, *systemd;
    struct watch_wish wish, systemd_wish;

    enum pressure_kind kind;
    bool settled;  /* else `kind` has ended, and the next one could not be looked for yet */
    bool fallback; /* less than was asked for */
    struct watch watch;
    struct gauge gauge;
    uint32_t generation;
    enum side memory_side, io_side;
    struct cgroup_path group;
    bool event_kept;       /* one of a reading that failed */
    char path[PATH_BYTES]; /* what is watched, of the kinds cgroup and proc */
    char shown[PATH_BYTES], why[WHY_BYTES];
};

/* Errors that say nothing about the file. */
static inline bool pressure_is_passing(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOMEM;
}

/* "directory/file". Returns 0 or -ENAMETOOLONG. */
int pressure_path(char path[PATH_BYTES], const char *directory, const char *file);

/* Takes the first kind from `first` on that can be opened. Returns 0 or a passing error; then
 * nothing is watched, and `kind` is the one to go on with. */
int pressure_settle(struct pressure_source *source, enum pressure_kind first);

/* What is watched has ended with `err`: the next one in the order takes its place. */
int pressure_fall(struct pressure_source *source, int err);

/* A trigger has gone without its file, which is polled from now on. */
void pressure_lose_trigger(struct pressure_source *source);

#endif
