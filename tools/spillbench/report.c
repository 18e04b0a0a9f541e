/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "report_tree.h"

enum { LINE_BYTES = 1024 };

const char *unit_name(enum unit unit)
{
    switch (unit) {
    case UNIT_COUNT:
        return "count";
    case UNIT_BYTES:
        return "bytes";
    case UNIT_SECONDS:
        return "seconds";
    case UNIT_NS:
        return "ns";
    case UNIT_RATE:
        return "bytes_per_second";
    case UNIT_RATIO:
        return "ratio";
    case UNIT_TEXT:
        break;
    }
    return "text";
}

/* ---- machine ---- */

/* What stands behind "key<blanks>: " in a file; NULL when it is not there. */
static char *value_in(const char *path, const char *key)
{
    char line[LINE_BYTES];
    char *found = NULL;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key)) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        found = strdup(colon);
    }
    if (file)
        fclose(file);
    return found;
}

static char *now_text(void)
{
    char text[32];
    struct tm parts;
    time_t now = time(NULL);
    if (!gmtime_r(&now, &parts) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts))
        return NULL;
    return strdup(text);
}

static char *kernel_text(void)
{
    struct utsname name;
    char text[sizeof(name.sysname) + sizeof(name.release) + sizeof(name.machine) + 3];
    if (uname(&name) != 0)
        return NULL;
    snprintf(text, sizeof(text), "%s %s %s", name.sysname, name.release, name.machine);
    return strdup(text);
}

struct report *report_open(const char *command_line)
{
    struct report *report = calloc(1, sizeof(*report));
    const char *commit = getenv("SPILLBENCH_COMMIT");
    if (!report)
        return NULL;
    report->command_line = strdup(command_line);
    report->machine = value_in("/proc/cpuinfo", "model name");
    report->kernel = kernel_text();
    report->date = now_text();
    report->commit = commit && *commit ? strdup(commit) : NULL;
    report->cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    report->memory_bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    report->last_table = &report->tables;
    report->last_plot = &report->plots;
    report->last_note = &report->notes;
    return report;
}

static void free_table(struct table *table)
{
    for (size_t i = 0; table->cells && i < table->row_count * table->column_count; i++) {
        free(table->cells[i].text);
        free(table->cells[i].series);
    }
    for (size_t i = 0; table->columns && i < table->column_count; i++)
        free(table->columns[i]);
    for (size_t i = 0; table->remarks && i < table->row_count; i++)
        free(table->remarks[i]);
    free(table->cells);
    free(table->remarks);
    free(table->columns);
    free(table->units);
    free(table->name);
    free(table->title);
    free(table);
}

static void free_plot(struct plot *plot)
{
    while (plot->first) {
        struct curve *curve = plot->first;
        plot->first = curve->next;
        free(curve->title);
        free(curve->points);
        free(curve);
    }
    free(plot->name);
    free(plot->title);
    free(plot->x_label);
    free(plot->y_label);
    free(plot);
}

void report_close(struct report *report)
{
    if (!report)
        return;
    while (report->tables) {
        struct table *table = report->tables;
        report->tables = table->next;
        free_table(table);
    }
    while (report->plots) {
        struct plot *plot = report->plots;
        report->plots = plot->next;
        free_plot(plot);
    }
    while (report->notes) {
        struct note *note = report->notes;
        report->notes = note->next;
        free(note->text);
        free(note);
    }
    free(report->command_line);
    free(report->machine);
    free(report->kernel);
    free(report->date);
    free(report->commit);
    free(report);
}

bool report_is_empty(const struct report *report)
{
    return !report->tables;
}

/* ---- tables ---- */

