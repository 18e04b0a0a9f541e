/* SPDX-License-Identifier: MIT */
/*
 * The compress policy: what it chooses, on devices and data that are figures only, with a simulated
 * clock; and that its coder gives back what it was given, and nothing else whatever it is given.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/options.h"
#include "../policies/compress.h"
#include "../policies/compress_choose.h"
#include "../policies/compress_codec.h"
#include "compress_sim.h"
#include "fault.h"
#include "harness.h"
#include "spillway/spillway.h"

/* ---- what is scarce ---- */

Test(compress, a_slow_device_gets_the_code_that_moves_most)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim_runs(&sim, 64, quick_writer);
    double rate = sim_runs(&sim, 2048, quick_writer);
    cr_assert(rate > 0.47, "%.3f GB/s", rate); /* middle: 0.5 each processor, 0.54 the device */
    cr_assert_str_eq(sim.action, "middle");
    cr_assert(strstr(sim.reason, "200 MB/s") && strstr(sim.reason, "2.7 x"), "%s", sim.reason);
    cr_assert_leq(sim.told, 4);
}

Test(compress, more_threads_make_denser_codes_worth_it)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim.view.workers = 4;
    sim_runs(&sim, 256, quick_writer);
    cr_assert_str_eq(sim.action, "dense");
}

Test(compress, a_fast_device_gets_none_at_hardly_any_cost)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 1.9);
    sim_runs(&sim, 512, quick_writer); /* 1 GiB */
    cr_assert_str_eq(sim.action, "none");
    cr_assert(strstr(sim.reason, "1.9 GB/s"), "%s", sim.reason);
    double share = sim.encode_ns / (sim.now_ns - (double)S);
    cr_assert(share < 0.01, "%.4f", share);
    sim_runs(&sim, 20000, quick_writer);
    share = sim.encode_ns / (sim.now_ns - (double)S);
    cr_assert(share < 0.001, "%.4f", share);
    cr_assert_leq(sim.samples, 2); /* they cost too */
    cr_assert(sim.asked < 20512 / 8, "%llu", (unsigned long long)sim.asked);
}

Test(compress, none_where_one_processor_is_slower_than_the_device_however_many_there_are)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 1.2);
    sim.view.workers = 4;
    sim_runs(&sim, 2048, quick_writer);
    cr_assert_str_eq(sim.action, "none");
    cr_assert_eq(sim.runs[2] + sim.runs[3], 0);
}

Test(compress, a_device_that_keeps_up_is_left_alone)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim_runs(&sim, 2000, 0.1);
    cr_assert_str_eq(sim.action, "none");
    cr_assert(strstr(sim.reason, "keeps up"), "%s", sim.reason);
    cr_assert_eq(sim.runs[0], 2000);
}

Test(compress, a_device_that_changes_is_noticed)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 2);
    sim_runs(&sim, 512, quick_writer);
    cr_assert_str_eq(sim.action, "none");
    sim.device = 0.15;
    sim_runs(&sim, 128, quick_writer);
    cr_assert_str_neq(sim.action, "none", "slowed down: %s", sim.reason);
    double rate = sim_runs(&sim, 512, quick_writer);
    cr_assert(rate > 0.35, "%.3f", rate);
    sim.device = 2; /* encoding is the slower part now, so only a look at the device shows it */
    double start_ns = sim.now_ns;
    while (strcmp(sim.action, "none") != 0 && sim.now_ns - start_ns < 200 * (double)S)
        sim_run(&sim, quick_writer);
    cr_assert(sim.now_ns - start_ns < 10 * (double)S, "after %.1f s",
              (sim.now_ns - start_ns) / (double)S);
}

Test(compress, looking_at_the_device_costs_little)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim.gains[1] = 4; /* encoding is the slower part: nothing shows what the device can do */
    sim_runs(&sim, 64, quick_writer);
    double rate = sim_runs(&sim, 20000, quick_writer);
    cr_assert(rate > 0.5 * 0.97, "%.3f", rate);
}

