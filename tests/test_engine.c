/* SPDX-License-Identifier: MIT */
/* Both I/O engines: the same test bodies for each, then what is particular to one. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../pool/engine.h"
#include "../pool/engine_impl.h"
#include "fault.h"
#include "harness.h"

enum { ALIGN = 4096, KIB = 1024, MIB = 1024 * 1024, LOG_MAX = 512 };

/* --- the rig: one engine, one scratch file, what was completed --- */

struct rig {
    struct engine *engine;
    struct log log;
    struct histogram write_ns, read_ns;
    int fd;
    uint32_t align;
    uint32_t request_bytes; /* to open with; 0: auto */
    uint64_t trial_bytes;   /* the same */
    int why;
    _Atomic unsigned lines; /* of the log */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned completed;     /* guarded by lock */
    int order[LOG_MAX];     /* guarded by lock: names of completed tasks */
    bool gate_open;         /* guarded by lock */
    bool gate_reached;      /* guarded by lock */
    unsigned busy, busiest; /* guarded by lock: tasks between prepare and complete */
};

struct task {
    struct job job;
    struct rig *rig;
    int name;
    unsigned rounds; /* times to submit it again */
    bool owned;      /* complete frees it */
    int prepared;    /* what prepare returns */
    int tid;
    bool on_thread;
};

static void rig_log(void *context, enum spw_log_level level, const char *line)
{
    struct rig *rig = context;

    (void)level;
    (void)line;
    atomic_fetch_add(&rig->lines, 1);
}

static int scratch_file(uint32_t *align)
{
    char path[] = "/var/tmp/engine-XXXXXX";
    int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);

    *align = ALIGN;
    if (fd >= 0)
        return fd;
    fd = mkostemp(path, O_CLOEXEC | O_DIRECT);
    if (fd < 0)
        fd = mkostemp(path, O_CLOEXEC);
    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->changed, NULL);
    log_init(&rig->log, &os_linux, rig_log, rig, SPILLWAY_LOG_WARN);
    rig->fd = scratch_file(&rig->align);
}

static int rig_try_files(struct rig *rig, enum engine_kind kind, unsigned depth, const int *fds,
                         unsigned count)
{
    struct engine_config config = {
        .os = &fault_os,
        .allocator = &fault_allocator,
        .log = &rig->log,
        .kind = kind,
        .depth = depth,
        .request_bytes = rig->request_bytes,
        .trial_bytes = rig->trial_bytes,
        .fds = fds,
        .fd_count = count,
        .write_ns = &rig->write_ns,
        .read_ns = &rig->read_ns,
    };

    return engine_open(&config, &rig->engine, &rig->why);
}

static int rig_try(struct rig *rig, enum engine_kind kind, unsigned depth)
{
    return rig_try_files(rig, kind, depth, &rig->fd, 1);
}

static void rig_open(struct rig *rig, enum engine_kind kind, unsigned depth)
{
    int rc;

    rig_init(rig);
    rc = rig_try(rig, kind, depth);
    cr_assert_eq(rc, 0, "engine_open: %d", rc);
}

static void rig_fini(struct rig *rig)
{
    close(rig->fd);
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_open_fds(), 0);
    pthread_cond_destroy(&rig->changed);
    pthread_mutex_destroy(&rig->lock);
}

static void rig_close(struct rig *rig)
{
    engine_close(rig->engine);
    rig_fini(rig);
}

static void rig_wait(struct rig *rig, unsigned completed)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->completed < completed)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

static unsigned rig_completed(struct rig *rig)
{
    unsigned completed;

    pthread_mutex_lock(&rig->lock);
    completed = rig->completed;
    pthread_mutex_unlock(&rig->lock);
    return completed;
}

static int task_prepare(struct job *job)
{
    struct task *task = (struct task *)job;
    struct rig *rig = task->rig;

    task->tid = (int)syscall(SYS_gettid);
    pthread_mutex_lock(&rig->lock);
    if (++rig->busy > rig->busiest)
        rig->busiest = rig->busy;
    pthread_mutex_unlock(&rig->lock);
    return task->prepared;
}

static void task_complete(struct job *job)
{
    struct task *task = (struct task *)job;
    struct rig *rig = task->rig;

    task->on_thread = engine_on_thread(rig->engine);
    pthread_mutex_lock(&rig->lock);
    rig->busy--;
    pthread_mutex_unlock(&rig->lock);
    if (task->rounds > 0) {
        task->rounds--;
        engine_submit(rig->engine, job, false);
        return;
    }
    pthread_mutex_lock(&rig->lock);
    if (rig->completed < LOG_MAX)
        rig->order[rig->completed] = task->name;
    rig->completed++;
    if (task->owned)
        free(task);
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
}

static void task_init(struct task *task, struct rig *rig, int name, enum job_op op)
{
    memset(task, 0, sizeof(*task));
    task->rig = rig;
    task->name = name;
    task->job.op = op;
    task->job.align = rig->align;
    task->job.prepare = task_prepare;
    task->job.complete = task_complete;
}

static void task_io(struct task *task, struct rig *rig, enum job_op op, void *buffer, size_t len,
                    uint64_t offset)
{
    task_init(task, rig, 0, op);
    task->job.buffer = buffer;
    task->job.len = len;
    task->job.offset = offset;
}

/* Runs one I/O job and returns its result. */
static int run_io(struct rig *rig, enum job_op op, void *buffer, size_t len, uint64_t offset)
{
    struct task task;
    unsigned before = rig_completed(rig);

    task_io(&task, rig, op, buffer, len, offset);
    engine_submit(rig->engine, &task.job, false);
    rig_wait(rig, before + 1);
    return task.job.result;
}

static struct engine_info engine_now(const struct rig *rig)
{
    struct engine_info info;

    engine_info(rig->engine, &info);
    return info;
}

/* Until the gate opens. */
static void hang(void *context)
{
    struct rig *rig = context;

    pthread_mutex_lock(&rig->lock);
    rig->gate_reached = true;
    pthread_cond_broadcast(&rig->changed);
    while (!rig->gate_open)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

/* A job that holds the engine thread that runs it until the gate opens. */
static int gate_prepare(struct job *job)
{
    struct rig *rig = ((struct task *)job)->rig;

    pthread_mutex_lock(&rig->lock);
    rig->busy++;
    pthread_mutex_unlock(&rig->lock);
    hang(rig);
    return JOB_DONE;
}

static void gate_shut(struct rig *rig, struct task *gate)
{
    task_init(gate, rig, -1, JOB_WORK);
    gate->job.prepare = gate_prepare;
    engine_submit(rig->engine, &gate->job, false);
    pthread_mutex_lock(&rig->lock);
    while (!rig->gate_reached)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

static void gate_open(struct rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    rig->gate_open = true;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
}

static unsigned char *map_buffer(size_t len)
{
    void *start =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    cr_assert(start != MAP_FAILED);
    return start;
}

static void fill(unsigned char *start, size_t len, uint64_t seed)
{
    size_t i;

    for (i = 0; i + 8 <= len; i += 8) {
        uint64_t word = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);

        memcpy(start + i, &word, 8);
    }
}

static bool is_filled(const unsigned char *start, size_t len, uint64_t seed)
{
    size_t i;

    for (i = 0; i + 8 <= len; i += 8) {
        uint64_t word = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);

        if (memcmp(start + i, &word, 8) != 0)
            return false;
    }
    return true;
}

static void need_ring(void)
{
    struct engine_config config = {
        .os = &os_linux, .allocator = &fault_allocator, .kind = ENGINE_IO_URING};
    struct engine *engine;
    int why, rc = engine_open(&config, &engine, &why);

    if (rc < 0)
        test_skip("no io_uring here: %s", strerror(-rc));
    engine_close(engine);
}

#define TEST_BOTH(name)                                                                            \
    static void name##_body(enum engine_kind kind);                                                \
    Test(engine_threads, name)                                                                     \
    {                                                                                              \
        name##_body(ENGINE_THREADS);                                                               \
    }                                                                                              \
    Test(engine_uring, name)                                                                       \
    {                                                                                              \
        need_ring();                                                                               \
        name##_body(ENGINE_IO_URING);                                                              \
    }                                                                                              \
    static void name##_body(enum engine_kind kind)

