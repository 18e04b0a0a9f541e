/* SPDX-License-Identifier: MIT */
/* Writer, reader and the thread that loads runs at full speed; mostly for ThreadSanitizer. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

enum {
    SLAB_BYTES = 16 << 10,
    BEHIND_BYTES = 1 << 20, /* the writer waits when the reader is that far behind */
    STUCK_S = 60,           /* a wake-up that took so long was lost */
};

enum mode { MODE_WAIT, MODE_POLL, MODE_CALLBACK, MODES };

struct rig {
    spw_writer *writer;
    spw_reader *reader;
    spw_mock *mock;
    struct test_account account;
    enum mode mode;
    uint64_t total_bytes, seed;
    _Atomic uint64_t drained;
    _Atomic bool over;
    sem_t called;
    const char *wrong; /* of the reader's thread */
};

static void rig_open(struct rig *rig, bool asynchronous, enum mode mode)
{
    spw_mock_config config = {.size = sizeof(config),
                              .asynchronous = asynchronous,
                              .chunks_per_handle = 3,
                              .allocator = &fault_allocator};
    spw_threshold_config threshold = {.size = sizeof(threshold),
                                      .threshold_bytes = 4096,
                                      .head_reserve_bytes = 2048,
                                      .allocator = &fault_allocator};
    spw_prefetch_config prefetch = {
        .size = sizeof(prefetch), .budget_bytes = 4096, .allocator = &fault_allocator};
    spw_queue_options options = {.size = sizeof(options), .allocator = &fault_allocator};
    spw_strategy *strategy;
    memset(rig, 0, sizeof(*rig));
    rig->mode = mode;
    test_account_init(&rig->account);
    options.account = &rig->account.account;
    cr_assert_eq(sem_init(&rig->called, 0, 0), 0);
    cr_assert_eq(spw_mock_open(&config, &rig->mock), 0);
    cr_assert_eq(spw_mock_strategy(rig->mock, &strategy), 0);
    cr_assert_eq(spw_threshold_open(strategy, &threshold, &options.writer_policy), 0);
    cr_assert_eq(spw_prefetch_open(&prefetch, &options.reader_policy), 0);
    cr_assert_eq(spw_queue_open(&options, &rig->writer, &rig->reader), 0);
}

