/* SPDX-License-Identifier: MIT */
/* Bars of the disk tier: against the raw device, in one process, in turns. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../pool/checksum.h"
#include "bars.h"
#include "bars_phase.h"
#include "flow.h"
#include "load.h"
#include "raw.h"

enum { WRITES_END_MOST_S = 30 };

enum variant {
    SLAB_256K,
    SLAB_1M,
    SLAB_4K,
    SLAB_1K,
    HEAP_256K,
    HEAP_4K,
    HEAP_1K,
    VARIANTS,
};

static const struct {
    const char *name;
    uint64_t chunk_bytes;
    bool heap;
} variants[VARIANTS] = {
    {"256 KiB chunks in pool slabs", 256 << 10, false},
    {"1 MiB chunks in pool slabs", 1 << 20, false},
    {"4 KiB chunks in pool slabs", 4 << 10, false},
    {"1 KiB chunks in pool slabs", 1 << 10, false},
    {"256 KiB chunks on the heap", 256 << 10, true},
    {"4 KiB chunks on the heap", 4 << 10, true},
    {"1 KiB chunks on the heap", 1 << 10, true},
};

/* What one variant took, a value a round. */
struct taken {
    struct series wall_s, cpu_s;           /* of everything */
    struct series null_wall_s, null_cpu_s; /* of the null strategy, right before */
    uint64_t spilled_bytes, copied_bytes;  /* in all rounds */
};

struct alone {
    struct phase write, read;
};

/* In memory shared with the parent. */
struct session {
    const struct bars *bars;
    struct raw_plan write_plan, read_plan;
    struct series raw_write, raw_read, checksum_s_per_gb, copy_s_per_gb;
    struct taken taken[VARIANTS];
    struct alone alone[SLAB_1M + 1];
    spw_stats stats;
};

struct bench {
    struct session *session;
    struct measure *measure, *null;
    struct raw_file *file;
    struct flow flow;
    spw_options *options;
    unsigned char *from, *to; /* for copies and checksums alone */
};

static const uint64_t sample_bytes = UINT64_C(64) << 20; /* for copies and checksums alone */

static int raw_pass(struct bench *bench, const struct raw_plan *best, uint64_t bytes,
                    struct series *rates)
{
    struct raw_plan plan = *best;
    double rate = 0, cpu = 0;

    plan.total_bytes = bytes;
    int rc = raw_run(bench->file, &plan, &rate, &cpu);
    series_add(rates, rate);
    return rc;
}

static int raw_round(struct bench *bench)
{
    struct session *session = bench->session;
    uint64_t bytes = session->bars->data_bytes;
    int rc = raw_pass(bench, &session->write_plan, bytes, &session->raw_write);

    return rc ? rc : raw_pass(bench, &session->read_plan, bytes, &session->raw_read);
}

/* What two checksum passes and a copy cost by themselves. */
static void sample_round(struct bench *bench)
{
    static volatile uint64_t sink;
    double start_s = cpu_s(), gb = gigabytes((double)sample_bytes);

    sink = checksum_update(1, bench->from, sample_bytes);
    double middle_s = cpu_s();
    memcpy(bench->to, bench->from, sample_bytes);
    sink += bench->to[sample_bytes - 1];
    (void)sink;
    series_add(&bench->session->checksum_s_per_gb, (middle_s - start_s) / gb);
    series_add(&bench->session->copy_s_per_gb, (cpu_s() - middle_s) / gb);
}

static void null_round(struct bench *bench, enum variant variant, struct taken *taken)
{
    struct load load = {.total_bytes = bench->session->bars->data_bytes,
                        .chunk_bytes = variants[variant].chunk_bytes,
                        .origin = variants[variant].heap ? ORIGIN_HEAP : ORIGIN_POOL_SLAB};

    load_run(&load, NULL, NULL, bench->null);
    series_add(&taken->null_wall_s, bench->null->wall_s);
    series_add(&taken->null_cpu_s, bench->null->user_s + bench->null->sys_s);
}

static int stats_now(const struct bench *bench, spw_stats *stats)
{
    stats->size = sizeof(*stats);
    return spw_pool_stats(bench->flow.pool, stats);
}

static void chunks_choose(struct bench *bench, enum variant variant)
{
    bench->flow.chunk_bytes = variants[variant].chunk_bytes;
    bench->flow.heap = variants[variant].heap;
}

