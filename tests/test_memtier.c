/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../pool/cgroup.h"
#include "../pool/memtier.h"
#include "../pool/node.h"
#include "../pool/segment.h"
#include "fault.h"
#include "harness.h"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 0x0004U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

#define KIB   UINT64_C(1024)
#define MIB   UINT64_C(1048576)
#define MS_NS UINT64_C(1000000)

enum { SLOTS_MAX = 4096 };

static struct log quiet_log;
static unsigned log_lines;
static char last_line[600];
static char fallbacks[200];
static struct memtier *tier;
static struct memslot slots[SLOTS_MAX];
static unsigned char *payload; /* 4 MiB and more, for `whole` */
static uint64_t payload_bytes;

static void count_line(void *context, enum spw_log_level level, const char *line)
{
    (void)context;
    (void)level;
    log_lines++;
    (void)snprintf(last_line, sizeof(last_line), "%s", line);
}

static void note_fallback(void *context, const char *name)
{
    (void)context;
    (void)snprintf(fallbacks + strlen(fallbacks), sizeof(fallbacks) - strlen(fallbacks), "%s ",
                   name);
}

static struct memtier_config config_of(uint64_t capacity, enum seal_mode seal)
{
    log_init(&quiet_log, &fault_os, count_line, NULL, SPILLWAY_LOG_DEBUG);
    return (struct memtier_config){.os = &fault_os,
                                   .allocator = &fault_allocator,
                                   .log = &quiet_log,
                                   .capacity_bytes = capacity,
                                   .nodes = "local",
                                   .seal = seal,
                                   .fallback = note_fallback};
}

static void open_tier(const struct memtier_config *config)
{
    int rc = memtier_open(config, &tier);

    cr_assert_eq(rc, 0, "%s: %s", strerror(-rc), last_line);
    cr_assert_eq(fault_mapped_bytes(), 0, "the probe leaves nothing");
    cr_assert_eq(fault_open_fds(), 0);
}

static void open_plain(uint64_t capacity, enum seal_mode seal)
{
    struct memtier_config config = config_of(capacity, seal);

    open_tier(&config);
}

static void close_tier(void)
{
    memtier_close(tier);
    cr_assert_eq(fault_mapped_bytes(), 0);
    cr_assert_eq(fault_open_fds(), 0);
    cr_assert_eq(fault_alloc_live(), 0);
    free(payload);
    payload = NULL;
}

static unsigned char byte_at(uint64_t seed, uint64_t i)
{
    return (unsigned char)(seed * 31 + i * 7 + i / 255);
}

static int put(uint64_t len, uint64_t seed, struct memslot *slot)
{
    struct memtier_source source = {.len = len};
    uint64_t i;

    if (payload_bytes < len || payload == NULL) {
        free(payload);
        payload = malloc(len);
        payload_bytes = len;
        cr_assert_not_null(payload);
    }
    for (i = 0; i < len; i++)
        payload[i] = byte_at(seed, i);
    source.whole = payload;
    return memtier_put(tier, &source, slot);
}

static void assert_holds(const struct memslot *slot, uint64_t len, uint64_t seed)
{
    uint64_t i;

    cr_assert_eq(slot->len, len);
    for (i = 0; i < len; i++) {
        if (slot->data[i] != byte_at(seed, i))
            break;
    }
    cr_assert_eq(i, len, "byte %llu is wrong", (unsigned long long)i);
}

static struct memtier_info info(void)
{
    struct memtier_info now;

    memtier_info(tier, &now);
    cr_assert_leq(now.segment_bytes, now.capacity_bytes);
    return now;
}

struct fill_of {
    uint64_t len, seed;
};

static void fill(void *context, unsigned char *to)
{
    const struct fill_of *of = context;
    uint64_t i;

    for (i = 0; i < of->len; i++)
        to[i] = byte_at(of->seed, i);
}

static int put_filled(uint64_t len, uint64_t seed, struct memslot *slot)
{
    struct fill_of of = {len, seed};
    struct memtier_source source = {.len = len, .fill = fill, .context = &of};

    return memtier_put(tier, &source, slot);
}

/* --- what it is for ------------------------------------------------------------------------- */

static void round_trip(enum seal_mode seal)
{
    static const uint64_t sizes[] = {1,    63,        64,        65,  4095,    4096,
                                     4097, 100 * KIB, 256 * KIB, MIB, 2 * MIB, 3 * MIB + 5};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    uint64_t stored = 0;
    unsigned i;

    open_plain(32 * MIB, seal);
    for (i = 0; i < COUNT; i++) {
        cr_assert_eq(put(sizes[i], i, &slots[2 * i]), 0);
        cr_assert_eq(put_filled(sizes[i], i + 100, &slots[2 * i + 1]), 0);
        stored += 2 * sizes[i];
    }
    cr_assert_eq(info().stored_bytes, stored);
    for (i = 0; i < COUNT; i++) {
        assert_holds(&slots[2 * i], sizes[i], i);
        assert_holds(&slots[2 * i + 1], sizes[i], i + 100);
        cr_assert_eq((uintptr_t)slots[i].data % 64, 0);
        cr_assert_eq(mprotect((void *)((uintptr_t)slots[2 * i].data & ~(uintptr_t)4095), 4096,
                              PROT_READ | PROT_WRITE),
                     -1);
    }
    for (i = 0; i < 2 * COUNT; i++)
        memtier_release(tier, &slots[i]);
    cr_assert_eq(info().stored_bytes, 0);
    if (seal == SEAL_STRICT)
        cr_assert_eq(info().segment_bytes, 0);
    close_tier();
    cr_assert_str_eq(fallbacks, "");
}

Test(memtier, recycle_round_trip)
{
    round_trip(SEAL_RECYCLE);
}

Test(memtier, strict_round_trip)
{
    round_trip(SEAL_STRICT);
}

Test(memtier, nothing_is_put_twice_in_one_place)
{
    unsigned i, round;

    open_plain(8 * MIB, SEAL_RECYCLE);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 50; i++)
            cr_assert_eq(put(100 * KIB + i, round + i, &slots[i]), 0);
        for (i = 0; i < 50; i++)
            assert_holds(&slots[i], 100 * KIB + i, round + i);
        for (i = 0; i < 50; i++)
            memtier_release(tier, &slots[(i * 7) % 50]);
    }
    close_tier();
}

Test(memtier, empty_source_is_refused)
{
    struct memtier_source source = {.len = 0, .whole = ""};

    open_plain(8 * MIB, SEAL_RECYCLE);
    cr_assert_eq(memtier_put(tier, &source, &slots[0]), -EINVAL);
    cr_assert_not(memtier_may_accept(tier, 0));
    close_tier();
}

Test(memtier, memory_is_reused_warm)
{
    const struct segment *first;
    uint64_t made, faulted;
    unsigned i;

    open_plain(8 * MIB, SEAL_RECYCLE);
    cr_assert_eq(put(MIB, 1, &slots[0]), 0);
    cr_assert_eq(put(MIB, 2, &slots[1]), 0);
    first = slots[0].segment;
    cr_assert_eq(slots[1].segment, first, "two pieces of one segment");
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    made = fault_calls(FAULT_MEMFD_CREATE);
    faulted = fault_calls(FAULT_ADVISE);
    for (i = 0; i < 20; i++) {
        cr_assert(memtier_may_accept(tier, 2 * MIB));
        cr_assert_eq(put(2 * MIB, i, &slots[0]), 0);
        cr_assert_eq(slots[0].segment, first);
        assert_holds(&slots[0], 2 * MIB, i);
        memtier_release(tier, &slots[0]);
    }
    cr_assert_eq(fault_calls(FAULT_MEMFD_CREATE), made);
    /* Not populated again, and the readers' map of the first few segments stays. */
    cr_assert_eq(fault_calls(FAULT_ADVISE), faulted);
    cr_assert_eq(info().segment_bytes, 2 * MIB);
    close_tier();
}

