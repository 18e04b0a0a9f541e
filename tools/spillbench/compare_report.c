/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "compare_result.h"

#define MIB      (UINT64_C(1) << 20)
#define GIB      (UINT64_C(1) << 30)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { TITLE_BYTES = 160, NAME_BYTES = 32, CURVE_POINTS = 400, SCAN_CHUNK_BYTES = 16 << 10 };

/* Titles and names of several comparisons in one report differ. */
static struct table *open_table(const struct comparison *comparison, unsigned number,
                                struct report *report, const char *name, const char *title,
                                size_t count, const char *const *columns, const enum unit *units)
{
    char full_name[NAME_BYTES], full_title[TITLE_BYTES];

    snprintf(full_name, sizeof full_name, number ? "%s_%u" : "%s", name, number);
    snprintf(full_title, sizeof full_title, "%s: %s", comparison->title, title);
    return report_table(report, full_name, full_title, count, columns, units);
}

/* A figure and how its rounds are told: with least and most where a bar is measured by it. */
struct column {
    enum figure figure;
    bool spread;
};

static void figure_cells(struct table *table, const struct outcome *outcome,
                         const struct column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct series *series = &outcome->figures[columns[i].figure];

        if (columns[i].spread)
            cell_series(table, series);
        else
            cell_number(table, series_median(series));
    }
}

static void total_rows(const struct comparison *comparison, unsigned number, struct report *report)
{
    static const char *const columns[] = {"contender", "wall",        "cpu",
                                          "net_cpu",   "produce",     "drain",
                                          "rss_peak",  "charge_peak", "cache"};
    static const enum unit units[] = {UNIT_TEXT,    UNIT_SECONDS, UNIT_SECONDS,
                                      UNIT_SECONDS, UNIT_SECONDS, UNIT_SECONDS,
                                      UNIT_BYTES,   UNIT_BYTES,   UNIT_BYTES};
    static const struct column figures[] = {
        {FIGURE_WALL, true},   {FIGURE_CPU, true},  {FIGURE_NET_CPU, true}, {FIGURE_PRODUCE, false},
        {FIGURE_DRAIN, false}, {FIGURE_RSS, false}, {FIGURE_CHARGE, false}, {FIGURE_CACHE, false},
    };
    struct table *table =
        open_table(comparison, number, report, "compare", "median (least to most) of the rounds",
                   COUNT(columns), columns, units);

    for (int i = 0; i < CONTENDER_COUNT; i++) {
        const struct outcome *outcome = &comparison->outcomes[i];

        if (!outcome->last)
            continue;
        row_begin(table);
        cell_text(table, "%s", contender_name((enum contender)i));
        figure_cells(table, outcome, figures, COUNT(figures));
    }
}

static void latency_cells(struct table *table, const struct latency *latency)
{
    cell_number(table, (double)latency_at(latency, 0.5));
    cell_number(table, (double)latency_at(latency, 0.99));
    cell_number(table, (double)latency_at(latency, 0.999));
    cell_number(table, (double)latency->max_ns);
}

static void latency_rows(const struct comparison *comparison, unsigned number,
                         struct report *report)
{
    static const char *const columns[] = {"contender",     "produce_p50",   "produce_p99",
                                          "produce_p99_9", "produce_max",   "consume_p50",
                                          "consume_p99",   "consume_p99_9", "consume_max"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_NS, UNIT_NS, UNIT_NS, UNIT_NS,
                                      UNIT_NS,   UNIT_NS, UNIT_NS, UNIT_NS};
    struct table *table = open_table(comparison, number, report, "steps",
                                     "from one chunk to the next, all rounds together",
                                     COUNT(columns), columns, units);

    for (int i = 0; i < CONTENDER_COUNT; i++) {
        const struct outcome *outcome = &comparison->outcomes[i];

        if (!outcome->last)
            continue;
        row_begin(table);
        cell_text(table, "%s", contender_name((enum contender)i));
        latency_cells(table, &outcome->produce);
        latency_cells(table, &outcome->consume);
    }
}

