/* SPDX-License-Identifier: MIT */
/* What pressure does to a budget, and that it does not swing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../policies/pressure_decide.h"
#include "harness.h"
#include "queue_tools.h"
#include "regulator_tools.h"

#define MIB UINT64_C(1048576)

/* ---- a kernel that counts waits ---- */

struct kernel {
    uint64_t waited_us, io_waited_us; /* shown at once, not every two seconds */
    unsigned waits, io_waits;         /* permille of the time from now on */
    struct pressure_reading reading;
    bool event; /* the next reading has one */
};

static void kernel_pass(struct kernel *kernel, uint64_t now_ns)
{
    uint64_t us = (now_ns - kernel->reading.now_ns) / 1000;
    kernel->waited_us += us * kernel->waits / 1000;
    kernel->io_waited_us += us * kernel->io_waits / 1000;
    kernel->reading.now_ns = now_ns;
}

static const struct pressure_reading *kernel_read(struct kernel *kernel, uint64_t now_ns)
{
    kernel_pass(kernel, now_ns);
    kernel->reading.event = kernel->event;
    kernel->reading.memory.some.total_us = kernel->waited_us;
    kernel->reading.memory.some.avg10 = kernel->waits * 10;
    kernel->reading.io.some.total_us = kernel->io_waited_us;
    kernel->reading.io.some.avg10 = kernel->io_waits * 10;
    kernel->event = false;
    return &kernel->reading;
}

/* ---- a policy on it ---- */

struct bench {
    struct kernel kernel;
    struct figures figures;
    struct pressure_state state;
    struct amount floor;
    struct pressure_input input;
};

static void bench_open(struct bench *bench)
{
    *bench = (struct bench){
        .figures = figures_open(512 * MIB),
        .kernel.reading = {.now_ns = 100 * SECOND_NS,
                           .has_memory = true,
                           .has_io = true,
                           .generation = 1},
        .floor = {.percent = 25},
        .input = {.way = PRESSURE_TRIGGER, .stall_ns = 200 * MS_NS, .window_ns = 2 * SECOND_NS}};
}

static const spw_orders *bench_look(struct bench *bench)
{
    spw_outlook outlook = figures_outlook(&bench->figures);
    spw_orders orders = figures_no_orders();
    bench->input.reading = kernel_read(&bench->kernel, bench->figures.now_ns);
    pressure_decide(&bench->state, bench->floor, &bench->input, &outlook, &orders);
    figures_obey(&bench->figures, &orders);
    return &bench->figures.orders;
}

static const spw_orders *bench_event(struct bench *bench)
{
    bench->kernel.event = true;
    return bench_look(bench);
}

/* Looks whenever it wants to, for so long. */
static void bench_run(struct bench *bench, uint64_t ns)
{
    uint64_t end_ns = bench->figures.now_ns + ns;
    for (;;) {
        uint64_t due_ns = figures_due_ns(&bench->figures);
        if (due_ns > end_ns)
            break;
        if (due_ns > bench->figures.now_ns)
            figures_pass(&bench->figures, due_ns - bench->figures.now_ns);
        (void)bench_look(bench);
        cr_assert_gt(figures_due_ns(&bench->figures), bench->figures.now_ns, "a busy loop");
    }
    figures_pass(&bench->figures, end_ns - bench->figures.now_ns);
    kernel_pass(&bench->kernel, end_ns);
}

static void check_action(const spw_orders *orders, const char *action)
{
    cr_assert_not_null(orders->action, "nothing was decided, instead of %s", action);
    cr_assert_str_eq(orders->action, action, "%s: %s", orders->action, orders->reason);
    cr_assert_gt(strlen(orders->reason), 10);
    cr_assert_lt(strlen(orders->reason), sizeof(orders->reason));
}

/* ---- down ---- */

