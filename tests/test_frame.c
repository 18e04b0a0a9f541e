/* SPDX-License-Identifier: MIT */
/* Frames as they are stored, where their pieces go, the threads they pass over, and what a coder is
 * told of the device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../pool/frame.h"
#include "coder_tools.h"
#include "harness.h"
#include "pool_tools.h"

/* ---- headers ---- */

enum { BODY = 1000, ROOM = 2048 };
static const struct frame usual = {
    .run_id = 77, .whole_bytes = 5000, .coded_bytes = BODY, .code = 3};

static size_t make(unsigned char at[ROOM])
{
    memset(at, 0xee, ROOM);
    return frame_close(at, &usual) * FRAME_LINE_BYTES;
}

static int open_usual(const unsigned char *at, uint64_t stored)
{
    struct frame out;
    return frame_open(at, stored, usual.run_id, usual.code, usual.whole_bytes, &out);
}

Test(frame, header_there_and_back)
{
    unsigned char at[ROOM];
    struct frame out;
    size_t stored = make(at);
    cr_assert_eq(stored, 1088); /* 32 + 1000, in lines of 64 */
    cr_assert_eq(frame_open(at, stored, 77, 3, 5000, &out), 0);
    cr_assert_eq(out.coded_bytes, BODY);
    for (size_t i = FRAME_HEADER_BYTES; i < FRAME_HEADER_BYTES + BODY; i++)
        cr_assert_eq(at[i], 0xee);
    for (size_t i = FRAME_HEADER_BYTES + BODY; i < stored; i++)
        cr_assert_eq(at[i], 0);
    cr_assert_eq(at[stored], 0xee);
}

Test(frame, another_runs_frame_is_refused)
{
    unsigned char at[ROOM];
    struct frame out;
    size_t stored = make(at);
    cr_assert_eq(frame_open(at, stored, 78, 3, 5000, &out), -EBADMSG);
    cr_assert_eq(frame_open(at, stored, 77, 4, 5000, &out), -EBADMSG);
    cr_assert_eq(frame_open(at, stored, 77, 3, 5001, &out), -EBADMSG);
    cr_assert_eq(frame_open(at, stored + FRAME_LINE_BYTES, 77, 3, 5000, &out), -EBADMSG);
    cr_assert_eq(frame_open(at, stored - FRAME_LINE_BYTES, 77, 3, 5000, &out), -EBADMSG);
    for (size_t cut = 0; cut < FRAME_HEADER_BYTES; cut++)
        cr_assert_eq(open_usual(at, cut), -EBADMSG);
}

/* A changed bit is noticed wherever it matters. What it may change is the length within the last
 * line, which the coder notices. */
