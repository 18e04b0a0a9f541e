/* SPDX-License-Identifier: MIT */
/* Bars of the memory tier. */
#include "tiers.h"

#include <stdio.h>
#include <stdlib.h>

#include "bars.h"

static const struct {
    unsigned chunks;
    const char *what;
} runs[] = {
    {1, "fetch from the memory tier, a run of one 2 MiB chunk"},
    {32, "fetch from the memory tier, a run of 32 chunks"},
    {2048, "fetch from the memory tier, a run of 2048 chunks"},
};
static const double fetch_limit_ns = 1000;

static void rate_row(struct bars *bars, const struct tiers_result *result)
{
    struct series ratio;
    char span[SPAN_BYTES];

    series_ratio(&result->spill_rate, &result->memcpy_rate, &ratio);
    bars_row(bars, "memory tier, warm, foreign chunks of 2 MiB", ">= 0.90 x memcpy",
             verdict_of(at_least(series_median(&ratio), 0.9), false), NULL,
             "%s x; %.1f of %.1f GB/s", span_text(span, &ratio, "%.2f"),
             series_median(&result->spill_rate) / 1e9, series_median(&result->memcpy_rate) / 1e9);
}

static void run(struct bars *bars)
{
    struct tiers_result *result = malloc(sizeof(*result));
    char why[256] = "no memory", span[SPAN_BYTES];

    for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        struct tiers_plan plan = {.seal = "recycle",
                                  .huge_pages = "off",
                                  .chunks = runs[i].chunks,
                                  .run_bytes = 2 << 20,
                                  .total_bytes = bars->data_bytes / 2,
                                  .rounds = bars->pairs};
        if (!result || !tiers_run(&plan, result, why, sizeof(why))) {
            bars_failed(bars, runs[i].what, "<= 1 us", why);
            continue;
        }
        if (i == 0)
            rate_row(bars, result);
        bars_row(bars, runs[i].what, "<= 1.00 us",
                 verdict_of(at_most(series_median(&result->fetch_ns), fetch_limit_ns), false), NULL,
                 "%s ns; p99 %.0f", span_text(span, &result->fetch_ns, "%.0f"),
                 series_median(&result->fetch_p99_ns));
    }
    free(result);
}

const struct bars_group bars_tiers = {"tiers", run};
