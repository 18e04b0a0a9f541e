/* SPDX-License-Identifier: MIT */
/* The governor: who looks and when, what becomes of orders, and that it ends in order. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../pool/governor.h"
#include "child.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#define MS UINT64_C(1000000)

static const struct setting plain[] = {{"memory", "16MiB"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting bare[] = {{"memory", "16MiB"}, {"tiers", "none"}, {NULL, NULL}};

/* ---- a regulator that remembers, and orders what it is told ---- */

struct probe {
    spw_regulator regulator;
    pthread_mutex_t lock; /* guards the next three */
    spw_orders orders;
    spw_outlook outlook; /* the last one */
    spw_watch watch;     /* fd -1: none */
    uint64_t every_ns;   /* wake_ns that much from now; 0: never */
    uint64_t every_in_use_ns;
    bool drains; /* reads what it watches */
    bool once;   /* the orders are given once */
    _Atomic unsigned applied, closed, inside;
    _Atomic unsigned ready;
};

static void probe_apply(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders)
{
    struct probe *probe = (struct probe *)regulator;
    cr_assert_eq(atomic_fetch_add(&probe->inside, 1), 0, "one call at a time");
    cr_assert_eq(orders->budget_bytes, SPILLWAY_KEEP);
    cr_assert_eq(orders->spill_older_ns, SPILLWAY_NEVER);
    cr_assert_eq(orders->hold_disk, -1);
    cr_assert_eq(orders->threshold_bytes, SPILLWAY_KEEP);
    cr_assert_eq(orders->prefetch_bytes, SPILLWAY_KEEP);
    cr_assert_null(orders->action);
    pthread_mutex_lock(&probe->lock);
    probe->outlook = *outlook;
    if (probe->orders.size > 0)
        *orders = probe->orders;
    if (probe->once)
        probe->orders.size = 0;
    orders->wake_ns = probe->every_ns ? outlook->now_ns + probe->every_ns : SPILLWAY_NEVER;
    orders->wake_in_use_ns =
        probe->every_in_use_ns ? outlook->now_ns + probe->every_in_use_ns : SPILLWAY_NEVER;
    if (outlook->ready && probe->drains) {
        uint64_t count;
        cr_assert_eq(read(probe->watch.fd, &count, sizeof(count)), (long)sizeof(count));
    }
    pthread_mutex_unlock(&probe->lock);
    atomic_fetch_or(&probe->ready, outlook->ready);
    atomic_fetch_sub(&probe->inside, 1);
    atomic_fetch_add(&probe->applied, 1);
}

static spw_outlook last_outlook(struct probe *probe)
{
    pthread_mutex_lock(&probe->lock);
    spw_outlook outlook = probe->outlook;
    pthread_mutex_unlock(&probe->lock);
    return outlook;
}

static unsigned probe_watch(spw_regulator *regulator, spw_watch watches[SPILLWAY_WATCHES_MAX])
{
    struct probe *probe = (struct probe *)regulator;
    pthread_mutex_lock(&probe->lock);
    watches[0] = (spw_watch){.fd = -1};
    watches[1] = probe->watch;
    pthread_mutex_unlock(&probe->lock);
    return 2;
}

static void probe_close(spw_regulator *regulator)
{
    struct probe *probe = (struct probe *)regulator;
    cr_assert_eq(atomic_load(&probe->inside), 0);
    atomic_fetch_add(&probe->closed, 1);
}

#define PROBE(word)                                                                                \
    {                                                                                              \
        .size = sizeof(spw_regulator_ops), .name = word, .apply = probe_apply,                     \
        .watch = probe_watch, .close = probe_close                                                 \
    }
static const spw_regulator_ops probe_ops[] = {PROBE("one"),   PROBE("two"),   PROBE("three"),
                                              PROBE("four"),  PROBE("five"),  PROBE("six"),
                                              PROBE("seven"), PROBE("eight"), PROBE("nine")};

static void probe_init(struct probe *probe, unsigned which)
{
    memset(probe, 0, sizeof(*probe));
    pthread_mutex_init(&probe->lock, NULL);
    probe->regulator.ops = &probe_ops[which];
    probe->watch.fd = -1;
}

