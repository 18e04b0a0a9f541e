/* SPDX-License-Identifier: MIT */
/* spillbench crowd: many unequal queues, with the governor and without. */
#include "crowd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "report.h"

static const uint64_t allowance_bytes = UINT64_C(16) << 20;

struct options {
    struct bench_common common;
    uint64_t total_bytes, queues, threads;
    struct arg_list entry_bytes;
    unsigned origin, data;
    const char *memory, *memory_tier, *tiers, *engine, *policies, *compress;
    bool no_compare;
};

static const struct arg args[] = {
    {"total", "BYTES", ARG_BYTES, offsetof(struct options, total_bytes), "2GiB",
     "how much is pushed in all"},
    {"queues", "N", ARG_COUNT, offsetof(struct options, queues), "64",
     "queues over one pool, 8 to 4096"},
    {"threads", "N", ARG_COUNT, offsetof(struct options, threads), "4",
     "threads that push and drain, half each; 1: a single one does both for all queues; 64 at "
     "most"},
    {"entries", "BYTES,...", ARG_BYTES_LIST, offsetof(struct options, entry_bytes),
     "4KiB,64KiB,256KiB", "sizes of entries, of the queues in turn"},
    {"origin", "slab|heap", ARG_CHOICE, offsetof(struct options, origin), "slab",
     "where entries are made: in the pool's slabs, or each in memory of its own from malloc"},
    {"data", "noise|text", ARG_CHOICE, offsetof(struct options, data), "noise",
     "what cannot be compressed, or what can"},
    {"no-compare", NULL, ARG_FLAG, offsetof(struct options, no_compare), NULL,
     "only with the governor"},
    {"memory", NULL, ARG_SETTING, offsetof(struct options, memory), "256MiB", NULL},
    {"memory-tier", NULL, ARG_SETTING, offsetof(struct options, memory_tier), NULL, NULL},
    {"tiers", NULL, ARG_SETTING, offsetof(struct options, tiers), NULL, NULL},
    {"engine", NULL, ARG_SETTING, offsetof(struct options, engine), NULL, NULL},
    {"policies", NULL, ARG_SETTING, offsetof(struct options, policies), NULL, NULL},
    {"compress", NULL, ARG_SETTING, offsetof(struct options, compress), NULL, NULL},
    {.name = NULL},
};

static const char *const side_names[] = {"on", "off"};
enum { WITH, APART, SIDES };

/* All rounds of one side; of the figures that must not be exceeded, the worst. */
struct side {
    struct series wall_s, peak_bytes, used_bytes;
    struct crowd_result result; /* of the last round, but for roles: the worst of all rounds */
    uint64_t samples, identity_broken, looks;
    struct measure *last;
    bool charged; /* peaks are of the cgroup's charge; else of the resident set */
};

/* ---- measuring ---- */

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void worst_keep(struct crowd_outcome *now, const struct crowd_outcome *before)
{
    now->extend_most_ns = more(now->extend_most_ns, before->extend_most_ns);
    now->wait_most_ns = more(now->wait_most_ns, before->wait_most_ns);
    now->passed_by_bytes = more(now->passed_by_bytes, before->passed_by_bytes);
}

static void side_note(struct side *side, const struct crowd_result *result,
                      const struct measure *measure)
{
    struct crowd_result before = side->result;
    side->result = *result;
    for (unsigned i = 0; i < CROWD_ROLES; i++)
        worst_keep(&side->result.roles[i], &before.roles[i]);
    side->result.read_most_ns = more(result->read_most_ns, before.read_most_ns);
    side->result.write_most_ns = more(result->write_most_ns, before.write_most_ns);
    side->charged = measure->charge_peak_bytes > 0;
    side->looks += measure->sample_count;
    side->samples += result->samples;
    side->identity_broken += result->identity_broken;
    series_add(&side->wall_s, measure->wall_s);
    series_add(&side->used_bytes, (double)result->stats.used_peak_bytes);
    series_add(&side->peak_bytes,
               (double)(side->charged ? measure->charge_peak_bytes : measure->rss_peak_bytes));
}

static void plan_make(const struct options *options, bool apart, struct crowd_plan *plan)
{
    *plan = (struct crowd_plan){.dir = options->common.dir,
                                .memory = options->memory,
                                .memory_tier = options->memory_tier,
                                .tiers = options->tiers,
                                .engine = options->engine,
                                .policies = options->policies,
                                .compress = options->compress,
                                .queues = (unsigned)options->queues,
                                .threads = (unsigned)options->threads,
                                .total_bytes = options->total_bytes,
                                .entry_bytes = options->entry_bytes,
                                .heap = options->origin == 1,
                                .text = options->data == 1,
                                .apart = apart};
}

