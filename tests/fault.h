/* SPDX-License-Identifier: MIT */
/*
 * A scripted operating system and a scripted allocator. fault_os forwards to os_linux
 * except where a rule says otherwise. The script is global: one test is one process. All of it may
 * be used from any thread.
 */
#ifndef SPILLWAY_TESTS_FAULT_H
#define SPILLWAY_TESTS_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "../lib/os.h"
#include "spillway/alloc.h"

enum fault {
    FAULT_OPEN,
    FAULT_MKOSTEMP,
    FAULT_UNLINK,
    FAULT_CLOSE, /* the descriptor is closed all the same, as Linux does */
    FAULT_READ,
    FAULT_WRITE,
    FAULT_PREAD,
    FAULT_PWRITE,
    FAULT_FALLOCATE,
    FAULT_FTRUNCATE,
    FAULT_FCNTL,
    FAULT_FSTAT,
    FAULT_FSTATFS,
    FAULT_DIO_ALIGN,
    FAULT_FADVISE,
    FAULT_MEMFD_CREATE,
    FAULT_MAP,
    FAULT_UNMAP,
    FAULT_ADVISE,
    FAULT_LOCK,
    FAULT_UNLOCK,
    FAULT_SET_POLICY,
    FAULT_WHERE,
    FAULT_LIMIT,
    FAULT_EVENTFD,
    FAULT_PIPE,
    FAULT_CONNECT,
    FAULT_SEND,
    FAULT_POLL,
    FAULT_THREAD,
    FAULT_RING_ALLOWED,
    FAULT_RING_READ,  /* a completed read of io_uring; the I/O itself has happened */
    FAULT_RING_WRITE, /* a completed write */
    FAULT_RING_HINT,  /* a completed hint */
    FAULT_KINDS
};

#define FAULT_ALWAYS UINT32_MAX /* for `times` */

extern const struct os fault_os;

/* Back to forwarding everything: rules, files, values, hooks, clock, counts. Leak counts stay. */
void fault_clear(void);

/* Removes the rules of one kind, as when a full disk has room again. */
void fault_heal(enum fault kind);

/*
 * From now on the next `after` calls go through and the `times` calls behind them return `err`
 * (negative, or 0 to pretend success) without reaching the kernel. Several rules of one kind each
 * count every call; the oldest one that applies decides.
 */
void fault_fail(enum fault kind, uint32_t after, uint32_t times, int err);

/*
 * The same, counting only calls with this argument: flags of open, mkostemp, memfd_create,
 * map, eventfd, pipe (all bits of `argument` must be set), command of fcntl, mode of fallocate,
 * advice of advise and fadvise, flags of lock, mode of set_policy, resource of limit.
 */
void fault_fail_when(enum fault kind, unsigned long argument, uint32_t after, uint32_t times,
                     int err);

/* Calls that move at most `max_bytes` (0: as at the end of a file). Read, write, pread, pwrite,
 * send, ring read, ring write. */
void fault_short(enum fault kind, uint32_t after, uint32_t times, size_t max_bytes);

/* Reads (read, pread) that return one wrong byte, in the middle of what was read. */
void fault_corrupt(enum fault kind, uint32_t after, uint32_t times);

/* Calls so far, scripted ones included, since the start or fault_clear(). */
uint64_t fault_calls(enum fault kind);

/* The arguments of the last call of a kind, as far as it has them. */
struct fault_args {
    int fd;
    unsigned long argument; /* as for fault_fail_when() */
    uint64_t len;
    uint64_t offset;
    const void *start; /* map ranges and buffers */
};
struct fault_args fault_last(enum fault kind);

/* Runs `hook` on the calling thread before each call of a kind, with no lock held; a hook that
 * waits is a device that hangs. NULL removes it. */
void fault_hook(enum fault kind, void (*hook)(void *context), void *context);

/* open() of exactly this path finds `text` (a copy for each open), or -ENOENT where it is NULL. */
void fault_file(const char *path, const char *text);

/* open() and mkostemp() of every path that starts with `prefix` returns `err`. */
void fault_path_fail(const char *prefix, int err);

/* Values to report: all of a file system, direct I/O needs, one resource limit, the node of every
 * page. NULL, or node -1, goes back to the real one. */
void fault_fs(const struct os_fs *fs);
void fault_dio(const struct os_dio *dio);
void fault_limit(int resource, uint64_t soft);
void fault_node(int node);

/* So many processors; 0: as there are. */
void fault_processors(unsigned count);

/* A clock that stands still until it is moved. fault_clock_real() goes back. */
void fault_clock_set(uint64_t ns);
void fault_clock_advance(uint64_t ns);
void fault_clock_real(void);

/* What went through the seam and has not come back: descriptors, bytes of maps (whole pages). */
int64_t fault_open_fds(void);
int64_t fault_mapped_bytes(void);

/*
 * malloc with a script. release() aborts the test, with a message, when the size is not the one
 * that was acquired or the block is not a live one; released memory is overwritten.
 */
extern const spw_allocator fault_allocator;

/* The n-th acquire from now fails (1: the next one), once; 0: none. */
void fault_alloc_after(uint64_t n);
/* The n-th acquire from now and all behind it fail; 0: none. */
void fault_alloc_from(uint64_t n);

uint64_t fault_alloc_calls(void);     /* acquires so far, failed ones included */
int64_t fault_alloc_live(void);       /* blocks */
int64_t fault_alloc_live_bytes(void); /* as asked for */

#endif
