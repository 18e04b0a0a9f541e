/* SPDX-License-Identifier: MIT */
/*
 * Memory that comes and goes: takes MIB of it and touches it at random for ON_MS, gives it back,
 * sleeps for OFF_MS; so many times.
 *
 *     hog MIB ON_MS OFF_MS TIMES
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: hog MIB ON_MS OFF_MS TIMES\n");
        return 2;
    }
    size_t bytes = (size_t)atol(argv[1]) << 20, pages = bytes / 4096;
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < atol(argv[4]); i++) {
        int64_t end_ms = now_ms() + atol(argv[2]);
        volatile unsigned char *memory =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return 1;
        for (size_t page = 0; page < pages && now_ms() < end_ms; page++)
            memory[page * 4096] = 1;
        while (now_ms() < end_ms) {
            for (int k = 0; k < 64; k++) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                memory[random % pages * 4096]++;
            }
        }
        munmap((void *)(uintptr_t)memory, bytes);
        nap_ms(atol(argv[3]));
    }
    return 0;
}
