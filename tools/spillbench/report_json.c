/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/json.h"
#include "report_tree.h"
#include "spillway/version.h"

static void pair_text(struct json *json, const char *key, const char *text)
{
    json_key(json, key);
    json_text(json, text);
}

static void pair_number(struct json *json, const char *key, double number)
{
    json_key(json, key);
    json_number(json, number);
}

static void write_series(struct json *json, const struct series *series)
{
    json_open(json, '{', true);
    pair_number(json, "median", series_median(series));
    pair_number(json, "min", series_min(series));
    pair_number(json, "max", series_max(series));
    json_key(json, "values");
    json_open(json, '[', true);
    for (unsigned i = 0; i < series->count; i++)
        json_number(json, series->values[i]);
    json_close(json, ']');
    json_close(json, '}');
}

static void write_cell(struct json *json, const struct cell *cell)
{
    if (cell->kind == CELL_TEXT)
        json_text(json, cell->text);
    else if (cell->kind == CELL_NUMBER)
        json_number(json, cell->number);
    else if (cell->kind == CELL_SERIES)
        write_series(json, cell->series);
    else
        json_text(json, NULL);
}

static void write_table(struct json *json, const struct table *table)
{
    json_open(json, '{', false);
    pair_text(json, "title", table->title);
    json_key(json, "units");
    json_open(json, '{', true);
    for (size_t i = 0; i < table->column_count; i++)
        pair_text(json, table->columns[i], unit_name(table->units[i]));
    json_close(json, '}');
    json_key(json, "rows");
    json_open(json, '[', false);
    for (size_t row = 0; row < table->row_count; row++) {
        json_open(json, '{', true);
        for (size_t i = 0; i < table->column_count; i++) {
            json_key(json, table->columns[i]);
            write_cell(json, &table->cells[row * table->column_count + i]);
        }
        if (table->remarks[row])
            pair_text(json, "remark", table->remarks[row]);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void write_plot(struct json *json, const struct plot *plot)
{
    json_open(json, '{', false);
    pair_text(json, "title", plot->title);
    pair_text(json, "x", plot->x_label);
    pair_text(json, "y", plot->y_label);
    json_key(json, "curves");
    json_open(json, '[', false);
    for (const struct curve *curve = plot->first; curve; curve = curve->next) {
        json_open(json, '{', true);
        pair_text(json, "title", curve->title);
        json_key(json, "points");
        json_open(json, '[', true);
        for (size_t i = 0; i < curve->count; i++) {
            json_open(json, '[', true);
            json_number(json, curve->points[i].x);
            json_number(json, curve->points[i].y);
            json_close(json, ']');
        }
        json_close(json, ']');
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void write_report(struct json *json, const struct report *report)
{
    json_open(json, '{', false);
    pair_number(json, "schema", REPORT_SCHEMA);
    pair_text(json, "program", "spillbench");
    pair_text(json, "version", spw_version_text());
    if (report->commit)
        pair_text(json, "commit", report->commit);
    pair_text(json, "command", report->command_line);
    pair_text(json, "date", report->date);
    pair_text(json, "kernel", report->kernel);
    json_key(json, "machine");
    json_open(json, '{', true);
    pair_text(json, "cpu", report->machine);
    pair_number(json, "cpus", report->cpus);
    pair_number(json, "memory_bytes", report->memory_bytes);
    json_close(json, '}');
    json_key(json, "tables");
    json_open(json, '{', false);
    for (const struct table *table = report->tables; table; table = table->next) {
        json_key(json, table->name);
        write_table(json, table);
    }
    json_close(json, '}');
    json_key(json, "plots");
    json_open(json, '{', false);
    for (const struct plot *plot = report->plots; plot; plot = plot->next) {
        json_key(json, plot->name);
        write_plot(json, plot);
    }
    json_close(json, '}');
    json_key(json, "notes");
    json_open(json, '[', false);
    for (const struct note *note = report->notes; note; note = note->next)
        json_text(json, note->text);
    json_close(json, ']');
    json_close(json, '}');
}

int report_json(const struct report *report, const char *path)
{
    struct json json;
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *file = to_stdout ? stdout : fopen(path, "we");
    if (!file)
        return -errno;
    json_begin(&json, file);
    write_report(&json, report);
    errno = 0;
    bool bad = fflush(file) != 0 || ferror(file);
    int err = bad ? (errno ? -errno : -EIO) : 0;
    if (!to_stdout && fclose(file) != 0 && !err)
        err = -errno;
    return err;
}
