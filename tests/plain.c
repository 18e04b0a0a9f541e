/* SPDX-License-Identifier: MIT */
/*
 * Runs every registered test in a process of its own and prints TAP on stdout.
 *
 *     test_x                    all tests
 *     test_x queue::merge...    those whose suite::name contains one of the words
 *     test_x --no-fork WORD     in this process, for a debugger
 *     test_x --list
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plain.h"

enum { EXIT_SKIPPED = 77, TIME_LIMIT_S = 120, TEXT_BYTES = 512 };

/* What one test may take; TEST_TIME_LIMIT_S in the environment changes it. */
static unsigned limit_s = TIME_LIMIT_S;

static struct plain_test *first_test, **last_link = &first_test;
static int report_fd = -1; /* where a test says why it was skipped */

void plain_register(struct plain_test *test)
{
    *last_link = test;
    last_link = &test->next;
}

bool plain_str_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

void plain_fail(const char *file, int line, const char *what, const char *said, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, said);
    vsnprintf(text, sizeof(text), said, args);
    va_end(args);
    fprintf(stderr, "%s:%d: %s%s%s\n", file, line, what, text[1] ? ":" : "", text);
    fflush(NULL);
    /* No clean-up: other threads of the test may still run. */
    _exit(EXIT_FAILURE);
}

void plain_skip(const char *why, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, why);
    int length = vsnprintf(text, sizeof(text), why, args);
    va_end(args);
    if (length >= TEXT_BYTES)
        length = TEXT_BYTES - 1;
    if (report_fd < 0 || write(report_fd, text, (size_t)length) != length)
        fprintf(stderr, "skipped: %s\n", text);
    fflush(NULL);
    _exit(EXIT_SKIPPED);
}

/* The child's way out is exit(), so that sanitizers and valgrind report leaks. */
__attribute__((noreturn)) static void run_child(const struct plain_test *test, int fd)
{
    report_fd = fd;
    /* A group of its own, so that what the test starts can be ended with it. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(limit_s);
    test->run();
    close(fd);
    exit(EXIT_SUCCESS);
}

static void read_reason(int fd, char *reason, size_t capacity)
{
    size_t length = 0;
    ssize_t got;
    while (length + 1 < capacity && (got = read(fd, reason + length, capacity - 1 - length)) > 0)
        length += (size_t)got;
    reason[length] = '\0';
}

/* Returns the wait status; `reason` is what the test said when it skipped. */
static int run_forked(const struct plain_test *test, char *reason, size_t capacity)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) {
        perror("pipe2");
        exit(EXIT_FAILURE);
    }
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(EXIT_FAILURE);
    }
    if (child == 0) {
        close(ends[0]);
        run_child(test, ends[1]);
    }
    close(ends[1]);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    kill(-child, SIGKILL);
    /* A process that left the group may still hold the other end open. */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    read_reason(ends[0], reason, capacity);
    close(ends[0]);
    return status;
}

/* Prints one TAP line. Returns whether the test failed. */
static bool report(unsigned number, const struct plain_test *test, int status, const char *reason)
{
    bool exited = WIFEXITED(status);
    if (exited && WEXITSTATUS(status) == EXIT_SUCCESS) {
        printf("ok %u - %s::%s\n", number, test->suite, test->name);
        return false;
    }
    if (exited && WEXITSTATUS(status) == EXIT_SKIPPED) {
        printf("ok %u - %s::%s # SKIP %s\n", number, test->suite, test->name, reason);
        return false;
    }
    printf("not ok %u - %s::%s ", number, test->suite, test->name);
    if (exited)
        printf("(exit code %d)\n", WEXITSTATUS(status));
    else if (WTERMSIG(status) == SIGALRM)
        printf("(no end after %u s)\n", limit_s);
    else
        printf("(signal %d, %s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return true;
}

static bool is_wanted(const struct plain_test *test, int count, char **words)
{
    char full[TEXT_BYTES];
    snprintf(full, sizeof(full), "%s::%s", test->suite, test->name);
    for (int i = 0; i < count; i++)
        if (strstr(full, words[i]))
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    bool in_place = argc > 1 && strcmp(argv[1], "--no-fork") == 0;
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    int skip = 1 + (in_place || list);
    unsigned number = 0, failed = 0;
    const char *limit = getenv("TEST_TIME_LIMIT_S");
    if (limit && strtoul(limit, NULL, 10))
        limit_s = (unsigned)strtoul(limit, NULL, 10);
    for (struct plain_test *test = first_test; test; test = test->next) {
        char reason[TEXT_BYTES];
        if (!is_wanted(test, argc - skip, argv + skip))
            continue;
        number++;
        if (list) {
            printf("%s::%s\n", test->suite, test->name);
        } else if (in_place) {
            fprintf(stderr, "%s::%s\n", test->suite, test->name);
            test->run();
        } else {
            int status = run_forked(test, reason, sizeof(reason));
            failed += report(number, test, status, reason);
        }
    }
    if (!list)
        printf("1..%u\n", number);
    return failed || !number ? EXIT_FAILURE : EXIT_SUCCESS;
}
