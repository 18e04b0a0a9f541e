/* SPDX-License-Identifier: MIT */
/* Coded runs where several threads want different things at once: who waits must be woken. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "coder_tools.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#define CHUNK (256 * KIB)

static const struct setting disk_threads[] = {
    {"memory", "32MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};
static const struct setting disk_ring[] = {
    {"memory", "32MiB"}, {"tiers", "disk"}, {"engine", "io_uring"}, {NULL, NULL}};
static const struct setting both_tiers[] = {
    {"memory", "32MiB"}, {"memory_tier", "64MiB"}, {"engine", "threads"}, {NULL, NULL}};

/* ---- who waits while the account is corked ---- */

static bool all_sleep(void *context)
{
    struct workers *workers = context;
    pthread_mutex_lock(&workers->lock);
    bool sleep = workers->sleepers == workers->count && workers->outstanding == 0;
    pthread_mutex_unlock(&workers->lock);
    return sleep;
}

/* As a policy does that waits for its bytes within apply: with the account corked. */
static void fetch_corked(struct scene *scene, spw_handle *handle, uint64_t at)
{
    struct spw_pool *pool = scene->hand.bed.pool;
    cr_assert(wait_until(all_sleep, &pool->coding.workers));
    spw_chunks chunks;
    pool->account.cork(&pool->account);
    cr_assert_eq(fetch(handle, 0, &chunks), 0);
    pool->account.uncork(&pool->account);
    cr_assert(chunks_are(&chunks, at, 1, CHUNK));
}

static void waits_corked(const struct setting *settings)
{
    struct scene scene;
    scene_open(&scene, settings, 1);
    for (unsigned i = 0; i < 4; i++) {
        hand_spill(&scene.hand, stream_chunks(i, 1, CHUNK));
        wait_state(scene.hand.handles[i], RUN_STORED);
        bed_quiet(&scene.hand.bed);
        /* Every other one is decoded a second time, for which it is read again. */
        atomic_store(&scene.vault->fail[VAULT_DECODE], -EBADMSG);
        atomic_store(&scene.vault->fail_times[VAULT_DECODE], i % 2);
        fetch_corked(&scene, scene.hand.handles[i], i);
    }
    scene_close(&scene);
}

Test(coder_races, who_waits_within_a_policy_gets_what_is_to_be_decoded)
{
    waits_corked(disk_threads);
}

Test(coder_races, who_waits_within_a_policy_gets_what_is_to_be_decoded_from_the_ring)
{
    waits_corked(disk_ring);
}

/* ---- a coder that comes late ---- */

static void *keep_extending(void *context)
{
    spw_writer *writer = context;
    for (unsigned i = 0; i < 400; i++) {
        spw_bytes bytes = stream_piece(i * CHUNK, CHUNK);
        cr_assert_eq(spw_writer_extend(writer, &bytes, 1, 0), 0);
    }
    return NULL;
}

Test(coder_races, a_coder_is_attached_while_a_queue_is_in_use)
{
    static const struct setting settings[] = {
        {"memory", "8MiB"}, {"tiers", "disk"}, {"engine", "threads"}, {NULL, NULL}};
    struct bed bed;
    fault_processors(5);
    bed_open(&bed, settings, 1);
    struct ends ends = ends_open(&bed);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, keep_extending, ends.writer), 0);
    wait_stat(&bed, spilled_runs_total, >=, 2);
    struct vault *vault = vault_attach(bed.pool);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    wait_stat(&bed, in_flight_bytes, ==, 0);
    ends_close(&ends);
    bed_close(&bed);
    vault_free(vault);
}

/* ---- all at once ---- */

enum { JUGGLERS = 3, BALLS = 6, THROWS = 400 };

struct juggler {
    struct scene *scene;
    pthread_t thread;
    unsigned seed;
};

struct ball {
    spw_handle *handle;
    uint64_t at;
    size_t count, len;
};

static unsigned pick(struct juggler *juggler, unsigned below)
{
    juggler->seed = juggler->seed * 1103515245 + 12345;
    return (juggler->seed >> 16) % below;
}

static void throw_ball(struct juggler *juggler, struct ball *ball)
{
    spw_pool *pool = juggler->scene->hand.bed.pool;
    ball->at = pick(juggler, 1000);
    ball->count = pick(juggler, 3) == 0 ? 1 + pick(juggler, 300) : 1;
    ball->len = ball->count > 1 ? 700 : 16 * KIB + pick(juggler, 200 * 1024);
    spw_chunks chunks = ball->count == 1 && pick(juggler, 2)
                            ? slab_chunk(pool, ball->at, ball->len, pick(juggler, 3) * 100)
                            : stream_chunks(ball->at, ball->count, ball->len);
    cr_assert_eq(spill_all(juggler->scene->hand.strategy, &chunks, &ball->handle, 1), 1);
}

