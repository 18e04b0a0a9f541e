/* SPDX-License-Identifier: MIT */
#include "args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/units.h"
#include "../common/help.h"
#include "doctor.h"
#include "spillway/version.h"

enum {
    OPTION_POOL,
    OPTION_COLUMNS,
    OPTION_SORT,
    OPTION_BYTES,
    OPTION_NO_HEADER,
    OPTION_ALL,
    OPTION_DIFF,
    OPTION_WATCH,
    OPTION_JSON,
    OPTION_PROMETHEUS,
    OPTION_TEXTFILE,
    OPTION_CHECK,
    OPTION_WARN,
    OPTION_WAIT,
    OPTION_HELP,
    OPTION_VERSION,
    OPTIONS,
    LONG_BASE = 256,
    INDENT = 27,
};

#define INTERVAL_MAX_NS (UINT64_C(86400) * 1000000000)
#define INTERVAL_MIN_NS UINT64_C(1000000)

const struct poolstat_option poolstat_options[] = {
    [OPTION_POOL] = {"pool", 'p', "PID|NAME",
                     "only pools of this process, of processes of this name, or of this name "
                     "themselves; may be given several times"},
    [OPTION_COLUMNS] = {"columns", 'o', "LIST",
                        "what lines show: names with commas between, see poolstat(1); rows of the "
                        "stats table are columns, too"},
    [OPTION_SORT] = {"sort", '\0', "COLUMN",
                     "order of the lines: largest first, texts from A to Z; with a + before the "
                     "name, smallest first"},
    [OPTION_BYTES] = {"bytes", 'b', NULL, "numbers to the last digit: bytes, nanoseconds"},
    [OPTION_NO_HEADER] = {"no-header", 'n', NULL, "no line of titles"},
    [OPTION_ALL] = {"all", 'a', NULL, "with --diff, also what did not change"},
    [OPTION_DIFF] = {"diff", 'd', NULL,
                     "what changed within the interval (1 s), row by row: before, after, per "
                     "second"},
    [OPTION_WATCH] = {"watch", 'W', NULL,
                      "a screen of all pools, with the details of one: bars and charts; q quits"},
    [OPTION_JSON] = {"json", 'j', NULL,
                     "everything as JSON: one document, or, with an interval, one a line"},
    [OPTION_PROMETHEUS] = {"prometheus", '\0', NULL, "everything as Prometheus reads it"},
    [OPTION_TEXTFILE] = {"textfile", '\0', "FILE",
                         "the same, into a file that is replaced at once, for node_exporter; with "
                         "an interval, again and again"},
    [OPTION_CHECK] = {"check", 'c', "EXPRESSION",
                      "whether it holds for every pool: a column, one of < <= > >= == !=, and a "
                      "value, which may have a unit (resident<90%, disk<10GiB, lost==0, "
                      "read_p99<20ms); if not, the exit code is 2; may be given several times"},
    [OPTION_WARN] = {"warn", 'w', "EXPRESSION", "the same; if not, the exit code is 1"},
    [OPTION_WAIT] = {"wait", '\0', "TIME",
                     "with set, how long to wait for an answer (5s): a process that is stopped has "
                     "none"},
    [OPTION_HELP] = {"help", '\0', NULL, "this text"},
    [OPTION_VERSION] = {"version", '\0', NULL, "the version"},
    [OPTIONS] = {.name = NULL},
};

int command_line_refuse(const char *what, const char *value, const char *allowed)
{
    fprintf(stderr, "poolstat: %s: '%.100s' is not allowed: give %s\n", what, value, allowed);
    return EXIT_USAGE;
}

static void print_option(const struct poolstat_option *option)
{
    char left[64];

    (void)snprintf(left, sizeof(left), "  %c%c%s --%s%s%s", option->letter ? '-' : ' ',
                   option->letter ? option->letter : ' ', option->letter ? "," : " ", option->name,
                   option->value ? " " : "", option->value ? option->value : "");
    printf("%-*s", INDENT - 1, left);
    if (strlen(left) >= INDENT)
        printf("\n%*s", INDENT - 1, "");
    putchar(' ');
    help_wrapped(option->help, INDENT, INDENT);
}

