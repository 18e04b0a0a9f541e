/* SPDX-License-Identifier: MIT */
/*
 * What fails outside: no byte is lost, nothing is left behind, and each failure is counted, told
 * once, and answered as the headers say.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../pool/run.h"
#include "../pool/segment.h"
#include "harness.h"
#include "pool_tools.h"
#include "traffic.h"

enum { VALUES_MAX = 64 };
#define SECOND_NS UINT64_C(1000000000)

static const struct setting threads_disk[] = {
    {"memory", "1MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting ring_disk[] = {
    {"memory", "1MiB"}, {"engine", "io_uring"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting memory_only[] = {
    {"memory", "1MiB"}, {"memory_tier", "16MiB"}, {"tiers", "memory"}, {NULL, NULL}};
static const struct setting both_tiers[] = {
    {"memory", "1MiB"}, {"memory_tier", "4MiB"}, {"engine", "threads"}, {NULL, NULL}};

/* ---- a trip: bytes go in and must all come out ---- */

struct trip {
    struct bed *bed;
    struct ends ends;
    struct source source;
    struct model model;
    struct random random;
};

static void trip_open(struct trip *trip, struct bed *bed, uint64_t stream)
{
    *trip = (struct trip){.bed = bed, .random = {stream}};
    trip->ends = ends_open(bed);
    source_open(&trip->source, bed->pool, stream, 64 * KIB);
    model_open(&trip->model, stream);
}

static void trip_close(struct trip *trip)
{
    ends_close(&trip->ends);
    source_close(&trip->source);
    model_close(&trip->model);
}

/* Makes `count` values. What fails for want of memory is done again. */
static void values_make(struct trip *trip, enum origin origin, size_t count, size_t len,
                        struct value *values, spw_bytes *bytes)
{
    for (size_t i = 0; i < count;) {
        int err = source_make(&trip->source, &trip->random, origin, len, &values[i], &bytes[i]);
        cr_assert(err == 0 || err == -ENOMEM, "no value: %d", err);
        i += err == 0;
    }
}

static int put_flags(struct trip *trip, enum origin origin, size_t count, size_t len,
                     unsigned flags)
{
    struct value values[VALUES_MAX];
    spw_bytes bytes[VALUES_MAX];
    struct mark mark = trip->source.mark;
    int err;
    values_make(trip, origin, count, len, values, bytes);
    do {
        err = spw_writer_extend(trip->ends.writer, bytes, count, flags);
        for (size_t i = 0; i < count; i++)
            cr_assert_eq(bytes[i].len, err ? values[i].len : 0);
    } while (err == -ENOMEM);
    for (size_t i = 0; i < count; i++) {
        if (err)
            spw_bytes_release(&bytes[i]);
        else
            model_push(&trip->model, &values[i]);
    }
    if (err)
        trip->source.mark = mark;
    return err;
}

static void put(struct trip *trip, enum origin origin, size_t count, size_t len)
{
    cr_assert_eq(put_flags(trip, origin, count, len, 0), 0);
}

/* Takes all that there is; returns the last answer that was no entry: 0 for nothing left. */
static long take_all(struct trip *trip)
{
    spw_bytes bytes[VALUES_MAX];
    while (trip->model.count > 0) {
        long count = spw_reader_drain_wait(trip->ends.reader, bytes, VALUES_MAX, 60 * SECOND_NS);
        for (long i = 0; i < count; i++) {
            model_pop(&trip->model, &bytes[i]);
            spw_bytes_release(&bytes[i]);
        }
        if (count <= 0 && count != -ENOMEM)
            return count;
    }
    return 0;
}

/* As much as makes a 1 MiB budget spill, of each origin. */
static void put_much(struct trip *trip)
{
    put(trip, ORIGIN_LOAN, 40, 3000);
    put(trip, ORIGIN_POOL_SLAB, 24, 40000);
    put(trip, ORIGIN_LOAN, 8, 70000);
    put(trip, ORIGIN_POOL_SLAB, 24, 40000);
    put(trip, ORIGIN_COPY, 40, 3000);
    put(trip, ORIGIN_LOAN, 8, 70000);
}

static void whole_trip(struct bed *bed)
{
    struct trip trip;
    trip_open(&trip, bed, 7);
    put_much(&trip);
    cr_assert_eq(take_all(&trip), 0);
    trip_close(&trip);
}

/* ---- opening ---- */

Test(pool_faults, ring_refused_falls_back)
{
    static const char *const engines[] = {"auto", "io_uring"};
    if (!SPILLWAY_HAVE_URING)
        test_skip("built without io_uring");
    for (unsigned i = 0; i < 2; i++) {
        struct setting settings[] = {{"memory", "1MiB"}, {"engine", engines[i]}, {NULL, NULL}};
        struct bed bed;
        log_forget();
        fault_fail(FAULT_RING_ALLOWED, 0, FAULT_ALWAYS, -EPERM);
        cr_assert_eq(bed_try(&bed, settings, 1), 0);
        spw_stats stats = bed_stats(&bed);
        cr_assert_str_eq(stats.engine, "threads");
        cr_assert_str_eq(stats.fallbacks, "io_uring");
        cr_assert_eq(stats.fallbacks_total, 1);
        cr_assert_eq(log_lines_with("io_uring is refused (EPERM)"), 1);
        cr_assert_eq(log_lines_with(""), 1, "told once");
        whole_trip(&bed);
        bed_close(&bed);
        fault_clear();
    }
}

