/* SPDX-License-Identifier: MIT */
#include "pressure_gauge.h"

static void begin_window(struct gauge *gauge, uint64_t total_us, uint64_t now_ns)
{
    gauge->window_us = total_us;
    gauge->at_ns = now_ns;
}

void gauge_begin(struct gauge *gauge, uint64_t stall_us, uint64_t window_ns, uint64_t total_us,
                 uint64_t now_ns)
{
    gauge->stall_us = stall_us;
    gauge->window_ns = window_ns;
    gauge->event_us = total_us;
    gauge->began = false;
    begin_window(gauge, total_us, now_ns);
}

static bool is_believed(const struct gauge *gauge, uint64_t total_us)
{
    uint64_t growth = total_us - gauge->event_us;

    return growth > 0 && (gauge->began || growth >= gauge->stall_us);
}

/* A window that was read late is longer, and needs as much more. */
static bool is_reached(const struct gauge *gauge, uint64_t total_us, uint64_t span_ns)
{
    uint64_t growth = total_us - gauge->window_us;

    if (span_ns < gauge->window_ns)
        span_ns = gauge->window_ns;
    return growth > 0 && (unsigned __int128)growth * gauge->window_ns >=
                             (unsigned __int128)gauge->stall_us * span_ns;
}

bool gauge_read(struct gauge *gauge, bool woken, uint64_t total_us, uint64_t now_ns)
{
    uint64_t span_ns = now_ns - gauge->at_ns;
    bool event;

    /* Somebody has replaced the file. */
    if (total_us < gauge->window_us || total_us < gauge->event_us) {
        gauge->event_us = total_us;
        begin_window(gauge, total_us, now_ns);
        return false;
    }
    event = (woken && is_believed(gauge, total_us)) || is_reached(gauge, total_us, span_ns);
    if (event) {
        gauge->event_us = total_us;
        gauge->began = true;
    }
    if (event || span_ns >= gauge->window_ns)
        begin_window(gauge, total_us, now_ns);
    return event;
}
