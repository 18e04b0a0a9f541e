/* SPDX-License-Identifier: MIT */
/* spillbench latency: percentiles of extends and drains at a share of the device's rate. */
#include "latency.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "raw.h"
#include "report.h"

struct options {
    struct bench_common common;
    uint64_t memory_bytes, total_bytes, chunk_bytes, share;
    bool heap;
};

static const struct arg args[] = {
    {"memory", "BYTES", ARG_BYTES, offsetof(struct options, memory_bytes), "64MiB",
     "the pool's budget"},
    {"bytes", "BYTES", ARG_BYTES, offsetof(struct options, total_bytes), "1GiB",
     "pushed, then drained"},
    {"chunk", "BYTES", ARG_BYTES, offsetof(struct options, chunk_bytes), "16KiB",
     "size of what one extend appends"},
    {"share", "PERCENT", ARG_SHARE, offsetof(struct options, share), "70",
     "of the device's measured rate, which producer and consumer keep to"},
    {"heap", NULL, ARG_FLAG, offsetof(struct options, heap), NULL,
     "chunks on the heap instead of in slabs of the pool"},
    {.name = NULL},
};

static const char *const columns[] = {"what", "count", "p50", "p99", "p99_9", "max"};
static const enum unit units[] = {UNIT_TEXT, UNIT_COUNT, UNIT_NS, UNIT_NS, UNIT_NS, UNIT_NS};

static void add_row(struct table *table, const char *what, const struct latency *latency)
{
    row_begin(table);
    cell_text(table, "%s", what);
    cell_number(table, (double)latency->count);
    cell_number(table, (double)latency_at(latency, 0.5));
    cell_number(table, (double)latency_at(latency, 0.99));
    cell_number(table, (double)latency_at(latency, 0.999));
    cell_number(table, (double)latency->max_ns);
}

static void add_histogram(struct table *table, const char *what, const spw_histogram *histogram)
{
    row_begin(table);
    cell_text(table, "%s", what);
    cell_number(table, (double)spw_histogram_count(histogram));
    cell_number(table, (double)spw_histogram_percentile(histogram, 50));
    cell_number(table, (double)spw_histogram_percentile(histogram, 99));
    cell_number(table, (double)spw_histogram_percentile(histogram, 99.9));
    cell_number(table, (double)histogram->highest);
}

/* How long the slowest share takes: the tail is what matters, so it runs along the logarithm of
 * what is left of the whole. */
static void add_curve(struct plot *plot, const char *title, const struct latency *latency)
{
    struct curve *curve = plot_curve(plot, title);

    for (double left = 1; latency->count > 0 && left >= 1.0 / (double)latency->count; left /= 1.5)
        curve_add(curve, left, (double)(latency_at(latency, 1 - left) + 1));
}

static int find_rates(const struct options *options, double *write_rate, double *read_rate,
                      const char **engine)
{
    struct raw_plan plan;
    double cpu;
    int rc = 0;
    struct raw_file *file = raw_open(options->common.dir, options->total_bytes, &rc);

    if (!file)
        return rc;
    rc = raw_best(file, RAW_WRITE, &plan);
    plan.total_bytes = options->total_bytes;
    if (rc == 0)
        rc = raw_run(file, &plan, write_rate, &cpu);
    if (rc == 0)
        rc = raw_best(file, RAW_READ, &plan);
    plan.total_bytes = options->total_bytes;
    if (rc == 0)
        rc = raw_run(file, &plan, read_rate, &cpu);
    if (rc == 0)
        *engine = raw_engine_text(&plan);
    raw_close(file);
    return rc;
}

static void fill(struct report *report, const struct latency_result *result)
{
    struct table *table = report_table(report, "latency", "Time of a call", 6, columns, units);
    struct plot *plot = report_plot(report, "latency", "Time that the slowest share takes", "share",
                                    "nanoseconds", true, true);

    add_row(table, "extend", &result->extend.watch.call);
    add_row(table, "opening a slab, meanwhile", &result->extend.watch.around);
    add_row(table, "control thread, meanwhile", &result->extend.spin.excess);
    add_row(table, "drain", &result->drain.watch.call);
    add_row(table, "waiting for the head", &result->drain.watch.around);
    add_row(table, "control thread, meanwhile", &result->drain.spin.excess);
    add_curve(plot, "extend", &result->extend.watch.call);
    add_curve(plot, "drain", &result->drain.watch.call);
    add_curve(plot, "control thread", &result->extend.spin.excess);
    if (spw_histogram_count(&result->histograms.lock_hold_ns) > 0)
        add_histogram(table, "hold of a queue's lock", &result->histograms.lock_hold_ns);
    add_histogram(table, "write request of the device", &result->histograms.device_write_ns);
    add_histogram(table, "read request of the device", &result->histograms.device_read_ns);
}

static int run_latency(const void *context, struct report *report)
{
    const struct options *options = context;
    struct latency_plan plan = {.dir = options->common.dir,
                                .memory_bytes = options->memory_bytes,
                                .total_bytes = options->total_bytes,
                                .chunk_bytes = options->chunk_bytes,
                                .heap = options->heap};
    struct latency_result *result = calloc(1, sizeof(*result));
    char why[256] = "no memory";
    const char *engine = "";
    double share = (double)options->share / 100;

    progress("latency: the device's own rates");
    int rc = result ? find_rates(options, &plan.write_rate, &plan.read_rate, &engine) : -ENOMEM;
    plan.write_rate *= share;
    plan.read_rate *= share;
    progress("latency: measuring");
    bool done = rc == 0 && latency_run(&plan, result, why, sizeof(why));
    progress_end();
    if (done) {
        fill(report, result);
        report_note(report,
                    "Written at %.2f GB/s of %.2f asked for, read at %.2f of %.2f, by the "
                    "device's rates with %s. The control thread only spins, in calls of %d ns: its "
                    "times are what a call took more.",
                    (double)plan.total_bytes / result->extend.watch.seconds / 1e9,
                    plan.write_rate / 1e9,
                    (double)plan.total_bytes / result->drain.watch.seconds / 1e9,
                    plan.read_rate / 1e9, engine, SPIN_NS);
    } else {
        fprintf(stderr, "spillbench: latency: %s\n", rc ? strerror(-rc) : why);
    }
    free(result);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct command latency_command = {
    .name = "latency",
    .help = "percentiles of extends and drains at a share of the device's rate",
    .text = "Measures the device's rates, then lets a producer push, and after it a consumer "
            "drain, at a share of them, and tells how long the calls took. Beside them runs a "
            "thread that only spins: what it loses, the machine takes from everyone.\n\n"
            "The same was pushed and drained once before, so extents and buffers are warm.",
    .args = args,
    .options_bytes = sizeof(struct options),
    .run = run_latency,
};
