/* SPDX-License-Identifier: MIT */
/*
 * What poolstat can show of a pool in one line: one table, from which come the lines, -o, --sort,
 * --check and the man page. Beside these, every row of the stats table is a column by its own name.
 */
#ifndef SPILLWAY_TOOLS_POOLSTAT_COLUMNS_H
#define SPILLWAY_TOOLS_POOLSTAT_COLUMNS_H

#include "values.h"

enum unit {
    UNIT_TEXT,
    UNIT_COUNT,
    UNIT_BYTES,
    UNIT_BYTES_PER_S,
    UNIT_PER_S,
    UNIT_PERCENT,
    UNIT_TIME, /* ns */
};

/* Where a column's value comes from; `stat` names rows. */
enum source {
    FROM_STAT,       /* the row `stat` */
    FROM_GROWTH,     /* what the row `stat` grew by, per second */
    FROM_TIME_SHARE, /* the same of a time: how much of each second, in per cent */
    FROM_SHARE,      /* the row `stat` in per cent of the row `whole` */
    FROM_P99,        /* of the histogram `stat` */
    FROM_ELSEWHERE,  /* computed by name */
};

struct column {
    const char *name, *title;
    enum unit unit;
    enum source source;
    const char *stat;
    const char *whole; /* the row that is 100 % of it; NULL: none */
    int width;         /* of numbers as they usually are; texts are to the left */
    const char *help;
};

/* Ended by one without a name. */
extern const struct column columns_table[];

/* What lines show without -o. */
extern const char columns_default[];

enum { COLUMNS_MAX = 64, VALUE_TEXT = 256 };

struct columns {
    const struct column *items[COLUMNS_MAX];
    struct column stats[COLUMNS_MAX]; /* those made of rows of the stats table */
    char names[COLUMNS_MAX][PAGE_NAME_BYTES];
    unsigned count;
};

/* A column by its name, or a row of the stats table of this library's version or of `pools`. The
 * second is made in `*made`, with a copy of the name in `name`. NULL: there is none. */
const struct column *column_find(const char *name, const struct pools *pools, struct column *made,
                                 char made_name[PAGE_NAME_BYTES]);

/* Names with commas between, added to `out`. Returns 0, or -EINVAL and the bad name in `bad`. */
int columns_parse(const char *names, const struct pools *pools, struct columns *out,
                  char bad[PAGE_NAME_BYTES]);

struct value {
    bool known;
    bool idle;      /* not known, since nothing happened that could be measured */
    double number;  /* 0 for texts */
    uint64_t count; /* the same where it is whole; else rounded */
    uint64_t whole; /* what 100 % is; 0: nothing */
    char text[VALUE_TEXT];
};

void column_value(const struct column *column, const struct pool *pool, struct value *out);

/* For people; `exact`: to the last digit. "-" where it is not known. Returns `out`. */
const char *column_text(const struct column *column, const struct value *value, bool exact,
                        char out[VALUE_TEXT]);

#endif
