/* SPDX-License-Identifier: MIT */
/*
 * Somebody else's policies, with nothing but the public headers: one for the writer of a queue,
 * and one for a whole pool. What lies between the marks is shown in spillway(7).
 */
#include <spillway/spillway.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* [own] */
struct lean {               /* a policy for the writer of one queue */
    spw_policy policy;      /* first */
    spw_strategy *strategy; /* where its runs go; the policy owns it */
};

static void lean_apply(spw_policy *policy, spw_view *view)
{
    spw_strategy *strategy = ((struct lean *)policy)->strategy;
    spw_cursor cursor = spw_view_seek(view, 1 << 20); /* 1 MiB stays next to the reader */
    while (spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_NONE && !spw_view_should_pause(view))
        if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_HANDLE)
            spw_cursor_skip(&cursor); /* has gone already */
        else if (spw_view_spill(view, &cursor, 1 << 20, strategy) <= 0)
            return; /* no room now, or the last entry */
}

static void lean_close(spw_policy *policy)
{
    struct lean *lean = (struct lean *)policy;
    lean->strategy->ops->close(lean->strategy);
    free(lean);
}

static const spw_policy_ops lean_ops = {
    .size = sizeof(lean_ops), .name = "lean", .apply = lean_apply, .close = lean_close};

struct lend {                /* a policy for the pool: a regulator */
    spw_regulator regulator; /* first */
    atomic_int needed;       /* another part of the service is short of memory */
};

static void lend_apply(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders)
{
    int needed = atomic_load(&((struct lend *)regulator)->needed);
    uint64_t half = outlook->ceiling_bytes / 2, want = needed ? half : outlook->ceiling_bytes;
    if (want == outlook->budget_bytes)
        return;
    orders->budget_bytes = want;
    orders->trim_bytes = needed ? outlook->warm_bytes : 0;
    orders->action = needed ? "lend" : "return";
    snprintf(orders->reason, sizeof orders->reason, "%s: %llu bytes used",
             needed ? "others need half" : "nobody needs it",
             (unsigned long long)outlook->used_bytes);
}

static void lend_close(spw_regulator *regulator)
{
    free(regulator);
}

static const spw_regulator_ops lend_ops = {
    .size = sizeof(lend_ops), .name = "lend", .apply = lend_apply, .close = lend_close};
/* [end] */

static spw_writer *writer;
static spw_reader *reader;

/* A queue whose writer has the lean policy; its reader fetches when it gets there. */
static int open_queue(spw_pool *pool)
{
    struct lean *lean = calloc(1, sizeof *lean);
    if (!lean || spw_pool_strategy(pool, &lean->strategy))
        return -1;
    lean->policy.ops = &lean_ops;
    spw_queue_options options = {.size = sizeof options, .account = spw_pool_account(pool)};
    options.writer_policy = &lean->policy;
    return spw_queue_open(&options, &writer, &reader);
}

/* Waits, for 10 s at most, until the budget is so large, and so much was spilled at least. */
static int wait_for(spw_pool *pool, uint64_t budget_bytes, uint64_t spilled_bytes)
{
    for (int i = 0; i < 1000; i++) {
        spw_stats stats = {.size = sizeof stats};
        if (spw_pool_stats(pool, &stats))
            return -1;
        if (stats.budget_bytes == budget_bytes && stats.spilled_bytes_total >= spilled_bytes)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return -1;
}

/* Lends and takes back; what was decided can be read. */
static int lend_and_return(spw_pool *pool)
{
    struct lend *lend = calloc(1, sizeof *lend);
    spw_governor *governor = spw_pool_governor(pool);
    spw_stats stats = {.size = sizeof stats};
    spw_decision decisions[SPILLWAY_DECISIONS_KEPT];
    if (!lend || spw_pool_stats(pool, &stats))
        return -1;
    lend->regulator.ops = &lend_ops;
    if (spw_governor_attach(governor, &lend->regulator))
        return -1;
    uint64_t whole = stats.budget_bytes;
    atomic_store(&lend->needed, 1);
    spw_governor_wake(governor, "lend");
    if (wait_for(pool, whole / 2, 0))
        return -1;
    atomic_store(&lend->needed, 0);
    spw_governor_wake(governor, "lend");
    if (wait_for(pool, whole, 0))
        return -1;
    decisions[0].size = sizeof decisions[0];
    long count = spw_pool_decisions(pool, 0, decisions, SPILLWAY_DECISIONS_KEPT);
    int lent = 0;
    for (long i = 0; i < count; i++)
        lent += strcmp(decisions[i].regulator, "lend") == 0;
    return lent == 2 ? 0 : -1;
}

/* 8 MiB through the queue; most of it leaves memory on the way. */
static int carry(spw_pool *pool)
{
    enum { CHUNK_BYTES = 65536, CHUNKS = 128 };
    static unsigned char chunk[CHUNK_BYTES];
    spw_stats stats = {.size = sizeof stats};
    spw_bytes bytes;
    for (int i = 0; i < CHUNKS; i++) {
        memset(chunk, i, sizeof chunk);
        if (spw_bytes_copy(chunk, sizeof chunk, NULL, &bytes) ||
            spw_writer_extend(writer, &bytes, 1, 0))
            return -1;
    }
    if (spw_pool_stats(pool, &stats) || wait_for(pool, stats.budget_bytes, 4 << 20))
        return -1;
    spw_writer_close(writer);
    int at = 0;
    while (spw_reader_drain_wait(reader, &bytes, 1, SPILLWAY_FOREVER) == 1) {
        memset(chunk, at++, sizeof chunk);
        if (bytes.len != sizeof chunk || memcmp(bytes.data, chunk, sizeof chunk) != 0)
            return -1;
        spw_bytes_release(&bytes);
    }
    spw_reader_close(reader);
    return at == CHUNKS ? 0 : -1;
}

int main(void)
{
    spw_pool *pool;
    if (spw_pool_open(NULL, &pool) || open_queue(pool) || lend_and_return(pool) || carry(pool))
        return 1;
    puts("hello from policies of our own");
    return spw_pool_close_idle(pool) ? 1 : 0;
}
