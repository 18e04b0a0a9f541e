/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "../lib/text.h"
#include "pool.h"

/* Requests that are taken at a time; the next are read a few milliseconds later. */
enum { REQUESTS_AT_ONCE = 16 };

/* ---- life ---- */

/*
 * A pipe by its two descriptors would need both to stay open, or it would be without a writer most
 * of the time and poll(2) would never sleep: opened anew, one descriptor is both ends.
 */
static int pipe_open(const struct os *os)
{
    char path[64];
    int ends[2], fd, err = os->pipe(ends, O_CLOEXEC | O_NONBLOCK);
    if (err)
        return err;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
    fd = os->open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
    os_close(os, ends[0]);
    os_close(os, ends[1]);
    return fd;
}

static void control_publish(struct spw_pool *pool, int fd)
{
    struct page_control *control = &pool->page.page->control;
    struct os_stat stat = {0};
    if (fd >= 0 && pool->os->fstat(fd, &stat) != 0)
        stat.inode = 0;
    pthread_mutex_lock(&pool->lock);
    page_texts_begin(pool->page.page);
    control->open = fd >= 0;
    control->fd = fd >= 0 ? (uint64_t)fd : 0;
    control->inode = stat.inode;
    page_texts_end(pool->page.page);
    pthread_mutex_unlock(&pool->lock);
}

static int control_lacks(struct spw_pool *pool, const char *what, int err)
{
    char why[160];
    snprintf(why, sizeof(why), "settings cannot be changed from outside: %s%s%s", what,
             err ? ": " : "", err ? strerrordesc_np(-err) : "");
    return governor_lacks(&pool->governor, "control", why);
}

int control_open(struct spw_pool *pool, bool wanted)
{
    if (!wanted)
        return 0;
    if (pool->page.fd < 0)
        return control_lacks(pool, "there is no stats page to answer in", 0);
    int fd = pipe_open(pool->os);
    if (fd < 0)
        return control_lacks(pool, "no pipe can be opened (RLIMIT_NOFILE, /proc)", fd);
    pool->control.fd = fd;
    if (governor_call(&pool->governor) != 0) {
        control_close(pool);
        return control_lacks(pool, "there is no thread to read requests", 0);
    }
    control_publish(pool, fd);
    return 0;
}

/* First nobody is to find it any more: its number may soon be another file's. */
void control_close(struct spw_pool *pool)
{
    if (pool->control.fd < 0)
        return;
    control_publish(pool, -1);
    os_close(pool->os, pool->control.fd);
    pool->control.fd = -1;
}

/* ---- requests ---- */

static void answer_publish(struct spw_pool *pool, uint64_t id, int err, const char *text)
{
    struct page *page = pool->page.page;
    struct answer_row *row = &page->answers[pool->control.next++ % ROW_ANSWERS];
    pthread_mutex_lock(&pool->lock);
    page_texts_begin(page);
    row->id = id;
    row->error = (uint64_t)-err;
    text_copy_clean(row->text, sizeof(row->text), text);
    page_texts_end(page);
    pthread_mutex_unlock(&pool->lock);
}

static void request_serve(struct spw_pool *pool, const struct control_request *request)
{
    char answer[SET_ANSWER_BYTES];
    if (request->id == 0 || pool->os->clock_ns() > request->deadline_ns)
        return; /* who asked is told that nothing came of it */
    int err = -EINVAL;
    if (!memchr(request->name, '\0', sizeof(request->name)) ||
        !memchr(request->value, '\0', sizeof(request->value)))
        snprintf(answer, sizeof(answer), "the request has a text without an end");
    else
        err = pool_set(pool, request->name, request->value, ORIGIN_CONTROL, answer);
    answer_publish(pool, request->id, err, answer);
}

/* What is no request is passed over to the next that is. */
void control_take(struct spw_pool *pool, const char *bytes, size_t count)
{
    struct control_request request;
    size_t at = 0, junk = 0;
    while (at < count) {
        if (count - at < sizeof(request) ||
            memcmp(bytes + at, CONTROL_MAGIC, CONTROL_MAGIC_BYTES) != 0) {
            at++;
            junk++;
            continue;
        }
        memcpy(&request, bytes + at, sizeof(request));
        at += sizeof(request);
        request_serve(pool, &request);
    }
    if (junk > 0 && !pool->control.told) {
        pool->control.told = true;
        log_line(&pool->log, SPILLWAY_LOG_WARN,
                 "%zu bytes came that ask for nothing: who writes to the control pipe?", junk);
    }
}

void control_serve(struct spw_pool *pool)
{
    struct control *control = &pool->control;
    char bytes[REQUESTS_AT_ONCE * sizeof(struct control_request)];
    ssize_t got = pool->os->read(control->fd, bytes, sizeof(bytes));
    control->looked_ns = pool->os->clock_ns();
    if (got > 0)
        control_take(pool, bytes, (size_t)got);
    if (got >= 0 || got == -EINTR || got == -EAGAIN)
        return; /* others may have been faster */
    control->broken = true;
    control_publish(pool, -1); /* nobody is to wait for an answer */
    log_line(&pool->log, SPILLWAY_LOG_WARN, "the control pipe cannot be read any more (%s)",
             strerrorname_np((int)-got));
}
