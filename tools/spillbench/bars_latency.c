/* SPDX-License-Identifier: MIT */
/* Bars of latency: extends while the disk is busy, and how long a lock is held. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bars.h"
#include "bars_holds.h"
#include "latency.h"

/* Chunks small enough for a tail to be seen: 65536 extends a GiB. */
static const uint64_t chunk_bytes = UINT64_C(16) << 10;
static const double share = 0.7, allowance_ns = 50000, lock_limit_ns = 20000;

static void extend_row(struct bars *bars, const struct latency_result *result)
{
    const struct latency *extend = &result->extend.watch.call;
    const struct spin *spin = &result->extend.spin;
    double control_ns = (double)latency_at(&spin->excess, 0.999);
    double reached_ns = (double)latency_at(extend, 0.999);
    double limit_ns = latency_limit_ns(control_ns, allowance_ns);
    double gaps_per_s = (double)spin->gaps / spin->seconds;
    /* Calls as long as the usual one: what makes others longer is what is to be explained. */
    double busy_ns = (double)latency_at(extend, 0.5) * (double)extend->count;
    bool machine = stalls_explain(gaps_per_s, busy_ns, (double)extend->count, 0.999);
    char asked[64], why[160];

    snprintf(asked, sizeof(asked), "p99.9 <= control's %.1f + 50 us", control_ns / 1e3);
    snprintf(why, sizeof(why),
             "a thread that only spins lost the processor for more than 50 us %.0f times a second",
             gaps_per_s);
    bars_row(bars, "extend while spilling at 70 % of the disk's rate", asked,
             verdict_of(at_most(reached_ns, limit_ns), machine),
             at_most(reached_ns, limit_ns) || !machine ? NULL : why,
             "%.1f us (p50 %.2f, p99 %.1f, max %.0f; control's max %.0f)", reached_ns / 1e3,
             (double)latency_at(extend, 0.5) / 1e3, (double)latency_at(extend, 0.99) / 1e3,
             (double)extend->max_ns / 1e3, (double)spin->excess.max_ns / 1e3);
}

/*
 * A processor of 1 GHz that runs one instruction a cycle does so many in the time a hold may take.
 * What does fewer, and calls no kernel, is not what took longer.
 */
static const uint64_t lock_limit_instructions = 20000;

/*
 * Why a hold may have taken more CPU time than it needs: its clock goes on while the kernel serves
 * interrupts, and while a host has taken the processor away. Returns whether that is so.
 */
static bool lock_excuse(struct bars *bars, double cpu_ns, double control_ns, char *why,
                        size_t why_bytes)
{
    struct holds holds;

    progress("bars: latency, instructions of a hold");
    int rc = holds_count(bars->dir, bars->budget_bytes, &holds);
    if (rc != 0) {
        snprintf(
            why, why_bytes,
            "a thread that only reads its own CPU clock saw %.1f us pass between two readings: "
            "interrupts count as its own (instructions of a hold not counted: %s)",
            control_ns / 1e3, rc == -ENOENT ? "valgrind is not installed" : "valgrind failed");
        return cpu_ns <= control_ns + lock_limit_ns;
    }
    snprintf(
        why, why_bytes,
        "the longest of %llu holds runs %llu instructions (valgrind); a thread that only reads "
        "its own CPU clock saw %.1f us pass between two readings: interrupts count as its own",
        (unsigned long long)holds.count, (unsigned long long)holds.longest, control_ns / 1e3);
    return holds.longest <= lock_limit_instructions && control_ns > lock_limit_ns;
}

static void lock_row(struct bars *bars, const struct latency_result *result)
{
    const spw_histogram *holds = &result->histograms.lock_hold_ns;
    double cpu_ns = (double)result->stats.lock_hold_cpu_peak_ns;
    uint64_t writes = result->extend.spin.cpu_gap_ns, reads = result->drain.spin.cpu_gap_ns;
    double control_ns = (double)(writes > reads ? writes : reads);
    bool reached = at_most(cpu_ns, lock_limit_ns) && spw_histogram_count(holds) > 0;
    char why[320] = "";
    bool machine = !reached && lock_excuse(bars, cpu_ns, control_ns, why, sizeof(why));

    bars_row(bars, "longest hold of a queue's lock, meanwhile", "<= 20.0 us of own CPU time",
             verdict_of(reached, machine), reached ? NULL : why,
             "%.1f us of CPU; on the clock %.1f, p99.9 %.1f us, of %llu holds", cpu_ns / 1e3,
             (double)holds->highest / 1e3, (double)spw_histogram_percentile(holds, 99.9) / 1e3,
             (unsigned long long)spw_histogram_count(holds));
}

static void run(struct bars *bars)
{
    struct latency_plan plan = {.dir = bars->dir,
                                .memory_bytes = bars->budget_bytes,
                                .total_bytes = bars->data_bytes,
                                .chunk_bytes = chunk_bytes};
    struct latency_result *result = calloc(1, sizeof(*result));
    char why[256] = "no memory";

    if (!result || !bars_rates(bars, why, sizeof(why))) {
        bars_failed(bars, "extend while spilling", "to be measured", why);
        free(result);
        return;
    }
    plan.write_rate = share * bars->write_rate;
    plan.read_rate = share * bars->read_rate;
    if (latency_run(&plan, result, why, sizeof(why))) {
        extend_row(bars, result);
    } else {
        bars_failed(bars, "extend while spilling", "to be measured", why);
    }
    plan.time_all = true;
    if (latency_run(&plan, result, why, sizeof(why)))
        lock_row(bars, result);
    else
        bars_failed(bars, "longest hold of a queue's lock", "to be measured", why);
    free(result);
}

const struct bars_group bars_latency = {"latency", run};
