/* SPDX-License-Identifier: MIT */
/* The control thread beside a latency: what the machine does to a thread that only spins. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_LATENCY_SPIN_H
#define SPILLWAY_TOOLS_SPILLBENCH_LATENCY_SPIN_H

#include <pthread.h>
#include <stdatomic.h>

#include "latency.h"

struct spin_thread {
    pthread_t thread;
    _Atomic bool stop;
    struct spin *spin;
};

/* Returns 0 or -errno. It runs until spin_stop(), which joins it. */
int spin_start(struct spin_thread *thread, struct spin *spin);
void spin_stop(struct spin_thread *thread);

#endif
