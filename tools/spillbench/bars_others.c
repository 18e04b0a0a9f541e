/* SPDX-License-Identifier: MIT */
/* Bars beside others: the strategy that Spillway started from, and the kernel's swap. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bars.h"
#include "compare.h"

static const double round_most_s = 60;

struct others {
    struct series wall_s, cpu_s;
    int error;
    char why[256];
};

static void run_one(struct others *others, enum contender contender,
                    const struct compare_plan *plan)
{
    struct measure *measure;

    if (others->error)
        return;
    progress("bars: %s, %llu MiB in chunks of %llu KiB", contender_name(contender),
             (unsigned long long)plan->total_bytes >> 20,
             (unsigned long long)plan->chunk_bytes >> 10);
    measure = compare_run(contender, plan);
    if (!measure || measure->error) {
        others->error = measure ? measure->error : -ENOMEM;
        snprintf(others->why, sizeof(others->why), "%s", measure ? measure->why : "no memory");
    } else {
        series_add(&others->wall_s, measure->wall_s);
        series_add(&others->cpu_s, measure->user_s + measure->sys_s);
    }
    child_release(measure);
}

/* Gives up the row where one of the two could not run. */
static bool lacking(struct bars *bars, const char *what, const char *asked,
                    const struct others *ours, const struct others *theirs)
{
    const struct others *bad = ours->error ? ours : theirs;

    if (!bad->error)
        return false;
    if (bad == theirs && (bad->error == -EOPNOTSUPP || bad->error == -EPERM))
        bars_limited(bars, what, asked, bad->why);
    else
        bars_failed(bars, what, asked, bad->why);
    return true;
}

static void wall_row(struct bars *bars, const char *what, double factor, const struct others *ours,
                     const struct others *theirs)
{
    struct series ratio;
    char span[SPAN_BYTES], asked[64];

    snprintf(asked, sizeof(asked), ">= %.1f x faster", factor);
    if (lacking(bars, what, asked, ours, theirs))
        return;
    series_ratio(&theirs->wall_s, &ours->wall_s, &ratio);
    bars_row(bars, what, asked, verdict_of(at_least(series_median(&ratio), factor), false), NULL,
             "%s x; %.2f s against %.2f s; pairs: %u", span_text(span, &ratio, "%.1f"),
             series_median(&ours->wall_s), series_median(&theirs->wall_s), ratio.count);
}

/* Net: less what producing and consuming takes by itself. */
static void cpu_row(struct bars *bars, const char *what, const struct others *ours,
                    const struct others *theirs, const struct others *null)
{
    static const char asked[] = ">= 10.0 x less net CPU";
    struct series net_ours, net_theirs, ratio;
    char span[SPAN_BYTES];

    if (lacking(bars, what, asked, ours, theirs) || lacking(bars, what, asked, null, null))
        return;
    series_net(&ours->cpu_s, &null->cpu_s, &net_ours);
    series_net(&theirs->cpu_s, &null->cpu_s, &net_theirs);
    series_ratio(&net_theirs, &net_ours, &ratio);
    bars_row(bars, what, asked, verdict_of(at_least(series_median(&ratio), 10), false), NULL,
             "%s x; %.2f s against %.2f s; pairs: %u", span_text(span, &ratio, "%.1f"),
             series_median(&net_ours), series_median(&net_theirs), ratio.count);
}

static void large(struct bars *bars)
{
    struct others ours = {.error = 0}, seed = ours, swap = ours, null = ours;
    struct compare_plan plan = {.dir = bars->dir,
                                .total_bytes = UINT64_C(4) << 30,
                                .chunk_bytes = 256 << 10,
                                .limit_bytes = UINT64_C(768) << 20,
                                .warm_bytes = UINT64_C(512) << 20,
                                .disk_bytes = bars->options->common.disk_bytes};

    if (bars->options->quick) {
        compare_small(&plan, 256 << 10);
    }
    /* Swap takes its time: on a busy machine one round has to do. */
    for (unsigned i = 0; i < (bars->options->quick ? 1 : 2); i++) {
        if (i > 0 && now_s() - bars->group_start_s > round_most_s)
            break;
        run_one(&null, CONTENDER_NULL, &plan);
        run_one(&ours, CONTENDER_SPILLWAY, &plan);
        run_one(&seed, CONTENDER_SEED, &plan);
        run_one(&ours, CONTENDER_SPILLWAY, &plan);
        run_one(&swap, CONTENDER_SWAP, &plan);
        run_one(&seed, CONTENDER_SEED, &plan);
        run_one(&null, CONTENDER_NULL, &plan);
    }
    /* Swap runs half as often: it goes with every other run of ours. */
    struct others twice = {.error = swap.error};
    memcpy(twice.why, swap.why, sizeof(twice.why));
    for (unsigned i = 0; i < 2 * swap.wall_s.count; i++) {
        series_add(&twice.wall_s, swap.wall_s.values[i / 2]);
        series_add(&twice.cpu_s, swap.cpu_s.values[i / 2]);
    }
    wall_row(bars, "against the seed's strategy, 256 KiB chunks", 1.5, &ours, &seed);
    wall_row(bars, "against kernel swap", 3, &ours, &twice);
    cpu_row(bars, "against kernel swap, CPU", &ours, &twice, &null);
}

/* Chunks on the heap, as the seed's own stress program has them, and in slabs. */
static void small(struct bars *bars, uint64_t chunk_bytes, unsigned rounds, double factor)
{
    struct others slabs = {.error = 0}, heap = slabs, seed = slabs;
    struct compare_plan plan = {.dir = bars->dir, .disk_bytes = bars->options->common.disk_bytes};
    unsigned long long kib = chunk_bytes >> 10;
    char what[96];

    compare_small(&plan, chunk_bytes);
    if (bars->options->quick) {
        plan.total_bytes /= 4;
        rounds = 1;
    }
    for (unsigned i = 0; i < rounds; i++) {
        run_one(&slabs, CONTENDER_SPILLWAY, &plan);
        run_one(&seed, CONTENDER_SEED, &plan);
        run_one(&heap, CONTENDER_SPILLWAY_HEAP, &plan);
    }
    snprintf(what, sizeof(what), "against the seed's strategy, %llu KiB chunks in slabs", kib);
    wall_row(bars, what, factor, &slabs, &seed);
    snprintf(what, sizeof(what), "against the seed's strategy, %llu KiB chunks on the heap", kib);
    wall_row(bars, what, factor, &heap, &seed);
}

static void run(struct bars *bars)
{
    large(bars);
    small(bars, 4 << 10, 3, 5);
    small(bars, 1 << 10, 1, 20);
}

const struct bars_group bars_others = {"others", run};
