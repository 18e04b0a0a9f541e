/* SPDX-License-Identifier: MIT */
/* Runs that a coder makes smaller: there and back in every tier, and all that can come between. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../policies/compress.h"
#include "coder_tools.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#define CHUNK (256 * KIB)

static spw_stats now(const struct scene *scene)
{
    return bed_stats(&scene->hand.bed);
}

static const struct setting disk_threads[] = {
    {"memory", "32MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting disk_ring[] = {
    {"memory", "32MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
static const struct setting disk_unchecked[] = {{"memory", "32MiB"},
                                                {"tiers", "disk"},
                                                {"engine", "threads"},
                                                {"checksum", "off"},
                                                {NULL, NULL}};
static const struct setting memory_only[] = {
    {"memory", "32MiB"}, {"tiers", "memory"}, {"memory_tier", "64MiB"}, {NULL, NULL}};
static const struct setting memory_strict[] = {{"memory", "32MiB"},
                                               {"tiers", "memory"},
                                               {"memory_tier", "64MiB"},
                                               {"seal", "strict"},
                                               {NULL, NULL}};
static const struct setting memory_checked[] = {{"memory", "32MiB"},
                                                {"tiers", "memory"},
                                                {"memory_tier", "64MiB"},
                                                {"checksum", "all"},
                                                {NULL, NULL}};
static const struct setting both_tiers[] = {
    {"memory", "32MiB"}, {"memory_tier", "64MiB"}, {"engine", "threads"}, {NULL, NULL}};

/* ---- there and back ---- */

/* A heap chunk, small ones in one run, a slab, and a slab's piece that begins within a page. */
static void spill_kinds(struct scene *scene)
{
    struct hand *hand = &scene->hand;
    cr_assert_eq(hand_spill(hand, stream_chunks(0, 1, 600 * KIB)), 1);
    cr_assert_eq(hand_spill(hand, stream_chunks(MIB, 300, 1000)), 1);
    cr_assert_eq(hand_spill(hand, slab_chunk(hand->bed.pool, 2 * MIB, 500 * KIB, 0)), 1);
    cr_assert_eq(hand_spill(hand, slab_chunk(hand->bed.pool, 4 * MIB, 400 * KIB + 17, 1234)), 1);
}

static void fetch_kinds(struct scene *scene)
{
    static const struct {
        uint64_t at;
        size_t count, len;
    } kinds[] = {
        {0, 1, 600 * KIB}, {MIB, 300, 1000}, {2 * MIB, 1, 500 * KIB}, {4 * MIB, 1, 400 * KIB + 17}};
    for (unsigned i = 0; i < 4; i++) {
        spw_chunks chunks;
        cr_assert_eq(fetch(scene->hand.handles[i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, kinds[i].at, kinds[i].count, kinds[i].len), "kind %u", i);
    }
}

static void there_and_back(const struct setting *settings, unsigned dirs)
{
    struct scene scene;
    scene_open(&scene, settings, dirs);
    spill_kinds(&scene);
    spw_stats stats = bed_quiet(&scene.hand.bed);
    bool disk = dirs > 0;
    /* Slabs that lie in the memory tier may stay there. */
    unsigned encoded = stats.adopted_bytes_total > 0 ? 2 : 4;
    cr_assert_eq(stats.encoded_runs_total, encoded);
    cr_assert_eq(stats.encoded_bytes_total + stats.adopted_bytes_total, stats.spilled_bytes_total);
    cr_assert_lt(stats.encoded_stored_bytes_total, stats.encoded_bytes_total * 34 / 100 + 4096);
    if (disk)
        cr_assert_leq(stats.disk_stored_bytes,
                      stats.encoded_stored_bytes_total + 4 * DISK_EXTENT_MIN_BYTES);
    else
        cr_assert_eq(stats.memory_tier_stored_bytes,
                     stats.encoded_stored_bytes_total + stats.memory_tier_slab_bytes);
    cr_assert_eq(stats.coder_threads, workers_wanted(fault_os.processors()));
    fetch_kinds(&scene);
    stats = now(&scene);
    cr_assert_eq(stats.fetched_bytes_total, stats.spilled_bytes_total);
    cr_assert_gt(stats.encode_ns_total, 0);
    cr_assert_gt(stats.decode_ns_total, 0);
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_DECODE]), encoded);
    scene_close(&scene);
}

Test(coder, disk_there_and_back)
{
    there_and_back(disk_threads, 2);
}

Test(coder, disk_there_and_back_through_the_ring)
{
    there_and_back(disk_ring, 1);
}

Test(coder, disk_there_and_back_without_checksums)
{
    there_and_back(disk_unchecked, 1);
}

Test(coder, memory_there_and_back)
{
    there_and_back(memory_only, 0);
}

Test(coder, memory_there_and_back_strict)
{
    there_and_back(memory_strict, 0);
}

Test(coder, memory_there_and_back_with_all_checksums)
{
    there_and_back(memory_checked, 0);
}

Test(coder, what_it_is_told)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    bed_quiet(&scene.hand.bed);
    const spw_coder_view *view = &scene.vault->seen;
    cr_assert_eq(view->to_memory, 0);
    cr_assert_eq(view->run_bytes, CHUNK);
    cr_assert_eq(view->sample_bytes, CHUNK / 16);
    cr_assert_eq(view->capacity_bytes, 512 * MIB);
    cr_assert_eq(view->budget_bytes, 32 * MIB);
    cr_assert_geq(view->waiting_bytes, CHUNK);
    cr_assert_geq(view->workers, 1);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    scene_close(&scene);
}

