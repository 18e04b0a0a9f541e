/* SPDX-License-Identifier: MIT */
/* The options of spillbench's commands: every kind, and every table that there is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../tools/spillbench/args.h"
#include "../tools/spillbench/commands.h"
#include "harness.h"

enum { SAID_BYTES = 16384 };

struct given {
    struct bench_common common;
    uint64_t bytes, count, share;
    const char *text, *memory;
    bool flag;
    unsigned choice;
    struct arg_list sizes, numbers;
};

static const struct arg rows[] = {
    {"bytes", "BYTES", ARG_BYTES, offsetof(struct given, bytes), "1MiB", "some"},
    {"count", "N", ARG_COUNT, offsetof(struct given, count), NULL, "some"},
    {"share", "P", ARG_SHARE, offsetof(struct given, share), "50%", "some"},
    {"text", "WORD", ARG_TEXT, offsetof(struct given, text), NULL, "some"},
    {"flag", NULL, ARG_FLAG, offsetof(struct given, flag), NULL, "some"},
    {"choice", "red|blue|reddish", ARG_CHOICE, offsetof(struct given, choice), "blue", "some"},
    {"sizes", "BYTES,...", ARG_BYTES_LIST, offsetof(struct given, sizes), NULL, "some"},
    {"numbers", "N,...", ARG_COUNT_LIST, offsetof(struct given, numbers), "1,2", "some"},
    {"memory", NULL, ARG_SETTING, offsetof(struct given, memory), NULL, NULL},
    {.name = NULL},
};

static const struct command command = {
    .name = "try",
    .help = "some",
    .text = "One paragraph.\nAnother one.",
    .args = rows,
    .options_bytes = sizeof(struct given),
};

/* What is printed on a descriptor meanwhile. */
struct capture {
    int fd, saved;
    FILE *file;
};

static void capture_begin(struct capture *capture, int fd)
{
    fflush(NULL);
    capture->fd = fd;
    capture->file = tmpfile();
    cr_assert(capture->file != NULL);
    capture->saved = dup(fd);
    dup2(fileno(capture->file), fd);
}

static const char *capture_end(struct capture *capture)
{
    static char said[SAID_BYTES];
    fflush(NULL);
    dup2(capture->saved, capture->fd);
    close(capture->saved);
    rewind(capture->file);
    said[fread(said, 1, sizeof(said) - 1, capture->file)] = '\0';
    fclose(capture->file);
    return said;
}

static int parse_for(const struct command *of, void *out, const char *option)
{
    char name[64], copy[1024];
    snprintf(name, sizeof(name), "%s", of->name);
    snprintf(copy, sizeof(copy), "%s", option ? option : "");
    char *argv[] = {name, copy, NULL};
    return args_parse(of, option ? 2 : 1, argv, out);
}

static struct given parse(const char *option)
{
    struct given given;
    /* The text may lie in the arguments: only what is copied out counts afterwards. */
    cr_assert_eq(parse_for(&command, &given, option), ARGS_GO_ON, "%s", option);
    return given;
}

/* Refused, and the message has all of it: the option, the value, what is allowed. */
static void refuse(const char *option, const char *first, const char *second)
{
    struct given given;
    struct capture capture;
    capture_begin(&capture, STDERR_FILENO);
    int result = parse_for(&command, &given, option);
    const char *said = capture_end(&capture);
    cr_assert_eq(result, ARGS_WRONG, "%s", option);
    cr_assert(strstr(said, first) != NULL, "'%s' is not in '%s'", first, said);
    cr_assert(strstr(said, second) != NULL, "'%s' is not in '%s'", second, said);
}

Test(bench_args, defaults)
{
    struct given given = parse(NULL);
    cr_assert_eq(given.bytes, UINT64_C(1) << 20);
    cr_assert_eq(given.count, 0);
    cr_assert_eq(given.share, 50);
    cr_assert(given.text == NULL);
    cr_assert_not(given.flag);
    cr_assert_eq(given.choice, 1);
    cr_assert_eq(given.sizes.count, 0);
    cr_assert_eq(given.numbers.count, 2);
    cr_assert_eq(given.numbers.values[1], 2);
    cr_assert_eq(given.common.pairs, 7);
}