/* Orders of nothing, to be filled in. */
static spw_orders no_orders(void)
{
    return (spw_orders){.size = sizeof(spw_orders),
                        .budget_bytes = SPILLWAY_KEEP,
                        .spill_older_ns = SPILLWAY_NEVER,
                        .hold_disk = -1,
                        .threshold_bytes = SPILLWAY_KEEP,
                        .prefetch_bytes = SPILLWAY_KEEP,
                        .prefetch_ns = SPILLWAY_KEEP,
                        .memory_stall_permille = -1,
                        .io_stall_permille = -1,
                        .wake_in_use_ns = SPILLWAY_NEVER,
                        .wake_ns = SPILLWAY_NEVER};
}

static bool has_applied(void *context)
{
    const struct probe *probe = ((void **)context)[0];
    return atomic_load(&probe->applied) >= *(const unsigned *)((void **)context)[1];
}

static void wait_applied(struct probe *probe, unsigned count)
{
    void *context[] = {probe, &count};
    cr_assert(wait_until(has_applied, context), "it looked %u times, not %u",
              atomic_load(&probe->applied), count);
}

/* Has it look with these orders, once. */
static void probe_order(spw_governor *governor, struct probe *probe, spw_orders orders)
{
    unsigned applied = atomic_load(&probe->applied);
    pthread_mutex_lock(&probe->lock);
    probe->orders = orders;
    probe->once = true;
    pthread_mutex_unlock(&probe->lock);
    spw_governor_wake(governor, probe->regulator.ops->name);
    wait_applied(probe, applied + 1);
}

static bool is_idle(void *context)
{
    struct governor *governor = context;
    pthread_mutex_lock(&governor->lock);
    bool idle = governor->calling == 0;
    pthread_mutex_unlock(&governor->lock);
    return idle;
}

static void wait_carried_out(spw_pool *pool)
{
    cr_assert(wait_until(is_idle, &pool->governor));
}

/* ---- who looks ---- */

Test(governor, a_regulator_looks_once_when_attached)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    probe_init(&probe, 0);
    cr_assert_eq(spw_governor_attach(governor, &probe.regulator), 0);
    wait_applied(&probe, 1);
    cr_assert_eq(probe.outlook.size, sizeof(spw_outlook));
    cr_assert_eq(probe.outlook.budget_bytes, 16 * MIB);
    cr_assert_eq(probe.outlook.ceiling_bytes, 16 * MIB);
    cr_assert_eq(probe.outlook.ready, 0);
    cr_assert_gt(probe.outlook.now_ns, 0);
    cr_assert_eq(spw_governor_detach(governor, "one"), 0);
    cr_assert_eq(probe.applied, 1);
    cr_assert_eq(probe.closed, 1);
    cr_assert_eq(spw_governor_detach(governor, "one"), -ENOENT);
    bed_close(&bed);
}

