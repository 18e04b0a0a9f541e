/* SPDX-License-Identifier: MIT */
/* What the page cache holds of this process's scratch files. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_CACHED_H
#define SPILLWAY_TOOLS_SPILLBENCH_CACHED_H

#include <stdint.h>

/*
 * Counts the bytes that lie in the page cache, of all unnamed files on disks that this process has
 * open; `*files` of them were looked at. What a file system keeps for itself (maps of what is free,
 * for one) belongs to no file of ours. Returns 0 or -errno.
 */
int cached_bytes(uint64_t *bytes, unsigned *files);

#endif
