/* SPDX-License-Identifier: MIT */
/*
 * A forked child is told that the pool is not its own, changes nothing in its parent, and keeps
 * none of its memory; the parent goes on as if nothing had happened.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "harness.h"
#include "pool_tools.h"
#include "traffic.h"

#define SECOND_NS UINT64_C(1000000000)

/* Everything that a service may hold when it forks. */
struct holdings {
    struct bed bed;
    struct ends ends;
    struct source source;
    struct model model;
    struct random random;
    spw_slab *slab;
    spw_bytes lent;    /* fetched from disk, in a buffer of the pool */
    spw_bytes segment; /* in the memory tier */
    spw_bytes foreign; /* a loan */
    spw_bytes cut;     /* of the slab */
    spw_strategy *strategy;
    spw_handle *handle; /* of a stored run */
};

static const struct setting memory_and_disk[] = {
    {"memory", "2MiB"}, {"memory_tier", "2MiB"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting ring[] = {
    {"memory", "2MiB"}, {"memory_tier", "2MiB"}, {"engine", "io_uring"}, {NULL, NULL}};

static void put(struct holdings *h, enum origin origin, size_t len)
{
    struct value value;
    spw_bytes bytes;
    cr_assert_eq(source_make(&h->source, &h->random, origin, len, &value, &bytes), 0);
    cr_assert_eq(spw_writer_extend(h->ends.writer, &bytes, 1, 0), 0);
    model_push(&h->model, &value);
}

/* Returns the answer of the last drain; says of what was drained how much. */
static long take(struct holdings *h, size_t most)
{
    spw_bytes bytes[16];
    long count = 0;
    while (most > 0 && h->model.count > 0) {
        count = spw_reader_drain_wait(h->ends.reader, bytes, most < 16 ? most : 16, 60 * SECOND_NS);
        cr_assert_gt(count, 0);
        for (long i = 0; i < count; i++) {
            model_pop(&h->model, &bytes[i]);
            spw_bytes_release(&bytes[i]);
        }
        most -= (size_t)count;
    }
    return count;
}

/* One stored run on each tier: fetches the first that each brings. */
static void hold_both_tiers(struct holdings *h)
{
    spw_handle *handles[24];
    size_t count = 0;
    for (unsigned i = 0; i < 24; i++) {
        spw_chunks chunks = stream_chunks(i * 200000, 1, 200000);
        count += spill_all(h->strategy, &chunks, handles + count, 24 - count);
    }
    bed_quiet(&h->bed);
    for (size_t i = 0; i < count; i++) {
        uint64_t from_disk = bed_stats(&h->bed).fetched_disk_bytes_total;
        spw_chunks out = SPILLWAY_CHUNKS_NONE;
        spw_bytes bytes;
        if (i == count - 1) {
            h->handle = handles[i];
            break;
        }
        cr_assert_eq(handles[i]->ops->fetch(handles[i], SPILLWAY_FETCH_HEAD, &out), 0);
        cr_assert_eq(spw_chunks_pop(&out, &bytes), 1);
        bool disk = bed_stats(&h->bed).fetched_disk_bytes_total > from_disk;
        spw_bytes *keep = disk ? &h->lent : &h->segment;
        if (!keep->owner)
            *keep = bytes;
        else
            spw_bytes_release(&bytes);
    }
    cr_assert_not_null(h->lent.owner);
    cr_assert_not_null(h->segment.owner);
}

static void holdings_open(struct holdings *h, const struct setting *settings)
{
    *h = (struct holdings){.random = {1}};
    bed_open(&h->bed, settings, 1);
    cr_assert_eq(spw_pool_strategy(h->bed.pool, &h->strategy), 0);
    hold_both_tiers(h);
    h->ends = ends_open(&h->bed);
    source_open(&h->source, h->bed.pool, 1, 256 * KIB);
    model_open(&h->model, 1);
    for (unsigned i = 0; i < 60; i++)
        put(h, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 50000);
    cr_assert_eq(spw_pool_slab_open(h->bed.pool, 64 * KIB, 0, &h->slab), 0);
    memset(spw_slab_space(h->slab), 'p', 64 * KIB);
    cr_assert_eq(spw_slab_cut(h->slab, 1000, &h->cut), 0);
    cr_assert_eq(loan_make(2, 0, 5000, &h->foreign), 0);
    cr_assert_geq(spw_reader_event_fd(h->ends.reader), 0);
}

static void holdings_close(struct holdings *h)
{
    take(h, SIZE_MAX);
    ends_close(&h->ends);
    source_close(&h->source);
    model_close(&h->model);
    spw_slab_close(h->slab);
    spw_bytes_release(&h->lent);
    spw_bytes_release(&h->segment);
    spw_bytes_release(&h->foreign);
    spw_bytes_release(&h->cut);
    h->handle->ops->drop(h->handle);
    h->strategy->ops->close(h->strategy);
    bed_quiet(&h->bed);
    cr_assert_eq(loans_out(), 0);
    bed_close(&h->bed);
}

static void child_ends(pid_t child)
{
    int status;
    cr_assert_gt(child, 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status), "the child was killed");
    cr_assert_eq(WEXITSTATUS(status), 0);
}

/* ---- calls ---- */

static void child_calls_queue(struct holdings *h)
{
    spw_bytes bytes = {0}, out[4];
    spw_queue_info info = {.size = sizeof(info)};
    spw_writer *writer;
    spw_reader *reader;
    spw_queue_options options = {.size = sizeof(options), .account = spw_pool_account(h->bed.pool)};
    CHILD_CHECK(spw_bytes_copy("x", 1, NULL, &bytes) == 0);
    CHILD_CHECK(spw_writer_extend(h->ends.writer, &bytes, 1, 0) == -EOWNERDEAD);
    CHILD_CHECK(bytes.len == 1);
    spw_bytes_release(&bytes);
    CHILD_CHECK(spw_reader_drain(h->ends.reader, out, 4) == -EOWNERDEAD);
    CHILD_CHECK(spw_reader_drain_wait(h->ends.reader, out, 4, 0) == -EOWNERDEAD);
    CHILD_CHECK(spw_reader_arm(h->ends.reader, NULL, NULL) == -EOWNERDEAD);
    CHILD_CHECK(spw_reader_event_fd(h->ends.reader) == -EOWNERDEAD);
    CHILD_CHECK(spw_reader_skip(h->ends.reader, NULL) == -EOWNERDEAD);
    CHILD_CHECK(spw_reader_complete(h->ends.reader) == 0);
    CHILD_CHECK(spw_writer_info(h->ends.writer, &info) == -EOWNERDEAD);
    CHILD_CHECK(spw_reader_info(h->ends.reader, &info) == -EOWNERDEAD);
    CHILD_CHECK(spw_queue_open(&options, &writer, &reader) == -EOWNERDEAD);
}

static void child_calls_pool(struct holdings *h)
{
    spw_pool *pool = h->bed.pool;
    spw_stats stats = {.size = sizeof(stats)};
    spw_strategy *strategy;
    spw_slab *slab;
    spw_chunks out = SPILLWAY_CHUNKS_NONE;
    spw_waker waker = {0};
    CHILD_CHECK(spw_pool_stats(pool, &stats) == -EOWNERDEAD);
    spw_histograms histograms = {.size = sizeof(histograms)};
    CHILD_CHECK(spw_pool_histograms(pool, &histograms) == -EOWNERDEAD);
    CHILD_CHECK(spw_pool_strategy(pool, &strategy) == -EOWNERDEAD);
    CHILD_CHECK(spw_pool_slab_open(pool, 0, 0, &slab) == -EOWNERDEAD);
    CHILD_CHECK(spw_pool_wait_room(pool, 0, 0) == -EOWNERDEAD);
    CHILD_CHECK(spw_pool_demote(pool, UINT64_MAX, NULL) == -EOWNERDEAD);
    CHILD_CHECK(spw_pool_trim(pool) == 0);
    CHILD_CHECK(h->handle->ops->fetch(h->handle, 0, &out) == -EOWNERDEAD);
    CHILD_CHECK(h->handle->ops->prefetch(h->handle, 0) == -EOWNERDEAD);
    CHILD_CHECK(h->handle->ops->on_ready(h->handle, &waker) == -EOWNERDEAD);
    CHILD_CHECK(h->strategy->ops->room_bytes(h->strategy) == 0);
    CHILD_CHECK(spw_pool_close(pool) == -EOWNERDEAD);
    CHILD_CHECK(spw_pool_close_idle(pool) == -EOWNERDEAD);
}

/* Giving things up does nothing. */
static void child_drops(struct holdings *h)
{
    spw_bytes_release(&h->lent);
    spw_bytes_release(&h->segment);
    spw_bytes_release(&h->cut);
    spw_slab_close(h->slab);
    h->handle->ops->drop(h->handle);
    h->strategy->ops->close(h->strategy);
    spw_writer_close(h->ends.writer);
    spw_reader_close(h->ends.reader);
}

#define CHECK_SAME(name, kind, help)                                                               \
    cr_assert_eq(before->name, after->name, "the child changed " #name " from %llu to %llu",       \
                 (unsigned long long)before->name, (unsigned long long)after->name);

static void check_same(const spw_stats *before, const spw_stats *after)
{
    SPILLWAY_STATS_TABLE(CHECK_SAME)
    cr_assert_eq(memcmp(before, after, sizeof(*before)), 0, "the child changed a text");
}

static void child_is_told(const struct setting *settings)
{
    struct holdings h;
    holdings_open(&h, settings);
    spw_stats before = bed_quiet(&h.bed);
    pid_t child = fork();
    if (child == 0) {
        child_calls_queue(&h);
        child_calls_pool(&h);
        child_drops(&h);
        child_calls_pool(&h);
        child_leaves(0);
    }
    child_ends(child);
    spw_stats after = bed_quiet(&h.bed);
    /* What the parent's own threads do meanwhile: the governor looks every other second, and the
     * last wake-up of an I/O thread may find that all is done. */
    before.governor_wakeups_total = after.governor_wakeups_total;
    cr_assert_leq(after.wakeups_total, before.wakeups_total + 1);
    before.wakeups_total = after.wakeups_total;
    check_same(&before, &after);
    for (unsigned i = 0; i < 40; i++)
        put(&h, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 50000);
    holdings_close(&h);
}

Test(fork, child_is_told)
{
    child_is_told(memory_and_disk);
}

Test(fork, child_is_told_with_a_ring)
{
    child_is_told(ring);
}

/* A grandchild is no better than a child. */
Test(fork, grandchild_is_told)
{
    struct holdings h;
    holdings_open(&h, memory_and_disk);
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        int status;
        if (grandchild == 0) {
            child_calls_queue(&h);
            child_calls_pool(&h);
            child_leaves(0);
        }
        CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild);
        CHILD_CHECK(status == 0);
        child_calls_pool(&h);
        child_leaves(0);
    }
    child_ends(child);
    holdings_close(&h);
}

