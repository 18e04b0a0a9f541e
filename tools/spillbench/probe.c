/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "flow.h"
#include "load.h"

enum { FOUND_CALL = 9, FOUND_NONE = 10, NO_FILTER = 11, BROKEN = 12 };

struct job {
    const struct probe_plan *plan;
    uint64_t entry_bytes;
};

/* A queue of a pool, for what a probe does there. */
struct rig {
    const struct job *job;
    struct measure *measure;
    spw_pool *pool;
    struct ends ends;
};

/* Opens a pool without a memory tier, and a queue; what fails in `body`, or before, is told. */
static void on_pool(const struct job *job, struct measure *measure, uint64_t memory_bytes,
                    const char *const *settings, int (*body)(struct rig *rig))
{
    struct rig rig = {.job = job, .measure = measure};
    spw_options *options;

    rig.pool = load_pool(measure, memory_bytes, job->plan->dir, &options, settings);
    if (!rig.pool)
        return;
    int rc = ends_make(&rig.ends, rig.pool, options);
    if (rc == 0)
        rc = body(&rig);
    ends_drop(&rig.ends);
    spw_pool_close(rig.pool);
    spw_options_close(options);
    if (rc != 0)
        measure_fail(measure, rc, "%s", spw_error_text(rc));
}

static const char *const usual[] = {"memory_tier", "off", NULL};

static int run_probe(void (*run)(void *, struct measure *), struct job *job, double figures[4],
                     char *why, size_t why_bytes)
{
    struct child_plan child = {.name = "probe", .run = run, .context = job};
    struct measure *measure = child_run(&child);
    int rc = measure ? measure->error : -ENOMEM;

    if (rc == 0)
        memcpy(figures, measure->figures, 4 * sizeof(*figures));
    else
        snprintf(why, why_bytes, "%s", measure ? measure->why : "no memory");
    child_release(measure);
    return rc;
}

/* ---- system calls ---- */

/* From here on any system call but the exit ends the process. */
static int refuse_system_calls(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof(rules) / sizeof(rules[0]), rules};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return -errno;
    return 0;
}

static int pass_entries(struct ends *ends, spw_bytes *source, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        spw_bytes bytes = spw_bytes_clone(source);
        if (spw_writer_extend(ends->writer, &bytes, 1, 0) != 0)
            return -1;
        if (i % 64 != 63)
            continue;
        for (unsigned left = 64; left > 0;) {
            spw_bytes out[64];
            long got = spw_reader_drain(ends->reader, out, left);
            for (long n = 0; n < got; n++)
                spw_bytes_release(&out[n]);
            if (got <= 0)
                return -1;
            left -= (unsigned)got;
        }
    }
    return 0;
}

/* A process that may be killed. Its memory is warm before the filter: malloc asks for none. */
static void filtered_main(const struct probe_plan *plan)
{
    static unsigned char payload[64];
    struct ends ends;
    spw_bytes source;

    if (ends_make(&ends, NULL, NULL) != 0 ||
        spw_bytes_wrap(payload, sizeof(payload), NULL, NULL, NULL, &source) != 0 ||
        pass_entries(&ends, &source, 4096) != 0)
        _exit(BROKEN);
    if (refuse_system_calls() != 0)
        _exit(NO_FILTER);
    _exit(pass_entries(&ends, &source, plan->entries) == 0 ? FOUND_NONE : BROKEN);
}

static void run_filtered(void *context, struct measure *measure)
{
    const struct job *job = context;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        filtered_main(job->plan);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        measure_fail(measure, -errno, "fork: %s", strerror(errno));
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        measure->figures[0] = 1;
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) == BROKEN) {
        measure_fail(measure, -EIO, "the queue that was watched failed");
    } else if (WEXITSTATUS(status) == NO_FILTER) {
        measure_fail(measure, -EOPNOTSUPP, "the kernel refuses a filter of system calls");
    }
}

int probe_system_calls(const struct probe_plan *plan, unsigned *calls, char *why, size_t why_bytes)
{
    struct job job = {.plan = plan};
    double figures[4];
    int rc = run_probe(run_filtered, &job, figures, why, why_bytes);

    if (rc == 0)
        *calls = (unsigned)figures[0];
    return rc;
}

/* ---- wake-ups ---- */

/* How often the other threads of this process left a processor, and how many they are. */
static int switches_now(uint64_t *switches, unsigned *threads)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;

    *switches = 0;
    *threads = 0;
    if (!dir)
        return -errno;
    while ((entry = readdir(dir))) {
        char path[320], line[128];
        uint64_t value;
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        ++*threads;
        while (fgets(line, sizeof(line), file))
            if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &value) == 1)
                *switches += value;
        fclose(file);
    }
    closedir(dir);
    return 0;
}

static int watch_idle(struct rig *rig)
{
    double seconds = rig->job->plan->seconds;
    struct timespec pause = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    struct timespec settle = {0, 300000000};
    static unsigned char payload[4096];
    spw_bytes bytes = SPILLWAY_BYTES_NONE;
    uint64_t before = 0, after = 0;
    unsigned threads = 0;

    int rc = spw_bytes_copy(payload, sizeof(payload), NULL, &bytes);
    if (rc == 0)
        rc = spw_writer_extend(rig->ends.writer, &bytes, 1, 0);
    nanosleep(&settle, NULL); /* threads that start do run */
    if (rc == 0)
        rc = switches_now(&before, &threads);
    nanosleep(&pause, NULL);
    if (rc == 0)
        rc = switches_now(&after, &threads);
    spw_bytes_release(&bytes);
    rig->measure->figures[0] = (double)(after - before);
    rig->measure->figures[1] = threads;
    return rc;
}

