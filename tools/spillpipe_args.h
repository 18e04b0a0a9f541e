/* SPDX-License-Identifier: MIT */
/* The command line. Every row of the library's options table is a long option. */
#ifndef SPILLPIPE_ARGS_H
#define SPILLPIPE_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "spillpipe_console.h"
#include "spillway/options.h"

enum {
    EXIT_DELIVERED = 0,
    EXIT_FAILED = 1, /* I/O error, out of resources, bytes lost */
    EXIT_USAGE = 2,
};

struct args {
    spw_options *options; /* environment first, command line over it */
    char **inputs;        /* part of argv; "-" is standard input */
    size_t input_count;   /* at least 1 */
    char *dirs;           /* all --dir, joined; NULL: none was given */
    bool dirs_given;      /* --dir or --dirs names some */
    unsigned verbose;
    bool quiet;
    enum console_progress progress;
    const char *stats_path; /* NULL: none; "-" is standard error */
};

/*
 * Fills in `*args`. Returns true to go on; false when the program is done
 * (--help, --version, or a refused command line), with `*code` to exit with.
 * Either way args_fini() is to be called.
 */
bool args_parse(struct args *args, int argc, char **argv, int *code);

void args_fini(struct args *args);

#endif
