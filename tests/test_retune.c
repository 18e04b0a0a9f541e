/* SPDX-License-Identifier: MIT */
/* Settings that are changed while a pool is open. */
#include "../pool/retune.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/growable.h"
#include "child.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

static const struct setting quiet[] = {
    {"memory", "8MiB"}, {"tiers", "none"}, {"log_level", "info"}, {NULL, NULL}};

/* The last decision. */
static spw_decision decided(const struct bed *bed)
{
    spw_decision all[SPILLWAY_DECISIONS_KEPT];
    all[0].size = sizeof(all[0]);
    long count = spw_pool_decisions(bed->pool, 0, all, SPILLWAY_DECISIONS_KEPT);
    cr_assert_gt(count, 0);
    return all[count - 1];
}

static const struct page_setting *shown(const struct bed *bed, const char *name)
{
    const struct option_row *row = options_find(name);
    return &bed->pool->page.page->settings[row - option_rows];
}

static spw_limits limits_now(spw_strategy *strategy)
{
    spw_limits limits = {.size = sizeof(limits), .queues = 1};
    strategy->ops->limits(strategy, &limits);
    return limits;
}

/* ---- what is seen of it ---- */

Test(retune, a_change_is_seen)
{
    struct bed bed;
    bed_open(&bed, quiet, 0);
    cr_assert_str_eq(shown(&bed, "threshold")->origin, "default");
    cr_assert_eq(shown(&bed, "threshold")->set_ns, 0);
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "1MiB"), 0);
    cr_assert_str_eq(shown(&bed, "threshold")->value, "1MiB");
    cr_assert_str_eq(shown(&bed, "threshold")->origin, "call");
    cr_assert_gt(shown(&bed, "threshold")->set_ns, 0);
    cr_assert_eq(log_lines_with("set by service: threshold: 1MiB, before auto"), 1);
    spw_decision last = decided(&bed);
    cr_assert_str_eq(last.regulator, "service");
    cr_assert_str_eq(last.action, "set");
    cr_assert_str_eq(last.reason, "threshold: 1MiB, before auto");
    /* by its variable, and written in another way */
    cr_assert_eq(spw_pool_set(bed.pool, "SPILLWAY_THRESHOLD", " 1024k "), 0);
    cr_assert_str_eq(decided(&bed).reason, "threshold: 1MiB, before 1MiB");
    bed_close(&bed);
}

Test(retune, an_operator_is_named)
{
    struct bed bed;
    char answer[SET_ANSWER_BYTES];
    bed_open(&bed, quiet, 0);
    cr_assert_eq(pool_set(bed.pool, "prefetch", "off", ORIGIN_CONTROL, answer), 0);
    cr_assert_str_eq(answer, "prefetch: off, before auto");
    cr_assert_str_eq(decided(&bed).regulator, "control");
    cr_assert_str_eq(shown(&bed, "prefetch")->origin, "control");
    bed_close(&bed);
}

/* ---- what is refused ---- */

Test(retune, a_refusal_changes_nothing)
{
    static const struct {
        const char *name, *value;
        int err;
        const char *told;
    } refused[] = {
        {"treshold", "1MiB", -ENOENT, "the nearest is threshold"},
        {"xyzzy", "1MiB", -ENOENT, "is not a setting"},
        {"", "", -ENOENT, "is not a setting"},
        {"threshold", "1Mib of it", -EINVAL, "is not allowed; give bytes"},
        {"threshold", "", -EINVAL, "is not allowed"},
        {"threshold", "-1", -EINVAL, "is not allowed"},
        {"threshold", "99999999999999999999T", -EINVAL, "is not allowed"},
        {"memory", "1", -EINVAL, "is not allowed"},
        {"memory", "0%", -EINVAL, "is not allowed"},
        {"log_level", "loud", -EINVAL, "is not allowed"},
        {"engine", "threads", -ENOTSUP,
         "engine is fixed while the pool is open ('auto'): set SPILLWAY_ENGINE and restart"},
        {"engine", "nonsense", -ENOTSUP, "is fixed while the pool is open"},
        {"strict", "on", -ENOTSUP, "is fixed"},
        {"period", "1s", -ENOTSUP, "policy periodic is not in use"},
        {"floor", "10%", -ENOTSUP, "policy pressure is not in use"},
    };
    struct bed bed;
    bed_open(&bed, quiet, 0);
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "2MiB"), 0);
    uint64_t decisions = decided(&bed).number;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char answer[SET_ANSWER_BYTES];
        int err = pool_set(bed.pool, refused[i].name, refused[i].value, ORIGIN_CALL, answer);
        cr_assert_eq(err, refused[i].err, "%s=%s: %d", refused[i].name, refused[i].value, err);
        cr_assert_not_null(strstr(answer, refused[i].told), "%s", answer);
    }
    cr_assert_eq(spw_pool_set(bed.pool, NULL, "1"), -EINVAL);
    cr_assert_eq(spw_pool_set(bed.pool, "memory", NULL), -EINVAL);
    cr_assert_eq(decided(&bed).number, decisions);
    cr_assert_str_eq(shown(&bed, "threshold")->value, "2MiB");
    cr_assert_str_eq(shown(&bed, "engine")->origin, "default");
    cr_assert_eq(bed_stats(&bed).budget_bytes, 8 * MIB);
    bed_close(&bed);
}

