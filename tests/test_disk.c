/* SPDX-License-Identifier: MIT */
/* The disk tier: directories in turn, limits, full and failing file systems. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../pool/disk.h"
#include "dirs.h"
#include "fault.h"
#include "harness.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)
#define MS  UINT64_C(1000000)

enum { DIRS = 3, LINES = 64 };

static char dirs[DIRS][SETTINGS_TEXT];
static struct log tier_log;
static struct disk *disk;

/* --- what the tier said
 * --------------------------------------------------------------------------- */

static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    enum spw_log_level level;
    char text[520];
} said[LINES];
static unsigned said_count;
static char fallbacks[256];

static void say(void *context, enum spw_log_level level, const char *line)
{
    (void)context;
    pthread_mutex_lock(&said_lock);
    if (said_count < LINES) {
        said[said_count].level = level;
        (void)snprintf(said[said_count++].text, sizeof(said[0].text), "%s", line);
    }
    pthread_mutex_unlock(&said_lock);
}

/* How many lines of this level contain `word`. */
static unsigned lines(enum spw_log_level level, const char *word)
{
    unsigned count = 0;

    for (unsigned i = 0; i < said_count; i++)
        count += said[i].level == level && strstr(said[i].text, word) != NULL;
    return count;
}

static void note_fallback(void *context, const char *name)
{
    (void)context;
    pthread_mutex_lock(&said_lock);
    strncat(fallbacks, name, sizeof(fallbacks) - strlen(fallbacks) - 1);
    strncat(fallbacks, " ", sizeof(fallbacks) - strlen(fallbacks) - 1);
    pthread_mutex_unlock(&said_lock);
}

/* --- opening and closing
 * --------------------------------------------------------------------------- */

static struct disk_config config_of(unsigned dir_count, uint64_t limit_bytes)
{
    log_init(&tier_log, &fault_os, say, NULL, SPILLWAY_LOG_DEBUG);
    said_count = 0;
    fallbacks[0] = '\0';
    return (struct disk_config){
        .os = &fault_os,
        .allocator = &fault_allocator,
        .log = &tier_log,
        .dirs = dir_count > 0 ? dirs : NULL,
        .dir_count = dir_count,
        .limit = {.bytes = limit_bytes},
        .fallback = note_fallback,
    };
}

/* Makes real directories for a test; nothing is open yet. */
static void make_dirs(unsigned count)
{
    char path[DIRS_PATH];

    for (unsigned i = 0; i < count; i++) {
        if (!dirs_make(path))
            test_skip("no directory on a disk (SPILLWAY_TEST_DIR)");
        (void)snprintf(dirs[i], sizeof(dirs[i]), "%s", path);
    }
}

static void remove_dirs(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        cr_assert(dirs_remove(dirs[i]), "something is left in %s", dirs[i]);
    cr_assert_eq(fault_open_fds(), 0);
    cr_assert_eq(fault_mapped_bytes(), 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

static void begin(unsigned dir_count, uint64_t limit_bytes)
{
    struct disk_config config;
    int rc;

    make_dirs(dir_count);
    config = config_of(dir_count, limit_bytes);
    rc = disk_open(&config, &disk);
    cr_assert_eq(rc, 0, "%s", said_count > 0 ? said[said_count - 1].text : "");
}

static void end(unsigned dir_count)
{
    disk_close(disk);
    remove_dirs(dir_count);
}

static struct disk_info info(void)
{
    struct disk_info now;

    disk_info(disk, &now);
    cr_assert_leq(now.stored_bytes, now.file_bytes);
    return now;
}

static struct extent get(uint64_t len)
{
    struct extent extent = {0};
    int rc;

    cr_assert(disk_may_accept(disk, len));
    rc = disk_alloc(disk, len, &extent);
    cr_assert_eq(rc, 0, "%d", rc);
    cr_assert_geq(extent.len, len);
    return extent;
}

static int try_get(uint64_t len, struct extent *out)
{
    return disk_alloc(disk, len, out);
}

static void no_room(uint64_t len)
{
    struct extent extent;

    cr_assert_eq(try_get(len, &extent), -ENOSPC);
    cr_assert_not(disk_may_accept(disk, len));
}

Test(disk, opens_and_describes_itself)
{
    const int *fds;
    struct disk_info now;

    begin(2, 16 * MIB);
    cr_assert_eq(disk_files(disk, &fds), 2);
    cr_assert_neq(fds[0], fds[1]);
    cr_assert_eq(fcntl(fds[0], F_GETFL) & O_ACCMODE, O_RDWR);
    cr_assert_eq(disk_align(disk, 0), disk_align(disk, 1));
    now = info();
    cr_assert_eq(now.limit_bytes, 16 * MIB);
    cr_assert_eq(now.file_bytes, 0);
    cr_assert_eq(now.dirs, 2);
    cr_assert_eq(now.quarantined, 0);
    cr_assert_eq(lines(SPILLWAY_LOG_INFO, "scratch directory"), 2);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, ""), 0);
    cr_assert_str_eq(fallbacks, "");
    end(2);
}

