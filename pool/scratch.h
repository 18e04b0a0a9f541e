/* SPDX-License-Identifier: MIT */
/*
 * One scratch directory: the unnamed file in it, what direct I/O on it needs, and
 * how it grows. No lock: one caller at a time, except where a field says "fixed".
 */
#ifndef SPILLWAY_POOL_SCRATCH_H
#define SPILLWAY_POOL_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/os.h"

enum {
    SCRATCH_ALIGN_MIN = 4096,      /* what we use although a device may take less */
    SCRATCH_ALIGN_MAX = 64 * 1024, /* extents start at multiples of this */
    SCRATCH_WHY = 160,             /* text that says what is wrong with a directory */
    SCRATCH_INTERRUPTS_MAX = 16,   /* EINTR in a row before a growth is given up as too large */
};

struct scratch {
    const struct os *os;
    int fd;          /* fixed */
    uint32_t align;  /* fixed: of address, length and offset; 1 when I/O is buffered */
    bool direct;     /* fixed */
    bool zero_fill;  /* fallocate does not work here: zeros are written instead */
    bool no_holes;   /* holes cannot be punched here */
    struct os_fs fs; /* fixed: the file system at the time of open; total 0: it does not say */
    uint64_t mount;  /* fixed: mount number, 0 where /proc does not say */
};

/*
 * Opens an unnamed file in `dir` that only this process can reach. Nothing is
 * left in the directory, whatever happens. Returns 0 or -errno (-EMEDIUMTYPE: the directory is in
 * memory), then `why` continues a sentence that starts with the directory's name.
 */
int scratch_open(const struct os *os, const char *dir, struct scratch *out, char why[SCRATCH_WHY]);

void scratch_close(struct scratch *scratch);

/* What is free to this user now; UINT64_MAX where the file system does not say. */
uint64_t scratch_free_bytes(const struct scratch *scratch);

/* Whether two directories share their free space (in doubt: yes). Asks the kernel. */
bool scratch_same_space(const struct scratch *a, const struct scratch *b);

/*
 * Gives the range space of its own, so that a later write to it cannot find the file system
 * full. Slow. On failure the range may have it in part: see scratch_shrink(). Returns 0 or -errno,
 * among them -ENOSPC, -EDQUOT, -EFBIG (also by RLIMIT_FSIZE, without a signal), -EINTR
 * (SCRATCH_INTERRUPTS_MAX times).
 */
int scratch_grow(struct scratch *scratch, uint64_t offset, uint64_t len);

/*
 * Returns the range's space to the file system: as a hole, or, where that is not possible, by
 * cutting the file at `end`, where the part that is still needed ends. -EOPNOTSUPP: neither
 * works for this range. Slow.
 */
int scratch_shrink(struct scratch *scratch, uint64_t offset, uint64_t len, uint64_t end);

#endif
