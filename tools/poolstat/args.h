/* SPDX-License-Identifier: MIT */
/* The command line: one table of options and one of commands, from which come the parser, --help
 * and the man page. */
#ifndef SPILLWAY_TOOLS_POOLSTAT_ARGS_H
#define SPILLWAY_TOOLS_POOLSTAT_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_code {
    EXIT_FINE = 0,
    EXIT_NOT_FOUND = 1, /* no such pool, or it cannot be read; output that cannot be written */
    EXIT_USAGE = 2,
    /* With --check, --warn and doctor, as monitoring systems know them. */
    CHECK_FINE = 0,
    CHECK_WARNING = 1,
    CHECK_CRITICAL = 2,
    CHECK_UNKNOWN = 3,
};

enum { ARGS_POOLS_MAX = 64, ARGS_CHECKS_MAX = 32, ARGS_NAMES_MAX = 32 };

struct wanted_check {
    const char *text;
    bool warning; /* --warn */
};

struct args {
    const struct poolstat_command *command;
    const char *pools[ARGS_POOLS_MAX]; /* -p; none: all */
    unsigned pool_count;
    const char *columns;  /* NULL: the usual ones */
    const char *sort;     /* NULL: as they were found */
    const char *textfile; /* NULL: none */
    struct wanted_check checks[ARGS_CHECKS_MAX];
    unsigned check_count;
    const char *names[ARGS_NAMES_MAX + 1]; /* words behind a command that takes some; NULL ends */
    bool bytes, no_header, json, prometheus, diff, all, watch;
    uint64_t interval_ns; /* 0: none was given */
    uint64_t count;       /* 0: none was given */
    uint64_t wait_ns;     /* 0: none was given */
};

/* What poolstat can do; the first one has no name, and is what it does when none is given. */
struct poolstat_command {
    const char *name, *help;
    const char *text; /* for the man page; paragraphs */
    int (*run)(const struct args *args);
    bool judges;       /* its exit codes are those of a check */
    const char *words; /* what it takes instead of an interval; NULL: it takes one */
    bool text_only;    /* it knows no --json */
};

/* Ended by one without `help`. */
extern const struct poolstat_command poolstat_commands[];

struct poolstat_option {
    const char *name;
    char letter;       /* '\0': none */
    const char *value; /* NULL: it takes none */
    const char *help;
};

/* Ended by one without a name. */
extern const struct poolstat_option poolstat_options[];

/* Returns true to go on; false when the program is done, with `*code` to exit with. */
bool command_line_parse(struct args *args, int argc, char **argv, int *code);

/* Says on stderr what is refused: the option, the value, what is allowed. Returns EXIT_USAGE. */
int command_line_refuse(const char *what, const char *value, const char *allowed);

#endif
