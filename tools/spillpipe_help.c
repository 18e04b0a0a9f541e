/* SPDX-License-Identifier: MIT */
#include "spillpipe_help.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "spillpipe_args.h"
#include "spillway/version.h"

enum { INDENT = 27, HELP_COLUMNS = 80 };

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

void help_flag(const spw_option_info *info, char out[HELP_FLAG_BYTES])
{
    size_t n = 0;
    for (const char *at = info->name; *at && n + 1 < HELP_FLAG_BYTES; at++)
        out[n++] = *at == '_' ? '-' : *at;
    out[n] = '\0';
}

bool help_is_switch(const spw_option_info *info)
{
    return strcmp(info->allowed, "on or off") == 0;
}

int help_row(size_t index, spw_option_info *info)
{
    *info = (spw_option_info){.size = sizeof(*info)};
    return spw_options_describe(index, info);
}

/* A file, full disk or closed pipe that took not all of it is an error. */
static int finish(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_DELIVERED;
    fprintf(stderr, "spillpipe: cannot write to standard output: %s\n", strerror(errno));
    return EXIT_FAILED;
}

/* Words from column INDENT on, below HELP_COLUMNS; the line has `used` columns already. */
static void print_wrapped(const char *text, size_t used)
{
    while (*text) {
        size_t word = strcspn(text, " ");
        if (used > INDENT && used + word + 1 > HELP_COLUMNS) {
            printf("\n%*s", INDENT, "");
            used = INDENT;
        }
        used += (size_t)printf("%s%.*s", used > INDENT ? " " : "", (int)word, text);
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_row(const spw_option_info *info)
{
    char flag[HELP_FLAG_BYTES], left[HELP_FLAG_BYTES + 16], more[512];
    help_flag(info, flag);
    snprintf(left, sizeof(left), "      --%s%s", flag, help_is_switch(info) ? "[=off]" : " VALUE");
    printf("%-*s", INDENT - 1, left);
    putchar(' ');
    print_wrapped(info->help, INDENT);
    snprintf(more, sizeof(more), "[%s; default %s]", info->allowed, info->fallback);
    printf("%*s", INDENT, "");
    print_wrapped(more, INDENT);
}

int help_print(void)
{
    spw_option_info info;
    fputs(head, stdout);
    for (size_t i = 0; help_row(i, &info) == 0; i++)
        print_row(&info);
    fputs(tail, stdout);
    return finish();
}

int help_version(void)
{
    printf("spillpipe (Spillway) %s\n", spw_version_text());
    return finish();
}
