/* SPDX-License-Identifier: MIT */
/* One budget over many queues: what is needed last goes first, whoever's it is, and nothing breaks
 * when queues come and go meanwhile. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/queue.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#define MS UINT64_C(1000000)

static const struct setting roomy[] = {{"memory", "64MiB"}, {"engine", "threads"}, {NULL, NULL}};
/* No queue spills for itself before the budget is exceeded. */
static const struct setting loose[] = {
    {"memory", "64MiB"}, {"threshold", "64MiB"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting tight[] = {{"memory", "8MiB"}, {"engine", "threads"}, {NULL, NULL}};

enum { PIECE = 50000 };

/* A queue and how far it has come. */
struct line {
    struct ends ends;
    uint64_t end, at;
};

static void line_put(struct line *line, uint64_t bytes)
{
    for (uint64_t end = line->end + bytes; line->end < end; line->end += PIECE) {
        spw_bytes piece = stream_piece(line->end, PIECE);
        cr_assert_eq(spw_writer_extend(line->ends.writer, &piece, 1, 0), 0);
    }
}

static void line_take(struct line *line, uint64_t bytes)
{
    spw_bytes piece;
    for (uint64_t end = line->at + bytes; line->at < end && line->at < line->end;
         line->at += PIECE) {
        cr_assert_eq(spw_reader_drain_wait(line->ends.reader, &piece, 1, SPILLWAY_FOREVER), 1);
        cr_assert_eq(piece.len, PIECE);
        cr_assert(stream_is(&piece, line->at));
        spw_bytes_release(&piece);
    }
}

static void line_close(struct line *line)
{
    line_take(line, UINT64_MAX / 2);
    ends_close(&line->ends);
}

static spw_queue_info info_of(const struct line *line)
{
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_writer_info(line->ends.writer, &info), 0);
    return info;
}

/* Long enough for the governor to have an opinion of a queue. */
static void settle(void)
{
    for (unsigned i = 0; i < 15; i++)
        nap();
}

/* Has the governor look, and waits until it has nothing left to do. */
static void look(struct bed *bed)
{
    governor_call(&bed->pool->governor);
    bed_quiet(bed);
}

static uint64_t keep_of(const struct line *line)
{
    struct queue *queue = line->ends.writer->queue;
    pthread_mutex_lock(&queue->lock);
    uint64_t keep_bytes = queue->view.keep_bytes;
    pthread_mutex_unlock(&queue->lock);
    return keep_bytes;
}

/* ---- who spills ---- */

Test(share, an_idle_writer_gives_up_what_nobody_reads)
{
    struct line idle = {0}, quick = {0}, busy = {0};
    struct bed bed;
    bed_open(&bed, loose, 1);
    idle.ends = ends_open(&bed);
    quick.ends = ends_open(&bed);
    busy.ends = ends_open(&bed);
    /* Spilling begins at 40 MiB. */
    line_put(&idle, 14 * MIB);
    line_put(&quick, 15 * MIB);
    settle();
    line_take(&quick, 3 * MIB);
    cr_assert_eq(bed_quiet(&bed).spilled_bytes_total, 0);
    /* It grows by half a MiB while the other one is drained as fast as it is filled. */
    for (unsigned i = 0; i < 600 && info_of(&idle).paged_bytes <= 5 * MIB; i++) {
        line_put(&busy, 12 * PIECE);
        line_take(&busy, 2 * PIECE);
        line_put(&quick, 4 * PIECE);
        line_take(&quick, 4 * PIECE);
        bed_quiet(&bed); /* the disk is quick enough */
    }
    spw_stats stats = bed_quiet(&bed);
    cr_assert_gt(info_of(&idle).paged_bytes, 4 * MIB, "%llu",
                 (unsigned long long)info_of(&idle).paged_bytes);
    cr_assert_geq(info_of(&idle).resident_bytes, 5 * MIB, "the head reserve stays");
    cr_assert_gt(stats.governor_spilled_bytes_total, 4 * MIB);
    cr_assert_leq(budget_used_by_writers(bed.pool), 41 * MIB);
    cr_assert_lt(info_of(&quick).paged_bytes, 2 * MIB, "%llu",
                 (unsigned long long)info_of(&quick).paged_bytes);
    line_close(&idle);
    line_close(&quick);
    line_close(&busy);
    bed_quiet(&bed);
    bed_close(&bed);
}

/* A single queue is not told anything. */
Test(share, one_queue_decides_for_itself)
{
    struct line line = {0};
    struct bed bed;
    bed_open(&bed, tight, 1);
    line.ends = ends_open(&bed);
    for (unsigned i = 0; i < 20; i++) {
        line_put(&line, MIB);
        nap();
    }
    look(&bed);
    cr_assert_eq(keep_of(&line), UINT64_MAX);
    cr_assert_eq(bed_stats(&bed).governor_spilled_bytes_total, 0);
    line_close(&line);
    bed_close(&bed);
}

Test(share, when_the_budget_is_calm_again_nobody_is_guided)
{
    struct line lines[4] = {{{0}, 0, 0}};
    struct bed bed;
    bed_open(&bed, tight, 1);
    for (unsigned i = 0; i < 4; i++)
        lines[i].ends = ends_open(&bed);
    settle();
    bool guided = false;
    for (unsigned round = 0; round < 200 && !guided; round++) {
        for (unsigned i = 0; i < 4; i++)
            line_put(&lines[i], MIB / 2);
        nap();
        guided = guided || keep_of(&lines[0]) != UINT64_MAX;
    }
    cr_assert(guided);
    for (unsigned i = 0; i < 4; i++)
        line_take(&lines[i], UINT64_MAX / 2);
    line_put(&lines[0], PIECE);
    look(&bed);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(keep_of(&lines[i]), UINT64_MAX);
    for (unsigned i = 0; i < 4; i++)
        line_close(&lines[i]);
    bed_close(&bed);
}

/* ---- orders ---- */

struct commander {
    spw_regulator regulator;
    pthread_mutex_t lock;
    uint64_t spill_bytes, older_ns; /* once; guarded by the lock */
    _Atomic unsigned applied;
};

static void commander_apply(spw_regulator *regulator, const spw_outlook *outlook,
                            spw_orders *orders)
{
    struct commander *commander = (struct commander *)regulator;
    (void)outlook;
    pthread_mutex_lock(&commander->lock);
    orders->spill_bytes = commander->spill_bytes;
    orders->spill_older_ns = commander->older_ns;
    commander->spill_bytes = 0;
    commander->older_ns = SPILLWAY_NEVER;
    pthread_mutex_unlock(&commander->lock);
    atomic_fetch_add(&commander->applied, 1);
}

static void commander_close(spw_regulator *regulator)
{
    (void)regulator;
}

static const spw_regulator_ops commander_ops = {.size = sizeof(commander_ops),
                                                .name = "commander",
                                                .apply = commander_apply,
                                                .close = commander_close};

static void commander_open(struct commander *commander, const struct bed *bed)
{
    *commander = (struct commander){.regulator.ops = &commander_ops, .older_ns = SPILLWAY_NEVER};
    pthread_mutex_init(&commander->lock, NULL);
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed->pool), &commander->regulator), 0);
}

