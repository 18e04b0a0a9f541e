/* SPDX-License-Identifier: MIT */
/* spillbench scale: curves of the cost of an extend and a drain. */
#include "scale.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "report.h"

struct options {
    struct bench_common common;
    uint64_t depth_most, queues_most, threads_most;
    uint64_t operations;
};

static const struct arg args[] = {
    {"depth", "N", ARG_COUNT, offsetof(struct options, depth_most), "10000000",
     "the largest number of entries that stand in a queue"},
    {"queues", "N", ARG_COUNT, offsetof(struct options, queues_most), "1000",
     "the largest number of queues in a pool"},
    {"threads", "N", ARG_COUNT, offsetof(struct options, threads_most), "4",
     "the largest number of threads, each with a queue of its own"},
    {"operations", "N", ARG_COUNT, offsetof(struct options, operations), "500000",
     "entries extended and drained again in one round"},
    {.name = NULL},
};

static const char *const kind_names[] = {"plain queue", "pool, nothing spills", "pool, spilling"};

/* What a curve goes along. */
enum axis { AXIS_DEPTH, AXIS_QUEUES, AXIS_THREADS, AXIS_ENTRY, AXES };
static const struct {
    const char *name, *title, *label;
} axis_text[AXES] = {
    {"depth", "Cost by entries that stand in the queue", "entries"},
    {"queues", "Cost by queues in a pool", "queues"},
    {"threads", "Cost by threads, each with a queue", "threads"},
    {"entry_size", "Cost by the size of an entry", "bytes an entry"},
};

static const char *const columns[] = {"kind",        "depth",  "queues", "threads",
                                      "entry_bytes", "extend", "drain",  "cpu"};
static const enum unit units[] = {UNIT_TEXT,  UNIT_COUNT, UNIT_COUNT, UNIT_COUNT,
                                  UNIT_BYTES, UNIT_NS,    UNIT_NS,    UNIT_NS};

struct run {
    const struct options *options;
    struct report *report;
    struct table *table;
    struct plot *plot;
    enum axis axis;
};

/* What may stand where nothing spills. */
static const uint64_t resident_most_bytes = UINT64_C(1) << 30;

static bool one_point(const struct run *run, const struct scale_point *point, double x,
                      struct curve *extend, struct curve *drain)
{
    struct scale_cost cost;
    char why[256];

    progress("scale: %s, %s %.0f", kind_names[point->kind], axis_text[run->axis].label, x);
    if (!scale_run(point, 1, (unsigned)run->options->common.pairs, &cost, why, sizeof(why))) {
        report_note(run->report, "%s, %s %.0f: %s", kind_names[point->kind],
                    axis_text[run->axis].label, x, why);
        return false;
    }
    if (point->kind == SCALE_RESIDENT && cost.spilled_bytes > 0) {
        report_note(run->report,
                    "%s, %s %.0f: left out, it did spill: this machine's memory is not enough for "
                    "such a budget",
                    kind_names[point->kind], axis_text[run->axis].label, x);
        return true;
    }
    row_begin(run->table);
    cell_text(run->table, "%s", kind_names[point->kind]);
    cell_number(run->table, (double)point->depth);
    cell_number(run->table, point->queues);
    cell_number(run->table, point->threads);
    cell_number(run->table, (double)point->entry_bytes);
    cell_series(run->table, &cost.extend_ns);
    cell_series(run->table, &cost.drain_ns);
    cell_series(run->table, &cost.cpu_ns);
    curve_add(extend, x, series_median(&cost.extend_ns));
    curve_add(drain, x, series_median(&cost.drain_ns));
    return true;
}

/*
 * What stands, and, where it spills, what passes in a round, may not be more than this in all (and
 * so on disk). A budget for all that stands must be one that the machine can give.
 */