/* Returns whether the ball is gone. */
static bool catch_ball(struct juggler *juggler, struct ball *ball)
{
    spw_handle *handle = ball->handle;
    spw_chunks chunks;
    unsigned what = pick(juggler, 8);
    if (what == 0) {
        handle->ops->drop(handle);
        return true;
    }
    if (what <= 2) {
        int err = handle->ops->prefetch(handle, what == 1 ? SPILLWAY_FETCH_HEAD : 0);
        cr_assert(err == 0 || err == -EAGAIN, "%d", err);
        return false;
    }
    if (what == 3) {
        (void)spw_pool_demote(juggler->scene->hand.bed.pool, MIB, NULL);
        return false;
    }
    int err = fetch(handle, what <= 5 ? SPILLWAY_FETCH_NOWAIT : 0, &chunks);
    cr_assert(err == 0 || (err == -EAGAIN && what <= 5), "%d", err);
    if (!err)
        cr_assert(chunks_are(&chunks, ball->at, ball->count, ball->len));
    return err == 0;
}

static void *juggle(void *context)
{
    struct juggler *juggler = context;
    struct ball balls[BALLS] = {{.handle = NULL}};
    for (unsigned i = 0; i < THROWS; i++) {
        struct ball *ball = &balls[pick(juggler, BALLS)];
        if (!ball->handle)
            throw_ball(juggler, ball);
        else if (catch_ball(juggler, ball))
            ball->handle = NULL;
    }
    for (unsigned i = 0; i < BALLS; i++)
        if (balls[i].handle)
            balls[i].handle->ops->drop(balls[i].handle);
    return NULL;
}

static void juggling(const struct setting *settings, unsigned dirs)
{
    struct scene scene;
    struct juggler jugglers[JUGGLERS];
    fault_processors(4);
    scene_open(&scene, settings, dirs);
    atomic_store(&scene.vault->shrink_percent, 0);
    for (unsigned i = 0; i < JUGGLERS; i++) {
        jugglers[i] = (struct juggler){.scene = &scene, .seed = i + 1};
        cr_assert_eq(pthread_create(&jugglers[i].thread, NULL, juggle, &jugglers[i]), 0);
    }
    for (unsigned i = 0; i < JUGGLERS; i++)
        cr_assert_eq(pthread_join(jugglers[i].thread, NULL), 0);
    cr_assert_gt(bed_quiet(&scene.hand.bed).encoded_runs_total, 0);
    scene_close(&scene);
}

Test(coder_races, runs_met_in_any_state_on_disk)
{
    juggling(disk_threads, 1);
}

Test(coder_races, runs_met_in_any_state_through_the_ring)
{
    juggling(disk_ring, 1);
}

Test(coder_races, runs_met_in_any_state_in_both_tiers)
{
    juggling(both_tiers, 2);
}

Test(coder_races, runs_met_in_any_state_with_all_checksums)
{
    static const struct setting settings[] = {
        {"memory", "32MiB"}, {"memory_tier", "8MiB"}, {"checksum", "all"}, {NULL, NULL}};
    juggling(settings, 1);
}

Test(coder_races, runs_met_in_any_state_without_checksums_and_sealed)
{
    static const struct setting settings[] = {{"memory", "32MiB"},
                                              {"memory_tier", "8MiB"},
                                              {"checksum", "off"},
                                              {"seal", "strict"},
                                              {NULL, NULL}};
    juggling(settings, 1);
}

/* ---- a device that hangs ---- */

/* What lies in memory does not wait for a device that it was on its way to. */
Test(coder_races, a_frame_on_its_way_to_a_device_that_hangs_is_read_from_memory)
{
    struct scene scene;
    scene_open(&scene, both_tiers, 1);
    for (unsigned i = 0; i < 2; i++) {
        hand_spill(&scene.hand, stream_chunks(i, 1, CHUNK));
        wait_state(scene.hand.handles[i], RUN_STORED);
    }
    bed_quiet(&scene.hand.bed);
    gate_shut(FAULT_PWRITE);
    uint64_t started;
    cr_assert_eq(spw_pool_demote(scene.hand.bed.pool, UINT64_MAX, &started), 0);
    gate_wait(2);
    spw_chunks chunks;
    cr_assert_eq(fetch(scene.hand.handles[0], 0, &chunks), 0);
    cr_assert(chunks_are(&chunks, 0, 1, CHUNK));
    cr_assert_eq(scene.hand.handles[1]->ops->prefetch(scene.hand.handles[1], SPILLWAY_FETCH_HEAD),
                 0);
    wait_state(scene.hand.handles[1], RUN_LOADED);
    gate_open();
    cr_assert_eq(fetch(scene.hand.handles[1], SPILLWAY_FETCH_NOWAIT, &chunks), 0);
    cr_assert(chunks_are(&chunks, 1, 1, CHUNK));
    scene_close(&scene);
}