/* Where in a stretch of a run, from `begin` on, that part of its sample lies; UINT64_MAX: it is not
 * from there. */
static uint64_t part_start(const unsigned char *part, size_t len, uint64_t begin, uint64_t stride)
{
    for (uint64_t start = 0; start + len <= stride; start++) {
        size_t k = 0;
        while (k < len && part[k] == stream_byte(begin + start + k))
            k++;
        if (k == len)
            return start;
    }
    return UINT64_MAX;
}

/* From all over the run, whatever the chunks that it consists of, and each time elsewhere. */
Test(coder, what_it_is_given_to_try)
{
    uint64_t last = UINT64_MAX;
    static const struct {
        size_t count, len;
    } kinds[] = {{1, 600 * KIB}, {300, 1000}, {5, 100 * KIB + 1}, {20000, 1}, {4100, 4}};
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        uint64_t bytes = kinds[i].count * kinds[i].len;
        cr_assert_eq(hand_spill(&scene.hand, stream_chunks(0, kinds[i].count, kinds[i].len)), 1);
        bed_quiet(&scene.hand.bed);
        size_t len = scene.vault->seen.sample_bytes, part = len / SAMPLE_PARTS;
        cr_assert_eq(scene.vault->seen.run_bytes,
                     bytes + (kinds[i].count > 1) * kinds[i].count * 4);
        cr_assert_geq(len, SAMPLE_LEAST_BYTES);
        for (unsigned k = 0; k < SAMPLE_PARTS; k++) {
            uint64_t stride = bytes / SAMPLE_PARTS;
            uint64_t start = part_start(scene.vault->sample + k * part, part, k * stride, stride);
            cr_assert_neq(start, UINT64_MAX, "kind %u, part %u", i, k);
            cr_assert_neq(start, last);
            last = start;
        }
        spw_chunks chunks;
        cr_assert_eq(fetch(scene.hand.handles[i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, 0, kinds[i].count, kinds[i].len));
    }
    scene_close(&scene);
}

/* Thousands of empty entries: their lengths alone would be worth a look. */
Test(coder, without_bytes_there_is_nothing_to_try)
{
    enum { COUNT = 20000, LAST = 2 };
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    spw_chunks chunks = stream_chunks(0, COUNT, 0);
    spw_bytes last = stream_piece(0, LAST);
    cr_assert_eq(spw_chunks_push(&chunks, &last, &fault_allocator), 0);
    cr_assert_eq(hand_spill(&scene.hand, chunks), 1);
    bed_quiet(&scene.hand.bed);
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_CHOOSE]), 0);
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert_eq(chunks.count, COUNT + 1);
    cr_assert_eq(chunks.bytes, LAST);
    spw_chunks_clear(&chunks);
    scene_close(&scene);
}

/* ---- what is stored as it is ---- */

Test(coder, what_it_does_not_want_is_stored_as_it_is)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    atomic_store(&scene.vault->code, 0);
    spill_kinds(&scene);
    spw_stats stats = bed_quiet(&scene.hand.bed);
    cr_assert_eq(stats.encoded_runs_total, 0);
    cr_assert_gt(stats.direct_bytes_total, 0);
    cr_assert_eq(stats.coder_refused_total, 0);
    fetch_kinds(&scene);
    scene_close(&scene);
}

Test(coder, what_does_not_get_small_is_stored_as_it_is)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    atomic_store(&scene.vault->shrink_percent, 95);
    spill_kinds(&scene);
    spw_stats stats = bed_quiet(&scene.hand.bed);
    cr_assert_eq(stats.encoded_runs_total, 0);
    cr_assert_eq(stats.coder_refused_total, 4);
    fetch_kinds(&scene);
    scene_close(&scene);
}

Test(coder, small_and_large_runs_are_not_shown)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    hand_spill(&scene.hand, stream_chunks(0, 1, 15 * KIB));
    hand_spill(&scene.hand, stream_chunks(0, 1, 3 * MIB));
    bed_quiet(&scene.hand.bed);
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_CHOOSE]), 0);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, 15 * KIB));
    cr_assert_eq(fetch(scene.hand.handles[1], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, 3 * MIB));
    scene_close(&scene);
}

Test(coder, none_holds_for_as_many_runs_as_it_says)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    atomic_store(&scene.vault->code, 0);
    atomic_store(&scene.vault->skip, 5);
    for (unsigned i = 0; i < 13; i++) {
        hand_spill(&scene.hand, stream_chunks(i, 1, 64 * KIB));
        bed_quiet(&scene.hand.bed);
    }
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_CHOOSE]), 3); /* 1, 7 and 13 */
    for (unsigned i = 0; i < 13; i++) {
        spw_chunks chunks;
        cr_assert_eq(fetch(scene.hand.handles[i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, i, 1, 64 * KIB));
    }
    scene_close(&scene);
}

/* ---- without memory ---- */

