/* SPDX-License-Identifier: MIT */
/*
 * Hints to the kernel: as jobs of both engines, for segments that may be swapped out, for files
 * without direct I/O, and when the prefetch policy gives them.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../pool/engine_impl.h"
#include "../pool/hint.h"
#include "../pool/segment.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* ---- jobs of an engine ---- */

enum { JOBS = 12 };
#define RANGE ((size_t)65536)

struct shelf {
    struct engine *engine;
    struct log log;
    unsigned char *map;
    int fd;
    struct job jobs[JOBS];
    _Atomic unsigned completed, reads;
};

static struct shelf shelf; /* where jobs find it */

static void nothing_told(void *context, enum spw_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

static void shelf_open(enum engine_kind kind)
{
    char path[] = "/var/tmp/hint-XXXXXX";
    shelf.fd = mkostemp(path, O_CLOEXEC);
    cr_assert_geq(shelf.fd, 0);
    unlink(path);
    cr_assert_eq(ftruncate(shelf.fd, MIB), 0);
    shelf.map = mmap(NULL, MIB, PROT_READ, MAP_SHARED, shelf.fd, 0);
    cr_assert(shelf.map != MAP_FAILED);
    log_init(&shelf.log, &os_linux, nothing_told, NULL, SPILLWAY_LOG_WARN);
    struct engine_config config = {.os = &fault_os,
                                   .allocator = &fault_allocator,
                                   .log = &shelf.log,
                                   .kind = kind,
                                   .fds = &shelf.fd,
                                   .fd_count = 1};
    int why, rc = engine_open(&config, &shelf.engine, &why);
    if (rc < 0 && kind == ENGINE_IO_URING)
        test_skip("no io_uring here: %s", strerror(-rc));
    cr_assert_eq(rc, 0);
}

static void shelf_close(void)
{
    munmap(shelf.map, MIB);
    close(shelf.fd);
    cr_assert_eq(fault_alloc_live(), 0);
}

static void hint_completed(struct job *job)
{
    atomic_fetch_add(job->op == JOB_HINT ? &shelf.completed : &shelf.reads, 1);
}

static struct job *hint_submit(unsigned index, void *start, size_t len, int advice)
{
    struct job *job = &shelf.jobs[index];
    *job = (struct job){.op = JOB_HINT,
                        .complete = hint_completed,
                        .buffer = start,
                        .len = len,
                        .align = 1,
                        .advice = advice};
    engine_submit(shelf.engine, job, false);
    return job;
}

static void each_kind_of_hint(enum engine_kind kind)
{
    shelf_open(kind);
    struct job *good = hint_submit(0, shelf.map, RANGE, MADV_WILLNEED);
    struct job *file = hint_submit(1, NULL, RANGE, POSIX_FADV_WILLNEED);
    struct job *crooked = hint_submit(2, shelf.map + 1, RANGE, MADV_WILLNEED);
    struct job *unknown = hint_submit(3, NULL, RANGE, 999);
    engine_wait_idle(shelf.engine);
    cr_assert_eq(good->result, 0);
    cr_assert_eq(file->result, 0);
    cr_assert_eq(crooked->result, -EINVAL);
    cr_assert_eq(unknown->result, -EINVAL);
    shelf.jobs[4] = (struct job){.op = JOB_HINT,
                                 .complete = hint_completed,
                                 .len = RANGE,
                                 .file = 7,
                                 .advice = POSIX_FADV_DONTNEED};
    engine_submit(shelf.engine, &shelf.jobs[4], false);
    engine_wait_idle(shelf.engine);
    cr_assert_eq(shelf.jobs[4].result, -EBADF);
    struct engine_info info;
    engine_info(shelf.engine, &info);
    cr_assert_eq(info.requests, 0, "no I/O");
    cr_assert_eq(engine_oldest_ns(shelf.engine), 0);
    engine_close(shelf.engine);
    cr_assert_eq(atomic_load(&shelf.completed), 5);
    shelf_close();
}

Test(hint, of_each_kind_through_threads)
{
    each_kind_of_hint(ENGINE_THREADS);
    cr_assert_eq(fault_calls(FAULT_ADVISE), 2);
    cr_assert_eq(fault_calls(FAULT_FADVISE), 2);
}

Test(hint, of_each_kind_through_the_ring)
{
    each_kind_of_hint(ENGINE_IO_URING);
    cr_assert_eq(fault_calls(FAULT_RING_HINT), 4);
    cr_assert_eq(fault_calls(FAULT_ADVISE) + fault_calls(FAULT_FADVISE), 0);
}

static void more_than_go_at_once(enum engine_kind kind)
{
    shelf_open(kind);
    for (unsigned i = 0; i < JOBS; i++)
        hint_submit(i, i % 2 ? shelf.map : NULL, RANGE,
                    i % 2 ? MADV_WILLNEED : POSIX_FADV_WILLNEED);
    engine_close(shelf.engine); /* runs what is pending */
    cr_assert_eq(atomic_load(&shelf.completed), JOBS);
    for (unsigned i = 0; i < JOBS; i++)
        cr_assert_eq(shelf.jobs[i].result, 0);
    shelf_close();
}

Test(hint, many_through_threads)
{
    more_than_go_at_once(ENGINE_THREADS);
}

Test(hint, many_through_the_ring)
{
    more_than_go_at_once(ENGINE_IO_URING);
}

/* The ring says no: that is the hint's result, and all there is. */
Test(hint, refused_by_the_ring)
{
    fault_fail(FAULT_RING_HINT, 0, 1, -EOPNOTSUPP);
    shelf_open(ENGINE_IO_URING);
    struct job *job = hint_submit(0, shelf.map, RANGE, MADV_WILLNEED);
    engine_close(shelf.engine);
    cr_assert_eq(job->result, -EOPNOTSUPP);
    cr_assert_eq(fault_calls(FAULT_ADVISE), 0);
    shelf_close();
}

static bool read_is_done(void *context)
{
    (void)context;
    return atomic_load(&shelf.reads) == 1;
}

/* A thread that hangs with one hint: a second one waits, what others want does not. */
Test(hint, that_hangs_keeps_no_read_waiting)
{
    static unsigned char to[4096];
    struct job read = {
        .op = JOB_READ, .complete = hint_completed, .buffer = to, .len = sizeof(to), .align = 1};
    shelf_open(ENGINE_THREADS);
    gate_shut(FAULT_ADVISE);
    hint_submit(0, shelf.map, RANGE, MADV_WILLNEED);
    hint_submit(1, shelf.map, RANGE, MADV_WILLNEED);
    gate_wait(1);
    engine_submit(shelf.engine, &read, false);
    cr_assert(wait_until(read_is_done, NULL));
    cr_assert_eq(gate_waiting(), 1);
    cr_assert_eq(atomic_load(&shelf.completed), 0);
    gate_open();
    engine_close(shelf.engine);
    cr_assert_eq(atomic_load(&shelf.completed), 2);
    shelf_close();
}

/* ---- segments ---- */

static const struct setting in_memory[] = {
    {"memory", "64MiB"}, {"memory_tier", "16MiB"}, {"tiers", "memory"}, {NULL, NULL}};

#define RUN_LEN (300 * KIB)

static void swap_is(const char *swap_kib, const char *available_kib)
{
    char text[256];
    snprintf(text, sizeof(text), "MemTotal: 16777216 kB\nMemAvailable: %s kB\nSwapTotal: %s kB\n",
             available_kib, swap_kib);
    fault_file("/proc/meminfo", text);
}

static int give_hint(const struct hand *hand, size_t index)
{
    spw_handle *handle = hand->handles[index];
    return handle->ops->prefetch(handle, SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_HINT);
}

static void drop_them(struct hand *hand)
{
    for (size_t i = 0; i < hand->count; i++)
        hand->handles[i]->ops->drop(hand->handles[i]);
    hand->count = 0;
}

static int limits_hint(const struct hand *hand)
{
    spw_limits limits = {.size = sizeof(limits)};
    hand->strategy->ops->limits(hand->strategy, &limits);
    return limits.hints;
}

static struct run *memory_run(struct hand *hand)
{
    struct run *run = hand_spill_run(hand, stream_chunks(0, 1, RUN_LEN));
    wait_state(&run->handle, RUN_STORED);
    bed_quiet(&hand->bed);
    return run;
}

Test(hint, a_segment_is_brought_in_and_mapped)
{
    struct hand hand;
    swap_is("524284", "8388608");
    hand_open(&hand, in_memory, 0);
    struct run *run = memory_run(&hand);
    cr_assert_eq(limits_hint(&hand), 1);
    uint64_t before = fault_calls(FAULT_ADVISE);
    cr_assert_eq(give_hint(&hand, 0), 0);
    cr_assert_eq(give_hint(&hand, 0), 0, "twice is once");
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(fault_calls(FAULT_ADVISE), before + 2);
    struct fault_args last = fault_last(FAULT_ADVISE);
    cr_assert_eq(last.argument, MADV_POPULATE_READ);
    cr_assert_eq(last.len % 4096, 0);
    cr_assert_leq((uintptr_t)last.start, (uintptr_t)run_slot_data(run));
    cr_assert_geq((uintptr_t)last.start + last.len, (uintptr_t)run_slot_data(run) + RUN_LEN);
    cr_assert_eq(stats.hints_total, 1);
    spw_chunks out;
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_NOWAIT, &out), 0);
    cr_assert(chunks_are(&out, 0, 1, RUN_LEN));
    hand.count = 0;
    hand_close(&hand);
}

