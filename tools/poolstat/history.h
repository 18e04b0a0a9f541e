/* SPDX-License-Identifier: MIT */
/* What pools did in the last looks, for charts. */
#ifndef SPILLWAY_TOOLS_POOLSTAT_HISTORY_H
#define SPILLWAY_TOOLS_POOLSTAT_HISTORY_H

#include "values.h"

enum { HISTORY_KEPT = 512 };

enum series {
    SERIES_RESIDENT, /* share of the budget, 0 to 1 */
    SERIES_MEMORY,   /* the same of the memory tier's capacity */
    SERIES_DISK,     /* the same of the disk tier's limit */
    SERIES_SPILL,    /* bytes per second */
    SERIES_FETCH,
    SERIES_WRITERS, /* how many wait */
    SERIES_READERS,
    SERIES_COUNT
};

struct history {
    dev_t dev;
    ino_t ino;
    bool seen;                                /* in the last round */
    unsigned count;                           /* of each series */
    float values[SERIES_COUNT][HISTORY_KEPT]; /* the newest last */
};

struct histories {
    struct history **items;
    size_t count, capacity;
};

/* Adds what each pool did since the look before, and forgets pools that are gone. */
void histories_add(struct histories *histories, const struct pools *pools);

/* NULL: nothing is known of the pool yet. */
const struct history *history_of(const struct histories *histories, const struct pool *pool);

void histories_close(struct histories *histories);

#endif