/* The bytes of the kinds, fetched again as long as there is no memory for that. */
static void fetch_kinds_at_last(struct scene *scene)
{
    struct spw_handle **handles = scene->hand.handles;
    static const struct {
        uint64_t at;
        size_t count, len;
    } kinds[] = {{0, 1, 600 * KIB}, {MIB, 300, 1000}};
    for (unsigned i = 0; i < 2; i++) {
        spw_chunks chunks;
        int err;
        while ((err = fetch(handles[i], 0, &chunks)) == -ENOMEM)
            continue;
        cr_assert_eq(err, 0);
        cr_assert(chunks_are(&chunks, kinds[i].at, kinds[i].count, kinds[i].len), "kind %u", i);
    }
}

/* One run of one chunk and one of many go out and come back; the n-th allocation, or map, fails.
 * Returns whether so many were needed. */
static bool without(const struct setting *settings, unsigned dirs, unsigned n, bool map)
{
    struct scene scene;
    scene_open(&scene, settings, dirs);
    vault_shut(scene.vault, VAULT_CHOOSE);
    cr_assert_eq(hand_spill(&scene.hand, stream_chunks(0, 1, 600 * KIB)), 1);
    cr_assert_eq(hand_spill(&scene.hand, stream_chunks(MIB, 300, 1000)), 1);
    vault_wait(scene.vault, VAULT_CHOOSE, 1);
    uint64_t calls = map ? fault_calls(FAULT_MAP) : fault_alloc_calls();
    if (map)
        fault_fail(FAULT_MAP, n - 1, 1, -ENOMEM);
    else
        fault_alloc_after(n);
    vault_let(scene.vault, VAULT_CHOOSE);
    spw_stats stats = bed_quiet(&scene.hand.bed);
    cr_assert_eq(stats.spilled_bytes_total + stats.held_bytes, 600 * KIB + 300 * 1000);
    cr_assert(stats.encoded_runs_total > 0 || stats.held_bytes > 0);
    fetch_kinds_at_last(&scene);
    bool needed = (map ? fault_calls(FAULT_MAP) : fault_alloc_calls()) - calls >= n;
    fault_alloc_after(0);
    fault_heal(FAULT_MAP);
    stats = bed_quiet(&scene.hand.bed);
    cr_assert_eq(stats.in_flight_bytes, 0);
    cr_assert_eq(stats.lost_runs_total, 0);
    scene_close(&scene);
    return needed;
}

static void without_any(bool map)
{
    unsigned n[2] = {1, 1};
    while (without(disk_threads, 1, n[0], map))
        n[0]++;
    while (without(memory_checked, 0, n[1], map))
        n[1]++;
    cr_assert(n[0] > 3 && n[1] > 3, "%u and %u", n[0], n[1]);
}

Test(coder, without_memory_runs_go_out_all_the_same)
{
    without_any(false);
}

Test(coder, without_pages_runs_go_out_all_the_same)
{
    without_any(true);
}

/* ---- attaching ---- */

Test(coder, attaching)
{
    struct bed bed;
    fault_processors(4);
    bed_open(&bed, disk_threads, 1);
    struct vault *vault = vault_open(), *other = vault_open();
    spw_coder_ops lame = *vault->coder.ops;
    spw_coder bad = {.ops = &lame};
    lame.decode = NULL;
    cr_assert_eq(pool_attach_coder(bed.pool, NULL), -EINVAL);
    cr_assert_eq(pool_attach_coder(bed.pool, &bad), -EINVAL);
    cr_assert_eq(bed_stats(&bed).coder_threads, 0);
    cr_assert_eq(pool_attach_coder(bed.pool, &vault->coder), 0);
    cr_assert_eq(pool_attach_coder(bed.pool, &other->coder), -EEXIST);
    cr_assert_eq(bed_stats(&bed).coder_threads, 3);
    cr_assert_not(atomic_load(&other->closed));
    other->coder.ops->close(&other->coder);
    bed_close(&bed);
    vault_free(vault);
    vault_free(other);
}

Test(coder, fewer_threads_are_told)
{
    struct bed bed;
    fault_processors(8);
    bed_open(&bed, disk_threads, 1);
    struct vault *vault = vault_open();
    fault_fail(FAULT_THREAD, 2, 1, -EAGAIN);
    cr_assert_eq(pool_attach_coder(bed.pool, &vault->coder), 0);
    spw_stats stats = bed_stats(&bed);
    cr_assert_eq(stats.coder_threads, 2);
    cr_assert(strstr(stats.fallbacks, "coder-threads"));
    cr_assert_eq(log_lines_with("2 of 4 threads to compress on"), 1);
    bed_close(&bed);
    vault_free(vault);
}

Test(coder, without_any_thread_none_is_attached)
{
    struct scene scene;
    hand_open(&scene.hand, disk_threads, 1);
    scene.vault = vault_open();
    fault_fail(FAULT_THREAD, 0, 1, -EAGAIN);
    cr_assert_eq(pool_attach_coder(scene.hand.bed.pool, &scene.vault->coder), -EAGAIN);
    spw_stats stats = now(&scene);
    cr_assert_eq(stats.coder_threads, 0);
    cr_assert_eq(log_lines_with("0 of"), 1);
    spill_kinds(&scene);
    bed_quiet(&scene.hand.bed);
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_CHOOSE]), 0);
    /* It may be had later. */
    cr_assert_eq(pool_attach_coder(scene.hand.bed.pool, &scene.vault->coder), 0);
    fetch_kinds(&scene);
    scene_close(&scene);
}

/* ---- wanted on the way out ---- */

