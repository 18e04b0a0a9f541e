/* SPDX-License-Identifier: MIT */
#include "mkman_poolstat.h"

#include <stdio.h>
#include <string.h>

#include "mkman_roff.h"
#include "poolstat/args.h"
#include "poolstat/columns.h"
#include "poolstat/doctor.h"

static void roff_commands_of_poolstat(void)
{
    for (const struct poolstat_command *command = poolstat_commands; command->help; command++) {
        if (command->name == NULL)
            continue;
        fputs(".TP\n.B poolstat ", stdout);
        roff_text(command->name);
        putchar('\n');
        roff_sentence(command->help);
        if (command->text)
            roff_sentence(command->text);
    }
}

static void roff_options_of_poolstat(void)
{
    for (const struct poolstat_option *option = poolstat_options; option->name; option++) {
        fputs(".TP\n", stdout);
        if (option->letter != '\0')
            printf(".BR \\-%c \", \" \\-\\-", option->letter);
        else
            fputs(".BR \\-\\-", stdout);
        roff_text(option->name);
        if (option->value) {
            fputs(" \" \\fI", stdout);
            roff_text(option->value);
            fputs("\\fP\"", stdout);
        }
        putchar('\n');
        roff_sentence(option->help);
    }
}

static void roff_columns_of_poolstat(void)
{
    puts(".nh");
    for (const struct column *column = columns_table; column->name; column++) {
        fputs(".TP\n.B ", stdout);
        roff_text(column->name);
        putchar('\n');
        roff_sentence(column->help);
        if (column->stat) {
            fputs("From ", stdout);
            roff_text(column->stat);
            puts(".");
        }
    }
    puts(".hy");
}

static void roff_checks_of_doctor(void)
{
    for (const struct doctor_check *check = doctor_checks; check->name != NULL; check++) {
        fputs(".TP\n.B ", stdout);
        roff_text(check->name);
        putchar('\n');
        roff_sentence(check->looks_at);
        fputs("How: ", stdout);
        roff_text(check->how);
        fputs(".\nWithout: ", stdout);
        roff_text(check->without);
        fputs(".\nMended by: ", stdout);
        roff_text(check->remedy);
        puts(".");
    }
}

bool roff_poolstat(const char *line)
{
    if (strcmp(line, "@POOLSTAT_COMMANDS@\n") == 0)
        roff_commands_of_poolstat();
    else if (strcmp(line, "@POOLSTAT_OPTIONS@\n") == 0)
        roff_options_of_poolstat();
    else if (strcmp(line, "@POOLSTAT_COLUMNS@\n") == 0)
        roff_columns_of_poolstat();
    else if (strcmp(line, "@DOCTOR_CHECKS@\n") == 0)
        roff_checks_of_doctor();
    else
        return false;
    return true;
}
