/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "../lib/os.h"

/* A line that is longer is passed over; the mount lines that matter here are short. */
enum { LINE_BYTES = 4096, PATH_BYTES = 512, NUMBER_BYTES = 64 };

/* Version 1 writes "no limit" as the largest multiple of the page size; nobody has this much. */
#define LIMIT_HUGE (UINT64_C(1) << 62)

/* --- reading text line by line, since mountinfo has no useful bound ------------------------- */

struct lines {
    const struct os *os;
    int fd;
    bool skipping; /* inside a line that did not fit */
    size_t start, end;
    char buf[LINE_BYTES + 1];
};

static int lines_open(struct lines *lines, const struct os *os, const char *path)
{
    lines->os = os;
    lines->skipping = false;
    lines->start = lines->end = 0;
    lines->fd = os->open(path, O_RDONLY | O_CLOEXEC, 0);
    return lines->fd < 0 ? lines->fd : 0;
}

static void lines_close(struct lines *lines)
{
    os_close(lines->os, lines->fd);
}

/* Moves what is left to the front and reads more. Returns false at the end or on an error. */
static bool lines_fill(struct lines *lines)
{
    ssize_t n;

    memmove(lines->buf, lines->buf + lines->start, lines->end - lines->start);
    lines->end -= lines->start;
    lines->start = 0;
    if (lines->end == LINE_BYTES) {
        lines->skipping = true;
        lines->end = 0;
    }
    do
        n = lines->os->read(lines->fd, lines->buf + lines->end, LINE_BYTES - lines->end);
    while (n == -EINTR);
    if (n <= 0)
        return false;
    lines->end += (size_t)n;
    return true;
}

/* The next line without its newline, valid until the next call; NULL at the end. */
static char *lines_next(struct lines *lines)
{
    for (;;) {
        char *line = lines->buf + lines->start;
        char *newline = memchr(line, '\n', lines->end - lines->start);

        if (newline != NULL) {
            *newline = '\0';
            lines->start = (size_t)(newline + 1 - lines->buf);
            if (!lines->skipping)
                return line;
            lines->skipping = false;
            continue;
        }
        if (lines_fill(lines))
            continue;
        if (lines->start == lines->end || lines->skipping)
            return NULL;
        line = lines->buf + lines->start;
        lines->buf[lines->end] = '\0';
        lines->start = lines->end;
        return line;
    }
}

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

/* Where a process is in one hierarchy, and which mount shows most of the way there. */
struct hierarchy {
    int version;
    bool found, mounted;
    bool exact;             /* the mount's root is on the process's path */
    char group[PATH_BYTES]; /* as /proc/self/cgroup has it */
    char mount[PATH_BYTES]; /* mount point, without the fixture's root */
    char below[PATH_BYTES]; /* the group's path below the mount point, "" or "/..." */
    size_t root_len;        /* of the mount's root: the shorter, the more is visible */
};

/* Whether `word` is one of the comma-separated words of `list`. */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    const char *p = list;

    while (p != NULL) {
        if (strncmp(p, word, len) == 0 && (p[len] == ',' || p[len] == '\0'))
            return true;
        p = strchr(p, ',');
        if (p != NULL)
            p++;
    }
    return false;
}

