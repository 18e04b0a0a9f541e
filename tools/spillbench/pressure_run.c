/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/cgroup_path.h"
#include "backlog.h"
#include "load.h"
#include "pressure.h"
#include "swap.h"
#include "undo.h"

#define MIB (UINT64_C(1) << 20)

enum {
    REMOVE_TRIES = 100,  /* every 10 ms: a group empties after its last process */
    TRICKLE_CHUNKS = 16, /* stand in the queue while it waits to be whole */
    TRICKLE_MS = 20,
};

#define RIVAL_NAME(id, name, text) name,
#define RIVAL_TEXT(id, name, text) text,
static const char *const names[] = {RIVALS(RIVAL_NAME)};
static const char *const texts[] = {RIVALS(RIVAL_TEXT)};

const char *rival_name(enum rival rival)
{
    return names[rival];
}

const char *rival_text(enum rival rival)
{
    return texts[rival];
}

/* A group whose pressure is its own, beside one of version 1 that limits memory. */
struct twin {
    char above[CGROUP_PATH_BYTES + 64], own[CGROUP_PATH_BYTES + 80]; /* "": there is none */
    struct undo *undo;
};

struct job {
    enum rival rival;
    const struct pressure_plan *plan;
    struct pressure_record *record;
    const struct twin *twin;
    int err; /* it shall fail with that */
    char why[256];
};

/* ---- in the child ---- */

static int join_twin(const struct twin *twin)
{
    char path[sizeof twin->own + 16];
    int fd, err;

    snprintf(path, sizeof path, "%s/cgroup.procs", twin->own);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    err = write(fd, "0", 1) < 0 ? -errno : 0;
    close(fd);
    return err;
}

static int find_files(struct pressure_files *files)
{
    static struct cgroup_path v1, v2; /* large */
    char *slash;

    if (cgroup_paths(&os_linux, "", &v1, &v2) || !v2.found)
        return -ENOENT;
    snprintf(files->own, sizeof files->own, "%s/memory.pressure", v2.directory);
    slash = strrchr(v2.directory, '/');
    *slash = '\0';
    snprintf(files->above, sizeof files->above, "%s/memory.pressure", v2.directory);
    return access(files->own, R_OK) ? -errno : 0;
}

/* `count` chunks in, then as many out. */
struct passage {
    const struct backlog_ops *ops;
    void *backlog;
    struct measure *measure;
    struct consumer consumer;
    uint64_t produced;
};

static int put(struct passage *passage)
{
    int err = passage->ops->produce(passage->backlog, passage->produced);

    if (!err) {
        passage->produced++;
        atomic_fetch_add_explicit(&passage->measure->produced_bytes, passage->consumer.chunk_bytes,
                                  memory_order_relaxed);
    }
    return err;
}

/* Takes until no more than so many stand. */
static int take(struct passage *passage, uint64_t standing)
{
    int err = 0;

    while (!err && passage->produced - passage->consumer.sequence > standing)
        err = passage->ops->consume(passage->backlog, &passage->consumer);
    return err;
}

/* Its next chunk is not made before its time; what was late is not made up for. */
static void pace(uint64_t *due_ns, const struct pressure_plan *plan)
{
    uint64_t now = now_ns(), step = plan->chunk_bytes * UINT64_C(1000000000) / plan->rate_bytes;

    if (*due_ns > now + TRICKLE_MS * UINT64_C(1000000))
        nanosleep(&(struct timespec){.tv_nsec = (long)(*due_ns - now)}, NULL);
    *due_ns = (*due_ns < now ? now : *due_ns) + step;
}

static int work(struct passage *passage, const struct pressure_plan *plan)
{
    uint64_t due_ns = now_ns();
    uint64_t count = plan->total_bytes / plan->chunk_bytes;
    uint64_t standing = plan->backlog_bytes / plan->chunk_bytes;
    int err = 0;

    passage->consumer.last_ns = now_ns();
    while (!err && passage->produced < count) {
        pace(&due_ns, plan);
        err = put(passage);
        if (!err)
            err = take(passage, standing);
    }
    return err ? err : take(passage, 0);
}

/* Goes on a little, so that there is something in use, until the budget is whole. */
static int wait_whole(struct passage *passage, const struct pressure_plan *plan,
                      struct pressure_record *record)
{
    spw_pool *pool = backlog_pool(passage->backlog);
    spw_stats stats = {.size = sizeof stats};
    uint64_t end_ns = now_ns() + plan->calm_s * UINT64_C(1000000000);
    int err = 0;

    while (!err && now_ns() < end_ns) {
        err = put(passage);
        if (!err)
            err = take(passage, TRICKLE_CHUNKS);
        if (!err)
            err = spw_pool_stats(pool, &stats);
        if (stats.budget_bytes >= record->ceiling_bytes)
            end_ns = 0;
        nanosleep(&(struct timespec){.tv_nsec = TRICKLE_MS * 1000000}, NULL);
    }
    return err ? err : take(passage, 0);
}

static void pass_all(struct job *job, struct passage *passage)
{
    struct pressure_record *record = job->record;
    struct measure *measure = passage->measure;

    measure_begin(measure);
    atomic_store(&record->begin_ns, measure->begin_ns);
    if (work(passage, job->plan) == 0)
        measure->bytes = job->plan->total_bytes;
    measure_end(measure);
    record->work_end_s = measure->wall_s;
    atomic_store(&record->hog_stop, true);
    record->calm_begin_s = (double)(now_ns() - atomic_load(&record->begin_ns)) / 1e9;
    if (job->rival == RIVAL_POLICY && !measure->error)
        (void)wait_whole(passage, job->plan, record);
}

