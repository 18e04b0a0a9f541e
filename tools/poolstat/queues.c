/* SPDX-License-Identifier: MIT */
/* poolstat queues: the queues of each pool, the largest first. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../common/json.h"
#include "../common/text.h"
#include "json_out.h"
#include "show.h"

static const char *size(uint64_t bytes, bool exact, char out[TEXT_NUMBER_BYTES])
{
    if (!exact)
        return text_short(out, bytes);
    (void)snprintf(out, TEXT_NUMBER_BYTES, "%" PRIu64, bytes);
    return out;
}

static void print_queue(const struct pool *pool, const struct queue_value *queue, bool exact)
{
    char resident[TEXT_NUMBER_BYTES], paged[TEXT_NUMBER_BYTES];
    char extended[TEXT_NUMBER_BYTES], drained[TEXT_NUMBER_BYTES];

    printf("%7ld %-12s %9" PRIu64 " %9s %9s %9s %9s  %s\n", (long)pool->process.pid,
           pool->now.header.name, queue->entries, size(queue->resident_bytes, exact, resident),
           size(queue->paged_bytes, exact, paged),
           size(queue->extended_bytes_total, exact, extended),
           size(queue->drained_bytes_total, exact, drained),
           queue->name[0] != '\0' ? queue->name : "-");
}

static void print_pool(const struct pool *pool, const struct args *args)
{
    uint64_t open = value_stat_or_0(&pool->now, "queues");
    size_t count;
    struct queue_value *queues = value_queues(&pool->now, &count);

    for (size_t i = 0; i < count; i++)
        print_queue(pool, &queues[i], args->bytes);
    if (open > count && !args->no_header)
        printf("%7ld %-12s and %" PRIu64 " queues more, which have no row\n",
               (long)pool->process.pid, pool->now.header.name, open - count);
    free(queues);
}

static void print_round(const struct session *session)
{
    const struct args *args = session->args;
    struct json json;

    if (args->json) {
        json_begin_document(&json, session);
        for (size_t i = 0; i < session->pools.count; i++) {
            json_open(&json, '{', false);
            json_put_owner(&json, &session->pools.items[i]);
            json_put_queues(&json, &session->pools.items[i].now);
            json_close(&json, '}');
        }
        json_close(&json, ']');
        json_close(&json, '}');
        return;
    }
    if (!args->no_header)
        printf("%7s %-12s %9s %9s %9s %9s %9s  %s\n", "PID", "POOL", "ENTRIES", "RESIDENT", "PAGED",
               "EXTENDED", "DRAINED", "QUEUE");
    for (size_t i = 0; i < session->pools.count; i++)
        print_pool(&session->pools.items[i], args);
}

int show_queues(const struct args *args)
{
    struct session session;
    int code = session_open(&session, args, true);

    if (code == EXIT_FINE)
        code = session_sort(&session);
    if (code == EXIT_FINE) {
        do {
            print_round(&session);
            session_forget_gone(&session);
        } while (session_again(&session));
    }
    session_close(&session);
    return show_end(code);
}
