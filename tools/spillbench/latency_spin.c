/* SPDX-License-Identifier: MIT */
#include "latency_spin.h"

#include <time.h>

#include "child.h"

static uint64_t own_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What passes between two readings of the own CPU clock is the clock's cost, and interrupts, which
 * the kernel counts as the thread's. */
static void spin_own_cpu(struct spin_thread *thread)
{
    uint64_t last_ns = own_cpu_ns();

    while (!atomic_load_explicit(&thread->stop, memory_order_relaxed)) {
        uint64_t at_ns = own_cpu_ns();
        if (at_ns - last_ns > thread->spin->cpu_gap_ns)
            thread->spin->cpu_gap_ns = at_ns - last_ns;
        last_ns = at_ns;
    }
}

static void *spin_main(void *context)
{
    struct spin_thread *thread = context;
    struct spin *spin = thread->spin;

    if (spin->own_cpu) {
        spin_own_cpu(thread);
        return NULL;
    }
    uint64_t begin_ns = now_ns(), start_ns = begin_ns, last_ns = begin_ns;

    while (!atomic_load_explicit(&thread->stop, memory_order_relaxed)) {
        uint64_t at_ns = now_ns();
        if (at_ns - last_ns > SPIN_GAP_NS)
            spin->gaps++;
        last_ns = at_ns;
        if (at_ns - start_ns >= SPIN_NS) {
            latency_add(&spin->excess, at_ns - start_ns - SPIN_NS);
            start_ns = at_ns;
        }
    }
    spin->seconds = (double)(last_ns - begin_ns) / 1e9;
    return NULL;
}

int spin_start(struct spin_thread *thread, struct spin *spin)
{
    atomic_init(&thread->stop, false);
    thread->spin = spin;
    return -pthread_create(&thread->thread, NULL, spin_main, thread);
}

void spin_stop(struct spin_thread *thread)
{
    atomic_store_explicit(&thread->stop, true, memory_order_relaxed);
    pthread_join(thread->thread, NULL);
}
