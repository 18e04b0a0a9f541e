/* SPDX-License-Identifier: MIT */
/* The subcommand: rivals take turns beside the hog, round after round. */
#include "pressure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "compare.h"
#include "report.h"

enum { EXIT_FAILED = 1, TIME_LIMIT_S = 600, CURVE_POINTS = 1500 };

#define MIB      (UINT64_C(1) << 20)
#define GIB      (UINT64_C(1) << 30)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What the policy promises. */
#define EVENT_MOST_S 1.0
#define STALL_MOST_S 5.0
#define WHOLE_MOST_S 30.0

struct pressure_options {
    struct bench_common common;
    uint64_t total_bytes, rate_bytes, backlog_bytes, chunk_bytes, limit_bytes, memory_bytes,
        hog_bytes;
    uint64_t hog_on_s, hog_off_s, calm_s;
    const char *rivals;
};

#define OPTION(name) offsetof(struct pressure_options, name)

static const struct arg pressure_args[] = {
    {"total", "BYTES", ARG_BYTES, OPTION(total_bytes), "6GiB", "passed through in all"},
    {"rate", "BYTES", ARG_BYTES, OPTION(rate_bytes), "300MiB",
     "a second, that are produced at most"},
    {"backlog", "BYTES", ARG_BYTES, OPTION(backlog_bytes), "1GiB",
     "stand between producer and consumer meanwhile"},
    {"chunk", "BYTES", ARG_BYTES, OPTION(chunk_bytes), "256KiB", "each of the pieces"},
    {"limit", "BYTES", ARG_BYTES, OPTION(limit_bytes), "512MiB",
     "the limit of the memory cgroup that each run has for itself and its hog"},
    {"memory", "BYTES", ARG_BYTES, OPTION(memory_bytes), "384MiB", "the budget of the pool"},
    {"hog", "BYTES", ARG_BYTES, OPTION(hog_bytes), "400MiB", "what the hog takes"},
    {"hog-on", "SECONDS", ARG_COUNT, OPTION(hog_on_s), "15", "how long it holds that"},
    {"hog-off", "SECONDS", ARG_COUNT, OPTION(hog_off_s), "3", "how long it holds nothing"},
    {"calm", "SECONDS", ARG_COUNT, OPTION(calm_s), "40",
     "after the work, without the hog: how long the budget may take to be whole"},
    {"rivals", "LIST", ARG_TEXT, OPTION(rivals), "all",
     "with commas between: pressure, fixed, swap"},
    {.name = NULL},
};

/* The rounds of one rival. */
struct outcome {
    bool wanted, left;
    unsigned killed;
    struct series wall, rate, rss, swapped, cpu;
    struct measure *measure; /* of the last round */
    struct pressure_record *record;
};

struct bench {
    struct pressure_plan plan;
    struct outcome outcomes[RIVAL_COUNT];
    struct pressure_verdict worst, last; /* of all rounds, and of the last one */
    bool judged;
};

static bool is_wanted(const char *list, const char *name)
{
    size_t len = strlen(name);

    if (strcmp(list, "all") == 0)
        return true;
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return false;
}

static int check(const struct pressure_options *options)
{
    size_t known = 0, words = 1;

    for (const char *at = options->rivals; *at; at++)
        words += *at == ',';
    for (int i = 0; i < RIVAL_COUNT; i++)
        known += is_wanted(options->rivals, rival_name((enum rival)i));
    if (strcmp(options->rivals, "all") != 0 && known != words)
        return args_refuse("rivals", options->rivals, "all, or some of pressure, fixed, swap");
    if (options->backlog_bytes > 4 * GIB)
        return args_refuse_number("backlog", options->backlog_bytes, "at most 4GiB");
    if (options->limit_bytes > 8 * GIB || options->hog_bytes > options->limit_bytes)
        return args_refuse_number("hog", options->hog_bytes, "at most the limit, and that 8GiB");
    if (options->memory_bytes > options->limit_bytes)
        return args_refuse_number("memory", options->memory_bytes, "at most the limit");
    if (options->total_bytes < options->backlog_bytes ||
        options->backlog_bytes < options->chunk_bytes)
        return args_refuse_number("total", options->total_bytes,
                                  "at least the backlog, and that a chunk");
    return 0;
}

/* ---- rounds ---- */

static double highest(double a, double b)
{
    return a > b || b < 0 ? a : b;
}

