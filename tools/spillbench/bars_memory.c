/* SPDX-License-Identifier: MIT */
/* The bar of memory: what the kernel charges, for data a hundred times the budget. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bars.h"
#include "cached.h"
#include "load.h"

static const uint64_t allowance_bytes = UINT64_C(16) << 20;

/*
 * No page of a scratch file may lie in the page cache afterwards, and while data moves the cache of
 * the run's cgroup may not grow by more than a thousandth of them. That much because a file system
 * keeps its maps of free space there, and charges them to who makes it look: ext4 three pages for
 * each 128 MiB it finds or seeks room in, a ten-thousandth of the file and some more on a disk
 * that others have filled.
 */
static const double cache_share = 0.001;

enum { FIGURE_CACHED, FIGURE_FILES }; /* bytes of scratch files in the cache; how many there are */

struct job {
    const struct bars *bars;
    unsigned queues;
};

static void run_child(void *context, struct measure *measure)
{
    const struct job *job = context;
    const char *const settings[] = {"memory_tier", "off", NULL};
    struct load load = {.total_bytes = 100 * job->bars->budget_bytes,
                        .chunk_bytes = 64 << 10,
                        .queues = job->queues,
                        .verify = true};
    spw_options *options;
    spw_pool *pool =
        load_pool(measure, job->bars->budget_bytes, job->bars->dir, &options, settings);

    if (!pool)
        return;
    load_run(&load, pool, options, measure);
    uint64_t cached;
    unsigned files;
    int rc = cached_bytes(&cached, &files);
    if (rc != 0)
        measure_fail(measure, rc, "cannot look into the page cache: %s", strerror(-rc));
    measure->figures[FIGURE_CACHED] = (double)cached;
    measure->figures[FIGURE_FILES] = files;
    spw_pool_close(pool);
    spw_options_close(options);
}

static void plot(struct bars *bars, unsigned queues, const struct measure *measure)
{
    char name[32], title[64];

    snprintf(name, sizeof(name), "bars_memory_%u", queues);
    snprintf(title, sizeof(title), "Memory, %u queue%s", queues, queues == 1 ? "" : "s");
    struct plot *plot = report_plot(bars->report, name, title, "seconds", "MiB", false, false);
    struct curve *charge = plot_curve(plot, "charge of the cgroup");
    struct curve *resident = plot_curve(plot, "resident set");
    struct curve *budget = plot_curve(plot, "budget + 16 MiB");
    for (unsigned i = 0; i < measure->sample_count; i++) {
        const struct sample *sample = &measure->samples[i];
        curve_add(charge, sample->at_s, (double)sample->charge_bytes / (1 << 20));
        curve_add(resident, sample->at_s, (double)sample->rss_bytes / (1 << 20));
        curve_add(budget, sample->at_s, (double)(bars->budget_bytes + allowance_bytes) / (1 << 20));
    }
}

static void memory_row(struct bars *bars, unsigned queues, const struct measure *measure)
{
    double limit = (double)(bars->budget_bytes + allowance_bytes);
    char what[96], asked[64];

    snprintf(asked, sizeof(asked), "<= %.0f MiB (budget + 16)", limit / (1 << 20));
    snprintf(what, sizeof(what), "memory at each sample, data 100 x the budget, %u queue%s", queues,
             queues == 1 ? "" : "s");
    bars_row(bars, what, asked,
             verdict_of(at_most((double)measure->charge_peak_bytes, limit) &&
                            measure->charge_peak_bytes > 0 && measure->sample_count > 0,
                        false),
             NULL, "%.1f MiB charged, %.1f MiB resident; %u samples, %.2f GB",
             (double)measure->charge_peak_bytes / (1 << 20),
             (double)measure->rss_peak_bytes / (1 << 20), measure->sample_count,
             gigabytes((double)measure->bytes));
}

static void cache_row(struct bars *bars, unsigned queues, const struct measure *measure)
{
    double grown = (double)measure->cache_growth_bytes,
           limit = cache_share * (double)measure->bytes;
    char what[96], asked[64];

    snprintf(what, sizeof(what), "page cache does not grow, %u queue%s", queues,
             queues == 1 ? "" : "s");
    snprintf(asked, sizeof(asked), "no page of scratch files; in all <= %.1f MiB",
             limit / (1 << 20));
    bars_row(bars, what, asked,
             verdict_of(measure->figures[FIGURE_FILES] > 0 &&
                            at_most(measure->figures[FIGURE_CACHED], 0) && at_most(grown, limit),
                        false),
             NULL, "%.0f pages of %.0f scratch file; %.1f MiB in all",
             measure->figures[FIGURE_CACHED] / (double)sysconf(_SC_PAGESIZE),
             measure->figures[FIGURE_FILES], grown / (1 << 20));
}

static void run(struct bars *bars)
{
    static const unsigned queues[] = {1, 64};

    for (unsigned i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        struct job job = {bars, queues[i]};
        struct child_plan child = {.name = "bars: memory",
                                   .run = run_child,
                                   .context = &job,
                                   .cgroup_needed = true,
                                   .sampled = true};
        progress("bars: memory, %u queues", queues[i]);
        struct measure *measure = child_run(&child);
        if (measure && measure->error == 0) {
            memory_row(bars, queues[i], measure);
            cache_row(bars, queues[i], measure);
            plot(bars, queues[i], measure);
        } else if (measure && (measure->error == -EPERM || measure->error == -EACCES ||
                               measure->error == -EOPNOTSUPP)) {
            bars_limited(bars, "memory at each sample", "<= budget + 16 MiB", measure->why);
        } else {
            bars_failed(bars, "memory at each sample", "<= budget + 16 MiB",
                        measure ? measure->why : "no memory");
        }
        child_release(measure);
    }
}

const struct bars_group bars_memory = {"memory", run};
