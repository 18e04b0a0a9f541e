/* SPDX-License-Identifier: MIT */
/* The only file that talks to the kernel: errno becomes -errno here, once. */
#define _GNU_SOURCE       1
#define _FILE_OFFSET_BITS 64

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Of a thread's stack: the library's own calls need a quarter of it, callbacks of users the rest.
 */
#define STACK_BYTES (256L * 1024)

_Static_assert(sizeof(off_t) == 8, "file offsets are 64 bits wide");
_Static_assert(sizeof(size_t) == 8, "a 64-bit system");

static uint64_t linux_clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t linux_thread_cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* nor with this one */
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int result_int(long result)
{
    return result < 0 ? -errno : (int)result;
}

static ssize_t result_count(ssize_t result)
{
    return result < 0 ? -errno : result;
}

static int linux_open(const char *path, int flags, mode_t mode)
{
    return result_int(open(path, flags, mode));
}

static int linux_mkostemp(char *path_template, int flags)
{
    return result_int(mkostemp(path_template, flags));
}

static int linux_unlink(const char *path)
{
    return result_int(unlink(path));
}

static int linux_close(int fd)
{
    return result_int(close(fd));
}

static ssize_t linux_read(int fd, void *buf, size_t len)
{
    return result_count(read(fd, buf, len));
}

static ssize_t linux_write(int fd, const void *buf, size_t len)
{
    return result_count(write(fd, buf, len));
}

/* An offset above INT64_MAX turns negative here, which the kernel answers with EINVAL. */
static ssize_t linux_pread(int fd, void *buf, size_t len, uint64_t offset)
{
    return result_count(pread(fd, buf, len, (off_t)offset));
}

static ssize_t linux_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
    return result_count(pwrite(fd, buf, len, (off_t)offset));
}

static int linux_fallocate(int fd, int mode, uint64_t offset, uint64_t len)
{
    return result_int(fallocate(fd, mode, (off_t)offset, (off_t)len));
}

static int linux_ftruncate(int fd, uint64_t len)
{
    return result_int(ftruncate(fd, (off_t)len));
}

static int linux_fcntl(int fd, int command, unsigned long arg)
{
    return result_int(fcntl(fd, command, arg));
}

static int linux_fstat(int fd, struct os_stat *out)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    out->mode = st.st_mode;
    out->special = (uint64_t)st.st_rdev;
    out->inode = (uint64_t)st.st_ino;
    return 0;
}

static int linux_fstatfs(int fd, struct os_fs *out)
{
    struct statfs fs;
    uint64_t unit;

    if (fstatfs(fd, &fs) < 0)
        return -errno;
    unit = (uint64_t)(fs.f_frsize > 0 ? fs.f_frsize : fs.f_bsize);
    /* f_type is a signed word with magic numbers that are unsigned in the headers. */
    out->type = (uint64_t)(unsigned int)fs.f_type;
    if (__builtin_mul_overflow((uint64_t)fs.f_bavail, unit, &out->free_bytes))
        out->free_bytes = UINT64_MAX;
    if (__builtin_mul_overflow((uint64_t)fs.f_blocks, unit, &out->total_bytes))
        out->total_bytes = UINT64_MAX;
    return 0;
}

/* The C library of Debian 12 has the call but not these fields; the kernel's header has both. */
static int linux_dio_align(int fd, struct os_dio *out)
{
    memset(out, 0, sizeof(*out));
#ifdef STATX_DIOALIGN
    struct statx st;

    memset(&st, 0, sizeof(st));
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) < 0)
        return -errno;
    if (st.stx_mask & STATX_DIOALIGN) {
        out->memory_align = st.stx_dio_mem_align;
        out->offset_align = st.stx_dio_offset_align;
    }
#else
    (void)fd;
#endif
    return 0;
}

static int linux_fadvise(int fd, uint64_t offset, uint64_t len, int advice)
{
    return -posix_fadvise(fd, (off_t)offset, (off_t)len, advice);
}

static int linux_memfd_create(const char *name, unsigned flags)
{
    return result_int(syscall(SYS_memfd_create, name, flags));
}

static int linux_map(size_t len, int prot, int flags, int fd, uint64_t offset, void **out)
{
    void *start = mmap(NULL, len, prot, flags, fd, (off_t)offset);

    if (start == MAP_FAILED)
        return -errno;
    *out = start;
    return 0;
}

static int linux_unmap(void *start, size_t len)
{
    return result_int(munmap(start, len));
}

static int linux_advise(void *start, size_t len, int advice)
{
    return result_int(madvise(start, len, advice));
}

