/* SPDX-License-Identifier: MIT */
/* The adaptive policy: over figures and a clock that the test moves, and attached to a real pool
 * over a device that is as slow as the test wants. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policies/adaptive_decide.h"
#include "../policies/pace.h"
#include "../pool/engine_impl.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"
#include "regulator_tools.h"

#define GIB (1024 * MIB)

/* ---- a pool in figures ---- */

struct course {
    spw_regulator *regulator;
    spw_outlook outlook;
    spw_orders orders;
    uint64_t threshold_bytes, prefetch_ns; /* as ordered */
    unsigned raises, lowers, backs, turns;
    int direction;
    char *text; /* one line for each decision; NULL: none are kept */
    size_t text_bytes, text_used;
};

static void course_look(struct course *course)
{
    spw_orders orders = figures_no_orders();
    course->regulator->ops->apply(course->regulator, &course->outlook, &orders);
    course->orders = orders;
    if (orders.threshold_bytes != SPILLWAY_KEEP)
        course->threshold_bytes = orders.threshold_bytes;
    if (orders.prefetch_ns != SPILLWAY_KEEP)
        course->prefetch_ns = orders.prefetch_ns;
    int direction = 0;
    if (orders.action && strcmp(orders.action, "raise") == 0)
        direction = 1, course->raises++;
    if (orders.action && strcmp(orders.action, "lower") == 0)
        direction = -1, course->lowers++;
    if (orders.action && strcmp(orders.action, "back") == 0)
        direction = course->direction > 0 ? -1 : 1, course->backs++;
    if (direction != 0 && course->direction != 0 && direction != course->direction)
        course->turns++;
    if (direction != 0)
        course->direction = direction;
    if (!orders.action || !course->text)
        return;
    int n = snprintf(course->text + course->text_used, course->text_bytes - course->text_used,
                     "%5u s  %s: %s\n",
                     (unsigned)((course->outlook.now_ns - 100 * SECOND_NS) / SECOND_NS),
                     orders.action, orders.reason);
    cr_assert_gt(n, 0);
    course->text_used += (size_t)n;
    cr_assert_lt(course->text_used, course->text_bytes);
}

static struct course course_open_with(const spw_adaptive_config *config)
{
    struct course course = {.outlook = {.size = sizeof(spw_outlook),
                                        .now_ns = 100 * SECOND_NS,
                                        .budget_bytes = GIB,
                                        .ceiling_bytes = GIB,
                                        .used_bytes = 100 * MIB,
                                        .queues = 16}};
    spw_adaptive_config known = *config;
    known.size = sizeof(known);
    known.allocator = &fault_allocator;
    cr_assert_eq(spw_adaptive_open(&known, &course.regulator), 0);
    course_look(&course);
    cr_assert_null(course.orders.action);
    return course;
}

static struct course course_open(void)
{
    return course_open_with(&(spw_adaptive_config){.price_ns = 0});
}