Test(pressure, an_event_lowers_at_once)
{
    struct bench bench;
    const spw_orders *orders;
    bench_open(&bench);
    cr_assert_null(bench_look(&bench)->action);
    cr_assert_eq(bench.figures.wake_ns, SPILLWAY_NEVER);
    cr_assert_eq(bench.figures.wake_in_use_ns, bench.figures.now_ns + 2 * SECOND_NS);
    bench.figures.used_bytes = 400 * MIB;
    bench.figures.warm_bytes = 30 * MIB;
    bench.figures.in_flight_bytes = 20 * MIB;
    orders = bench_event(&bench);
    check_action(orders, "lower");
    cr_assert_eq(orders->budget_bytes, 300 * MIB);
    cr_assert_eq(orders->trim_bytes, 30 * MIB);
    cr_assert_eq(orders->spill_bytes, 50 * MIB);
    cr_assert_eq(orders->spill_older_ns, SPILLWAY_NEVER);
    cr_assert_eq(orders->threshold_bytes, SPILLWAY_KEEP);
    cr_assert_eq(orders->prefetch_bytes, SPILLWAY_KEEP);
    cr_assert_eq(orders->hold_disk, -1);
    cr_assert_eq(orders->wake_ns, bench.figures.now_ns + 100 * MS_NS);
    cr_assert_str_eq(orders->reason,
                     "tasks waited 200ms in 2s: 400MiB used, 300MiB allowed now, 30MiB warm back, "
                     "50MiB to spill");
}

/* Within a second of it, on a disk of 500 MiB/s; what comes of runs is given back too. */
Test(pressure, use_follows_within_a_second)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench_run(&bench, SECOND_NS);
    cr_assert_leq(bench.figures.used_bytes, 384 * MIB);
    cr_assert_leq(bench.figures.used_bytes, bench.figures.budget_bytes);
    cr_assert_eq(bench.figures.warm_bytes, 0);
    cr_assert_eq(bench.state.ebb.until_ns, 0);
}

Test(pressure, one_event_is_not_taken_twice)
{
    struct bench bench;
    bench_open(&bench);
    cr_assert_eq(bench_event(&bench)->budget_bytes, 384 * MIB);
    figures_pass(&bench.figures, 999 * MS_NS);
    cr_assert_null(bench_event(&bench)->action);
    figures_pass(&bench.figures, MS_NS);
    cr_assert_neq(bench_event(&bench)->budget_bytes, SPILLWAY_KEEP);
}

Test(pressure, events_lower_to_the_floor_and_not_below)
{
    struct bench bench;
    uint64_t before;
    unsigned lowered = 0;
    bench_open(&bench);
    for (unsigned i = 0; i < 20; i++) {
        before = bench.figures.budget_bytes;
        (void)bench_event(&bench);
        cr_assert_leq(bench.figures.budget_bytes, before);
        lowered += bench.figures.budget_bytes < before;
        bench_run(&bench, 2 * SECOND_NS);
    }
    cr_assert_eq(bench.figures.budget_bytes, 128 * MIB);
    cr_assert_eq(lowered, 5);
    /* there it decides nothing, but warm memory goes each time */
    bench.figures.warm_bytes = 10 * MIB;
    cr_assert_null(bench_event(&bench)->action);
    cr_assert_eq(bench.figures.orders.trim_bytes, 10 * MIB);
    cr_assert_eq(bench.figures.orders.budget_bytes, SPILLWAY_KEEP);
}

Test(pressure, what_is_not_in_use_is_taken_first)
{
    struct bench bench;
    bench_open(&bench);
    bench.figures.used_bytes = 0;
    check_action(bench_event(&bench), "lower");
    cr_assert_eq(bench.figures.budget_bytes, 128 * MIB);
    cr_assert_eq(bench.figures.orders.spill_bytes, 0);
    cr_assert(strstr(bench.figures.orders.reason, "the floor 128MiB") != NULL);
}

