/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "pressure.h"

enum {
    PAGE_BYTES = 4096,
    GROW_MS = 2000, /* until it has all that it takes */
    TURN_MS = 100,  /* it touches all of it once in that time */
};

#define MS_NS UINT64_C(1000000)

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static double since_s(const struct pressure_record *record)
{
    return (double)(now_ns() - atomic_load(&record->begin_ns)) / 1e9;
}

static bool is_over(const struct pressure_record *record, uint64_t end_ns)
{
    return atomic_load(&record->hog_stop) || now_ns() >= end_ns;
}

/* Touches all that it has by now, again and again: what it needs, it needs. */
static void hold(const struct pressure_plan *plan, struct pressure_record *record, uint64_t end_ns)
{
    uint64_t begin = now_ns();
    volatile unsigned char *memory =
        mmap(NULL, plan->hog_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return;
    while (!is_over(record, end_ns)) {
        uint64_t grown_ns = now_ns() - begin, have = plan->hog_bytes;

        if (grown_ns < GROW_MS * MS_NS)
            have = plan->hog_bytes / GROW_MS * (grown_ns / MS_NS);
        for (uint64_t at = 0; at < have && !is_over(record, end_ns); at += PAGE_BYTES)
            memory[at]++;
        atomic_store(&record->hog_now_bytes, have);
        nap_ms(TURN_MS);
    }
    munmap((void *)(uintptr_t)memory, plan->hog_bytes);
    atomic_store(&record->hog_now_bytes, 0);
}

static void rest(const struct pressure_plan *plan, const struct pressure_record *record)
{
    uint64_t end_ns = now_ns() + plan->hog_off_ms * MS_NS;

    while (!is_over(record, end_ns))
        nap_ms(10);
}

static void hog_main(const struct pressure_plan *plan, struct pressure_record *record)
{
    while (!atomic_load(&record->begin_ns))
        nap_ms(1);
    while (!atomic_load(&record->hog_stop)) {
        unsigned number = atomic_load(&record->phase_count);
        struct phase *phase = &record->phases[number < PHASES_MAX ? number : PHASES_MAX - 1];

        rest(plan, record);
        if (atomic_load(&record->hog_stop))
            break;
        phase->begin_s = since_s(record);
        atomic_store(&record->phase_count, number < PHASES_MAX ? number + 1 : number);
        hold(plan, record, now_ns() + plan->hog_on_ms * MS_NS);
        phase->end_s = since_s(record);
    }
}

int hog_start(const struct pressure_plan *plan, struct pressure_record *record)
{
    pid_t parent = getpid(), pid = fork();

    if (pid < 0)
        return -errno;
    if (pid > 0)
        return 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        hog_main(plan, record);
    _exit(0);
}