Test(pool_faults, ring_refused_is_an_error_when_strict)
{
    static const char *const engines[] = {"auto", "io_uring"};
    for (unsigned i = 0; i < 2; i++) {
        struct setting settings[] = {
            {"memory", "1MiB"}, {"engine", engines[i]}, {"strict", "on"}, {NULL, NULL}};
        struct bed bed;
        log_forget();
        fault_fail(FAULT_RING_ALLOWED, 0, FAULT_ALWAYS, -ENOSYS);
        cr_assert_eq(bed_try(&bed, settings, 1), -EOPNOTSUPP);
        cr_assert_geq(log_lines_with("ENOSYS") + log_lines_with("io_uring"), 1);
        nothing_left();
        bed_remove(&bed);
        fault_clear();
    }
}

Test(pool_faults, no_thread_means_no_spilling)
{
    struct bed bed;
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    bed_open(&bed, both_tiers, 1);
    spw_stats stats = bed_stats(&bed);
    cr_assert_str_eq(stats.engine, "none");
    cr_assert_str_eq(stats.fallbacks, "no-engine");
    cr_assert_eq(log_lines_with("no I/O engine"), 1);
    whole_trip(&bed);
    stats = bed_stats(&bed);
    cr_assert_eq(stats.spilled_bytes_total, 0);
    cr_assert_gt(stats.used_peak_bytes, stats.budget_bytes);
    cr_assert_gt(stats.over_budget_total, 0);
    bed_close(&bed);
}

Test(pool_faults, no_thread_is_an_error_when_strict)
{
    static const struct setting settings[] = {
        {"engine", "threads"}, {"strict", "on"}, {NULL, NULL}};
    struct bed bed;
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    cr_assert_eq(bed_try(&bed, settings, 1), -EOPNOTSUPP);
    cr_assert_eq(log_lines_with("no I/O engine"), 1);
    nothing_left();
    bed_remove(&bed);
}

Test(pool_faults, no_directory_means_no_disk_tier)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"dirs", "/nonexistent/a:/nonexistent/b"}, {NULL, NULL}};
    static const struct setting strict[] = {
        {"dirs", "/nonexistent/a"}, {"strict", "on"}, {NULL, NULL}};
    struct bed bed;
    bed_open(&bed, settings, 0);
    spw_stats stats = bed_stats(&bed);
    cr_assert_not_null(strstr(stats.fallbacks, "no-disk-tier"));
    cr_assert_eq(log_lines_with("nothing is spilled to disk"), 1);
    whole_trip(&bed);
    bed_close(&bed);
    cr_assert_eq(bed_try(&bed, strict, 0), -ENOENT);
    nothing_left();
    bed_remove(&bed);
}

Test(pool_faults, buffered_directory_is_told_or_refused)
{
    static const struct setting settings[] = {{"memory", "1MiB"}, {NULL, NULL}};
    static const struct setting strict[] = {{"memory", "1MiB"}, {"strict", "on"}, {NULL, NULL}};
    struct bed bed;
    fault_fail_when(FAULT_OPEN, O_DIRECT, 0, FAULT_ALWAYS, -EINVAL);
    bed_open(&bed, settings, 1);
    cr_assert_not_null(strstr(bed_stats(&bed).fallbacks, "buffered"));
    whole_trip(&bed);
    bed_close(&bed);
    int err = bed_try(&bed, strict, 1);
    cr_assert_lt(err, 0);
    nothing_left();
    bed_remove(&bed);
}

/* Opens with the n-th call of a kind failing, for all n until it is not reached any more. Returns
 * how many opens failed. */
static unsigned sweep_open(const struct setting *settings, enum fault kind, int err)
{
    unsigned failed = 0;
    for (uint32_t n = 0;; n++) {
        struct bed bed;
        fault_clear();
        fault_fail(kind, n, 1, err);
        int rc = bed_try(&bed, settings, 2);
        bool reached = fault_calls(kind) > n;
        if (rc == 0) {
            fault_heal(kind);
            whole_trip(&bed);
            bed_close(&bed);
        } else {
            failed++;
            nothing_left();
            bed_remove(&bed);
        }
        if (!reached)
            return failed;
        cr_assert_lt(n, 500);
    }
}

Test(pool_faults, any_call_may_fail_at_open)
{
    static const struct {
        enum fault kind;
        int err;
    } faults[] = {
        {FAULT_OPEN, -EMFILE},         {FAULT_MKOSTEMP, -EMFILE},  {FAULT_EVENTFD, -EMFILE},
        {FAULT_MEMFD_CREATE, -EMFILE}, {FAULT_MAP, -ENOMEM},       {FAULT_ADVISE, -EINVAL},
        {FAULT_FSTATFS, -EIO},         {FAULT_DIO_ALIGN, -EINVAL}, {FAULT_FALLOCATE, -EOPNOTSUPP},
        {FAULT_THREAD, -EAGAIN},       {FAULT_FCNTL, -EINVAL},     {FAULT_RING_ALLOWED, -EPERM}};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        static const struct setting settings[] = {
            {"memory", "1MiB"}, {"memory_tier", "4MiB"}, {NULL, NULL}};
        sweep_open(settings, faults[i].kind, faults[i].err);
    }
}

Test(pool_faults, allocator_fails_at_open)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "4MiB"}, {NULL, NULL}};
    unsigned failed = 0;
    for (uint64_t n = 1;; n++) {
        struct bed bed;
        uint64_t before = fault_alloc_calls();
        fault_alloc_after(n);
        int err = bed_try(&bed, settings, 1);
        bool reached = fault_alloc_calls() >= before + n;
        fault_alloc_after(0);
        if (err) {
            cr_assert_eq(err, -ENOMEM);
            failed++;
            nothing_left();
            bed_remove(&bed);
        } else {
            bed_close(&bed);
        }
        if (!reached)
            break;
    }
    cr_assert_gt(failed, 3);
}

/* ---- memory ---- */

