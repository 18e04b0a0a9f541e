/* SPDX-License-Identifier: MIT */
#include "pressure_gauge.h"

static void begin_window(struct gauge *gauge, uint64_t total_us, uint64_t now_ns)
{
    gauge->total_us = total_us;
    gauge->at_ns = now_ns;
    gauge->doubt_until_ns = 0;
}

void gauge_begin(struct gauge *gauge, uint64_t stall_us, uint64_t window_ns, uint64_t total_us,
                 uint64_t now_ns)
{
    gauge->stall_us = stall_us;
    gauge->window_ns = window_ns;
    gauge->began = false;
    begin_window(gauge, total_us, now_ns);
}

/* A total that went back is a file that somebody has replaced: the window begins anew. */
static bool went_back(struct gauge *gauge, uint64_t total_us, uint64_t now_ns)
{
    if (total_us >= gauge->total_us)
        return false;
    begin_window(gauge, total_us, now_ns);
    return true;
}

static bool count(struct gauge *gauge, uint64_t total_us, uint64_t now_ns)
{
    gauge->began = true;
    begin_window(gauge, total_us, now_ns);
    return true;
}

bool gauge_woken(struct gauge *gauge, bool woken, uint64_t total_us, uint64_t now_ns)
{
    uint64_t growth;

    if (went_back(gauge, total_us, now_ns))
        return false;
    growth = total_us - gauge->total_us;
    if (gauge->began && woken && growth == 0)
        return now_ns - gauge->at_ns < GAUGE_LAG_NS;
    if (gauge->began)
        return woken && count(gauge, total_us, now_ns);
    if (woken && gauge->doubt_until_ns == 0)
        gauge->doubt_until_ns = now_ns + GAUGE_LAG_NS;
    if (gauge->doubt_until_ns == 0)
        return false;
    if (growth > 0 && growth >= gauge->stall_us)
        return count(gauge, total_us, now_ns);
    if (now_ns >= gauge->doubt_until_ns)
        begin_window(gauge, total_us, now_ns);
    return false;
}

bool gauge_polled(struct gauge *gauge, uint64_t total_us, uint64_t now_ns)
{
    uint64_t growth, span_ns;

    if (went_back(gauge, total_us, now_ns))
        return false;
    growth = total_us - gauge->total_us;
    span_ns = now_ns - gauge->at_ns;
    if (span_ns < gauge->window_ns)
        span_ns = gauge->window_ns;
    if (growth > 0 && (unsigned __int128)growth * gauge->window_ns >=
                          (unsigned __int128)gauge->stall_us * span_ns)
        return count(gauge, total_us, now_ns);
    if (now_ns - gauge->at_ns >= gauge->window_ns)
        begin_window(gauge, total_us, now_ns);
    return false;
}

bool gauge_doubts(const struct gauge *gauge)
{
    return gauge->doubt_until_ns != 0;
}