Test(disk, lengths_refused)
{
    struct extent extent = {.offset = 77};

    begin(1, 16 * MIB);
    cr_assert_eq(try_get(0, &extent), -EINVAL);
    cr_assert_eq(try_get(DISK_ZONE_BYTES + 1, &extent), -EINVAL);
    cr_assert_eq(try_get(UINT64_MAX, &extent), -EINVAL);
    cr_assert_eq(extent.offset, 77);
    cr_assert_not(disk_may_accept(disk, 0));
    cr_assert_not(disk_may_accept(disk, DISK_ZONE_BYTES + 1));
    cr_assert_eq(get(1).len, 64 * KIB);
    cr_assert_eq(get(65 * KIB).len, 128 * KIB);
    end(1);
}

/* --- which directories
 * ------------------------------------------------------------------------------ */

static int open_defaults(const char *slurm, const char *tmp, bool strict)
{
    struct disk_config config = config_of(0, 16 * MIB);

    config.strict = strict;
    (void)(slurm != NULL ? setenv("SLURM_TMPDIR", slurm, 1) : unsetenv("SLURM_TMPDIR"));
    (void)(tmp != NULL ? setenv("TMPDIR", tmp, 1) : unsetenv("TMPDIR"));
    return disk_open(&config, &disk);
}

Test(disk, default_directories)
{
    make_dirs(2);
    cr_assert_eq(open_defaults(dirs[0], dirs[1], false), 0);
    cr_assert_eq(lines(SPILLWAY_LOG_INFO, dirs[0]), 1);
    cr_assert_eq(info().dirs, 1);
    disk_close(disk);
    /* What does not work is passed over, without a fuss. */
    cr_assert_eq(open_defaults("/proc/no/such", dirs[1], true), 0);
    cr_assert_eq(lines(SPILLWAY_LOG_DEBUG, "/proc/no/such"), 1);
    cr_assert_eq(lines(SPILLWAY_LOG_INFO, dirs[1]), 1);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, ""), 0);
    cr_assert_str_eq(fallbacks, "");
    disk_close(disk);
    cr_assert_eq(open_defaults(NULL, "", false), 0);
    cr_assert_eq(lines(SPILLWAY_LOG_INFO, "scratch directory /var/tmp:"), 1);
    disk_close(disk);
    fault_path_fail("/var/tmp", -EROFS);
    cr_assert_eq(open_defaults("/proc/no/such", NULL, false), -EROFS);
    cr_assert_eq(lines(SPILLWAY_LOG_ERROR, "read-only"), 1);
    fault_clear();
    remove_dirs(2);
}

Test(disk, named_directory_that_does_not_work)
{
    struct disk_config config;

    make_dirs(1);
    (void)snprintf(dirs[1], sizeof(dirs[1]), "/proc/no/such");
    (void)snprintf(dirs[2], sizeof(dirs[2]), "/etc/passwd");
    config = config_of(3, 16 * MIB);
    cr_assert_eq(disk_open(&config, &disk), 0);
    cr_assert_eq(info().dirs, 1);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, "/proc/no/such does not exist"), 1);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, "/etc/passwd is not a directory"), 1);
    cr_assert_str_eq(fallbacks, "scratch-directory scratch-directory ");
    disk_close(disk);

    config = config_of(3, 16 * MIB);
    config.strict = true;
    cr_assert_eq(disk_open(&config, &disk), -ENOENT);
    cr_assert_eq(lines(SPILLWAY_LOG_ERROR, "/proc/no/such does not exist"), 1);

    config = config_of(2, 16 * MIB);
    config.dirs = &dirs[1];
    cr_assert_eq(disk_open(&config, &disk), -ENOENT, "the first error");
    cr_assert_eq(lines(SPILLWAY_LOG_ERROR, "none of"), 1);
    config.dir_count = 0;
    cr_assert_eq(disk_open(&config, &disk), -EINVAL);
    config.dir_count = SETTINGS_MAX_DIRS + 1;
    cr_assert_eq(disk_open(&config, &disk), -EINVAL);
    remove_dirs(1);
}

Test(disk, memory_is_not_a_disk)
{
    struct disk_config config;
    struct os_fs fs = {0x01021994, 64 * MIB, 64 * MIB};

    make_dirs(1);
    config = config_of(1, 16 * MIB);
    fault_fs(&fs);
    cr_assert_eq(disk_open(&config, &disk), -EMEDIUMTYPE);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, "tmpfs"), 1);
    cr_assert_str_eq(fallbacks, "tmpfs ");
    fault_clear();
    remove_dirs(1);
}

Test(disk, lesser_ways_are_told_and_refusable)
{
    struct disk_config config;

    make_dirs(1);
    for (int strict = 0; strict < 2; strict++) {
        fault_clear();
        fault_fail_when(FAULT_OPEN, O_DIRECT | O_TMPFILE, 0, FAULT_ALWAYS, -EINVAL);
        config = config_of(1, 16 * MIB);
        config.strict = strict != 0;
        cr_assert_eq(disk_open(&config, &disk), strict ? -EOPNOTSUPP : 0);
        cr_assert_eq(lines(strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN, "O_DIRECT"), 1);
        cr_assert_str_eq(fallbacks, strict ? "" : "buffered ");
        if (!strict) {
            cr_assert_eq(disk_align(disk, 0), 1);
            disk_close(disk);
        }
        fault_clear();
        fault_fail(FAULT_FALLOCATE, 0, FAULT_ALWAYS, -EOPNOTSUPP);
        config = config_of(1, 16 * MIB);
        config.strict = strict != 0;
        cr_assert_eq(disk_open(&config, &disk), strict ? -EOPNOTSUPP : 0);
        cr_assert_eq(lines(strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN, "fallocate"), 1);
        cr_assert_str_eq(fallbacks, strict ? "" : "fallocate ");
        if (!strict)
            disk_close(disk);
    }
    fault_clear();
    remove_dirs(1);
}