Test(retune, without_memory_nothing_changes)
{
    struct bed bed;
    bed_open(&bed, quiet, 0);
    fault_alloc_after(1);
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "1MiB"), -ENOMEM);
    cr_assert_str_eq(shown(&bed, "threshold")->value, "auto");
    /* the call that need not keep its name goes on */
    fault_alloc_after(1);
    cr_assert_eq(spw_pool_set_budget(bed.pool, 4 * MIB), 0);
    fault_alloc_after(0);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 4 * MIB);
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "1MiB"), 0);
    bed_close(&bed);
}

Test(retune, not_in_a_child)
{
    struct bed bed;
    int status;
    bed_open(&bed, quiet, 0);
    pid_t child = fork();
    if (child == 0)
        child_leaves(spw_pool_set(bed.pool, "threshold", "1MiB") == -EOWNERDEAD ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_str_eq(shown(&bed, "threshold")->value, "auto");
    bed_close(&bed);
}

/* ---- what comes of it ---- */

Test(retune, the_budget_moves)
{
    struct bed bed;
    bed_open(&bed, quiet, 0);
    cr_assert_eq(spw_pool_set(bed.pool, "memory", "16MiB"), 0);
    cr_assert_eq(bed_stats(&bed).budget_bytes, 16 * MIB);
    cr_assert_eq(bed_stats(&bed).budget_ceiling_bytes, 16 * MIB);
    spw_decision last = decided(&bed);
    cr_assert_eq(last.budget_before_bytes, 8 * MIB);
    cr_assert_eq(last.budget_bytes, 16 * MIB);
    cr_assert_not_null(strstr(last.reason, "memory: 16MiB, before 8MiB; the budget is 16777216"));
    /* too small a wish is raised, as at open */
    cr_assert_eq(spw_pool_set(bed.pool, "memory", "64KiB"), 0);
    cr_assert_eq(bed_stats(&bed).budget_bytes, MIB);
    /* the call of its own is shown in the same place */
    cr_assert_eq(spw_pool_set_budget(bed.pool, 2 * MIB), 0);
    cr_assert_str_eq(shown(&bed, "memory")->value, "2MiB");
    cr_assert_str_eq(shown(&bed, "memory")->origin, "call");
    /* shares and auto are of the limits */
    cr_assert_eq(spw_pool_set(bed.pool, "memory", "auto"), 0);
    uint64_t half = bed_stats(&bed).budget_bytes;
    cr_assert_eq(spw_pool_set(bed.pool, "memory", "25%"), 0);
    cr_assert_geq(bed_stats(&bed).budget_bytes * 2 + 2, half);
    cr_assert_leq(bed_stats(&bed).budget_bytes, half);
    bed_close(&bed);
}

Test(retune, sizes_reach_the_limits)
{
    struct bed bed;
    spw_strategy *strategy;
    bed_open(&bed, quiet, 0);
    cr_assert_eq(spw_pool_strategy(bed.pool, &strategy), 0);
    cr_assert_eq(limits_now(strategy).set, 0);
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "50%"), 0);
    cr_assert_eq(spw_pool_set(bed.pool, "head_reserve", "0"), 0);
    spw_limits limits = limits_now(strategy);
    cr_assert_eq(limits.set, SPILLWAY_SET_THRESHOLD | SPILLWAY_SET_HEAD_RESERVE);
    cr_assert_eq(limits.set_threshold_bytes, 4 * MIB);
    cr_assert_eq(limits.set_head_reserve_bytes, 0);
    cr_assert_eq(budget_head_reserve(bed.pool), 0);
    cr_assert_eq(spw_pool_set(bed.pool, "memory", "4MiB"), 0);
    cr_assert_eq(limits_now(strategy).set_threshold_bytes, 2 * MIB);
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "auto"), 0);
    cr_assert_eq(limits_now(strategy).set_threshold_bytes, SPILLWAY_AUTO);
    cr_assert_eq(spw_pool_set(bed.pool, "prefetch", "8MiB"), 0);
    cr_assert_eq(limits_now(strategy).set_prefetch_bytes, 8 * MIB);
    /* who was built before sees what he knew */
    spw_limits old = {.size = offsetof(spw_limits, set), .queues = 1};
    strategy->ops->limits(strategy, &old);
    cr_assert_eq(old.set, 0);
    strategy->ops->close(strategy);
    bed_close(&bed);
}

