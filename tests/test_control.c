/* SPDX-License-Identifier: MIT */
/* Settings that are asked for from outside, by requests in a pipe: good ones, hostile ones, none.
 */
#include "../pool/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/options.h"
#include "child.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#define SECOND_NS UINT64_C(1000000000)

static const struct setting open_to_all[] = {
    {"memory", "8MiB"}, {"tiers", "none"}, {"control", "on"}, {"log_level", "info"}, {NULL, NULL}};

static struct page *page_of(const struct bed *bed)
{
    return bed->pool->page.page;
}

/* As another process would come to it; also in a child, which does not have the page. */
static int pipe_of(const struct bed *bed)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", bed->pool->control.fd);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static struct control_request request_of(uint64_t id, const char *name, const char *value)
{
    struct control_request request = {.id = id, .deadline_ns = UINT64_MAX};
    memcpy(request.magic, CONTROL_MAGIC, CONTROL_MAGIC_BYTES);
    snprintf(request.name, sizeof(request.name), "%s", name);
    snprintf(request.value, sizeof(request.value), "%s", value);
    return request;
}

static void ask(const struct bed *bed, uint64_t id, const char *name, const char *value)
{
    struct control_request request = request_of(id, name, value);
    int fd = pipe_of(bed);
    cr_assert_eq(write(fd, &request, sizeof(request)), (ssize_t)sizeof(request));
    close(fd);
}

/* The pool's lock is what a reader in this process has in place of the sequence. */
static bool answer_find(const struct bed *bed, uint64_t id, struct answer_row *out)
{
    bool found = false;
    pthread_mutex_lock(&bed->pool->lock);
    for (unsigned i = 0; i < ROW_ANSWERS && !found; i++) {
        *out = page_of(bed)->answers[i];
        found = out->id == id;
    }
    pthread_mutex_unlock(&bed->pool->lock);
    return found;
}

static struct answer_row answer_to(const struct bed *bed, uint64_t id)
{
    struct answer_row answer;
    for (unsigned i = 0; i < 30000; i++) {
        if (answer_find(bed, id, &answer))
            return answer;
        nap();
    }
    cr_assert(false, "no answer");
    return answer;
}

static void value_is(const struct bed *bed, const char *name, const char *value)
{
    char shown[sizeof(((struct page_setting *)NULL)->value)];
    pthread_mutex_lock(&bed->pool->lock);
    snprintf(shown, sizeof(shown), "%s",
             page_of(bed)->settings[options_find(name) - option_rows].value);
    pthread_mutex_unlock(&bed->pool->lock);
    cr_assert_str_eq(shown, value);
}

/* ---- asking ---- */

Test(control, what_is_asked_for_is_done_and_answered)
{
    struct bed bed;
    bed_open(&bed, open_to_all, 0);
    cr_assert_eq(page_of(&bed)->control.open, 1);
    cr_assert_eq(page_of(&bed)->control.fd, (uint64_t)bed.pool->control.fd);
    struct stat st;
    cr_assert_eq(fstat(bed.pool->control.fd, &st), 0);
    cr_assert_eq(page_of(&bed)->control.inode, (uint64_t)st.st_ino);
    ask(&bed, 71, "memory", "4MiB");
    struct answer_row answer = answer_to(&bed, 71);
    cr_assert_eq(answer.error, 0);
    cr_assert_not_null(strstr(answer.text, "memory: 4MiB, before 8MiB; the budget is 4194304"));
    cr_assert_eq(bed_stats(&bed).budget_bytes, 4 * MIB);
    value_is(&bed, "memory", "4MiB");
    ask(&bed, 72, "treshold", "4MiB");
    answer = answer_to(&bed, 72);
    cr_assert_eq(answer.error, ENOENT);
    cr_assert_not_null(strstr(answer.text, "the nearest is threshold"));
    ask(&bed, 73, "engine", "threads");
    cr_assert_eq(answer_to(&bed, 73).error, ENOTSUP);
    ask(&bed, 74, "threshold", "lots");
    cr_assert_eq(answer_to(&bed, 74).error, EINVAL);
    bed_close(&bed);
}

Test(control, it_is_off_unless_asked_for)
{
    struct bed bed;
    bed_open(&bed, NULL, 0);
    cr_assert_eq(page_of(&bed)->control.open, 0);
    cr_assert_eq(bed.pool->control.fd, -1);
    bed_close(&bed);
}