/* Pages of `bytes` at `start` that this very map has. */
static unsigned mapped_pages(const void *start, size_t bytes)
{
    uint64_t entries[512];
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    unsigned count = 0;
    size_t i;

    cr_assert_eq(bytes, 512 * 4096);
    if (fd < 0 || pread(fd, entries, sizeof(entries), (off_t)((uintptr_t)start / 4096 * 8)) !=
                      (ssize_t)sizeof(entries))
        test_skip("no /proc/self/pagemap");
    close(fd);
    for (i = 0; i < 512; i++)
        count += (unsigned)(entries[i] >> 63);
    return count;
}

/* A page in both maps counts twice in the resident set: for a few segments only. */
Test(memtier, readers_maps_are_kept_for_a_few_segments)
{
    enum { COUNT = 8, KEPT = 4 };
    const struct segment *segments[COUNT];
    unsigned i, kept = 0;
    uint64_t advised;

    open_plain(COUNT * 2 * MIB, SEAL_RECYCLE);
    for (i = 0; i < COUNT; i++)
        cr_assert_eq(put(2 * MIB, i, &slots[i]), 0);
    for (i = 0; i < COUNT; i++)
        assert_holds(&slots[i], 2 * MIB, i);
    advised = fault_calls(FAULT_ADVISE);
    for (i = 0; i < COUNT; i++) {
        segments[i] = slots[i].segment;
        memtier_release(tier, &slots[i]);
    }
    cr_assert_eq(fault_calls(FAULT_ADVISE), advised + COUNT - KEPT);
    for (i = 0; i < COUNT; i++) {
        unsigned pages = mapped_pages(segments[i]->read, 2 * MIB);

        cr_assert(pages == 512 || pages == 0);
        kept += pages == 512;
        cr_assert_eq(mapped_pages(segments[i]->write, 2 * MIB), 512, "warm");
    }
    cr_assert_eq(kept, KEPT);
    for (i = 0; i < KEPT; i++) { /* they are used first */
        cr_assert_eq(put(2 * MIB, i, &slots[i]), 0);
        cr_assert_eq(mapped_pages(slots[i].data, 2 * MIB), 512);
    }
    cr_assert_eq(put(2 * MIB, i, &slots[i]), 0);
    cr_assert_eq(mapped_pages(slots[i].data, 2 * MIB), 0);
    for (i = 0; i <= KEPT; i++)
        memtier_release(tier, &slots[i]);
    cr_assert_eq(memtier_trim(tier), COUNT * 2 * MIB);
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0); /* what was kept may be kept again */
    advised = fault_calls(FAULT_ADVISE);
    memtier_release(tier, &slots[0]);
    cr_assert_eq(fault_calls(FAULT_ADVISE), advised);
    close_tier();
}

/* --- places that the caller fills ----------------------------------------------------------- */

Test(memtier, taken_places_are_written_in_one_map_and_read_in_the_other)
{
    static const uint64_t sizes[] = {1, 4096, 64 * KIB, MIB, 2 * MIB, 3 * MIB + 5};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    unsigned char *write;
    uint64_t stored = 0, i;
    unsigned s;

    open_plain(16 * MIB, SEAL_RECYCLE);
    for (s = 0; s < COUNT; s++) {
        cr_assert_eq(put(100 + s, 50 + s, &slots[COUNT + s]), 0); /* between them */
        cr_assert_eq(memtier_take(tier, sizes[s], &slots[s], &write), 0);
        cr_assert_eq(slots[s].len, sizes[s]);
        cr_assert_eq((uintptr_t)write % 4096, 0);
        cr_assert_eq((uintptr_t)slots[s].data % 4096, 0);
        cr_assert_eq(segment_own_view(slots[s].segment, slots[s].data), write);
        cr_assert_eq(mprotect((void *)(uintptr_t)slots[s].data, 1, PROT_READ | PROT_WRITE), -1);
        for (i = 0; i < sizes[s]; i++)
            write[i] = byte_at(s, i);
        stored += sizes[s] + 100 + s;
    }
    cr_assert_eq(info().stored_bytes, stored);
    for (s = 0; s < COUNT; s++) {
        assert_holds(&slots[s], sizes[s], s);
        assert_holds(&slots[COUNT + s], 100 + s, 50 + s);
        memtier_release(tier, &slots[s]);
        memtier_release(tier, &slots[COUNT + s]);
    }
    cr_assert_eq(info().stored_bytes, 0);
    close_tier();
}

/* Segments of slabs of one size: what is freed is used again, whatever lies beside it. */
Test(memtier, each_cell_is_used_again_at_once)
{
    enum { CELLS = 8 * 32 }; /* of 64 KiB */
    unsigned char *write;
    unsigned i, round;

    open_plain(16 * MIB, SEAL_RECYCLE);
    for (i = 0; i < CELLS; i++) {
        cr_assert_eq(memtier_take(tier, 64 * KIB, &slots[i], &write), 0);
        cr_assert_eq(segment_own_view(slots[i].segment, slots[i].data), write);
        memset(write, (int)i, 64 * KIB);
    }
    cr_assert_eq(info().stored_bytes, 16 * MIB);
    cr_assert_eq(memtier_take(tier, 64 * KIB, &slots[CELLS], &write), -ENOSPC);
    for (round = 0; round < 3; round++) {
        for (i = round; i < CELLS; i += 3)
            memtier_release(tier, &slots[i]);
        for (i = round; i < CELLS; i += 3) {
            cr_assert_eq(memtier_take(tier, 64 * KIB, &slots[i], &write), 0);
            memset(write, (int)i, 64 * KIB);
        }
        cr_assert_eq(info().stored_bytes, 16 * MIB);
    }
    for (i = 0; i < CELLS; i++) {
        cr_assert_eq(slots[i].data[0], (unsigned char)i);
        cr_assert_eq(slots[i].data[64 * KIB - 1], (unsigned char)i);
    }
    for (i = 0; i < CELLS; i++)
        memtier_release(tier, &slots[(i * 37 + 5) % CELLS]);
    cr_assert_eq(info().stored_bytes, 0);
    cr_assert_eq(put(2 * MIB, 1, &slots[0]), 0, "and segments for something else");
    cr_assert_eq(memtier_take(tier, MIB, &slots[1], &write), 0);
    cr_assert_eq(memtier_take(tier, 512 * KIB, &slots[2], &write), 0);
    cr_assert_neq(slots[1].segment, slots[2].segment);
    for (i = 0; i < 3; i++)
        memtier_release(tier, &slots[i]);
    cr_assert_eq(memtier_trim(tier), 16 * MIB);
    close_tier();
}

/* Segments of 32 MiB have no more cells than bits. */
Test(memtier, large_segments_have_64_cells)
{
    struct memtier_config config = config_of(256 * MIB, SEAL_RECYCLE);
    unsigned char *write;
    unsigned i;

    config.segment_bytes = 32 * MIB;
    open_tier(&config);
    for (i = 0; i < 65; i++)
        cr_assert_eq(memtier_take(tier, 64 * KIB, &slots[i], &write), 0);
    cr_assert_eq(slots[0].segment, slots[63].segment);
    cr_assert_neq(slots[0].segment, slots[64].segment);
    for (i = 0; i < 65; i++)
        memtier_release(tier, &slots[i]);
    cr_assert_eq(info().stored_bytes, 0);
    close_tier();
}

