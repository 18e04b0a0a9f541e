/* SPDX-License-Identifier: MIT */
/*
 * Fills the library's own tables into text, so that each fact is written once.
 * Used while building; not installed.
 *
 *     mkman man VERSION    a man page source on stdin, the page on stdout:
 *                          a line @OPTIONS@, @STATS@ or @HISTOGRAMS@
 *                          becomes that table (see mkman_commands.h and
 *                          mkman_poolstat.h for more),
 *                          @SHOW FILE@ becomes the part of FILE between the
 *                          lines [own] and [end], each in a comment,
 *                          @VERSION@ anywhere becomes VERSION
 *     mkman options        the options table in Markdown
 *     mkman readme         README.md on stdin and out, with the options table
 *                          written anew between the two marker lines below
 *     mkman completion PROGRAM   what bash completes for it
 *     mkman notes          Kbuild-notes.md likewise, with the checks of
 *                          poolstat doctor
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mkman_commands.h"
#include "mkman_completion.h"
#include "mkman_poolstat.h"
#include "mkman_roff.h"
#include "poolstat/doctor.h"
#include "spillway/options.h"
#include "spillway/stats.h"

enum { LINE_BYTES = 8192 };

static const char options_begin[] = "<!-- options: written by make readme -->\n";
static const char options_end[] = "<!-- end of options -->\n";
static const char checks_begin[] = "<!-- checks: written by make readme -->\n";
static const char checks_end[] = "<!-- end of checks -->\n";

static bool option_at(size_t index, spw_option_info *info)
{
    *info = (spw_option_info){.size = sizeof(*info)};
    return spw_options_describe(index, info) == 0;
}

static void roff_options(void)
{
    spw_option_info info;
    /* Names of variables are not to be hyphenated. */
    puts(".nh");
    for (size_t i = 0; option_at(i, &info); i++) {
        puts(".TP");
        fputs(".B ", stdout);
        roff_text(info.variable);
        putchar('\n');
        roff_sentence(info.help);
        fputs("Allowed: ", stdout);
        roff_text(info.allowed);
        fputs(".\nDefault: ", stdout);
        roff_text(info.fallback);
        puts(".");
        if (info.live)
            puts("May be set while a pool is open.");
    }
    puts(".hy");
}

static void roff_stat(const char *name, const char *kind, const char *help)
{
    puts(".TP");
    fputs(".B ", stdout);
    roff_text(name);
    printf("\n(%s) ", kind);
    roff_text(help);
    puts(".");
}

#define ROFF_STAT(name, kind, help) roff_stat(#name, #kind, help);

static void roff_stats(void)
{
    SPILLWAY_STATS_TABLE(ROFF_STAT)
}

#define ROFF_HISTOGRAM(name, help) roff_stat(#name, "histogram", help);

static void roff_histograms(void)
{
    SPILLWAY_HISTOGRAMS_TABLE(ROFF_HISTOGRAM)
}

/* A line "@SHOW FILE@": source text as it is. Returns whether it was one. */
static bool roff_show(const char *line)
{
    char path[256], text[LINE_BYTES];
    bool inside = false, shown = false;
    FILE *file;
    if (sscanf(line, "@SHOW %255[^@\n]@", path) != 1)
        return false;
    file = fopen(path, "r");
    puts(".PP\n.in +2\n.EX");
    while (file && fgets(text, sizeof(text), file)) {
        if (strcmp(text, "/* [end] */\n") == 0)
            inside = false;
        if (inside) {
            roff_text(text);
            shown = true;
        }
        if (strcmp(text, "/* [own] */\n") == 0)
            inside = true;
    }
    puts(".EE\n.in");
    if (file)
        (void)fclose(file);
    if (!shown) {
        fprintf(stderr, "mkman: %s: nothing to show\n", path);
        exit(EXIT_FAILURE);
    }
    return true;
}

