/* SPDX-License-Identifier: MIT */
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "undo.h"

enum {
    UNDO_TRIES = 300,  /* every 100 ms: who is ending may still have pages there */
    TURN_TRIES = 1200, /* every 100 ms */
    HEADER_AT = 1024,  /* of what the kernel wants in the first page */
};

#define ZRAM_CONTROL "/sys/class/zram-control/"

struct swap {
    struct undo *undo;
    char path[PATH_MAX]; /* of the file, or of the device's node */
    bool path_is_ours;
    bool zram;
    int turn_fd;
    char number[16], reset[64]; /* of the zram device, and what resets it */
};

struct reason {
    char *text;
    unsigned bytes;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct reason why, int err,
                                                        const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(why.text, why.bytes, format, args);
    va_end(args);
    if (len >= 0 && (unsigned)len < why.bytes)
        snprintf(why.text + len, why.bytes - (unsigned)len, ": %s", strerror(-err));
    return err;
}

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int err;

    if (fd < 0)
        return -errno;
    err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return err;
}

/* What mkswap writes. */
static int write_header(int fd, uint64_t bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *page = calloc(1, page_bytes);
    uint32_t version_and_last[2] = {1, (uint32_t)(bytes / page_bytes - 1)};
    ssize_t done;

    if (!page)
        return -ENOMEM;
    memcpy(page + HEADER_AT, version_and_last, sizeof version_and_last);
    memcpy(page + page_bytes - 10, "SWAPSPACE2", 10);
    done = pwrite(fd, page, page_bytes, 0);
    free(page);
    if (done != (ssize_t)page_bytes)
        return done < 0 ? -errno : -EIO;
    return fsync(fd) ? -errno : 0;
}