static void judge(struct bench *bench, const struct pressure_record *record)
{
    struct pressure_verdict now = pressure_judge(&bench->plan, record);
    struct pressure_verdict *worst = &bench->worst;

    bench->last = now;
    if (!bench->judged) {
        *worst = now;
        bench->judged = true;
        return;
    }
    worst->lowered = now.lowered < worst->lowered ? now.lowered : worst->lowered;
    if (now.event_s > worst->event_s)
        worst->gap_s = now.gap_s;
    worst->event_s = highest(worst->event_s, now.event_s);
    worst->stall_s = highest(worst->stall_s, now.stall_s);
    worst->whole_s = now.whole_s < 0 ? now.whole_s : highest(worst->whole_s, now.whole_s);
    worst->resident_share = highest(worst->resident_share, now.resident_share);
    worst->turns = now.turns > worst->turns ? now.turns : worst->turns;
}

static void note_run(struct bench *bench, enum rival rival, struct measure *measure,
                     struct pressure_record *record)
{
    struct outcome *outcome = &bench->outcomes[rival];
    uint64_t rss = 0, swapped = 0;

    for (unsigned i = 0; i < record->moment_count; i++) {
        const struct moment *moment = &record->moments[i];

        rss = moment->rss_bytes > rss ? moment->rss_bytes : rss;
        swapped = moment->swapped_bytes > swapped ? moment->swapped_bytes : swapped;
    }
    series_add(&outcome->wall, measure->wall_s);
    series_add(&outcome->rate, (double)measure->bytes / measure->wall_s);
    series_add(&outcome->cpu, measure->user_s + measure->sys_s);
    series_add(&outcome->rss, (double)rss);
    series_add(&outcome->swapped, (double)swapped);
    if (rival == RIVAL_POLICY)
        judge(bench, record);
    child_release(outcome->measure);
    pressure_release(outcome->record);
    outcome->measure = measure;
    outcome->record = record;
}

static int run_one(struct bench *bench, enum rival rival, struct report *report)
{
    struct pressure_record *record;
    struct measure *measure = pressure_run(rival, &bench->plan, &record);
    const char *name = rival_name(rival);
    int code = 0;

    if (!measure)
        return EXIT_FAILED;
    if (measure->error == 0) {
        note_run(bench, rival, measure, record);
        return 0;
    }
    bench->outcomes[rival].left = true;
    bench->outcomes[rival].killed += strstr(measure->why, ": killed ") != NULL;
    if (measure->error == -EOPNOTSUPP || measure->error == -EPERM) {
        report_note(report, "%s: skipped: %s.", name, measure->why);
    } else {
        report_note(report, "%s: failed after %llu MiB: %s.", name,
                    (unsigned long long)(measure->drained_bytes / MIB), measure->why);
        fprintf(stderr, "spillbench: %s: %s\n", name, measure->why);
        code = EXIT_FAILED;
    }
    child_release(measure);
    pressure_release(record);
    return code;
}

static int run_rounds(struct bench *bench, unsigned rounds, struct report *report)
{
    int code = 0;

    for (unsigned round = 0; round < rounds; round++) {
        for (int i = 0; i < RIVAL_COUNT; i++) {
            int failed;

            if (!bench->outcomes[i].wanted || bench->outcomes[i].left)
                continue;
            progress("pressure: round %u of %u: %s", round + 1, rounds, rival_name((enum rival)i));
            failed = run_one(bench, (enum rival)i, report);
            code = failed ? failed : code;
        }
    }
    return code;
}

/* ---- what is told ---- */

static void run_rows(const struct bench *bench, struct report *report)
{
    static const char *const columns[] = {"rival", "wall", "rate", "cpu", "rss_peak", "swap_peak"};
    static const enum unit units[] = {UNIT_TEXT,    UNIT_SECONDS, UNIT_RATE,
                                      UNIT_SECONDS, UNIT_BYTES,   UNIT_BYTES};
    struct table *table = report_table(report, "pressure", "Work beside a hog, medians",
                                       COUNT(columns), columns, units);

    for (int i = 0; i < RIVAL_COUNT; i++) {
        const struct outcome *outcome = &bench->outcomes[i];

        if (!outcome->measure)
            continue;
        row_begin(table);
        cell_text(table, "%s", rival_name((enum rival)i));
        cell_series(table, &outcome->wall);
        cell_series(table, &outcome->rate);
        cell_number(table, series_median(&outcome->cpu));
        cell_number(table, series_median(&outcome->rss));
        cell_number(table, series_median(&outcome->swapped));
        if (i == RIVAL_POLICY)
            row_remark(table, "word of pressure: %s", outcome->record->source);
    }
}

/* One promise: at most so much. */
static void check_row(struct table *table, const char *what, double most, double reached)
{
    row_begin(table);
    cell_text(table, "%s", what);
    cell_number(table, most);
    if (reached < 0)
        cell_none(table);
    else
        cell_number(table, reached);
    cell_text(table, "%s", reached >= 0 && reached <= most ? "pass" : "short");
}