static void extend_with(struct ends *ends, uint64_t at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        spw_bytes bytes = stream_piece(at + i * 64 * KIB, 64 * KIB);
        cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
    }
}

Test(retune, an_open_queue_takes_its_threshold)
{
    static const struct setting wide[] = {{"memory", "64MiB"},
                                          {"threshold", "32MiB"},
                                          {"head_reserve", "1MiB"},
                                          {"engine", "threads"},
                                          {NULL, NULL}};
    struct bed bed;
    bed_open(&bed, wide, 1);
    struct ends ends = ends_open(&bed);
    extend_with(&ends, 0, 64);
    cr_assert_eq(bed_quiet(&bed).spilled_bytes_total, 0, "4 MiB are below the threshold");
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "1MiB"), 0);
    extend_with(&ends, 64 * 64 * KIB, 1);
    wait_stat(&bed, spilled_bytes_total, >=, 2 * MIB);
    uint64_t spilled = bed_quiet(&bed).spilled_bytes_total;
    /* one that is opened now follows as well */
    struct ends later = ends_open(&bed);
    extend_with(&later, 0, 64);
    wait_stat(&bed, spilled_bytes_total, >=, spilled + 2 * MIB);
    ends_close(&later);
    ends_close(&ends);
    bed_close(&bed);
}

/* Nobody's writer or reader comes by: the governor has to hear of it at once. */
static void rest_and_shrink(unsigned queues)
{
    static const struct setting wide[] = {{"memory", "64MiB"},
                                          {"policies", "threshold,prefetch"},
                                          {"engine", "threads"},
                                          {NULL, NULL}};
    struct bed bed;
    struct ends ends[2];
    bed_open(&bed, wide, 1);
    for (unsigned i = 0; i < queues; i++) {
        ends[i] = ends_open(&bed);
        extend_with(&ends[i], 0, 64);
    }
    cr_assert_eq(bed_quiet(&bed).spilled_bytes_total, 0, "4 or 8 MiB are far below the budget");
    cr_assert_eq(spw_pool_set(bed.pool, "memory", queues == 1 ? "2MiB" : "4MiB"), 0);
    wait_stat(&bed, spilled_bytes_total, >=, queues * MIB);
    for (unsigned i = 0; i < queues; i++)
        ends_close(&ends[i]);
    bed_close(&bed);
}

Test(retune, a_smaller_budget_reaches_queues_that_rest)
{
    rest_and_shrink(2);
}

Test(retune, a_smaller_budget_reaches_a_queue_alone)
{
    rest_and_shrink(1);
}

Test(retune, the_log_level_counts_from_then_on)
{
    struct bed bed;
    bed_open(&bed, quiet, 0);
    cr_assert_eq(spw_pool_set(bed.pool, "log_level", "debug"), 0);
    log_forget();
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "1MiB"), 0);
    cr_assert_eq(log_lines_with("service: set: threshold"), 1, "decisions are told at debug");
    cr_assert_eq(spw_pool_set(bed.pool, "log_level", "off"), 0);
    log_forget();
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "nonsense"), -EINVAL);
    cr_assert_eq(log_lines_with(""), 0);
    bed_close(&bed);
}

/* ---- regulators ---- */

/* One that keeps what it hears. */
struct listener {
    spw_regulator regulator;
    _Atomic unsigned heard, looks;
    char name[32], value[32];
    unsigned looks_then;
};

static void listener_set(spw_regulator *regulator, const char *name, const char *value)
{
    struct listener *listener = (struct listener *)regulator;
    snprintf(listener->name, sizeof(listener->name), "%s", name);
    snprintf(listener->value, sizeof(listener->value), "%s", value);
    listener->looks_then = atomic_load(&listener->looks);
    atomic_fetch_add(&listener->heard, 1);
}