/* No wake-up in so long; after a request there is one more. */
static bool is_at_rest(void *context)
{
    const struct bed *bed = context;
    uint64_t wakeups = bed_stats(bed).governor_wakeups_total;
    usleep(50000);
    return bed_stats(bed).governor_wakeups_total == wakeups;
}

Test(control, one_descriptor_and_no_wake_up_more)
{
    static const struct setting without[] = {{"memory", "8MiB"}, {"tiers", "none"}, {NULL, NULL}};
    struct bed bed;
    bed_open(&bed, without, 0);
    int64_t fds = fault_open_fds();
    bed_close(&bed);
    bed_open(&bed, open_to_all, 0);
    cr_assert_eq(fault_open_fds(), fds + 2, "the pipe, and what wakes the governor's thread");
    cr_assert_neq(fcntl(bed.pool->control.fd, F_GETFD) & FD_CLOEXEC, 0);
    ask(&bed, 1, "threshold", "1MiB");
    (void)answer_to(&bed, 1);
    cr_assert(wait_until(is_at_rest, &bed));
    bed_close(&bed);
}

Test(control, two_that_ask_at_once_do_not_mix)
{
    struct bed bed;
    bed_open(&bed, open_to_all, 0);
    uint64_t last[2];
    for (unsigned who = 0; who < 2; who++) {
        pid_t child = fork();
        if (child == 0) {
            int fd = pipe_of(&bed), fine = 0;
            for (unsigned i = 0; i < 40; i++) {
                struct control_request request =
                    request_of(1000 * (who + 1) + i, who ? "threshold" : "prefetch", "1MiB");
                fine += write(fd, &request, sizeof(request)) == (ssize_t)sizeof(request);
            }
            child_leaves(fine == 40 ? 0 : 1);
        }
        cr_assert_gt(child, 0);
        last[who] = 1000 * (who + 1) + 39;
    }
    for (unsigned who = 0; who < 2; who++) {
        int status;
        cr_assert_gt(wait(&status), 0);
        cr_assert_eq(status, 0);
    }
    ask(&bed, 3000, "head_reserve", "1MiB");
    cr_assert_eq(answer_to(&bed, 3000).error, 0, "behind all of them");
    cr_assert_eq(answer_to(&bed, last[1]).error, 0);
    cr_assert_eq(answer_to(&bed, last[0]).error, 0);
    cr_assert_eq(log_lines_with("ask for nothing"), 0);
    bed_close(&bed);
}

/* ---- who does not play by the rules ---- */

Test(control, junk_is_passed_over)
{
    struct bed bed;
    char junk[3000];
    bed_open(&bed, open_to_all, 0);
    int fd = pipe_of(&bed);
    struct random random = random_open("control junk");
    for (size_t i = 0; i < sizeof(junk); i++)
        junk[i] = (char)random_below(&random, 256);
    memcpy(junk + 100, CONTROL_MAGIC, CONTROL_MAGIC_BYTES);
    for (unsigned i = 0; i < 20; i++) {
        size_t len = 1 + random_below(&random, sizeof(junk));
        (void)!write(fd, junk, len);
        nap();
    }
    /* until one gets through: one that came in the middle of junk is lost */
    struct answer_row answer;
    bool found = false;
    for (uint64_t id = 500; id < 800 && !found; id++) {
        struct control_request request = request_of(id, "threshold", "3MiB");
        (void)!write(fd, &request, sizeof(request));
        usleep(20000);
        found = answer_find(&bed, id, &answer);
    }
    cr_assert(found);
    cr_assert_eq(answer.error, 0);
    cr_assert_eq(log_lines_with("ask for nothing"), 1, "told once");
    close(fd);
    bed_close(&bed);
}

