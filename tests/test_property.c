/* SPDX-License-Identifier: MIT */
/*
 * Queue, policies and pool against a plain model: random operations on several queues of one pool,
 * with both engines, all tiers and small budgets. A seed that failed is replayed with
 * SPILLWAY_TEST_SEED and the name of the test.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "pool_tools.h"
#include "traffic.h"

enum {
    OPERATIONS = 20000, /* a test; there are twelve */
    QUEUES_MAX = 4,
    BATCH_MAX = 200,
    DRAIN_MAX = 256,
    KEPT_MAX = 48,
};
#define PATIENCE_NS UINT64_C(60000000000)

struct line {
    struct ends ends;
    struct source source;
    struct model model;
    uint64_t drained; /* since it was opened */
    bool open, writer_open;
};

/* Drained bytes that are looked at again before they are released. */
struct kept {
    spw_bytes bytes;
    uint64_t stream, at;
};

struct world {
    struct bed bed;
    struct random random;
    struct line lines[QUEUES_MAX];
    unsigned line_count;
    struct kept kept[KEPT_MAX];
    uint64_t next_stream, outstanding_max, operations;
    bool filling; /* more goes in than comes out, or the reverse */
    bool rough;   /* calls fail now and then */
    unsigned refused;
};

/* ---- faults ---- */

/* One call of some kind will fail, soon. */
static void rough_sea(struct world *world)
{
    static const enum fault kinds[] = {FAULT_MAP,         FAULT_FALLOCATE, FAULT_PREAD,
                                       FAULT_PWRITE,      FAULT_RING_READ, FAULT_RING_WRITE,
                                       FAULT_MEMFD_CREATE};
    struct random *random = &world->random;
    if (!world->rough || !random_percent(random, 10))
        return;
    enum fault kind = kinds[random_below(random, sizeof(kinds) / sizeof(kinds[0]))];
    uint32_t after = (uint32_t)random_below(random, 8);
    fault_heal(kind);
    switch (kind) {
    case FAULT_MAP:
        fault_fail(kind, after, 1, -ENOMEM);
        break;
    case FAULT_FALLOCATE:
        fault_fail(kind, after, 1, -ENOSPC);
        break;
    case FAULT_MEMFD_CREATE:
        fault_fail(kind, after, 1, -EMFILE);
        break;
    case FAULT_PREAD:
    case FAULT_RING_READ:
        if (random_percent(random, 30))
            fault_fail(kind, after, 1 + (uint32_t)random_below(random, 4), -EIO);
        else if (random_percent(random, 30) && kind == FAULT_PREAD)
            fault_corrupt(kind, after, 1);
        else
            fault_short(kind, after, 2, 4096 + random_below(random, 100000));
        break;
    default: /* a write that fails would end the directory */
        if (random_percent(random, 50))
            fault_fail(kind, after, 2, -EINTR);
        else
            fault_short(kind, after, 2, 4096 + random_below(random, 100000));
        break;
    }
}

static void rough_allocator(struct world *world)
{
    if (world->rough && random_percent(&world->random, 8))
        fault_alloc_after(1 + random_below(&world->random, 12));
}

static bool is_passing(const struct world *world, long err)
{
    return world->rough && (err == -ENOMEM || err == -EIO || err == -EMFILE);
}

/* ---- lines ---- */

static void line_open(struct world *world, struct line *line)
{
    uint64_t stream = world->next_stream++;
    size_t run_bytes = spw_pool_run_bytes(world->bed.pool);
    fault_alloc_after(0);
    line->ends = ends_open(&world->bed);
    source_open(&line->source, world->bed.pool, stream, run_bytes);
    line->source.gap_percent = 5;
    model_open(&line->model, stream);
    line->drained = 0;
    line->open = line->writer_open = true;
}

static void line_close(struct line *line)
{
    ends_close(&line->ends);
    source_close(&line->source);
    model_close(&line->model);
    line->open = false;
}

static uint64_t outstanding(const struct world *world)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < world->line_count; i++)
        bytes += world->lines[i].model.bytes;
    return bytes;
}

/* ---- kept bytes ---- */

static void kept_release(struct kept *kept)
{
    if (!kept->bytes.owner)
        return;
    cr_assert(content_is(kept->bytes.data, kept->stream, kept->at, kept->bytes.len),
              "bytes changed after they were drained");
    spw_bytes_release(&kept->bytes);
}

