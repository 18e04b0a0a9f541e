/* SPDX-License-Identifier: MIT */
/*
 * A thread that sleeps until a signal comes or the progress line is due. Signals
 * are blocked in every other thread, so nothing has to be safe inside a handler.
 */
#ifndef SPILLPIPE_WATCH_H
#define SPILLPIPE_WATCH_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "spillpipe_transfer.h"

struct watch {
    struct transfer *transfer;
    pthread_t thread;
    sigset_t signals;   /* that it waits for */
    bool pipe_kills_us; /* SIGPIPE was not ignored when we were started */
    _Atomic bool over;
};

/* Blocks the signals that end the program, and ignores SIGPIPE. Before any thread is made. */
void watch_prepare(struct watch *watch);

/* Starts the thread. Returns 0 or -errno. */
int watch_start(struct watch *watch, struct transfer *transfer);

/* Ends the thread and removes the progress line. */
void watch_stop(struct watch *watch);

/* Ends the program by `signal`, as if it had never been caught. */
_Noreturn void watch_die(int signal);

#endif
