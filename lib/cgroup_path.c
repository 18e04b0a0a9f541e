/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "cgroup_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lines.h"

enum { PATH_BYTES = 512 };

_Static_assert(CGROUP_PATH_BYTES >= 3 * PATH_BYTES, "a root, a mount point and a group fit");

/* Where a process is in one hierarchy, and which mount shows most of the way there. */
struct hierarchy {
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

/* Returns 0 or -errno of open. */
static int for_each_line(const struct os *os, const char *root, const char *file,
                         void (*take)(char *line, struct hierarchy *v1, struct hierarchy *v2),
                         struct hierarchy *v1, struct hierarchy *v2)
{
    char path[2 * PATH_BYTES];
    struct lines lines;
    char *line;
    int n = snprintf(path, sizeof(path), "%s%s", root, file), rc;

    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    rc = lines_open(&lines, os, path);
    if (rc < 0)
        return rc;
    while ((line = lines_next(&lines)) != NULL)
        take(line, v1, v2);
    lines_close(&lines);
    return 0;
}

static void join(const char *root, const struct hierarchy *h, struct cgroup_path *out)
{
    int n;

    out->found = false;
    out->directory[0] = '\0';
    out->mount_len = 0;
    if (!h->mounted)
        return;
    n = snprintf(out->directory, sizeof(out->directory), "%s%s", root, h->mount);
    if (n < 0 || (size_t)n >= sizeof(out->directory) - strlen(h->below))
        return;
    out->found = true;
    out->mount_len = (size_t)n;
    memcpy(out->directory + n, h->below, strlen(h->below) + 1);
}

int cgroup_paths(const struct os *os, const char *root, struct cgroup_path *v1_memory,
                 struct cgroup_path *v2)
{
    struct hierarchy first = {.found = false}, second = {.found = false};
    int rc = for_each_line(os, root, "/proc/self/cgroup", read_group_line, &first, &second);

    if (first.found || second.found)
        rc = for_each_line(os, root, "/proc/self/mountinfo", read_mount_line, &first, &second);
    join(root, &first, v1_memory);
    join(root, &second, v2);
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ? rc : 0;
}
