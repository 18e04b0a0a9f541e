/* SPDX-License-Identifier: MIT */
/*
 * A simulated pool for the compress policy's choices: a writer, encoders, a device and data that
 * are figures only, and a clock that goes on by what each of them takes.
 */
#ifndef SPILLWAY_TESTS_COMPRESS_SIM_H
#define SPILLWAY_TESTS_COMPRESS_SIM_H

#include <stdint.h>

#include "../policies/compress_choose.h"

#define KIB UINT64_C(1024)
#define MIB UINT64_C(1048576)
#define GIB UINT64_C(1073741824)
#define S   UINT64_C(1000000000)

enum { CODES = 3, UNEVEN = 16 };

struct sim {
    struct chooser chooser;
    spw_coder_view view;
    double device;            /* bytes a ns */
    double share;             /* of a processor that an encoder gets */
    double coded_most;        /* what goes out with a code at most, for reasons that nobody sees */
    double rates[CODES];      /* of one processor */
    double gains[CODES];      /* 1: the data does not get smaller */
    double sample_gain;       /* of samples; 0: they do as the data does */
    const double *uneven;     /* gains of one run after the other are so many times that; or NULL */
    double now_ns, encode_ns; /* time that went by, and what encoding and sampling took */
    uint64_t stored, runs[CODES + 1], samples, skip, asked, compared;
    char action[16], reason[160];
    unsigned told;
};

/* Bytes a ns. */
static const double quick_writer = 20;

void sim_open(struct sim *sim, enum compress_mode mode, double device);

/* The data gets so much smaller with the quickest code, and somewhat more with others; 1: no code
 * does anything, and soon sees that. */
void sim_data(struct sim *sim, double gain);

/* One run goes out, as fast as its slowest part: a writer, one encoder, the device. */
void sim_run(struct sim *sim, double writer);

/* Returns bytes a ns. */
double sim_runs(struct sim *sim, unsigned count, double writer);

#endif
