/* SPDX-License-Identifier: MIT */
/* What others see: the profile of perf, the system calls that strace counts, page faults. */
#include "bars_proof.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bars.h"
#include "pipes.h"
#include "probe.h"

/* Names of what copies, in the library, libc and the kernel. */
static const char *const copiers[] = {"memcpy",    "memmove",        "rep_movs",
                                      "copy_user", "copy_from_iter", "copy_to_iter"};

static const uint64_t least_bytes = UINT64_C(512) << 20;

struct proof {
    struct bars *bars;
    char dir[512], out[560], data[560], self[512], total[32], more[32];
    uint64_t bytes;
};

double proof_copied_percent(FILE *report, unsigned *lines)
{
    char line[512], name[256];
    double sum = 0, percent;

    *lines = 0;
    while (fgets(line, sizeof(line), report)) {
        if (sscanf(line, " %lf%% [%*c] %255s", &percent, name) != 2)
            continue;
        ++*lines;
        for (size_t i = 0; i < sizeof(copiers) / sizeof(copiers[0]); i++) {
            if (strstr(name, copiers[i])) {
                sum += percent;
                break;
            }
        }
    }
    return sum;
}

uint64_t proof_calls(FILE *summary, const char *call)
{
    char line[512];
    uint64_t calls = 0;

    while (fgets(line, sizeof(line), summary)) {
        char name[64];
        uint64_t count;
        if (sscanf(line, " %63s %" SCNu64, name, &count) == 2 && strcmp(name, call) == 0)
            calls += count;
    }
    return calls;
}

/* ---- perf ---- */

static int profile(struct proof *proof, double *percent)
{
    char *const record[] = {"perf",    "record",      "-q",        "-e",     "cpu-clock", "-F",
                            "1999",    "-o",          proof->data, "--",     proof->self, "stress",
                            "--quiet", "--no-verify", "--pairs",   "2",      "--origin",  "slab",
                            "--total", proof->total,  "--chunk",   "256KiB", NULL};
    char *const report[] = {"perf",      "report", "--stdio", "-q", "-i",
                            proof->data, "--sort", "symbol",  NULL};
    unsigned lines = 0;
    int rc = pipes_run(record, proof->out);

    if (rc == 0)
        rc = pipes_run(report, proof->out);
    FILE *file = rc == 0 ? fopen(proof->out, "r") : NULL;
    if (!file)
        return rc ? rc : -errno;
    *percent = proof_copied_percent(file, &lines);
    fclose(file);
    return lines > 0 ? 0 : -ENODATA;
}

/* One copy of all bytes would be more than a tenth of the samples. What is seen are copies of small
 * structures, and the kernel's of eight bytes from an eventfd. */
#define COPIED_MAX_PERCENT 0.3

static void profile_row(struct proof *proof)
{
    static const char what[] = "zero copy: copying in perf's profile of stress, slabs";
    static const char asked[] = "absent (below 0.3 %)";
    double percent = 0;
    char why[128];

    if (!pipes_installed("perf")) {
        bars_limited(proof->bars, what, asked, "perf is not installed here");
        return;
    }
    progress("bars: perf");
    int rc = profile(proof, &percent);
    if (rc != 0) {
        snprintf(why, sizeof(why), "perf cannot sample here (%s)",
                 rc == -ECHILD ? "it failed" : strerror(-rc));
        bars_limited(proof->bars, what, asked, why);
        return;
    }
    bars_row(proof->bars, what, asked, verdict_of(percent < COPIED_MAX_PERCENT, false), NULL,
             "%.2f %% of all samples", percent);
}

/* ---- strace ---- */