/* Slabs of any size and bytes that are copied share the segments of a small tier. */
Test(memtier, few_segments_serve_everything)
{
    unsigned char *write;

    open_plain(2 * MIB, SEAL_RECYCLE);
    cr_assert_eq(memtier_take(tier, 64 * KIB, &slots[0], &write), 0);
    cr_assert_eq(memtier_take(tier, 128 * KIB, &slots[1], &write), 0);
    cr_assert_eq(put(100 * KIB, 1, &slots[2]), 0);
    assert_holds(&slots[2], 100 * KIB, 1);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    memtier_release(tier, &slots[2]);
    close_tier();
}

Test(memtier, taking_is_refused_like_putting)
{
    unsigned char *write;

    open_plain(4 * MIB, SEAL_RECYCLE);
    cr_assert_eq(memtier_take(tier, 0, &slots[0], &write), -EINVAL);
    cr_assert_eq(memtier_take(tier, 4 * MIB + 1, &slots[0], &write), -ENOSPC);
    cr_assert_eq(memtier_take(tier, UINT64_MAX, &slots[0], &write), -ENOSPC);
    cr_assert_eq(memtier_take(tier, 2 * MIB, &slots[0], &write), 0);
    cr_assert_eq(memtier_take(tier, MIB + 1, &slots[1], &write), 0);
    cr_assert_eq(memtier_take(tier, MIB, &slots[2], &write), -ENOSPC, "not on a page");
    cr_assert_eq(put(MIB - 64, 0, &slots[2]), 0, "but on a line");
    fault_alloc_after(1);
    memtier_release(tier, &slots[0]);
    cr_assert_eq(memtier_take(tier, 2 * MIB, &slots[0], &write), 0, "a warm one needs nothing");
    fault_alloc_after(0);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    memtier_release(tier, &slots[2]);
    (void)memtier_trim(tier);
    fault_alloc_after(1);
    cr_assert_eq(memtier_take(tier, MIB, &slots[0], &write), -ENOMEM);
    fault_fail(FAULT_MEMFD_CREATE, 0, 1, -EMFILE);
    cr_assert_eq(memtier_take(tier, MIB, &slots[0], &write), -ENOSPC);
    close_tier();
}

Test(memtier, nothing_is_taken_from_strict_segments)
{
    unsigned char *write;

    open_plain(4 * MIB, SEAL_STRICT);
    cr_assert_not(memtier_is_near(tier));
    cr_assert_eq(memtier_take(tier, MIB, &slots[0], &write), -EINVAL);
    close_tier();
}

/* Two nodes with memory, as read by a tier on `nodes`; this thread runs on node 0. */
static bool near_among_two(const char *nodes)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);
    bool near;

    fault_file("/sys/devices/system/node/online", "0-1\n");
    fault_file("/sys/devices/system/node/has_memory", "0-1\n");
    fault_file("/sys/devices/system/node/has_cpu", "0\n");
    fault_file("/sys/devices/system/node/node0/distance", "10 20\n");
    fault_file("/proc/self/status", "\nMems_allowed_list:\t0-1\n");
    fault_fail(FAULT_SET_POLICY, 0, FAULT_ALWAYS, 0);
    config.nodes = nodes;
    open_tier(&config);
    near = memtier_is_near(tier);
    close_tier();
    return near;
}

Test(memtier, near_is_where_the_thread_runs)
{
    open_plain(4 * MIB, SEAL_RECYCLE);
    cr_assert(memtier_is_near(tier));
    close_tier();
    if (node_of_thread() != 0)
        test_skip("not on node 0");
    cr_assert(near_among_two("local"));
    cr_assert(near_among_two("0"));
    cr_assert_not(near_among_two("1"));
    cr_assert_not(near_among_two("far"));
    cr_assert_not(near_among_two("cpuless"));
    cr_assert_not(near_among_two("0-1"), "nobody knows on which");
}

Test(memtier, one_node_is_near_to_all)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    fault_file("/sys/devices/system/node/has_memory", "0\n");
    config.nodes = "0";
    open_tier(&config);
    cr_assert(memtier_is_near(tier));
    close_tier();
}

Test(memtier, last_in_first_out)
{
    const struct segment *last;
    unsigned i;

    open_plain(8 * MIB, SEAL_RECYCLE);
    for (i = 0; i < 3; i++)
        cr_assert_eq(put(2 * MIB, i, &slots[i]), 0);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[2]);
    memtier_release(tier, &slots[1]);
    last = slots[1].segment;
    cr_assert_eq(put(KIB, 1, &slots[0]), 0);
    cr_assert_eq(slots[0].segment, last);
    memtier_release(tier, &slots[0]);
    close_tier();
}

Test(memtier, room_in_several_open_segments_is_used)
{
    unsigned i;

    open_plain(8 * MIB, SEAL_RECYCLE);
    for (i = 0; i < 4; i++) /* each leaves 512 KiB behind */
        cr_assert_eq(put(1536 * KIB, i, &slots[i]), 0);
    cr_assert_eq(info().segment_bytes, 8 * MIB);
    cr_assert_not(memtier_may_accept(tier, 513 * KIB));
    for (i = 4; i < 8; i++) {
        cr_assert(memtier_may_accept(tier, 512 * KIB));
        cr_assert_eq(put(512 * KIB, i, &slots[i]), 0);
    }
    cr_assert_eq(put(1, 0, &slots[8]), -ENOSPC);
    for (i = 0; i < 8; i++) {
        assert_holds(&slots[i], slots[i].len, i);
        memtier_release(tier, &slots[i]);
    }
    close_tier();
}

Test(memtier, many_half_empty_segments)
{
    unsigned i;

    open_plain(40 * MIB, SEAL_RECYCLE);
    for (i = 0; i < 20; i++)
        cr_assert_eq(put(1100 * KIB + i * 20 * KIB, i, &slots[i]), 0);
    cr_assert_eq(info().segment_bytes, 40 * MIB);
    cr_assert_eq(put(512 * KIB, 77, &slots[20]), 0);
    for (i = 0; i < 20; i++)
        assert_holds(&slots[i], slots[i].len, i);
    for (i = 0; i <= 20; i++)
        memtier_release(tier, &slots[i]);
    for (i = 0; i < 20; i++) /* all of them have come back */
        cr_assert_eq(put(2 * MIB, i, &slots[i]), 0);
    for (i = 0; i < 20; i++)
        memtier_release(tier, &slots[i]);
    close_tier();
}

/* --- limits --------------------------------------------------------------------------------- */

static void fill_up(enum seal_mode seal, uint64_t capacity, uint64_t len)
{
    unsigned i, count = 0;

    open_plain(capacity, seal);
    while (put(len, count, &slots[count]) == 0) {
        cr_assert_leq(info().segment_bytes, capacity);
        cr_assert_lt(++count, SLOTS_MAX);
    }
    cr_assert_geq(count * (len + 4096), capacity - capacity / 3);
    cr_assert_not(memtier_may_accept(tier, len));
    cr_assert_eq(log_lines, 1, "told once: %s", last_line);
    cr_assert_eq(put(len, 0, &slots[count]), -ENOSPC);
    cr_assert_eq(log_lines, 1);
    for (i = 0; i < count; i++)
        assert_holds(&slots[i], len, i);
    memtier_release(tier, &slots[count / 2]);
    if (seal == SEAL_STRICT) {
        cr_assert(memtier_may_accept(tier, len));
        cr_assert_eq(put(len, 7, &slots[count / 2]), 0);
        memtier_release(tier, &slots[count / 2]);
    }
    for (i = 0; i < count; i++) {
        if (i != count / 2)
            memtier_release(tier, &slots[i]);
    }
    cr_assert_eq(info().stored_bytes, 0);
    cr_assert_eq(info().refused_headroom_total, 0);
    close_tier();
}

