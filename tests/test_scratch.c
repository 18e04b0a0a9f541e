/* SPDX-License-Identifier: MIT */
/* One scratch directory: what is opened, what is refused, how it grows. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../pool/scratch.h"
#include "dirs.h"
#include "fault.h"
#include "harness.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)

static char dir[DIRS_PATH];
static char why[SCRATCH_WHY];
static struct scratch scratch;

static void begin(void)
{
    if (!dirs_make(dir))
        test_skip("no directory on a disk (SPILLWAY_TEST_DIR)");
}

/* Nothing is left: no file, no descriptor, no map. */
static void end(void)
{
    cr_assert(dirs_remove(dir), "something is left in %s", dir);
    cr_assert_eq(fault_open_fds(), 0);
    cr_assert_eq(fault_mapped_bytes(), 0);
}

static void open_ok(void)
{
    int rc = scratch_open(&fault_os, dir, &scratch, why);

    cr_assert_eq(rc, 0, "%s", why);
}

static void refused(const char *path, int err, const char *word)
{
    int rc = scratch_open(&fault_os, path, &scratch, why);

    cr_assert_eq(rc, err, "%d: %s", rc, why);
    cr_assert_not_null(strstr(why, word), "%s", why);
    cr_assert_eq(scratch.fd, -1);
    cr_assert_eq(fault_open_fds(), 0);
}

static struct stat file_stat(void)
{
    struct stat st;

    cr_assert_eq(fstat(scratch.fd, &st), 0);
    return st;
}

static bool is_direct(void)
{
    return (fcntl(scratch.fd, F_GETFL) & O_DIRECT) != 0;
}

/* What must hold for every scratch file, however it was opened. */
static void check_unreachable(void)
{
    struct stat st = file_stat();
    char from[64], to[DIRS_PATH + 8];

    cr_assert_eq(st.st_nlink, 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(st.st_size, 0);
    cr_assert(S_ISREG(st.st_mode));
    cr_assert((fcntl(scratch.fd, F_GETFD) & FD_CLOEXEC) != 0);
    cr_assert_eq(fcntl(scratch.fd, F_GETFL) & O_ACCMODE, O_RDWR);
    cr_assert(dirs_empty(dir));
    (void)snprintf(from, sizeof(from), "/proc/self/fd/%d", scratch.fd);
    (void)snprintf(to, sizeof(to), "%s/name", dir);
    cr_assert_lt(linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW), 0);
    cr_assert_lt(linkat(scratch.fd, "", AT_FDCWD, to, AT_EMPTY_PATH), 0);
}

Test(scratch, unnamed_and_unreachable)
{
    begin();
    (void)umask(0);
    open_ok();
    check_unreachable();
    cr_assert_eq(fault_calls(FAULT_MKOSTEMP), 0);
    cr_assert_eq(scratch.direct, is_direct());
    cr_assert_eq(scratch.align, scratch.direct ? 4096 : 1);
    cr_assert_gt(scratch.fs.total_bytes, 0);
    cr_assert_neq(scratch.mount, 0);
    scratch_close(&scratch);
    end();
}

Test(scratch, without_o_tmpfile)
{
    static const int errors[] = {-EOPNOTSUPP, -EISDIR, -ENOENT, -EINVAL, -ENOSYS};

    begin();
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        fault_clear();
        fault_fail_when(FAULT_OPEN, O_TMPFILE, 0, FAULT_ALWAYS, errors[i]);
        fault_fail(FAULT_MKOSTEMP, 0, 1, -EINTR);
        fault_fail(FAULT_UNLINK, 0, 1, -EINTR);
        open_ok();
        check_unreachable();
        cr_assert_eq(fault_calls(FAULT_MKOSTEMP), 2);
        cr_assert(scratch.direct && is_direct());
        scratch_close(&scratch);
    }
    end();
}