/* Few values, of all kinds: each is several allocations. */
static void put_some(struct trip *trip)
{
    put(trip, ORIGIN_LOAN, 8, 3000);
    put(trip, ORIGIN_POOL_SLAB, 2, 200000);
    put(trip, ORIGIN_LOAN, 2, 70000);
    put(trip, ORIGIN_HEAP_SLAB, 2, 100000);
    put(trip, ORIGIN_POOL_SLAB, 3, 30000);
    put(trip, ORIGIN_LOAN, 4, 70000);
    put(trip, ORIGIN_COPY, 8, 3000);
    put(trip, ORIGIN_LOAN, 3, 70000);
}

/* The n-th allocation fails, once, for all n of a whole trip. */
static void sweep_trip(const struct setting *settings, unsigned dirs)
{
    uint64_t step = 100 / test_scaled(100); /* 1 at full length */
    uint64_t trips = 0, spilled = 0;
    for (uint64_t n = 1;; n += step) {
        struct bed bed;
        bed_open(&bed, settings, dirs);
        uint64_t before = fault_alloc_calls();
        struct trip trip;
        trip_open(&trip, &bed, n);
        fault_alloc_after(n);
        put_some(&trip);
        bed_quiet(&bed); /* so that runs are stored, and not handed over before */
        cr_assert_eq(take_all(&trip), 0);
        bool reached = fault_alloc_calls() >= before + n;
        fault_alloc_after(0);
        trip_close(&trip);
        spw_stats stats = bed_quiet(&bed);
        cr_assert_eq(stats.lost_runs_total, 0);
        cr_assert_eq(stats.runs, 0);
        trips++;
        spilled += stats.spilled_runs_total;
        cr_assert_eq(loans_out(), 0);
        bed_close(&bed);
        if (!reached)
            break;
    }
    cr_assert_gt(trips, 5);
    cr_assert_gt(spilled, trips);
}

Test(pool_faults, allocator_fails_on_the_way_to_disk)
{
    sweep_trip(threads_disk, 1);
}

Test(pool_faults, allocator_fails_on_the_way_through_the_ring)
{
    sweep_trip(ring_disk, 1);
}

Test(pool_faults, allocator_fails_on_the_way_to_memory)
{
    sweep_trip(memory_only, 0);
}

/* All allocations fail for a while: the queue says so, nothing else happens. */
Test(pool_faults, no_memory_for_a_while)
{
    struct bed bed;
    struct trip trip;
    spw_bytes bytes = {0}, out[4];
    struct value value;
    bed_open(&bed, threads_disk, 1);
    trip_open(&trip, &bed, 3);
    put_much(&trip);
    bed_quiet(&bed);
    cr_assert_eq(source_make(&trip.source, &trip.random, ORIGIN_COPY, 1000, &value, &bytes), 0);
    uint64_t stored = bed_stats(&bed).disk_stored_bytes;
    fault_alloc_from(1);
    for (unsigned i = 0; i < 300; i++) { /* until a block is full */
        int err = spw_writer_extend(trip.ends.writer, &bytes, 1, 0);
        if (err) {
            cr_assert_eq(err, -ENOMEM);
            cr_assert_eq(bytes.len, 1000);
            break;
        }
        model_push(&trip.model, &value);
        fault_alloc_after(0);
        cr_assert_eq(source_make(&trip.source, &trip.random, ORIGIN_COPY, 1000, &value, &bytes), 0);
        fault_alloc_from(1);
    }
    cr_assert_eq(bytes.len, 1000, "never refused");
    spw_slab *slab;
    cr_assert_eq(spw_pool_slab_open(bed.pool, 0, 0, &slab), -ENOMEM);
    for (unsigned i = 0; i < 100; i++) {
        long count = spw_reader_drain(trip.ends.reader, out, 4);
        for (long j = 0; j < count; j++) {
            model_pop(&trip.model, &out[j]);
            spw_bytes_release(&out[j]);
        }
        cr_assert(count > 0 || count == -ENOMEM || count == -EAGAIN, "drain: %ld", count);
    }
    cr_assert_geq(bed_stats(&bed).disk_stored_bytes, stored / 2, "still there");
    fault_alloc_after(0);
    spw_bytes_release(&bytes);
    trip.source.mark = (struct mark){value.at, NULL, NULL};
    cr_assert_eq(take_all(&trip), 0);
    trip_close(&trip);
    bed_close(&bed);
}

Test(pool_faults, no_maps_for_staging_keeps_bytes_resident)
{
    struct bed bed;
    struct trip trip;
    bed_open(&bed, threads_disk, 1);
    trip_open(&trip, &bed, 3);
    fault_fail(FAULT_MAP, 0, FAULT_ALWAYS, -ENOMEM);
    put(&trip, ORIGIN_LOAN, 30, 70000);
    wait_stat(&bed, held_bytes, >, 0);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.spilled_bytes_total, 0);
    cr_assert_gt(stats.no_memory_total, 0);
    cr_assert_geq(stats.resident_foreign_bytes, 30 * 70000);
    cr_assert_leq(stats.resident_foreign_bytes, 30 * 70000 + stats.budget_bytes / SLACK_SHARE);
    spw_slab *slab;
    cr_assert_eq(spw_pool_slab_open(bed.pool, 0, 0, &slab), -ENOMEM);
    fault_heal(FAULT_MAP);
    for (unsigned i = 0; i < 1000 && bed_stats(&bed).spilled_bytes_total == 0; i++) {
        put(&trip, ORIGIN_LOAN, 1, 10);
        nap();
    }
    cr_assert_gt(bed_stats(&bed).spilled_bytes_total, 0, "it goes on once there is memory");
    cr_assert_eq(take_all(&trip), 0);
    trip_close(&trip);
    bed_close(&bed);
}

