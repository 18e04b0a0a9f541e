/* SPDX-License-Identifier: MIT */
/* Directories on a real disk, and small file systems, for tests. */
#ifndef SPILLWAY_TESTS_DIRS_H
#define SPILLWAY_TESTS_DIRS_H

#include <stdbool.h>

enum { DIRS_PATH = 256 };

/* Makes an empty directory below SPILLWAY_TEST_DIR or /var/tmp; false: no such place that is not
 * in memory. */
bool dirs_make(char path[DIRS_PATH]);

/* Removes it; false when something was left in it. */
bool dirs_remove(const char *path);

/* Whether it has no entry. */
bool dirs_empty(const char *path);

/*
 * Mounts a new ext4 of `mib` MiB on `path`, seen by this process only and gone with it. Returns
 * NULL, or why that is not possible here.
 */
const char *dirs_mount_small(const char *path, unsigned mib);
void dirs_unmount(const char *path);

#endif
