/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "pressure_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

/* Never waits for the other end of a FIFO, and never makes a terminal ours. */
#define QUIETLY (O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Without CAP_SYS_RESOURCE windows are multiples of this, and at most five times as long. */
#define PERIOD_US     UINT64_C(2000000)
#define WINDOW_MAX_US UINT64_C(10000000)

/* Of messages, at once: what is left makes the next poll return. */
enum { READS_MAX = 16 };

/* A socket that is closed sooner than this is not opened again. */
#define SOCKET_LIFE_NS UINT64_C(1000000000)

static int open_again(const struct os *os, const char *path, int flags)
{
    int fd;

    do
        fd = os->open(path, flags, 0);
    while (fd == -EINTR);
    return fd;
}

/* Opens a file of one kind (S_IFREG, S_IFIFO). Something else may have come to the path since it
 * was looked at. */
static int open_kind(const struct os *os, const char *path, int flags, mode_t kind)
{
    struct os_stat st;
    int fd = open_again(os, path, flags | QUIETLY), rc;

    if (fd < 0)
        return fd;
    rc = os->fstat(fd, &st);
    if (rc == 0 && (st.mode & S_IFMT) != kind)
        rc = -ENXIO;
    if (rc < 0) {
        os_close(os, fd);
        return rc;
    }
    return fd;
}

/* --- files ---------------------------------------------------------------------------------- */

/* Up to the end of the file, or until the buffer is full (-EFBIG). */
static long read_text(const struct os *os, int fd, char *buf, size_t capacity)
{
    size_t used = 0;
    ssize_t n;

    while (used < capacity) {
        n = os->pread(fd, buf + used, capacity - used, used);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (long)n : (long)used;
        used += (size_t)n;
    }
    return -EFBIG;
}

static int read_pressure(const struct os *os, int fd, struct psi_text *text)
{
    char buf[WATCH_TEXT_BYTES];
    long len = read_text(os, fd, buf, sizeof(buf));

    if (len == -EFBIG)
        return -EBADMSG;
    return len < 0 ? (int)len : psi_parse(buf, (size_t)len, text);
}

long watch_read_file(const struct os *os, const char *path, char *buf, size_t capacity)
{
    int fd = open_kind(os, path, O_RDONLY, S_IFREG);
    long len;

    if (fd < 0)
        return fd;
    len = read_text(os, fd, buf, capacity);
    os_close(os, fd);
    return len;
}

/* --- triggers ------------------------------------------------------------------------------- */

static int write_trigger(const struct os *os, int fd, const void *text, size_t len)
{
    ssize_t n;

    do
        n = os->write(fd, text, len);
    while (n == -EINTR);
    if (n < 0)
        return (int)n;
    return (size_t)n == len ? 0 : -EIO;
}

/* The kernel wants the NUL at the end. */
static int write_some(const struct os *os, int fd, uint64_t stall_us, uint64_t window_us,
                      struct psi_trigger *armed)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "some %" PRIu64 " %" PRIu64, stall_us, window_us);

    *armed = (struct psi_trigger){.stall_us = stall_us, .window_us = window_us};
    return write_trigger(os, fd, text, (size_t)len + 1);
}

/* The same share of a window that nobody is refused. */
static void whole_periods(uint64_t *stall_us, uint64_t *window_us)
{
    uint64_t window = *window_us;

    if (window > WINDOW_MAX_US - PERIOD_US)
        window = WINDOW_MAX_US;
    else
        window = (window + PERIOD_US - 1) / PERIOD_US * PERIOD_US;
    *stall_us = (uint64_t)((unsigned __int128)*stall_us * window / *window_us);
    if (*stall_us == 0)
        *stall_us = 1;
    *window_us = window;
}

/* What systemd wrote, what we would, and what an unprivileged user may. */
static int arm(const struct os *os, int fd, const struct watch_wish *wish,
               struct psi_trigger *armed)
{
    uint64_t stall_us = wish->stall_us, window_us = wish->window_us;
    int rc;

