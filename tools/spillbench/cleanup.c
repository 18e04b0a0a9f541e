/* SPDX-License-Identifier: MIT */
#include "cleanup.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

enum { SLOTS_MAX = 32 };

static const int endings[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDINGS = sizeof(endings) / sizeof(endings[0]) };

/* A slot is in use while `undo` is set. Signals are blocked while one changes. */
static struct slot {
    cleanup_fn *undo;
    void *context;
} slots[SLOTS_MAX];

static void run_all(void)
{
    for (int i = SLOTS_MAX - 1; i >= 0; i--) {
        cleanup_fn *undo = slots[i].undo;
        slots[i].undo = NULL;
        if (undo)
            undo(slots[i].context);
    }
}

static void on_signal(int signal_number)
{
    int saved = errno;
    run_all();
    /* The default action is back (SA_RESETHAND): it ends us as the sender meant it. */
    raise(signal_number);
    errno = saved;
}

static void block(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < ENDINGS; i++)
        sigaddset(&set, endings[i]);
    sigprocmask(SIG_BLOCK, &set, old);
}

void cleanup_install(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < ENDINGS; i++)
        sigaddset(&action.sa_mask, endings[i]);
    for (int i = 0; i < ENDINGS; i++) {
        struct sigaction old;
        /* One that was ignored stays so, as nohup wants. */
        if (sigaction(endings[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(endings[i], &action, NULL);
    }
    atexit(run_all);
}

void cleanup_forget(void)
{
    for (int i = 0; i < SLOTS_MAX; i++)
        slots[i].undo = NULL;
    for (int i = 0; i < ENDINGS; i++) {
        struct sigaction old;
        if (sigaction(endings[i], NULL, &old) == 0 && old.sa_handler == on_signal)
            signal(endings[i], SIG_DFL);
    }
}

int cleanup_add(cleanup_fn *undo, void *context)
{
    sigset_t old;
    int slot = -1;
    block(&old);
    /* Behind the last one in use, so that the newest is undone first. */
    for (int i = SLOTS_MAX - 1; i >= 0 && !slots[i].undo; i--)
        slot = i;
    if (slot >= 0)
        slots[slot] = (struct slot){undo, context};
    sigprocmask(SIG_SETMASK, &old, NULL);
    return slot;
}

void cleanup_run(int slot)
{
    sigset_t old;
    if (slot < 0 || slot >= SLOTS_MAX)
        return;
    block(&old);
    cleanup_fn *undo = slots[slot].undo;
    slots[slot].undo = NULL;
    if (undo)
        undo(slots[slot].context);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

void cleanup_drop(int slot)
{
    if (slot >= 0 && slot < SLOTS_MAX)
        slots[slot].undo = NULL;
}