static void course_close(struct course *course)
{
    course->regulator->ops->close(course->regulator);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* What happens in a second. */
struct second {
    uint64_t spilled_bytes, fetched_bytes, hasty_bytes;
    uint64_t writer_wait_ns, reader_wait_ns, freed_byte_seconds;
    uint64_t runs, late_runs;
};

static const struct second still = {0};
static const struct second hasty = {
    .spilled_bytes = 50 * MIB, .fetched_bytes = 50 * MIB, .hasty_bytes = 40 * MIB};
static const struct second busy = {.spilled_bytes = 50 * MIB,
                                   .fetched_bytes = 50 * MIB,
                                   .freed_byte_seconds = 10 * GIB,
                                   .runs = 25};
/* Each GiB out of memory costs half a second. */
static const struct second dear = {
    .spilled_bytes = 50 * MIB, .reader_wait_ns = SECOND_NS / 4, .freed_byte_seconds = 512 * MIB};

static void course_pass(struct course *course, const struct second *second, unsigned seconds)
{
    spw_outlook *outlook = &course->outlook;
    for (unsigned i = 0; i < seconds; i++) {
        outlook->now_ns += SECOND_NS;
        outlook->spilled_bytes_total += second->spilled_bytes;
        outlook->fetched_bytes_total += second->fetched_bytes;
        outlook->hasty_bytes_total += second->hasty_bytes;
        outlook->writer_wait_ns_total += second->writer_wait_ns;
        outlook->reader_wait_ns_total += second->reader_wait_ns;
        outlook->freed_byte_seconds_total += second->freed_byte_seconds;
        outlook->fetched_runs_total += second->runs;
        outlook->late_runs_total += second->late_runs;
        course_look(course);
    }
}

/* ---- the threshold ---- */

/* 32 MiB each follow from a GiB and 16 queues. */
Test(adaptive, what_is_fetched_again_at_once_raises_the_threshold)
{
    struct course course = course_open();
    course_pass(&course, &hasty, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    cr_assert_str_eq(course.orders.action, "raise");
    cr_assert_str_eq(course.orders.reason, "40MiB of 50MiB were fetched within 1s after they were "
                                           "spilled: threshold 64MiB instead of 32MiB");
    course_pass(&course, &hasty, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB, "what that does is not seen yet");
    course_pass(&course, &hasty, 1);
    cr_assert_eq(course.threshold_bytes, 128 * MIB);
    course_pass(&course, &hasty, 20);
    cr_assert_eq(course.threshold_bytes, 512 * MIB, "half of the budget");
    cr_assert_eq(course.raises, 4);
    course_close(&course);
}

Test(adaptive, and_it_goes_back_slowly)
{
    struct course course = course_open();
    course_pass(&course, &hasty, 3);
    cr_assert_eq(course.threshold_bytes, 128 * MIB);
    course_pass(&course, &busy, 29);
    cr_assert_eq(course.threshold_bytes, 128 * MIB);
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    cr_assert_str_eq(course.orders.action, "back");
    course_pass(&course, &busy, 30);
    cr_assert_eq(course.threshold_bytes, 0, "as it follows from the budget");
    course_pass(&course, &busy, 300);
    cr_assert_eq(course.backs, 2);
    cr_assert_eq(course.lowers, 0);
    course_close(&course);
}

Test(adaptive, what_is_waited_for_longer_than_it_is_worth_raises_it_too)
{
    struct course course = course_open();
    course_pass(&course, &dear, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    cr_assert(strstr(course.orders.reason, "250ms waited in 1s while 512MiB were out of memory"),
              "%s", course.orders.reason);
    course_close(&course);
    /* who may wait longer does */
    course = course_open_with(&(spw_adaptive_config){.price_ns = SECOND_NS});
    course_pass(&course, &dear, 60);
    cr_assert_eq(course.threshold_bytes, 0);
    course_close(&course);
    /* also where that is said later */
    course = course_open();
    course.regulator->ops->set(course.regulator, "price", "1s");
    course.regulator->ops->set(course.regulator, "period", "1ms");
    course_pass(&course, &dear, 60);
    cr_assert_eq(course.threshold_bytes, 0);
    course_close(&course);
    /* for nothing at all, and for what is not worth a thought */
    course = course_open();
    struct second second = {.spilled_bytes = 50 * MIB, .reader_wait_ns = SECOND_NS / 100};
    course_pass(&course, &second, 60);
    cr_assert_eq(course.threshold_bytes, 0);
    second.reader_wait_ns = SECOND_NS / 10;
    course_pass(&course, &second, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    course_close(&course);
}

Test(adaptive, where_writers_wait_for_memory_spilling_begins_sooner)
{
    struct course course = course_open();
    struct second second = busy;
    second.writer_wait_ns = SECOND_NS / 5;
    course_pass(&course, &second, 3);
    cr_assert_eq(course.threshold_bytes, 0, "not for want of memory");
    course.outlook.used_bytes = 700 * MIB;
    course_pass(&course, &second, 1);
    cr_assert_eq(course.threshold_bytes, 16 * MIB);
    cr_assert_str_eq(course.orders.action, "lower");
    course_pass(&course, &second, 20);
    cr_assert_eq(course.threshold_bytes, 8 * MIB, "a quarter");
    course_pass(&course, &busy, 60);
    cr_assert_eq(course.threshold_bytes, 0);
    course_close(&course);
}

Test(adaptive, nothing_is_raised_without_memory_for_it)
{
    struct course course = course_open();
    course.outlook.used_bytes = 600 * MIB;
    course_pass(&course, &hasty, 10);
    cr_assert_eq(course.threshold_bytes, 0);
    course.outlook.warm_bytes = 200 * MIB;
    course_pass(&course, &hasty, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB, "what is warm is free for the asking");
    course.outlook.budget_bytes = 512 * MIB;
    course.outlook.used_bytes = 100 * MIB;
    course_pass(&course, &hasty, 10);
    cr_assert_eq(course.threshold_bytes, 32 * MIB, "pressure: no step more, of a smaller budget");
    cr_assert_eq(course.raises, 1);
    course_close(&course);
}

/* Much comes back that was spilled long ago; and of much that goes, little comes back. */
Test(adaptive, between_much_and_little_nothing_changes)
{
    struct course course = course_open();
    struct second second = {
        .spilled_bytes = 50 * MIB, .fetched_bytes = 10 * MIB, .hasty_bytes = 10 * MIB};
    course_pass(&course, &second, 60);
    cr_assert_eq(course.threshold_bytes, 0);
    course_pass(&course, &hasty, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    course_pass(&course, &second, 600);
    cr_assert_eq(course.threshold_bytes, 64 * MIB, "no reason to go back either");
    struct second little = {
        .spilled_bytes = 64 * KIB, .fetched_bytes = 64 * KIB, .hasty_bytes = 64 * KIB};
    course_pass(&course, &little, 100);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    course_close(&course);
}

/* Waves of every length: it goes up, and does not swing. */
Test(adaptive, a_square_wave_does_not_make_it_swing)
{
    for (unsigned half_s = 1; half_s <= 240; half_s += half_s < 10 ? 1 : 10) {
        struct course course = course_open();
        unsigned late_turns = 0;
        for (unsigned s = 0; s < 4 * 3600; s += 2 * half_s) {
            if (s < 2 * 3600)
                late_turns = course.turns;
            course_pass(&course, &hasty, half_s);
            course_pass(&course, &busy, half_s);
        }
        late_turns = course.turns - late_turns;
        cr_assert_leq(course.turns, 24, "%u turns with %u s", course.turns, half_s);
        cr_assert_leq(late_turns, 6, "%u turns in the last two hours with %u s", late_turns,
                      half_s);
        course_close(&course);
    }
}

/* The same between haste and want of memory. */
Test(adaptive, nor_does_one_between_two_evils)
{
    struct second want = busy;
    want.writer_wait_ns = SECOND_NS / 2;
    struct course course = course_open();
    for (unsigned i = 0; i < 360; i++) {
        course.outlook.used_bytes = 100 * MIB;
        course_pass(&course, &hasty, 5);
        course.outlook.used_bytes = 900 * MIB;
        course_pass(&course, &want, 5);
    }
    /* each way at most once in 30 s */
    cr_assert_leq(course.turns, 3600 / 30);
    course_close(&course);
}

Test(adaptive, the_order_follows_budget_and_queues)
{
    struct course course = course_open();
    course_pass(&course, &hasty, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    course.outlook.queues = 64;
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.threshold_bytes, 16 * MIB);
    cr_assert_null(course.orders.action);
    course.outlook.queues = 1;
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.threshold_bytes, 512 * MIB, "256 MiB follow, at most");
    course.outlook.budget_bytes = course.outlook.ceiling_bytes = 128 * MIB;
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.threshold_bytes, 64 * MIB);
    course_close(&course);
}

/* ---- reading ahead ---- */

Test(adaptive, what_is_read_ahead_follows_the_device)
{
    struct course course = course_open();
    course_pass(&course, &busy, 3);
    cr_assert_eq(course.prefetch_ns, 0, "nothing was read yet");
    course.outlook.device_read_ns = 3 * MS_NS;
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.prefetch_ns, 6 * MS_NS);
    cr_assert_str_eq(course.orders.action, "ahead");
    /* a little more or less is nothing */
    for (unsigned i = 0; i < 20; i++) {
        course.outlook.device_read_ns = (i % 2 ? 4 : 2) * MS_NS;
        course_pass(&course, &busy, 1);
        cr_assert_eq(course.prefetch_ns, 6 * MS_NS);
    }
    course.outlook.device_read_ns = 30 * MS_NS;
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.prefetch_ns, 60 * MS_NS);
    cr_assert_str_eq(course.orders.action, "ahead");
    course.outlook.device_read_ns = MS_NS;
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.prefetch_ns, 2 * MS_NS);
    cr_assert_null(course.orders.action, "that often it is not told");
    course_close(&course);
}

