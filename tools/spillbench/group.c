/* SPDX-License-Identifier: MIT */
#include "group.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "undo.h"

enum { TEXT_BYTES = 8192, PATH_BYTES = PATH_MAX, REMOVE_TRIES = 3000 };

/* A path below another; false where it does not fit. */
__attribute__((format(printf, 2, 3))) static bool path_set(char out[PATH_BYTES], const char *format,
                                                           ...)
{
    va_list list;
    va_start(list, format);
    int length = vsnprintf(out, PATH_BYTES, format, list);
    va_end(list);
    return length > 0 && length < PATH_BYTES;
}

static int write_text(const char *dir, const char *file, const char *text)
{
    char path[PATH_BYTES];
    if (!path_set(path, "%s/%s", dir, file))
        return -ENAMETOOLONG;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t written = write(fd, text, strlen(text));
    int err = written < 0 ? -errno : 0;
    close(fd);
    return err;
}

/* A whole small file, NUL-terminated; "" when it cannot be read. */
static void read_text(const char *dir, const char *file, char out[TEXT_BYTES])
{
    char path[PATH_BYTES];
    out[0] = '\0';
    if (!path_set(path, "%s/%s", dir, file))
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t length = read(fd, out, TEXT_BYTES - 1);
    out[length > 0 ? length : 0] = '\0';
    close(fd);
}

/* The number behind "key " at the start of a line; 0 when there is none. */
static uint64_t value_of(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = text; line && *line;) {
        if (strncmp(line, key, length) == 0 && line[length] == ' ')
            return strtoull(line + length + 1, NULL, 10);
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return 0;
}

/* Our path in the hierarchy with the memory controller, from /proc/self/cgroup; sets *version. */
static bool own_path(int *version, char out[PATH_BYTES])
{
    char line[PATH_BYTES + 256];
    FILE *file = fopen("/proc/self/cgroup", "re");
    *version = 0;
    while (file && fgets(line, sizeof(line), file)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *controllers = *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        bool second = controllers[1] == '\0';
        bool memory = false;
        for (char *save, *word = strtok_r(controllers + 1, ",", &save); word;
             word = strtok_r(NULL, ",", &save))
            memory = memory || strcmp(word, "memory") == 0;
        if ((memory || (second && *version == 0)) && path_set(out, "%s", path))
            *version = memory ? 1 : 2;
    }
    if (file)
        fclose(file);
    return *version != 0;
}

/* Where that hierarchy is mounted, and which part of it. */
static bool find_mount(int version, char mount[PATH_BYTES], char root[PATH_BYTES])
{
    char line[2 * PATH_BYTES];
    bool found = false;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        char type[32], options[1024];
        char *rest = strstr(line, " - ");
        if (!rest || sscanf(rest, " - %31s %*s %1023s", type, options) != 2 ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", root, mount) != 2)
            continue;
        if (version == 2)
            found = strcmp(type, "cgroup2") == 0;
        else
            found = strcmp(type, "cgroup") == 0 && strstr(options, "memory");
    }
    if (file)
        fclose(file);
    return found;
}

/* The folder of our own group. */
static bool own_dir(int *version, char out[PATH_BYTES])
{
    static char path[PATH_BYTES], mount[PATH_BYTES], root[PATH_BYTES]; /* one thread; large */
    if (!own_path(version, path) || !find_mount(*version, mount, root))
        return false;
    const char *below = path;
    size_t skipped = strlen(root);
    /* A mount of a part of the hierarchy, as containers have it. */
    if (skipped > 1 && strncmp(path, root, skipped) == 0)
        below = path + skipped;
    if (!path_set(out, "%s%s", mount, below))
        return false;
    size_t length = strlen(out);
    if (length > 1 && out[length - 1] == '/')
        out[length - 1] = '\0';
    return access(out, F_OK) == 0;
}