/* Each call of the system that may fail during open, at each place: nothing is left behind. */
Test(disk, open_with_a_failure_at_each_step)
{
    static const enum fault kinds[] = {
        FAULT_OPEN,      FAULT_MKOSTEMP,  FAULT_FSTATFS, FAULT_DIO_ALIGN, FAULT_FCNTL,
        FAULT_FALLOCATE, FAULT_FTRUNCATE, FAULT_FADVISE, FAULT_MAP,       FAULT_PWRITE};
    struct disk_config config;
    struct os_dio none = {0, 0};

    make_dirs(2);
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        for (unsigned after = 0;; after++) {
            uint64_t calls;
            int rc;

            fault_clear();
            fault_dio(&none);
            fault_fail(kinds[kind], after, 1, -EIO);
            config = config_of(2, 16 * MIB);
            config.strict = true;
            rc = disk_open(&config, &disk);
            calls = fault_calls(kinds[kind]);
            if (rc == 0)
                disk_close(disk);
            cr_assert_eq(fault_open_fds(), 0);
            cr_assert_eq(fault_mapped_bytes(), 0);
            cr_assert_eq(fault_alloc_live(), 0);
            if (calls <= after)
                break;
        }
    }
    fault_clear();
    remove_dirs(2);
}

Test(disk, open_without_memory)
{
    struct disk_config config;
    uint64_t n;
    int rc;

    make_dirs(2);
    for (n = 1;; n++) {
        config = config_of(2, 16 * MIB);
        fault_alloc_after(n);
        rc = disk_open(&config, &disk);
        fault_alloc_after(0);
        if (rc == 0)
            break;
        cr_assert_eq(rc, -ENOMEM);
        cr_assert_eq(fault_alloc_live(), 0);
        cr_assert_eq(fault_open_fds(), 0);
    }
    cr_assert_gt(n, 2);
    end(2);
}

/* --- the limit
 * --------------------------------------------------------------------------------------- */

Test(disk, limit_from_free_space)
{
    struct os_fs fs = {0xef53, 10 * 1024 * MIB, 20 * 1024 * MIB};
    struct disk_config config;

    make_dirs(2);
    fault_fs(&fs);
    config = config_of(2, SETTINGS_AUTO);
    cr_assert_eq(disk_open(&config, &disk), 0);
    cr_assert_eq(info().limit_bytes, 5 * 1024 * MIB, "half, and two directories count once");
    disk_close(disk);
    config.limit = (struct amount){.bytes = 0, .percent = 80};
    cr_assert_eq(disk_open(&config, &disk), 0);
    cr_assert_eq(info().limit_bytes, 8 * 1024 * MIB);
    disk_close(disk);
    config.limit = (struct amount){.bytes = 100 * KIB};
    cr_assert_eq(disk_open(&config, &disk), 0);
    cr_assert_eq(info().limit_bytes, 64 * KIB);
    disk_close(disk);
    config.limit = (struct amount){.bytes = 63 * KIB};
    cr_assert_eq(disk_open(&config, &disk), -ENOSPC);
    cr_assert_eq(lines(SPILLWAY_LOG_ERROR, "SPILLWAY_DISK_LIMIT"), 1);
    fs.free_bytes = 0;
    fault_fs(&fs);
    config = config_of(2, SETTINGS_AUTO);
    cr_assert_eq(disk_open(&config, &disk), -ENOSPC);
    fault_clear();
    remove_dirs(2);
}

Test(disk, limit_is_kept)
{
    struct extent extents[48];

    begin(1, 3 * MIB);
    for (int i = 0; i < 48; i++)
        extents[i] = get(64 * KIB);
    cr_assert_eq(info().file_bytes, 3 * MIB);
    cr_assert_eq(info().stored_bytes, 3 * MIB);
    no_room(64 * KIB);
    no_room(64 * KIB);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, "its limit of 3145728 bytes"), 1, "told once");
    cr_assert_eq(info().enospc_total, 0, "the file system is not full");
    cr_assert_eq(info().limit_bytes, 3 * MIB);
    disk_free(disk, &extents[7]);
    cr_assert(disk_may_accept(disk, 64 * KIB));
    cr_assert_not(disk_may_accept(disk, 128 * KIB));
    extents[7] = get(64 * KIB);
    no_room(64 * KIB);
    for (int i = 0; i < 48; i++)
        disk_free(disk, &extents[i]);
    cr_assert_eq(info().stored_bytes, 0);
    (void)get(2 * MIB);
    cr_assert_eq(info().file_bytes, 3 * MIB);
    end(1);
}

Test(disk, limit_is_shared_fairly)
{
    unsigned served[2] = {0, 0};

    begin(2, 40 * MIB);
    for (int i = 0; i < 40; i++)
        served[get(MIB).dir]++;
    no_room(MIB);
    cr_assert_eq(info().file_bytes, 40 * MIB);
    cr_assert_geq(served[0], 12);
    cr_assert_geq(served[1], 12);
    end(2);
}

