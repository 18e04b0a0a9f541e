/* SPDX-License-Identifier: MIT */
/* One expression of --check: "resident<90%". */
#ifndef SPILLWAY_TOOLS_POOLSTAT_CHECK_H
#define SPILLWAY_TOOLS_POOLSTAT_CHECK_H

#include "columns.h"

enum check_operator {
    CHECK_BELOW,
    CHECK_AT_MOST,
    CHECK_ABOVE,
    CHECK_AT_LEAST,
    CHECK_EQUAL,
    CHECK_OTHER
};

enum check_result { CHECK_HOLDS, CHECK_FAILS, CHECK_NOT_KNOWN };

struct check {
    const char *text; /* as it was given */
    char name[PAGE_NAME_BYTES];
    enum check_operator operator;
    double limit; /* bytes, ns, per cent or a number */
    bool percent;
};

/* `text` must live as long as the check. Returns 0 or -EINVAL. */
int check_parse(const char *text, struct check *out);

enum check_result check_judge(const struct check *check, const struct column *column,
                              const struct value *value);

#endif
