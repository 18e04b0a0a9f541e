/* SPDX-License-Identifier: MIT */
/* The real system behind the seam, and what is built from it. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/alloc.h"
#include "../lib/os.h"
#include "fault.h"
#include "harness.h"

static const char *scratch_dir(void)
{
    const char *dir = getenv("TMPDIR");

    return dir != NULL ? dir : "/var/tmp";
}

Test(os, poll_waits_for_a_time_or_a_descriptor)
{
    int event_fd = os_linux.eventfd(0, EFD_CLOEXEC);
    struct pollfd fds[2] = {{.fd = event_fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    uint64_t from_ns = os_linux.clock_ns();

    cr_assert_eq(os_linux.poll(fds, 2, 0), 0);
    cr_assert_eq(os_linux.poll(fds, 2, 2000000), 0);
    cr_assert_geq(os_linux.clock_ns() - from_ns, 2000000);
    cr_assert_eq(os_linux.write(event_fd, &(uint64_t){1}, 8), 8);
    cr_assert_eq(os_linux.poll(fds, 2, UINT64_MAX), 1);
    cr_assert_eq(fds[0].revents, POLLIN);
    if (!getenv("SPILLWAY_TEST_UNDER")) /* valgrind reports the address that is to be refused */
        cr_assert_eq(os_linux.poll(NULL, 1, 0), -EFAULT);
    os_close(&os_linux, event_fd);
}

