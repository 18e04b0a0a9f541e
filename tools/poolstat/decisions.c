/* SPDX-License-Identifier: MIT */
/* The last decisions of a pool, and poolstat why. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/text.h"
#include "json_out.h"
#include "show.h"

static uint64_t number_of(const struct page_copy *copy, const struct copied_section *section,
                          uint32_t row, const char *name)
{
    return page_number(copy, section, row, page_field(copy, section, name));
}

static int oldest_first(const void *a, const void *b)
{
    const struct decision_value *one = a, *other = b;

    return (one->number > other->number) - (one->number < other->number);
}

struct decision_value *value_decisions(const struct page_copy *copy, size_t *count)
{
    const struct copied_section *section = page_section(copy, "decisions");
    struct decision_value *decisions, *to;

    *count = 0;
    if (section == NULL || section->rows == 0)
        return NULL;
    decisions = calloc(section->rows, sizeof(*decisions));
    for (uint32_t row = 0; decisions != NULL && row < section->rows; row++) {
        to = &decisions[*count];
        to->number = number_of(copy, section, row, "number");
        if (to->number == 0)
            continue;
        to->time_ns = number_of(copy, section, row, "time_ns");
        to->budget_before_bytes = number_of(copy, section, row, "budget_before_bytes");
        to->budget_bytes = number_of(copy, section, row, "budget_bytes");
        to->used_bytes = number_of(copy, section, row, "used_bytes");
        to->spill_bytes = number_of(copy, section, row, "spill_bytes");
        page_text(copy, section, row, page_field(copy, section, "regulator"), to->regulator,
                  sizeof(to->regulator));
        page_text(copy, section, row, page_field(copy, section, "action"), to->action,
                  sizeof(to->action));
        page_text(copy, section, row, page_field(copy, section, "reason"), to->reason,
                  sizeof(to->reason));
        (*count)++;
    }
    if (*count > 0)
        qsort(decisions, *count, sizeof(*decisions), oldest_first);
    return decisions;
}

static const char *size(uint64_t bytes, bool exact, char out[TEXT_NUMBER_BYTES])
{
    if (!exact)
        return text_size(out, bytes);
    (void)snprintf(out, TEXT_NUMBER_BYTES, "%" PRIu64, bytes);
    return out;
}

static void print_decision(const struct decision_value *decision, uint64_t now_ns, bool exact)
{
    uint64_t ago_ns = now_ns > decision->time_ns ? now_ns - decision->time_ns : 0;
    char ago[TEXT_NUMBER_BYTES], a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES];

    printf("  %8s ago  %s: %s: %s; ", text_clock(ago, ago_ns), decision->regulator,
           decision->action, decision->reason);
    if (decision->budget_before_bytes != decision->budget_bytes)
        printf("budget %s, before %s", size(decision->budget_bytes, exact, a),
               size(decision->budget_before_bytes, exact, b));
    else
        printf("budget %s as before", size(decision->budget_bytes, exact, a));
    printf(", %s in use", size(decision->used_bytes, exact, a));
    if (decision->spill_bytes > 0)
        printf(", %s to be spilled", size(decision->spill_bytes, exact, a));
    putchar('\n');
}

static void print_pool(const struct pool *pool, const struct args *args)
{
    const struct page_copy *copy = &pool->now;
    uint64_t total = value_stat_or_0(copy, "decisions_total");
    size_t count;
    struct decision_value *decisions = value_decisions(copy, &count);

    if (!args->no_header)
        printf("%s  process %ld (%s), %" PRIu64 " decision%s so far\n", copy->header.name,
               (long)pool->process.pid, pool->process.comm, total, total == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++)
        print_decision(&decisions[i], copy->taken_ns, args->bytes);
    free(decisions);
}

static void print_json(const struct session *session)
{
    struct json json;

    json_begin_document(&json, session);
    for (size_t i = 0; i < session->pools.count; i++) {
        json_open(&json, '{', false);
        json_put_owner(&json, &session->pools.items[i]);
        json_put_decisions(&json, &session->pools.items[i].now);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
}

int show_why(const struct args *args)
{
    struct session session;
    int code = session_open(&session, args, false);

    if (code == EXIT_FINE)
        code = session_sort(&session);
    if (code == EXIT_FINE && args->json)
        print_json(&session);
    for (size_t i = 0; code == EXIT_FINE && !args->json && i < session.pools.count; i++) {
        if (i > 0)
            putchar('\n');
        print_pool(&session.pools.items[i], args);
    }
    session_close(&session);
    return show_end(code);
}
