/* SPDX-License-Identifier: MIT */
/* The budget: where it comes from, how it is shared, who waits for it, and that it holds. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "harness.h"
#include "pool_tools.h"
#include "traffic.h"

#define SECOND_NS UINT64_C(1000000000)

/* ---- where it comes from ---- */

static const struct setting automatic[] = {{"tiers", "none"}, {NULL, NULL}};

static void fixture_host(uint64_t bytes)
{
    char text[128];
    snprintf(text, sizeof(text), "MemTotal: %llu kB\nMemAvailable: %llu kB\n",
             (unsigned long long)(bytes / 1024), (unsigned long long)(bytes / 1024));
    fault_file("/fixture/proc/meminfo", text);
}

static uint64_t budget_in_fixture(const struct setting *settings)
{
    struct bed bed;
    cr_assert_eq(bed_try_in(&bed, "/fixture", settings, 0), 0);
    uint64_t budget = bed_stats(&bed).budget_bytes;
    bed_close(&bed);
    return budget;
}

Test(budget, half_of_the_host_without_any_limit)
{
    fixture_host(1024 * MIB);
    fault_limit(RLIMIT_AS, UINT64_MAX);
    fault_limit(RLIMIT_DATA, UINT64_MAX);
    cr_assert_eq(budget_in_fixture(automatic), 512 * MIB);
}

Test(budget, half_of_the_cgroup)
{
    fixture_host(1024 * MIB);
    fault_file("/fixture/proc/self/cgroup", "0::/jobs/one\n");
    fault_file("/fixture/proc/self/mountinfo",
               "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/one/memory.max", "max\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/one/memory.current", "0\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/memory.max", "268435456\n");
    fault_file("/fixture/sys/fs/cgroup/jobs/memory.current", "0\n");
    cr_assert_eq(budget_in_fixture(automatic), 128 * MIB);
}

