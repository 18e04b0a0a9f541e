/* SPDX-License-Identifier: MIT */
/* The device's own limit: plain loops over one file, with nothing of the library in between. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_RAW_H
#define SPILLWAY_TOOLS_SPILLBENCH_RAW_H

#include <stdbool.h>
#include <stdint.h>

enum { RAW_DEPTH_MAX = 256 };

enum raw_engine { RAW_URING, RAW_THREADS };
enum raw_direction { RAW_WRITE, RAW_READ, RAW_MIXED };

struct raw_plan {
    enum raw_engine engine;
    enum raw_direction direction;
    uint64_t total_bytes; /* moved */
    uint64_t request_bytes;
    unsigned depth; /* requests in flight, or threads */
    bool huge;      /* buffers on huge pages, as the library's own are */
    bool checked;   /* bytes are made anew before each write, and one checksum of each is computed,
                       before it is written or after it was read; not of mixed ones */
};

struct raw_file; /* an unnamed, allocated, once written file: extents are warm */

/* `dir` NULL: SPILLWAY_DIRS, or SLURM_TMPDIR, TMPDIR, /var/tmp, the first that works. Returns NULL
 * with *err set to -errno. */
struct raw_file *raw_open(const char *dir, uint64_t bytes, int *err);
void raw_close(struct raw_file *file);

int raw_fd(const struct raw_file *file);
bool raw_is_direct(const struct raw_file *file);
uint32_t raw_align(const struct raw_file *file); /* of a request, in bytes */

/* Requests go front to back, and start again at the front; mixed ones write into the one half and
 * read from the other, by turns. Returns 0, -EINVAL (a request that does not fit the file or its
 * alignment, a depth above RAW_DEPTH_MAX), -ENOSYS (no io_uring in this build) or -errno; bytes a
 * second and CPU seconds a GB in *rate and *cpu. */
int raw_run(struct raw_file *file, const struct raw_plan *plan, double *rate, double *cpu);

/* The best of a few depths and request sizes of io_uring, found by short runs: the yardstick for
 * that file in this run. Of threads where io_uring is refused. Its total is the whole file. */
int raw_best(struct raw_file *file, enum raw_direction direction, struct raw_plan *best);

/* For reports that state a rate. */
const char *raw_engine_text(const struct raw_plan *plan);

#endif
