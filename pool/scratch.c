/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* f_type of file systems that keep their data in memory. */
#define FS_TMPFS     UINT64_C(0x01021994)
#define FS_RAMFS     UINT64_C(0x858458f6)
#define FS_HUGETLBFS UINT64_C(0x958458f6)

#define SCRATCH_MODE       0600
#define SCRATCH_NAME       "/.spillway-XXXXXX"
#define PROBE_GROWTH_BYTES UINT64_C(65536)
#define ZERO_PIECE_BYTES   UINT64_C(1048576) /* one write of zeros */
/* Two mounts with the same size whose free space is as close as this are taken for one. */
#define SAME_SPACE_BYTES (UINT64_C(16) << 20)

/* --- opening --------------------------------------------------------------------------------- */

static int open_again(const struct os *os, const char *dir, int flags)
{
    int fd;

    do
        fd = os->open(dir, flags, SCRATCH_MODE);
    while (fd == -EINTR);
    return fd;
}

/* What a kernel or file system without O_TMPFILE may answer; mkostemp will tell a missing
 * directory (ENOENT) apart. */
static bool lacks_tmpfile(int err)
{
    return err == -EOPNOTSUPP || err == -EISDIR || err == -ENOENT || err == -EINVAL ||
           err == -ENOSYS;
}

/* A file that has a name for a moment only. */
static int open_named(const struct os *os, const char *dir)
{
    char path[PATH_MAX + sizeof(SCRATCH_NAME)];
    size_t len = strlen(dir);
    int fd, rc;

    if (len == 0) /* the name alone would go to the root directory */
        return -ENOENT;
    if (len >= PATH_MAX)
        return -ENAMETOOLONG;
    do {
        memcpy(path, dir, len);
        memcpy(path + len, SCRATCH_NAME, sizeof(SCRATCH_NAME));
        fd = os->mkostemp(path, O_CLOEXEC);
    } while (fd == -EINTR);
    if (fd < 0)
        return fd;
    do
        rc = os->unlink(path);
    while (rc == -EINTR);
    if (rc == 0)
        return fd;
    os_close(os, fd);
    return rc;
}

/* Sets *direct to whether the descriptor was opened for direct I/O. */
static int open_unnamed(const struct os *os, const char *dir, bool *direct)
{
    const int flags = O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC;
    int fd;

    *direct = true;
    fd = open_again(os, dir, flags | O_DIRECT);
    if (fd == -EINVAL) { /* one of the two is not known here */
        *direct = false;
        fd = open_again(os, dir, flags);
    }
    if (fd >= 0 || !lacks_tmpfile(fd))
        return fd;
    fd = open_named(os, dir);
    /* With O_DIRECT in mkostemp, a refusal would leave the file behind. */
    *direct = fd >= 0 && os->fcntl(fd, F_SETFL, O_RDWR | O_DIRECT) == 0;
    return fd;
}

/* --- alignment ------------------------------------------------------------------------------- */

/* Growing past RLIMIT_FSIZE raises SIGXFSZ, which ends a process that does not expect it. */
static int check_file_limit(const struct os *os, uint64_t end)
{
    uint64_t soft;

    if (os->limit(RLIMIT_FSIZE, &soft) == 0 && end > soft)
        return -EFBIG;
    return 0;
}

/* The smallest unit that a direct write takes, 0 when it takes none, or -errno. */
static int probe_align(const struct os *os, int fd)
{
    ssize_t n = -EINVAL;
    void *zeros;
    int align, rc;

    if (check_file_limit(os, 2 * SCRATCH_ALIGN_MAX) < 0)
        return SCRATCH_ALIGN_MIN;
    /* Never written to, so that it costs no memory: the kernel's zero page stands in. */
    rc = os->map(SCRATCH_ALIGN_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
                 &zeros);
    if (rc < 0)
        return rc;
    for (align = SCRATCH_ALIGN_MIN; align <= SCRATCH_ALIGN_MAX; align *= 4) {
        do
            n = os->pwrite(fd, zeros, (size_t)align, (uint64_t)align);
        while (n == -EINTR);
        if (n != -EINVAL)
            break;
    }
    (void)os->unmap(zeros, SCRATCH_ALIGN_MAX);
    if (n == -EINVAL || n == -EOPNOTSUPP)
        return 0;
    if (n == -ENOSPC || n == -EDQUOT || n == -EFBIG)
        return SCRATCH_ALIGN_MIN; /* full now, perhaps not for long */
    return n < 0 ? (int)n : align;
}

