/* SPDX-License-Identifier: MIT */
/* How a reader hears of news: callback, event descriptor, waiting. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../lib/queue.h"
#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

#define MS UINT64_C(1000000)

struct rig {
    spw_writer *writer;
    spw_reader *reader;
    spw_mock *mock;
    uint64_t pushed, drained;
    _Atomic int called;
};

/* An asynchronous mock spills all but the last entry; nothing is read ahead. NULL: nothing spills.
 */
static void rig_open_over(struct rig *rig, const spw_mock_config *config)
{
    spw_queue_options options = {.size = sizeof(options), .allocator = &fault_allocator};
    spw_threshold_config threshold = {.size = sizeof(threshold), .allocator = &fault_allocator};
    spw_strategy *strategy;
    memset(rig, 0, sizeof(*rig));
    if (config) {
        cr_assert_eq(spw_mock_open(config, &rig->mock), 0);
        cr_assert_eq(spw_mock_strategy(rig->mock, &strategy), 0);
        cr_assert_eq(spw_threshold_open(strategy, &threshold, &options.writer_policy), 0);
    }
    cr_assert_eq(queue_open_with(&fault_os, &options, &rig->writer, &rig->reader), 0);
}

static void rig_open(struct rig *rig)
{
    rig_open_over(rig, NULL);
}

static void rig_open_slow(struct rig *rig)
{
    spw_mock_config config = {
        .size = sizeof(config), .asynchronous = 1, .allocator = &fault_allocator};
    rig_open_over(rig, &config);
}

static void rig_open_synchronous(struct rig *rig)
{
    spw_mock_config config = {.size = sizeof(config), .allocator = &fault_allocator};
    rig_open_over(rig, &config);
}

static void rig_close(struct rig *rig)
{
    spw_writer_close(rig->writer);
    spw_reader_close(rig->reader);
    spw_mock_close(rig->mock);
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

static void rig_extend(struct rig *rig, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        spw_bytes value = stream_piece(rig->pushed, 8);
        rig->pushed += 8;
        cr_assert_eq(spw_writer_extend(rig->writer, &value, 1, 0), 0);
    }
}

static long took(struct rig *rig, spw_bytes *out, long got)
{
    for (long i = 0; i < got; i++) {
        cr_assert(stream_is(&out[i], rig->drained));
        rig->drained += out[i].len;
        spw_bytes_release(&out[i]);
    }
    return got;
}

static long rig_drain(struct rig *rig)
{
    spw_bytes out[16];
    return took(rig, out, spw_reader_drain(rig->reader, out, 16));
}

static long rig_wait(struct rig *rig, uint64_t timeout_ns)
{
    spw_bytes out[16];
    return took(rig, out, spw_reader_drain_wait(rig->reader, out, 16, timeout_ns));
}

static size_t rig_pending(const struct rig *rig)
{
    spw_mock_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_mock_info_get(rig->mock, &info), 0);
    return info.pending;
}

static void count_call(void *context)
{
    ((struct rig *)context)->called++;
}

static bool readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static uint64_t now_ns(void)
{
    return os_linux.clock_ns();
}

/* ---- callback ---- */

Test(wake, callback_on_empty_to_non_empty_only)
{
    struct rig rig;
    rig_open(&rig);
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 0, "nobody asked");
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 1, "something is there");
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 0, "so nothing was armed");
    cr_assert_eq(rig_drain(&rig), 2);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
    cr_assert_eq(rig.called, 0);
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 1);
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 1, "once");
    cr_assert_eq(rig_drain(&rig), 2);
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 1, "not armed again");
    rig_close(&rig);
}

Test(wake, nothing_is_no_news)
{
    struct rig rig;
    spw_bytes nothing = stream_piece(0, 0);
    rig_open(&rig);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
    cr_assert_eq(spw_writer_extend(rig.writer, &nothing, 1, 0), 0);
    cr_assert_eq(rig.called, 0);
    spw_reader_close(rig.reader);
    rig.reader = NULL;
    rig_close(&rig);
    cr_assert_eq(rig.called, 0, "closing the reader calls nobody, nor does what comes later");
}

Test(wake, arming_again_replaces)
{
    struct rig rig, other = {0};
    rig_open(&rig);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &other), 0);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 1);
    cr_assert_eq(other.called, 0);
    rig_close(&rig);
}