/* A processor that others want too moves less; when they go, that is noticed soon. */
Test(compress, a_share_of_a_processor_is_not_a_whole_one)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim_runs(&sim, 256, quick_writer);
    cr_assert_str_eq(sim.action, "middle");
    sim.share = 0.3; /* 0.18 GB/s at most */
    double rate = sim_runs(&sim, 4096, quick_writer);
    cr_assert(rate > 0.195, "%.3f", rate);
    double start_ns = sim.now_ns;
    sim.share = 1;
    rate = 0;
    while (rate < 0.4 && sim.now_ns - start_ns < 200 * (double)S)
        rate = sim_runs(&sim, 64, quick_writer);
    cr_assert(sim.now_ns - start_ns < 90 * (double)S, "after %.1f s",
              (sim.now_ns - start_ns) / (double)S);
}

/* Figures may promise what does not come true: then it is what comes out that counts. */
Test(compress, what_brings_nothing_is_left_alone)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim.coded_most = 0.12;
    sim_runs(&sim, 512, quick_writer);
    cr_assert_str_eq(sim.action, "none");
    cr_assert(strstr(sim.reason, "no more went out with a code"), "%s", sim.reason);
    cr_assert(strstr(sim.reason, "120 MB/s"), "%s", sim.reason);
    double rate = sim_runs(&sim, 10000, quick_writer); /* 100 s */
    cr_assert(rate > 0.2 * 0.97, "%.3f", rate);
    sim.coded_most = 100;
    sim_runs(&sim, 10000, quick_writer);
    cr_assert_str_neq(sim.action, "none");
}

/* ---- noise ---- */

/* One run gets ten times as small as the next: codes that are measured on different ones would be
 * compared by luck. */
Test(compress, codes_are_compared_on_the_same_bytes)
{
    static const double uneven[UNEVEN] = {3,   0.6, 0.6, 0.6, 2, 0.6, 4,   0.6,
                                          0.6, 0.6, 0.6, 3,   1, 0.6, 0.6, 0.6};
    for (unsigned begin = 0; begin < UNEVEN; begin++) {
        struct sim sim;
        double turned[UNEVEN];
        for (unsigned i = 0; i < UNEVEN; i++)
            turned[i] = uneven[(i + begin) % UNEVEN];
        sim_open(&sim, COMPRESS_AUTO, 0.2);
        sim.uneven = turned;
        sim_runs(&sim, 512, quick_writer);
        uint64_t before = sim.runs[2];
        sim_runs(&sim, 512, quick_writer);
        cr_assert_geq(sim.runs[2] - before, 460, "from %u: %llu, %llu, %llu", begin,
                      (unsigned long long)sim.runs[1], (unsigned long long)sim.runs[2],
                      (unsigned long long)sim.runs[3]);
    }
}

/* A service's first MiB go out as they are; the next ones have a code. */
Test(compress, a_code_is_chosen_soon)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim_runs(&sim, 12, quick_writer); /* 24 MiB */
    cr_assert_leq(sim.runs[0], 6);
    double rate = sim_runs(&sim, 100, quick_writer);
    cr_assert(rate > 0.4, "%.3f", rate);
}

/* Stalls of the machine make a fast device look slow for a moment: half a second of them in each
 * two, and the device is at a fifth of its rate. No code is in use meanwhile. */
Test(compress, stalls_do_not_make_a_fast_device_a_slow_one)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 1.9);
    sim_runs(&sim, 512, quick_writer);
    for (unsigned i = 0; i < 20; i++) {
        double until_ns = sim.now_ns + (i % 2 == 0 ? 0.5e9 : 1.5e9);
        sim.device = i % 2 == 0 ? 0.38 : 1.9;
        while (sim.now_ns < until_ns)
            sim_run(&sim, quick_writer);
    }
    cr_assert_eq(sim.runs[2] + sim.runs[3], 0);
    uint64_t all = sim.runs[0] + sim.runs[1];
    cr_assert_lt(sim.runs[1], all / 100, "%llu of %llu", (unsigned long long)sim.runs[1],
                 (unsigned long long)all);
    cr_assert_str_eq(sim.action, "none");
}

