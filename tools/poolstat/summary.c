/* SPDX-License-Identifier: MIT */
/* A few lines for each pool: what it has, what it did, what it lacks. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../common/text.h"
#include "show.h"

enum { LABEL = 12 };

/* A line, begun with its label. */
static void label(const char *text)
{
    printf("  %-*s", LABEL, text);
}

static const char *bytes(const struct pool *pool, const char *row, char out[TEXT_NUMBER_BYTES])
{
    return text_size(out, value_stat_or_0(&pool->now, row));
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (unsigned)((double)part * 100 / (double)whole + 0.5) : 0;
}

static void print_title(const struct pool *pool)
{
    char user[64], up[TEXT_NUMBER_BYTES];
    const char *state = value_state(pool);

    printf("%s  process %ld (%s) of %s, %s, open for %s\n", pool->now.header.name,
           (long)pool->process.pid, pool->process.comm,
           value_user(&pool->process, user, sizeof(user)),
           pool->gone ? "a child of what opened it, which is gone" : state,
           text_clock(up, value_up_ns(&pool->now)));
}

static void print_budget(const struct pool *pool, bool exact)
{
    const struct page_copy *now = &pool->now;
    uint64_t used = value_stat_or_0(now, "used_bytes"),
             budget = value_stat_or_0(now, "budget_bytes");
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES], c[TEXT_NUMBER_BYTES];

    label("resident");
    if (exact)
        printf("%" PRIu64 " of %" PRIu64 " bytes (%u%%)\n", used, budget, percent(used, budget));
    else
        printf("%s of %s (%u%%), at most %s so far\n", text_size(a, used), text_size(b, budget),
               percent(used, budget), bytes(pool, "used_peak_bytes", c));
    label("");
    printf("payload %s, blocks %s, buffers %s", bytes(pool, "resident_foreign_bytes", a),
           bytes(pool, "entry_block_bytes", b), bytes(pool, "buffer_bytes", c));
    printf(" (warm %s, lent %s)\n", bytes(pool, "warm_bytes", a), bytes(pool, "lent_bytes", b));
}

static void print_tier(const struct pool *pool, const char *name, const char *stored,
                       const char *capacity, const char *held, const char *what)
{
    uint64_t whole = value_stat_or_0(&pool->now, capacity);
    uint64_t part = value_stat_or_0(&pool->now, stored);
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES], c[TEXT_NUMBER_BYTES];

    label(name);
    if (whole == 0)
        printf("none\n");
    else
        printf("%s of %s (%u%%), %s %s\n", text_size(a, part), text_size(b, whole),
               percent(part, whole), what, bytes(pool, held, c));
}

static void print_moved(const struct pool *pool, const char *name, const char *runs,
                        const char *moved, const char *disk, const char *memory)
{
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES], c[TEXT_NUMBER_BYTES];

    label(name);
    printf("%s in %" PRIu64 " runs: %s disk, %s memory\n", bytes(pool, moved, a),
           value_stat_or_0(&pool->now, runs), bytes(pool, disk, b), bytes(pool, memory, c));
}

static void print_waits(const struct pool *pool)
{
    const struct page_copy *now = &pool->now;
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES], c[TEXT_NUMBER_BYTES];

    label("waits");
    printf("writers %s, readers %s; %" PRIu64 " runs late, %" PRIu64 " wasted\n",
           text_seconds(a, value_stat_or_0(now, "writer_wait_ns_total")),
           text_seconds(b, value_stat_or_0(now, "reader_wait_ns_total")),
           value_stat_or_0(now, "late_runs_total"), value_stat_or_0(now, "wasted_runs_total"));
    if (value_stat_or_0(now, "oldest_request_ns") >= UINT64_C(1000000000)) {
        label("");
        printf("an I/O request is in flight for %s\n",
               text_seconds(c, value_stat_or_0(now, "oldest_request_ns")));
    }
}

/* Only what there is. */
static void print_troubles(const struct pool *pool)
{
    static const struct {
        const char *row, *what;
    } troubles[] = {
        {"lost_runs_total", "runs lost"},
        {"checksum_errors_total", "wrong checksums"},
        {"read_errors_total", "reads failed"},
        {"write_errors_total", "writes failed"},
        {"enospc_total", "times no space"},
        {"no_memory_total", "times no memory"},
        {"over_budget_total", "times over the budget"},
        {"full_total", "times every tier full"},
        {"quarantined_dirs", "scratch directories withdrawn"},
        {"memory_tier_misplaced_bytes", "bytes on other nodes than asked for"},
    };
    bool any = false;

    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        uint64_t count = value_stat_or_0(&pool->now, troubles[i].row);

        if (count == 0)
            continue;
        if (!any)
            label("troubles");
        printf("%s%" PRIu64 " %s", any ? ", " : "", count, troubles[i].what);
        any = true;
    }
    if (any)
        putchar('\n');
}

static void print_pool(const struct pool *pool, bool exact)
{
    char engine[32], fallbacks[512];
    const struct page_copy *now = &pool->now;

    print_title(pool);
    print_budget(pool, exact);
    print_tier(pool, "memory tier", "memory_tier_stored_bytes", "memory_tier_capacity_bytes",
               "memory_tier_bytes", "segments");
    print_tier(pool, "disk tier", "disk_stored_bytes", "disk_limit_bytes", "disk_file_bytes",
               "files");
    print_moved(pool, "spilled", "spilled_runs_total", "spilled_bytes_total",
                "spilled_disk_bytes_total", "spilled_memory_bytes_total");
    print_moved(pool, "fetched", "fetched_runs_total", "fetched_bytes_total",
                "fetched_disk_bytes_total", "fetched_memory_bytes_total");
    print_waits(pool);
    print_troubles(pool);
    label("queues");
    printf("%" PRIu64 " open, %" PRIu64 " runs spilled; engine %s\n",
           value_stat_or_0(now, "queues"), value_stat_or_0(now, "runs"),
           value_text(now, "engine", engine, sizeof(engine)));
    if (value_text(now, "fallbacks", fallbacks, sizeof(fallbacks))[0] != '\0') {
        label("fallbacks");
        printf("%s\n", fallbacks);
    }
}

int show_summary(const struct args *args)
{
    struct session session;
    char unseen[UNSEEN_BYTES];
    int code = session_open(&session, args, false);

    if (code == EXIT_FINE)
        code = session_sort(&session);
    for (size_t i = 0; code == EXIT_FINE && i < session.pools.count; i++) {
        if (i > 0)
            putchar('\n');
        print_pool(&session.pools.items[i], args->bytes);
    }
    if (code == EXIT_FINE && session.pools.count == 0)
        printf("There are no pools.\n");
    if (code == EXIT_FINE && session_unseen(&session, unseen)[0] != '\0')
        printf("%s%s\n", session.pools.count > 0 ? "\n" : "", unseen);
    session_close(&session);
    return show_end(code);
}