Test(pressure, floors)
{
    struct amount share = {0, 25}, bytes = {100 * MIB, 0}, all = {0, 100}, none = {0, 0};
    struct bench bench;
    cr_assert_eq(pressure_floor(share, 512 * MIB), 128 * MIB);
    cr_assert_eq(pressure_floor(bytes, 512 * MIB), 100 * MIB);
    cr_assert_eq(pressure_floor(bytes, 64 * MIB), 64 * MIB);
    cr_assert_eq(pressure_floor(none, 64 * MIB), 0);
    bench_open(&bench);
    bench.floor = all;
    bench.figures.warm_bytes = MIB;
    cr_assert_null(bench_event(&bench)->action);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
    cr_assert_eq(bench.figures.orders.trim_bytes, MIB);
    cr_assert(!bench.state.lowered);
}

Test(pressure, a_kill_takes_half)
{
    struct bench bench;
    bench_open(&bench);
    bench.kernel.reading.has_events = true;
    bench.kernel.reading.events.oom_kill = 7;
    cr_assert_null(bench_look(&bench)->action);
    bench.kernel.reading.events.oom_kill = 8;
    bench.kernel.reading.events.oom = 1;
    check_action(bench_look(&bench), "lower");
    cr_assert_eq(bench.figures.budget_bytes, 256 * MIB);
    cr_assert(strstr(bench.figures.orders.reason, "OOM killer was called 2 times") != NULL);
}

/* Reading files hits the limit all the time, and nobody waits. */
Test(pressure, limits_count_where_tasks_wait)
{
    struct bench bench;
    bench_open(&bench);
    bench.kernel.reading.has_events = true;
    (void)bench_look(&bench);
    bench.kernel.reading.events.max = 1000;
    figures_pass(&bench.figures, 2 * SECOND_NS);
    cr_assert_null(bench_look(&bench)->action);
    bench.kernel.reading.events.high = 10;
    bench.kernel.waits = 40;
    figures_pass(&bench.figures, SECOND_NS);
    cr_assert_null(bench_look(&bench)->action); /* too early to say */
    figures_pass(&bench.figures, SECOND_NS);
    check_action(bench_look(&bench), "lower");
    cr_assert_eq(bench.figures.budget_bytes, 384 * MIB);
    cr_assert(strstr(bench.figures.orders.reason, "limits hit 10 times, tasks waited 4.0 %"));
    /* no more of it */
    bench_run(&bench, 4 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 384 * MIB);
}

Test(pressure, limits_count_where_waits_are_not_known)
{
    struct bench bench;
    bench_open(&bench);
    bench.kernel.reading.has_memory = false;
    bench.kernel.reading.has_events = true;
    (void)bench_look(&bench);
    bench.kernel.reading.events.max = 1;
    figures_pass(&bench.figures, 2 * SECOND_NS);
    check_action(bench_look(&bench), "lower");
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
}

Test(pressure, messages_have_no_figures)
{
    struct bench bench;
    bench_open(&bench);
    bench.input = (struct pressure_input){.way = PRESSURE_MESSAGES};
    (void)bench_look(&bench);
    check_action(bench_event(&bench), "lower");
    cr_assert(strstr(bench.figures.orders.reason, "a message came: 512MiB used") != NULL);
    /* others wait on, which is none of our business */
    bench.kernel.waits = 900;
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
}

Test(pressure, use_that_does_not_come_down_is_told_once)
{
    struct bench bench;
    unsigned told = 0;
    bench_open(&bench);
    bench.figures.disk = 0; /* it hangs */
    (void)bench_event(&bench);
    for (unsigned i = 0; i < 30; i++) {
        figures_pass(&bench.figures, 100 * MS_NS);
        (void)bench_look(&bench);
        if (bench.figures.orders.action && strcmp(bench.figures.orders.action, "short") == 0) {
            cr_assert_eq(bench.figures.now_ns, 101 * SECOND_NS);
            cr_assert_str_eq(bench.figures.orders.reason,
                             "512MiB used of 384MiB allowed, 1s after pressure; 128MiB under way "
                             "to a tier");
            told++;
        }
        cr_assert_eq(bench.figures.orders.spill_bytes, 0, "asked for twice");
    }
    cr_assert_eq(told, 1);
}

/* ---- up ---- */