static void command(struct commander *commander, struct bed *bed, uint64_t spill_bytes,
                    uint64_t older_ns)
{
    bed_quiet(bed);
    unsigned applied = atomic_load(&commander->applied);
    pthread_mutex_lock(&commander->lock);
    commander->spill_bytes = spill_bytes;
    commander->older_ns = older_ns;
    pthread_mutex_unlock(&commander->lock);
    spw_governor_wake(spw_pool_governor(bed->pool), "commander");
    for (unsigned i = 0; atomic_load(&commander->applied) == applied; i++) {
        cr_assert_lt(i, 30000);
        nap();
    }
    bed_quiet(bed);
}

Test(share, so_much_is_spilled_as_was_ordered)
{
    struct commander commander;
    struct line lines[2] = {{{0}, 0, 0}};
    struct bed bed;
    bed_open(&bed, roomy, 1);
    lines[0].ends = ends_open(&bed);
    lines[1].ends = ends_open(&bed);
    commander_open(&commander, &bed);
    line_put(&lines[0], 18 * MIB);
    line_put(&lines[1], 18 * MIB);
    settle();
    line_take(&lines[1], 4 * MIB);
    settle();
    command(&commander, &bed, 6 * MIB, SPILLWAY_NEVER);
    spw_stats stats = bed_stats(&bed);
    cr_assert_geq(stats.spilled_bytes_total, 5 * MIB, "%llu",
                  (unsigned long long)stats.spilled_bytes_total);
    cr_assert_leq(stats.spilled_bytes_total, 8 * MIB);
    cr_assert_eq(info_of(&lines[1]).paged_bytes, 0, "nobody drains the other one");
    cr_assert_eq(keep_of(&lines[0]), UINT64_MAX, "an order is no guidance");
    /* All but the head reserves, 8 MiB each, in more than one go of the window. */
    command(&commander, &bed, 1024 * MIB, SPILLWAY_NEVER);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_geq(info_of(&lines[i]).resident_bytes, 8 * MIB);
        cr_assert_leq(info_of(&lines[i]).resident_bytes, 8 * MIB + 2 * PIECE);
    }
    line_close(&lines[0]);
    line_close(&lines[1]);
    bed_close(&bed);
}

