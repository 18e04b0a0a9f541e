/* SPDX-License-Identifier: MIT */
#include "pace.h"

/* Less says little about a rate. */
#define WINDOW_MIN_NS UINT64_C(10000000)

/* What was seen last makes up half of the rate after so long. */
#define FADE_S 10.0

void pace_look(struct pace *pace, uint64_t position, uint64_t window_ns, uint64_t now_ns)
{
    uint64_t least_ns = window_ns > WINDOW_MIN_NS ? window_ns : WINDOW_MIN_NS;
    uint64_t passed_ns = now_ns > pace->since_ns ? now_ns - pace->since_ns : 0;
    if (pace->since_ns != 0 && passed_ns < least_ns)
        return;
    if (pace->since_ns != 0) {
        double passed_s = (double)passed_ns / 1e9;
        double seen = (double)(position - pace->position) / passed_s;
        double weight = seen > pace->rate ? 1 : passed_s / (passed_s + FADE_S);
        pace->rate += (seen - pace->rate) * weight;
    }
    pace->position = position;
    pace->since_ns = now_ns > 0 ? now_ns : 1;
}

uint64_t pace_bytes(const struct pace *pace, uint64_t ns)
{
    double bytes = pace->rate * ((double)ns / 1e9);
    return bytes < (double)(UINT64_MAX / 2) ? (uint64_t)bytes : UINT64_MAX / 2;
}