Test(adaptive, what_is_late_makes_it_deeper)
{
    struct second second = busy;
    struct course course = course_open();
    course.outlook.device_read_ns = 3 * MS_NS;
    course_pass(&course, &busy, 1);
    second.late_runs = 1;
    course_pass(&course, &second, 10);
    cr_assert_eq(course.prefetch_ns, 6 * MS_NS, "once now and then");
    second.late_runs = 5;
    course_pass(&course, &second, 1);
    cr_assert_eq(course.prefetch_ns, 12 * MS_NS);
    cr_assert_str_eq(course.orders.action, "deeper");
    cr_assert(strstr(course.orders.reason, "takes 3ms, 5 of 25 were late"), "%s",
              course.orders.reason);
    course_pass(&course, &second, 30);
    cr_assert_eq(course.prefetch_ns, 64 * 3 * MS_NS);
    course_pass(&course, &busy, 30);
    cr_assert_eq(course.prefetch_ns, 32 * 3 * MS_NS);
    cr_assert_str_eq(course.orders.action, "shallow");
    course.outlook.device_read_ns = 3 * SECOND_NS;
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.prefetch_ns, 10 * SECOND_NS, "no farther");
    course_pass(&course, &busy, 600);
    cr_assert_eq(course.prefetch_ns, 6 * SECOND_NS);
    course_close(&course);
}

