/* SPDX-License-Identifier: MIT */
/* Between the script (fault.c) and the system that follows it (fault_os.c). */
#ifndef SPILLWAY_TESTS_FAULT_SCRIPT_H
#define SPILLWAY_TESTS_FAULT_SCRIPT_H

#include <stdbool.h>

#include "fault.h"

enum effect { EFFECT_NONE, EFFECT_FAIL, EFFECT_SHORT, EFFECT_CORRUPT };

struct rule {
    enum fault kind;
    enum effect effect;
    bool matches_argument;
    unsigned long argument;
    uint32_t after, times;
    int err;
    size_t max_bytes;
};

/* Counts a call, runs its hook, and says what shall happen to it. */
struct rule script_call(enum fault kind, struct fault_args args);

/* Each is true when the script has an answer, which is then in the last argument. */
bool script_path(const char *path, int *result); /* a descriptor or -errno */
bool script_clock(uint64_t *ns);
bool script_fs(struct os_fs *out);
bool script_dio(struct os_dio *out);
bool script_node(int *node);
bool script_processors(unsigned *count);
bool script_limit(int resource, uint64_t *soft);

/* Leak counts. */
int script_count_fd(int fd); /* counts a new descriptor unless it is negative; returns it */
void script_count_close(void);
void script_count_map(size_t len, int sign);

#endif