/* Somebody else wants the processors for a second: encoding is given up, and taken up again soon.
 */
Test(compress, what_was_given_up_in_a_bad_moment_comes_back)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim_runs(&sim, 1024, quick_writer);
    cr_assert_str_eq(sim.action, "middle");
    sim.share = 0.15;
    for (double end_ns = sim.now_ns + 1e9; sim.now_ns < end_ns;)
        sim_run(&sim, quick_writer);
    sim.share = 1;
    double start_ns = sim.now_ns;
    while (sim_runs(&sim, 32, quick_writer) < 0.35 && sim.now_ns - start_ns < 100 * (double)S)
        continue;
    cr_assert(sim.now_ns - start_ns < 3.5 * (double)S, "after %.1f s",
              (sim.now_ns - start_ns) / (double)S);
}

/* A burst of what went out before a code was chosen, as writes that were begun together end
 * together: as if none moved more than the device ever does. */
Test(compress, a_burst_at_the_beginning_is_not_what_none_is_good_for)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim_runs(&sim, 3, quick_writer);
    sim.view.passed_bytes_total += 60 * MIB;
    sim.view.passed_ns_total += 100000000;
    sim.share = 0.5; /* 0.3 GB/s */
    sim_runs(&sim, 16, quick_writer);
    uint64_t none = sim.runs[0];
    double rate = sim_runs(&sim, 512, quick_writer);
    cr_assert_leq(sim.runs[0], none + 1, "%llu: %s", (unsigned long long)(sim.runs[0] - none),
                  sim.reason);
    cr_assert(rate > 0.25, "%.3f", rate);
}

/* ---- room ---- */

Test(compress, a_tier_that_is_nearly_full_gets_the_densest_code)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 2);
    sim.view.to_memory = 1;
    sim.view.capacity_bytes = 512 * MIB;
    sim_runs(&sim, 64, quick_writer);
    cr_assert_str_eq(sim.action, "none");
    cr_assert(strstr(sim.reason, "has room"), "%s", sim.reason);
    sim_runs(&sim, 128, quick_writer);
    cr_assert_str_eq(sim.action, "dense");
    cr_assert(strstr(sim.reason, "memory tier holds") && strstr(sim.reason, "512MiB"), "%s",
              sim.reason);
    cr_assert_gt(sim.view.stored_bytes, 256 * MIB - 2 * MIB);
    cr_assert_leq(sim.view.stored_bytes, 320 * MIB);
    unsigned told = sim.told;
    sim.view.stored_bytes = 200 * MIB; /* not clearly more room yet */
    sim_runs(&sim, 1, quick_writer);
    cr_assert_str_eq(sim.action, "dense");
    cr_assert_eq(sim.told, told);
    sim.view.stored_bytes = 100 * MIB;
    sim_runs(&sim, 1, quick_writer);
    cr_assert_str_eq(sim.action, "none");
}

Test(compress, a_disk_limit_that_is_near_gets_the_densest_code)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 2);
    sim.view.stored_bytes = 57 * GIB; /* of 64 */
    sim_runs(&sim, 8, quick_writer);
    cr_assert_str_eq(sim.action, "dense");
    cr_assert(strstr(sim.reason, "disk tier holds 57GiB of 64GiB"), "%s", sim.reason);
    sim_open(&sim, COMPRESS_AUTO, 2);
    sim.view.capacity_bytes = 256 * MIB; /* small beside the budget */
    sim_runs(&sim, 8, quick_writer);
    cr_assert_eq(sim.runs[3], 8);
    sim_open(&sim, COMPRESS_AUTO, 2);
    sim.view.capacity_bytes = 4 * GIB;
    sim.view.stored_bytes = 1 * GIB;
    sim_runs(&sim, 64, quick_writer);
    cr_assert_eq(sim.runs[3], 0);
}

/* ---- modes ---- */