/* Fills all workers with runs that wait at the gate of `call`. */
static unsigned occupy(struct scene *scene, enum vault_call call)
{
    unsigned count = scene->hand.bed.pool->coding.workers.count;
    vault_shut(scene->vault, call);
    for (unsigned i = 0; i < count; i++)
        hand_spill(&scene->hand, stream_chunks(i * MIB, 1, 64 * KIB));
    vault_wait(scene->vault, call, count);
    return count;
}

/* Fetches those. */
static void occupied_are_right(struct scene *scene, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        spw_chunks chunks;
        cr_assert_eq(fetch(scene->hand.handles[i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, i * MIB, 1, 64 * KIB));
    }
}

Test(coder, what_waits_for_a_worker_is_handed_over)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    unsigned busy = occupy(&scene, VAULT_ENCODE);
    spw_handle **more = scene.hand.handles + busy;
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    hand_spill(&scene.hand, stream_chunks(7, 100, 1000));
    hand_spill(&scene.hand, stream_chunks(9, 1, CHUNK));
    spw_chunks chunks;
    cr_assert_eq(state_of(more[0]), RUN_STAGED);
    cr_assert_eq(fetch(more[0], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    cr_assert_eq(fetch(more[1], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    cr_assert(chunks_are(&chunks, 7, 100, 1000));
    more[2]->ops->drop(more[2]);
    cr_assert_eq(now(&scene).elided_runs_total, 3);
    vault_let(scene.vault, VAULT_ENCODE);
    occupied_are_right(&scene, busy);
    cr_assert_leq(atomic_load(&scene.vault->calls[VAULT_ENCODE]), busy);
    scene_close(&scene);
}

Test(coder, what_is_being_encoded_is_handed_over)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    struct hand *hand = &scene.hand;
    vault_shut(scene.vault, VAULT_ENCODE);
    spw_chunks chunks;
    /* One chunk is shared, several were gathered before. */
    hand_spill(hand, stream_chunks(0, 1, CHUNK));
    vault_wait(scene.vault, VAULT_ENCODE, 1);
    cr_assert_eq(fetch(hand->handles[0], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    vault_let(scene.vault, VAULT_ENCODE);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    bed_quiet(&hand->bed);
    vault_shut(scene.vault, VAULT_ENCODE);
    hand_spill(hand, stream_chunks(7, 100, 1000));
    vault_wait(scene.vault, VAULT_ENCODE, 1);
    cr_assert_eq(fetch(hand->handles[1], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    cr_assert(chunks_are(&chunks, 7, 100, 1000));
    vault_let(scene.vault, VAULT_ENCODE);
    spw_stats stats = bed_quiet(&hand->bed);
    cr_assert_eq(stats.disk_stored_bytes, 0);
    cr_assert_eq(stats.spilled_runs_total, 0, "dead data was written");
    scene_close(&scene);
}

Test(coder, while_chunks_are_read_a_fetch_waits_for_them)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    vault_shut(scene.vault, VAULT_CHOOSE);
    hand_spill(&scene.hand, stream_chunks(7, 100, 1000));
    vault_wait(scene.vault, VAULT_CHOOSE, 1);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], SPILLWAY_FETCH_NOWAIT, &chunks), -EAGAIN);
    vault_let(scene.vault, VAULT_CHOOSE);
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 7, 100, 1000));
    scene_close(&scene);
}

Test(coder, what_is_dropped_while_it_is_encoded_leaves_nothing)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    for (unsigned many = 0; many < 2; many++) {
        static const enum vault_call calls[] = {VAULT_CHOOSE, VAULT_ENCODE};
        for (unsigned i = 0; i < 2; i++) {
            struct hand *hand = &scene.hand;
            vault_shut(scene.vault, calls[i]);
            hand_spill(hand, many ? stream_chunks(0, 100, 1000) : stream_chunks(0, 1, CHUNK));
            vault_wait(scene.vault, calls[i], 1);
            spw_handle *handle = hand->handles[hand->count - 1];
            handle->ops->drop(handle);
            vault_let(scene.vault, calls[i]);
            cr_assert_eq(bed_quiet(&hand->bed).runs, 0);
        }
    }
    cr_assert_eq(now(&scene).spilled_runs_total, 0);
    scene_close(&scene);
}