static int one_run(const struct options *options, unsigned which, struct side *side,
                   struct report *report)
{
    struct crowd_plan plan;
    struct crowd_result result;
    plan_make(options, which == APART, &plan);
    struct measure *measure = crowd_run(&plan, &result);
    int err = measure ? measure->error : -ENOMEM;
    if (err) {
        progress_end();
        fprintf(stderr, "spillbench: crowd: %s\n", measure ? measure->why : "out of memory");
        child_release(measure);
        return EXIT_FAILURE;
    }
    char *save, *line = strtok_r(measure->said, "\n", &save);
    for (; line && which == WITH; line = strtok_r(NULL, "\n", &save))
        report_note(report, "%s", line);
    side_note(side, &result, measure);
    child_release(side->last);
    side->last = measure;
    return 0;
}

/* ---- telling ---- */

static const char *const columns[] = {"governor",         "wall",    "rate",          "budget",
                                      "memory_of",        "peak",    "allowed",       "within",
                                      "used_peak",        "samples", "spilled",       "decisions",
                                      "governor_spilled", "looks",   "identity_wrong"};
static const enum unit units[] = {UNIT_TEXT,  UNIT_SECONDS, UNIT_RATE,  UNIT_BYTES, UNIT_TEXT,
                                  UNIT_BYTES, UNIT_BYTES,   UNIT_TEXT,  UNIT_BYTES, UNIT_COUNT,
                                  UNIT_BYTES, UNIT_COUNT,   UNIT_BYTES, UNIT_COUNT, UNIT_COUNT};

static void tell_side(struct table *table, unsigned which, const struct side *side)
{
    const spw_stats *stats = &side->result.stats;
    double allowed =
        (double)(stats->budget_ceiling_bytes + stats->memory_tier_capacity_bytes + allowance_bytes);
    row_begin(table);
    cell_text(table, "%s", side_names[which]);
    cell_series(table, &side->wall_s);
    cell_number(table, (double)side->last->bytes / series_median(&side->wall_s));
    cell_number(table, (double)stats->budget_ceiling_bytes);
    cell_text(table, "%s", side->charged ? "cgroup" : "process");
    cell_series(table, &side->peak_bytes);
    cell_number(table, allowed);
    cell_text(table, "%s", series_max(&side->peak_bytes) <= allowed ? "yes" : "no");
    cell_series(table, &side->used_bytes);
    cell_number(table, (double)side->looks);
    cell_number(table, (double)stats->spilled_bytes_total);
    cell_number(table, (double)stats->decisions_total);
    cell_number(table, (double)stats->governor_spilled_bytes_total);
    cell_number(table, (double)side->samples);
    cell_number(table, (double)side->identity_broken);
}

static const char *const role_columns[] = {"governor", "queues_that", "queues",    "bytes",
                                           "waits",    "wait_most",   "passed_by", "extend_most"};
static const enum unit role_units[] = {UNIT_TEXT,  UNIT_TEXT, UNIT_COUNT, UNIT_BYTES,
                                       UNIT_COUNT, UNIT_NS,   UNIT_BYTES, UNIT_NS};

static void tell_roles(struct table *table, unsigned which, const struct side *side)
{
    for (unsigned i = 0; i < CROWD_ROLES; i++) {
        const struct crowd_outcome *role = &side->result.roles[i];
        row_begin(table);
        cell_text(table, "%s", side_names[which]);
        cell_text(table, "%s", crowd_role_names[i]);
        cell_number(table, role->queues);
        cell_number(table, (double)role->bytes);
        cell_number(table, (double)role->waits);
        cell_number(table, (double)role->wait_most_ns);
        cell_number(table, (double)role->passed_by_bytes);
        cell_number(table, (double)role->extend_most_ns);
    }
}

static void tell_plot(struct report *report, const struct side *sides, unsigned count)
{
    struct plot *plot = report_plot(report, "crowd_memory", "Memory of a crowd of queues",
                                    "seconds", "MiB", false, false);
    for (unsigned which = 0; which < count; which++) {
        const struct side *side = &sides[which];
        const struct measure *measure = side->last;
        char title[64];
        snprintf(title, sizeof(title), "%s, governor %s",
                 side->charged ? "charge of the cgroup" : "resident set", side_names[which]);
        struct curve *curve = plot_curve(plot, title);
        for (unsigned i = 0; i < measure->sample_count; i++) {
            const struct sample *sample = &measure->samples[i];
            uint64_t bytes = side->charged ? sample->charge_bytes : sample->rss_bytes;
            curve_add(curve, sample->at_s, (double)bytes / (1 << 20));
        }
    }
    struct curve *allowed = plot_curve(plot, "budget + 16 MiB");
    double most = (double)(sides[0].result.stats.budget_ceiling_bytes + allowance_bytes);
    curve_add(allowed, 0, most / (1 << 20));
    curve_add(allowed, series_max(&sides[0].wall_s), most / (1 << 20));
}