Test(frame, changed_bits_are_noticed)
{
    unsigned char at[ROOM];
    size_t stored = make(at);
    unsigned let_through = 0;
    for (size_t bit = 0; bit < FRAME_HEADER_BYTES * 8; bit++) {
        at[bit / 8] ^= (unsigned char)(1 << bit % 8);
        let_through += open_usual(at, stored) == 0;
        at[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    cr_assert_leq(let_through, 6);
    cr_assert_eq(open_usual(at, stored), 0);
}

Test(frame, noise_is_no_frame)
{
    uint64_t seed = 4;
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = seed % 200;
        unsigned char *at = malloc(len + 1);
        for (size_t i = 0; i < len; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            at[i] = (unsigned char)(seed >> 56);
        }
        cr_assert_eq(open_usual(at, len), -EBADMSG);
        seed += 11;
        free(at);
    }
}

/* ---- pieces ---- */

Test(frame, pieces_of_every_length_fit_and_waste_little)
{
    struct run run = {.code = 1};
    for (unsigned skip = 0; skip < REGION_ALIGN; skip += 1344) {
        for (unsigned lines = 1; lines <= RUN_MAX_BYTES / FRAME_LINE_BYTES; lines += 7) {
            run.lines = (uint16_t)lines;
            run.skip = (uint16_t)skip;
            uint64_t region = run_region_bytes(&run), offset = 0, extents = 0;
            uint32_t pieces = run_pieces(&run);
            cr_assert(pieces >= 1 && pieces <= 3);
            for (uint32_t i = 0; i < pieces; i++) {
                struct piece piece = run_piece(&run, i);
                cr_assert_eq(piece.offset, offset);
                cr_assert_gt(piece.len, 0);
                cr_assert_eq(piece.len % REGION_ALIGN, 0);
                offset += piece.len;
                uint64_t extent = DISK_EXTENT_MIN_BYTES;
                while (extent < piece.len)
                    extent *= 2;
                extents += extent;
            }
            cr_assert_eq(offset, region);
            cr_assert_leq(extents, (region + DISK_EXTENT_MIN_BYTES) * 8 / 7, "%u lines: %llu",
                          lines, (unsigned long long)extents);
        }
    }
}

/* ---- workers ---- */

enum { TASKS = 200 };

struct note {
    struct task task;
    unsigned number;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shut;
    unsigned order[TASKS], count, waiting;
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note_run(struct task *task)
{
    struct note *note = (struct note *)task;
    pthread_mutex_lock(&notes.lock);
    notes.waiting++;
    while (notes.shut)
        pthread_cond_wait(&notes.changed, &notes.lock);
    notes.waiting--;
    notes.order[notes.count++] = note->number;
    pthread_mutex_unlock(&notes.lock);
}

static bool one_waits(void *context)
{
    (void)context;
    pthread_mutex_lock(&notes.lock);
    bool waits = notes.waiting > 0;
    pthread_mutex_unlock(&notes.lock);
    return waits;
}

static void notes_let(void)
{
    pthread_mutex_lock(&notes.lock);
    notes.shut = false;
    pthread_cond_broadcast(&notes.changed);
    pthread_mutex_unlock(&notes.lock);
}

Test(frame, workers_take_what_goes_first_first)
{
    static struct workers workers;
    static struct note list[6];
    int why;
    cr_assert_eq(workers_init(&workers, &fault_os), 0);
    cr_assert_eq(workers_start(&workers, 1, &why), 0);
    notes.shut = true;
    for (unsigned i = 0; i < 6; i++)
        list[i] = (struct note){.task = {.run = note_run}, .number = i};
    workers_submit(&workers, &list[0].task, false);
    cr_assert(wait_until(one_waits, NULL));
    workers_submit(&workers, &list[1].task, false);
    workers_submit(&workers, &list[2].task, true);
    workers_submit(&workers, &list[3].task, false);
    workers_submit(&workers, &list[4].task, true);
    workers_submit(&workers, &list[5].task, false);
    cr_assert(workers_is_pending(&workers, &list[3].task));
    cr_assert(workers_cancel(&workers, &list[3].task));
    cr_assert_not(workers_cancel(&workers, &list[3].task));
    cr_assert_not(workers_cancel(&workers, &list[0].task));
    cr_assert_not(workers_on_thread(&workers));
    notes_let();
    workers_wait_idle(&workers);
    static const unsigned wanted[] = {0, 2, 4, 1, 5};
    cr_assert_eq(notes.count, 5);
    cr_assert(memcmp(notes.order, wanted, sizeof(wanted)) == 0);
    workers_fini(&workers);
}

Test(frame, corks_wake_nobody_until_the_last_is_out)
{
    static struct workers workers;
    static struct note list[TASKS];
    int why;
    cr_assert_eq(workers_init(&workers, &fault_os), 0);
    cr_assert_eq(workers_start(&workers, 3, &why), 0);
    for (unsigned i = 0; i < TASKS; i++) {
        list[i] = (struct note){.task = {.run = note_run}, .number = i};
        workers_cork(&workers);
        if (i % 3 == 0)
            workers_cork(&workers);
        workers_submit(&workers, &list[i].task, i % 2);
        if (i % 3 == 0)
            workers_uncork(&workers);
        workers_uncork(&workers);
    }
    workers_wait_idle(&workers);
    cr_assert_eq(notes.count, TASKS);
    workers_fini(&workers);
}

Test(frame, workers_wanted)
{
    cr_assert_eq(workers_wanted(1), 1);
    cr_assert_eq(workers_wanted(2), 1);
    cr_assert_eq(workers_wanted(3), 2);
    cr_assert_eq(workers_wanted(5), 4);
    cr_assert_eq(workers_wanted(256), 4);
}

/* ---- the device gauge, with a clock of our own ---- */

#define MS UINT64_C(1000000)

/* Runs of so many MiB. */
static const struct run two = {.bytes = 2 * MIB, .count = 1},
                        three = {.bytes = 3 * MIB, .count = 1};

static void gauge_open(struct bed *bed)
{
    static const struct setting settings[] = {
        {"memory", "64MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};
    bed_open(bed, settings, 1);
    fault_clock_set(1000 * MS);
}

Test(frame, the_device_is_measured_while_it_has_enough_to_do)
{
    struct bed bed;
    gauge_open(&bed);
    spw_pool *pool = bed.pool;
    const struct device_gauge *gauge = &pool->coding.gauge;
    /* One run at a time says nothing, be it fast or slow. */
    for (unsigned i = 0; i < 50; i++) {
        coding_write_begins(pool);
        fault_clock_advance(MS);
        coding_write_ended(pool, &two, false);
        fault_clock_advance(9 * MS);
    }
    cr_assert_eq(gauge->busy_ns, 0);
    /* Neither does a burst. */
    coding_write_begins(pool);
    coding_write_begins(pool);
    fault_clock_advance(MS);
    coding_write_ended(pool, &two, false);
    coding_write_ended(pool, &two, false);
    cr_assert_eq(gauge->busy_ns, 0);
    fault_clock_advance(5 * MS);
    /* Always two, but for a moment: 2 MiB each 10 ms. */
    coding_write_begins(pool);
    for (unsigned i = 0; i < 20; i++) {
        coding_write_begins(pool);
        fault_clock_advance(10 * MS);
        coding_write_ended(pool, &two, false);
    }
    cr_assert_geq(gauge->busy_ns, 150 * MS);
    double rate = (double)gauge->written_bytes / (double)gauge->busy_ns * 1e9 / (double)MIB;
    cr_assert(rate > 195 && rate < 205, "%.1f MiB/s", rate);
    coding_write_ended(pool, &two, false);
    fault_clock_real();
    bed_close(&bed);
}

Test(frame, one_run_is_enough_where_the_window_holds_no_more)
{
    struct bed bed;
    gauge_open(&bed);
    spw_pool *pool = bed.pool;
    atomic_store(&pool->counters->in_flight_bytes, budget_window(pool));
    for (unsigned i = 0; i < 10; i++) {
        coding_write_begins(pool);
        fault_clock_advance(30 * MS);
        coding_write_ended(pool, &three, false);
    }
    cr_assert_geq(pool->coding.gauge.busy_ns, 290 * MS);
    cr_assert_geq(pool->coding.gauge.full_ns, 290 * MS);
    cr_assert_eq(pool->coding.gauge.passed_bytes, 30 * MIB);
    uint64_t before = pool->coding.gauge.busy_ns;
    atomic_store(&pool->coding.encoding, 1); /* then it is the coder that keeps the others back */
    coding_write_begins(pool);
    fault_clock_advance(300 * MS);
    coding_write_ended(pool, &three, false);
    cr_assert_eq(pool->coding.gauge.busy_ns, before);
    atomic_store(&pool->coding.encoding, 0);
    atomic_store(&pool->counters->in_flight_bytes, 0);
    fault_clock_real();
    bed_close(&bed);
}