static enum fault fault_of(enum engine_kind kind, enum job_op op)
{
    if (kind == ENGINE_THREADS)
        return op == JOB_READ ? FAULT_PREAD : FAULT_PWRITE;
    return op == JOB_READ ? FAULT_RING_READ : FAULT_RING_WRITE;
}

/* --- I/O --- */

TEST_BOTH(writes_come_back)
{
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct rig rig;

    rig_open(&rig, kind, 0);
    cr_assert_str_eq(engine_name(rig.engine), kind == ENGINE_THREADS ? "threads" : "io_uring");
    cr_assert_eq(rig.why, 0);
    fill(out, MIB, 7);
    cr_assert_eq(engine_now(&rig).syscalls, 0);
    cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB, 8 * MIB), 0);
    cr_assert_eq(engine_now(&rig).syscalls, 1);
    cr_assert_eq(run_io(&rig, JOB_READ, in, MIB, 8 * MIB), 0);
    cr_assert_eq(engine_now(&rig).syscalls, 2);
    cr_assert(is_filled(in, MIB, 7));
    cr_assert_eq(engine_oldest_ns(rig.engine), 0);
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

TEST_BOTH(short_counts_go_on_aligned)
{
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct rig rig;

    rig_open(&rig, kind, 0);
    fill(out, MIB, 3);
    /* Each moves one aligned block, though the count says more. */
    fault_short(fault_of(kind, JOB_WRITE), 0, 3, ALIGN + 100);
    fault_short(fault_of(kind, JOB_READ), 0, 2, 2 * ALIGN + 1);
    cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB, 0), 0);
    cr_assert_eq(fault_calls(fault_of(kind, JOB_WRITE)), 4);
    cr_assert_eq(engine_now(&rig).syscalls, 4);
    cr_assert_eq(run_io(&rig, JOB_READ, in, MIB, 0), 0);
    cr_assert_eq(fault_calls(fault_of(kind, JOB_READ)), 3);
    cr_assert(is_filled(in, MIB, 3));
    if (kind == ENGINE_THREADS) {
        cr_assert_eq(fault_last(FAULT_PWRITE).offset, 3 * ALIGN);
        cr_assert_eq(fault_last(FAULT_PREAD).offset, 4 * ALIGN);
        cr_assert_eq(fault_last(FAULT_PREAD).len, MIB - 4 * ALIGN);
    } else {
        cr_assert_eq(fault_last(FAULT_RING_WRITE).len, MIB - 3 * ALIGN);
        cr_assert_eq(fault_last(FAULT_RING_READ).len, MIB - 4 * ALIGN);
    }
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

TEST_BOTH(short_counts_without_progress_end)
{
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;

    rig_open(&rig, kind, 0);
    fault_short(fault_of(kind, JOB_WRITE), 0, FAULT_ALWAYS, 100);
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), -EIO);
    fault_clear();
    fault_short(fault_of(kind, JOB_WRITE), 0, 1, 0);
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), -EIO);
    fault_clear();
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), 0);
    rig_close(&rig);
    munmap(buffer, MIB);
}

TEST_BOTH(end_of_file_is_an_error)
{
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;

    rig_open(&rig, kind, 0);
    cr_assert_eq(run_io(&rig, JOB_READ, buffer, MIB, 0), -EIO);
    cr_assert_eq(ftruncate(rig.fd, 3 * ALIGN), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, buffer, MIB, ALIGN), -EIO);
    /* An end that is not aligned must not be read over and over. */
    cr_assert_eq(ftruncate(rig.fd, 3 * ALIGN + 100), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, buffer, MIB, 0), -EIO);
    cr_assert_eq(run_io(&rig, JOB_READ, buffer, 3 * ALIGN, 0), 0);
    rig_close(&rig);
    munmap(buffer, MIB);
}

TEST_BOTH(interrupts_and_eagain_are_carried_on)
{
    static const int passing[] = {-EINTR, -EAGAIN};
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct rig rig;
    unsigned i;

    rig_open(&rig, kind, 0);
    for (i = 0; i < 2; i++) {
        fault_clear();
        fill(out, MIB, i);
        fault_fail(fault_of(kind, JOB_WRITE), 0, 4, passing[i]);
        fault_fail(fault_of(kind, JOB_READ), 0, 3, passing[i]);
        cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB, 0), 0);
        cr_assert_eq(fault_calls(fault_of(kind, JOB_WRITE)), 5);
        cr_assert_eq(run_io(&rig, JOB_READ, in, MIB, 0), 0);
        cr_assert_eq(fault_calls(fault_of(kind, JOB_READ)), 4);
        cr_assert(is_filled(in, MIB, i));
    }
    for (i = 0; i < 2; i++) {
        fault_clear();
        fault_fail(fault_of(kind, JOB_WRITE), 0, FAULT_ALWAYS, passing[i]);
        cr_assert_eq(run_io(&rig, JOB_WRITE, out, ALIGN, 0), passing[i]);
        cr_assert_eq(fault_calls(fault_of(kind, JOB_WRITE)), ENGINE_STALLS_MAX);
    }
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

TEST_BOTH(errors_reach_the_job)
{
    static const int errors[] = {-EIO, -ENOSPC, -EINVAL};
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;
    unsigned i;

    rig_open(&rig, kind, 0);
    for (i = 0; i < 3; i++) {
        fault_clear();
        fault_fail(fault_of(kind, JOB_WRITE), 0, 1, errors[i]);
        fault_fail(fault_of(kind, JOB_READ), 0, 1, errors[i]);
        cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), errors[i]);
        cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), 0);
        cr_assert_eq(run_io(&rig, JOB_READ, buffer, MIB, 0), errors[i]);
        cr_assert_eq(run_io(&rig, JOB_READ, buffer, MIB, 0), 0);
    }
    /* A failure in the middle, after a short count. */
    fault_clear();
    fault_short(fault_of(kind, JOB_WRITE), 0, 1, ALIGN);
    fault_fail(fault_of(kind, JOB_WRITE), 1, 1, -EIO);
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), -EIO);
    rig_close(&rig);
    munmap(buffer, MIB);
}

/* The kernel's own refusal, not a scripted one. */
TEST_BOTH(kernel_errors_reach_the_job)
{
    unsigned char *buffer = map_buffer(MIB);
    struct task task;
    struct rig rig;
    int full;

    rig_init(&rig);
    full = open("/dev/full", O_RDWR | O_CLOEXEC);
    cr_assert_geq(full, 0);
    cr_assert_eq(dup2(full, rig.fd), rig.fd);
    close(full);
    cr_assert_eq(rig_try(&rig, kind, 0), 0);
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), -ENOSPC);
    task_io(&task, &rig, JOB_WRITE, buffer, MIB, 0);
    task.job.file = 1; /* there is none */
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 2);
    cr_assert_eq(task.job.result, -EBADF);
    rig_close(&rig);
    munmap(buffer, MIB);
}

/* --- prepare and complete --- */

static int prepare_io(struct job *job)
{
    /* All that I/O needs may be decided this late. */
    job->len = 64 * KIB;
    job->offset = 128 * KIB;
    job->file = 0;
    return task_prepare(job);
}

TEST_BOTH(prepare_decides)
{
    unsigned char *buffer = map_buffer(MIB);
    struct task task;
    struct rig rig;

    rig_open(&rig, kind, 0);

    task_init(&task, &rig, 0, JOB_WRITE);
    task.prepared = -ENOSPC;
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 1);
    cr_assert_eq(task.job.result, -ENOSPC);

    task.prepared = JOB_DONE;
    engine_submit(rig.engine, &task.job, true);
    rig_wait(&rig, 2);
    cr_assert_eq(task.job.result, 0);

    task_init(&task, &rig, 0, JOB_WORK);
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 3);
    cr_assert_eq(task.job.result, 0);
    task.prepared = -ENOMEM;
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 4);
    cr_assert_eq(task.job.result, -ENOMEM);
    cr_assert_eq(engine_now(&rig).syscalls, 0);

    fill(buffer, 64 * KIB, 5);
    task_init(&task, &rig, 0, JOB_WRITE);
    task.job.prepare = prepare_io;
    task.job.buffer = buffer;
    task.job.file = 99;
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 5);
    cr_assert_eq(task.job.result, 0);
    memset(buffer, 0, 64 * KIB);
    task_io(&task, &rig, JOB_READ, buffer, 64 * KIB, 128 * KIB);
    task.job.prepare = NULL;
    pthread_mutex_lock(&rig.lock);
    rig.busy++; /* no prepare that counts */
    pthread_mutex_unlock(&rig.lock);
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 6);
    cr_assert_eq(task.job.result, 0);
    cr_assert(is_filled(buffer, 64 * KIB, 5));
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, 0, 0), 0);
    cr_assert_eq(engine_now(&rig).syscalls, 2);
    rig_close(&rig);
    munmap(buffer, MIB);
}