Test(coder, what_waits_for_the_device_is_handed_over)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    gate_shut(FAULT_PWRITE);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    hand_spill(&scene.hand, stream_chunks(7, 100, 1000));
    gate_wait(2);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    cr_assert_eq(fetch(scene.hand.handles[1], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    cr_assert(chunks_are(&chunks, 7, 100, 1000));
    gate_open();
    scene_close(&scene);
}

/* ---- wanted on the way back ---- */

Test(coder, what_is_dropped_while_it_is_decoded_leaves_nothing)
{
    static const struct setting *const settings[] = {disk_threads, memory_only};
    for (unsigned i = 0; i < 2; i++) {
        struct scene scene;
        scene_open(&scene, settings[i], i == 0);
        hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
        spw_handle *handle = scene.hand.handles[0];
        wait_state(handle, RUN_STORED);
        vault_shut(scene.vault, VAULT_DECODE);
        cr_assert_eq(handle->ops->prefetch(handle, 0), 0);
        vault_wait(scene.vault, VAULT_DECODE, 1);
        spw_chunks chunks;
        cr_assert_eq(fetch(handle, SPILLWAY_FETCH_NOWAIT, &chunks), -EAGAIN);
        handle->ops->drop(handle);
        vault_let(scene.vault, VAULT_DECODE);
        cr_assert_eq(bed_quiet(&scene.hand.bed).runs, 0);
        scene_close(&scene);
    }
}

Test(coder, what_comes_back_is_not_over_the_budget_of_prefetches)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"tiers", "memory"}, {"memory_tier", "64MiB"}, {NULL, NULL}};
    struct scene scene;
    scene_open(&scene, settings, 0);
    for (unsigned i = 0; i < 20; i++) {
        hand_spill(&scene.hand, stream_chunks(i, 1, 128 * KIB));
        wait_state(scene.hand.handles[i], RUN_STORED);
    }
    bed_quiet(&scene.hand.bed);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(scene.hand.handles[i]->ops->prefetch(scene.hand.handles[i], 0), 0);
    spw_stats stats = bed_quiet(&scene.hand.bed);
    cr_assert_leq(stats.used_bytes, MIB + 16 * KIB); /* lists of chunks */
    for (unsigned i = 0; i < 20; i++) {
        spw_chunks chunks;
        cr_assert_eq(fetch(scene.hand.handles[i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, i, 1, 128 * KIB));
    }
    scene_close(&scene);
}

/* ---- demotion, adoption ---- */

Test(coder, frames_are_demoted_as_they_are)
{
    struct scene scene;
    scene_open(&scene, both_tiers, 1);
    spill_kinds(&scene);
    spw_stats before = bed_quiet(&scene.hand.bed);
    cr_assert_eq(before.spilled_memory_bytes_total, before.spilled_bytes_total);
    uint64_t started;
    cr_assert_eq(spw_pool_demote(scene.hand.bed.pool, UINT64_MAX, &started), 0);
    cr_assert_eq(started, before.spilled_bytes_total);
    wait_stat(&scene.hand.bed, demoted_bytes_total, ==, started);
    spw_stats stats = bed_quiet(&scene.hand.bed);
    cr_assert_eq(stats.memory_tier_stored_bytes, 0);
    cr_assert_leq(stats.disk_stored_bytes, before.encoded_stored_bytes_total +
                                               2 * before.adopted_bytes_total +
                                               8 * DISK_EXTENT_MIN_BYTES);
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_ENCODE]), before.encoded_runs_total);
    fetch_kinds(&scene);
    scene_close(&scene);
}

Test(coder, a_frame_that_is_wanted_while_it_is_demoted)
{
    struct scene scene;
    scene_open(&scene, both_tiers, 1);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    hand_spill(&scene.hand, stream_chunks(1, 1, CHUNK));
    bed_quiet(&scene.hand.bed);
    gate_shut(FAULT_PWRITE);
    uint64_t started;
    cr_assert_eq(spw_pool_demote(scene.hand.bed.pool, UINT64_MAX, &started), 0);
    gate_wait(2);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], SPILLWAY_FETCH_NOWAIT, &chunks), -EAGAIN);
    scene.hand.handles[1]->ops->drop(scene.hand.handles[1]);
    gate_open();
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    scene_close(&scene);
}

static const struct setting slabs_only[] = {
    {"memory", "16MiB"}, {"tiers", "memory"}, {"memory_tier", "32MiB"}, {NULL, NULL}};

static void slabs_come_back(struct scene *scene, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        spw_chunks chunks;
        cr_assert_eq(fetch(scene->hand.handles[i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, i * MIB, 1, MIB), "run %u", i);
    }
    scene_close(scene);
}

/* From half of its capacity on, a coder that let be what lies in the memory tier is asked about it
 * again; a slab that was encoded comes back. */
Test(coder, slabs_in_segments_are_adopted_until_room_gets_scarce)
{
    struct scene scene;
    scene_open(&scene, slabs_only, 0);
    spw_pool *pool = scene.hand.bed.pool;
    if (now(&scene).memory_tier_capacity_bytes < 32 * MIB)
        test_skip("no room for the memory tier");
    atomic_store(&scene.vault->code, 0);
    for (unsigned i = 0; i < 30; i++) {
        if (i == 16)
            atomic_store(&scene.vault->code, 7);
        hand_spill(&scene.hand, slab_chunk(pool, i * MIB, MIB, 0));
        spw_stats stats = bed_quiet(&scene.hand.bed);
        if (stats.adopted_bytes_total == 0)
            break;
    }
    spw_stats stats = now(&scene);
    if (stats.adopted_bytes_total == 0) {
        slabs_come_back(&scene, 1);
        test_skip("slabs do not lie in segments here");
    }
    cr_assert_eq(stats.spilled_memory_bytes_total, 30 * MIB);
    cr_assert_eq(stats.adopted_bytes_total, 16 * MIB);
    cr_assert_eq(stats.encoded_bytes_total, 14 * MIB);
    cr_assert_leq(stats.memory_tier_stored_bytes, 21 * MIB);
    cr_assert_lt(atomic_load(&scene.vault->calls[VAULT_CHOOSE]), 20);
    slabs_come_back(&scene, 30);
}