static int direct_align(const struct os *os, int fd)
{
    struct os_dio dio = {0, 0};
    uint32_t align;

    if (os->dio_align(fd, &dio) < 0 || dio.memory_align == 0 || dio.offset_align == 0)
        return probe_align(os, fd);
    align = dio.memory_align > dio.offset_align ? dio.memory_align : dio.offset_align;
    if (align > SCRATCH_ALIGN_MAX || (align & (align - 1)) != 0)
        return 0;
    return (int)(align > SCRATCH_ALIGN_MIN ? align : SCRATCH_ALIGN_MIN);
}

/* Decides between direct and buffered I/O. */
static int settle_io(struct scratch *scratch, bool direct)
{
    const struct os *os = scratch->os;
    int align = direct ? direct_align(os, scratch->fd) : 0, rc;

    if (align < 0)
        return align;
    scratch->direct = align > 0;
    scratch->align = align > 0 ? (uint32_t)align : 1;
    if (scratch->direct)
        return 0;
    if (direct) {
        rc = os->fcntl(scratch->fd, F_SETFL, O_RDWR);
        if (rc < 0)
            return rc;
    }
    /* Whole runs are read at once and never again: the kernel's own readahead only wastes. */
    (void)os->fadvise(scratch->fd, 0, 0, POSIX_FADV_RANDOM);
    return 0;
}

