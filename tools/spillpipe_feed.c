/* SPDX-License-Identifier: MIT */
#include "spillpipe_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "spillpipe_files.h"
#include "spillpipe_pace.h"
#include "spillway/errors.h"

enum {
    READ_BYTES_MAX = 1 << 20,
    READ_BYTES_MIN = 64 << 10, /* less room than this: the next slab */
};

#define ROOM_WAIT_NS UINT64_C(300000000)

/* Without memory: naps that double, for so long in all. */
#define NAP_FIRST_NS       UINT64_C(1000000)
#define NAP_MAX_NS         UINT64_C(300000000)
#define NO_MEMORY_LIMIT_NS UINT64_C(30000000000)

struct feed {
    struct transfer *transfer;
    struct pace pace;
    spw_slab *slab; /* NULL: the next read opens one */
    bool told_full, told_no_memory;
    uint64_t no_memory_ns; /* since when there has been none; 0: there is some */
    uint64_t nap_ns;       /* the next one's length */
};

/*
 * The budget has room, the machine has not. Others give memory back before long, most often this
 * pool itself, so the first naps are short. Returns false when it has gone on for too long.
 */
static bool feed_naps(struct feed *feed)
{
    uint64_t now_ns = meter_now_ns();
    if (feed->no_memory_ns == 0) {
        feed->no_memory_ns = now_ns;
        feed->nap_ns = NAP_FIRST_NS;
    }
    if (now_ns - feed->no_memory_ns >= NO_MEMORY_LIMIT_NS)
        return false;
    struct timespec nap = {.tv_nsec = (long)feed->nap_ns};
    nanosleep(&nap, NULL);
    feed->nap_ns = feed->nap_ns * 2 < NAP_MAX_NS ? feed->nap_ns * 2 : NAP_MAX_NS;
    return true;
}

static void tell_once(struct feed *feed, bool *told, const char *text)
{
    if (!*told)
        console_say(feed->transfer->console, SPILLWAY_LOG_WARN, "%s", text);
    *told = true;
}

/*
 * Whether a call that failed with `err` is to be tried again, after a wait. With
 * every tier full the producer waits for the consumer, however long: that is
 * what keeps memory inside the budget. Where there is room in a tier, and only what the reader has
 * is in the way (-EAGAIN), nothing is wrong.
 */
static bool feed_waits(struct feed *feed, int err)
{
    struct transfer *transfer = feed->transfer;
    bool again = true;
    if (err != -ENOSPC && err != -EAGAIN && err != -ENOMEM && err != -EINTR)
        return false;
    if (err == -ENOSPC)
        tell_once(feed, &feed->told_full, "all tiers are full: input waits for the consumer");
    if (err == -ENOMEM)
        tell_once(feed, &feed->told_no_memory, "no memory: input waits for the consumer");
    meter_enter(&transfer->meter.in, METER_WAITS_INSIDE);
    /* Nothing is added, but the policy looks again: what the last look left alone, or what the
     * reader took back since, may be what stands in the way. */
    spw_writer_extend(transfer->writer, NULL, 0, SPILLWAY_EXTEND_NOWAIT);
    int waited = spw_pool_wait_room(transfer->pool, 0, ROOM_WAIT_NS);
    if (waited == 0 && err == -ENOMEM)
        again = feed_naps(feed);
    meter_enter(&transfer->meter.in, METER_BUSY);
    return again;
}

/* A slab with room for a read of useful size. Returns 0 or -errno. */
static int feed_slab(struct feed *feed)
{
    int err;
    if (feed->slab) {
        size_t quarter = spw_slab_capacity(feed->slab) / 4;
        size_t least = quarter < READ_BYTES_MIN ? quarter : READ_BYTES_MIN;
        if (spw_slab_room(feed->slab) >= (least ? least : 1))
            return 0;
        spw_slab_close(feed->slab);
        feed->slab = NULL;
    }
    meter_enter(&feed->transfer->meter.in, METER_WAITS_INSIDE);
    do {
        err = spw_pool_slab_open(feed->transfer->pool, 0, SPILLWAY_EXTEND_BOUNDED, &feed->slab);
    } while (err && feed_waits(feed, err));
    meter_enter(&feed->transfer->meter.in, METER_BUSY);
    if (err)
        feed->slab = NULL;
    else
        feed->no_memory_ns = 0;
    return err;
}