Test(os, files)
{
    char path[4096], buf[8] = {0};
    struct os_fs fs;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/spillway-os-XXXXXX", scratch_dir());
    fd = os_linux.mkostemp(path, O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(os_linux.unlink(path), 0);
    cr_assert_eq(os_linux.unlink(path), -ENOENT);
    cr_assert_eq(os_linux.open(path, O_RDONLY, 0), -ENOENT);
    cr_assert_eq(os_linux.write(fd, "abcd", 4), 4);
    cr_assert_eq(os_linux.pwrite(fd, "xy", 2, 2), 2);
    cr_assert_eq(os_linux.read(fd, buf, 4), 0);
    cr_assert_eq(os_linux.pread(fd, buf, 8, 0), 4);
    cr_assert_str_eq(buf, "abxy");
    cr_assert_eq(os_linux.pread(fd, buf, 8, UINT64_MAX), -EINVAL);
    cr_assert_eq(os_linux.ftruncate(fd, 1), 0);
    cr_assert_eq(os_linux.pread(fd, buf, 8, 0), 1);
    cr_assert_eq(os_linux.fadvise(fd, 0, 1, POSIX_FADV_WILLNEED), 0);
    cr_assert_eq(os_linux.fadvise(fd, 0, 1, 999), -EINVAL);
    cr_assert_eq(os_linux.fallocate(fd, 0, 0, 0), -EINVAL);
    cr_assert_eq(os_linux.fcntl(fd, F_GETFD, 0), FD_CLOEXEC);
    cr_assert_eq(os_linux.fstatfs(fd, &fs), 0);
    cr_assert_gt(fs.total_bytes, 0);
    cr_assert_leq(fs.free_bytes, fs.total_bytes);
    cr_assert_eq(os_linux.close(fd), 0);
    cr_assert_eq(os_linux.fstatfs(fd, &fs), -EBADF);
    cr_assert_eq(os_linux.read(fd, buf, 1), -EBADF);
    cr_assert_eq(os_linux.write(fd, buf, 1), -EBADF);
}

Test(os, dio_align)
{
    struct os_dio dio = {7, 7};
    int fd = os_linux.open(scratch_dir(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

    cr_assert_eq(os_linux.dio_align(-1, &dio), -EBADF);
    cr_assert_eq(dio.memory_align, 0);
    if (fd < 0)
        test_skip("no O_TMPFILE in %s", scratch_dir());
    dio.memory_align = 7;
    cr_assert_eq(os_linux.dio_align(fd, &dio), 0);
    /* none, or powers of two */
    cr_assert_eq(dio.memory_align & (dio.memory_align - 1), 0);
    cr_assert_eq(dio.offset_align & (dio.offset_align - 1), 0);
    cr_assert_eq(os_linux.close(fd), 0);
}

Test(os, memory)
{
    struct os_fs fs;
    void *map = NULL, *pages[1];
    int node = -1000, rc, fd = os_linux.memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    cr_assert_geq(fd, 0);
    cr_assert_eq(os_linux.memfd_create("test", 0x40000000u), -EINVAL);
    cr_assert_eq(os_linux.ftruncate(fd, 8192), 0);
    cr_assert_eq(os_linux.fstatfs(fd, &fs), 0);
    cr_assert_eq(fs.type, TMPFS_MAGIC);
    cr_assert_eq(os_linux.map(8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &map), 0);
    memset(map, 1, 8192);
    cr_assert_eq(os_linux.advise(map, 8192, MADV_DONTFORK), 0);
    cr_assert_eq(os_linux.advise(map, 8192, 9999), -EINVAL);
    cr_assert_eq(os_linux.fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -EBUSY);
    cr_assert_eq(os_linux.fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
    cr_assert_eq(os_linux.ftruncate(fd, 4096), -EPERM);
    rc = os_linux.lock(map, 8192, 0);
    if (rc == 0)
        cr_assert_eq(os_linux.unlock(map, 8192), 0);
    else
        cr_assert(rc == -ENOMEM || rc == -EPERM || rc == -EAGAIN, "mlock2 gives %d", rc);
    pages[0] = map;
    rc = os_linux.where(1, pages, &node);
    if (rc == 0)
        cr_assert_geq(node, 0);
    else
        cr_assert(rc == -ENOSYS || rc == -EPERM, "move_pages gives %d", rc);
    cr_assert_eq(os_linux.unmap(map, 8192), 0);
    cr_assert_eq(os_linux.unmap(map, 0), -EINVAL);
    cr_assert_eq(os_linux.map(0, PROT_READ, MAP_SHARED, fd, 0, &map), -EINVAL);
    cr_assert_eq(os_linux.close(fd), 0);
}

Test(os, set_policy)
{
    unsigned long mask[16] = {1};
    void *map = NULL;
    int rc;

    cr_assert_eq(
        os_linux.map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &map), 0);
    rc = os_linux.set_policy(map, 4096, 2, mask, 1024, 0);
    if (rc == -ENOSYS || rc == -EPERM)
        test_skip("no mbind here: %d", rc);
    cr_assert_eq(rc, 0);
    cr_assert_eq(os_linux.set_policy(map, 4096, 77, mask, 1024, 0), -EINVAL);
    cr_assert_eq(os_linux.unmap(map, 4096), 0);
}

Test(os, limit)
{
    struct rlimit limit = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
    uint64_t soft = 0;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(os_linux.limit(RLIMIT_NOFILE, &soft), 0);
    cr_assert_eq(soft, limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur);
    cr_assert_eq(os_linux.limit(9999, &soft), -EINVAL);
}

Test(os, clock_moves_forward)
{
    uint64_t before = os_linux.clock_ns();

    cr_assert_gt(before, 0);
    cr_assert_geq(os_linux.clock_ns(), before);
}

Test(os, pipe)
{
    int fds[2];
    char byte = 0;

    cr_assert_eq(os_linux.pipe(fds, O_CLOEXEC), 0);
    cr_assert_eq(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    cr_assert_eq(os_linux.write(fds[1], "x", 1), 1);
    cr_assert_eq(os_linux.read(fds[0], &byte, 1), 1);
    cr_assert_eq(byte, 'x');
    cr_assert_eq(os_linux.close(fds[1]), 0);
    cr_assert_eq(os_linux.read(fds[0], &byte, 1), 0);
    cr_assert_eq(os_linux.close(fds[0]), 0);
    cr_assert_eq(os_linux.pipe(fds, -1), -EINVAL);
}

Test(os, fstat)
{
    struct os_stat st;
    int fd = os_linux.open("/dev/null", O_RDONLY | O_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(os_linux.fstat(fd, &st), 0);
    cr_assert(S_ISCHR(st.mode));
    cr_assert_eq(st.special, (uint64_t)makedev(1, 3));
    cr_assert_eq(os_linux.close(fd), 0);
    cr_assert_eq(os_linux.fstat(fd, &st), -EBADF);
}

Test(os, connect_and_send)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[sizeof(address.sun_path) + 1], byte = 0;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, peer;

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/spillway-os-%d.socket",
                   scratch_dir(), (int)getpid());
    if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0)
        test_skip("no socket in %s", scratch_dir());
    cr_assert_eq(os_linux.connect(address.sun_path), -ECONNREFUSED);
    cr_assert_eq(listen(listener, 1), 0);
    fd = os_linux.connect(address.sun_path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(os_linux.unlink(address.sun_path), 0);
    cr_assert_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_eq(os_linux.read(fd, &byte, 1), -EAGAIN);
    peer = accept(listener, NULL, NULL);
    cr_assert_geq(peer, 0);
    cr_assert_eq(os_linux.send(fd, "x", 1), 1);
    cr_assert_eq(os_linux.read(peer, &byte, 1), 1);
    cr_assert_eq(os_linux.close(peer), 0);
    cr_assert_eq(os_linux.send(fd, "x", 1), -EPIPE); /* and no signal */
    cr_assert_eq(os_linux.close(fd), 0);
    cr_assert_eq(os_linux.close(listener), 0);
    cr_assert_eq(os_linux.connect(address.sun_path), -ENOENT);
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    cr_assert_eq(os_linux.connect(path), -ENAMETOOLONG);
}

Test(os, eventfd)
{
    uint64_t value = 0;
    int fd = os_linux.eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK);

    cr_assert_geq(fd, 0);
    cr_assert_eq(os_linux.read(fd, &value, sizeof(value)), 8);
    cr_assert_eq(value, 3);
    cr_assert_eq(os_linux.read(fd, &value, sizeof(value)), -EAGAIN);
    cr_assert_eq(os_linux.close(fd), 0);
}

static void *blocked_signals(void *argument)
{
    (void)pthread_sigmask(SIG_BLOCK, NULL, argument);
    return NULL;
}

Test(os, threads_take_no_signals)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGALRM, SIGCHLD};
    sigset_t before, inside, after;
    pthread_t thread;
    size_t i;

    (void)sigemptyset(&inside);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &before);
    cr_assert_eq(os_linux.thread(&thread, blocked_signals, &inside), 0);
    (void)pthread_join(thread, NULL);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        cr_assert_eq(sigismember(&inside, numbers[i]), 1, "signal %d", numbers[i]);
        cr_assert_eq(sigismember(&after, numbers[i]), sigismember(&before, numbers[i]), "signal %d",
                     numbers[i]);
    }
}

