/* SPDX-License-Identifier: MIT */
/* What is built from the calls of the seam alone. */
#include <errno.h>
#include <fcntl.h>

#include "os.h"

static ssize_t read_again(const struct os *os, int fd, void *buf, size_t len)
{
    ssize_t n;

    do
        n = os->read(fd, buf, len);
    while (n == -EINTR);
    return n;
}

long os_read_file(const struct os *os, const char *path, char *buf, size_t capacity)
{
    size_t used = 0;
    ssize_t n;
    char over;
    int fd;

    if (capacity == 0)
        return -EINVAL;
    fd = os->open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    while (used < capacity - 1) {
        n = read_again(os, fd, buf + used, capacity - 1 - used);
        if (n <= 0)
            goto done;
        used += (size_t)n;
    }
    /* The buffer is full: only the end of the file may follow. */
    n = read_again(os, fd, &over, 1);
    if (n > 0)
        n = -EFBIG;
done:
    os_close(os, fd);
    if (n < 0)
        return n;
    buf[used] = '\0';
    return (long)used;
}

void os_close(const struct os *os, int fd)
{
    if (fd >= 0)
        (void)os->close(fd);
}
