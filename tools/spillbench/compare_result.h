/* SPDX-License-Identifier: MIT */
/* What the rounds of `compare` found, and how it is told. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_COMPARE_RESULT_H
#define SPILLWAY_TOOLS_SPILLBENCH_COMPARE_RESULT_H

#include <stdbool.h>

#include "compare.h"
#include "report.h"
#include "series.h"

/* A value a round. */
enum figure {
    FIGURE_WALL,
    FIGURE_PRODUCE,
    FIGURE_DRAIN,
    FIGURE_CPU,
    FIGURE_NET_CPU, /* less what the null strategy took in the same round */
    FIGURE_RSS,
    FIGURE_CHARGE,
    FIGURE_CACHE,
    FIGURE_PRODUCE_P50_NS,
    FIGURE_PRODUCE_MAX_NS,
    FIGURE_CONSUME_MAX_NS,
    FIGURES
};

struct outcome {
    bool wanted;
    bool left;                      /* it failed, or cannot run here */
    struct series figures[FIGURES]; /* of the rounds that worked */
    struct latency produce, consume;
    struct measure *last; /* the last round that worked */
};

struct comparison {
    struct compare_plan plan;
    const char *title;
    unsigned pairs;
    struct outcome outcomes[CONTENDER_COUNT];
};

/* Tables and a plot; names in it end in `number`, which tells comparisons of one report apart. */
void comparison_report(const struct comparison *comparison, unsigned number, struct report *report);

#endif
