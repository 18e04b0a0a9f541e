/* SPDX-License-Identifier: MIT */
#include "bars_math.h"

#include <math.h>

/* DESIGN: cost that may come on top of two checksum passes. */
static const double cpu_fixed_s = 0.06;

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[] = {"pass", "short", "limited"};

    return names[verdict];
}

enum verdict verdict_of(bool reached, bool machine_cannot)
{
    if (reached)
        return VERDICT_PASS;
    return machine_cannot ? VERDICT_LIMITED : VERDICT_SHORT;
}

bool at_most(double reached, double asked)
{
    return isfinite(reached) && reached <= asked;
}

bool at_least(double reached, double asked)
{
    return isfinite(reached) && reached >= asked;
}

double floor_s(double bytes, double write_rate, double read_rate)
{
    return bytes / write_rate + bytes / read_rate;
}

double net(double gross, double null)
{
    return gross > null ? gross - null : 0;
}

static unsigned fewer(const struct series *a, const struct series *b)
{
    return a->count < b->count ? a->count : b->count;
}

void series_net(const struct series *gross, const struct series *null, struct series *out)
{
    unsigned count = fewer(gross, null);

    out->count = 0;
    for (unsigned i = 0; i < count; i++)
        series_add(out, net(gross->values[i], null->values[i]));
}

void series_floor(double bytes, const struct series *write_rate, const struct series *read_rate,
                  struct series *out)
{
    unsigned count = fewer(write_rate, read_rate);

    out->count = 0;
    for (unsigned i = 0; i < count; i++)
        series_add(out, floor_s(bytes, write_rate->values[i], read_rate->values[i]));
}

double constant_limit_ns(double at_smallest_ns)
{
    double half = 1.5 * at_smallest_ns, more = at_smallest_ns + 15;

    return half > more ? half : more;
}

double cpu_limit_s(double checksum_s, double copy_s, unsigned copies)
{
    return cpu_fixed_s + 2 * checksum_s + copies * copy_s;
}

double latency_limit_ns(double control_ns, double allowance_ns)
{
    return control_ns + allowance_ns;
}

bool stalls_explain(double gaps_per_s, double busy_ns, double count, double share)
{
    /* Calls that a gap is expected to hit, against those that may be beyond the share. */
    double hit = gaps_per_s * busy_ns / 1e9;

    return hit > (1 - share) * count;
}

double gigabytes(double bytes)
{
    return bytes / 1e9;
}
