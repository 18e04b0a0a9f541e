/* SPDX-License-Identifier: MIT */
#include "bars_table.h"

#include <stdlib.h>
#include <string.h>

static void *need(void *memory)
{
    if (!memory) {
        fputs("spillbench: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return memory;
}

void bars_table_add(struct bars_table *table, const char *what, const char *asked,
                    const char *reached, enum verdict verdict, const char *why)
{
    if (table->count == table->room) {
        table->room = table->room ? 2 * table->room : 32;
        table->lines = need(realloc(table->lines, table->room * sizeof(*table->lines)));
    }
    struct bars_line *line = &table->lines[table->count++];
    line->what = need(strdup(what));
    line->asked = need(strdup(asked));
    line->reached = need(strdup(reached));
    line->why = why ? need(strdup(why)) : NULL;
    line->verdict = verdict;
}

void bars_table_close(struct bars_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->lines[i].what);
        free(table->lines[i].asked);
        free(table->lines[i].reached);
        free(table->lines[i].why);
    }
    free(table->lines);
    memset(table, 0, sizeof(*table));
}

size_t bars_table_count(const struct bars_table *table, enum verdict verdict)
{
    size_t count = 0;

    for (size_t i = 0; i < table->count; i++)
        count += table->lines[i].verdict == verdict;
    return count;
}

void bars_table_report(const struct bars_table *table, struct report *report)
{
    static const char *const columns[] = {"what", "asked", "reached", "verdict"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_TEXT, UNIT_TEXT, UNIT_TEXT};
    struct table *rows = report_table(report, "bars", "Bars", 4, columns, units);

    for (size_t i = 0; i < table->count; i++) {
        const struct bars_line *line = &table->lines[i];
        row_begin(rows);
        cell_text(rows, "%s", line->what);
        cell_text(rows, "%s", line->asked);
        cell_text(rows, "%s", line->reached);
        cell_text(rows, "%s", verdict_name(line->verdict));
        if (line->why)
            row_remark(rows, "%s", line->why);
    }
}

/* A cell; what would end it is replaced. */
static void cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fputs(*text == '|' ? "/" : *text == '<' ? "&lt;" : (char[]){*text, '\0'}, out);
}

void bars_table_markdown(const struct bars_table *table, FILE *out)
{
    fputs("| what | asked | reached | |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < table->count; i++) {
        const struct bars_line *line = &table->lines[i];
        fputs("| ", out);
        cell(out, line->what);
        fputs(" | ", out);
        cell(out, line->asked);
        fputs(" | ", out);
        cell(out, line->reached);
        fprintf(out, " | %s", verdict_name(line->verdict));
        if (line->why) {
            fputs(": ", out);
            cell(out, line->why);
        }
        fputs(" |\n", out);
    }
}
