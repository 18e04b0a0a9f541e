/* SPDX-License-Identifier: MIT */
/* --diff: what changed within an interval, row by row. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "show.h"

#define DIFF_INTERVAL_NS UINT64_C(1000000000)

static void print_row(const struct pool *pool, const struct copied_field *field, bool all)
{
    double seconds = (double)value_span_ns(pool) / 1e9;
    uint64_t now = value_stat_or_0(&pool->now, field->name);
    uint64_t then = value_stat_or_0(&pool->before, field->name);
    double change = now >= then ? (double)(now - then) : -(double)(then - now);

    if (now == then && !all)
        return;
    printf("  %-32s %20" PRIu64 " %20" PRIu64 " %+16.0f", field->name, then, now, change);
    if (field->kind == PAGE_COUNTER && seconds > 0)
        printf(" %16.1f", change / seconds);
    putchar('\n');
}

static void print_pool(const struct pool *pool, const struct args *args)
{
    const struct copied_section *section = page_section(&pool->now, "stats");

    if (value_before(pool) == NULL)
        return; /* it came in between */
    printf("%s  process %ld (%s), %.3f s\n", pool->now.header.name, (long)pool->process.pid,
           pool->process.comm, (double)value_span_ns(pool) / 1e9);
    if (!args->no_header)
        printf("  %-32s %20s %20s %16s %16s\n", "ROW", "BEFORE", "AFTER", "CHANGE", "PER SECOND");
    for (uint32_t i = 0; section != NULL && i < section->fields; i++) {
        const struct copied_field *field = &pool->now.fields[section->first_field + i];

        if (field->kind != PAGE_TEXT)
            print_row(pool, field, args->all);
    }
}

int show_diff(const struct args *args)
{
    struct session session;
    struct args more = *args;
    int code;

    if (more.interval_ns == 0)
        more.interval_ns = DIFF_INTERVAL_NS;
    more.count = args->count > 0 ? args->count + 1 : args->interval_ns > 0 ? 0 : 2;
    code = session_open(&session, &more, false);
    if (code == EXIT_FINE)
        code = session_sort(&session);
    while (code == EXIT_FINE && session_again(&session)) {
        (void)session_sort(&session);
        for (size_t i = 0; i < session.pools.count; i++)
            print_pool(&session.pools.items[i], args);
        session_forget_gone(&session);
    }
    session_close(&session);
    return show_end(code);
}
