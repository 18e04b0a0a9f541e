/* SPDX-License-Identifier: MIT */
#include "bars_phase.h"

#include <stdio.h>

static const double near_enough = 0.95, left_behind = 1.15;

#define BARE_LOOP                                                                                  \
    "a bare io_uring loop with as large and as many requests as the pool's, which computes a "     \
    "checksum of each byte (and makes those that it writes),"

/* Whether a pool that is so much as fast as the bare loop shows with it what the machine allows: a
 * loop that is left behind shows nothing. */
static bool shows_limit(double of_bare)
{
    return at_least(of_bare, near_enough) && at_most(of_bare, left_behind);
}

void phase_row(struct bars *bars, const char *name, const char *of, const struct phase *phase)
{
    struct series ratio, of_bare, bare;
    char span[SPAN_BYTES], bare_span[SPAN_BYTES], own_span[SPAN_BYTES], what[96], why[320];

    series_ratio(&phase->rate, &phase->raw, &ratio);
    series_ratio(&phase->rate, &phase->bare, &of_bare);
    series_ratio(&phase->bare, &phase->raw, &bare);
    bool reached = at_least(series_median(&ratio), near_enough),
         machine = series_median(&bare) < near_enough && shows_limit(series_median(&of_bare));
    snprintf(what, sizeof(what), "%s alone, %s", name, of);
    snprintf(why, sizeof(why),
             BARE_LOOP " reached %s x the raw rate beside it; the pool %s x of that",
             span_text(bare_span, &bare, "%.2f"), span_text(own_span, &of_bare, "%.2f"));
    bars_row(bars, what, ">= 0.95 x raw rate", verdict_of(reached, machine),
             reached || !machine ? NULL : why, "%s x; %.2f of %.2f GB/s",
             span_text(span, &ratio, "%.2f"), series_median(&phase->rate) / 1e9,
             series_median(&phase->raw) / 1e9);
}

void floor_row(struct bars *bars, const char *of, const struct series *wall_s,
               const struct series *floor_s, const struct series *bare_s)
{
    static const double most = 1.15;
    struct series ratio, bare;
    char span[SPAN_BYTES], bare_span[SPAN_BYTES], what[96], why[320];

    series_ratio(wall_s, floor_s, &ratio);
    series_ratio(bare_s, floor_s, &bare);
    double median = series_median(&ratio), bare_median = series_median(&bare);
    bool reached = at_most(median, most),
         machine = bare_median > most && shows_limit(bare_median / median);
    snprintf(what, sizeof(what), "disk tier, out and back, %s", of);
    snprintf(why, sizeof(why), BARE_LOOP " needs %s x the floor, net",
             span_text(bare_span, &bare, "%.2f"));
    bars_row(bars, what, "net wall <= 1.15 x floor", verdict_of(reached, machine),
             reached || !machine ? NULL : why, "%s x; %.2f s of %.2f s",
             span_text(span, &ratio, "%.2f"), series_median(wall_s), series_median(floor_s));
}