Test(scratch, without_o_tmpfile_and_direct)
{
    begin();
    fault_fail_when(FAULT_OPEN, O_TMPFILE, 0, FAULT_ALWAYS, -EOPNOTSUPP);
    fault_fail_when(FAULT_FCNTL, F_SETFL, 0, 1, -EINVAL);
    open_ok();
    check_unreachable();
    cr_assert_not(scratch.direct);
    cr_assert_not(is_direct());
    cr_assert_eq(scratch.align, 1);
    scratch_close(&scratch);
    end();
}

Test(scratch, name_that_stays_is_refused)
{
    char command[DIRS_PATH + 32];

    begin();
    fault_fail_when(FAULT_OPEN, O_TMPFILE, 0, FAULT_ALWAYS, -EOPNOTSUPP);
    fault_fail(FAULT_UNLINK, 0, 1, -EPERM);
    refused(dir, -EPERM, "may not be written");
    (void)snprintf(command, sizeof(command), "rm -f '%s'/.spillway-*", dir);
    cr_assert_eq(system(command), 0);
    end();
}

Test(scratch, interrupted_open)
{
    begin();
    fault_fail(FAULT_OPEN, 0, 3, -EINTR);
    open_ok();
    check_unreachable();
    scratch_close(&scratch);
    end();
}

/* --- direct I/O --------------------------------------------------------------------------------
 */

Test(scratch, direct_refused_at_open)
{
    begin();
    fault_fail_when(FAULT_OPEN, O_DIRECT | O_TMPFILE, 0, FAULT_ALWAYS, -EINVAL);
    open_ok();
    check_unreachable();
    cr_assert_not(scratch.direct);
    cr_assert_not(is_direct());
    cr_assert_eq(scratch.align, 1);
    cr_assert_eq(fault_calls(FAULT_MKOSTEMP), 0);
    cr_assert_eq(fault_calls(FAULT_FADVISE), 1);
    /* Buffered I/O takes anything. */
    cr_assert_eq(scratch_grow(&scratch, 0, 64 * KIB), 0);
    cr_assert_eq(pwrite(scratch.fd, "abc", 3, 5), 3);
    scratch_close(&scratch);
    end();
}

Test(scratch, alignment_from_the_kernel)
{
    static const struct {
        struct os_dio dio;
        uint32_t align;
    } cases[] = {
        {{4, 512}, 4096},        {{512, 512}, 4096},    {{4096, 4096}, 4096},
        {{512, 16384}, 16384},   {{32768, 512}, 32768}, {{65536, 65536}, 65536},
        {{512, 1024 * 1024}, 1},                   /* more than extents are aligned to */
        {{3000, 512}, 4096},     {{512, 5000}, 1}, /* no power of two */
    };

    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t align = cases[i].align;

        if (cases[i].dio.memory_align == 3000)
            align = 1;
        fault_clear();
        fault_dio(&cases[i].dio);
        open_ok();
        cr_assert_eq(scratch.align, align, "case %zu: %u", i, scratch.align);
        cr_assert_eq(scratch.direct, align > 1);
        cr_assert_eq(is_direct(), align > 1);
        cr_assert_eq(fault_calls(FAULT_PWRITE), 0, "no probe where the kernel tells");
        scratch_close(&scratch);
    }
    end();
}

static void open_probing(void)
{
    struct os_dio none = {0, 0};

    fault_dio(&none);
    open_ok();
}