Test(hint, nothing_is_said_where_nothing_is_swapped)
{
    struct hand hand;
    swap_is("0", "8388608");
    hand_open(&hand, in_memory, 0);
    memory_run(&hand);
    cr_assert_eq(limits_hint(&hand), 0);
    cr_assert_eq(give_hint(&hand, 0), 0);
    cr_assert_eq(bed_quiet(&hand.bed).hints_total, 0);
    drop_them(&hand);
    hand_close(&hand);
}

Test(hint, nor_of_what_is_locked)
{
    struct hand hand;
    swap_is("524284", "8388608");
    hand_open(&hand, in_memory, 0);
    struct run *run = memory_run(&hand);
    struct segment *segment = run_segment(run);
    uint64_t locked_bytes = segment->locked_bytes;
    segment->locked_bytes = segment->bytes;
    cr_assert_eq(give_hint(&hand, 0), 0);
    cr_assert_eq(bed_quiet(&hand.bed).hints_total, 0);
    segment->locked_bytes = locked_bytes;
    drop_them(&hand);
    hand_close(&hand);
}

/* What is brought in is charged: where there is no room for it the OOM killer would come. */
Test(hint, nothing_is_brought_in_without_room)
{
    struct hand hand;
    swap_is("524284", "8388608");
    hand_open(&hand, in_memory, 0);
    memory_run(&hand);
    swap_is("524284", "1000");
    uint64_t before = fault_calls(FAULT_ADVISE);
    cr_assert_eq(give_hint(&hand, 0), 0);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.hints_total, 0);
    cr_assert_eq(fault_calls(FAULT_ADVISE), before);
    fault_file("/proc/meminfo", "MemTotal: 9 kB\n"); /* nor where nobody knows */
    hand.handles[0]->ops->drop(hand.handles[0]);
    hand.count = 0;
    hand_close(&hand);
}

