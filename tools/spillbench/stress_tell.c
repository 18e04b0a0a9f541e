/* SPDX-License-Identifier: MIT */
#include "stress.h"

enum { BINS = 100 };

void stress_note(struct stress_side *side, const struct measure *measure)
{
    double gb = (double)measure->bytes / 1e9;
    series_add(&side->wall, measure->wall_s);
    series_add(&side->produce, measure->produce_s);
    series_add(&side->drain, measure->drain_s);
    series_add(&side->cpu, (measure->user_s + measure->sys_s) / gb);
    series_add(&side->rss, (double)measure->rss_peak_bytes);
    if (measure->charge_peak_bytes) {
        series_add(&side->charge, (double)measure->charge_peak_bytes);
        series_add(&side->cache, (double)measure->cache_growth_bytes);
    }
    series_add(&side->faults_minor, (double)measure->faults_minor);
    series_add(&side->faults_major, (double)measure->faults_major);
    for (unsigned i = 0; i < STRESS_FIGURES; i++)
        series_add(&side->figures[i], measure->figures[i]);
    latency_join(&side->extend, &measure->extend);
    latency_join(&side->drains, &measure->drain);
    latency_join(&side->control, &measure->control);
}

/* ---- tables ---- */

static struct series rates(double bytes, const struct series *seconds)
{
    struct series bytes_each = {.count = 0}, out;
    for (unsigned i = 0; i < seconds->count; i++)
        series_add(&bytes_each, bytes);
    series_ratio(&bytes_each, seconds, &out);
    return out;
}

static struct series less(const struct series *a, const struct series *b)
{
    struct series out = {.count = 0};
    for (unsigned i = 0; i < a->count && i < b->count; i++)
        series_add(&out, a->values[i] - b->values[i]);
    return out;
}

static void time_row(struct table *table, const char *name, double bytes,
                     const struct stress_side *side)
{
    struct series produce = rates(bytes, &side->produce), drain = rates(bytes, &side->drain);
    row_begin(table);
    cell_text(table, "%s", name);
    cell_series(table, &side->wall);
    cell_series(table, &side->produce);
    cell_series(table, &side->drain);
    cell_series(table, &produce);
    cell_series(table, &drain);
    cell_series(table, &side->cpu);
}

static void tell_times(struct report *report, double bytes, const struct stress_side *null,
                       const struct stress_side *pool)
{
    static const char *const columns[] = {"run",          "wall",       "produce",   "drain",
                                          "produce_rate", "drain_rate", "cpu_per_gb"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_SECONDS, UNIT_SECONDS, UNIT_SECONDS,
                                      UNIT_RATE, UNIT_RATE,    UNIT_SECONDS};
    struct table *table =
        report_table(report, "times", "Times and rates: median (min - max)", 7, columns, units);
    struct stress_side net = {
        .wall = less(&pool->wall, &null->wall),
        .produce = less(&pool->produce, &null->produce),
        .drain = less(&pool->drain, &null->drain),
        .cpu = less(&pool->cpu, &null->cpu),
    };
    time_row(table, "spillway", bytes, pool);
    time_row(table, "null", bytes, null);
    time_row(table, "net", bytes, &net);
}

static void memory_row(struct table *table, const char *name, const struct stress_side *side,
                       const struct series *budget)
{
    row_begin(table);
    cell_text(table, "%s", name);
    if (budget)
        cell_series(table, budget);
    else
        cell_none(table);
    cell_series(table, &side->rss);
    cell_series(table, &side->charge);
    cell_series(table, &side->cache);
    cell_series(table, &side->faults_minor);
    cell_series(table, &side->faults_major);
}

static void tell_memory(struct report *report, const struct stress_side *null,
                        const struct stress_side *pool)
{
    static const char *const columns[] = {
        "run", "budget", "rss_peak", "charge_peak", "cache_growth", "minor_faults", "major_faults"};
    static const enum unit units[] = {UNIT_TEXT,  UNIT_BYTES, UNIT_BYTES, UNIT_BYTES,
                                      UNIT_BYTES, UNIT_COUNT, UNIT_COUNT};
    struct table *table =
        report_table(report, "memory", "Memory, highest of samples every 10 ms, and page faults", 7,
                     columns, units);
    memory_row(table, "spillway", pool, &pool->figures[STRESS_BUDGET]);
    memory_row(table, "null", null, NULL);
    if (!pool->charge.count)
        report_note(report, "no charge: this user may not make a memory cgroup here");
}