/* A head fetch has a buffer of its own even where the system has no memory left. */
Test(pool_faults, head_is_read_without_maps)
{
    struct bed bed;
    struct trip trip;
    bed_open(&bed, threads_disk, 1);
    trip_open(&trip, &bed, 3);
    for (unsigned i = 0; i < 60; i++)
        put(&trip, ORIGIN_LOAN, 1, 70000);
    bed_quiet(&bed);
    spw_pool_trim(bed.pool);
    fault_fail(FAULT_MAP, 0, FAULT_ALWAYS, -ENOMEM);
    cr_assert_eq(take_all(&trip), 0);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_gt(stats.fetched_runs_total, 5);
    cr_assert_gt(stats.no_memory_total, 0);
    trip_close(&trip);
    bed_close(&bed);
}

/* ---- a full disk ---- */

static void disk_becomes_full(const struct setting *settings, enum fault kind, unsigned dirs)
{
    struct bed bed;
    struct trip trip;
    bed_open(&bed, settings, dirs);
    trip_open(&trip, &bed, 9);
    fault_fail(kind, 0, FAULT_ALWAYS, -ENOSPC);
    for (unsigned i = 0; i < 60; i++)
        put(&trip, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 1, 60000);
    wait_stat(&bed, held_bytes, >, 0);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.spilled_bytes_total, 0);
    cr_assert_eq(stats.disk_stored_bytes, 0);
    cr_assert_gt(stats.enospc_total, 0);
    cr_assert_gt(stats.full_total, 0);
    cr_assert_eq(stats.quarantined_dirs, 0);
    cr_assert_gt(stats.used_bytes, stats.budget_bytes, "bytes stay resident");
    cr_assert_leq(log_lines_with(""), 4, "told once a directory and once for all");
    cr_assert_eq(spw_pool_wait_room(bed.pool, 0, SECOND_NS / 100), -ETIMEDOUT);
    /* Half of it comes out of the handles as it is. */
    spw_bytes bytes;
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(spw_reader_drain_wait(trip.ends.reader, &bytes, 1, 60 * SECOND_NS), 1);
        model_pop(&trip.model, &bytes);
        spw_bytes_release(&bytes);
    }
    cr_assert_eq(fault_calls(FAULT_PREAD), 0);
    fault_heal(kind);
    for (unsigned i = 0; i < 10000 && bed_stats(&bed).held_bytes > 0; i++)
        spw_pool_wait_room(bed.pool, 0, SECOND_NS / 100);
    for (unsigned i = 0; i < 1000 && bed_stats(&bed).spilled_bytes_total == 0; i++) {
        put(&trip, ORIGIN_LOAN, 1, 10);
        nap();
    }
    cr_assert_gt(bed_stats(&bed).spilled_bytes_total, 0, "room is found again");
    cr_assert_eq(take_all(&trip), 0);
    trip_close(&trip);
    bed_close(&bed);
}

Test(pool_faults, no_space_at_fallocate)
{
    disk_becomes_full(threads_disk, FAULT_FALLOCATE, 2);
}

Test(pool_faults, no_space_at_write)
{
    disk_becomes_full(threads_disk, FAULT_PWRITE, 2);
}

Test(pool_faults, no_space_at_a_write_of_the_ring)
{
    disk_becomes_full(ring_disk, FAULT_RING_WRITE, 1);
}

Test(pool_faults, next_directory_is_tried)
{
    struct bed bed;
    bed_open(&bed, threads_disk, 2);
    fault_fail(FAULT_PWRITE, 0, 1, -ENOSPC);
    whole_trip(&bed);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.enospc_total, 1);
    cr_assert_eq(stats.full_total, 0);
    cr_assert_gt(stats.spilled_bytes_total, 0);
    bed_close(&bed);
}

/* A run of several pieces that finds room for the first only goes as a whole, or not at all. */
Test(pool_faults, large_run_on_a_full_disk_stays_whole)
{
    static const struct setting settings[] = {
        {"memory", "8MiB"},    {"engine", "threads"},  {"tiers", "disk"}, {"disk_limit", "6MiB"},
        {"head_reserve", "0"}, {"threshold", "64KiB"}, {NULL, NULL}};
    struct bed bed;
    struct trip trip;
    bed_open(&bed, settings, 1);
    trip_open(&trip, &bed, 4);
    put(&trip, ORIGIN_LOAN, 1, 9 * MIB);
    put(&trip, ORIGIN_POOL_SLAB, 1, 9 * MIB);
    put(&trip, ORIGIN_LOAN, 1, 1);
    wait_stat(&bed, held_bytes, >, 0);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.disk_stored_bytes, 0);
    cr_assert_eq(stats.spilled_bytes_total, 0);
    cr_assert_eq(take_all(&trip), 0);
    cr_assert_eq(bed_quiet(&bed).disk_stored_bytes, 0);
    trip_close(&trip);
    bed_close(&bed);
}