/* ---- looking, and being opened ---- */

Test(adaptive, it_looks_each_second_while_something_moves)
{
    struct course course = course_open();
    cr_assert_eq(course.orders.wake_ns, SPILLWAY_NEVER);
    cr_assert_eq(course.orders.wake_in_use_ns, course.outlook.now_ns + SECOND_NS);
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.orders.wake_in_use_ns, course.outlook.now_ns + SECOND_NS);
    /* called too soon it waits */
    uint64_t due_ns = course.orders.wake_in_use_ns;
    course.outlook.now_ns += SECOND_NS / 2;
    course.outlook.hasty_bytes_total += 40 * MIB;
    course.outlook.spilled_bytes_total += 40 * MIB;
    course_look(&course);
    cr_assert_null(course.orders.action);
    cr_assert_eq(course.orders.wake_in_use_ns, due_ns);
    course.outlook.now_ns = due_ns;
    course_look(&course);
    cr_assert_str_eq(course.orders.action, "raise");
    /* and less and less while nothing does */
    for (unsigned i = 1; i < 6; i++) {
        course.outlook.now_ns = course.orders.wake_in_use_ns;
        course_look(&course);
        cr_assert_eq(course.orders.wake_in_use_ns - course.outlook.now_ns,
                     (i < 3 ? 1u << i : 8) * SECOND_NS);
    }
    course_pass(&course, &busy, 1);
    cr_assert_eq(course.orders.wake_in_use_ns, course.outlook.now_ns + SECOND_NS);
    course_pass(&course, &still, 1);
    cr_assert_eq(course.orders.wake_in_use_ns, course.outlook.now_ns + 2 * SECOND_NS);
    course_close(&course);
}

Test(adaptive, what_somebody_has_set_stays)
{
    struct second second = hasty;
    second.runs = 25;
    second.late_runs = 5;
    for (int i = 0; i < 2; i++) {
        struct course course =
            course_open_with(&(spw_adaptive_config){.keeps_threshold = !i, .keeps_prefetch = i});
        course.outlook.device_read_ns = MS_NS;
        course_pass(&course, &second, 20);
        cr_assert_eq(course.threshold_bytes > 0, i);
        cr_assert_eq(course.prefetch_ns > 0, !i);
        course_close(&course);
    }
}