TEST_BOTH(complete_may_submit_again)
{
    unsigned char *buffer = map_buffer(MIB);
    struct task work, write;
    struct rig rig;

    rig_open(&rig, kind, 1);
    task_init(&work, &rig, 0, JOB_WORK);
    work.rounds = 500;
    task_io(&write, &rig, JOB_WRITE, buffer, 64 * KIB, 0);
    write.rounds = 30;
    engine_submit(rig.engine, &work.job, false);
    engine_submit(rig.engine, &write.job, false);
    rig_wait(&rig, 2);
    cr_assert_eq(work.rounds, 0);
    cr_assert_eq(write.rounds, 0);
    cr_assert_eq(engine_now(&rig).syscalls, 31);
    rig_close(&rig);
    munmap(buffer, MIB);
}

TEST_BOTH(complete_may_free)
{
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;
    unsigned i;

    rig_open(&rig, kind, 3);
    for (i = 0; i < 100; i++) {
        struct task *task = malloc(sizeof(*task));

        cr_assert_not_null(task);
        task_io(task, &rig, i % 3 == 0 ? JOB_WORK : JOB_WRITE, buffer, 16 * KIB, i * 16 * KIB);
        task->owned = true;
        engine_submit(rig.engine, &task->job, i % 2 == 0);
    }
    rig_wait(&rig, 100);
    rig_close(&rig);
    munmap(buffer, MIB);
}

TEST_BOTH(threads_know_themselves)
{
    struct task task;
    struct rig rig, other;

    rig_open(&rig, kind, 0);
    rig_init(&other);
    cr_assert_eq(rig_try(&other, kind, 0), 0);
    task_init(&task, &rig, 0, JOB_WORK);
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 1);
    cr_assert(task.on_thread);
    cr_assert(!engine_on_thread(rig.engine));
    /* Its completion asks the other engine, which must not know this thread. */
    task.rig = &other;
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&other, 1);
    cr_assert(!task.on_thread);
    engine_close(other.engine);
    close(other.fd);
    rig_close(&rig);
}

/* --- order --- */

static void expect_order(struct rig *rig, const int *names, unsigned count)
{
    unsigned i;

    rig_wait(rig, count);
    for (i = 0; i < count; i++)
        cr_assert_eq(rig->order[i], names[i], "place %u: %d instead of %d", i, rig->order[i],
                     names[i]);
}

TEST_BOTH(urgent_and_hurried_jobs_go_first)
{
    static const int expected[] = {-1, 5, 1, 3, 4, 0, 2};
    struct task gate, tasks[6];
    struct rig rig;
    int i;

    rig_open(&rig, kind, 1);
    gate_shut(&rig, &gate);
    for (i = 0; i < 6; i++) {
        task_init(&tasks[i], &rig, i, JOB_WORK);
        engine_submit(rig.engine, &tasks[i].job, i == 3 || i == 4);
    }
    engine_hurry(rig.engine, &tasks[1].job);
    engine_hurry(rig.engine, &tasks[5].job);
    engine_hurry(rig.engine, &gate.job); /* no longer pending: nothing happens */
    gate_open(&rig);
    expect_order(&rig, expected, 7);
    engine_hurry(rig.engine, &tasks[1].job);
    rig_close(&rig);
}

TEST_BOTH(hurried_job_is_ahead_of_later_urgent_ones)
{
    static const int expected[] = {-1, 1, 2, 0};
    struct task gate, tasks[3];
    struct rig rig;
    int i;

    rig_open(&rig, kind, 1);
    gate_shut(&rig, &gate);
    for (i = 0; i < 3; i++)
        task_init(&tasks[i], &rig, i, JOB_WORK);
    engine_submit(rig.engine, &tasks[0].job, false);
    engine_submit(rig.engine, &tasks[1].job, false);
    engine_hurry(rig.engine, &tasks[1].job);
    engine_submit(rig.engine, &tasks[2].job, true);
    gate_open(&rig);
    expect_order(&rig, expected, 4);
    rig_close(&rig);
}

TEST_BOTH(pending_jobs_can_be_cancelled)
{
    static const int expected[] = {-1, 4, 5, 1, 3};
    struct task gate, tasks[6];
    struct rig rig;
    int i;

    rig_open(&rig, kind, 1);
    gate_shut(&rig, &gate);
    cr_assert(!engine_cancel(rig.engine, &gate.job));
    for (i = 0; i < 6; i++) {
        task_init(&tasks[i], &rig, i, JOB_WORK);
        cr_assert(!engine_cancel(rig.engine, &tasks[i].job));
        engine_submit(rig.engine, &tasks[i].job, i >= 4);
    }
    cr_assert(engine_cancel(rig.engine, &tasks[0].job));
    cr_assert(engine_cancel(rig.engine, &tasks[2].job));
    cr_assert(engine_cancel(rig.engine, &tasks[4].job));
    cr_assert(engine_cancel(rig.engine, &tasks[5].job));
    cr_assert(!engine_cancel(rig.engine, &tasks[5].job));
    /* They may come again. */
    engine_submit(rig.engine, &tasks[4].job, true);
    engine_submit(rig.engine, &tasks[5].job, true);
    gate_open(&rig);
    expect_order(&rig, expected, 5);
    cr_assert(!engine_cancel(rig.engine, &tasks[1].job));
    rig_close(&rig);
    cr_assert_eq(rig.completed, 5);
}

TEST_BOTH(depth_bounds_what_is_in_flight)
{
    unsigned char *buffer = map_buffer(MIB);
    struct task gate, tasks[64];
    struct rig rig;
    unsigned i;

    rig_open(&rig, kind, 3);
    gate_shut(&rig, &gate);
    for (i = 0; i < 64; i++) {
        task_io(&tasks[i], &rig, JOB_WRITE, buffer, 64 * KIB, i * 64 * KIB);
        engine_submit(rig.engine, &tasks[i].job, false);
    }
    gate_open(&rig);
    rig_wait(&rig, 65);
    for (i = 0; i < 64; i++)
        cr_assert_eq(tasks[i].job.result, 0);
    cr_assert_leq(rig.busiest, 3);
    rig_close(&rig);
    munmap(buffer, MIB);
}

/* --- many threads, and the end --- */

enum { CROWD_THREADS = 4, CROWD_JOBS = 500, CROWD_BYTES = ALIGN };

struct crowd {
    struct rig *rig;
    struct task tasks[CROWD_JOBS];
    unsigned char *buffers;
    unsigned number;
    unsigned cancelled;
};

static uint64_t crowd_offset(const struct crowd *crowd, unsigned i)
{
    return ((uint64_t)crowd->number * CROWD_JOBS + i) * CROWD_BYTES;
}

static void *crowd_main(void *argument)
{
    struct crowd *crowd = argument;
    struct engine *engine = crowd->rig->engine;
    unsigned i;

    for (i = 0; i < CROWD_JOBS; i++) {
        unsigned char *buffer = crowd->buffers + (size_t)i * CROWD_BYTES;
        struct job *job = &crowd->tasks[i].job;

        fill(buffer, CROWD_BYTES, crowd_offset(crowd, i));
        task_io(&crowd->tasks[i], crowd->rig, JOB_WRITE, buffer, CROWD_BYTES,
                crowd_offset(crowd, i));
        engine_submit(engine, job, i % 5 == 0);
        if (i % 7 == 3)
            engine_hurry(engine, &crowd->tasks[i - 2].job);
        if (i % 11 == 6 && engine_cancel(engine, &crowd->tasks[i - 5].job)) {
            crowd->cancelled++;
            engine_submit(engine, &crowd->tasks[i - 5].job, false);
        }
        if (i % 64 == 0)
            (void)engine_oldest_ns(engine);
    }
    return NULL;
}