Test(control, texts_without_an_end_are_refused)
{
    struct bed bed;
    bed_open(&bed, open_to_all, 0);
    int fd = pipe_of(&bed);
    struct control_request request = request_of(1, "", "1MiB");
    memset(request.name, 'a', sizeof(request.name));
    cr_assert_gt(write(fd, &request, sizeof(request)), 0);
    request = request_of(2, "threshold", "");
    memset(request.value, '1', sizeof(request.value));
    cr_assert_gt(write(fd, &request, sizeof(request)), 0);
    request = request_of(3, "\033[31mred\n", "\001");
    cr_assert_gt(write(fd, &request, sizeof(request)), 0);
    cr_assert_eq(answer_to(&bed, 1).error, EINVAL);
    cr_assert_eq(answer_to(&bed, 2).error, EINVAL);
    struct answer_row answer = answer_to(&bed, 3);
    cr_assert_eq(answer.error, ENOENT);
    for (const char *at = answer.text; *at; at++)
        cr_assert(*at >= ' ' && *at != 127, "%s", answer.text);
    value_is(&bed, "threshold", "auto");
    close(fd);
    bed_close(&bed);
}

Test(control, late_and_nameless_requests_are_dropped)
{
    struct bed bed;
    bed_open(&bed, open_to_all, 0);
    int fd = pipe_of(&bed);
    struct control_request request = request_of(1, "threshold", "1MiB");
    request.deadline_ns = fault_os.clock_ns() - 1;
    cr_assert_gt(write(fd, &request, sizeof(request)), 0);
    request = request_of(0, "threshold", "2MiB");
    cr_assert_gt(write(fd, &request, sizeof(request)), 0);
    request = request_of(3, "prefetch", "3MiB");
    cr_assert_gt(write(fd, &request, sizeof(request)), 0);
    cr_assert_eq(answer_to(&bed, 3).error, 0);
    struct answer_row answer;
    cr_assert_not(answer_find(&bed, 1, &answer));
    value_is(&bed, "threshold", "auto");
    close(fd);
    bed_close(&bed);
}

