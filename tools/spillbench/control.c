/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <time.h>

#include "child.h"

static void *spin(void *argument)
{
    struct control *control = argument;
    struct timespec cpu;
    uint64_t before = now_ns();
    sem_post(&control->started);
    do {
        uint64_t now = now_ns();
        latency_add(control->gaps, now - before);
        before = now;
    } while (!control->stop);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    control->cpu_s = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    return NULL;
}

int control_start(struct control *control, struct latency *gaps)
{
    *control = (struct control){.gaps = gaps};
    sem_init(&control->started, 0, 0);
    int err = -pthread_create(&control->thread, NULL, spin, control);
    control->running = err == 0;
    while (!err && sem_wait(&control->started) != 0)
        ; /* interrupted */
    return err;
}

double control_stop(struct control *control)
{
    if (!control->running)
        return 0;
    control->stop = true;
    pthread_join(control->thread, NULL);
    sem_destroy(&control->started);
    control->running = false;
    return control->cpu_s;
}