Test(compress, modes_do_what_they_are_told)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_NONE, 0.1);
    sim_runs(&sim, 100, quick_writer);
    cr_assert_eq(sim.runs[0], 100);
    cr_assert_eq(sim.asked, 1);
    sim_open(&sim, COMPRESS_ROOM, 2);
    sim_runs(&sim, 100, quick_writer);
    cr_assert_eq(sim.runs[3], 100);
    cr_assert(strstr(sim.reason, "told to save room"), "%s", sim.reason);
    sim_open(&sim, COMPRESS_SPEED, 2);
    sim.view.stored_bytes = 63 * GIB;
    sim_runs(&sim, 100, quick_writer);
    cr_assert_leq(sim.runs[1] + sim.runs[2] + sim.runs[3], 1);
    sim_open(&sim, COMPRESS_LZ4, 2);
    sim_runs(&sim, 100, quick_writer);
    cr_assert_eq(sim.runs[1], 100);
    cr_assert_eq(sim.told, 1);
}

Test(compress, figures_that_make_no_sense_break_nothing)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    uint64_t seed = 1;
    for (unsigned i = 0; i < 20000; i++) {
        spw_coder_choice choice = {.size = sizeof(choice)};
        uint64_t *figures[] = {&sim.view.now_ns,        &sim.view.run_bytes,
                               &sim.view.stored_bytes,  &sim.view.capacity_bytes,
                               &sim.view.budget_bytes,  &sim.view.written_bytes_total,
                               &sim.view.waiting_bytes, &sim.view.write_busy_ns_total};
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        *figures[seed >> 61] = seed << (seed >> 32 & 31) >> (seed >> 40 & 63);
        sim.view.workers = seed >> 50 & 3;
        sim.view.to_memory = seed >> 20 & 1;
        chooser_pick(&sim.chooser, &sim.view, (double)(seed >> 10 & 3), &choice);
        cr_assert_leq(choice.code, CODES);
        cr_assert(choice.code == 0 || choice.skip_runs == 0);
        if (choice.code)
            chooser_encoded(&sim.chooser, choice.code, seed >> 40, seed >> 50, seed >> 55,
                            seed >> 53);
    }
}

/* ---- the setting ---- */

Test(compress, settings_are_read_and_written)
{
    static const struct {
        const char *text, *canonical; /* NULL: refused */
    } cases[] = {
        {"auto", "auto"},
        {"ROOM", "room"},
        {"speed", "speed"},
        {"none", "none"},
        {"lz4", "lz4"},
        {"zstd", "zstd:1"},
        {"zstd:3", "zstd:3"},
        {"Zstd:-7", "zstd:-7"},
        {"zstd:19", "zstd:19"},
        {"zstd:20", NULL},
        {"zstd:-8", NULL},
        {"zstd:", NULL},
        {"zstd:0", NULL},
        {"zstd:3x", NULL},
        {"lz4:1", NULL},
        {"gzip", NULL},
        {"autoo", NULL},
        {"aut", NULL},
        {":", NULL},
        {"zstd:99999999999", NULL},
        {"zstd:--1", NULL},
        {"averylongword", NULL},
    };
    spw_options *options;
    cr_assert_eq(spw_options_open(&options), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int err = spw_options_set(options, "compress", cases[i].text);
        cr_assert_eq(err, cases[i].canonical ? 0 : -EINVAL, "%s", cases[i].text);
        if (cases[i].canonical)
            cr_assert_str_eq(spw_options_value(options, "compress", NULL), cases[i].canonical);
    }
    spw_options_close(options);
}

/* ---- the coder ---- */

static spw_coder *coder_open(const char *mode)
{
    spw_compress_config config = {
        .size = sizeof(config), .mode = mode, .allocator = &fault_allocator};
    spw_coder *coder;
    int err = compress_open_with(&fault_os, &config, &coder);
    if (err == -ENOTSUP)
        test_skip("built without the codec for %s", mode);
    cr_assert_eq(err, 0);
    return coder;
}