static int linux_lock(const void *start, size_t len, unsigned flags)
{
    int rc = result_int(syscall(SYS_mlock2, start, len, flags));

    if (rc == -ENOSYS && flags == 0)
        rc = result_int(mlock(start, len));
    return rc;
}

static int linux_unlock(const void *start, size_t len)
{
    return result_int(munlock(start, len));
}

static int linux_set_policy(void *start, size_t len, int mode, const unsigned long *mask,
                            unsigned long maxnode, unsigned flags)
{
    return result_int(syscall(SYS_mbind, start, len, mode, mask, maxnode, flags));
}

static int linux_where(unsigned long count, void **pages, int *nodes)
{
    return result_int(syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0));
}

static int linux_limit(int resource, uint64_t *soft)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return -errno;
    *soft = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
    return 0;
}

static int linux_eventfd(unsigned initial, int flags)
{
    return result_int(eventfd(initial, flags));
}

static int linux_pipe(int fds[2], int flags)
{
    return result_int(pipe2(fds, flags));
}

static int linux_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, rc;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = result_int(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0)
        return fd;
    rc = result_int(connect(fd, (const struct sockaddr *)&address, sizeof(address)));
    if (rc < 0) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

static ssize_t linux_send(int fd, const void *buf, size_t len)
{
    return result_count(send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static int linux_poll(struct pollfd *fds, unsigned count, uint64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / UINT64_C(1000000000)),
                               .tv_nsec = (long)(timeout_ns % UINT64_C(1000000000))};

    return result_int(ppoll(fds, count, timeout_ns != UINT64_MAX ? &timeout : NULL, NULL));
}

static int add_locals(struct dl_phdr_info *object, size_t size, void *sum)
{
    size_t *bytes = sum;
    unsigned i;

    (void)size;
    for (i = 0; i < object->dlpi_phnum; i++) {
        if (object->dlpi_phdr[i].p_type == PT_TLS)
            *bytes += object->dlpi_phdr[i].p_memsz;
    }
    return 0;
}

/* The program's thread-local variables lie on the stack of each thread, and come on top. */
static size_t stack_bytes(void)
{
    long least = sysconf(_SC_THREAD_STACK_MIN);
    size_t bytes = least > STACK_BYTES ? (size_t)least : (size_t)STACK_BYTES;

    (void)dl_iterate_phdr(add_locals, &bytes);
    return bytes;
}

/* The default, RLIMIT_STACK, is 8 MiB as a rule, which RLIMIT_AS counts in full. */
static int create_small(pthread_t *thread, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    int rc = pthread_attr_init(&attributes);

    if (rc != 0)
        return rc;
    rc = pthread_attr_setstacksize(&attributes, stack_bytes());
    if (rc == 0)
        rc = pthread_create(thread, &attributes, run, argument);
    (void)pthread_attr_destroy(&attributes);
    return rc;
}

/* A thread of the library must never run a signal handler of the program, so it starts with
 * every signal blocked. */
static int linux_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    sigset_t all, before;
    int rc;

    (void)sigfillset(&all);
    rc = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc != 0)
        return -rc;
    rc = create_small(thread, run, argument);
    if (rc == EINVAL) /* too small, for a reason that we do not know */
        rc = pthread_create(thread, NULL, run, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

static int linux_ring_allowed(void)
{
    return 0;
}

static int linux_ring_result(int op, int result)
{
    (void)op;
    return result;
}

static unsigned linux_processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;

    return count > 0 ? (unsigned)count : 1;
}

const struct os os_linux = {
    .clock_ns = linux_clock_ns,
    .thread_cpu_ns = linux_thread_cpu_ns,
    .open = linux_open,
    .mkostemp = linux_mkostemp,
    .unlink = linux_unlink,
    .close = linux_close,
    .read = linux_read,
    .write = linux_write,
    .pread = linux_pread,
    .pwrite = linux_pwrite,
    .fallocate = linux_fallocate,
    .ftruncate = linux_ftruncate,
    .fcntl = linux_fcntl,
    .fstat = linux_fstat,
    .fstatfs = linux_fstatfs,
    .dio_align = linux_dio_align,
    .fadvise = linux_fadvise,
    .memfd_create = linux_memfd_create,
    .map = linux_map,
    .unmap = linux_unmap,
    .advise = linux_advise,
    .lock = linux_lock,
    .unlock = linux_unlock,
    .set_policy = linux_set_policy,
    .where = linux_where,
    .limit = linux_limit,
    .eventfd = linux_eventfd,
    .pipe = linux_pipe,
    .connect = linux_connect,
    .send = linux_send,
    .poll = linux_poll,
    .thread = linux_thread,
    .processors = linux_processors,
    .ring_allowed = linux_ring_allowed,
    .ring_result = linux_ring_result,
};
