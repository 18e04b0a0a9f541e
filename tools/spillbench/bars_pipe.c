/* SPDX-License-Identifier: MIT */
/* Bars of spillpipe: beside cat, and beside mbuffer with its disk file. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bars.h"
#include "pipes.h"
#include "spillway/errors.h"

struct pipe_bars {
    struct bars *bars;
    int data;
    uint64_t bytes;
    char spillpipe[512], buffer_file[512], buffer_size[32];
};

static const char *reason(int rc)
{
    return rc == -ECHILD ? "a program in the pipe failed" : strerror(-rc);
}

static void beside_cat(struct pipe_bars *pipe)
{
    static const char what[] = "cat FILE | spillpipe --memory 64M > /dev/null";
    static const char asked[] = "<= 1.20 x through cat";
    char *const ours[] = {pipe->spillpipe, "--quiet", "--memory", "64M", NULL};
    char *const cat[] = {"cat", NULL};
    struct series walls[2] = {{.count = 0}, {.count = 0}}, ratio;
    struct pipes_taken taken;
    char span[SPAN_BYTES];
    int rc = pipes_through(pipe->data, cat, &taken);

    if (rc == 0)
        rc = pipes_through(pipe->data, ours, &taken);
    for (unsigned i = 0; rc == 0 && bars_goes_on(pipe->bars, i); i++) {
        progress("bars: spillpipe beside cat, round %u of %u", i + 1, pipe->bars->pairs);
        rc = pipes_through(pipe->data, cat, &taken);
        series_add(&walls[0], taken.wall_s);
        if (rc == 0)
            rc = pipes_through(pipe->data, ours, &taken);
        series_add(&walls[1], taken.wall_s);
    }
    if (rc != 0) {
        bars_failed(pipe->bars, what, asked, reason(rc));
        return;
    }
    series_ratio(&walls[1], &walls[0], &ratio);
    bars_row(pipe->bars, what, asked, verdict_of(at_most(series_median(&ratio), 1.2), false), NULL,
             "%s x; %.2f s against %.2f s; %.2f GB", span_text(span, &ratio, "%.2f"),
             series_median(&walls[1]), series_median(&walls[0]), gigabytes((double)pipe->bytes));
}

static int late_round(struct pipe_bars *pipe, struct series walls[2], struct series cpus[2])
{
    char *const ours[] = {pipe->spillpipe, "--quiet", "--memory", "64M", NULL};
    char *const buffer[] = {"mbuffer",         "-q", "-m", pipe->buffer_size, "-T",
                            pipe->buffer_file, NULL};
    struct pipes_taken taken;
    int rc = pipes_late(pipe->data, ours, pipe->bytes, &taken);

    series_add(&walls[0], taken.wall_s);
    series_add(&cpus[0], taken.cpu_s);
    if (rc == 0)
        rc = pipes_late(pipe->data, buffer, pipe->bytes, &taken);
    series_add(&walls[1], taken.wall_s);
    series_add(&cpus[1], taken.cpu_s);
    unlink(pipe->buffer_file);
    return rc;
}

static void beside_mbuffer(struct pipe_bars *pipe)
{
    static const char what[] = "late consumer, beside mbuffer with its disk file";
    static const char what_cpu[] = "late consumer, CPU beside mbuffer";
    struct series walls[2] = {{.count = 0}, {.count = 0}}, cpus[2] = {{.count = 0}, {.count = 0}};
    struct series ratio;
    char span[SPAN_BYTES];
    int rc = 0;

    if (!pipes_installed("mbuffer")) {
        bars_limited(pipe->bars, what, "> 1.00 x faster", "mbuffer is not installed here");
        return;
    }
    for (unsigned i = 0; rc == 0 && i < (pipe->bars->options->quick ? 1 : 3); i++) {
        progress("bars: spillpipe beside mbuffer, round %u", i + 1);
        rc = late_round(pipe, walls, cpus);
    }
    if (rc != 0) {
        bars_failed(pipe->bars, what, "> 1.00 x faster", reason(rc));
        return;
    }
    series_ratio(&walls[1], &walls[0], &ratio);
    bars_row(pipe->bars, what, "> 1.00 x faster", verdict_of(series_median(&ratio) > 1, false),
             NULL, "%s x; %.2f s against %.2f s from its start; pairs: %u",
             span_text(span, &ratio, "%.2f"), series_median(&walls[0]), series_median(&walls[1]),
             ratio.count);
    series_ratio(&cpus[1], &cpus[0], &ratio);
    bars_row(pipe->bars, what_cpu, "> 1.00 x less", verdict_of(series_median(&ratio) > 1, false),
             NULL, "%s x; %.2f s against %.2f s; pairs: %u", span_text(span, &ratio, "%.2f"),
             series_median(&cpus[0]), series_median(&cpus[1]), ratio.count);
}

/* Beside this program, unless told. */
static bool find_spillpipe(struct pipe_bars *pipe)
{
    const char *given = pipe->bars->options->spillpipe;

    if (given) {
        snprintf(pipe->spillpipe, sizeof(pipe->spillpipe), "%s", given);
    } else {
        ssize_t bytes = readlink("/proc/self/exe", pipe->spillpipe, sizeof(pipe->spillpipe) - 1);
        if (bytes < 0)
            return false;
        pipe->spillpipe[bytes] = '\0';
        char *name = strrchr(pipe->spillpipe, '/');
        size_t room = sizeof(pipe->spillpipe) - (size_t)(name + 1 - pipe->spillpipe);
        snprintf(name + 1, room, "spillpipe");
    }
    return access(pipe->spillpipe, X_OK) == 0;
}

static void run(struct bars *bars)
{
    const char *parent = getenv("TMPDIR");
    const char *dir = bars->dir ? bars->dir : parent && *parent ? parent : "/var/tmp";
    struct pipe_bars pipe = {.bars = bars, .bytes = bars->options->pipe_bytes};

    if (bars->options->quick && pipe.bytes > UINT64_C(128) << 20)
        pipe.bytes = UINT64_C(128) << 20;
    snprintf(pipe.buffer_file, sizeof(pipe.buffer_file), "%.400s/spillbench-mbuffer-%d", dir,
             (int)getpid());
    snprintf(pipe.buffer_size, sizeof(pipe.buffer_size), "%" PRIu64 "M",
             (pipe.bytes >> 20) + (pipe.bytes >> 24) + 16);
    if (!find_spillpipe(&pipe)) {
        bars_failed(bars, "spillpipe", "to be measured", "there is no such program");
        return;
    }
    progress("bars: tar of /usr");
    pipe.data = pipes_data(dir, pipe.bytes);
    if (pipe.data < 0) {
        bars_failed(bars, "spillpipe", "to be measured", reason(pipe.data));
        return;
    }
    beside_cat(&pipe);
    beside_mbuffer(&pipe);
    close(pipe.data);
}

const struct bars_group bars_pipe = {"pipe", run};
