/* SPDX-License-Identifier: MIT */
#include "raw.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../pool/checksum.h"
#include "child.h"
#include "load.h"
#include "raw_loop.h"

#define HUGE_BYTES  (UINT64_C(2) << 20)
#define FILL_BYTES  (UINT64_C(1) << 20)
#define TRIAL_BYTES (UINT64_C(256) << 20)

/* The buffers of a run, at the start of a huge page. */
struct buffers {
    void *map;
    size_t map_bytes;
    unsigned char *start;
};

static int buffers_open(struct buffers *buffers, uint64_t bytes, bool huge)
{
    buffers->map_bytes = (size_t)(bytes + 2 * HUGE_BYTES);
    buffers->map =
        mmap(NULL, buffers->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffers->map == MAP_FAILED)
        return -errno;
    uintptr_t start = ((uintptr_t)buffers->map + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1);
    buffers->start = (unsigned char *)start;
    /* Advice only: without such pages the run is what this machine can do. */
    madvise(buffers->map, buffers->map_bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    chunk_fill(buffers->start, bytes, 0);
    return 0;
}

static void buffers_close(struct buffers *buffers)
{
    munmap(buffers->map, buffers->map_bytes);
}

static void check(const struct raw_loop *loop, const unsigned char *buffer)
{
    /* Threads may write it at once: sums that nothing is done with might not be computed. */
    static _Atomic uint64_t sink;
    atomic_store_explicit(&sink, checksum_update(1, buffer, (size_t)loop->request_bytes),
                          memory_order_relaxed);
}

void raw_before_write(const struct raw_loop *loop, unsigned char *buffer, uint64_t index)
{
    if (!loop->checked)
        return;
    chunk_fill(buffer, loop->request_bytes, index);
    check(loop, buffer);
}

void raw_after_read(const struct raw_loop *loop, const unsigned char *buffer)
{
    if (loop->checked)
        check(loop, buffer);
}

struct raw_request raw_request_at(const struct raw_loop *loop, uint64_t index)
{
    uint64_t places = loop->file_bytes / loop->request_bytes;
    if (loop->direction != RAW_MIXED)
        return (struct raw_request){
            .write = loop->direction == RAW_WRITE,
            .offset = index % places * loop->request_bytes,
        };
    /* By turns, into the one half and from the other. */
    uint64_t half = places > 1 ? places / 2 : 1;
    uint64_t place = index / 2 % half;
    bool write = index % 2 == 0;
    if (!write && places > 1)
        place += half;
    return (struct raw_request){.write = write, .offset = place * loop->request_bytes};
}

/* The first directory of SPILLWAY_DIRS; NULL when it names none. */
static const char *first_dir(char out[PATH_MAX])
{
    const char *dirs = getenv("SPILLWAY_DIRS");
    if (!dirs || !*dirs || strcmp(dirs, "auto") == 0)
        return NULL;
    snprintf(out, PATH_MAX, "%.*s", (int)strcspn(dirs, ":"), dirs);
    return out;
}

struct raw_file *raw_open(const char *dir, uint64_t bytes, int *err)
{
    char first[PATH_MAX], why[SCRATCH_WHY];
    dir = dir ? dir : first_dir(first);
    const char *const names[] = {dir, getenv("SLURM_TMPDIR"), getenv("TMPDIR"), "/var/tmp"};
    struct raw_file *file = calloc(1, sizeof(*file));
    double rate, cpu;
    if (!file) {
        *err = -ENOMEM;
        return NULL;
    }
    file->scratch.fd = -1;
    *err = -ENOENT;
    for (size_t i = 0; *err && i < (dir ? 1 : sizeof(names) / sizeof(names[0])); i++) {
        if (names[i])
            *err = scratch_open(&os_linux, names[i], &file->scratch, why);
    }
    if (*err) {
        free(file);
        return NULL;
    }
    file->bytes = bytes;
    *err = scratch_grow(&file->scratch, 0, bytes);
    struct raw_plan fill = {
        .engine = RAW_THREADS,
        .direction = RAW_WRITE,
        .total_bytes = bytes,
        .request_bytes = bytes < FILL_BYTES ? bytes : FILL_BYTES,
        .depth = 4,
    };
    if (*err == 0)
        *err = raw_run(file, &fill, &rate, &cpu);
    if (*err) {
        raw_close(file);
        return NULL;
    }
    return file;
}

void raw_close(struct raw_file *file)
{
    if (!file)
        return;
    scratch_close(&file->scratch);
    free(file);
}

int raw_fd(const struct raw_file *file)
{
    return file->scratch.fd;
}

bool raw_is_direct(const struct raw_file *file)
{
    return file->scratch.direct;
}

uint32_t raw_align(const struct raw_file *file)
{
    return file->scratch.align;
}

int raw_run(struct raw_file *file, const struct raw_plan *plan, double *rate, double *cpu)
{
    struct buffers buffers = {.start = NULL};
    uint64_t align = file->scratch.align;
    if (plan->depth == 0 || plan->depth > RAW_DEPTH_MAX || plan->request_bytes == 0 ||
        plan->request_bytes % align != 0 || plan->request_bytes > file->bytes ||
        plan->request_bytes > INT32_MAX)
        return -EINVAL;
    struct raw_loop loop = {
        .fd = file->scratch.fd,
        .file_bytes = file->bytes,
        .request_bytes = plan->request_bytes,
        .count = (plan->total_bytes + plan->request_bytes - 1) / plan->request_bytes,
        .depth = plan->depth,
        .direction = plan->direction,
        .checked = plan->checked,
    };
    int err = buffers_open(&buffers, plan->depth * plan->request_bytes, plan->huge);
    if (err)
        return err;
    loop.buffers = buffers.start;
    double cpu_before = cpu_s(), before = now_s();
    err = plan->engine == RAW_URING ? raw_loop_uring(&loop) : raw_loop_threads(&loop);
    double seconds = now_s() - before, bytes = (double)(loop.count * loop.request_bytes);
    *rate = seconds > 0 ? bytes / seconds : 0;
    *cpu = (cpu_s() - cpu_before) / (bytes / 1e9);
    buffers_close(&buffers);
    return err;
}

/* As raw_best(), with one engine. */
static int best_of(struct raw_file *file, enum raw_engine engine, enum raw_direction direction,
                   struct raw_plan *best)
{
    static const unsigned depths[] = {4, 8, 16};
    static const uint64_t sizes[] = {256 << 10, 1 << 20, 2 << 20};
    double best_rate = 0;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 9; i++) {
            struct raw_plan plan = {
                .engine = engine,
                .direction = direction,
                .total_bytes = TRIAL_BYTES < file->bytes ? TRIAL_BYTES : file->bytes,
                .request_bytes = sizes[i / 3],
                .depth = depths[i % 3],
                .huge = true,
            };
            double rate, cpu;
            int err = raw_run(file, &plan, &rate, &cpu);
            if (err)
                return err;
            if (rate > best_rate) {
                best_rate = rate;
                *best = plan;
            }
        }
    }
    best->total_bytes = file->bytes;
    return 0;
}

/* What a kernel, container or build answers that has no io_uring for us. */
static bool is_refusal(int err)
{
    return err == -ENOSYS || err == -EPERM || err == -EACCES || err == -ENOMEM ||
           err == -EOPNOTSUPP;
}

int raw_best(struct raw_file *file, enum raw_direction direction, struct raw_plan *best)
{
    int err = best_of(file, RAW_URING, direction, best);
    return is_refusal(err) ? best_of(file, RAW_THREADS, direction, best) : err;
}

const char *raw_engine_text(const struct raw_plan *plan)
{
    return plan->engine == RAW_URING ? "io_uring" : "threads (no io_uring here)";
}
