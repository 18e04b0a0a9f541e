/* SPDX-License-Identifier: MIT */
/* spillbench tiers: the memory tier in its modes, against memcpy. */
#include "tiers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "report.h"

struct options {
    struct bench_common common;
    uint64_t total_bytes;
};

static const struct arg args[] = {
    {"bytes", "BYTES", ARG_BYTES, offsetof(struct options, total_bytes), "512MiB",
     "spilled to the memory tier in a round; it is charged with a quarter more"},
    {.name = NULL},
};

static const char *const columns[] = {"seal",   "huge_pages", "mlock", "entries", "run",
                                      "chunks", "spill",      "ratio", "fetch",   "fetch_p99"};
static const enum unit units[] = {UNIT_TEXT,  UNIT_TEXT, UNIT_TEXT,  UNIT_TEXT, UNIT_BYTES,
                                  UNIT_COUNT, UNIT_RATE, UNIT_RATIO, UNIT_NS,   UNIT_NS};

enum { RUN_BYTES = 2 << 20 };

static bool one_row(const struct options *options, struct report *report, struct table *table,
                    struct tiers_plan *plan, struct tiers_result *result)
{
    char why[256];

    plan->total_bytes = options->total_bytes;
    plan->rounds = (unsigned)options->common.pairs;
    plan->run_bytes = RUN_BYTES;
    progress("tiers: seals %s, huge pages %s%s, runs of %u", plan->seal, plan->huge_pages,
             plan->mlock ? ", locked" : "", plan->chunks);
    bool done = tiers_run(plan, result, why, sizeof(why));
    row_begin(table);
    cell_text(table, "%s", plan->seal);
    cell_text(table, "%s", plan->huge_pages);
    cell_text(table, "%s", plan->mlock ? "on" : "off");
    cell_text(table, "%s", plan->slabs ? "pool slabs" : "foreign");
    cell_number(table, RUN_BYTES);
    cell_number(table, plan->chunks);
    if (done) {
        struct series ratio;
        series_ratio(&result->spill_rate, &result->memcpy_rate, &ratio);
        cell_series(table, &result->spill_rate);
        cell_series(table, &ratio);
        cell_series(table, &result->fetch_ns);
        cell_series(table, &result->fetch_p99_ns);
    } else {
        for (unsigned i = 0; i < 4; i++)
            cell_none(table);
        report_note(report, "seals %s, huge pages %s, mlock %s: %s", plan->seal, plan->huge_pages,
                    plan->mlock ? "on" : "off", why);
    }
    return done;
}

/* What this machine does not have is no failure: the library fell back, and said so. */
static void note_fallbacks(struct report *report, const struct tiers_plan *plan,
                           const struct tiers_result *result)
{
    if (result->stats.fallbacks_total > 0)
        report_note(report, "seals %s, huge pages %s, mlock %s: fell back (%s)", plan->seal,
                    plan->huge_pages, plan->mlock ? "on" : "off", result->stats.fallbacks);
}

static int run_tiers(const void *context, struct report *report)
{
    static const struct tiers_plan plans[] = {
        {.seal = "recycle", .huge_pages = "off", .chunks = 1},
        {.seal = "recycle", .huge_pages = "off", .chunks = 32},
        {.seal = "recycle", .huge_pages = "off", .chunks = 2048},
        {.seal = "recycle", .huge_pages = "off", .chunks = 1, .slabs = true},
        {.seal = "recycle", .huge_pages = "off", .chunks = 1, .mlock = true},
        {.seal = "recycle", .huge_pages = "transparent", .chunks = 1},
        {.seal = "recycle", .huge_pages = "on", .chunks = 1},
        {.seal = "strict", .huge_pages = "off", .chunks = 1},
        {.seal = "strict", .huge_pages = "off", .chunks = 2048},
        {.seal = "strict", .huge_pages = "transparent", .chunks = 1},
    };
    struct table *table = report_table(report, "tiers", "Memory tier against memcpy",
                                       sizeof(columns) / sizeof(columns[0]), columns, units);
    struct plot *plot = report_plot(report, "tiers_fetch", "Fetch of a run of 2 MiB",
                                    "chunks in the run", "nanoseconds", true, true);
    struct curve *curve = plot_curve(plot, "seals recycle, foreign bytes");
    struct tiers_result *result = malloc(sizeof(*result));
    bool done = result != NULL;

    for (unsigned i = 0; result && i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct tiers_plan plan = plans[i];
        if (!one_row(context, report, table, &plan, result)) {
            /* Reserved huge pages are rare, and few users may lock much: memcpy's target cannot be
             * had without. */
            done = done && (plan.mlock || strcmp(plan.huge_pages, "on") == 0);
            continue;
        }
        note_fallbacks(report, &plan, result);
        if (i < 3)
            curve_add(curve, plan.chunks, series_median(&result->fetch_ns));
    }
    progress_end();
    report_note(report,
                "Rates are of bytes that the tier took, until it has them all; memcpy in turns "
                "into shared memory of the same kind of pages, warm. A fetch is spw_view_fetch() "
                "of a run that was asked for when the one before it was taken in; of the medians "
                "and 99th percentiles of each round.");
    free(result);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct command tiers_command = {
    .name = "tiers",
    .help = "the memory tier against memcpy: seals, huge pages, locked memory, runs of many chunks",
    .text = "Spills entries to the memory tier and fetches them again, in each mode, beside memcpy "
            "into memory that is mapped in the same way. Everything is warm: the first round of "
            "each is dropped.",
    .args = args,
    .options_bytes = sizeof(struct options),
    .run = run_tiers,
};
