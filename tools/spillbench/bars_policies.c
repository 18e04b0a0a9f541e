/* SPDX-License-Identifier: MIT */
/*
 * Bars of the compress policy: the same data out and back with it and without it, in turns, in one
 * process. What it gains, two pools show. What it costs where it does nothing is less than two
 * pools that are the same may differ by, since the pages of one lie elsewhere than the other's: so
 * there it is one pool, whose coder is taken off and put back between turns.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../pool/pool.h"
#include "bars.h"
#include "flow.h"
#include "load.h"
#include "slow.h"
#include "text.h"

/* A second turn without the policy shows what the machine itself makes of two that are the same. */
enum contender { PLAIN, PACKED, PLAIN_AGAIN, CONTENDERS };

static const uint64_t chunk_bytes = UINT64_C(256) << 10, text_most_bytes = UINT64_C(128) << 20;
static const double slow_rate = 200e6, tar_least = 1.8, text_least = 2, cost_most = 1.03,
                    room_least = 3;

enum data { DATA_TAR, DATA_PLAIN, DATA_NOISE };

/* What is compared, and what came of it; the latter in memory shared with the parent. */
struct contest {
    const struct bars *bars;
    const char *name, *mode; /* of SPILLWAY_COMPRESS */
    bool slow;
    enum data data;
    uint64_t bytes;
    unsigned rounds;
    unsigned contenders;
    bool one_pool;
    unsigned warm_ups; /* turns before those that count */
    /* found */
    struct series wall_s[CONTENDERS], cpu_s[CONTENDERS];
    uint64_t stored_bytes[CONTENDERS]; /* on disk when all was pushed, in the last round */
    /* Of the packed one, in the turns that count: */
    uint64_t encoded_bytes, spilled_bytes, encode_ns;
    uint64_t first_encode_ns; /* in the first of them */
    spw_decision last;
};

struct side {
    spw_options *options;
    struct flow flow;
};

struct rig {
    struct contest *contest;
    struct measure *measure;
    struct side sides[CONTENDERS];
    spw_coder *coder; /* with one pool: also while it is off */
    unsigned char *text;
    uint64_t text_bytes;
};

static int side_open(struct rig *rig, enum contender which)
{
    const struct contest *contest = rig->contest;
    struct side *side = &rig->sides[which];
    const char *const settings[] = {
        "memory_tier", "off",
        "policies",    which == PACKED ? "threshold,prefetch,compress" : "threshold,prefetch",
        "compress",    contest->mode,
        "engine",      contest->slow ? "threads" : NULL,
        NULL};
    const struct os *os = contest->slow ? slow_os(slow_rate) : &os_linux;
    side->flow.pool = load_pool_on(os, rig->measure, contest->bars->budget_bytes,
                                   contest->bars->dir, &side->options, settings);
    if (!side->flow.pool)
        return rig->measure->error;
    side->flow.chunk_bytes = chunk_bytes;
    side->flow.text = rig->text;
    side->flow.text_bytes = rig->text_bytes;
    return ends_make(&side->flow.ends, side->flow.pool, side->options);
}

static int stats_now(const struct side *side, spw_stats *stats)
{
    stats->size = sizeof(*stats);
    return spw_pool_stats(side->flow.pool, stats);
}