static void run_idle(void *context, struct measure *measure)
{
    on_pool(context, measure, 64 << 20, usual, watch_idle);
}

int probe_wakeups(const struct probe_plan *plan, uint64_t *wakeups, unsigned *threads, char *why,
                  size_t why_bytes)
{
    struct job job = {.plan = plan};
    double figures[4];
    int rc = run_probe(run_idle, &job, figures, why, why_bytes);

    if (rc == 0) {
        *wakeups = (uint64_t)figures[0];
        *threads = (unsigned)figures[1];
    }
    return rc;
}

/* ---- page faults ---- */

static uint64_t faults_now(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_minflt;
}

static uint64_t runs_now(const spw_pool *pool)
{
    spw_stats stats = {.size = sizeof(stats)};

    return spw_pool_stats(pool, &stats) == 0 ? stats.spilled_runs_total : 0;
}

static int count_faults(struct rig *rig)
{
    enum { ROUNDS = 4, WARM = 2 };
    struct flow flow = {.pool = rig->pool, .ends = rig->ends, .chunk_bytes = 256 << 10};
    uint64_t faults = 0, runs = 0;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < ROUNDS; i++) {
        if (i == WARM) {
            runs = runs_now(rig->pool);
            faults = faults_now();
        }
        rc = flow_produce(&flow, rig->job->plan->bytes, NULL);
        if (rc == 0)
            rc = flow_consume(&flow, NULL);
    }
    rig->measure->figures[0] = (double)(faults_now() - faults);
    rig->measure->figures[1] = (double)(runs_now(rig->pool) - runs);
    rig->ends = (struct ends){NULL, NULL}; /* the flow's by now */
    flow_close(&flow);
    return rc;
}

static void run_faults(void *context, struct measure *measure)
{
    on_pool(context, measure, 64 << 20, usual, count_faults);
}

int probe_faults(const struct probe_plan *plan, uint64_t *faults, uint64_t *runs, char *why,
                 size_t why_bytes)
{
    struct job job = {.plan = plan};
    double figures[4];
    int rc = run_probe(run_faults, &job, figures, why, why_bytes);

    if (rc == 0) {
        *faults = (uint64_t)figures[0];
        *runs = (uint64_t)figures[1];
    }
    return rc;
}

/* ---- metadata ---- */

static double heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return (double)info.uordblks + (double)info.hblkhd;
}

static int push_clones(struct ends *ends, const spw_bytes *source, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += source->len) {
        spw_bytes clone = spw_bytes_clone(source);
        int rc = spw_writer_extend(ends->writer, &clone, 1, 0);
        if (rc != 0) {
            spw_bytes_release(&clone);
            return rc;
        }
    }
    return 0;
}

/* Everything is on disk, but for what the policy keeps. */
static int settled(spw_pool *pool, spw_stats *stats)
{
    struct timespec pause = {0, 1000000};
    int rc;

    do {
        nanosleep(&pause, NULL);
        stats->size = sizeof(*stats);
        rc = spw_pool_stats(pool, stats);
    } while (rc == 0 && stats->in_flight_bytes > 0);
    return rc;
}

/* A quarter warms up; then the heap grows by what the runs of the rest need. */
static int grow(struct rig *rig, const spw_bytes *source)
{
    spw_stats before, after;
    uint64_t quarter = rig->job->plan->bytes / 4;
    double *figures = rig->measure->figures;
    int rc = push_clones(&rig->ends, source, quarter);

    if (rc == 0)
        rc = settled(rig->pool, &before);
    double heap = heap_bytes();
    if (rc == 0)
        rc = push_clones(&rig->ends, source, 3 * quarter);
    if (rc == 0)
        rc = settled(rig->pool, &after);
    if (rc != 0)
        return rc;
    double runs = (double)(after.spilled_runs_total - before.spilled_runs_total);
    figures[0] = (heap_bytes() - heap) / runs;
    figures[1] = (double)(after.spilled_bytes_total - before.spilled_bytes_total) / runs /
                 (double)rig->job->entry_bytes;
    figures[2] = runs;
    return 0;
}

static void free_payload(void *context, const void *data, size_t len)
{
    (void)data;
    (void)len;
    free(context);
}

static int weigh_runs(struct rig *rig)
{
    size_t bytes = rig->job->entry_bytes;
    void *payload = calloc(1, bytes);
    spw_bytes source = SPILLWAY_BYTES_NONE;
    int rc =
        payload ? spw_bytes_wrap(payload, bytes, free_payload, payload, NULL, &source) : -ENOMEM;

    if (rc != 0) {
        free(payload);
        return rc;
    }
    rc = grow(rig, &source);
    spw_bytes_release(&source);
    return rc;
}

static void run_metadata(void *context, struct measure *measure)
{
    /* The least budget has the smallest runs, and so most of them. */
    const char *const settings[] = {"memory_tier",  "off",   "threshold", "128KiB",
                                    "head_reserve", "64KiB", NULL};

    on_pool(context, measure, 1 << 20, settings, weigh_runs);
}

int probe_metadata(const struct probe_plan *plan, uint64_t entry_bytes, double *bytes_per_run,
                   double *entries_per_run, uint64_t *runs, char *why, size_t why_bytes)
{
    struct job job = {.plan = plan, .entry_bytes = entry_bytes};
    double figures[4];
    int rc = run_probe(run_metadata, &job, figures, why, why_bytes);

    if (rc == 0) {
        *bytes_per_run = figures[0];
        *entries_per_run = figures[1];
        *runs = (uint64_t)figures[2];
    }
    return rc;
}