/* Everything out, everything back. */
static int variant_round(struct bench *bench, enum variant variant, struct taken *taken)
{
    spw_stats before, after;

    chunks_choose(bench, variant);
    int rc = stats_now(bench, &before);
    double cpu = cpu_s(), start = now_s();
    if (rc == 0)
        rc = flow_produce(&bench->flow, bench->session->bars->data_bytes, NULL);
    if (rc == 0)
        rc = flow_consume(&bench->flow, NULL);
    double end = now_s();
    cpu = cpu_s() - cpu;
    if (rc == 0)
        rc = stats_now(bench, &after);
    if (rc != 0)
        return rc;
    series_add(&taken->wall_s, end - start);
    series_add(&taken->cpu_s, cpu);
    taken->spilled_bytes += after.spilled_bytes_total - before.spilled_bytes_total;
    taken->copied_bytes += after.copied_bytes_total - before.copied_bytes_total;
    return 0;
}

static int bare_pass(struct bench *bench, enum raw_direction direction, struct series *rates)
{
    spw_stats stats;
    int rc = stats_now(bench, &stats);
    bool write = direction == RAW_WRITE;
    uint64_t request_bytes = write ? stats.write_request_bytes : stats.read_request_bytes,
             depth = write ? stats.write_depth : stats.read_depth;
    struct raw_plan plan = {
        .engine = bench->session->write_plan.engine,
        .direction = direction,
        .request_bytes = request_bytes ? request_bytes : UINT64_C(1) << 20,
        .depth = depth ? (unsigned)depth : 1,
        .huge = true,
        .checked = true,
    };

    return rc ? rc : raw_pass(bench, &plan, bench->session->bars->phase_bytes / 3, rates);
}