Test(bench_args, values)
{
    cr_assert_eq(parse("--bytes=1.5KiB").bytes, 1536);
    cr_assert_eq(parse("--count=18446744073709551615").count, UINT64_MAX);
    cr_assert_eq(parse("--share=70%").share, 70);
    cr_assert_eq(parse("--share=100").share, 100);
    cr_assert(parse("--flag").flag);
    cr_assert_eq(parse("--choice=red").choice, 0);
    cr_assert_eq(parse("--choice=reddish").choice, 2);
    struct given given = parse("--sizes=4K,1M,7");
    cr_assert_eq(given.sizes.count, 3);
    cr_assert_eq(given.sizes.values[0], 4096);
    cr_assert_eq(given.sizes.values[2], 7);
    cr_assert_eq(parse("--numbers=3").numbers.count, 1);
    cr_assert(parse("--memory=10%").memory != NULL);
    cr_assert(parse("--text=x").text != NULL);
    cr_assert_eq(parse("--pairs=3").common.pairs, 3);
    cr_assert(parse("--quiet").common.quiet);
}

Test(bench_args, refusals_name_option_value_and_what_is_allowed)
{
    refuse("--bytes=4X", "--bytes: '4X' is not allowed", "bytes with a unit");
    refuse("--bytes=0", "--bytes: '0'", "at least 1");
    refuse("--count=0", "--count: '0'", "at least 1");
    refuse("--count=-1", "--count: '-1'", "whole number");
    refuse("--count=3x", "--count: '3x'", "whole number");
    refuse("--count=18446744073709551616", "--count", "whole number");
    refuse("--share=0", "--share: '0'", "1% to 100%");
    refuse("--share=101%", "--share: '101%'", "1% to 100%");
    refuse("--text=", "--text: ''", "not empty");
    refuse("--choice=re", "--choice: 're'", "red|blue|reddish");
    refuse("--choice=", "--choice: ''", "red|blue|reddish");
    refuse("--choice=red|blue", "--choice", "red|blue|reddish");
    refuse("--sizes=", "--sizes: ''", "commas between");
    refuse("--sizes=4K,,5K", "--sizes: '4K,,5K'", "commas between");
    refuse("--sizes=4K,", "--sizes: '4K,'", "commas between");
    refuse("--numbers=1,0", "--numbers: '1,0'", "commas between");
    refuse("--numbers=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
           "--numbers", "up to 32");
    refuse("--memory=junk", "--memory: 'junk'", "tightest memory limit");
    refuse("--flag=on", "--flag", "takes no value");
    refuse("--bytes", "--bytes", "needs a value: give bytes");
    refuse("--nothing", "--nothing", "try --help'");
    refuse("-x", "-x", "--help");
    refuse("word", "'word' is too much", "options only");
}

Test(bench_args, help_tells_every_option)
{
    struct given given;
    struct capture capture;
    capture_begin(&capture, STDOUT_FILENO);
    int result = parse_for(&command, &given, "--help");
    const char *said = capture_end(&capture);
    cr_assert_eq(result, ARGS_DONE);
    for (const struct arg *arg = rows; arg->name; arg++) {
        char flag[64];
        snprintf(flag, sizeof(flag), "      --%s", arg->name);
        cr_assert(strstr(said, flag) != NULL, "%s", flag);
    }
    cr_assert(strstr(said, "      --pairs N") != NULL);
    cr_assert(strstr(said, "One paragraph.\n\nAnother one.\n") != NULL);
    cr_assert(strstr(said, "[default 1MiB]") != NULL);
    for (const char *line = said; *line; line += strcspn(line, "\n") + 1)
        cr_assert_leq(strcspn(line, "\n"), 80, "%.100s", line);
}

/* What the tables of all commands must keep. */
Test(bench_args, tables)
{
    for (size_t i = 0; commands[i]; i++) {
        const struct command *of = commands[i];
        void *out = malloc(of->options_bytes);
        const struct arg *arg, *other;
        cr_assert(out != NULL);
        cr_assert_geq(of->options_bytes, sizeof(struct bench_common));
        for (size_t row = 0; (arg = args_row(of, row)); row++) {
            char option[256];
            cr_assert(*args_help(arg), "%s --%s", of->name, arg->name);
            cr_assert(*args_allowed(arg), "%s --%s", of->name, arg->name);
            for (size_t before = 0; before < row && (other = args_row(of, before)); before++)
                cr_assert(strcmp(arg->name, other->name) != 0, "%s --%s", of->name, arg->name);
            if (!arg->fallback)
                continue;
            snprintf(option, sizeof(option), "--%s=%s", arg->name, arg->fallback);
            cr_assert_eq(parse_for(of, out, option), ARGS_GO_ON, "%s %s", of->name, option);
        }
        free(out);
    }
}