/* One queue is enough for an order. */
Test(share, one_queue_spills_when_ordered)
{
    struct commander commander;
    struct line line = {0};
    struct bed bed;
    bed_open(&bed, tight, 1);
    line.ends = ends_open(&bed);
    commander_open(&commander, &bed);
    line_put(&line, 4 * MIB);
    settle();
    command(&commander, &bed, MIB, SPILLWAY_NEVER);
    cr_assert_gt(info_of(&line).paged_bytes, MIB / 2);
    cr_assert_lt(info_of(&line).paged_bytes, 3 * MIB / 2);
    line_close(&line);
    bed_close(&bed);
}

#define AGE_NS (40 * MS)

static void grow_old(void)
{
    uint64_t end_ns = fault_os.clock_ns() + AGE_NS + AGE_NS / 2;
    while (fault_os.clock_ns() < end_ns)
        nap();
}

Test(share, what_is_old_is_spilled_when_ordered)
{
    struct commander commander;
    struct line old = {0}, flowing = {0};
    struct bed bed;
    bed_open(&bed, tight, 1);
    old.ends = ends_open(&bed);
    flowing.ends = ends_open(&bed);
    commander_open(&commander, &bed);
    line_put(&old, 2 * MIB);
    grow_old();
    command(&commander, &bed, 0, AGE_NS); /* from now on it is known what is old */
    cr_assert_eq(bed_stats(&bed).spilled_bytes_total, 0);
    line_put(&flowing, MIB);
    uint64_t young = old.end;
    grow_old();
    command(&commander, &bed, 0, AGE_NS);
    line_take(&flowing, MIB);
    line_put(&flowing, MIB);
    uint64_t late_ns = fault_os.clock_ns();
    line_put(&old, MIB);
    command(&commander, &bed, 0, AGE_NS);
    bool is_late = fault_os.clock_ns() - late_ns >= AGE_NS; /* on a machine that has no time */
    spw_queue_info info = info_of(&old);
    cr_assert_gt(info.paged_bytes, 3 * MIB / 4, "%llu", (unsigned long long)info.paged_bytes);
    /* The head reserve is 1 MiB; what came of late is still there. */
    cr_assert(is_late || info.paged_bytes <= young - MIB);
    cr_assert_geq(info.resident_bytes, (is_late ? MIB : 2 * MIB) - PIECE);
    cr_assert_eq(info_of(&flowing).paged_bytes, 0);
    line_close(&old);
    line_close(&flowing);
    bed_close(&bed);
}

