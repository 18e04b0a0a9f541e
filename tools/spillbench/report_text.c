/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../common/help.h"
#include "../common/text.h"
#include "report_tree.h"
#include "spillway/version.h"

enum { NUMBER_BYTES = 40, CELL_BYTES = 160, COLUMN_GAP = 2, REMARK_INDENT = 6 };

/* Numbers of a cell share a prefix: that of the first. */
struct scale {
    double by;
    const char *suffix;
};

static struct scale scale_of(enum unit unit, double value)
{
    static const char *const rates[] = {" B/s", " kB/s", " MB/s", " GB/s"};
    static const char *const times[] = {" ns", " us", " ms", " s"};
    static const char *const sizes[] = {" B", " KiB", " MiB", " GiB"};
    const char *const *suffixes = unit == UNIT_RATE ? rates : unit == UNIT_BYTES ? sizes : times;
    double step = unit == UNIT_BYTES ? 1024 : 1000, by = unit == UNIT_SECONDS ? 1e-9 : 1;
    unsigned i = 0;
    if (unit == UNIT_COUNT || unit == UNIT_TEXT || unit == UNIT_RATIO)
        return (struct scale){1, ""};
    for (; i < 3 && fabs(value) / by >= step * 0.9995; i++)
        by *= step;
    return (struct scale){by, suffixes[i]};
}

/* Three digits that count; counts are whole where they are. */
static void number_text(char out[NUMBER_BYTES], enum unit unit, struct scale scale, double value)
{
    double scaled = value / scale.by, size = fabs(scaled);
    bool whole =
        size >= 99.95 || (unit != UNIT_RATIO && size < 1e15 && size == (double)(uint64_t)size);
    int decimals = whole ? 0 : size >= 9.995 ? 1 : 2;
    if (size > 0 && size < 0.0995)
        decimals = 4;
    snprintf(out, NUMBER_BYTES, "%.*f", decimals, scaled);
}

/* Returns the width. */
static size_t cell_print(char out[CELL_BYTES], enum unit unit, const struct cell *cell)
{
    char median[NUMBER_BYTES], min[NUMBER_BYTES], max[NUMBER_BYTES];
    const struct series *series = cell->series;
    struct scale scale = scale_of(unit, series ? series_median(series) : cell->number);
    if (cell->kind == CELL_TEXT) {
        snprintf(out, CELL_BYTES, "%s", cell->text);
    } else if (cell->kind == CELL_NUMBER) {
        number_text(median, unit, scale, cell->number);
        snprintf(out, CELL_BYTES, "%s%s", median, scale.suffix);
    } else if (cell->kind == CELL_SERIES) {
        number_text(median, unit, scale, series_median(series));
        number_text(min, unit, scale, series_min(series));
        number_text(max, unit, scale, series_max(series));
        if (strcmp(min, max) != 0)
            snprintf(out, CELL_BYTES, "%s (%s - %s)%s", median, min, max, scale.suffix);
        else
            snprintf(out, CELL_BYTES, "%s%s", median, scale.suffix);
    } else {
        snprintf(out, CELL_BYTES, "-");
    }
    return strlen(out);
}

static void table_print(const struct table *table)
{
    size_t widths[64], count = table->column_count < 64 ? table->column_count : 64;
    char text[CELL_BYTES];
    for (size_t i = 0; i < count; i++) {
        widths[i] = strlen(table->columns[i]);
        for (size_t row = 0; row < table->row_count; row++) {
            size_t width =
                cell_print(text, table->units[i], &table->cells[row * table->column_count + i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    printf("\n%s\n\n", table->title);
    for (size_t row = 0; row <= table->row_count; row++) {
        for (size_t i = 0; i < count; i++) {
            bool last = i + 1 == count;
            if (row == 0)
                snprintf(text, sizeof(text), "%s", table->columns[i]);
            else
                cell_print(text, table->units[i],
                           &table->cells[(row - 1) * table->column_count + i]);
            /* Words to the left, numbers to the right. */
            bool left = table->units[i] == UNIT_TEXT;
            if (left && last)
                printf("%s", text);
            else
                printf("%*s", left ? -(int)widths[i] : (int)widths[i], text);
            if (!last)
                printf("%*s", COLUMN_GAP, "");
        }
        putchar('\n');
        if (row > 0 && table->remarks[row - 1]) {
            printf("%*s", REMARK_INDENT, "");
            help_wrapped(table->remarks[row - 1], REMARK_INDENT, REMARK_INDENT);
        }
    }
}

void report_heading(const struct report *report, FILE *out)
{
    char memory[TEXT_NUMBER_BYTES];
    fprintf(out, "%s, %u CPUs, %s of memory, %s; %s%s%s, spillbench %s\n",
            report->machine ? report->machine : "unknown CPU", report->cpus,
            text_size(memory, (uint64_t)report->memory_bytes),
            report->kernel ? report->kernel : "unknown kernel",
            report->date ? report->date : "no date", report->commit ? ", commit " : "",
            report->commit ? report->commit : "", spw_version_text());
}

void report_text(const struct report *report)
{
    char memory[TEXT_NUMBER_BYTES];
    printf("spillbench %s%s%s, %s\n", spw_version_text(), report->commit ? ", commit " : "",
           report->commit ? report->commit : "", report->date ? report->date : "no date");
    printf("%s, %u CPUs, %s, %s\n", report->machine ? report->machine : "unknown CPU", report->cpus,
           text_size(memory, (uint64_t)report->memory_bytes),
           report->kernel ? report->kernel : "unknown kernel");
    printf("%s\n", report->command_line ? report->command_line : "");
    for (const struct table *table = report->tables; table; table = table->next)
        table_print(table);
    if (report->notes)
        putchar('\n');
    for (const struct note *note = report->notes; note; note = note->next) {
        fputs("note: ", stdout);
        help_wrapped(note->text, 6, 6);
    }
}