/* Words of a small language. */
static void text_fill(char *out, size_t len, uint64_t seed)
{
    static const char *const words[] = {"queue",   "spills",  "the ",   "run ",    "a",
                                        "budget ", ", ",      "reader", "writer ", "of",
                                        "\n",      "segment", "is ",    "0x"};
    size_t at = 0;
    while (at < len) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const char *word = words[(seed >> 33) % (sizeof(words) / sizeof(words[0]))];
        size_t bytes = strlen(word) < len - at ? strlen(word) : len - at;
        memcpy(out + at, word, bytes);
        at += bytes;
    }
}

static const char *const every_mode[] = {"lz4", "zstd:-5", "zstd:1", "zstd:3", "room"};
enum { MODES = sizeof(every_mode) / sizeof(every_mode[0]) };

/* The code that the coder picks for text. */
static unsigned pick(spw_coder *coder, size_t len)
{
    char text[4096];
    text_fill(text, sizeof(text), len);
    spw_coder_view view = {.size = sizeof(view),
                           .now_ns = 1,
                           .run_bytes = len,
                           .sample = text,
                           .sample_bytes = sizeof(text),
                           .capacity_bytes = GIB,
                           .workers = 1};
    spw_coder_choice choice = {.size = sizeof(choice)};
    coder->ops->choose(coder, &view, &choice);
    return choice.code;
}

static void round_trip(const char *mode)
{
    static const size_t lengths[] = {1, 100, 4096, 65537, 300000};
    spw_coder *coder = coder_open(mode);
    char *in = malloc(300000), *packed = malloc(400000), *out = malloc(300000);
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t len = lengths[i];
        text_fill(in, len, len);
        unsigned code = pick(coder, len);
        cr_assert_gt(code, 0);
        long bytes = coder->ops->encode(coder, code, in, len, packed, 400000);
        cr_assert_gt(bytes, 0);
        if (len > 4096)
            cr_assert_lt(bytes, (long)len / 2);
        cr_assert_eq(coder->ops->decode(coder, code, packed, (size_t)bytes, out, len), 0);
        cr_assert(memcmp(in, out, len) == 0);
        cr_assert_eq(coder->ops->encode(coder, code, in, len, packed, (size_t)bytes - 1), -ENOSPC);
    }
    cr_assert_gt(coder->ops->used_bytes(coder), 10 * KIB);
    cr_assert_lt(coder->ops->used_bytes(coder), 8 * MIB);
    coder->ops->close(coder);
    free(in), free(packed), free(out);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(compress, what_was_encoded_comes_back)
{
    unsigned done = 0;
    for (unsigned i = 0; i < MODES; i++) {
        const struct codec *codec = every_mode[i][0] == 'l' ? &codec_lz4 : &codec_zstd;
        if (!codec->built)
            continue;
        round_trip(every_mode[i]);
        done++;
    }
    if (done == 0)
        test_skip("built without any codec");
}

/* Bytes beyond the output's end, which nobody may touch. */
enum { FENCE = 64 };

static void fuzz(const char *mode, unsigned rounds)
{
    enum { LEN = 20000, MOST = 32768 };
    spw_coder *coder = coder_open(mode);
    char *in = malloc(LEN), *packed = malloc(MOST);
    unsigned char *out = malloc(LEN + FENCE);
    text_fill(in, LEN, 7);
    unsigned code = pick(coder, LEN);
    long bytes = coder->ops->encode(coder, code, in, LEN, packed, MOST);
    cr_assert_gt(bytes, 0);
    uint64_t seed = 99;
    for (unsigned round = 0; round < rounds; round++) {
        char *bad = malloc((size_t)bytes); /* its exact size, for sanitizers */
        memcpy(bad, packed, (size_t)bytes);
        size_t len = (size_t)bytes, want = LEN;
        for (unsigned i = 0; i <= round % 8; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bad[(seed >> 20) % (size_t)bytes] ^= (char)(1 << (seed >> 60 & 7));
        }
        if (round % 3 == 1)
            len = (seed >> 30) % len + 1;
        if (round % 5 == 1)
            want = (seed >> 25) % LEN + 1;
        memset(out, 0xa5, LEN + FENCE);
        int err = coder->ops->decode(coder, code, bad, len, out, want);
        cr_assert(err == 0 || err == -EBADMSG, "%d", err);
        for (size_t i = want; i < LEN + FENCE; i++)
            cr_assert_eq(out[i], 0xa5, "byte %zu behind the end of %zu was written", i, want);
        free(bad);
    }
    cr_assert_eq(coder->ops->decode(coder, 0, packed, (size_t)bytes, out, LEN), -EBADMSG);
    cr_assert_eq(coder->ops->decode(coder, 200, packed, (size_t)bytes, out, LEN), -EBADMSG);
    coder->ops->close(coder);
    free(in), free(packed), free(out);
}

