/* SPDX-License-Identifier: MIT */
/* Moving runs from the memory tier to disk while they are wanted. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../pool/pool.h"
#include "fault.h"
#include "harness.h"
#include "pool_tools.h"
#include "spillway/spillway.h"

enum { CHUNK = 64 << 10, CHUNKS = 256, SMALL = 1000 };

static spw_pool *pool;
static spw_writer *writer;
static spw_reader *reader;

static void open_with(const char *checksum, const char *engine)
{
    spw_options *options;
    cr_assert_eq(spw_options_open(&options), 0);
    cr_assert_eq(spw_options_set(options, "memory", "4MiB"), 0);
    cr_assert_eq(spw_options_set(options, "memory_tier", "64MiB"), 0);
    cr_assert_eq(spw_options_set(options, "dirs", "/var/tmp"), 0);
    cr_assert_eq(spw_options_set(options, "checksum", checksum), 0);
    cr_assert_eq(spw_options_set(options, "engine", engine), 0);
    spw_pool_config config = {.size = sizeof(config), .options = options};
    cr_assert_eq(pool_open_with(&fault_os, "", &config, &pool), 0);
    spw_strategy *strategy;
    spw_queue_options queue = {.size = sizeof(queue), .account = spw_pool_account(pool)};
    cr_assert_eq(spw_pool_strategy(pool, &strategy), 0);
    cr_assert_eq(spw_policies_open(strategy, options, &queue.writer_policy, &queue.reader_policy),
                 0);
    cr_assert_eq(spw_queue_open(&queue, &writer, &reader), 0);
    spw_options_close(options);
}

static void open_all(const char *checksum)
{
    open_with(checksum, "auto");
}

static spw_stats stats(void)
{
    spw_stats out = {.size = sizeof(out)};
    cr_assert_eq(spw_pool_stats(pool, &out), 0);
    return out;
}

static void push(unsigned count, size_t len)
{
    static unsigned char data[CHUNK];
    for (unsigned i = 0; i < count; i++) {
        spw_bytes bytes;
        memset(data, (int)(i * 7 + 1), len);
        cr_assert_eq(spw_bytes_copy(data, len, NULL, &bytes), 0);
        cr_assert_eq(spw_writer_extend(writer, &bytes, 1, 0), 0);
    }
}

/* Until nothing is in flight and nothing is being demoted. */
static void settle(void)
{
    for (unsigned i = 0; i < 20000 && stats().in_flight_bytes > 0; i++)
        nap();
}

static void drain(unsigned count, size_t len)
{
    unsigned got = 0;
    spw_bytes out[16];
    long n;
    spw_writer_close(writer);
    while ((n = spw_reader_drain_wait(reader, out, 16, SPILLWAY_FOREVER)) > 0) {
        for (long i = 0; i < n; i++, got++) {
            cr_assert_eq(out[i].len, len);
            cr_assert_eq(out[i].data[0], (unsigned char)(got * 7 + 1));
            cr_assert_eq(out[i].data[len - 1], (unsigned char)(got * 7 + 1));
            spw_bytes_release(&out[i]);
        }
    }
    cr_assert_eq(n, 0);
    cr_assert_eq(got, count);
    spw_reader_close(reader);
}

static void drain_all(unsigned count, size_t len)
{
    drain(count, len);
    cr_assert_eq(spw_pool_close_idle(pool), 0);
}

static void wait_demoted(uint64_t bytes)
{
    for (unsigned i = 0; i < 20000 && stats().demoted_bytes_total < bytes; i++)
        nap();
    cr_assert_eq(stats().demoted_bytes_total, bytes);
}

Test(demote, moves_to_disk_and_comes_back)
{
    uint64_t started;
    open_all("disk");
    push(CHUNKS, CHUNK);
    settle();
    uint64_t stored = stats().memory_tier_stored_bytes;
    cr_assert_gt(stored, 8u << 20);
    cr_assert_eq(spw_pool_demote(pool, UINT64_MAX, &started), 0);
    cr_assert_gt(started, 8u << 20);
    wait_demoted(started);
    cr_assert_eq(stats().memory_tier_stored_bytes, 0);
    cr_assert_geq(stats().disk_stored_bytes, started);
    cr_assert_eq(spw_pool_demote(pool, UINT64_MAX, &started), 0);
    cr_assert_eq(started, 0);
    drain_all(CHUNKS, CHUNK);
}

