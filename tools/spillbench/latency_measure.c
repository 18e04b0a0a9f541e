/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "latency.h"
#include "latency_spin.h"
#include "load.h"

enum { TIMER_SLACK_NS = 1000 };

/* The plan and where the result goes; the latter in memory shared with the parent. */
struct job {
    const struct latency_plan *plan;
    struct latency_result *result;
};

static int run_phases(const struct job *job, struct flow *flow)
{
    const struct latency_plan *plan = job->plan;
    struct latency_result *result = job->result;
    struct spin_thread thread;
    /* Extents and buffers are warm from here on. */
    int rc = flow_produce(flow, plan->total_bytes, NULL);

    if (rc == 0)
        rc = flow_consume(flow, NULL);
    result->extend.watch.rate = plan->write_rate;
    result->drain.watch.rate = plan->read_rate;
    result->extend.spin.own_cpu = result->drain.spin.own_cpu = plan->time_all;
    if (rc == 0 && (rc = spin_start(&thread, &result->extend.spin)) == 0) {
        rc = flow_produce(flow, plan->total_bytes, &result->extend.watch);
        spin_stop(&thread);
    }
    if (rc == 0 && (rc = spin_start(&thread, &result->drain.spin)) == 0) {
        rc = flow_consume(flow, &result->drain.watch);
        spin_stop(&thread);
    }
    return rc;
}

static void run_child(void *context, struct measure *measure)
{
    const struct job *job = context;
    const struct latency_plan *plan = job->plan;
    struct flow flow = {.chunk_bytes = plan->chunk_bytes, .heap = plan->heap};
    const char *const settings[] = {"memory_tier", "off", "timing", plan->time_all ? "all" : "auto",
                                    NULL};
    spw_options *options = NULL;

    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    flow.pool = load_pool(measure, plan->memory_bytes, plan->dir, &options, settings);
    if (!flow.pool)
        return;
    int rc = ends_make(&flow.ends, flow.pool, options);
    measure_begin(measure);
    if (rc == 0)
        rc = run_phases(job, &flow);
    measure_end(measure);
    job->result->histograms.size = sizeof(job->result->histograms);
    job->result->stats.size = sizeof(job->result->stats);
    if (rc == 0)
        rc = spw_pool_histograms(flow.pool, &job->result->histograms);
    if (rc == 0)
        rc = spw_pool_stats(flow.pool, &job->result->stats);
    flow_close(&flow);
    spw_pool_close(flow.pool);
    spw_options_close(options);
    if (rc != 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

bool latency_run(const struct latency_plan *plan, struct latency_result *result, char *why,
                 size_t why_bytes)
{
    struct job job = {plan, shared_open(sizeof(*result))};
    struct child_plan child = {.name = "latency", .run = run_child, .context = &job};

    return shared_run(&child, job.result, result, sizeof(*result), why, why_bytes);
}