Test(pressure, calm_gives_back_in_steps_within_30_s)
{
    struct bench bench;
    uint64_t from_ns, whole_ns = 0, last;
    unsigned steps = 0;
    bench_open(&bench);
    for (unsigned i = 0; i < 6; i++) {
        (void)bench_event(&bench);
        bench_run(&bench, 2 * SECOND_NS);
    }
    last = bench.figures.budget_bytes;
    cr_assert_eq(last, 128 * MIB);
    from_ns = bench.figures.now_ns - 2 * SECOND_NS; /* of the last event */
    for (unsigned i = 0; i < 300 && whole_ns == 0; i++) {
        bench_run(&bench, 100 * MS_NS);
        cr_assert_geq(bench.figures.budget_bytes, last);
        if (bench.figures.budget_bytes > last) {
            steps++;
            cr_assert_leq(bench.figures.budget_bytes - last, 64 * MIB);
        }
        last = bench.figures.budget_bytes;
        if (last == 512 * MIB)
            whole_ns = bench.figures.now_ns;
    }
    cr_assert_neq(whole_ns, 0, "never whole");
    cr_assert_lt(whole_ns - from_ns, 30 * SECOND_NS);
    cr_assert_gt(whole_ns - from_ns, 10 * SECOND_NS);
    cr_assert_geq(steps, 4);
    check_action(&bench.figures.orders, "whole");
    /* and then only while something is in use */
    bench_run(&bench, 4 * SECOND_NS);
    cr_assert_eq(bench.figures.wake_ns, SPILLWAY_NEVER);
    cr_assert_neq(bench.figures.wake_in_use_ns, SPILLWAY_NEVER);
}

Test(pressure, between_pressure_and_calm_nothing_changes)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench.kernel.waits = 50; /* half of what is pressure */
    bench_run(&bench, 120 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 384 * MIB);
    bench.kernel.waits = 20;
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
}

Test(pressure, pressure_on_the_way_up_begins_again)
{
    struct bench bench;
    uint64_t before;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench_run(&bench, 12 * SECOND_NS);
    before = bench.figures.budget_bytes;
    cr_assert_gt(before, 384 * MIB);
    cr_assert_lt(before, 512 * MIB);
    (void)bench_event(&bench);
    cr_assert_lt(bench.figures.budget_bytes, before);
    before = bench.figures.budget_bytes;
    bench_run(&bench, 4 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, before);
    bench_run(&bench, 26 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
}

/* Nothing was in use for a minute, so nobody looked: the averages say that all is calm. */
Test(pressure, averages_stand_for_a_long_time_without_looks)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench_run(&bench, 2 * SECOND_NS);
    bench.kernel.waited_us += 30 * 1000000; /* at some time */
    figures_pass(&bench.figures, 60 * SECOND_NS);
    check_action(bench_look(&bench), "whole");
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
    /* and that it is not */
    (void)bench_event(&bench);
    bench.kernel.waits = 100;
    bench_run(&bench, 2 * SECOND_NS);
    figures_pass(&bench.figures, 60 * SECOND_NS);
    cr_assert_null(bench_look(&bench)->action);
}

/* ---- what else may change meanwhile ---- */

Test(pressure, the_ceiling_moves)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench_run(&bench, 2 * SECOND_NS);
    /* Above: there it ends. */
    bench.figures.ceiling_bytes = 1024 * MIB;
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 1024 * MIB);
    /* Below what pressure left: nothing is lowered any more. */
    (void)bench_event(&bench);
    cr_assert(bench.state.lowered);
    bench.figures.ceiling_bytes = bench.figures.budget_bytes = 256 * MIB;
    bench_run(&bench, 4 * SECOND_NS);
    cr_assert(!bench.state.lowered);
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 256 * MIB);
}

Test(pressure, somebody_else_sets_the_budget)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench_run(&bench, 2 * SECOND_NS);
    bench.figures.budget_bytes = 480 * MIB;
    for (unsigned i = 0; i < 30; i++) {
        bench_run(&bench, SECOND_NS);
        cr_assert_geq(bench.figures.budget_bytes, 480 * MIB, "a step up went down");
    }
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
}

