/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "pressure.h"

/* So near to the limit the kernel begins to look for what it can take. */
enum { FULL_PARTS = 32 };

/* Totals are brought up to date that often; less growth than CALM_US in that time, a quarter of
 * what is pressure, is calm. */
#define SHOWN_S 2.0
enum { CALM_US = 50000 };

#define NEVER_S 1e9

/* The first moment at or after `from_s` with a use of at most so much; negative: none. */
static double fits_at(const struct pressure_record *record, double from_s, uint64_t bytes)
{
    for (unsigned i = 0; i < record->moment_count; i++) {
        const struct moment *moment = &record->moments[i];

        if (moment->at_s >= from_s && moment->used_bytes <= bytes)
            return moment->at_s;
    }
    return -1;
}

/* When both together came near to the limit; negative: they did not. */
static double full_at(const struct pressure_plan *plan, const struct pressure_record *record,
                      double from_s, double to_s)
{
    for (unsigned i = 0; i < record->moment_count; i++) {
        const struct moment *moment = &record->moments[i];

        if (moment->at_s >= from_s && moment->at_s <= to_s &&
            moment->rss_bytes + moment->hog_bytes >=
                plan->limit_bytes - plan->limit_bytes / FULL_PARTS)
            return moment->at_s;
    }
    return -1;
}

/*
 * When the waits began that led to a decision. What the kernel shows is up to SHOWN_S old, so they
 * cannot have begun earlier than that before it showed SHOWN_S without any, nor before memory was
 * full.
 */
static double stall_begin(const struct pressure_plan *plan, const struct pressure_record *record,
                          double decided_s)
{
    const struct moment *moments = record->moments;
    double calm_s = 0, full_s;
    unsigned before = 0;

    for (unsigned i = 0; i < record->moment_count && moments[i].at_s < decided_s; i++) {
        while (moments[i].at_s - moments[before].at_s > SHOWN_S)
            before++;
        if (moments[i].waited_us - moments[before].waited_us < CALM_US)
            calm_s = moments[i].at_s;
    }
    full_s = full_at(plan, record, calm_s - SHOWN_S, decided_s);
    return full_s < 0 ? decided_s : full_s;
}

/* The kernel's last word before the decision that came of it: that may be a moment late. */
static double event_before(const struct pressure_record *record, double at_s)
{
    double found = at_s;

    for (unsigned i = 0; i < record->event_count; i++) {
        if (record->events_s[i] <= at_s && at_s - record->events_s[i] < 1)
            found = record->events_s[i];
    }
    return found;
}

static void most(double *value, double other)
{
    if (other > *value)
        *value = other;
}

/* The longest time between two moments; until `to_s`, from the last one before `from_s` on. */
static double longest_gap(const struct pressure_record *record, double from_s, double to_s)
{
    double gap_s = 0;

    for (unsigned i = 1; i < record->moment_count; i++) {
        double now_s = record->moments[i].at_s, before_s = record->moments[i - 1].at_s;

        if (now_s >= from_s && before_s <= to_s)
            most(&gap_s, now_s - before_s);
    }
    return gap_s;
}

static struct pressure_answer answer_to(const struct pressure_record *record,
                                        const struct pressure_decision *decision)
{
    struct pressure_answer answer = {.event_s = event_before(record, decision->at_s),
                                     .decided_s = decision->at_s};

    answer.fits_s = fits_at(record, decision->at_s, decision->budget_bytes);
    answer.gap_s = longest_gap(record, answer.event_s, answer.fits_s < 0 ? NEVER_S : answer.fits_s);
    return answer;
}

/* From the kernel's word until what was to go had gone. */
static void judge_events(const struct pressure_record *record, struct pressure_verdict *verdict)
{
    for (unsigned i = 0; i < record->decision_count; i++) {
        const struct pressure_decision *decision = &record->decisions[i];
        struct pressure_answer answer;
        double took_s;

        if (strcmp(decision->action, "lower") != 0)
            continue;
        verdict->lowered++;
        answer = answer_to(record, decision);
        took_s = answer.fits_s < 0 ? NEVER_S : answer.fits_s - answer.event_s;
        if (took_s > verdict->event_s) {
            verdict->event_s = took_s;
            verdict->gap_s = answer.gap_s;
        }
        if (verdict->answer_count < ANSWERS_MAX)
            verdict->answers[verdict->answer_count++] = answer;
    }
}

/* From when tasks began to wait until the first of it had gone, for each phase of the hog. */
static void judge_stalls(const struct pressure_plan *plan, const struct pressure_record *record,
                         struct pressure_verdict *verdict)
{
    for (unsigned k = 0; k < record->phase_count; k++) {
        const struct phase *phase = &record->phases[k];

        for (unsigned i = 0; i < record->decision_count; i++) {
            const struct pressure_decision *decision = &record->decisions[i];
            double fits_s;

            if (strcmp(decision->action, "lower") != 0 || decision->at_s < phase->begin_s ||
                (phase->end_s > 0 && decision->at_s > phase->end_s))
                continue;
            fits_s = fits_at(record, decision->at_s, decision->budget_bytes);
            most(&verdict->stall_s,
                 fits_s < 0 ? NEVER_S : fits_s - stall_begin(plan, record, decision->at_s));
            break;
        }
    }
}

static void judge_return(const struct pressure_record *record, struct pressure_verdict *verdict)
{
    for (unsigned i = 0; i < record->moment_count; i++) {
        const struct moment *moment = &record->moments[i];

        if (moment->at_s < record->calm_begin_s || moment->budget_bytes < record->ceiling_bytes)
            continue;
        verdict->whole_s = moment->at_s - record->calm_begin_s;
        return;
    }
}

static void judge_resident(const struct pressure_record *record, struct pressure_verdict *verdict)
{
    uint64_t most_bytes = 0, least_bytes = UINT64_MAX;
    int direction = 0;

    for (unsigned i = 1; i < record->moment_count; i++) {
        const struct moment *moment = &record->moments[i], *before = moment - 1;
        int now = (moment->budget_bytes > before->budget_bytes) -
                  (moment->budget_bytes < before->budget_bytes);

        if (verdict->lowered > 0 && moment->budget_bytes == record->ceiling_bytes &&
            moment->rss_bytes > most_bytes)
            most_bytes = moment->rss_bytes;
        if (moment->hog_bytes > 0 && moment->budget_bytes < record->ceiling_bytes &&
            moment->rss_bytes < least_bytes)
            least_bytes = moment->rss_bytes;
        if (now != 0 && direction != 0 && now != direction)
            verdict->turns++;
        if (now != 0)
            direction = now;
    }
    if (most_bytes > 0 && least_bytes < UINT64_MAX)
        verdict->resident_share = (double)least_bytes / (double)most_bytes;
}

struct pressure_verdict pressure_judge(const struct pressure_plan *plan,
                                       const struct pressure_record *record)
{
    struct pressure_verdict verdict = {
        .event_s = -1, .stall_s = -1, .whole_s = -1, .resident_share = -1};

    judge_events(record, &verdict);
    judge_stalls(plan, record, &verdict);
    judge_return(record, &verdict);
    judge_resident(record, &verdict);
    return verdict;
}
