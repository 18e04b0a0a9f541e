/* SPDX-License-Identifier: MIT */
/*
 * The compress policy and data that does not get smaller, or only now and then: what it costs to
 * find that out, and how soon it is noticed when that is over. Devices and data are figures.
 */
#include <string.h>

#include "compress_sim.h"
#include "harness.h"

Test(compress_data, data_that_does_not_get_smaller_is_passed_over)
{
    static const enum compress_mode modes[] = {COMPRESS_AUTO, COMPRESS_ROOM, COMPRESS_ZSTD};
    for (unsigned i = 0; i < 3; i++) {
        struct sim sim;
        sim_open(&sim, modes[i], 0.2);
        sim_data(&sim, 1);
        sim_runs(&sim, 1024, quick_writer);
        cr_assert_str_eq(sim.action, "none");
        cr_assert(strstr(sim.reason, "does not get smaller"), "%s", sim.reason);
        cr_assert_leq(sim.runs[1] + sim.runs[2] + sim.runs[3], 4);
        cr_assert_leq(sim.samples, 64);
        double share = sim.encode_ns / (sim.now_ns - (double)S);
        cr_assert(share < 0.01, "mode %d: %.4f", modes[i], share);
        sim_data(&sim, 2); /* something else comes */
        sim_runs(&sim, 64, quick_writer);
        cr_assert_str_neq(sim.action, "none");
    }
}

Test(compress_data, of_mixed_data_what_gets_smaller_does)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_ROOM, 2);
    uint64_t small = 0;
    for (unsigned i = 0; i < 1000; i++) {
        bool text = i % 2 == 0;
        sim_data(&sim, text ? 3 : 1);
        uint64_t before = sim.runs[3];
        sim_run(&sim, quick_writer);
        small += text && sim.runs[3] > before;
    }
    cr_assert_geq(small, 495);
    cr_assert_leq(sim.runs[3] - small, 20, "%llu runs were encoded for nothing",
                  (unsigned long long)(sim.runs[3] - small));
}

/* A pool that is new, and whatever decides there: no run is encoded to find out. */
Test(compress_data, what_does_not_get_smaller_is_found_out_by_samples)
{
    static const enum compress_mode modes[] = {COMPRESS_AUTO, COMPRESS_SPEED, COMPRESS_ROOM,
                                               COMPRESS_LZ4, COMPRESS_ZSTD};
    for (unsigned i = 0; i < 5; i++) {
        struct sim sim;
        sim_open(&sim, modes[i], 0.2);
        sim_data(&sim, 1);
        sim_runs(&sim, 512, quick_writer);
        cr_assert_eq(sim.runs[0], 512, "mode %d", modes[i]);
        cr_assert_geq(sim.samples, 5);
    }
}

/* Whatever the size of runs: so many samples of at most 16 KiB a GiB, once it is known. */
Test(compress_data, samples_become_rare)
{
    static const uint64_t run_bytes[] = {64 * KIB, 256 * KIB, 2 * MIB, 64 * MIB, 256 * MIB};
    static const unsigned most[] = {44, 24, 24, 22, 5}; /* a GiB: 512 runs or 64 MiB at a time */
    for (unsigned i = 0; i < 5; i++) {
        struct sim sim;
        sim_open(&sim, COMPRESS_AUTO, 0.2);
        sim_data(&sim, 1);
        sim.view.run_bytes = run_bytes[i];
        sim_runs(&sim, (unsigned)(GIB / run_bytes[i]), quick_writer);
        uint64_t first = sim.samples;
        cr_assert_leq(first, most[i] + 14, "%llu", (unsigned long long)first);
        sim_runs(&sim, (unsigned)(4 * GIB / run_bytes[i]), quick_writer);
        cr_assert_leq(sim.samples - first, 4 * most[i], "%llu runs of %llu: %llu samples",
                      (unsigned long long)sim.runs[0], (unsigned long long)run_bytes[i],
                      (unsigned long long)(sim.samples - first));
    }
}