/* What the first ones take is no room for the others, for as long as they are on their way. */
Test(hint, room_is_taken_once)
{
    struct hand hand;
    swap_is("524284", "8388608");
    hand_open(&hand, in_memory, 0);
    memory_run(&hand);
    struct memtier *tier = hand.bed.pool->memtier;
    fault_clock_set(os_linux.clock_ns());
    swap_is("524284", "1048576");
    uint64_t room = 0;
    while (memtier_may_bring_in(tier, MIB))
        room += MIB;
    cr_assert_gt(room, 0);
    cr_assert_leq(room, UINT64_C(1) << 30);
    fault_clock_advance(UINT64_C(1) << 30); /* one second, and none of it is there yet */
    cr_assert_not(memtier_may_bring_in(tier, MIB));
    memtier_brought_in(tier, room);
    cr_assert_not(memtier_may_bring_in(tier, MIB), "not before it looks again");
    fault_clock_advance(UINT64_C(1) << 30);
    cr_assert(memtier_may_bring_in(tier, MIB));
    memtier_brought_in(tier, MIB);
    fault_clock_advance(UINT64_C(1) << 30);
    fault_fail(FAULT_OPEN, 0, FAULT_ALWAYS, -EMFILE);
    cr_assert_not(memtier_may_bring_in(tier, MIB), "nobody knows");
    fault_heal(FAULT_OPEN);
    fault_clock_real();
    drop_them(&hand);
    hand_close(&hand);
}

