/* SPDX-License-Identifier: MIT */
/* Bars of what costs nothing, or always the same. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "bars.h"
#include "probe.h"
#include "scale.h"

static const struct scale_point usual = {
    .kind = SCALE_PLAIN,
    .depth = 1000,
    .entry_bytes = 64,
    .queues = 1,
    .threads = 1,
    .operations = 500000,
};

static void both_ns(const struct scale_cost *cost, struct series *out)
{
    out->count = 0;
    for (unsigned i = 0; i < cost->extend_ns.count; i++)
        series_add(out, cost->extend_ns.values[i] + cost->drain_ns.values[i]);
}

static void never_spills(struct bars *bars)
{
    static const char what[] = "queue that never spills, extend + drain";
    static const char asked[] = "<= 100.0 ns an entry";
    struct scale_cost cost;
    struct series both;
    char why[256], span[SPAN_BYTES];

    if (!scale_run(&usual, 1, bars->pairs, &cost, why, sizeof(why))) {
        bars_failed(bars, what, asked, why);
        return;
    }
    both_ns(&cost, &both);
    bars_row(bars, what, asked, verdict_of(at_most(series_median(&both), 100), false), NULL,
             "%s ns", span_text(span, &both, "%.1f"));
}

/* Both without policies, so that neither looks at what it keeps; a few entries at a time. */
static void beside_seed(struct bars *bars)
{
    static const char what[] = "queue that never spills, beside the seed's";
    static const char asked[] = "<= 1.00 x";
    struct probe_plan plan = {.dir = bars->dir, .entries = 500000};
    struct series ours, seeds, ratio;
    char why[256], span[SPAN_BYTES];

    if (probe_seed(&plan, 2 * bars->pairs + 1, &ours, &seeds, why, sizeof(why)) != 0) {
        bars_failed(bars, what, asked, why);
        return;
    }
    series_ratio(&ours, &seeds, &ratio);
    bars_row(bars, what, asked, verdict_of(at_most(series_median(&ratio), 1), false), NULL,
             "%s x; %.1f of %.1f ns", span_text(span, &ratio, "%.2f"), series_median(&ours),
             series_median(&seeds));
}

static void system_calls(struct bars *bars)
{
    static const char what[] = "queue that never spills, system calls";
    struct probe_plan plan = {.entries = 1000000};
    unsigned calls = 0;
    char why[256];
    int rc = probe_system_calls(&plan, &calls, why, sizeof(why));

    if (rc == -EOPNOTSUPP)
        bars_limited(bars, what, "none", why);
    else if (rc != 0)
        bars_failed(bars, what, "none", why);
    else
        bars_row(bars, what, "none", verdict_of(calls == 0, false), NULL,
                 calls ? "at least one in %llu entries" : "none in %llu entries",
                 (unsigned long long)plan.entries);
}

/* With the usual policies over a pool that has nothing to do, against no policy at all. */
static void idle(struct bars *bars)
{
    static const char what[] = "pool open, nothing spilled: extend + drain";
    static const char asked[] = "<= 1.02 x no policy";
    struct scale_point points[2] = {usual, usual};
    struct scale_cost costs[2];
    struct series both[2], ratio;
    char why[256], span[SPAN_BYTES];

    points[1].kind = SCALE_RESIDENT;
    points[1].dir = bars->dir;
    if (!scale_run(points, 2, 2 * bars->pairs + 1, costs, why, sizeof(why))) {
        bars_failed(bars, what, asked, why);
        return;
    }
    both_ns(&costs[0], &both[0]);
    both_ns(&costs[1], &both[1]);
    series_ratio(&both[1], &both[0], &ratio);
    bars_row(bars, what, asked, verdict_of(at_most(series_median(&ratio), 1.02), false), NULL,
             "%s x; %.1f of %.1f ns", span_text(span, &ratio, "%.3f"), series_median(&both[1]),
             series_median(&both[0]));
}

static void wakeups(struct bars *bars)
{
    static const char what[] = "pool open, nothing spilled: wake-ups";
    struct probe_plan plan = {.dir = bars->dir, .seconds = bars->options->quick ? 0.5 : 3};
    uint64_t found = 0;
    unsigned threads = 0;
    char why[256];

    if (probe_wakeups(&plan, &found, &threads, why, sizeof(why)) != 0)
        bars_failed(bars, what, "0 a second", why);
    else
        bars_row(bars, what, "0 a second", verdict_of(found == 0, false), NULL,
                 "%llu in %.1f s, of %u threads", (unsigned long long)found, plan.seconds, threads);
}