static int print_help(void)
{
    printf("Usage: poolstat [OPTION]... [INTERVAL [COUNT]]\n"
           "       poolstat COMMAND [OPTION]...\n"
           "       poolstat set [OPTION]... NAME=VALUE...\n"
           "\n"
           "Shows what pools of Spillway do, from outside: of all processes that this user\n"
           "may look into, whether they run, are stopped or hang.\n"
           "\n"
           "Without an interval it tells of each pool in a few lines; with one it adds a\n"
           "line each time, COUNT times: the first is of all the time since the pool was\n"
           "opened.\n"
           "\n"
           "Commands:\n");
    for (const struct poolstat_command *command = poolstat_commands; command->help; command++) {
        if (command->name == NULL)
            continue;
        printf("  %-*s ", INDENT - 3, command->name);
        help_wrapped(command->help, INDENT, INDENT);
    }
    printf("\nChecks of doctor:\n");
    for (const struct doctor_check *check = doctor_checks; check->name != NULL; check++) {
        printf("  %-*s ", INDENT - 3, check->name);
        help_wrapped(check->looks_at, INDENT, INDENT);
    }
    printf("\nOptions:\n");
    for (const struct poolstat_option *option = poolstat_options; option->name; option++)
        print_option(option);
    printf("\n"
           "INTERVAL is in seconds, or has a unit (250ms, 2s, 1min).\n"
           "\n"
           "Exit status: 0 shown; 1 no such pool, or it cannot be read; 2 a refused command\n"
           "line. With --check or --warn: 0 all hold; 1 a --warn does not; 2 a --check does\n"
           "not; 3 it cannot be said. doctor: 0 all is fine; 1 something falls back; 2\n"
           "something is broken; 3 it cannot be said. set: 0 all is set; 1 something\n"
           "is not: closed to it, no answer, not while open; 2 what was given is refused.\n");
    return help_finish("poolstat") ? EXIT_FINE : EXIT_NOT_FOUND;
}

static int print_version(void)
{
    printf("poolstat (Spillway) %s\n", spw_version_text());
    return help_finish("poolstat") ? EXIT_FINE : EXIT_NOT_FOUND;
}

/* ---- parsing ---- */

static int add_check(struct args *args, const char *text, bool warning)
{
    if (args->check_count == ARGS_CHECKS_MAX)
        return command_line_refuse(warning ? "--warn" : "--check", text, "32 at most");
    args->checks[args->check_count++] = (struct wanted_check){text, warning};
    return EXIT_FINE;
}

static bool parse_interval(const char *text, uint64_t *out);

static int take_wait(struct args *args, const char *value)
{
    if (!parse_interval(value, &args->wait_ns))
        return command_line_refuse("--wait", value,
                                   "seconds (0.001 to 86400), or a duration (250ms)");
    return EXIT_FINE;
}

static int add_pool(struct args *args, const char *text)
{
    if (*text == '\0' || args->pool_count == ARGS_POOLS_MAX)
        return command_line_refuse("--pool", text, "a PID or a name, 64 times at most");
    args->pools[args->pool_count++] = text;
    return EXIT_FINE;
}

static int take_option(struct args *args, int option, const char *value)
{
    switch (option) {
    case OPTION_POOL:
        return add_pool(args, value);
    case OPTION_COLUMNS:
        args->columns = value;
        break;
    case OPTION_SORT:
        args->sort = value;
        break;
    case OPTION_BYTES:
        args->bytes = true;
        break;
    case OPTION_NO_HEADER:
        args->no_header = true;
        break;
    case OPTION_ALL:
        args->all = true;
        break;
    case OPTION_DIFF:
        args->diff = true;
        break;
    case OPTION_WATCH:
        args->watch = true;
        break;
    case OPTION_JSON:
        args->json = true;
        break;
    case OPTION_PROMETHEUS:
        args->prometheus = true;
        break;
    case OPTION_TEXTFILE:
        if (*value == '\0')
            return command_line_refuse("--textfile", value, "a file");
        args->textfile = value;
        break;
    case OPTION_CHECK:
    case OPTION_WARN:
        return add_check(args, value, option == OPTION_WARN);
    case OPTION_WAIT:
        return take_wait(args, value);
    default:
        break;
    }
    return EXIT_FINE;
}

/* Seconds, or a duration with its unit. */
static bool parse_interval(const char *text, uint64_t *out)
{
    char *end;
    double seconds;

    if (units_parse_duration(text, out) != 0) {
        if (strspn(text, "0123456789.") != strlen(text) || *text == '\0')
            return false;
        seconds = strtod(text, &end);
        if (*end != '\0' || !(seconds <= 86400))
            return false;
        *out = (uint64_t)(seconds * 1e9);
    }
    return *out >= INTERVAL_MIN_NS && *out <= INTERVAL_MAX_NS;
}

static bool parse_count(const char *text, uint64_t *out)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *out > 0;
}

static const struct poolstat_command *command_find(const char *name)
{
    for (const struct poolstat_command *command = poolstat_commands; command->help; command++) {
        if (command->name != NULL && strcmp(command->name, name) == 0)
            return command;
    }
    return NULL;
}

