/* SPDX-License-Identifier: MIT */
/* The subcommand: contenders take turns, round after round. */
#include "compare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "compare_result.h"

enum { EXIT_FAILED = 1, TIME_LIMIT_S = 900 };

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

struct compare_options {
    struct bench_common common;
    uint64_t total_bytes, chunk_bytes, limit_bytes;
    uint64_t threshold_bytes, head_reserve_bytes, warm_bytes;
    const char *contenders;
    bool small;
};

#define OPTION(name) offsetof(struct compare_options, name)

static const struct arg compare_args[] = {
    {"total", "BYTES", ARG_BYTES, OPTION(total_bytes), "4GiB", "produced, then consumed"},
    {"chunk", "BYTES", ARG_BYTES, OPTION(chunk_bytes), "256KiB", "each of the pieces"},
    {"limit", "BYTES", ARG_BYTES, OPTION(limit_bytes), "768MiB",
     "the limit of the memory cgroup that each run has for itself"},
    {"threshold", "BYTES", ARG_BYTES, OPTION(threshold_bytes), "256MiB",
     "of the seed's strategy; with the head reserve it makes spillway's budget"},
    {"head-reserve", "BYTES", ARG_BYTES, OPTION(head_reserve_bytes), "64MiB",
     "of the seed's strategy"},
    {"warm", "BYTES", ARG_BYTES, OPTION(warm_bytes), "512MiB",
     "passed through each contender first, in the same process; not measured"},
    {"contenders", "LIST", ARG_TEXT, OPTION(contenders), "all",
     "with commas between: spillway, spillway-heap, seed, swap, zram, mapped"},
    {"small", NULL, ARG_FLAG, OPTION(small), NULL,
     "256 MiB in chunks of 4 KiB and of 1 KiB, limit 192 MiB, threshold 32 MiB, head reserve 16 "
     "MiB, warm-up 64 MiB; by default spillway and seed only"},
    {.name = NULL},
};

static int refuse(const char *option, const char *what)
{
    fprintf(stderr, "spillbench: --%s: %s\n", option, what);
    return 2;
}

/* Returns 0, or an exit code after telling stderr. */
static int choose(const char *list, bool wanted[CONTENDER_COUNT])
{
    char *copy = strdup(list), *save = NULL;
    int code = copy ? 0 : EXIT_FAILED;

    memset(wanted, 0, CONTENDER_COUNT * sizeof *wanted);
    wanted[CONTENDER_NULL] = true;
    for (char *word = copy ? strtok_r(copy, ",", &save) : NULL; word && !code;
         word = strtok_r(NULL, ",", &save)) {
        bool known = false;

        for (int i = 0; i < CONTENDER_COUNT; i++) {
            if (strcmp(word, "all") == 0 || strcmp(word, contender_name((enum contender)i)) == 0)
                known = wanted[i] = true;
        }
        if (!known) {
            fprintf(stderr, "spillbench: --contenders: '%s' is none; take all, or some of ", word);
            for (int i = 1; i < CONTENDER_COUNT; i++)
                fprintf(stderr, "%s%s", contender_name((enum contender)i),
                        i + 1 < CONTENDER_COUNT ? ", " : "\n");
            code = 2;
        }
    }
    free(copy);
    return code;
}

static int check(const struct compare_plan *plan)
{
    if (plan->total_bytes < plan->chunk_bytes)
        return refuse("total", "must be a chunk at least");
    if (plan->total_bytes > 8 * GIB)
        return refuse("total", "at most 8GiB");
    if (plan->limit_bytes > 8 * GIB)
        return refuse("limit", "at most 8GiB");
    if (plan->threshold_bytes + plan->head_reserve_bytes > plan->limit_bytes)
        return refuse("limit", "must hold the threshold and the head reserve");
    return 0;
}

static void add(struct outcome *outcome, enum figure figure, double value)
{
    series_add(&outcome->figures[figure], value);
}

static void note_measure(struct comparison *comparison, enum contender contender,
                         struct measure *measure)
{
    struct outcome *outcome = &comparison->outcomes[contender];
    const struct measure *null;
    double cpu_s = measure->user_s + measure->sys_s;

    child_release(outcome->last);
    outcome->last = measure;
    null = comparison->outcomes[CONTENDER_NULL].last;

    add(outcome, FIGURE_WALL, measure->wall_s);
    add(outcome, FIGURE_PRODUCE, measure->produce_s);
    add(outcome, FIGURE_DRAIN, measure->drain_s);
    add(outcome, FIGURE_CPU, cpu_s);
    add(outcome, FIGURE_NET_CPU, null == measure ? 0 : cpu_s - null->user_s - null->sys_s);
    add(outcome, FIGURE_RSS, (double)measure->rss_peak_bytes);
    add(outcome, FIGURE_CHARGE, (double)measure->charge_peak_bytes);
    add(outcome, FIGURE_CACHE, (double)measure->cache_growth_bytes);
    add(outcome, FIGURE_PRODUCE_P50_NS, (double)latency_at(&measure->extend, 0.5));
    add(outcome, FIGURE_PRODUCE_MAX_NS, (double)measure->extend.max_ns);
    add(outcome, FIGURE_CONSUME_MAX_NS, (double)measure->drain.max_ns);
    latency_join(&outcome->produce, &measure->extend);
    latency_join(&outcome->consume, &measure->drain);
}

/* Why it ended, without its name, which the remark begins with. */
static const char *why_of(const struct measure *measure, const char *name)
{
    size_t len = strlen(name);

    if (strncmp(measure->why, name, len) == 0 && strncmp(measure->why + len, ": ", 2) == 0)
        return measure->why + len + 2;
    return measure->why;
}

