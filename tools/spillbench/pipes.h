/* SPDX-License-Identifier: MIT */
/* Programs in a pipe: cat FILE | PROGRAM | consumer, timed, with the program's CPU. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_PIPES_H
#define SPILLWAY_TOOLS_SPILLBENCH_PIPES_H

#include <stdbool.h>
#include <stdint.h>

/* An unnamed file with `bytes` of the machine's own /usr as a tar stream, in the page cache.
 * Returns its descriptor, or -errno. */
int pipes_data(const char *dir, uint64_t bytes);

struct pipes_taken {
    double wall_s; /* from the start of the pipe, or of the consumer where that is late */
    double cpu_s;  /* of the program */
};

/* cat FILE | argv > /dev/null. Returns 0 or -errno; -ECHILD when a program failed. */
int pipes_through(int data, char *const argv[], struct pipes_taken *taken);

/*
 * cat FILE | argv | a consumer that starts `late_s` later, 0: once cat is done, and must find
 * `bytes`. -ETIMEDOUT where the program does not take all of the input.
 */
int pipes_late(int data, char *const argv[], uint64_t bytes, double late_s,
               struct pipes_taken *taken);

/* Runs a program with what it prints, errors too, going to the file. Returns 0 or -errno; -ECHILD
 * when it failed. */
int pipes_run(char *const argv[], const char *output);

/* Whether a program of that name is found. */
bool pipes_installed(const char *name);

#endif