static void metadata(struct bars *bars, uint64_t entry_bytes)
{
    struct probe_plan plan = {.dir = bars->dir, .bytes = bars->data_bytes / 2};
    double bytes = 0, entries = 0;
    uint64_t runs = 0;
    char why[256], what[96];

    snprintf(what, sizeof(what), "metadata per run, entries of %llu KiB",
             (unsigned long long)entry_bytes >> 10);
    if (probe_metadata(&plan, entry_bytes, &bytes, &entries, &runs, why, sizeof(why)) != 0)
        bars_failed(bars, what, "<= 160.0 bytes", why);
    else
        bars_row(bars, what, "<= 160.0 bytes", verdict_of(at_most(bytes, 160), false), NULL,
                 "%.1f bytes of heap; %llu runs of %.0f entries", bytes, (unsigned long long)runs,
                 entries);
}

enum { DEPTHS = 5 };

/* How far the cost is above its limit at the depth where that is worst; below 0: nowhere. */
static double worst_ns(const struct scale_cost *costs, unsigned count, unsigned *worst)
{
    double limit[2] = {constant_limit_ns(series_median(&costs[0].extend_ns)),
                       constant_limit_ns(series_median(&costs[0].drain_ns))};
    double most = -INFINITY;

    for (unsigned i = 1; i < count; i++) {
        double over[2] = {series_median(&costs[i].extend_ns) - limit[0],
                          series_median(&costs[i].drain_ns) - limit[1]};
        double here = over[0] > over[1] ? over[0] : over[1];
        if (here > most) {
            most = here;
            *worst = i;
        }
    }
    return most;
}

static void plot_depths(struct bars *bars, const char *name, const char *title,
                        const struct scale_point *points, const struct scale_cost *costs,
                        unsigned count)
{
    struct plot *plot = report_plot(bars->report, name, title, "entries that stand",
                                    "nanoseconds an entry", true, false);
    struct curve *extend = plot_curve(plot, "extend"), *drain = plot_curve(plot, "drain");

    for (unsigned i = 0; i < count; i++) {
        curve_add(extend, (double)points[i].depth, series_median(&costs[i].extend_ns));
        curve_add(drain, (double)points[i].depth, series_median(&costs[i].drain_ns));
    }
}

/* All depths in turns in one process; the row shows the one that is farthest above its limit. */
static void depths(struct bars *bars, enum scale_kind kind, const char *name, const char *what)
{
    static const char asked[] = "<= 1.5 x or + 15 ns of 10^3";
    struct scale_point points[DEPTHS];
    struct scale_cost costs[DEPTHS];
    unsigned count = bars->options->quick ? 3 : DEPTHS, worst = 0;
    char why[256];

    for (unsigned i = 0; i < count; i++) {
        points[i] = usual;
        points[i].kind = kind;
        points[i].dir = bars->dir;
        points[i].depth = i ? 10 * points[i - 1].depth : 1000;
    }
    if (!scale_run(points, count, bars->pairs, costs, why, sizeof(why))) {
        bars_failed(bars, what, asked, why);
        return;
    }
    double over = worst_ns(costs, count, &worst);
    bars_row(bars, what, asked, verdict_of(at_most(over, 0), false), NULL,
             "extend %.1f, at %.0e entries %.1f ns; drain %.1f, %.1f ns",
             series_median(&costs[0].extend_ns), (double)points[worst].depth,
             series_median(&costs[worst].extend_ns), series_median(&costs[0].drain_ns),
             series_median(&costs[worst].drain_ns));
    plot_depths(bars, name, what, points, costs, count);
}

static void run(struct bars *bars)
{
    never_spills(bars);
    beside_seed(bars);
    system_calls(bars);
    depths(bars, SCALE_PLAIN, "bars_depth_plain", "cost by depth, plain queue");
    depths(bars, SCALE_RESIDENT, "bars_depth_pool", "cost by depth, queue of a pool");
    idle(bars);
    wakeups(bars);
    metadata(bars, 1 << 10);
    metadata(bars, 128 << 10);
}

const struct bars_group bars_cost = {"cost", run};