/* Out of memory a benchmark has nothing to say: no caller has to look after each cell. */
static void *need(void *memory)
{
    if (!memory) {
        fputs("spillbench: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return memory;
}

static char *copy(const char *text)
{
    return need(strdup(text));
}

struct table *report_table(struct report *report, const char *name, const char *title,
                           size_t column_count, const char *const *columns, const enum unit *units)
{
    struct table *table = need(calloc(1, sizeof(*table)));
    table->name = copy(name);
    table->title = copy(title);
    table->column_count = column_count;
    table->columns = need(calloc(column_count, sizeof(char *)));
    table->units = need(calloc(column_count, sizeof(enum unit)));
    for (size_t i = 0; i < column_count; i++) {
        table->columns[i] = copy(columns[i]);
        table->units[i] = units[i];
    }
    *report->last_table = table;
    report->last_table = &table->next;
    return table;
}

void row_begin(struct table *table)
{
    size_t cells = table->row_count * table->column_count;
    table->cells = need(realloc(table->cells, (cells + table->column_count) * sizeof(struct cell)));
    memset(table->cells + cells, 0, table->column_count * sizeof(struct cell));
    table->remarks = need(realloc(table->remarks, (table->row_count + 1) * sizeof(char *)));
    table->remarks[table->row_count] = NULL;
    table->row_count++;
    table->filled = 0;
}

/* The next cell of the last row; one too many is nobody's. */
static struct cell *next_cell(struct table *table, enum cell_kind kind)
{
    static struct cell nobody;
    if (table->row_count == 0 || table->filled == table->column_count)
        return &nobody;
    struct cell *cell =
        &table->cells[(table->row_count - 1) * table->column_count + table->filled++];
    cell->kind = kind;
    return cell;
}

void cell_text(struct table *table, const char *text, ...)
{
    char line[LINE_BYTES];
    va_list list;
    va_start(list, text);
    vsnprintf(line, sizeof(line), text, list);
    va_end(list);
    next_cell(table, CELL_TEXT)->text = copy(line);
}

void cell_number(struct table *table, double value)
{
    next_cell(table, CELL_NUMBER)->number = value;
}

void cell_series(struct table *table, const struct series *series)
{
    if (series->count == 0) {
        cell_none(table);
        return;
    }
    struct series *own = need(malloc(sizeof(*own)));
    *own = *series;
    next_cell(table, CELL_SERIES)->series = own;
}

void cell_none(struct table *table)
{
    next_cell(table, CELL_NONE);
}

void row_remark(struct table *table, const char *text, ...)
{
    char line[LINE_BYTES];
    va_list list;
    if (table->row_count == 0)
        return;
    va_start(list, text);
    vsnprintf(line, sizeof(line), text, list);
    va_end(list);
    free(table->remarks[table->row_count - 1]);
    table->remarks[table->row_count - 1] = copy(line);
}

/* ---- notes and plots ---- */

void report_note(struct report *report, const char *text, ...)
{
    char line[LINE_BYTES];
    va_list list;
    va_start(list, text);
    vsnprintf(line, sizeof(line), text, list);
    va_end(list);
    for (const struct note *note = report->notes; note; note = note->next) {
        if (strcmp(note->text, line) == 0)
            return; /* each run said the same */
    }
    struct note *note = need(calloc(1, sizeof(*note)));
    note->text = copy(line);
    *report->last_note = note;
    report->last_note = &note->next;
}

struct plot *report_plot(struct report *report, const char *name, const char *title,
                         const char *x_label, const char *y_label, bool x_log, bool y_log)
{
    struct plot *plot = need(calloc(1, sizeof(*plot)));
    plot->name = copy(name);
    plot->title = copy(title);
    plot->x_label = copy(x_label);
    plot->y_label = copy(y_label);
    plot->x_log = x_log;
    plot->y_log = y_log;
    plot->last = &plot->first;
    *report->last_plot = plot;
    report->last_plot = &plot->next;
    return plot;
}

struct curve *plot_curve(struct plot *plot, const char *title)
{
    struct curve *curve = need(calloc(1, sizeof(*curve)));
    curve->title = copy(title);
    *plot->last = curve;
    plot->last = &curve->next;
    return curve;
}

void curve_add(struct curve *curve, double x, double y)
{
    if (curve->count == curve->room) {
        curve->room = curve->room ? 2 * curve->room : 64;
        curve->points = need(realloc(curve->points, curve->room * sizeof(struct point)));
    }
    curve->points[curve->count++] = (struct point){x, y};
}