/* How often more the others take. */
static void ratio_rows(const struct comparison *comparison, unsigned number, struct report *report)
{
    static const char *const columns[] = {"contender", "against", "wall", "cpu", "net_cpu"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_TEXT, UNIT_RATIO, UNIT_RATIO, UNIT_RATIO};
    static const enum figure figures[] = {FIGURE_WALL, FIGURE_CPU, FIGURE_NET_CPU};
    static const enum contender ours[] = {CONTENDER_SPILLWAY, CONTENDER_SPILLWAY_HEAP};
    struct table *table = open_table(comparison, number, report, "ratios",
                                     "times as much as spillway, median of the rounds",
                                     COUNT(columns), columns, units);

    for (int i = CONTENDER_SEED; i < CONTENDER_COUNT; i++) {
        for (size_t our = 0; our < COUNT(ours); our++) {
            const struct outcome *theirs = &comparison->outcomes[i];
            const struct outcome *mine = &comparison->outcomes[ours[our]];

            if (!theirs->last || !mine->last)
                continue;
            row_begin(table);
            cell_text(table, "%s", contender_name((enum contender)i));
            cell_text(table, "%s", contender_name(ours[our]));
            for (size_t f = 0; f < COUNT(figures); f++) {
                struct series ratio = {0};

                series_ratio(&theirs->figures[figures[f]], &mine->figures[figures[f]], &ratio);
                cell_series(table, &ratio);
            }
        }
    }
}

/*
 * What the seed itself took: its own program, built from its public source, medians of 3 to 5 runs
 * on a virtual machine with 2 processors, Linux 6.18, ext4. Zero where it was not taken.
 */
static const struct original {
    uint64_t total_bytes, chunk_bytes;
    double wall_s, produce_s, drain_s, cpu_s;
    double rss_bytes;
    double produce_p50_ns, produce_max_ns, drain_max_ns;
} originals[] = {
    {4 * GIB, 256 << 10, 6.9, 2.8, 4.1, 4.0, 516 * (double)MIB, 0, 228e6, 323e6},
    {8 * GIB, 256 << 10, 12.8, 0, 0, 8.2, 517 * (double)MIB, 0, 259e6, 357e6},
    {1 * GIB, 4 << 10, 38.8, 0, 0, 38.8, 544 * (double)MIB, 141e3, 126e6, 319e6},
    {1 * GIB, 1 << 10, 645, 0, 0, 645, 632 * (double)MIB, 579e3, 282e6, 3.2e9},
};

/* The nearest that was taken with such chunks. */
static const struct original *original_of(const struct compare_plan *plan)
{
    const struct original *found = NULL;

    for (size_t i = 0; i < COUNT(originals); i++) {
        if (originals[i].chunk_bytes == plan->chunk_bytes &&
            (!found || originals[i].total_bytes == plan->total_bytes))
            found = &originals[i];
    }
    return found;
}

static void cell_known(struct table *table, double value)
{
    if (value > 0)
        cell_number(table, value);
    else
        cell_none(table);
}

/* A push when half of the chunks are queued, for each of these: what its scan costs. */
static void cell_scan(struct table *table, const struct compare_plan *plan, uint64_t total_bytes,
                      double produce_p50_ns)
{
    if (plan->chunk_bytes > SCAN_CHUNK_BYTES)
        cell_none(table);
    else
        cell_known(table, produce_p50_ns * 2 * (double)plan->chunk_bytes / (double)total_bytes);
}

