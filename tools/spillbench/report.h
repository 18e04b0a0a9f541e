/* SPDX-License-Identifier: MIT */
/*
 * What a subcommand found, in one tree, printed as text or as JSON: so that
 * both say the same. A report is a list of tables and a list of plots; beside them stand machine,
 * kernel, date, version and the command line, which report_open() finds out, and the commit, where
 * SPILLBENCH_COMMIT says it. Without memory for a report the program ends.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_REPORT_H
#define SPILLWAY_TOOLS_SPILLBENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "series.h"

struct report;
struct table;

/* How a column's numbers are meant; text and JSON follow from it. JSON has plain numbers in bytes,
 * seconds, nanoseconds; text has units. */
enum unit { UNIT_TEXT, UNIT_COUNT, UNIT_BYTES, UNIT_SECONDS, UNIT_NS, UNIT_RATE, UNIT_RATIO };

struct report *report_open(const char *command_line);
void report_close(struct report *report);
bool report_is_empty(const struct report *report); /* no table */

/* A table: `columns` are names (lower case, with underscores: JSON keys), `units` one for each. */
struct table *report_table(struct report *report, const char *name, const char *title,
                           size_t column_count, const char *const *columns, const enum unit *units);

/* A row is filled cell by cell, left to right. */
void row_begin(struct table *table);
void cell_text(struct table *table, const char *text, ...) __attribute__((format(printf, 2, 3)));
void cell_number(struct table *table, double value);
void cell_series(struct table *table, const struct series *series); /* median (min-max) */
void cell_none(struct table *table);                                /* not measured */

/* A remark to the row that was begun last, on the next line. */
void row_remark(struct table *table, const char *text, ...) __attribute__((format(printf, 2, 3)));

/* A remark below the tables: why something was skipped, what was tried. Told once, however often it
 * is made. */
void report_note(struct report *report, const char *text, ...)
    __attribute__((format(printf, 2, 3)));

/* A curve; curves of one plot share its axes. */
struct plot;
struct plot *report_plot(struct report *report, const char *name, const char *title,
                         const char *x_label, const char *y_label, bool x_log, bool y_log);
struct curve;
struct curve *plot_curve(struct plot *plot, const char *title);
void curve_add(struct curve *curve, double x, double y);

void report_text(const struct report *report); /* on stdout, for a terminal */
/* What heads it, for a page that shows a part: machine, date, commit. */
void report_heading(const struct report *report, FILE *out);
/* All to a file ("-": stdout). Returns 0 or -errno. */
int report_json(const struct report *report, const char *path);
/* All plots below each other as one SVG, made by gnuplot where installed. Returns 0, -EOPNOTSUPP
 * without gnuplot (a note says so), or -errno. */
int report_svg(struct report *report, const char *path);

/* Long work shows progress on stderr: one line, rewritten where stderr is a terminal. */
void progress(const char *text, ...) __attribute__((format(printf, 1, 2)));
void progress_end(void);
void progress_quiet(bool quiet);

#endif
