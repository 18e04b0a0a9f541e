/* SPDX-License-Identifier: MIT */
/* --check and --warn: whether something holds for every pool, with the exit codes that monitoring
 * systems know. */
#include "check.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/units.h"
#include "show.h"

enum { LONGEST = 200 };

static const struct {
    const char *text;
    enum check_operator operator;
} operators[] = {
    {"<=", CHECK_AT_MOST}, {">=", CHECK_AT_LEAST}, {"==", CHECK_EQUAL}, {"!=", CHECK_OTHER},
    {"<", CHECK_BELOW},    {">", CHECK_ABOVE},     {"=", CHECK_EQUAL},
};

/* The unit decides what is meant: a share, bytes, a time, a plain number. */
static bool parse_limit(const char *text, struct check *out)
{
    size_t len = strlen(text), digits = strspn(text, "0123456789.");
    uint64_t number;
    char *end;

    if (digits == 0)
        return false;
    out->percent = text[len - 1] == '%';
    if (digits + out->percent < len) { /* a unit */
        if (units_parse_duration(text, &number) != 0 && units_parse_bytes(text, &number) != 0)
            return false;
        out->limit = (double)number;
        return true;
    }
    out->limit = strtod(text, &end);
    return end == text + digits && isfinite(out->limit);
}

static void copy_trimmed(char *out, size_t capacity, const char *from, size_t len)
{
    while (len > 0 && *from == ' ') {
        from++;
        len--;
    }
    while (len > 0 && from[len - 1] == ' ')
        len--;
    (void)snprintf(out, capacity, "%.*s", (int)len, from);
}

int check_parse(const char *text, struct check *out)
{
    size_t name_len = strcspn(text, "<>=!");
    const char *at = text + name_len;
    char limit[64];

    if (strlen(text) > LONGEST || name_len >= sizeof(out->name))
        return -EINVAL;
    *out = (struct check){.text = text};
    copy_trimmed(out->name, sizeof(out->name), text, name_len);
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        size_t len = strlen(operators[i].text);

        if (strncmp(at, operators[i].text, len) != 0)
            continue;
        out->operator= operators[i].operator;
        copy_trimmed(limit, sizeof(limit), at + len, strlen(at + len));
        return parse_limit(limit, out) ? 0 : -EINVAL;
    }
    return -EINVAL;
}

static bool compare(double value, enum check_operator operator, double limit)
{
    switch (operator) {
    case CHECK_BELOW:
        return value < limit;
    case CHECK_AT_MOST:
        return value <= limit;
    case CHECK_ABOVE:
        return value > limit;
    case CHECK_AT_LEAST:
        return value >= limit;
    case CHECK_EQUAL:
        return value == limit;
    case CHECK_OTHER:
    default:
        return value != limit;
    }
}

enum check_result check_judge(const struct check *check, const struct column *column,
                              const struct value *value)
{
    double number = value->number;

    if (value->idle) /* nothing took too long */
        return CHECK_HOLDS;
    if (column->unit == UNIT_TEXT || !value->known)
        return CHECK_NOT_KNOWN;
    if (check->percent && column->unit != UNIT_PERCENT) {
        if (value->whole == 0) /* a tier that there is none of is not full */
            return value->count == 0 && column->whole != NULL ? CHECK_HOLDS : CHECK_NOT_KNOWN;
        number = number * 100 / (double)value->whole;
    }
    return compare(number, check->operator, check->limit) ? CHECK_HOLDS : CHECK_FAILS;
}

/* ---- all checks, all pools ---- */

struct verdict {
    int code;        /* the worst so far */
    unsigned pools;  /* that were looked at */
    char first[512]; /* what was wrong first */
};

/* Worse codes win; that something is not known is worse than a warning only. */
static void worsen(struct verdict *verdict, int code, const char *text)
{
    static const int order[] = {
        [CHECK_FINE] = 0, [CHECK_WARNING] = 1, [CHECK_UNKNOWN] = 2, [CHECK_CRITICAL] = 3};

    if (order[code] > order[verdict->code]) {
        verdict->code = code;
        (void)snprintf(verdict->first, sizeof(verdict->first), "%s", text);
    }
}

static void judge_pool(const struct wanted_check *wanted, const struct check *check,
                       const struct column *column, const struct pool *pool,
                       struct verdict *verdict)
{
    struct value value;
    enum check_result result;
    char shown[VALUE_TEXT], text[512], share[32] = "";

    column_value(column, pool, &value);
    result = check_judge(check, column, &value);
    if (check->percent && value.whole > 0)
        (void)snprintf(share, sizeof(share), " (%.1f%%)", value.number * 100 / (double)value.whole);
    (void)snprintf(text, sizeof(text), "%s %s for pool %s of process %ld: it is %.100s%s",
                   check->text, result == CHECK_NOT_KNOWN ? "means nothing" : "does not hold",
                   pool->now.header.name, (long)pool->process.pid,
                   column_text(column, &value, false, shown), share);
    if (result == CHECK_NOT_KNOWN)
        worsen(verdict, CHECK_UNKNOWN, text);
    else if (result == CHECK_FAILS)
        worsen(verdict, wanted->warning ? CHECK_WARNING : CHECK_CRITICAL, text);
}

static int judge(const struct session *session, const struct wanted_check *wanted,
                 struct verdict *verdict)
{
    struct column made;
    char made_name[PAGE_NAME_BYTES];
    const struct column *column;
    struct check check;

    if (check_parse(wanted->text, &check) != 0) {
        command_line_refuse(wanted->warning ? "--warn" : "--check", wanted->text,
                            "a column, one of < <= > >= == !=, and a value (resident<90%)");
        return CHECK_UNKNOWN;
    }
    column = column_find(check.name, &session->pools, &made, made_name);
    if (column == NULL) {
        command_line_refuse(wanted->warning ? "--warn" : "--check", check.name,
                            "a column: poolstat(1) lists them");
        return CHECK_UNKNOWN;
    }
    for (size_t i = 0; i < session->pools.count; i++)
        judge_pool(wanted, &check, column, &session->pools.items[i], verdict);
    return CHECK_FINE;
}

static void print_verdict(const struct verdict *verdict)
{
    static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

    printf("SPILLWAY %s: ", words[verdict->code]);
    if (verdict->code == CHECK_FINE)
        printf("all holds for %u pool%s\n", verdict->pools, verdict->pools == 1 ? "" : "s");
    else
        printf("%s\n", verdict->first);
}

int show_check(const struct args *args)
{
    struct session session;
    struct args once = *args;
    struct verdict verdict = {.code = CHECK_FINE};
    int code;

    once.count = 2; /* rates are those of the interval, where there is one */
    code = session_open(&session, &once, false) == EXIT_FINE ? CHECK_FINE : CHECK_UNKNOWN;
    if (code == CHECK_FINE)
        (void)session_again(&session);
    verdict.pools = (unsigned)session.pools.count;
    if (code == CHECK_FINE && session.pools.count == 0)
        worsen(&verdict, CHECK_UNKNOWN, "there are no pools that can be seen");
    for (unsigned i = 0; i < args->check_count && code == CHECK_FINE; i++)
        code = judge(&session, &args->checks[i], &verdict);
    if (code == CHECK_FINE)
        print_verdict(&verdict);
    session_close(&session);
    return show_end(CHECK_FINE) != CHECK_FINE || code != CHECK_FINE ? CHECK_UNKNOWN : verdict.code;
}
