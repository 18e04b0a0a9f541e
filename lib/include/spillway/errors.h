/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_ERRORS_H
#define SPILLWAY_ERRORS_H

#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every call that can fail returns 0 or a count on success and -errno
 * otherwise. A failed call changes nothing, except where its text says what.
 */

/** What a caller can do about an error. */
enum spw_error_class {
    SPILLWAY_CLASS_NONE = 0, /**< not an error, or a mistake of the caller (-EINVAL and the like) */
    SPILLWAY_CLASS_RETRY,    /**< nothing is lost; the same call may work later */
    SPILLWAY_CLASS_DEGRADED, /**< nothing is lost; something works less well until it is mended */
    SPILLWAY_CLASS_LOST      /**< bytes are gone for good; see spw_reader_skip() */
};

/**
 * The class of `err` (a negative errno as returned by this library):
 *
 *  retry     -EAGAIN, -EINTR, -EBUSY, -ETIMEDOUT, -ENOMEM, -EMFILE, -ENFILE, -EIO (a read that
 *            failed; the handle is intact and the next fetch reads again)
 *  degraded  -ENOSPC, -EDQUOT, -EROFS, -ENODEV (tiers full, missing, or withdrawn after errors)
 *  lost      -EBADMSG (checksum or identity wrong), -ENOTRECOVERABLE (read failed too often)
 *  none      everything else, 0 included
 */
SPILLWAY_API enum spw_error_class spw_error_class(int err);

/** "none", "retry", "degraded" or "lost". Static storage. */
SPILLWAY_API const char *spw_error_class_name(enum spw_error_class c);

/**
 * One line that says what `err` means when it comes from this library.
 * Static storage, any thread; "unknown error" for a number that the library never returns.
 */
SPILLWAY_API const char *spw_error_text(int err);

#ifdef __cplusplus
}
#endif
#endif
