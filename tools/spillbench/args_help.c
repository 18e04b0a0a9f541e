/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "../common/help.h"
#include "args.h"

enum { INDENT = 27, TEXT_INDENT = 0, LEFT_BYTES = 96, MORE_BYTES = 512 };

static void print_row(const struct arg *arg)
{
    char left[LEFT_BYTES], more[MORE_BYTES];
    const char *value = arg->kind == ARG_SETTING ? "VALUE" : arg->value;
    snprintf(left, sizeof(left), "      --%s%s%s", arg->name, value ? " " : "", value ? value : "");
    size_t used = (size_t)printf("%-*s", INDENT - 1, left);
    if (used >= INDENT) {
        putchar('\n');
        used = (size_t)printf("%*s", INDENT - 1, "");
    }
    putchar(' ');
    help_wrapped(args_help(arg), INDENT, INDENT);
    if (arg->kind == ARG_SETTING)
        snprintf(more, sizeof(more), "[%s%s%s]", args_allowed(arg),
                 arg->fallback ? "; default " : "", arg->fallback ? arg->fallback : "");
    else if (arg->fallback)
        snprintf(more, sizeof(more), "[default %s]", arg->fallback);
    else
        return;
    printf("%*s", INDENT, "");
    help_wrapped(more, INDENT, INDENT);
}

/* Paragraphs, each wrapped by itself. */
static void print_text(const char *text)
{
    char paragraph[2048];
    while (*text) {
        size_t length = strcspn(text, "\n");
        snprintf(paragraph, sizeof(paragraph), "%.*s", (int)length, text);
        help_wrapped(paragraph, TEXT_INDENT, 0);
        text += length;
        text += strspn(text, "\n");
        if (*text)
            putchar('\n');
    }
}

bool args_print_help(const struct command *command)
{
    const struct arg *arg;
    printf("Usage: spillbench %s [OPTION]...\n\n", command->name);
    print_text(command->text);
    if (command->args && command->args->name) {
        printf("\nOptions of %s:\n", command->name);
        for (arg = command->args; arg->name; arg++)
            print_row(arg);
    }
    printf("\nOptions of every subcommand:\n");
    for (arg = common_args; arg->name; arg++)
        print_row(arg);
    printf("      --help               this text\n"
           "\n"
           "The library's settings come from the environment as well (SPILLWAY_MEMORY and so\n"
           "on, see spillway(7)); an option wins.\n"
           "\n"
           "Exit status: 0 measured; 1 a measurement failed; 2 a refused command line or\n"
           "setting.\n");
    return help_finish("spillbench");
}
