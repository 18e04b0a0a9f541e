/* SPDX-License-Identifier: MIT */
#include "bars.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "commands.h"
#include "ends.h"

static const struct arg args[] = {
    {"quick", NULL, ARG_FLAG, offsetof(struct bars_options, quick), NULL,
     "little data and few rounds: shows that it works, its figures mean little"},
    {"only", "GROUPS", ARG_TEXT, offsetof(struct bars_options, only), NULL,
     "groups of bars, with commas between: disk, others, memory, crowd, tiers, latency, cost, "
     "pipe, prefetch, proof, policies; default: all"},
    {"markdown", "FILE", ARG_TEXT, offsetof(struct bars_options, markdown), NULL,
     "write the table as Markdown, with machine, date and commit"},
    {"spillpipe", "PROGRAM", ARG_TEXT, offsetof(struct bars_options, spillpipe), NULL,
     "the spillpipe to measure; default: the one beside this program"},
    {"pipe-data", "BYTES", ARG_BYTES, offsetof(struct bars_options, pipe_bytes), "4GiB",
     "how much data goes through pipes"},
    {.name = NULL},
};

/* Short ones first, so that something is to be seen; what heats the page cache last. */
static const struct bars_group *const groups[] = {
    &bars_disk,     &bars_latency, &bars_cost, &bars_tiers, &bars_memory,   &bars_crowd,
    &bars_prefetch, &bars_others,  &bars_pipe, &bars_proof, &bars_policies,
};
enum { EXIT_USAGE = 2, GROUPS = sizeof(groups) / sizeof(groups[0]) };

/* All groups together stay below ten minutes; the longest have rounds to spare. */
static const double group_most_s = 100;
enum { ROUNDS_LEAST = 3 };

bool bars_goes_on(const struct bars *bars, unsigned rounds_done)
{
    if (rounds_done >= bars->pairs)
        return false;
    return rounds_done < ROUNDS_LEAST || now_s() - bars->group_start_s < group_most_s;
}

static bool named(const char *list, const char *name)
{
    size_t bytes = strlen(name);

    for (const char *at = list; (at = strstr(at, name)); at += bytes)
        if ((at == list || at[-1] == ',') && (at[bytes] == '\0' || at[bytes] == ','))
            return true;
    return false;
}

/* Returns the first name of the list that is no group's; NULL: all are. */
static const char *unknown_name(char *list)
{
    char *rest = NULL;

    for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        unsigned i = 0;
        while (i < GROUPS && strcmp(groups[i]->name, name) != 0)
            i++;
        if (i == GROUPS)
            return name;
    }
    return NULL;
}

static bool only_is_known(const char *only)
{
    char *list = only ? strdup(only) : NULL;
    const char *unknown = list ? unknown_name(list) : NULL;

    if (unknown)
        fprintf(stderr, "spillbench: --only: there is no group '%.40s'\n", unknown);
    free(list);
    return unknown == NULL;
}

void bars_row(struct bars *bars, const char *what, const char *asked, enum verdict verdict,
              const char *why, const char *reached, ...)
{
    char text[256];
    va_list list;

    va_start(list, reached);
    vsnprintf(text, sizeof(text), reached, list);
    va_end(list);
    bars_table_add(&bars->rows, what, asked, text, verdict, why);
}

void bars_limited(struct bars *bars, const char *what, const char *asked, const char *why)
{
    bars_row(bars, what, asked, VERDICT_LIMITED, why, "not measured");
}

void bars_failed(struct bars *bars, const char *what, const char *asked, const char *why)
{
    bars->unmeasured = true;
    bars_row(bars, what, asked, VERDICT_SHORT, why, "could not be measured");
}

const char *span_text(char out[SPAN_BYTES], const struct series *series, const char *format)
{
    char median[20], least[20], most[20];

    /* The formats are those of the callers, for one double. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(median, sizeof(median), format, series_median(series));
    snprintf(least, sizeof(least), format, series_min(series));
    snprintf(most, sizeof(most), format, series_max(series));
#pragma GCC diagnostic pop
    snprintf(out, SPAN_BYTES, "%s (%s-%s)", median, least, most);
    return out;
}

static int write_markdown(const struct bars *bars)
{
    const char *path = bars->options->markdown;
    FILE *out = fopen(path, "w");

    if (out) {
        report_heading(bars->report, out);
        fprintf(out, "\nLoad average of the machine when it began: %.1f.\n\n", bars->load);
        bars_table_markdown(&bars->rows, out);
    }
    if (!out || fclose(out) != 0) {
        fprintf(stderr, "spillbench: cannot write '%s': %s\n", path, strerror(errno));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int run_bars(const void *context, struct report *report)
{
    const struct bars_options *options = context;
    struct bars bars = {.options = options,
                        .report = report,
                        .dir = options->common.dir,
                        .pairs = options->quick ? 2 : (unsigned)options->common.pairs,
                        .budget_bytes = options->quick ? 8 << 20 : 64 << 20,
                        .data_bytes = options->quick ? 128 << 20 : 1 << 30,
                        .phase_bytes = options->quick ? 256 << 20 : UINT64_C(3) << 29};

    int code = EXIT_SUCCESS, used = 0;
    char took[512] = "";

    if (!only_is_known(options->only))
        return EXIT_USAGE;
    if (getloadavg(&bars.load, 1) != 1)
        bars.load = 0;
    for (unsigned i = 0; i < GROUPS; i++) {
        if (options->only && !named(options->only, groups[i]->name))
            continue;
        progress("bars: %s", groups[i]->name);
        bars.group_start_s = now_s();
        groups[i]->run(&bars);
        used += snprintf(took + used, sizeof(took) - (size_t)used, "%s%s %.0f s", used ? ", " : "",
                         groups[i]->name, now_s() - bars.group_start_s);
    }
    progress_end();
    bars_table_report(&bars.rows, report);
    report_note(report, "Load average of the machine when it began: %.1f. Measuring took: %s.",
                bars.load, took);
    report_note(report, "%zu pass, %zu short, %zu limited by this machine.",
                bars_table_count(&bars.rows, VERDICT_PASS),
                bars_table_count(&bars.rows, VERDICT_SHORT),
                bars_table_count(&bars.rows, VERDICT_LIMITED));
    if (options->markdown)
        code = write_markdown(&bars);
    bars_table_close(&bars.rows);
    return bars.unmeasured ? EXIT_FAILURE : code;
}

const struct command bars_command = {
    .name = "bars",
    .help = "what is asked of the library, a row a bar: pass, short, or limited by the machine",
    .text = "Measures each bar beside its yardstick in the same run and in turns: raw device, null "
            "strategy, memcpy, other strategies, swap. Ratios are medians with least and largest "
            "value. A row ends in pass or short; or in limited, where this machine cannot reach "
            "the bar, and the next line says what was measured that shows it.\n\n"
            "Takes up to ten minutes and 8 GiB of scratch space. Exit status 0 says that all was "
            "measured, not that all bars are reached.",
    .args = args,
    .options_bytes = sizeof(struct bars_options),
    .run = run_bars,
};