/* ---- a policy of the user's own ---- */

struct listener {
    spw_policy policy;
    _Atomic unsigned applied;
    _Atomic uint64_t keep_bytes, until_position;
    _Atomic int spill_now;
};

static void listener_apply(spw_policy *policy, spw_view *view)
{
    struct listener *listener = (struct listener *)policy;
    spw_guidance guidance = {.size = sizeof(guidance)};
    cr_assert_eq(spw_view_guidance(view, &guidance), 0);
    if (guidance.spill_now) {
        atomic_store(&listener->keep_bytes, guidance.keep_bytes);
        atomic_store(&listener->until_position, guidance.until_position);
        atomic_store(&listener->spill_now, 1);
    }
    atomic_fetch_add(&listener->applied, 1);
}

static void listener_close(spw_policy *policy)
{
    (void)policy;
}

static const spw_policy_ops listener_ops = {.size = sizeof(listener_ops),
                                            .name = "listener",
                                            .apply = listener_apply,
                                            .close = listener_close};

Test(share, any_policy_hears_what_it_is_to_keep)
{
    struct listener listener = {.policy.ops = &listener_ops};
    spw_queue_options options = {.size = sizeof(options), .writer_policy = &listener.policy};
    struct commander commander;
    struct line line = {0};
    struct bed bed;
    bed_open(&bed, tight, 1);
    options.account = spw_pool_account(bed.pool);
    options.allocator = &fault_allocator;
    cr_assert_eq(spw_queue_open(&options, &line.ends.writer, &line.ends.reader), 0);
    commander_open(&commander, &bed);
    line_put(&line, 4 * MIB);
    settle();
    unsigned applied = atomic_load(&listener.applied);
    command(&commander, &bed, MIB, SPILLWAY_NEVER);
    cr_assert_gt(atomic_load(&listener.applied), applied, "though its writer is idle");
    cr_assert_eq(atomic_load(&listener.spill_now), 1);
    cr_assert_geq(atomic_load(&listener.keep_bytes), 2 * MIB);
    cr_assert_leq(atomic_load(&listener.keep_bytes), 3 * MIB + 2 * PIECE);
    cr_assert_eq(atomic_load(&listener.until_position), UINT64_MAX);
    line_close(&line);
    bed_close(&bed);
}

/* ---- without memory ---- */

Test(share, without_memory_it_looks_again_later)
{
    struct commander commander;
    struct line line = {0};
    struct bed bed;
    bed_open(&bed, tight, 1);
    line.ends = ends_open(&bed);
    commander_open(&commander, &bed);
    line_put(&line, 4 * MIB);
    settle();
    bed_quiet(&bed);
    for (unsigned n = 1; n <= 2; n++) {
        fault_alloc_after(n); /* it has a second try as long as something moves */
        command(&commander, &bed, MIB, SPILLWAY_NEVER);
    }
    fault_alloc_after(0);
    command(&commander, &bed, MIB, SPILLWAY_NEVER);
    cr_assert_gt(info_of(&line).paged_bytes, MIB / 2);
    line_close(&line);
    bed_close(&bed);
}

/* ---- the end ---- */

/* A handle that nobody can fetch, at the head of a queue whose reader is armed. */
struct stuck {
    spw_handle handle;
    spw_waker *waker;
};

static int stuck_fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    (void)handle;
    (void)flags;
    (void)out;
    return -EAGAIN;
}

static uint64_t stuck_size(const spw_handle *handle)
{
    (void)handle;
    return 2 * PIECE;
}

static size_t stuck_count(const spw_handle *handle)
{
    (void)handle;
    return 2;
}

static void stuck_drop(spw_handle *handle)
{
    struct stuck *stuck = (struct stuck *)handle;
    if (stuck->waker)
        stuck->waker->release(stuck->waker);
    stuck->waker = NULL;
}

static int stuck_on_ready(spw_handle *handle, spw_waker *waker)
{
    struct stuck *stuck = (struct stuck *)handle;
    waker->acquire(waker);
    stuck_drop(handle);
    stuck->waker = waker;
    return 0;
}

