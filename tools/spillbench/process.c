/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"

enum { EXIT_NOT_FOUND = 127 };

static void kill_it(void *context)
{
    const struct process *process = context;
    kill(process->pid, SIGKILL);
}

static _Noreturn void become(enum process_end end, int pipe_fd, int other_fd, int keep_fd,
                             char *const argv[], pid_t parent)
{
    cleanup_forget();
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int pipe_as = end == PROCESS_INPUT ? STDIN_FILENO : STDOUT_FILENO;
    int other_as = end == PROCESS_INPUT ? STDOUT_FILENO : STDIN_FILENO;
    if (getppid() == parent && dup2(nowhere, STDERR_FILENO) >= 0 && dup2(pipe_fd, pipe_as) >= 0 &&
        dup2(other_fd, other_as) >= 0 && (keep_fd < 0 || fcntl(keep_fd, F_SETFD, 0) == 0))
        execvp(argv[0], argv);
    _exit(EXIT_NOT_FOUND);
}

int process_start(struct process *process, enum process_end end, int other_fd, int keep_fd,
                  char *const argv[])
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    int theirs = end == PROCESS_INPUT ? ends[0] : ends[1];
    int ours = end == PROCESS_INPUT ? ends[1] : ends[0];
    process->pipe = fdopen(ours, end == PROCESS_INPUT ? "w" : "r");
    int err = process->pipe ? 0 : -errno;
    if (!err) {
        pid_t parent = getpid();
        fflush(NULL); /* a child must not print our buffers again */
        process->pid = fork();
        if (process->pid == 0)
            become(end, theirs, other_fd, keep_fd, argv, parent);
        err = process->pid < 0 ? -errno : 0;
    }
    close(theirs);
    if (err) {
        if (process->pipe)
            fclose(process->pipe);
        else
            close(ours);
        return err;
    }
    process->slot = cleanup_add(kill_it, process);
    return 0;
}

int process_wait(struct process *process)
{
    siginfo_t info;
    int status = 0;
    fclose(process->pipe); /* where it has died, its status says so */
    while (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        ;
    cleanup_drop(process->slot); /* before its number is free again */
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
        return -ENOENT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
