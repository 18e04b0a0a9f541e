/* SPDX-License-Identifier: MIT */
#include "cached.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Mapped at a time: its vector takes 256 KiB of memory, and the map no page of any. */
#define SPAN_BYTES (UINT64_C(1) << 30)

/* An unnamed file that does not live in memory. */
static bool is_scratch(int fd, struct stat *stat)
{
    struct statfs system;

    return fstat(fd, stat) == 0 && S_ISREG(stat->st_mode) && stat->st_nlink == 0 &&
           fstatfs(fd, &system) == 0 && system.f_type != TMPFS_MAGIC &&
           system.f_type != HUGETLBFS_MAGIC;
}

static int span_cached(int fd, uint64_t offset, size_t bytes, unsigned char *vector,
                       uint64_t *cached)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);

    if (map == MAP_FAILED)
        return -errno;
    int rc = mincore(map, bytes, vector) == 0 ? 0 : -errno;
    munmap(map, bytes);
    for (size_t i = 0; rc == 0 && i < pages; i++)
        *cached += (vector[i] & 1) * page;
    return rc;
}

static int file_cached(int fd, uint64_t bytes, unsigned char *vector, uint64_t *cached)
{
    int rc = 0;

    for (uint64_t at = 0; rc == 0 && at < bytes; at += SPAN_BYTES)
        rc = span_cached(fd, at, (size_t)(bytes - at < SPAN_BYTES ? bytes - at : SPAN_BYTES),
                         vector, cached);
    return rc;
}

int cached_bytes(uint64_t *bytes, unsigned *files)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned char *vector = malloc((size_t)(SPAN_BYTES / (uint64_t)sysconf(_SC_PAGESIZE)));
    int rc = !dir ? -errno : !vector ? -ENOMEM : 0;
    struct dirent *entry;

    *bytes = *files = 0;
    while (rc == 0 && (entry = readdir(dir))) {
        int fd = atoi(entry->d_name);
        struct stat stat;
        if (entry->d_name[0] == '.' || fd == dirfd(dir) || !is_scratch(fd, &stat))
            continue;
        ++*files;
        rc = file_cached(fd, (uint64_t)stat.st_size, vector, bytes);
    }
    free(vector);
    if (dir)
        closedir(dir);
    return rc;
}
