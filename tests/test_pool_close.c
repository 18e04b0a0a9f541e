/* SPDX-License-Identifier: MIT */
/* Closing a pool while anything of it is alive, in any order and on any thread. */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "pool_tools.h"
#include "traffic.h"

#define SECOND_NS UINT64_C(1000000000)

static const struct setting threads[] = {
    {"memory", "2MiB"}, {"memory_tier", "2MiB"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting ring[] = {
    {"memory", "2MiB"}, {"memory_tier", "2MiB"}, {"engine", "io_uring"}, {NULL, NULL}};
static const struct setting disk_only[] = {
    {"memory", "2MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};

/* What keeps a pool open. */
enum holder {
    HOLD_OPENER,
    HOLD_WRITER,
    HOLD_READER,
    HOLD_SLAB,
    HOLD_CUT,   /* bytes of a slab */
    HOLD_BYTES, /* fetched from disk or memory */
    HOLD_HANDLE,
    HOLD_STRATEGY,
    HOLDERS
};

struct held {
    struct bed bed;
    struct ends ends;
    spw_slab *slab;
    spw_bytes cut, bytes[2];
    spw_handle *handle;
    spw_strategy *strategy;
};

static void queue_fill(struct ends *ends, unsigned values)
{
    for (unsigned i = 0; i < values; i++) {
        spw_bytes bytes = stream_piece(i * 40000, 40000);
        cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
    }
}

/* A queue with runs on both tiers and on their way, bytes fetched from the first and the last of
 * many runs, a handle, a slab and bytes of it. */
static void held_open(struct held *held, const struct setting *settings)
{
    spw_handle *handles[20];
    size_t count = 0;
    memset(held, 0, sizeof(*held));
    bed_open(&held->bed, settings, 1);
    cr_assert_eq(spw_pool_strategy(held->bed.pool, &held->strategy), 0);
    for (unsigned i = 0; i < 20; i++) {
        spw_chunks chunks = stream_chunks(i * 150000, 1, 150000);
        count += spill_all(held->strategy, &chunks, handles + count, 20 - count);
    }
    bed_quiet(&held->bed);
    for (size_t i = 0; i < count; i++) {
        spw_chunks out = SPILLWAY_CHUNKS_NONE;
        if (i == 1) {
            held->handle = handles[i];
            continue;
        }
        cr_assert_eq(handles[i]->ops->fetch(handles[i], SPILLWAY_FETCH_HEAD, &out), 0);
        if (i == 0 || i == count - 1)
            cr_assert_eq(spw_chunks_pop(&out, &held->bytes[i > 0]), 1);
        spw_chunks_clear(&out);
    }
    held->ends = ends_open(&held->bed);
    queue_fill(&held->ends, 60);
    cr_assert_eq(spw_pool_slab_open(held->bed.pool, 100000, 0, &held->slab), 0);
    memset(spw_slab_space(held->slab), 's', 1000);
    cr_assert_eq(spw_slab_cut(held->slab, 1000, &held->cut), 0);
}

static void held_let_go(struct held *held, enum holder holder)
{
    switch (holder) {
    case HOLD_OPENER:
        cr_assert_eq(spw_pool_close(held->bed.pool), 0);
        break;
    case HOLD_WRITER:
        spw_writer_close(held->ends.writer);
        break;
    case HOLD_READER:
        spw_reader_close(held->ends.reader);
        break;
    case HOLD_SLAB:
        spw_slab_close(held->slab);
        break;
    case HOLD_CUT:
        cr_assert_eq(held->cut.data[999], 's');
        spw_bytes_release(&held->cut);
        break;
    case HOLD_BYTES:
        for (unsigned i = 0; i < 2; i++) {
            cr_assert_eq(held->bytes[i].len, 150000);
            cr_assert(stream_is(&held->bytes[i], i * 19 * 150000), "changed by a close");
            spw_bytes_release(&held->bytes[i]);
        }
        break;
    case HOLD_HANDLE:
        held->handle->ops->drop(held->handle);
        break;
    default:
        held->strategy->ops->close(held->strategy);
        break;
    }
}

static void shuffle(struct random *random, enum holder *order)
{
    for (unsigned i = 0; i < HOLDERS; i++)
        order[i] = (enum holder)i;
    for (unsigned i = HOLDERS; i > 1; i--) {
        unsigned j = (unsigned)random_below(random, i);
        enum holder other = order[j];
        order[j] = order[i - 1];
        order[i - 1] = other;
    }
}

static void any_order(const char *name, const struct setting *settings)
{
    struct random random = random_open(name);
    for (uint64_t round = 0; round < test_scaled(30); round++) {
        enum holder order[HOLDERS];
        struct held held;
        held_open(&held, settings);
        shuffle(&random, order);
        if (round < HOLDERS) { /* each is the last one once */
            unsigned at = 0;
            while (order[at] != (enum holder)round)
                at++;
            order[at] = order[HOLDERS - 1];
            order[HOLDERS - 1] = (enum holder)round;
        }
        for (unsigned i = 0; i < HOLDERS; i++)
            held_let_go(&held, order[i]);
        nothing_left();
        bed_remove(&held.bed);
    }
}

Test(pool_close, in_any_order)
{
    any_order("in_any_order", threads);
}

Test(pool_close, in_any_order_with_a_ring)
{
    any_order("in_any_order_with_a_ring", ring);
}

Test(pool_close, idle_only_when_the_last_is_gone)
{
    struct random random = random_open("idle_only_when_the_last_is_gone");
    for (uint64_t round = 0; round < test_scaled(20); round++) {
        enum holder order[HOLDERS];
        struct held held;
        held_open(&held, round % 2 ? threads : ring);
        shuffle(&random, order);
        for (unsigned i = 0; i < HOLDERS; i++) {
            if (order[i] == HOLD_OPENER)
                continue;
            cr_assert_eq(spw_pool_close_idle(held.bed.pool), -EBUSY);
            held_let_go(&held, order[i]);
        }
        cr_assert_eq(spw_pool_close_idle(held.bed.pool), 0);
        nothing_left();
        bed_remove(&held.bed);
    }
}

Test(pool_close, nothing_is_closed)
{
    cr_assert_eq(spw_pool_close(NULL), 0);
    cr_assert_eq(spw_pool_close_idle(NULL), 0);
}

/* ---- the last one to go is the engine ---- */

/* A write holds the last reference to bytes, run and pool. */
static void write_is_the_last(const struct setting *settings, enum fault kind, bool slab)
{
    struct bed bed;
    spw_strategy *strategy;
    spw_handle *handle;
    bed_open(&bed, settings, 1);
    cr_assert_eq(spw_pool_strategy(bed.pool, &strategy), 0);
    spw_chunks chunks = slab ? slab_chunk(bed.pool, 0, 100000, 10) : stream_chunks(0, 1, 100000);
    gate_shut(kind);
    cr_assert_eq(spill_all(strategy, &chunks, &handle, 1), 1);
    gate_wait(1);
    handle->ops->drop(handle);
    strategy->ops->close(strategy);
    cr_assert_eq(spw_pool_close(bed.pool), 0);
    cr_assert_gt(fault_alloc_live(), 0, "the write keeps it");
    gate_open();
    nothing_left();
    bed_remove(&bed);
}

Test(pool_close, write_of_a_slab_is_the_last)
{
    write_is_the_last(disk_only, FAULT_PWRITE, true);
}

Test(pool_close, write_of_foreign_bytes_is_the_last)
{
    write_is_the_last(disk_only, FAULT_PWRITE, false);
}

Test(pool_close, allocation_of_space_is_the_last)
{
    write_is_the_last(disk_only, FAULT_FALLOCATE, true);
}

Test(pool_close, write_of_the_ring_is_the_last)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
    write_is_the_last(settings, FAULT_RING_WRITE, true);
}

Test(pool_close, copy_to_memory_is_the_last)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"tiers", "memory"}, {"memory_tier", "4MiB"}, {NULL, NULL}};
    write_is_the_last(settings, FAULT_MEMFD_CREATE, false);
}