/* The same against a file system that is really full. */
Test(pool_faults, small_file_system)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"tiers", "disk"}, {"disk_limit", "1GiB"}, {NULL, NULL}};
    char dir[DIRS_PATH], text[DIRS_PATH];
    struct setting with_dir[8];
    struct bed bed;
    struct trip trip;
    if (!dirs_make(dir))
        test_skip("no directory on a disk for scratch files");
    const char *why = dirs_mount_small(dir, 24);
    if (why) {
        dirs_remove(dir);
        test_skip("%s", why);
    }
    snprintf(text, sizeof(text), "%s", dir);
    memcpy(with_dir, settings, sizeof(settings));
    with_dir[3] = (struct setting){"dirs", text};
    with_dir[4] = (struct setting){NULL, NULL};
    bed_open(&bed, with_dir, 0);
    trip_open(&trip, &bed, 4);
    for (unsigned i = 0; i < 40; i++) /* 40 MB */
        put(&trip, i % 3 ? ORIGIN_POOL_SLAB : ORIGIN_LOAN, 10, 100000);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_gt(stats.spilled_bytes_total, 8 * MIB);
    cr_assert_gt(stats.enospc_total, 0);
    cr_assert_gt(stats.used_bytes, 8 * MIB, "the rest is resident");
    cr_assert_eq(take_all(&trip), 0);
    uint64_t spilled = bed_quiet(&bed).spilled_bytes_total;
    for (unsigned i = 0; i < 10; i++)
        put(&trip, i % 3 ? ORIGIN_POOL_SLAB : ORIGIN_LOAN, 10, 100000);
    cr_assert_gt(bed_quiet(&bed).spilled_bytes_total, spilled, "with room again it spills again");
    cr_assert_eq(take_all(&trip), 0);
    trip_close(&trip);
    bed_close(&bed);
    dirs_unmount(dir);
    dirs_remove(dir);
}

/* ---- full tiers, one thread ---- */

static void one_thread_never_hangs(const struct setting *settings, unsigned dirs)
{
    struct bed bed;
    struct trip trip;
    spw_bytes bytes[8];
    bed_open(&bed, settings, dirs);
    trip_open(&trip, &bed, 5);
    for (unsigned i = 0; i < 400; i++) {
        put(&trip, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 2, 30000);
        if (i % 4 == 0) {
            long count = spw_reader_drain(trip.ends.reader, bytes, 1);
            for (long j = 0; j < count; j++) {
                model_pop(&trip.model, &bytes[j]);
                spw_bytes_release(&bytes[j]);
            }
        }
    }
    cr_assert_gt(bed_stats(&bed).over_budget_total, 0, "counted");
    cr_assert_eq(log_lines_with("is exceeded"), 1, "told");
    cr_assert_eq(take_all(&trip), 0);
    trip_close(&trip);
    bed_close(&bed);
}

Test(pool_faults, one_thread_without_tiers)
{
    static const struct setting settings[] = {{"memory", "1MiB"}, {"tiers", "none"}, {NULL, NULL}};
    one_thread_never_hangs(settings, 0);
}

Test(pool_faults, one_thread_with_full_tiers)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "2MiB"}, {"disk_limit", "2MiB"}, {NULL, NULL}};
    one_thread_never_hangs(settings, 1);
}

/* A bounded writer is refused with nothing taken, waits for room, and goes on when there is some.
 */
static void bounded_writer(const struct setting *settings, unsigned dirs)
{
    struct bed bed;
    struct trip trip;
    unsigned refused = 0, taken = 0;
    int err = 0;
    bed_open(&bed, settings, dirs);
    trip_open(&trip, &bed, 5);
    while (taken < 500 && !err) {
        err = put_flags(&trip, ORIGIN_LOAN, 1, 30000, SPILLWAY_EXTEND_BOUNDED);
        taken += !err;
        refused += err != 0;
    }
    cr_assert_eq(err, -ENOSPC);
    cr_assert_eq(spw_error_class(err), SPILLWAY_CLASS_DEGRADED);
    cr_assert_gt(taken, 10);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_leq(stats.used_peak_bytes, stats.budget_bytes + 300 * KIB);
    if (dirs == 0) { /* a disk that is full now and then looks as if it had room again */
        spw_slab *slab;
        cr_assert_eq(spw_pool_wait_room(bed.pool, 0, 0), -ETIMEDOUT);
        cr_assert_eq(spw_pool_wait_room(bed.pool, 0, SECOND_NS / 50), -ETIMEDOUT);
        cr_assert_eq(spw_pool_wait_room(bed.pool, 2 * MIB, SECOND_NS), -EMSGSIZE);
        cr_assert_eq(spw_pool_slab_open(bed.pool, 256 * KIB, SPILLWAY_EXTEND_BOUNDED, &slab),
                     -ENOSPC);
        cr_assert_eq(spw_pool_slab_open(bed.pool, 2 * MIB, SPILLWAY_EXTEND_BOUNDED, &slab),
                     -EMSGSIZE);
        cr_assert_eq(put_flags(&trip, ORIGIN_LOAN, 1, 2 * MIB, SPILLWAY_EXTEND_BOUNDED), -EMSGSIZE);
    }
    cr_assert_eq(take_all(&trip), 0);
    cr_assert_eq(spw_pool_wait_room(bed.pool, 0, 60 * SECOND_NS), 0);
    cr_assert_eq(put_flags(&trip, ORIGIN_LOAN, 1, 30000, SPILLWAY_EXTEND_BOUNDED), 0);
    cr_assert_eq(take_all(&trip), 0);
    cr_assert_eq(refused, 1);
    trip_close(&trip);
    bed_close(&bed);
}

Test(pool_faults, bounded_without_tiers)
{
    static const struct setting settings[] = {{"memory", "1MiB"}, {"tiers", "none"}, {NULL, NULL}};
    bounded_writer(settings, 0);
}

Test(pool_faults, bounded_with_full_tiers)
{
    static const struct setting settings[] = {
        {"memory", "1MiB"}, {"memory_tier", "2MiB"}, {"disk_limit", "4MiB"}, {NULL, NULL}};
    bounded_writer(settings, 1);
}

struct room {
    spw_pool *pool;
    int err;
};

static void *room_main(void *context)
{
    struct room *room = context;
    room->err = spw_pool_wait_room(room->pool, 0, SPILLWAY_FOREVER);
    return NULL;
}