static void keep(struct world *world, const struct line *line, uint64_t at, spw_bytes *bytes)
{
    struct kept *kept = &world->kept[random_below(&world->random, KEPT_MAX)];
    kept_release(kept);
    *kept = (struct kept){*bytes, line->model.stream, at};
}

/* ---- operations ---- */

/* How many values of what size: all sizes count for about as many bytes. */
static size_t batch_shape(struct random *random, size_t *count)
{
    unsigned kind = (unsigned)random_below(random, 1000);
    if (kind < 550) {
        *count = 1 + random_below(random, BATCH_MAX);
        return 200;
    }
    if (kind < 800) {
        *count = 1 + random_below(random, 20);
        return 4096;
    }
    *count = 1 + random_below(random, 3);
    if (kind < 940)
        return 65536;
    *count = 1;
    return kind < 994 ? 512 * KIB : 8 * MIB;
}

static size_t batch_make(struct world *world, struct line *line, struct value *values,
                         spw_bytes *bytes)
{
    struct random *random = &world->random;
    size_t want, made = 0, most = batch_shape(random, &want);
    enum origin origin = (enum origin)random_below(random, ORIGINS);
    while (made < want) {
        size_t len = 1 + random_below(random, most);
        if (random_percent(random, 3))
            origin = (enum origin)random_below(random, ORIGINS);
        int err = source_make(&line->source, random, origin, len, &values[made], &bytes[made]);
        if (err) {
            cr_assert(is_passing(world, err), "no value: %d", err);
            break;
        }
        made++;
    }
    return made;
}

