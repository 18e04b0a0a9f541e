/* SPDX-License-Identifier: MIT */
/* The scripted system must do what its header says, or the tests that rely on it prove nothing. */
#define _GNU_SOURCE 1

#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

static int memfd(const char *text)
{
    int fd = fault_os.memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fault_os.pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    return fd;
}

Test(fault, forwards_unless_scripted)
{
    char buf[8] = {0};
    int fd = memfd("abcdef");

    cr_assert_eq(fault_os.pread(fd, buf, 8, 2), 4);
    cr_assert_str_eq(buf, "cdef");
    cr_assert_eq(fault_os.ring_allowed(), 0);
    cr_assert_eq(fault_os.ring_result('r', 17), 17);
    cr_assert_eq(fault_os.ring_result('w', -5), -5);
    cr_assert_eq(fault_os.ring_result('h', 0), 0);
    cr_assert_eq(fault_os.close(fd), 0);
    cr_assert_eq(fault_os.close(-1), -EBADF);
}

Test(fault, fails_after_and_for_times)
{
    char buf[4];
    int fd = memfd("abcdef");

    fault_fail(FAULT_PREAD, 2, 2, -EIO);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), 1);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), 1);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), -EIO);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), -EIO);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), 1);
    cr_assert_eq(fault_calls(FAULT_PREAD), 5);
    /* relative to now, not to the start */
    fault_fail(FAULT_PREAD, 1, FAULT_ALWAYS, -ENOMEM);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), 1);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), -ENOMEM);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), -ENOMEM);
    cr_assert_eq(fault_os.pwrite(fd, "x", 1, 0), 1);
    fault_heal(FAULT_PWRITE);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), -ENOMEM);
    fault_heal(FAULT_PREAD);
    cr_assert_eq(fault_os.pread(fd, buf, 1, 0), 1);
    fault_os.close(fd);
}

Test(fault, oldest_rule_decides)
{
    fault_fail(FAULT_EVENTFD, 0, 1, -EMFILE);
    fault_fail(FAULT_EVENTFD, 0, 2, -ENFILE);
    cr_assert_eq(fault_os.eventfd(0, 0), -EMFILE);
    cr_assert_eq(fault_os.eventfd(0, 0), -ENFILE);
    cr_assert_eq(fault_os.eventfd(0, 0), -ENFILE);
    fault_clear();
    cr_assert_eq(fault_calls(FAULT_EVENTFD), 0);
    cr_assert_geq(fault_os.eventfd(0, EFD_CLOEXEC), 0);
}

Test(fault, fails_by_argument)
{
    int fd = memfd("abcdef");

    fault_fail_when(FAULT_FCNTL, F_ADD_SEALS, 0, 1, -EBUSY);
    cr_assert_geq(fault_os.fcntl(fd, F_GETFL, 0), 0);
    cr_assert_eq(fault_os.fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), -EBUSY);
    cr_assert_eq(fault_os.fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    fault_fail_when(FAULT_OPEN, O_DIRECT, 1, 1, -EINVAL);
    cr_assert_eq(fault_os.open("/nonexistent", O_RDONLY, 0), -ENOENT);
    cr_assert_eq(fault_os.open("/nonexistent", O_RDONLY | O_DIRECT, 0), -ENOENT);
    cr_assert_eq(fault_os.open("/nonexistent", O_RDONLY | O_DIRECT | O_CLOEXEC, 0), -EINVAL);
    cr_assert_eq(fault_last(FAULT_OPEN).argument & O_DIRECT, (unsigned long)O_DIRECT);
    fault_os.close(fd);
}