/* ---- memory ---- */

static bool is_mapped(const void *address)
{
    unsigned char seen;
    uintptr_t page = (uintptr_t)address & ~(uintptr_t)4095;
    return mincore((void *)page, 1, &seen) == 0;
}

Test(fork, child_keeps_no_map)
{
    struct holdings h;
    holdings_open(&h, memory_and_disk);
    const void *places[] = {spw_slab_space(h.slab), h.cut.data, h.lent.data, h.segment.data};
    for (unsigned i = 0; i < 4; i++)
        cr_assert(is_mapped(places[i]));
    pid_t child = fork();
    if (child == 0) {
        for (unsigned i = 0; i < 4; i++)
            CHILD_CHECK(!is_mapped(places[i]));
        CHILD_CHECK(h.foreign.data[0] == h.foreign.data[0]); /* the user's own memory is there */
        child_leaves(0);
    }
    child_ends(child);
    cr_assert_eq(h.cut.data[999], 'p');
    cr_assert(content_is(h.foreign.data, 2, 0, 5000));
    holdings_close(&h);
}

/* A slab in a segment, bytes of it and a run that adopted some: none of them is the child's. */
Test(fork, child_lets_go_of_a_slab_in_a_segment)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"memory_tier", "16MiB"}, {"tiers", "memory"}, {NULL, NULL}};
    struct bed bed;
    spw_strategy *strategy;
    spw_handle *handle;
    spw_slab *slab;
    spw_bytes kept, bytes;
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE, out = SPILLWAY_CHUNKS_NONE;
    bed_open(&bed, settings, 0);
    cr_assert_eq(spw_pool_strategy(bed.pool, &strategy), 0);
    cr_assert_eq(spw_pool_slab_open(bed.pool, 128 * KIB, 0, &slab), 0);
    stream_fill(spw_slab_space(slab), 5, 100000);
    cr_assert_eq(spw_slab_cut(slab, 100000, &bytes), 0);
    kept = spw_bytes_clone(&bytes);
    cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
    cr_assert_eq(spill_all(strategy, &chunks, &handle, 1), 1);
    cr_assert_eq(bed_stats(&bed).adopted_bytes_total, 100000);
    pid_t child = fork();
    if (child == 0) {
        CHILD_CHECK(!is_mapped(spw_slab_space(slab)));
        CHILD_CHECK(!is_mapped(kept.data));
        CHILD_CHECK(handle->ops->fetch(handle, SPILLWAY_FETCH_NOWAIT, &out) == -EOWNERDEAD);
        handle->ops->drop(handle);
        spw_bytes_release(&kept);
        spw_slab_close(slab);
        CHILD_CHECK(spw_pool_slab_open(bed.pool, 0, 0, &slab) == -EOWNERDEAD);
        child_leaves(0);
    }
    child_ends(child);
    cr_assert_eq(bed_quiet(&bed).memory_tier_slab_bytes, 128 * KIB);
    cr_assert_eq(handle->ops->fetch(handle, SPILLWAY_FETCH_NOWAIT, &out), 0);
    cr_assert(chunks_are(&out, 5, 1, 100000));
    spw_slab_close(slab);
    cr_assert(stream_is(&kept, 5));
    spw_bytes_release(&kept);
    cr_assert_eq(bed_quiet(&bed).memory_tier_slab_bytes, 0);
    strategy->ops->close(strategy);
    bed_close(&bed);
}

