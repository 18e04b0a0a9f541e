/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "raw_loop.h"

struct crew {
    const struct raw_loop *loop;
    _Atomic uint64_t next;
    _Atomic unsigned buffers_taken;
    _Atomic int err;
};

static int transfer(const struct raw_loop *loop, uint64_t index, unsigned char *buffer)
{
    struct raw_request request = raw_request_at(loop, index);
    uint64_t done = 0;
    if (request.write)
        raw_before_write(loop, buffer, index);
    while (done < loop->request_bytes) {
        size_t left = (size_t)(loop->request_bytes - done);
        off_t at = (off_t)(request.offset + done);
        ssize_t moved = request.write ? pwrite(loop->fd, buffer + done, left, at)
                                      : pread(loop->fd, buffer + done, left, at);
        if (moved < 0 && errno != EINTR)
            return -errno;
        if (moved == 0)
            return -EIO;
        done += moved > 0 ? (uint64_t)moved : 0;
    }
    if (!request.write)
        raw_after_read(loop, buffer);
    return 0;
}

static void *work(void *argument)
{
    struct crew *crew = argument;
    const struct raw_loop *loop = crew->loop;
    unsigned char *buffer = loop->buffers + crew->buffers_taken++ * loop->request_bytes;
    uint64_t index;
    while (crew->err == 0 && (index = crew->next++) < loop->count) {
        int err = transfer(loop, index, buffer);
        if (err)
            crew->err = err;
    }
    return NULL;
}

int raw_loop_threads(const struct raw_loop *loop)
{
    struct crew crew = {.loop = loop};
    pthread_t threads[RAW_DEPTH_MAX];
    unsigned started = 0;
    sigset_t all, old;
    /* Signals are for the thread that can clean up. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (; started < loop->depth && crew.err == 0; started++) {
        int err = pthread_create(&threads[started], NULL, work, &crew);
        if (err) {
            crew.err = -err;
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return crew.err;
}