static int count_calls(struct proof *proof, char *total, const char *call, uint64_t *calls)
{
    /* A standing backlog of 64 MiB: more data are more runs, but no more scratch space. */
    char *const argv[] = {"strace",
                          "-f",
                          "-qq",
                          "-c",
                          "-U",
                          "name,calls",
                          "-e",
                          "trace=mmap,munmap,mremap,fallocate,madvise,mprotect",
                          "-o",
                          proof->data,
                          proof->self,
                          "stress",
                          "--quiet",
                          "--no-verify",
                          "--no-latency",
                          "--pairs",
                          "1",
                          "--memory",
                          "16MiB",
                          "--drain-every",
                          "256",
                          "--chunk",
                          "256KiB",
                          "--total",
                          total,
                          NULL};
    int rc = pipes_run(argv, proof->out);
    FILE *file = rc == 0 ? fopen(proof->data, "r") : NULL;

    if (!file)
        return rc ? rc : -errno;
    *calls = proof_calls(file, call);
    fclose(file);
    return 0;
}

/* What twice the data adds, for each run of the second half. */
static void calls_row(struct proof *proof, const char *call)
{
    char what[96];
    uint64_t some = 0, more = 0;

    snprintf(what, sizeof(what), "steady state: %s per run", call);
    if (!pipes_installed("strace")) {
        bars_limited(proof->bars, what, "0.00", "strace is not installed here");
        return;
    }
    progress("bars: strace, %s", call);
    int rc = count_calls(proof, proof->total, call, &some);
    if (rc == 0)
        rc = count_calls(proof, proof->more, call, &more);
    if (rc != 0) {
        bars_failed(proof->bars, what, "0.00", rc == -ECHILD ? "strace failed" : strerror(-rc));
        return;
    }
    /* The load runs twice, to warm up and to be measured; a run has up to 2 MiB. */
    double runs = 2 * (double)proof->bytes / (2 << 20);
    double each = more > some ? (double)(more - some) / runs : 0;
    bars_row(proof->bars, what, "0.00", verdict_of(each < 0.005, false), NULL,
             "%.3f (%" PRIu64 " calls for %s, %" PRIu64 " for %s)", each, some, proof->total, more,
             proof->more);
}

static void faults_row(struct bars *bars)
{
    struct probe_plan plan = {.dir = bars->dir, .bytes = bars->data_bytes};
    uint64_t faults = 0, runs = 0;
    char why[256];

    if (probe_faults(&plan, &faults, &runs, why, sizeof(why)) != 0 || runs == 0)
        bars_failed(bars, "steady state: page faults per run", "0.00", why);
    else
        bars_row(bars, "steady state: page faults per run", "0.00",
                 verdict_of((double)faults / (double)runs < 0.005, false), NULL,
                 "%.3f (%" PRIu64 " in %" PRIu64 " runs)", (double)faults / (double)runs, faults,
                 runs);
}

static void run(struct bars *bars)
{
    const char *parent = getenv("TMPDIR");
    struct proof proof = {.bars = bars};
    ssize_t bytes = readlink("/proc/self/exe", proof.self, sizeof(proof.self) - 1);

    faults_row(bars);
    snprintf(proof.dir, sizeof(proof.dir), "%.400s/spillbench-XXXXXX",
             bars->dir           ? bars->dir
             : parent && *parent ? parent
                                 : "/var/tmp");
    if (bytes < 0 || !mkdtemp(proof.dir)) {
        bars_failed(bars, "what others see", "to be measured", strerror(errno));
        return;
    }
    snprintf(proof.out, sizeof(proof.out), "%s/out", proof.dir);
    snprintf(proof.data, sizeof(proof.data), "%s/data", proof.dir);
    /* Enough runs for a stray call of libc not to look like one a run. */
    proof.bytes = bars->data_bytes > least_bytes ? bars->data_bytes : least_bytes;
    snprintf(proof.total, sizeof(proof.total), "%" PRIu64 "MiB", proof.bytes >> 20);
    snprintf(proof.more, sizeof(proof.more), "%" PRIu64 "MiB", 2 * proof.bytes >> 20);
    profile_row(&proof);
    calls_row(&proof, "mmap");
    calls_row(&proof, "fallocate");
    unlink(proof.out);
    unlink(proof.data);
    rmdir(proof.dir);
}

const struct bars_group bars_proof = {"proof", run};