/* What the parent closes is gone while a child still lives. */
Test(fork, child_pins_nothing)
{
    struct holdings h;
    int ends[2];
    char byte = 0;
    holdings_open(&h, memory_and_disk);
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        CHILD_CHECK(read(ends[0], &byte, 1) == 0);
        child_calls_queue(&h); /* its parent's pool is long gone */
        child_calls_pool(&h);
        child_leaves(0);
    }
    close(ends[0]);
    holdings_close(&h);
    close(ends[1]);
    child_ends(child);
}

/* ---- while all is busy ---- */

static void *busy_writer(void *context)
{
    struct holdings *h = context;
    for (uint64_t i = 0; i < test_scaled(1500); i++)
        put(h, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 50000);
    spw_writer_close(h->ends.writer);
    h->ends.writer = NULL;
    return NULL;
}

static void fork_once(struct holdings *h)
{
    pid_t child = fork();
    if (child == 0) {
        spw_bytes bytes[4];
        spw_stats stats = {.size = sizeof(stats)};
        CHILD_CHECK(spw_pool_stats(h->bed.pool, &stats) == -EOWNERDEAD);
        CHILD_CHECK(spw_reader_drain(h->ends.reader, bytes, 4) == -EOWNERDEAD);
        CHILD_CHECK(spw_reader_drain_wait(h->ends.reader, bytes, 4, SECOND_NS) == -EOWNERDEAD);
        spw_reader_close(h->ends.reader);
        CHILD_CHECK(spw_pool_close(h->bed.pool) == -EOWNERDEAD);
        child_leaves(0);
    }
    child_ends(child);
}

