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

/* When the consumer starts, and the rows of that. */
struct late {
    double late_s; /* after the producer; 0: once all input is taken */
    unsigned pairs;
    const char *what, *what_cpu; /* NULL: no row */
};

static int late_round(struct pipe_bars *pipe, double late_s, struct series walls[2],
                      struct series cpus[2])
{
    char *const ours[] = {pipe->spillpipe, "--quiet", "--memory", "64M", NULL};
    char *const buffer[] = {"mbuffer",         "-q", "-m", pipe->buffer_size, "-T",
                            pipe->buffer_file, NULL};
    struct pipes_taken taken;
    int rc = pipes_late(pipe->data, ours, pipe->bytes, late_s, &taken);

    series_add(&walls[0], taken.wall_s);
    series_add(&cpus[0], taken.cpu_s);
    if (rc == 0)
        rc = pipes_late(pipe->data, buffer, pipe->bytes, late_s, &taken);
    series_add(&walls[1], taken.wall_s);
    series_add(&cpus[1], taken.cpu_s);
    unlink(pipe->buffer_file);
    return rc;
}

/* What keeps its file in the page cache reads it at the speed of memory; that is only out of reach
 * for a program with 64 MiB where the device alone takes longer. */
static void late_row(struct pipe_bars *pipe, const struct late *late, const struct series walls[2],
                     unsigned pairs)
{
    struct series ratio;
    char span[SPAN_BYTES], why[256] = "";
    double theirs_s = series_median(&walls[1]), device_s = 0;

    series_ratio(&walls[1], &walls[0], &ratio);
    bool reached = series_median(&ratio) > 1;
    if (!reached && bars_rates(pipe->bars, why, sizeof(why))) {
        device_s = (double)pipe->bytes / pipe->bars->read_rate;
        snprintf(why, sizeof(why),
                 "mbuffer has all of its file in the page cache by then; the device alone takes "
                 "%.2f s to read %.2f GB",
                 device_s, gigabytes((double)pipe->bytes));
    }
    bars_row(pipe->bars, late->what, "> 1.00 x faster", verdict_of(reached, device_s > theirs_s),
             reached ? NULL : why, "%s x; %.2f s against %.2f s from its start; pairs: %u",
             span_text(span, &ratio, "%.2f"), series_median(&walls[0]), theirs_s, pairs);
}

static void beside_mbuffer(struct pipe_bars *pipe, const struct late *late)
{
    struct series walls[2] = {{.count = 0}, {.count = 0}}, cpus[2] = {{.count = 0}, {.count = 0}};
    struct series ratio;
    char span[SPAN_BYTES];
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < late->pairs; i++) {
        progress("bars: spillpipe beside mbuffer, round %u of %u", i + 1, late->pairs);
        rc = late_round(pipe, late->late_s, walls, cpus);
    }
    if (rc != 0) {
        bars_failed(pipe->bars, late->what, "> 1.00 x faster", reason(rc));
        return;
    }
    late_row(pipe, late, walls, late->pairs);
    if (!late->what_cpu)
        return;
    series_ratio(&cpus[1], &cpus[0], &ratio);
    bars_row(pipe->bars, late->what_cpu, "> 1.00 x less",
             verdict_of(series_median(&ratio) > 1, false), NULL, "%s x; %.2f s against %.2f s",
             span_text(span, &ratio, "%.2f"), series_median(&cpus[0]), series_median(&cpus[1]));
}

static void late_consumers(struct pipe_bars *pipe)
{
    bool quick = pipe->bars->options->quick;
    const struct late fixed = {.late_s = quick ? 0.5 : 5,
                               .pairs = quick ? 1 : 2,
                               .what = "consumer 5 s late, beside mbuffer with its disk file",
                               .what_cpu = "consumer 5 s late, CPU beside mbuffer"};
    const struct late all = {.pairs = quick ? 1 : 2,
                             .what = "consumer once all input is taken, beside mbuffer"};

    if (!pipes_installed("mbuffer")) {
        bars_limited(pipe->bars, fixed.what, "> 1.00 x faster", "mbuffer is not installed here");
        return;
    }
    beside_mbuffer(pipe, &fixed);
    beside_mbuffer(pipe, &all);
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
    late_consumers(&pipe);
    close(pipe.data);
}

const struct bars_group bars_pipe = {"pipe", run};
