/* SPDX-License-Identifier: MIT */
#include "spillpipe_watch.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "spillpipe_report.h"

/* Tells the thread to look at `over`. */
#define WAKE_SIGNAL SIGRTMIN

enum { DRAW_PERIOD_MS = 250, APPEND_PERIOD_MS = 1000 };

static bool is_ignored(int signal)
{
    struct sigaction action;
    return sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void watch_prepare(struct watch *watch)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    *watch = (struct watch){0};
    sigemptyset(&watch->signals);
    sigaddset(&watch->signals, WAKE_SIGNAL);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        /* nohup and shells that start background jobs ignore some: so do we. */
        if (!is_ignored(ends[i]))
            sigaddset(&watch->signals, ends[i]);
    pthread_sigmask(SIG_BLOCK, &watch->signals, NULL);
    watch->pipe_kills_us = !is_ignored(SIGPIPE);
    sigaction(SIGPIPE, &ignore, NULL);
}

_Noreturn void watch_die(int signal)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    sigaction(signal, &standard, NULL);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    raise(signal);
    _exit(128 + signal);
}

/* Waits for a signal, at most one period. Returns it, or 0 when the period is over. */
static int watch_wait(const struct watch *watch)
{
    enum console_progress progress = watch->transfer->console->progress;
    long ms = progress == CONSOLE_APPEND ? APPEND_PERIOD_MS : DRAW_PERIOD_MS;
    struct timespec period = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int signal = sigtimedwait(&watch->signals, NULL, progress ? &period : NULL);
    return signal > 0 ? signal : 0;
}

static void *watch_run(void *argument)
{
    struct watch *watch = argument;
    struct transfer *transfer = watch->transfer;
    struct report report;
    report_init(&report, transfer);
    while (!atomic_load(&watch->over)) {
        int signal = watch_wait(watch);
        if (signal == 0 && !atomic_load(&watch->over))
            report_progress(&report);
        if (signal == 0 || signal == WAKE_SIGNAL)
            continue;
        console_clear(transfer->console);
        report_end(transfer);
        watch_die(signal);
    }
    console_clear(transfer->console);
    return NULL;
}

int watch_start(struct watch *watch, struct transfer *transfer)
{
    watch->transfer = transfer;
    return -pthread_create(&watch->thread, NULL, watch_run, watch);
}

void watch_stop(struct watch *watch)
{
    atomic_store(&watch->over, true);
    pthread_kill(watch->thread, WAKE_SIGNAL);
    pthread_join(watch->thread, NULL);
}
