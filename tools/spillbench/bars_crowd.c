/* SPDX-License-Identifier: MIT */
/* The bars of many unequal queues over one budget. */
#include <errno.h>
#include <stdio.h>

#include "bars.h"
#include "crowd.h"

static const uint64_t allowance_bytes = UINT64_C(16) << 20;
static const char memory_what[] = "64 unequal queues, some idle for long: memory at each sample";
static const char fair_what[] = "the same: no light queue starved, what passed one by";
static const char sums_what[] = "the same: use of the budget is the sum of its parts";

static void memory_row(struct bars *bars, const struct crowd_result *result,
                       const struct measure *measure)
{
    double budget = (double)result->stats.budget_ceiling_bytes,
           limit = budget + (double)allowance_bytes;
    char asked[64];

    snprintf(asked, sizeof(asked), "<= %.0f MiB (budget + 16)", limit / (1 << 20));
    if (measure->charge_peak_bytes == 0) {
        bars_limited(bars, memory_what, asked, "no memory cgroup of its own is allowed here");
        return;
    }
    bars_row(
        bars, memory_what, asked,
        verdict_of(at_most((double)measure->charge_peak_bytes, limit) && measure->sample_count > 0,
                   false),
        NULL, "%.1f MiB charged; %u samples, %.2f GB in %.1f s, every byte verified",
        (double)measure->charge_peak_bytes / (1 << 20), measure->sample_count,
        gigabytes((double)measure->bytes), measure->wall_s);
}

/* What may be ahead of a read in the device is half the budget at most: a quarter in flight to it,
 * and the readers' quarter. */
static void fair_row(struct bars *bars, const struct crowd_result *result)
{
    const struct crowd_outcome *light = &result->roles[CROWD_LIGHT];
    double most = (double)result->stats.budget_ceiling_bytes / 2;
    char asked[64];

    snprintf(asked, sizeof(asked), "<= %.0f MiB (half the budget)", most / (1 << 20));
    bars_row(bars, fair_what, asked,
             verdict_of(at_most((double)light->passed_by_bytes, most), false), NULL,
             "%.1f MiB in the longest of %llu waits, %.1f ms; slowest read %.1f ms",
             (double)light->passed_by_bytes / (1 << 20), (unsigned long long)light->waits,
             (double)light->wait_most_ns / 1e6, (double)result->read_most_ns / 1e6);
}

static void sums_row(struct bars *bars, const struct crowd_result *result)
{
    bars_row(bars, sums_what, "0 wrong",
             verdict_of(result->identity_broken == 0 && result->samples > 0, false), NULL,
             "%llu wrong of %llu looks", (unsigned long long)result->identity_broken,
             (unsigned long long)result->samples);
}

static void run(struct bars *bars)
{
    bool quick = bars->options->quick;
    struct crowd_plan plan = {.dir = bars->dir,
                              .memory = quick ? "32MiB" : "256MiB",
                              .memory_tier = "off",
                              .queues = 64,
                              .threads = 4,
                              .total_bytes = UINT64_C(512) << (quick ? 20 : 24),
                              .entry_bytes = {{4 << 10, 64 << 10, 256 << 10}, 3}};
    struct crowd_result result;

    progress("bars: a crowd of queues");
    struct measure *measure = crowd_run(&plan, &result);
    if (measure && measure->error == 0) {
        memory_row(bars, &result, measure);
        fair_row(bars, &result);
        sums_row(bars, &result);
    } else {
        bars_failed(bars, memory_what, "<= budget + 16 MiB", measure ? measure->why : "no memory");
    }
    child_release(measure);
}

const struct bars_group bars_crowd = {"crowd", run};