static void undo(void *context)
{
    const struct group *group = context;
    /* It empties a moment after its last process is gone. */
    for (int i = 0; i < REMOVE_TRIES && rmdir(group->dir) != 0 && errno == EBUSY; i++) {
        struct timespec pause = {.tv_nsec = 10000000};
        nanosleep(&pause, NULL);
    }
}

/* Whether we may enter it, which a child tries, and its memory is counted. */
static int usable(const struct group *group)
{
    char path[PATH_BYTES];
    if (!path_set(path, "%s/cgroup.procs", group->dir))
        return -ENAMETOOLONG;
    if (access(path, W_OK) != 0)
        return -errno;
    return group->stat_fd < 0 ? -EOPNOTSUPP : 0;
}

static int make_below(struct group *group, const char *parent, uint64_t limit_bytes)
{
    static unsigned number;
    char text[32], path[PATH_BYTES];
    if (!path_set(group->dir, "%s/spillbench-%ld-%u", parent, (long)getpid(), number++) ||
        !path_set(path, "%s/memory.stat", group->dir))
        return -ENAMETOOLONG;
    int armed = 0;
    group->undo = undo_arm(undo, group, &armed);
    if (!group->undo)
        return armed;
    if (mkdir(group->dir, 0755) != 0) {
        armed = -errno;
        undo_now(group->undo);
        group->undo = NULL;
        return armed;
    }
    if (group->version == 2 && access(path, F_OK) != 0)
        write_text(parent, "cgroup.subtree_control", "+memory");
    group->stat_fd = open(path, O_RDONLY | O_CLOEXEC);
    int err = usable(group);
    if (err == 0 && limit_bytes) {
        snprintf(text, sizeof(text), "%" PRIu64, limit_bytes);
        err = write_text(group->dir, group->version == 1 ? "memory.limit_in_bytes" : "memory.max",
                         text);
    }
    if (err) {
        int version = group->version;
        group_close(group);
        group->version = version;
    }
    return err;
}

int group_open(struct group *group, uint64_t limit_bytes, char why[GROUP_WHY])
{
    char own[PATH_BYTES];
    *group = (struct group){.stat_fd = -1};
    if (!own_dir(&group->version, own)) {
        snprintf(why, GROUP_WHY, "no memory cgroup hierarchy is mounted here");
        group->version = 0;
        return -ENOENT;
    }
    int err = make_below(group, own, limit_bytes);
    if (err && group->version == 2) {
        /* A group with processes of its own cannot have such children: then beside it. */
        char *slash = strrchr(own, '/');
        if (slash && slash > own) {
            *slash = '\0';
            err = make_below(group, own, limit_bytes);
        }
    }
    if (err) {
        snprintf(why, GROUP_WHY, "this user may not make a memory cgroup (%s)", strerror(-err));
        group->version = 0;
    }
    return err;
}

int group_join(const struct group *group)
{
    return write_text(group->dir, "cgroup.procs", "0");
}

int group_read(const struct group *group, struct group_charge *charge)
{
    char text[TEXT_BYTES];
    ssize_t length = pread(group->stat_fd, text, sizeof(text) - 1, 0);
    if (length < 0)
        return -errno;
    text[length] = '\0';
    uint64_t shared = value_of(text, "shmem");
    uint64_t files = value_of(text, group->version == 1 ? "cache" : "file");
    charge->memory_bytes = value_of(text, group->version == 1 ? "rss" : "anon") + shared;
    /* Both versions count shared memory as cache too. */
    charge->cache_bytes = files > shared ? files - shared : 0;
    return 0;
}

uint64_t group_kills(const struct group *group)
{
    char text[TEXT_BYTES];
    read_text(group->dir, group->version == 1 ? "memory.oom_control" : "memory.events", text);
    return value_of(text, "oom_kill");
}

void group_close(struct group *group)
{
    if (group->version == 0)
        return;
    if (group->stat_fd >= 0)
        close(group->stat_fd);
    group->stat_fd = -1;
    undo_now(group->undo);
    group->undo = NULL;
    group->version = 0;
}
