/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backlog.h"
#include "load.h"
#include "spillway/options.h"
#include "swap.h"

#define MIB (UINT64_C(1) << 20)

enum {
    NULL_TURN_BYTES = 4 << 20, /* what the null strategy holds at most: stays in caches */
};

#define CONTENDER_NAME(id, name, text) name,
#define CONTENDER_TEXT(id, name, text) text,
static const char *const names[] = {CONTENDERS(CONTENDER_NAME)};
static const char *const texts[] = {CONTENDERS(CONTENDER_TEXT)};

const char *contender_name(enum contender contender)
{
    return names[contender];
}

const char *contender_text(enum contender contender)
{
    return texts[contender];
}

static const struct backlog_ops *ops_of(enum contender contender)
{
    switch (contender) {
    case CONTENDER_SPILLWAY:
        return &backlog_slabs;
    case CONTENDER_SPILLWAY_HEAP:
        return &backlog_queue;
    case CONTENDER_SEED:
        return &backlog_seed;
    case CONTENDER_MAPPED:
        return &backlog_mapped;
    case CONTENDER_SWAP:
    case CONTENDER_ZRAM:
        return &backlog_swapped;
    default:
        return &backlog_plain;
    }
}

/* In the child. */
struct job {
    enum contender contender;
    struct compare_plan plan;
    int err; /* it shall fail with that */
    char why[256];
};

static void job_run(void *context, struct measure *measure)
{
    struct job *job = context;
    uint64_t turn = 0;

    if (job->err) {
        measure_fail(measure, job->err, "%s", job->why);
        return;
    }
    if (job->contender == CONTENDER_NULL) {
        turn = NULL_TURN_BYTES / job->plan.chunk_bytes;
        turn = turn ? turn : 1;
    }
    backlog_run(ops_of(job->contender), &job->plan, turn, measure);
}

/* What a contender may need on disk: never less than it will take. */
static uint64_t disk_bytes(enum contender contender, const struct compare_plan *plan)
{
    uint64_t most = plan->total_bytes > plan->warm_bytes ? plan->total_bytes : plan->warm_bytes;

    switch (contender) {
    case CONTENDER_NULL:
    case CONTENDER_ZRAM:
        return 0;
    case CONTENDER_SWAP:
        return most + SWAP_SPARE_BYTES;
    default:
        return most;
    }
}

static struct swap *open_swap(struct job *job, uint64_t *limit_bytes)
{
    const struct compare_plan *plan = &job->plan;

    switch (job->contender) {
    case CONTENDER_SWAP:
        return swap_open_file(plan->dir, disk_bytes(job->contender, plan), &job->err, job->why,
                              sizeof job->why);
    case CONTENDER_ZRAM:
        /* What it compresses to is memory too, which no cgroup is charged for: half and half. */
        *limit_bytes = plan->limit_bytes / 2;
        return swap_open_zram(plan->dir, plan->total_bytes + SWAP_SPARE_BYTES,
                              plan->limit_bytes - *limit_bytes, &job->err, job->why,
                              sizeof job->why);
    default:
        return NULL;
    }
}

void compare_small(struct compare_plan *plan, uint64_t chunk_bytes)
{
    plan->chunk_bytes = chunk_bytes;
    plan->total_bytes = 256 * MIB;
    plan->limit_bytes = 192 * MIB;
    plan->threshold_bytes = 32 * MIB;
    plan->head_reserve_bytes = 16 * MIB;
    plan->warm_bytes = 64 * MIB;
}

/* Whether the disk tier could lie there. */
static bool dir_works(const char *dir)
{
    struct statfs fs;
    int fd;

    if (!dir || !*dir || statfs(dir, &fs) || fs.f_type == TMPFS_MAGIC)
        return false;
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* The first that the library would take: all contenders shall have the same disk. */
void compare_find_dir(char out[PATH_MAX])
{
    const char *const defaults[] = {secure_getenv("SLURM_TMPDIR"), secure_getenv("TMPDIR")};
    spw_options *options;

    snprintf(out, PATH_MAX, "/var/tmp");
    for (size_t i = 2; i-- > 0;) {
        if (dir_works(defaults[i]))
            snprintf(out, PATH_MAX, "%s", defaults[i]);
    }
    if (spw_options_open(&options))
        return;
    (void)spw_options_load(options);
    const char *dirs = spw_options_value(options, "dirs", NULL);
    if (dirs && strcmp(dirs, "auto") != 0)
        snprintf(out, PATH_MAX, "%.*s", (int)strcspn(dirs, ":"), dirs);
    spw_options_close(options);
}

static void complete(struct compare_plan *plan, char dir[PATH_MAX])
{
    if (!plan->dir) {
        compare_find_dir(dir);
        plan->dir = dir;
    }
    if (!plan->threshold_bytes)
        plan->threshold_bytes = 256 * MIB;
    if (!plan->head_reserve_bytes)
        plan->head_reserve_bytes = 64 * MIB;
}

struct measure *compare_run(enum contender contender, const struct compare_plan *plan)
{
    struct job job = {.contender = contender, .plan = *plan};
    struct child_plan child = {.name = contender_name(contender),
                               .run = job_run,
                               .context = &job,
                               .limit_bytes = plan->limit_bytes,
                               .cgroup_needed = true,
                               .sampled = true,
                               .time_limit_s = plan->time_limit_s};
    struct swap *swap = NULL;
    struct measure *measure;
    char dir[PATH_MAX];

    complete(&job.plan, dir);
    if (plan->disk_bytes && disk_bytes(contender, &job.plan) > plan->disk_bytes) {
        job.err = -EDQUOT;
        snprintf(job.why, sizeof job.why, "would take more disk than allowed");
    } else {
        /* First touch of memory is slow on some machines; the limit may be more than there is. */
        memory_warm(plan->limit_bytes);
        swap = open_swap(&job, &child.limit_bytes);
    }
    measure = child_run(&child);
    swap_close(swap);
    return measure;
}