Test(hint, without_memory_there_is_none)
{
    struct hand hand;
    swap_is("524284", "8388608");
    hand_open(&hand, in_memory, 0);
    for (unsigned n = 1; n <= 2; n++) {
        hand_spill_run(&hand, stream_chunks(0, 1, RUN_LEN));
        wait_state(hand.handles[n - 1], RUN_STORED);
        bed_quiet(&hand.bed);
        fault_alloc_after(n);
        cr_assert_eq(give_hint(&hand, n - 1), 0);
        fault_alloc_after(0);
        cr_assert_eq(bed_quiet(&hand.bed).hints_total, 0);
    }
    drop_them(&hand);
    hand_close(&hand);
}

/* Its run is gone before the kernel has answered: the pages stay until then. */
Test(hint, outlives_its_run)
{
    struct hand hand;
    swap_is("524284", "8388608");
    hand_open(&hand, in_memory, 0);
    memory_run(&hand);
    gate_shut(FAULT_ADVISE);
    cr_assert_eq(give_hint(&hand, 0), 0);
    gate_wait(1);
    drop_them(&hand);
    cr_assert_eq(bed_stats(&hand.bed).memory_tier_stored_bytes, RUN_LEN);
    gate_open();
    wait_stat(&hand.bed, memory_tier_stored_bytes, ==, 0);
    hand_close(&hand);
}

Test(hint, the_kernel_knows_no_such_advice)
{
    struct hand hand;
    swap_is("524284", "8388608");
    hand_open(&hand, in_memory, 0);
    memory_run(&hand);
    fault_fail_when(FAULT_ADVISE, MADV_WILLNEED, 0, 1, -EINVAL);
    cr_assert_eq(give_hint(&hand, 0), 0);
    bed_quiet(&hand.bed);
    cr_assert_eq(fault_last(FAULT_ADVISE).argument, MADV_WILLNEED, "the rest is left out");
    drop_them(&hand);
    hand_close(&hand);
}

/* ---- files without direct I/O ---- */

static void buffered(const char *engine, enum fault kind)
{
    const struct setting settings[] = {
        {"memory", "64MiB"}, {"engine", engine}, {"tiers", "disk"}, {NULL, NULL}};
    bool ring = kind == FAULT_RING_HINT;
    struct hand hand;
    spw_chunks out;
    fault_fail_when(FAULT_OPEN, O_DIRECT, 0, FAULT_ALWAYS, -EINVAL);
    hand_open(&hand, settings, 1);
    cr_assert_eq(limits_hint(&hand), 1);
    hand_spill_run(&hand, stream_chunks(0, 1, RUN_LEN));
    wait_state(hand.handles[0], RUN_STORED);
    hand_spill_run(&hand, stream_chunks(0, 1, 5 * MIB)); /* in pieces */
    wait_state(hand.handles[1], RUN_STORED);
    bed_quiet(&hand.bed);
    uint64_t before = fault_calls(kind);
    cr_assert_eq(give_hint(&hand, 0), 0);
    spw_stats stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.hints_total, 1);
    cr_assert_eq(fault_calls(kind), before + 1);
    if (!ring) {
        struct run *run = (struct run *)hand.handles[0];
        struct fault_args last = fault_last(FAULT_FADVISE);
        cr_assert_eq(last.argument, POSIX_FADV_WILLNEED);
        cr_assert_eq(last.offset, run_extent(run, 0)->offset);
        cr_assert_eq(last.len, run_region_bytes(run));
    }
    cr_assert_eq(give_hint(&hand, 1), 0);
    stats = bed_quiet(&hand.bed);
    cr_assert_eq(stats.hints_total, 4);
    before = fault_calls(kind);
    cr_assert_eq(fetch(hand.handles[0], 0, &out), 0);
    cr_assert(chunks_are(&out, 0, 1, RUN_LEN));
    bed_quiet(&hand.bed);
    cr_assert_eq(fault_calls(kind), before + 1);
    if (!ring)
        cr_assert_eq(fault_last(FAULT_FADVISE).argument, POSIX_FADV_DONTNEED);
    cr_assert_eq(bed_stats(&hand.bed).hints_total, 4, "that was another matter");
    hand.handles[1]->ops->drop(hand.handles[1]);
    hand.count = 0;
    hand_close(&hand);
}