Test(memtier, recycle_capacity)
{
    fill_up(SEAL_RECYCLE, 8 * MIB, 300 * KIB);
}

Test(memtier, recycle_capacity_that_is_no_multiple_of_a_segment)
{
    fill_up(SEAL_RECYCLE, 5 * MIB + 12345, 100 * KIB);
}

Test(memtier, recycle_capacity_below_one_segment)
{
    fill_up(SEAL_RECYCLE, 300 * KIB, 64 * KIB);
}

Test(memtier, strict_capacity)
{
    fill_up(SEAL_STRICT, 4 * MIB, 100 * KIB + 1);
}

Test(memtier, capacity_of_nothing)
{
    open_plain(0, SEAL_RECYCLE);
    cr_assert_not(memtier_may_accept(tier, 1));
    cr_assert_eq(put(1, 0, &slots[0]), -ENOSPC);
    close_tier();
    open_plain(100, SEAL_STRICT); /* less than a page */
    cr_assert_eq(put(1, 0, &slots[0]), -ENOSPC);
    close_tier();
}

Test(memtier, huge_capacity_costs_nothing_by_itself)
{
    struct memtier_config config = config_of(UINT64_MAX, SEAL_RECYCLE);

    fault_file("/proc/meminfo", "MemTotal: 9 kB\n"); /* as if the host did not say */
    open_tier(&config);
    cr_assert(memtier_may_accept(tier, MIB));
    cr_assert_eq(memtier_may_accept(tier, UINT64_MAX), false);
    close_tier();
}

Test(memtier, large_piece_gets_its_own_segment)
{
    open_plain(32 * MIB, SEAL_RECYCLE);
    cr_assert_eq(put(10 * MIB + 3, 1, &slots[0]), 0);
    assert_holds(&slots[0], 10 * MIB + 3, 1);
    cr_assert_eq(slots[0].segment->bytes, 10 * MIB + 4096);
    memtier_release(tier, &slots[0]);
    cr_assert_eq(put(7 * MIB, 2, &slots[0]), 0);
    cr_assert_eq(slots[0].segment->bytes, 10 * MIB + 4096, "it is used again");
    cr_assert_eq(put(MIB, 3, &slots[1]), 0);
    cr_assert_eq(slots[1].segment, slots[0].segment, "with the room behind the piece");
    assert_holds(&slots[0], 7 * MIB, 2);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    cr_assert_eq(put(33 * MIB, 4, &slots[0]), -ENOSPC);
    close_tier();
}

Test(memtier, warm_segments_make_way_for_a_large_piece)
{
    unsigned i;

    open_plain(8 * MIB, SEAL_RECYCLE);
    for (i = 0; i < 4; i++)
        cr_assert_eq(put(2 * MIB, i, &slots[i]), 0);
    for (i = 1; i < 4; i++)
        memtier_release(tier, &slots[i]);
    cr_assert_eq(info().segment_bytes, 8 * MIB);
    cr_assert_not(memtier_may_accept(tier, 7 * MIB));
    cr_assert_eq(put(7 * MIB, 9, &slots[1]), -ENOSPC);
    cr_assert_eq(info().segment_bytes, 8 * MIB, "nothing is freed in vain");
    cr_assert(memtier_may_accept(tier, 3 * MIB));
    cr_assert_eq(put(3 * MIB, 9, &slots[1]), 0);
    assert_holds(&slots[0], 2 * MIB, 0);
    assert_holds(&slots[1], 3 * MIB, 9);
    cr_assert_eq(info().segment_bytes, 7 * MIB, "no more than it takes");
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    close_tier();
}

Test(memtier, trim_unmaps_what_is_warm)
{
    open_plain(8 * MIB, SEAL_RECYCLE);
    cr_assert_eq(memtier_trim(tier), 0);
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0);
    cr_assert_eq(put(2 * MIB, 1, &slots[1]), 0);
    cr_assert_eq(put(3 * MIB, 2, &slots[2]), 0);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[2]);
    cr_assert_eq(memtier_trim(tier), 5 * MIB);
    cr_assert_eq(info().segment_bytes, 2 * MIB);
    cr_assert_eq(fault_mapped_bytes(), 2 * 2 * (int64_t)MIB);
    assert_holds(&slots[1], 2 * MIB, 1);
    memtier_release(tier, &slots[1]);
    close_tier();
}

Test(memtier, segments_grow_with_the_capacity_to_bound_maps)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_RECYCLE);
    unsigned i;

    fault_file("/proc/sys/vm/max_map_count", "32\n"); /* 8 segments of two maps are half */
    open_tier(&config);
    cr_assert_eq(put(1, 0, &slots[0]), 0);
    cr_assert_geq(slots[0].segment->bytes, 8 * MIB);
    memtier_release(tier, &slots[0]);
    for (i = 0; i < 64; i++) {
        if (put(MIB, i, &slots[i]) < 0)
            break;
    }
    cr_assert_geq(i, 60);
    cr_assert_leq(fault_mapped_bytes(), 2 * 64 * (int64_t)MIB);
    while (i-- > 0)
        memtier_release(tier, &slots[i]);
    close_tier();
}

Test(memtier, number_of_maps_is_bounded_in_strict_mode)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_STRICT);
    unsigned i;

    fault_file("/proc/sys/vm/max_map_count", "20\n");
    open_tier(&config);
    for (i = 0; i < 10; i++)
        cr_assert_eq(put(KIB, i, &slots[i]), 0);
    cr_assert_not(memtier_may_accept(tier, KIB));
    cr_assert_eq(put(KIB, i, &slots[10]), -ENOSPC);
    cr_assert_eq(log_lines, 1);
    cr_assert_not_null(strstr(last_line, "max_map_count"));
    memtier_release(tier, &slots[3]);
    cr_assert_eq(put(KIB, 3, &slots[3]), 0);
    for (i = 0; i < 10; i++)
        memtier_release(tier, &slots[i]);
    close_tier();
}

Test(memtier, descriptors_are_left_to_the_service)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_STRICT);
    unsigned i;

    fault_limit(RLIMIT_NOFILE, 32);
    open_tier(&config);
    for (i = 0; i < 8; i++)
        cr_assert_eq(put(KIB, i, &slots[i]), 0);
    cr_assert_eq(fault_open_fds(), 8);
    for (; i < 12; i++) /* sealed all the same */
        cr_assert_eq(put(KIB, i, &slots[i]), 0);
    cr_assert_eq(fault_open_fds(), 8);
    cr_assert_not_null(strstr(last_line, "RLIMIT_NOFILE"));
    for (i = 0; i < 12; i++) {
        assert_holds(&slots[i], KIB, i);
        memtier_release(tier, &slots[i]);
    }
    cr_assert_eq(fault_open_fds(), 0);
    for (i = 0; i < 8; i++)
        cr_assert_eq(put(KIB, i, &slots[i]), 0);
    cr_assert_eq(fault_open_fds(), 8);
    for (i = 0; i < 8; i++)
        memtier_release(tier, &slots[i]);
    close_tier();
}

