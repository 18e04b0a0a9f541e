/* SPDX-License-Identifier: MIT */
/*
 * soak SECONDS [SETTING=VALUE]...
 * Writer and reader on two threads at full speed, over a pool that spills all the time, while a
 * third looks at the stats, trims and demotes. Every byte is verified. For ThreadSanitizer.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pthread.h>

#include "spillway/spillway.h"

enum {
    VALUES_MAX = 16, /* a call */
    LEN_MAX = 48 << 10,
    BATCH = 64,
    NAP_NS = 100000,
};

/* The reader hangs this far behind in every other stretch of the stream, and chases the writer in
 * the others, so that runs are met in every state. */
#define LAG_BYTES     (UINT64_C(24) << 20)
#define STRETCH_BYTES (UINT64_C(64) << 20)
/* The writer waits when the reader is that far behind: what the tiers must hold. */
#define LEAD_BYTES (UINT64_C(48) << 20)

struct soak {
    spw_pool *pool;
    spw_writer *writer;
    spw_reader *reader;
    _Atomic uint64_t written, drained;
    _Atomic bool stop;       /* the writer should end its stream */
    _Atomic bool ended;      /* it has */
    _Atomic bool failed;     /* somebody said why */
    _Atomic uint64_t values; /* handed over */
};

static void soak_fail(struct soak *soak, const char *what, long err)
{
    fprintf(stderr, "soak: %s: %s\n", what, err < 0 ? spw_error_text((int)err) : "wrong");
    soak->failed = true;
}

