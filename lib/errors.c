/* SPDX-License-Identifier: MIT */
#include "spillway/errors.h"

#include <errno.h>
#include <stddef.h>

#define NONE     SPILLWAY_CLASS_NONE
#define RETRY    SPILLWAY_CLASS_RETRY
#define DEGRADED SPILLWAY_CLASS_DEGRADED
#define LOST     SPILLWAY_CLASS_LOST

/* The one table: number, class, text. */
static const struct error {
    int number;
    enum spw_error_class class;
    const char *text;
} errors[] = {
    {0, NONE, "success"},
    {EAGAIN, RETRY, "nothing is ready yet, or the call would have to wait"},
    {EINTR, RETRY, "interrupted by a signal"},
    {EBUSY, RETRY, "still in use"},
    {ETIMEDOUT, RETRY, "the time limit passed first"},
    {ENOMEM, RETRY, "no memory, or no room for another map"},
    {EMFILE, RETRY, "this process has no file descriptor left"},
    {ENFILE, RETRY, "the system has no file descriptor left"},
    {EIO, RETRY, "a read failed; the data is still stored and the next fetch reads again"},
    {ENOSPC, DEGRADED, "every tier is full; data stays in memory"},
    {EDQUOT, DEGRADED, "the disk quota of a scratch directory is used up; data stays in memory"},
    {EROFS, DEGRADED, "a scratch directory is read-only"},
    {ENODEV, DEGRADED, "a tier is missing, or withdrawn after errors; data stays where it is"},
    {EBADMSG, LOST, "stored data came back wrong (checksum or identity); the run is lost"},
    {ENOTRECOVERABLE, LOST, "stored data could not be read back; the run is lost"},
    {EINVAL, NONE, "an argument or a setting is not valid"},
    {ENOENT, NONE, "there is no setting, file or directory of that name"},
    {EMSGSIZE, NONE, "more at once than the whole budget"},
    {EDEADLK, NONE, "the call would wait for the very thread that it is made on"},
    {ERANGE, NONE, "a length or position is beyond the end"},
    {EPIPE, NONE, "the reader has closed the queue"},
    {ECONNRESET, NONE, "the other end of the queue closed uncleanly"},
    {EOWNERDEAD, NONE, "this is a forked child; what the parent opened cannot be used in it"},
    {EOPNOTSUPP, NONE, "strict mode, and the system lacks what was asked for"},
    {EPERM, NONE, "the system does not permit it"},
    {EACCES, NONE, "this user may not read or write a file or directory"},
    {ENOSYS, NONE, "the kernel lacks the call"},
    {EFBIG, NONE, "a file is too large"},
    {ENOTDIR, NONE, "a scratch directory is not a directory"},
    {EMEDIUMTYPE, NONE, "a scratch directory is on a file system that lives in memory (tmpfs)"},
    {ENAMETOOLONG, NONE, "a file name is too long"},
    {ELOOP, NONE, "too many symbolic links in a file name"},
};

static const struct error *error_find(int err)
{
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (err == -errors[i].number)
            return &errors[i];
    }
    return NULL;
}

enum spw_error_class spw_error_class(int err)
{
    const struct error *error = error_find(err);

    return error != NULL ? error->class : NONE;
}

const char *spw_error_class_name(enum spw_error_class c)
{
    switch (c) {
    case SPILLWAY_CLASS_NONE:
        return "none";
    case SPILLWAY_CLASS_RETRY:
        return "retry";
    case SPILLWAY_CLASS_DEGRADED:
        return "degraded";
    case SPILLWAY_CLASS_LOST:
        return "lost";
    }
    return "none";
}

const char *spw_error_text(int err)
{
    const struct error *error = error_find(err);

    return error != NULL ? error->text : "unknown error";
}