static void listener_apply(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders)
{
    (void)outlook;
    (void)orders;
    atomic_fetch_add(&((struct listener *)regulator)->looks, 1);
}

static void listener_close(spw_regulator *regulator)
{
    (void)regulator;
}

static const spw_regulator_ops listener_ops = {
    .size = sizeof(listener_ops),
    .name = "periodic",
    .apply = listener_apply,
    .close = listener_close,
    .set = listener_set,
};

static bool has_heard(void *listener)
{
    return atomic_load(&((struct listener *)listener)->heard) > 0;
}

static bool has_looked(void *listener)
{
    return atomic_load(&((struct listener *)listener)->looks) > 0;
}

Test(retune, a_regulator_hears_of_it)
{
    struct bed bed;
    struct listener listener = {.regulator.ops = &listener_ops};
    bed_open(&bed, quiet, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    cr_assert_eq(spw_governor_attach(governor, &listener.regulator), 0);
    cr_assert(wait_until(has_looked, &listener));
    cr_assert_eq(spw_pool_set(bed.pool, "period", "1500ms"), 0);
    cr_assert(wait_until(has_heard, &listener));
    cr_assert_str_eq(listener.name, "period");
    cr_assert_str_eq(listener.value, "1500ms");
    cr_assert_eq(spw_governor_detach(governor, "periodic"), 0);
    cr_assert_eq(atomic_load(&listener.heard), 1);
    bed_close(&bed);
}

Test(retune, one_that_comes_later_hears_of_it_first)
{
    static const struct setting named[] = {
        {"memory", "8MiB"}, {"tiers", "none"}, {"policies", "periodic"}, {NULL, NULL}};
    struct bed bed;
    struct listener listener = {.regulator.ops = &listener_ops};
    bed_open(&bed, named, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    cr_assert_eq(spw_pool_set(bed.pool, "period", "2s"), 0);
    cr_assert_eq(spw_pool_set(bed.pool, "period", "3s"), 0);
    cr_assert_eq(spw_governor_attach(governor, &listener.regulator), 0);
    cr_assert(wait_until(has_looked, &listener));
    cr_assert_eq(spw_governor_detach(governor, "periodic"), 0);
    cr_assert_eq(atomic_load(&listener.heard), 1, "the last value once");
    cr_assert_eq(listener.looks_then, 0);
    cr_assert_str_eq(listener.value, "3s");
    bed_close(&bed);
}

Test(retune, one_that_cannot_hear_is_not_told)
{
    static const spw_regulator_ops deaf_ops = {
        .size = offsetof(spw_regulator_ops, set),
        .name = "periodic",
        .apply = listener_apply,
        .close = listener_close,
        .set = listener_set,
    };
    struct bed bed;
    struct listener listener = {.regulator.ops = &deaf_ops};
    bed_open(&bed, quiet, 0);
    spw_governor *governor = spw_pool_governor(bed.pool);
    cr_assert_eq(spw_governor_attach(governor, &listener.regulator), 0);
    cr_assert_eq(spw_pool_set(bed.pool, "period", "2s"), 0);
    cr_assert(wait_until(has_looked, &listener));
    cr_assert_eq(spw_governor_detach(governor, "periodic"), 0);
    cr_assert_eq(atomic_load(&listener.heard), 0);
    bed_close(&bed);
}

/* ---- many at once ---- */

static void *set_often(void *pool)
{
    static const char *const values[] = {"1MiB", "2MiB", "25%", "auto"};
    for (unsigned i = 0; i < 200; i++) {
        cr_assert_eq(spw_pool_set(pool, "threshold", values[i % 4]), 0);
        cr_assert_eq(spw_pool_set(pool, "memory", i % 2 ? "8MiB" : "4MiB"), 0);
    }
    return NULL;
}

Test(retune, several_set_at_once)
{
    struct bed bed;
    pthread_t threads[3];
    bed_open(&bed, quiet, 0);
    struct ends ends = ends_open(&bed);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, set_often, bed.pool), 0);
    for (unsigned i = 0; i < 500; i++) {
        spw_bytes bytes;
        extend_with(&ends, i * 64 * KIB, 1);
        cr_assert_eq(spw_reader_drain(ends.reader, &bytes, 1), 1);
        spw_bytes_release(&bytes);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    uint64_t budget = bed_stats(&bed).budget_bytes;
    cr_assert_eq(budget, strcmp(shown(&bed, "memory")->value, "8MiB") == 0 ? 8 * MIB : 4 * MIB);
    ends_close(&ends);
    bed_close(&bed);
}
