/* SPDX-License-Identifier: MIT */
/* Options of a subcommand: one table, from which come the parser, --help and the man page. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_ARGS_H
#define SPILLWAY_TOOLS_SPILLBENCH_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
    ARG_BYTES, /* uint64_t: 64MiB, 4G */
    ARG_COUNT, /* uint64_t: a plain number of at least 1 */
    ARG_SHARE, /* uint64_t: a percentage, 1 to 100 */
    ARG_TEXT,  /* const char *: anything but an empty text */
    ARG_FLAG,  /* bool: takes no value */
};

struct arg {
    const char *name;  /* without the dashes */
    const char *value; /* what --help calls it; NULL for ARG_FLAG */
    enum arg_kind kind;
    size_t offset;        /* of the member in the subcommand's struct */
    const char *fallback; /* the default, as a user would write it; NULL: zero */
    const char *help;
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

/*
 * Parses argv (the subcommand's name first) into `options`, defaults first. Returns 0; 1 when
 * --help was printed; or 2 after telling stderr what is wrong: the option, the value, what is
 * allowed.
 */
int args_parse(const struct command *command, int argc, char **argv, void *options);

#endif
