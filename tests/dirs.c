/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FS_TMPFS 0x01021994

bool dirs_make(char path[DIRS_PATH])
{
    const char *base = getenv("SPILLWAY_TEST_DIR");
    struct statfs fs;

    if (base == NULL)
        base = "/var/tmp";
    if (statfs(base, &fs) < 0 || fs.f_type == FS_TMPFS)
        return false;
    (void)snprintf(path, DIRS_PATH, "%s/spillway-test-XXXXXX", base);
    return mkdtemp(path) != NULL;
}

bool dirs_remove(const char *path)
{
    return rmdir(path) == 0;
}

bool dirs_empty(const char *path)
{
    DIR *dir = opendir(path);
    unsigned entries = 0;

    if (dir == NULL)
        return false;
    while (readdir(dir) != NULL)
        entries++;
    (void)closedir(dir);
    return entries == 2; /* itself and the one above */
}

static const char *make_image(const char *image, unsigned mib)
{
    char command[2 * DIRS_PATH];
    int fd = open(image, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, (off_t)mib << 20) < 0)
        return "no image file";
    (void)close(fd);
    (void)snprintf(command, sizeof(command),
                   "PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -O ^has_journal -m 0 '%s' "
                   ">/dev/null 2>&1",
                   image);
    return system(command) == 0 ? NULL : "mkfs.ext4 does not work here";
}

/* The mount lives in a mount namespace of our own, so that the kernel removes it, and the loop
 * device with it, even when the test is killed. */
const char *dirs_mount_small(const char *path, unsigned mib)
{
    char image[DIRS_PATH + 8], command[3 * DIRS_PATH];
    const char *why;
    int rc;

    if (geteuid() != 0)
        return "mounting needs root";
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
        return "no mount namespace of our own is permitted";
    (void)snprintf(image, sizeof(image), "%s.img", path);
    why = make_image(image, mib);
    if (why == NULL) {
        (void)snprintf(command, sizeof(command), "mount -o loop '%s' '%s' >/dev/null 2>&1", image,
                       path);
        rc = system(command);
        why = rc == 0 ? NULL : "loop mounts do not work here";
    }
    (void)unlink(image);
    return why;
}

void dirs_unmount(const char *path)
{
    (void)umount2(path, MNT_DETACH);
}
