/* SPDX-License-Identifier: MIT */
/*
 * Everything in Prometheus' text format. Names are those of the stats table, with seconds instead
 * of nanoseconds; a metric's samples stand together, as the format wants it.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/utf8.h"
#include "show.h"

enum {
    NAME_BYTES = 96,
    /* Of a histogram: the bounds of powers of two, 1 us to 8.6 s. */
    FIRST_POWER = 10,
    LAST_POWER = 33,
};

struct metric {
    char name[NAME_BYTES];
    bool seconds;
};

/* Bytes that are no UTF-8, as of a name that the kernel has cut, become '?': Prometheus would
 * refuse all that stands beside them. */
static void put_label_value(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t length = utf8_sequence(text);

        if (*text == '\\' || *text == '"')
            putc('\\', out);
        if (length > 0)
            fwrite(text, 1, length, out);
        else
            putc('?', out);
        text += length > 0 ? length : 1;
    }
}

/* Without the closing bracket. */
static void put_labels(FILE *out, const char *name, const struct pool *pool)
{
    fprintf(out, "%s{pool=\"", name);
    put_label_value(out, pool->now.header.name);
    fprintf(out, "\",pid=\"%ld\",id=\"%016" PRIx64 "\"", (long)pool->process.pid,
            pool->now.header.id);
}

static void put_value(FILE *out, uint64_t value, bool seconds)
{
    if (seconds)
        fprintf(out, " %.9g\n", (double)value / 1e9);
    else
        fprintf(out, " %" PRIu64 "\n", value);
}

/* "writer_wait_ns_total" becomes "spillway_writer_wait_seconds_total". */
static struct metric metric_of(const char *prefix, const char *row)
{
    struct metric metric = {.seconds = false};
    const char *at = strstr(row, "_ns");

    if (at != NULL && (at[3] == '\0' || at[3] == '_')) {
        metric.seconds = true;
        (void)snprintf(metric.name, sizeof(metric.name), "%s%.*s_seconds%s", prefix,
                       (int)(at - row), row, at + 3);
    } else {
        (void)snprintf(metric.name, sizeof(metric.name), "%s%s", prefix, row);
    }
    return metric;
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s ", name);
    for (; *help != '\0'; help++) {
        if (*help == '\\')
            putc('\\', out);
        putc(*help, out);
    }
    fprintf(out, "\n# TYPE %s %s\n", name, type);
}

/* ---- rows of the stats table ---- */

#define IS_HELP(row, kind, help)                                                                   \
    if (strcmp(name, #row) == 0)                                                                   \
        return help;

#define IS_HISTOGRAM_HELP(row, help) IS_HELP(row, histogram, help)

static const char *help_of(const char *name)
{
    SPILLWAY_STATS_TABLE(IS_HELP)
    SPILLWAY_HISTOGRAMS_TABLE(IS_HISTOGRAM_HELP)
    return "not known to this version of poolstat";
}

/* What a corrupted page calls a row may be no name of a metric, which would spoil all others. */
static bool is_name(const char *name)
{
    return *name != '\0' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
               strlen(name);
}

/* Whether an earlier pool has the row, so that it was written with that. */
static bool was_written(const struct pools *pools, size_t index, const char *section,
                        const char *name)
{
    for (size_t i = 0; i < index; i++) {
        const struct page_copy *copy = &pools->items[i].now;

        if (page_field(copy, page_section(copy, section), name) != NULL)
            return true;
    }
    return false;
}

static void put_stat(FILE *out, const struct pools *pools, size_t first,
                     const struct copied_field *field)
{
    struct metric metric = metric_of("spillway_", field->name);
    uint64_t value;

    put_head(out, metric.name, field->kind == PAGE_COUNTER ? "counter" : "gauge",
             help_of(field->name));
    for (size_t i = first; i < pools->count; i++) {
        if (!value_stat(&pools->items[i].now, field->name, &value))
            continue;
        put_labels(out, metric.name, &pools->items[i]);
        putc('}', out);
        put_value(out, value, metric.seconds);
    }
}

/* ---- histograms ---- */

static uint64_t count_up_to(const spw_histogram *histogram, uint64_t bound)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS && spw_histogram_bound(i) <= bound; i++)
        count += histogram->counts[i];
    return count;
}