enum { LOCAL_BYTES = 700 * 1024, FRAME_BYTES = 200 * 1024 };

/* More than the library's threads have for themselves. */
static _Thread_local unsigned char local[LOCAL_BYTES];

static void *fill_stack(void *stack_bytes)
{
    volatile unsigned char frame[FRAME_BYTES];
    pthread_attr_t attributes;
    unsigned sum = 0;
    size_t i;

    for (i = 0; i < FRAME_BYTES; i += 512)
        sum += frame[i] = 1;
    for (i = 0; i < LOCAL_BYTES; i += 512)
        sum += ++local[i];
    if (sum != FRAME_BYTES / 512 + LOCAL_BYTES / 512 ||
        pthread_getattr_np(pthread_self(), &attributes) != 0)
        return NULL;
    (void)pthread_attr_getstacksize(&attributes, stack_bytes);
    (void)pthread_attr_destroy(&attributes);
    return NULL;
}

/* RLIMIT_AS counts a stack in full, so it is small; but it holds the program's locals as well. */
Test(os, threads_have_small_stacks)
{
    size_t stack_bytes = 0;
    pthread_t thread;

    cr_assert_eq(os_linux.thread(&thread, fill_stack, &stack_bytes), 0);
    (void)pthread_join(thread, NULL);
    cr_assert_geq(stack_bytes, LOCAL_BYTES + FRAME_BYTES);
    cr_assert_leq(stack_bytes, 4 << 20);
}

Test(os, read_file)
{
    char buf[8];

    fault_file("/f", "1234567");
    fault_file("/g", "12345678");
    fault_file("/e", "");
    cr_assert_eq(os_read_file(&fault_os, "/f", buf, sizeof(buf)), 7);
    cr_assert_str_eq(buf, "1234567");
    cr_assert_eq(os_read_file(&fault_os, "/g", buf, sizeof(buf)), -EFBIG);
    cr_assert_eq(os_read_file(&fault_os, "/e", buf, sizeof(buf)), 0);
    cr_assert_str_eq(buf, "");
    cr_assert_eq(os_read_file(&fault_os, "/e", buf, 1), 0);
    cr_assert_eq(os_read_file(&fault_os, "/f", buf, 0), -EINVAL);
    cr_assert_eq(os_read_file(&fault_os, "/nonexistent/file", buf, sizeof(buf)), -ENOENT);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(os, read_file_errors)
{
    char buf[8];

    fault_file("/f", "1234567");
    fault_short(FAULT_READ, 0, 3, 2);
    fault_fail(FAULT_READ, 1, 1, -EINTR);
    cr_assert_eq(os_read_file(&fault_os, "/f", buf, sizeof(buf)), 7);
    cr_assert_str_eq(buf, "1234567");
    fault_heal(FAULT_READ);
    fault_fail(FAULT_READ, 0, 1, -EIO);
    cr_assert_eq(os_read_file(&fault_os, "/f", buf, sizeof(buf)), -EIO);
    /* the read that looks for the end */
    fault_fail(FAULT_READ, 1, 1, -EIO);
    cr_assert_eq(os_read_file(&fault_os, "/f", buf, sizeof(buf)), -EIO);
    fault_heal(FAULT_READ);
    fault_fail(FAULT_OPEN, 0, 1, -EMFILE);
    cr_assert_eq(os_read_file(&fault_os, "/f", buf, sizeof(buf)), -EMFILE);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(os, close_of_nothing)
{
    os_close(&fault_os, -1);
    cr_assert_eq(fault_calls(FAULT_CLOSE), 0);
}

Test(alloc, default_and_own)
{
    const spw_allocator *standard = allocator_or_default(NULL);
    unsigned char *memory = allocator_zeroed(standard, 100);
    int i;

    cr_assert_eq(allocator_or_default(&fault_allocator) == &fault_allocator, 1);
    cr_assert_not_null(memory);
    allocator_release(standard, memory, 100);
    allocator_release(standard, NULL, 100);
    memory = allocator_zeroed(&fault_allocator, 100);
    for (i = 0; i < 100; i++)
        cr_assert_eq(memory[i], 0);
    allocator_release(&fault_allocator, memory, 100);
    allocator_release(&fault_allocator, NULL, 100);
    fault_alloc_from(1);
    cr_assert_null(allocator_acquire(&fault_allocator, 1));
    cr_assert_null(allocator_zeroed(&fault_allocator, 1));
    cr_assert_eq(fault_alloc_live(), 0);
}
