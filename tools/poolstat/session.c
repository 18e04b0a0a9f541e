/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "session.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROC "/proc"

/* Looking through all processes costs more than looking at pools that are known. */
#define SEARCH_PERIOD_NS UINT64_C(1000000000)

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static pid_t pid_of(const char *text)
{
    char *end;
    long pid;

    if (!isdigit((unsigned char)*text))
        return 0;
    errno = 0;
    pid = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' && pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* ---- which pools ---- */

static bool is_called(const struct pool *pool, const char *wanted)
{
    return pid_of(wanted) > 0 ? pid_of(wanted) == pool->process.pid
                              : strcmp(wanted, pool->now.header.name) == 0 ||
                                    strcmp(wanted, pool->process.comm) == 0;
}

static bool is_wanted(const struct args *args, const struct pool *pool)
{
    for (unsigned i = 0; i < args->pool_count; i++) {
        if (is_called(pool, args->pools[i]))
            return true;
    }
    return args->pool_count == 0;
}

/* The first of -p that no pool is called; NULL: there is none. */
static const char *missing(const struct session *session)
{
    const struct args *args = session->args;

    for (unsigned i = 0; i < args->pool_count; i++) {
        size_t k = 0;

        while (k < session->pools.count && !is_called(&session->pools.items[k], args->pools[i]))
            k++;
        if (k == session->pools.count)
            return args->pools[i];
    }
    return NULL;
}

static bool names_only_pids(const struct args *args)
{
    for (unsigned i = 0; i < args->pool_count; i++) {
        if (pid_of(args->pools[i]) == 0)
            return false;
    }
    return args->pool_count > 0;
}

/* Why the pools of a process cannot be read. */
static void tell_hidden(pid_t pid)
{
    struct process process;
    char user[64];

    if (process_look(PROC, pid, &process) != 0)
        fprintf(stderr, "poolstat: process %ld cannot be looked into\n", (long)pid);
    else if (process.uid == geteuid())
        fprintf(stderr,
                "poolstat: process %ld (%s) is not dumpable (it has changed its user, has "
                "capabilities or asked for that), so that its pools can only be read by root: run "
                "as root\n",
                (long)pid, process.comm);
    else
        fprintf(stderr,
                "poolstat: process %ld (%s) belongs to user %s, so that you cannot read its pools: "
                "run as root, or as that user\n",
                (long)pid, process.comm, value_user(&process, user, sizeof(user)));
}

/* Says why -p named nothing. */
static int tell_missing(const struct session *session, const char *wanted, int err)
{
    char unseen[UNSEEN_BYTES];
    pid_t pid = pid_of(wanted);

    if (err == -EACCES || err == -EPERM)
        tell_hidden(pid);
    else if (err == -ESRCH)
        fprintf(stderr, "poolstat: there is no process %ld\n", (long)pid);
    else if (pid > 0 && session->pools.refused > 0)
        fprintf(stderr, "poolstat: %s\n", session->pools.why);
    else if (pid > 0)
        fprintf(stderr,
                "poolstat: process %ld has no pool with a stats page (SPILLWAY_STATS_PAGE=off, or "
                "none is open yet)\n",
                (long)pid);
    else
        fprintf(stderr, "poolstat: no pool is called '%.100s', and no process that has one. %s\n",
                wanted, session_unseen(session, unseen));
    return EXIT_NOT_FOUND;
}

static int find_pids(struct session *session)
{
    for (unsigned i = 0; i < session->args->pool_count; i++) {
        const char *wanted = session->args->pools[i];
        size_t before = session->pools.count;
        int err = pools_find(PROC, pid_of(wanted), &session->pools);

        if (session->rounds == 0 && (err || session->pools.count == before))
            return tell_missing(session, wanted, err);
    }
    return EXIT_FINE;
}

static int search(struct session *session)
{
    struct pools *pools = &session->pools;
    int err;

    session->searched_ns = now_ns();
    if (names_only_pids(session->args))
        return find_pids(session);
    err = pools_find(PROC, 0, pools);
    if (err) {
        fprintf(stderr, "poolstat: /proc cannot be read: %s\n", strerror(-err));
        return EXIT_NOT_FOUND;
    }
    for (size_t i = pools->count; i-- > 0;) {
        if (!is_wanted(session->args, &pools->items[i]))
            pools_remove(pools, i);
    }
    const char *wanted = session->rounds == 0 ? missing(session) : NULL;
    return wanted ? tell_missing(session, wanted, 0) : EXIT_FINE;
}

int session_open(struct session *session, const struct args *args, bool queues)
{
    int code;

    *session = (struct session){.args = args, .queues = queues};
    code = search(session);
    session->rounds = 1;
    session->next_ns = now_ns();
    return code;
}

void session_close(struct session *session)
{
    pools_close(&session->pools);
}

const char *session_unseen(const struct session *session, char out[UNSEEN_BYTES])
{
    const struct pools *pools = &session->pools;
    int used = 0;

    out[0] = '\0';
    if (pools->hidden > 0)
        used = snprintf(out, UNSEEN_BYTES, "Not readable: %u process%s of other users%s.",
                        pools->hidden, pools->hidden == 1 ? "" : "es",
                        geteuid() == 0 ? "" : "; run as root to see their pools");
    if (pools->refused > 0)
        snprintf(out + used, (size_t)(UNSEEN_BYTES - used), "%sRefused: %s.", used > 0 ? " " : "",
                 pools->why);
    return out;
}

/* ---- again ---- */

static void sleep_until(uint64_t ns)
{
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

void session_look(struct session *session)
{
    pools_refresh(PROC, &session->pools, session->queues);
    if (now_ns() - session->searched_ns >= SEARCH_PERIOD_NS)
        (void)search(session);
    session->rounds++;
}

void session_tick(struct session *session)
{
    uint64_t now = now_ns();

    session->next_ns += session->args->interval_ns;
    if (session->next_ns < now) /* we come late: no rounds in a hurry */
        session->next_ns = now;
}

bool session_again(struct session *session)
{
    const struct args *args = session->args;

    if (args->interval_ns == 0 || (args->count > 0 && session->rounds >= args->count))
        return false;
    session_tick(session);
    if (fflush(stdout) != 0)
        return false;
    sleep_until(session->next_ns);
    session_look(session);
    if (args->pool_count > 0 && session->pools.count == 0) {
        fputs("poolstat: nothing of that is left\n", stderr);
        return false;
    }
    return true;
}

void session_forget_gone(struct session *session)
{
    for (size_t i = session->pools.count; i-- > 0;) {
        if (session->pools.items[i].gone)
            pools_remove(&session->pools, i);
    }
}

/* ---- order ---- */

struct order {
    const struct column *column;
    bool smallest_first;
};

static int compare(const void *a, const void *b, void *context)
{
    const struct order *order = context;
    struct value one, other;
    int result;

    column_value(order->column, a, &one);
    column_value(order->column, b, &other);
    if (order->column->unit == UNIT_TEXT)
        return strcmp(one.text, other.text);
    result = (one.number > other.number) - (one.number < other.number);
    return order->smallest_first ? result : -result;
}

int session_sort(struct session *session)
{
    const char *name = session->args->sort;
    struct column made;
    char made_name[PAGE_NAME_BYTES];
    struct order order;

    if (name == NULL)
        return EXIT_FINE;
    order.smallest_first = *name == '+';
    order.column = column_find(name + order.smallest_first, &session->pools, &made, made_name);
    if (order.column == NULL)
        return command_line_refuse("--sort", name, "a column: poolstat(1) lists them");
    qsort_r(session->pools.items, session->pools.count, sizeof(struct pool), compare, &order);
    return EXIT_FINE;
}