Test(governor, names_are_taken_once)
{
    struct bed bed;
    struct probe probes[3];
    bed_open(&bed, bare, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    probe_init(&probes[0], 0);
    probe_init(&probes[1], 0);
    probe_init(&probes[2], 1);
    cr_assert_eq(spw_governor_attach(governor, &probes[0].regulator), 0);
    cr_assert_eq(spw_governor_attach(governor, &probes[1].regulator), -EEXIST);
    cr_assert_eq(spw_governor_attach(governor, &probes[2].regulator), 0);
    wait_applied(&probes[0], 1);
    wait_applied(&probes[2], 1);
    spw_governor_wake(governor, "two");
    wait_applied(&probes[2], 2);
    cr_assert_eq(probes[0].applied, 1);
    spw_governor_wake(governor, NULL);
    wait_applied(&probes[0], 2);
    wait_applied(&probes[2], 3);
    spw_governor_wake(governor, "nobody");
    bed_close(&bed);
    cr_assert_eq(probes[0].closed + probes[2].closed, 2);
    cr_assert_eq(probes[1].applied + probes[1].closed, 0);
}

Test(governor, too_many_are_refused)
{
    static spw_regulator_ops ops[REGULATORS_MAX + 1];
    static char names[REGULATORS_MAX + 1][16];
    static struct probe probes[REGULATORS_MAX + 1];
    struct bed bed;
    bed_open(&bed, bare, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    for (unsigned i = 0; i <= REGULATORS_MAX; i++) {
        probe_init(&probes[i], 0);
        snprintf(names[i], sizeof(names[i]), "number-%u", i);
        ops[i] = probe_ops[0];
        ops[i].name = names[i];
        probes[i].regulator.ops = &ops[i];
        cr_assert_eq(spw_governor_attach(governor, &probes[i].regulator),
                     i < REGULATORS_MAX ? 0 : -ENOMEM);
    }
    for (unsigned i = 0; i < REGULATORS_MAX; i++)
        wait_applied(&probes[i], 1);
    cr_assert_eq(spw_governor_detach(governor, "number-3"), 0);
    cr_assert_eq(spw_governor_attach(governor, &probes[REGULATORS_MAX].regulator), 0);
    bed_close(&bed);
}

Test(governor, what_is_watched_for_is_reported)
{
    struct bed bed;
    struct probe probe;
    uint64_t one = 1;
    bed_open(&bed, bare, 0);
    probe_init(&probe, 0);
    probe.watch = (spw_watch){.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN};
    probe.drains = true;
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), &probe.regulator), 0);
    wait_applied(&probe, 1);
    cr_assert_eq(probe.ready, 0);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(write(probe.watch.fd, &one, sizeof(one)), (long)sizeof(one));
        wait_applied(&probe, 2 + i);
        cr_assert_eq(probe.ready, 2, "the second of its descriptors");
        spw_outlook outlook = last_outlook(&probe);
        cr_assert_eq(outlook.reported[1], POLLIN);
        cr_assert_eq(outlook.reported[0], 0);
    }
    bed_close(&bed);
    close(probe.watch.fd);
}

Test(governor, a_descriptor_that_stays_ready_costs_little)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    probe_init(&probe, 0);
    probe.watch = (spw_watch){.fd = eventfd(1, EFD_CLOEXEC), .events = POLLIN};
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), &probe.regulator), 0);
    wait_applied(&probe, 3);
    uint64_t from_ns = os_linux.clock_ns();
    unsigned applied = atomic_load(&probe.applied);
    for (unsigned i = 0; i < 100; i++)
        nap();
    uint64_t passed_ms = (os_linux.clock_ns() - from_ns) / MS;
    cr_assert_leq(atomic_load(&probe.applied) - applied, 2 + passed_ms / 5);
    bed_close(&bed);
    close(probe.watch.fd);
}

Test(governor, a_clock_of_its_own)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    probe_init(&probe, 0);
    probe.every_ns = MS;
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), &probe.regulator), 0);
    wait_applied(&probe, 10);
    bed_close(&bed);
}

Test(governor, a_time_that_has_passed_keeps_nobody_busy)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    probe_init(&probe, 0);
    probe.every_ns = 1;
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), &probe.regulator), 0);
    wait_applied(&probe, 3);
    uint64_t from_ns = os_linux.clock_ns();
    unsigned applied = atomic_load(&probe.applied);
    for (unsigned i = 0; i < 20; i++)
        nap();
    uint64_t passed_ms = (os_linux.clock_ns() - from_ns) / MS;
    cr_assert_leq(atomic_load(&probe.applied) - applied, 2 + passed_ms);
    bed_close(&bed);
}

static uint64_t wakeups(const struct bed *bed)
{
    return bed_stats(bed).governor_wakeups_total;
}

static void piece_put(struct ends *ends, uint64_t at, size_t len)
{
    spw_bytes bytes = stream_piece(at, len);
    cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
}

static void take_all(struct ends *ends)
{
    spw_bytes bytes[16];
    long count;
    while ((count = spw_reader_drain(ends->reader, bytes, 16)) > 0)
        while (count > 0)
            spw_bytes_release(&bytes[--count]);
}

/* Its clock runs while something is resident, and not otherwise: then there is no wake-up at all.
 */