TEST_BOTH(many_jobs_from_many_threads)
{
    static struct crowd crowds[CROWD_THREADS];
    size_t bytes = (size_t)CROWD_JOBS * CROWD_BYTES;
    unsigned char *in = map_buffer(bytes);
    pthread_t threads[CROWD_THREADS];
    struct rig rig;
    unsigned i, j;

    rig_open(&rig, kind, 0);
    for (i = 0; i < CROWD_THREADS; i++) {
        crowds[i].rig = &rig;
        crowds[i].number = i;
        crowds[i].buffers = map_buffer(bytes);
        cr_assert_eq(pthread_create(&threads[i], NULL, crowd_main, &crowds[i]), 0);
    }
    for (i = 0; i < CROWD_THREADS; i++)
        pthread_join(threads[i], NULL);
    rig_wait(&rig, CROWD_THREADS * CROWD_JOBS);
    for (i = 0; i < CROWD_THREADS; i++) {
        cr_assert_eq(run_io(&rig, JOB_READ, in, bytes, crowd_offset(&crowds[i], 0)), 0);
        for (j = 0; j < CROWD_JOBS; j++) {
            cr_assert_eq(crowds[i].tasks[j].job.result, 0);
            cr_assert(
                is_filled(in + (size_t)j * CROWD_BYTES, CROWD_BYTES, crowd_offset(&crowds[i], j)));
        }
        munmap(crowds[i].buffers, bytes);
    }
    cr_assert_eq(rig_completed(&rig), CROWD_THREADS * CROWD_JOBS + CROWD_THREADS);
    rig_close(&rig);
    munmap(in, bytes);
}

TEST_BOTH(close_runs_what_is_pending)
{
    unsigned char *buffer = map_buffer(MIB);
    static struct task tasks[200];
    struct rig rig;
    unsigned i;

    rig_open(&rig, kind, 0);
    for (i = 0; i < 200; i++) {
        task_io(&tasks[i], &rig, i % 4 == 0 ? JOB_WORK : JOB_WRITE, buffer, 16 * KIB, i * 16 * KIB);
        tasks[i].rounds = i % 3;
        engine_submit(rig.engine, &tasks[i].job, false);
    }
    rig_close(&rig);
    cr_assert_eq(rig.completed, 200);
    for (i = 0; i < 200; i++) {
        cr_assert_eq(tasks[i].job.result, 0);
        cr_assert_eq(tasks[i].rounds, 0);
    }
    munmap(buffer, MIB);
}

TEST_BOTH(unused_engine_closes)
{
    struct rig rig;
    int i;

    for (i = 0; i < 20; i++) {
        rig_open(&rig, kind, 0);
        rig_close(&rig);
    }
}

/* A lock of the open file is there for as long as anybody has that file, the kernel included. */
TEST_BOTH(closed_engine_has_let_its_files_go)
{
    unsigned char *buffer = map_buffer(ALIGN);
    struct task task;
    struct rig rig;
    char path[64];
    int other;

    rig_open(&rig, kind, 0);
    task_io(&task, &rig, JOB_WRITE, buffer, ALIGN, 0);
    engine_submit(rig.engine, &task.job, false);
    rig_wait(&rig, 1);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", rig.fd);
    other = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(other, 0);
    cr_assert_eq(flock(rig.fd, LOCK_EX), 0);
    engine_close(rig.engine);
    close(rig.fd);
    cr_assert_eq(flock(other, LOCK_EX | LOCK_NB), 0, "free, and so is the room of a file");
    rig.fd = other;
    rig_fini(&rig);
    munmap(buffer, ALIGN);
}

/* --- a device that hangs, idleness --- */

static uint64_t counted(const struct histogram *histogram, uint64_t *highest)
{
    uint64_t count = 0;
    unsigned i;

    for (i = 0; i < SPILLWAY_HISTOGRAM_BUCKETS; i++)
        count += atomic_load(&histogram->counts[i]);
    *highest = atomic_load(&histogram->highest);
    return count;
}

static void pass_time(void *context)
{
    (void)context;
    fault_clock_advance(1000);
}

/* Each request counts, also those that move nothing or only a part; writes and reads apart. */
TEST_BOTH(each_request_is_timed)
{
    unsigned char *buffer = map_buffer(MIB);
    uint64_t highest;
    struct rig rig;

    rig_open(&rig, kind, 0);
    fault_clock_set(1);
    fault_hook(fault_of(kind, JOB_WRITE), pass_time, NULL);
    fault_fail(fault_of(kind, JOB_WRITE), 0, 1, -EINTR);
    fault_short(fault_of(kind, JOB_WRITE), 1, 1, ALIGN);
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, 64 * KIB, 0), 0);
    cr_assert_eq(counted(&rig.write_ns, &highest), 3);
    cr_assert_eq(highest, 1000);
    cr_assert_eq(atomic_load(&rig.write_ns.counts[histogram_bucket(1000)]), 3);
    cr_assert_eq(counted(&rig.read_ns, &highest), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, buffer, 64 * KIB, 0), 0);
    cr_assert_eq(counted(&rig.read_ns, &highest), 1);
    cr_assert_eq(highest, 0);
    cr_assert_eq(run_io(&rig, JOB_WORK, buffer, 0, 0), 0);
    cr_assert_eq(counted(&rig.write_ns, &highest) + counted(&rig.read_ns, &highest), 4);
    rig_close(&rig);
    munmap(buffer, MIB);
}

TEST_BOTH(age_of_the_oldest_request_shows)
{
    unsigned char *buffer = map_buffer(MIB);
    struct task task;
    struct rig rig;
    uint64_t age_ns;

    rig_open(&rig, kind, 0);
    fault_hook(fault_of(kind, JOB_WRITE), hang, &rig);
    task_io(&task, &rig, JOB_WRITE, buffer, MIB, 0);
    engine_submit(rig.engine, &task.job, false);
    pthread_mutex_lock(&rig.lock);
    while (!rig.gate_reached)
        pthread_cond_wait(&rig.changed, &rig.lock);
    pthread_mutex_unlock(&rig.lock);
    age_ns = engine_oldest_ns(rig.engine);
    cr_assert_gt(age_ns, 0);
    (void)poll(NULL, 0, 2);
    cr_assert_gt(engine_oldest_ns(rig.engine), age_ns);
    gate_open(&rig);
    rig_wait(&rig, 1);
    cr_assert_eq(engine_oldest_ns(rig.engine), 0);
    rig_close(&rig);
    munmap(buffer, MIB);
}

static long voluntary_switches(int tid)
{
    char path[64], text[4096], *at;
    long n;

    snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
    n = os_read_file(&os_linux, path, text, sizeof(text));
    cr_assert_gt(n, 0);
    at = strstr(text, "\nvoluntary_ctxt_switches:");
    if (at == NULL)
        test_skip("the kernel does not count context switches");
    return strtol(at + strlen("\nvoluntary_ctxt_switches:"), NULL, 10);
}

TEST_BOTH(idle_threads_stay_asleep)
{
    unsigned char *buffer = map_buffer(MIB);
    struct task gates[ENGINE_THREADS_MAX];
    unsigned count = kind == ENGINE_THREADS ? ENGINE_THREADS_MAX - 2 : 1, i; /* may write */
    long before[ENGINE_THREADS_MAX];
    struct rig rig;

    rig_open(&rig, kind, 0);
    /* Each thread once, so that all are known. */
    for (i = 0; i < count; i++) {
        task_io(&gates[i], &rig, JOB_WRITE, buffer, 64 * KIB, 0);
        if (kind == ENGINE_THREADS)
            fault_hook(FAULT_PWRITE, hang, &rig);
        engine_submit(rig.engine, &gates[i].job, false);
    }
    if (kind == ENGINE_THREADS) {
        while (fault_calls(FAULT_PWRITE) < count)
            (void)poll(NULL, 0, 1);
        gate_open(&rig);
    }
    rig_wait(&rig, count);
    (void)poll(NULL, 0, 50);
    for (i = 0; i < count; i++)
        before[i] = voluntary_switches(gates[i].tid);
    (void)poll(NULL, 0, 200);
    for (i = 0; i < count; i++) {
        long switches = voluntary_switches(gates[i].tid) - before[i];

        cr_assert_leq(switches, 1, "thread %u: %ld context switches", i, switches);
        cr_assert(i == 0 || gates[i].tid != gates[i - 1].tid);
    }
    rig_close(&rig);
    munmap(buffer, MIB);
}

