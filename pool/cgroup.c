/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "../lib/cgroup_path.h"
#include "../lib/lines.h"
#include "../lib/os.h"

enum { PATH_BYTES = 512, NUMBER_BYTES = 64 };

/* Version 1 writes "no limit" as the largest multiple of the page size; nobody has this much. */
#define LIMIT_HUGE (UINT64_C(1) << 62)

/* --- numbers -------------------------------------------------------------------------------- */

/* Digits up to white space or the end; too large counts as unlimited. */
static bool parse_bytes(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    const char *p = text;

    if (strncmp(p, "max", 3) == 0 && (p[3] == '\0' || p[3] == '\n')) {
        *out = CGROUP_UNLIMITED;
        return true;
    }
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            value = CGROUP_UNLIMITED;
        if (value == CGROUP_UNLIMITED)
            break;
    }
    if (value != CGROUP_UNLIMITED && *p != '\0' && *p != '\n' && *p != ' ')
        return false;
    *out = value;
    return true;
}

/* One number in a file of its own. Returns 0 or -errno (-EINVAL: not a number). */
static int read_bytes(const struct os *os, const char *path, uint64_t *out)
{
    char text[NUMBER_BYTES];
    long n = os_read_file(os, path, text, sizeof(text));

    if (n < 0)
        return (int)n;
    return parse_bytes(text, out) ? 0 : -EINVAL;
}

/* The same for a limit. A group that has just been removed limits nobody. */
static int read_limit(const struct os *os, const char *path, uint64_t *out)
{
    int rc = read_bytes(os, path, out);

    if (rc == -ENOENT || rc == -ENODEV) {
        *out = CGROUP_UNLIMITED;
        return 0;
    }
    if (rc == 0 && *out >= LIMIT_HUGE)
        *out = CGROUP_UNLIMITED;
    return rc;
}

/* --- the path of groups --------------------------------------------------------------------- */

static bool level_path(char out[PATH_BYTES], const char *directory, const char *file)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", directory, file);

    return n > 0 && n < PATH_BYTES;
}

/* Adds the group in `directory` when its limit and its usage can be read. */
static void add_level(const struct os *os, int version, const char *directory, struct cgroup *out)
{
    struct cgroup_level *level = &out->levels[out->count];
    bool v1 = version == 1;
    uint64_t value;

    if (out->count == CGROUP_MAX_LEVELS)
        return;
    level->version = version;
    level->high[0] = '\0';
    if (!level_path(level->limit, directory, v1 ? "memory.limit_in_bytes" : "memory.max") ||
        !level_path(level->usage, directory, v1 ? "memory.usage_in_bytes" : "memory.current") ||
        !level_path(level->stat, directory, "memory.stat") ||
        (!v1 && !level_path(level->high, directory, "memory.high")))
        return;
    if (read_bytes(os, level->limit, &value) < 0 || read_bytes(os, level->usage, &value) < 0)
        return;
    if (!v1 && read_bytes(os, level->high, &value) < 0)
        level->high[0] = '\0';
    out->count++;
}

/* From the process's own group up to the mount's root. */
static void add_levels(const struct os *os, int version, const struct cgroup_path *own,
                       struct cgroup *out)
{
    char directory[CGROUP_PATH_BYTES];
    char *slash;

    if (!own->found)
        return;
    memcpy(directory, own->directory, sizeof(directory));
    for (;;) {
        add_level(os, version, directory, out);
        slash = strrchr(directory + own->mount_len, '/');
        if (slash == NULL)
            break;
        *slash = '\0';
    }
}

void cgroup_find(const struct os *os, const char *root, struct cgroup *out)
{
    struct cgroup_path v1, v2;

    out->count = 0;
    (void)cgroup_paths(os, root, &v1, &v2);
    add_levels(os, 1, &v1, out);
    add_levels(os, 2, &v2, out);
}

/* --- limits and room ------------------------------------------------------------------------ */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* memory.high throttles instead of killing, and a throttled service is no better off. */
static int level_limit(const struct os *os, const struct cgroup_level *level, uint64_t *out)
{
    uint64_t high = CGROUP_UNLIMITED;
    int rc = read_limit(os, level->limit, out);

    if (rc == 0 && level->high[0] != '\0')
        rc = read_limit(os, level->high, &high);
    if (rc == 0)
        *out = smaller(*out, high);
    return rc;
}

/* "key value" */
static bool stat_line(const char *line, const char *key, uint64_t *out)
{
    size_t len = strlen(key);

    return strncmp(line, key, len) == 0 && line[len] == ' ' && parse_bytes(line + len + 1, out);
}

