/* SPDX-License-Identifier: MIT */
/* Options of a subcommand: one table, from which come the parser, --help and the man page. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_ARGS_H
#define SPILLWAY_TOOLS_SPILLBENCH_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
    ARG_BYTES,      /* uint64_t: 64MiB, 4G; at least 1 */
    ARG_COUNT,      /* uint64_t: a plain number of at least 1 */
    ARG_SHARE,      /* uint64_t: a percentage, 1 to 100, the sign may be left out */
    ARG_TEXT,       /* const char *: anything but an empty text */
    ARG_FLAG,       /* bool: takes no value */
    ARG_CHOICE,     /* unsigned: which of the words in `value`, "slab|heap" */
    ARG_BYTES_LIST, /* struct arg_list: 4K,64K,1M */
    ARG_COUNT_LIST, /* struct arg_list: 1,2,4 */
    ARG_SETTING,    /* const char *: the library's setting of that name; its table has the help */
};

enum { ARG_LIST_MAX = 32 };

struct arg_list {
    uint64_t values[ARG_LIST_MAX];
    unsigned count;
};

struct arg {
    const char *name;  /* without the dashes */
    const char *value; /* what --help calls it; NULL for ARG_FLAG and ARG_SETTING */
    enum arg_kind kind;
    size_t offset;        /* of the member in the subcommand's struct */
    const char *fallback; /* the default, as a user would write it; NULL: zero, or none */
    const char *help;     /* NULL for ARG_SETTING */
};

/* What every subcommand takes; the first member of its own struct of options. */
struct bench_common {
    const char *dir;     /* scratch directory; NULL: as the library chooses */
    const char *json;    /* file for the report, "-" is stdout; NULL: none */
    const char *plot;    /* SVG file; NULL: none */
    uint64_t pairs;      /* interleaved rounds, A B A B; medians are over these */
    uint64_t disk_bytes; /* scratch space that a run may take at most */
    bool quiet;          /* no progress on stderr */
};

struct report;

/* A subcommand. */
struct command {
    const char *name, *help; /* one line */
    const char *text;        /* what it does, for --help and the man page; paragraphs */
    const struct arg *args;  /* its own, ended by one without a name */
    size_t options_bytes;    /* of its struct */
    /* Measures and fills the report. Returns 0, or an exit code after telling stderr why. */
    int (*run)(const void *options, struct report *report);
};

/* The common ones, ended by one without a name. */
extern const struct arg common_args[];

enum {
    ARGS_GO_ON = 0,
    ARGS_DONE,  /* --help was printed */
    ARGS_WRONG, /* stderr was told: the option, the value, what is allowed */
};

/* Parses argv (the subcommand's name first) into `options`, defaults first. Returns ARGS_*. */
int args_parse(const struct command *command, int argc, char **argv, void *options);

/* The row `index` of a subcommand: its own, then the common ones; NULL past the end. */
const struct arg *args_row(const struct command *command, size_t index);

/* What may be given for an option, for people: "bytes with a unit (...)". */
const char *args_allowed(const struct arg *arg);

/* What its --help says of an option. */
const char *args_help(const struct arg *arg);

/* Refuses a value that the table could not judge, in the same words; returns the exit code. */
int args_refuse(const char *name, const char *value, const char *allowed);
int args_refuse_number(const char *name, uint64_t value, const char *allowed);

/* --help of a subcommand on stdout. Returns whether all of it was taken. */
bool args_print_help(const struct command *command);

#endif