/* --- requests that hang --- */

/* Writes to a full pipe wait, reads from an empty one too. Both hang until hung_let_go(). */
struct hung {
    int ends[2];
};

static void hung_open(struct hung *hung, bool full)
{
    static const char data[64 * KIB];

    cr_assert_eq(pipe2(hung->ends, O_CLOEXEC), 0);
    if (!full)
        return;
    cr_assert_geq(fcntl(hung->ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(hung->ends[1], data, sizeof(data)) > 0)
        ;
    cr_assert_geq(fcntl(hung->ends[1], F_SETFL, 0), 0);
}

static void hung_let_go(struct hung *hung)
{
    close(hung->ends[0]);
    close(hung->ends[1]);
}

static bool rig_gate_reached(struct rig *rig)
{
    bool reached;

    pthread_mutex_lock(&rig->lock);
    reached = rig->gate_reached;
    pthread_mutex_unlock(&rig->lock);
    return reached;
}

/* Where the second file hangs with `op`, and the third is like the first. */
static void rig_open_hung(struct rig *rig, enum engine_kind kind, struct hung *hung, enum job_op op)
{
    int fds[3], rc;

    rig_init(rig);
    hung_open(hung, op == JOB_WRITE);
    fds[0] = fds[2] = rig->fd;
    fds[1] = hung->ends[op == JOB_WRITE];
    rc = rig_try_files(rig, kind, 0, fds, 3);
    cr_assert_eq(rc, 0, "engine_open: %d", rc);
}

static void some_hang(enum engine_kind kind, enum job_op op, const enum job_op *others,
                      const unsigned *files, unsigned count, bool urgent)
{
    enum { HUNG = 24 };
    unsigned char *buffer = map_buffer(2 * MIB), *other = map_buffer(MIB);
    struct task tasks[HUNG], more;
    struct hung hung;
    struct rig rig;
    unsigned i;

    signal(SIGPIPE, SIG_IGN);
    rig_open_hung(&rig, kind, &hung, op);
    cr_assert_eq(pwrite(rig.fd, other, MIB, 0), MIB);
    for (i = 0; i < HUNG; i++) {
        task_io(&tasks[i], &rig, op, buffer, 2 * MIB, 0);
        tasks[i].job.file = 1;
        tasks[i].job.align = 1;
        if (kind == ENGINE_THREADS) /* pread and pwrite refuse pipes */
            tasks[i].job.prepare = gate_prepare;
        engine_submit(rig.engine, &tasks[i].job, false);
    }
    while (kind == ENGINE_THREADS ? !rig_gate_reached(&rig) : engine_oldest_ns(rig.engine) == 0)
        (void)poll(NULL, 0, 1);
    (void)poll(NULL, 0, 20); /* so that it sleeps, mostly */
    for (i = 0; i < count; i++) {
        task_io(&more, &rig, others[i], other, 64 * KIB, 0);
        more.job.file = files[i];
        engine_submit(rig.engine, &more.job, urgent);
        rig_wait(&rig, i + 1); /* or it hangs */
        cr_assert_eq(more.job.result, 0);
    }
    hung_let_go(&hung);
    gate_open(&rig);
    rig_wait(&rig, HUNG + count);
    rig_close(&rig);
    munmap(buffer, 2 * MIB);
    munmap(other, MIB);
}

TEST_BOTH(writes_that_hang_leave_room_for_reads_and_work)
{
    static const enum job_op others[] = {JOB_READ, JOB_WORK, JOB_READ, JOB_READ};
    static const unsigned files[] = {0, 0, 2, 0};

    some_hang(kind, JOB_WRITE, others, files, 4, false);
    some_hang(kind, JOB_WRITE, others, files, 4, true);
}

TEST_BOTH(reads_that_hang_leave_room_for_writes_and_other_files)
{
    static const enum job_op others[] = {JOB_WRITE, JOB_WORK, JOB_READ, JOB_READ};
    static const unsigned files[] = {0, 0, 2, 0};

    some_hang(kind, JOB_READ, others, files, 4, false);
    some_hang(kind, JOB_READ, others, files, 4, true);
}

/* The ring is full of reads of a file that hangs; one of them that is hurried, or comes as urgent,
 * is issued all the same, with the thread asleep. */
static void issued_though_full(bool hurried)
{
    enum { HUNG = 24 };
    unsigned char *buffer = map_buffer(2 * MIB);
    struct task tasks[HUNG + 1];
    struct hung hung;
    struct rig rig;
    unsigned i;

    rig_open_hung(&rig, ENGINE_IO_URING, &hung, JOB_READ);
    for (i = 0; i < HUNG; i++) {
        task_io(&tasks[i], &rig, JOB_READ, buffer, 2 * MIB, 0);
        tasks[i].job.file = 1;
        tasks[i].job.align = 1;
        engine_submit(rig.engine, &tasks[i].job, false);
    }
    while (!engine_is_pending(rig.engine, &tasks[HUNG - 1].job) || engine_now(&rig).syscalls == 0)
        (void)poll(NULL, 0, 1);
    (void)poll(NULL, 0, 20); /* so that it sleeps, mostly */
    cr_assert(engine_is_pending(rig.engine, &tasks[HUNG - 1].job));
    if (hurried) {
        engine_hurry(rig.engine, &tasks[HUNG - 1].job);
        i = HUNG - 1;
    } else {
        task_io(&tasks[HUNG], &rig, JOB_READ, buffer, 2 * MIB, 0);
        tasks[HUNG].job.file = 1;
        tasks[HUNG].job.align = 1;
        engine_submit(rig.engine, &tasks[HUNG].job, true);
        i = HUNG;
    }
    while (engine_is_pending(rig.engine, &tasks[i].job)) /* or it hangs */
        (void)poll(NULL, 0, 1);
    close(hung.ends[1]);
    rig_wait(&rig, hurried ? HUNG : HUNG + 1);
    close(hung.ends[0]);
    rig_close(&rig);
    munmap(buffer, 2 * MIB);
}

Test(engine_uring, an_urgent_read_has_room_among_reads_that_hang)
{
    need_ring();
    issued_though_full(false);
    issued_though_full(true);
}

/* --- opening --- */

TEST_BOTH(allocation_failure_at_each_point)
{
    struct rig rig;
    uint64_t n;
    int rc;

    rig_init(&rig);
    for (n = 1;; n++) {
        fault_alloc_after(n);
        rc = rig_try(&rig, kind, 0);
        fault_alloc_after(0);
        if (rc == 0)
            break;
        cr_assert_eq(rc, -ENOMEM);
        cr_assert_eq(fault_alloc_live(), 0);
        cr_assert_eq(fault_open_fds(), 0);
    }
    cr_assert_gt(n, 1);
    rig_close(&rig);
}

TEST_BOTH(submitting_allocates_nothing)
{
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;

    rig_open(&rig, kind, 0);
    fault_alloc_from(1);
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), 0);
    fault_alloc_from(0);
    rig_close(&rig);
    munmap(buffer, MIB);
}

TEST_BOTH(no_thread_at_all)
{
    struct rig rig;

    rig_init(&rig);
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    cr_assert_eq(rig_try(&rig, kind, 0), -EAGAIN);
    rig_fini(&rig);
}

Test(engine_threads, some_threads_are_enough)
{
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;
    unsigned made;

    for (made = 1; made < ENGINE_THREADS_MAX; made++) {
        rig_init(&rig);
        fault_clear();
        fault_fail(FAULT_THREAD, made, FAULT_ALWAYS, -EAGAIN);
        cr_assert_eq(rig_try(&rig, ENGINE_THREADS, 0), 0);
        cr_assert_eq(rig.engine->thread_count, made);
        cr_assert_eq(atomic_load(&rig.lines), 1);
        cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), 0);
        cr_assert_eq(run_io(&rig, JOB_READ, buffer, MIB, 0), 0);
        rig_close(&rig);
    }
    munmap(buffer, MIB);
}

Test(engine_threads, depth_bounds_the_threads)
{
    struct rig rig;

    rig_open(&rig, ENGINE_THREADS, 2);
    cr_assert_eq(rig.engine->thread_count, 2);
    rig_close(&rig);
    rig_open(&rig, ENGINE_THREADS, 1000);
    cr_assert_eq(rig.engine->thread_count, ENGINE_THREADS_MAX);
    rig_close(&rig);
}