Test(scratch, alignment_by_probing)
{
    struct stat st;

    begin();
    open_probing();
    cr_assert(scratch.direct);
    cr_assert_eq(scratch.align, 4096);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 1);
    st = file_stat();
    cr_assert_eq(st.st_size, 0, "the probe leaves nothing behind");
    cr_assert_eq(st.st_blocks, 0);
    scratch_close(&scratch);

    fault_clear();
    fault_fail(FAULT_PWRITE, 0, 1, -EINVAL);
    fault_fail(FAULT_PWRITE, 1, 1, -EINTR);
    open_probing();
    cr_assert_eq(scratch.align, 16384);
    scratch_close(&scratch);

    fault_clear();
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EINVAL);
    open_probing();
    cr_assert_not(scratch.direct);
    cr_assert_eq(scratch.align, 1);
    cr_assert_not(is_direct(), "the flag is off again");
    scratch_close(&scratch);

    fault_clear();
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -ENOSPC);
    open_probing();
    cr_assert(scratch.direct, "full is not the same as refused");
    scratch_close(&scratch);

    fault_clear();
    fault_fail(FAULT_DIO_ALIGN, 0, 1, -ENOSYS);
    open_ok();
    cr_assert_eq(scratch.align, 4096);
    scratch_close(&scratch);
    end();
}

Test(scratch, probe_that_fails)
{
    struct os_dio none = {0, 0};

    begin();
    fault_dio(&none);
    fault_fail(FAULT_PWRITE, 0, 1, -EIO);
    refused(dir, -EIO, "cannot be used");
    fault_clear();
    fault_dio(&none);
    fault_fail(FAULT_MAP, 0, 1, -ENOMEM);
    refused(dir, -ENOMEM, "cannot be used");
    fault_clear();
    fault_dio(&none);
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EINVAL);
    fault_fail_when(FAULT_FCNTL, F_SETFL, 0, 1, -EPERM);
    refused(dir, -EPERM, "may not be written");
    end();
}

/* --- refusals -----------------------------------------------------------------------------------
 */

Test(scratch, tmpfs_is_refused)
{
    struct statfs fs;

    if (statfs("/dev/shm", &fs) < 0 || fs.f_type != 0x01021994 || access("/dev/shm", W_OK) < 0)
        test_skip("/dev/shm is not a tmpfs that we may write");
    refused("/dev/shm", -EMEDIUMTYPE, "memory");
}

Test(scratch, other_memory_is_refused)
{
    static const uint64_t types[] = {0x01021994, 0x858458f6, 0x958458f6};

    begin();
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct os_fs fs = {types[i], MIB, MIB};

        fault_fs(&fs);
        refused(dir, -EMEDIUMTYPE, "memory");
    }
    end();
}

Test(scratch, missing_directory)
{
    refused("/var/tmp/spillway-no-such-directory", -ENOENT, "does not exist");
    refused("", -ENOENT, "does not exist");
    if (geteuid() == 0) /* others may not write there */
        refused("/proc", -EOPNOTSUPP, "takes no files");
    cr_assert_eq(fault_open_fds(), 0);
}

Test(scratch, file_instead_of_a_directory)
{
    refused("/etc/passwd", -ENOTDIR, "not a directory");
}

Test(scratch, path_too_long)
{
    static char path[8192];

    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    refused(path, -ENAMETOOLONG, "cannot be used");
    fault_fail_when(FAULT_OPEN, O_TMPFILE, 0, FAULT_ALWAYS, -EOPNOTSUPP);
    refused(path, -ENAMETOOLONG, "cannot be used");
}

Test(scratch, not_writable)
{
    uid_t before = geteuid();

    begin();
    cr_assert_eq(chmod(dir, 0500), 0);
    if (before == 0)
        cr_assert_eq(seteuid(65534), 0);
    refused(dir, -EACCES, "may not be written");
    if (before == 0)
        cr_assert_eq(seteuid(0), 0);
    end();
}

Test(scratch, refusals_say_what_to_do)
{
    static const struct {
        int err;
        const char *word;
    } cases[] = {
        {-EROFS, "read-only"}, {-ENOSPC, "full"},   {-EDQUOT, "full"},
        {-EMFILE, "NOFILE"},   {-ENFILE, "NOFILE"}, {-EIO, "Input/output error"},
    };

    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fault_clear();
        fault_path_fail(dir, cases[i].err);
        refused(dir, cases[i].err, cases[i].word);
    }
    end();
}

