/* SPDX-License-Identifier: MIT */
#include "spillpipe_help.h"

#include <stdio.h>

#include "common/help.h"
#include "spillpipe_args.h"
#include "spillway/version.h"

enum { INDENT = 27 };

static const char head[] =
    "Usage: producer | spillpipe [OPTION]... [FILE]... | consumer\n"
    "\n"
    "Carries standard input, or each FILE in turn (- is standard input), to standard\n"
    "output. Input is taken as fast as it comes, however far the consumer falls\n"
    "behind: what does not fit into --memory goes to the tiers, sealed memory or\n"
    "scratch files, and is back before the consumer asks for it.\n"
    "\n"
    "  producer | spillpipe --memory 64M --dir /scratch | slow-consumer\n"
    "\n"
    "Where to keep the bytes (each also from the environment, see below):\n"
    "      --dir DIR            a scratch directory, one an option; when one of them\n"
    "                           cannot be used, spillpipe stops: it does not go on\n"
    "                           without it\n";

static const char tail[] =
    "\n"
    "What to tell:\n"
    "  -v, --verbose            a summary line at the end; -vv also what was chosen\n"
    "                           at start\n"
    "  -q, --quiet              errors only\n"
    "      --progress           show progress (default when standard error is a\n"
    "                           terminal; elsewhere one line a second)\n"
    "      --no-progress        show none\n"
    "      --stats FILE         the pool's counters as JSON at the end (- is standard\n"
    "                           error)\n"
    "      --help               this text\n"
    "      --version            the version\n"
    "\n"
    "Sizes take K, M, G or T (powers of 1024). A setting can also come from the\n"
    "environment: --memory-tier is SPILLWAY_MEMORY_TIER; the option wins, and an\n"
    "empty variable counts as unset.\n"
    "\n"
    "Exit status: 0 all bytes delivered; 1 an error, or bytes were lost; 2 a refused\n"
    "command line or setting; by SIGPIPE when the consumer went away.\n";

static void print_row(const spw_option_info *info)
{
    char flag[HELP_FLAG_BYTES], left[HELP_FLAG_BYTES + 16], more[512];
    help_flag(info, flag);
    snprintf(left, sizeof(left), "      --%s%s", flag, help_is_switch(info) ? "[=off]" : " VALUE");
    printf("%-*s", INDENT - 1, left);
    putchar(' ');
    help_wrapped(info->help, INDENT, INDENT);
    snprintf(more, sizeof(more), "[%s; default %s]", info->allowed, info->fallback);
    printf("%*s", INDENT, "");
    help_wrapped(more, INDENT, INDENT);
}

int help_print(void)
{
    spw_option_info info;
    fputs(head, stdout);
    for (size_t i = 0; help_row(i, &info) == 0; i++)
        print_row(&info);
    fputs(tail, stdout);
    return help_finish("spillpipe") ? EXIT_DELIVERED : EXIT_FAILED;
}

int help_version(void)
{
    printf("spillpipe (Spillway) %s\n", spw_version_text());
    return help_finish("spillpipe") ? EXIT_DELIVERED : EXIT_FAILED;
}