/* Refused: nothing was taken, so that all can be offered again, or given up. */
static void extend_refused(struct world *world, struct line *line, const struct mark *mark,
                           const struct value *values, spw_bytes *bytes, size_t count, int err)
{
    world->refused++;
    cr_assert(err == -EAGAIN || err == -ENOSPC || err == -EMSGSIZE || is_passing(world, err),
              "extend: %d", err);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(bytes[i].len, values[i].len, "refused, but taken");
    fault_alloc_after(0);
    if (random_percent(&world->random, 50)) {
        do
            err = spw_writer_extend(line->ends.writer, bytes, count, 0);
        while (is_passing(world, err));
        cr_assert_eq(err, 0);
        for (size_t i = 0; i < count; i++)
            model_push(&line->model, &values[i]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        spw_bytes_release(&bytes[i]);
    line->source.mark = *mark;
}

static void do_extend(struct world *world, struct line *line)
{
    static const unsigned flags[] = {0,
                                     0,
                                     0,
                                     SPILLWAY_EXTEND_NOWAIT,
                                     SPILLWAY_EXTEND_BOUNDED,
                                     SPILLWAY_EXTEND_NOWAIT | SPILLWAY_EXTEND_BOUNDED};
    struct value values[BATCH_MAX];
    spw_bytes bytes[BATCH_MAX];
    struct mark mark = line->source.mark;
    size_t count = batch_make(world, line, values, bytes);
    if (count == 0)
        return;
    rough_allocator(world);
    int err =
        spw_writer_extend(line->ends.writer, bytes, count,
                          flags[random_below(&world->random, sizeof(flags) / sizeof(*flags))]);
    if (err) {
        extend_refused(world, line, &mark, values, bytes, count, err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        cr_assert_null(bytes[i].owner);
        model_push(&line->model, &values[i]);
    }
}

static void take_out(struct world *world, struct line *line, spw_bytes *bytes, long count)
{
    for (long i = 0; i < count; i++) {
        size_t len = bytes[i].len;
        uint64_t at = model_pop(&line->model, &bytes[i]);
        line->drained += len;
        if (random_percent(&world->random, len > 65536 ? 5 : 20))
            keep(world, line, at, &bytes[i]);
        else
            spw_bytes_release(&bytes[i]);
    }
}

static void drain_answer_is_right(const struct world *world, const struct line *line, long count)
{
    if (count > 0 || is_passing(world, count))
        return;
    if (line->model.count > 0)
        cr_assert_eq(count, -EAGAIN, "drain: %ld with %zu values left", count, line->model.count);
    else
        cr_assert_eq(count, line->writer_open ? -EAGAIN : 0);
}

static size_t drain_capacity(struct world *world)
{
    static const size_t capacities[] = {1, 8, 64, DRAIN_MAX};
    return capacities[random_below(&world->random, world->filling ? 2 : 4)];
}

static long do_drain(struct world *world, struct line *line)
{
    spw_bytes bytes[DRAIN_MAX];
    rough_allocator(world);
    long count = spw_reader_drain(line->ends.reader, bytes, drain_capacity(world));
    drain_answer_is_right(world, line, count);
    take_out(world, line, bytes, count);
    return count;
}

/* Where something is there, a reader that waits must get it. */
static void do_drain_wait(struct world *world, struct line *line)
{
    spw_bytes bytes[DRAIN_MAX];
    bool any = line->model.count > 0;
    fault_alloc_after(0);
    long count =
        spw_reader_drain_wait(line->ends.reader, bytes, 1 + random_below(&world->random, 32),
                              any ? PATIENCE_NS : random_below(&world->random, 300000));
    if (any)
        cr_assert(count > 0 || is_passing(world, count), "drain_wait: %ld", count);
    else
        cr_assert_eq(count, line->writer_open ? -ETIMEDOUT : 0);
    take_out(world, line, bytes, count);
}

/* The event descriptor must become readable where something is there, and draining must reset it.
 */
static void do_event(struct world *world, struct line *line)
{
    struct pollfd news = {.fd = spw_reader_event_fd(line->ends.reader), .events = POLLIN};
    cr_assert_geq(news.fd, 0);
    fault_alloc_after(0);
    long count;
    while ((count = do_drain(world, line)) > 0 || is_passing(world, count))
        fault_alloc_after(0);
    if (count == 0)
        return;
    if (line->model.count == 0) {
        cr_assert_eq(poll(&news, 1, 0), 0, "an empty queue calls its reader");
        return;
    }
    cr_assert_eq(poll(&news, 1, (int)(PATIENCE_NS / 1000000)), 1, "nobody called the reader");
    do_drain(world, line);
}

static void do_info(struct line *line)
{
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_reader_info(line->ends.reader, &info), 0);
    cr_assert_eq(info.resident_bytes + info.paged_bytes, line->model.bytes);
    cr_assert_eq(info.drained_bytes_total, line->drained);
    cr_assert_eq(info.extended_bytes_total - info.drained_bytes_total, line->model.bytes);
    cr_assert_eq(info.skipped_bytes_total, 0);
    cr_assert_leq(info.paged_entries, info.entries);
    cr_assert_leq(info.entries, line->model.count);
    if (info.entries == 0)
        cr_assert_eq(line->model.count, 0);
}

/* At a quiet moment the sums must be right, to the byte. */
static void do_quiet(struct world *world)
{
    uint64_t handles = 0, queues = 0;
    fault_alloc_after(0);
    spw_stats stats = bed_quiet(&world->bed);
    for (unsigned i = 0; i < world->line_count; i++) {
        struct line *line = &world->lines[i];
        spw_queue_info info = {.size = sizeof(info)};
        if (!line->open)
            continue;
        cr_assert_eq(spw_reader_info(line->ends.reader, &info), 0);
        handles += info.paged_entries;
        queues++;
    }
    cr_assert_eq(stats.runs, handles);
    cr_assert_eq(stats.queues, queues);
    cr_assert_eq(stats.lost_runs_total, 0);
}

/* From the memory tier to disk, where there are both. */
static void do_demote(struct world *world)
{
    uint64_t most = random_below(&world->random, 4 * MIB), started;
    int err = spw_pool_demote(world->bed.pool, most, &started);
    cr_assert(err == 0 || err == -ENODEV || is_passing(world, err), "demote: %d", err);
    if (!err)
        cr_assert_leq(started, most);
}

static void drain_to_end(struct world *world, struct line *line)
{
    fault_alloc_after(0);
    spw_writer_close(line->ends.writer);
    line->ends.writer = NULL;
    line->writer_open = false;
    while (line->model.count > 0)
        do_drain_wait(world, line);
    spw_bytes none;
    cr_assert_eq(spw_reader_drain(line->ends.reader, &none, 1), 0);
    cr_assert_eq(spw_reader_complete(line->ends.reader), 1);
}

static void end_somehow(struct world *world, struct line *line)
{
    spw_bytes bytes;
    switch (random_below(&world->random, 4)) {
    case 0:
        drain_to_end(world, line);
        break;
    case 1:
        spw_writer_abort(line->ends.writer, -ECANCELED);
        line->ends.writer = NULL;
        cr_assert_eq(spw_reader_drain(line->ends.reader, &bytes, 1), -ECANCELED);
        cr_assert_eq(spw_reader_drain_wait(line->ends.reader, &bytes, 1, 0), -ECANCELED);
        break;
    case 2:
        spw_reader_abort(line->ends.reader, -EPROTO);
        line->ends.reader = NULL;
        bytes = stream_piece(0, 3);
        cr_assert_eq(spw_writer_extend(line->ends.writer, &bytes, 1, 0), -EPROTO);
        spw_bytes_release(&bytes);
        break;
    default:
        break; /* with all that is in it */
    }
    line_close(line);
}

/* In waves: more goes in than comes out for a while, then the reverse. */
static void do_traffic(struct world *world, struct line *line)
{
    bool full = outstanding(world) > world->outstanding_max;
    if (full || random_below(&world->random, 400) == 0)
        world->filling = !full && !world->filling;
    if (random_percent(&world->random, full ? 0 : world->filling ? 90 : 20))
        do_extend(world, line);
    else
        do_drain(world, line);
}

static void operate(struct world *world, struct line *line)
{
    struct random *random = &world->random;
    unsigned what = (unsigned)random_below(random, 1000);
    rough_sea(world);
    if (!line->open)
        line_open(world, line);
    else if (what < 890)
        do_traffic(world, line);
    else if (what < 930)
        do_drain_wait(world, line);
    else if (what < 950)
        do_event(world, line);
    else if (what < 970)
        do_info(line);
    else if (what < 990)
        kept_release(&world->kept[random_below(random, KEPT_MAX)]);
    else if (what < 992)
        spw_pool_trim(world->bed.pool);
    else if (what < 995)
        do_demote(world);
    else if (what < 998)
        do_quiet(world);
    else if (random_percent(random, 50))
        end_somehow(world, line);
    fault_alloc_after(0);
    world->operations++;
}

/* Whatever is left must come out; then nothing may be in use. */
static void finish(struct world *world)
{
    fault_clear(); /* but what failed before may still be told */
    for (unsigned i = 0; i < world->line_count; i++) {
        struct line *line = &world->lines[i];
        if (!line->open)
            continue;
        drain_to_end(world, line);
        line_close(line);
    }
    for (unsigned i = 0; i < KEPT_MAX; i++)
        kept_release(&world->kept[i]);
    spw_stats stats = bed_quiet(&world->bed);
    cr_assert_eq(loans_out(), 0, "%llu loans did not come back", (unsigned long long)loans_out());
    cr_assert_eq(stats.resident_foreign_bytes, 0);
    cr_assert_eq(stats.entry_block_bytes, 0);
    cr_assert_eq(stats.slab_bytes + stats.staging_bytes + stats.lent_bytes, 0);
    cr_assert_eq(stats.loaded_bytes + stats.reading_bytes, 0);
    cr_assert_eq(stats.disk_stored_bytes, 0);
    cr_assert_eq(stats.memory_tier_stored_bytes, 0);
    cr_assert_eq(stats.runs + stats.queues, 0);
    cr_assert_eq(stats.held_bytes, 0);
    spw_pool_trim(world->bed.pool);
    stats = bed_stats(&world->bed);
    cr_assert_eq(stats.warm_bytes + stats.memory_tier_bytes, 0);
    cr_assert_eq(stats.used_bytes, stats.reserve_bytes);
}

static spw_stats run_world(const char *name, const struct setting *settings, unsigned dirs,
                           unsigned lines, bool rough)
{
    static struct world world;
    world = (struct world){.random = random_open(name),
                           .line_count = lines,
                           .outstanding_max = 40 * MIB,
                           .filling = true,
                           .rough = rough};
    uint64_t operations = test_scaled(OPERATIONS);
    bed_open(&world.bed, settings, dirs);
    while (world.operations < operations)
        operate(&world, &world.lines[random_below(&world.random, lines)]);
    finish(&world);
    spw_stats stats = bed_stats(&world.bed);
    fprintf(
        stderr, "%s: %llu operations, %llu bytes spilled, %llu fetched, %llu elided, %u refused\n",
        name, (unsigned long long)world.operations, (unsigned long long)stats.spilled_bytes_total,
        (unsigned long long)stats.fetched_bytes_total, (unsigned long long)stats.elided_bytes_total,
        world.refused);
    bed_close(&world.bed);
    return stats;
}

/* ---- the worlds ---- */

/* A run that is cut short may not get as far as this. */
static void enough(uint64_t bytes)
{
    if (test_scaled(100) >= 50)
        cr_assert_gt(bytes, 0);
}

Test(property, disk_threads_one_queue)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
    spw_stats stats = run_world("disk_threads_one_queue", settings, 1, 1, false);
    enough(stats.fetched_disk_bytes_total);
}

Test(property, disk_threads_four_queues)
{
    static const struct setting settings[] = {{"memory", "4MiB"},
                                              {"engine", "threads"},
                                              {"tiers", "disk"},
                                              {"checksum", "off"},
                                              {NULL, NULL}};
    spw_stats stats = run_world("disk_threads_four_queues", settings, 2, 4, false);
    enough(stats.fetched_disk_bytes_total);
}

Test(property, disk_ring_one_queue)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"engine", "io_uring"}, {"tiers", "disk"}, {NULL, NULL}};
    spw_stats stats = run_world("disk_ring_one_queue", settings, 1, 1, false);
    enough(stats.fetched_disk_bytes_total);
}

