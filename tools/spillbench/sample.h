/* SPDX-License-Identifier: MIT */
/* What a running child holds, looked at from outside every few milliseconds. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_SAMPLE_H
#define SPILLWAY_TOOLS_SPILLBENCH_SAMPLE_H

#include <sys/types.h>

#include "child.h"
#include "group.h"

struct sampler {
    struct measure *measure;
    const struct group *group; /* version 0: no charge is known */
    int statm_fd;
    uint64_t begin_ns; /* of the measured part that the rest is of */
    unsigned stride;   /* one of so many samples is kept */
    uint64_t taken;
    bool cache_known;
    uint64_t cache_at_start_bytes;
};

void sampler_open(struct sampler *sampler, struct measure *measure, const struct group *group,
                  pid_t child);
void sampler_close(struct sampler *sampler);

/* One look. Counts only while the measured part runs. */
void sampler_take(struct sampler *sampler);

#endif
