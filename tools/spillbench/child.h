/* SPDX-License-Identifier: MIT */
/*
 * One measured run, in a process of its own: so that its peak memory, its CPU
 * time and its cgroup are its own, and a contender that is killed ends nobody else.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_CHILD_H
#define SPILLWAY_TOOLS_SPILLBENCH_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "series.h"

enum { SAMPLES_MAX = 16384 }; /* every 10 ms: 160 s; longer runs halve the rate, and go on */

/* What the process held at one moment. */
struct sample {
    double at_s;           /* since the start of the measured part; all samples lie in it */
    uint64_t rss_bytes;    /* resident set */
    uint64_t charge_bytes; /* anonymous + shmem charge of the run's own memory cgroup; 0: none */
    uint64_t cache_bytes;  /* page cache charge of the same */
    uint64_t produced_bytes, drained_bytes; /* of measure->progress at that moment */
};

/* What a run says of itself; lies in memory shared with the parent. */
struct measure {
    double wall_s, produce_s, drain_s; /* of the measured part; phases 0 where there are none */
    double user_s, sys_s;              /* CPU of all its threads in the measured part */
    uint64_t bytes;                    /* payload produced */
    uint64_t faults_minor, faults_major;
    uint64_t rss_peak_bytes;    /* highest sample */
    uint64_t charge_peak_bytes; /* highest sample, 0 without a cgroup of its own */
    uint64_t cache_growth_bytes;
    struct latency extend, drain; /* of each call; empty where it was not asked for */
    struct latency control;       /* gaps that a spinning thread saw meanwhile, likewise */
    double figures[16];           /* the contender's own; it says what they mean */
    _Atomic uint64_t produced_bytes, drained_bytes; /* progress, read by the sampler */
    unsigned sample_count;
    struct sample samples[SAMPLES_MAX];
    _Atomic uint64_t begin_ns, end_ns; /* of the measured part, by now_ns(); 0: not yet */
    char said[512];                    /* the library's first warnings, a line each */
    int error;                         /* 0, or -errno of what failed */
    char why[256];                     /* in words, when error is set */
};

/* How to run it. */
struct child_plan {
    const char *name;                                    /* in messages */
    void (*run)(void *context, struct measure *measure); /* in the child */
    void *context;
    uint64_t limit_bytes;  /* limit of a memory cgroup of its own; 0: a cgroup without one */
    bool cgroup_needed;    /* without root or cgroups the run fails, instead of going on without */
    bool sampled;          /* the parent samples every 10 ms while it waits */
    unsigned time_limit_s; /* after that it is killed and the run has failed; 0: 600 */
};

/*
 * Runs it in a forked child. The caller must have one thread. Returns the measure, to be given back
 * with child_release(); NULL only without memory. A run that failed, was killed or did not end has
 * `error` set and says why (killed by the OOM killer included).
 */
struct measure *child_run(const struct child_plan *plan);
void child_release(struct measure *measure);

/* In the child: around the part that counts. They set wall, CPU, faults; samples lie between them.
 * What an earlier pair has set, of a warm-up, is forgotten. */
void measure_begin(struct measure *measure);
void measure_end(struct measure *measure);

/* In the child: fails the run with a reason, printf-like. Then return from run(). */
void measure_fail(struct measure *measure, int err, const char *why, ...)
    __attribute__((format(printf, 3, 4)));

/* Seconds of a monotonic clock; CPU seconds of the process. */
double now_s(void);
double cpu_s(void);
uint64_t now_ns(void);

#endif