static void man_line(const char *line, const char *version)
{
    static const char word[] = "@VERSION@";
    if (strcmp(line, "@OPTIONS@\n") == 0) {
        roff_options();
        return;
    }
    if (strcmp(line, "@STATS@\n") == 0) {
        roff_stats();
        return;
    }
    if (strcmp(line, "@HISTOGRAMS@\n") == 0) {
        roff_histograms();
        return;
    }
    if (strcmp(line, "@COMMANDS@\n") == 0) {
        roff_commands();
        return;
    }
    if (roff_poolstat(line) || roff_show(line))
        return;
    const char *at;
    while ((at = strstr(line, word))) {
        fwrite(line, 1, (size_t)(at - line), stdout);
        fputs(version, stdout);
        line = at + strlen(word);
    }
    fputs(line, stdout);
}

/* A cell of a Markdown table: a bar would end it. */
static void markdown_cell(const char *text)
{
    for (; *text; text++) {
        if (*text == '|' || *text == '<')
            putchar('\\');
        putchar(*text);
    }
}

static void markdown_options(void)
{
    puts("| variable | default | allowed | what it does |");
    puts("|---|---|---|---|");
    spw_option_info info;
    for (size_t i = 0; option_at(i, &info); i++) {
        printf("| `%s` | ", info.variable);
        markdown_cell(info.fallback);
        fputs(" | ", stdout);
        markdown_cell(info.allowed);
        fputs(" | ", stdout);
        markdown_cell(info.help);
        puts(info.live ? " (live) |" : " |");
    }
}

static void markdown_checks(void)
{
    puts("| check | looks at | how | without it | mended by | counted as |");
    puts("|---|---|---|---|---|---|");
    for (const struct doctor_check *check = doctor_checks; check->name; check++) {
        const char *cells[] = {check->looks_at, check->how, check->without, check->remedy};
        printf("| %s | ", check->name);
        for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
            markdown_cell(cells[i]);
            fputs(" | ", stdout);
        }
        for (const char *at = check->fallbacks; *at;) {
            int word = (int)strcspn(at, " ");
            printf("%s`%.*s`", at > check->fallbacks ? ", " : "", word, at);
            at += word;
            at += strspn(at, " ");
        }
        puts(" |");
    }
}

/* Returns whether both markers were there, in order. */
static bool fill_in(const char *marker_begin, const char *marker_end, void (*write)(void))
{
    char line[LINE_BYTES];
    bool inside = false, done = false;
    while (fgets(line, sizeof(line), stdin)) {
        if (inside && strcmp(line, marker_end) == 0) {
            inside = false;
            done = true;
        }
        if (!inside)
            fputs(line, stdout);
        if (!done && !inside && strcmp(line, marker_begin) == 0) {
            inside = true;
            write();
        }
    }
    if (!done)
        fprintf(stderr, "mkman: no lines %s ... %s", marker_begin, marker_end);
    return done;
}

int main(int argc, char **argv)
{
    char line[LINE_BYTES];
    if (argc == 3 && strcmp(argv[1], "man") == 0) {
        while (fgets(line, sizeof(line), stdin))
            man_line(line, argv[2]);
    } else if (argc == 2 && strcmp(argv[1], "options") == 0) {
        markdown_options();
    } else if (argc == 2 && strcmp(argv[1], "readme") == 0) {
        if (!fill_in(options_begin, options_end, markdown_options))
            return EXIT_FAILURE;
    } else if (argc == 3 && strcmp(argv[1], "completion") == 0) {
        if (!completion_of(argv[2]))
            return EXIT_FAILURE;
    } else if (argc == 2 && strcmp(argv[1], "notes") == 0) {
        if (!fill_in(checks_begin, checks_end, markdown_checks))
            return EXIT_FAILURE;
    } else {
        fputs("usage: mkman man VERSION | mkman options | mkman readme | mkman notes | "
              "mkman completion PROGRAM\n",
              stderr);
        return EXIT_FAILURE;
    }
    if (fflush(stdout) || ferror(stdout) || ferror(stdin)) {
        fprintf(stderr, "mkman: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