static bool copy_path(char out[PATH_BYTES], const char *text)
{
    size_t len = strlen(text);

    if (len >= PATH_BYTES)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

/* "4:memory:/a/b" or "0::/a/b" */
static void read_group_line(char *line, struct hierarchy *v1, struct hierarchy *v2)
{
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

    if (path == NULL || path[1] != '/')
        return;
    *path++ = '\0';
    *controllers++ = '\0';
    if (strcmp(line, "0") == 0 && controllers[0] == '\0')
        v2->found = copy_path(v2->group, path);
    else if (list_has(controllers, "memory"))
        v1->found = copy_path(v1->group, path);
}

/* Octal escapes as mountinfo has them, decoded in place. */
static void unescape(char *text)
{
    char *to = text;

    while (*text != '\0') {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
            text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
            *to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 4;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}

/* A path that climbs would leave the mount. */
static bool path_climbs(const char *path)
{
    const char *p = path;

    while ((p = strstr(p, "/..")) != NULL) {
        if (p[3] == '/' || p[3] == '\0')
            return true;
        p += 3;
    }
    return false;
}

/*
 * Takes a mount of the hierarchy when it shows more of the path than the one taken before. Where
 * the mount's root is not on our path (a namespace whose names we cannot see), the mount point
 * alone is used: it holds the limit of a container in every arrangement we know of.
 */
static void take_mount(struct hierarchy *h, const char *root, const char *mount)
{
    size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const char *below = "";
    bool exact = false;

    if (strncmp(h->group, root, len) == 0 && (h->group[len] == '/' || h->group[len] == '\0') &&
        !path_climbs(h->group + len)) {
        exact = true;
        below = strcmp(h->group + len, "/") == 0 ? "" : h->group + len;
    }
    if (h->mounted && (h->exact > exact || (h->exact == exact && h->root_len <= len)))
        return;
    if (!copy_path(h->mount, strcmp(mount, "/") == 0 ? "" : mount))
        return;
    h->mounted = copy_path(h->below, below);
    h->exact = exact;
    h->root_len = len;
}

/* "31 23 0:28 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory" */
static void read_mount_line(char *line, struct hierarchy *v1, struct hierarchy *v2)
{
    enum { ROOT = 3, MOUNT = 4, FIELDS = 5 };
    enum { TYPE, SOURCE, OPTIONS, TAIL_FIELDS };
    char *fields[FIELDS], *tail[TAIL_FIELDS], *save = NULL;
    char *dash = strstr(line, " - ");
    int i;

    if (dash == NULL)
        return;
    *dash = '\0';
    for (i = 0; i < FIELDS; i++) {
        fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        if (fields[i] == NULL)
            return;
    }
    for (i = 0; i < TAIL_FIELDS; i++) {
        tail[i] = strtok_r(i == 0 ? dash + 3 : NULL, " ", &save);
        if (tail[i] == NULL)
            return;
    }
    unescape(fields[ROOT]);
    unescape(fields[MOUNT]);
    if (v2->found && strcmp(tail[TYPE], "cgroup2") == 0)
        take_mount(v2, fields[ROOT], fields[MOUNT]);
    else if (v1->found && strcmp(tail[TYPE], "cgroup") == 0 && list_has(tail[OPTIONS], "memory"))
        take_mount(v1, fields[ROOT], fields[MOUNT]);
}

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
static void add_levels(const struct os *os, const char *root, struct hierarchy *h,
                       struct cgroup *out)
{
    char directory[3 * PATH_BYTES];
    size_t top;
    char *slash;
    int n;

    n = snprintf(directory, sizeof(directory), "%s%s", root, h->mount);
    if (n < 0 || (size_t)n >= sizeof(directory) - strlen(h->below))
        return;
    top = (size_t)n;
    memcpy(directory + top, h->below, strlen(h->below) + 1);
    for (;;) {
        add_level(os, h->version, directory, out);
        slash = strrchr(directory + top, '/');
        if (slash == NULL)
            break;
        *slash = '\0';
    }
}

static void for_each_line(const struct os *os, const char *root, const char *file,
                          void (*take)(char *line, struct hierarchy *v1, struct hierarchy *v2),
                          struct hierarchy *v1, struct hierarchy *v2)
{
    char path[2 * PATH_BYTES];
    struct lines lines;
    char *line;
    int n = snprintf(path, sizeof(path), "%s%s", root, file);

    if (n < 0 || (size_t)n >= sizeof(path) || lines_open(&lines, os, path) < 0)
        return;
    while ((line = lines_next(&lines)) != NULL)
        take(line, v1, v2);
    lines_close(&lines);
}

void cgroup_find(const struct os *os, const char *root, struct cgroup *out)
{
    struct hierarchy v1 = {.version = 1}, v2 = {.version = 2};

    out->count = 0;
    for_each_line(os, root, "/proc/self/cgroup", read_group_line, &v1, &v2);
    if (!v1.found && !v2.found)
        return;
    for_each_line(os, root, "/proc/self/mountinfo", read_mount_line, &v1, &v2);
    if (v1.mounted)
        add_levels(os, root, &v1, out);
    if (v2.mounted)
        add_levels(os, root, &v2, out);
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

uint64_t host_memory(const struct os *os, const char *root, uint64_t *available)
{
    uint64_t total_kib = 0, available_kib = 0;
    char path[2 * PATH_BYTES];
    struct lines lines;
    char *line;
    int n = snprintf(path, sizeof(path), "%s/proc/meminfo", root);

    if (available != NULL)
        *available = 0;
    if (n < 0 || (size_t)n >= sizeof(path) || lines_open(&lines, os, path) < 0)
        return 0;
    while ((line = lines_next(&lines)) != NULL) {
        char *value = strchr(line, ':');

        if (value == NULL)
            continue;
        *value++ = '\0';
        value += strspn(value, " ");
        if (strcmp(line, "MemTotal") == 0)
            (void)parse_bytes(value, &total_kib);
        else if (strcmp(line, "MemAvailable") == 0)
            (void)parse_bytes(value, &available_kib);
    }
    lines_close(&lines);
    if (total_kib >= LIMIT_HUGE / 1024 || available_kib >= LIMIT_HUGE / 1024)
        return 0;
    if (available != NULL)
        *available = available_kib * 1024;
    return total_kib * 1024;
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