Test(demote, small_entries_and_all_checksums)
{
    uint64_t started;
    open_all("all");
    push(20000, SMALL);
    settle();
    cr_assert_eq(spw_pool_demote(pool, 6 << 20, &started), 0);
    cr_assert_gt(started, 0);
    cr_assert_leq(started, 6u << 20);
    drain_all(20000, SMALL);
}

Test(demote, a_large_entry_in_pieces)
{
    static unsigned char data[5000001];
    uint64_t started;
    open_all("disk");
    memset(data, 9, sizeof(data));
    for (unsigned i = 0; i < 3; i++) {
        spw_bytes bytes;
        data[4321987] = (unsigned char)i;
        cr_assert_eq(spw_bytes_copy(data, sizeof(data), NULL, &bytes), 0);
        cr_assert_eq(spw_writer_extend(writer, &bytes, 1, 0), 0);
    }
    settle();
    cr_assert_eq(spw_pool_demote(pool, UINT64_MAX, &started), 0);
    cr_assert_geq(started, sizeof(data));
    wait_demoted(started);
    spw_writer_close(writer);
    for (unsigned i = 0; i < 3; i++) {
        spw_bytes out;
        cr_assert_eq(spw_reader_drain_wait(reader, &out, 1, SPILLWAY_FOREVER), 1);
        cr_assert_eq(out.len, sizeof(data));
        cr_assert_eq(out.data[4321987], i);
        cr_assert_eq(out.data[sizeof(data) - 1], 9);
        spw_bytes_release(&out);
    }
    spw_reader_close(reader);
    cr_assert_eq(spw_pool_close_idle(pool), 0);
}

/* Runs whose demotion has begun, some of them stopped at the device, the others behind those. */
static void demote_to_gate(void)
{
    open_with("disk", "threads");
    push(CHUNKS, CHUNK);
    settle();
    gate_shut(FAULT_PWRITE);
    cr_assert_eq(spw_pool_demote(pool, UINT64_MAX, NULL), 0);
    gate_wait(1);
}

static void end_at_gate(void)
{
    cr_assert_eq(stats().demoted_bytes_total, 0);
    gate_open();
    cr_assert_eq(spw_pool_close_idle(pool), 0);
}

Test(demote, fetched_while_it_is_written)
{
    demote_to_gate();
    drain(CHUNKS, CHUNK);
    cr_assert_eq(stats().fetched_disk_bytes_total, 0);
    end_at_gate();
}

Test(demote, dropped_while_it_is_written)
{
    demote_to_gate();
    spw_writer_close(writer);
    spw_reader_close(reader);
    end_at_gate();
}

Test(demote, a_failed_write_leaves_it_in_memory)
{
    open_all("disk");
    push(CHUNKS, CHUNK);
    settle();
    uint64_t stored = stats().memory_tier_stored_bytes;
    fault_fail(FAULT_PWRITE, 0, 1000000, -EIO);
    fault_fail(FAULT_RING_WRITE, 0, 1000000, -EIO);
    cr_assert_eq(spw_pool_demote(pool, UINT64_MAX, NULL), 0);
    for (unsigned i = 0; i < 20000 && stats().write_errors_total == 0; i++)
        nap();
    cr_assert_gt(stats().write_errors_total, 0);
    cr_assert_eq(stats().demoted_bytes_total, 0);
    cr_assert_eq(stats().memory_tier_stored_bytes, stored);
    drain_all(CHUNKS, CHUNK);
}

Test(demote, needs_both_tiers)
{
    spw_options *options;
    cr_assert_eq(spw_options_open(&options), 0);
    cr_assert_eq(spw_options_set(options, "memory", "4MiB"), 0);
    cr_assert_eq(spw_options_set(options, "tiers", "disk"), 0);
    spw_pool_config config = {.size = sizeof(config), .options = options};
    cr_assert_eq(spw_pool_open(&config, &pool), 0);
    cr_assert_eq(spw_pool_demote(pool, 1, NULL), -ENODEV);
    cr_assert_eq(spw_pool_close_idle(pool), 0);
    spw_options_close(options);
}
