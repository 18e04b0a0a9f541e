/* SPDX-License-Identifier: MIT */
#include "slow.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "child.h"

/* When a direction has done what it was given so far. */
struct direction {
    pthread_mutex_t lock;
    uint64_t free_ns;
};

static struct {
    struct os os;
    double rate; /* bytes a second */
    struct direction writes, reads;
} slow = {.writes.lock = PTHREAD_MUTEX_INITIALIZER, .reads.lock = PTHREAD_MUTEX_INITIALIZER};

/* Sleeps until the device would have moved this too, one request after another. */
static ssize_t wait_for(struct direction *direction, uint64_t start_ns, ssize_t moved)
{
    if (moved <= 0)
        return moved;
    pthread_mutex_lock(&direction->lock);
    if (direction->free_ns < start_ns)
        direction->free_ns = start_ns;
    direction->free_ns += (uint64_t)((double)moved / slow.rate * 1e9);
    uint64_t due_ns = direction->free_ns;
    pthread_mutex_unlock(&direction->lock);
    struct timespec due = {(time_t)(due_ns / 1000000000), (long)(due_ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
    return moved;
}

static ssize_t slow_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
    uint64_t start_ns = now_ns();

    return wait_for(&slow.writes, start_ns, os_linux.pwrite(fd, buf, len, offset));
}

static ssize_t slow_pread(int fd, void *buf, size_t len, uint64_t offset)
{
    uint64_t start_ns = now_ns();

    return wait_for(&slow.reads, start_ns, os_linux.pread(fd, buf, len, offset));
}

const struct os *slow_os(double rate)
{
    slow.os = os_linux;
    slow.os.pwrite = slow_pwrite;
    slow.os.pread = slow_pread;
    slow.rate = rate;
    return &slow.os;
}