Test(adaptive, opens_or_refuses)
{
    spw_adaptive_config config = {.size = sizeof(config), .allocator = &fault_allocator};
    spw_regulator *regulator = NULL;
    config.price_ns = SPILLWAY_NEVER;
    cr_assert_eq(spw_adaptive_open(&config, &regulator), -EINVAL);
    config.price_ns = 0;
    config.size--;
    cr_assert_eq(spw_adaptive_open(&config, &regulator), -EINVAL);
    config.size++;
    fault_alloc_after(1);
    cr_assert_eq(spw_adaptive_open(&config, &regulator), -ENOMEM);
    cr_assert_null(regulator);
    cr_assert_eq(spw_adaptive_open(NULL, &regulator), 0);
    cr_assert_str_eq(regulator->ops->name, "adaptive");
    regulator->ops->close(regulator);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- how fast a queue is drained ---- */

Test(adaptive, a_pace_goes_up_at_once_and_comes_down_slowly)
{
    struct pace pace = {0};
    uint64_t now_ns = 77 * SECOND_NS, position = 5000;
    pace_look(&pace, position, MS_NS, now_ns);
    cr_assert_eq(pace_bytes(&pace, SECOND_NS), 0);
    pace_look(&pace, position + MIB, MS_NS, now_ns + 9 * MS_NS);
    cr_assert_eq(pace_bytes(&pace, SECOND_NS), 0, "too short to tell");
    pace_look(&pace, position += MIB, MS_NS, now_ns += 10 * MS_NS);
    cr_assert_eq(pace_bytes(&pace, SECOND_NS), 100 * MIB);
    cr_assert_eq(pace_bytes(&pace, 20 * MS_NS), 2 * MIB);
    pace_look(&pace, position += 5 * MIB, 50 * MS_NS, now_ns += 40 * MS_NS);
    cr_assert_eq(pace_bytes(&pace, SECOND_NS), 100 * MIB, "as long as the window");
    pace_look(&pace, position += 5 * MIB, 50 * MS_NS, now_ns += 10 * MS_NS);
    cr_assert_eq(pace_bytes(&pace, SECOND_NS), 200 * MIB);
    pace_look(&pace, position, MS_NS, now_ns += SECOND_NS);
    cr_assert_gt(pace_bytes(&pace, SECOND_NS), 180 * MIB, "a pause is no end");
    pace_look(&pace, position, MS_NS, now_ns += 10 * SECOND_NS);
    cr_assert_lt(pace_bytes(&pace, SECOND_NS), 100 * MIB);
    cr_assert_eq(pace_bytes(&pace, UINT64_MAX), (uint64_t)(pace.rate * ((double)UINT64_MAX / 1e9)));
    pace.rate = 1e30;
    cr_assert_eq(pace_bytes(&pace, SECOND_NS), UINT64_MAX / 2);
}

/* ---- on a pool ---- */

static const struct setting on_disk[] = {
    {"memory", "64MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};

enum { IDLE_QUEUES = 31, PIECE = 65536, ROUNDS = 10 };

struct looks {
    struct bed *bed;
    uint64_t due_ns; /* of the next look, before this one */
};

static uint64_t due_ns(const struct bed *bed)
{
    struct governor *governor = &bed->pool->governor;
    pthread_mutex_lock(&governor->lock);
    uint64_t due_ns = governor->regulators[0]->wake_in_use_ns;
    pthread_mutex_unlock(&governor->lock);
    return due_ns;
}

static bool has_looked(void *context)
{
    const struct looks *looks = context;
    return due_ns(looks->bed) != looks->due_ns && governor_is_quiet(&looks->bed->pool->governor);
}

/* Time passes, and the policy looks. */
static void look(struct bed *bed)
{
    struct looks looks = {bed, due_ns(bed)};
    fault_clock_advance(2 * SECOND_NS + MS_NS);
    spw_governor_wake(spw_pool_governor(bed->pool), NULL);
    cr_assert(wait_until(has_looked, &looks));
}

static void attach(struct bed *bed)
{
    spw_regulator *regulator;
    cr_assert_eq(spw_adaptive_open(NULL, &regulator), 0);
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed->pool), regulator), 0);
    struct looks looks = {bed, SPILLWAY_NEVER};
    cr_assert(wait_until(has_looked, &looks));
}