/* Waits until all that was spilled has been written. */
static int writes_end(const struct bench *bench, spw_stats *stats)
{
    static const struct timespec pause = {.tv_nsec = 50000};
    double until_s = now_s() + WRITES_END_MOST_S;
    int rc;

    while ((rc = stats_now(bench, stats)) == 0 && stats->in_flight_bytes > 0) {
        if (now_s() > until_s)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    return rc;
}

/* Ends when nothing is in flight any more, so that no write runs beside what follows. */
static int write_phase(struct bench *bench, struct series *rates)
{
    spw_stats before, after;
    int rc = stats_now(bench, &before);
    double start = now_s();

    if (rc == 0)
        rc = flow_produce(&bench->flow, bench->session->bars->phase_bytes, NULL);
    if (rc == 0)
        rc = writes_end(bench, &after);
    double end = now_s();
    if (rc == 0)
        series_add(rates,
                   (double)(after.spilled_disk_bytes_total - before.spilled_disk_bytes_total) /
                       (end - start));
    return rc;
}

static int read_phase(struct bench *bench, struct series *rates)
{
    spw_stats before, after;
    int rc = stats_now(bench, &before);
    double start = now_s();

    if (rc == 0)
        rc = flow_consume(&bench->flow, NULL);
    double end = now_s();
    if (rc == 0)
        rc = stats_now(bench, &after);
    if (rc == 0)
        series_add(rates,
                   (double)(after.fetched_disk_bytes_total - before.fetched_disk_bytes_total) /
                       (end - start));
    return rc;
}

/* Beside a raw loop over as many bytes; who is first changes from round to round. What never left
 * the budget counts for neither. */
static int phase_round(struct bench *bench, enum raw_direction direction, unsigned round,
                       struct phase *phase)
{
    const struct session *session = bench->session;
    const struct raw_plan *plan =
        direction == RAW_WRITE ? &session->write_plan : &session->read_plan;
    uint64_t bytes = session->bars->phase_bytes;
    bool raw_first = round % 2 == 0;
    int rc = 0;

    if (raw_first)
        rc = raw_pass(bench, plan, bytes, &phase->raw);
    if (rc == 0)
        rc = direction == RAW_WRITE ? write_phase(bench, &phase->rate)
                                    : read_phase(bench, &phase->rate);
    if (rc == 0 && !raw_first)
        rc = raw_pass(bench, plan, bytes, &phase->raw);
    return rc ? rc : bare_pass(bench, direction, &phase->bare);
}

static int alone_round(struct bench *bench, enum variant variant, unsigned round,
                       struct alone *alone)
{
    chunks_choose(bench, variant);
    int rc = phase_round(bench, RAW_WRITE, round, &alone->write);
    return rc ? rc : phase_round(bench, RAW_READ, round, &alone->read);
}

static int warm_up(struct bench *bench)
{
    struct session *session = bench->session;
    struct taken *dropped = calloc(1, sizeof(*dropped));
    struct alone *ignored = calloc(1, sizeof(*ignored));
    int rc = dropped && ignored ? 0 : -ENOMEM;

    if (rc == 0)
        rc = raw_best(bench->file, RAW_WRITE, &session->write_plan);
    if (rc == 0)
        rc = raw_best(bench->file, RAW_READ, &session->read_plan);
    for (enum variant i = 0; rc == 0 && i < VARIANTS; i++) {
        null_round(bench, i, dropped);
        /* Once with all bytes, so that every extent was written; then only code and buffers. */
        if (i == 0)
            rc = alone_round(bench, i, 0, ignored);
        else if (i == HEAP_256K)
            rc = variant_round(bench, i, dropped);
    }
    free(dropped);
    free(ignored);
    return rc;
}

static int run_rounds(struct bench *bench)
{
    struct session *session = bench->session;
    int rc = warm_up(bench);

    for (unsigned round = 0; rc == 0 && bars_goes_on(session->bars, round); round++) {
        progress("bars: disk tier, round %u of %u", round + 1, session->bars->pairs);
        rc = raw_round(bench);
        sample_round(bench);
        for (enum variant i = 0; rc == 0 && i <= SLAB_1M; i++)
            rc = alone_round(bench, i, round, &session->alone[i]);
        for (enum variant i = 0; rc == 0 && i < VARIANTS; i++) {
            null_round(bench, i, &session->taken[i]);
            rc = variant_round(bench, i, &session->taken[i]);
        }
    }
    return rc;
}

static int bench_open(struct bench *bench)
{
    const struct bars *bars = bench->session->bars;
    const char *const settings[] = {"memory_tier", "off", NULL};
    int rc;

    bench->from = malloc(sample_bytes);
    bench->to = malloc(sample_bytes);
    bench->null = calloc(1, sizeof(*bench->null));
    if (!bench->from || !bench->to || !bench->null)
        return -ENOMEM;
    chunk_fill(bench->from, sample_bytes, 1);
    memcpy(bench->to, bench->from, sample_bytes);
    bench->file = raw_open(bars->dir, bars->data_bytes, &rc);
    if (!bench->file)
        return rc;
    bench->flow.pool =
        load_pool(bench->measure, bars->budget_bytes, bars->dir, &bench->options, settings);
    if (!bench->flow.pool)
        return bench->measure->error;
    return ends_make(&bench->flow.ends, bench->flow.pool, bench->options);
}

static void bench_close(struct bench *bench)
{
    flow_close(&bench->flow);
    spw_pool_close(bench->flow.pool);
    spw_options_close(bench->options);
    if (bench->file)
        raw_close(bench->file);
    free(bench->from);
    free(bench->to);
    free(bench->null);
}

static void run_child(void *context, struct measure *measure)
{
    struct bench bench = {.session = context, .measure = measure};

    measure_begin(measure);
    int rc = bench_open(&bench);
    if (rc == 0)
        rc = run_rounds(&bench);
    if (rc == 0)
        rc = stats_now(&bench, &bench.session->stats);
    measure_end(measure);
    bench_close(&bench);
    if (rc != 0 && measure->error == 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

/* ---- rows ---- */

static void net_wall(const struct session *session, enum variant variant, struct series *out)
{
    const struct taken *taken = &session->taken[variant];

    series_net(&taken->wall_s, &taken->null_wall_s, out);
}

static void out_and_back(struct bars *bars, const struct session *session, enum variant variant)
{
    const struct taken *taken = &session->taken[variant];
    const struct alone *alone = &session->alone[variant];
    double bytes = (double)bars->data_bytes;
    struct series wall, floor, gross, bare;

    net_wall(session, variant, &wall);
    series_floor(bytes, &session->raw_write, &session->raw_read, &floor);
    series_floor(bytes, &alone->write.bare, &alone->read.bare, &gross);
    series_net(&gross, &taken->null_wall_s, &bare);
    floor_row(bars, variants[variant].name, &wall, &floor, &bare);
}

static void small_row(struct bars *bars, const struct session *session, enum variant small,
                      enum variant large)
{
    struct series walls[2], ratio;
    char span[SPAN_BYTES], what[96];

    net_wall(session, small, &walls[0]);
    net_wall(session, large, &walls[1]);
    series_ratio(&walls[0], &walls[1], &ratio);
    snprintf(what, sizeof(what), "small entries, %s", variants[small].name);
    bars_row(bars, what, "net wall <= 1.3 x of 256 KiB",
             verdict_of(at_most(series_median(&ratio), 1.3), false), NULL, "%s x; %.2f s of %.2f s",
             span_text(span, &ratio, "%.2f"), series_median(&walls[0]), series_median(&walls[1]));
}

static void cpu_row(struct bars *bars, const struct session *session, enum variant variant,
                    unsigned copies)
{
    const struct taken *taken = &session->taken[variant];
    double checksum = series_median(&session->checksum_s_per_gb),
           copy = series_median(&session->copy_s_per_gb);
    double limit = cpu_limit_s(checksum, copy, copies);
    struct series cpu, per_gb = {.count = 0};
    char span[SPAN_BYTES], what[96], asked[64];

    series_net(&taken->cpu_s, &taken->null_cpu_s, &cpu);
    for (unsigned i = 0; i < cpu.count; i++)
        series_add(&per_gb, cpu.values[i] / gigabytes((double)bars->data_bytes));
    snprintf(what, sizeof(what), "net CPU per GB, %s", variants[variant].name);
    snprintf(asked, sizeof(asked), "<= %.3f s (0.06 + 2 x %.3f%s)", limit, checksum,
             copies ? " + a copy" : "");
    bars_row(bars, what, asked, verdict_of(at_most(series_median(&per_gb), limit), false), NULL,
             "%s s", span_text(span, &per_gb, "%.3f"));
}

static void copied_rows(struct bars *bars, const struct session *session)
{
    const struct taken *slab = &session->taken[SLAB_256K], *heap = &session->taken[HEAP_256K];
    double heap_copies = (double)heap->copied_bytes / (double)heap->spilled_bytes;

    bars_row(bars, "zero copy: payload copied of pool slabs", "0 bytes",
             verdict_of(slab->copied_bytes == 0 && slab->spilled_bytes > 0, false), NULL,
             "%llu bytes of %.2f GB spilled", (unsigned long long)slab->copied_bytes,
             gigabytes((double)slab->spilled_bytes));
    bars_row(bars, "foreign heap bytes are copied once", "<= 1.00 x",
             verdict_of(at_most(heap_copies, 1), false), NULL, "%.2f x of %.2f GB spilled",
             heap_copies, gigabytes((double)heap->spilled_bytes));
}

static void rows(struct bars *bars, const struct session *session)
{
    const struct series *raw_write = &session->raw_write, *raw_read = &session->raw_read;

    report_note(
        bars->report,
        "Raw rates of the device in %u rounds, with %s: write %.2f GB/s (%llu KiB, depth %u), read "
        "%.2f GB/s (%llu KiB, depth %u); memcpy %.3f s and a checksum pass %.3f s a GB.",
        raw_write->count, raw_engine_text(&session->write_plan), series_median(raw_write) / 1e9,
        (unsigned long long)session->write_plan.request_bytes >> 10, session->write_plan.depth,
        series_median(raw_read) / 1e9, (unsigned long long)session->read_plan.request_bytes >> 10,
        session->read_plan.depth, series_median(&session->copy_s_per_gb),
        series_median(&session->checksum_s_per_gb));
    out_and_back(bars, session, SLAB_256K);
    out_and_back(bars, session, SLAB_1M);
    for (enum variant i = 0; i <= SLAB_1M; i++) {
        const struct alone *alone = &session->alone[i];
        phase_row(bars, "write phase", variants[i].name, &alone->write);
        phase_row(bars, "read phase", variants[i].name, &alone->read);
    }
    small_row(bars, session, SLAB_4K, SLAB_256K);
    small_row(bars, session, SLAB_1K, SLAB_256K);
    small_row(bars, session, HEAP_4K, HEAP_256K);
    small_row(bars, session, HEAP_1K, HEAP_256K);
    cpu_row(bars, session, SLAB_256K, 0);
    cpu_row(bars, session, HEAP_256K, 1);
    copied_rows(bars, session);
}

static void plot_rounds(struct bars *bars, const struct session *session)
{
    struct plot *plot =
        report_plot(bars->report, "bars_disk", "Disk tier: out and back in each round", "round",
                    "net seconds", false, false);
    struct series wall, floor;

    series_floor((double)bars->data_bytes, &session->raw_write, &session->raw_read, &floor);
    struct curve *curve = plot_curve(plot, "floor");
    for (unsigned i = 0; i < floor.count; i++)
        curve_add(curve, i + 1, floor.values[i]);
    for (enum variant v = SLAB_256K; v < VARIANTS; v++) {
        net_wall(session, v, &wall);
        curve = plot_curve(plot, variants[v].name);
        for (unsigned i = 0; i < wall.count; i++)
            curve_add(curve, i + 1, wall.values[i]);
    }
}

static void run(struct bars *bars)
{
    struct session *session = shared_open(sizeof(*session));
    struct child_plan child = {.name = "bars: disk tier", .run = run_child, .context = session};

    if (!session) {
        bars_failed(bars, "disk tier", "", "no memory");
        return;
    }
    session->bars = bars;
    struct measure *measure = child_run(&child);
    if (measure && measure->error == 0) {
        bars->write_rate = series_median(&session->raw_write);
        bars->read_rate = series_median(&session->raw_read);
        rows(bars, session);
        plot_rounds(bars, session);
    } else {
        bars_failed(bars, "disk tier", "to be measured", measure ? measure->why : "no memory");
    }
    child_release(measure);
    shared_close(session, sizeof(*session));
}

const struct bars_group bars_disk = {"disk", run};
