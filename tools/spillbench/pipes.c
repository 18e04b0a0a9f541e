/* SPDX-License-Identifier: MIT */
#include "pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"

extern char **environ;

enum { PIECE_BYTES = 1 << 20, INPUT_MOST_S = 120 };

/* Starts a program with these as its standard descriptors. */
static int start(char *const argv[], int in, int out, int err, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;

    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    int rc = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

/* Returns 0, or -ECHILD unless the program ended well. */
static int finish(pid_t pid, double *cpu)
{
    struct rusage usage;
    int status;

    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return -errno;
    if (cpu)
        *cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

/* The file from its start: a description of its own, so that no offset is shared. */
static int reopen(int data)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", data);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int pipes_data(const char *dir, uint64_t bytes)
{
    /* Again from its start where the tree is smaller; a reader that has enough ends it. */
    static const char script[] = "while :; do tar c -C / --ignore-failed-read usr 2>/dev/null; "
                                 "[ $? -le 1 ] || break; done | head -c \"$1\"";
    char count[32];
    char *const argv[] = {"sh", "-c", (char *)script, "sh", count, NULL};
    struct stat found;
    pid_t pid;
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || in < 0 ? -errno : 0;

    snprintf(count, sizeof(count), "%" PRIu64, bytes);
    if (rc == 0)
        rc = start(argv, in, fd, STDERR_FILENO, &pid);
    if (rc == 0)
        rc = finish(pid, NULL);
    if (rc == 0 && (fstat(fd, &found) != 0 || (uint64_t)found.st_size != bytes))
        rc = -EIO;
    if (in >= 0)
        close(in);
    if (rc != 0 && fd >= 0)
        close(fd);
    return rc ? rc : fd;
}

/* cat with the file; *pipe_end is where what it writes can be read. */
static int start_cat(int data, int *pipe_end, pid_t *pid)
{
    char *const argv[] = {"cat", NULL};
    int in = reopen(data), ends[2], rc;

    if (in < 0)
        return in;
    rc = pipe2(ends, O_CLOEXEC) != 0 ? -errno : 0;
    if (rc == 0) {
        rc = start(argv, in, ends[1], STDERR_FILENO, pid);
        close(ends[1]);
        if (rc != 0)
            close(ends[0]);
        *pipe_end = ends[0];
    }
    close(in);
    return rc;
}

int pipes_through(int data, char *const argv[], struct pipes_taken *taken)
{
    pid_t cat, program;
    int in, out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    double start_s = now_s();

    if (out < 0)
        return -errno;
    int rc = start_cat(data, &in, &cat);
    if (rc == 0) {
        rc = start(argv, in, out, STDERR_FILENO, &program);
        close(in);
        int program_rc = rc ? rc : finish(program, &taken->cpu_s);
        rc = finish(cat, NULL);
        rc = program_rc ? program_rc : rc;
    }
    taken->wall_s = now_s() - start_s;
    close(out);
    return rc;
}

/* Waits until cat has ended; that much time, no more. */
static int wait_input(pid_t cat)
{
    double end_s = now_s() + INPUT_MOST_S;
    struct timespec pause = {0, 10000000};
    siginfo_t info = {.si_pid = 0};

    while (waitid(P_PID, (id_t)cat, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) {
        if (now_s() > end_s)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int read_all(int fd, uint64_t bytes)
{
    char *piece = malloc(PIECE_BYTES);
    uint64_t total = 0;
    ssize_t got = -1;

    if (!piece)
        return -ENOMEM;
    while ((got = read(fd, piece, PIECE_BYTES)) > 0)
        total += (uint64_t)got;
    int rc = got < 0 ? -errno : total == bytes ? 0 : -EIO;
    free(piece);
    return rc;
}

static void sleep_s(double seconds)
{
    struct timespec pause = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        ;
}

int pipes_late(int data, char *const argv[], uint64_t bytes, double late_s,
               struct pipes_taken *taken)
{
    pid_t cat, program;
    int in, ends[2], rc = pipe2(ends, O_CLOEXEC) != 0 ? -errno : 0;

    if (rc == 0 && (rc = start_cat(data, &in, &cat)) != 0) {
        close(ends[0]);
        close(ends[1]);
    }
    if (rc != 0)
        return rc;
    rc = start(argv, in, ends[1], STDERR_FILENO, &program);
    bool started = rc == 0;
    close(in);
    close(ends[1]);
    if (started && late_s > 0)
        sleep_s(late_s);
    else if (started)
        rc = wait_input(cat);
    double start_s = now_s();
    if (rc == 0)
        rc = read_all(ends[0], bytes);
    taken->wall_s = now_s() - start_s;
    close(ends[0]); /* ends who still writes */
    int program_rc = started ? finish(program, &taken->cpu_s) : 0;
    int cat_rc = finish(cat, NULL);
    /* Who reads less than all of it does so because the program failed. */
    if (program_rc != 0 && rc != -ETIMEDOUT)
        return program_rc;
    return rc ? rc : cat_rc;
}

int pipes_run(char *const argv[], const char *output)
{
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = in < 0 || out < 0 ? -errno : 0;
    pid_t pid;

    if (rc == 0)
        rc = start(argv, in, out, out, &pid);
    if (rc == 0)
        rc = finish(pid, NULL);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return rc;
}

bool pipes_installed(const char *name)
{
    const char *path = getenv("PATH");
    char *list = strdup(path ? path : "/usr/bin:/bin"), *rest = NULL, file[512];
    bool found = false;

    for (char *dir = list ? strtok_r(list, ":", &rest) : NULL; dir && !found;
         dir = strtok_r(NULL, ":", &rest)) {
        snprintf(file, sizeof(file), "%s/%s", dir, name);
        found = access(file, X_OK) == 0;
    }
    free(list);
    return found;
}
