/* SPDX-License-Identifier: MIT */
#include "sample.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void sampler_open(struct sampler *sampler, struct measure *measure, const struct group *group,
                  pid_t child)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/statm", (long)child);
    *sampler = (struct sampler){
        .measure = measure,
        .group = group,
        .statm_fd = open(path, O_RDONLY | O_CLOEXEC),
    };
}

void sampler_close(struct sampler *sampler)
{
    if (sampler->statm_fd >= 0)
        close(sampler->statm_fd);
    sampler->statm_fd = -1;
}

static uint64_t resident_bytes(const struct sampler *sampler)
{
    char text[128];
    unsigned long long pages = 0;
    ssize_t length =
        sampler->statm_fd < 0 ? -1 : pread(sampler->statm_fd, text, sizeof(text) - 1, 0);
    if (length <= 0)
        return 0;
    text[length] = '\0';
    if (sscanf(text, "%*s %llu", &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Every second one goes, so that the run can go on for as long again. */
static void thin_out(struct sampler *sampler)
{
    struct measure *measure = sampler->measure;
    for (unsigned i = 0; i < SAMPLES_MAX / 2; i++)
        measure->samples[i] = measure->samples[2 * i];
    measure->sample_count = SAMPLES_MAX / 2;
    sampler->stride *= 2;
}

static void note_peaks(struct sampler *sampler, const struct sample *sample)
{
    struct measure *measure = sampler->measure;
    if (sample->rss_bytes > measure->rss_peak_bytes)
        measure->rss_peak_bytes = sample->rss_bytes;
    if (sample->charge_bytes > measure->charge_peak_bytes)
        measure->charge_peak_bytes = sample->charge_bytes;
    if (!sampler->cache_known)
        sampler->cache_at_start_bytes = sample->cache_bytes;
    sampler->cache_known = true;
    if (sample->cache_bytes > sampler->cache_at_start_bytes + measure->cache_growth_bytes)
        measure->cache_growth_bytes = sample->cache_bytes - sampler->cache_at_start_bytes;
}

void sampler_take(struct sampler *sampler)
{
    struct measure *measure = sampler->measure;
    struct group_charge charge = {0};
    uint64_t begin = measure->begin_ns;
    if (begin == 0 || measure->end_ns != 0)
        return;
    if (begin != sampler->begin_ns) {
        sampler->begin_ns = begin;
        sampler->stride = 1;
        sampler->taken = 0;
        sampler->cache_known = false;
    }
    struct sample sample = {
        .at_s = (double)(now_ns() - begin) / 1e9,
        .rss_bytes = resident_bytes(sampler),
        .produced_bytes = measure->produced_bytes,
        .drained_bytes = measure->drained_bytes,
    };
    if (sampler->group->version && group_read(sampler->group, &charge) == 0) {
        sample.charge_bytes = charge.memory_bytes;
        sample.cache_bytes = charge.cache_bytes;
    }
    /* The end came while we looked: what we saw may lie behind it. */
    if (measure->end_ns != 0 || measure->begin_ns != begin)
        return;
    note_peaks(sampler, &sample);
    if (sampler->taken++ % sampler->stride != 0)
        return;
    if (measure->sample_count == SAMPLES_MAX)
        thin_out(sampler);
    measure->samples[measure->sample_count++] = sample;
}
