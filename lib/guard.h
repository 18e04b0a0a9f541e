/* SPDX-License-Identifier: MIT */
/* Tells a forked child from its parent by a page that the kernel wipes on fork. */
#ifndef SPILLWAY_GUARD_H
#define SPILLWAY_GUARD_H

#include <stdbool.h>

#include "os.h"

struct guard {
    const volatile unsigned *word; /* 1 in the process that opened it, 0 in a child */
};

/* Returns 0 or -errno (-ENOMEM; -EINVAL before Linux 4.14). */
int guard_open(struct guard *guard, const struct os *os);
void guard_close(struct guard *guard, const struct os *os);

static inline bool guard_is_child(const struct guard *guard)
{
    return *guard->word == 0;
}

#endif