static void put_one_histogram(FILE *out, const struct pool *pool, const char *name,
                              const spw_histogram *histogram, uint64_t sum)
{
    uint64_t count = spw_histogram_count(histogram);
    char full[NAME_BYTES + 16];

    (void)snprintf(full, sizeof(full), "%s_bucket", name);
    for (unsigned power = FIRST_POWER; power < LAST_POWER; power++) {
        uint64_t bound = (UINT64_C(1) << power) - 1;

        put_labels(out, full, pool);
        fprintf(out, ",le=\"%.9g\"} %" PRIu64 "\n", (double)bound / 1e9,
                count_up_to(histogram, bound));
    }
    put_labels(out, full, pool);
    fprintf(out, ",le=\"+Inf\"} %" PRIu64 "\n", count);
    (void)snprintf(full, sizeof(full), "%s_sum", name);
    put_labels(out, full, pool);
    putc('}', out);
    put_value(out, sum, true);
    (void)snprintf(full, sizeof(full), "%s_count", name);
    put_labels(out, full, pool);
    fprintf(out, "} %" PRIu64 "\n", count);
}

static void put_histogram(FILE *out, const struct pools *pools, size_t first, const char *row)
{
    struct metric metric = metric_of("spillway_", row);
    spw_histogram histogram;
    uint64_t sum;

    put_head(out, metric.name, "histogram", help_of(row));
    for (size_t i = first; i < pools->count; i++) {
        if (value_histogram(&pools->items[i].now, NULL, row, &histogram, &sum))
            put_one_histogram(out, &pools->items[i], metric.name, &histogram, sum);
    }
}

static void put_section(FILE *out, const struct pools *pools, const char *name, bool histograms)
{
    for (size_t i = 0; i < pools->count; i++) {
        const struct page_copy *copy = &pools->items[i].now;
        const struct copied_section *section = page_section(copy, name);

        for (uint32_t j = 0; section != NULL && j < section->fields; j++) {
            const struct copied_field *field = &copy->fields[section->first_field + j];

            if (field->kind == PAGE_TEXT || !is_name(field->name) ||
                page_field(copy, section, field->name) != field || /* a name that is there twice */
                was_written(pools, i, name, field->name) ||
                (histograms && was_written(pools, pools->count, "stats", field->name)))
                continue;
            if (histograms)
                put_histogram(out, pools, i, field->name);
            else
                put_stat(out, pools, i, field);
        }
    }
}

/* ---- directories and nodes ---- */

static void put_row_label(FILE *out, const struct page_copy *copy,
                          const struct copied_section *section, uint32_t row, const char *label,
                          const struct copied_field *key)
{
    char text[512];

    fprintf(out, ",%s=\"", label);
    if (key->kind == PAGE_TEXT)
        put_label_value(out, page_text(copy, section, row, key, text, sizeof(text)));
    else
        fprintf(out, "%" PRIu64, page_number(copy, section, row, key));
    fputs("\"}", out);
}

static void put_row_field(FILE *out, const struct pools *pools, const char *name, const char *label,
                          const char *key_name, const char *field_name)
{
    char prefix[64];
    struct metric metric;

    (void)snprintf(prefix, sizeof(prefix), "spillway_%s_", label);
    metric = metric_of(prefix, field_name);
    for (size_t i = 0; i < pools->count; i++) {
        const struct page_copy *copy = &pools->items[i].now;
        const struct copied_section *section = page_section(copy, name);
        const struct copied_field *field = page_field(copy, section, field_name);
        const struct copied_field *key = page_field(copy, section, key_name);
        const struct copied_field *used = page_field(copy, section, "used");

        for (uint32_t row = 0; field && key && row < section->rows; row++) {
            if (used != NULL && page_number(copy, section, row, used) == 0)
                continue;
            put_labels(out, metric.name, &pools->items[i]);
            put_row_label(out, copy, section, row, label, key);
            put_value(out, page_number(copy, section, row, field), metric.seconds);
        }
    }
}

