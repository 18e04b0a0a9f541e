/* SPDX-License-Identifier: MIT */
#include "latency_spin.h"

#include "child.h"

static void *spin_main(void *context)
{
    struct spin_thread *thread = context;
    struct spin *spin = thread->spin;
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