/* Cuts what was read and hands it to the queue. Returns 0 or -errno. */
static int feed_extend(struct feed *feed, size_t n)
{
    struct transfer *transfer = feed->transfer;
    spw_bytes bytes = SPILLWAY_BYTES_NONE;
    int err = spw_slab_cut(feed->slab, n, &bytes);
    if (err)
        return err;
    meter_add(&transfer->meter.in, n);
    meter_enter(&transfer->meter.in, METER_WAITS_INSIDE);
    do {
        err = spw_writer_extend(transfer->writer, &bytes, 1, SPILLWAY_EXTEND_BOUNDED);
    } while (err && feed_waits(feed, err));
    meter_enter(&transfer->meter.in, METER_BUSY);
    if (err)
        spw_bytes_release(&bytes);
    else
        feed->no_memory_ns = 0;
    return err;
}

/* Reads once, as much as there is up to the slab's room. Returns the count, 0 at the end, -errno.
 */
static ssize_t feed_read(struct feed *feed, int fd)
{
    size_t room = spw_slab_room(feed->slab);
    size_t want = room < READ_BYTES_MAX ? room : READ_BYTES_MAX;
    struct meter_end *in = &feed->transfer->meter.in;
    ssize_t n;
    for (;;) {
        meter_enter(in, METER_WAITS_OUTSIDE);
        n = read(fd, spw_slab_space(feed->slab), want);
        if (n >= 0 || (errno != EINTR && errno != EAGAIN))
            break;
        if (errno == EAGAIN)
            files_wait(fd, POLLIN);
    }
    int err = errno;
    meter_enter(in, METER_BUSY);
    return n < 0 ? -err : n;
}

static void feed_fail(struct feed *feed, const char *path, const char *what, int err)
{
    atomic_store(&feed->transfer->meter.in_failed, true);
    console_say(feed->transfer->console, SPILLWAY_LOG_ERROR, "%s '%s': %s", what, files_name(path),
                strerror(-err));
}

/* An error of the library. The consumer's end tells why when it was the one that left. */
static void feed_fail_queue(struct feed *feed, int err)
{
    if (err == -EPIPE || err == -ECONNRESET)
        return;
    atomic_store(&feed->transfer->meter.in_failed, true);
    console_say(feed->transfer->console, SPILLWAY_LOG_ERROR, "input stops: %s; %s",
                spw_error_text(err),
                err == -ENOMEM ? "raise RLIMIT_AS, or give less to --memory and --memory-tier"
                               : "try more --memory, or give a tier with --dir");
}

/* How far the consumer is behind. */
static uint64_t feed_backlog(const struct feed *feed)
{
    const struct meter *meter = &feed->transfer->meter;
    uint64_t out = atomic_load_explicit(&meter->out.bytes, memory_order_relaxed);
    uint64_t in = atomic_load_explicit(&meter->in.bytes, memory_order_relaxed);
    return in > out ? in - out : 0;
}

/* Carries one input to its end. Returns whether to go on with the next. */
static bool feed_input(struct feed *feed, const char *path)
{
    bool good = false;
    int fd = files_open(path);
    if (fd < 0) {
        feed_fail(feed, path, "cannot open", fd);
        return false;
    }
    pace_init(&feed->pace, files_widen_pipe(fd));
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint; refused by pipes */
    for (;;) {
        int err = feed_slab(feed);
        ssize_t n = err ? 0 : feed_read(feed, fd);
        if (!err && n < 0) {
            feed_fail(feed, path, "cannot read", (int)n);
            break;
        }
        if (!err && n == 0) {
            good = true;
            break;
        }
        if (!err)
            err = feed_extend(feed, (size_t)n);
        if (err) {
            feed_fail_queue(feed, err);
            break;
        }
        pace_after_read(&feed->pace, (size_t)n, feed_backlog(feed));
    }
    files_close(fd);
    return good;
}

void *feed_run(void *transfer)
{
    struct feed feed = {.transfer = transfer};
    const struct args *args = feed.transfer->args;
    bool good = true;
    for (size_t i = 0; good && i < args->input_count; i++)
        good = feed_input(&feed, args->inputs[i]);
    spw_slab_close(feed.slab);
    meter_enter(&feed.transfer->meter.in, METER_DONE);
    spw_writer_close(feed.transfer->writer);
    feed.transfer->writer = NULL;
    return NULL;
}