Test(scratch, later_steps_of_open)
{
    begin();
    fault_fail(FAULT_FSTATFS, 0, 1, -EIO);
    refused(dir, -EIO, "cannot be used");
    fault_clear();
    fault_fail(FAULT_FALLOCATE, 0, 1, -EIO);
    refused(dir, -EIO, "cannot be used");
    fault_clear();
    fault_fail(FAULT_FTRUNCATE, 0, 1, -EIO);
    refused(dir, -EIO, "cannot be used");
    fault_clear();
    fault_fail(FAULT_FTRUNCATE, 1, 1, -EROFS);
    refused(dir, -EROFS, "read-only");
    fault_clear();
    fault_fail(FAULT_FALLOCATE, 0, 1, -ENOSPC);
    open_ok(); /* full now, perhaps not for long */
    scratch_close(&scratch);
    end();
}

/* --- growing ------------------------------------------------------------------------------------
 */

static uint64_t allocated(void)
{
    return (uint64_t)file_stat().st_blocks * 512;
}

Test(scratch, grows_and_shrinks)
{
    begin();
    open_ok();
    cr_assert_eq(allocated(), 0);
    cr_assert_eq(scratch_grow(&scratch, 0, 4 * MIB), 0);
    cr_assert_eq(scratch_grow(&scratch, 8 * MIB, 2 * MIB), 0);
    cr_assert_geq(allocated(), 6 * MIB);
    cr_assert_lt(allocated(), 7 * MIB);
    cr_assert_eq(scratch_shrink(&scratch, MIB, 2 * MIB, 10 * MIB), 0);
    cr_assert_lt(allocated(), 5 * MIB);
    cr_assert_eq(file_stat().st_size, (off_t)(10 * MIB));
    cr_assert_eq(fault_calls(FAULT_PWRITE), 0);
    cr_assert_lt(scratch_free_bytes(&scratch), UINT64_MAX);
    scratch_close(&scratch);
    end();
}

Test(scratch, growth_errors)
{
    begin();
    open_ok();
    fault_fail(FAULT_FALLOCATE, 0, SCRATCH_INTERRUPTS_MAX - 1, -EINTR);
    cr_assert_eq(scratch_grow(&scratch, 0, MIB), 0);
    fault_clear();
    fault_fail(FAULT_FALLOCATE, 0, FAULT_ALWAYS, -EINTR);
    cr_assert_eq(scratch_grow(&scratch, MIB, MIB), -EINTR, "not for ever");
    cr_assert_eq(fault_calls(FAULT_FALLOCATE), SCRATCH_INTERRUPTS_MAX);
    cr_assert_eq(scratch_shrink(&scratch, 0, MIB, MIB), -EINTR);
    fault_clear();
    fault_fail(FAULT_FALLOCATE, 0, 1, -ENOSPC);
    cr_assert_eq(scratch_grow(&scratch, MIB, MIB), -ENOSPC);
    fault_fail(FAULT_FALLOCATE, 0, 1, -EIO);
    cr_assert_eq(scratch_grow(&scratch, MIB, MIB), -EIO);
    cr_assert_not(scratch.zero_fill);
    scratch_close(&scratch);
    end();
}

static bool all_zero(uint64_t offset, uint64_t len)
{
    unsigned char *buf = aligned_alloc(4096, len);
    uint64_t i;

    cr_assert_not_null(buf);
    memset(buf, 1, len);
    cr_assert_eq(pread(scratch.fd, buf, len, (off_t)offset), (ssize_t)len);
    for (i = 0; i < len && buf[i] == 0; i++)
        ;
    free(buf);
    return i == len;
}

/* fallocate is missing: zeros are written. */
static void open_zero_fill(int err)
{
    fault_fail_when(FAULT_FALLOCATE, 0, 0, FAULT_ALWAYS, err);
    open_ok();
    cr_assert(scratch.zero_fill);
    cr_assert_eq(file_stat().st_size, 0);
    fault_clear();
}

