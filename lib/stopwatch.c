/* SPDX-License-Identifier: MIT */
#include "stopwatch.h"

#include "settings.h"

void stopwatch_init(struct stopwatch *watch, const struct os *os, struct spw_account *account)
{
    bool timed = account && account->histograms && account->timing != TIMING_OFF;
    *watch = (struct stopwatch){.os = os, .account = timed ? account : NULL, .left = timed};
}

uint64_t (*stopwatch_clock(const struct stopwatch *watch))(void)
{
    return watch->account ? watch->os->clock_ns : NULL;
}

void stopwatch_start_due(struct stopwatch *watch)
{
    if (!watch->account)
        return; /* comes back when `left` has gone all the way round */
    watch->left = watch->account->timing == TIMING_ALL ? 1 : STOPWATCH_PERIOD;
    watch->start_ns = watch->os->clock_ns();
}

void stopwatch_hold(struct stopwatch *watch)
{
    watch->hold_ns = watch->os->clock_ns();
    if (watch->account->timing == TIMING_ALL)
        watch->hold_cpu_ns = watch->os->thread_cpu_ns();
}

void stopwatch_let_go(struct stopwatch *watch, struct spw_view *view)
{
    uint64_t acted_ns = view->acted_ns;
    view->acted_ns = 0;
    if (!watch->account)
        return;
    if (watch->hold_cpu_ns != 0) /* on the processor: the machine's own pauses are no part of it */
        counters_raise(&watch->account->counters->lock_hold_cpu_peak_ns,
                       watch->os->thread_cpu_ns() - watch->hold_cpu_ns);
    if (watch->start_ns == 0)
        watch->start_ns = acted_ns;
    uint64_t since_ns = watch->hold_ns != 0 ? watch->hold_ns : acted_ns;
    if (since_ns != 0)
        histogram_add(&watch->account->histograms->lock_hold_ns, watch->os->clock_ns() - since_ns);
    watch->hold_ns = watch->hold_cpu_ns = 0;
}

void stopwatch_stop(struct stopwatch *watch, struct histogram *histogram)
{
    histogram_add(histogram, watch->os->clock_ns() - watch->start_ns);
    watch->start_ns = 0;
}