Test(budget, half_of_the_first_hierarchy)
{
    fixture_host(1024 * MIB);
    fault_file("/fixture/proc/self/cgroup", "5:cpu:/x\n4:memory:/job\n");
    fault_file("/fixture/proc/self/mountinfo",
               "31 23 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n");
    fault_file("/fixture/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "134217728\n");
    fault_file("/fixture/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "0\n");
    cr_assert_eq(budget_in_fixture(automatic), 64 * MIB);
}

Test(budget, half_of_a_resource_limit)
{
    fixture_host(1024 * MIB);
    fault_limit(RLIMIT_AS, 96 * MIB);
    cr_assert_eq(budget_in_fixture(automatic), 48 * MIB);
    fault_limit(RLIMIT_DATA, 64 * MIB);
    cr_assert_eq(budget_in_fixture(automatic), 32 * MIB);
}

Test(budget, settings_win)
{
    static const struct setting bytes[] = {{"memory", "12MiB"}, {"tiers", "none"}, {NULL, NULL}};
    static const struct setting share[] = {{"memory", "25%"}, {"tiers", "none"}, {NULL, NULL}};
    fixture_host(1024 * MIB);
    fault_limit(RLIMIT_AS, 100 * MIB);
    cr_assert_eq(budget_in_fixture(bytes), 12 * MIB);
    cr_assert_eq(budget_in_fixture(share), 25 * MIB);
}

Test(budget, too_small_is_raised_and_told)
{
    static const struct setting tiny[] = {{"memory", "64KiB"}, {"tiers", "none"}, {NULL, NULL}};
    fixture_host(1024 * MIB);
    cr_assert_eq(budget_in_fixture(tiny), MIB);
    cr_assert_eq(log_lines_with("too small a budget"), 1);
}

/* A memory tier beside a cgroup limit has to be asked for. */
Test(budget, memory_tier_is_off_by_default)
{
    static const struct setting settings[] = {{"memory", "1MiB"}, {NULL, NULL}};
    struct bed bed;
    bed_open(&bed, settings, 1);
    cr_assert_eq(bed_stats(&bed).memory_tier_capacity_bytes, 0);
    bed_close(&bed);
}

/* ---- how it is shared ---- */

Test(budget, runs_scale_with_queues)
{
    static const struct {
        const char *memory;
        unsigned queues;
        uint64_t run_bytes;
    } cases[] = {{"16MiB", 0, 2 * MIB},   {"16MiB", 1, 2 * MIB},    {"16MiB", 2, MIB},
                 {"16MiB", 3, 512 * KIB}, {"16MiB", 16, 128 * KIB}, {"16MiB", 64, 64 * KIB},
                 {"1GiB", 1, 2 * MIB},    {"1GiB", 64, 2 * MIB},    {"1MiB", 1, 128 * KIB},
                 {"1MiB", 9, 64 * KIB}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct setting settings[] = {{"memory", cases[i].memory}, {"tiers", "none"}, {NULL, NULL}};
        spw_strategy *strategies[64];
        struct bed bed;
        bed_open(&bed, settings, 0);
        for (unsigned q = 0; q < cases[i].queues; q++)
            cr_assert_eq(spw_pool_strategy(bed.pool, &strategies[q]), 0);
        cr_assert_eq(spw_pool_run_bytes(bed.pool), cases[i].run_bytes, "%s, %u", cases[i].memory,
                     cases[i].queues);
        cr_assert_eq(bed_stats(&bed).queues, cases[i].queues);
        for (unsigned q = 0; q < cases[i].queues; q++) {
            spw_limits limits = {.size = sizeof(limits)};
            strategies[q]->ops->limits(strategies[q], &limits);
            cr_assert_eq(limits.queues, cases[i].queues - q);
            cr_assert_eq(limits.budget_bytes, bed_stats(&bed).budget_bytes);
            cr_assert_eq(limits.run_bytes, spw_pool_run_bytes(bed.pool));
            strategies[q]->ops->close(strategies[q]);
        }
        bed_close(&bed);
    }
}

/* ---- that it holds ---- */

struct flow {
    struct ends ends;
    struct source source;
    struct model model;
};

static void flow_open(struct flow *flow, const struct bed *bed, uint64_t stream)
{
    flow->ends = ends_open(bed);
    source_open(&flow->source, bed->pool, stream, spw_pool_run_bytes(bed->pool));
    model_open(&flow->model, stream);
}

static void flow_close(struct flow *flow)
{
    ends_close(&flow->ends);
    source_close(&flow->source);
    model_close(&flow->model);
}

static int flow_put(struct flow *flow, enum origin origin, size_t len, unsigned flags)
{
    struct random random = {flow->source.mark.at};
    struct value value;
    spw_bytes bytes;
    cr_assert_eq(source_make(&flow->source, &random, origin, len, &value, &bytes), 0);
    int err = spw_writer_extend(flow->ends.writer, &bytes, 1, flags);
    if (!err)
        model_push(&flow->model, &value);
    spw_bytes_release(&bytes);
    return err;
}

static void flow_take_all(struct flow *flow)
{
    spw_bytes bytes[16];
    while (flow->model.count > 0) {
        long count = spw_reader_drain_wait(flow->ends.reader, bytes, 16, 60 * SECOND_NS);
        cr_assert_gt(count, 0, "drain: %ld", count);
        for (long i = 0; i < count; i++) {
            model_pop(&flow->model, &bytes[i]);
            spw_bytes_release(&bytes[i]);
        }
    }
}

enum { FLOWS_MAX = 64 };

/* Several times the budget goes into queues that nobody reads, then all is read. */
static void much_more_than_the_budget(const char *engine, enum origin origin, unsigned queues,
                                      uint64_t budget, size_t len)
{
    char memory[32];
    struct setting settings[] = {
        {"memory", memory}, {"tiers", "disk"}, {"engine", engine}, {NULL, NULL}};
    static struct flow flows[FLOWS_MAX];
    struct bed bed;
    snprintf(memory, sizeof(memory), "%llu", (unsigned long long)budget);
    bed_open(&bed, settings, 1);
    for (unsigned q = 0; q < queues; q++)
        flow_open(&flows[q], &bed, q);
    size_t run_bytes = spw_pool_run_bytes(bed.pool); /* smaller now that all are open */
    for (unsigned q = 0; q < queues; q++)
        flows[q].source.slab_bytes = run_bytes;
    for (uint64_t done = 0; done < test_scaled(6) * budget; done += queues * len)
        for (unsigned q = 0; q < queues; q++)
            cr_assert_eq(flow_put(&flows[q], origin, len, 0), 0);
    spw_stats stats = bed_quiet(&bed);
    uint64_t filled_peak = stats.used_peak_bytes;
    for (unsigned q = 0; q < queues; q++) {
        flow_take_all(&flows[q]);
        flow_close(&flows[q]);
    }
    stats = bed_quiet(&bed);
    fprintf(stderr, "%u queues, values of %zu: peak %llu filling, %llu in all, budget %llu\n",
            queues, len, (unsigned long long)filled_peak, (unsigned long long)stats.used_peak_bytes,
            (unsigned long long)budget);
    /* Entry blocks, and a run that is counted twice for a moment when it changes hands. */
    cr_assert_leq(stats.used_peak_bytes, budget + run_bytes + 512 * KIB);
    bed_close(&bed);
}

Test(budget, holds_for_foreign_bytes)
{
    much_more_than_the_budget("auto", ORIGIN_LOAN, 1, 8 * MIB, 20000);
}

Test(budget, holds_for_small_entries)
{
    much_more_than_the_budget("threads", ORIGIN_LOAN, 1, 2 * MIB, 300);
}

Test(budget, holds_for_slabs)
{
    much_more_than_the_budget("auto", ORIGIN_POOL_SLAB, 1, 8 * MIB, 20000);
}

Test(budget, holds_for_sixteen_queues_of_foreign_bytes)
{
    much_more_than_the_budget("threads", ORIGIN_LOAN, 16, 16 * MIB, 20000);
}

/* Each producer may hold one slab beside what is in its queue. */
Test(budget, holds_for_sixteen_queues_of_slabs)
{
    much_more_than_the_budget("auto", ORIGIN_POOL_SLAB, 16, 16 * MIB, 20000);
}

Test(budget, holds_for_sixty_four_queues)
{
    much_more_than_the_budget("threads", ORIGIN_LOAN, 64, 32 * MIB, 20000);
}

/* Memory that is only warm makes room for what comes from elsewhere. */
Test(budget, warm_memory_makes_room)
{
    static const struct setting settings[] = {{"memory", "8MiB"}, {"tiers", "none"}, {NULL, NULL}};
    struct bed bed;
    struct flow flow;
    spw_slab *slabs[6];
    bed_open(&bed, settings, 0);
    flow_open(&flow, &bed, 1);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(spw_pool_slab_open(bed.pool, MIB, 0, &slabs[i]), 0);
    for (unsigned i = 0; i < 6; i++)
        spw_slab_close(slabs[i]);
    cr_assert_geq(bed_stats(&bed).warm_bytes, 5 * MIB);
    for (unsigned i = 0; i < 120; i++)
        cr_assert_eq(flow_put(&flow, ORIGIN_LOAN, 50000, 0), 0);
    spw_stats stats = bed_stats(&bed);
    cr_assert_leq(stats.used_bytes, stats.budget_bytes);
    cr_assert_eq(stats.over_budget_total, 0);
    flow_take_all(&flow);
    flow_close(&flow);
    bed_close(&bed);
}

/* ---- who waits ---- */

struct producer {
    struct flow flow;
    _Atomic unsigned made;
    _Atomic bool done;
    unsigned count;
    enum origin origin;
};

static void *producer_main(void *context)
{
    struct producer *producer = context;
    for (unsigned i = 0; i < producer->count; i++) {
        if (flow_put(&producer->flow, producer->origin, 50000, 0))
            break;
        atomic_fetch_add(&producer->made, 1);
    }
    atomic_store(&producer->done, true);
    return NULL;
}

static bool writer_sleeps(void *pool)
{
    return atomic_load(&((spw_pool *)pool)->waiters) > 0;
}

static void writer_waits_for_the_device(enum origin origin)
{
    static const struct setting settings[] = {
        {"memory", "4MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};
    struct bed bed;
    pthread_t thread;
    static struct producer producer;
    bed_open(&bed, settings, 1);
    producer.count = 400; /* 20 MB */
    producer.origin = origin;
    flow_open(&producer.flow, &bed, 1);
    gate_shut(FAULT_PWRITE);
    cr_assert_eq(pthread_create(&thread, NULL, producer_main, &producer), 0);
    gate_wait(1);
    cr_assert(wait_until(writer_sleeps, bed.pool), "it waits");
    unsigned made = atomic_load(&producer.made);
    cr_assert_lt(made, 100, "it waits");
    cr_assert_gt(made, 40, "but not before the budget is used");
    cr_assert_not(atomic_load(&producer.done));
    spw_stats stats = bed_stats(&bed);
    cr_assert_gt(stats.in_flight_bytes, 0);
    cr_assert_leq(stats.used_peak_bytes, 4 * MIB + 512 * KIB);
    gate_open();
    pthread_join(thread, NULL);
    cr_assert_eq(atomic_load(&producer.made), 400);
    cr_assert_gt(bed_stats(&bed).writer_wait_ns_total, 0);
    flow_take_all(&producer.flow);
    flow_close(&producer.flow);
    bed_close(&bed);
}

Test(budget, writer_waits_for_the_device)
{
    writer_waits_for_the_device(ORIGIN_LOAN);
}

Test(budget, slab_producer_waits_for_the_device)
{
    writer_waits_for_the_device(ORIGIN_POOL_SLAB);
}

Test(budget, nobody_waits_with_nothing_in_flight)
{
    static const struct setting settings[] = {{"memory", "1MiB"}, {"tiers", "none"}, {NULL, NULL}};
    struct bed bed;
    struct flow flow;
    bed_open(&bed, settings, 0);
    flow_open(&flow, &bed, 1);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(flow_put(&flow, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 50000, 0), 0);
    spw_stats stats = bed_stats(&bed);
    cr_assert_eq(stats.writer_wait_ns_total, 0);
    cr_assert_gt(stats.used_bytes, 4 * MIB);
    flow_take_all(&flow);
    flow_close(&flow);
    bed_close(&bed);
}
