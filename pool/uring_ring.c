/* SPDX-License-Identifier: MIT */
/* Making the ring, and trying whether it may be used. */
#include "uring.h"

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "spillway/errors.h"

enum { OPERATIONS = IORING_OP_WRITE + 1 }; /* up to the highest-numbered one that we need */

/* One round trip of nothing: some sandboxes allow a ring to be made, but not to be used. */
static int ring_try(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    struct io_uring_cqe *cqe;
    int rc;

    io_uring_prep_nop(sqe);
    rc = io_uring_submit_and_get_events(ring);
    if (rc < 0)
        return rc;
    rc = io_uring_peek_cqe(ring, &cqe);
    if (rc < 0)
        return rc;
    rc = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    return rc;
}

static int ring_check_operations(struct io_uring *ring)
{
    union {
        struct io_uring_probe probe;
        char room[sizeof(struct io_uring_probe) + OPERATIONS * sizeof(struct io_uring_probe_op)];
    } answer;

    memset(&answer, 0, sizeof(answer));
    if (io_uring_register_probe(ring, &answer.probe, OPERATIONS) < 0 ||
        !io_uring_opcode_supported(&answer.probe, IORING_OP_READ) ||
        !io_uring_opcode_supported(&answer.probe, IORING_OP_WRITE))
        return -EOPNOTSUPP;
    return 0;
}

static int ring_make(struct uring *uring, unsigned flags)
{
    int rc = uring->engine->os->ring_allowed();

    return rc < 0 ? rc : io_uring_queue_init(RING_SLOTS, &uring->ring, flags);
}

/*
 * The ring keeps the files that are registered with it until its last request has ended, also when
 * it is closed before. So the other end of a pipe tells when that is.
 */
static void register_files(struct uring *uring)
{
    struct engine *engine = uring->engine;
    int fds[SETTINGS_MAX_DIRS + 1], ends[2], rc;

    uring->end_fd = -1;
    if (engine->fd_count == 0 || engine->fd_count > SETTINGS_MAX_DIRS)
        return;
    memcpy(fds, engine->fds, engine->fd_count * sizeof(fds[0]));
    rc = engine->os->pipe(ends, O_CLOEXEC);
    if (rc < 0)
        ends[0] = ends[1] = -1; /* a place in the table may be empty */
    fds[engine->fd_count] = ends[1];
    rc = io_uring_register_files(&uring->ring, fds, engine->fd_count + 1);
    os_close(engine->os, ends[1]);
    uring->fixed_files = rc == 0;
    if (rc == 0) {
        uring->end_fd = ends[0];
        return;
    }
    os_close(engine->os, ends[0]);
    log_line(engine->log, SPILLWAY_LOG_DEBUG, "scratch files are not registered: %s",
             spw_error_text(rc));
}

void uring_ring_close(struct uring *uring)
{
    if (!uring->ring_open)
        return;
    /* A closed ring lets its files go a moment later. Whoever closes the pool may count on their
     * room at once. With requests in flight that would have to wait for these. */
    if (uring->fixed_files && uring->in_kernel == 0 && !uring->broken)
        io_uring_unregister_files(&uring->ring);
    io_uring_queue_exit(&uring->ring);
    uring->ring_open = false;
}

int uring_ring_open(struct uring *uring)
{
    int rc;

    rc = ring_make(uring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                              IORING_SETUP_TASKRUN_FLAG);
    if (rc == -EINVAL) /* a kernel before 6.1 */
        rc = ring_make(uring, 0);
    if (rc < 0)
        return rc;
    rc = ring_check_operations(&uring->ring);
    if (rc < 0)
        goto fail_check;
    rc = io_uring_ring_dontfork(&uring->ring);
    if (rc < 0)
        goto fail_check;
    rc = ring_try(&uring->ring);
    if (rc < 0)
        goto fail_check;
    /*
     * One descriptor for both kinds of news. Poll on the ring itself would sleep through
     * completions: with DEFER_TASKRUN they are posted only once this very thread asks for them.
     */
    rc = io_uring_register_eventfd(&uring->ring, uring->wake_fd);
    if (rc < 0)
        goto fail_check;
    register_files(uring);
    uring->ring_open = true;
    return 0;

fail_check:
    io_uring_queue_exit(&uring->ring);
    return rc;
}

#endif