static void run_backlog(struct job *job, const struct pressure_files *files,
                        struct measure *measure)
{
    const struct pressure_plan *plan = job->plan;
    const struct compare_plan compare = {
        .dir = plan->dir,
        .chunk_bytes = plan->chunk_bytes,
        .threshold_bytes = plan->memory_bytes,
        .policies =
            job->rival == RIVAL_POLICY ? "threshold,prefetch,pressure" : "threshold,prefetch",
    };
    struct passage passage = {
        .ops = job->rival == RIVAL_SWAP ? &backlog_swapped : &backlog_slabs,
        .measure = measure,
        .consumer = {.measure = measure, .chunk_bytes = plan->chunk_bytes},
    };
    struct pressure_watcher *watcher;
    spw_stats stats = {.size = sizeof stats};
    spw_pool *pool;
    int err;

    passage.backlog = passage.ops->open(&compare, measure);
    if (!passage.backlog)
        return;
    pool = backlog_pool(passage.backlog);
    if (pool && spw_pool_stats(pool, &stats) == 0)
        job->record->ceiling_bytes = stats.budget_bytes;
    watcher = pressure_watch_begin(files, pool, job->record, &err);
    if (watcher) {
        pass_all(job, &passage);
        pressure_watch_end(watcher);
    } else {
        measure_fail(measure, err == -ENOMEM ? err : -EOPNOTSUPP,
                     "no trigger for the pressure of an own group: %s", strerror(-err));
    }
    passage.ops->close(passage.backlog);
}

static void job_run(void *context, struct measure *measure)
{
    struct job *job = context;
    static struct pressure_files files; /* large */
    int err = job->err;

    if (err) {
        measure_fail(measure, err, "%s", job->why);
        return;
    }
    err = job->twin->own[0] ? join_twin(job->twin) : 0;
    if (!err)
        err = find_files(&files);
    if (err) {
        measure_fail(measure, -EOPNOTSUPP, "no group of version 2 with pressure of its own: %s",
                     strerror(-err));
        return;
    }
    err = hog_start(job->plan, job->record);
    if (err)
        measure_fail(measure, err, "the hog cannot be started: %s", strerror(-err));
    else
        run_backlog(job, &files, measure);
}

/* ---- around it ---- */

static void twin_undo(void *context)
{
    const struct twin *twin = context;
    const char *const dirs[] = {twin->own, twin->above};

    for (size_t i = 0; i < 2; i++) {
        for (int try = 0; try < REMOVE_TRIES && rmdir(dirs[i]) != 0 && errno == EBUSY; try++)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

/* Where memory is limited by version 1, pressure is told in version 2 all the same. */
static void twin_open(struct twin *twin, struct job *job)
{
    static struct cgroup_path v1, v2; /* large */

    *twin = (struct twin){.own = ""};
    if (cgroup_paths(&os_linux, "", &v1, &v2) || !v2.found) {
        job->err = -EOPNOTSUPP;
        snprintf(job->why, sizeof job->why, "no hierarchy of version 2 is mounted here");
        return;
    }
    if (!v1.found)
        return;
    snprintf(twin->above, sizeof twin->above, "%s/spillbench-%ld", v2.directory, (long)getpid());
    snprintf(twin->own, sizeof twin->own, "%s/run", twin->above);
    twin->undo = undo_arm(twin_undo, twin, &job->err);
    if (job->err)
        snprintf(job->why, sizeof job->why, "a guard process: %s", strerror(-job->err));
    else if (mkdir(twin->above, 0755) || mkdir(twin->own, 0755)) {
        job->err = -EPERM;
        snprintf(job->why, sizeof job->why, "this user may not make a group of version 2 (%s)",
                 strerror(errno));
    }
}

static uint64_t swap_bytes(const struct pressure_plan *plan)
{
    return plan->backlog_bytes + plan->hog_bytes + plan->memory_bytes + SWAP_SPARE_BYTES;
}

struct measure *pressure_run(enum rival rival, const struct pressure_plan *plan,
                             struct pressure_record **record)
{
    static struct twin twin; /* lives until the program ends: its undoing needs it */
    struct job job = {.rival = rival, .plan = plan, .twin = &twin};
    struct child_plan child = {.name = rival_name(rival),
                               .run = job_run,
                               .context = &job,
                               .limit_bytes = plan->limit_bytes,
                               .cgroup_needed = true,
                               .sampled = true,
                               .time_limit_s = plan->time_limit_s};
    struct swap *swap = NULL;
    struct measure *measure = NULL;

    *record =
        mmap(NULL, sizeof **record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (*record == MAP_FAILED) {
        *record = NULL;
        return NULL;
    }
    job.record = *record;
    if (plan->disk_bytes && swap_bytes(plan) + plan->backlog_bytes > plan->disk_bytes) {
        job.err = -EDQUOT;
        snprintf(job.why, sizeof job.why, "would take more disk than allowed");
    }
    if (!job.err)
        twin_open(&twin, &job);
    if (!job.err) {
        memory_warm(plan->limit_bytes);
        swap = swap_open_file(plan->dir, swap_bytes(plan), &job.err, job.why, sizeof job.why);
    }
    measure = child_run(&child);
    swap_close(swap);
    if (twin.undo)
        undo_now(twin.undo);
    twin.undo = NULL;
    return measure;
}

void pressure_release(struct pressure_record *record)
{
    if (record)
        munmap(record, sizeof *record);
}