/* The directory is there, and yet no file can be made in it: /proc, say. */
static bool is_there(const struct os *os, const char *dir)
{
    int fd = open_again(os, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    os_close(os, fd);
    return fd >= 0;
}

/* --- what is wrong, in words ----------------------------------------------------------------- */

static void explain(int err, char why[SCRATCH_WHY])
{
    char text[64];
    const char *said;

    switch (-err) {
    case EMEDIUMTYPE:
        said = "is on a file system that lives in memory (tmpfs), where spilling saves none: "
               "name a directory on a disk";
        break;
    case ENOENT:
        said = "does not exist: create it or name another";
        break;
    case EOPNOTSUPP:
        said = "takes no files (its file system is of a special kind): name a directory on a disk";
        break;
    case ENOTDIR:
        said = "is not a directory: name one";
        break;
    case EACCES:
    case EPERM:
        said = "may not be written by this user: change its owner or mode, or name another";
        break;
    case EROFS:
        said = "is on a read-only file system: name another";
        break;
    case ENOSPC:
    case EDQUOT:
        said = "is on a full file system (space, inodes or quota): free some or name another";
        break;
    case EMFILE:
    case ENFILE:
        said = "could not be opened for lack of descriptors: raise RLIMIT_NOFILE";
        break;
    default:
        (void)snprintf(why, SCRATCH_WHY, "cannot be used (%s): name another",
                       strerror_r(-err, text, sizeof(text)));
        return;
    }
    (void)snprintf(why, SCRATCH_WHY, "%s", said);
}

/* The number of the mount that the descriptor is on, 0 where /proc does not say. */
static uint64_t mount_number(const struct os *os, int fd)
{
    char path[64], text[512];
    const char *at;

    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    if (os_read_file(os, path, text, sizeof(text)) < 0)
        return 0;
    at = strstr(text, "mnt_id:");
    return at != NULL ? strtoull(at + strlen("mnt_id:"), NULL, 10) : 0;
}

static bool lives_in_memory(const struct os_fs *fs)
{
    return fs->type == FS_TMPFS || fs->type == FS_RAMFS || fs->type == FS_HUGETLBFS;
}

/* A first growth, taken back at once: finds out early whether fallocate works. */
static int probe_growth(struct scratch *scratch)
{
    int rc = scratch->os->ftruncate(scratch->fd, 0), cut;

    if (rc < 0)
        return rc;
    rc = scratch_grow(scratch, 0, PROBE_GROWTH_BYTES);
    cut = scratch->os->ftruncate(scratch->fd, 0);
    if (rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG || rc == -EINTR)
        rc = 0; /* full now, perhaps not for long */
    return rc < 0 ? rc : cut;
}

int scratch_open(const struct os *os, const char *dir, struct scratch *out, char why[SCRATCH_WHY])
{
    bool direct;
    int rc;

    memset(out, 0, sizeof(*out));
    out->os = os;
    rc = out->fd = open_unnamed(os, dir, &direct);
    if (rc == -ENOENT && is_there(os, dir))
        rc = -EOPNOTSUPP;
    if (rc < 0)
        goto explain;
    rc = os->fstatfs(out->fd, &out->fs);
    if (rc < 0)
        goto close;
    rc = -EMEDIUMTYPE;
    if (lives_in_memory(&out->fs))
        goto close;
    rc = settle_io(out, direct);
    if (rc < 0)
        goto close;
    rc = probe_growth(out);
    if (rc < 0)
        goto close;
    out->mount = mount_number(os, out->fd);
    return 0;

close:
    os_close(os, out->fd);
explain:
    out->fd = -1;
    explain(rc, why);
    return rc;
}

void scratch_close(struct scratch *scratch)
{
    os_close(scratch->os, scratch->fd);
    scratch->fd = -1;
}

/* --- space ----------------------------------------------------------------------------------- */

uint64_t scratch_free_bytes(const struct scratch *scratch)
{
    struct os_fs fs;

    if (scratch->os->fstatfs(scratch->fd, &fs) < 0 || fs.total_bytes == 0)
        return UINT64_MAX;
    return fs.free_bytes;
}

bool scratch_same_space(const struct scratch *a, const struct scratch *b)
{
    uint64_t free_a, free_b;

    if (a->fs.type != b->fs.type || a->fs.total_bytes != b->fs.total_bytes)
        return false;
    if (a->mount == b->mount || a->mount == 0 || b->mount == 0)
        return true;
    /* One file system may be mounted twice (bind mounts, subvolumes); then free space agrees. */
    free_a = scratch_free_bytes(a);
    free_b = scratch_free_bytes(b);
    return (free_a > free_b ? free_a - free_b : free_b - free_a) <= SAME_SPACE_BYTES;
}

static int fill_zeros(struct scratch *scratch, uint64_t offset, uint64_t len)
{
    const struct os *os = scratch->os;
    void *zeros;
    int rc;

    /* Never written to: costs an address range, no memory. */
    rc = os->map(ZERO_PIECE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
                 &zeros);
    if (rc < 0)
        return rc;
    while (len > 0) {
        uint64_t piece = len < ZERO_PIECE_BYTES ? len : ZERO_PIECE_BYTES;
        ssize_t n = os->pwrite(scratch->fd, zeros, piece, offset);

        if (n == -EINTR)
            continue;
        /* After a short count go on from an aligned place; less than a unit written is no
         * progress, as on a disk that is full. */
        if (n > 0)
            n -= n % (ssize_t)scratch->align;
        if (n <= 0) {
            rc = n < 0 ? (int)n : -ENOSPC;
            break;
        }
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    (void)os->unmap(zeros, ZERO_PIECE_BYTES);
    return rc;
}

int scratch_grow(struct scratch *scratch, uint64_t offset, uint64_t len)
{
    const struct os *os = scratch->os;
    int rc, interrupts = 0;

    rc = check_file_limit(os, offset + len);
    if (rc < 0)
        return rc;
    if (!scratch->zero_fill) {
        do
            rc = os->fallocate(scratch->fd, 0, offset, len);
        while (rc == -EINTR && ++interrupts < SCRATCH_INTERRUPTS_MAX);
        if (rc != -EOPNOTSUPP && rc != -ENOSYS)
            return rc;
        scratch->zero_fill = true;
    }
    return fill_zeros(scratch, offset, len);
}

int scratch_shrink(struct scratch *scratch, uint64_t offset, uint64_t len, uint64_t end)
{
    const struct os *os = scratch->os;
    int rc = -EOPNOTSUPP, interrupts = 0;

    if (!scratch->no_holes) {
        do
            rc =
                os->fallocate(scratch->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
        while (rc == -EINTR && ++interrupts < SCRATCH_INTERRUPTS_MAX);
    }
    if (rc != -EOPNOTSUPP && rc != -ENOSYS)
        return rc;
    scratch->no_holes = true;
    if (offset < end)
        return -EOPNOTSUPP;
    do
        rc = os->ftruncate(scratch->fd, end);
    while (rc == -EINTR && ++interrupts < SCRATCH_INTERRUPTS_MAX);
    return rc;
}
