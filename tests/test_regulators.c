/* SPDX-License-Identifier: MIT */
/* The policies for whole pools, over a scripted system and figures, and attached to a real pool. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policies/manual.h"
#include "../policies/pressure.h"
#include "fault.h"
#include "harness.h"
#include "pool_tools.h"
#include "pressure_tools.h"
#include "queue_tools.h"
#include "regulator_tools.h"

/* ---- one that is called by hand ---- */

static spw_orders look(spw_regulator *regulator, struct figures *figures, short reported)
{
    spw_outlook outlook = figures_outlook(figures);
    spw_orders orders = figures_no_orders();
    outlook.reported[0] = reported;
    outlook.ready = reported != 0;
    regulator->ops->apply(regulator, &outlook, &orders);
    figures_obey(figures, &orders);
    return orders;
}

static spw_watch watched(spw_regulator *regulator)
{
    spw_watch watches[SPILLWAY_WATCHES_MAX];
    return regulator->ops->watch(regulator, watches) == 1 ? watches[0] : (spw_watch){.fd = -1};
}

static void check_action(const spw_orders *orders, const char *action, const char *reason)
{
    cr_assert_not_null(orders->action);
    cr_assert_str_eq(orders->action, action);
    cr_assert(strstr(orders->reason, reason) != NULL, "%s", orders->reason);
}

/* ---- periodic ---- */

static spw_regulator *periodic_open(uint64_t period_ns)
{
    spw_periodic_config config = {
        .size = sizeof(config), .period_ns = period_ns, .allocator = &fault_allocator};
    spw_regulator *regulator;
    cr_assert_eq(spw_periodic_open(&config, &regulator), 0);
    return regulator;
}