Test(pool_faults, who_waits_for_room_is_woken)
{
    static const struct setting settings[] = {{"memory", "1MiB"}, {"tiers", "none"}, {NULL, NULL}};
    struct bed bed;
    struct trip trip;
    pthread_t thread;
    bed_open(&bed, settings, 0);
    trip_open(&trip, &bed, 5);
    put(&trip, ORIGIN_LOAN, 60, 30000);
    struct room room = {bed.pool, 1};
    cr_assert_eq(pthread_create(&thread, NULL, room_main, &room), 0);
    for (unsigned i = 0; i < 10; i++)
        nap();
    cr_assert_eq(take_all(&trip), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(room.err, 0);
    trip_close(&trip);
    bed_close(&bed);
}

/* The window is full and the device hangs: who asked not to wait is told to come back. */
Test(pool_faults, nowait_while_the_window_is_full)
{
    struct bed bed;
    struct trip trip;
    int err = 0;
    bed_open(&bed, threads_disk, 1);
    trip_open(&trip, &bed, 5);
    gate_shut(FAULT_PWRITE);
    for (unsigned i = 0; i < 500 && !err; i++)
        err = put_flags(&trip, ORIGIN_LOAN, 1, 30000, SPILLWAY_EXTEND_NOWAIT);
    cr_assert_eq(err, -EAGAIN);
    cr_assert_leq(bed_stats(&bed).used_peak_bytes, MIB + 128 * KIB);
    spw_slab *slab;
    cr_assert_eq(spw_pool_slab_open(bed.pool, 256 * KIB, SPILLWAY_EXTEND_NOWAIT, &slab), -EAGAIN);
    cr_assert_eq(spw_pool_wait_room(bed.pool, 0, SECOND_NS / 50), -ETIMEDOUT);
    wait_stat(&bed, oldest_request_ns, >, 0); /* a thread may be slow to take the first job */
    gate_open();
    cr_assert_eq(spw_pool_wait_room(bed.pool, 0, 60 * SECOND_NS), 0);
    put(&trip, ORIGIN_LOAN, 1, 30000);
    cr_assert_eq(take_all(&trip), 0);
    trip_close(&trip);
    bed_close(&bed);
}

/* ---- writes that fail ---- */

static void write_error(const struct setting *settings, enum fault kind)
{
    struct bed bed;
    bed_open(&bed, settings, 2);
    fault_fail(kind, 1, 1, -EIO);
    whole_trip(&bed);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.quarantined_dirs, 1);
    cr_assert_eq(stats.write_errors_total, 1);
    cr_assert_eq(stats.lost_runs_total + stats.full_total, 0);
    cr_assert_gt(stats.spilled_bytes_total, 0);
    cr_assert_eq(log_lines_with("withdrawn after an error"), 1);
    bed_close(&bed);
}

Test(pool_faults, write_error_withdraws_a_directory)
{
    write_error(threads_disk, FAULT_PWRITE);
}

Test(pool_faults, write_error_of_the_ring_withdraws_a_directory)
{
    write_error(ring_disk, FAULT_RING_WRITE);
}

Test(pool_faults, write_errors_everywhere_keep_bytes_resident)
{
    struct bed bed;
    struct trip trip;
    bed_open(&bed, threads_disk, 2);
    trip_open(&trip, &bed, 9);
    for (unsigned i = 0; i < 20; i++)
        put(&trip, ORIGIN_POOL_SLAB, 1, 60000);
    bed_quiet(&bed);
    uint64_t before = bed_stats(&bed).spilled_bytes_total;
    cr_assert_gt(before, 0);
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EIO);
    for (unsigned i = 0; i < 60; i++)
        put(&trip, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 1, 60000);
    wait_stat(&bed, quarantined_dirs, ==, 2);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_gt(stats.held_bytes, 0);
    cr_assert_eq(log_lines_with("withdrawn after an error"), 2);
    cr_assert_eq(put_flags(&trip, ORIGIN_LOAN, 1, 60000, SPILLWAY_EXTEND_BOUNDED), -ENOSPC);
    fault_heal(FAULT_PWRITE);
    cr_assert_eq(take_all(&trip), 0); /* what was stored before stays readable */
    cr_assert_gt(bed_stats(&bed).fetched_bytes_total, 0);
    trip_close(&trip);
    bed_close(&bed);
}

/* ---- reads that fail ---- */

/* Fills a queue so that much is on disk, and waits for it. */
static void trip_store(struct trip *trip, struct bed *bed, const struct setting *settings,
                       unsigned dirs)
{
    bed_open(bed, settings, dirs);
    trip_open(trip, bed, 11);
    for (unsigned i = 0; i < 60; i++)
        put(trip, i % 2 ? ORIGIN_LOAN : ORIGIN_POOL_SLAB, 2, 30000);
    bed_quiet(bed);
    cr_assert_gt(bed_stats(bed).spilled_bytes_total, MIB);
}

static void read_error_once(const struct setting *settings, enum fault kind)
{
    struct bed bed;
    struct trip trip;
    trip_store(&trip, &bed, settings, 1);
    fault_fail(kind, 1, 2, -EIO);
    cr_assert_eq(take_all(&trip), 0);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.read_errors_total, 2);
    cr_assert_eq(stats.lost_runs_total, 0);
    trip_close(&trip);
    bed_close(&bed);
}

Test(pool_faults, read_error_once_is_invisible)
{
    read_error_once(threads_disk, FAULT_PREAD);
}

Test(pool_faults, read_error_of_the_ring_once_is_invisible)
{
    read_error_once(ring_disk, FAULT_RING_READ);
}