Test(property, disk_ring_three_queues)
{
    static const struct setting settings[] = {{"memory", "16MiB"},
                                              {"engine", "io_uring"},
                                              {"tiers", "disk"},
                                              {"checksum", "all"},
                                              {NULL, NULL}};
    spw_stats stats = run_world("disk_ring_three_queues", settings, 2, 3, false);
    enough(stats.spilled_disk_bytes_total);
}

Test(property, memory_recycle)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "64MiB"}, {"tiers", "memory"}, {NULL, NULL}};
    spw_stats stats = run_world("memory_recycle", settings, 0, 2, false);
    enough(stats.fetched_memory_bytes_total);
}

Test(property, memory_recycle_verified)
{
    static const struct setting settings[] = {{"memory", "2MiB"},
                                              {"memory_tier", "64MiB"},
                                              {"tiers", "memory"},
                                              {"checksum", "all"},
                                              {NULL, NULL}};
    spw_stats stats = run_world("memory_recycle_verified", settings, 0, 3, false);
    enough(stats.fetched_memory_bytes_total);
}

Test(property, memory_strict)
{
    static const struct setting settings[] = {{"memory", "1MiB"},
                                              {"memory_tier", "64MiB"},
                                              {"tiers", "memory"},
                                              {"seal", "strict"},
                                              {NULL, NULL}};
    spw_stats stats = run_world("memory_strict", settings, 0, 2, false);
    enough(stats.fetched_memory_bytes_total);
}