Test(engine_auto, prefers_io_uring)
{
    struct rig rig;

    need_ring();
    rig_open(&rig, ENGINE_AUTO, 0);
    cr_assert_str_eq(engine_name(rig.engine), "io_uring");
    cr_assert_eq(rig.why, 0);
    rig_close(&rig);
}

#if defined(SPILLWAY_HAVE_URING) && SPILLWAY_HAVE_URING

static void expect_refusal(enum fault what, int err)
{
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;

    rig_init(&rig);
    fault_clear();
    fault_fail(what, 0, FAULT_ALWAYS, err);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), err);
    cr_assert_eq(fault_alloc_live(), 0);
    cr_assert_eq(fault_open_fds(), 0);
    cr_assert_eq(rig_try(&rig, ENGINE_AUTO, 0), 0);
    cr_assert_eq(rig.why, err);
    cr_assert_str_eq(engine_name(rig.engine), "threads");
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), 0);
    rig_close(&rig);
    munmap(buffer, MIB);
}

Test(engine_auto, refused_ring_is_told)
{
    expect_refusal(FAULT_RING_ALLOWED, -EPERM);
    expect_refusal(FAULT_RING_ALLOWED, -ENOSYS);
    expect_refusal(FAULT_RING_ALLOWED, -ENOMEM);
    expect_refusal(FAULT_RING_ALLOWED, -EOPNOTSUPP);
    expect_refusal(FAULT_RING_ALLOWED, -EINVAL);
    expect_refusal(FAULT_EVENTFD, -EMFILE);
}

Test(engine_auto, ring_thread_that_cannot_start)
{
    struct rig rig;

    rig_init(&rig);
    fault_fail(FAULT_THREAD, 0, 1, -EAGAIN);
    cr_assert_eq(rig_try(&rig, ENGINE_AUTO, 0), 0);
    cr_assert_str_eq(engine_name(rig.engine), "threads");
    cr_assert_eq(rig.why, -EAGAIN);
    cr_assert_eq(rig.engine->thread_count, ENGINE_THREADS_MAX);
    rig_close(&rig);
}

/* --- io_uring alone --- */

/*
 * From now on one system call of this thread, and of those that it starts, is refused, with
 * `when_argument` only where its second argument is that. Skips where filters are not allowed.
 */
static bool refuse_syscall(long number, int err, bool when_argument, unsigned argument)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JA, when_argument ? 1 : 0, 0, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void expect_filtered(long number, int err)
{
    struct rig rig;

    need_ring();
    if (!refuse_syscall(number, err, false, 0))
        test_skip("system call filters are not allowed here");
    rig_init(&rig);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), -err);
    cr_assert_eq(rig_try(&rig, ENGINE_AUTO, 0), 0);
    cr_assert_eq(rig.why, -err);
    cr_assert_str_eq(engine_name(rig.engine), "threads");
    rig_close(&rig);
}

Test(engine_uring, setup_refused_by_a_sandbox)
{
    expect_filtered(SYS_io_uring_setup, EPERM);
}

Test(engine_uring, enter_refused_by_a_sandbox)
{
    expect_filtered(SYS_io_uring_enter, ENOSYS);
}

Test(engine_uring, register_refused_by_a_sandbox)
{
    struct rig rig;

    need_ring();
    rig_init(&rig);
    if (!refuse_syscall(SYS_io_uring_register, ENOMEM, true, IORING_REGISTER_EVENTFD))
        test_skip("system call filters are not allowed here");
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), -ENOMEM);
    cr_assert(refuse_syscall(SYS_io_uring_register, EPERM, false, 0));
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), -EOPNOTSUPP);
    rig_fini(&rig);
}

/* Everything again on a ring as older kernels have it. */
Test(engine_uring, plain_ring)
{
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct rig rig;
    unsigned i;

    need_ring();
    rig_init(&rig);
    fault_fail(FAULT_RING_ALLOWED, 0, 1, -EINVAL);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), 0);
    cr_assert_eq(fault_calls(FAULT_RING_ALLOWED), 2);
    for (i = 0; i < 20; i++) {
        fill(out, MIB, i);
        cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB, i * MIB), 0);
        cr_assert_eq(run_io(&rig, JOB_READ, in, MIB, i * MIB), 0);
        cr_assert(is_filled(in, MIB, i));
    }
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

/* Plain descriptors do as well. */
Test(engine_uring, files_that_cannot_be_registered)
{
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct rig rig;

    need_ring();
    if (!refuse_syscall(SYS_io_uring_register, EPERM, true, IORING_REGISTER_FILES))
        test_skip("system call filters are not allowed here");
    rig_init(&rig);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), 0);
    fill(out, MIB, 4);
    cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB, 0), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, in, MIB, 0), 0);
    cr_assert(is_filled(in, MIB, 4));
    cr_assert_eq(fault_calls(FAULT_RING_READ), 1);
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

Test(engine_uring, batches_share_system_calls_and_wakeups)
{
    enum { COUNT = 15 };
    unsigned char *buffer = map_buffer(MIB);
    struct task gate, tasks[COUNT];
    struct rig rig;
    uint64_t wakeups;
    unsigned i;

    need_ring();
    rig_open(&rig, ENGINE_IO_URING, 0);
    gate_shut(&rig, &gate);
    fault_clock_set(1); /* no time passes: however slow the machine is, no turn ends early */
    wakeups = fault_calls(FAULT_WRITE);
    for (i = 0; i < COUNT; i++) {
        task_io(&tasks[i], &rig, JOB_WRITE, buffer, 64 * KIB, i * 64 * KIB);
        engine_submit(rig.engine, &tasks[i].job, false);
    }
    cr_assert_eq(fault_calls(FAULT_WRITE), wakeups);
    gate_open(&rig);
    rig_wait(&rig, COUNT + 1);
    cr_assert_eq(engine_now(&rig).syscalls, 1);
    cr_assert_eq(engine_now(&rig).requests, COUNT);
    rig_close(&rig);
    munmap(buffer, MIB);
}

/* --- splitting --- */

static void rig_open_split(struct rig *rig, unsigned depth, uint32_t request_bytes)
{
    rig_init(rig);
    rig->request_bytes = request_bytes;
    cr_assert_eq(rig_try(rig, ENGINE_IO_URING, depth), 0);
}

/* The parts of a job are in flight together and go with one system call. */
Test(engine_uring, large_jobs_are_split)
{
    unsigned char *out = map_buffer(2 * MIB), *in = map_buffer(2 * MIB);
    struct engine_info before, now;
    struct rig rig;

    need_ring();
    rig_open_split(&rig, 0, 512 * KIB);
    fill(out, 2 * MIB, 11);
    before = engine_now(&rig);
    cr_assert_eq(before.write.request_bytes, 512 * KIB);
    cr_assert_eq(before.read.request_bytes, 512 * KIB);
    cr_assert_eq(run_io(&rig, JOB_WRITE, out, 2 * MIB, 0), 0);
    now = engine_now(&rig);
    cr_assert_eq(now.requests - before.requests, 4);
    cr_assert_eq(now.syscalls - before.syscalls, 1);
    cr_assert_eq(fault_last(FAULT_RING_WRITE).len, 512 * KIB);
    cr_assert_eq(run_io(&rig, JOB_READ, in, 2 * MIB, 0), 0);
    cr_assert_eq(engine_now(&rig).requests - now.requests, 4);
    cr_assert_eq(engine_now(&rig).syscalls - now.syscalls, 1);
    cr_assert(is_filled(in, 2 * MIB, 11));
    rig_close(&rig);
    munmap(out, 2 * MIB);
    munmap(in, 2 * MIB);
}