Test(pressure, another_file_begins_anew)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench_run(&bench, 2 * SECOND_NS);
    bench.kernel.reading.generation++;
    bench.kernel.waited_us = 5;
    bench.kernel.io_waited_us = UINT64_C(1) << 60;
    bench_run(&bench, 4 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 0);
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
}

Test(pressure, totals_that_go_back_say_nothing)
{
    struct bench bench;
    bench_open(&bench);
    bench.kernel.waited_us = bench.kernel.io_waited_us = 1000000;
    (void)bench_event(&bench);
    for (unsigned i = 0; i < 10; i++) {
        bench.kernel.waited_us = bench.kernel.io_waited_us = 1000 - i;
        figures_pass(&bench.figures, 2 * SECOND_NS);
        (void)bench_look(&bench);
        cr_assert_eq(bench.figures.budget_bytes, 384 * MIB);
    }
}

Test(pressure, nothing_to_read_changes_nothing)
{
    struct bench bench;
    spw_outlook outlook;
    spw_orders orders;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench_run(&bench, 2 * SECOND_NS);
    for (unsigned i = 0; i < 20; i++) {
        figures_pass(&bench.figures, 2 * SECOND_NS);
        outlook = figures_outlook(&bench.figures);
        orders = figures_no_orders();
        bench.input.reading = NULL;
        pressure_decide(&bench.state, bench.floor, &bench.input, &outlook, &orders);
        cr_assert_null(orders.action);
        cr_assert_eq(orders.budget_bytes, SPILLWAY_KEEP);
        cr_assert_eq(orders.wake_ns, bench.figures.now_ns + 2 * SECOND_NS);
    }
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
}

/* The source has ended, and there is no other. */
Test(pressure, without_a_source_what_was_taken_comes_back)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_event(&bench);
    bench.input = (struct pressure_input){.way = PRESSURE_NONE};
    bench.kernel.reading.has_memory = bench.kernel.reading.has_io = false;
    bench.kernel.reading.generation++;
    bench_run(&bench, 30 * SECOND_NS);
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
    cr_assert_eq(figures_due_ns(&bench.figures), SPILLWAY_NEVER);
}

Test(pressure, polled_as_often_as_the_source_asks)
{
    struct bench bench;
    bench_open(&bench);
    bench.input.way = PRESSURE_POLLED;
    bench.input.interval_ns = SECOND_NS / 2;
    (void)bench_look(&bench);
    cr_assert_eq(bench.figures.wake_in_use_ns, bench.figures.now_ns + SECOND_NS / 2);
    cr_assert_eq(bench.figures.wake_ns, SPILLWAY_NEVER);
    (void)bench_event(&bench);
    bench_run(&bench, 3 * SECOND_NS);
    cr_assert_leq(bench.figures.wake_ns, bench.figures.now_ns + SECOND_NS / 2);
}

/* ---- the disk ---- */

Test(pressure, the_disk_is_held_back_while_it_is_the_worse_evil)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_look(&bench);
    bench.kernel.io_waits = 600;
    bench_run(&bench, 2 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 0, "after one look");
    bench_run(&bench, 2 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 1);
    check_action(&bench.figures.orders, "hold");
    cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
    /* half as bad is no reason to let go, less is */
    bench.kernel.io_waits = 300;
    bench_run(&bench, 20 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 1);
    bench.kernel.io_waits = 200;
    bench_run(&bench, 2 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 1);
    bench_run(&bench, 2 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 0);
    bench.kernel.io_waits = 400;
    bench_run(&bench, 20 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 0);
}

Test(pressure, what_it_measures_is_told)
{
    struct bench bench;
    bench_open(&bench);
    const spw_orders *orders = bench_look(&bench);
    cr_assert_eq(orders->memory_stall_permille, -1, "no span has passed yet");
    cr_assert_eq(orders->io_stall_permille, -1);
    bench.kernel.waits = 30;
    bench.kernel.io_waits = 400;
    bench_run(&bench, 10 * SECOND_NS);
    cr_assert_eq(bench.figures.orders.memory_stall_permille, 30);
    cr_assert_eq(bench.figures.orders.io_stall_permille, 400);
}

