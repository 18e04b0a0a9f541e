/* SPDX-License-Identifier: MIT */
/*
 * The seed's stress program: push so much in chunks of so much, drain everything at the end or
 * every so often, and see what that costs. Each round runs the null strategy and the pool, both in
 * children of their own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "load.h"
#include "report.h"
#include "stress.h"

static const struct arg args[] = {
    {"total", "BYTES", ARG_BYTES, offsetof(struct stress_options, total_bytes), "1GiB",
     "what is pushed and drained in a run"},
    {"chunk", "BYTES", ARG_BYTES, offsetof(struct stress_options, chunk_bytes), "256KiB",
     "size of a chunk"},
    {"drain-every", "N", ARG_COUNT, offsetof(struct stress_options, drain_every), NULL,
     "drain everything after so many chunks; default: once, at the end"},
    {"queues", "N", ARG_COUNT, offsetof(struct stress_options, queues), "1",
     "queues over one pool, filled in turn"},
    {"origin", "slab|heap", ARG_CHOICE, offsetof(struct stress_options, origin), "slab",
     "where chunks are made: in the pool's slabs, or each in memory of its own from malloc"},
    {"memory", NULL, ARG_SETTING, offsetof(struct stress_options, memory), "64MiB", NULL},
    {"memory-tier", NULL, ARG_SETTING, offsetof(struct stress_options, memory_tier), NULL, NULL},
    {"tiers", NULL, ARG_SETTING, offsetof(struct stress_options, tiers), NULL, NULL},
    {"engine", NULL, ARG_SETTING, offsetof(struct stress_options, engine), NULL, NULL},
    {"checksum", NULL, ARG_SETTING, offsetof(struct stress_options, checksum), NULL, NULL},
    {"limit", "BYTES", ARG_BYTES, offsetof(struct stress_options, limit_bytes), NULL,
     "limit of the memory cgroup that the pool's run gets; default: none"},
    {"no-verify", NULL, ARG_FLAG, offsetof(struct stress_options, no_verify), NULL,
     "do not compare what is drained with what was pushed; its order and length are checked"},
    {"no-latency", NULL, ARG_FLAG, offsetof(struct stress_options, no_latency), NULL,
     "do not time each call"},
    {"control", NULL, ARG_FLAG, offsetof(struct stress_options, control), NULL,
     "a thread that spins beside, to see how long the machine itself stalls"},
    {"cold", NULL, ARG_FLAG, offsetof(struct stress_options, cold), NULL,
     "no warm-up: by default the whole load runs once before, so that memory and scratch space "
     "have been used before"},
    {.name = NULL},
};

static bool is_heap(const struct stress_options *options)
{
    return options->origin == 1;
}

/* ---- in the child ---- */

struct job {
    const struct stress_options *options;
    bool null;
};

static void note_stats(const spw_pool *pool, int sign, struct measure *measure)
{
    spw_stats stats = {.size = sizeof(stats)};
    if (spw_pool_stats(pool, &stats) != 0)
        return;
    double *figures = measure->figures;
    figures[STRESS_BUDGET] = (double)stats.budget_bytes;
    figures[STRESS_USED_PEAK] = (double)stats.used_peak_bytes;
    figures[STRESS_SPILLED] += sign * (double)stats.spilled_bytes_total;
    figures[STRESS_FETCHED] += sign * (double)stats.fetched_bytes_total;
    figures[STRESS_COPIED] += sign * (double)stats.copied_bytes_total;
    figures[STRESS_DIRECT] += sign * (double)stats.direct_bytes_total;
    figures[STRESS_RUNS] += sign * (double)stats.spilled_runs_total;
    figures[STRESS_LATE] += sign * (double)stats.late_runs_total;
    figures[STRESS_SYSCALLS] += sign * (double)stats.syscalls_total;
    figures[STRESS_WRITER_WAIT] += sign * (double)stats.writer_wait_ns_total / 1e9;
    figures[STRESS_READER_WAIT] += sign * (double)stats.reader_wait_ns_total / 1e9;
}

static void run_pool(const struct stress_options *options, const struct load *load,
                     struct measure *measure)
{
    const char *const settings[] = {
        "memory", options->memory, "memory_tier", options->memory_tier, "tiers", options->tiers,
        "engine", options->engine, "checksum",    options->checksum,    NULL};
    spw_options *pool_options;
    spw_pool *pool = load_pool(measure, 0, options->common.dir, &pool_options, settings);
    spw_stats stats = {.size = sizeof(stats)};
    if (!pool)
        return;
    if (!options->cold && spw_pool_stats(pool, &stats) == 0) {
        uint64_t bytes = 2 * stats.budget_bytes;
        /* What is touched here must not be what the limit kills for. */
        if (options->limit_bytes && bytes > options->limit_bytes / 2)
            bytes = options->limit_bytes / 2;
        memory_warm(bytes < load->total_bytes ? bytes : load->total_bytes);
        load_run(load, pool, pool_options, measure);
    }
    if (!measure->error) {
        note_stats(pool, -1, measure);
        load_run(load, pool, pool_options, measure);
        note_stats(pool, 1, measure);
    }
    spw_pool_close(pool);
    spw_options_close(pool_options);
}