/* Parts are about as long as each other, whole blocks, and never longer than asked for. */
Test(engine_uring, odd_jobs_are_split_evenly)
{
    static const size_t lens[] = {ALIGN, 256 * KIB, 256 * KIB + ALIGN, 3 * 256 * KIB - ALIGN, MIB};
    static const unsigned parts[] = {1, 1, 2, 3, 4};
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct rig rig;
    unsigned i, before;

    need_ring();
    rig_open_split(&rig, 0, 256 * KIB);
    for (i = 0; i < 5; i++) {
        fill(out, lens[i], i);
        before = (unsigned)engine_now(&rig).requests;
        cr_assert_eq(run_io(&rig, JOB_WRITE, out, lens[i], MIB), 0);
        cr_assert_eq(engine_now(&rig).requests - before, parts[i], "%zu", lens[i]);
        cr_assert_eq(run_io(&rig, JOB_READ, in, lens[i], MIB), 0);
        cr_assert(is_filled(in, lens[i], i));
    }
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

/* Short counts, interrupts and pauses of one part do not touch the others. */
Test(engine_uring, parts_of_a_job_go_on_by_themselves)
{
    unsigned char *out = map_buffer(2 * MIB), *in = map_buffer(2 * MIB);
    struct rig rig;
    unsigned round;

    need_ring();
    rig_open_split(&rig, 3, 128 * KIB);
    for (round = 0; round < 8; round++) {
        fault_clear();
        fill(out, 2 * MIB, round);
        fault_short(FAULT_RING_WRITE, round, 2, ALIGN * round + 100);
        fault_fail(FAULT_RING_WRITE, 4, 1, -EINTR);
        fault_fail(FAULT_RING_WRITE, 6, 2, -EAGAIN);
        fault_short(FAULT_RING_READ, 1 + round, 3, 8 * ALIGN);
        fault_fail(FAULT_RING_READ, 5, 3, -EAGAIN);
        cr_assert_eq(run_io(&rig, JOB_WRITE, out, 2 * MIB, 0), 0);
        cr_assert_eq(run_io(&rig, JOB_READ, in, 2 * MIB, 0), 0);
        cr_assert(is_filled(in, 2 * MIB, round));
    }
    rig_close(&rig);
    munmap(out, 2 * MIB);
    munmap(in, 2 * MIB);
}

/* A part that fails ends the job, once the parts that are in flight have ended; the rest is not
 * issued. */
Test(engine_uring, a_part_that_fails_fails_the_job)
{
    unsigned char *buffer = map_buffer(2 * MIB);
    struct rig rig;
    unsigned at;

    need_ring();
    rig_open_split(&rig, 4, 128 * KIB);
    for (at = 0; at < 16; at++) {
        fault_clear();
        fault_fail(FAULT_RING_WRITE, at, 1, -EIO);
        fault_fail(FAULT_RING_WRITE, at + 1, 1, -ENOSPC);
        cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, 2 * MIB, 0), -EIO);
        engine_wait_idle(rig.engine);
        cr_assert_leq(fault_calls(FAULT_RING_WRITE), at + 4);
        cr_assert_eq(engine_oldest_ns(rig.engine), 0);
    }
    fault_clear();
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, 2 * MIB, 0), 0);
    cr_assert_eq(fault_calls(FAULT_RING_WRITE), 16);
    rig_close(&rig);
    munmap(buffer, 2 * MIB);
}

struct flight_watch {
    struct rig *rig;
    unsigned most;
};

static void count_flight(void *context)
{
    struct flight_watch *watch = context;
    unsigned i, count = 0;

    for (i = 0; i < ENGINE_SLOTS_MAX; i++)
        count += atomic_load(&watch->rig->engine->request_start_ns[i]) != 0;
    if (count > watch->most)
        watch->most = count;
}

/* A job that is larger than all that may be in flight, several of them at once. */
Test(engine_uring, depth_bounds_the_requests)
{
    static const unsigned depths[] = {1, 2, 5, 64};
    unsigned char *buffer = map_buffer(4 * MIB);
    struct task tasks[4];
    unsigned i, j;

    need_ring();
    for (i = 0; i < 4; i++) {
        struct rig rig;
        struct flight_watch watch = {.rig = &rig};

        rig_open_split(&rig, depths[i], 32 * KIB);
        cr_assert_eq(engine_now(&rig).write.depth, depths[i]);
        cr_assert_eq(engine_now(&rig).read.depth, depths[i]);
        cr_assert_not(engine_now(&rig).write.measured);
        fault_clear();
        fault_hook(FAULT_RING_WRITE, count_flight, &watch);
        for (j = 0; j < 4; j++) {
            task_io(&tasks[j], &rig, JOB_WRITE, buffer, 4 * MIB, j * 4 * MIB);
            engine_submit(rig.engine, &tasks[j].job, false);
        }
        rig_wait(&rig, 4);
        cr_assert_leq(watch.most, depths[i]);
        cr_assert_eq(watch.most, depths[i], "%u of %u", watch.most, depths[i]);
        cr_assert_eq(fault_calls(FAULT_RING_WRITE), 4 * 4 * MIB / (32 * KIB));
        rig_close(&rig);
    }
    munmap(buffer, 4 * MIB);
}

/* On the real disk, with less data than it takes to rely on what comes out: it ends, says so, and
 * does not begin anew. */
Test(engine_uring, busy_disk_calibrates)
{
    enum { COUNT = 128, TURNS = 32 };
    static struct task tasks[COUNT];
    unsigned char *buffer = map_buffer(256 * KIB);
    struct engine_info info = {0};
    unsigned turn, i, ended = 0;
    struct rig rig;

    need_ring();
    rig_init(&rig);
    rig.trial_bytes = MIB;
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), 0);
    for (turn = 0; turn < TURNS && !info.write.measured; turn++) {
        for (i = 0; i < COUNT; i++) {
            task_io(&tasks[i], &rig, JOB_WRITE, buffer, 256 * KIB, i * 256 * KIB);
            tasks[i].rounds = 1;
            engine_submit(rig.engine, &tasks[i].job, false);
        }
        ended += COUNT;
        rig_wait(&rig, ended);
        engine_wait_idle(rig.engine);
        info = engine_now(&rig);
    }
    /* Where a sanitizer keeps the processor busy, the disk may never be what is waited for. */
    if (getenv("SPILLWAY_TEST_UNDER") == NULL)
        cr_assert(info.write.measured, "after %u MiB", turn * COUNT / 2);
    cr_assert_not(info.read.measured);
    cr_assert(info.write.depth >= 1 && info.write.depth <= ENGINE_DEPTH_MAX);
    cr_assert(info.write.request_bytes >= 256 * KIB && info.write.request_bytes <= 2 * MIB);
    rig_close(&rig);
    munmap(buffer, 256 * KIB);
}

static int slow_prepare(struct job *job)
{
    struct rig *rig = ((struct task *)job)->rig;

    /* How often the device has been given something before this job was prepared. */
    ((struct task *)job)->name = (int)engine_now(rig).syscalls;
    fault_clock_advance(1000000);
    return task_prepare(job);
}

/* What takes long to prepare does not keep from the device what is ready. */
Test(engine_uring, slow_jobs_go_one_by_one)
{
    enum { COUNT = 6 };
    unsigned char *buffer = map_buffer(MIB);
    struct task gate, tasks[COUNT];
    struct rig rig;
    unsigned i;

    need_ring();
    rig_open(&rig, ENGINE_IO_URING, 0);
    gate_shut(&rig, &gate);
    fault_clock_set(1);
    for (i = 0; i < COUNT; i++) {
        task_io(&tasks[i], &rig, JOB_WRITE, buffer, 64 * KIB, i * 64 * KIB);
        tasks[i].job.prepare = slow_prepare;
        engine_submit(rig.engine, &tasks[i].job, false);
    }
    gate_open(&rig);
    rig_wait(&rig, COUNT + 1);
    for (i = 0; i < COUNT; i++)
        cr_assert_eq(tasks[i].name, (int)i);
    cr_assert_eq(engine_now(&rig).syscalls, COUNT);
    rig_close(&rig);
    munmap(buffer, MIB);
}