static const spw_handle_ops stuck_ops = {.size = sizeof(stuck_ops),
                                         .fetch = stuck_fetch,
                                         .size_bytes = stuck_size,
                                         .count = stuck_count,
                                         .drop = stuck_drop,
                                         .on_ready = stuck_on_ready};

/* A policy that puts it there, and brings its bytes back when it is to spill. */
struct juggler {
    spw_policy policy;
    struct stuck stuck;
    spw_chunks chunks;
    struct ends ends;
    spw_pool *pool;
    pthread_t caller;
    _Atomic bool ended;
};

static void juggler_apply(spw_policy *policy, spw_view *view)
{
    struct juggler *juggler = (struct juggler *)policy;
    spw_cursor cursor = spw_view_head(view);
    spw_guidance guidance = {.size = sizeof(guidance)};
    spw_handle *handle;
    spw_view_guidance(view, &guidance);
    if (spw_view_paged_entries(view) == 0 && spw_view_entries(view) > 2) {
        juggler->stuck.handle.ops = &stuck_ops;
        cr_assert_eq(spw_view_page(view, &cursor, 2, &juggler->stuck.handle, &juggler->chunks), 0);
    } else if (guidance.spill_now && spw_view_paged_entries(view) > 0) {
        cr_assert_eq(spw_view_unpage(view, &cursor, &juggler->chunks, &handle), 0);
    }
}

static void juggler_close(spw_policy *policy)
{
    atomic_store(&((struct juggler *)policy)->ended, true);
}

static const spw_policy_ops juggler_ops = {
    .size = sizeof(juggler_ops), .name = "juggler", .apply = juggler_apply, .close = juggler_close};

/* On the governor's thread: everything is closed, and the governor has the last reference. */
static void close_all(void *context)
{
    struct juggler *juggler = context;
    juggler->caller = pthread_self();
    stuck_drop(&juggler->stuck.handle);
    ends_close(&juggler->ends);
    cr_assert_eq(spw_pool_close(juggler->pool), 0);
}

static bool has_ended(void *context)
{
    return atomic_load(&((struct juggler *)context)->ended);
}

Test(share, the_pool_may_end_on_the_governors_thread)
{
    struct juggler juggler = {.policy.ops = &juggler_ops};
    spw_queue_options options = {.size = sizeof(options), .writer_policy = &juggler.policy};
    struct commander commander;
    struct line line = {0};
    struct bed bed;
    spw_bytes out;
    bed_open(&bed, tight, 1);
    options.account = spw_pool_account(bed.pool);
    options.allocator = &fault_allocator;
    cr_assert_eq(spw_queue_open(&options, &line.ends.writer, &line.ends.reader), 0);
    commander_open(&commander, &bed);
    line_put(&line, 4 * MIB);
    juggler.ends = line.ends;
    juggler.pool = bed.pool;
    cr_assert_eq(spw_reader_drain(line.ends.reader, &out, 1), -EAGAIN);
    cr_assert_eq(spw_reader_arm(line.ends.reader, close_all, &juggler), 0);
    settle();
    pthread_mutex_lock(&commander.lock);
    commander.spill_bytes = MIB;
    pthread_mutex_unlock(&commander.lock);
    spw_governor_wake(spw_pool_governor(bed.pool), "commander");
    cr_assert(wait_until(has_ended, &juggler));
    cr_assert_not(pthread_equal(juggler.caller, pthread_self()));
    nothing_left();
    bed_remove(&bed);
}

/* ---- all at once ---- */

struct visitor {
    struct bed *bed;
    unsigned which;
};

static void *come_and_go(void *context)
{
    struct visitor *visitor = context;
    for (unsigned i = 0; i < test_scaled(60); i++) {
        struct line line = {.ends = ends_open(visitor->bed)};
        line_put(&line, (i % 5 + visitor->which % 3) * MIB);
        if (i % 3 != 0)
            line_take(&line, UINT64_MAX / 2);
        if (i % 2 == 0)
            nap();
        if (i % 7 == 0) {
            spw_writer_abort(line.ends.writer, 0);
            spw_reader_close(line.ends.reader);
        } else {
            ends_close(&line.ends);
        }
    }
    return NULL;
}