Test(wake, callback_at_both_kinds_of_end)
{
    for (int abort = 0; abort < 2; abort++) {
        struct rig rig;
        rig_open(&rig);
        cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
        if (abort)
            spw_writer_abort(rig.writer, -EIO);
        else
            spw_writer_close(rig.writer);
        rig.writer = NULL;
        cr_assert_eq(rig.called, 1);
        cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 1, "the end is something");
        cr_assert_eq(rig_drain(&rig), abort ? -EIO : 0);
        rig_close(&rig);
    }
}

/* ---- callback: heads on their way ---- */

Test(wake, callback_when_the_head_is_loaded)
{
    struct rig rig;
    rig_open_slow(&rig);
    rig_extend(&rig, 3);
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_eq(rig_pending(&rig), 1, "draining started the read");
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 0, "more behind a paged head is no news");
    cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
    cr_assert_eq(rig.called, 1);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 1);
    cr_assert_eq(rig_drain(&rig), 1);
    cr_assert_eq(rig.called, 1);
    rig_close(&rig);
}

Test(wake, arming_starts_the_read)
{
    struct rig rig;
    rig_open_slow(&rig);
    rig_extend(&rig, 3);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
    cr_assert_eq(rig_pending(&rig), 1, "else nobody would");
    cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
    cr_assert_eq(rig.called, 1);
    cr_assert_eq(rig_drain(&rig), 1);
    rig_close(&rig);
}

Test(wake, a_synchronous_head_is_there_already)
{
    struct rig rig;
    rig_open_synchronous(&rig);
    rig_extend(&rig, 3);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 1);
    int fd = spw_reader_event_fd(rig.reader);
    cr_assert(readable(fd));
    cr_assert_eq(rig_drain(&rig), 1);
    spw_mock_fail_fetch(rig.mock, -EAGAIN, 1);
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), -ENOTSUP, "it cannot tell when");
    cr_assert(readable(fd));
    spw_mock_fail_fetch(rig.mock, -EIO, 1);
    cr_assert_eq(rig_drain(&rig), -EIO);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 1, "a retry may work");
    rig_close(&rig);
}

/* Brings the head back on behalf of the writer. */
static void fetch_head(spw_policy *policy, spw_view *view)
{
    spw_cursor head = spw_view_head(view);
    (void)policy;
    if (spw_cursor_kind(&head) == SPILLWAY_ENTRY_HANDLE)
        cr_assert_eq(spw_view_fetch(view, &head, 0), 1);
}

Test(wake, a_writer_that_brings_the_head_back_wakes)
{
    struct rig rig;
    rig_open_slow(&rig);
    rig_extend(&rig, 3);
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
    /* The mock loads it, but as if nobody had told; the writer's policy is faster. */
    rig.reader->queue->armed = 0;
    cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
    rig.reader->queue->armed = ARM_CALLBACK;
    const spw_policy_ops *ops = rig.writer->queue->writer_policy->ops;
    spw_policy_ops fetching = *ops;
    fetching.apply = fetch_head;
    rig.writer->queue->writer_policy->ops = &fetching;
    rig_extend(&rig, 1);
    cr_assert_eq(rig.called, 1);
    cr_assert_eq(rig_drain(&rig), 1);
    rig.writer->queue->writer_policy->ops = ops;
    rig_close(&rig);
}

/* ---- callback: closing inside ---- */

static void close_reader(void *context)
{
    struct rig *rig = context;
    rig->called++;
    spw_reader_close(rig->reader);
    rig->reader = NULL;
}

static void close_both(void *context)
{
    struct rig *rig = context;
    close_reader(rig);
    spw_writer_close(rig->writer);
    rig->writer = NULL;
}

Test(wake, reader_closes_in_its_callback)
{
    for (int way = 0; way < 4; way++) {
        struct rig rig;
        rig_open_slow(&rig);
        if (way == 3) {
            rig_extend(&rig, 3);
            cr_assert_eq(rig_drain(&rig), -EAGAIN);
        }
        cr_assert_eq(spw_reader_arm(rig.reader, close_reader, &rig), 0);
        if (way == 0)
            rig_extend(&rig, 1);
        else if (way == 1)
            spw_writer_close(rig.writer);
        else if (way == 2)
            spw_writer_abort(rig.writer, -EIO);
        else
            cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
        if (way == 1 || way == 2)
            rig.writer = NULL;
        cr_assert_eq(rig.called, 1);
        cr_assert_null(rig.reader);
        if (rig.writer) {
            spw_bytes value = stream_piece(0, 1);
            cr_assert_eq(spw_writer_extend(rig.writer, &value, 1, 0), -EPIPE);
            spw_bytes_release(&value);
        }
        rig_close(&rig);
    }
}

