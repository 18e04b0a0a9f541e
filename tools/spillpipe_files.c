/* SPDX-License-Identifier: MIT */
#include "spillpipe_files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIPE_BYTES = 1 << 20, PIPE_BYTES_MIN = 64 << 10 };

bool files_claim_standard(bool closed[3])
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        closed[fd] = fcntl(fd, F_GETFD) < 0;
        /* The lowest free number is `fd`: those below are open by now. */
        if (closed[fd] && open("/dev/null", O_RDWR) != fd)
            return false;
    }
    return true;
}

void files_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* a refusal leaves what we have */
    }
}

const char *files_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

static bool is_standard_input(const char *path)
{
    return strcmp(path, "-") == 0;
}

/* 0, or the errno why this input cannot be read; fills in `*status` on success. */
static int look_at_input(const char *path, const bool closed[3], struct stat *status)
{
    if (is_standard_input(path)) {
        int mode = fcntl(STDIN_FILENO, F_GETFL) & O_ACCMODE;
        if (closed[STDIN_FILENO] || mode == O_WRONLY)
            return EBADF;
        if (fstat(STDIN_FILENO, status) != 0)
            return errno;
    } else {
        /* Not opened: a FIFO would block, and its writer would see us leave. */
        if (stat(path, status) != 0 || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
            return errno;
    }
    return S_ISDIR(status->st_mode) ? EISDIR : 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return S_ISREG(a->st_mode) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool check_output(const bool closed[3], struct console *console, struct stat *status)
{
    int mode = fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE;
    if (closed[STDOUT_FILENO] || mode == O_RDONLY) {
        console_say(console, SPILLWAY_LOG_ERROR, "standard output is %s; send it to a file or pipe",
                    closed[STDOUT_FILENO] ? "closed" : "not open for writing");
        return false;
    }
    if (fstat(STDOUT_FILENO, status) != 0) {
        console_say(console, SPILLWAY_LOG_ERROR, "standard output: %s", strerror(errno));
        return false;
    }
    return true;
}

static bool check_input(const char *path, const bool closed[3], const struct stat *output,
                        struct console *console)
{
    struct stat status;
    int err = look_at_input(path, closed, &status);
    if (err == EBADF && is_standard_input(path)) {
        console_say(console, SPILLWAY_LOG_ERROR,
                    "standard input is %s; redirect something to it, or name a file",
                    closed[STDIN_FILENO] ? "closed" : "not open for reading");
        return false;
    }
    if (err) {
        console_say(console, SPILLWAY_LOG_ERROR, "cannot read '%s': %s", files_name(path),
                    strerror(err));
        return false;
    }
    if (is_same_file(&status, output)) {
        console_say(console, SPILLWAY_LOG_ERROR,
                    "'%s' is both input and output; write to another file", files_name(path));
        return false;
    }
    return true;
}

bool files_check(const struct args *args, const bool closed[3], struct console *console)
{
    struct stat output;
    bool good = check_output(closed, console, &output);
    for (size_t i = 0; good && i < args->input_count; i++)
        good = check_input(args->inputs[i], closed, &output, console);
    return good;
}

int files_open(const char *path)
{
    if (is_standard_input(path))
        return STDIN_FILENO;
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

void files_close(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

size_t files_widen_pipe(int fd)
{
    int present = fcntl(fd, F_GETPIPE_SZ);
    if (present < 0)
        return 0;
    /* The system's limit per pipe and per user may allow less than the most. */
    for (int want = PIPE_BYTES; want > present && want >= PIPE_BYTES_MIN; want /= 2) {
        int got = fcntl(fd, F_SETPIPE_SZ, want);
        if (got > 0)
            return (size_t)got;
    }
    return (size_t)present;
}

void files_wait(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};
    while (poll(&ready, 1, -1) < 0 && errno == EINTR)
        ;
}
