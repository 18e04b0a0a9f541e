/* SPDX-License-Identifier: MIT */
#include "args.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/units.h"
#include "../common/help.h"
#include "spillway/options.h"

enum { ROWS_MAX = 48, FLAG_ROW = 256, FLAG_HELP = FLAG_ROW + ROWS_MAX, ITEM_BYTES = 64 };

const struct arg common_args[] = {
    {"dir", "DIR", ARG_TEXT, offsetof(struct bench_common, dir), NULL,
     "where scratch files lie; default: where the library would put its own"},
    {"disk", "BYTES", ARG_BYTES, offsetof(struct bench_common, disk_bytes), "8GiB",
     "scratch space that a run may take at most"},
    {"pairs", "N", ARG_COUNT, offsetof(struct bench_common, pairs), "7",
     "rounds, in which the contenders take turns; medians are over these; 64 at most"},
    {"json", "FILE", ARG_TEXT, offsetof(struct bench_common, json), NULL,
     "write the report as JSON (- is standard output, and the text is left out)"},
    {"plot", "FILE", ARG_TEXT, offsetof(struct bench_common, plot), NULL,
     "write the curves as SVG; needs gnuplot"},
    {"quiet", NULL, ARG_FLAG, offsetof(struct bench_common, quiet), NULL,
     "no progress on standard error"},
    {.name = NULL},
};

const struct arg *args_row(const struct command *command, size_t index)
{
    const struct arg *arg = command->args;
    for (; arg && arg->name; arg++) {
        if (index-- == 0)
            return arg;
    }
    for (arg = common_args; arg->name; arg++) {
        if (index-- == 0)
            return arg;
    }
    return NULL;
}

/* The setting of the library behind ARG_SETTING. */
static bool setting_of(const struct arg *arg, spw_option_info *info)
{
    char flag[HELP_FLAG_BYTES];
    for (size_t i = 0; help_row(i, info) == 0; i++) {
        help_flag(info, flag);
        if (strcmp(flag, arg->name) == 0)
            return true;
    }
    return false;
}

const char *args_allowed(const struct arg *arg)
{
    spw_option_info info;
    switch (arg->kind) {
    case ARG_BYTES:
        return "bytes with a unit, of at least 1 (64KiB, 4G: K, M, G, T count in 1024s)";
    case ARG_COUNT:
        return "a whole number of at least 1";
    case ARG_SHARE:
        return "a share of 1% to 100%";
    case ARG_TEXT:
        return "a name that is not empty";
    case ARG_CHOICE:
        return arg->value;
    case ARG_BYTES_LIST:
        return "up to 32 amounts of bytes with commas between (4KiB,64KiB,1MiB)";
    case ARG_COUNT_LIST:
        return "up to 32 whole numbers of at least 1 with commas between (1,4,16)";
    case ARG_SETTING:
        return setting_of(arg, &info) ? info.allowed : "";
    case ARG_FLAG:
        break;
    }
    return "no value";
}

const char *args_help(const struct arg *arg)
{
    spw_option_info info;
    if (arg->kind == ARG_SETTING && setting_of(arg, &info))
        return info.help;
    return arg->help ? arg->help : "";
}

int args_refuse(const char *name, const char *value, const char *allowed)
{
    fprintf(stderr, "spillbench: --%s: '%.100s' is not allowed: give %s\n", name, value, allowed);
    return ARGS_WRONG;
}

int args_refuse_number(const char *name, uint64_t value, const char *allowed)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    return args_refuse(name, text, allowed);
}

static bool parse_count(const char *text, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return errno == 0 && *end == '\0' && value > 0;
}

static bool parse_bytes(const char *text, uint64_t *out)
{
    return units_parse_bytes(text, out) == 0 && *out > 0;
}

static bool parse_share(const char *text, uint64_t *out)
{
    unsigned percent;
    if (units_parse_percent(text, &percent) == 0) {
        *out = percent;
        return true;
    }
    return parse_count(text, out) && *out <= 100;
}

static bool parse_choice(const char *words, const char *text, unsigned *out)
{
    size_t length = strlen(text);
    for (unsigned i = 0; *words; i++) {
        size_t word = strcspn(words, "|");
        if (word == length && strncmp(words, text, word) == 0) {
            *out = i;
            return true;
        }
        words += word;
        words += *words == '|';
    }
    return false;
}