/* Page cache that can go at once: the inactive part that is neither dirty nor being written. */
static uint64_t level_clean_bytes(const struct os *os, const struct cgroup_level *level)
{
    bool v1 = level->version == 1;
    uint64_t inactive = 0, dirty = 0, writeback = 0;
    struct lines lines;
    char *line;

    if (lines_open(&lines, os, level->stat) < 0)
        return 0;
    while ((line = lines_next(&lines)) != NULL) {
        (void)(stat_line(line, v1 ? "total_inactive_file" : "inactive_file", &inactive) ||
               stat_line(line, v1 ? "total_dirty" : "file_dirty", &dirty) ||
               stat_line(line, v1 ? "total_writeback" : "file_writeback", &writeback));
    }
    lines_close(&lines);
    inactive -= smaller(inactive, dirty);
    return inactive - smaller(inactive, writeback);
}

uint64_t cgroup_limit(const struct os *os, const struct cgroup *cgroup)
{
    uint64_t tightest = CGROUP_UNLIMITED, limit;
    unsigned i;

    for (i = 0; i < cgroup->count; i++) {
        if (level_limit(os, &cgroup->levels[i], &limit) == 0)
            tightest = smaller(tightest, limit);
    }
    return tightest;
}

static int level_headroom(const struct os *os, const struct cgroup_level *level, uint64_t *out)
{
    uint64_t limit, usage;
    int rc = level_limit(os, level, &limit);

    if (rc < 0)
        return rc;
    *out = CGROUP_UNLIMITED;
    if (limit == CGROUP_UNLIMITED)
        return 0;
    rc = read_bytes(os, level->usage, &usage);
    if (rc < 0)
        return rc;
    usage -= smaller(usage, level_clean_bytes(os, level));
    *out = limit > usage ? limit - usage : 0;
    return 0;
}

int cgroup_headroom(const struct os *os, const struct cgroup *cgroup, uint64_t *out)
{
    uint64_t room;
    unsigned i;
    int rc;

    *out = CGROUP_UNLIMITED;
    for (i = 0; i < cgroup->count; i++) {
        rc = level_headroom(os, &cgroup->levels[i], &room);
        if (rc < 0) {
            *out = 0;
            return rc;
        }
        *out = smaller(*out, room);
    }
    return 0;
}

/* Values in KiB of these names; those that are not there stay. False when it cannot be read. */
static bool meminfo_read(const struct os *os, const char *root, const char *const names[2],
                         uint64_t kib[2])
{
    char path[2 * PATH_BYTES];
    struct lines lines;
    char *line;
    unsigned i;
    int n = snprintf(path, sizeof(path), "%s/proc/meminfo", root);

    if (n < 0 || (size_t)n >= sizeof(path) || lines_open(&lines, os, path) < 0)
        return false;
    while ((line = lines_next(&lines)) != NULL) {
        char *value = strchr(line, ':');

        if (value == NULL)
            continue;
        *value++ = '\0';
        value += strspn(value, " ");
        for (i = 0; i < 2; i++)
            if (strcmp(line, names[i]) == 0)
                (void)parse_bytes(value, &kib[i]);
    }
    lines_close(&lines);
    return kib[0] < LIMIT_HUGE / 1024 && kib[1] < LIMIT_HUGE / 1024;
}

uint64_t host_memory(const struct os *os, const char *root, uint64_t *available)
{
    static const char *const names[2] = {"MemTotal", "MemAvailable"};
    uint64_t kib[2] = {0, 0};
    bool known = meminfo_read(os, root, names, kib);

    if (available != NULL)
        *available = known ? kib[1] * 1024 : 0;
    return known ? kib[0] * 1024 : 0;
}

uint64_t host_swap(const struct os *os, const char *root)
{
    static const char *const names[2] = {"SwapTotal", "SwapTotal"};
    uint64_t kib[2] = {0, 0};

    return meminfo_read(os, root, names, kib) ? kib[0] * 1024 : 0;
}

uint64_t memory_limit(const struct os *os, const struct cgroup *cgroup, const char *root)
{
    static const int resources[] = {RLIMIT_AS, RLIMIT_DATA};
    uint64_t tightest = cgroup_limit(os, cgroup), value;
    unsigned i;

    for (i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
        if (os->limit(resources[i], &value) == 0)
            tightest = smaller(tightest, value);
    }
    value = host_memory(os, root, NULL);
    return value > 0 ? smaller(tightest, value) : tightest;
}
