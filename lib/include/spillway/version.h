/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_VERSION_H
#define SPILLWAY_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

#define SPILLWAY_VERSION_MAJOR 0
#define SPILLWAY_VERSION_MINOR 1
#define SPILLWAY_VERSION_PATCH 0

/** Marks what the shared object exports; everything else in it is hidden. */
#define SPILLWAY_API __attribute__((visibility("default")))

/*
 * Structs that start with `size` grow at their end in later versions. Set `size` to the struct's
 * sizeof, whatever the version of the header, and the rest to zero where it is not used; the
 * library that is linked may be older or newer than the header.
 *
 *  - What a caller gives (config and options): members that the caller's header does not have yet
 *    take their defaults. Members that the library does not have yet must be zero.
 *  - What a caller gets (info and stats): the library fills in what `size` holds, sets `size` to
 *    how much that was, and zeroes the rest.
 *  - Tables of functions (ops): an optional member beyond `size` counts as NULL.
 *
 * "A size that this library does not know", -EINVAL, is less than the struct had in its first
 * version, more than 16 KiB, or one with something other than zero behind what the library knows.
 */

/**
 * The version of the library that is linked, as opposed to the header that was
 * compiled against: major * 10000 + minor * 100 + patch.
 */
SPILLWAY_API int spw_version(void);

/** The same as text, "0.1.0". Static storage. */
SPILLWAY_API const char *spw_version_text(void);

#ifdef __cplusplus
}
#endif
#endif