static bool parse_list(bool (*parse)(const char *, uint64_t *), const char *text,
                       struct arg_list *out)
{
    out->count = 0;
    for (;;) {
        char item[ITEM_BYTES];
        size_t length = strcspn(text, ",");
        if (length >= sizeof(item) || out->count == ARG_LIST_MAX)
            return false;
        memcpy(item, text, length);
        item[length] = '\0';
        if (!parse(item, &out->values[out->count++]))
            return false;
        if (text[length] == '\0')
            return true;
        text += length + 1;
    }
}

/* The library judges its own settings; its message starts with the setting's name. */
static bool check_setting(const struct arg *arg, const char *value)
{
    spw_options *options;
    spw_option_info info;
    bool good = false;
    if (setting_of(arg, &info) && spw_options_open(&options) == 0) {
        good = spw_options_set(options, info.name, value) == 0;
        spw_options_close(options);
    }
    return good;
}

/* Puts one value into the options. */
static bool store(const struct arg *arg, const char *value, void *options)
{
    void *at = (char *)options + arg->offset;
    switch (arg->kind) {
    case ARG_BYTES:
        return parse_bytes(value, at);
    case ARG_COUNT:
        return parse_count(value, at);
    case ARG_SHARE:
        return parse_share(value, at);
    case ARG_CHOICE:
        return parse_choice(arg->value, value, at);
    case ARG_BYTES_LIST:
        return parse_list(parse_bytes, value, at);
    case ARG_COUNT_LIST:
        return parse_list(parse_count, value, at);
    case ARG_SETTING:
        if (!check_setting(arg, value))
            return false;
        break;
    case ARG_TEXT:
        if (!*value)
            return false;
        break;
    case ARG_FLAG:
        *(bool *)at = true;
        return true;
    }
    *(const char **)at = value;
    return true;
}

/* getopt's '?' and ':' in words; it left the culprit in optopt or in front of optind. */
static int refuse_flag(const struct command *command, char **argv, int result)
{
    char letter[] = {'-', (char)optopt, '\0'};
    const char *what = optopt > 0 && optopt < FLAG_ROW ? letter : argv[optind - 1];
    const struct arg *arg =
        optopt >= FLAG_ROW ? args_row(command, (size_t)(optopt - FLAG_ROW)) : NULL;
    if (result == ':')
        fprintf(stderr, "spillbench: option '%s' needs a value: give %s\n", what,
                arg ? args_allowed(arg) : "one");
    else if (optopt >= FLAG_ROW)
        fprintf(stderr, "spillbench: option '%s' takes no value\n", what);
    else
        fprintf(stderr,
                "spillbench: unknown or ambiguous option '%s'; try 'spillbench %s --help'\n", what,
                command->name);
    return ARGS_WRONG;
}

int args_parse(const struct command *command, int argc, char **argv, void *options)
{
    struct option rows[ROWS_MAX + 2];
    const struct arg *arg;
    size_t count = 0;
    int result;
    memset(rows, 0, sizeof(rows));
    memset(options, 0, command->options_bytes);
    for (; count < ROWS_MAX && (arg = args_row(command, count)); count++) {
        rows[count] = (struct option){
            .name = arg->name,
            .has_arg = arg->kind == ARG_FLAG ? no_argument : required_argument,
            .val = FLAG_ROW + (int)count,
        };
        if (arg->fallback)
            store(arg, arg->fallback, options);
    }
    rows[count] = (struct option){.name = "help", .val = FLAG_HELP};
    opterr = 0;
    optind = 0; /* from the start, whatever an earlier call left */
    while ((result = getopt_long(argc, argv, ":", rows, NULL)) != -1) {
        if (result == '?' || result == ':')
            return refuse_flag(command, argv, result);
        if (result == FLAG_HELP)
            return args_print_help(command) ? ARGS_DONE : ARGS_WRONG;
        arg = args_row(command, (size_t)(result - FLAG_ROW));
        if (!store(arg, optarg ? optarg : "", options))
            return args_refuse(arg->name, optarg ? optarg : "", args_allowed(arg));
    }
    if (optind < argc) {
        fprintf(stderr, "spillbench: '%s' is too much: %s takes options only\n", argv[optind],
                command->name);
        return ARGS_WRONG;
    }
    return ARGS_GO_ON;
}