    if (wish->message_len > 0) {
        rc = write_trigger(os, fd, wish->message, wish->message_len);
        /* Of a text that only the kernel understands, any growth is enough. */
        if (rc == 0 && psi_trigger_parse((const char *)wish->message, wish->message_len, armed) < 0)
            *armed = (struct psi_trigger){.window_us = window_us};
        if (rc == 0)
            return 0;
    }
    rc = write_some(os, fd, stall_us, window_us, armed);
    if (rc != -EINVAL && rc != -EPERM)
        return rc;
    whole_periods(&stall_us, &window_us);
    return write_some(os, fd, stall_us, window_us, armed);
}

/* Sets a trigger, or says why its text has to be polled. Returns 0, -EMFILE or -ENFILE. */
static int arm_or_poll(struct watch *watch)
{
    const struct watch_wish *wish = watch->wish;
    int fd = open_kind(watch->os, watch->path, O_RDWR, S_IFREG);

    if (fd == -EMFILE || fd == -ENFILE)
        return fd;
    watch->refusal = fd;
    if (fd >= 0) {
        watch->refusal = arm(watch->os, fd, wish, &watch->armed);
        if (watch->refusal == 0) {
            watch->fd = fd;
            watch->way = PRESSURE_TRIGGER;
            return 0;
        }
        os_close(watch->os, fd);
    }
    watch->armed = (struct psi_trigger){.stall_us = wish->stall_us, .window_us = wish->window_us};
    return 0;
}

static int open_file(struct watch *watch, struct psi_text *text)
{
    const struct os *os = watch->os;
    const struct watch_wish *wish = watch->wish;
    int fd = open_kind(os, watch->path, O_RDONLY, S_IFREG), rc;
    struct os_fs fs;
    bool kernel;

    if (fd < 0)
        return fd;
    rc = read_pressure(os, fd, text);
    kernel = os->fstatfs(fd, &fs) == 0 &&
             (fs.type == PROC_SUPER_MAGIC || fs.type == CGROUP2_SUPER_MAGIC);
    os_close(os, fd);
    if (rc < 0)
        return rc;
    watch->way = PRESSURE_POLLED;
    watch->armed = (struct psi_trigger){.stall_us = wish->stall_us, .window_us = wish->window_us};
    return kernel ? arm_or_poll(watch) : 0;
}

int watch_text(struct watch *watch, bool broken, struct psi_text *text)
{
    char buf[WATCH_TEXT_BYTES];
    long len;
    int rc;

    if (watch->way == PRESSURE_TRIGGER) {
        rc = read_pressure(watch->os, watch->fd, text);
        if (rc == 0 && broken) {
            watch_close(watch);
            watch->way = PRESSURE_POLLED;
            watch->refusal = -EIO;
        }
        return rc;
    }
    /* By its name, so that one that has been removed is noticed. */
    len = watch_read_file(watch->os, watch->path, buf, sizeof(buf));
    if (len == -EFBIG)
        return -EBADMSG;
    return len < 0 ? (int)len : psi_parse(buf, (size_t)len, text);
}

/* --- messages ------------------------------------------------------------------------------- */

/* Sends what is left of the message; what does not go now goes later. */
static int send_message(struct watch *watch)
{
    const struct watch_wish *wish = watch->wish;

    while (watch->sent < wish->message_len) {
        const unsigned char *rest = wish->message + watch->sent;
        size_t len = wish->message_len - watch->sent;
        ssize_t n = watch->socket ? watch->os->send(watch->fd, rest, len)
                                  : watch->os->write(watch->fd, rest, len);

        if (n == -EINTR)
            continue;
        if (n == -EAGAIN || n == 0)
            return 0;
        if (n < 0)
            return (int)n;
        watch->sent += (size_t)n;
    }
    return 0;
}

/*
 * For writing too, even where there is nothing to write: then there is always a writer, and no
 * hang-up. SIGPIPE cannot come, since we read it ourselves.
 */
static int open_fifo(struct watch *watch)
{
    int fd = open_kind(watch->os, watch->path, O_RDWR, S_IFIFO);

    watch->read_only = false;
    if (fd == -EACCES || fd == -EPERM || fd == -EROFS) {
        watch->read_only = true;
        fd = open_kind(watch->os, watch->path, O_RDONLY, S_IFIFO);
    }
    if (fd < 0)
        return fd;
    watch->fd = fd;
    watch->sent = watch->read_only ? watch->wish->message_len : 0;
    watch->echo = !watch->read_only && watch->wish->message_len > 0;
    return 0;
}