static void bound_bytes(struct scale_point *point, uint64_t most_bytes)
{
    uint64_t most = most_bytes / point->entry_bytes / point->threads;

    if (point->kind != SCALE_PLAIN && point->depth > most)
        point->depth = most ? most : 1;
    if (point->kind == SCALE_SPILLING && point->operations > most)
        point->operations = most ? most : 1;
}

static uint64_t axis_most(const struct run *run)
{
    switch (run->axis) {
    case AXIS_DEPTH:
        return run->options->depth_most;
    case AXIS_QUEUES:
        return run->options->queues_most;
    case AXIS_THREADS:
        return run->options->threads_most;
    default:
        return UINT64_C(8) << 20;
    }
}

static bool one_curve(struct run *run, enum scale_kind kind)
{
    static const uint64_t first[AXES] = {1000, 1, 1, 64}, factor[AXES] = {10, 10, 2, 8};
    bool done = true;
    char title[64];

    snprintf(title, sizeof(title), "extend, %s", kind_names[kind]);
    struct curve *extend = plot_curve(run->plot, title);
    snprintf(title, sizeof(title), "drain, %s", kind_names[kind]);
    struct curve *drain = plot_curve(run->plot, title);
    for (uint64_t x = first[run->axis]; x <= axis_most(run); x *= factor[run->axis]) {
        struct scale_point point = {.kind = kind,
                                    .depth = 10000,
                                    .entry_bytes = kind == SCALE_SPILLING ? 256 : 64,
                                    .queues = 1,
                                    .threads = 1,
                                    .operations = run->options->operations,
                                    .dir = run->options->common.dir};
        if (run->axis == AXIS_DEPTH)
            point.depth = x;
        if (run->axis == AXIS_QUEUES)
            point.queues = (unsigned)x;
        if (run->axis == AXIS_THREADS)
            point.threads = (unsigned)x;
        if (run->axis == AXIS_ENTRY)
            point.entry_bytes = x;
        /* A queue must have more than what a drain takes at once, or none is read from disk. */
        if (point.depth < point.queues * UINT64_C(512))
            point.depth = point.queues * UINT64_C(512);
        bound_bytes(&point, kind == SCALE_SPILLING ? run->options->common.disk_bytes / 4
                                                   : resident_most_bytes);
        done = one_point(run, &point, (double)x, extend, drain) && done;
    }
    return done;
}

static int run_scale(const void *context, struct report *report)
{
    const struct options *options = context;
    struct run run = {.options = options, .report = report};
    bool done = true;

    for (run.axis = 0; run.axis < AXES; run.axis++) {
        char name[32];
        snprintf(name, sizeof(name), "scale_%s", axis_text[run.axis].name);
        run.table = report_table(report, name, axis_text[run.axis].title,
                                 sizeof(columns) / sizeof(columns[0]), columns, units);
        run.plot = report_plot(report, name, axis_text[run.axis].title, axis_text[run.axis].label,
                               "nanoseconds an entry", true, true);
        for (enum scale_kind kind = SCALE_PLAIN; kind <= SCALE_SPILLING; kind++)
            done = one_curve(&run, kind) && done;
    }
    progress_end();
    report_note(report,
                "An entry is extended alone and drained with up to 63 others, its release "
                "included. Times are own CPU time; where it spills, time on the clock with all "
                "waiting. The last column is the CPU of the whole process.");
    return done ? 0 : 1;
}

const struct command scale_command = {
    .name = "scale",
    .help = "cost of an extend and a drain by depth, queues, threads and size of entries",
    .text = "Keeps a number of entries standing in queues while more are extended and drained, "
            "and tells what one entry costs: in plain queues, with the usual policies over a pool "
            "that never spills, and over one that does (a budget of 4 MiB).\n\n"
            "One size grows at a time; the others are 10000 entries of 64 bytes (256 where they "
            "spill) in one queue of one thread. What spills in one measurement is bounded by a "
            "quarter of --disk, what stands in a pool that does not by 1 GiB.",
    .args = args,
    .options_bytes = sizeof(struct options),
    .run = run_scale,
};