static void check_rows(const struct bench *bench, struct report *report)
{
    static const char *const columns[] = {"check", "at_most", "reached", "result"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_SECONDS, UNIT_SECONDS, UNIT_TEXT};
    const struct pressure_verdict *worst = &bench->worst;
    struct table *table;

    if (!bench->judged)
        return;
    table = report_table(report, "promises", "What the policy promises, the worst of all rounds",
                         COUNT(columns), columns, units);
    check_row(table, "from the event until the use fits", EVENT_MOST_S, worst->event_s);
    if (worst->event_s > EVENT_MOST_S)
        row_remark(table,
                   "a thread of this process that has next to nothing to do was stopped for "
                   "%.0f ms at a time meanwhile",
                   worst->gap_s * 1000);
    check_row(table, "from the stall until the use fits", STALL_MOST_S, worst->stall_s);
    check_row(table, "from calm until the budget is whole", WHOLE_MOST_S, worst->whole_s);
    report_note(report,
                "The budget was lowered %u times or more in each round and changed its direction "
                "%u times at most; under pressure the process came down to %.0f %% of the memory "
                "that it held before.",
                worst->lowered, worst->turns, worst->resident_share * 100);
}

/* Whoever was killed has not finished sooner than anybody. */
static void ratio_row(const struct bench *bench, enum rival rival, struct table *table)
{
    const struct outcome *outcome = &bench->outcomes[rival];
    const struct outcome *policy = &bench->outcomes[RIVAL_POLICY];
    struct series ratio = {0};
    bool sooner = policy->measure && (rival == RIVAL_POLICY || outcome->killed > 0);

    row_begin(table);
    cell_text(table, "%s", rival_name(rival));
    if (outcome->measure && policy->measure) {
        series_ratio(&outcome->wall, &policy->wall, &ratio);
        cell_series(table, &ratio);
        sooner = sooner || series_median(&ratio) > 1;
    } else {
        cell_none(table);
    }
    cell_number(table, outcome->killed);
    if (rival == RIVAL_POLICY)
        cell_text(table, "%s: never killed", outcome->killed == 0 && sooner ? "pass" : "short");
    else
        cell_text(table, "%s: the policy is done sooner", sooner ? "pass" : "short");
}

static void ratio_rows(const struct bench *bench, struct report *report)
{
    static const char *const columns[] = {"rival", "wall", "killed", "result"};
    static const enum unit units[] = {UNIT_TEXT, UNIT_RATIO, UNIT_COUNT, UNIT_TEXT};
    struct table *table;

    if (!bench->outcomes[RIVAL_POLICY].measure && bench->outcomes[RIVAL_POLICY].killed == 0)
        return;
    table = report_table(report, "ratios", "Times as long as with the policy", COUNT(columns),
                         columns, units);
    for (int i = 0; i < RIVAL_COUNT; i++) {
        if (bench->outcomes[i].measure || bench->outcomes[i].killed > 0)
            ratio_row(bench, (enum rival)i, table);
    }
}

static void decision_rows(const struct pressure_record *record, struct report *report)
{
    static const char *const columns[] = {"at", "action", "before", "budget", "reason"};
    static const enum unit units[] = {UNIT_SECONDS, UNIT_TEXT, UNIT_BYTES, UNIT_BYTES, UNIT_TEXT};
    struct table *table = report_table(report, "decisions", "What the policy decided, last round",
                                       COUNT(columns), columns, units);

    for (unsigned i = 0; i < record->decision_count; i++) {
        const struct pressure_decision *decision = &record->decisions[i];

        row_begin(table);
        cell_number(table, decision->at_s);
        cell_text(table, "%s", decision->action);
        cell_number(table, (double)decision->before_bytes);
        cell_number(table, (double)decision->budget_bytes);
        cell_text(table, "%s", decision->reason);
    }
}

/* What took the time of each answer. */
static void answer_rows(const struct pressure_verdict *verdict, struct report *report)
{
    static const char *const columns[] = {"event", "decided", "fits", "longest_stop"};
    static const enum unit units[] = {UNIT_SECONDS, UNIT_SECONDS, UNIT_SECONDS, UNIT_SECONDS};
    struct table *table =
        report_table(report, "answers",
                     "Word of pressure; the decision and when the use fitted, after that; and how "
                     "long the process was stopped at a time meanwhile; last round",
                     COUNT(columns), columns, units);

    for (unsigned i = 0; i < verdict->answer_count; i++) {
        const struct pressure_answer *answer = &verdict->answers[i];

        row_begin(table);
        cell_number(table, answer->event_s);
        cell_number(table, answer->decided_s - answer->event_s);
        if (answer->fits_s < 0)
            cell_none(table);
        else
            cell_number(table, answer->fits_s - answer->event_s);
        cell_number(table, answer->gap_s);
    }
}

