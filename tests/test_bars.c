/* SPDX-License-Identifier: MIT */
/* The arithmetic of spillbench's bars, and the table that they make. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/spillbench/bars_holds.h"
#include "../tools/spillbench/bars_math.h"
#include "../tools/spillbench/bars_proof.h"
#include "../tools/spillbench/bars_table.h"
#include "harness.h"

static int near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

static struct series series_of(const double *values, unsigned count)
{
    struct series series = {.count = 0};

    for (unsigned i = 0; i < count; i++)
        series_add(&series, values[i]);
    return series;
}

Test(bars, verdicts)
{
    cr_assert_eq(verdict_of(true, false), VERDICT_PASS);
    cr_assert_eq(verdict_of(true, true), VERDICT_PASS);
    cr_assert_eq(verdict_of(false, false), VERDICT_SHORT);
    cr_assert_eq(verdict_of(false, true), VERDICT_LIMITED);
    cr_assert_str_eq(verdict_name(VERDICT_PASS), "pass");
    cr_assert_str_eq(verdict_name(VERDICT_SHORT), "short");
    cr_assert_str_eq(verdict_name(VERDICT_LIMITED), "limited");
}

Test(bars, limits_include_themselves)
{
    cr_assert(at_most(1.15, 1.15));
    cr_assert(!at_most(1.1501, 1.15));
    cr_assert(at_least(0.95, 0.95));
    cr_assert(!at_least(0.9499, 0.95));
}

Test(bars, what_is_missing_reaches_nothing)
{
    cr_assert(!at_most(NAN, 1));
    cr_assert(!at_least(NAN, 1));
    cr_assert(!at_least(INFINITY, 1));
    cr_assert(!at_most(-INFINITY, 1));
}

Test(bars, floor)
{
    /* 4 GB out at 2 GB/s and back at 4 GB/s: 2 s and 1 s. */
    cr_assert(near(floor_s(4e9, 2e9, 4e9), 3));
    cr_assert(!isfinite(floor_s(4e9, 0, 4e9)), "no rate, no floor");
}

Test(bars, floors_of_rounds)
{
    struct series write = series_of((const double[]){1e9, 2e9, 4e9}, 3);
    struct series read = series_of((const double[]){1e9, 4e9}, 2);
    struct series out;

    series_floor(2e9, &write, &read, &out);
    cr_assert_eq(out.count, 2, "a round without both rates has no floor");
    cr_assert(near(out.values[0], 4));
    cr_assert(near(out.values[1], 1.5));
}

Test(bars, net)
{
    struct series gross = series_of((const double[]){3, 5, 1}, 3);
    struct series null = series_of((const double[]){1, 2, 2, 9}, 4);
    struct series out;

    cr_assert(near(net(3, 1), 2));
    cr_assert(near(net(1, 3), 0), "never below nothing");
    series_net(&gross, &null, &out);
    cr_assert_eq(out.count, 3);
    cr_assert(near(out.values[0], 2));
    cr_assert(near(out.values[1], 3));
    cr_assert(near(out.values[2], 0));
}

Test(bars, ratios_are_of_pairs)
{
    /* A machine that slows down for one round slows both sides: the ratio stays. */
    struct series ours = series_of((const double[]){1.1, 11, 1.1}, 3);
    struct series raw = series_of((const double[]){1, 10, 1}, 3);
    struct series out;

    series_ratio(&ours, &raw, &out);
    cr_assert(near(series_median(&out), 1.1));
    cr_assert(near(series_max(&out), 1.1));
}

Test(bars, constant_cost)
{
    cr_assert(near(constant_limit_ns(20), 35), "15 ns more");
    cr_assert(near(constant_limit_ns(30), 45));
    cr_assert(near(constant_limit_ns(100), 150), "half again");
}

Test(bars, cpu)
{
    cr_assert(near(cpu_limit_s(0.08, 0.1, 0), 0.22));
    cr_assert(near(cpu_limit_s(0.08, 0.1, 1), 0.32));
}

Test(bars, stalls)
{
    /* A thousand calls of 10 us and 100 gaps a second: one call hit, and one may be beyond. */
    cr_assert(!stalls_explain(100, 10e6, 1000, 0.999));
    cr_assert(stalls_explain(101, 10e6, 1000, 0.999));
    cr_assert(!stalls_explain(0, 10e6, 1000, 0.999));
    cr_assert(!stalls_explain(100, 1e6, 1000, 0.999), "shorter calls are hit less often");
    cr_assert(near(latency_limit_ns(400, 50000), 50400));
}

