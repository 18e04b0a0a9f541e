/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/text.h"
#include "commands.h"
#include "fio.h"
#include "raw.h"
#include "report.h"

#define FILE_UNIT   (UINT64_C(2) << 20)
#define BUFFERS_MAX (UINT64_C(1) << 30) /* of a run, all requests in flight */

struct options {
    struct bench_common common;
    struct arg_list requests, depths;
    uint64_t file_bytes, moved_bytes;
    unsigned engine, direction, pages;
    bool no_fio;
};

static const struct arg args[] = {
    {"requests", "BYTES,...", ARG_BYTES_LIST, offsetof(struct options, requests),
     "256KiB,1MiB,2MiB", "sizes of a request"},
    {"depths", "N,...", ARG_COUNT_LIST, offsetof(struct options, depths), "1,8,16",
     "requests in flight, or threads; 256 at most"},
    {"engine", "all|io_uring|threads", ARG_CHOICE, offsetof(struct options, engine), "all",
     "how requests are made"},
    {"direction", "all|write|read|mixed", ARG_CHOICE, offsetof(struct options, direction), "all",
     "what they do; mixed writes and reads by turns"},
    {"pages", "huge|small", ARG_CHOICE, offsetof(struct options, pages), "huge",
     "what the buffers lie on: huge pages where the kernel gives them, or 4 KiB pages"},
    {"file", "BYTES", ARG_BYTES, offsetof(struct options, file_bytes), "1GiB",
     "size of the scratch file"},
    {"moved", "BYTES", ARG_BYTES, offsetof(struct options, moved_bytes), "512MiB",
     "what each measurement moves"},
    {"no-fio", NULL, ARG_FLAG, offsetof(struct options, no_fio), NULL,
     "do not run fio beside, even where it is installed"},
    {.name = NULL},
};

static const char *const engine_names[] = {"io_uring", "threads"};
static const char *const direction_names[] = {"write", "read", "mixed"};

/* One row: a plan and what its runs reached. */
struct row {
    struct raw_plan plan;
    struct series rate, cpu;
    int err;
};

struct grid {
    const struct options *options;
    struct report *report;
    struct raw_file *file;
    uint64_t file_bytes;
    struct row *rows;
    size_t count;
};

/* All combinations that were asked for. */
static int grid_fill(struct grid *grid)
{
    const struct options *options = grid->options;
    size_t most = 6 * (size_t)options->requests.count * options->depths.count;
    grid->rows = calloc(most, sizeof(struct row));
    if (!grid->rows)
        return -ENOMEM;
    for (unsigned i = 0; i < most; i++) {
        unsigned depth = i % options->depths.count;
        unsigned request = i / options->depths.count % options->requests.count;
        unsigned direction = i / (options->depths.count * options->requests.count) % 3;
        unsigned engine = i / (options->depths.count * options->requests.count) / 3;
        if ((options->engine && options->engine - 1 != engine) ||
            (options->direction && options->direction - 1 != direction))
            continue;
        grid->rows[grid->count++].plan = (struct raw_plan){
            .engine = (enum raw_engine)engine,
            .direction = (enum raw_direction)direction,
            .total_bytes = options->moved_bytes,
            .request_bytes = options->requests.values[request],
            .depth = (unsigned)options->depths.values[depth],
            .huge = options->pages == 0,
        };
    }
    return 0;
}

/* Every round takes each row once, so that a slow minute of the machine meets all of them. */
static void grid_run(struct grid *grid)
{
    char size[TEXT_NUMBER_BYTES];
    for (uint64_t round = 0; round < grid->options->common.pairs; round++) {
        for (size_t i = 0; i < grid->count; i++) {
            struct row *row = &grid->rows[i];
            double rate, cpu;
            if (row->err)
                continue;
            progress("raw: round %" PRIu64 " of %" PRIu64 ": %s %s %s, depth %u", round + 1,
                     grid->options->common.pairs, engine_names[row->plan.engine],
                     direction_names[row->plan.direction], text_size(size, row->plan.request_bytes),
                     row->plan.depth);
            row->err = raw_run(grid->file, &row->plan, &rate, &cpu);
            if (row->err)
                continue;
            series_add(&row->rate, rate);
            series_add(&row->cpu, cpu);
        }
    }
}

