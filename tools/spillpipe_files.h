/* SPDX-License-Identifier: MIT */
/* The descriptors that spillpipe reads and writes: checked before anything flows. */
#ifndef SPILLPIPE_FILES_H
#define SPILLPIPE_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "spillpipe_args.h"

/*
 * Standard descriptors that are closed get /dev/null, so that no file opened later takes their
 * place; remembers which they were. First thing in the program. Returns false when not possible.
 */
bool files_claim_standard(bool closed[3]);

/* As many descriptors as the hard limit allows. */
void files_raise_limit(void);

/*
 * Looks at every input and at standard output: there, readable or writable, not
 * a directory, no input the same file as the output. Says what is wrong, returns true when all
 * is well.
 */
bool files_check(const struct args *args, const bool closed[3], struct console *console);

/* Opens an input for reading ("-" is standard input, not to be closed). Returns it or -errno. */
int files_open(const char *path);
void files_close(int fd);

/* How an input is called in messages. */
const char *files_name(const char *path);

/*
 * Makes a pipe up to 1 MiB large, where `fd` is a pipe and the system lets us. Returns the
 * pipe's size, 0 when it is no pipe.
 */
size_t files_widen_pipe(int fd);

/* Waits until a non-blocking descriptor is ready for `events` (see poll(2)). */
void files_wait(int fd, short events);

#endif
