/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../../pool/pool.h"
#include "load.h"

/* Keeps the first lines, for the report. Any thread: a lock, as lines are rare. */
static void keep(void *context, enum spw_log_level level, const char *line)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct measure *measure = context;
    (void)level;
    pthread_mutex_lock(&lock);
    size_t used = strlen(measure->said), room = sizeof(measure->said) - used;
    if (strlen(line) + 1 < room)
        snprintf(measure->said + used, room, "%s\n", line);
    pthread_mutex_unlock(&lock);
}

static int set(spw_options *options, const char *name, const char *value, struct measure *measure)
{
    int err = value ? spw_options_set(options, name, value) : 0;
    if (err)
        measure_fail(measure, err, "%s", spw_options_message(options));
    return err;
}

static int fill(spw_options *options, uint64_t memory_bytes, const char *dir,
                const char *const *settings, struct measure *measure)
{
    char memory[32];
    int err = 0;
    spw_options_load(options); /* what it refuses was told at the start of the program */
    snprintf(memory, sizeof(memory), "%" PRIu64, memory_bytes);
    if (memory_bytes)
        err = set(options, "memory", memory, measure);
    if (!err)
        err = set(options, "dirs", dir, measure);
    for (size_t i = 0; !err && settings && settings[i]; i += 2)
        err = set(options, settings[i], settings[i + 1], measure);
    return err;
}

/* The library goes on without a directory that does not work; one that was named was meant. */
static int check_dir(spw_pool *pool, const spw_options *options, const char *dir,
                     struct measure *measure)
{
    spw_stats stats = {.size = sizeof(stats)};
    if (!dir || !strstr(spw_options_value(options, "tiers", NULL), "disk"))
        return 0;
    if (spw_pool_stats(pool, &stats) == 0 && stats.disk_limit_bytes > 0 &&
        !strstr(stats.fallbacks, "scratch") && !strstr(stats.fallbacks, "tmpfs"))
        return 0;
    measure_fail(measure, -ENODEV, "cannot spill to '%s': %.*s", dir,
                 (int)strcspn(measure->said, "\n"), measure->said);
    return -ENODEV;
}

spw_pool *load_pool(struct measure *measure, uint64_t memory_bytes, const char *dir,
                    spw_options **options, const char *const *settings)
{
    return load_pool_on(&os_linux, measure, memory_bytes, dir, options, settings);
}

spw_pool *load_pool_on(const struct os *os, struct measure *measure, uint64_t memory_bytes,
                       const char *dir, spw_options **options, const char *const *settings)
{
    spw_pool *pool = NULL;
    *options = NULL;
    int err = spw_options_open(options);
    if (err) {
        measure_fail(measure, err, "%s", spw_error_text(err));
        return NULL;
    }
    err = fill(*options, memory_bytes, dir, settings, measure);
    spw_pool_config config = {
        .size = sizeof(config),
        .name = "bench",
        .options = *options,
        .log = keep,
        .log_context = measure,
    };
    if (!err) {
        err = pool_open_with(os, "", &config, &pool);
        if (err)
            measure_fail(measure, err, "cannot open a pool: %s",
                         *measure->said ? measure->said : spw_error_text(err));
    }
    if (!err) {
        err = check_dir(pool, *options, dir, measure);
        if (err)
            spw_pool_close(pool);
    }
    if (err) {
        spw_options_close(*options);
        *options = NULL;
    }
    return err ? NULL : pool;
}