Test(pressure, memory_goes_before_the_disk)
{
    struct bench bench;
    bench_open(&bench);
    (void)bench_look(&bench);
    bench.kernel.io_waits = 900;
    bench.kernel.waits = 300; /* more than a quarter of it */
    bench_run(&bench, 20 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 0);
    bench.kernel.waits = 0;
    bench_run(&bench, 4 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 1);
    check_action(bench_event(&bench), "lower");
    cr_assert_eq(bench.figures.held, 0);
    bench_run(&bench, 3 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 0, "held while memory is short");
    bench_run(&bench, 10 * SECOND_NS);
    cr_assert_eq(bench.figures.held, 1);
}

/* ---- waves ---- */

/*
 * Pressure of this share comes and goes. Events come as the kernel sends them: once in each window
 * that has enough. In each half of a wave the budget moves in one direction, apart from a step up
 * that was due before the first event could come.
 */
static void check_wave(uint64_t half_ns, unsigned waits)
{
    struct bench bench;
    uint64_t window_us = 0, event_ns = 0;
    bench_open(&bench);
    (void)bench_look(&bench);
    for (unsigned wave = 0; wave < 12; wave++) {
        for (uint64_t ns = 0; ns < 2 * half_ns; ns += 100 * MS_NS) {
            uint64_t before = bench.figures.budget_bytes;
            bool on = ns < half_ns;
            bench.kernel.waits = on ? waits : 0;
            bench_run(&bench, 100 * MS_NS);
            window_us = on ? window_us + 100 * waits : 0;
            if (window_us >= 200000 && bench.figures.now_ns - event_ns >= 2 * SECOND_NS) {
                event_ns = bench.figures.now_ns;
                window_us = 0;
                (void)bench_event(&bench);
            }
            if (!on && ns >= half_ns + 100 * MS_NS)
                cr_assert_geq(bench.figures.budget_bytes, before, "down in a calm half");
            if (on && ns >= 5 * SECOND_NS)
                cr_assert_leq(bench.figures.budget_bytes, before, "up under pressure");
            cr_assert_geq(bench.figures.budget_bytes, 128 * MIB);
            cr_assert_leq(bench.figures.budget_bytes, 512 * MIB);
        }
        cr_assert_leq(bench.figures.turns, 2 * wave + 2, "%u turns in %u waves of %" PRIu64 " ms",
                      bench.figures.turns, wave + 1, 2 * half_ns / MS_NS);
    }
    /* A wave that is shorter than what counts as calm makes it stay down. */
    if (half_ns <= 3 * SECOND_NS)
        cr_assert_eq(bench.figures.turns, 0);
}

Test(pressure, square_waves_do_not_make_it_swing)
{
    static const uint64_t halves_ms[] = {500,  1000, 1900,  2000,  2100,  3000,  3900,  4000, 5000,
                                         7000, 8000, 10000, 12000, 16000, 20000, 30000, 60000};
    static const unsigned waits[] = {100, 110, 150, 400, 1000};
    for (size_t i = 0; i < sizeof(halves_ms) / sizeof(halves_ms[0]); i++)
        for (size_t k = 0; k < sizeof(waits) / sizeof(waits[0]); k++)
            check_wave(halves_ms[i] * MS_NS, waits[k]);
}

Test(pressure, square_waves_of_the_disk_do_not_either)
{
    for (uint64_t half_ms = 500; half_ms <= 16000; half_ms += 500) {
        struct bench bench;
        unsigned changes = 0;
        bench_open(&bench);
        (void)bench_look(&bench);
        for (unsigned half = 0; half < 24; half++) {
            int before = bench.figures.held;
            bench.kernel.io_waits = half % 2 == 0 ? 800 : 0;
            for (uint64_t ms = 0; ms < half_ms; ms += 100) {
                bench_run(&bench, 100 * MS_NS);
                changes += bench.figures.held != before;
                before = bench.figures.held;
            }
            cr_assert_leq(changes, half + 1);
        }
        cr_assert_eq(bench.figures.budget_bytes, 512 * MIB);
        if (half_ms >= 8000)
            cr_assert_geq(changes, 22);
    }
}

