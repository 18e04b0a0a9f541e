/* SPDX-License-Identifier: MIT */
/* A program beside us, with a pipe to it or from it. It ends when we end, in whatever way. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_PROCESS_H
#define SPILLWAY_TOOLS_SPILLBENCH_PROCESS_H

#include <stdio.h>
#include <sys/types.h>

struct process {
    pid_t pid;
    FILE *pipe; /* its standard input, or its standard output */
    int slot;   /* of cleanup.h */
};

enum process_end { PROCESS_INPUT, PROCESS_OUTPUT };

/*
 * Starts argv[0], found in PATH, with `end` on the pipe and the other one, output or input, on
 * `other_fd`. Standard error goes nowhere. Descriptor `keep_fd` (-1: none) stays open in it.
 * `process` must stay where it is until process_wait(). Returns 0 or -errno.
 */
int process_start(struct process *process, enum process_end end, int other_fd, int keep_fd,
                  char *const argv[]);

/* Closes the pipe and waits. Returns 0 when it ended well, -ENOENT when there is no such program,
 * else -EIO. */
int process_wait(struct process *process);

#endif
