/* SPDX-License-Identifier: MIT */
#include "mkman_commands.h"

#include <stdio.h>
#include <string.h>

#include "mkman_roff.h"
#include "spillbench/commands.h"

static void roff_arg(const struct arg *arg)
{
    fputs(".TP\n.BI \\-\\-", stdout);
    roff_text(arg->name);
    if (arg->kind != ARG_FLAG) {
        fputs(" \" ", stdout);
        roff_text(arg->kind == ARG_SETTING ? "VALUE" : arg->value);
        putchar('"');
    }
    putchar('\n');
    roff_sentence(args_help(arg));
    if (arg->kind == ARG_SETTING) {
        fputs("Allowed: ", stdout);
        roff_text(args_allowed(arg));
        puts(".");
    }
    if (arg->fallback) {
        fputs("Default: ", stdout);
        roff_text(arg->fallback);
        puts(".");
    }
}

static void roff_paragraphs(const char *text)
{
    char paragraph[4096];
    while (*text) {
        size_t length = strcspn(text, "\n");
        snprintf(paragraph, sizeof(paragraph), "%.*s", (int)length, text);
        puts(".PP");
        roff_text(paragraph);
        putchar('\n');
        text += length;
        text += strspn(text, "\n");
    }
}

void roff_commands(void)
{
    for (size_t i = 0; commands[i]; i++) {
        const struct arg *arg = commands[i]->args;
        fputs(".SS spillbench ", stdout);
        roff_text(commands[i]->name);
        putchar('\n');
        roff_sentence(commands[i]->help);
        roff_paragraphs(commands[i]->text);
        for (; arg && arg->name; arg++)
            roff_arg(arg);
    }
    puts(".SS Options of every command");
    for (const struct arg *arg = common_args; arg->name; arg++)
        roff_arg(arg);
}
