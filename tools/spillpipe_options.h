/* SPDX-License-Identifier: MIT */
/* spillpipe's long options beside the library's settings. */
#ifndef SPILLPIPE_OPTIONS_H
#define SPILLPIPE_OPTIONS_H

#include <getopt.h>

/* No flag is below 256, where letters are; those of the library's settings are below this. */
enum {
    FLAG_DIR = 2000,
    FLAG_VERBOSE,
    FLAG_QUIET,
    FLAG_PROGRESS,
    FLAG_NO_PROGRESS,
    FLAG_STATS,
    FLAG_HELP,
    FLAG_VERSION,
};

enum { SPILLPIPE_OPTIONS = FLAG_VERSION - FLAG_DIR + 1 };

extern const struct option spillpipe_options[SPILLPIPE_OPTIONS];

#endif
