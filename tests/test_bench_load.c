/* SPDX-License-Identifier: MIT */
/* The work of spillbench's contenders: content that tells its place, and loads through queues. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/spillbench/load.h"
#include "dirs.h"
#include "harness.h"

enum { MIB = 1 << 20 };

/* Large, so not on the stack. */
static struct measure measure;

/* ---- content ---- */

Test(bench_load, content_is_found_at_every_offset)
{
    enum { BYTES = 3 * 4096 + 77 };
    unsigned char *room = malloc(BYTES + 64);
    cr_assert(room != NULL);
    for (unsigned shift = 0; shift < 9; shift++) {
        unsigned char *data = room + shift;
        chunk_fill(data, BYTES, 5);
        for (unsigned from = 0; from < BYTES; from += from < 70 || from > 4030 ? 1 : 61) {
            unsigned len = (BYTES - from) < 100 ? BYTES - from : 100;
            cr_assert(chunk_matches(data + from, len, 5, from), "%u", from);
            cr_assert(chunk_matches(data + from, BYTES - from, 5, from), "%u", from);
        }
    }
    free(room);
}

Test(bench_load, a_wrong_byte_is_seen)
{
    enum { BYTES = 4096 + 200 };
    unsigned char data[BYTES];
    chunk_fill(data, BYTES, 9);
    for (unsigned i = 0; i < BYTES; i++) {
        data[i] = (unsigned char)(data[i] ^ 1U << (i % 8));
        cr_assert_not(chunk_matches(data, BYTES, 9, 0), "%u", i);
        cr_assert_not(chunk_matches(data + i, 1, 9, i), "%u", i);
        data[i] = (unsigned char)(data[i] ^ 1U << (i % 8));
    }
    cr_assert(chunk_matches(data, BYTES, 9, 0));
    cr_assert_not(chunk_matches(data, BYTES, 10, 0), "another chunk");
    cr_assert_not(chunk_matches(data, 4096, 9, 4096), "another place");
    cr_assert(chunk_matches(data, 0, 9, 0));
}

/* No page of it may be like another, or a compressor would find that. */
Test(bench_load, no_word_comes_again)
{
    enum { WORDS = 4096, CHUNKS = 16 };
    static uint64_t words[CHUNKS][WORDS / CHUNKS];
    uint64_t *all = words[0];
    for (unsigned i = 0; i < CHUNKS; i++)
        chunk_fill(words[i], sizeof(words[i]), i);
    for (unsigned i = 0; i < WORDS; i++) {
        for (unsigned j = 0; j < i; j++)
            cr_assert_neq(all[i], all[j], "words %u and %u", i, j);
    }
}

/* ---- loads ---- */

static void run(const struct load *load, const char *memory, const char *dir)
{
    const char *const settings[] = {"memory", memory, "tiers", dir ? NULL : "none", NULL};
    spw_options *options;
    spw_pool *pool = load_pool(&measure, 0, dir, &options, settings);
    cr_assert(pool != NULL, "%s", measure.why);
    load_run(load, pool, options, &measure);
    cr_assert_eq(measure.error, 0, "%s", measure.why);
    spw_stats stats = {.size = sizeof(stats)};
    cr_assert_eq(spw_pool_stats(pool, &stats), 0);
    if (dir && !load->drain_every)
        cr_assert_gt(stats.spilled_bytes_total, 0);
    cr_assert_eq(spw_pool_close_idle(pool), 0);
    spw_options_close(options);
}

static void check_measure(const struct load *load)
{
    cr_assert_eq(measure.bytes, load->total_bytes);
    cr_assert_eq(measure.produced_bytes, load->total_bytes);
    cr_assert_eq(measure.drained_bytes, load->total_bytes);
    cr_assert_gt(measure.wall_s, 0);
    cr_assert_leq(measure.produce_s + measure.drain_s, measure.wall_s * 1.001);
}

Test(bench_load, shapes_of_loads)
{
    static const struct load loads[] = {
        {.total_bytes = 8 * MIB, .chunk_bytes = 64 << 10, .verify = true, .latency = true},
        {.total_bytes = 8 * MIB + 12345, .chunk_bytes = 30000, .queues = 5, .verify = true},
        {.total_bytes = 4 * MIB, .chunk_bytes = 1000, .drain_every = 1700, .verify = true},
        {.total_bytes = 12 * MIB, .chunk_bytes = 5 * MIB, .verify = true},
        {.total_bytes = 8 * MIB, .chunk_bytes = 100000, .queues = 3, .drain_every = 7},
        {.total_bytes = 3, .chunk_bytes = 1, .queues = 7, .verify = true},
    };
    char dir[DIRS_PATH];
    cr_assert(dirs_make(dir));
    for (unsigned i = 0; i < 2 * sizeof(loads) / sizeof(loads[0]); i++) {
        struct load load = loads[i / 2];
        load.origin = i % 2 ? ORIGIN_HEAP : ORIGIN_POOL_SLAB;
        run(&load, "1MiB", load.total_bytes > 4 * MIB ? dir : NULL);
        check_measure(&load);
        if (load.latency) {
            cr_assert_eq(measure.extend.count, load.total_bytes / load.chunk_bytes);
            cr_assert_gt(measure.drain.count, 0);
        } else {
            cr_assert_eq(measure.extend.count, 0);
        }
        load_run(&load, NULL, NULL, &measure);
        cr_assert_eq(measure.error, 0, "%s", measure.why);
        check_measure(&load);
    }
    cr_assert(dirs_remove(dir));
}

Test(bench_load, the_control_thread_counts_for_itself)
{
    struct load load = {.total_bytes = 16 * MIB, .chunk_bytes = MIB, .control = true};
    load_run(&load, NULL, NULL, &measure);
    cr_assert_eq(measure.error, 0);
    cr_assert_gt(measure.control.count, 0);
}

Test(bench_load, a_named_directory_must_work)
{
    spw_options *options;
    cr_assert(load_pool(&measure, 0, "/nonexistent", &options, NULL) == NULL);
    cr_assert_eq(measure.error, -ENODEV);
    cr_assert(strstr(measure.why, "/nonexistent") != NULL, "%s", measure.why);
    cr_assert(options == NULL);
}

Test(bench_load, a_setting_that_is_refused)
{
    static const char *const settings[] = {"engine", "steam", NULL};
    spw_options *options;
    cr_assert(load_pool(&measure, 0, NULL, &options, settings) == NULL);
    cr_assert_eq(measure.error, -EINVAL);
    cr_assert(strstr(measure.why, "steam") != NULL, "%s", measure.why);
}