Test(regulators, periodic_looks_once_a_period_while_there_is_use)
{
    struct figures figures = figures_open(64 * MIB);
    spw_regulator *regulator = periodic_open(3 * SECOND_NS);
    spw_orders orders = look(regulator, &figures, 0);
    cr_assert_eq(orders.spill_older_ns, SPILLWAY_NEVER);
    cr_assert_eq(orders.wake_ns, SPILLWAY_NEVER);
    cr_assert_eq(orders.wake_in_use_ns, figures.now_ns + 3 * SECOND_NS);
    /* called for some other reason */
    figures_pass(&figures, SECOND_NS);
    orders = look(regulator, &figures, 0);
    cr_assert_eq(orders.spill_older_ns, SPILLWAY_NEVER);
    cr_assert_eq(orders.wake_in_use_ns, figures.now_ns + 2 * SECOND_NS);
    figures_pass(&figures, 2 * SECOND_NS);
    orders = look(regulator, &figures, 0);
    cr_assert_eq(orders.spill_older_ns, 3 * SECOND_NS);
    cr_assert_eq(orders.trim_bytes, 0);
    cr_assert_eq(orders.spill_bytes, 0);
    cr_assert_eq(orders.budget_bytes, SPILLWAY_KEEP);
    cr_assert_null(orders.action);
    /* what went leaves warm memory behind */
    figures.spilled_bytes_total += 10 * MIB;
    figures.warm_bytes = 12 * MIB;
    figures_pass(&figures, 3 * SECOND_NS);
    orders = look(regulator, &figures, 0);
    cr_assert_eq(orders.spill_older_ns, 3 * SECOND_NS);
    cr_assert_eq(orders.trim_bytes, 10 * MIB);
    check_action(&orders, "age", "older than 3s goes: 10MiB spilled since the last time");
    figures_pass(&figures, 3 * SECOND_NS);
    orders = look(regulator, &figures, 0);
    cr_assert_eq(orders.trim_bytes, 0, "what is warm for others' sake stays");
    regulator->ops->close(regulator);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(regulators, periodic_takes_another_period)
{
    struct figures figures = figures_open(64 * MIB);
    spw_regulator *regulator = periodic_open(30 * SECOND_NS);
    uint64_t begin_ns = figures.now_ns;
    regulator->ops->set(regulator, "period", "20s");
    cr_assert_eq(look(regulator, &figures, 0).wake_in_use_ns, begin_ns + 20 * SECOND_NS);
    figures_pass(&figures, 10 * SECOND_NS);
    regulator->ops->set(regulator, "period", "5s");
    spw_orders orders = look(regulator, &figures, 0);
    cr_assert_eq(orders.spill_older_ns, 5 * SECOND_NS, "that time has passed");
    /* what it does not know, or cannot read, changes nothing */
    regulator->ops->set(regulator, "price", "1s");
    regulator->ops->set(regulator, "period", "soon");
    cr_assert_eq(look(regulator, &figures, 0).wake_in_use_ns, figures.now_ns + 5 * SECOND_NS);
    regulator->ops->close(regulator);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(regulators, periodic_opens_or_refuses)
{
    spw_periodic_config config = {.size = sizeof(config), .allocator = &fault_allocator};
    spw_regulator *regulator = NULL;
    struct figures figures = figures_open(MIB);
    config.period_ns = SPILLWAY_NEVER;
    cr_assert_eq(spw_periodic_open(&config, &regulator), -EINVAL);
    config.period_ns = 0;
    config.size--;
    cr_assert_eq(spw_periodic_open(&config, &regulator), -EINVAL);
    config.size++;
    fault_alloc_after(1);
    cr_assert_eq(spw_periodic_open(&config, &regulator), -ENOMEM);
    cr_assert_null(regulator);
    cr_assert_eq(spw_periodic_open(NULL, &regulator), 0);
    cr_assert_eq(look(regulator, &figures, 0).wake_in_use_ns, figures.now_ns + 10 * SECOND_NS);
    regulator->ops->close(regulator);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- manual ---- */

static spw_regulator *manual_open(void)
{
    spw_manual_config config = {.size = sizeof(config), .allocator = &fault_allocator};
    spw_regulator *regulator;
    cr_assert_eq(manual_open_on(&fault_os, &config, &regulator), 0);
    return regulator;
}

static void write_number(int fd, uint64_t number)
{
    cr_assert_eq(write(fd, &number, sizeof(number)), (long)sizeof(number));
}

Test(regulators, manual_does_what_it_is_asked_for)
{
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = manual_open();
    spw_watch watch = watched(regulator);
    spw_orders orders = look(regulator, &figures, 0);
    figures.inflow = 0;
    cr_assert_eq(watch.events, POLLIN);
    cr_assert_eq(watch.fd, spw_manual_fd(regulator));
    cr_assert_null(orders.action);
    cr_assert_eq(orders.wake_ns, SPILLWAY_NEVER);
    cr_assert_eq(orders.wake_in_use_ns, SPILLWAY_NEVER);
    figures.warm_bytes = 20 * MIB;
    write_number(watch.fd, 100);
    orders = look(regulator, &figures, POLLIN);
    cr_assert_eq(orders.trim_bytes, 20 * MIB);
    cr_assert_eq(orders.spill_bytes, 80 * MIB);
    check_action(&orders, "spill",
                 "asked for 100MiB: of 512MiB in use 412MiB are to stay, 20MiB warm back, 80MiB to "
                 "spill");
    /* what was spilled is warm then, and goes too */
    for (unsigned i = 0; i < 10; i++) {
        figures_pass(&figures, 100 * MS_NS);
        cr_assert_null(look(regulator, &figures, 0).action);
    }
    cr_assert_eq(figures.used_bytes, 412 * MIB);
    cr_assert_eq(figures.wake_ns, SPILLWAY_NEVER);
    regulator->ops->close(regulator);
    cr_assert_eq(fault_open_fds(), 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(regulators, manual_adds_up)
{
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = manual_open();
    int fd = spw_manual_fd(regulator);
    figures.inflow = 0;
    write_number(fd, 10);
    cr_assert_eq(spw_manual_spill(regulator, 20 * MIB), 0);
    cr_assert_eq(spw_manual_spill(regulator, 1), 0); /* a whole MiB */
    cr_assert_eq(spw_manual_spill(regulator, 0), 0);
    spw_orders orders = look(regulator, &figures, POLLIN);
    cr_assert_eq(orders.spill_bytes, 31 * MIB);
    /* and again before that is done */
    write_number(fd, 9);
    orders = look(regulator, &figures, POLLIN);
    cr_assert_eq(orders.spill_bytes, 9 * MIB);
    for (unsigned i = 0; i < 10; i++) {
        figures_pass(&figures, 100 * MS_NS);
        (void)look(regulator, &figures, 0);
    }
    cr_assert_eq(figures.used_bytes, 472 * MIB);
    regulator->ops->close(regulator);
}

Test(regulators, manual_all)
{
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = manual_open();
    int fd = spw_manual_fd(regulator);
    static const uint64_t numbers[] = {SPILLWAY_MANUAL_ALL, UINT64_MAX - 1};
    for (unsigned i = 0; i < 2; i++) {
        write_number(fd, numbers[i]);
        spw_orders orders = look(regulator, &figures, POLLIN);
        cr_assert_eq(orders.spill_bytes,
                     figures.used_bytes - figures.in_flight_bytes + (i == 0 ? 512 * MIB : 0));
        check_action(&orders, "spill", "asked for all");
    }
    figures = figures_open(512 * MIB);
    cr_assert_eq(spw_manual_spill(regulator, UINT64_MAX), 0);
    /* what does not fit into the counter is all of it already */
    cr_assert_eq(spw_manual_spill(regulator, UINT64_MAX), 0);
    write_number(fd, UINT64_MAX - 1 - 2 * SPILLWAY_MANUAL_ALL);
    cr_assert_eq(spw_manual_spill(regulator, UINT64_MAX), 0);
    cr_assert_eq(look(regulator, &figures, POLLIN).spill_bytes, 512 * MIB);
    regulator->ops->close(regulator);
}

/* More than there is, and more than can go in time. */
Test(regulators, manual_gives_up_in_time)
{
    struct figures figures = figures_open(64 * MIB);
    spw_regulator *regulator = manual_open();
    figures.disk = 0;
    cr_assert_eq(spw_manual_spill(regulator, 100 * MIB), 0);
    cr_assert_eq(look(regulator, &figures, POLLIN).spill_bytes, 64 * MIB);
    unsigned looks = 0;
    while (figures.wake_ns != SPILLWAY_NEVER && looks++ < 1000) {
        figures_pass(&figures, figures.wake_ns - figures.now_ns);
        cr_assert_eq(look(regulator, &figures, 0).spill_bytes, 0, "it is on its way already");
    }
    cr_assert_leq(looks, 51);
    regulator->ops->close(regulator);
}

/* An order that is less than one entry moves nothing, so it grows. */
Test(regulators, manual_asks_for_more_where_nothing_moves)
{
    struct figures figures = figures_open(64 * MIB);
    spw_regulator *regulator = manual_open();
    cr_assert_eq(spw_manual_spill(regulator, 2 * MIB), 0);
    uint64_t asked[6];
    for (unsigned i = 0; i < 6; i++) {
        spw_outlook outlook = figures_outlook(&figures);
        spw_orders orders = figures_no_orders();
        regulator->ops->apply(regulator, &outlook, &orders); /* nobody obeys */
        asked[i] = orders.spill_bytes;
        figures.now_ns += 100 * MS_NS;
    }
    static const uint64_t wanted[] = {2 * MIB, 3 * MIB, 4 * MIB, 6 * MIB, 10 * MIB, 18 * MIB};
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(asked[i], wanted[i]);
    regulator->ops->close(regulator);
}

static spw_regulator *signalled;

static void on_signal(int number)
{
    (void)number;
    (void)spw_manual_spill(signalled, 5 * MIB);
}

Test(regulators, manual_in_a_signal_handler)
{
    struct figures figures = figures_open(64 * MIB);
    signalled = manual_open();
    struct sigaction action = {.sa_handler = on_signal};
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(look(signalled, &figures, POLLIN).spill_bytes, 15 * MIB);
    signalled->ops->close(signalled);
}

Test(regulators, manual_opens_or_refuses)
{
    spw_manual_config config = {.size = sizeof(config), .allocator = &fault_allocator};
    spw_regulator *regulator = NULL, *other = periodic_open(SECOND_NS);
    config.size--;
    cr_assert_eq(spw_manual_open(&config, &regulator), -EINVAL);
    config.size++;
    fault_alloc_after(1);
    cr_assert_eq(spw_manual_open(&config, &regulator), -ENOMEM);
    fault_fail(FAULT_EVENTFD, 0, 1, -EMFILE);
    cr_assert_eq(manual_open_on(&fault_os, &config, &regulator), -EMFILE);
    cr_assert_null(regulator);
    cr_assert_eq(spw_manual_fd(NULL), -EINVAL);
    cr_assert_eq(spw_manual_fd(other), -EINVAL);
    cr_assert_eq(spw_manual_spill(NULL, 1), -EINVAL);
    cr_assert_eq(spw_manual_spill(other, 1), -EINVAL);
    other->ops->close(other);
    cr_assert_eq(spw_manual_open(NULL, &regulator), 0);
    cr_assert_geq(spw_manual_fd(regulator), 0);
    regulator->ops->close(regulator);
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

/* Reads that fail, or are interrupted, ask for nothing. */
Test(regulators, manual_survives_its_descriptor)
{
    struct figures figures = figures_open(64 * MIB);
    spw_regulator *regulator = manual_open();
    fault_fail(FAULT_WRITE, 0, 2, -EINTR);
    cr_assert_eq(spw_manual_spill(regulator, MIB), 0);
    fault_fail(FAULT_READ, 0, 1, -EINTR);
    cr_assert_null(look(regulator, &figures, POLLIN).action);
    cr_assert_not_null(look(regulator, &figures, POLLIN).action);
    fault_fail(FAULT_READ, 0, 1, -EIO);
    cr_assert_null(look(regulator, &figures, POLLIN).action);
    regulator->ops->close(regulator);
}

/* ---- pressure ---- */

static int pressure_try(const char *source, int strict, spw_regulator **out)
{
    struct pressure_host host = {.os = &fault_os, .root = rig.root};
    spw_pressure_config config = {.size = sizeof(config),
                                  .source = source,
                                  .floor_bytes = SPILLWAY_AUTO,
                                  .strict = strict,
                                  .allocator = &fault_allocator};
    return pressure_open_on(&host, &config, out);
}

static spw_regulator *pressure_open(const char *source)
{
    spw_regulator *regulator;
    cr_assert_eq(pressure_try(source, 0, &regulator), 0);
    return regulator;
}

static void put_all(uint64_t total_us)
{
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", total_us);
    rig_put_pressure(RIG_GROUP_V2 "/io.pressure", 0);
}

Test(regulators, pressure_through_files)
{
    rig_begin();
    rig_pure_v2();
    put_all(1000);
    struct figures figures = figures_open(512 * MIB);
    figures.now_ns = fault_os.clock_ns();
    spw_regulator *regulator = pressure_open(NULL);
    spw_orders orders = look(regulator, &figures, 0);
    check_action(&orders, "watch", "/a/b/memory.pressure, polled, 200ms in 2s is pressure");
    cr_assert_null(orders.fallback);
    cr_assert_eq(watched(regulator).fd, -1);
    cr_assert_eq(orders.wake_in_use_ns, figures.now_ns + SECOND_NS);
    fault_clock_advance(2 * SECOND_NS);
    figures_pass(&figures, 2 * SECOND_NS);
    put_all(301000);
    orders = look(regulator, &figures, 0);
    check_action(&orders, "lower", "tasks waited 200ms in 2s: 512MiB used, 384MiB allowed now");
    cr_assert_eq(figures.budget_bytes, 384 * MIB);
    for (unsigned i = 0; i < 30 && figures.budget_bytes < 512 * MIB; i++) {
        fault_clock_advance(SECOND_NS);
        figures_pass(&figures, SECOND_NS);
        (void)look(regulator, &figures, 0);
    }
    cr_assert_eq(figures.budget_bytes, 512 * MIB);
    regulator->ops->close(regulator);
    rig_end();
}

Test(regulators, pressure_says_that_there_is_none)
{
    rig_begin();
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = pressure_open("auto");
    spw_orders orders = look(regulator, &figures, 0);
    check_action(&orders, "off", "no word of pressure: ");
    cr_assert_str_eq(orders.fallback, "pressure");
    cr_assert_eq(figures_due_ns(&figures), SPILLWAY_NEVER);
    orders = look(regulator, &figures, 0);
    cr_assert_null(orders.action);
    cr_assert_null(orders.fallback);
    regulator->ops->close(regulator);
    /* which is no surprise where it was asked for */
    regulator = pressure_open("off");
    orders = look(regulator, &figures, 0);
    check_action(&orders, "off", "turned off");
    cr_assert_null(orders.fallback);
    regulator->ops->close(regulator);
    cr_assert_eq(pressure_try(NULL, 1, &regulator), -EOPNOTSUPP);
    cr_assert_eq(pressure_try("off", 1, &regulator), 0);
    regulator->ops->close(regulator);
    rig_end();
}

Test(regulators, pressure_from_elsewhere_than_asked_for)
{
    rig_begin();
    rig_pure_v2();
    put_all(1000);
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = pressure_open("/nowhere/at/all");
    spw_orders orders = look(regulator, &figures, 0);
    check_action(&orders, "watch", "cgroup ");
    cr_assert(strstr(orders.reason, "/nowhere/at/all") != NULL, "%s", orders.reason);
    cr_assert_str_eq(orders.fallback, "pressure");
    regulator->ops->close(regulator);
    cr_assert_eq(pressure_try("/nowhere/at/all", 1, &regulator), -EOPNOTSUPP);
    rig_end();
}

Test(regulators, pressure_by_messages)
{
    rig_begin();
    rig_pure_v2();
    put_all(1000);
    char path[RIG_PATH];
    snprintf(path, sizeof(path), "%s", rig_path("/fifo"));
    cr_assert_eq(mkfifo(path, 0600), 0);
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = pressure_open(path);
    spw_orders orders = look(regulator, &figures, 0);
    check_action(&orders, "watch", ", messages");
    struct pollfd pollfd = {.fd = watched(regulator).fd, .events = watched(regulator).events};
    cr_assert_eq(poll(&pollfd, 1, 0), 0);
    cr_assert_eq(write(pollfd.fd, "x", 1), 1); /* any end of it will do */
    cr_assert_eq(poll(&pollfd, 1, 0), 1);
    orders = look(regulator, &figures, pollfd.revents);
    check_action(&orders, "lower", "a message came: 512MiB used");
    cr_assert_eq(poll(&pollfd, 1, 0), 0);
    regulator->ops->close(regulator);
    unlink(path);
    rig_end();
}

/* The group is removed under it: the next source takes its place, and that is told. */
Test(regulators, pressure_whose_source_ends)
{
    rig_begin();
    rig_pure_v2();
    put_all(1000);
    rig_put_pressure(RIG_PROC, 5000);
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = pressure_open(NULL);
    check_action(&(spw_orders[]){look(regulator, &figures, 0)}[0], "watch", "cgroup ");
    rig_remove(RIG_GROUP_V2 "/memory.pressure");
    spw_orders orders = look(regulator, &figures, 0);
    check_action(&orders, "watch", "proc ");
    rig_remove(RIG_PROC);
    orders = look(regulator, &figures, 0);
    check_action(&orders, "off", "no word of pressure");
    cr_assert_str_eq(orders.fallback, "pressure");
    regulator->ops->close(regulator);
    rig_end();
}

Test(regulators, pressure_opens_or_refuses)
{
    rig_begin();
    rig_pure_v2();
    put_all(1000);
    struct pressure_host host = {.os = &fault_os, .root = rig.root};
    spw_pressure_config config = {
        .size = sizeof(config), .floor_bytes = SPILLWAY_AUTO, .allocator = &fault_allocator};
    spw_regulator *regulator = NULL;
    config.size--;
    cr_assert_eq(pressure_open_on(&host, &config, &regulator), -EINVAL);
    config.size++;
    config.floor_percent = 101;
    cr_assert_eq(pressure_open_on(&host, &config, &regulator), -EINVAL);
    config.floor_percent = 0;
    config.stall_ns = 3 * SECOND_NS;
    cr_assert_eq(pressure_open_on(&host, &config, &regulator), -EINVAL);
    config.window_ns = 3 * SECOND_NS;
    for (unsigned i = 1; i < 3; i++) {
        fault_alloc_after(i);
        cr_assert_eq(pressure_open_on(&host, &config, &regulator), -ENOMEM);
    }
    fault_fail(FAULT_OPEN, 3, FAULT_ALWAYS, -EMFILE);
    int err = pressure_open_on(&host, &config, &regulator);
    cr_assert(err == -EMFILE || err == 0);
    if (err == 0)
        regulator->ops->close(regulator);
    fault_clear();
    cr_assert_null(err == 0 ? NULL : regulator);
    cr_assert_eq(spw_pressure_open(NULL, &regulator), 0);
    regulator->ops->close(regulator);
    rig_end();
}

Test(regulators, pressure_goes_on_when_it_cannot_read)
{
    rig_begin();
    rig_pure_v2();
    put_all(1000);
    struct figures figures = figures_open(512 * MIB);
    spw_regulator *regulator = pressure_open(NULL);
    (void)look(regulator, &figures, 0);
    fault_fail(FAULT_OPEN, 0, FAULT_ALWAYS, -EMFILE);
    for (unsigned i = 0; i < 3; i++) {
        fault_clock_advance(SECOND_NS);
        figures_pass(&figures, SECOND_NS);
        cr_assert_null(look(regulator, &figures, 0).action);
        cr_assert_neq(figures.wake_in_use_ns, SPILLWAY_NEVER);
    }
    fault_heal(FAULT_OPEN);
    put_all(2001000);
    fault_clock_advance(SECOND_NS);
    figures_pass(&figures, SECOND_NS);
    spw_orders orders = look(regulator, &figures, 0);
    check_action(&orders, "lower", "tasks waited");
    regulator->ops->close(regulator);
    rig_end();
}

Test(regulators, floor_in_bytes)
{
    rig_begin();
    char path[RIG_PATH];
    snprintf(path, sizeof(path), "%s", rig_path("/p"));
    rig_put_pressure("/p", 0);
    struct pressure_host host = {.os = &fault_os, .root = rig.root, .watch = path};
    spw_pressure_config config = {.size = sizeof(config), .floor_bytes = 500 * MIB};
    spw_regulator *regulator;
    cr_assert_eq(pressure_open_on(&host, &config, &regulator), 0);
    struct figures figures = figures_open(512 * MIB);
    check_action(&(spw_orders[]){look(regulator, &figures, 0)}[0], "watch", "systemd ");
    rig_put_pressure("/p", 2000000);
    fault_clock_advance(2 * SECOND_NS);
    figures_pass(&figures, 2 * SECOND_NS);
    (void)look(regulator, &figures, 0);
    cr_assert_eq(figures.budget_bytes, 500 * MIB);
    regulator->ops->close(regulator);
    rig_end();
}

Test(regulators, pressure_takes_another_floor_and_stall)
{
    rig_begin();
    rig_pure_v2();
    put_all(1000);
    struct figures figures = figures_open(512 * MIB);
    figures.now_ns = fault_os.clock_ns();
    spw_regulator *regulator = pressure_open(NULL);
    (void)look(regulator, &figures, 0);
    regulator->ops->set(regulator, "floor", "500MiB");
    regulator->ops->set(regulator, "stall", "100ms/1s");
    regulator->ops->set(regulator, "price", "1s");
    regulator->ops->set(regulator, "floor", "much");
    spw_orders orders = look(regulator, &figures, 0);
    check_action(&orders, "watch", "polled, 100ms in 1s is pressure");
    fault_clock_advance(SECOND_NS);
    figures_pass(&figures, SECOND_NS);
    put_all(151000);
    orders = look(regulator, &figures, 0);
    check_action(&orders, "lower", "tasks waited 100ms in 1s");
    cr_assert_eq(figures.budget_bytes, 500 * MIB);
    regulator->ops->set(regulator, "floor", "100%");
    regulator->ops->set(regulator, "stall", "1s");
    regulator->ops->set(regulator, "stall", "soon/2s");
    orders = look(regulator, &figures, 0);
    check_action(&orders, "watch", "100ms in 1s");
    regulator->ops->close(regulator);
    rig_end();
}

/* ---- on a real pool ---- */

static const struct setting plain[] = {
    {"memory", "32MiB"}, {"engine", "threads"}, {"policies", "none"}, {NULL, NULL}};

static bool is_decided(void *context)
{
    const char *action = ((const char **)context)[1];
    spw_decision decisions[SPILLWAY_DECISIONS_KEPT] = {{.size = sizeof(spw_decision)}};
    long count = spw_pool_decisions(((struct bed **)context)[0]->pool, 0, decisions,
                                    SPILLWAY_DECISIONS_KEPT);
    for (long i = 0; i < count; i++)
        if (strcmp(decisions[i].action, action) == 0)
            return true;
    return false;
}

static void wait_decided(struct bed *bed, const char *action)
{
    const void *context[] = {bed, action};
    cr_assert(wait_until(is_decided, context), "never decided to %s", action);
}

Test(regulators, pressure_moves_the_budget_of_a_pool)
{
    struct bed bed;
    struct ends ends;
    char path[RIG_PATH];
    rig_begin();
    fault_clock_real();
    snprintf(path, sizeof(path), "%s", rig_path("/fifo"));
    cr_assert_eq(mkfifo(path, 0600), 0);
    bed_open(&bed, plain, 1);
    ends = ends_open(&bed);
    spw_regulator *regulator = pressure_open(path);
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), regulator), 0);
    wait_decided(&bed, "watch");
    int fd = open(path, O_WRONLY | O_NONBLOCK);
    cr_assert_eq(write(fd, "low\n", 4), 4);
    wait_decided(&bed, "lower");
    wait_stat(&bed, budget_bytes, ==, 8 * MIB); /* nothing was in use */
    close(fd);
    ends_close(&ends);
    bed_close(&bed);
    unlink(path);
    rig_end();
}

/* Eight of a MiB each stand in a queue that may keep them all: they are less than its automatic
 * head reserve of 16 MiB. */
static const struct setting roomy[] = {{"memory", "64MiB"},
                                       {"engine", "threads"},
                                       {"policies", "manual"},
                                       {"period", "50ms"},
                                       {NULL, NULL}};

static struct ends ends_filled(struct bed *bed)
{
    struct ends ends = ends_open(bed);
    for (unsigned i = 0; i < 8; i++) {
        spw_chunks chunks = slab_chunk(bed->pool, i * MIB, MIB, 0);
        spw_bytes bytes;
        cr_assert_eq(spw_chunks_pop(&chunks, &bytes), 1);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    return ends;
}

static void ends_drained(struct ends *ends)
{
    for (uint64_t at = 0; at < 8 * MIB;) {
        spw_bytes bytes;
        cr_assert_eq(spw_reader_drain_wait(ends->reader, &bytes, 1, 30 * SECOND_NS), 1);
        cr_assert(stream_is(&bytes, at));
        at += bytes.len;
        spw_bytes_release(&bytes);
    }
    ends_close(ends);
}

/* The option brought it; it is found at the governor. */
Test(regulators, manual_empties_a_queue)
{
    struct bed bed;
    bed_open(&bed, roomy, 1);
    struct ends ends = ends_filled(&bed);
    cr_assert_eq(bed_stats(&bed).spilled_bytes_total, 0);
    spw_regulator *manual = spw_governor_regulator(spw_pool_governor(bed.pool), "manual");
    cr_assert_eq(spw_manual_spill(manual, 2 * MIB), 0);
    wait_decided(&bed, "spill");
    wait_stat(&bed, spilled_bytes_total, >=, 2 * MIB);
    cr_assert_eq(spw_manual_spill(manual, UINT64_MAX), 0);
    wait_stat(&bed, spilled_bytes_total, >=, 7 * MIB);
    /* the last one stays, and what went leaves nothing warm behind */
    wait_stat(&bed, used_bytes, <=, 4 * MIB);
    ends_drained(&ends);
    bed_close(&bed);
}

Test(regulators, periodic_takes_what_is_old)
{
    struct bed bed;
    bed_open(&bed, roomy, 1);
    cr_assert_eq(spw_options_set(bed.options, "policies", "threshold,prefetch,periodic"), 0);
    struct ends ends = ends_filled(&bed);
    wait_stat(&bed, spilled_bytes_total, >=, 7 * MIB);
    wait_stat(&bed, used_bytes, <=, 4 * MIB);
    ends_drained(&ends);
    bed_close(&bed);
}

/* What somebody has set as head reserve stays whatever is asked for. */
Test(regulators, head_reserves_that_were_set_stay)
{
    struct setting settings[] = {{"memory", "64MiB"},      {"engine", "threads"},
                                 {"head_reserve", "4MiB"}, {"policies", "manual,periodic"},
                                 {"period", "50ms"},       {NULL, NULL}};
    struct bed bed;
    bed_open(&bed, settings, 1);
    struct ends ends = ends_filled(&bed);
    spw_regulator *manual = spw_governor_regulator(spw_pool_governor(bed.pool), "manual");
    wait_stat(&bed, spilled_bytes_total, >=, 2 * MIB);
    cr_assert_eq(spw_manual_spill(manual, UINT64_MAX), 0);
    wait_decided(&bed, "spill");
    for (unsigned i = 0; i < 300; i++) {
        nap();
        cr_assert_leq(bed_stats(&bed).spilled_bytes_total, 4 * MIB);
    }
    ends_drained(&ends);
    bed_close(&bed);
}

/* It goes below what is in use, though nobody touches the queue. */
Test(regulators, pressure_brings_an_idle_queue_down)
{
    struct bed bed;
    char path[RIG_PATH];
    rig_begin();
    fault_clock_real();
    snprintf(path, sizeof(path), "%s", rig_path("/fifo"));
    cr_assert_eq(mkfifo(path, 0600), 0);
    bed_open(&bed, roomy, 1);
    struct ends ends = ends_filled(&bed);
    cr_assert_eq(bed_stats(&bed).spilled_bytes_total, 0);
    uint64_t before = bed_stats(&bed).used_bytes;
    struct pressure_host host = {.os = &fault_os, .root = rig.root};
    spw_pressure_config config = {.size = sizeof(config), .source = path, .floor_bytes = 2 * MIB};
    spw_regulator *regulator;
    cr_assert_eq(pressure_open_on(&host, &config, &regulator), 0);
    cr_assert_eq(spw_governor_attach(spw_pool_governor(bed.pool), regulator), 0);
    wait_decided(&bed, "watch");
    int fd = open(path, O_WRONLY | O_NONBLOCK);
    cr_assert_eq(write(fd, "low\n", 4), 4);
    wait_decided(&bed, "lower");
    wait_stat(&bed, used_bytes, <=, before - before / 4);
    close(fd);
    ends_drained(&ends);
    bed_close(&bed);
    unlink(path);
    rig_end();
}
