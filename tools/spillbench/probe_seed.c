/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ends.h"
#include "load.h"
#include "probe.h"
#include "seed_file.h"

enum { AT_ONCE = 16, ENTRY_BYTES = 64 };

struct job {
    const struct probe_plan *plan;
    unsigned rounds;
    struct series *ours, *seeds; /* in memory shared with the parent */
};

/* Own CPU time of this thread: others may take the processor meanwhile. */
static double thread_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int our_round(struct ends *ends, const spw_bytes *source, uint64_t entries, double *ns)
{
    double start_ns = thread_ns();

    for (uint64_t at = 0; at < entries; at += AT_ONCE) {
        spw_bytes made[AT_ONCE];
        for (unsigned i = 0; i < AT_ONCE; i++)
            made[i] = spw_bytes_clone(source);
        for (unsigned i = 0; i < AT_ONCE; i++)
            if (spw_writer_extend(ends->writer, &made[i], 1, 0) != 0)
                return -ENOMEM;
        if (spw_reader_drain(ends->reader, made, AT_ONCE) != AT_ONCE)
            return -EIO;
        for (unsigned i = 0; i < AT_ONCE; i++)
            spw_bytes_release(&made[i]);
    }
    *ns = (thread_ns() - start_ns) / (double)entries;
    return 0;
}

static int seed_round(struct seed_queue *queue, const struct seed_bytes *source, uint64_t entries,
                      double *ns)
{
    struct seed_bytes *out = NULL;
    size_t count = 0, capacity = 0;
    double start_ns = thread_ns();
    int rc = 0;

    for (uint64_t at = 0; rc == 0 && at < entries; at += AT_ONCE) {
        struct seed_bytes made[AT_ONCE];
        for (unsigned i = 0; i < AT_ONCE; i++)
            made[i] = seed_clone(source);
        for (unsigned i = 0; rc == 0 && i < AT_ONCE; i++)
            rc = seed_push(queue, &made[i]);
        count = 0;
        if (rc == 0)
            rc = seed_drain(queue, &out, &count, &capacity);
        for (size_t i = 0; i < count; i++)
            seed_release(&out[i]);
        if (rc == 0 && count != AT_ONCE)
            rc = -EIO;
    }
    free(out);
    *ns = (thread_ns() - start_ns) / (double)entries;
    return rc;
}

static void run_child(void *context, struct measure *measure)
{
    const struct job *job = context;
    static unsigned char payload[ENTRY_BYTES];
    struct seed_config config = {.dir = job->plan->dir}; /* no policies: ours has none either */
    struct seed_queue *queue = seed_open(&config);
    struct seed_bytes chunk;
    spw_bytes source = SPILLWAY_BYTES_NONE;
    struct ends ends = {NULL, NULL};
    double ns = 0;

    int rc = queue ? seed_chunk(ENTRY_BYTES, &chunk) : -ENOMEM;
    if (rc == 0)
        rc = spw_bytes_wrap(payload, sizeof(payload), NULL, NULL, NULL, &source);
    if (rc == 0)
        rc = ends_make(&ends, NULL, NULL);
    measure_begin(measure);
    /* The first round warms up. */
    for (unsigned round = 0; rc == 0 && round <= job->rounds; round++) {
        rc = our_round(&ends, &source, job->plan->entries, &ns);
        if (round > 0)
            series_add(job->ours, ns);
        if (rc == 0)
            rc = seed_round(queue, &chunk, job->plan->entries, &ns);
        if (round > 0)
            series_add(job->seeds, ns);
    }
    measure_end(measure);
    /* The process ends here; only what failed is worth a word. */
    if (rc != 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

int probe_seed(const struct probe_plan *plan, unsigned rounds, struct series *ours,
               struct series *seeds, char *why, size_t why_bytes)
{
    size_t bytes = 2 * sizeof(struct series);
    struct series *shared = shared_open(bytes);
    struct job job = {plan, rounds, shared, shared ? shared + 1 : NULL};
    struct child_plan child = {.name = "probe", .run = run_child, .context = &job};
    struct measure *measure = shared ? child_run(&child) : NULL;
    int rc = measure ? measure->error : -ENOMEM;

    if (rc == 0) {
        *ours = shared[0];
        *seeds = shared[1];
    } else {
        snprintf(why, why_bytes, "%s", measure ? measure->why : "no memory");
    }
    child_release(measure);
    shared_close(shared, bytes);
    return rc;
}
