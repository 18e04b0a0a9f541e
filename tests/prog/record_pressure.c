/* SPDX-License-Identifier: MIT */
/*
 * Records what the kernel says of a group's pressure, as a trace for test_replay: the files as
 * they are, twice a second, and when a trigger of 200 ms in 2 s fires.
 *
 *     record_pressure GROUP SECONDS
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVERY_MS = 500 };

static const struct {
    const char *name;
    char letter;
} files[] = {{"memory.pressure", 'm'}, {"io.pressure", 'i'}, {"memory.events", 'e'}};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sample(const char *group, int64_t at_ms, int event)
{
    printf("@ %lld%s\n", (long long)at_ms, event ? " event" : "");
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[4096], line[256];
        snprintf(path, sizeof(path), "%s/%s", group, files[i].name);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof(line), file))
            printf("%c %s", files[i].letter, line);
        if (file)
            fclose(file);
    }
}

int main(int argc, char **argv)
{
    static const char trigger[] = "some 200000 2000000";
    char path[4096];
    if (argc != 3) {
        fprintf(stderr, "usage: record_pressure GROUP SECONDS\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/memory.pressure", argv[1]);
    struct pollfd pollfd = {.fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK), .events = POLLPRI};
    if (pollfd.fd < 0 || write(pollfd.fd, trigger, sizeof(trigger)) < 0) {
        fprintf(stderr, "record_pressure: %s: %s\n", path, strerror(errno));
        return 1;
    }
    int64_t begin_ms = now_ms(), end_ms = begin_ms + 1000 * atoll(argv[2]);
    for (int64_t next_ms = begin_ms; next_ms < end_ms;) {
        int64_t left_ms = next_ms - now_ms();
        int ready = poll(&pollfd, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready < 0 || (ready > 0 && (pollfd.revents & POLLERR))) {
            fprintf(stderr, "record_pressure: %s: the trigger is gone\n", path);
            return 1;
        }
        sample(argv[1], now_ms() - begin_ms, ready > 0);
        if (ready == 0)
            next_ms += EVERY_MS;
    }
    close(pollfd.fd);
    return fflush(stdout) ? 1 : 0;
}
