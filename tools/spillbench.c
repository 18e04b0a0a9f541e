/* SPDX-License-Identifier: MIT */
/* spillbench: measures what the library reaches beside what the device, and others, reach. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/help.h"
#include "spillbench/cleanup.h"
#include "spillbench/commands.h"
#include "spillbench/report.h"
#include "spillway/options.h"
#include "spillway/version.h"

enum { EXIT_USAGE = 2, INDENT = 12, LINE_BYTES = 1024 };

static int print_help(void)
{
    printf("Usage: spillbench COMMAND [OPTION]...\n"
           "\n"
           "Measures what Spillway reaches on this machine, beside what the device and other\n"
           "ways to the same end reach: in turns, with medians, minima and maxima.\n"
           "\n"
           "Commands:\n");
    for (size_t i = 0; commands[i]; i++) {
        printf("  %-*s", INDENT - 2, commands[i]->name);
        help_wrapped(commands[i]->help, INDENT, INDENT);
    }
    printf("\n"
           "'spillbench COMMAND --help' tells the options of a command, 'spillbench --version'\n"
           "the version.\n"
           "\n"
           "Exit status: 0 measured; 1 a measurement failed; 2 a refused command line or\n"
           "setting.\n");
    return help_finish("spillbench") ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_version(void)
{
    printf("spillbench (Spillway) %s\n", spw_version_text());
    return help_finish("spillbench") ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool pairs_are_good(const struct bench_common *common)
{
    if (common->pairs <= SERIES_MAX)
        return true;
    args_refuse_number("pairs", common->pairs, "64 at most");
    return false;
}

/* Refused variables are found now, not in the middle of a measurement. */
static bool environment_is_good(void)
{
    spw_options *options;
    if (spw_options_open(&options) != 0)
        return true;
    int err = spw_options_load(options);
    const char *message = spw_options_message(options);
    if (*message)
        fprintf(stderr, "spillbench: %s%s\n", err ? "" : "warning: ", message);
    spw_options_close(options);
    return err == 0;
}

static void join(char out[LINE_BYTES], int argc, char **argv)
{
    size_t used = (size_t)snprintf(out, LINE_BYTES, "spillbench");
    for (int i = 1; i < argc && used < LINE_BYTES; i++)
        used += (size_t)snprintf(out + used, LINE_BYTES - used, " %s", argv[i]);
}

/* What could not be written. */
static int tell(const char *path, int err)
{
    fprintf(stderr, "spillbench: cannot write '%s': %s\n", path, strerror(-err));
    return EXIT_FAILURE;
}

/* The plot first, since a note of the report may say why there is none. */
static int print_report(struct report *report, const struct bench_common *common)
{
    int code = EXIT_SUCCESS, err;
    if (common->plot && (err = report_svg(report, common->plot)) != 0)
        code = err == -EOPNOTSUPP ? EXIT_SUCCESS : tell(common->plot, err);
    if (common->json && (err = report_json(report, common->json)) != 0)
        code = tell(common->json, err);
    if (!common->json || strcmp(common->json, "-") != 0)
        report_text(report);
    return help_finish("spillbench") ? code : EXIT_FAILURE;
}

static int run(const struct command *command, const char *line, int argc, char **argv)
{
    struct bench_common *common = calloc(1, command->options_bytes);
    struct report *report = common ? report_open(line) : NULL;
    int code = EXIT_FAILURE;
    if (!report) {
        fputs("spillbench: out of memory\n", stderr);
        goto done;
    }
    int parsed = args_parse(command, argc, argv, common);
    code = parsed == ARGS_DONE ? EXIT_SUCCESS : EXIT_USAGE;
    if (parsed != ARGS_GO_ON || !pairs_are_good(common) || !environment_is_good())
        goto done;
    progress_quiet(common->quiet);
    code = command->run(common, report);
    progress_end();
    /* What was measured before something failed is worth showing. */
    if (code == EXIT_SUCCESS || !report_is_empty(report)) {
        int printed = print_report(report, common);
        code = code ? code : printed;
    }
done:
    report_close(report);
    free(common);
    return code;
}

int main(int argc, char **argv)
{
    char line[LINE_BYTES];
    if (argc < 2) {
        fputs("spillbench: which command? Try 'spillbench --help'\n", stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0)
        return print_help();
    if (strcmp(argv[1], "--version") == 0)
        return print_version();
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) {
            cleanup_install();
            signal(SIGPIPE, SIG_IGN); /* a reader that leaves early is a write error */
            join(line, argc, argv);
            return run(commands[i], line, argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "spillbench: '%.100s' is no command; try 'spillbench --help'\n", argv[1]);
    return EXIT_USAGE;
}
