/* SPDX-License-Identifier: MIT */
#include "fio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

enum { ARGUMENT_BYTES = 64, LINE_BYTES = 8192, READ_FIELD = 6, WRITE_FIELD = 47 };

/* Field `number`, from 0, of fio's terse format: KiB a second, as the one behind says, too. */
static double field(const char *line, unsigned number)
{
    for (; number > 0 && line; number--) {
        line = strchr(line, ';');
        line = line ? line + 1 : NULL;
    }
    return line ? strtod(line, NULL) : 0;
}

/* Version 3 of that format: version;fio;job;group;error;read: KiB, KiB/s...; write likewise. */
static double parse(FILE *pipe)
{
    char line[LINE_BYTES];
    double kib = 0;
    while (fgets(line, sizeof(line), pipe)) {
        if (strncmp(line, "3;", 2) == 0)
            kib = field(line, READ_FIELD) + field(line, WRITE_FIELD);
    }
    return kib * 1024;
}

int fio_run(const struct raw_file *file, uint64_t file_bytes, const struct raw_plan *plan,
            double *rate)
{
    static const char *const modes[] = {"--rw=write", "--rw=read", "--rw=rw"};
    char name[ARGUMENT_BYTES], size[ARGUMENT_BYTES], moved[ARGUMENT_BYTES];
    char request[ARGUMENT_BYTES], depth[ARGUMENT_BYTES], mode[ARGUMENT_BYTES];
    char program[] = "fio", job[] = "--name=raw", terse[] = "--output-format=terse";
    char version[] = "--terse-version=3", engine[] = "--ioengine=io_uring", direct[] = "--direct=1";
    char thread[] = "--thread", keep[] = "--allow_file_create=0", sync[] = "--invalidate=0";
    char huge[] = "--iomem=mmap", fill[] = "--refill_buffers=0";
    struct process process;
    /* Our unnamed file, opened anew through our descriptor: the same extents. */
    snprintf(name, sizeof(name), "--filename=/proc/self/fd/%d", raw_fd(file));
    snprintf(size, sizeof(size), "--size=%" PRIu64, file_bytes);
    snprintf(moved, sizeof(moved), "--io_size=%" PRIu64, plan->total_bytes);
    snprintf(request, sizeof(request), "--bs=%" PRIu64, plan->request_bytes);
    snprintf(depth, sizeof(depth), "--iodepth=%u", plan->depth);
    snprintf(mode, sizeof(mode), "%s", modes[plan->direction]);
    char *const argv[] = {program, job,  terse, version, engine, direct,  thread, keep, sync,
                          huge,    fill, name,  size,    moved,  request, depth,  mode, NULL};
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0)
        return -errno;
    int err = process_start(&process, PROCESS_OUTPUT, nothing, raw_fd(file), argv);
    close(nothing);
    if (err)
        return err;
    *rate = parse(process.pipe);
    err = process_wait(&process);
    return err ? err : *rate > 0 ? 0 : -EIO;
}
