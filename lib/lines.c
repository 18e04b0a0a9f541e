/* SPDX-License-Identifier: MIT */
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int lines_open(struct lines *lines, const struct os *os, const char *path)
{
    lines->os = os;
    lines->skipping = false;
    lines->start = lines->end = 0;
    lines->fd = os->open(path, O_RDONLY | O_CLOEXEC, 0);
    return lines->fd < 0 ? lines->fd : 0;
}

void lines_close(struct lines *lines)
{
    os_close(lines->os, lines->fd);
}

/* Moves what is left to the front and reads more. Returns false at the end or on an error. */
static bool lines_fill(struct lines *lines)
{
    ssize_t n;

    memmove(lines->buf, lines->buf + lines->start, lines->end - lines->start);
    lines->end -= lines->start;
    lines->start = 0;
    if (lines->end == LINES_MAX_BYTES) {
        lines->skipping = true;
        lines->end = 0;
    }
    do
        n = lines->os->read(lines->fd, lines->buf + lines->end, LINES_MAX_BYTES - lines->end);
    while (n == -EINTR);
    if (n <= 0)
        return false;
    lines->end += (size_t)n;
    return true;
}

char *lines_next(struct lines *lines)
{
    for (;;) {
        char *line = lines->buf + lines->start;
        char *newline = memchr(line, '\n', lines->end - lines->start);

        if (newline != NULL) {
            *newline = '\0';
            lines->start = (size_t)(newline + 1 - lines->buf);
            if (!lines->skipping)
                return line;
            lines->skipping = false;
            continue;
        }
        if (lines_fill(lines))
            continue;
        if (lines->start == lines->end || lines->skipping)
            return NULL;
        line = lines->buf + lines->start;
        lines->buf[lines->end] = '\0';
        lines->start = lines->end;
        return line;
    }
}
