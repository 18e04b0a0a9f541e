/* SPDX-License-Identifier: MIT */
/* The rows of the bars, kept for the report and for the README. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_BARS_TABLE_H
#define SPILLWAY_TOOLS_SPILLBENCH_BARS_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "bars_math.h"
#include "report.h"

struct bars_line {
    char *what, *asked, *reached, *why; /* `why` may be NULL */
    enum verdict verdict;
};

struct bars_table {
    struct bars_line *lines;
    size_t count, room;
};

/* Copies the texts. Without memory the program ends, as for a report. */
void bars_table_add(struct bars_table *table, const char *what, const char *asked,
                    const char *reached, enum verdict verdict, const char *why);
void bars_table_close(struct bars_table *table);

size_t bars_table_count(const struct bars_table *table, enum verdict verdict);

/* As a table of the report; the reason of a row is its remark, on the next line. */
void bars_table_report(const struct bars_table *table, struct report *report);

/* As Markdown; a reason follows in the last column. */
void bars_table_markdown(const struct bars_table *table, FILE *out);

#endif
