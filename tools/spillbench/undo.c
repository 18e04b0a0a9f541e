/* SPDX-License-Identifier: MIT */
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"

enum { LOOK_MS = 200 };

struct undo {
    void (*fn)(void *context);
    void *context;
    int slot; /* of cleanup.h: for signals that can be caught, undone before we end */
    pid_t guard;
    int link; /* a byte over it ends the guard */
};

/* Nothing of ours may stay open because of it. Signals are blocked: what ends us shall not hit it.
 */
static void guard_detach(int link)
{
    int null = open("/dev/null", O_RDWR);

    cleanup_forget();
    setsid();
    for (int fd = 0; fd <= 2; fd++)
        dup2(null, fd);
    dup2(link, 3);
    closefrom(4);
}

/* Others that were forked from `parent` hold its end of the link too, so that it says nothing of
 * the parent's life; where the kernel has no pidfd, the parent is looked for now and then. */
static _Noreturn void guard_main(struct undo *undo, pid_t parent)
{
    guard_detach(undo->link);
    int pidfd = (int)syscall(SYS_pidfd_open, parent, 0);
    struct pollfd told[] = {{.fd = 3, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    while (getppid() == parent) {
        char byte;

        if (poll(told, 2, pidfd < 0 ? LOOK_MS : -1) <= 0 || !told[0].revents)
            continue;
        if (read(told[0].fd, &byte, 1) == 1)
            _exit(0);
        told[0].fd = -1; /* closed: the parent is about to be gone */
    }
    undo->fn(undo->context);
    _exit(0);
}

static int guard_start(struct undo *undo)
{
    sigset_t all, old;
    pid_t self = getpid();
    int ends[2], err = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return -errno;
    undo->link = ends[1];
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    undo->guard = fork();
    if (undo->guard == 0)
        guard_main(undo, self);
    if (undo->guard < 0)
        err = -errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    close(ends[1]);
    undo->link = ends[0];
    if (err)
        close(ends[0]);
    return err;
}

struct undo *undo_arm(void (*fn)(void *context), void *context, int *err)
{
    struct undo *undo = malloc(sizeof *undo);

    *err = undo ? 0 : -ENOMEM;
    if (!undo)
        return NULL;
    *undo = (struct undo){.fn = fn, .context = context, .slot = -1};
    *err = guard_start(undo);
    if (*err) {
        free(undo);
        return NULL;
    }
    undo->slot = cleanup_add(fn, context);
    return undo;
}

void undo_now(struct undo *undo)
{
    char byte = 0;

    if (!undo)
        return;
    if (undo->slot >= 0)
        cleanup_run(undo->slot);
    else
        undo->fn(undo->context);
    /* A guard that is gone already has nothing more to do. */
    (void)!send(undo->link, &byte, 1, MSG_NOSIGNAL);
    close(undo->link);
    while (waitpid(undo->guard, NULL, 0) < 0 && errno == EINTR)
        ;
    free(undo);
}