static void run_child(void *context, struct measure *measure)
{
    const struct job *job = context;
    const struct stress_options *options = job->options;
    struct load load = {
        .total_bytes = options->total_bytes,
        .chunk_bytes = options->chunk_bytes,
        .drain_every = options->drain_every,
        .queues = (unsigned)options->queues,
        .origin = is_heap(options) ? ORIGIN_HEAP : ORIGIN_POOL_SLAB,
        .verify = !options->no_verify,
        .latency = !options->no_latency,
        .control = options->control,
    };
    if (!job->null) {
        run_pool(options, &load, measure);
        return;
    }
    if (!options->cold)
        load_run(&load, NULL, NULL, measure);
    if (!measure->error)
        load_run(&load, NULL, NULL, measure);
}

/* ---- in the parent ---- */

/* A round's run of one side. Returns 0 or an exit code, told. */
static int run_side(const struct stress_options *options, bool null, struct stress_side *side,
                    struct report *report)
{
    struct job job = {.options = options, .null = null};
    struct child_plan plan = {
        .name = null ? "null" : "spillway",
        .run = run_child,
        .context = &job,
        .limit_bytes = null ? 0 : options->limit_bytes,
        .cgroup_needed = options->limit_bytes && !null,
        .sampled = true,
        .time_limit_s = 3600,
    };
    struct measure *measure = child_run(&plan);
    if (!measure) {
        fprintf(stderr, "spillbench: stress: out of memory\n");
        return EXIT_FAILURE;
    }
    char *save, *line = strtok_r(measure->said, "\n", &save);
    for (; line; line = strtok_r(NULL, "\n", &save))
        report_note(report, "%s", line);
    if (measure->error) {
        progress_end();
        fprintf(stderr, "spillbench: stress: %s\n", measure->why);
        child_release(measure);
        return EXIT_FAILURE;
    }
    stress_note(side, measure);
    child_release(side->last);
    side->last = measure;
    return 0;
}

static int check(const struct stress_options *options)
{
    if (options->chunk_bytes > options->total_bytes)
        return args_refuse_number("chunk", options->chunk_bytes, "no more than --total");
    if (options->queues > STRESS_QUEUES_MAX)
        return args_refuse_number("queues", options->queues, "65536 at most");
    if (options->total_bytes > options->common.disk_bytes)
        return args_refuse_number("total", options->total_bytes, "no more than --disk allows");
    return 0;
}

static int run(const void *given, struct report *report)
{
    const struct stress_options *options = given;
    struct stress_side *sides = calloc(2, sizeof(*sides)); /* null, spillway */
    int code = check(options);
    if (!sides) {
        fprintf(stderr, "spillbench: stress: out of memory\n");
        return EXIT_FAILURE;
    }
    for (uint64_t round = 0; code == 0 && round < options->common.pairs; round++) {
        for (unsigned i = 0; code == 0 && i < 2; i++) {
            progress("stress: round %" PRIu64 " of %" PRIu64 ": %s", round + 1,
                     options->common.pairs, i == 0 ? "null" : "spillway");
            code = run_side(options, i == 0, &sides[i], report);
        }
    }
    progress_end();
    if (code == 0)
        stress_tell(report, options, &sides[0], &sides[1]);
    child_release(sides[0].last);
    child_release(sides[1].last);
    free(sides);
    return code;
}

const struct command stress_command = {
    .name = "stress",
    .help = "push much in chunks, drain it all: times, CPU, latencies, memory",
    .text =
        "Pushes --total bytes in chunks of --chunk, drains everything at the end or after every "
        "--drain-every chunks, and compares what comes back with what was pushed. The content "
        "cannot be compressed. Each round runs in a process of its own, with a memory cgroup of "
        "its own where that is allowed, and is sampled every 10 ms: the charge is anonymous and "
        "shared memory.\n"
        "Beside it runs the null strategy: the same chunks through a queue that never spills and "
        "is "
        "drained after each slab, so that it only produces and consumes. Net figures are less "
        "what that takes in the same round.\n"
        "An extend's latency is what the library needs for a chunk, a new slab included where one "
        "is "
        "due; a drain's is that of one call, which waits for the device where it must. CPU "
        "seconds are for each 10^9 bytes that were pushed and drained.",
    .args = args,
    .options_bytes = sizeof(struct stress_options),
    .run = run,
};