Test(wake, both_ends_close_in_a_callback)
{
    for (int slow = 0; slow < 2; slow++) {
        struct rig rig;
        rig_open_slow(&rig);
        if (slow) {
            rig_extend(&rig, 3);
            cr_assert_eq(rig_drain(&rig), -EAGAIN);
        }
        cr_assert_eq(spw_reader_arm(rig.reader, close_both, &rig), 0);
        spw_bytes value = stream_piece(rig.pushed, 1);
        if (slow)
            cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
        else
            cr_assert_eq(spw_writer_extend(rig.writer, &value, 1, 0), 0, "it was taken");
        spw_bytes_release(&value);
        cr_assert_null(rig.writer);
        rig_close(&rig);
    }
}

/* Arms the end's callback and provokes it: a callback in a callback closes the reader. */
static void close_writer_nested(void *context)
{
    struct rig *rig = context;
    rig->called++;
    cr_assert_gt(rig_drain(rig), 0);
    cr_assert_eq(spw_reader_arm(rig->reader, close_reader, rig), 0);
    spw_writer_close(rig->writer);
    rig->writer = NULL;
    cr_assert_null(rig->reader);
}

Test(wake, closing_in_a_nested_callback_does_not_wait_for_itself)
{
    struct rig rig;
    rig_open(&rig);
    cr_assert_eq(spw_reader_arm(rig.reader, close_writer_nested, &rig), 0);
    spw_bytes value = stream_piece(0, 8);
    cr_assert_eq(spw_writer_extend(rig.writer, &value, 1, 0), 0);
    cr_assert_eq(rig.called, 2);
    rig_close(&rig);
}

struct slow_callback {
    struct rig *rig;
    _Atomic bool inside, go, left;
};

static void stay_inside(void *context)
{
    struct slow_callback *slow = context;
    slow->inside = true;
    while (!slow->go)
        sched_yield();
    slow->left = true;
}

static void *load_one(void *context)
{
    struct slow_callback *slow = context;
    spw_mock_load(slow->rig->mock, 1);
    return NULL;
}

static void *let_go(void *context)
{
    struct slow_callback *slow = context;
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    slow->go = true;
    return NULL;
}

Test(wake, closing_waits_for_a_callback_on_another_thread)
{
    /* With a second callback, on this thread, since: it must not be taken for the first. */
    for (int again = 0; again < 2; again++) {
        struct rig rig;
        struct slow_callback slow = {.rig = &rig};
        pthread_t loader, releaser;
        rig_open_slow(&rig);
        rig_extend(&rig, 2);
        cr_assert_eq(rig_drain(&rig), -EAGAIN);
        cr_assert_eq(spw_reader_arm(rig.reader, stay_inside, &slow), 0);
        cr_assert_eq(pthread_create(&loader, NULL, load_one, &slow), 0);
        while (!slow.inside)
            sched_yield();
        if (again) {
            while (rig_drain(&rig) > 0)
                ;
            cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
            rig_extend(&rig, 1);
            cr_assert_eq(rig.called, 1);
        }
        cr_assert_eq(pthread_create(&releaser, NULL, let_go, &slow), 0);
        spw_reader_close(rig.reader);
        rig.reader = NULL;
        cr_assert(slow.left, "the callback's context may go away now");
        pthread_join(loader, NULL);
        pthread_join(releaser, NULL);
        rig_close(&rig);
    }
}

/* ---- event descriptor ---- */

Test(wake, event_fd_exists_only_when_asked_for)
{
    struct rig rig;
    rig_open(&rig);
    for (int i = 0; i < 100; i++) {
        rig_extend(&rig, 2);
        cr_assert_eq(rig_drain(&rig), 2);
        cr_assert_eq(rig_drain(&rig), -EAGAIN);
        cr_assert_eq(rig_wait(&rig, 0), -ETIMEDOUT);
    }
    cr_assert_eq(fault_calls(FAULT_EVENTFD), 0);
    cr_assert_eq(fault_calls(FAULT_WRITE), 0);
    cr_assert_eq(fault_calls(FAULT_READ), 0);
    int fd = spw_reader_event_fd(rig.reader);
    cr_assert_geq(fd, 0);
    cr_assert_eq(spw_reader_event_fd(rig.reader), fd);
    cr_assert_eq(fault_calls(FAULT_EVENTFD), 1);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    spw_reader_close(rig.reader);
    rig.reader = NULL;
    cr_assert_eq(fault_open_fds(), 0, "gone with the reader, not with the writer");
    rig_close(&rig);
}