Test(disk, largest_extent)
{
    struct extent extent;

    begin(1, 2 * DISK_ZONE_BYTES);
    extent = get(DISK_ZONE_BYTES);
    cr_assert_eq(extent.len, DISK_ZONE_BYTES);
    (void)get(64 * KIB);
    no_room(DISK_ZONE_BYTES);
    disk_free(disk, &extent);
    (void)get(DISK_ZONE_BYTES);
    end(1);
}

/* --- turns
 * ------------------------------------------------------------------------------------------- */

Test(disk, directories_in_turn)
{
    begin(3, 1024 * MIB);
    for (unsigned i = 0; i < 30; i++)
        cr_assert_eq(get(MIB).dir, i % 3);
    end(3);
}

Test(disk, warm_space_before_growth)
{
    struct extent first[64], second[64];
    uint64_t grown;

    begin(2, 1024 * MIB);
    for (int i = 0; i < 64; i++) { /* both zones are full then */
        first[i] = get(MIB);
        second[i] = get(MIB);
        cr_assert_neq(first[i].dir, second[i].dir);
    }
    grown = info().file_bytes;
    cr_assert_eq(grown, 2 * DISK_ZONE_BYTES);
    for (int i = 0; i < 64; i++)
        disk_free(disk, &second[i]);
    for (int i = 0; i < 64; i++)
        cr_assert_eq(get(MIB).dir, second[0].dir, "whoever's turn it is");
    cr_assert_eq(info().file_bytes, grown);
    (void)get(MIB);
    cr_assert_eq(info().file_bytes, grown + DISK_ZONE_BYTES);
    end(2);
}

/* --- withdrawn directories
 * --------------------------------------------------------------------------- */

Test(disk, write_error_withdraws_a_directory)
{
    struct extent extents[8];
    const int *fds;
    char *data = aligned_alloc(4096, 4096), *back = aligned_alloc(4096, 4096);

    cr_assert(data != NULL && back != NULL);
    begin(2, 1024 * MIB);
    for (int i = 0; i < 8; i++)
        extents[i] = get(MIB);
    (void)disk_files(disk, &fds);
    memset(data, 'x', 4096);
    cr_assert_eq(extents[0].dir, 0);
    cr_assert_eq(pwrite(fds[0], data, 4096, (off_t)extents[0].offset), 4096);
    disk_write_failed(disk, 0, -EIO);
    disk_write_failed(disk, 0, -EIO);
    cr_assert_eq(lines(SPILLWAY_LOG_ERROR, "withdrawn"), 1, "told once");
    cr_assert_eq(lines(SPILLWAY_LOG_ERROR, dirs[0]), 1);
    cr_assert_eq(info().quarantined, 1);
    cr_assert_eq(pread(fds[0], back, 4096, (off_t)extents[0].offset), 4096);
    cr_assert_eq(memcmp(data, back, 4096), 0, "still readable");
    for (int i = 0; i < 8; i++)
        disk_free(disk, &extents[i]);
    cr_assert_eq(info().stored_bytes, 0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(get(MIB).dir, 1);
    disk_write_failed(disk, 1, -ENODEV);
    no_room(64 * KIB);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, "no scratch directory takes data"), 1);
    cr_assert_eq(info().quarantined, 2);
    free(data);
    free(back);
    end(2);
}

Test(disk, growth_error_withdraws_a_directory)
{
    static const int errors[] = {-EIO, -EROFS, -ENODEV};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        fault_clear();
        begin(2, 1024 * MIB);
        fault_fail(FAULT_FALLOCATE, 0, 1, errors[i]);
        cr_assert_eq(get(MIB).dir, 1, "the other one serves");
        cr_assert_eq(get(MIB).dir, 1);
        cr_assert_eq(info().quarantined, 1);
        cr_assert_eq(info().enospc_total, 0);
        cr_assert_eq(lines(SPILLWAY_LOG_ERROR, "withdrawn"), 1);
        end(2);
    }
}

/* --- full file systems
 * --------------------------------------------------------------------------------- */

static void full(int err)
{
    fault_fail_when(FAULT_FALLOCATE, 0, 0, FAULT_ALWAYS, err);
}

Test(disk, full_at_once)
{
    static const int errors[] = {-ENOSPC, -EDQUOT, -EFBIG};
    uint64_t calls;

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        fault_clear();
        fault_clock_set(1000 * MS);
        begin(1, 1024 * MIB);
        full(errors[i]);
        calls = fault_calls(FAULT_FALLOCATE);
        no_room(MIB);
        /* 64, 32, 16, 8, 4, 2, 1 MiB, and what came of it goes back */
        cr_assert_eq(fault_calls(FAULT_FALLOCATE) - calls, 8);
        cr_assert_eq(info().limit_bytes, 0, "what fits");
        cr_assert_eq(info().enospc_total, 1);
        cr_assert_eq(lines(SPILLWAY_LOG_WARN, "takes no more"), 1);
        /* Nobody asks the kernel again before the time has come. */
        no_room(MIB);
        no_room(4 * MIB);
        cr_assert_eq(fault_calls(FAULT_FALLOCATE) - calls, 8);
        /* Something smaller may still fit. */
        cr_assert(disk_may_accept(disk, 64 * KIB));
        no_room(64 * KIB);
        cr_assert_eq(info().enospc_total, 2);
        cr_assert_eq(lines(SPILLWAY_LOG_WARN, "takes no more"), 1, "told once");
        /* Space is back. */
        fault_clear();
        fault_clock_set(1000 * MS + 100 * MS);
        (void)get(MIB);
        cr_assert_eq(info().limit_bytes, 1024 * MIB);
        end(1);
    }
}