/* --- headroom ------------------------------------------------------------------------------- */

/* A version 2 group with a limit and a usage, in MiB; overrides the machine's own. */
static void put_group(uint64_t max, uint64_t usage)
{
    char text[64];

    fault_file("/proc/self/cgroup", "0::/g\n");
    fault_file("/proc/self/mountinfo", "30 1 0:26 / /fx rw - cgroup2 cgroup2 rw\n");
    (void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)(max * MIB));
    fault_file("/fx/g/memory.max", text);
    (void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)(usage * MIB));
    fault_file("/fx/g/memory.current", text);
    fault_file("/fx/g/memory.stat", "inactive_file 0\n");
}

static void headroom(enum seal_mode seal)
{
    struct memtier_config config = config_of(64 * MIB, seal);
    uint64_t made;

    fault_clock_set(1000 * MS_NS);
    put_group(100, 60); /* the margin is 16 MiB */
    open_tier(&config);
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0);
    put_group(100, 83); /* room for one MiB */
    made = fault_calls(FAULT_MEMFD_CREATE);
    cr_assert(memtier_may_accept(tier, 2 * MIB));
    cr_assert_eq(put(2 * MIB, 1, &slots[1]), -ENOSPC);
    cr_assert_eq(fault_calls(FAULT_MEMFD_CREATE), made, "refused before anything is made");
    cr_assert_eq(info().refused_headroom_total, 1);
    cr_assert_eq(info().segment_bytes, 2 * MIB);
    cr_assert_eq(log_lines, 1);
    cr_assert_not_null(strstr(last_line, "cgroup"));
    assert_holds(&slots[0], 2 * MIB, 0);
    memtier_release(tier, &slots[0]);
    close_tier();
}

Test(memtier, recycle_refuses_without_headroom)
{
    headroom(SEAL_RECYCLE);
}

Test(memtier, strict_refuses_without_headroom)
{
    headroom(SEAL_STRICT);
}

Test(memtier, backs_off_by_the_clock_after_a_refusal)
{
    static const uint64_t steps_ms[] = {100, 200, 400, 800, 1600, 2000, 2000};
    struct memtier_config config = config_of(64 * MIB, SEAL_STRICT);
    uint64_t opens;
    unsigned i;

    fault_clock_set(5000 * MS_NS);
    put_group(100, 95);
    open_tier(&config);
    for (i = 0; i < sizeof(steps_ms) / sizeof(steps_ms[0]); i++) {
        cr_assert(memtier_may_accept(tier, MIB));
        cr_assert_eq(put(MIB, 0, &slots[0]), -ENOSPC);
        cr_assert_eq(info().refused_headroom_total, i + 1);
        opens = fault_calls(FAULT_OPEN);
        cr_assert_not(memtier_may_accept(tier, MIB));
        cr_assert_eq(put(MIB, 0, &slots[0]), -ENOSPC);
        fault_clock_advance(steps_ms[i] * MS_NS - 1);
        cr_assert_not(memtier_may_accept(tier, MIB));
        cr_assert_eq(put(MIB, 0, &slots[0]), -ENOSPC);
        cr_assert_eq(fault_calls(FAULT_OPEN), opens, "nothing is looked at meanwhile");
        cr_assert_eq(info().refused_headroom_total, i + 1);
        fault_clock_advance(1);
    }
    cr_assert_eq(log_lines, 1);
    put_group(100, 10);
    cr_assert_eq(put(MIB, 0, &slots[0]), 0);
    put_group(100, 95);
    cr_assert_eq(put(MIB, 0, &slots[1]), -ENOSPC);
    fault_clock_advance(100 * MS_NS);
    cr_assert(memtier_may_accept(tier, MIB), "it starts with the short wait again");
    memtier_release(tier, &slots[0]);
    close_tier();
}

Test(memtier, warm_memory_is_used_while_backing_off)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_RECYCLE);

    fault_clock_set(5000 * MS_NS);
    put_group(100, 10);
    open_tier(&config);
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0);
    put_group(100, 95);
    cr_assert_eq(put(2 * MIB, 1, &slots[1]), -ENOSPC);
    cr_assert_not(memtier_may_accept(tier, MIB));
    memtier_release(tier, &slots[0]);
    cr_assert(memtier_may_accept(tier, MIB));
    cr_assert_eq(put(MIB, 2, &slots[0]), 0);
    memtier_release(tier, &slots[0]);
    close_tier();
}

Test(memtier, margin_of_a_small_and_of_a_large_limit)
{
    struct memtier_config config = config_of(1024 * MIB, SEAL_STRICT);

    fault_clock_set(5000 * MS_NS);
    put_group(20, 10); /* margin 5 MiB */
    open_tier(&config);
    cr_assert_eq(put(4 * MIB, 0, &slots[0]), 0);
    memtier_release(tier, &slots[0]);
    cr_assert_eq(put(6 * MIB, 0, &slots[0]), -ENOSPC);
    close_tier();
    put_group(1600, 1495); /* margin 100 MiB */
    open_tier(&config);
    cr_assert_eq(put(4 * MIB, 0, &slots[0]), 0);
    memtier_release(tier, &slots[0]);
    cr_assert_eq(put(6 * MIB, 0, &slots[0]), -ENOSPC);
    close_tier();
}

static uint64_t forty_mib(void *context)
{
    (void)context;
    return 40 * MIB;
}

Test(memtier, unused_budget_is_left_alone)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_RECYCLE);

    fault_clock_set(5000 * MS_NS);
    put_group(100, 40); /* 60 - 16 - 40 */
    config.unused_budget = forty_mib;
    open_tier(&config);
    cr_assert_eq(put(5 * MIB, 0, &slots[0]), -ENOSPC);
    fault_clock_advance(1000 * MS_NS);
    cr_assert_eq(put(4 * MIB, 0, &slots[0]), 0);
    memtier_release(tier, &slots[0]);
    close_tier();
}

Test(memtier, refuses_when_the_host_runs_out)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_RECYCLE);

    put_group(10000, 0);
    fault_file("/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 16900 kB\n");
    open_tier(&config);
    cr_assert_eq(put(MIB, 0, &slots[0]), -ENOSPC);
    cr_assert_not_null(strstr(last_line, "host"));
    cr_assert_eq(info().refused_headroom_total, 1);
    close_tier();
}

Test(memtier, refuses_when_it_cannot_look)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_RECYCLE);

    put_group(100, 10);
    open_tier(&config);
    fault_fail(FAULT_OPEN, 0, FAULT_ALWAYS, -EMFILE);
    cr_assert_eq(put(MIB, 0, &slots[0]), -ENOSPC);
    cr_assert_eq(info().refused_headroom_total, 1);
    cr_assert_not_null(strstr(last_line, "memory cgroup has left cannot be read"));
    cr_assert_not_null(strstr(last_line, "RLIMIT_NOFILE"));
    close_tier();
}

Test(memtier, refuses_when_it_cannot_look_at_the_host)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_RECYCLE);

    put_group(10000, 0);
    fault_file("/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 800000 kB\n");
    open_tier(&config);
    fault_file("/proc/meminfo", NULL);
    cr_assert_eq(put(MIB, 0, &slots[0]), -ENOSPC);
    cr_assert_not_null(strstr(last_line, "host has left cannot be read"));
    close_tier();
}

static atomic_int holding; /* threads inside the hook */
static atomic_bool go_on;