static void tell_traffic(struct report *report, const struct stress_side *pool)
{
    static const char *const columns[] = {"spilled",  "fetched",     "copied",
                                          "direct",   "runs",        "late",
                                          "syscalls", "writer_wait", "reader_wait"};
    static const enum unit units[] = {UNIT_BYTES, UNIT_BYTES, UNIT_BYTES,   UNIT_BYTES,  UNIT_COUNT,
                                      UNIT_COUNT, UNIT_COUNT, UNIT_SECONDS, UNIT_SECONDS};
    static const enum stress_figure figures[] = {
        STRESS_SPILLED, STRESS_FETCHED,  STRESS_COPIED,      STRESS_DIRECT,     STRESS_RUNS,
        STRESS_LATE,    STRESS_SYSCALLS, STRESS_WRITER_WAIT, STRESS_READER_WAIT};
    struct table *table =
        report_table(report, "traffic", "What the pool counted", 9, columns, units);
    row_begin(table);
    for (unsigned i = 0; i < 9; i++)
        cell_series(table, &pool->figures[figures[i]]);
}

static void latency_row(struct table *table, const char *name, const struct latency *latency)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    if (latency->count == 0)
        return;
    row_begin(table);
    cell_text(table, "%s", name);
    cell_number(table, (double)latency->count);
    cell_number(table, (double)latency->sum_ns / (double)latency->count);
    for (unsigned i = 0; i < 4; i++)
        cell_number(table, (double)latency_at(latency, shares[i]));
    cell_number(table, (double)latency->max_ns);
}

static void tell_latency(struct report *report, const struct stress_side *null,
                         const struct stress_side *pool)
{
    static const char *const columns[] = {"call", "count", "mean", "p50",
                                          "p90",  "p99",   "p999", "max"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_COUNT, UNIT_NS, UNIT_NS,
                                      UNIT_NS,   UNIT_NS,    UNIT_NS, UNIT_NS};
    if (!pool->extend.count && !pool->control.count)
        return;
    struct table *table =
        report_table(report, "latency", "Latency of a call, over all rounds", 8, columns, units);
    latency_row(table, "extend", &pool->extend);
    latency_row(table, "extend, null", &null->extend);
    latency_row(table, "drain", &pool->drains);
    latency_row(table, "drain, null", &null->drains);
    latency_row(table, "control, spinning", &pool->control);
}

/* ---- curves ---- */

static void plot_memory(struct report *report, const struct measure *measure)
{
    struct plot *plot = report_plot(report, "memory", "Memory over time, last round", "seconds",
                                    "MiB", false, false);
    struct curve *charge = plot_curve(plot, "charge of the cgroup");
    struct curve *resident = plot_curve(plot, "resident set");
    struct curve *budget = plot_curve(plot, "budget");
    for (unsigned i = 0; i < measure->sample_count; i++) {
        const struct sample *sample = &measure->samples[i];
        if (measure->charge_peak_bytes)
            curve_add(charge, sample->at_s, (double)sample->charge_bytes / (1 << 20));
        curve_add(resident, sample->at_s, (double)sample->rss_bytes / (1 << 20));
        curve_add(budget, sample->at_s, measure->figures[STRESS_BUDGET] / (1 << 20));
    }
}

static void plot_rates(struct report *report, const struct measure *measure)
{
    struct plot *plot = report_plot(report, "throughput", "Throughput over time, last round",
                                    "seconds", "GB/s", false, false);
    struct curve *produced = plot_curve(plot, "produced"), *drained = plot_curve(plot, "drained");
    unsigned step = measure->sample_count / BINS + 1;
    for (unsigned i = step; i < measure->sample_count; i += step) {
        const struct sample *from = &measure->samples[i - step], *to = &measure->samples[i];
        double seconds = to->at_s - from->at_s;
        if (seconds <= 0)
            continue;
        curve_add(produced, to->at_s,
                  (double)(to->produced_bytes - from->produced_bytes) / seconds / 1e9);
        curve_add(drained, to->at_s,
                  (double)(to->drained_bytes - from->drained_bytes) / seconds / 1e9);
    }
}

static void plot_latency(struct report *report, const struct stress_side *pool)
{
    static const double shares[] = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1};
    const struct latency *const latencies[] = {&pool->extend, &pool->drains, &pool->control};
    static const char *const names[] = {"extend", "drain", "control"};
    struct plot *plot =
        report_plot(report, "latency", "Latency: so many calls of 10000 took longer",
                    "calls of 10000", "ns", true, true);
    for (unsigned i = 0; i < 3; i++) {
        struct curve *curve = plot_curve(plot, names[i]);
        for (unsigned j = 0; latencies[i]->count && j < 11; j++) {
            double longer = shares[j] < 1 ? (1 - shares[j]) * 10000 : 0.1;
            curve_add(curve, longer, (double)latency_at(latencies[i], shares[j]));
        }
    }
}

void stress_tell(struct report *report, const struct stress_options *options,
                 const struct stress_side *null, const struct stress_side *pool)
{
    tell_times(report, (double)options->total_bytes, null, pool);
    tell_memory(report, null, pool);
    tell_traffic(report, pool);
    tell_latency(report, null, pool);
    plot_memory(report, pool->last);
    plot_rates(report, pool->last);
    plot_latency(report, pool);
}