static void put_rows(FILE *out, const struct pools *pools)
{
    static const struct {
        const char *section, *label, *key, *field, *type, *help;
    } rows[] = {
        {"dirs", "dir", "name", "file_bytes", "gauge", "space of the directory's scratch file"},
        {"dirs", "dir", "name", "stored_bytes", "gauge", "extents in use there"},
        {"dirs", "dir", "name", "full_total", "counter", "times that there was no space"},
        {"dirs", "dir", "name", "errors_total", "counter", "writes that failed there"},
        {"dirs", "dir", "name", "withdrawn", "gauge", "1: nothing more goes there after an error"},
        {"dirs", "dir", "name", "full", "gauge", "1: it takes no more for now"},
        {"nodes", "node", "node", "segment_bytes", "gauge", "segment bytes found on the node"},
        {"nodes", "node", "node", "misplaced_bytes", "gauge",
         "the same, of segments that should be elsewhere"},
    };
    char name[NAME_BYTES];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)snprintf(name, sizeof(name), "spillway_%s_%s", rows[i].label, rows[i].field);
        put_head(out, name, rows[i].type, rows[i].help);
        put_row_field(out, pools, rows[i].section, rows[i].label, rows[i].key, rows[i].field);
    }
}

/* ---- all of it ---- */

static void put_about(FILE *out, const struct pools *pools)
{
    char text[64];

    put_head(out, "spillway_pool_info", "gauge", "what the pool is");
    for (size_t i = 0; i < pools->count; i++) {
        const struct pool *pool = &pools->items[i];

        put_labels(out, "spillway_pool_info", pool);
        fputs(",process=\"", out);
        put_label_value(out, pool->process.comm);
        fprintf(out, "\",state=\"%s\",library=\"", value_state(pool));
        put_label_value(out, pool->now.header.library);
        fputs("\",engine=\"", out);
        put_label_value(out, value_text(&pool->now, "engine", text, sizeof(text)));
        fputs("\",seal_mode=\"", out);
        put_label_value(out, value_text(&pool->now, "seal_mode", text, sizeof(text)));
        fputs("\"} 1\n", out);
    }
    put_head(out, "spillway_pools", "gauge", "pools that can be seen");
    fprintf(out, "spillway_pools %zu\n", pools->count);
    put_head(out, "spillway_hidden_processes", "gauge",
             "processes of others, whose pools cannot be seen");
    fprintf(out, "spillway_hidden_processes %u\n", pools->hidden);
}

static void put_all(FILE *out, const struct pools *pools)
{
    put_about(out, pools);
    put_section(out, pools, "stats", false);
    put_section(out, pools, "histograms", true);
    put_rows(out, pools);
}

static int textfile_failed(const char *path, const char *temporary, int err)
{
    fprintf(stderr, "poolstat: cannot write '%s': %s\n", path,
            err == EEXIST ? "it is there, and no plain file that could be replaced"
                          : strerror(err));
    if (temporary != NULL)
        unlink(temporary);
    return EXIT_NOT_FOUND;
}

/* A device, a pipe or a link (/dev/stdout) would be gone: only plain files are replaced. */
static bool may_replace(const char *path)
{
    struct stat st;

    return lstat(path, &st) != 0 || S_ISREG(st.st_mode);
}

/* A reader sees the old file or the new one, never a part; it may be another user. */
static int write_textfile(const char *path, const struct pools *pools)
{
    char temporary[4096];
    mode_t mask = umask(0);
    FILE *out;
    int fd, err;

    umask(mask);
    if (!may_replace(path))
        return textfile_failed(path, NULL, EEXIST);
    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        return textfile_failed(path, NULL, ENAMETOOLONG);
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return textfile_failed(path, NULL, errno);
    out = fdopen(fd, "w");
    if (out == NULL) {
        err = errno;
        close(fd);
        return textfile_failed(path, temporary, err);
    }
    put_all(out, pools);
    err = fflush(out) != 0 || ferror(out) || fchmod(fd, 0644 & ~mask) != 0 ? errno : 0;
    if (fclose(out) != 0 && err == 0)
        err = errno;
    if (err == 0 && rename(temporary, path) != 0)
        err = errno;
    return err ? textfile_failed(path, temporary, err) : EXIT_FINE;
}

int show_prometheus(const struct args *args)
{
    struct session session;
    int code = session_open(&session, args, false);

    if (code == EXIT_FINE) {
        do {
            if (args->textfile != NULL)
                code = write_textfile(args->textfile, &session.pools);
            else
                put_all(stdout, &session.pools);
            session_forget_gone(&session);
        } while (session_again(&session));
    }
    session_close(&session);
    return show_end(code);
}