Test(governor, sleeps_while_nothing_is_in_use)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, plain, 1);
    struct ends ends = ends_open(&bed);
    probe_init(&probe, 0);
    probe.every_in_use_ns = MS;
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), &probe.regulator), 0);
    wait_applied(&probe, 1);
    for (unsigned round = 0; round < 3; round++) {
        /* Until the last look that was under way is over. */
        uint64_t before;
        do {
            before = wakeups(&bed);
            for (unsigned i = 0; i < 20; i++)
                nap();
        } while (wakeups(&bed) != before);
        unsigned applied = atomic_load(&probe.applied);
        for (unsigned i = 0; i < 50; i++)
            nap();
        cr_assert_eq(wakeups(&bed), before, "it slept");
        for (unsigned i = 0; i < 20; i++)
            piece_put(&ends, i * 100000, 100000);
        wait_applied(&probe, applied + 5);
        take_all(&ends);
    }
    ends_close(&ends);
    bed_close(&bed);
}

/* A pool that is hardly used has no thread but those of its engine. */
Test(governor, no_thread_before_it_is_needed)
{
    struct bed bed;
    bed_open(&bed, plain, 1);
    struct ends ends = ends_open(&bed);
    for (unsigned i = 0; i < 20; i++)
        piece_put(&ends, i * 100000, 100000);
    cr_assert_not(bed.pool->governor.started);
    cr_assert_eq(wakeups(&bed), 0);
    for (unsigned i = 0; i < 40; i++)
        piece_put(&ends, i * 100000, 100000);
    cr_assert(bed.pool->governor.started);
    take_all(&ends);
    ends_close(&ends);
    bed_close(&bed);
}

/* ---- what does not work ---- */

Test(governor, without_a_thread_nobody_is_attached)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    probe_init(&probe, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    static const struct {
        enum fault kind;
        int err;
    } cases[] = {{FAULT_THREAD, -EAGAIN}, {FAULT_EVENTFD, -EMFILE}};
    for (unsigned i = 0; i < 2; i++) {
        fault_fail(cases[i].kind, 0, FAULT_ALWAYS, cases[i].err);
        cr_assert_eq(spw_governor_attach(governor, &probe.regulator), -EAGAIN);
        fault_heal(cases[i].kind);
    }
    cr_assert_eq(log_lines_with("no thread for the governor"), 1, "told once");
    cr_assert(strstr(bed_stats(&bed).fallbacks, "no-governor"));
    cr_assert_eq(probe.closed, 0);
    cr_assert_eq(spw_governor_attach(governor, &probe.regulator), 0, "later it may work");
    wait_applied(&probe, 1);
    bed_close(&bed);
}

Test(governor, without_a_thread_the_pool_works)
{
    struct bed bed;
    bed_open(&bed, plain, 1);
    struct ends ends = ends_open(&bed);
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    for (unsigned i = 0; i < 300; i++)
        piece_put(&ends, i * 100000, 100000);
    cr_assert_eq(log_lines_with("no thread for the governor"), 1);
    spw_bytes bytes;
    for (unsigned i = 0; i < 300; i++) {
        cr_assert_eq(spw_reader_drain_wait(ends.reader, &bytes, 1, SPILLWAY_FOREVER), 1);
        cr_assert(stream_is(&bytes, i * 100000));
        spw_bytes_release(&bytes);
    }
    cr_assert_gt(bed_stats(&bed).spilled_bytes_total, 0);
    ends_close(&ends);
    bed_close(&bed);
}

Test(governor, strict_wants_the_thread_at_once)
{
    static const struct setting strict[] = {
        {"memory", "16MiB"}, {"engine", "threads"}, {"strict", "on"}, {NULL, NULL}};
    struct bed bed;
    int err = bed_try(&bed, strict, 1);
    if (err) {
        bed_remove(&bed);
        test_skip("something else falls back here");
    }
    cr_assert(bed.pool->governor.started);
    bed_close(&bed);
    fault_fail(FAULT_EVENTFD, 0, FAULT_ALWAYS, -EMFILE);
    cr_assert_eq(bed_try(&bed, strict, 1), -EOPNOTSUPP);
    nothing_left();
    bed_remove(&bed);
}