Test(disk, backoff_doubles_up_to_a_bound)
{
    uint64_t wait_ms = 100, now = 1000 * MS;
    struct extent extent;

    fault_clock_set(now);
    begin(1, 1024 * MIB);
    full(-ENOSPC);
    no_room(64 * KIB);
    for (int i = 0; i < 10; i++) {
        now += (wait_ms - 1) * MS;
        fault_clock_set(now);
        cr_assert_not(disk_may_accept(disk, 64 * KIB), "round %d", i);
        now += MS;
        fault_clock_set(now);
        cr_assert(disk_may_accept(disk, 64 * KIB), "round %d", i);
        cr_assert_eq(try_get(64 * KIB, &extent), -ENOSPC);
        wait_ms = wait_ms * 2 > 5000 ? 5000 : wait_ms * 2;
    }
    cr_assert_eq(info().enospc_total, 11);
    /* After a long peace it starts small again. */
    now += 20000 * MS;
    fault_clock_set(now);
    no_room(64 * KIB);
    fault_clock_set(now + 100 * MS);
    cr_assert(disk_may_accept(disk, 64 * KIB));
    fault_clear();
    end(1);
}

Test(disk, nearly_full_gives_what_there_is)
{
    uint64_t calls;

    begin(1, 1024 * MIB);
    calls = fault_calls(FAULT_FALLOCATE);
    fault_fail_when(FAULT_FALLOCATE, 0, 0, 3, -ENOSPC);
    (void)get(MIB);
    cr_assert_eq(info().file_bytes, 8 * MIB);
    cr_assert_eq(info().enospc_total, 0);
    /* Four growths, and the range that failed given back. */
    cr_assert_eq(fault_calls(FAULT_FALLOCATE) - calls, 5);
    cr_assert_eq(fault_last(FAULT_FALLOCATE).argument,
                 (unsigned long)(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
    cr_assert_eq(fault_last(FAULT_FALLOCATE).offset, 8 * MIB);
    cr_assert_eq(fault_last(FAULT_FALLOCATE).len, 56 * MIB);
    /* The zone grows on from there. */
    for (int i = 0; i < 8; i++)
        (void)get(MIB);
    cr_assert_eq(info().file_bytes, DISK_ZONE_BYTES);
    end(1);
}

Test(disk, free_space_is_asked_first)
{
    struct os_fs fs = {0xef53, 5 * MIB, 1024 * MIB};
    uint64_t calls;

    begin(1, 1024 * MIB);
    fault_fs(&fs);
    calls = fault_calls(FAULT_FALLOCATE);
    (void)get(MIB);
    cr_assert_eq(fault_calls(FAULT_FALLOCATE) - calls, 1, "the last byte is not even asked for");
    cr_assert_eq(info().file_bytes, 4 * MIB);
    fs.free_bytes = 63 * KIB;
    fault_fs(&fs);
    for (int i = 0; i < 3; i++)
        (void)get(MIB);
    no_room(64 * KIB);
    cr_assert_eq(fault_calls(FAULT_FALLOCATE) - calls, 1);
    cr_assert_eq(info().enospc_total, 1);
    cr_assert_eq(info().limit_bytes, 4 * MIB);
    end(1);
}

Test(disk, full_directory_leaves_the_other)
{
    begin(2, 1024 * MIB);
    fault_clock_set(1000 * MS);
    /* The first directory is full: seven sizes, and one that gives back. */
    fault_fail_when(FAULT_FALLOCATE, 0, 0, 7, -ENOSPC);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(get(MIB).dir, 1);
    cr_assert_eq(info().limit_bytes, 1024 * MIB);
    fault_clock_advance(200 * MS);
    cr_assert_eq(get(MIB).dir, 0, "and is back");
    fault_clear();
    end(2);
}

Test(disk, full_directory_still_reuses)
{
    struct extent a, b;

    begin(1, 1024 * MIB);
    fault_fail_when(FAULT_FALLOCATE, 0, 0, 6, -ENOSPC);
    a = get(MIB);
    full(-ENOSPC);
    no_room(MIB);
    disk_free(disk, &a);
    b = get(MIB);
    cr_assert_eq(a.offset, b.offset);
    no_room(MIB);
    cr_assert_eq(info().limit_bytes, MIB);
    end(1);
}

Test(disk, write_that_finds_no_room)
{
    struct extent extent;

    fault_clock_set(1000 * MS);
    begin(1, 1024 * MIB);
    extent = get(MIB);
    for (int i = 0; i < 5; i++) /* all that were in flight */
        disk_write_failed(disk, 0, -ENOSPC);
    disk_free(disk, &extent);
    cr_assert_eq(info().enospc_total, 1);
    cr_assert_eq(info().quarantined, 0);
    no_room(64 * KIB);
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, "takes no more"), 1);
    fault_clock_advance(100 * MS);
    (void)get(64 * KIB);
    disk_write_failed(disk, 0, -ENOMEM);
    no_room(64 * KIB);
    cr_assert_eq(info().quarantined, 0);
    end(1);
}