static int grid_tell(struct grid *grid)
{
    static const char *const columns[] = {"engine", "direction", "request",
                                          "depth",  "rate",      "cpu_per_gb"};
    static const enum unit units[] = {UNIT_TEXT,  UNIT_TEXT, UNIT_BYTES,
                                      UNIT_COUNT, UNIT_RATE, UNIT_SECONDS};
    struct table *table = report_table(
        grid->report, "raw", "The device's own limit: median (min - max)", 6, columns, units);
    int err = 0;
    for (size_t i = 0; i < grid->count; i++) {
        const struct row *row = &grid->rows[i];
        row_begin(table);
        cell_text(table, "%s", engine_names[row->plan.engine]);
        cell_text(table, "%s", direction_names[row->plan.direction]);
        cell_number(table, (double)row->plan.request_bytes);
        cell_number(table, row->plan.depth);
        cell_series(table, &row->rate);
        cell_series(table, &row->cpu);
        if (!row->err)
            continue;
        report_note(grid->report, "%s %s: %s", engine_names[row->plan.engine],
                    direction_names[row->plan.direction], strerror(-row->err));
        /* A machine without io_uring is measured without. */
        if (row->plan.engine != RAW_URING || grid->options->engine == 1)
            err = row->err;
    }
    return err;
}

static void grid_plot(struct grid *grid)
{
    struct plot *plot =
        report_plot(grid->report, "raw_rate", "Throughput by depth", "depth", "GB/s", true, false);
    struct curve *curve = NULL;
    char title[96], size[TEXT_NUMBER_BYTES];
    for (size_t i = 0; i < grid->count; i++) {
        const struct row *row = &grid->rows[i];
        if (i % grid->options->depths.count == 0) {
            snprintf(title, sizeof(title), "%s %s %s", engine_names[row->plan.engine],
                     direction_names[row->plan.direction],
                     text_size(size, row->plan.request_bytes));
            curve = plot_curve(plot, title);
        }
        if (row->rate.count)
            curve_add(curve, row->plan.depth, series_median(&row->rate) / 1e9);
    }
}

/* The row that was best in a direction; NULL when none was measured. */
static const struct row *best_row(const struct grid *grid, enum raw_direction direction)
{
    const struct row *best = NULL;
    for (size_t i = 0; i < grid->count; i++) {
        const struct row *row = &grid->rows[i];
        if (row->plan.engine == RAW_URING && row->plan.direction == direction && row->rate.count &&
            (!best || series_median(&row->rate) > series_median(&best->rate)))
            best = row;
    }
    return best;
}

/* Our loop and fio by turns, with the plan that was best. Returns 0, or -errno of fio. */
static int fio_pairs(struct grid *grid, const struct row *row, struct table *table)
{
    struct series ours = {.count = 0}, theirs = {.count = 0}, ratio;
    for (uint64_t round = 0; round < grid->options->common.pairs; round++) {
        double rate, cpu;
        progress("raw: fio, round %" PRIu64 " of %" PRIu64 ": %s", round + 1,
                 grid->options->common.pairs, direction_names[row->plan.direction]);
        int err = raw_run(grid->file, &row->plan, &rate, &cpu);
        if (err)
            return err;
        series_add(&ours, rate);
        err = fio_run(grid->file, grid->file_bytes, &row->plan, &rate);
        if (err)
            return err;
        series_add(&theirs, rate);
    }
    series_ratio(&ours, &theirs, &ratio);
    row_begin(table);
    cell_text(table, "%s", direction_names[row->plan.direction]);
    cell_number(table, (double)row->plan.request_bytes);
    cell_number(table, row->plan.depth);
    cell_series(table, &ours);
    cell_series(table, &theirs);
    cell_series(table, &ratio);
    return 0;
}