Test(compress, what_was_changed_never_writes_beyond_the_end)
{
    unsigned done = 0;
    if (codec_lz4.built && ++done)
        fuzz("lz4", 2000);
    if (codec_zstd.built && ++done)
        fuzz("zstd:3", 2000);
    if (done == 0)
        test_skip("built without any codec");
}

Test(compress, samples_tell_text_from_noise)
{
    spw_coder *coder = coder_open("auto");
    enum { LEN = 262144 };
    char *data = malloc(LEN);
    spw_coder_view view = {.size = sizeof(view),
                           .now_ns = 1,
                           .run_bytes = LEN,
                           .sample = data,
                           .sample_bytes = 16384,
                           .capacity_bytes = 64 * GIB,
                           .workers = 1};
    unsigned codes[2] = {0, 0};
    for (unsigned noise = 0; noise < 2; noise++) {
        text_fill(data, LEN, 3);
        uint64_t seed = 5;
        for (size_t i = 0; noise && i < LEN; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            data[i] = (char)(seed >> 56);
        }
        for (unsigned i = 0; i < 32; i++) {
            spw_coder_choice choice = {.size = sizeof(choice)};
            view.written_bytes_total += 2 * MIB;
            view.write_busy_ns_total += 10000000; /* 200 MB/s */
            coder->ops->choose(coder, &view, &choice);
            codes[noise] += choice.code > 0;
        }
    }
    cr_assert_gt(codes[0], 16);
    cr_assert_leq(codes[1], 32);
    coder->ops->close(coder);
    free(data);
}

/* ---- open ---- */

Test(compress, open_refuses_what_it_does_not_know)
{
    spw_coder *coder;
    spw_compress_config config = {.size = sizeof(config), .mode = "gzip"};
    cr_assert_eq(spw_compress_open(&config, &coder), -EINVAL);
    config = (spw_compress_config){.size = 3};
    cr_assert_eq(spw_compress_open(&config, &coder), -EINVAL);
    int err = spw_compress_open(NULL, &coder);
    cr_assert_eq(err, codec_lz4.built || codec_zstd.built ? 0 : -ENOTSUP);
    if (!err)
        coder->ops->close(coder);
    config = (spw_compress_config){.size = sizeof(config), .mode = "lz4"};
    err = spw_compress_open(&config, &coder);
    cr_assert_eq(err, codec_lz4.built ? 0 : -ENOTSUP);
    if (!err)
        coder->ops->close(coder);
}

Test(compress, without_memory_nothing_is_lost)
{
    spw_coder *coder = NULL;
    spw_compress_config config = {
        .size = sizeof(config), .mode = "lz4", .allocator = &fault_allocator};
    if (!codec_lz4.built)
        test_skip("built without lz4");
    fault_alloc_after(1);
    cr_assert_eq(spw_compress_open(&config, &coder), -ENOMEM);
    cr_assert_eq(spw_compress_open(&config, &coder), 0);
    char in[1000], packed[2000], out[1000];
    text_fill(in, sizeof(in), 1);
    fault_alloc_after(1);
    cr_assert_eq(coder->ops->encode(coder, 1, in, sizeof(in), packed, sizeof(packed)), -ENOMEM);
    long len = coder->ops->encode(coder, 1, in, sizeof(in), packed, sizeof(packed));
    cr_assert_gt(len, 0);
    cr_assert_eq(coder->ops->decode(coder, 1, packed, (size_t)len, out, sizeof(out)), 0);
    coder->ops->close(coder);
    cr_assert_eq(fault_alloc_live(), 0);
}
