/* SPDX-License-Identifier: MIT */
#include "child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "group.h"
#include "sample.h"

enum { SAMPLE_MS = 10, IDLE_MS = 50, TIME_LIMIT_S = 600, EXIT_RAN = 0 };

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

double now_s(void)
{
    return (double)now_ns() / 1e9;
}

static double timeval_s(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return timeval_s(usage.ru_utime) + timeval_s(usage.ru_stime);
}

/* ---- in the child ---- */

/* The figures so far, with a sign; measure_begin() takes them off, measure_end() adds them. */
static void add_usage(struct measure *measure, int sign)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    measure->user_s += sign * timeval_s(usage.ru_utime);
    measure->sys_s += sign * timeval_s(usage.ru_stime);
    measure->faults_minor += (uint64_t)(sign * usage.ru_minflt);
    measure->faults_major += (uint64_t)(sign * usage.ru_majflt);
}

void measure_begin(struct measure *measure)
{
    /* The sampler, in the other process, looks at nothing while this is 0. */
    measure->begin_ns = 0;
    measure->end_ns = 0;
    measure->sample_count = 0;
    measure->rss_peak_bytes = measure->charge_peak_bytes = measure->cache_growth_bytes = 0;
    measure->user_s = measure->sys_s = 0;
    measure->faults_minor = measure->faults_major = 0;
    add_usage(measure, -1);
    measure->begin_ns = now_ns();
}

void measure_end(struct measure *measure)
{
    uint64_t end = now_ns();
    add_usage(measure, 1);
    measure->wall_s = (double)(end - measure->begin_ns) / 1e9;
    measure->end_ns = end;
}

void measure_fail(struct measure *measure, int err, const char *why, ...)
{
    va_list list;
    if (measure->error)
        return; /* the first one is the cause */
    va_start(list, why);
    vsnprintf(measure->why, sizeof(measure->why), why, list);
    va_end(list);
    measure->error = err ? err : -EIO;
}

static _Noreturn void child_main(const struct child_plan *plan, const struct group *group,
                                 struct measure *measure, pid_t parent)
{
    cleanup_forget();
    /* Whatever ends the parent ends us. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    int err = group->version ? group_join(group) : 0;
    if (err && plan->cgroup_needed)
        measure_fail(measure, err, "cannot enter a memory cgroup: %s", strerror(-err));
    else
        plan->run(plan->context, measure);
    /* No atexit handlers, no buffers of the parent's. */
    _exit(EXIT_RAN);
}

/* ---- in the parent ---- */

struct running {
    pid_t pid;
    int fd; /* pidfd, -1 where the kernel has none */
};

static void kill_child(void *context)
{
    const struct running *running = context;
    kill(running->pid, SIGKILL);
    while (waitpid(running->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Waits up to `ms` for its end. Returns whether it has ended; its number stays taken until it is
 * reaped. */
static bool wait_some(const struct running *running, int ms)
{
    struct pollfd poll_fd = {.fd = running->fd, .events = POLLIN};
    siginfo_t info = {.si_pid = 0};
    poll(&poll_fd, 1, ms);
    return waitid(P_PID, (id_t)running->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == running->pid;
}

/* Samples until the child ends. Returns false when it did not in time, and was killed. */
static bool wait_end(const struct child_plan *plan, const struct running *running,
                     const struct group *group, struct measure *measure)
{
    struct sampler sampler;
    bool in_time = true;
    uint64_t limit_s = plan->time_limit_s ? plan->time_limit_s : TIME_LIMIT_S;
    uint64_t limit_ns = now_ns() + limit_s * UINT64_C(1000000000);
    sampler_open(&sampler, measure, group, running->pid);
    while (!wait_some(running, plan->sampled ? SAMPLE_MS : IDLE_MS)) {
        if (plan->sampled)
            sampler_take(&sampler);
        if (in_time && now_ns() > limit_ns) {
            in_time = false;
            kill(running->pid, SIGKILL);
        }
    }
    sampler_close(&sampler);
    if (!in_time)
        measure_fail(measure, -ETIMEDOUT, "%s: no end after %u s", plan->name, (unsigned)limit_s);
    return in_time;
}

/* How it ended, in words where that was not well. */
static void judge(const struct child_plan *plan, const struct group *group, int status,
                  struct measure *measure)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_RAN)
        return;
    measure->error = 0; /* whatever it said, this is worse */
    if (group->version && group_kills(group) > 0)
        measure_fail(measure, -ENOMEM, "%s: killed for want of memory in its cgroup", plan->name);
    else if (WIFSIGNALED(status))
        measure_fail(measure, -EINTR, "%s: killed by signal %d (%s)", plan->name, WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
    else
        measure_fail(measure, -EIO, "%s: ended with exit code %d", plan->name, WEXITSTATUS(status));
}

static void run_in(const struct child_plan *plan, const struct group *group,
                   struct measure *measure)
{
    struct running running = {.fd = -1};
    int status = 0;
    pid_t parent = getpid();
    fflush(NULL); /* a child must not print our buffers again */
    running.pid = fork();
    if (running.pid == 0)
        child_main(plan, group, measure, parent);
    if (running.pid < 0) {
        measure_fail(measure, -errno, "cannot start a process: %s", strerror(errno));
        return;
    }
    int slot = cleanup_add(kill_child, &running);
    running.fd = (int)syscall(SYS_pidfd_open, running.pid, 0);
    bool in_time = wait_end(plan, &running, group, measure);
    cleanup_drop(slot); /* first, since kill_child() must not meet a number that is free again */
    while (waitpid(running.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (in_time)
        judge(plan, group, status, measure);
    if (running.fd >= 0)
        close(running.fd);
}

struct measure *child_run(const struct child_plan *plan)
{
    static struct group group; /* lives until the program ends: its cleanup needs it */
    char why[GROUP_WHY];
    struct measure *measure =
        mmap(NULL, sizeof(*measure), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (measure == MAP_FAILED)
        return NULL;
    int err = group_open(&group, plan->limit_bytes, why);
    if (err && plan->cgroup_needed)
        measure_fail(measure, err, "%s: needs a memory cgroup: %s", plan->name, why);
    else
        run_in(plan, &group, measure);
    group_close(&group);
    return measure;
}

void child_release(struct measure *measure)
{
    if (measure)
        munmap(measure, sizeof(*measure));
}
