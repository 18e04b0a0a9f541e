/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ends.h"
#include "load.h"
#include "tiers.h"

/* What all entries are slices of; more than a processor's caches near it hold. */
static const uint64_t source_bytes = UINT64_C(64) << 20;
static const uint64_t budget_bytes = UINT64_C(64) << 20;
static const uint64_t wait_most_ns = UINT64_C(60000000000);

/* Asks for the next run while one is consumed, and times each fetch. */
struct timed_fetch {
    spw_policy policy;       /* first */
    struct latency *latency; /* NULL: not now */
};

static void timed_fetch_apply(spw_policy *policy, spw_view *view)
{
    struct timed_fetch *timed = (struct timed_fetch *)policy;
    spw_cursor cursor = spw_view_head(view);
    unsigned flags = SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_HEAD;

    if (spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_HANDLE)
        return;
    uint64_t start_ns = now_ns();
    long got = spw_view_fetch(view, &cursor, flags);
    if (got >= 0 && timed->latency)
        latency_add(timed->latency, now_ns() - start_ns);
    if (got == -EAGAIN)
        (void)spw_view_prefetch(view, &cursor, flags);
    else if (got >= 0 && spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_HANDLE)
        (void)spw_view_prefetch(view, &cursor, SPILLWAY_FETCH_NOWAIT);
}

static void timed_fetch_close(spw_policy *policy)
{
    (void)policy; /* lies in struct bench */
}

static const spw_policy_ops timed_fetch_ops = {
    .size = sizeof(timed_fetch_ops),
    .name = "timed-fetch",
    .apply = timed_fetch_apply,
    .close = timed_fetch_close,
};

struct bench {
    struct timed_fetch timed;
    const struct tiers_plan *plan;
    struct tiers_result *result;
    spw_pool *pool;
    struct ends ends;
    unsigned char *source;
    spw_bytes *slices; /* of the source, each with an owner of its own: they do not merge */
    size_t slice_count, slice_bytes;
    unsigned char *mapped; /* memcpy's target */
    spw_slab *slab;
};

/* Memory as a segment's: a memfd, shared, of the same pages. */
static int map_target(struct bench *bench)
{
    const struct tiers_plan *plan = bench->plan;
    bool huge = strcmp(plan->huge_pages, "on") == 0;
    int fd = memfd_create("spillbench", MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
    int err = 0;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)plan->total_bytes) != 0)
        err = -errno;
    void *memory =
        err ? MAP_FAILED : mmap(NULL, plan->total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (err == 0 && memory == MAP_FAILED)
        err = -errno;
    close(fd);
    if (err != 0)
        return err;
    bench->mapped = memory;
    if (strcmp(plan->huge_pages, "transparent") == 0)
        madvise(memory, plan->total_bytes, MADV_HUGEPAGE);
    if (plan->mlock && mlock(memory, plan->total_bytes) != 0)
        return -errno;
    memset(memory, 1, plan->total_bytes);
    return 0;
}

static int make_source(struct bench *bench)
{
    int rc = 0;

    bench->slice_bytes = bench->plan->run_bytes / bench->plan->chunks;
    bench->slice_count = source_bytes / bench->slice_bytes;
    bench->source = malloc(source_bytes);
    bench->slices = calloc(bench->slice_count, sizeof(*bench->slices));
    if (!bench->source || !bench->slices)
        return -ENOMEM;
    chunk_fill(bench->source, source_bytes, 1);
    for (size_t i = 0; rc == 0 && i < bench->slice_count; i++)
        rc = spw_bytes_wrap(bench->source + i * bench->slice_bytes, bench->slice_bytes, NULL, NULL,
                            NULL, &bench->slices[i]);
    return rc;
}

static double copy_rate(const struct bench *bench)
{
    uint64_t at = 0, start_ns = now_ns();

    for (size_t i = 0; at + bench->slice_bytes <= bench->plan->total_bytes; i++) {
        if (i == bench->slice_count)
            i = 0;
        memcpy(bench->mapped + at, bench->source + i * bench->slice_bytes, bench->slice_bytes);
        at += bench->slice_bytes;
    }
    return (double)at / ((double)(now_ns() - start_ns) / 1e9);
}

/* The next entry; what a slab holds is left as it is, so that only the library's work counts. */
static int next_bytes(struct bench *bench, size_t i, spw_bytes *out)
{
    size_t bytes = bench->slice_bytes;

    if (!bench->plan->slabs) {
        *out = spw_bytes_clone(&bench->slices[i % bench->slice_count]);
        return 0;
    }
    if (!bench->slab || spw_slab_room(bench->slab) < bytes) {
        spw_slab_close(bench->slab);
        bench->slab = NULL;
        int rc = spw_pool_slab_open(bench->pool, 0, 0, &bench->slab);
        if (rc != 0)
            return rc;
    }
    return spw_slab_cut(bench->slab, bytes, out);
}

static int stats_now(const struct bench *bench, spw_stats *stats)
{
    stats->size = sizeof(*stats);
    return spw_pool_stats(bench->pool, stats);
}

