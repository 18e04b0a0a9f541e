/* SPDX-License-Identifier: MIT */
/* What children of tests, made by fork(), end with. */
#ifndef SPILLWAY_TESTS_CHILD_H
#define SPILLWAY_TESTS_CHILD_H

#include <stdio.h>
#include <unistd.h>

/* A child leaves as another program, so that no tool looks for leaks in it. */
__attribute__((noreturn)) static inline void child_leaves(int code)
{
    char text[12];
    (void)snprintf(text, sizeof(text), "%d", code);
    execl("/bin/sh", "sh", "-c", "exit $0", text, (char *)NULL);
    _exit(125);
}

/* Assertions do not work in a child: it ends with the line that failed. */
#define CHILD_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "child, line %d: %s\n", __LINE__, #condition);                         \
            child_leaves(1);                                                                       \
        }                                                                                          \
    } while (0)

#endif
