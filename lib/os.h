/* SPDX-License-Identifier: MIT */
/*
 * The narrow seam to the operating system. Everything outside os_linux.c reaches
 * the kernel through one of these, so that a test can script each call. Every
 * function returns 0 or a count (or a descriptor) on success and -errno
 * otherwise, and restarts nothing: EINTR and short counts reach the caller.
 */
#ifndef SPILLWAY_OS_H
#define SPILLWAY_OS_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct os_fs {
    uint64_t type;       /* f_type of statfs(2) */
    uint64_t free_bytes; /* available to this user */
    uint64_t total_bytes;
};

/* Direct I/O needs, in bytes; all 0 where the kernel cannot tell. */
struct os_dio {
    uint32_t memory_align;
    uint32_t offset_align;
};

/* What a descriptor refers to. */
struct os_stat {
    mode_t mode;      /* kind and permissions */
    uint64_t special; /* st_rdev of a device */
    uint64_t inode;   /* st_ino */
};

struct os {
    /* CLOCK_MONOTONIC, in ns. */
    uint64_t (*clock_ns)(void);
    /* CLOCK_THREAD_CPUTIME_ID, in ns. */
    uint64_t (*thread_cpu_ns)(void);

    int (*open)(const char *path, int flags, mode_t mode);
    int (*mkostemp)(char *path_template, int flags);
    int (*unlink)(const char *path);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *buf, size_t len);
    ssize_t (*write)(int fd, const void *buf, size_t len);
    ssize_t (*pread)(int fd, void *buf, size_t len, uint64_t offset);
    ssize_t (*pwrite)(int fd, const void *buf, size_t len, uint64_t offset);
    int (*fallocate)(int fd, int mode, uint64_t offset, uint64_t len);
    int (*ftruncate)(int fd, uint64_t len);
    int (*fcntl)(int fd, int command, unsigned long arg);
    int (*fstat)(int fd, struct os_stat *out);
    int (*fstatfs)(int fd, struct os_fs *out);
    int (*dio_align)(int fd, struct os_dio *out);
    int (*fadvise)(int fd, uint64_t offset, uint64_t len, int advice);

    int (*memfd_create)(const char *name, unsigned flags);
    int (*map)(size_t len, int prot, int flags, int fd, uint64_t offset, void **out);
    int (*unmap)(void *start, size_t len);
    int (*advise)(void *start, size_t len, int advice);
    int (*lock)(const void *start, size_t len, unsigned flags); /* mlock2 */
    int (*unlock)(const void *start, size_t len);

    /* NUMA: set_policy is mbind(2) with MPOL_*; where() fills in the node of each page, -errno per
     * page. */
    int (*set_policy)(void *start, size_t len, int mode, const unsigned long *mask,
                      unsigned long maxnode, unsigned flags);
    int (*where)(unsigned long count, void **pages, int *nodes);

    int (*limit)(int resource, uint64_t *soft); /* getrlimit; UINT64_MAX: unlimited */
    int (*eventfd)(unsigned initial, int flags);
    int (*pipe)(int fds[2], int flags); /* pipe2 */
    /* A stream socket, close-on-exec and non-blocking, connected to the one at `path`. */
    int (*connect)(const char *path);
    /* Waits for nothing, and a closed socket is -EPIPE without a signal. */
    ssize_t (*send)(int fd, const void *buf, size_t len);
    /* poll(2), for `timeout_ns` at most; UINT64_MAX: without a limit. */
    int (*poll)(struct pollfd *fds, unsigned count, uint64_t timeout_ns);
    int (*thread)(pthread_t *thread, void *(*run)(void *), void *argument);
    /* Processors that the calling thread may run on; 1 when that is not known. */
    unsigned (*processors)(void);

    /* io_uring: asked before a ring is set up (0, or the -errno to pretend), and with each
     * completion (returns the result to go on with). `op` is 'r', 'w', or 'h': a hint. */
    int (*ring_allowed)(void);
    int (*ring_result)(int op, int result);
};

/* The real thing. */
extern const struct os os_linux;

/* Reads a small file whole, NUL-terminated. Returns its length or -errno (-EFBIG: it did not fit).
 */
long os_read_file(const struct os *os, const char *path, char *buf, size_t capacity);

/* Closes a descriptor unless it is negative. */
void os_close(const struct os *os, int fd);

#endif