static void fio_tell(struct grid *grid)
{
    static const char *const columns[] = {"direction", "request", "depth", "raw", "fio", "ratio"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_BYTES, UNIT_COUNT,
                                      UNIT_RATE, UNIT_RATE,  UNIT_RATIO};
    struct table *table = NULL;
    for (unsigned i = 0; i < 3; i++) {
        const struct row *row = best_row(grid, (enum raw_direction)i);
        if (!row)
            continue;
        if (!table)
            table = report_table(grid->report, "fio",
                                 "Beside fio, by turns, with the request and depth that were best",
                                 6, columns, units);
        int err = fio_pairs(grid, row, table);
        if (err == -ENOENT) {
            report_note(grid->report, "no comparison with fio: it is not installed");
            return;
        }
        if (err)
            report_note(grid->report, "fio %s: %s", direction_names[i], strerror(-err));
    }
}

/* What the table could not judge. */
static int check(const struct options *options)
{
    uint64_t deepest = 1;
    for (unsigned i = 0; i < options->depths.count; i++) {
        uint64_t depth = options->depths.values[i];
        if (depth > RAW_DEPTH_MAX)
            return args_refuse_number("depths", depth, "256 at most");
        deepest = depth > deepest ? depth : deepest;
    }
    for (unsigned i = 0; i < options->requests.count; i++) {
        uint64_t bytes = options->requests.values[i];
        if (bytes % 4096 != 0 || bytes > options->file_bytes)
            return args_refuse_number("requests", bytes,
                                      "multiples of 4096, up to the file's size");
        if (bytes > BUFFERS_MAX / deepest)
            return args_refuse_number("requests", bytes,
                                      "no more than 1GiB in flight: request times depth");
    }
    if (options->file_bytes > options->common.disk_bytes)
        return args_refuse_number("file", options->file_bytes, "no more than --disk allows");
    return 0;
}

static int run(const void *given, struct report *report)
{
    const struct options *options = given;
    struct grid grid = {.options = options, .report = report};
    int err = 0, code = check(options);
    if (code)
        return code;
    grid.file_bytes = (options->file_bytes + FILE_UNIT - 1) / FILE_UNIT * FILE_UNIT;
    progress("raw: writing the scratch file once");
    grid.file = raw_open(options->common.dir, grid.file_bytes, &err);
    if (!grid.file) {
        progress_end();
        fprintf(stderr, "spillbench: no scratch file in '%s': %s\n",
                options->common.dir ? options->common.dir : "the usual places", strerror(-err));
        return 1;
    }
    if (!raw_is_direct(grid.file))
        report_note(report, "without O_DIRECT, which this file system lacks: these are figures of "
                            "the page cache");
    err = grid_fill(&grid);
    if (!err) {
        grid_run(&grid);
        err = grid_tell(&grid);
        grid_plot(&grid);
        if (!options->no_fio)
            fio_tell(&grid);
    }
    if (err)
        fprintf(stderr, "spillbench: raw: %s\n", strerror(-err));
    free(grid.rows);
    raw_close(grid.file);
    return err ? 1 : 0;
}

const struct command raw_command = {
    .name = "raw",
    .help = "the device's own limit: direct writes and reads of an unnamed file",
    .text =
        "Moves bytes between memory and an unnamed scratch file with O_DIRECT, through io_uring "
        "and through threads with pread and pwrite, in every combination of request size and "
        "depth: what the device can do, with nothing of the library in between. The file is "
        "allocated and written once before. Beside it fio, where installed, on the same file.\n"
        "CPU seconds are those of the process, for each 10^9 bytes.",
    .args = args,
    .options_bytes = sizeof(struct options),
    .run = run,
};
