/* SPDX-License-Identifier: MIT */
/* A line for each pool, as vmstat has it. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../common/help.h"
#include "show.h"

enum { HEADER_PERIOD = 20 }; /* lines, where the terminal does not say how high it is */

static int width_of(const struct column *column)
{
    int title = (int)strlen(column->title);

    return title > column->width ? title : column->width;
}

/* The last column of texts is not filled up. */
static void print_cell(const struct column *column, const char *text, bool last)
{
    int width = width_of(column);

    if (column->unit != UNIT_TEXT)
        printf("%*s", width, text);
    else if (last)
        fputs(text, stdout);
    else
        printf("%-*s", width, text);
    putchar(last ? '\n' : ' ');
}

static void print_header(const struct columns *columns)
{
    for (unsigned i = 0; i < columns->count; i++)
        print_cell(columns->items[i], columns->items[i]->title, i + 1 == columns->count);
}

static void print_line(const struct columns *columns, const struct pool *pool, bool exact)
{
    struct value value;
    char text[VALUE_TEXT];

    for (unsigned i = 0; i < columns->count; i++) {
        column_value(columns->items[i], pool, &value);
        column_text(columns->items[i], &value, exact, text);
        print_cell(columns->items[i], text, i + 1 == columns->count);
    }
}

/* So that a header is always to be seen; 0: once is enough. */
static unsigned header_period(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 4)
        return HEADER_PERIOD;
    return size.ws_row - 2U;
}

static void print_round(const struct session *session, const struct columns *columns,
                        unsigned *until_header)
{
    const struct args *args = session->args;

    for (size_t i = 0; i < session->pools.count; i++) {
        if (!args->no_header && *until_header == 0) {
            unsigned period = header_period();

            print_header(columns);
            *until_header = period > 0 ? period : UINT32_MAX;
        }
        *until_header -= *until_header != UINT32_MAX && *until_header > 0;
        print_line(columns, &session->pools.items[i], args->bytes);
    }
}

int show_lines(const struct args *args)
{
    struct session session;
    struct columns columns = {.count = 0};
    char bad[PAGE_NAME_BYTES], unseen[UNSEEN_BYTES];
    unsigned until_header = 0;
    int code = session_open(&session, args, false);

    if (code == EXIT_FINE && columns_parse(args->columns ? args->columns : columns_default,
                                           &session.pools, &columns, bad) != 0)
        code = command_line_refuse("--columns", bad,
                                   "columns with commas between: poolstat(1) lists them");
    if (code == EXIT_FINE)
        code = session_sort(&session);
    if (code == EXIT_FINE && session.pools.count == 0)
        fprintf(stderr, "poolstat: there are no pools. %s\n", session_unseen(&session, unseen));
    if (code == EXIT_FINE) {
        do {
            (void)session_sort(&session);
            print_round(&session, &columns, &until_header);
            session_forget_gone(&session);
        } while (session_again(&session));
    }
    session_close(&session);
    return show_end(code);
}

int show_end(int code)
{
    return help_finish("poolstat") ? code : EXIT_NOT_FOUND;
}