Test(disk, growth_without_memory)
{
    struct extent extent;
    uint64_t n;
    int rc;

    begin(1, 1024 * MIB);
    for (n = 1;; n++) {
        fault_alloc_after(n);
        rc = try_get(MIB, &extent);
        fault_alloc_after(0);
        if (rc == 0)
            break;
        cr_assert_eq(rc, -ENOMEM);
        cr_assert_eq(info().file_bytes, 0);
        cr_assert(disk_may_accept(disk, MIB));
    }
    cr_assert_gt(n, 1);
    for (int i = 0; i < 63; i++)
        (void)get(MIB);
    fault_fail(FAULT_FALLOCATE, 0, 1, -ENOMEM);
    cr_assert_eq(try_get(MIB, &extent), -ENOMEM);
    cr_assert_eq(info().quarantined, 0);
    (void)get(MIB);
    end(1);
}

Test(disk, no_memory_in_one_directory_only)
{
    begin(2, 1024 * MIB);
    fault_fail(FAULT_FALLOCATE, 0, 1, -ENOMEM);
    cr_assert_eq(get(MIB).dir, 1);
    cr_assert_eq(get(MIB).dir, 0);
    end(2);
}

Test(disk, interrupted_growth)
{
    struct extent extent;

    begin(1, 1024 * MIB);
    fault_clock_set(1000 * MS);
    fault_fail(FAULT_FALLOCATE, 0, 5, -EINTR);
    (void)get(MIB);
    cr_assert_eq(info().file_bytes, DISK_ZONE_BYTES);
    for (int i = 0; i < 63; i++)
        (void)get(MIB);
    full(-EINTR); /* a storm of signals: given up after a while, and tried again later */
    cr_assert_eq(try_get(MIB, &extent), -ENOSPC);
    cr_assert_eq(info().enospc_total, 0);
    cr_assert_eq(info().quarantined, 0);
    fault_heal(FAULT_FALLOCATE);
    fault_clock_advance(100 * MS);
    (void)get(MIB);
    end(1);
}

Test(disk, fallocate_lost_on_the_way)
{
    begin(1, 8 * MIB);
    fault_fail(FAULT_FALLOCATE, 0, 1, -EOPNOTSUPP);
    (void)get(MIB);
    cr_assert_str_eq(fallbacks, "fallocate ");
    cr_assert_eq(lines(SPILLWAY_LOG_WARN, "zeros"), 1);
    cr_assert_eq(fault_calls(FAULT_PWRITE), 8);
    end(1);
}

Test(disk, file_size_limit)
{
    struct rlimit limit = {10 * MIB, 10 * MIB};
    uint64_t got = 0;
    struct extent extent;

    begin(1, 1024 * MIB);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    while (try_get(64 * KIB, &extent) == 0) {
        cr_assert_leq(extent.offset + extent.len, 10 * MIB);
        got += extent.len;
    }
    cr_assert_eq(got, 10 * MIB, "up to the last byte, and no signal");
    cr_assert_geq(info().enospc_total, 1);
    end(1);
}

/* --- trimming
 * ------------------------------------------------------------------------------------------ */

