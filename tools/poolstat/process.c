/* SPDX-License-Identifier: MIT */
/* What /proc says of a process. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/text.h"
#include "find.h"

enum {
    FLAGS_FIELD = 9, /* of /proc/PID/stat */
    START_FIELD = 22,
};
#define KERNEL_THREAD UINT64_C(0x00200000) /* PF_KTHREAD */

static int read_text(const char *proc, pid_t pid, const char *name, char *out, size_t capacity)
{
    char path[256];
    size_t used = 0;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%ld/%s", proc, (long)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    while (used + 1 < capacity) {
        ssize_t got = read(fd, out + used, capacity - 1 - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int err = got < 0 ? -errno : 0;

            close(fd);
            out[used] = '\0';
            return err;
        }
        used += (size_t)got;
    }
    close(fd);
    out[used] = '\0';
    return 0;
}

/* Field `number` of /proc/PID/stat, 3 and up; `behind` is what follows the name's bracket. */
static const char *field_of(const char *behind, unsigned number)
{
    for (unsigned i = 2; behind != NULL && i < number; i++) {
        behind = strchr(behind, ' ');
        behind = behind != NULL ? behind + 1 : NULL;
    }
    return behind;
}

static uint64_t number_of(const char *behind, unsigned number)
{
    const char *text = field_of(behind, number);

    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

/* The last number of a line of /proc/PID/status, or the first where `first`. */
static long status_number(const char *status, const char *key, bool first, long fallback)
{
    const char *line = strstr(status, key);
    char *end;

    if (line == NULL)
        return fallback;
    line += strlen(key);
    for (;;) {
        long value = strtol(line, &end, 10);

        if (end == line)
            return fallback;
        fallback = value;
        line = end;
        if (first || *line == '\n' || *line == '\0')
            return fallback;
    }
}

int process_look(const char *proc, pid_t pid, struct process *out)
{
    char text[4096], *name, *behind;
    int err = read_text(proc, pid, "stat", text, sizeof(text));

    *out = (struct process){.pid = pid, .own_pid = pid, .uid = (uid_t)-1, .state = '?'};
    if (err)
        return err;
    name = strchr(text, '(');
    behind = strrchr(text, ')');
    if (name == NULL || behind == NULL || behind < name || behind[1] != ' ')
        return -ESRCH;
    *behind = '\0';
    text_copy_clean(out->comm, sizeof(out->comm), name + 1);
    out->state = behind[2];
    out->kernel = (number_of(behind + 1, FLAGS_FIELD) & KERNEL_THREAD) != 0;
    out->start_ticks = number_of(behind + 1, START_FIELD);
    err = read_text(proc, pid, "status", text, sizeof(text));
    if (err)
        return err;
    out->uid = (uid_t)status_number(text, "\nUid:", true, -1);
    out->own_pid = (pid_t)status_number(text, "\nNSpid:", false, pid);
    return 0;
}