Test(scratch, zeros_where_fallocate_is_missing)
{
    begin();
    open_zero_fill(-EOPNOTSUPP);
    cr_assert_eq(scratch_grow(&scratch, 64 * KIB, 3 * MIB + 64 * KIB), 0);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 4, "pieces of 1 MiB");
    cr_assert_eq(fault_calls(FAULT_FALLOCATE), 0, "known by now");
    cr_assert(all_zero(64 * KIB, 3 * MIB + 64 * KIB));
    cr_assert_geq(allocated(), 3 * MIB + 64 * KIB);
    scratch_close(&scratch);
    open_zero_fill(-ENOSYS);
    scratch_close(&scratch);
    end();
}

Test(scratch, fallocate_that_stops_working)
{
    begin();
    open_ok();
    cr_assert_not(scratch.zero_fill);
    fault_fail(FAULT_FALLOCATE, 0, 1, -EOPNOTSUPP);
    cr_assert_eq(scratch_grow(&scratch, 0, MIB), 0);
    cr_assert(scratch.zero_fill);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 1);
    scratch_close(&scratch);
    end();
}

Test(scratch, zeros_interrupted_and_short)
{
    begin();
    open_zero_fill(-EOPNOTSUPP);
    fault_fail(FAULT_PWRITE, 0, 2, -EINTR);
    fault_short(FAULT_PWRITE, 2, 1, 5000);
    cr_assert_eq(scratch_grow(&scratch, 0, 2 * MIB), 0);
    cr_assert(all_zero(0, 2 * MIB));
    cr_assert_eq(fault_calls(FAULT_PWRITE), 5);
    cr_assert_eq(fault_last(FAULT_PWRITE).offset, MIB + 4096, "on from an aligned place");
    cr_assert_eq(fault_last(FAULT_PWRITE).len, MIB - 4096);
    fault_clear();
    fault_short(FAULT_PWRITE, 0, 1, 100);
    cr_assert_eq(scratch_grow(&scratch, 2 * MIB, MIB), -ENOSPC, "less than a block is no progress");
    fault_clear();
    fault_short(FAULT_PWRITE, 0, 1, 0);
    cr_assert_eq(scratch_grow(&scratch, 2 * MIB, MIB), -ENOSPC);
    scratch_close(&scratch);
    end();
}

Test(scratch, zeros_that_fail)
{
    begin();
    open_zero_fill(-EOPNOTSUPP);
    fault_fail(FAULT_PWRITE, 2, 1, -ENOSPC);
    cr_assert_eq(scratch_grow(&scratch, 0, 4 * MIB), -ENOSPC);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 3);
    fault_clear();
    fault_fail(FAULT_PWRITE, 0, 1, -EIO);
    cr_assert_eq(scratch_grow(&scratch, 0, 4 * MIB), -EIO);
    fault_clear();
    fault_fail(FAULT_MAP, 0, 1, -ENOMEM);
    cr_assert_eq(scratch_grow(&scratch, 0, 4 * MIB), -ENOMEM);
    cr_assert_eq(fault_mapped_bytes(), 0);
    scratch_close(&scratch);
    end();
}

Test(scratch, shrinks_without_holes)
{
    begin();
    open_ok();
    cr_assert_eq(scratch_grow(&scratch, 0, 4 * MIB), 0);
    fault_fail_when(FAULT_FALLOCATE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1, -EOPNOTSUPP);
    cr_assert_eq(scratch_shrink(&scratch, MIB, MIB, 4 * MIB), -EOPNOTSUPP, "not in the middle");
    cr_assert_geq(allocated(), 4 * MIB);
    fault_fail(FAULT_FTRUNCATE, 0, 1, -EINTR);
    cr_assert_eq(scratch_shrink(&scratch, 3 * MIB, MIB, 3 * MIB), 0, "at the end");
    cr_assert_eq(file_stat().st_size, (off_t)(3 * MIB));
    cr_assert(scratch.no_holes);
    fault_fail(FAULT_FTRUNCATE, 0, 1, -EIO);
    cr_assert_eq(scratch_shrink(&scratch, 2 * MIB, MIB, 2 * MIB), -EIO);
    scratch_close(&scratch);
    end();
}

