/* SPDX-License-Identifier: MIT */
/* Text of the kernel line by line, since some of its files (mountinfo) have no useful bound. */
#ifndef SPILLWAY_LIB_LINES_H
#define SPILLWAY_LIB_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "os.h"

/* A line that is longer is passed over; those that matter here are short. */
enum { LINES_MAX_BYTES = 4096 };

struct lines {
    const struct os *os;
    int fd;
    bool skipping; /* inside a line that did not fit */
    size_t start, end;
    char buf[LINES_MAX_BYTES + 1];
};

/* Returns 0 or -errno of open. What cannot be read any more ends the lines. */
int lines_open(struct lines *lines, const struct os *os, const char *path);
void lines_close(struct lines *lines);

/* The next line without its newline, valid until the next call; NULL at the end. */
char *lines_next(struct lines *lines);

#endif
