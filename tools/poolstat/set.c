/* SPDX-License-Identifier: MIT */
/* poolstat set: settings of pools that are open. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "../../pool/control_format.h"
#include "show.h"

#define WAIT_DEFAULT_NS UINT64_C(5000000000)

/* A request that is taken just in time is answered a little later. */
#define GRACE_NS UINT64_C(200000000)
#define LOOK_NS  2000000L

/* NAME=VALUE, apart. */
struct wish {
    char name[CONTROL_NAME_BYTES], value[CONTROL_VALUE_BYTES];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int wish_parse(const char *text, struct wish *out)
{
    const char *equals = strchr(text, '=');
    size_t len = equals != NULL ? (size_t)(equals - text) : 0;

    if (len == 0 || len >= sizeof(out->name) || strlen(equals + 1) >= sizeof(out->value))
        return command_line_refuse("set", text, "NAME=VALUE, such as memory=2GiB");
    *out = (struct wish){.name = ""};
    memcpy(out->name, text, len);
    memcpy(out->value, equals + 1, strlen(equals + 1));
    return EXIT_FINE;
}

/* ---- one pool ---- */

static void refuse(const struct pool *pool, const char *why)
{
    fprintf(stderr, "poolstat: pool %s of process %ld (%s): %s\n", pool->now.header.name,
            (long)pool->process.pid, pool->process.comm, why);
}

/* The pool's setting `control`, as its page has it; "" where it has none. */
static void control_setting(const struct page_copy *copy, char *out, size_t capacity)
{
    const struct copied_section *section = page_section(copy, "settings");
    char name[64];

    out[0] = '\0';
    for (uint32_t row = 0; section != NULL && row < section->rows; row++) {
        page_text(copy, section, row, page_field(copy, section, "name"), name, sizeof(name));
        if (strcmp(name, "control") == 0)
            page_text(copy, section, row, page_field(copy, section, "value"), out, capacity);
    }
}

/* Where a page says that its pool takes requests. */
struct control_place {
    uint64_t fd, inode;
};

static bool control_find(const struct page_copy *copy, struct control_place *out)
{
    const struct copied_section *section = page_section(copy, "control");

    out->fd = page_number(copy, section, 0, page_field(copy, section, "fd"));
    out->inode = page_number(copy, section, 0, page_field(copy, section, "inode"));
    return page_number(copy, section, 0, page_field(copy, section, "open")) == 1;
}

static void tell_closed(const struct pool *pool)
{
    char value[64], why[320];

    control_setting(&pool->now, value, sizeof(value));
    if (pool->gone || pool->now.header.state == PAGE_CLOSED)
        refuse(pool, "it is closed, or its process has ended");
    else if (value[0] == '\0') {
        (void)snprintf(why, sizeof(why),
                       "its library, version %s, takes no settings while a pool is open",
                       pool->now.header.library);
        refuse(pool, why);
    } else if (strcmp(value, "on") == 0)
        refuse(pool, "it could not open what settings come through: its log says why");
    else
        refuse(pool, "it takes no settings from outside: SPILLWAY_CONTROL is off there. Start the "
                     "service with SPILLWAY_CONTROL=on; what you want to change now also has a "
                     "variable, see poolstat config");
}

static bool look(struct pool *pool)
{
    char why[PAGE_WHY];
    int err = page_copy_refresh(pool->fd, &pool->now, false, why);

    if (err)
        refuse(pool, why);
    return err == 0;
}

/*
 * Opens it for writing, or returns -errno: -EBADF when it is something else. A page may say
 * anything, and the process may have gone or run another program since it was read. So what is
 * there is looked at first, which does nothing to it; and no other kind of file is opened at all.
 */
static int pipe_open(const struct pool *pool, const struct control_place *place)
{
    char path[64];
    struct stat st;
    struct statfs fs;
    int fd = -1, err = -EBADF, seen;

    (void)snprintf(path, sizeof(path), "/proc/%ld/fd/%" PRIu64, (long)pool->process.pid, place->fd);
    seen = open(path, O_PATH | O_CLOEXEC);
    if (seen < 0)
        return -errno;
    if (fstat(seen, &st) == 0 && S_ISFIFO(st.st_mode) && fstatfs(seen, &fs) == 0 &&
        fs.f_type == PIPEFS_MAGIC && (place->inode == 0 || place->inode == st.st_ino)) {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", seen);
        fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        err = -errno;
    }
    close(seen);
    return fd >= 0 ? fd : err;
}

static void tell_refused(const struct pool *pool, int err)
{
    char why[160];

    if (err == -ENOENT || err == -ENXIO) {
        refuse(pool, "it is just being closed");
    } else if (err == -EBADF) {
        refuse(pool, "what it names is not the pipe that it had: nothing was written there");
    } else {
        (void)snprintf(why, sizeof(why), "it cannot be asked: %s%s", strerror(-err),
                       err == -EACCES || err == -EPERM ? "; run as its user, or as root" : "");
        refuse(pool, why);
    }
}

/*
 * The pipe of a pool; -1 after saying why not. The page is looked at again once the pipe is open:
 * if it still names this one, it was the pool's all the while.
 */
static int control_open(struct pool *pool)
{
    struct control_place place, again;
    int fd;

    if (pool->gone || !control_find(&pool->now, &place)) {
        tell_closed(pool);
        return -1;
    }
    fd = pipe_open(pool, &place);
    if (fd < 0) {
        tell_refused(pool, fd);
        return -1;
    }
    if (!look(pool)) { /* it has said why */
        close(fd);
        return -1;
    }
    if (control_find(&pool->now, &again) && again.fd == place.fd && again.inode == place.inode)
        return fd;
    close(fd);
    tell_closed(pool);
    return -1;
}

/* Takes the answer to `id` from the page. */
static bool answer_find(const struct page_copy *copy, uint64_t id, uint64_t *error, char *text,
                        size_t capacity)
{
    const struct copied_section *section = page_section(copy, "answers");

    for (uint32_t row = 0; section != NULL && row < section->rows; row++) {
        if (page_number(copy, section, row, page_field(copy, section, "id")) != id)
            continue;
        *error = page_number(copy, section, row, page_field(copy, section, "error"));
        page_text(copy, section, row, page_field(copy, section, "text"), text, capacity);
        return true;
    }
    return false;
}

static int tell_answer(const struct pool *pool, uint64_t error, const char *text)
{
    if (error != 0) {
        refuse(pool, text);
        return error == EINVAL || error == ENOENT ? EXIT_USAGE : EXIT_NOT_FOUND;
    }
    printf("%s  process %ld (%s)  %s\n", pool->now.header.name, (long)pool->process.pid,
           pool->process.comm, text);
    return EXIT_FINE;
}

static int tell_silence(struct pool *pool, const char *name)
{
    struct process now;
    char why[200];

    if (process_look("/proc", pool->process.pid, &now) != 0 || now.state == 'Z' ||
        now.start_ticks != pool->process.start_ticks)
        pool->gone = true;
    else
        pool->process = now;
    (void)snprintf(why, sizeof(why), "no answer in time: its process is %s. %s is as before%s",
                   pool->gone ? "gone" : value_state(pool), name,
                   pool->gone ? "" : ", the request has lapsed; --wait gives it longer");
    refuse(pool, why);
    return EXIT_NOT_FOUND;
}

static int ask(struct pool *pool, int fd, const struct wish *wish, uint64_t wait_ns)
{
    static const struct timespec pause = {.tv_nsec = LOOK_NS};
    struct control_request request = {.deadline_ns = now_ns() + wait_ns};
    char text[256];
    uint64_t error;

    memcpy(request.magic, CONTROL_MAGIC, CONTROL_MAGIC_BYTES);
    memcpy(request.name, wish->name, sizeof(request.name));
    memcpy(request.value, wish->value, sizeof(request.value));
    while (request.id == 0) {
        if (getrandom(&request.id, sizeof(request.id), 0) != (ssize_t)sizeof(request.id))
            request.id = now_ns() << 16 ^ (uint64_t)getpid();
    }
    while (write(fd, &request, sizeof(request)) != (ssize_t)sizeof(request)) {
        if ((errno != EAGAIN && errno != EINTR) || now_ns() >= request.deadline_ns)
            return tell_silence(pool, wish->name);
        nanosleep(&pause, NULL);
    }
    do {
        bool late = now_ns() >= request.deadline_ns + GRACE_NS;

        if (!look(pool))
            return EXIT_NOT_FOUND;
        /* What is just being changed may have the number of one answer and the words of another. */
        if (!pool->now.torn && answer_find(&pool->now, request.id, &error, text, sizeof(text)))
            return tell_answer(pool, error, text);
        if (late || pool->now.header.state == PAGE_CLOSED)
            return tell_silence(pool, wish->name);
        nanosleep(&pause, NULL);
    } while (true);
}

static int set_in(struct pool *pool, const struct wish *wishes, unsigned count, uint64_t wait_ns)
{
    int code = EXIT_FINE, fd = control_open(pool);

    if (fd < 0)
        return EXIT_NOT_FOUND;
    for (unsigned i = 0; i < count; i++) {
        int one = ask(pool, fd, &wishes[i], wait_ns);

        code = one > code ? one : code;
    }
    close(fd);
    return code;
}

/* ---- the command ---- */

/* Without -p only where there is no doubt which pool is meant. */
static int choose(struct session *session, const struct args *args)
{
    char unseen[UNSEEN_BYTES];

    if (session->pools.count == 0) {
        fprintf(stderr, "poolstat: there is no pool that this user may look at. %s\n",
                session_unseen(session, unseen));
        return EXIT_NOT_FOUND;
    }
    if (args->pool_count > 0 || session->pools.count == 1)
        return EXIT_FINE;
    fprintf(stderr, "poolstat: there are %zu pools: say with --pool which of them you mean\n",
            session->pools.count);
    return EXIT_USAGE;
}

int show_set(const struct args *args)
{
    struct wish wishes[ARGS_NAMES_MAX];
    struct session session;
    unsigned count = 0;
    int code = EXIT_FINE;

    for (; args->names[count] != NULL && code == EXIT_FINE; count++)
        code = wish_parse(args->names[count], &wishes[count]);
    if (count == 0)
        code = command_line_refuse("set", "", "NAME=VALUE, such as memory=2GiB");
    if (code != EXIT_FINE)
        return code;
    (void)signal(SIGPIPE, SIG_IGN); /* the process may end at any time */
    code = session_open(&session, args, false);
    if (code == EXIT_FINE)
        code = choose(&session, args);
    if (code == EXIT_FINE)
        for (size_t i = 0; i < session.pools.count; i++) {
            int one = set_in(&session.pools.items[i], wishes, count,
                             args->wait_ns > 0 ? args->wait_ns : WAIT_DEFAULT_NS);

            code = one > code ? one : code;
        }
    session_close(&session);
    return show_end(code);
}
