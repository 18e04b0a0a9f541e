/* SPDX-License-Identifier: MIT */
/* What spillbench pressure makes of what a run has shown. */
#include <stdlib.h>
#include <string.h>

#include "../tools/spillbench/pressure.h"
#include "harness.h"

#define MIB (UINT64_C(1) << 20)

static const struct pressure_plan plan = {.limit_bytes = 512 * MIB};

/* 60 s, a moment every 20 ms: a hog from 10 to 30 s, memory full from 11 s on, waits from 12 s on,
 * the budget lowered at 14 s, in use until `fits_s`; back from 40 s on. */
static struct pressure_record *record_make(double fits_s)
{
    struct pressure_record *record = calloc(1, sizeof *record);
    cr_assert_not_null(record);
    record->ceiling_bytes = 384 * MIB;
    record->calm_begin_s = 30;
    record->phase_count = 1;
    record->phases[0] = (struct phase){10, 30};
    record->decision_count = 3;
    record->decisions[0] = (struct pressure_decision){0, 384 * MIB, 384 * MIB, "watch", ""};
    record->decisions[1] = (struct pressure_decision){14, 384 * MIB, 256 * MIB, "lower", ""};
    record->decisions[2] = (struct pressure_decision){40, 256 * MIB, 384 * MIB, "whole", ""};
    record->event_count = 1;
    record->events_s[0] = 13.75;
    for (unsigned i = 0; i < 3000; i++) {
        struct moment *moment = &record->moments[record->moment_count++];
        double at_s = i * 0.02;
        bool lowered = at_s >= 14 && at_s < 40;
        moment->at_s = at_s;
        moment->budget_bytes = (lowered ? 256 : 384) * MIB;
        moment->used_bytes = (at_s < fits_s ? 380 : 200) * MIB;
        moment->rss_bytes = moment->used_bytes;
        moment->hog_bytes = at_s < 10 || at_s >= 30 ? 0 : at_s < 11 ? 64 * MIB : 320 * MIB;
        if (at_s >= 12 && at_s < 20)
            moment->waited_us = (uint64_t)((at_s - 12) * 300000);
        else
            moment->waited_us = at_s < 12 ? 0 : 2400000;
    }
    return record;
}

static void near(double value, double wanted)
{
    cr_assert(value > wanted - 0.05 && value < wanted + 0.05, "%g instead of %g", value, wanted);
}

Test(bench_pressure, times_are_from_the_kernels_word)
{
    struct pressure_record *record = record_make(14.5);
    struct pressure_verdict verdict = pressure_judge(&plan, record);
    cr_assert_eq(verdict.lowered, 1);
    near(verdict.event_s, 0.75);
    /* what was shown as calm at 12 s is up to 2 s old, but memory was not full before 11 s */
    near(verdict.stall_s, 3.5);
    near(verdict.whole_s, 10);
    near(verdict.resident_share, 200.0 / 380);
    cr_assert_eq(verdict.turns, 1);
    cr_assert_eq(verdict.answer_count, 1);
    near(verdict.answers[0].event_s, 13.75);
    near(verdict.answers[0].decided_s, 14);
    near(verdict.answers[0].fits_s, 14.5);
    near(verdict.gap_s, 0.02);
    free(record);
}

/* From the last time that anything was seen before the word of it. */
Test(bench_pressure, how_long_it_was_stopped_is_told)
{
    struct pressure_record *record = record_make(14.5);
    unsigned kept = 0;
    for (unsigned i = 0; i < record->moment_count; i++) {
        double at_s = record->moments[i].at_s;
        if (at_s < 14.05 || at_s > 14.35)
            record->moments[kept++] = record->moments[i];
    }
    record->moment_count = kept;
    near(pressure_judge(&plan, record).gap_s, 0.32);
    free(record);
}

Test(bench_pressure, use_that_never_fits_is_late)
{
    struct pressure_record *record = record_make(1000);
    struct pressure_verdict verdict = pressure_judge(&plan, record);
    cr_assert_gt(verdict.event_s, 1000);
    cr_assert_gt(verdict.stall_s, 1000);
    cr_assert_lt(verdict.answers[0].fits_s, 0);
    free(record);
}

Test(bench_pressure, what_did_not_happen_is_not_judged)
{
    struct pressure_record *record = record_make(14.5);
    record->decision_count = 1;
    for (unsigned i = 0; i < record->moment_count; i++)
        record->moments[i].budget_bytes = 256 * MIB;
    struct pressure_verdict verdict = pressure_judge(&plan, record);
    cr_assert_eq(verdict.lowered, 0);
    cr_assert_lt(verdict.event_s, 0);
    cr_assert_lt(verdict.stall_s, 0);
    cr_assert_lt(verdict.whole_s, 0);
    cr_assert_lt(verdict.resident_share, 0);
    cr_assert_eq(verdict.turns, 0);
    record->moment_count = 0;
    (void)pressure_judge(&plan, record);
    free(record);
}
