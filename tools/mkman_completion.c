/* SPDX-License-Identifier: MIT */
/* What bash completes, from the tables that the tools' own parsers use. */
#include "mkman_completion.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/help.h"
#include "poolstat/args.h"
#include "poolstat/columns.h"
#include "poolstat/doctor.h"
#include "spillbench/commands.h"
#include "spillpipe_options.h"

static void begin(const char *program)
{
    printf("# bash completion for %s; made from its own tables\n"
           "_%s()\n"
           "{\n"
           "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
           "    local head=${current%%\"${current##*,}\"} words=\n"
           "    COMPREPLY=()\n"
           "    case $before in\n",
           program, program);
}

static void end(const char *program)
{
    printf("    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
           "}\n"
           "complete -F _%s %s\n",
           program, program);
}

static void names(const char *variable)
{
    printf("    %s)\n        compopt -o filenames\n"
           "        COMPREPLY=($(compgen -f -- \"$current\"))\n        return\n        ;;\n",
           variable);
}

/* ---- poolstat ---- */

static void completion_poolstat(void)
{
    spw_option_info info;

    begin("poolstat");
    fputs("    -o | --columns | --sort)\n"
          "        COMPREPLY=($(compgen -P \"$head\" -W \"",
          stdout);
    for (const struct column *column = columns_table; column->name; column++)
        printf("%s ", column->name);
    fputs("\" -- \"${current##*,}\"))\n        return\n        ;;\n", stdout);
    names("--textfile");
    fputs("    -p | --pool | -c | --check | -w | --warn | --wait)\n        return\n        ;;\n"
          "    esac\n"
          "    case \" ${COMP_WORDS[*]:1:COMP_CWORD - 1} \" in\n"
          "    *\" set \"*)\n        compopt -o nospace\n        words=\"",
          stdout);
    for (size_t i = 0; help_row(i, &info) == 0; i++) {
        if (info.live)
            printf("%s= ", info.name);
    }
    fputs("\"\n        ;;\n"
          "    *\" doctor \"*)\n        words=\"",
          stdout);
    for (const struct doctor_check *check = doctor_checks; check->name; check++)
        printf("%s ", check->name);
    fputs("\"\n        ;;\n    *)\n        words=\"", stdout);
    for (const struct poolstat_command *command = poolstat_commands; command->help; command++) {
        if (command->name)
            printf("%s ", command->name);
    }
    fputs("\"\n        ;;\n    esac\n    words+=\" ", stdout);
    for (const struct poolstat_option *option = poolstat_options; option->name; option++)
        printf("--%s ", option->name);
    puts("\"");
    end("poolstat");
}

/* ---- spillpipe ---- */

static void completion_spillpipe(void)
{
    spw_option_info info;
    char flag[HELP_FLAG_BYTES];

    begin("spillpipe");
    names("--dir | --dirs | --stats");
    fputs("    ", stdout);
    for (size_t i = 0; help_row(i, &info) == 0; i++) {
        help_flag(&info, flag);
        if (!help_is_switch(&info) && strcmp(flag, "dirs") != 0)
            printf("%s--%s", i > 0 ? " | " : "", flag);
    }
    fputs(")\n        return\n        ;;\n    esac\n    if [[ $current != -* ]]; then\n"
          "        compopt -o filenames\n        COMPREPLY=($(compgen -f -- \"$current\"))\n"
          "        return\n    fi\n    words=\"",
          stdout);
    for (size_t i = 0; help_row(i, &info) == 0; i++) {
        help_flag(&info, flag);
        printf("--%s ", flag);
    }
    for (size_t i = 0; i < SPILLPIPE_OPTIONS; i++)
        printf("--%s ", spillpipe_options[i].name);
    puts("\"");
    end("spillpipe");
}

/* ---- spillbench ---- */

static void flags(const struct arg *args)
{
    for (; args && args->name; args++)
        printf("--%s ", args->name);
}

static void completion_spillbench(void)
{
    begin("spillbench");
    names("--json | --plot | --markdown | --dir | --dirs");
    fputs("    esac\n    case ${COMP_WORDS[1]} in\n", stdout);
    for (size_t i = 0; commands[i]; i++) {
        printf("    %s)\n        words=\"", commands[i]->name);
        flags(commands[i]->args);
        puts("\"\n        ;;");
    }
    fputs("    esac\n    words+=\" ", stdout);
    flags(common_args);
    fputs("--help --version\"\n    if ((COMP_CWORD == 1)); then\n        words=\"--help --version ",
          stdout);
    for (size_t i = 0; commands[i]; i++)
        printf("%s ", commands[i]->name);
    puts("\"\n    fi");
    end("spillbench");
}

bool completion_of(const char *program)
{
    if (strcmp(program, "poolstat") == 0)
        completion_poolstat();
    else if (strcmp(program, "spillpipe") == 0)
        completion_spillpipe();
    else if (strcmp(program, "spillbench") == 0)
        completion_spillbench();
    else
        return false;
    return true;
}
