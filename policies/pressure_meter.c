/* SPDX-License-Identifier: MIT */
#include "pressure_meter.h"

enum { PERMILLE = 1000 };

/* Nothing was looked at for so long that a total says little about now: averages then do. */
#define GAP_NS UINT64_C(10000000000)

/* Share of a span that `line` grew by; -1: its file was replaced. */
static int share(const struct psi_line *from, const struct psi_line *to, uint64_t span_ns)
{
    uint64_t growth_us, permille;

    if (to->total_us < from->total_us)
        return -1;
    if (span_ns > GAP_NS)
        return (int)(to->avg10 / (PSI_WHOLE / PERMILLE));
    growth_us = to->total_us - from->total_us;
    if (growth_us > span_ns / 1000)
        return PERMILLE;
    permille = growth_us * PERMILLE * 1000 / span_ns;
    return (int)permille;
}

static uint64_t growth(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}

static uint64_t kills(const struct memory_events *events)
{
    return events->oom + events->oom_kill;
}

static uint64_t limits(const struct memory_events *events)
{
    return events->high + events->max;
}

struct pressure_measured pressure_measure(struct pressure_meter *meter,
                                          const struct pressure_reading *reading)
{
    struct pressure_measured measured = {.span_ns = 0};
    const struct pressure_reading *from = &meter->from;
    uint64_t span_ns = growth(from->now_ns, reading->now_ns);

    if (meter->has_events && reading->has_events)
        measured.kills = growth(kills(&meter->events), kills(&reading->events));
    meter->has_events = reading->has_events;
    meter->events = reading->events;
    if (!meter->begun || from->generation != reading->generation ||
        from->has_memory != reading->has_memory) {
        meter->begun = true;
        meter->from = *reading;
        return measured;
    }
    if (span_ns < PRESSURE_SPAN_NS)
        return measured;
    measured.span_ns = span_ns;
    if (from->has_memory) {
        int some = share(&from->memory.some, &reading->memory.some, span_ns);

        measured.has_memory = some >= 0;
        measured.memory_permille = some > 0 ? (unsigned)some : 0;
    }
    if (from->has_io && reading->has_io) {
        int some = share(&from->io.some, &reading->io.some, span_ns);

        measured.has_io = some >= 0;
        measured.io_permille = some > 0 ? (unsigned)some : 0;
    }
    if (from->has_events && reading->has_events)
        measured.limits_hit = growth(limits(&from->events), limits(&reading->events));
    meter->from = *reading;
    return measured;
}
