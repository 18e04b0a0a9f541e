/* SPDX-License-Identifier: MIT */
#include "spillpipe_args.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/help.h"
#include "spillpipe_help.h"
#include "spillpipe_options.h"
#include "spillway/errors.h"

enum {
    ROWS_MAX = 64, /* of the options table */
    MESSAGE_BYTES = 1024,
    FLAG_ROW = 1000, /* + row: a setting of the library */
};

/* The long options as getopt wants them, and the text that their names live in. */
struct table {
    struct option rows[SPILLPIPE_OPTIONS + ROWS_MAX + 1];
    char names[ROWS_MAX][HELP_FLAG_BYTES];
};

/* Refuses the command line in the shape of all messages; always false. */
__attribute__((format(printf, 2, 3))) static bool refuse(int *code, const char *format, ...)
{
    struct console console;
    char text[MESSAGE_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    console_init(&console, false, CONSOLE_NO_PROGRESS);
    console_say(&console, SPILLWAY_LOG_ERROR, "%s", text);
    *code = EXIT_USAGE;
    return false;
}

static void table_fill(struct table *table)
{
    spw_option_info info;
    size_t rows = 0;
    memset(table, 0, sizeof(*table));
    memcpy(table->rows, spillpipe_options, sizeof(spillpipe_options));
    for (; rows < ROWS_MAX && help_row(rows, &info) == 0; rows++) {
        help_flag(&info, table->names[rows]);
        table->rows[SPILLPIPE_OPTIONS + rows] = (struct option){
            .name = table->names[rows],
            .has_arg = help_is_switch(&info) ? optional_argument : required_argument,
            .val = FLAG_ROW + (int)rows,
        };
    }
}

/* Adds one directory to the list that the option `dirs` takes. */
static bool add_dir(struct args *args, const char *dir, int *code)
{
    if (!*dir)
        return refuse(code, "--dir needs the name of a directory");
    if (strchr(dir, ':'))
        return refuse(code, "--dir '%s': the name of a scratch directory cannot contain ':'", dir);
    size_t used = args->dirs ? strlen(args->dirs) : 0;
    char *joined = realloc(args->dirs, used + strlen(dir) + 2);
    if (!joined) {
        refuse(code, "out of memory");
        *code = EXIT_FAILED;
        return false;
    }
    if (used)
        joined[used++] = ':';
    memcpy(joined + used, dir, strlen(dir) + 1);
    args->dirs = joined;
    return true;
}

static bool set_row(struct args *args, int flag, const char *value, int *code)
{
    spw_option_info info;
    char name[HELP_FLAG_BYTES];
    help_row((size_t)(flag - FLAG_ROW), &info);
    int err = spw_options_set(args->options, info.name, value);
    if (err == 0)
        return true;
    help_flag(&info, name);
    /* The message starts with the setting's name; here it is an option. */
    const char *why = spw_options_message(args->options);
    size_t same = strlen(info.name);
    if (strncmp(why, info.name, same) == 0 && why[same] == ':')
        return refuse(code, "--%s%s", name, why + same);
    return refuse(code, "--%s: %s", name, *why ? why : spw_error_text(err));
}

static bool take_flag(struct args *args, int flag, int *code)
{
    switch (flag) {
    case 'v':
    case FLAG_VERBOSE:
        args->verbose++;
        return true;
    case 'q':
    case FLAG_QUIET:
        args->quiet = true;
        args->progress = CONSOLE_NO_PROGRESS;
        return true;
    case FLAG_DIR:
        return add_dir(args, optarg, code);
    case FLAG_PROGRESS:
        args->progress = isatty(STDERR_FILENO) ? CONSOLE_REDRAW : CONSOLE_APPEND;
        return true;
    case FLAG_NO_PROGRESS:
        args->progress = CONSOLE_NO_PROGRESS;
        return true;
    case FLAG_STATS:
        if (!*optarg)
            return refuse(code, "--stats needs the name of a file, or -");
        args->stats_path = optarg;
        return true;
    case FLAG_HELP:
        *code = help_print();
        return false;
    case FLAG_VERSION:
        *code = help_version();
        return false;
    default:
        return set_row(args, flag, optarg ? optarg : "on", code);
    }
}

/* getopt's '?' and ':' in words; it left the culprit in optopt or in front of optind. */
static bool refuse_flag(char **argv, int result, int *code)
{
    static const char hint[] = "try 'spillpipe --help'";
    char letter[] = {'-', (char)optopt, '\0'};
    const char *what = optopt > 0 && optopt < 256 ? letter : argv[optind - 1];
    if (result == ':')
        return refuse(code, "option '%s' needs a value; %s", what, hint);
    if (optopt >= 256)
        return refuse(code, "option '%s' takes no value; %s", what, hint);
    return refuse(code, "unknown or ambiguous option '%s'; %s", what, hint);
}

/* Where the present value comes from. */
static bool is_from(const struct args *args, const char *name, const char *origin)
{
    const char *have = "";
    spw_options_value(args->options, name, &have);
    return strcmp(have, origin) == 0;
}

/* --dir, -q and -vv are settings too; the last two yield to the setting itself where it is given.
 */
static bool apply_shorthands(struct args *args, int *code)
{
    if (args->dirs && spw_options_set(args->options, "dirs", args->dirs) != 0)
        return refuse(code, "--dir '%s': %s", args->dirs, spw_options_message(args->options));
    args->dirs_given = is_from(args, "dirs", "call") &&
                       strcmp(spw_options_value(args->options, "dirs", NULL), "auto") != 0;
    if (is_from(args, "log_level", "default")) {
        if (args->quiet)
            spw_options_set(args->options, "log_level", "error");
        else if (args->verbose > 1)
            spw_options_set(args->options, "log_level", "info");
    }
    return true;
}

/* What the environment had to say; judged after the command line, so that --help works in any case,
 * and since an option wins over its variable. */
struct environment {
    char message[MESSAGE_BYTES]; /* the first */
    bool refused[ROWS_MAX];      /* by row of the table */
    bool any_refused;
};

/* The value of a setting's variable; NULL when it is not set, or blank, which is the same. */
static const char *variable_value(const spw_option_info *info)
{
    const char *value = secure_getenv(info->variable);
    return value && value[strspn(value, " \t\n\v\f\r")] ? value : NULL;
}

/* Returns 0 or -errno. */
static int load_environment(struct args *args, struct environment *environment)
{
    spw_option_info info;
    int err = spw_options_open(&args->options);
    if (err)
        return err;
    spw_options_load(args->options);
    snprintf(environment->message, MESSAGE_BYTES, "%s", spw_options_message(args->options));
    for (size_t i = 0; i < ROWS_MAX && help_row(i, &info) == 0; i++) {
        environment->refused[i] = variable_value(&info) && !is_from(args, info.name, "environment");
        environment->any_refused = environment->any_refused || environment->refused[i];
    }
    return 0;
}

/*
 * One variable, now that all options are known. One that no option overrides must be good, also by
 * what --strict says; junk that an option overrides is told, and refused only when strict.
 */
static bool judge_variable(struct args *args, const spw_option_info *info, bool refused,
                           bool strict, struct console *console, int *code)
{
    const char *value = variable_value(info);
    char name[HELP_FLAG_BYTES];
    if (!value)
        return true;
    if (!is_from(args, info->name, "call")) {
        if (spw_options_set(args->options, info->variable, value) == 0)
            return true;
        return refuse(code, "%s", spw_options_message(args->options));
    }
    if (!refused)
        return true;
    help_flag(info, name);
    if (strict)
        return refuse(code, "%s: '%.100s' is not allowed, though --%s overrides it", info->variable,
                      value, name);
    console_say(console, SPILLWAY_LOG_WARN, "%s: '%.100s' is not allowed; --%s is taken",
                info->variable, value, name);
    return true;
}

static bool judge_environment(struct args *args, const struct environment *environment, int *code)
{
    bool strict = strcmp(spw_options_value(args->options, "strict", NULL), "on") == 0;
    struct console console;
    spw_option_info info;
    console_init(&console, args->quiet, CONSOLE_NO_PROGRESS);
    for (size_t i = 0; i < ROWS_MAX && help_row(i, &info) == 0; i++) {
        if (!judge_variable(args, &info, environment->refused[i], strict, &console, code))
            return false;
    }
    /* A name that nobody knows. */
    if (environment->any_refused || !*environment->message)
        return true;
    if (strict)
        return refuse(code, "%s", environment->message);
    console_say(&console, SPILLWAY_LOG_WARN, "%s", environment->message);
    return true;
}

bool args_parse(struct args *args, int argc, char **argv, int *code)
{
    static char standard_input[] = "-";
    static char *default_inputs[] = {standard_input, NULL};
    struct table table;
    struct environment environment = {0};
    int result;
    *args = (struct args){0};
    args->progress = isatty(STDERR_FILENO) ? CONSOLE_REDRAW : CONSOLE_NO_PROGRESS;
    int err = load_environment(args, &environment);
    if (err) {
        refuse(code, "%s", spw_error_text(err));
        *code = EXIT_FAILED;
        return false;
    }
    table_fill(&table);
    opterr = 0;
    while ((result = getopt_long(argc, argv, ":vq", table.rows, NULL)) != -1) {
        if (result == '?' || result == ':')
            return refuse_flag(argv, result, code);
        if (!take_flag(args, result, code))
            return false;
    }
    if (!apply_shorthands(args, code) || !judge_environment(args, &environment, code))
        return false;
    args->inputs = optind < argc ? argv + optind : default_inputs;
    args->input_count = optind < argc ? (size_t)(argc - optind) : 1;
    return true;
}

void args_fini(struct args *args)
{
    spw_options_close(args->options);
    free(args->dirs);
    *args = (struct args){0};
}