Test(fault, every_call_can_fail)
{
    int fds[2];
    struct os_fs fs;
    struct os_stat file;
    struct os_dio dio;
    uint64_t limit;
    pthread_t thread;
    void *map = NULL;
    char path[] = "/tmp/spillway-test-XXXXXX", buf[4];
    unsigned kind;

    for (kind = 0; kind < FAULT_KINDS; kind++)
        fault_fail((enum fault)kind, 0, FAULT_ALWAYS, -EXDEV);
    cr_assert_eq(fault_os.open("/", O_RDONLY, 0), -EXDEV);
    cr_assert_eq(fault_os.mkostemp(path, 0), -EXDEV);
    cr_assert_eq(fault_os.unlink(path), -EXDEV);
    cr_assert_eq(fault_os.close(-1), -EXDEV);
    cr_assert_eq(fault_os.read(0, buf, 1), -EXDEV);
    cr_assert_eq(fault_os.write(1, buf, 1), -EXDEV);
    cr_assert_eq(fault_os.pread(0, buf, 1, 0), -EXDEV);
    cr_assert_eq(fault_os.pwrite(1, buf, 1, 0), -EXDEV);
    cr_assert_eq(fault_os.fallocate(0, 0, 0, 1), -EXDEV);
    cr_assert_eq(fault_os.ftruncate(0, 1), -EXDEV);
    cr_assert_eq(fault_os.fcntl(0, F_GETFL, 0), -EXDEV);
    cr_assert_eq(fault_os.fstat(0, &file), -EXDEV);
    cr_assert_eq(fault_os.fstatfs(0, &fs), -EXDEV);
    cr_assert_eq(fault_os.dio_align(0, &dio), -EXDEV);
    cr_assert_eq(fault_os.fadvise(0, 0, 1, POSIX_FADV_WILLNEED), -EXDEV);
    cr_assert_eq(fault_os.memfd_create("x", 0), -EXDEV);
    cr_assert_eq(fault_os.map(4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &map), -EXDEV);
    cr_assert_eq(fault_os.unmap(map, 4096), -EXDEV);
    cr_assert_eq(fault_os.advise(map, 4096, MADV_WILLNEED), -EXDEV);
    cr_assert_eq(fault_os.lock(map, 4096, 0), -EXDEV);
    cr_assert_eq(fault_os.unlock(map, 4096), -EXDEV);
    cr_assert_eq(fault_os.set_policy(map, 4096, 0, NULL, 0, 0), -EXDEV);
    cr_assert_eq(fault_os.where(0, NULL, NULL), -EXDEV);
    cr_assert_eq(fault_os.limit(RLIMIT_NOFILE, &limit), -EXDEV);
    cr_assert_eq(fault_os.eventfd(0, 0), -EXDEV);
    cr_assert_eq(fault_os.pipe(fds, 0), -EXDEV);
    cr_assert_eq(fault_os.connect("/"), -EXDEV);
    cr_assert_eq(fault_os.send(-1, buf, 1), -EXDEV);
    cr_assert_eq(fault_os.poll(NULL, 0, 0), -EXDEV);
    cr_assert_eq(fault_os.thread(&thread, NULL, NULL), -EXDEV);
    cr_assert_eq(fault_os.ring_allowed(), -EXDEV);
    cr_assert_eq(fault_os.ring_result('r', 5), -EXDEV);
    cr_assert_eq(fault_os.ring_result('w', 5), -EXDEV);
    cr_assert_eq(fault_os.ring_result('h', 5), -EXDEV);
    for (kind = 0; kind < FAULT_KINDS; kind++)
        cr_assert_eq(fault_calls((enum fault)kind), 1, "kind %u", kind);
    cr_assert_eq(fault_open_fds(), 0);
    cr_assert_eq(fault_mapped_bytes(), 0);
}

Test(fault, short_counts_and_wrong_bytes)
{
    char buf[8] = {0};
    int fd = memfd("abcdefgh");

    fault_short(FAULT_PREAD, 0, 1, 3);
    fault_short(FAULT_PREAD, 1, 1, 0);
    cr_assert_eq(fault_os.pread(fd, buf, 8, 0), 3);
    cr_assert_eq(fault_os.pread(fd, buf, 8, 0), 0);
    fault_corrupt(FAULT_PREAD, 0, 1);
    cr_assert_eq(fault_os.pread(fd, buf, 8, 0), 8);
    cr_assert_neq(memcmp(buf, "abcdefgh", 8), 0);
    cr_assert_eq(fault_os.pread(fd, buf, 8, 0), 8);
    cr_assert_eq(memcmp(buf, "abcdefgh", 8), 0);
    fault_short(FAULT_PWRITE, 0, 1, 2);
    fault_short(FAULT_PWRITE, 0, 1, 0);
    cr_assert_eq(fault_os.pwrite(fd, "xxxx", 4, 0), 2);
    cr_assert_eq(fault_os.pwrite(fd, "xxxx", 4, 0), 0);
    fault_short(FAULT_READ, 0, 1, 1);
    fault_short(FAULT_WRITE, 0, 1, 1);
    cr_assert_eq(fault_os.read(fd, buf, 4), 1);
    cr_assert_eq(fault_os.write(fd, "yyyy", 4), 1);
    fault_short(FAULT_RING_WRITE, 0, 1, 512);
    cr_assert_eq(fault_os.ring_result('r', 4096), 4096);
    cr_assert_eq(fault_os.ring_result('w', 4096), 512);
    fault_os.close(fd);
}

Test(fault, files)
{
    char buf[16];
    int64_t before = fault_open_fds();

    fault_file("/proc/made/up", "hello\n");
    fault_file("/etc/passwd", NULL);
    fault_path_fail("/sys/", -EACCES);
    cr_assert_eq(os_read_file(&fault_os, "/proc/made/up", buf, sizeof(buf)), 6);
    cr_assert_str_eq(buf, "hello\n");
    cr_assert_eq(os_read_file(&fault_os, "/proc/made/up", buf, sizeof(buf)), 6);
    cr_assert_eq(os_read_file(&fault_os, "/etc/passwd", buf, sizeof(buf)), -ENOENT);
    cr_assert_eq(os_read_file(&fault_os, "/sys/kernel", buf, sizeof(buf)), -EACCES);
    fault_file("/proc/made/up", "new");
    cr_assert_eq(os_read_file(&fault_os, "/proc/made/up", buf, sizeof(buf)), 3);
    cr_assert_str_eq(buf, "new");
    cr_assert_eq(fault_open_fds(), before);
    fault_clear();
    cr_assert_eq(os_read_file(&fault_os, "/proc/made/up", buf, sizeof(buf)), -ENOENT);
}