/* Forks in the middle of it all, again and again; locks may be held by anybody. */
static void fork_while_busy(const struct setting *settings)
{
    struct holdings h = {.random = {1}};
    pthread_t thread;
    spw_bytes bytes[16];
    long count;
    uint64_t at = 0;
    unsigned rounds = 0;
    bed_open(&h.bed, settings, 1);
    h.ends = ends_open(&h.bed);
    source_open(&h.source, h.bed.pool, 1, 256 * KIB);
    model_open(&h.model, 1);
    cr_assert_eq(pthread_create(&thread, NULL, busy_writer, &h), 0);
    while ((count = spw_reader_drain_wait(h.ends.reader, bytes, 16, 60 * SECOND_NS)) > 0) {
        if (rounds++ % 8 == 0)
            fork_once(&h);
        for (long i = 0; i < count; i++) {
            cr_assert(content_is(bytes[i].data, 1, at, bytes[i].len));
            at += bytes[i].len;
            spw_bytes_release(&bytes[i]);
        }
    }
    cr_assert_eq(count, 0);
    pthread_join(thread, NULL);
    cr_assert_eq(at, test_scaled(1500) * 50000);
    ends_close(&h.ends);
    source_close(&h.source);
    model_close(&h.model);
    bed_quiet(&h.bed);
    cr_assert_eq(loans_out(), 0);
    bed_close(&h.bed);
}

Test(fork, while_all_is_busy)
{
    fork_while_busy(memory_and_disk);
}

Test(fork, while_all_is_busy_with_a_ring)
{
    fork_while_busy(ring);
}