static void nap(void)
{
    struct timespec time = {.tv_nsec = NAP_NS};
    nanosleep(&time, NULL);
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* ---- content: each eight bytes of the stream tell their place ---- */

static uint64_t word_at(uint64_t at)
{
    uint64_t word = (at / sizeof(uint64_t) + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return word ^ (word >> 29);
}

static size_t piece_at(uint64_t at, size_t len)
{
    size_t left = sizeof(uint64_t) - at % sizeof(uint64_t);
    return left < len ? left : len;
}

/* Whole words go without a call of memcpy, which is slow where each call is watched. */
static void content_fill(unsigned char *out, uint64_t at, size_t len)
{
    for (size_t n; len > 0; out += n, at += n, len -= n) {
        uint64_t word = word_at(at);
        n = piece_at(at, len);
        if (n == sizeof(word))
            memcpy(out, &word, sizeof(word));
        else
            memcpy(out, (const unsigned char *)&word + at % sizeof(word), n);
    }
}

static bool content_is(const unsigned char *data, uint64_t at, size_t len)
{
    for (size_t n; len > 0; data += n, at += n, len -= n) {
        uint64_t word = word_at(at), found = 0;
        n = piece_at(at, len);
        if (n == sizeof(word))
            memcpy(&found, data, sizeof(found));
        else
            memcpy((unsigned char *)&found + at % sizeof(word), data, n);
        if (n == sizeof(word) ? found != word
                              : memcmp((unsigned char *)&found + at % sizeof(word),
                                       (unsigned char *)&word + at % sizeof(word), n) != 0)
            return false;
    }
    return true;
}

/* ---- the writer ---- */

static uint64_t random_next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void give_back(void *context, const void *data, size_t len)
{
    (void)context;
    (void)len;
    free((void *)(uintptr_t)data);
}

/* Memory of our own, handed over. */
static int make_foreign(uint64_t at, size_t len, spw_bytes *out)
{
    unsigned char *memory = malloc(len);
    if (!memory)
        return -ENOMEM;
    content_fill(memory, at, len);
    int err = spw_bytes_wrap(memory, len, give_back, NULL, NULL, out);
    if (err)
        free(memory);
    return err;
}

static int make_cut(struct soak *soak, spw_slab **slab, uint64_t at, size_t len, spw_bytes *out)
{
    if (!*slab || spw_slab_room(*slab) < len) {
        size_t capacity = spw_pool_run_bytes(soak->pool);
        spw_slab_close(*slab);
        *slab = NULL;
        int err = spw_pool_slab_open(soak->pool, capacity > LEN_MAX ? capacity : LEN_MAX, 0, slab);
        if (err)
            return err;
    }
    content_fill(spw_slab_space(*slab), at, len);
    return spw_slab_cut(*slab, len, out);
}

/* Makes some values and hands them over. Returns their bytes, or -errno. */
static long write_some(struct soak *soak, spw_slab **slab, uint64_t at, uint64_t *random)
{
    spw_bytes values[VALUES_MAX];
    size_t count = 0, most = 1 + random_next(random) % VALUES_MAX;
    bool large = random_next(random) % 2, foreign = random_next(random) % 4 == 0;
    uint64_t end = at;
    int err = 0;
    while (!err && count < most) {
        size_t len = 1 + random_next(random) % (large ? LEN_MAX : 1024);
        err = foreign ? make_foreign(end, len, &values[count])
                      : make_cut(soak, slab, end, len, &values[count]);
        if (!err) {
            end += len;
            count++;
        }
    }
    if (!err)
        err = spw_writer_extend(soak->writer, values, count, 0);
    if (err) {
        for (size_t i = 0; i < count; i++)
            spw_bytes_release(&values[i]);
        return err;
    }
    soak->values += count;
    return (long)(end - at);
}

static void *run_writer(void *context)
{
    struct soak *soak = context;
    spw_slab *slab = NULL;
    uint64_t at = 0, random = 1;
    while (!soak->stop && !soak->failed) {
        long written = write_some(soak, &slab, at, &random);
        if (written < 0) {
            soak_fail(soak, "write", written);
            break;
        }
        at += (uint64_t)written;
        soak->written = at;
        while (at > soak->drained + LEAD_BYTES && !soak->failed)
            nap();
    }
    spw_slab_close(slab);
    spw_writer_close(soak->writer);
    soak->ended = true;
    return NULL;
}

/* ---- the reader ---- */

static void hang_behind(struct soak *soak, uint64_t at)
{
    if (at / STRETCH_BYTES % 2 == 0)
        while (soak->written < at + LAG_BYTES && !soak->ended)
            nap();
}

static void *run_reader(void *context)
{
    struct soak *soak = context;
    spw_bytes out[BATCH];
    uint64_t at = 0, random = 2;
    long got;
    do {
        hang_behind(soak, at);
        size_t capacity = 1 + random_next(&random) % BATCH;
        got = spw_reader_drain_wait(soak->reader, out, capacity, SPILLWAY_FOREVER);
        for (long i = 0; i < got; i++) {
            if (!content_is(out[i].data, at, out[i].len) && !soak->failed)
                soak_fail(soak, "bytes lost, changed or reordered", 0);
            at += out[i].len;
            spw_bytes_release(&out[i]);
        }
        soak->drained = at;
    } while (got > 0 && !soak->failed);
    if (got < 0)
        soak_fail(soak, "read", got);
    spw_reader_close(soak->reader);
    return NULL;
}

/* ---- the pool ---- */

static void soak_log(void *context, enum spw_log_level level, const char *line)
{
    (void)context;
    (void)level;
    fprintf(stderr, "soak: %s\n", line);
}

static int soak_options(char **settings, spw_options **out)
{
    /* A small budget, of which little may stay resident. */
    static const char *const ours[][2] = {
        {"memory", "8M"}, {"threshold", "256K"}, {"head_reserve", "256K"}, {"prefetch", "1M"}};
    int err = spw_options_open(out);
    for (size_t i = 0; !err && i < sizeof(ours) / sizeof(ours[0]); i++)
        err = spw_options_set(*out, ours[i][0], ours[i][1]);
    for (; !err && *settings; settings++) {
        char name[64];
        const char *value = strchr(*settings, '=');
        if (!value || (size_t)(value - *settings) >= sizeof(name))
            return -EINVAL;
        snprintf(name, sizeof(name), "%.*s", (int)(value - *settings), *settings);
        err = spw_options_set(*out, name, value + 1);
        if (err)
            fprintf(stderr, "soak: %s\n", spw_options_message(*out));
    }
    return err;
}

static int soak_open(struct soak *soak, const spw_options *settings)
{
    spw_pool_config config = {.size = sizeof(config), .options = settings, .log = soak_log};
    spw_queue_options options = {.size = sizeof(options)};
    spw_strategy *strategy;
    int err = spw_pool_open(&config, &soak->pool);
    if (!err)
        err = spw_pool_strategy(soak->pool, &strategy);
    if (!err)
        err = spw_policies_open(strategy, settings, &options.writer_policy, &options.reader_policy);
    if (err)
        return err;
    options.account = spw_pool_account(soak->pool);
    return spw_queue_open(&options, &soak->writer, &soak->reader);
}

/* The third thread: what looks at a pool and tidies it up may come at any time. */
static spw_stats watch(struct soak *soak, uint64_t until_ns)
{
    spw_stats stats = {.size = sizeof(stats)};
    for (unsigned round = 1; now_ns() < until_ns && !soak->failed; round++) {
        nap();
        spw_pool_stats(soak->pool, &stats);
        if (round % 64 == 0)
            spw_pool_trim(soak->pool);
        if (round % 16 == 0)
            spw_pool_demote(soak->pool, UINT64_C(4) << 20, NULL); /* needs both tiers */
    }
    return stats;
}

/* What must be so at the end. `before` is from while the stream still ran. */
static void soak_judge(struct soak *soak, const spw_stats *before)
{
    spw_stats stats = {.size = sizeof(stats)};
    spw_pool_stats(soak->pool, &stats);
    if (soak->drained != soak->written)
        soak_fail(soak, "the stream ended early", 0);
    if (stats.lost_runs_total || stats.checksum_errors_total || stats.read_errors_total)
        soak_fail(soak, "runs that did not come back", 0);
    if (stats.runs || stats.resident_foreign_bytes || stats.disk_stored_bytes)
        soak_fail(soak, "something is left", 0);
    if (before->spilled_bytes_total < soak->written / 4)
        soak_fail(soak, "too little was spilled", 0);
    printf("%llu MiB in %llu values; spilled %llu MiB (%llu memory, %llu disk, %llu demoted) in "
           "%llu runs, %llu elided; engine %s\n",
           (unsigned long long)(soak->drained >> 20), (unsigned long long)soak->values,
           (unsigned long long)(stats.spilled_bytes_total >> 20),
           (unsigned long long)(stats.spilled_memory_bytes_total >> 20),
           (unsigned long long)(stats.spilled_disk_bytes_total >> 20),
           (unsigned long long)(stats.demoted_bytes_total >> 20),
           (unsigned long long)stats.spilled_runs_total,
           (unsigned long long)stats.elided_runs_total, stats.engine);
}

int main(int argc, char **argv)
{
    struct soak soak = {0};
    spw_options *settings;
    pthread_t writer, reader;
    unsigned long seconds = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (seconds == 0) {
        fprintf(stderr, "usage: soak SECONDS [SETTING=VALUE]...\n");
        return 2;
    }
    int err = soak_options(argv + 2, &settings);
    if (!err)
        err = soak_open(&soak, settings);
    if (err) {
        soak_fail(&soak, "open", err);
        return 1;
    }
    if (pthread_create(&reader, NULL, run_reader, &soak) ||
        pthread_create(&writer, NULL, run_writer, &soak)) {
        perror("soak: thread");
        return 1;
    }
    spw_stats before = watch(&soak, now_ns() + seconds * 1000000000);
    soak.stop = true;
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    soak_judge(&soak, &before);
    err = spw_pool_close_idle(soak.pool);
    if (err)
        soak_fail(&soak, "close", err);
    spw_options_close(settings);
    return soak.failed;
}
