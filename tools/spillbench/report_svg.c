/* SPDX-License-Identifier: MIT */
/* Plots through gnuplot, which reads its commands and data from a pipe and writes to our file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "process.h"
#include "report_tree.h"

enum { PLOT_WIDTH = 900, PLOT_HEIGHT = 420 };

/* A text in gnuplot's single quotes, in which only they are special. */
static void quoted(FILE *pipe, const char *text)
{
    putc('\'', pipe);
    for (; *text; text++) {
        if (*text == '\'')
            putc('\'', pipe);
        putc((unsigned char)*text < 0x20 ? ' ' : *text, pipe);
    }
    putc('\'', pipe);
}

static bool has_points(const struct plot *plot)
{
    for (const struct curve *curve = plot->first; curve; curve = curve->next) {
        if (curve->count)
            return true;
    }
    return false;
}

static void write_curve(FILE *pipe, const struct curve *curve, unsigned number)
{
    fprintf(pipe, "$curve%u << END_OF_DATA\n", number);
    for (size_t i = 0; i < curve->count; i++)
        fprintf(pipe, "%.9g %.9g\n", curve->points[i].x, curve->points[i].y);
    fputs("END_OF_DATA\n", pipe);
}

/* A few points are marked, many are a line. */
static const char *style_of(const struct curve *curve)
{
    return curve->count <= 40 ? "linespoints" : "lines";
}

static void write_plot(FILE *pipe, const struct plot *plot)
{
    unsigned number = 0;
    if (!has_points(plot))
        return;
    for (const struct curve *curve = plot->first; curve; curve = curve->next, number++) {
        if (curve->count)
            write_curve(pipe, curve, number);
    }
    fputs("unset logscale\n", pipe);
    if (plot->x_log)
        fputs("set logscale x\n", pipe);
    if (plot->y_log)
        fputs("set logscale y\nset yrange [*:*]\n", pipe);
    else
        fputs("set yrange [0:*]\n", pipe);
    fputs("set title ", pipe);
    quoted(pipe, plot->title);
    fputs(" noenhanced\nset xlabel ", pipe);
    quoted(pipe, plot->x_label);
    fputs(" noenhanced\nset ylabel ", pipe);
    quoted(pipe, plot->y_label);
    fputs(" noenhanced\nplot ", pipe);
    number = 0;
    bool any = false;
    for (const struct curve *curve = plot->first; curve; curve = curve->next, number++) {
        if (!curve->count)
            continue;
        fprintf(pipe, "%s$curve%u using 1:2 with %s title ", any ? ", " : "", number,
                style_of(curve));
        quoted(pipe, curve->title);
        fputs(" noenhanced", pipe);
        any = true;
    }
    putc('\n', pipe);
}

static void write_all(FILE *pipe, const struct report *report)
{
    unsigned count = 0;
    for (const struct plot *plot = report->plots; plot; plot = plot->next)
        count += has_points(plot);
    fprintf(pipe,
            "set terminal svg size %d,%u dynamic background rgb 'white'\n"
            "set grid\nset key outside right top\nset multiplot layout %u,1\n",
            PLOT_WIDTH, PLOT_HEIGHT * (count ? count : 1), count ? count : 1);
    for (const struct plot *plot = report->plots; plot; plot = plot->next)
        write_plot(pipe, plot);
    fputs("unset multiplot\n", pipe);
}

/* Returns 0, -EOPNOTSUPP without gnuplot, or -errno. */
static int run_gnuplot(const struct report *report, int file)
{
    char name[] = "gnuplot", from_pipe[] = "-";
    char *const argv[] = {name, from_pipe, NULL};
    struct process process;
    int err = process_start(&process, PROCESS_INPUT, file, -1, argv);
    if (err)
        return err;
    write_all(process.pipe, report);
    err = process_wait(&process);
    return err == -ENOENT ? -EOPNOTSUPP : err;
}

int report_svg(struct report *report, const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return -errno;
    int err = run_gnuplot(report, file);
    if (close(file) != 0 && !err)
        err = -errno;
    if (err)
        unlink(path); /* half a picture is none */
    if (err == -EOPNOTSUPP)
        report_note(report, "no plot: gnuplot is not installed");
    return err;
}