/* What is stored once nothing is on its way. */
static int stored_now(const struct side *side, uint64_t *out)
{
    spw_stats stats;
    int rc;
    for (unsigned i = 0; (rc = stats_now(side, &stats)) == 0; i++) {
        if (stats.in_flight_bytes == 0 || i == 5000)
            break;
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    *out = stats.disk_stored_bytes;
    return rc;
}

/* Between turns, when nothing is spilled: no worker is left that knows the coder, and no run that
 * needs it. */
static void coder_turn(struct rig *rig, bool on)
{
    struct coding *coding = &rig->sides[PACKED].flow.pool->coding;

    workers_wait_idle(&coding->workers);
    if (!rig->coder)
        rig->coder = atomic_load(&coding->coder);
    atomic_store(&coding->coder, on ? rig->coder : NULL);
}

static struct side *side_of(struct rig *rig, enum contender which)
{
    return &rig->sides[rig->contest->one_pool ? PACKED : which];
}

static int turn_timed(struct rig *rig, enum contender which, bool counts)
{
    struct contest *contest = rig->contest;
    struct side *side = side_of(rig, which);
    double cpu = cpu_s(), start = now_s();
    int rc = flow_produce(&side->flow, contest->bytes, NULL);

    if (rc == 0 && contest->data == DATA_PLAIN)
        rc = stored_now(side, &contest->stored_bytes[which]);
    if (rc == 0)
        rc = flow_consume(&side->flow, NULL);
    if (rc == 0 && counts) {
        series_add(&contest->wall_s[which], now_s() - start);
        series_add(&contest->cpu_s[which], cpu_s() - cpu);
    }
    return rc;
}

static int turn(struct rig *rig, enum contender which, bool counts)
{
    struct contest *contest = rig->contest;
    spw_stats before, after;

    if (contest->one_pool)
        coder_turn(rig, which == PACKED);
    int rc = stats_now(side_of(rig, which), &before);
    if (rc == 0)
        rc = turn_timed(rig, which, counts);
    if (rc == 0)
        rc = stats_now(side_of(rig, which), &after);
    if (rc != 0 || which != PACKED || !counts)
        return rc;
    contest->spilled_bytes += after.spilled_bytes_total - before.spilled_bytes_total;
    contest->encoded_bytes += after.encoded_bytes_total - before.encoded_bytes_total;
    contest->encode_ns += after.encode_ns_total - before.encode_ns_total;
    if (contest->wall_s[PACKED].count == 1)
        contest->first_encode_ns = contest->encode_ns;
    return 0;
}

/* A contest says itself how many rounds it needs; the group's time still ends it. */
static bool goes_on(const struct bars *bars, unsigned round)
{
    return round < 2 || bars_goes_on(bars, round < bars->pairs ? round : bars->pairs - 1);
}

static int rounds(struct rig *rig)
{
    struct contest *contest = rig->contest;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < contest->warm_ups; i++)
        rc = turn(rig, i, false);
    for (unsigned round = 0; rc == 0 && round < contest->rounds && goes_on(contest->bars, round);
         round++) {
        progress("bars: %s, round %u of %u", contest->name, round + 1, contest->rounds);
        for (unsigned i = 0; rc == 0 && i < contest->contenders; i++)
            rc = turn(rig, (i + round) % contest->contenders, true);
    }
    if (contest->one_pool)
        coder_turn(rig, true); /* the pool closes it */
    return rc;
}

/* The policy's last word. */
static void decision_last(struct rig *rig)
{
    spw_decision all[SPILLWAY_DECISIONS_KEPT];
    all[0].size = sizeof(all[0]);
    long count = spw_pool_decisions(rig->sides[PACKED].flow.pool, 1, all, SPILLWAY_DECISIONS_KEPT);
    for (long i = 0; i < count; i++)
        if (strcmp(all[i].regulator, "compress") == 0)
            rig->contest->last = all[i];
}