/* The share of the last seconds in which some task waited, in percent. */
static double waited_share(const struct pressure_record *record, unsigned at)
{
    const struct moment *now = &record->moments[at];
    unsigned from = at;

    while (from > 0 && now->at_s - record->moments[from].at_s < 4)
        from--;
    if (now->at_s <= record->moments[from].at_s)
        return 0;
    return (double)(now->waited_us - record->moments[from].waited_us) / 1e4 /
           (now->at_s - record->moments[from].at_s);
}

static void draw(const struct bench *bench, enum rival rival, struct report *report)
{
    const struct pressure_record *record = bench->outcomes[rival].record;
    char name[32], title[96];

    if (!record || record->moment_count == 0)
        return;
    snprintf(name, sizeof name, "pressure_%s", rival_name(rival));
    snprintf(title, sizeof title, "%s: %s", rival_name(rival), rival_text(rival));
    struct plot *plot =
        report_plot(report, name, title, "seconds", "MiB; % of the time", false, false);
    struct curve *rss = plot_curve(plot, "resident"), *hog = plot_curve(plot, "hog");
    struct curve *waited = plot_curve(plot, "tasks waited for memory, %");
    struct curve *budget = rival == RIVAL_SWAP ? NULL : plot_curve(plot, "budget");
    struct curve *used = rival == RIVAL_SWAP ? NULL : plot_curve(plot, "in use");
    unsigned stride = record->moment_count / CURVE_POINTS + 1;
    for (unsigned i = 0; i < record->moment_count; i += stride) {
        const struct moment *moment = &record->moments[i];

        curve_add(rss, moment->at_s, (double)moment->rss_bytes / (double)MIB);
        curve_add(hog, moment->at_s, (double)moment->hog_bytes / (double)MIB);
        curve_add(waited, moment->at_s, waited_share(record, i));
        if (budget)
            curve_add(budget, moment->at_s, (double)moment->budget_bytes / (double)MIB);
        if (used)
            curve_add(used, moment->at_s, (double)moment->used_bytes / (double)MIB);
    }
}

static void tell(const struct bench *bench, struct report *report)
{
    run_rows(bench, report);
    check_rows(bench, report);
    ratio_rows(bench, report);
    if (bench->judged)
        answer_rows(&bench->last, report);
    if (bench->outcomes[RIVAL_POLICY].record)
        decision_rows(bench->outcomes[RIVAL_POLICY].record, report);
    for (int i = 0; i < RIVAL_COUNT; i++)
        draw(bench, (enum rival)i, report);
}

static int pressure_main(const void *context, struct report *report)
{
    const struct pressure_options *options = context;
    static struct bench bench; /* large */
    char dir[PATH_MAX];
    int code = check(options);

    if (code)
        return code;
    compare_find_dir(dir);
    bench.plan = (struct pressure_plan){
        .dir = options->common.dir ? options->common.dir : dir,
        .total_bytes = options->total_bytes,
        .backlog_bytes = options->backlog_bytes,
        .chunk_bytes = options->chunk_bytes,
        .rate_bytes = options->rate_bytes,
        .limit_bytes = options->limit_bytes,
        .memory_bytes = options->memory_bytes,
        .hog_bytes = options->hog_bytes,
        .hog_on_ms = options->hog_on_s * 1000,
        .hog_off_ms = options->hog_off_s * 1000,
        .calm_s = options->calm_s,
        .disk_bytes = options->common.disk_bytes,
        .time_limit_s = TIME_LIMIT_S,
    };
    for (int i = 0; i < RIVAL_COUNT; i++)
        bench.outcomes[i].wanted = is_wanted(options->rivals, rival_name((enum rival)i));
    code = run_rounds(&bench, (unsigned)options->common.pairs, report);
    tell(&bench, report);
    for (int i = 0; i < RIVAL_COUNT; i++) {
        child_release(bench.outcomes[i].measure);
        pressure_release(bench.outcomes[i].record);
    }
    return code;
}

const struct command pressure_command = {
    .name = "pressure",
    .help =
        "beside a hog in the same memory cgroup: the pressure policy, a budget that stays, swap",
    .text =
        "Passes bytes through a backlog in a memory cgroup in which a hog takes memory, touches "
        "all "
        "of it again and again, gives it back, and takes it again. With the pressure policy the "
        "budget of the pool goes down when tasks of the group wait for memory, and comes back when "
        "they do not; after the work the hog is gone, and the run waits until the budget is whole. "
        "fixed is the same pool without that policy, swap a plain heap; all of them have swap "
        "space, a file on the same disk. They take turns, round after round.\n"
        "\n"
        "Needs root, memory cgroups, and pressure stall information in a hierarchy of version 2, "
        "which may be mounted beside version 1 limits. What it sets up is removed, also when the "
        "program is killed. The plot shows budget, use and resident memory, the hog's memory, and "
        "in how much of the time some task waited for memory.",
    .args = pressure_args,
    .options_bytes = sizeof(struct pressure_options),
    .run = pressure_main,
};
