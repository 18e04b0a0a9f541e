/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "raw_loop.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#include <liburing.h>

struct ring {
    const struct raw_loop *loop;
    struct io_uring uring;
    bool fixed_file, fixed_buffers;
    uint64_t started, ended;
    unsigned in_flight;
};

/* Registered file and buffers spare the kernel a look-up and a pinning per request; where limits
 * refuse them, the loop goes on without. */
static void ring_register(struct ring *ring)
{
    const struct raw_loop *loop = ring->loop;
    struct iovec vectors[RAW_DEPTH_MAX];
    for (unsigned i = 0; i < loop->depth; i++)
        vectors[i] =
            (struct iovec){loop->buffers + i * loop->request_bytes, (size_t)loop->request_bytes};
    ring->fixed_file = io_uring_register_files(&ring->uring, &loop->fd, 1) == 0;
    ring->fixed_buffers = io_uring_register_buffers(&ring->uring, vectors, loop->depth) == 0;
}

static void start(struct ring *ring, unsigned slot)
{
    const struct raw_loop *loop = ring->loop;
    uint64_t index = ring->started++;
    struct raw_request request = raw_request_at(loop, index);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    unsigned char *buffer = loop->buffers + slot * loop->request_bytes;
    int fd = ring->fixed_file ? 0 : loop->fd;
    unsigned bytes = (unsigned)loop->request_bytes;
    if (request.write)
        raw_before_write(loop, buffer, index);
    if (request.write && ring->fixed_buffers)
        io_uring_prep_write_fixed(sqe, fd, buffer, bytes, request.offset, (int)slot);
    else if (request.write)
        io_uring_prep_write(sqe, fd, buffer, bytes, request.offset);
    else if (ring->fixed_buffers)
        io_uring_prep_read_fixed(sqe, fd, buffer, bytes, request.offset, (int)slot);
    else
        io_uring_prep_read(sqe, fd, buffer, bytes, request.offset);
    if (ring->fixed_file)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data64(sqe, slot);
    ring->in_flight++;
}

/* Takes what has completed; each place goes to the next request. Returns 0 or -errno. */
static int reap(struct ring *ring)
{
    const struct raw_loop *loop = ring->loop;
    struct io_uring_cqe *cqe;
    int err = 0;
    while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        unsigned slot = (unsigned)io_uring_cqe_get_data64(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&ring->uring, cqe);
        ring->in_flight--;
        ring->ended++;
        if (result < 0)
            err = result;
        else if ((uint64_t)result != loop->request_bytes)
            err = -EIO;
        if (!err && loop->direction == RAW_READ)
            raw_after_read(loop, loop->buffers + slot * loop->request_bytes);
        if (!err && ring->started < loop->count)
            start(ring, slot);
    }
    return err;
}

static int turn(struct ring *ring)
{
    int submitted = io_uring_submit_and_wait(&ring->uring, 1);
    if (submitted < 0 && submitted != -EINTR)
        return submitted;
    return reap(ring);
}

int raw_loop_uring(const struct raw_loop *loop)
{
    struct ring ring = {.loop = loop};
    int err = io_uring_queue_init(loop->depth, &ring.uring, 0);
    if (err)
        return err;
    ring_register(&ring);
    for (unsigned slot = 0; slot < loop->depth && ring.started < loop->count; slot++)
        start(&ring, slot);
    while (!err && ring.ended < loop->count)
        err = turn(&ring);
    /* The buffers are the caller's: nothing may write to them any more. */
    while (ring.in_flight > 0 && io_uring_submit_and_wait(&ring.uring, 1) >= 0) {
        int last = reap(&ring);
        err = err ? err : last;
        ring.started = loop->count;
    }
    io_uring_queue_exit(&ring.uring);
    return err;
}

#else

int raw_loop_uring(const struct raw_loop *loop)
{
    (void)loop;
    return -ENOSYS;
}

#endif
