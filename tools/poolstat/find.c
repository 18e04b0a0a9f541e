/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "find.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINK_BEGIN "/memfd:" PAGE_FILE

static pid_t pid_of(const char *name)
{
    char *end;
    long pid = isdigit((unsigned char)*name) ? strtol(name, &end, 10) : 0;

    return pid > 0 && *end == '\0' ? (pid_t)pid : 0;
}

static bool is_owner(const struct pool *pool, const struct process *process)
{
    const struct page_header *header = &pool->now.header;

    return header->pid == (uint64_t)process->own_pid &&
           (header->start_ticks == 0 || header->start_ticks == process->start_ticks);
}

static struct pool *pool_known(struct pools *pools, const struct stat *st)
{
    for (size_t i = 0; i < pools->count; i++) {
        if (pools->items[i].dev == st->st_dev && pools->items[i].ino == st->st_ino)
            return &pools->items[i];
    }
    return NULL;
}

static int pools_grow(struct pools *pools)
{
    size_t capacity = pools->capacity > 0 ? 2 * pools->capacity : 16;
    struct pool *items;

    if (pools->count < pools->capacity)
        return 0;
    items = realloc(pools->items, capacity * sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    pools->items = items;
    pools->capacity = capacity;
    return 0;
}

static void note_refused(struct pools *pools, const struct process *process, const char *why)
{
    pools->refused++;
    (void)snprintf(pools->why, sizeof(pools->why), "the stats page of process %ld (%s) %s",
                   (long)process->pid, process->comm, why);
}

/* A forked child inherits the descriptor; the pool is the parent's. */
static void pool_add(struct pools *pools, const struct process *process, int fd)
{
    struct pool *known, *pool;
    struct stat st;
    char why[PAGE_WHY];
    int err;

    if (fstat(fd, &st) != 0 || pools_grow(pools) != 0)
        goto close;
    known = pool_known(pools, &st);
    if (known != NULL) {
        if (known->gone && is_owner(known, process)) {
            known->process = *process;
            known->gone = false;
        }
        goto close;
    }
    pool = &pools->items[pools->count];
    *pool = (struct pool){.process = *process, .fd = fd, .dev = st.st_dev, .ino = st.st_ino};
    err = page_copy_open(fd, &pool->now, why);
    if (err) {
        if (err != -EAGAIN)
            note_refused(pools, process, why);
        goto close;
    }
    if (pool->now.header.state == PAGE_MAKING) { /* it is just being opened */
        page_copy_close(&pool->now);
        goto close;
    }
    pool->gone = !is_owner(pool, process);
    pools->count++;
    return;

close:
    close(fd);
}

/* One descriptor of a process. The link may lie by the time it is opened: what was opened is
 * checked, and opening has no effect on a FIFO or a terminal. */
/* Whether a descriptor's link is named as stats pages are. */
static bool is_named_page(int dir, const char *name)
{
    char link[64];
    ssize_t len = readlinkat(dir, name, link, sizeof(link) - 1);

    if (len < 0)
        return false;
    link[len] = '\0';
    return strncmp(link, LINK_BEGIN, strlen(LINK_BEGIN)) == 0 &&
           (link[strlen(LINK_BEGIN)] == '\0' || link[strlen(LINK_BEGIN)] == ' ');
}

static void look_at(struct pools *pools, const struct process *process, int dir, const char *name)
{
    char own[64];
    int fd;

    if (!is_named_page(dir, name))
        return;
    fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (errno != ENOENT && errno != ESRCH)
            note_refused(pools, process, "cannot be opened");
        return;
    }
    /* Its number may have become another file's meanwhile. */
    (void)snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
    if (is_named_page(AT_FDCWD, own))
        pool_add(pools, process, fd);
    else
        close(fd);
}

static int look_into(const char *proc, pid_t pid, struct pools *pools)
{
    struct process process;
    char path[256];
    const struct dirent *entry;
    DIR *dir;
    int err;

    err = process_look(proc, pid, &process);
    if (err)
        return err;
    if (process.kernel)
        return 0;
    (void)snprintf(path, sizeof(path), "%s/%ld/fd", proc, (long)pid);
    dir = opendir(path);
    if (dir == NULL)
        return errno == ENOENT ? -ESRCH : -errno;
    /* Opening works for everybody; reading needs the right to look into the process. */
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]))
            look_at(pools, &process, dirfd(dir), entry->d_name);
        errno = 0;
    }
    err = -errno;
    closedir(dir);
    return err;
}

int pools_find(const char *proc, pid_t only, struct pools *pools)
{
    const struct dirent *entry;
    DIR *dir;

    pools->hidden = 0;
    if (only != 0)
        return look_into(proc, only, pools);
    dir = opendir(proc);
    if (dir == NULL)
        return -errno;
    while ((entry = readdir(dir)) != NULL) {
        pid_t pid = pid_of(entry->d_name);
        int err = pid > 0 && pid != getpid() ? look_into(proc, pid, pools) : 0;

        if (err == -EACCES || err == -EPERM)
            pools->hidden++;
    }
    closedir(dir);
    return 0;
}

/* Whether the process that was seen is still there. */
static bool still_there(const char *proc, struct pool *pool)
{
    struct process now;

    if (process_look(proc, pool->process.pid, &now) != 0 || now.state == 'Z' || now.state == 'X' ||
        now.start_ticks != pool->process.start_ticks)
        return false;
    pool->process = now;
    return true;
}

/* Returns false when there is nothing to be seen of the pool any more. */
static bool pool_refresh(const char *proc, struct pool *pool, bool queues, struct pools *pools)
{
    char why[PAGE_WHY];
    struct page_copy spare = pool->before;

    if (!still_there(proc, pool))
        pool->gone = true;
    if (pool->now.header.state == PAGE_CLOSED)
        return false;
    if (spare.bytes == NULL && page_copy_parse(pool->now.bytes, pool->now.size, &spare, why) != 0)
        return false;
    pool->before = pool->now;
    pool->now = spare;
    if (page_copy_refresh(pool->fd, &pool->now, queues, why) != 0) {
        note_refused(pools, &pool->process, why);
        return false;
    }
    return pool->now.header.state != PAGE_CLOSED;
}

void pools_refresh(const char *proc, struct pools *pools, bool queues)
{
    for (size_t i = 0; i < pools->count;) {
        if (pool_refresh(proc, &pools->items[i], queues, pools))
            i++;
        else
            pools_remove(pools, i);
    }
}

void pools_remove(struct pools *pools, size_t index)
{
    struct pool *pool = &pools->items[index];

    page_copy_close(&pool->now);
    page_copy_close(&pool->before);
    close(pool->fd);
    memmove(pool, pool + 1, (--pools->count - index) * sizeof(*pool));
}

void pools_close(struct pools *pools)
{
    while (pools->count > 0)
        pools_remove(pools, pools->count - 1);
    free(pools->items);
    *pools = (struct pools){0};
}