Test(wake, event_fd_is_readable_while_draining_may_bring_something)
{
    struct rig rig;
    rig_open(&rig);
    rig_extend(&rig, 1);
    int fd = spw_reader_event_fd(rig.reader);
    cr_assert(readable(fd), "something is there at the first call");
    cr_assert_eq(rig_drain(&rig), 1);
    cr_assert(readable(fd), "until -EAGAIN was seen");
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_not(readable(fd));
    uint64_t writes = fault_calls(FAULT_WRITE);
    rig_extend(&rig, 100);
    cr_assert(readable(fd));
    cr_assert_eq(fault_calls(FAULT_WRITE), writes + 1, "one wake-up, from empty to non-empty");
    while (rig_drain(&rig) > 0)
        ;
    cr_assert_not(readable(fd));
    spw_writer_close(rig.writer);
    rig.writer = NULL;
    cr_assert(readable(fd), "the end");
    cr_assert_eq(rig_drain(&rig), 0);
    cr_assert(readable(fd), "stays");
    rig_close(&rig);
}

Test(wake, event_fd_tells_of_an_unclean_end)
{
    struct rig rig;
    rig_open(&rig);
    int fd = spw_reader_event_fd(rig.reader);
    cr_assert_not(readable(fd));
    spw_writer_abort(rig.writer, -EIO);
    rig.writer = NULL;
    cr_assert(readable(fd));
    cr_assert_eq(rig_drain(&rig), -EIO);
    cr_assert(readable(fd));
    rig_close(&rig);
}

Test(wake, event_fd_tells_of_a_loaded_head)
{
    struct rig rig;
    rig_open_slow(&rig);
    int fd = spw_reader_event_fd(rig.reader);
    rig_extend(&rig, 3);
    cr_assert(readable(fd));
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_not(readable(fd));
    cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
    cr_assert(readable(fd));
    cr_assert_eq(rig_drain(&rig), 1);
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_not(readable(fd));
    rig_extend(&rig, 3);
    cr_assert_not(readable(fd), "more behind a paged head is no news");
    cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
    spw_mock_fail_fetch(rig.mock, -EIO, 1);
    cr_assert_eq(rig_drain(&rig), -EIO);
    cr_assert(readable(fd), "an error may be retried");
    cr_assert_eq(rig_drain(&rig), 1);
    rig_close(&rig);
}

Test(wake, event_fd_that_cannot_be_made)
{
    struct rig rig;
    rig_open(&rig);
    rig_extend(&rig, 1);
    fault_fail(FAULT_EVENTFD, 0, 1, -EMFILE);
    cr_assert_eq(spw_reader_event_fd(rig.reader), -EMFILE);
    cr_assert_eq(rig_drain(&rig), 1, "all else works");
    int fd = spw_reader_event_fd(rig.reader);
    cr_assert_geq(fd, 0);
    /* Interrupted reads and writes are tried again. */
    fault_fail(FAULT_WRITE, 0, 2, -EINTR);
    rig_extend(&rig, 1);
    cr_assert(readable(fd));
    cr_assert_eq(rig_drain(&rig), 1);
    fault_fail(FAULT_READ, 0, 2, -EINTR);
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_not(readable(fd));
    rig_close(&rig);
}

Test(wake, event_fd_and_callback_and_waiting_together)
{
    struct rig rig;
    rig_open_slow(&rig);
    int fd = spw_reader_event_fd(rig.reader);
    rig_extend(&rig, 3);
    cr_assert_eq(rig_drain(&rig), -EAGAIN);
    cr_assert_eq(spw_reader_arm(rig.reader, count_call, &rig), 0);
    cr_assert_eq(rig_wait(&rig, 0), -ETIMEDOUT);
    cr_assert_eq(rig.called, 0);
    cr_assert_not(readable(fd));
    cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
    cr_assert_eq(rig.called, 1, "a wait that timed out disarms nothing else");
    cr_assert(readable(fd));
    cr_assert_eq(rig_wait(&rig, 0), 1);
    rig_close(&rig);
}

/* ---- waiting ---- */

