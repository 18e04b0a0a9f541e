/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "child.h"
#include "report.h"

enum { APPEND_S = 5 }; /* between two lines where they cannot be rewritten */

static struct {
    bool quiet, shown;
    double last_s; /* when a line was appended */
} line;

void progress_quiet(bool quiet)
{
    line.quiet = quiet;
}

void progress(const char *text, ...)
{
    char out[256];
    va_list list;
    if (line.quiet)
        return;
    va_start(list, text);
    vsnprintf(out, sizeof(out), text, list);
    va_end(list);
    if (!isatty(STDERR_FILENO)) {
        if (line.last_s <= 0 || now_s() - line.last_s >= APPEND_S) {
            fprintf(stderr, "%s\n", out);
            line.last_s = now_s();
        }
        return;
    }
    fprintf(stderr, "\r%.79s\033[K", out);
    fflush(stderr);
    line.shown = true;
}

void progress_end(void)
{
    if (line.shown)
        fputs("\r\033[K", stderr);
    line.shown = false;
}