static void calibration_rows(const struct comparison *comparison, unsigned number,
                             struct report *report)
{
    static const char *const columns[] = {
        "seed",     "total",       "wall",        "produce",     "drain",         "cpu",
        "rss_peak", "produce_p50", "produce_max", "consume_max", "push_per_entry"};
    static const enum unit units[] = {UNIT_TEXT,    UNIT_BYTES,   UNIT_SECONDS, UNIT_SECONDS,
                                      UNIT_SECONDS, UNIT_SECONDS, UNIT_BYTES,   UNIT_NS,
                                      UNIT_NS,      UNIT_NS,      UNIT_NS};
    static const struct column figures[] = {
        {FIGURE_WALL, false},
        {FIGURE_PRODUCE, false},
        {FIGURE_DRAIN, false},
        {FIGURE_CPU, false},
        {FIGURE_RSS, false},
        {FIGURE_PRODUCE_P50_NS, false},
        {FIGURE_PRODUCE_MAX_NS, false},
        {FIGURE_CONSUME_MAX_NS, false},
    };
    const struct compare_plan *plan = &comparison->plan;
    const struct outcome *seed = &comparison->outcomes[CONTENDER_SEED];
    const struct original *original = original_of(plan);

    if (!seed->last || !original)
        return;
    struct table *table = open_table(comparison, number, report, "calibration",
                                     "the strategy rebuilt here, and the seed itself elsewhere",
                                     COUNT(columns), columns, units);
    const double known[] = {original->wall_s,         original->produce_s,
                            original->drain_s,        original->cpu_s,
                            original->rss_bytes,      original->produce_p50_ns,
                            original->produce_max_ns, original->drain_max_ns};
    row_begin(table);
    cell_text(table, "here");
    cell_number(table, (double)plan->total_bytes);
    figure_cells(table, seed, figures, COUNT(figures));
    cell_scan(table, plan, plan->total_bytes, series_median(&seed->figures[FIGURE_PRODUCE_P50_NS]));
    row_begin(table);
    cell_text(table, "itself");
    cell_number(table, (double)original->total_bytes);
    for (size_t f = 0; f < COUNT(known); f++)
        cell_known(table, known[f]);
    cell_scan(table, plan, original->total_bytes, original->produce_p50_ns);
    report_note(report,
                "calibration: the seed's own figures are medians of 3 to 5 runs of its own program "
                "with threshold 256 MiB and head reserve 64 MiB, on another machine (2 processors, "
                "Linux 6.18, ext4) and another day, so disk and processor differ; those for 256 "
                "KiB in a memory cgroup of 768 MiB. Its time grows with the square of the number "
                "of chunks: push_per_entry, a push at half of the chunks divided by the entries "
                "then queued, is what compares where the totals differ; it is less where a short "
                "queue lies in the processor's cache.");
}

static void memory_curves(const struct comparison *comparison, unsigned number,
                          struct report *report)
{
    char name[NAME_BYTES], title[TITLE_BYTES];

    snprintf(name, sizeof name, number ? "memory_%u" : "memory", number);
    snprintf(title, sizeof title, "%s: memory over time", comparison->title);
    struct plot *plot = report_plot(report, name, title, "seconds", "MiB", false, false);
    for (int i = 1; i < CONTENDER_COUNT; i++) {
        const struct measure *last = comparison->outcomes[i].last;
        unsigned stride = last ? last->sample_count / CURVE_POINTS + 1 : 1;

        if (!last)
            continue;
        struct curve *curve = plot_curve(plot, contender_name((enum contender)i));
        for (unsigned at = 0; at < last->sample_count; at += stride) {
            const struct sample *sample = &last->samples[at];
            /* A map counts as resident, a segment that nobody maps as charge. */
            uint64_t bytes =
                sample->rss_bytes > sample->charge_bytes ? sample->rss_bytes : sample->charge_bytes;

            curve_add(curve, sample->at_s, (double)bytes / (double)MIB);
        }
    }
}

void comparison_report(const struct comparison *comparison, unsigned number, struct report *report)
{
    total_rows(comparison, number, report);
    latency_rows(comparison, number, report);
    ratio_rows(comparison, number, report);
    calibration_rows(comparison, number, report);
    memory_curves(comparison, number, report);
}
