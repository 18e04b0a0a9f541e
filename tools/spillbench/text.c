/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_BYTES = 512, DESCRIPTORS = 16 };

/* Of one file no more than this, so that none is most of it. */
static const uint64_t file_most_bytes = UINT64_C(4) << 20, least_bytes = UINT64_C(1) << 20;

/* nftw() hands nothing on. */
static struct {
    enum text_kind kind;
    unsigned char *to; /* NULL: only counts */
    uint64_t room, taken, seen, all;
} walk;

static bool is_plain(const char *path)
{
    static const char *const ends[] = {".h",   ".hpp", ".c",   ".cc",   ".py", ".pm",  ".pl",
                                       ".txt", ".sh",  ".tcl", ".html", ".md", ".json"};
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < sizeof(ends) / sizeof(ends[0]); i++)
        if (strcmp(dot, ends[i]) == 0)
            return true;
    return false;
}

static uint64_t part_of(const struct stat *info)
{
    uint64_t bytes = (uint64_t)info->st_size;

    return bytes < file_most_bytes ? bytes : file_most_bytes;
}

/* Header, content, and zeros to the end of a block. What cannot be read is left out. */
static void take(const char *path, uint64_t bytes)
{
    uint64_t blocks = (bytes + HEADER_BYTES - 1) / HEADER_BYTES * HEADER_BYTES;
    unsigned char *to = walk.to + walk.taken;

    if (walk.taken + HEADER_BYTES + blocks > walk.room)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    memset(to, 0, HEADER_BYTES + blocks);
    snprintf((char *)to, HEADER_BYTES, "%.99s", path + 1);
    snprintf((char *)to + 100, 64, "0000644 0000000 0000000 %011llo", (unsigned long long)bytes);
    ssize_t got = read(fd, to + HEADER_BYTES, bytes);
    close(fd);
    if (got == (ssize_t)bytes)
        walk.taken += HEADER_BYTES + blocks;
}

/* Files are taken as long as what was taken is less than its share of what was passed. */
static int visit(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)where;
    if (type != FTW_F || !S_ISREG(info->st_mode) || info->st_size == 0 ||
        (walk.kind == TEXT_PLAIN && !is_plain(path)))
        return 0;
    uint64_t bytes = part_of(info);
    walk.seen += bytes + HEADER_BYTES;
    if (walk.to && (double)walk.taken <= (double)walk.room / (double)walk.all * (double)walk.seen)
        take(path, bytes);
    return 0;
}

unsigned char *text_load(enum text_kind kind, uint64_t bytes, uint64_t *found)
{
    unsigned char *memory = malloc(bytes);

    memset(&walk, 0, sizeof(walk));
    walk.kind = kind;
    if (!memory || nftw("/usr", visit, DESCRIPTORS, FTW_PHYS) != 0 || walk.seen < least_bytes) {
        free(memory);
        return NULL;
    }
    walk.all = walk.seen;
    walk.seen = 0;
    walk.to = memory;
    walk.room = bytes < walk.all ? bytes : walk.all;
    nftw("/usr", visit, DESCRIPTORS, FTW_PHYS);
    *found = walk.taken;
    if (walk.taken >= least_bytes)
        return memory;
    free(memory);
    return NULL;
}
