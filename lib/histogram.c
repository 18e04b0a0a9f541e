/* SPDX-License-Identifier: MIT */
#include "histogram.h"

static uint64_t bucket_lowest(unsigned bucket)
{
    if (bucket < 4)
        return bucket;
    return (uint64_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

static void histogram_copy(const struct histogram *histogram, spw_histogram *out)
{
    for (unsigned i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS; i++)
        out->counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    out->highest = atomic_load_explicit(&histogram->highest, memory_order_relaxed);
}

#define HISTOGRAM_COPY(name, help) histogram_copy(&histograms->name, &out->name);

void histograms_copy(const struct histograms *histograms,
                     spw_histograms *out){SPILLWAY_HISTOGRAMS_TABLE(HISTOGRAM_COPY)}

uint64_t spw_histogram_bound(unsigned bucket)
{
    return bucket < SPILLWAY_HISTOGRAM_BUCKETS - 1 ? bucket_lowest(bucket + 1) - 1 : UINT64_MAX;
}

uint64_t spw_histogram_count(const spw_histogram *histogram)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS; i++)
        count += histogram->counts[i];
    return count;
}

uint64_t spw_histogram_percentile(const spw_histogram *histogram, double percent)
{
    uint64_t count = spw_histogram_count(histogram), seen = 0;
    double wanted = (double)count * percent / 100;
    unsigned last = 0;
    for (unsigned i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] == 0)
            continue;
        last = i;
        seen += histogram->counts[i];
        if ((double)seen >= wanted)
            break;
    }
    if (count == 0)
        return 0;
    /* A value is counted before it becomes the highest, so that one may lag behind. */
    uint64_t bound = spw_histogram_bound(last), lowest = bucket_lowest(last);
    if (histogram->highest >= lowest && histogram->highest < bound)
        return histogram->highest;
    return bound == UINT64_MAX ? lowest : bound;
}