Test(governor, goes_on_after_the_kernel_refused_to_wait)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    probe_init(&probe, 0);
    fault_fail(FAULT_POLL, 0, 2, -ENOMEM);
    fault_fail(FAULT_POLL, 2, 3, -EINTR);
    probe.every_ns = MS;
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), &probe.regulator), 0);
    wait_applied(&probe, 10);
    bed_close(&bed);
}

Test(governor, attach_changes_nothing_without_memory)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    probe_init(&probe, 0);
    fault_alloc_after(1);
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), &probe.regulator), -ENOMEM);
    cr_assert_eq(spw_governor_detach(spw_pool_governor(bed.pool), "one"), -ENOENT);
    cr_assert_eq(probe.closed, 0);
    bed_close(&bed);
}

Test(governor, a_child_is_told)
{
    struct bed bed;
    struct probe probes[2];
    bed_open(&bed, bare, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    probe_init(&probes[0], 0);
    probe_init(&probes[1], 1);
    cr_assert_eq(spw_governor_attach(governor, &probes[0].regulator), 0);
    wait_applied(&probes[0], 1);
    pid_t child = fork();
    if (child == 0) {
        spw_decision decision = {.size = sizeof(decision)};
        spw_governor_wake(governor, NULL);
        int wrong = spw_governor_attach(governor, &probes[1].regulator) != -EOWNERDEAD ||
                    spw_governor_detach(governor, "one") != -EOWNERDEAD ||
                    spw_governor_regulator(governor, "one") != NULL ||
                    spw_governor_fallback(governor, "x", "why") != -EOWNERDEAD ||
                    spw_pool_decisions(bed.pool, 0, &decision, 1) != -EOWNERDEAD ||
                    spw_pool_set_budget(bed.pool, 8 * MIB) != -EOWNERDEAD;
        child_leaves(wrong);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    spw_governor_wake(governor, "one");
    wait_applied(&probes[0], 2);
    bed_close(&bed);
}

Test(governor, an_attached_regulator_is_found)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    probe_init(&probe, 0);
    cr_assert_null(spw_governor_regulator(governor, "one"));
    cr_assert_eq(spw_governor_attach(governor, &probe.regulator), 0);
    cr_assert_eq(spw_governor_regulator(governor, "one"), &probe.regulator);
    cr_assert_null(spw_governor_regulator(governor, "two"));
    cr_assert_null(spw_governor_regulator(governor, NULL));
    cr_assert_null(spw_governor_regulator(NULL, "one"));
    cr_assert_eq(spw_governor_detach(governor, "one"), 0);
    cr_assert_null(spw_governor_regulator(governor, "one"));
    bed_close(&bed);
}

Test(governor, what_is_not_to_be_had_is_told_once)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    uint64_t before = bed_stats(&bed).fallbacks_total;
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(spw_governor_fallback(governor, "wings", "there are none"), 0);
    cr_assert_eq(spw_governor_fallback(governor, NULL, "why"), 0);
    cr_assert_eq(spw_governor_fallback(NULL, "wings", "why"), 0);
    cr_assert_eq(bed_stats(&bed).fallbacks_total, before + 1);
    cr_assert_eq(log_lines_with("wings: there are none"), 1);
    /* by a regulator, with its decision */
    probe_init(&probe, 0);
    spw_orders orders = no_orders();
    orders.action = "off";
    orders.fallback = "eyes";
    snprintf(orders.reason, sizeof(orders.reason), "it is dark");
    cr_assert_eq(spw_governor_attach(governor, &probe.regulator), 0);
    wait_applied(&probe, 1);
    probe_order(governor, &probe, orders);
    probe_order(governor, &probe, orders);
    wait_carried_out(bed.pool);
    cr_assert_eq(bed_stats(&bed).fallbacks_total, before + 2);
    cr_assert_eq(log_lines_with("eyes: it is dark"), 1);
    bed_close(&bed);
}

Test(governor, strict_refuses_what_is_not_to_be_had)
{
    static const struct setting strict[] = {
        {"memory", "16MiB"}, {"tiers", "none"}, {"strict", "on"}, {NULL, NULL}};
    struct bed bed;
    bed_open(&bed, strict, 0);
    cr_assert_eq(spw_governor_fallback(spw_pool_governor(bed.pool), "wings", "there are none"),
                 -EOPNOTSUPP);
    cr_assert_eq(log_lines_with("wings: there are none"), 1);
    bed_close(&bed);
}