/* Where all is encoded, a slab in a segment would only take the room of frames. */
Test(coder, slabs_stay_out_of_a_tier_of_frames)
{
    struct scene scene;
    scene_open(&scene, slabs_only, 0);
    spw_pool *pool = scene.hand.bed.pool;
    for (unsigned i = 0; i < 30; i++) {
        hand_spill(&scene.hand, slab_chunk(pool, i * MIB, MIB, 0));
        bed_quiet(&scene.hand.bed);
    }
    spw_stats stats = now(&scene);
    cr_assert_eq(stats.adopted_bytes_total, 0);
    cr_assert_eq(stats.encoded_bytes_total, 30 * MIB);
    cr_assert_eq(stats.memory_tier_slab_bytes, 0);
    slabs_come_back(&scene, 30);
}

/* ---- what goes wrong ---- */

Test(coder, a_failed_write_takes_the_frame_elsewhere)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 2);
    fault_fail(FAULT_PWRITE, 0, 1, -EIO);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    spw_stats stats = bed_quiet(&scene.hand.bed);
    cr_assert_eq(stats.encoded_runs_total, 1);
    cr_assert_eq(stats.write_errors_total, 1);
    cr_assert_eq(stats.quarantined_dirs, 1);
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_ENCODE]), 1);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    scene_close(&scene);
}

Test(coder, where_no_tier_takes_it_the_run_is_held_as_it_is)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    fault_fail(FAULT_FALLOCATE, 0, FAULT_ALWAYS, -ENOSPC);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    hand_spill(&scene.hand, stream_chunks(7, 100, 1000));
    wait_state(scene.hand.handles[0], RUN_HELD);
    wait_state(scene.hand.handles[1], RUN_HELD);
    cr_assert_eq(now(&scene).staging_bytes, 0);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    fault_heal(FAULT_FALLOCATE);
    pool_room_freed(scene.hand.bed.pool);
    for (unsigned i = 0; i < 1000 && state_of(scene.hand.handles[1]) == RUN_HELD; i++) {
        nap();
        pool_room_freed(scene.hand.bed.pool);
    }
    wait_state(scene.hand.handles[1], RUN_STORED);
    cr_assert_eq(now(&scene).encoded_runs_total, 1);
    cr_assert_eq(fetch(scene.hand.handles[1], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 7, 100, 1000));
    scene_close(&scene);
}

Test(coder, a_frame_that_was_changed_is_read_again_and_then_told)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    hand_spill(&scene.hand, stream_chunks(9, 1, CHUNK));
    bed_quiet(&scene.hand.bed);
    spw_chunks chunks;
    fault_corrupt(FAULT_PREAD, 0, 1);
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    cr_assert_eq(now(&scene).checksum_errors_total, 1);
    fault_corrupt(FAULT_PREAD, 0, FAULT_ALWAYS);
    cr_assert_eq(fetch(scene.hand.handles[1], 0, &chunks), -EBADMSG);
    cr_assert_eq(now(&scene).checksum_errors_total, 2);
    wait_stat(&scene.hand.bed, lost_runs_total, ==, 1);
    scene.hand.handles[1]->ops->drop(scene.hand.handles[1]);
    scene_close(&scene);
}

/* Without a checksum the frame's header and the coder are all that is left to notice it. */
Test(coder, a_frame_that_was_changed_is_noticed_without_checksums_too)
{
    struct scene scene;
    scene_open(&scene, disk_unchecked, 1);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    hand_spill(&scene.hand, stream_chunks(9, 1, CHUNK));
    bed_quiet(&scene.hand.bed);
    spw_chunks chunks;
    fault_corrupt(FAULT_PREAD, 0, 2);
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    cr_assert_eq(atomic_load(&scene.vault->calls[VAULT_DECODE]), 3);
    fault_corrupt(FAULT_PREAD, 0, FAULT_ALWAYS);
    cr_assert_eq(fetch(scene.hand.handles[1], 0, &chunks), -EBADMSG);
    wait_stat(&scene.hand.bed, lost_runs_total, ==, 1);
    scene.hand.handles[1]->ops->drop(scene.hand.handles[1]);
    scene_close(&scene);
}

Test(coder, a_frame_in_memory_that_is_not_its_coders_is_told)
{
    struct scene scene;
    scene_open(&scene, memory_only, 0);
    hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
    bed_quiet(&scene.hand.bed);
    atomic_store(&scene.vault->fail[VAULT_DECODE], -EBADMSG);
    atomic_store(&scene.vault->fail_times[VAULT_DECODE], 100);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), -EBADMSG);
    scene.hand.handles[0]->ops->drop(scene.hand.handles[0]);
    scene_close(&scene);
}

Test(coder, a_decoder_without_memory_may_have_some_later)
{
    static const struct setting *const settings[] = {disk_threads, memory_only};
    for (unsigned i = 0; i < 2; i++) {
        struct scene scene;
        scene_open(&scene, settings[i], i == 0);
        hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
        bed_quiet(&scene.hand.bed);
        atomic_store(&scene.vault->fail[VAULT_DECODE], -ENOMEM);
        atomic_store(&scene.vault->fail_times[VAULT_DECODE], 1);
        spw_chunks chunks;
        cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), -ENOMEM);
        cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
        scene_close(&scene);
    }
}

