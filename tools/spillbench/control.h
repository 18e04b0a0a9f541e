/* SPDX-License-Identifier: MIT */
/* A thread that does nothing but look at the clock: the gaps that it sees are the machine's own. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_CONTROL_H
#define SPILLWAY_TOOLS_SPILLBENCH_CONTROL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "series.h"

struct control {
    bool running;
    pthread_t thread;
    _Atomic bool stop;
    sem_t started; /* before, there are no gaps to see */
    struct latency *gaps;
    double cpu_s;
};

/* `gaps` belongs to the thread until control_stop(). Returns 0 or -errno. */
int control_start(struct control *control, struct latency *gaps);

/* Ends it; returns the CPU seconds that it took. Harmless where it does not run. */
double control_stop(struct control *control);

#endif