Test(governor, what_was_measured_is_told)
{
    struct bed bed;
    struct probe probe;
    bed_open(&bed, bare, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    probe_init(&probe, 0);
    probe.once = true;
    cr_assert_eq(spw_governor_attach(governor, &probe.regulator), 0);
    wait_applied(&probe, 1);
    spw_orders orders = no_orders();
    orders.memory_stall_permille = 120;
    probe_order(governor, &probe, orders);
    wait_stat(&bed, stalls_measured_total, ==, 1);
    spw_stats stats = bed_stats(&bed);
    cr_assert_eq(stats.memory_stall_permille, 120);
    cr_assert_eq(stats.io_stall_permille, 0);
    orders.memory_stall_permille = -1;
    orders.io_stall_permille = 340;
    probe_order(governor, &probe, orders);
    wait_stat(&bed, stalls_measured_total, ==, 2);
    stats = bed_stats(&bed);
    cr_assert_eq(stats.memory_stall_permille, 120, "as it was measured last");
    cr_assert_eq(stats.io_stall_permille, 340);
    bed_close(&bed);
}

/* ---- orders ---- */

Test(governor, the_budget_moves_below_its_ceiling)
{
    static const struct {
        uint64_t wish_bytes, budget_bytes;
    } cases[] = {{8 * MIB, 8 * MIB},
                 {4 * MIB, 4 * MIB},
                 {20 * MIB, 16 * MIB},
                 {1000, MIB},
                 {SPILLWAY_KEEP - 1, 16 * MIB}};
    struct bed bed;
    struct probe probe;
    bed_open(&bed, plain, 1);
    spw_governor *governor = spw_pool_governor(bed.pool);
    probe_init(&probe, 0);
    cr_assert_eq(spw_governor_attach(governor, &probe.regulator), 0);
    wait_applied(&probe, 1);
    cr_assert_not(atomic_load(&bed.pool->was_short));
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        spw_orders orders = no_orders();
        orders.budget_bytes = cases[i].wish_bytes;
        orders.action = "move";
        snprintf(orders.reason, sizeof(orders.reason), "case %u", i);
        probe_order(governor, &probe, orders);
        wait_carried_out(bed.pool);
        spw_stats stats = bed_stats(&bed);
        cr_assert_eq(stats.budget_bytes, cases[i].budget_bytes);
        cr_assert_eq(stats.budget_ceiling_bytes, 16 * MIB);
        cr_assert_eq(spw_pool_run_bytes(bed.pool), cases[i].budget_bytes / 8);
        cr_assert_eq(stats.reserve_bytes, cases[i].budget_bytes / 8, "the reserve goes with it");
        identity_holds(&stats);
        spw_decision decision = {.size = sizeof(decision)};
        cr_assert_eq(spw_pool_decisions(bed.pool, i + 1, &decision, 1), 1);
        cr_assert_eq(decision.number, i + 1);
        cr_assert_eq(decision.budget_bytes, cases[i].budget_bytes);
        cr_assert_eq(decision.budget_before_bytes, i > 0 ? cases[i - 1].budget_bytes : 16 * MIB);
        cr_assert_str_eq(decision.regulator, "one");
        cr_assert_str_eq(decision.action, "move");
        cr_assert_str_eq(decision.reason, orders.reason);
        cr_assert_eq(stats.decisions_total, i + 1);
        cr_assert(atomic_load(&bed.pool->was_short), "and stays so");
    }
    bed_close(&bed);
}