static void zram_undo(const struct swap *swap)
{
    for (int try = 0; try < UNDO_TRIES && access(swap->reset, F_OK) == 0; try++) {
        if (write_text(swap->reset, "1") == 0 &&
            write_text(ZRAM_CONTROL "hot_remove", swap->number) == 0)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

/* Also in a signal handler, or in the guard. */
static void swap_undo(void *context)
{
    const struct swap *swap = context;

    for (int try = 0; try < UNDO_TRIES; try++) {
        /* EINVAL, ENOENT: it is no swap space (any more). */
        if (swapoff(swap->path) == 0 || (errno != ENOMEM && errno != EINTR && errno != EBUSY))
            break;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    if (swap->zram)
        zram_undo(swap);
    if (swap->path_is_ours)
        unlink(swap->path);
}

/* Swap space is the whole machine's, so that two of us would measure each other: one at a time. */
static int take_turn(struct swap *swap, struct reason why)
{
    swap->turn_fd = open("/proc/swaps", O_RDONLY | O_CLOEXEC);
    if (swap->turn_fd < 0) {
        refuse(why, -errno, "/proc/swaps");
        return -EOPNOTSUPP;
    }
    for (int try = 0; flock(swap->turn_fd, LOCK_EX | LOCK_NB); try++) {
        if (try == TURN_TRIES) {
            snprintf(why.text, why.bytes, "another spillbench goes on using swap space");
            return -EOPNOTSUPP;
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return 0;
}

/* NULL with *err set where we may not, or others do. */
static struct swap *swap_new(struct reason why, int *err)
{
    struct swap *swap = NULL;

    *err = -EPERM;
    if (geteuid() != 0) {
        snprintf(why.text, why.bytes, "swap space needs root");
        return NULL;
    }
    swap = calloc(1, sizeof *swap);
    *err = swap ? take_turn(swap, why) : refuse(why, -ENOMEM, "swap space");
    if (*err) {
        swap_close(swap);
        swap = NULL;
    }
    return swap;
}

void swap_close(struct swap *swap)
{
    if (!swap)
        return;
    if (swap->undo)
        undo_now(swap->undo);
    if (swap->turn_fd >= 0)
        close(swap->turn_fd);
    free(swap);
}

/* Before any other that the machine has. */
static int turn_on(const struct swap *swap, struct reason why)
{
    if (swapon(swap->path, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK) == 0)
        return 0;
    refuse(why, -errno, "swapon %s", swap->path);
    return -EOPNOTSUPP; /* not a run that failed: the kernel, user or file system does not do it */
}

/* Fills the allocated file's header and turns it on. */
static int file_on(const struct swap *swap, uint64_t bytes, struct reason why)
{
    int fd = open(swap->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int err;

    if (fd < 0)
        return refuse(why, -errno, "a swap file '%s'", swap->path);
    err = -posix_fallocate(fd, 0, (off_t)bytes);
    if (err)
        refuse(why, err, "allocating %s", swap->path);
    if (!err && (err = write_header(fd, bytes)))
        refuse(why, err, "writing %s", swap->path);
    close(fd);
    return err ? err : turn_on(swap, why);
}

struct swap *swap_open_file(const char *dir, uint64_t bytes, int *err, char *why,
                            unsigned why_bytes)
{
    struct reason reason = {why, why_bytes};
    struct swap *swap = swap_new(reason, err);

    if (!swap)
        return NULL;
    swap->path_is_ours = true;
    snprintf(swap->path, sizeof swap->path, "%s/spillbench-swap-%ld", dir, (long)getpid());
    swap->undo = undo_arm(swap_undo, swap, err);
    if (swap->undo)
        *err = file_on(swap, bytes, reason);
    else
        refuse(reason, *err, "a guard process");
    if (*err) {
        swap_close(swap);
        return NULL;
    }
    return swap;
}

/* The kernel makes a new device when this file is read, and says its number. */
static int zram_add(struct reason why)
{
    char text[16] = "";
    int fd = open(ZRAM_CONTROL "hot_add", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int err = got < 0 ? -errno : 0;

    if (fd >= 0)
        close(fd);
    if (err) {
        refuse(why, err, "a zram device (%shot_add)", ZRAM_CONTROL);
        return -EOPNOTSUPP;
    }
    return atoi(text);
}

static int zram_set(const struct swap *swap, const char *name, uint64_t value, struct reason why)
{
    char path[64], text[32];
    int err;

    snprintf(path, sizeof path, "/sys/block/zram%s/%s", swap->number, name);
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    err = write_text(path, text);
    return err ? refuse(why, err, "%s", path) : 0;
}

/* A node in /dev, or one of our own where nobody makes them. */
static int zram_node(struct swap *swap, const char *dir, struct reason why)
{
    char path[64], text[32] = "";
    unsigned major = 0, minor = 0;
    int fd;

    snprintf(swap->path, sizeof swap->path, "/dev/zram%s", swap->number);
    if (access(swap->path, F_OK) == 0)
        return 0;
    snprintf(path, sizeof path, "/sys/block/zram%s/dev", swap->number);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(why, -errno, "%s", path);
    if (read(fd, text, sizeof text - 1) < 0)
        text[0] = '\0';
    close(fd);
    if (sscanf(text, "%u:%u", &major, &minor) != 2)
        return refuse(why, -EIO, "%s", path);
    snprintf(swap->path, sizeof swap->path, "%s/spillbench-zram-%ld", dir, (long)getpid());
    swap->path_is_ours = true;
    if (mknod(swap->path, S_IFBLK | 0600, makedev(major, minor)))
        return refuse(why, -errno, "a node '%s'", swap->path);
    return 0;
}

static int zram_on(const struct swap *swap, uint64_t bytes, uint64_t memory_bytes,
                   struct reason why)
{
    int err = zram_set(swap, "disksize", bytes, why);
    int fd;

    if (!err)
        err = zram_set(swap, "mem_limit", memory_bytes, why);
    if (err)
        return err;
    fd = open(swap->path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return refuse(why, -errno, "%s", swap->path);
    err = write_header(fd, bytes);
    close(fd);
    if (err)
        return refuse(why, err, "writing %s", swap->path);
    return turn_on(swap, why);
}

struct swap *swap_open_zram(const char *dir, uint64_t bytes, uint64_t memory_bytes, int *err,
                            char *why, unsigned why_bytes)
{
    struct reason reason = {why, why_bytes};
    struct swap *swap = swap_new(reason, err);
    int number = swap ? zram_add(reason) : *err;
    int node_err;

    if (number < 0) {
        *err = number;
        swap_close(swap);
        return NULL;
    }
    swap->zram = true;
    snprintf(swap->number, sizeof swap->number, "%d", number);
    snprintf(swap->reset, sizeof swap->reset, "/sys/block/zram%d/reset", number);
    /* The guard gets to know the node's path, which may be one that only we make. */
    node_err = zram_node(swap, dir, reason);
    swap->undo = undo_arm(swap_undo, swap, err);
    if (!swap->undo)
        refuse(reason, *err, "a guard process");
    else
        *err = node_err ? node_err : zram_on(swap, bytes, memory_bytes, reason);
    if (*err) {
        if (!swap->undo)
            swap_undo(swap);
        swap_close(swap);
        return NULL;
    }
    return swap;
}