Test(coder, an_encoder_that_fails_leaves_the_run_as_it_is)
{
    /* The last one claims more than there was room for. */
    static const int errors[] = {-ENOMEM, -EINVAL, -ENOSPC, 1 << 20};
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    for (unsigned i = 0; i < 4; i++) {
        atomic_store(&scene.vault->fail[VAULT_ENCODE], errors[i]);
        atomic_store(&scene.vault->fail_times[VAULT_ENCODE], 2);
        hand_spill(&scene.hand, stream_chunks(i, 1, CHUNK));
        hand_spill(&scene.hand, stream_chunks(i, 100, 1000));
        bed_quiet(&scene.hand.bed);
    }
    spw_stats stats = now(&scene);
    cr_assert_eq(stats.encoded_runs_total, 0);
    cr_assert_eq(stats.spilled_runs_total, 8);
    cr_assert_eq(stats.coder_refused_total, 2);
    for (unsigned i = 0; i < 4; i++) {
        spw_chunks chunks;
        cr_assert_eq(fetch(scene.hand.handles[2 * i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, i, 1, CHUNK));
        cr_assert_eq(fetch(scene.hand.handles[2 * i + 1], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, i, 100, 1000));
    }
    scene_close(&scene);
}

/* No buffer for a frame, or for what it is gathered in. */
Test(coder, without_a_buffer_the_run_is_stored_as_it_is)
{
    struct scene scene;
    scene_open(&scene, memory_only, 0);
    for (unsigned i = 0; i < 2; i++) {
        spw_pool_trim(scene.hand.bed.pool);
        vault_shut(scene.vault, VAULT_CHOOSE);
        hand_spill(&scene.hand, stream_chunks(0, 100, 1000));
        vault_wait(scene.vault, VAULT_CHOOSE, 1);
        fault_fail_when(FAULT_MAP, MAP_ANONYMOUS, i, 1, -ENOMEM);
        vault_let(scene.vault, VAULT_CHOOSE);
        bed_quiet(&scene.hand.bed);
        fault_heal(FAULT_MAP);
        cr_assert_eq(now(&scene).spilled_runs_total, i + 1);
        cr_assert_eq(now(&scene).encoded_runs_total, 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        spw_chunks chunks;
        cr_assert_eq(fetch(scene.hand.handles[i], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, 0, 100, 1000));
    }
    scene_close(&scene);
}

/* An allocation that fails, moved forward until none is met: nothing is lost, and nothing left. */
static void sweep(const struct setting *settings, unsigned dirs)
{
    struct scene scene;
    scene_open(&scene, settings, dirs);
    unsigned failed = 0;
    for (unsigned n = 1; n < 40; n++) {
        struct hand *hand = &scene.hand;
        spw_chunks chunks;
        hand->count = 0;
        hand_spill(hand, n % 2 ? stream_chunks(n, 1, CHUNK) : stream_chunks(n, 200, 1000));
        bed_quiet(&hand->bed);
        uint64_t calls = fault_alloc_calls();
        fault_alloc_after(n / 2 + 1);
        int err = fetch(hand->handles[0], 0, &chunks);
        bool met = fault_alloc_calls() - calls > n / 2;
        fault_alloc_after(0);
        failed += err == -ENOMEM;
        cr_assert(err == 0 || err == -ENOMEM, "%d", err);
        if (err)
            cr_assert_eq(fetch(hand->handles[0], 0, &chunks), 0);
        cr_assert(n % 2 ? chunks_are(&chunks, n, 1, CHUNK) : chunks_are(&chunks, n, 200, 1000));
        if (!met && n > 10)
            break;
    }
    cr_assert_gt(failed, 0);
    scene_close(&scene);
}

Test(coder, memory_that_fails_on_the_way_back)
{
    sweep(disk_threads, 1);
}

Test(coder, memory_that_fails_on_the_way_back_from_memory)
{
    sweep(memory_only, 0);
}

Test(coder, maps_that_fail_on_the_way_back)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    hand_spill(&scene.hand, stream_chunks(0, 1, 2 * CHUNK));
    bed_quiet(&scene.hand.bed);
    for (unsigned i = 0; i < 2; i++) {
        spw_handle *handle = scene.hand.handles[0];
        spw_pool_trim(scene.hand.bed.pool);
        fault_fail_when(FAULT_MAP, MAP_ANONYMOUS, i, 1, -ENOMEM);
        cr_assert_eq(handle->ops->prefetch(handle, 0), -ENOMEM);
        fault_heal(FAULT_MAP);
        cr_assert_eq(bed_quiet(&scene.hand.bed).reading_bytes, 0);
    }
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, 2 * CHUNK));
    scene_close(&scene);
}

/* ---- the end ---- */

Test(coder, a_pool_may_end_on_a_worker)
{
    for (unsigned i = 0; i < 2; i++) {
        struct scene scene;
        scene_open(&scene, memory_only, 0);
        vault_shut(scene.vault, VAULT_ENCODE);
        hand_spill(&scene.hand, stream_chunks(0, 1, CHUNK));
        vault_wait(scene.vault, VAULT_ENCODE, 1);
        scene.hand.handles[0]->ops->drop(scene.hand.handles[0]);
        scene.hand.strategy->ops->close(scene.hand.strategy);
        cr_assert_eq(spw_pool_close(scene.hand.bed.pool), 0);
        vault_let(scene.vault, VAULT_ENCODE);
        nothing_left();
        bed_remove(&scene.hand.bed);
        vault_free(scene.vault);
    }
}

