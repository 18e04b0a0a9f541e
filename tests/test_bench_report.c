/* SPDX-License-Identifier: MIT */
/* What spillbench writes: JSON that parses whatever the texts are, and the tree of a report. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tools/common/json.h"
#include "../tools/spillbench/report.h"
#include "dirs.h"
#include "harness.h"

enum { TEXT_BYTES = 65536 };

static char text[TEXT_BYTES];

static void read_back(FILE *file)
{
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
}

static const char *quoted(const char *value)
{
    struct json json;
    FILE *file = tmpfile();
    json_begin(&json, file);
    json_text(&json, value);
    read_back(file);
    return text;
}

Test(bench_report, texts_are_escaped)
{
    cr_assert_str_eq(quoted("plain"), "\"plain\"");
    cr_assert_str_eq(quoted(""), "\"\"");
    cr_assert_str_eq(quoted(NULL), "null");
    cr_assert_str_eq(quoted("a\"b\\c"), "\"a\\\"b\\\\c\"");
    cr_assert_str_eq(quoted("tab\tline\nend\x1f\x7f"),
                     "\"tab\\u0009line\\u000aend\\u001f\\u007f\"");
    cr_assert_str_eq(quoted("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
                     "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    cr_assert_str_eq(quoted("\xc3"), "\"?\"");
    cr_assert_str_eq(quoted("\xff\x80x"), "\"??x\"");
    cr_assert_str_eq(quoted("\xc0\x80"), "\"??\"");
    cr_assert_str_eq(quoted("\xed\xa0\x80"), "\"???\"");
    cr_assert_str_eq(quoted("\xf4\x90\x80\x80"), "\"????\"");
    cr_assert_str_eq(quoted("\xe2\x82"), "\"??\"");
}

static const char *number(double value)
{
    struct json json;
    FILE *file = tmpfile();
    json_begin(&json, file);
    json_number(&json, value);
    read_back(file);
    return text;
}

Test(bench_report, numbers)
{
    cr_assert_str_eq(number(0), "0");
    cr_assert_str_eq(number(-3), "-3");
    cr_assert_str_eq(number(4503599627370496.0), "4.50359963e+15");
    cr_assert_str_eq(number(1073741824), "1073741824");
    cr_assert_str_eq(number(0.25), "0.25");
    cr_assert_str_eq(number(NAN), "null");
    cr_assert_str_eq(number(INFINITY), "null");
}

Test(bench_report, nesting)
{
    struct json json;
    FILE *file = tmpfile();
    json_begin(&json, file);
    json_open(&json, '{', false);
    json_key(&json, "none");
    json_open(&json, '[', false);
    json_close(&json, ']');
    json_key(&json, "flat");
    json_open(&json, '[', true);
    json_number(&json, 1);
    json_open(&json, '{', false);
    json_key(&json, "x");
    json_text(&json, "y");
    json_close(&json, '}');
    json_close(&json, ']');
    json_close(&json, '}');
    read_back(file);
    cr_assert_str_eq(text, "{\n  \"none\": [],\n  \"flat\": [1, {\"x\": \"y\"}]\n}\n");
}

static struct report *filled(void)
{
    static const char *const columns[] = {"name", "bytes", "rate"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_BYTES, UNIT_RATE};
    struct report *report = report_open("spillbench \"x\"");
    struct series series = {.count = 0};
    cr_assert(report != NULL);
    cr_assert(report_is_empty(report));
    struct table *table = report_table(report, "rates", "Rates", 3, columns, units);
    cr_assert_not(report_is_empty(report));
    series_add(&series, 2e9);
    series_add(&series, 1e9);
    series_add(&series, 3e9);
    row_begin(table);
    cell_text(table, "row %d", 1);
    cell_number(table, 4096);
    cell_series(table, &series);
    cell_text(table, "one too many"); /* is left out */
    row_begin(table);
    cell_text(table, "row 2");
    cell_none(table);
    cell_series(table, &(struct series){.count = 0});
    row_begin(table); /* not filled */
    report_note(report, "once");
    report_note(report, "once");
    struct plot *plot = report_plot(report, "p", "it's a plot", "x", "y", true, true);
    struct curve *curve = plot_curve(plot, "c");
    for (int i = 1; i <= 100; i++)
        curve_add(curve, i, i * i);
    plot_curve(plot, "empty");
    return report;
}

Test(bench_report, json_of_a_report)
{
    struct report *report = filled();
    char dir[DIRS_PATH], path[512];
    cr_assert(dirs_make(dir));
    snprintf(path, sizeof(path), "%s/report.json", dir);
    cr_assert_eq(report_json(report, path), 0);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    read_back(file);
    cr_assert(strstr(text, "\"schema\": 1") != NULL);
    cr_assert(strstr(text, "\"command\": \"spillbench \\\"x\\\"\"") != NULL);
    cr_assert(strstr(text,
                     "{\"name\": \"row 1\", \"bytes\": 4096, \"rate\": {\"median\": 2000000000, "
                     "\"min\": 1000000000, \"max\": 3000000000, \"values\": [2000000000, "
                     "1000000000, 3000000000]}}") != NULL,
              "%s", text);
    cr_assert(strstr(text, "{\"name\": \"row 2\", \"bytes\": null, \"rate\": null}") != NULL);
    cr_assert(strstr(text, "{\"name\": null, \"bytes\": null, \"rate\": null}") != NULL);
    cr_assert(strstr(text, "\"notes\": [\n    \"once\"\n  ]") != NULL);
    cr_assert(strstr(text, "[100, 10000]") != NULL);
    cr_assert_eq(report_json(report, "/dev/full"), -ENOSPC);
    cr_assert_eq(report_json(report, "/nonexistent/x"), -ENOENT);
    report_close(report);
    unlink(path);
    cr_assert(dirs_remove(dir));
}

/* A program that stands in for gnuplot: takes its input and does as it is told. */
static void gnuplot_is(const char *dir, const char *body)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/gnuplot", dir);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL);
    fprintf(file, "#!/bin/sh\n%s\n", body);
    fclose(file);
    chmod(path, 0755);
    setenv("PATH", dir, 1);
}

Test(bench_report, plots_need_gnuplot)
{
    struct report *report = filled();
    char dir[DIRS_PATH], path[512];
    cr_assert(dirs_make(dir));
    snprintf(path, sizeof(path), "%s/plot.svg", dir);
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    setenv("PATH", dir, 1);   /* nothing in it */
    cr_assert_eq(report_svg(report, path), -EOPNOTSUPP);
    cr_assert_neq(access(path, F_OK), 0, "no picture, no file");
    gnuplot_is(dir, "exit 3");
    cr_assert_eq(report_svg(report, path), -EIO);
    cr_assert_neq(access(path, F_OK), 0);
    gnuplot_is(dir, "while read -r line; do echo \"$line\"; done");
    cr_assert_eq(report_svg(report, path), 0);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    read_back(file);
    cr_assert(strstr(text, "set terminal svg") != NULL);
    cr_assert(strstr(text, "set title 'it''s a plot'") != NULL);
    cr_assert(strstr(text, "\n100 10000\nEND_OF_DATA\n") != NULL);
    cr_assert(strstr(text, "title 'empty'") == NULL, "a curve without points is left out");
    cr_assert_eq(report_svg(report, "/nonexistent/x"), -ENOENT);
    report_close(report);
    unlink(path);
    snprintf(path, sizeof(path), "%s/gnuplot", dir);
    unlink(path);
    cr_assert(dirs_remove(dir));
}
