/* SPDX-License-Identifier: MIT */
#include "spillpipe_drain.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "spillpipe_files.h"
#include "spillway/errors.h"

enum {
    BATCH_ENTRIES = 64,
    WRITE_BYTES = 1 << 20, /* one writev: large, and still often enough to show progress */
    WRITE_BYTES_MIN = 64 << 10,
    RETRIES_MAX = 300, /* a minute of RETRY_NAP_NS */
};

#define RETRY_NAP_NS 200000000L

struct drain {
    struct transfer *transfer;
    spw_bytes batch[BATCH_ENTRIES];
    size_t count, next; /* batch[next] is the first not yet written in full */
    size_t done;        /* of batch[next] */
    long failed;        /* what came instead of a further entry, not yet acted on; else 0 */
    bool told_retry;
    unsigned retries;
};

/* The next pieces of the batch, up to WRITE_BYTES. Returns how many. */
static int drain_gather(const struct drain *drain, struct iovec *pieces)
{
    size_t room = WRITE_BYTES, skip = drain->done;
    int n = 0;
    for (size_t i = drain->next; i < drain->count && room > 0; i++) {
        size_t left = drain->batch[i].len - skip;
        size_t len = left < room ? left : room;
        /* writev takes a pointer to writable memory, and only reads from it. */
        pieces[n].iov_base = (void *)(uintptr_t)(drain->batch[i].data + skip);
        pieces[n++].iov_len = len;
        room -= len;
        skip = 0;
    }
    return n;
}

/* Releases what has been written, so that its memory serves the next bytes at once. */
static void drain_advance(struct drain *drain, size_t written)
{
    while (drain->next < drain->count) {
        spw_bytes *bytes = &drain->batch[drain->next];
        size_t left = bytes->len - drain->done;
        if (written < left) {
            drain->done += written;
            return;
        }
        written -= left;
        spw_bytes_release(bytes);
        drain->next++;
        drain->done = 0;
    }
}

static void drain_drop(struct drain *drain)
{
    for (; drain->next < drain->count; drain->next++)
        spw_bytes_release(&drain->batch[drain->next]);
}

/* Writes the batch in full. Returns 0 or -errno. */
static int drain_write(struct drain *drain)
{
    struct meter_end *out = &drain->transfer->meter.out;
    struct iovec pieces[BATCH_ENTRIES];
    while (drain->next < drain->count) {
        int count = drain_gather(drain, pieces);
        meter_enter(out, METER_WAITS_OUTSIDE);
        ssize_t n = writev(STDOUT_FILENO, pieces, count);
        int err = errno;
        if (n < 0 && err == EAGAIN)
            files_wait(STDOUT_FILENO, POLLOUT);
        meter_enter(out, METER_BUSY);
        if (n >= 0) {
            meter_add(out, (uint64_t)n);
            drain_advance(drain, (size_t)n);
        } else if (err != EAGAIN && err != EINTR) {
            return -err;
        }
    }
    return 0;
}

/*
 * Adds to the first entry what else is there, up to half a run: what is drained can no longer be
 * spilled, and while the consumer sleeps it must leave the writer room in a small budget, too.
 */
static void drain_more(struct drain *drain)
{
    struct transfer *transfer = drain->transfer;
    size_t half = spw_pool_run_bytes(transfer->pool) / 2, bytes = drain->batch[0].len;
    size_t enough = half > WRITE_BYTES       ? WRITE_BYTES
                    : half < WRITE_BYTES_MIN ? WRITE_BYTES_MIN
                                             : half;
    for (drain->count = 1; drain->count < BATCH_ENTRIES && bytes < enough; drain->count++) {
        long n = spw_reader_drain(transfer->reader, &drain->batch[drain->count], 1);
        if (n < 0 && n != -EAGAIN)
            drain->failed = n;
        if (n <= 0)
            break;
        bytes += drain->batch[drain->count].len;
    }
}

/*
 * The next batch. Returns 1, 0 at the end of the stream, or -errno: what is lost is an error, and
 * never skipped; what may come back is tried again.
 */
static int drain_fill(struct drain *drain)
{
    struct transfer *transfer = drain->transfer;
    for (;;) {
        meter_enter(&transfer->meter.out, METER_WAITS_INSIDE);
        long n = drain->failed;
        drain->failed = 0;
        if (n == 0)
            n = spw_reader_drain_wait(transfer->reader, drain->batch, 1, SPILLWAY_FOREVER);
        meter_enter(&transfer->meter.out, METER_BUSY);
        if (n >= 0) {
            drain->count = drain->next = drain->done = 0;
            drain->retries = 0;
            if (n > 0)
                drain_more(drain);
            return n > 0;
        }
        if (spw_error_class((int)n) != SPILLWAY_CLASS_RETRY || drain->retries++ >= RETRIES_MAX)
            return (int)n;
        if (!drain->told_retry) {
            drain->told_retry = true;
            console_say(transfer->console, SPILLWAY_LOG_WARN, "spilled bytes not back yet: %s",
                        spw_error_text((int)n));
        }
        struct timespec nap = {.tv_nsec = RETRY_NAP_NS};
        nanosleep(&nap, NULL);
    }
}

/* Why bytes could not be had from the queue. */
static void drain_tell(struct drain *drain, int err)
{
    struct transfer *transfer = drain->transfer;
    unsigned long long at = atomic_load(&transfer->meter.out.bytes);
    uint64_t lost_bytes = 0;
    if (spw_error_class(err) == SPILLWAY_CLASS_LOST &&
        spw_reader_skip(transfer->reader, &lost_bytes) == 0)
        console_say(transfer->console, SPILLWAY_LOG_ERROR,
                    "%llu bytes are lost at offset %llu of the stream: %s; output ends there",
                    (unsigned long long)lost_bytes, at, spw_error_text(err));
    else
        console_say(transfer->console, SPILLWAY_LOG_ERROR,
                    "output ends at offset %llu of the stream: %s", at, spw_error_text(err));
}

enum drain_result drain_run(struct transfer *transfer)
{
    struct drain drain = {.transfer = transfer};
    enum drain_result result = DRAIN_DELIVERED;
    int filled, err = 0;
    files_widen_pipe(STDOUT_FILENO);
    while ((filled = drain_fill(&drain)) > 0) {
        err = drain_write(&drain);
        if (err)
            break;
    }
    if (filled < 0) {
        drain_tell(&drain, filled);
        result = DRAIN_FAILED;
    } else if (err == -EPIPE) {
        result = DRAIN_CONSUMER_LEFT;
    } else if (err) {
        console_say(transfer->console, SPILLWAY_LOG_ERROR, "cannot write standard output: %s",
                    strerror(-err));
        result = DRAIN_FAILED;
    }
    drain_drop(&drain);
    meter_enter(&transfer->meter.out, METER_DONE);
    spw_reader_close(transfer->reader);
    transfer->reader = NULL;
    return result;
}