static int take_names(struct args *args, int count, char **words)
{
    if (count > ARGS_NAMES_MAX)
        return command_line_refuse(args->command->name, words[ARGS_NAMES_MAX], "32 at most");
    for (int i = 0; i < count; i++)
        args->names[i] = words[i];
    return EXIT_FINE;
}

/* What is left of the command line: a command, an interval, a count. */
static int take_words(struct args *args, int count, char **words)
{
    if (count > 0 && command_find(words[0]) != NULL) {
        args->command = command_find(words[0]);
        words++;
        count--;
    }
    if (args->command->words != NULL)
        return take_names(args, count, words);
    if (count > 0 && !parse_interval(words[0], &args->interval_ns))
        return command_line_refuse(
            args->command->name ? "interval" : "command or interval", words[0],
            "seconds (0.001 to 86400), or a duration (250ms); --help lists commands");
    if (count > 1 && !parse_count(words[1], &args->count))
        return command_line_refuse("count", words[1], "a whole number of at least 1");
    if (count > 2)
        return command_line_refuse("command line", words[2], "an interval and a count at most");
    return EXIT_FINE;
}

/* Of these, each decides what is written: one at a time, and a command decides for itself, but for
 * JSON. */
static int check_forms(const struct args *args)
{
    unsigned forms = (unsigned)args->json + (unsigned)(args->prometheus || args->textfile) +
                     (unsigned)args->diff + (unsigned)args->watch +
                     (unsigned)(args->check_count > 0);

    if (forms == 0 || (forms == 1 && args->command->name == NULL))
        return EXIT_FINE;
    if (args->command->text_only) {
        fprintf(stderr, "poolstat: %s only writes text, and judges nothing\n", args->command->name);
        return EXIT_USAGE;
    }
    if (forms == 1 && args->json)
        return EXIT_FINE;
    if (args->command->name != NULL) {
        fprintf(stderr, "poolstat: %s can write text or --json, and judges no --check\n",
                args->command->name);
        return EXIT_USAGE;
    }
    fputs("poolstat: give only one of --json, --prometheus or --textfile, --diff, --watch, --check "
          "or --warn\n",
          stderr);
    return EXIT_USAGE;
}

static int refuse_flag(int result, char **argv)
{
    char letter[] = {'-', (char)optopt, '\0'};
    const char *what = optopt > 0 && optopt < LONG_BASE ? letter : argv[optind - 1];

    if (result == ':')
        fprintf(stderr, "poolstat: option '%s' needs a value\n", what);
    else if (optopt >= LONG_BASE)
        fprintf(stderr, "poolstat: option '%s' takes no value\n", what);
    else
        fprintf(stderr, "poolstat: unknown or ambiguous option '%s'; try 'poolstat --help'\n",
                what);
    return EXIT_USAGE;
}

static int option_of(int result)
{
    if (result >= LONG_BASE)
        return result - LONG_BASE;
    for (int i = 0; i < OPTIONS; i++) {
        if (poolstat_options[i].letter == result)
            return i;
    }
    return OPTIONS;
}

bool command_line_parse(struct args *args, int argc, char **argv, int *code)
{
    struct option rows[OPTIONS + 1] = {{.name = NULL}};
    char letters[2 * OPTIONS + 2] = ":";
    size_t used = 1;
    int result;

    for (int i = 0; i < OPTIONS; i++) {
        const struct poolstat_option *option = &poolstat_options[i];

        rows[i] = (struct option){.name = option->name,
                                  .has_arg = option->value ? required_argument : no_argument,
                                  .val = LONG_BASE + i};
        if (option->letter != '\0')
            letters[used++] = option->letter;
        if (option->letter != '\0' && option->value)
            letters[used++] = ':';
    }
    *args = (struct args){.command = &poolstat_commands[0]};
    *code = EXIT_FINE;
    opterr = 0;
    optind = 0;
    while (*code == EXIT_FINE && (result = getopt_long(argc, argv, letters, rows, NULL)) != -1) {
        if (result == '?' || result == ':') {
            *code = refuse_flag(result, argv);
            return false;
        }
        result = option_of(result);
        if (result == OPTION_HELP || result == OPTION_VERSION) {
            *code = result == OPTION_HELP ? print_help() : print_version();
            return false;
        }
        *code = take_option(args, result, optarg ? optarg : "");
    }
    if (*code == EXIT_FINE)
        *code = take_words(args, argc - optind, argv + optind);
    if (*code == EXIT_FINE)
        *code = check_forms(args);
    return *code == EXIT_FINE;
}
