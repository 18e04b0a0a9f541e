/* SPDX-License-Identifier: MIT */
/*
 * hold_pools COUNT: a process with so many pools, for tests of poolstat, that does as it is told
 * on standard input, a word a line, and answers with a line each:
 *
 *   fill     spill something in the first pool, read some of it back, wait until all is quiet
 *   report   what the first pool's own calls say, as JSON
 *   queue    the same of its queue
 *   busy     from now on fill and drain the first pool's queue as fast as can be, in a thread
 *   calm     no more
 *   fork     a child that only waits; answers with its number
 *   swap     what the pool is asked by has another pipe in its place from now on: "swap FIFO" that
 *            one, "swap" one without a name
 *   waiting  how many bytes are in that
 *   crash    end by SIGSEGV; no answer
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "spillway/spillway.h"

enum { POOLS_MAX = 1000, CHUNK = 100000, FILL_CHUNKS = 300, REPORT_BYTES = 1 << 16 };

struct held {
    spw_pool *pools[POOLS_MAX];
    unsigned count;
    spw_writer *writer;
    spw_reader *reader;
    _Atomic int busy;
    pthread_t thread;
};

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "hold_pools: %s: %s\n", what, strerror(-rc));
    exit(1);
}

static void queue_open(struct held *held)
{
    spw_strategy *strategy;
    spw_queue_options options = {
        .size = sizeof(options), .name = "the queue", .account = spw_pool_account(held->pools[0])};

    must(spw_pool_strategy(held->pools[0], &strategy), "strategy");
    must(spw_policies_open(strategy, NULL, &options.writer_policy, &options.reader_policy),
         "policies");
    must(spw_queue_open(&options, &held->writer, &held->reader), "queue");
}

static void extend(struct held *held, unsigned chunks)
{
    static const unsigned char data[CHUNK];
    spw_bytes bytes;

    for (unsigned i = 0; i < chunks; i++) {
        must(spw_bytes_copy(data, sizeof(data), NULL, &bytes), "copy");
        must(spw_writer_extend(held->writer, &bytes, 1, 0), "extend");
    }
}

static void drain(struct held *held, unsigned chunks)
{
    spw_bytes out[16];

    while (chunks > 0) {
        long got =
            spw_reader_drain_wait(held->reader, out, chunks < 16 ? chunks : 16, SPILLWAY_FOREVER);
        must((int)got, "drain");
        for (long i = 0; i < got; i++)
            spw_bytes_release(&out[i]);
        chunks -= (unsigned)got;
    }
}

static spw_stats stats_of(const struct held *held)
{
    spw_stats stats = {.size = sizeof(stats)};

    must(spw_pool_stats(held->pools[0], &stats), "stats");
    return stats;
}

/* Nothing moves any more: two looks 50 ms apart say the same. */
static void wait_quiet(const struct held *held)
{
    for (;;) {
        spw_stats before = stats_of(held);
        usleep(50000);
        spw_stats now = stats_of(held);
        if (now.in_flight_bytes == 0 && now.reading_bytes == 0 && now.oldest_request_ns == 0 &&
            memcmp(&before, &now, sizeof(now)) == 0)
            return;
    }
}

static void *traffic(void *argument)
{
    struct held *held = argument;

    while (atomic_load(&held->busy)) {
        extend(held, 50);
        drain(held, 50);
    }
    return NULL;
}

static void report(const struct held *held)
{
    static char text[REPORT_BYTES];
    spw_stats stats = stats_of(held);
    spw_histograms histograms = {.size = sizeof(histograms)};

    must(spw_pool_histograms(held->pools[0], &histograms), "histograms");
    must((int)spw_report_json(&stats, &histograms, text, sizeof(text)), "report");
    puts(text);
}

static void report_queue(const struct held *held)
{
    spw_queue_info info = {.size = sizeof(info)};

    must(spw_writer_info(held->writer, &info), "info");
    printf("{\"entries\":%" PRIu64 ",\"paged_entries\":%" PRIu64 ",\"resident_bytes\":%" PRIu64
           ",\"paged_bytes\":%" PRIu64 ",\"extended_bytes_total\":%" PRIu64
           ",\"drained_bytes_total\":%" PRIu64 ",\"merged_total\":%" PRIu64
           ",\"skipped_bytes_total\":%" PRIu64 "}\n",
           info.entries, info.paged_entries, info.resident_bytes, info.paged_bytes,
           info.extended_bytes_total, info.drained_bytes_total, info.merged_total,
           info.skipped_bytes_total);
}

static void fork_child(void)
{
    pid_t child = fork();

    if (child == 0) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        for (;;)
            pause();
    }
    printf("%ld\n", (long)child);
}

/* The one descriptor of this process that is both ends of a pipe; -1: there is none. */
static int control_fd(void)
{
    for (int fd = 3; fd < 256; fd++) {
        char path[64], link[64];
        ssize_t len;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        len = readlink(path, link, sizeof(link) - 1);
        if (len > 5 && memcmp(link, "pipe:", 5) == 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR)
            return fd;
    }
    return -1;
}

static int swapped = -1;

static void swap(const char *fifo)
{
    int ends[2], fd = swapped < 0 ? control_fd() : swapped;

    if (*fifo != '\0')
        ends[0] = open(fifo, O_RDWR | O_NONBLOCK);
    else
        must(pipe(ends) == 0 ? 0 : -errno, "pipe");
    must(ends[0] < 0 ? -errno : dup2(ends[0], fd) < 0 ? -errno : 0, "swap");
    swapped = fd;
    puts("swapped");
}

static void tell_waiting(void)
{
    int bytes = 0;

    must(ioctl(swapped, FIONREAD, &bytes) == 0 ? 0 : -errno, "FIONREAD");
    printf("%d\n", bytes);
}

static void obey(struct held *held, const char *word)
{
    if (strncmp(word, "swap", 4) == 0) {
        swap(word + 4 + strspn(word + 4, " "));
    } else if (strcmp(word, "waiting") == 0) {
        tell_waiting();
    } else if (strcmp(word, "fill") == 0) {
        extend(held, FILL_CHUNKS);
        drain(held, FILL_CHUNKS / 3);
        wait_quiet(held);
        puts("filled");
    } else if (strcmp(word, "report") == 0) {
        report(held);
    } else if (strcmp(word, "queue") == 0) {
        report_queue(held);
    } else if (strcmp(word, "busy") == 0) {
        atomic_store(&held->busy, 1);
        must(-pthread_create(&held->thread, NULL, traffic, held), "thread");
        puts("busy");
    } else if (strcmp(word, "calm") == 0) {
        atomic_store(&held->busy, 0);
        pthread_join(held->thread, NULL);
        puts("calm");
    } else if (strcmp(word, "fork") == 0) {
        fork_child();
    } else if (strcmp(word, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct held held;
    char line[256];

    held.count = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    if (held.count < 1 || held.count > POOLS_MAX) {
        fprintf(stderr, "usage: hold_pools COUNT\n");
        return 2;
    }
    for (unsigned i = 0; i < held.count; i++) {
        char name[32];
        spw_pool_config config = {.size = sizeof(config), .name = name};
        snprintf(name, sizeof(name), "held-%u", i);
        must(spw_pool_open(&config, &held.pools[i]), "pool");
    }
    queue_open(&held);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        obey(&held, line);
    }
    spw_writer_close(held.writer);
    spw_reader_close(held.reader);
    for (unsigned i = 0; i < held.count; i++)
        spw_pool_close(held.pools[i]);
    return 0;
}