Test(control, who_dies_leaves_nothing_behind)
{
    struct bed bed;
    bed_open(&bed, open_to_all, 0);
    for (unsigned i = 0; i < 100; i++) { /* more than there are rows for answers */
        int status;
        pid_t child = fork();
        if (child == 0) {
            int fd = pipe_of(&bed);
            struct control_request request = request_of(100 + i, "threshold", "1MiB");
            /* in the middle of a request, or right behind one */
            (void)!write(fd, &request, i % 2 ? sizeof(request) : 8);
            child_leaves(0);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
    }
    for (unsigned i = 0; i < 30000 && poll(&(struct pollfd){bed.pool->control.fd, POLLIN, 0}, 1, 0);
         i++)
        nap();
    ask(&bed, 9000, "threshold", "2MiB");
    cr_assert_eq(answer_to(&bed, 9000).error, 0);
    bed_close(&bed);
}

Test(control, a_flood_holds_up_nothing_else)
{
    struct bed bed;
    bed_open(&bed, open_to_all, 0);
    pid_t child = fork();
    if (child == 0) {
        struct control_request request = request_of(1, "nothing", "at all");
        int fd = pipe_of(&bed);
        for (;;)
            (void)!write(fd, &request, sizeof(request));
    }
    (void)answer_to(&bed, 1);
    struct ends ends = ends_open(&bed);
    for (unsigned i = 0; i < 1000; i++) {
        spw_bytes bytes = stream_piece(i * 4 * KIB, 4 * KIB);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
        cr_assert_eq(spw_reader_drain(ends.reader, &bytes, 1), 1);
        spw_bytes_release(&bytes);
    }
    ends_close(&ends);
    cr_assert_eq(spw_pool_set(bed.pool, "threshold", "1MiB"), 0);
    bed_close(&bed); /* also ends while they come */
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(control, a_child_does_not_answer)
{
    struct bed bed;
    int status;
    bed_open(&bed, open_to_all, 0);
    pid_t child = fork();
    if (child == 0) {
        /* nobody of the child's reads what it writes: the parent does */
        struct control_request request = request_of(5, "threshold", "1MiB");
        int fd = (int)bed.pool->control.fd;
        child_leaves(write(fd, &request, sizeof(request)) == (ssize_t)sizeof(request) ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(answer_to(&bed, 5).error, 0);
    bed_close(&bed);
}

Test(control, any_bytes_at_all)
{
    struct bed bed;
    static const struct setting closed[] = {{"memory", "8MiB"}, {"tiers", "none"}, {NULL, NULL}};
    bed_open(&bed, closed, 0);
    struct random random = random_open("control bytes");
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = random_below(&random, 700);
        char *bytes = malloc(len + 1); /* of its own size, so that a sanitizer sees its end */
        cr_assert_not_null(bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)random_below(&random, 256);
        for (size_t at = random_below(&random, 40);
             at + sizeof(struct control_request) <= len && random_below(&random, 4) > 0;
             at += sizeof(struct control_request)) {
            const struct option_row *row = &option_rows[random_below(&random, OPTION_COUNT)];
            struct control_request request =
                request_of(random_below(&random, 3), row->name,
                           random_below(&random, 2) ? row->fallback : "1MiB");
            if (random_below(&random, 3) == 0)
                ((char *)&request)[random_below(&random, sizeof(request))] =
                    (char)random_below(&random, 256);
            memcpy(bytes + at, &request, sizeof(request));
        }
        control_take(bed.pool, bytes, len);
        free(bytes);
    }
    spw_stats stats = bed_stats(&bed);
    budget_adds_up(&stats);
    bed_close(&bed);
}

/* ---- what is missing ---- */

Test(control, it_can_be_missing)
{
    struct bed bed;
    /* the pipe */
    fault_fail(FAULT_PIPE, 0, 1, -EMFILE);
    bed_open(&bed, open_to_all, 0);
    cr_assert_eq(page_of(&bed)->control.open, 0);
    cr_assert_not_null(strstr(bed_stats(&bed).fallbacks, "control"));
    cr_assert_eq(log_lines_with("no pipe can be opened"), 1);
    fault_clear();
    bed_close(&bed);
    /* its second life */
    fault_path_fail("/proc/self/fd/", -ENOENT);
    bed_open(&bed, open_to_all, 0);
    cr_assert_eq(page_of(&bed)->control.open, 0);
    fault_clear();
    bed_close(&bed);
    /* the thread */
    fault_fail(FAULT_EVENTFD, 0, 1, -EMFILE);
    bed_open(&bed, open_to_all, 0);
    cr_assert_eq(page_of(&bed)->control.open, 0);
    fault_clear();
    bed_close(&bed);
    /* which pipe it is, which is said where it is known */
    fault_fail(FAULT_FSTAT, 0, 100, -EIO);
    bed_open(&bed, open_to_all, 0);
    cr_assert_eq(page_of(&bed)->control.open, 1);
    cr_assert_eq(page_of(&bed)->control.inode, 0);
    fault_clear();
    bed_close(&bed);
    /* the page to answer in */
    static const struct setting pageless[] = {{"memory", "8MiB"},
                                              {"tiers", "none"},
                                              {"control", "on"},
                                              {"stats_page", "off"},
                                              {NULL, NULL}};
    log_forget();
    bed_open(&bed, pageless, 0);
    cr_assert_eq(log_lines_with("there is no stats page to answer in"), 1);
    bed_close(&bed);
}

Test(control, strict_refuses_less)
{
    static const struct setting strict[] = {
        {"memory", "8MiB"}, {"tiers", "none"}, {"control", "on"}, {"strict", "on"}, {NULL, NULL}};
    struct bed bed;
    fault_fail(FAULT_PIPE, 0, 1, -EMFILE);
    cr_assert_eq(bed_try(&bed, strict, 0), -EOPNOTSUPP);
    fault_clear();
    bed_remove(&bed);
    nothing_left();
    fault_fail(FAULT_EVENTFD, 0, 1, -EMFILE);
    cr_assert_eq(bed_try(&bed, strict, 0), -EOPNOTSUPP);
    fault_clear();
    bed_remove(&bed);
    nothing_left();
}

Test(control, a_pipe_that_breaks_is_left_alone)
{
    struct bed bed;
    bed_open(&bed, open_to_all, 0);
    /* the read of the request, whatever else is read before it is not from there */
    fault_fail(FAULT_READ, 0, 1, -EIO);
    ask(&bed, 1, "threshold", "1MiB");
    for (unsigned i = 0; i < 30000 && log_lines_with("cannot be read any more") == 0; i++)
        nap();
    cr_assert_eq(log_lines_with("cannot be read any more"), 1);
    cr_assert_eq(page_of(&bed)->control.open, 0, "nobody waits for an answer");
    fault_clear();
    cr_assert(wait_until(is_at_rest, &bed), "not in a busy loop");
    bed_close(&bed);
}