/* Skips the lost run at the head. Returns its bytes. */
static uint64_t skip_lost(struct trip *trip)
{
    spw_queue_info info = {.size = sizeof(info)};
    uint64_t lost = 0;
    cr_assert_eq(spw_reader_skip(trip->ends.reader, &lost), 0);
    cr_assert_gt(lost, 0);
    cr_assert_eq(spw_reader_info(trip->ends.reader, &info), 0);
    cr_assert_eq(info.skipped_bytes_total, lost);
    cr_assert_eq(spw_reader_skip(trip->ends.reader, &lost), -EINVAL, "once");
    for (uint64_t rest = lost; rest > 0;) { /* the same in the model */
        struct value *value = &trip->model.values[trip->model.first];
        cr_assert_leq(value->len, rest);
        rest -= value->len;
        trip->model.bytes -= value->len;
        trip->model.first = (trip->model.first + 1) % trip->model.capacity;
        trip->model.count--;
    }
    return lost;
}

static void read_error_always(const struct setting *settings, enum fault kind)
{
    struct bed bed;
    struct trip trip, other;
    spw_bytes bytes;
    long err;
    trip_store(&trip, &bed, settings, 1);
    trip_open(&other, &bed, 12);
    for (unsigned i = 0; i < 20; i++)
        put(&other, ORIGIN_LOAN, 1, 60000);
    bed_quiet(&bed);
    fault_fail(kind, 0, FAULT_ALWAYS, -EIO);
    unsigned retries = 0;
    while ((err = take_all(&trip)) == -EIO) {
        cr_assert_eq(spw_error_class((int)err), SPILLWAY_CLASS_RETRY);
        cr_assert_lt(++retries, 20);
    }
    cr_assert_eq(err, -ENOTRECOVERABLE);
    cr_assert_eq(spw_error_class((int)err), SPILLWAY_CLASS_LOST);
    cr_assert_gt(retries, 0);
    cr_assert_eq(spw_reader_drain(trip.ends.reader, &bytes, 1), -ENOTRECOVERABLE, "for ever");
    fault_heal(kind);
    cr_assert_eq(spw_reader_drain(trip.ends.reader, &bytes, 1), -ENOTRECOVERABLE);
    cr_assert_eq(take_all(&other), 0, "other queues go on");
    skip_lost(&trip);
    err = take_all(&trip);
    while (err == -EIO) /* of reads ahead that failed, too */
        err = take_all(&trip);
    while (err == -ENOTRECOVERABLE) {
        uint64_t lost;
        cr_assert_eq(spw_reader_skip(trip.ends.reader, &lost), 0);
        err = -EIO;
        break;
    }
    spw_stats stats = bed_quiet(&bed);
    cr_assert_geq(stats.lost_runs_total, 1);
    cr_assert_eq(log_lines_with("is lost"), stats.lost_runs_total);
    cr_assert_geq(stats.read_errors_total, 3);
    trip_close(&trip);
    trip_close(&other);
    bed_close(&bed);
}

static const struct setting one_by_one[] = {{"memory", "1MiB"},    {"engine", "threads"},
                                            {"tiers", "disk"},     {"prefetch", "off"},
                                            {"head_reserve", "0"}, {NULL, NULL}};

Test(pool_faults, read_error_for_ever_is_a_loss)
{
    read_error_always(one_by_one, FAULT_PREAD);
}

Test(pool_faults, read_error_of_the_ring_for_ever_is_a_loss)
{
    static const struct setting settings[] = {{"memory", "1MiB"},    {"engine", "io_uring"},
                                              {"tiers", "disk"},     {"prefetch", "off"},
                                              {"head_reserve", "0"}, {NULL, NULL}};
    read_error_always(settings, FAULT_RING_READ);
}

Test(pool_faults, wrong_byte_once_is_invisible)
{
    struct bed bed;
    struct trip trip;
    trip_store(&trip, &bed, threads_disk, 1);
    fault_corrupt(FAULT_PREAD, 1, 2);
    cr_assert_eq(take_all(&trip), 0);
    cr_assert_geq(bed_quiet(&bed).checksum_errors_total, 1);
    cr_assert_eq(bed_stats(&bed).lost_runs_total, 0);
    trip_close(&trip);
    bed_close(&bed);
}

/* ---- wrong bytes for good: on the device itself ---- */

/* Two stored runs of the same size. */
static void pair_open(struct hand *pair, const struct setting *settings, unsigned dirs, size_t len)
{
    hand_open(pair, settings, dirs);
    for (unsigned i = 0; i < 2; i++) {
        hand_spill_run(pair, stream_chunks(i * 1000003, 1, len));
        wait_state(pair->handles[i], RUN_STORED);
    }
    bed_quiet(&pair->bed);
}

static void pair_close(struct hand *pair)
{
    for (unsigned i = 0; i < 2; i++)
        if (pair->handles[i])
            pair->handles[i]->ops->drop(pair->handles[i]);
    hand_close(pair);
}

static void extent_copy(const struct hand *pair, unsigned from, unsigned to, size_t len)
{
    const struct run *a = (const struct run *)pair->handles[from],
                     *b = (const struct run *)pair->handles[to];
    const int *fds;
    disk_files(pair->bed.pool->disk, &fds);
    unsigned char *data = aligned_alloc(4096, len);
    cr_assert_not_null(data);
    cr_assert_eq(pread(fds[a->at.extent.dir], data, len, (off_t)a->at.extent.offset), (ssize_t)len);
    cr_assert_eq(pwrite(fds[b->at.extent.dir], data, len, (off_t)b->at.extent.offset),
                 (ssize_t)len);
    free(data);
}