static void put(const struct ends *ends, uint64_t *end, uint64_t bytes)
{
    for (uint64_t to = *end + bytes; *end < to; *end += PIECE) {
        spw_bytes piece = stream_piece(*end, PIECE);
        cr_assert_eq(spw_writer_extend(ends->writer, &piece, 1, 0), 0);
    }
}

static void take(const struct ends *ends, uint64_t *at, uint64_t bytes)
{
    spw_bytes piece;
    for (uint64_t to = *at + bytes; *at < to; *at += PIECE) {
        cr_assert_eq(spw_reader_drain_wait(ends->reader, &piece, 1, SPILLWAY_FOREVER), 1);
        cr_assert(piece.len == PIECE && stream_is(&piece, *at));
        spw_bytes_release(&piece);
    }
}

/*
 * Most queues are idle, so each may keep little, though memory is free; and the reader of one is
 * right behind its writer. Returns what was spilled in each round.
 */
static spw_stats thrash(bool adaptive, uint64_t spilled_bytes[ROUNDS])
{
    struct bed bed;
    struct ends idle[IDLE_QUEUES], ends;
    uint64_t end = 0, at = 0, before = 0;
    bed_open(&bed, on_disk, 1);
    fault_clock_set(1000 * SECOND_NS);
    for (unsigned i = 0; i < IDLE_QUEUES; i++)
        idle[i] = ends_open(&bed);
    ends = ends_open(&bed);
    if (adaptive)
        attach(&bed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 3; i++) {
            put(&ends, &end, 4 * MIB);
            bed_quiet(&bed); /* all of it is stored */
            take(&ends, &at, 4 * MIB);
        }
        if (adaptive)
            look(&bed);
        spilled_bytes[round] = bed_quiet(&bed).spilled_bytes_total - before;
        before += spilled_bytes[round];
    }
    fault_clock_real();
    spw_stats stats = bed_quiet(&bed);
    for (unsigned i = 0; i < IDLE_QUEUES; i++)
        ends_close(&idle[i]);
    ends_close(&ends);
    bed_close(&bed);
    return stats;
}

Test(adaptive, ends_what_is_spilled_and_fetched_at_once)
{
    uint64_t with_bytes[ROUNDS], without_bytes[ROUNDS];
    spw_stats with = thrash(true, with_bytes), without = thrash(false, without_bytes);
    cr_assert_gt(without_bytes[ROUNDS - 1], 6 * MIB);
    cr_assert_gt(with_bytes[0], 6 * MIB);
    for (unsigned round = ROUNDS / 2; round < ROUNDS; round++)
        cr_assert_eq(with_bytes[round], 0, "in round %u", round);
    cr_assert_lt(2 * with.spilled_bytes_total, without.spilled_bytes_total);
    cr_assert_lt(2 * with.hasty_bytes_total, without.hasty_bytes_total);
    cr_assert_gt(with.decisions_total, 0);
}

/* ---- on a pool, over a device of the test's own ---- */

/*
 * Time is the test's: a read takes so much of it, four at a time, and a reader takes one run in
 * every other millisecond if it is there. Nothing depends on how fast the machine is.
 */
enum { DEVICE_READS = 4, PHASE_STEPS = 80, RUN_BYTES = PIECE };

static struct {
    _Atomic uint64_t read_ns;
    _Atomic uint64_t until_ns[DEVICE_READS]; /* of reads that wait for their time; 0: none */
    _Atomic bool off;
} device;

static void device_read(void *context)
{
    (void)context;
    uint64_t until_ns = fault_os.clock_ns() + atomic_load(&device.read_ns), none = 0;
    unsigned slot = 0;
    while (!atomic_compare_exchange_strong(&device.until_ns[slot], &none, until_ns)) {
        slot = (slot + 1) % DEVICE_READS;
        none = 0;
    }
    while (!atomic_load(&device.off) && fault_os.clock_ns() < until_ns)
        nap();
    atomic_store(&device.until_ns[slot], 0);
}

/* What is due has been read and its run told so, and as much waits for its time as there is to
 * wait. */