Test(bars, table_counts_and_writes_markdown)
{
    struct bars_table table = {.count = 0};
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    bars_table_add(&table, "one", "<= 1", "0.5", VERDICT_PASS, NULL);
    bars_table_add(&table, "two", ">= 1", "0.5 | 7", VERDICT_LIMITED, "a gap of 3 ms");
    bars_table_add(&table, "three", "0", "1", VERDICT_SHORT, NULL);
    cr_assert_eq(bars_table_count(&table, VERDICT_PASS), 1);
    cr_assert_eq(bars_table_count(&table, VERDICT_SHORT), 1);
    cr_assert_eq(bars_table_count(&table, VERDICT_LIMITED), 1);
    bars_table_markdown(&table, out);
    fclose(out);
    cr_assert_str_eq(text, "| what | asked | reached | |\n|---|---|---|---|\n"
                           "| one | &lt;= 1 | 0.5 | pass |\n"
                           "| two | >= 1 | 0.5 / 7 | limited: a gap of 3 ms |\n"
                           "| three | 0 | 1 | short |\n");
    free(text);
    bars_table_close(&table);
    cr_assert_eq(table.count, 0);
}

Test(bars, table_grows)
{
    struct bars_table table = {.count = 0};

    for (unsigned i = 0; i < 1000; i++)
        bars_table_add(&table, "row", "", "", VERDICT_PASS, i % 2 ? "why" : NULL);
    cr_assert_eq(bars_table_count(&table, VERDICT_PASS), 1000);
    bars_table_close(&table);
}

static FILE *text_file(char *text)
{
    return fmemopen(text, strlen(text), "r");
}

Test(bars, profile_of_perf)
{
    char text[] = "# comment\n"
                  "    31.42%  [.] XXH3_hashLong_64b_withSeed.constprop.0     -      -\n"
                  "     1.50%  [.] __memcpy_avx512_unaligned_erms  -      -\n"
                  "     0.25%  [k] rep_movs_alternative   -      -\n"
                  "     0.20%  [k] do_syscall_64\n"
                  "\n";
    char none[] = "Error:\nThe data file has no samples!\n";
    unsigned lines = 0;
    FILE *file = text_file(text);

    cr_assert(near(proof_copied_percent(file, &lines), 1.75));
    cr_assert_eq(lines, 4);
    fclose(file);
    file = text_file(none);
    cr_assert(near(proof_copied_percent(file, &lines), 0));
    cr_assert_eq(lines, 0, "a report without samples says nothing");
    fclose(file);
}

Test(bars, summary_of_strace)
{
    char text[] = "syscall              calls\n"
                  "---------------- ---------\n"
                  "munmap                  17\n"
                  "mmap                    32\n"
                  "fallocate                2\n"
                  "---------------- ---------\n"
                  "total                   51\n";
    FILE *file = text_file(text);

    cr_assert_eq(proof_calls(file, "mmap"), 32);
    rewind(file);
    cr_assert_eq(proof_calls(file, "fallocate"), 2);
    rewind(file);
    cr_assert_eq(proof_calls(file, "mremap"), 0);
    fclose(file);
}

Test(bars, instructions_of_a_hold)
{
    static char hold[] = "# callgrind format\nversion: 1\npart: 12\nthread: 1\n\n"
                         "desc: Timerange: Basic block 5 - 9\n"
                         "desc: Trigger: --dump-before=stopwatch_let_go\n\n"
                         "events: Ir\nsummary: 31\n\nfn=(1) spill\n7 12345\n"
                         "totals: 12780\n";
    static char end[] = "desc: Trigger: Program termination\ntotals: 7613765\n";
    static char cut[] = "desc: Trigger: --dump-before=stopwatch_let_go\n";
    uint64_t instructions = 0;

    FILE *file = text_file(hold);
    cr_assert(holds_read(file, &instructions));
    cr_assert_eq(instructions, 12780);
    fclose(file);
    file = text_file(end);
    cr_assert_not(holds_read(file, &instructions), "all of a program is no hold");
    fclose(file);
    file = text_file(cut);
    cr_assert_not(holds_read(file, &instructions));
    fclose(file);
}