/* Holds the first maker between its look at the headroom and its first page. */
static void hold_first(void *context)
{
    (void)context;
    if (atomic_fetch_add(&holding, 1) > 0)
        return;
    while (!atomic_load(&go_on))
        usleep(1000);
}

static void *put_one(void *argument)
{
    struct memslot *slot = argument;
    int rc = put_filled(4 * MIB, 5, slot);

    return (void *)(intptr_t)rc;
}

Test(memtier, two_threads_do_not_both_take_the_last_room)
{
    struct memtier_config config = config_of(64 * MIB, SEAL_RECYCLE);
    pthread_t first;
    void *rc;

    put_group(100, 78); /* room for 6 MiB */
    open_tier(&config);
    fault_hook(FAULT_MEMFD_CREATE, hold_first, NULL);
    cr_assert_eq(pthread_create(&first, NULL, put_one, &slots[0]), 0);
    while (atomic_load(&holding) == 0)
        usleep(1000);
    cr_assert_eq(put_filled(4 * MIB, 6, &slots[1]), -ENOSPC);
    cr_assert_eq(info().refused_headroom_total, 1);
    atomic_store(&go_on, true);
    cr_assert_eq(pthread_join(first, &rc), 0);
    cr_assert_eq((intptr_t)rc, 0);
    assert_holds(&slots[0], 4 * MIB, 5);
    memtier_release(tier, &slots[0]);
    close_tier();
}

/* Two puts of 4 MiB; the second begins while the first makes a segment of all there is. */
static void put_two_at_once(intptr_t *first_result, intptr_t *second_result)
{
    struct memtier_config config = config_of(10 * MIB, SEAL_RECYCLE);
    pthread_t first, second;
    void *rc;

    config.segment_bytes = 10 * MIB;
    open_tier(&config);
    fault_hook(FAULT_MEMFD_CREATE, hold_first, NULL);
    cr_assert_eq(pthread_create(&first, NULL, put_one, &slots[0]), 0);
    while (atomic_load(&holding) == 0)
        usleep(1000);
    cr_assert_eq(pthread_create(&second, NULL, put_one, &slots[1]), 0);
    usleep(20000);
    atomic_store(&go_on, true);
    cr_assert_eq(pthread_join(first, &rc), 0);
    *first_result = (intptr_t)rc;
    cr_assert_eq(pthread_join(second, &rc), 0);
    *second_result = (intptr_t)rc;
    cr_assert_eq(fault_calls(FAULT_MEMFD_CREATE), 2, "one for the probe, one for the first");
}

Test(memtier, who_finds_the_rest_reserved_waits_for_it)
{
    intptr_t first, second;

    put_two_at_once(&first, &second);
    cr_assert_eq(first, 0);
    cr_assert_eq(second, 0);
    cr_assert_eq(slots[0].segment, slots[1].segment);
    assert_holds(&slots[0], 4 * MIB, 5);
    assert_holds(&slots[1], 4 * MIB, 5);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    close_tier();
}

Test(memtier, who_waits_for_a_segment_that_fails_does_not_hang)
{
    intptr_t first, second;

    fault_clock_set(1000 * MS_NS);
    fault_fail(FAULT_FTRUNCATE, 1, 1, -ENOMEM);
    put_two_at_once(&first, &second);
    cr_assert_eq(first, -ENOSPC);
    cr_assert_eq(second, -ENOSPC, "the tier is backing off");
    cr_assert_eq(info().segment_bytes, 0);
    close_tier();
}

/* --- a real group --------------------------------------------------------------------------- */

static char group_path[600];

static bool write_text(const char *directory, const char *file, const char *text)
{
    char path[700];
    bool written;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", directory, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return written;
}

/* Makes a group with a limit beside our own, where the machine permits. */
static bool make_group(const char *limit)
{
    static struct cgroup group;
    const struct cgroup_level *level = &group.levels[0];
    char *slash;

    cgroup_find(&os_linux, "", &group);
    if (group.count == 0)
        return false;
    (void)snprintf(group_path, sizeof(level->limit), "%s", level->limit);
    slash = strrchr(group_path, '/');
    *slash = '\0';
    if (level->version == 2) { /* a group that has processes has no children with controllers */
        slash = strrchr(group_path, '/');
        *slash = '\0';
    }
    (void)snprintf(group_path + strlen(group_path), 64, "/spillway-test-%d", (int)getpid());
    if (mkdir(group_path, 0755) < 0)
        return false;
    if (write_text(group_path, level->version == 1 ? "memory.limit_in_bytes" : "memory.max", limit))
        return true;
    (void)rmdir(group_path);
    return false;
}

static void remove_group(void)
{
    unsigned i;

    for (i = 0; i < 100 && rmdir(group_path) < 0 && errno == EBUSY; i++)
        usleep(10000);
}

/* In a child inside the group: asks for far more than there is. Returns an exit status. */
static int greedy(enum seal_mode seal)
{
    struct memtier_config config = config_of(512 * MIB, seal);
    struct memtier_info now;
    unsigned count = 0, i;

    if (!write_text(group_path, "cgroup.procs", "0"))
        return 1;
    config.os = &os_linux;
    if (memtier_open(&config, &tier) < 0)
        return 2;
    while (count < 512 && put_filled(MIB, count, &slots[count]) == 0)
        count++;
    memtier_info(tier, &now);
    if (count == 512 || now.refused_headroom_total == 0)
        return 3;
    if (count < 16) /* it should get the better part of it */
        return 4;
    for (i = 0; i < count; i++) {
        if (slots[i].data[777] != byte_at(i, 777))
            return 5;
        memtier_release(tier, &slots[i]);
    }
    memtier_close(tier);
    return 0;
}