/* After half as many bytes as did not get smaller before, at most 64 MiB. */
Test(compress_data, what_gets_smaller_again_is_noticed_soon)
{
    for (unsigned noise = 8; noise <= 4096; noise += noise / 8) {
        struct sim sim;
        sim_open(&sim, COMPRESS_ROOM, 0.2);
        sim_runs(&sim, 16, quick_writer);
        sim_data(&sim, 1);
        sim_runs(&sim, noise, quick_writer);
        sim_data(&sim, 2);
        uint64_t before = sim.runs[CODES];
        unsigned runs = 0;
        for (; sim.runs[CODES] == before && runs < 1024; runs++)
            sim_run(&sim, quick_writer);
        cr_assert_leq(runs, noise / 2 + 1, "after %u: %u", noise, runs);
        cr_assert_leq(runs * sim.view.run_bytes, 64 * MIB + sim.view.run_bytes, "after %u", noise);
        cr_assert_eq(sim.skip, 0);
        cr_assert_eq(sim.chooser.misses, 0);
    }
}

/* What samples promise and runs do not keep: encoding that is tried in vain becomes as rare. */
Test(compress_data, samples_that_promise_too_much_are_found_out)
{
    static const enum compress_mode modes[] = {COMPRESS_AUTO, COMPRESS_ROOM, COMPRESS_ZSTD};
    for (unsigned i = 0; i < 3; i++) {
        struct sim sim;
        sim_open(&sim, modes[i], 0.2);
        sim_data(&sim, 1);
        sim.sample_gain = 3;
        sim_runs(&sim, 4096, quick_writer); /* 8 GiB */
        cr_assert_str_eq(sim.action, "none");
        cr_assert_str_eq(sim.reason, "the data does not get smaller, though samples of it do");
        uint64_t vain = sim.runs[1] + sim.runs[2] + sim.runs[3];
        cr_assert(vain >= 5 && vain <= 200, "mode %d: %llu", modes[i], (unsigned long long)vain);
        sim_data(&sim, 2);
        sim_runs(&sim, 96, quick_writer);
        cr_assert_str_neq(sim.action, "none");
    }
}

/* Kinds in turns, of any length, also those at which looks would come at the same place in each:
 * what is encoded in vain stays little, most of what gets smaller does where kinds last. */
Test(compress_data, kinds_that_come_in_turns)
{
    for (unsigned length = 1; length <= 600; length += 1 + length / 4) {
        struct sim sim;
        uint64_t small = 0, text_runs = 0, coded = 0;
        sim_open(&sim, COMPRESS_ROOM, 0.2);
        for (unsigned i = 0; i < 16 * length + 512; i++) {
            bool text = i / length % 2 == 1;
            uint64_t before = sim.runs[0];
            sim_data(&sim, text ? 3 : 1);
            sim_run(&sim, quick_writer);
            text_runs += text;
            coded += sim.runs[0] == before;
            small += text && sim.runs[0] == before;
        }
        uint64_t vain = coded - small, turns = (16 * length + 512) / length;
        cr_assert_leq(vain, turns / 2 + 1, "%u runs each: %llu in vain", length,
                      (unsigned long long)vain);
        cr_assert_geq(small * 100, text_runs * 45, "%u runs each: %llu of %llu", length,
                      (unsigned long long)small, (unsigned long long)text_runs);
    }
}

/* Where nothing is encoded whatever the bytes are, none is looked at, and asking becomes rare. */
Test(compress_data, where_nothing_is_encoded_nothing_is_tried)
{
    struct sim sim;
    sim_open(&sim, COMPRESS_AUTO, 1);
    sim_runs(&sim, 2048, 0.5); /* the device keeps up */
    cr_assert_eq(sim.samples, 0);
    cr_assert_leq(sim.asked, 2048 / 16 + 4);
    sim_open(&sim, COMPRESS_AUTO, 1.9);
    sim_data(&sim, 1);
    sim_runs(&sim, 2048, quick_writer); /* the device is fast */
    cr_assert_leq(sim.samples, 2);
    sim_open(&sim, COMPRESS_AUTO, 0.2);
    sim.view.to_memory = 1; /* with room */
    sim_runs(&sim, 2048, quick_writer);
    cr_assert_eq(sim.samples, 0);
}