static bool device_is_settled(void *context)
{
    const struct bed *bed = context;
    struct engine *engine = bed->pool->engine;
    uint64_t reads = bed_stats(bed).reading_bytes / RUN_BYTES, waiting = 0;
    pthread_mutex_lock(&engine->lock);
    bool told = engine->outstanding == reads;
    pthread_mutex_unlock(&engine->lock);
    if (!told)
        return false;
    for (unsigned i = 0; i < DEVICE_READS; i++) {
        uint64_t until_ns = atomic_load(&device.until_ns[i]);
        if (until_ns != 0 && until_ns <= fault_os.clock_ns())
            return false;
        waiting += until_ns != 0;
    }
    return waiting == (reads < DEVICE_READS ? reads : DEVICE_READS);
}

static void step(struct bed *bed)
{
    cr_assert(wait_until(device_is_settled, bed));
    fault_clock_advance(MS_NS);
    cr_assert(wait_until(device_is_settled, bed));
}

/* A reader takes a run in each step, if it is there; then all is read that was asked for, and the
 * policy looks, twice since it takes one decision at a time. Returns how many runs were late. */
static uint64_t phase(struct bed *bed, const struct ends *ends, uint64_t *at, uint64_t read_ns)
{
    uint64_t late = bed_stats(bed).late_runs_total;
    atomic_store(&device.read_ns, read_ns);
    for (unsigned i = 0; i < PHASE_STEPS; i++) {
        spw_bytes piece;
        long got = spw_reader_drain(ends->reader, &piece, 1);
        cr_assert(got == 1 || got == -EAGAIN);
        if (got == 1) {
            cr_assert(piece.len == PIECE && stream_is(&piece, *at));
            spw_bytes_release(&piece);
            *at += PIECE;
        }
        step(bed);
        step(bed);
    }
    late = bed_stats(bed).late_runs_total - late;
    while (bed_stats(bed).reading_bytes > 0)
        step(bed);
    look(bed);
    look(bed);
    return late;
}

static uint64_t ordered_ns(const struct bed *bed)
{
    return atomic_load(&bed->pool->prefetch_ns);
}

/* What was read and is not drained. */
static uint64_t ahead_bytes(const struct bed *bed)
{
    spw_stats stats = bed_stats(bed);
    return stats.loaded_bytes + stats.lent_bytes;
}

Test(adaptive, a_device_that_gets_slow_is_read_ahead_from_farther)
{
    static const struct setting settings[] = {
        {"memory", "16MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
    struct bed bed;
    struct ends idle[IDLE_QUEUES], ends;
    uint64_t end = 0, at = 0;
    bed_open(&bed, settings, 1);
    fault_clock_set(1000 * SECOND_NS);
    for (unsigned i = 0; i < IDLE_QUEUES; i++)
        idle[i] = ends_open(&bed);
    ends = ends_open(&bed);
    attach(&bed);
    put(&ends, &end, 8 * PHASE_STEPS * RUN_BYTES);
    bed_quiet(&bed);
    atomic_store(&device.off, false);
    fault_hook(FAULT_PREAD, device_read, NULL);
    phase(&bed, &ends, &at, MS_NS); /* as far as there is memory, since nothing is known yet */
    cr_assert_eq(phase(&bed, &ends, &at, MS_NS), 0);
    cr_assert_eq(phase(&bed, &ends, &at, MS_NS), 0);
    uint64_t fast_ns = ordered_ns(&bed), fast_bytes = ahead_bytes(&bed);
    cr_assert_gt(fast_ns, 0);
    uint64_t late = phase(&bed, &ends, &at, 6 * MS_NS);
    cr_assert_gt(late, PHASE_STEPS / 10);
    cr_assert_gt(ordered_ns(&bed), 2 * fast_ns);
    phase(&bed, &ends, &at, 6 * MS_NS);
    uint64_t last = phase(&bed, &ends, &at, 6 * MS_NS);
    cr_assert_lt(4 * last, late, "%llu of %u are late, %llu were", (unsigned long long)last,
                 PHASE_STEPS, (unsigned long long)late);
    cr_assert_gt(ahead_bytes(&bed), fast_bytes);
    atomic_store(&device.off, true);
    fault_hook(FAULT_PREAD, NULL, NULL);
    fault_clock_real();
    take(&ends, &at, end - at);
    for (unsigned i = 0; i < IDLE_QUEUES; i++)
        ends_close(&idle[i]);
    ends_close(&ends);
    bed_close(&bed);
}