/* One that cannot run here is a remark; one that should have and did not is a failure, unless that
 * is what was to be shown: incompressible data does not fit into compressed memory. */
static int run_one(struct comparison *comparison, enum contender contender, struct report *report)
{
    struct measure *measure = compare_run(contender, &comparison->plan);
    const char *name = contender_name(contender), *why;
    int code = 0;

    if (!measure)
        return EXIT_FAILED;
    why = why_of(measure, name);
    if (measure->error == 0) {
        note_measure(comparison, contender, measure);
        return 0;
    }
    comparison->outcomes[contender].left = true;
    if (measure->error == -EOPNOTSUPP || measure->error == -EPERM) {
        report_note(report, "%s: skipped: %s.", name, why);
    } else if (contender == CONTENDER_ZRAM) {
        report_note(report,
                    "%s: half of the limit for the process, half for what is compressed; it ended "
                    "after %llu MiB, since the data is incompressible: %s.",
                    name, (unsigned long long)(measure->produced_bytes / MIB), why);
    } else {
        report_note(report, "%s: failed after %llu MiB: %s.", name,
                    (unsigned long long)(measure->produced_bytes / MIB), why);
        fprintf(stderr, "spillbench: %s: %s\n", name, why);
        code = EXIT_FAILED;
    }
    child_release(measure);
    return code;
}

static int run_rounds(struct comparison *comparison, struct report *report)
{
    int code = 0;

    for (unsigned round = 0; round < comparison->pairs; round++) {
        for (int i = 0; i < CONTENDER_COUNT; i++) {
            const struct outcome *outcome = &comparison->outcomes[i];
            int failed = 0;

            if (!outcome->wanted || outcome->left)
                continue;
            progress("%s: round %u of %u: %s", comparison->title, round + 1, comparison->pairs,
                     contender_name((enum contender)i));
            failed = run_one(comparison, (enum contender)i, report);
            code = failed ? failed : code;
            /* Without the null strategy nothing is comparable; most likely nothing runs here. */
            if (comparison->outcomes[CONTENDER_NULL].left)
                return EXIT_FAILED;
        }
    }
    return code;
}

static int run_case(const struct compare_options *options, const struct compare_plan *plan,
                    const char *title, const bool *wanted, unsigned number, struct report *report)
{
    struct comparison *comparison = calloc(1, sizeof *comparison);
    int code;

    if (!comparison)
        return EXIT_FAILED;
    comparison->plan = *plan;
    comparison->title = title;
    comparison->pairs = (unsigned)options->common.pairs;
    for (int i = 0; i < CONTENDER_COUNT; i++)
        comparison->outcomes[i].wanted = wanted[i];
    code = run_rounds(comparison, report);
    comparison_report(comparison, number, report);
    for (int i = 0; i < CONTENDER_COUNT; i++)
        child_release(comparison->outcomes[i].last);
    free(comparison);
    return code;
}

static int run_small(const struct compare_options *options, struct compare_plan plan,
                     const bool *wanted, struct report *report)
{
    int code;

    compare_small(&plan, 4096);
    code = run_case(options, &plan, "256 MiB in chunks of 4 KiB", wanted, 1, report);
    if (code)
        return code;
    compare_small(&plan, 1024);
    return run_case(options, &plan, "256 MiB in chunks of 1 KiB", wanted, 2, report);
}

static int compare_main(const void *context, struct report *report)
{
    const struct compare_options *options = context;
    struct compare_plan plan = {.dir = options->common.dir,
                                .total_bytes = options->total_bytes,
                                .chunk_bytes = options->chunk_bytes,
                                .limit_bytes = options->limit_bytes,
                                .threshold_bytes = options->threshold_bytes,
                                .head_reserve_bytes = options->head_reserve_bytes,
                                .warm_bytes = options->warm_bytes,
                                .disk_bytes = options->common.disk_bytes,
                                .time_limit_s = TIME_LIMIT_S};
    bool wanted[CONTENDER_COUNT], everything = strcmp(options->contenders, "all") == 0;
    int code = choose(
        options->small && everything ? "spillway,spillway-heap,seed" : options->contenders, wanted);

    if (!code)
        code = check(&plan);
    if (code)
        return code;
    if (options->small)
        return run_small(options, plan, wanted, report);
    return run_case(options, &plan, "A backlog larger than memory allows", wanted, 0, report);
}

const struct command compare_command = {
    .name = "compare",
    .help = "a backlog larger than memory allows: spillway beside the seed's strategy, swap, zram "
            "and a mapped file",
    .text =
        "Produces incompressible bytes in chunks, then consumes and verifies them: first all of "
        "the one, then all of the other. Each contender does that in a process and a memory cgroup "
        "of its own, with the same limit; they take turns, round after round. Needs the right to "
        "make memory cgroups.\n"
        "\n"
        "seed is the strategy that Spillway started from, rebuilt to cost the same: one buffered "
        "temporary file a batch, read back as a whole, the queue scanned at every push, files "
        "written and read under the queue's lock. The report shows what the original took beside "
        "it. swap is a plain heap that the kernel swaps out to a file on the same disk; it needs "
        "root, and while it runs the whole machine may use that file. zram is the same with "
        "compressed memory, which takes half of the limit. mapped is a shared map of an unnamed "
        "file. What they set up is removed, also when the program is killed.\n"
        "\n"
        "Net CPU is less what the null strategy took in the same round: a queue that is drained "
        "before it grows. A step is the time from one produced (consumed) chunk to the next, "
        "filling (verifying) it included.",
    .args = compare_args,
    .options_bytes = sizeof(struct compare_options),
    .run = compare_main,
};
