/* SPDX-License-Identifier: MIT */
/* The tree behind report.h, for those who print it. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_REPORT_TREE_H
#define SPILLWAY_TOOLS_SPILLBENCH_REPORT_TREE_H

#include "report.h"

enum { REPORT_SCHEMA = 1 };

enum cell_kind { CELL_NONE, CELL_TEXT, CELL_NUMBER, CELL_SERIES };

struct cell {
    enum cell_kind kind;
    char *text;
    double number;
    struct series *series;
};

struct table {
    struct table *next;
    char *name, *title;
    size_t column_count;
    char **columns;
    enum unit *units;
    struct cell *cells; /* rows one behind the other */
    char **remarks;     /* one a row; NULL: none */
    size_t row_count;
    size_t filled; /* cells of the last row */
};

struct point {
    double x, y;
};

struct curve {
    struct curve *next;
    char *title;
    struct point *points;
    size_t count, room;
};

struct plot {
    struct plot *next;
    char *name, *title, *x_label, *y_label;
    bool x_log, y_log;
    struct curve *first, **last;
};

struct note {
    struct note *next;
    char *text;
};

struct report {
    char *command_line, *machine, *kernel, *date, *commit;
    unsigned cpus;
    double memory_bytes;
    struct table *tables, **last_table;
    struct plot *plots, **last_plot;
    struct note *notes, **last_note;
};

/* The name of a unit in JSON: "bytes". */
const char *unit_name(enum unit unit);

#endif