Test(fault, values)
{
    struct os_fs fs = {.type = TMPFS_MAGIC, .free_bytes = 5, .total_bytes = 9}, seen_fs;
    struct os_dio dio = {.memory_align = 4, .offset_align = 4096}, seen_dio;
    void *pages[2] = {NULL, NULL};
    int nodes[2] = {-1, -1};
    uint64_t soft = 0;
    int fd = memfd("x");

    fault_fs(&fs);
    cr_assert_eq(fault_os.fstatfs(fd, &seen_fs), 0);
    cr_assert_eq(memcmp(&fs, &seen_fs, sizeof(fs)), 0);
    fault_fs(NULL);
    cr_assert_eq(fault_os.fstatfs(fd, &seen_fs), 0);
    cr_assert_neq(memcmp(&fs, &seen_fs, sizeof(fs)), 0);
    fault_dio(&dio);
    cr_assert_eq(fault_os.dio_align(fd, &seen_dio), 0);
    cr_assert_eq(seen_dio.offset_align, 4096);
    fault_limit(RLIMIT_MEMLOCK, 17);
    cr_assert_eq(fault_os.limit(RLIMIT_MEMLOCK, &soft), 0);
    cr_assert_eq(soft, 17);
    fault_limit(RLIMIT_MEMLOCK, UINT64_MAX);
    cr_assert_eq(fault_os.limit(RLIMIT_MEMLOCK, &soft), 0);
    cr_assert_eq(soft, UINT64_MAX);
    fault_node(3);
    cr_assert_eq(fault_os.where(2, pages, nodes), 0);
    cr_assert_eq(nodes[1], 3);
    fault_os.close(fd);
}

Test(fault, clock)
{
    uint64_t real = fault_os.clock_ns();

    fault_clock_set(5);
    cr_assert_eq(fault_os.clock_ns(), 5);
    fault_clock_advance(7);
    cr_assert_eq(fault_os.clock_ns(), 12);
    fault_clock_real();
    cr_assert_geq(fault_os.clock_ns(), real);
}

static void bump(void *context)
{
    ++*(int *)context;
}

Test(fault, hooks_and_arguments)
{
    int seen = 0, fd = memfd("abc");
    char buf[2];
    struct fault_args args;

    fault_hook(FAULT_PREAD, bump, &seen);
    cr_assert_eq(fault_os.pread(fd, buf, 2, 1), 2);
    cr_assert_eq(seen, 1);
    args = fault_last(FAULT_PREAD);
    cr_assert_eq(args.fd, fd);
    cr_assert_eq(args.len, 2);
    cr_assert_eq(args.offset, 1);
    cr_assert_eq(args.start == buf, 1);
    fault_hook(FAULT_PREAD, NULL, NULL);
    cr_assert_eq(fault_os.pread(fd, buf, 2, 1), 2);
    cr_assert_eq(seen, 1);
    fault_os.close(fd);
}

Test(fault, counts_what_is_open)
{
    int64_t fds = fault_open_fds(), mapped = fault_mapped_bytes();
    void *map;
    int fd = memfd("abc"), other;

    other = fault_os.fcntl(fd, F_DUPFD_CLOEXEC, 0);
    cr_assert_geq(other, 0);
    cr_assert_eq(fault_open_fds(), fds + 2);
    cr_assert_eq(fault_os.map(5000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &map), 0);
    cr_assert_eq(fault_mapped_bytes(), mapped + 8192);
    cr_assert_eq(fault_os.unmap(map, 5000), 0);
    /* a close that reports an error has closed */
    fault_fail(FAULT_CLOSE, 0, 1, -EIO);
    cr_assert_eq(fault_os.close(fd), -EIO);
    cr_assert_eq(fault_os.close(fd), -EBADF);
    cr_assert_eq(fault_os.close(other), 0);
    cr_assert_eq(fault_open_fds(), fds);
    cr_assert_eq(fault_mapped_bytes(), mapped);
}

Test(fault, allocator)
{
    const spw_allocator *a = &fault_allocator;
    void *x, *y;

    fault_alloc_after(2);
    x = a->acquire(a->context, 100);
    cr_assert_not_null(x);
    cr_assert_eq((uintptr_t)x % 16, 0);
    cr_assert_null(a->acquire(a->context, 100));
    y = a->acquire(a->context, 50);
    cr_assert_not_null(y);
    cr_assert_eq(fault_alloc_live(), 2);
    cr_assert_eq(fault_alloc_live_bytes(), 150);
    a->release(a->context, x, 100);
    fault_alloc_from(1);
    cr_assert_null(a->acquire(a->context, 1));
    cr_assert_null(a->acquire(a->context, 1));
    fault_alloc_from(0);
    a->release(a->context, y, 50);
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_alloc_live_bytes(), 0);
    cr_assert_eq(fault_alloc_calls(), 5);
}

Test(fault, allocator_catches_a_wrong_size)
{
    void *memory = fault_allocator.acquire(NULL, 100);
    int status;
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);

        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(null, STDERR_FILENO);
        fault_allocator.release(NULL, memory, 99);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    fault_allocator.release(NULL, memory, 100);
}