/* A device that is done at once: what is submitted, and what has ended, goes in batches. */
Test(engine_uring, busy_rounds_share_system_calls_and_wakeups)
{
    enum { COUNT = 512 };
    static struct task tasks[COUNT];
    unsigned char *buffer = map_buffer(64 * KIB);
    struct engine_info info;
    struct task gate;
    struct rig rig;
    uint64_t called;
    unsigned i;
    int null;

    need_ring();
    rig_init(&rig);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    cr_assert_geq(null, 0);
    cr_assert_eq(dup2(null, rig.fd), rig.fd);
    close(null);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), 0);
    gate_shut(&rig, &gate);
    fault_clock_set(1); /* no turn ends early */
    called = fault_calls(FAULT_WRITE);
    for (i = 0; i < COUNT; i++) {
        task_io(&tasks[i], &rig, JOB_WRITE, buffer, 64 * KIB, 0);
        engine_submit(rig.engine, &tasks[i].job, false);
    }
    gate_open(&rig);
    rig_wait(&rig, COUNT + 1);
    info = engine_now(&rig);
    cr_assert_eq(info.requests, COUNT);
    cr_assert_leq(info.syscalls, COUNT / 8, "%u system calls", (unsigned)info.syscalls);
    cr_assert_leq(info.wakeups, COUNT / 8, "%u wake-ups", (unsigned)info.wakeups);
    cr_assert_eq(fault_calls(FAULT_WRITE), called, "jobs wake nobody who is awake");
    rig_close(&rig);
    munmap(buffer, 64 * KIB);
}

static int break_ring(struct job *job)
{
    job->result = refuse_syscall(SYS_io_uring_enter, EPERM, false, 0) ? 0 : -EACCES;
    (void)task_prepare(job);
    return JOB_DONE;
}

/* A filter that comes while the ring runs. */
Test(engine_uring, ring_that_breaks)
{
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct task breaker;
    struct rig rig;

    need_ring();
    rig_open(&rig, ENGINE_IO_URING, 0);
    fill(out, MIB, 1);
    cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB, 0), 0);
    task_init(&breaker, &rig, 0, JOB_WORK);
    breaker.job.prepare = break_ring;
    engine_submit(rig.engine, &breaker.job, false);
    rig_wait(&rig, 2);
    if (breaker.job.result < 0)
        test_skip("system call filters are not allowed here");
    fill(out, MIB, 2);
    cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB, 0), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, in, MIB, 0), 0);
    cr_assert(is_filled(in, MIB, 2));
    cr_assert_eq(fault_calls(FAULT_RING_WRITE), 1);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 1);
    cr_assert_eq(fault_calls(FAULT_PREAD), 1);
    cr_assert_eq(atomic_load(&rig.lines), 1);
    cr_assert_eq(engine_oldest_ns(rig.engine), 0);
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

static void submit_breaker(struct rig *rig, struct task *breaker)
{
    task_init(breaker, rig, 0, JOB_WORK);
    breaker->job.prepare = break_ring;
    engine_submit(rig->engine, &breaker->job, false);
}

/* A request that would never end by itself: the kernel ends it when the ring is closed. */
Test(engine_uring, ring_that_breaks_with_a_request_that_hangs)
{
    unsigned char *buffer = map_buffer(64 * KIB);
    struct task breaker, task;
    struct rig rig;
    int ends[2];

    need_ring();
    rig_init(&rig);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(dup2(ends[0], rig.fd), rig.fd);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), 0);
    task_io(&task, &rig, JOB_READ, buffer, 64 * KIB, 0);
    engine_submit(rig.engine, &task.job, false);
    while (engine_now(&rig).syscalls == 0)
        (void)poll(NULL, 0, 1);
    submit_breaker(&rig, &breaker);
    rig_wait(&rig, 1);
    if (breaker.job.result == 0) {
        /* Only a new request finds out. */
        cr_assert_eq(run_io(&rig, JOB_READ, buffer, 64 * KIB, 0), -ESPIPE);
        rig_wait(&rig, 3);
        cr_assert_eq(task.job.result, -ESPIPE, "done once more, without the ring");
        cr_assert_eq(atomic_load(&rig.lines), 1);
    }
    close(ends[1]);
    close(ends[0]);
    rig_close(&rig);
    munmap(buffer, 64 * KIB);
    if (breaker.job.result < 0)
        test_skip("system call filters are not allowed here");
}

/* The same with a disk that is busy, at whatever moment: every job ends, every byte is there. */
Test(engine_uring, ring_that_breaks_under_load)
{
    enum { COUNT = 48 };
    static struct task tasks[COUNT];
    unsigned char *out = map_buffer(COUNT * 256 * KIB), *in = map_buffer(COUNT * 256 * KIB);
    struct task breaker;
    struct rig rig;
    unsigned i;

    need_ring();
    rig_open_split(&rig, 16, 64 * KIB);
    fill(out, COUNT * 256 * KIB, 5);
    for (i = 0; i < COUNT; i++) {
        task_io(&tasks[i], &rig, JOB_WRITE, out + i * 256 * KIB, 256 * KIB, i * 256 * KIB);
        engine_submit(rig.engine, &tasks[i].job, false);
        if (i == COUNT / 2)
            submit_breaker(&rig, &breaker);
    }
    rig_wait(&rig, COUNT + 1);
    for (i = 0; i < COUNT; i++)
        cr_assert_eq(tasks[i].job.result, 0);
    for (i = 0; i < COUNT; i++)
        cr_assert_eq(run_io(&rig, JOB_READ, in + i * 256 * KIB, 256 * KIB, i * 256 * KIB), 0);
    cr_assert(is_filled(in, COUNT * 256 * KIB, 5));
    cr_assert_eq(engine_oldest_ns(rig.engine), 0);
    rig_close(&rig);
    munmap(out, COUNT * 256 * KIB);
    munmap(in, COUNT * 256 * KIB);
    if (breaker.job.result < 0)
        test_skip("system call filters are not allowed here");
}

/* Without the pipe that tells when a closed ring is done with its requests, all else is there. */
Test(engine_uring, no_descriptor_for_the_pipe)
{
    unsigned char *buffer = map_buffer(MIB);
    struct rig rig;

    need_ring();
    rig_init(&rig);
    fault_clear();
    fault_fail(FAULT_PIPE, 0, FAULT_ALWAYS, -EMFILE);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), 0);
    cr_assert_eq(run_io(&rig, JOB_WRITE, buffer, MIB, 0), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, buffer, MIB, 0), 0);
    rig_close(&rig);
    munmap(buffer, MIB);
}

static int refuse_pairs(struct job *job)
{
    job->result = refuse_syscall(SYS_io_uring_enter, EAGAIN, true, 2) ? 0 : -EACCES;
    (void)gate_prepare(job);
    return JOB_DONE;
}

/* Two requests at once are refused for as long as it takes; one at a time still works. */
Test(engine_uring, refused_submission_loses_no_job)
{
    unsigned char *out = map_buffer(MIB), *in = map_buffer(MIB);
    struct task gate, task;
    struct rig rig;

    need_ring();
    rig_init(&rig);
    rig.request_bytes = MIB / 2;
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), 0);
    fill(out, MIB, 9);
    task_init(&gate, &rig, -1, JOB_WORK);
    gate.job.prepare = refuse_pairs;
    engine_submit(rig.engine, &gate.job, false);
    task_io(&task, &rig, JOB_WRITE, out, MIB, 0);
    engine_submit(rig.engine, &task.job, false);
    gate_open(&rig);
    rig_wait(&rig, 2);
    if (gate.job.result < 0)
        test_skip("system call filters are not allowed here");
    cr_assert_eq(task.job.result, 0);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 2);
    cr_assert_eq(fault_calls(FAULT_RING_WRITE), 0);
    cr_assert_eq(atomic_load(&rig.lines), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, in, MIB / 2, 0), 0);
    cr_assert_eq(run_io(&rig, JOB_READ, in + MIB / 2, MIB / 2, MIB / 2), 0);
    cr_assert(is_filled(in, MIB, 9));
    cr_assert_eq(run_io(&rig, JOB_WRITE, out, MIB / 2, 0), 0);
    cr_assert_eq(fault_calls(FAULT_RING_READ), 2);
    cr_assert_eq(fault_calls(FAULT_RING_WRITE), 1);
    rig_close(&rig);
    munmap(out, MIB);
    munmap(in, MIB);
}

#else

Test(engine_auto, built_without_io_uring)
{
    struct rig rig;

    rig_init(&rig);
    cr_assert_eq(rig_try(&rig, ENGINE_IO_URING, 0), -ENOSYS);
    cr_assert_eq(rig_try(&rig, ENGINE_AUTO, 0), 0);
    cr_assert_eq(rig.why, -ENOSYS);
    cr_assert_str_eq(engine_name(rig.engine), "threads");
    rig_close(&rig);
}

#endif