/* Queues come and go while the governor looks at them, and when the last one has gone the pool is
 * idle at once. */
Test(share, queues_come_and_go)
{
    enum { VISITORS = 6 };
    struct visitor visitors[VISITORS];
    struct commander commander;
    pthread_t threads[VISITORS];
    struct bed bed;
    bed_open(&bed, tight, 1);
    commander_open(&commander, &bed);
    for (unsigned i = 0; i < VISITORS; i++) {
        visitors[i] = (struct visitor){&bed, i};
        cr_assert_eq(pthread_create(&threads[i], NULL, come_and_go, &visitors[i]), 0);
    }
    for (unsigned i = 0; i < test_scaled(200); i++) {
        pthread_mutex_lock(&commander.lock);
        commander.spill_bytes = i % 2 ? MIB : 0;
        commander.older_ns = i % 3 ? SPILLWAY_NEVER : 5 * MS;
        pthread_mutex_unlock(&commander.lock);
        spw_governor_wake(spw_pool_governor(bed.pool), NULL);
        nap();
    }
    for (unsigned i = 0; i < VISITORS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(spw_pool_close_idle(bed.pool), 0, "the governor still holds something");
    nothing_left();
    bed_remove(&bed);
}

/* The pool is closed while queues are alive, and the last of them ends it. */
Test(share, the_last_queue_ends_the_pool)
{
    for (unsigned round = 0; round < test_scaled(30); round++) {
        struct line lines[3] = {{{0}, 0, 0}};
        struct bed bed;
        bed_open(&bed, tight, 1);
        for (unsigned i = 0; i < 3; i++)
            lines[i].ends = ends_open(&bed);
        for (unsigned i = 0; i < 12; i++) {
            line_put(&lines[i % 3], MIB);
            if (i % 4 == round % 4)
                nap();
        }
        cr_assert_eq(spw_pool_close(bed.pool), 0);
        for (unsigned i = 0; i < 3; i++)
            ends_close(&lines[i].ends);
        nothing_left();
        bed_remove(&bed);
    }
}

/* Who comes above the mark where queues are guided, and goes below it again at once, calls a few
 * times, not each time. */
Test(share, a_use_that_goes_up_and_down_wakes_nobody_over_and_over)
{
    struct line standing = {0}, line = {0};
    struct bed bed;
    bed_open(&bed, loose, 1);
    /* It has no policies, so there is nobody to guide beside the other one. */
    const spw_queue_options plain = {.size = sizeof(plain), .account = spw_pool_account(bed.pool)};
    cr_assert_eq(spw_queue_open(&plain, &standing.ends.writer, &standing.ends.reader), 0);
    line.ends = ends_open(&bed);
    line_put(&standing, 33 * MIB);
    spw_bytes piece = stream_piece(0, 3 * MIB), out;
    uint64_t wakeups = bed_stats(&bed).governor_wakeups_total, start_ns = os_linux.clock_ns();
    for (unsigned i = 0; i < 30000; i++) {
        spw_bytes copy = spw_bytes_clone(&piece);
        cr_assert_eq(spw_writer_extend(line.ends.writer, &copy, 1, 0), 0);
        cr_assert_eq(spw_reader_drain(line.ends.reader, &out, 1), 1);
        spw_bytes_release(&out);
    }
    uint64_t ms = (os_linux.clock_ns() - start_ns) / MS;
    wakeups = bed_stats(&bed).governor_wakeups_total - wakeups;
    cr_assert_leq(wakeups, 20 + ms / 2, "woken %llu times in %llu ms", (unsigned long long)wakeups,
                  (unsigned long long)ms);
    spw_bytes_release(&piece);
    line_close(&standing);
    line_close(&line);
    bed_close(&bed);
}