static void real_group(enum seal_mode seal)
{
    int status = 0;
    pid_t child;

    if (UNDER_TSAN)
        test_skip("ThreadSanitizer's own memory would not fit into the group");
    if (!make_group("67108864"))
        test_skip("no memory cgroup can be made here");
    child = fork();
    if (child == 0)
        _exit(greedy(seal));
    if (child > 0)
        (void)waitpid(child, &status, 0);
    remove_group();
    cr_assert_gt(child, 0);
    cr_assert_not(WIFSIGNALED(status), "killed by signal %d", WTERMSIG(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
}

Test(memtier, recycle_lives_in_a_group_of_64_mib)
{
    real_group(SEAL_RECYCLE);
}

Test(memtier, strict_lives_in_a_group_of_64_mib)
{
    real_group(SEAL_STRICT);
}

/* --- faults --------------------------------------------------------------------------------- */

static void faults(enum seal_mode seal)
{
    static const struct {
        enum fault kind;
        int err;
    } cases[] = {{FAULT_MEMFD_CREATE, -EMFILE}, {FAULT_MAP, -ENOMEM},    {FAULT_FCNTL, -EPERM},
                 {FAULT_FTRUNCATE, -ENOSPC},    {FAULT_ADVISE, -ENOMEM}, {FAULT_ADVISE, -EFAULT},
                 {FAULT_ADVISE, -EHWPOISON}};
    struct memtier_info before;
    unsigned i;

    fault_clock_set(1000 * MS_NS);
    open_plain(16 * MIB, seal);
    cr_assert_eq(put(2 * MIB, 9, &slots[9]), 0);
    before = info();
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t mapped = fault_mapped_bytes(), fds = fault_open_fds(), live = fault_alloc_live();
        struct memtier_info after;

        fault_fail(cases[i].kind, 0, 1, cases[i].err);
        cr_assert_eq(put(2 * MIB, 1, &slots[0]), -ENOSPC, "case %u", i);
        cr_assert_not(memtier_may_accept(tier, 2 * MIB));
        after = info();
        cr_assert_eq(memcmp(&before, &after, sizeof(after)), 0);
        cr_assert_eq(fault_mapped_bytes(), mapped);
        cr_assert_eq(fault_open_fds(), fds);
        cr_assert_eq(fault_alloc_live(), live);
        fault_clock_advance(3000 * MS_NS);
        cr_assert_eq(put(2 * MIB, 1, &slots[0]), 0, "it works again");
        memtier_release(tier, &slots[0]);
        (void)memtier_trim(tier);
    }
    cr_assert_eq(log_lines, 1, "told once");
    assert_holds(&slots[9], 2 * MIB, 9);
    memtier_release(tier, &slots[9]);
    close_tier();
}

Test(memtier, recycle_failures_leave_nothing)
{
    faults(SEAL_RECYCLE);
}

Test(memtier, strict_failures_leave_nothing)
{
    faults(SEAL_STRICT);
}

Test(memtier, strict_write_and_reopen_failures)
{
    fault_clock_set(1000 * MS_NS);
    open_plain(16 * MIB, SEAL_STRICT);
    fault_fail(FAULT_PWRITE, 0, 1, -ENOSPC);
    cr_assert_eq(put(MIB, 1, &slots[0]), -ENOSPC);
    fault_clock_advance(3000 * MS_NS);
    fault_path_fail("/proc/thread-self/fd/", -ENOENT);
    cr_assert_eq(put(MIB, 1, &slots[0]), -ENOSPC);
    cr_assert_eq(info().segment_bytes, 0);
    cr_assert_eq(fault_mapped_bytes(), 0);
    cr_assert_eq(fault_open_fds(), 0);
    close_tier();
}

Test(memtier, no_memory_for_a_segment)
{
    open_plain(16 * MIB, SEAL_RECYCLE);
    fault_alloc_after(1);
    cr_assert_eq(put(MIB, 1, &slots[0]), -ENOMEM);
    cr_assert_eq(info().segment_bytes, 0);
    cr_assert(memtier_may_accept(tier, MIB));
    cr_assert_eq(put(MIB, 1, &slots[0]), 0);
    memtier_release(tier, &slots[0]);
    close_tier();
}

Test(memtier, open_fails_cleanly)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);
    unsigned n;

    config.nodes = "all";
    for (n = 1; n <= 2; n++) {
        fault_alloc_after(n);
        cr_assert_eq(memtier_open(&config, &tier), -ENOMEM);
        cr_assert_eq(fault_alloc_live(), 0);
    }
    fault_clear();
    fault_fail(FAULT_MEMFD_CREATE, 0, FAULT_ALWAYS, -ENOSYS);
    cr_assert_eq(memtier_open(&config, &tier), -ENOSYS);
    cr_assert_not_null(strstr(last_line, "memfd_create"));
    fault_clear();
    config.nodes = "0-x";
    cr_assert_eq(memtier_open(&config, &tier), -EINVAL);
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_mapped_bytes(), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

/* --- fallbacks ------------------------------------------------------------------------------ */

/* What is told names `hint`, which somebody can do something about, in strict mode as well. */
static void expect_fallback(struct memtier_config *config, const char *name, const char *hint)
{
    unsigned i;

    open_tier(config);
    cr_assert_not_null(strstr(last_line, hint), "'%s' does not say '%s'", last_line, hint);
    for (i = 0; i < 4; i++)
        cr_assert_eq(put(2 * MIB, i, &slots[i]), 0);
    cr_assert_str_eq(fallbacks, name);
    for (i = 0; i < 4; i++) {
        assert_holds(&slots[i], 2 * MIB, i);
        memtier_release(tier, &slots[i]);
    }
    close_tier();
    config->strict = true;
    last_line[0] = '\0';
    cr_assert_eq(memtier_open(config, &tier), -EOPNOTSUPP);
    cr_assert_not_null(strstr(last_line, hint), "'%s' does not say '%s'", last_line, hint);
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_mapped_bytes(), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(memtier, mlock_falls_back)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.mlock = true;
    fault_fail(FAULT_LOCK, 0, FAULT_ALWAYS, -ENOMEM);
    expect_fallback(&config, "mlock ", "RLIMIT_MEMLOCK");
}

Test(memtier, locked_bytes_are_those_really_locked)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.mlock = true;
    open_tier(&config);
    if (fallbacks[0] != '\0')
        test_skip("RLIMIT_MEMLOCK is too small");
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0);
    cr_assert_eq(info().locked_bytes, 2 * MIB);
    fault_fail(FAULT_LOCK, 0, 1, -EAGAIN);
    cr_assert_eq(put(2 * MIB, 1, &slots[1]), 0);
    cr_assert_eq(info().locked_bytes, 2 * MIB);
    cr_assert_str_eq(fallbacks, "mlock ");
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    (void)memtier_trim(tier);
    cr_assert_eq(info().locked_bytes, 0);
    close_tier();
}

/* In a child without privileges. Returns an exit status. */
static int unprivileged(void)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);
    struct rlimit limit = {.rlim_cur = 3 * MIB, .rlim_max = 3 * MIB};
    struct memtier_info now;
    unsigned seal, i;

    if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setresgid(65534, 65534, 65534) < 0 ||
        setresuid(65534, 65534, 65534) < 0)
        return 1;
    config.mlock = true;
    for (seal = SEAL_RECYCLE; seal <= SEAL_STRICT; seal++) {
        config.seal = (enum seal_mode)seal;
        config.strict = false;
        fallbacks[0] = '\0';
        if (memtier_open(&config, &tier) < 0)
            return 2;
        for (i = 0; i < 2; i++) {
            if (put_filled(2 * MIB, i, &slots[i]) < 0 || slots[i].data[9] != byte_at(i, 9))
                return 3;
        }
        memtier_info(tier, &now);
        if (now.locked_bytes != 2 * MIB || strcmp(fallbacks, "mlock ") != 0)
            return 4;
        for (i = 0; i < 2; i++)
            memtier_release(tier, &slots[i]);
        memtier_close(tier);
        config.strict = true;
        if (memtier_open(&config, &tier) >= 0)
            return 5;
    }
    return 0;
}

Test(memtier, small_memlock_limit_without_privileges)
{
    int status;
    pid_t child;

    if (geteuid() != 0)
        test_skip("only root can become somebody else");
    child = fork();
    if (child == 0)
        _exit(unprivileged());
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
}

Test(memtier, huge_pages_fall_back)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.huge_pages = HUGE_ON;
    fault_fail_when(FAULT_MEMFD_CREATE, MFD_HUGETLB, 0, FAULT_ALWAYS, -ENOENT);
    expect_fallback(&config, "huge-pages ", "vm.nr_hugepages");
}

Test(memtier, machine_without_hugetlb)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_STRICT);

    config.huge_pages = HUGE_ON;
    fault_file("/proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 8000000 kB\n");
    expect_fallback(&config, "huge-pages ", "CONFIG_HUGETLBFS");
}

Test(memtier, transparent_huge_pages_switched_off)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.huge_pages = HUGE_TRANSPARENT;
    fault_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
               "always within_size advise [never] deny force\n");
    expect_fallback(&config, "huge-pages ", "shmem_enabled");
}