/* Both ends go, and the pool, while writes and reads are under way. */
static void queue_goes_in_the_middle(const struct setting *settings, enum fault kind)
{
    struct bed bed;
    spw_bytes bytes;
    bed_open(&bed, settings, 1);
    struct ends ends = ends_open(&bed);
    queue_fill(&ends, 100);
    bed_quiet(&bed);
    gate_shut(kind);
    if (kind == FAULT_PREAD || kind == FAULT_RING_READ) {
        long count;
        while ((count = spw_reader_drain(ends.reader, &bytes, 1)) > 0)
            spw_bytes_release(&bytes);
        cr_assert_eq(count, -EAGAIN);
        cr_assert_geq(spw_reader_event_fd(ends.reader), 0);
    } else {
        spw_reader_drain(ends.reader, &bytes, 1);
        spw_bytes_release(&bytes);
        for (unsigned i = 0; i < 10; i++) {
            bytes = stream_piece(0, 60000);
            spw_writer_extend(ends.writer, &bytes, 1, SPILLWAY_EXTEND_NOWAIT);
            spw_bytes_release(&bytes);
        }
    }
    gate_wait(1);
    cr_assert_eq(spw_pool_close(bed.pool), 0);
    ends_close(&ends);
    gate_open();
    nothing_left();
    bed_remove(&bed);
}

Test(pool_close, queue_goes_while_it_is_read)
{
    queue_goes_in_the_middle(disk_only, FAULT_PREAD);
}

Test(pool_close, queue_goes_while_it_is_written)
{
    queue_goes_in_the_middle(disk_only, FAULT_PWRITE);
}

/* ---- from a callback, on the engine's own thread ---- */

struct closer {
    struct bed *bed;
    struct ends ends;
    _Atomic int calls;
};

static void close_all(void *context)
{
    struct closer *closer = context;
    spw_pool *pool = closer->bed->pool;
    ends_close(&closer->ends);
    spw_pool_close(pool);
    atomic_fetch_add(&closer->calls, 1);
}

static bool was_called(void *context)
{
    return atomic_load(&((struct closer *)context)->calls) > 0;
}

static void callback_closes_everything(const struct setting *settings, enum fault kind)
{
    struct bed bed;
    struct closer closer = {.bed = &bed};
    spw_bytes bytes;
    long count;
    bed_open(&bed, settings, 1);
    closer.ends = ends_open(&bed);
    queue_fill(&closer.ends, 100);
    bed_quiet(&bed);
    gate_shut(kind);
    while ((count = spw_reader_drain(closer.ends.reader, &bytes, 1)) > 0)
        spw_bytes_release(&bytes);
    cr_assert_eq(count, -EAGAIN);
    cr_assert_eq(spw_reader_arm(closer.ends.reader, close_all, &closer), 0);
    gate_open();
    cr_assert(wait_until(was_called, &closer));
    nothing_left();
    cr_assert_eq(atomic_load(&closer.calls), 1);
    bed_remove(&bed);
}

Test(pool_close, from_a_callback)
{
    callback_closes_everything(disk_only, FAULT_PREAD);
}

Test(pool_close, from_a_callback_of_the_ring)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
    callback_closes_everything(settings, FAULT_RING_READ);
}
