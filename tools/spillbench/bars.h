/* SPDX-License-Identifier: MIT */
/* spillbench bars: what is asked of the library, a row a bar. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_BARS_H
#define SPILLWAY_TOOLS_SPILLBENCH_BARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "args.h"
#include "bars_math.h"
#include "bars_table.h"
#include "report.h"

struct bars_options {
    struct bench_common common;
    bool quick;
    const char *only;      /* names of groups with commas between; NULL: all */
    const char *spillpipe; /* the program; NULL: beside this one */
    const char *markdown;  /* file for the table; NULL: none */
    uint64_t pipe_bytes;
};

struct bars {
    const struct bars_options *options;
    struct report *report;
    struct bars_table rows;
    const char *dir;              /* where scratch files lie */
    unsigned pairs;               /* interleaved rounds */
    uint64_t budget_bytes;        /* of the pools */
    uint64_t data_bytes;          /* moved out and back in a round */
    uint64_t phase_bytes;         /* the same where each phase is measured alone */
    double write_rate, read_rate; /* raw, medians; 0: the group that measures them did not run */
    double group_start_s;
    double load;     /* average of the machine when the first group began; others disturb */
    bool unmeasured; /* something that should have been measured was not */
};

/* A group measures and adds its rows. */
struct bars_group {
    const char *name;
    void (*run)(struct bars *bars);
};

extern const struct bars_group bars_disk, bars_others, bars_tiers, bars_latency, bars_cost,
    bars_memory, bars_pipe, bars_proof, bars_prefetch, bars_policies, bars_crowd;

/* Whether one more interleaved round fits into the time for a group; the first three always do. */
bool bars_goes_on(const struct bars *bars, unsigned rounds_done);

/* A row. `why` is the measured reason where it is limited, or a remark (NULL: none). */
void bars_row(struct bars *bars, const char *what, const char *asked, enum verdict verdict,
              const char *why, const char *reached, ...) __attribute__((format(printf, 6, 7)));

/* The row of a bar that this machine or user cannot measure, for that reason. */
void bars_limited(struct bars *bars, const char *what, const char *asked, const char *why);

/* The row of a bar whose measurement failed; the program will end with an error. */
void bars_failed(struct bars *bars, const char *what, const char *asked, const char *why);

/* Measures the raw rates where no group did so before. Returns false with the reason in `why`. */
bool bars_rates(struct bars *bars, char *why, size_t why_bytes);

/* "1.12 (1.08-1.20)": median, least and largest. */
enum { SPAN_BYTES = 64 };
const char *span_text(char out[SPAN_BYTES], const struct series *series, const char *format);

#endif