Test(property, memory_then_disk_ring)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "6MiB"}, {"engine", "io_uring"}, {NULL, NULL}};
    spw_stats stats = run_world("memory_then_disk_ring", settings, 1, 3, false);
    enough(stats.fetched_memory_bytes_total);
    enough(stats.fetched_disk_bytes_total);
    enough(stats.demoted_bytes_total);
}

Test(property, memory_strict_then_disk_threads)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"},        {"memory_tier", "6MiB"}, {"seal", "strict"},
        {"engine", "threads"},     {"checksum", "all"},     {"prefetch", "1MiB"},
        {"head_reserve", "64KiB"}, {"threshold", "128KiB"}, {NULL, NULL}};
    spw_stats stats = run_world("memory_strict_then_disk_threads", settings, 1, 2, false);
    enough(stats.fetched_memory_bytes_total);
    enough(stats.fetched_disk_bytes_total);
    enough(stats.demoted_bytes_total);
}

/* Tiers that are nearly always full. */
Test(property, full)
{
    static const struct setting settings[] = {{"memory", "1MiB"},
                                              {"memory_tier", "2MiB"},
                                              {"disk_limit", "4MiB"},
                                              {"engine", "threads"},
                                              {NULL, NULL}};
    run_world("full", settings, 1, 2, false);
}

Test(property, rough_threads)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "4MiB"}, {"engine", "threads"}, {NULL, NULL}};
    run_world("rough_threads", settings, 2, 3, true);
}

Test(property, rough_ring)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"engine", "io_uring"}, {"tiers", "disk"}, {NULL, NULL}};
    run_world("rough_ring", settings, 1, 2, true);
}