Test(hint, of_files_through_threads)
{
    buffered("threads", FAULT_FADVISE);
}

Test(hint, of_files_through_the_ring)
{
    buffered("io_uring", FAULT_RING_HINT);
}

Test(hint, of_files_none_without_memory)
{
    static const struct setting settings[] = {
        {"memory", "64MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
    struct hand hand;
    fault_fail_when(FAULT_OPEN, O_DIRECT, 0, FAULT_ALWAYS, -EINVAL);
    hand_open(&hand, settings, 1);
    hand_spill_run(&hand, stream_chunks(0, 1, RUN_LEN));
    wait_state(hand.handles[0], RUN_STORED);
    bed_quiet(&hand.bed);
    fault_alloc_after(1);
    cr_assert_eq(give_hint(&hand, 0), 0);
    cr_assert_eq(bed_quiet(&hand.bed).hints_total, 0);
    drop_them(&hand);
    hand_close(&hand);
}

Test(hint, of_direct_files_there_is_none)
{
    static const struct setting settings[] = {
        {"memory", "64MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
    struct hand hand;
    hand_open(&hand, settings, 1);
    gate_shut(FAULT_PWRITE);
    hand_spill_run(&hand, stream_chunks(0, 1, RUN_LEN));
    gate_wait(1);
    cr_assert_eq(limits_hint(&hand), 0);
    cr_assert_eq(give_hint(&hand, 0), -EAGAIN, "on its way out");
    gate_open();
    wait_state(hand.handles[0], RUN_STORED);
    cr_assert_eq(give_hint(&hand, 0), 0);
    cr_assert_eq(bed_quiet(&hand.bed).hints_total, 0);
    drop_them(&hand);
    hand_close(&hand);
}

/* ---- the prefetch policy ---- */

struct note {
    spw_handle handle;
    unsigned asked, hinted;
    int answer; /* to hints */
    spw_chunks chunks;
};

static int note_fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    (void)handle;
    (void)flags;
    (void)out;
    return -EAGAIN;
}

static uint64_t note_size(const spw_handle *handle)
{
    return ((const struct note *)handle)->chunks.bytes;
}

static size_t note_count(const spw_handle *handle)
{
    return ((const struct note *)handle)->chunks.count;
}

static void note_drop(spw_handle *handle)
{
    spw_chunks_clear(&((struct note *)handle)->chunks);
}

static int note_prefetch(spw_handle *handle, unsigned flags)
{
    struct note *note = (struct note *)handle;
    if (flags & SPILLWAY_FETCH_HINT) {
        note->hinted++;
        return note->answer;
    }
    note->asked += !(flags & (SPILLWAY_FETCH_NEXT | SPILLWAY_FETCH_HEAD));
    return 0;
}

static const spw_handle_ops note_ops = {.size = sizeof(note_ops),
                                        .fetch = note_fetch,
                                        .size_bytes = note_size,
                                        .count = note_count,
                                        .drop = note_drop,
                                        .prefetch = note_prefetch};

enum { NOTES = 40, ENTRY = 10 };

struct desk {
    struct spw_view view;
    struct note notes[NOTES];
    spw_policy *policy;
    int hints;
};

static void desk_limits(void *context, spw_limits *limits)
{
    limits->hints = ((struct desk *)context)->hints;
}

/* NOTES handles of one entry each, and one resident entry behind them. */
static void desk_open(struct desk *desk, int hints)
{
    struct spw_block *spare = NULL;
    memset(desk, 0, sizeof(*desk));
    view_init(&desk->view, &fault_allocator, NULL);
    for (unsigned i = 0; i <= NOTES; i++) {
        spw_bytes bytes = stream_piece(i * 100, ENTRY);
        if (!spare)
            spare = block_open(&fault_allocator, NULL, BLOCK_ENTRIES, false);
        cr_assert_eq(view_push(&desk->view, &bytes, &spare), 0);
    }
    if (spare)
        block_close(spare);
    for (unsigned i = 0; i < NOTES; i++) {
        spw_cursor cursor = spw_view_seek(&desk->view, 0);
        spw_chunks removed = SPILLWAY_CHUNKS_NONE;
        desk->notes[i].handle.ops = &note_ops;
        desk->notes[i].chunks.bytes = ENTRY; /* until they are there */
        cr_assert_eq(spw_view_page(&desk->view, &cursor, 1, &desk->notes[i].handle, &removed), 0);
        desk->notes[i].chunks = removed;
    }
    desk->hints = hints;
    spw_prefetch_config config = {.size = sizeof(config),
                                  .budget_bytes = 10 * ENTRY,
                                  .limits = desk_limits,
                                  .limits_context = desk};
    cr_assert_eq(spw_prefetch_open(&config, &desk->policy), 0);
}

static void desk_close(struct desk *desk)
{
    desk->policy->ops->close(desk->policy);
    view_fini(&desk->view);
    cr_assert_eq(fault_alloc_live(), 0);
}

static void desk_has(const struct desk *desk, unsigned asked, unsigned hinted)
{
    for (unsigned i = 0; i < NOTES; i++) {
        cr_assert_eq(desk->notes[i].asked, i < asked, "%u", i);
        cr_assert_eq(desk->notes[i].hinted, i < hinted, "%u", i);
    }
}

Test(hint, the_policy_gives_one_further_ahead)
{
    static struct desk desk;
    desk_open(&desk, 1);
    desk.policy->ops->apply(desk.policy, &desk.view);
    desk_has(&desk, 10, 20);
    desk.policy->ops->apply(desk.policy, &desk.view);
    cr_assert_eq(desk.policy->ops->ahead(desk.policy, &desk.view), 0);
    desk_has(&desk, 10, 20);
    desk_close(&desk);
}

Test(hint, the_policy_gives_none_where_it_is_of_no_use)
{
    static struct desk desk;
    desk_open(&desk, 0);
    desk.policy->ops->apply(desk.policy, &desk.view);
    desk_has(&desk, 10, 0);
    desk_close(&desk);
}

Test(hint, the_policy_gives_it_later_where_it_was_too_early)
{
    static struct desk desk;
    desk_open(&desk, 1);
    desk.notes[15].answer = -EAGAIN;
    desk.policy->ops->apply(desk.policy, &desk.view);
    desk_has(&desk, 10, 16);
    desk.notes[15].answer = 0;
    desk.notes[15].hinted = 0;
    desk.policy->ops->apply(desk.policy, &desk.view);
    desk_has(&desk, 10, 20);
    desk_close(&desk);
}

/* With little patience it takes several looks. */
Test(hint, the_policy_pauses_in_between)
{
    static struct desk desk;
    desk_open(&desk, 1);
    for (unsigned i = 0; i < 5; i++) {
        desk.view.patience = 4 * PATIENCE_OF_PREFETCH;
        int more = desk.policy->ops->ahead(desk.policy, &desk.view);
        if (i == 0) {
            cr_assert_eq(more, 0, "nobody has said yet how far");
            desk.view.patience = 4 * PATIENCE_OF_PREFETCH;
            desk.policy->ops->apply(desk.policy, &desk.view);
            cr_assert_eq(desk.notes[0].asked, 1);
            cr_assert_eq(desk.notes[9].asked, 0);
        } else if (i == 1) {
            cr_assert_eq(more, 1);
            cr_assert_eq(desk.notes[9].asked, 0);
        }
    }
    desk.view.patience = VIEW_PATIENT;
    desk.policy->ops->apply(desk.policy, &desk.view);
    desk_has(&desk, 10, 20);
    desk_close(&desk);
}