static void run_child(void *context, struct measure *measure)
{
    struct rig rig = {.contest = context, .measure = measure};
    struct contest *contest = context;
    int rc = 0;

    if (contest->data != DATA_NOISE) {
        enum text_kind kind = contest->data == DATA_TAR ? TEXT_TAR : TEXT_PLAIN;
        rig.text = text_load(kind, text_most_bytes, &rig.text_bytes);
        if (!rig.text) {
            measure_fail(measure, -ENOENT, "there is no text below /usr");
            return;
        }
    }
    measure_begin(measure);
    for (unsigned i = 0; rc == 0 && i < contest->contenders; i++)
        if (!contest->one_pool || i == PACKED)
            rc = side_open(&rig, i);
    if (rc == 0)
        rc = rounds(&rig);
    if (rc == 0)
        decision_last(&rig);
    measure_end(measure);
    for (unsigned i = 0; i < contest->contenders; i++) {
        if (!rig.sides[i].flow.pool)
            continue;
        flow_close(&rig.sides[i].flow);
        spw_pool_close(rig.sides[i].flow.pool);
        spw_options_close(rig.sides[i].options);
    }
    free(rig.text);
    if (rc != 0 && measure->error == 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

/* Runs it; a row says so where that does not work. */
static bool contest_run(struct bars *bars, struct contest *contest, const char *what,
                        const char *asked)
{
    struct contest *shared = shared_open(sizeof(*shared));
    struct child_plan child = {.name = what, .run = run_child, .context = shared};
    char why[256];

    if (shared)
        *shared = *contest;
    if (shared_run(&child, shared, contest, sizeof(*contest), why, sizeof(why)))
        return true;
    if (strstr(why, "no text"))
        bars_limited(bars, what, asked, why);
    else
        bars_failed(bars, what, asked, why);
    return false;
}

static struct contest contest_of(const struct bars *bars, const char *name, const char *mode,
                                 enum data data)
{
    return (struct contest){.bars = bars,
                            .name = name,
                            .mode = mode,
                            .data = data,
                            .bytes = bars->options->quick ? 32 << 20 : 384 << 20,
                            .rounds = bars->pairs,
                            .contenders = 2,
                            .warm_ups = 2};
}

/* ---- rows ---- */

static void slow_row(struct bars *bars, struct contest *contest, const char *what,
                     const char *asked, double least)
{
    struct series ratio;
    char span[SPAN_BYTES];

    contest->slow = true;
    if (!contest_run(bars, contest, what, asked))
        return;
    series_ratio(&contest->wall_s[PLAIN], &contest->wall_s[PACKED], &ratio);
    bars_row(bars, what, asked, verdict_of(at_least(series_median(&ratio), least), false), NULL,
             "%s x; %.0f to %.0f MB/s; %s", span_text(span, &ratio, "%.2f"),
             (double)contest->bytes / series_median(&contest->wall_s[PLAIN]) / 1e6,
             (double)contest->bytes / series_median(&contest->wall_s[PACKED]) / 1e6,
             contest->last.action);
    report_note(bars->report,
                "The slow device is one whose reads and writes are made to wait in "
                "the seam to the operating system. Compress policy there: %s.",
                contest->last.reason);
}

static void slow_tar_row(struct bars *bars)
{
    struct contest contest = contest_of(bars, "compress, slow device", "auto", DATA_TAR);

    contest.bytes = contest.bytes / 3 * 2;
    slow_row(bars, &contest, "compress policy, a device slowed to 200 MB/s, files of /usr",
             ">= 1.8 x uncompressed", tar_least);
}

static void slow_text_row(struct bars *bars)
{
    struct contest contest = contest_of(bars, "compress, slow device, text", "auto", DATA_PLAIN);

    contest.bytes /= 2;
    slow_row(bars, &contest, "compress policy, a device slowed to 200 MB/s, text files of /usr",
             ">= 2.0 x uncompressed", text_least);
}

/* Against the mean of the two turns without the policy, round by round. Returns how far these are
 * apart, as a share. */
static double against_both(const struct series values[CONTENDERS], struct series *ratio)
{
    const struct series *one = &values[PLAIN], *other = &values[PLAIN_AGAIN];
    struct series both = {.count = 0}, same;

    for (unsigned i = 0; i < one->count && i < other->count; i++)
        series_add(&both, (one->values[i] + other->values[i]) / 2);
    series_ratio(&values[PACKED], &both, ratio);
    series_ratio(other, one, &same);
    return fabs(series_median(&same) - 1);
}

/* What choosing and trying took of the processors in the turns with the policy. */
static double own_percent(const struct contest *contest)
{
    const struct series *cpu = &contest->cpu_s[PACKED];
    double all_s = 0;

    for (unsigned i = 0; i < cpu->count; i++)
        all_s += cpu->values[i];
    return all_s > 0 ? 100 * (double)contest->encode_ns / 1e9 / all_s : 0;
}

/*
 * What the policy costs where it does nothing: the time and the processor's. A machine that is
 * further apart with itself cannot show it.
 */
static void cost_row(struct bars *bars, struct contest *contest, const char *what,
                     const char *asked)
{
    struct series wall, cpu;
    char wall_span[SPAN_BYTES], cpu_span[SPAN_BYTES], why[160];

    contest->contenders = CONTENDERS;
    contest->one_pool = true;
    if (!contest_run(bars, contest, what, asked))
        return;
    double wall_apart = against_both(contest->wall_s, &wall);
    double cpu_apart = against_both(contest->cpu_s, &cpu);
    double apart = wall_apart > cpu_apart ? wall_apart : cpu_apart;
    bool noisy = apart > cost_most - 1;
    bool none = contest->encoded_bytes <= contest->spilled_bytes / 50;
    bool reached =
        none && at_most(series_median(&wall), cost_most) && at_most(series_median(&cpu), cost_most);
    snprintf(why, sizeof(why),
             "turns without the policy differ by %.1f %%, which is more than what is asked",
             apart * 100);
    bars_row(bars, what, asked, verdict_of(reached, none && noisy),
             !reached && none && noisy ? why : NULL,
             "%s x wall, %s x CPU; %.1f %% encoded; the policy's own CPU: %.2f %%",
             span_text(wall_span, &wall, "%.3f"), span_text(cpu_span, &cpu, "%.3f"),
             100 * (double)contest->encoded_bytes / (double)contest->spilled_bytes,
             own_percent(contest));
}

static void fast_row(struct bars *bars)
{
    struct contest contest = contest_of(bars, "compress, fast device", "auto", DATA_TAR);

    contest.rounds = 2 * bars->pairs + 1;
    contest.warm_ups = CONTENDERS;
    contest.bytes = bars->data_bytes / 2;
    cost_row(bars, &contest, "compress policy, the fast device, files of /usr",
             "chooses none, costs <= 3 %");
}

/* What comes first counts: the pool is warm, but the policy has not seen a byte. */
static void noise_row(struct bars *bars)
{
    struct contest contest = contest_of(bars, "compress, incompressible", "auto", DATA_NOISE);

    contest.slow = true;
    contest.bytes /= 3;
    contest.rounds = 11;
    contest.warm_ups = 1;
    cost_row(bars, &contest, "compress policy, slowed device, incompressible data", "costs <= 3 %");
    if (contest.spilled_bytes > 0)
        report_note(bars->report,
                    "Incompressible data is found out from samples: the policy's own work took "
                    "%.2f ms of a processor for the first %.0f MB of it, %.2f ms for each of the "
                    "later turns.",
                    (double)contest.first_encode_ns / 1e6, (double)contest.bytes / 1e6,
                    (double)(contest.encode_ns - contest.first_encode_ns) / 1e6 /
                        (contest.wall_s[PACKED].count > 1 ? contest.wall_s[PACKED].count - 1 : 1));
}

static void room_row(struct bars *bars)
{
    static const char what[] = "compress policy, told to save room, text files of /usr";
    static const char asked[] = ">= 3.0 x fewer bytes stored";
    struct contest contest = contest_of(bars, "compress, room", "room", DATA_PLAIN);

    contest.rounds = 2;
    if (!contest_run(bars, &contest, what, asked))
        return;
    double ratio = (double)contest.stored_bytes[PLAIN] / (double)contest.stored_bytes[PACKED];
    bars_row(bars, what, asked, verdict_of(at_least(ratio, room_least), false), NULL,
             "%.2f x; %" PRIu64 " MiB of extents to %" PRIu64 "; %s", ratio,
             contest.stored_bytes[PLAIN] >> 20, contest.stored_bytes[PACKED] >> 20,
             contest.last.action);
}

static void run(struct bars *bars)
{
    slow_tar_row(bars);
    slow_text_row(bars);
    noise_row(bars);
    room_row(bars);
    fast_row(bars); /* goes on as long as the group's time allows */
}

const struct bars_group bars_policies = {"policies", run};