Test(coder, closing_waits_for_what_nobody_wants)
{
    struct scene scene;
    scene_open(&scene, disk_threads, 1);
    for (unsigned i = 0; i < 20; i++) {
        hand_spill(&scene.hand, stream_chunks(i, 1, CHUNK));
        if (i % 2)
            wait_state(scene.hand.handles[i], RUN_STORED);
        if (i % 4 == 1)
            scene.hand.handles[i]->ops->prefetch(scene.hand.handles[i], 0);
        scene.hand.handles[i]->ops->drop(scene.hand.handles[i]);
    }
    scene.hand.strategy->ops->close(scene.hand.strategy);
    bed_close(&scene.hand.bed);
    vault_free(scene.vault);
}

/* ---- a queue ---- */

/* Everything through a small budget with a code for each run, and none for some. */
static void through_queue(const struct setting *settings, unsigned dirs, size_t len, bool pooled)
{
    struct bed bed;
    bed_open(&bed, settings, dirs);
    struct vault *vault = vault_attach(bed.pool);
    atomic_store(&vault->shrink_percent, 0);
    struct ends ends = ends_open(&bed);
    unsigned count = (unsigned)(48 * MIB / len);
    spw_slab *slab = NULL;
    for (unsigned i = 0; i < count; i++) {
        spw_bytes bytes;
        if (pooled) {
            if (!slab || spw_slab_room(slab) < len) {
                spw_slab_close(slab);
                cr_assert_eq(spw_pool_slab_open(bed.pool, 0, 0, &slab), 0);
            }
            stream_fill(spw_slab_space(slab), i * len, len);
            cr_assert_eq(spw_slab_cut(slab, len, &bytes), 0);
        } else {
            bytes = stream_piece(i * len, len);
        }
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    spw_slab_close(slab);
    spw_writer_close(ends.writer);
    ends.writer = NULL;
    uint64_t at = 0;
    spw_bytes out[16];
    long got;
    while ((got = spw_reader_drain_wait(ends.reader, out, 16, SPILLWAY_FOREVER)) > 0) {
        for (long i = 0; i < got; i++) {
            cr_assert(stream_is(&out[i], at), "at %llu", (unsigned long long)at);
            at += out[i].len;
            spw_bytes_release(&out[i]);
        }
    }
    cr_assert_eq(got, 0);
    cr_assert_eq(at, (uint64_t)count * len);
    ends_close(&ends);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_gt(stats.encoded_runs_total, 10);
    cr_assert_leq(stats.used_peak_bytes, stats.budget_bytes + 4 * MIB, "%llu",
                  (unsigned long long)stats.used_peak_bytes);
    bed_close(&bed);
    vault_free(vault);
}

static const struct setting small_disk[] = {
    {"memory", "4MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting small_ring[] = {
    {"memory", "4MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
static const struct setting small_memory[] = {
    {"memory", "4MiB"}, {"tiers", "memory"}, {"memory_tier", "64MiB"}, {NULL, NULL}};
static const struct setting small_both[] = {
    {"memory", "8MiB"}, {"memory_tier", "8MiB"}, {"checksum", "all"}, {NULL, NULL}};

Test(coder, small_entries_through_a_queue_over_disk)
{
    through_queue(small_disk, 1, 1000, false);
}

Test(coder, slabs_through_a_queue_over_disk)
{
    through_queue(small_disk, 2, 64 * KIB, true);
}

Test(coder, entries_through_a_queue_over_the_ring)
{
    through_queue(small_ring, 1, 40 * KIB, false);
}

Test(coder, entries_through_a_queue_over_memory)
{
    through_queue(small_memory, 0, 200 * KIB, false);
}

Test(coder, slabs_through_a_queue_over_both_tiers)
{
    through_queue(small_both, 1, 64 * KIB, true);
}

/* ---- the real one ---- */

static const char *const modes[] = {"lz4", "zstd:1", "room"};

Test(coder, real_codecs_there_and_back)
{
    unsigned done = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct hand hand;
        spw_coder *coder;
        spw_compress_config config = {
            .size = sizeof(config), .mode = modes[i], .allocator = &fault_allocator};
        if (compress_open_with(&fault_os, &config, &coder) == -ENOTSUP)
            continue;
        hand_open(&hand, disk_threads, 1);
        cr_assert_eq(pool_attach_coder(hand.bed.pool, coder), 0);
        unsigned char *text = malloc(CHUNK);
        cr_assert_not_null(text);
        for (size_t at = 0; at < CHUNK; at++)
            text[at] =
                (unsigned char)("runs that repeat themselves "[at % 28] + (int)(at / 9999 % 7));
        spw_bytes bytes;
        cr_assert_eq(spw_bytes_copy(text, CHUNK, &fault_allocator, &bytes), 0);
        hand_spill_bytes(&hand, bytes);
        hand_spill(&hand, stream_chunks(0, 1, CHUNK));
        spw_stats stats = bed_quiet(&hand.bed);
        cr_assert_geq(stats.encoded_runs_total, 1);
        cr_assert_leq(stats.encoded_stored_bytes_total, stats.encoded_bytes_total / 3);
        spw_chunks chunks;
        cr_assert_eq(fetch(hand.handles[0], 0, &chunks), 0);
        cr_assert_eq(chunks.bytes, CHUNK);
        cr_assert(memcmp(spw_chunks_peek(&chunks)->data, text, CHUNK) == 0);
        spw_chunks_clear(&chunks);
        cr_assert_eq(fetch(hand.handles[1], 0, &chunks), 0);
        cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
        free(text);
        hand_close(&hand);
        done++;
    }
    if (done == 0)
        test_skip("built without any codec");
}
