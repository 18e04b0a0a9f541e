/* SPDX-License-Identifier: MIT */
/* A shared map of an unnamed file, written front to back and read the same way; the kernel decides
 * what of it is in memory. */
#include "backlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load.h"

struct backlog {
    struct measure *measure;
    uint64_t chunk_bytes;
    unsigned char *map;
    uint64_t map_bytes, produced_bytes, consumed_bytes; /* of this pass */
};

/* Room for the larger pass; allocated first, since a full disk would be a SIGBUS later. */
static int map_file(struct backlog *backlog, const char *dir)
{
    int err = 0;
    int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    err = -posix_fallocate(fd, 0, (off_t)backlog->map_bytes);
    if (!err) {
        void *map = mmap(NULL, backlog->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (map == MAP_FAILED)
            err = -errno;
        else
            backlog->map = map;
    }
    close(fd);
    return err;
}

static void *mapped_open(const struct compare_plan *plan, struct measure *measure)
{
    struct backlog *backlog = calloc(1, sizeof *backlog);
    int err = backlog ? 0 : -ENOMEM;

    if (!err) {
        backlog->measure = measure;
        backlog->chunk_bytes = plan->chunk_bytes;
        backlog->map_bytes =
            plan->total_bytes > plan->warm_bytes ? plan->total_bytes : plan->warm_bytes;
        err = map_file(backlog, plan->dir);
    }
    if (err) {
        measure_fail(measure, err, "mapping a file in '%s': %s", plan->dir, strerror(-err));
        free(backlog);
        return NULL;
    }
    return backlog;
}

static int mapped_produce(void *context, uint64_t sequence)
{
    struct backlog *backlog = context;

    chunk_fill(backlog->map + backlog->produced_bytes, backlog->chunk_bytes, sequence);
    backlog->produced_bytes += backlog->chunk_bytes;
    return 0;
}

static int mapped_consume(void *context, struct consumer *consumer)
{
    struct backlog *backlog = context;
    int err = consumer_take(consumer, backlog->map + backlog->consumed_bytes, backlog->chunk_bytes);

    backlog->consumed_bytes += backlog->chunk_bytes;
    return err;
}

static int mapped_rewind(void *context)
{
    struct backlog *backlog = context;

    backlog->produced_bytes = backlog->consumed_bytes = 0;
    return 0;
}

static void mapped_close(void *context)
{
    struct backlog *backlog = context;

    munmap(backlog->map, backlog->map_bytes);
    free(backlog);
}

const struct backlog_ops backlog_mapped = {.open = mapped_open,
                                           .produce = mapped_produce,
                                           .consume = mapped_consume,
                                           .rewind = mapped_rewind,
                                           .close = mapped_close};