/* Until the tier has all that it takes. */
static int wait_stored(const struct bench *bench, spw_stats *stats)
{
    uint64_t end_ns = now_ns() + wait_most_ns;
    int rc;

    while ((rc = stats_now(bench, stats)) == 0 && stats->in_flight_bytes > 0) {
        struct timespec pause = {0, 20000};
        if (now_ns() > end_ns)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    return rc;
}

static int spill_round(struct bench *bench, double *rate)
{
    spw_stats before, after;
    int rc = stats_now(bench, &before);
    uint64_t start_ns = now_ns();

    for (size_t i = 0; rc == 0 && i < bench->plan->total_bytes / bench->slice_bytes; i++) {
        spw_bytes bytes = SPILLWAY_BYTES_NONE;
        rc = next_bytes(bench, i, &bytes);
        if (rc == 0)
            rc = spw_writer_extend(bench->ends.writer, &bytes, 1, 0);
        spw_bytes_release(&bytes);
    }
    if (rc == 0)
        rc = wait_stored(bench, &after);
    if (rc == 0)
        *rate = (double)(after.spilled_bytes_total - before.spilled_bytes_total) /
                ((double)(now_ns() - start_ns) / 1e9);
    return rc;
}

/* Everything, an entry a call. */
static int fetch_round(struct bench *bench, struct latency *latency)
{
    spw_queue_info info = {.size = sizeof(info)};
    int rc = spw_reader_info(bench->ends.reader, &info);
    uint64_t left_bytes = info.resident_bytes + info.paged_bytes;

    bench->timed.latency = latency;
    while (rc == 0 && left_bytes > 0) {
        spw_bytes bytes = SPILLWAY_BYTES_NONE;
        long got = spw_reader_drain_wait(bench->ends.reader, &bytes, 1, wait_most_ns);
        if (got <= 0)
            rc = got == 0 ? -EPIPE : (int)got;
        left_bytes -= bytes.len;
        spw_bytes_release(&bytes);
    }
    bench->timed.latency = NULL;
    return rc;
}

/* The first round warms up. */
static int run_rounds(struct bench *bench)
{
    struct tiers_result *result = bench->result;
    int rc = 0;

    for (unsigned round = 0; rc == 0 && round <= bench->plan->rounds; round++) {
        struct latency *latency = calloc(1, sizeof(*latency));
        double rate = 0, plain = copy_rate(bench);
        if (!latency)
            return -ENOMEM;
        rc = spill_round(bench, &rate);
        if (rc == 0)
            rc = fetch_round(bench, latency);
        if (rc == 0 && round > 0) {
            series_add(&result->memcpy_rate, plain);
            series_add(&result->spill_rate, rate);
            series_add(&result->fetch_ns, (double)latency_at(latency, 0.5));
            series_add(&result->fetch_p99_ns, (double)latency_at(latency, 0.99));
        }
        free(latency);
    }
    return rc;
}

/* The plan and where the result goes; the latter in memory shared with the parent. */
struct job {
    const struct tiers_plan *plan;
    struct tiers_result *result;
};

static void bench_close(struct bench *bench, spw_options *options)
{
    spw_slab_close(bench->slab);
    ends_drop(&bench->ends);
    for (size_t i = 0; bench->slices && i < bench->slice_count; i++)
        spw_bytes_release(&bench->slices[i]);
    spw_pool_close(bench->pool);
    spw_options_close(options);
    if (bench->mapped)
        munmap(bench->mapped, bench->plan->total_bytes);
    free(bench->slices);
    free(bench->source);
}

static void run_child(void *context, struct measure *measure)
{
    const struct job *job = context;
    const struct tiers_plan *plan = job->plan;
    struct bench bench = {
        .timed.policy.ops = &timed_fetch_ops, .plan = plan, .result = job->result};
    spw_options *options = NULL;
    char capacity[32];

    snprintf(capacity, sizeof(capacity), "%" PRIu64, plan->total_bytes + plan->total_bytes / 4);
    const char *const settings[] = {
        "memory_tier", capacity,     "tiers",          "memory", "seal",
        plan->seal,    "huge_pages", plan->huge_pages, "mlock",  plan->mlock ? "on" : "off",
        "threshold",   "4MiB",       "head_reserve",   "4MiB",   NULL};
    bench.pool = load_pool(measure, budget_bytes, NULL, &options, settings);
    if (!bench.pool)
        return;
    measure_begin(measure);
    int rc = make_source(&bench);
    if (rc == 0)
        rc = map_target(&bench);
    if (rc == 0)
        rc = ends_make_with(&bench.ends, bench.pool, options, &bench.timed.policy);
    if (rc == 0)
        rc = run_rounds(&bench);
    if (rc == 0)
        rc = stats_now(&bench, &bench.result->stats);
    measure_end(measure);
    bench_close(&bench, options);
    if (rc != 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

bool tiers_run(const struct tiers_plan *plan, struct tiers_result *result, char *why,
               size_t why_bytes)
{
    struct job job = {plan, shared_open(sizeof(*result))};
    struct child_plan child = {.name = "tiers", .run = run_child, .context = &job};

    return shared_run(&child, job.result, result, sizeof(*result), why, why_bytes);
}