Test(governor, warm_memory_goes_first)
{
    struct bed bed;
    struct probe probe;
    spw_slab *slabs[6];
    bed_open(&bed, plain, 1);
    spw_governor *governor = spw_pool_governor(bed.pool);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(spw_pool_slab_open(bed.pool, MIB, 0, &slabs[i]), 0);
    for (unsigned i = 0; i < 6; i++)
        spw_slab_close(slabs[i]);
    cr_assert_eq(bed_stats(&bed).warm_bytes, 6 * MIB);
    probe_init(&probe, 0);
    cr_assert_eq(spw_governor_attach(governor, &probe.regulator), 0);
    wait_applied(&probe, 1);
    cr_assert_eq(probe.outlook.warm_bytes, 6 * MIB);
    spw_orders orders = no_orders();
    orders.trim_bytes = 2 * MIB;
    probe_order(governor, &probe, orders);
    wait_carried_out(bed.pool);
    cr_assert_eq(bed_stats(&bed).warm_bytes, 4 * MIB);
    cr_assert_eq(bed_stats(&bed).decisions_total, 0, "without an action nothing is noted");
    orders = no_orders();
    orders.budget_bytes = 4 * MIB;
    probe_order(governor, &probe, orders);
    wait_carried_out(bed.pool);
    spw_stats stats = bed_stats(&bed);
    cr_assert_leq(stats.used_bytes, 4 * MIB);
    identity_holds(&stats);
    bed_close(&bed);
}

Test(governor, the_last_decisions_are_kept)
{
    enum { MADE = SPILLWAY_DECISIONS_KEPT + 10 };
    static spw_decision decisions[MADE];
    struct bed bed;
    bed_open(&bed, bare, 0);
    cr_assert_eq(spw_pool_decisions(bed.pool, 0, decisions, MADE), -EINVAL, "no size");
    decisions[0].size = sizeof(spw_decision);
    cr_assert_eq(spw_pool_decisions(bed.pool, 0, decisions, MADE), 0);
    cr_assert_eq(spw_pool_decisions(bed.pool, 0, NULL, MADE), -EINVAL);
    for (unsigned i = 0; i < MADE; i++)
        cr_assert_eq(spw_pool_set_budget(bed.pool, (2 + i % 8) * MIB), 0);
    cr_assert_eq(bed_stats(&bed).decisions_total, MADE);
    cr_assert_eq(spw_pool_decisions(bed.pool, 0, decisions, MADE), SPILLWAY_DECISIONS_KEPT);
    for (unsigned i = 0; i < SPILLWAY_DECISIONS_KEPT; i++) {
        cr_assert_eq(decisions[i].number, MADE - SPILLWAY_DECISIONS_KEPT + 1 + i);
        cr_assert_eq(decisions[i].size, sizeof(spw_decision));
        cr_assert_eq(decisions[i].budget_bytes, (2 + (decisions[i].number - 1) % 8) * MIB);
        cr_assert_str_eq(decisions[i].regulator, "governor");
        cr_assert_str_eq(decisions[i].action, "set");
    }
    cr_assert_eq(spw_pool_decisions(bed.pool, 0, decisions, 3), 3, "the oldest first");
    cr_assert_eq(decisions[0].number, 11);
    cr_assert_eq(spw_pool_decisions(bed.pool, MADE - 1, decisions, MADE), 2);
    cr_assert_eq(spw_pool_decisions(bed.pool, MADE + 1, decisions, MADE), 0);
    bed_close(&bed);
}

/* ---- all at once ---- */

struct comer {
    spw_pool *pool;
    struct probe probes[9];
    unsigned which;
};

static void *come_and_go(void *context)
{
    struct comer *comer = context;
    spw_governor *governor = spw_pool_governor(comer->pool);
    struct probe *probe = &comer->probes[comer->which];
    for (unsigned i = 0; i < 100; i++) {
        probe_init(probe, comer->which);
        probe->every_ns = 1000;
        cr_assert_eq(spw_governor_attach(governor, &probe->regulator), 0);
        spw_governor_wake(governor, NULL);
        cr_assert_eq(spw_governor_detach(governor, probe->regulator.ops->name), 0);
        cr_assert_eq(atomic_load(&probe->closed), 1);
    }
    return NULL;
}

Test(governor, regulators_come_and_go_on_many_threads)
{
    static struct comer comers[4];
    pthread_t threads[4];
    struct bed bed;
    bed_open(&bed, bare, 0);
    for (unsigned i = 0; i < 4; i++) {
        comers[i].pool = bed.pool;
        comers[i].which = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, come_and_go, &comers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    bed_close(&bed);
}
