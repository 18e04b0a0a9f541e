/* SPDX-License-Identifier: MIT */
#include "spillpipe_report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"

enum {
    LINE_BYTES = 512,
    JSON_BYTES = 16384,
    WIDE_COLUMNS = 124, /* enough for the long form of the progress line */
};

/* An end that stays in one call for this long is waiting. */
#define WAITS_NS UINT64_C(50000000)

/* Rates are means over about this long. */
#define RATE_WINDOW_NS UINT64_C(2000000000)

/* A line of which fields that do not fit are left out. */
struct line {
    char text[LINE_BYTES];
    size_t len, columns;
};

__attribute__((format(printf, 2, 3))) static void line_field(struct line *line, const char *format,
                                                             ...)
{
    char field[160];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(field, sizeof(field), format, list);
    va_end(list);
    if (n < 0 || line->len + 2 + (size_t)n > line->columns ||
        line->len + 2 + (size_t)n >= sizeof(line->text))
        return;
    line->len += (size_t)snprintf(line->text + line->len, sizeof(line->text) - line->len, "%s%s",
                                  line->len ? "  " : "", field);
}

void report_init(struct report *report, struct transfer *transfer)
{
    *report = (struct report){.transfer = transfer};
}

static struct report_sample sample_now(const struct transfer *transfer)
{
    const struct meter *meter = &transfer->meter;
    return (struct report_sample){
        .at_ns = meter_now_ns(),
        .in_bytes = atomic_load_explicit(&meter->in.bytes, memory_order_relaxed),
        .out_bytes = atomic_load_explicit(&meter->out.bytes, memory_order_relaxed),
    };
}

/* What rates are measured from: the oldest sample inside the window, else the last one. */
static struct report_sample sample_before(const struct report *report, uint64_t now_ns)
{
    struct report_sample best = {.at_ns = report->transfer->meter.start_ns};
    for (size_t back = 1; back <= report->taken && back <= REPORT_SAMPLES; back++) {
        struct report_sample at = report->samples[(report->taken - back) % REPORT_SAMPLES];
        if (back > 1 && now_ns - at.at_ns > RATE_WINDOW_NS)
            break;
        best = at;
    }
    return best;
}

enum waiting { NOBODY, FOR_ROOM, FOR_CONSUMER, FOR_SPILLED, FOR_INPUT };

/* Who holds things up at the moment. */
static enum waiting who_waits(const struct meter *meter, bool behind)
{
    if (meter_in_state_ns(&meter->in, METER_WAITS_INSIDE) > WAITS_NS)
        return FOR_ROOM;
    if (meter_in_state_ns(&meter->out, METER_WAITS_OUTSIDE) > WAITS_NS)
        return FOR_CONSUMER;
    if (behind && meter_in_state_ns(&meter->out, METER_WAITS_INSIDE) > WAITS_NS)
        return FOR_SPILLED;
    if (!behind && meter_in_state_ns(&meter->in, METER_WAITS_OUTSIDE) > WAITS_NS)
        return FOR_INPUT;
    return NOBODY;
}

/* All that one progress line says. */
struct moment {
    struct report_sample now;
    uint64_t elapsed_ns, in_per_second, out_per_second;
    spw_stats stats;
    enum waiting waiting;
};

static void line_wide(struct line *line, const struct moment *moment)
{
    static const char *const waits[] = {"", "input waits for room", "waiting for the consumer",
                                        "waiting for spilled bytes", "waiting for input"};
    const spw_stats *stats = &moment->stats;
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES];
    line_field(line, "%s", text_clock(a, moment->elapsed_ns));
    line_field(line, "in %s %s/s", text_size(a, moment->now.in_bytes),
               text_size(b, moment->in_per_second));
    line_field(line, "out %s %s/s", text_size(a, moment->now.out_bytes),
               text_size(b, moment->out_per_second));
    line_field(line, "resident %s", text_size(a, stats->used_bytes));
    if (stats->memory_tier_capacity_bytes)
        line_field(line, "memory tier %s", text_size(a, stats->memory_tier_stored_bytes));
    if (stats->disk_limit_bytes)
        line_field(line, "disk %s", text_size(a, stats->disk_stored_bytes));
    if (moment->waiting)
        line_field(line, "%s", waits[moment->waiting]);
}

/* The same for 80 columns. */
static void line_narrow(struct line *line, const struct moment *moment)
{
    static const char *const waits[] = {"", "in: full", "out: slow", "out: tiers", "in: idle"};
    const spw_stats *stats = &moment->stats;
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES];
    line_field(line, "%s", text_clock(a, moment->elapsed_ns));
    line_field(line, "in %s %s/s", text_short(a, moment->now.in_bytes),
               text_short(b, moment->in_per_second));
    line_field(line, "out %s %s/s", text_short(a, moment->now.out_bytes),
               text_short(b, moment->out_per_second));
    line_field(line, "mem %s", text_short(a, stats->used_bytes));
    line_field(line, "spilled %s",
               text_short(a, stats->memory_tier_stored_bytes + stats->disk_stored_bytes));
    if (moment->waiting)
        line_field(line, "%s", waits[moment->waiting]);
}