/* ---- any trace ---- */

enum { TRACE_TICKS = 600 };

struct tick {
    unsigned ms, waits, io_waits;
    bool event;
    uint64_t used_bytes;
};

static void trace_make(struct random *random, struct tick trace[TRACE_TICKS])
{
    for (unsigned i = 0; i < TRACE_TICKS; i++) {
        bool busy = random_percent(random, i % 100 < 50 ? 40 : 2);
        trace[i] = (struct tick){
            .ms = (unsigned)random_below(random, random_percent(random, 5) ? 20000 : 2500),
            .waits = busy ? (unsigned)random_below(random, 1001) : 0,
            .io_waits = random_percent(random, 30) ? (unsigned)random_below(random, 1001) : 0,
            .event = busy && random_percent(random, 50),
            .used_bytes = random_below(random, 600 * MIB),
        };
    }
}

static void trace_play(const struct tick *trace, struct bench *bench, uint64_t *budgets)
{
    bench_open(bench);
    for (unsigned i = 0; i < TRACE_TICKS; i++) {
        uint64_t before = bench->figures.budget_bytes;
        figures_pass(&bench->figures, trace[i].ms * MS_NS);
        bench->figures.used_bytes = trace[i].used_bytes;
        bench->figures.warm_bytes = bench->figures.in_flight_bytes = trace[i].used_bytes / 8;
        bench->kernel.waits = trace[i].waits;
        bench->kernel.io_waits = trace[i].io_waits;
        bench->kernel.event = trace[i].event;
        const spw_orders *orders = bench_look(bench);
        cr_assert_geq(bench->figures.budget_bytes, 128 * MIB);
        cr_assert_leq(bench->figures.budget_bytes, 512 * MIB);
        if (trace[i].event)
            cr_assert_leq(bench->figures.budget_bytes, before, "up on an event");
        cr_assert(orders->action == NULL || orders->reason[0] != '\0');
        cr_assert(orders->trim_bytes <= trace[i].used_bytes / 8);
        cr_assert(orders->spill_bytes <= trace[i].used_bytes);
        cr_assert_gt(orders->wake_ns, bench->figures.now_ns);
        cr_assert_gt(orders->wake_in_use_ns, bench->figures.now_ns);
        budgets[i] = bench->figures.budget_bytes;
    }
}

Test(pressure, any_trace_stays_between_floor_and_ceiling_and_repeats)
{
    struct random random = random_open("pressure");
    for (uint64_t round = test_scaled(200); round > 0; round--) {
        struct tick trace[TRACE_TICKS];
        static uint64_t first[TRACE_TICKS], second[TRACE_TICKS];
        struct bench a, b;
        trace_make(&random, trace);
        trace_play(trace, &a, first);
        trace_play(trace, &b, second);
        cr_assert_eq(memcmp(first, second, sizeof(first)), 0);
        cr_assert_eq(memcmp(&a.figures.orders, &b.figures.orders, sizeof(a.figures.orders)), 0);
    }
}

/* With the queues full all the time, who hears of more pressure never allows more. */
Test(pressure, more_pressure_never_allows_more)
{
    struct random random = random_open("pressure_monotone");
    for (uint64_t round = test_scaled(200); round > 0; round--) {
        struct bench less, more;
        bench_open(&less);
        bench_open(&more);
        for (unsigned i = 0; i < 400; i++) {
            bool event = random_percent(&random, 4), also = random_percent(&random, 3);
            figures_pass(&less.figures, 2 * SECOND_NS);
            figures_pass(&more.figures, 2 * SECOND_NS);
            less.figures.used_bytes = less.figures.budget_bytes;
            more.figures.used_bytes = more.figures.budget_bytes;
            less.kernel.event = event;
            more.kernel.event = event || also;
            (void)bench_look(&less);
            (void)bench_look(&more);
            cr_assert_leq(more.figures.budget_bytes, less.figures.budget_bytes);
        }
    }
}