Test(memtier, transparent_huge_pages_switched_on)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.huge_pages = HUGE_TRANSPARENT;
    fault_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
               "always within_size [advise] never deny force\n");
    fault_fail_when(FAULT_ADVISE, MADV_HUGEPAGE, 0, FAULT_ALWAYS, 0);
    open_tier(&config);
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0);
    cr_assert_str_eq(fallbacks, "");
    memtier_release(tier, &slots[0]);
    close_tier();
}

/* Nothing is asserted before the machine has its huge pages back. */
Test(memtier, real_huge_pages)
{
    struct memtier_config config = config_of(8 * MIB, SEAL_RECYCLE);
    int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC), rc = -1;
    struct memtier_info now = {0};
    char before[32];
    ssize_t n = -1;

    if (fd >= 0 && flock(fd, LOCK_EX) == 0) /* another test may want some, too */
        n = pread(fd, before, sizeof(before), 0);
    if (n <= 0 || pwrite(fd, "4", 1, 0) != 1)
        test_skip("huge pages cannot be reserved here");
    config.huge_pages = HUGE_ON;
    if (memtier_open(&config, &tier) == 0) {
        rc = put_filled(2 * MIB, 3, &slots[0]);
        memtier_info(tier, &now);
    }
    (void)!pwrite(fd, before, (size_t)n, 0);
    close(fd);
    cr_assert_eq(rc, 0);
    assert_holds(&slots[0], 2 * MIB, 3);
    memtier_release(tier, &slots[0]);
    close_tier();
    cr_assert_eq(now.segment_bytes, 2 * MIB);
    cr_assert_eq(now.huge_bytes, fallbacks[0] == '\0' ? 2 * MIB : 0);
    if (fallbacks[0] != '\0')
        test_skip("no huge pages were free");
}

Test(memtier, placement_refused_falls_back)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.nodes = "0";
    fault_fail(FAULT_SET_POLICY, 0, FAULT_ALWAYS, -EPERM);
    expect_fallback(&config, "nodes ", "kernel refuses to place");
}

Test(memtier, missing_node_falls_back)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.nodes = "1022";
    expect_fallback(&config, "nodes ", "nodes '1022': this machine, or its cpuset, has none");
    config.strict = false;
    fallbacks[0] = '\0';
    config.nodes = "0,1022";
    expect_fallback(&config, "nodes ", "nodes '0,1022': this machine, or its cpuset, lacks some");
}

/* The reserve is empty: found out when the map is made, not when the memfd is. */
Test(memtier, huge_pages_without_a_reserve)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_STRICT);

    config.huge_pages = HUGE_ON;
    config.strict = true;
    fault_fail(FAULT_MAP, 0, 1, -ENOMEM);
    cr_assert_eq(memtier_open(&config, &tier), -EOPNOTSUPP);
    cr_assert_not_null(strstr(last_line, "vm.nr_hugepages"));
    fault_fail(FAULT_MAP, 0, FAULT_ALWAYS, -ENOMEM); /* with normal pages neither */
    cr_assert_eq(memtier_open(&config, &tier), -ENOMEM);
    cr_assert_null(strstr(last_line, "vm.nr_hugepages"));
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_mapped_bytes(), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(memtier, node_0_is_asked_for_and_verified)
{
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    config.nodes = "0";
    open_tier(&config);
    if (fallbacks[0] != '\0')
        test_skip("placement is refused here");
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0);
    cr_assert_eq(fault_last(FAULT_SET_POLICY).argument, NODE_BIND);
    cr_assert_eq(info().misplaced_bytes, 0);
    fault_node(3);
    cr_assert_eq(put(2 * MIB, 1, &slots[1]), 0);
    cr_assert_eq(info().misplaced_bytes, 2 * MIB);
    cr_assert_eq(log_lines, 1);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    (void)memtier_trim(tier);
    cr_assert_eq(info().misplaced_bytes, 0);
    close_tier();
}

Test(memtier, full_node_is_preferred_or_refused)
{
    static const char path[] = "/sys/devices/system/node/node0/meminfo";
    struct memtier_config config = config_of(16 * MIB, SEAL_RECYCLE);

    fault_clock_set(1000 * MS_NS);
    config.nodes = "0";
    open_tier(&config);
    if (fallbacks[0] != '\0')
        test_skip("placement is refused here");
    fault_file(path, "Node 0 MemFree: 10000 kB\nNode 0 Inactive(file): 200000 kB\n");
    cr_assert_eq(put(2 * MIB, 0, &slots[0]), 0);
    cr_assert_eq(fault_last(FAULT_SET_POLICY).argument, NODE_PREFERRED_MANY);
    fault_file(path, "Node 0 MemFree: 10000 kB\nNode 0 Inactive(file): 20000 kB\n");
    cr_assert_eq(put(2 * MIB, 1, &slots[1]), -ENOSPC);
    cr_assert_eq(info().refused_headroom_total, 1);
    cr_assert_not_null(strstr(last_line, "node"));
    fault_clock_advance(3000 * MS_NS);
    fault_file(path, NULL); /* unknown: asked for, not insisted on */
    cr_assert_eq(put(2 * MIB, 1, &slots[1]), 0);
    cr_assert_eq(fault_last(FAULT_SET_POLICY).argument, NODE_PREFERRED_MANY);
    memtier_release(tier, &slots[0]);
    memtier_release(tier, &slots[1]);
    close_tier();
}

/* --- several threads ------------------------------------------------------------------------ */

enum { THREADS = 4, ROUNDS = 150, HELD = 6 };

static atomic_uint wrong_bytes, stored_pieces;

static void *churn(void *argument)
{
    uint64_t seed = (uint64_t)(uintptr_t)argument + 1;
    struct memslot held[HELD] = {{0}};
    unsigned i;

    for (i = 0; i < ROUNDS; i++) {
        struct memslot *slot = &held[i % HELD];
        uint64_t len = 1 + (seed * 7919 + i * 104729) % (i % 17 == 0 ? 3 * MIB : 300 * KIB);

        if (slot->segment != NULL) {
            if (slot->data[slot->len / 2] != byte_at(seed, slot->len / 2) ||
                slot->data[slot->len - 1] != byte_at(seed, slot->len - 1))
                atomic_fetch_add(&wrong_bytes, 1);
            memtier_release(tier, slot);
            slot->segment = NULL;
        }
        if (i % 40 == 39)
            (void)memtier_trim(tier);
        (void)memtier_may_accept(tier, len);
        if (put_filled(len, seed, slot) < 0)
            slot->segment = NULL;
        else
            atomic_fetch_add(&stored_pieces, 1);
    }
    for (i = 0; i < HELD; i++) {
        if (held[i].segment != NULL)
            memtier_release(tier, &held[i]);
    }
    return NULL;
}

static void several_threads(enum seal_mode seal)
{
    pthread_t threads[THREADS];
    unsigned i;

    open_plain(12 * MIB, seal);
    for (i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)i), 0);
    for (i = 0; i < 50; i++) {
        (void)info();
        usleep(1000);
    }
    for (i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(atomic_load(&wrong_bytes), 0);
    cr_assert_gt(atomic_load(&stored_pieces), THREADS * ROUNDS / 4);
    cr_assert_eq(info().stored_bytes, 0);
    (void)memtier_trim(tier);
    cr_assert_eq(info().segment_bytes, 0);
    close_tier();
}

Test(memtier, recycle_from_several_threads)
{
    several_threads(SEAL_RECYCLE);
}

Test(memtier, strict_from_several_threads)
{
    several_threads(SEAL_STRICT);
}