void report_progress(struct report *report)
{
    struct transfer *transfer = report->transfer;
    struct moment moment = {.stats = {.size = sizeof(moment.stats)}, .now = sample_now(transfer)};
    struct report_sample old = sample_before(report, moment.now.at_ns);
    struct line line = {.columns = console_columns(transfer->console)};
    uint64_t ns = moment.now.at_ns - old.at_ns;

    report->samples[report->taken++ % REPORT_SAMPLES] = moment.now;
    if (spw_pool_stats(transfer->pool, &moment.stats) != 0)
        return;
    moment.elapsed_ns = moment.now.at_ns - transfer->meter.start_ns;
    moment.in_per_second = text_per_second(moment.now.in_bytes - old.in_bytes, ns);
    moment.out_per_second = text_per_second(moment.now.out_bytes - old.out_bytes, ns);
    moment.waiting = who_waits(&transfer->meter, moment.now.in_bytes > moment.now.out_bytes);
    if (line.columns >= WIDE_COLUMNS)
        line_wide(&line, &moment);
    else
        line_narrow(&line, &moment);
    console_progress(transfer->console, line.text);
}

/* The largest resident set so far, as users see it; 0 when the kernel does not say. */
static uint64_t resident_peak(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, "VmHWM:");
    return at ? strtoull(at + strlen("VmHWM:"), NULL, 10) * 1024 : 0;
}

static void report_summary(struct transfer *transfer, const spw_stats *stats)
{
    char line[LINE_BYTES], n[12][TEXT_NUMBER_BYTES];
    struct meter *meter = &transfer->meter;
    struct report_sample now = sample_now(transfer);
    uint64_t total_ns = now.at_ns - meter->start_ns;
    uint64_t after_ns = meter_in_state_ns(&meter->in, METER_DONE);
    uint64_t in_ns = total_ns > after_ns ? total_ns - after_ns : 0;
    snprintf(line, sizeof(line),
             "spillpipe: in %s in %s (%s), out %s in %s (%s); peak %s of %s budget, resident set "
             "%s; spilled %s to memory tier, %s to disk; fetched %s from memory tier, %s from "
             "disk; engine %s",
             text_size(n[0], now.in_bytes), text_seconds(n[1], in_ns),
             text_rate(n[2], now.in_bytes, in_ns), text_size(n[3], now.out_bytes),
             text_seconds(n[4], total_ns), text_rate(n[5], now.out_bytes, total_ns),
             text_size(n[6], stats->used_peak_bytes), text_size(n[7], stats->budget_bytes),
             text_size(n[8], resident_peak()), text_size(n[9], stats->spilled_memory_bytes_total),
             text_size(n[10], stats->spilled_disk_bytes_total),
             text_size(n[11], stats->fetched_memory_bytes_total),
             text_size((char[TEXT_NUMBER_BYTES]){0}, stats->fetched_disk_bytes_total),
             stats->engine);
    console_print(transfer->console, line);
}

bool report_open_stats(struct transfer *transfer)
{
    const char *path = transfer->args->stats_path;
    transfer->stats_fd = STDERR_FILENO;
    if (!path || strcmp(path, "-") == 0)
        return true;
    transfer->stats_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    if (transfer->stats_fd >= 0)
        return true;
    console_say(transfer->console, SPILLWAY_LOG_ERROR, "cannot write --stats '%s': %s", path,
                strerror(errno));
    return false;
}

/* Returns 0 or an errno. */
static int write_line(int fd, const char *text)
{
    size_t len = strlen(text);
    for (size_t at = 0; at <= len;) {
        ssize_t n = at < len ? write(fd, text + at, len - at) : write(fd, "\n", 1);
        if (n < 0 && errno != EINTR)
            return errno;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static bool report_json(struct transfer *transfer, const spw_stats *stats)
{
    char json[JSON_BYTES];
    const char *path = transfer->args->stats_path;
    long n = spw_stats_json(stats, json, sizeof(json));
    if (n >= 0 && strcmp(path, "-") == 0) {
        console_print(transfer->console, json);
        return true;
    }
    int err = n < 0 ? (int)-n : write_line(transfer->stats_fd, json);
    if (close(transfer->stats_fd) != 0 && !err)
        err = errno;
    if (err)
        console_say(transfer->console, SPILLWAY_LOG_ERROR, "cannot write --stats '%s': %s", path,
                    strerror(err));
    return !err;
}

bool report_end(struct transfer *transfer)
{
    spw_stats stats = {.size = sizeof(stats)};
    if (!transfer->args->verbose && !transfer->args->stats_path)
        return true;
    int err = spw_pool_stats(transfer->pool, &stats);
    if (err) {
        console_say(transfer->console, SPILLWAY_LOG_ERROR, "no statistics: %s", strerror(-err));
        return false;
    }
    if (transfer->args->verbose)
        report_summary(transfer, &stats);
    return !transfer->args->stats_path || report_json(transfer, &stats);
}
