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