static void fetch_is_lost(struct hand *pair, unsigned index)
{
    spw_handle *handle = pair->handles[index];
    spw_chunks out = SPILLWAY_CHUNKS_NONE;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(handle->ops->fetch(handle, 0, &out), -EBADMSG);
        cr_assert_eq(out.count, 0, "nobody sees them");
    }
    cr_assert_eq(handle->ops->prefetch(handle, 0), -EBADMSG);
    spw_stats stats = bed_quiet(&pair->bed);
    cr_assert_eq(stats.lost_runs_total, 1);
    cr_assert_eq(stats.checksum_errors_total, 1);
    cr_assert_eq(stats.fetched_runs_total, 0);
    cr_assert_eq(log_lines_with("is lost"), 1);
    handle->ops->drop(handle);
    pair->handles[index] = NULL;
}

static void fetch_is_right(struct hand *pair, unsigned index, size_t len)
{
    spw_handle *handle = pair->handles[index];
    spw_chunks out = SPILLWAY_CHUNKS_NONE;
    cr_assert_eq(handle->ops->fetch(handle, 0, &out), 0);
    cr_assert(chunks_are(&out, index * 1000003, 1, len));
    pair->handles[index] = NULL;
}

/* Right bytes of the wrong run: the checksum covers who they belong to. */
static void run_of_another(const struct setting *settings)
{
    struct hand pair;
    pair_open(&pair, settings, 1, 128 * KIB);
    extent_copy(&pair, 0, 1, 128 * KIB);
    fetch_is_lost(&pair, 1);
    fetch_is_right(&pair, 0, 128 * KIB);
    pair_close(&pair);
}

Test(pool_faults, run_of_another_is_noticed)
{
    run_of_another(threads_disk);
}

Test(pool_faults, run_of_another_is_noticed_through_the_ring)
{
    run_of_another(ring_disk);
}

Test(pool_faults, wrong_byte_in_any_piece_is_noticed)
{
    static const struct setting settings[] = {
        {"memory", "32MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
    struct hand pair;
    const int *fds;
    size_t len = 5 * MIB - 100;
    pair_open(&pair, settings, 1, len);
    struct run *run = (struct run *)pair.handles[0];
    struct extent *last = run_extent(run, run_pieces(run) - 1);
    unsigned char *page = aligned_alloc(4096, 4096);
    cr_assert_not_null(page);
    disk_files(pair.bed.pool->disk, &fds);
    cr_assert_eq(pread(fds[last->dir], page, 4096, (off_t)last->offset), 4096);
    page[17] ^= 1;
    cr_assert_eq(pwrite(fds[last->dir], page, 4096, (off_t)last->offset), 4096);
    free(page);
    fetch_is_lost(&pair, 0);
    fetch_is_right(&pair, 1, len);
    pair_close(&pair);
}

Test(pool_faults, wrong_byte_in_memory_is_noticed_if_asked_for)
{
    static const struct setting settings[] = {{"memory", "1MiB"},
                                              {"memory_tier", "16MiB"},
                                              {"tiers", "memory"},
                                              {"checksum", "all"},
                                              {NULL, NULL}};
    struct hand pair;
    pair_open(&pair, settings, 0, 128 * KIB);
    const struct own_slot *slot = &((struct run *)pair.handles[0])->at.slot;
    slot->segment->write[slot->data - slot->segment->read + 70000] ^= 1;
    fetch_is_lost(&pair, 0);
    fetch_is_right(&pair, 1, 128 * KIB);
    pair_close(&pair);
}

/* ---- small troubles ---- */

static void in_small_steps(const struct setting *settings, enum fault reads, enum fault writes)
{
    struct bed bed;
    bed_open(&bed, settings, 1);
    for (uint32_t i = 0; i < 6; i++) {
        fault_short(reads, 3 * i, 1, 4096 + 5000 * i);
        fault_short(writes, 3 * i, 1, 4096 + 5000 * i);
        fault_fail(reads, 3 * i + 1, 1, -EINTR);
        fault_fail(writes, 3 * i + 1, 1, -EINTR);
        fault_fail(reads, 3 * i + 2, 1, -EAGAIN);
        fault_fail(writes, 3 * i + 2, 1, -EAGAIN);
    }
    whole_trip(&bed);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.read_errors_total + stats.write_errors_total, 0);
    cr_assert_eq(stats.checksum_errors_total, 0);
    cr_assert_gt(stats.fetched_bytes_total, 0);
    bed_close(&bed);
}

Test(pool_faults, short_and_interrupted)
{
    in_small_steps(threads_disk, FAULT_PREAD, FAULT_PWRITE);
}

Test(pool_faults, short_and_interrupted_in_the_ring)
{
    in_small_steps(ring_disk, FAULT_RING_READ, FAULT_RING_WRITE);
}

/* The memory tier refuses: the next tier takes it. */
static void memory_tier_refuses(enum fault kind, int err)
{
    struct bed bed;
    bed_open(&bed, both_tiers, 1);
    fault_fail(kind, 0, FAULT_ALWAYS, err);
    whole_trip(&bed);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_eq(stats.spilled_memory_bytes_total, 0);
    cr_assert_gt(stats.spilled_disk_bytes_total, 0);
    cr_assert_eq(stats.lost_runs_total, 0);
    fault_heal(kind);
    bed_close(&bed);
}

Test(pool_faults, no_descriptors_for_the_memory_tier)
{
    memory_tier_refuses(FAULT_MEMFD_CREATE, -EMFILE);
}

Test(pool_faults, no_event_descriptor)
{
    struct bed bed;
    struct trip trip;
    bed_open(&bed, threads_disk, 1);
    trip_open(&trip, &bed, 3);
    /* The queue asks the real system: descriptors that are used up are hard to script there. */
    int fd = spw_reader_event_fd(trip.ends.reader);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    trip_close(&trip);
    bed_close(&bed);
}