/* --- limits
 * --------------------------------------------------------------------------------------- */

/* The default action of SIGXFSZ would end this process. */
Test(scratch, file_size_limit_never_kills)
{
    struct rlimit limit = {2 * MIB, 2 * MIB};

    begin();
    (void)signal(SIGXFSZ, SIG_DFL);
    open_ok();
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(scratch_grow(&scratch, 0, 2 * MIB), 0);
    cr_assert_eq(scratch_grow(&scratch, 2 * MIB, 64 * KIB), -EFBIG);
    cr_assert_eq(scratch_grow(&scratch, 0, 3 * MIB), -EFBIG);
    scratch.zero_fill = true;
    cr_assert_eq(scratch_grow(&scratch, 2 * MIB, 64 * KIB), -EFBIG);
    scratch_close(&scratch);
    limit.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    open_probing();
    cr_assert_eq(scratch_grow(&scratch, 0, 64 * KIB), -EFBIG);
    scratch_close(&scratch);
    end();
}

Test(scratch, unknown_limit_is_no_limit)
{
    begin();
    open_ok();
    fault_fail(FAULT_LIMIT, 0, FAULT_ALWAYS, -EINVAL);
    cr_assert_eq(scratch_grow(&scratch, 0, MIB), 0);
    scratch_close(&scratch);
    end();
}

/* --- which directories share space
 * ---------------------------------------------------------------- */

static struct os_fs fs_now;

/* Each look at a file system finds it with 100 MiB less. */
static void free_shrinks(void *context)
{
    (void)context;
    fs_now.free_bytes -= 100 * MIB;
    fault_fs(&fs_now);
}

Test(scratch, same_space)
{
    struct scratch other;

    begin();
    open_ok();
    cr_assert_eq(scratch_open(&fault_os, "/var/tmp", &other, why), 0);
    cr_assert_eq(scratch_same_space(&scratch, &other),
                 scratch.fs.total_bytes == other.fs.total_bytes);
    other.fs = scratch.fs;
    other.mount = scratch.mount;
    cr_assert(scratch_same_space(&scratch, &other), "one mount");
    other.mount = 0;
    cr_assert(scratch_same_space(&scratch, &other), "in doubt yes");
    other.mount = scratch.mount + 1;
    fs_now = scratch.fs;
    fault_fs(&fs_now);
    cr_assert(scratch_same_space(&scratch, &other), "mounted twice");
    fault_hook(FAULT_FSTATFS, free_shrinks, NULL);
    cr_assert_not(scratch_same_space(&scratch, &other), "two disks of one size");
    fault_clear();
    other.fs.total_bytes++;
    cr_assert_not(scratch_same_space(&scratch, &other));
    other.fs = scratch.fs;
    other.fs.type++;
    cr_assert_not(scratch_same_space(&scratch, &other));
    scratch_close(&other);
    scratch_close(&scratch);
    end();
}

Test(scratch, free_space_that_is_not_told)
{
    struct os_fs silent = {1, 0, 0};

    begin();
    open_ok();
    fault_fs(&silent);
    cr_assert_eq(scratch_free_bytes(&scratch), UINT64_MAX);
    fault_clear();
    fault_fail(FAULT_FSTATFS, 0, 1, -EIO);
    cr_assert_eq(scratch_free_bytes(&scratch), UINT64_MAX);
    scratch_close(&scratch);
    end();
}

Test(scratch, no_proc)
{
    begin();
    fault_path_fail("/proc/self/fdinfo/", -ENOENT);
    open_ok();
    cr_assert_eq(scratch.mount, 0);
    scratch_close(&scratch);
    end();
}
