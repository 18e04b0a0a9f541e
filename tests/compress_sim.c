/* SPDX-License-Identifier: MIT */
#include "compress_sim.h"

#include <stdio.h>
#include <string.h>

#include "harness.h"

static const double sample_ns = 30e3;

void sim_open(struct sim *sim, enum compress_mode mode, double device)
{
    memset(sim, 0, sizeof(*sim));
    chooser_init(&sim->chooser, mode);
    chooser_add(&sim->chooser, "quick", 0.6, 2);
    chooser_add(&sim->chooser, "middle", 0.45, 2.5);
    chooser_add(&sim->chooser, "dense", 0.3, 3);
    sim_data(sim, 2);
    sim->device = device;
    sim->share = 1;
    sim->coded_most = 100;
    sim->now_ns = (double)S;
    sim->view = (spw_coder_view){.size = sizeof(sim->view),
                                 .run_bytes = 2 * MIB,
                                 .sample = "",
                                 .sample_bytes = 16 * KIB,
                                 .budget_bytes = 64 * MIB,
                                 .capacity_bytes = 64 * GIB,
                                 .workers = 1};
}

void sim_data(struct sim *sim, double gain)
{
    static const double rates[CODES] = {0.6, 0.5, 0.3}, more[CODES] = {1, 1.35, 1.65};
    for (unsigned i = 0; i < CODES; i++) {
        sim->rates[i] = gain > 1 ? rates[i] : 3;
        sim->gains[i] = gain > 1 ? gain * more[i] : 1;
    }
}

static double gain_of(const struct sim *sim, unsigned code)
{
    uint64_t run = sim->runs[0] + sim->runs[1] + sim->runs[2] + sim->runs[3];
    double times = sim->uneven ? sim->uneven[run % UNEVEN] : 1;
    return code > 0 ? sim->gains[code - 1] * times : 1;
}

/* Asks for a code as a pool would. */
static unsigned sim_ask(struct sim *sim)
{
    struct chooser *chooser = &sim->chooser;
    if (sim->skip > 0) {
        sim->skip--;
        return 0;
    }
    spw_coder_choice choice = {.size = sizeof(choice)};
    sim->view.now_ns = (uint64_t)sim->now_ns;
    double gain = 0;
    sim->asked++;
    if (chooser_wants_sample(chooser, &sim->view)) {
        gain = sim->sample_gain > 0 ? sim->sample_gain : sim->gains[0];
        sim->samples++;
        sim->encode_ns += sample_ns;
    }
    chooser_pick(chooser, &sim->view, gain, &choice);
    if (choice.action) {
        snprintf(sim->action, sizeof(sim->action), "%s", choice.action);
        snprintf(sim->reason, sizeof(sim->reason), "%s", choice.reason);
        cr_assert(strlen(choice.reason) > 5 && strlen(choice.reason) < sizeof(choice.reason) - 1);
        sim->told++;
    }
    sim->skip = choice.skip_runs;
    return choice.code;
}

void sim_run(struct sim *sim, double writer)
{
    unsigned code = sim_ask(sim);
    double bytes = (double)sim->view.run_bytes, encode_ns = 0, gain = gain_of(sim, code);
    if (code > 0) {
        encode_ns = bytes / sim->rates[code - 1] / sim->share;
        bool small = gain > 1.05;
        if (chooser_compares(&sim->chooser, code)) {
            struct chooser_figures first = {bytes, bytes / gain_of(sim, 1), bytes / sim->rates[0]};
            struct chooser_figures own = {bytes, bytes / gain, bytes / sim->rates[code - 1]};
            chooser_compared(&sim->chooser, code, &first, &own);
            encode_ns += first.cpu_ns / sim->share;
            sim->compared++;
        }
        chooser_encoded(&sim->chooser, code, sim->view.run_bytes,
                        small ? (uint64_t)(bytes / gain) : 0, (uint64_t)(encode_ns * sim->share),
                        (uint64_t)encode_ns);
        gain = small ? gain : 1;
        sim->encode_ns += encode_ns;
    }
    double write_ns = bytes / gain / sim->device, source_ns = bytes / writer;
    double most_ns = write_ns > encode_ns ? write_ns : encode_ns;
    if (write_ns >= encode_ns && write_ns > source_ns) {
        sim->view.written_bytes_total += (uint64_t)(bytes / gain);
        sim->view.write_busy_ns_total += (uint64_t)write_ns;
    }
    if (code > 0 && most_ns < bytes / sim->coded_most)
        most_ns = bytes / sim->coded_most;
    if (most_ns > source_ns) {
        sim->view.passed_bytes_total += sim->view.run_bytes;
        sim->view.passed_ns_total += (uint64_t)most_ns;
    }
    sim->now_ns += most_ns > source_ns ? most_ns : source_ns;
    sim->stored += (uint64_t)(bytes / gain);
    if (sim->view.stored_bytes < sim->view.capacity_bytes)
        sim->view.stored_bytes += (uint64_t)(bytes / gain) * (sim->view.to_memory ? 1 : 0);
    sim->runs[code]++;
}

double sim_runs(struct sim *sim, unsigned count, double writer)
{
    double start_ns = sim->now_ns;
    for (unsigned i = 0; i < count; i++)
        sim_run(sim, writer);
    return (double)count * (double)sim->view.run_bytes / (sim->now_ns - start_ns);
}