static void tell(struct report *report, const struct side *sides, unsigned count)
{
    struct table *table = report_table(report, "crowd", "A crowd of queues",
                                       sizeof(columns) / sizeof(columns[0]), columns, units);
    struct table *roles =
        report_table(report, "crowd_roles", "What became of them",
                     sizeof(role_columns) / sizeof(role_columns[0]), role_columns, role_units);
    for (unsigned which = 0; which < count; which++) {
        tell_side(table, which, &sides[which]);
        tell_roles(roles, which, &sides[which]);
    }
    tell_plot(report, sides, count);
    report_note(report,
                "Peaks are of samples every 10 ms, of the %s; allowed are the budget, the capacity "
                "of a memory tier, and 16 MiB. All that was drained was compared with what was "
                "pushed, by queue and place.",
                sides[0].charged
                    ? "anonymous and shared memory that the run's own memory cgroup is "
                      "charged with"
                    : "resident set, since there is no memory cgroup of its own here");
    report_note(report,
                "A wait begins when a reader comes, its queue has bytes, and it gets none at once; "
                "passed by is the most that all other readers got in one. The longest request of "
                "the device took %.1f ms (read) and %.1f ms (write).",
                (double)sides[0].result.read_most_ns / 1e6,
                (double)sides[0].result.write_most_ns / 1e6);
}

/* ---- the command ---- */

static int check(const struct options *options)
{
    if (options->queues < CROWD_QUEUES_LEAST || options->queues > CROWD_QUEUES_MAX)
        return args_refuse_number("queues", options->queues, "8 to 4096");
    if (options->threads > CROWD_THREADS_MAX)
        return args_refuse_number("threads", options->threads, "64 at most");
    if (options->total_bytes < UINT64_C(16) << 20)
        return args_refuse_number("total", options->total_bytes, "16MiB at least");
    if (options->total_bytes > options->common.disk_bytes)
        return args_refuse_number("total", options->total_bytes, "no more than --disk allows");
    return 0;
}

static int run(const void *given, struct report *report)
{
    const struct options *options = given;
    struct side *sides = calloc(SIDES, sizeof(*sides));
    unsigned count = options->no_compare ? 1 : SIDES;
    int code = check(options);
    if (!sides) {
        fprintf(stderr, "spillbench: crowd: out of memory\n");
        return EXIT_FAILURE;
    }
    for (uint64_t round = 0; code == 0 && round < options->common.pairs; round++) {
        for (unsigned i = 0; code == 0 && i < count; i++) {
            progress("crowd: round %" PRIu64 " of %" PRIu64 ": governor %s", round + 1,
                     options->common.pairs, side_names[i]);
            code = one_run(options, i, &sides[i], report);
        }
    }
    progress_end();
    if (code == 0)
        tell(report, sides, count);
    for (unsigned i = 0; i < SIDES; i++)
        child_release(sides[i].last);
    free(sides);
    return code;
}

const struct command crowd_command = {
    .name = "crowd",
    .help = "many unequal queues over one budget: memory, waits, what the governor makes of it",
    .text =
        "Pushes --total bytes through --queues queues of one pool and compares what comes back "
        "with what was pushed. A sixteenth of the queues are greedy: three quarters of the bytes "
        "are theirs, pushed as fast as it goes, and their readers stay far behind. Most are light: "
        "little by little, every second one drained in bursts. Of the others some stand idle with "
        "bytes in them, some lose their reader for most of the time, some their writer. How far "
        "the greedy have come is the clock for all.\n\n"
        "Each round runs in a process of its own, with a memory cgroup of its own where that is "
        "allowed, whose charge of anonymous and shared memory is sampled every 10 ms; else its "
        "resident set is. The stats of the pool are looked at every millisecond: their sums must "
        "hold each time. Beside it the same runs where no thread for the governor can be had, so "
        "that each queue keeps to its own share.",
    .args = args,
    .options_bytes = sizeof(struct options),
    .run = run,
};