Test(wake, waiting_has_a_limit)
{
    struct rig rig;
    rig_open(&rig);
    uint64_t start = now_ns();
    cr_assert_eq(rig_wait(&rig, 30 * MS), -ETIMEDOUT);
    cr_assert_geq(now_ns() - start, 30 * MS);
    cr_assert_eq(rig_wait(&rig, 0), -ETIMEDOUT);
    spw_bytes out;
    cr_assert_eq(spw_reader_drain_wait(rig.reader, &out, 0, 0), -EINVAL);
    rig_extend(&rig, 2);
    cr_assert_eq(rig_wait(&rig, UINT64_MAX - 1), 2, "a limit beyond the end of time");
    rig_close(&rig);
}

struct later {
    struct rig *rig;
    int what;
};

static void *do_later(void *context)
{
    struct later *later = context;
    struct timespec pause = {.tv_nsec = 10000000};
    nanosleep(&pause, NULL);
    if (later->what == 0)
        rig_extend(later->rig, 1);
    else if (later->what == 1)
        spw_writer_close(later->rig->writer);
    else if (later->what == 2)
        spw_writer_abort(later->rig->writer, -EBADMSG);
    else
        spw_mock_load(later->rig->mock, 1);
    return NULL;
}

Test(wake, waiting_ends_with_news)
{
    static const long want[] = {1, 0, -EBADMSG, 1};
    for (int what = 0; what < 4; what++)
        for (int limited = 0; limited < 2; limited++) {
            struct rig rig;
            struct later later = {&rig, what};
            pthread_t thread;
            rig_open_slow(&rig);
            if (what == 3) {
                rig_extend(&rig, 3);
                cr_assert_eq(rig_drain(&rig), -EAGAIN);
            }
            cr_assert_eq(pthread_create(&thread, NULL, do_later, &later), 0);
            cr_assert_eq(rig_wait(&rig, limited ? 60000 * MS : SPILLWAY_FOREVER), want[what]);
            pthread_join(thread, NULL);
            if (what == 1 || what == 2)
                rig.writer = NULL;
            rig_close(&rig);
        }
}

Test(wake, waiting_for_a_handle_that_cannot_tell_looks_again)
{
    struct rig rig;
    rig_open_synchronous(&rig);
    rig_extend(&rig, 3);
    spw_mock_fail_fetch(rig.mock, -EAGAIN, 5);
    cr_assert_eq(rig_wait(&rig, SPILLWAY_FOREVER), 1);
    spw_mock_fail_fetch(rig.mock, -EAGAIN, 1000000);
    cr_assert_eq(rig_wait(&rig, 20 * MS), -ETIMEDOUT);
    spw_mock_fail_fetch(rig.mock, 0, 0);
    cr_assert_eq(rig_wait(&rig, 0), 2);
    rig_close(&rig);
}

/* ---- a handle that calls itself ready and is not ---- */

struct liar {
    spw_handle handle;
    unsigned fetches;
};

static int liar_fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    (void)flags;
    (void)out;
    ((struct liar *)handle)->fetches++;
    return -EAGAIN;
}

static uint64_t liar_size(const spw_handle *handle)
{
    (void)handle;
    return 8;
}

static size_t liar_count(const spw_handle *handle)
{
    (void)handle;
    return 1;
}

static void liar_drop(spw_handle *handle)
{
    (void)handle;
}

static int liar_ready(spw_handle *handle, spw_waker *waker)
{
    (void)handle;
    (void)waker;
    return 1;
}

static const spw_handle_ops liar_ops = {.size = sizeof(liar_ops),
                                        .fetch = liar_fetch,
                                        .size_bytes = liar_size,
                                        .count = liar_count,
                                        .drop = liar_drop,
                                        .on_ready = liar_ready};

Test(wake, a_handle_that_is_never_ready_does_not_spin)
{
    struct rig rig;
    struct liar liar = {{&liar_ops}, 0};
    spw_chunks removed = SPILLWAY_CHUNKS_NONE;
    rig_open(&rig);
    rig_extend(&rig, 1);
    spw_cursor head = spw_view_head(writer_view(rig.writer));
    cr_assert_eq(spw_view_page(writer_view(rig.writer), &head, 1, &liar.handle, &removed), 0);
    spw_chunks_clear(&removed);
    cr_assert_eq(rig_wait(&rig, 50 * MS), -ETIMEDOUT);
    cr_assert_lt(liar.fetches, 200);
    rig_close(&rig);
}