static uint64_t on_disk(unsigned dir)
{
    const int *fds;
    struct stat st;

    (void)disk_files(disk, &fds);
    cr_assert_eq(fstat(fds[dir], &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

Test(disk, trim_returns_idle_zones)
{
    struct extent extents[3];

    begin(1, 1024 * MIB);
    for (int i = 0; i < 3; i++)
        extents[i] = get(DISK_ZONE_BYTES);
    cr_assert_eq(disk_trim(disk), 0);
    disk_free(disk, &extents[1]);
    cr_assert_geq(on_disk(0), 3 * DISK_ZONE_BYTES);
    cr_assert_eq(disk_trim(disk), DISK_ZONE_BYTES);
    cr_assert_lt(on_disk(0), 2 * DISK_ZONE_BYTES + MIB);
    cr_assert_eq(info().file_bytes, 2 * DISK_ZONE_BYTES);
    cr_assert_eq(disk_trim(disk), 0);
    extents[1] = get(MIB);
    cr_assert_eq(info().file_bytes, 3 * DISK_ZONE_BYTES);
    cr_assert_eq(extents[1].offset, DISK_ZONE_BYTES, "in the same place of the file");
    for (int i = 0; i < 3; i++)
        disk_free(disk, &extents[i]);
    cr_assert_eq(disk_trim(disk), 3 * DISK_ZONE_BYTES);
    cr_assert_eq(info().file_bytes, 0);
    cr_assert_lt(on_disk(0), MIB);
    end(1);
}

Test(disk, trim_without_holes)
{
    struct extent extents[4];
    int i;

    begin(1, 1024 * MIB);
    for (i = 0; i < 4; i++)
        extents[i] = get(DISK_ZONE_BYTES);
    for (i = 0; i < 4; i++) {
        if (i != 1)
            disk_free(disk, &extents[i]);
    }
    fault_fail_when(FAULT_FALLOCATE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FAULT_ALWAYS,
                    -EOPNOTSUPP);
    cr_assert_eq(disk_trim(disk), 2 * DISK_ZONE_BYTES, "the end of the file");
    cr_assert_lt(on_disk(0), 2 * DISK_ZONE_BYTES + MIB);
    cr_assert_eq(info().file_bytes, 2 * DISK_ZONE_BYTES);
    (void)get(DISK_ZONE_BYTES);
    cr_assert_eq(info().file_bytes, 2 * DISK_ZONE_BYTES, "the first zone is still there");
    end(1);
}

Test(disk, trim_that_fails_keeps_the_zone)
{
    struct extent extent;

    begin(1, DISK_ZONE_BYTES);
    extent = get(MIB);
    disk_free(disk, &extent);
    fault_fail(FAULT_FALLOCATE, 0, 1, -EIO);
    cr_assert_eq(disk_trim(disk), 0);
    cr_assert_eq(info().file_bytes, DISK_ZONE_BYTES);
    (void)get(DISK_ZONE_BYTES);
    end(1);
}

Test(disk, trim_makes_room_for_others)
{
    struct extent extent;

    begin(2, 1024 * MIB);
    fault_clock_set(1000 * MS);
    extent = get(MIB);
    full(-ENOSPC);
    for (int i = 0; i < 63; i++)
        cr_assert_eq(get(MIB).dir, 0);
    no_room(MIB);
    disk_write_failed(disk, 0, -EIO); /* what it frees is not used again */
    disk_free(disk, &extent);
    cr_assert_eq(disk_trim(disk), 0);
    no_room(MIB);
    fault_heal(FAULT_FALLOCATE);
    no_room(MIB);
    fault_clear();
    end(2);
}

Test(disk, trim_ends_the_backoff)
{
    struct extent first[64], second;

    fault_clock_set(1000 * MS);
    begin(2, 1024 * MIB);
    for (int i = 0; i < 64; i++) {
        first[i] = get(MIB);
        second = get(MIB);
    }
    (void)second;
    full(-ENOSPC);
    no_room(MIB);
    for (int i = 0; i < 64; i++)
        disk_free(disk, &first[i]);
    disk_write_failed(disk, first[0].dir, -EIO);
    fault_heal(FAULT_FALLOCATE);
    no_room(MIB);
    /* The withdrawn directory's space goes back, so the other one may grow at once. */
    cr_assert_eq(disk_trim(disk), DISK_ZONE_BYTES);
    cr_assert_neq(get(MIB).dir, first[0].dir);
    end(2);
}

/* --- a really full file system
 * ---------------------------------------------------------------------------- */

Test(disk, real_full_file_system)
{
    struct extent extents[64], extent;
    const char *why_not;
    struct disk_config config;
    struct disk_info now;
    unsigned count = 0;
    const int *fds;
    char *data;

    make_dirs(1);
    why_not = dirs_mount_small(dirs[0], 32);
    if (why_not != NULL) {
        (void)dirs_remove(dirs[0]);
        test_skip("%s", why_not);
    }
    fault_clock_set(1000 * MS);
    config = config_of(1, 1024 * MIB);
    cr_assert_eq(disk_open(&config, &disk), 0, "%s", said[0].text);
    data = aligned_alloc(4096, MIB);
    cr_assert_not_null(data);
    (void)disk_files(disk, &fds);
    while (count < 64 && try_get(MIB, &extents[count]) == 0)
        count++;
    cr_assert_geq(count, 16);
    cr_assert_lt(count, 32);
    cr_assert_not(disk_may_accept(disk, MIB));
    now = info();
    cr_assert_geq(now.enospc_total, 1);
    cr_assert_geq(now.file_bytes, count * MIB);
    cr_assert_eq(now.limit_bytes, now.file_bytes, "lowered to what fits");
    cr_assert_leq(on_disk(0), now.file_bytes + MIB, "nothing beside it is claimed");
    /* What was given can be written to the last byte. */
    memset(data, 7, MIB);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(pwrite(fds[0], data, MIB, (off_t)extents[i].offset), (ssize_t)MIB);
    disk_free(disk, &extents[0]);
    extents[0] = get(MIB);
    /* Space is returned to the file system, and claimed again. */
    for (unsigned i = 0; i < count; i++)
        disk_free(disk, &extents[i]);
    cr_assert_geq(disk_trim(disk), count * MIB);
    cr_assert_lt(on_disk(0), MIB);
    extent = get(MIB);
    cr_assert_eq(pwrite(fds[0], data, MIB, (off_t)extent.offset), (ssize_t)MIB);
    cr_assert_eq(info().limit_bytes, 1024 * MIB);
    disk_close(disk);
    cr_assert(fault_open_fds() == 0 && fault_alloc_live() == 0);
    dirs_unmount(dirs[0]);
    cr_assert(dirs_remove(dirs[0]));
    free(data);
}

/* The same, asked for blindly: free space is not told, so that fallocate itself fails half way. */
Test(disk, real_full_file_system_blind)
{
    struct extent extent;
    const char *why_not;
    struct disk_config config;
    struct os_fs silent = {0xef53, 0, 0};
    uint64_t got = 0;

    make_dirs(1);
    why_not = dirs_mount_small(dirs[0], 32);
    if (why_not != NULL) {
        (void)dirs_remove(dirs[0]);
        test_skip("%s", why_not);
    }
    fault_fs(&silent);
    config = config_of(1, 1024 * MIB);
    cr_assert_eq(disk_open(&config, &disk), 0);
    while (try_get(MIB, &extent) == 0)
        got += extent.len;
    cr_assert_geq(got, 16 * MIB);
    cr_assert_leq(on_disk(0), info().file_bytes + MIB, "what a failed growth got went back");
    disk_close(disk);
    dirs_unmount(dirs[0]);
    cr_assert(dirs_remove(dirs[0]));
}

/* --- mistakes
 * ---------------------------------------------------------------------------------------------- */

Test(disk, double_free_is_told_and_harmless)
{
    struct extent extent, wrong;

    begin(1, 16 * MIB);
    extent = get(MIB);
    wrong = extent;
    wrong.dir = 9;
    disk_free(disk, &wrong);
    disk_free(disk, &extent);
    disk_free(disk, &extent);
    cr_assert_eq(lines(SPILLWAY_LOG_ERROR, "not in use"), 2);
    cr_assert_eq(info().stored_bytes, 0);
    end(1);
}

/* --- threads
 * ------------------------------------------------------------------------------------------------
 */

static _Atomic int gate; /* 0 shut, 1 open; the growth waits in front of it */
static _Atomic int at_gate;

static void wait_at_gate(void *context)
{
    (void)context;
    atomic_fetch_add(&at_gate, 1);
    while (atomic_load(&gate) == 0)
        usleep(200);
}

static void *get_one(void *out)
{
    struct extent *extent = out;

    cr_assert_eq(disk_alloc(disk, MIB, extent), 0);
    return NULL;
}

Test(disk, growth_that_hangs_blocks_nobody_else)
{
    struct extent before[64], late, waiting;
    pthread_t grower, waiter;

    begin(1, 1024 * MIB);
    for (int i = 0; i < 64; i++)
        before[i] = get(MIB);
    fault_hook(FAULT_FALLOCATE, wait_at_gate, NULL);
    cr_assert_eq(pthread_create(&grower, NULL, get_one, &late), 0);
    while (atomic_load(&at_gate) == 0)
        usleep(200);
    /* The device hangs; warm space is there and goes on. */
    disk_free(disk, &before[3]);
    cr_assert_eq(get(MIB).offset, before[3].offset);
    cr_assert(disk_may_accept(disk, MIB));
    (void)info();
    /* A thread that needs the growth waits for it, until something is freed. */
    cr_assert_eq(pthread_create(&waiter, NULL, get_one, &waiting), 0);
    usleep(2000);
    disk_free(disk, &before[5]);
    pthread_join(waiter, NULL);
    cr_assert_eq(waiting.offset, before[5].offset);
    atomic_store(&gate, 1);
    pthread_join(grower, NULL);
    cr_assert_eq(atomic_load(&at_gate), 1, "one growth only");
    cr_assert_geq(late.offset, DISK_ZONE_BYTES);
    fault_clear();
    end(1);
}

Test(disk, waiters_share_one_growth)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct extent extents[THREADS];

    begin(1, DISK_ZONE_BYTES);
    fault_hook(FAULT_FALLOCATE, wait_at_gate, NULL);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, get_one, &extents[i]), 0);
    while (atomic_load(&at_gate) == 0)
        usleep(200);
    usleep(2000);
    atomic_store(&gate, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(atomic_load(&at_gate), 1);
    cr_assert_eq(info().stored_bytes, THREADS * MIB);
    fault_clear();
    end(1);
}

enum { CHURN_THREADS = 4, CHURN_LIVE = 24, CHURN_LIMIT_MIB = 24 };
/* Owner of each 64 KiB place, by directory. */
static _Atomic int owners[2][2 * DISK_ZONE_BYTES / (64 * KIB)];

static void claim(const struct extent *extent, int from, int to)
{
    for (uint64_t at = extent->offset; at < extent->offset + extent->len; at += 64 * KIB) {
        int expected = from;

        cr_assert(
            atomic_compare_exchange_strong(&owners[extent->dir][at / (64 * KIB)], &expected, to),
            "place %llu of directory %u belongs to %d", (unsigned long long)at, extent->dir,
            expected);
    }
}

static void *churn(void *argument)
{
    int me = *(int *)argument;
    uint64_t random = (uint64_t)me * UINT64_C(0x9e3779b97f4a7c15) + 1;
    struct extent live[CHURN_LIVE];
    unsigned count = 0;

    for (int i = 0; i < 4000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (count < CHURN_LIVE && random >> 63 != 0) {
            if (disk_alloc(disk, 64 * KIB << (random >> 40) % 5, &live[count]) == 0)
                claim(&live[count++], 0, me);
        } else if (count > 0) {
            claim(&live[--count], me, 0);
            disk_free(disk, &live[count]);
        }
        if (i % 500 == 250)
            (void)disk_trim(disk);
    }
    while (count-- > 0) {
        claim(&live[count], me, 0);
        disk_free(disk, &live[count]);
    }
    return NULL;
}

Test(disk, threads_never_share_a_place)
{
    pthread_t threads[CHURN_THREADS];
    int numbers[CHURN_THREADS];
    struct disk_info now;

    begin(2, CHURN_LIMIT_MIB * MIB);
    for (int i = 0; i < CHURN_THREADS; i++) {
        numbers[i] = i + 1;
        cr_assert_eq(pthread_create(&threads[i], NULL, churn, &numbers[i]), 0);
    }
    for (int i = 0; i < 200; i++) {
        now = info();
        cr_assert_leq(now.file_bytes, CHURN_LIMIT_MIB * MIB);
        usleep(500);
    }
    for (int i = 0; i < CHURN_THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(info().stored_bytes, 0);
    (void)disk_trim(disk);
    cr_assert_eq(info().file_bytes, 0);
    end(2);
}