static void rig_close(struct rig *rig)
{
    spw_mock_close(rig->mock);
    sem_destroy(&rig->called);
    cr_assert_eq(rig->account.account.counters->resident_foreign_bytes, 0);
    cr_assert_eq(rig->account.account.counters->entry_block_bytes, 0);
    cr_assert_eq(rig->account.holders, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- the three threads ---- */

static void *run_loader(void *context)
{
    struct rig *rig = context;
    while (!rig->over)
        if (spw_mock_load(rig->mock, 2) == 0)
            sched_yield();
    return NULL;
}

static spw_bytes next_value(struct random *random, spw_slab **slab, uint64_t at, size_t len)
{
    spw_bytes value;
    if (random_percent(random, 20))
        return stream_piece(at, len);
    if (spw_slab_room(*slab) < len) {
        spw_slab_close(*slab);
        if (spw_slab_open(SLAB_BYTES, &fault_allocator, slab))
            abort();
    }
    stream_fill(spw_slab_space(*slab), at, len);
    spw_slab_cut(*slab, len, &value);
    return value;
}

/* Returns why it stopped. */
static int write_all(struct rig *rig)
{
    struct random random = {rig->seed};
    spw_slab *slab;
    if (spw_slab_open(SLAB_BYTES, &fault_allocator, &slab))
        abort();
    int err = 0;
    for (uint64_t at = 0; !err && at < rig->total_bytes;) {
        spw_bytes values[8];
        size_t count = 1 + (size_t)random_below(&random, 8);
        for (size_t i = 0; i < count; i++) {
            size_t len = (size_t)random_below(&random, 300);
            values[i] = next_value(&random, &slab, at, len);
            at += len;
        }
        err = spw_writer_extend(rig->writer, values, count, 0);
        for (size_t i = 0; err && i < count; i++)
            spw_bytes_release(&values[i]);
        while (at > rig->drained + BEHIND_BYTES && !rig->over)
            sched_yield();
    }
    spw_slab_close(slab);
    return err;
}

static void *run_writer(void *context)
{
    struct rig *rig = context;
    write_all(rig);
    spw_writer_close(rig->writer);
    return NULL;
}

static void post(void *context)
{
    sem_post(&((struct rig *)context)->called);
}

/* Waits for news in the rig's way. False when there is none for too long. */
static bool wait_for_news(struct rig *rig)
{
    if (rig->mode == MODE_POLL) {
        struct pollfd fd = {.fd = spw_reader_event_fd(rig->reader), .events = POLLIN};
        return poll(&fd, 1, STUCK_S * 1000) == 1;
    }
    int armed = spw_reader_arm(rig->reader, post, rig);
    if (armed != 0)
        return armed == 1;
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += STUCK_S;
    return sem_timedwait(&rig->called, &limit) == 0;
}

static long drain_once(struct rig *rig, spw_bytes *out, size_t capacity)
{
    if (rig->mode == MODE_WAIT)
        return spw_reader_drain_wait(rig->reader, out, capacity, UINT64_C(1000000000) * STUCK_S);
    long got = spw_reader_drain(rig->reader, out, capacity);
    if (got == -EAGAIN && !wait_for_news(rig))
        return -ETIMEDOUT;
    return got;
}

static void *run_reader(void *context)
{
    struct rig *rig = context;
    struct random random = {rig->seed + 1};
    spw_bytes out[16];
    long got;
    uint64_t at = 0;
    do {
        got = drain_once(rig, out, 1 + (size_t)random_below(&random, 16));
        for (long i = 0; i < got; i++) {
            if (!stream_is(&out[i], at))
                rig->wrong = "bytes lost, changed or reordered";
            at += out[i].len;
            spw_bytes_release(&out[i]);
        }
        rig->drained = at;
    } while ((got > 0 || got == -EAGAIN) && !rig->wrong);
    if (got == -ETIMEDOUT)
        rig->wrong = "a wake-up was lost";
    else if (got < 0)
        rig->wrong = "an error";
    else if (!rig->wrong && (at < rig->total_bytes || !spw_reader_complete(rig->reader)))
        rig->wrong = "an end before the end";
    rig->over = true;
    spw_reader_close(rig->reader);
    return NULL;
}

static void full_speed(bool asynchronous, enum mode mode)
{
    struct rig rig;
    pthread_t writer, reader, loader;
    rig_open(&rig, asynchronous, mode);
    rig.total_bytes = test_scaled(UINT64_C(96) << 20);
    rig.seed = random_open("threads::full_speed").state;
    cr_assert_eq(pthread_create(&writer, NULL, run_writer, &rig), 0);
    cr_assert_eq(pthread_create(&reader, NULL, run_reader, &rig), 0);
    cr_assert_eq(pthread_create(&loader, NULL, run_loader, &rig), 0);
    pthread_join(reader, NULL);
    pthread_join(writer, NULL);
    pthread_join(loader, NULL);
    cr_assert_null(rig.wrong, "%s", rig.wrong);
    spw_mock_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_mock_info_get(rig.mock, &info), 0);
    cr_assert_gt(info.chunks_total, 0, "something was spilled");
    cr_assert_eq(info.handles, 0);
    rig_close(&rig);
}

Test(threads, synchronous_and_waiting)
{
    full_speed(false, MODE_WAIT);
}

Test(threads, synchronous_and_polling)
{
    full_speed(false, MODE_POLL);
}

Test(threads, synchronous_and_called_back)
{
    full_speed(false, MODE_CALLBACK);
}

Test(threads, asynchronous_and_waiting)
{
    full_speed(true, MODE_WAIT);
}

Test(threads, asynchronous_and_polling)
{
    full_speed(true, MODE_POLL);
}

Test(threads, asynchronous_and_called_back)
{
    full_speed(true, MODE_CALLBACK);
}

/* ---- one thread is both ends, and the loader ---- */

Test(threads, one_thread_is_both)
{
    struct rig rig;
    struct random random = random_open("threads::one_thread_is_both");
    uint64_t pushed = 0, drained = 0, rounds = test_scaled(60000);
    rig_open(&rig, true, MODE_WAIT);
    for (uint64_t round = 0; round < rounds || drained < pushed; round++) {
        if (round < rounds && random_percent(&random, 50)) {
            size_t len = 1 + (size_t)random_below(&random, 300);
            spw_bytes value = stream_piece(pushed, len);
            cr_assert_eq(spw_writer_extend(rig.writer, &value, 1, 0), 0);
            pushed += len;
        }
        spw_bytes out[4];
        long got = spw_reader_drain_wait(rig.reader, out, 4, 0);
        cr_assert(got > 0 || got == -ETIMEDOUT);
        for (long i = 0; i < got; i++) {
            cr_assert(stream_is(&out[i], drained));
            drained += out[i].len;
            spw_bytes_release(&out[i]);
        }
        if (got < 0)
            spw_mock_load(rig.mock, 1);
    }
    spw_writer_close(rig.writer);
    spw_reader_close(rig.reader);
    rig_close(&rig);
}

/* ---- ends that come at any moment ---- */

struct storm {
    struct rig rig;
    uint64_t reads; /* then the reader leaves */
    int writer_error, reader_error;
    _Atomic bool gone; /* the reader's callback must not come any more */
    _Atomic int late;
};

static void *storm_writer(void *context)
{
    struct storm *storm = context;
    write_all(&storm->rig);
    if (storm->writer_error)
        spw_writer_abort(storm->rig.writer, storm->writer_error);
    else
        spw_writer_close(storm->rig.writer);
    return NULL;
}

static void storm_called(void *context)
{
    struct storm *storm = context;
    if (storm->gone)
        storm->late++;
    sem_post(&storm->rig.called);
}

static void *storm_reader(void *context)
{
    struct storm *storm = context;
    spw_reader *reader = storm->rig.reader;
    uint64_t at = 0;
    for (uint64_t i = 0; i < storm->reads; i++) {
        spw_bytes out[4];
        spw_reader_arm(reader, storm_called, storm);
        if (i == 3)
            spw_reader_event_fd(reader);
        long got =
            i % 7 ? spw_reader_drain(reader, out, 4) : spw_reader_drain_wait(reader, out, 4, 20000);
        for (long o = 0; o < got; o++) {
            if (!stream_is(&out[o], at))
                storm->rig.wrong = "bytes lost, changed or reordered";
            at += out[o].len;
            spw_bytes_release(&out[o]);
        }
        if (got == storm->writer_error || got == 0)
            break;
    }
    spw_reader_arm(reader, storm_called, storm);
    if (storm->reader_error)
        spw_reader_abort(reader, storm->reader_error);
    else
        spw_reader_close(reader);
    storm->gone = true;
    storm->rig.over = true;
    return NULL;
}

Test(threads, ends_at_any_moment)
{
    struct random random = random_open("threads::ends_at_any_moment");
    uint64_t rounds = test_scaled(400);
    for (uint64_t round = 0; round < rounds; round++) {
        struct storm storm = {0};
        pthread_t writer, reader, loader;
        rig_open(&storm.rig, random_percent(&random, 60), MODE_WAIT);
        storm.rig.seed = random_next(&random);
        storm.rig.total_bytes = random_below(&random, 100000);
        storm.reads = random_below(&random, 300);
        storm.writer_error = random_percent(&random, 50) ? -EIO : 0;
        storm.reader_error = random_percent(&random, 50) ? -EBADMSG : 0;
        cr_assert_eq(pthread_create(&reader, NULL, storm_reader, &storm), 0);
        cr_assert_eq(pthread_create(&writer, NULL, storm_writer, &storm), 0);
        cr_assert_eq(pthread_create(&loader, NULL, run_loader, &storm.rig), 0);
        pthread_join(reader, NULL);
        pthread_join(writer, NULL);
        pthread_join(loader, NULL);
        cr_assert_null(storm.rig.wrong, "%s", storm.rig.wrong);
        cr_assert_eq(storm.late, 0, "a callback after the reader had closed");
        rig_close(&storm.rig);
    }
}