/* A name that is too long for an address is reached through a descriptor of it. */
static int open_socket(struct watch *watch, int probe)
{
    char name[32];
    bool fits = strlen(watch->path) < sizeof(((struct sockaddr_un *)0)->sun_path);
    int fd;

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", probe);
    fd = watch->os->connect(fits ? watch->path : name);
    if (fd < 0)
        return fd;
    watch->fd = fd;
    watch->socket = true;
    watch->sent = 0;
    watch->echo = false;
    watch->opened_ns = watch->os->clock_ns();
    return 0;
}

/* Whether our own message is among what was read; it counts for nothing, once. */
static size_t own_bytes(struct watch *watch, const char *buf, size_t len)
{
    const struct watch_wish *wish = watch->wish;

    if (!watch->echo || memmem(buf, len, wish->message, wish->message_len) == NULL)
        return 0;
    watch->echo = false;
    return wish->message_len;
}

/* Returns 1 when all that had come is read, 0 when there may be more, or -errno (-EPIPE at the
 * end). */
static int drain(struct watch *watch, bool *event)
{
    char buf[WATCH_MESSAGE_BYTES];
    unsigned i;

    for (i = 0; i < READS_MAX; i++) {
        ssize_t n = watch->os->read(watch->fd, buf, sizeof(buf));

        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? -EPIPE : n == -EAGAIN ? 1 : (int)n;
        if ((size_t)n > own_bytes(watch, buf, (size_t)n))
            *event = true;
    }
    return 0;
}

static int open_path(struct watch *watch, struct psi_text *text);

int watch_messages(struct watch *watch, bool told, bool *event)
{
    int rc = -EBADF;

    if (watch->fd >= 0) {
        rc = told ? drain(watch, event) : 0;
        if (rc >= 0 && told)
            rc = send_message(watch);
        if (rc >= 0)
            return 0;
        if (watch->socket && watch->os->clock_ns() - watch->opened_ns < SOCKET_LIFE_NS)
            return rc;
        watch_close(watch);
    }
    return open_path(watch, NULL);
}

/* --- whatever it is ------------------------------------------------------------------------- */

static int open_messages(struct watch *watch, int probe, bool socket)
{
    int rc = socket ? open_socket(watch, probe) : open_fifo(watch);

    if (rc < 0)
        return rc;
    watch->way = PRESSURE_MESSAGES;
    watch->armed = (struct psi_trigger){.full = false};
    rc = send_message(watch);
    if (rc < 0)
        watch_close(watch);
    return rc;
}

/* Looked at before it is opened: to open a device may do anything. */
static int open_path(struct watch *watch, struct psi_text *text)
{
    int probe = open_again(watch->os, watch->path, O_PATH | O_CLOEXEC), rc;
    struct os_stat st;

    if (probe < 0)
        return probe;
    rc = watch->os->fstat(probe, &st);
    if (rc == 0) {
        switch (st.mode & S_IFMT) {
        case S_IFREG:
            /* A text where messages came from before is a different thing. */
            rc = text != NULL ? open_file(watch, text) : -ENXIO;
            break;
        case S_IFIFO:
        case S_IFSOCK:
            rc = open_messages(watch, probe, (st.mode & S_IFMT) == S_IFSOCK);
            break;
        case S_IFDIR:
            rc = -EISDIR;
            break;
        default:
            rc = S_ISCHR(st.mode) && st.special == makedev(1, 3) ? -ECANCELED : -ENXIO;
        }
    }
    os_close(watch->os, probe);
    return rc;
}

int watch_open(struct watch *watch, const struct os *os, const char *path,
               const struct watch_wish *wish, struct psi_text *text)
{
    *watch = (struct watch){.os = os, .wish = wish, .path = path, .way = PRESSURE_NONE, .fd = -1};
    return open_path(watch, text);
}

void watch_close(struct watch *watch)
{
    os_close(watch->os, watch->fd);
    watch->fd = -1;
}
