/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "pool_tools.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/block.h"
#include "../lib/view.h"
#include "../pool/engine_impl.h"
#include "harness.h"
#include "queue_tools.h"

/* ---- the log ---- */

enum { LOG_BYTES = 65536, PATIENCE_MS = 30000 };

static struct {
    pthread_mutex_t lock;
    char lines[LOG_BYTES]; /* each ends with a newline */
    size_t len;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void log_remember(void *context, enum spw_log_level level, const char *line)
{
    (void)context;
    (void)level;
    pthread_mutex_lock(&told.lock);
    size_t len = strlen(line);
    if (told.len + len + 2 < LOG_BYTES) {
        memcpy(told.lines + told.len, line, len);
        told.len += len;
        told.lines[told.len++] = '\n';
        told.lines[told.len] = '\0';
    }
    pthread_mutex_unlock(&told.lock);
    if (getenv("SPILLWAY_TEST_LOG"))
        fprintf(stderr, "log: %s\n", line);
}

unsigned log_lines_with(const char *text)
{
    unsigned count = 0;
    pthread_mutex_lock(&told.lock);
    for (const char *line = told.lines; *line;) {
        const char *end = strchr(line, '\n'), *found = strstr(line, text);
        count += found && found < end;
        line = end + 1;
    }
    pthread_mutex_unlock(&told.lock);
    return count;
}

void log_forget(void)
{
    pthread_mutex_lock(&told.lock);
    told.len = 0;
    told.lines[0] = '\0';
    pthread_mutex_unlock(&told.lock);
}

/* ---- pools ---- */

/* ThreadSanitizer has a thread of its own, which it starts with the first of ours. */
#if defined(__SANITIZE_THREAD__)
enum { THREADS_APART = 1 };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { THREADS_APART = 1 };
#else
enum { THREADS_APART = 0 };
#endif
#else
enum { THREADS_APART = 0 };
#endif

static unsigned threads_before; /* of this process, when the first pool was opened; 0: not known */

static unsigned count_threads(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static void bed_set(struct bed *bed, const char *name, const char *value)
{
    int err = spw_options_set(bed->options, name, value);
    cr_assert_eq(err, 0, "%s", spw_options_message(bed->options));
}

int bed_try_in(struct bed *bed, const char *root, const struct setting *settings, unsigned dirs)
{
    char text[2 * DIRS_PATH + 1] = "";
    memset(bed, 0, sizeof(*bed));
    if (threads_before == 0)
        threads_before = count_threads() + THREADS_APART;
    cr_assert_eq(spw_options_open(&bed->options), 0);
    for (; bed->dir_count < dirs; bed->dir_count++) {
        if (!dirs_make(bed->dirs[bed->dir_count]))
            test_skip("no directory on a disk for scratch files");
        if (bed->dir_count > 0)
            strcat(text, ":");
        strcat(text, bed->dirs[bed->dir_count]);
    }
    if (dirs > 0)
        bed_set(bed, "dirs", text);
    bed_set(bed, "disk_limit", "512MiB");
    bed_set(bed, "policies",
            "threshold,prefetch"); /* what this machine suffers from is no matter */
    for (; settings && settings->name; settings++)
        bed_set(bed, settings->name, settings->value);
    spw_pool_config config = {.size = sizeof(config),
                              .options = bed->options,
                              .log = log_remember,
                              .allocator = &fault_allocator};
    return pool_open_with(&fault_os, root, &config, &bed->pool);
}

int bed_try(struct bed *bed, const struct setting *settings, unsigned dirs)
{
    return bed_try_in(bed, "", settings, dirs);
}

void bed_open(struct bed *bed, const struct setting *settings, unsigned dirs)
{
    int err = bed_try(bed, settings, dirs);
    cr_assert_eq(err, 0, "%s", strerror(-err));
    for (; settings && settings->name; settings++) {
        if (strcmp(settings->value, "io_uring") == 0 &&
            strcmp(bed_stats(bed).engine, "io_uring") != 0) {
            bed_close(bed);
            test_skip("no io_uring here");
        }
    }
}

void bed_remove(struct bed *bed)
{
    spw_options_close(bed->options);
    while (bed->dir_count > 0) {
        bool empty = dirs_remove(bed->dirs[--bed->dir_count]);
        cr_assert(empty, "something was left in a scratch directory");
    }
}

void bed_close(struct bed *bed)
{
    cr_assert_eq(spw_pool_close_idle(bed->pool), 0, "something still holds the pool");
    bed->pool = NULL;
    nothing_left();
    bed_remove(bed);
}

static bool is_gone(void *context)
{
    (void)context;
    return count_threads() <= threads_before && fault_open_fds() == 0 &&
           fault_mapped_bytes() == 0 && fault_alloc_live() == 0;
}

void nothing_left(void)
{
    wait_until(is_gone, NULL);
    cr_assert_eq(fault_open_fds(), 0, "%lld descriptors are left", (long long)fault_open_fds());
    cr_assert_eq(fault_mapped_bytes(), 0, "%lld bytes of maps are left",
                 (long long)fault_mapped_bytes());
    cr_assert_eq(fault_alloc_live(), 0, "%lld blocks are left", (long long)fault_alloc_live());
    cr_assert_leq(count_threads(), threads_before, "a thread is left");
}

spw_stats bed_stats(const struct bed *bed)
{
    spw_stats stats = {.size = sizeof(stats)};
    int err = spw_pool_stats(bed->pool, &stats);
    cr_assert_eq(err, 0);
    return stats;
}

void budget_adds_up(const spw_stats *stats)
{
    cr_assert_eq(stats->used_bytes,
                 stats->resident_foreign_bytes + stats->entry_block_bytes + stats->buffer_bytes);
    uint64_t uses = stats->slab_bytes + stats->staging_bytes + stats->reading_bytes +
                    stats->loaded_bytes + stats->lent_bytes + stats->warm_bytes +
                    stats->reserve_bytes;
    cr_assert_eq(stats->buffer_bytes, uses, "%llu bytes of buffers, %llu in use",
                 (unsigned long long)stats->buffer_bytes, (unsigned long long)uses);
    cr_assert_geq(stats->used_peak_bytes, stats->used_bytes);
}

void identity_holds(const spw_stats *stats)
{
    budget_adds_up(stats);
    cr_assert_eq(stats->spilled_bytes_total,
                 stats->spilled_memory_bytes_total + stats->spilled_disk_bytes_total);
    cr_assert_eq(stats->fetched_bytes_total,
                 stats->fetched_memory_bytes_total + stats->fetched_disk_bytes_total);
    cr_assert_leq(stats->fetched_bytes_total, stats->spilled_bytes_total);
    cr_assert_leq(stats->direct_bytes_total, stats->spilled_disk_bytes_total);
    cr_assert_leq(stats->on_time_runs_total, stats->fetched_runs_total);
    cr_assert_leq(stats->fetched_runs_total, stats->on_time_runs_total + stats->late_runs_total);
    /* A gauge that went below zero would be huge. */
    cr_assert_lt(stats->in_flight_bytes, UINT64_C(1) << 40);
    cr_assert_lt(stats->held_bytes, UINT64_C(1) << 40);
    cr_assert_lt(stats->runs, UINT64_C(1) << 40);
    cr_assert_leq(stats->memory_tier_bytes, stats->memory_tier_capacity_bytes);
}

/* Threads that have told of their last job may still be tidying up after it. */
static bool engine_is_idle(struct engine *engine)
{
    if (!engine)
        return true;
    pthread_mutex_lock(&engine->lock);
    bool idle = engine->outstanding == 0;
    pthread_mutex_unlock(&engine->lock);
    return idle;
}

static bool workers_are_idle(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    bool idle = workers->outstanding == 0;
    pthread_mutex_unlock(&workers->lock);
    return idle;
}

static bool is_quiet(void *context)
{
    const struct bed *bed = context;
    if (!governor_is_quiet(&bed->pool->governor) || !engine_is_idle(bed->pool->engine) ||
        !workers_are_idle(&bed->pool->coding.workers))
        return false;
    spw_stats stats = bed_stats(bed);
    return stats.in_flight_bytes == 0 && stats.reading_bytes == 0 && stats.staging_bytes == 0 &&
           stats.oldest_request_ns == 0;
}

spw_stats bed_quiet(const struct bed *bed)
{
    struct bed copy = *bed;
    cr_assert(wait_until(is_quiet, &copy), "I/O does not end");
    spw_stats stats = bed_stats(bed);
    identity_holds(&stats);
    return stats;
}

void nap(void)
{
    poll(NULL, 0, 1);
}

bool wait_until(bool (*done)(void *context), void *context)
{
    for (unsigned i = 0; i < PATIENCE_MS; i++) {
        if (done(context))
            return true;
        nap();
    }
    return false;
}

/* ---- queues ---- */

struct ends ends_open(const struct bed *bed)
{
    struct ends ends;
    spw_strategy *strategy;
    spw_queue_options options = {.size = sizeof(options),
                                 .account = spw_pool_account(bed->pool),
                                 .allocator = &fault_allocator};
    cr_assert_eq(spw_pool_strategy(bed->pool, &strategy), 0);
    cr_assert_eq(
        spw_policies_open(strategy, bed->options, &options.writer_policy, &options.reader_policy),
        0);
    cr_assert_eq(spw_queue_open(&options, &ends.writer, &ends.reader), 0);
    return ends;
}

void ends_close(struct ends *ends)
{
    spw_writer_close(ends->writer);
    spw_reader_close(ends->reader);
    ends->writer = NULL;
    ends->reader = NULL;
}

static spw_bytes dummy_bytes(void)
{
    return stream_piece(0, 1);
}

/* Moves all chunks to a view of our own, with one more entry behind them: a view never spills its
 * last one. */
static void view_fill(struct spw_view *view, spw_chunks *chunks)
{
    spw_bytes bytes, last = dummy_bytes();
    struct spw_block *spare = NULL;
    for (bool more = true; more;) {
        more = spw_chunks_pop(chunks, &bytes) == 1;
        if (!spare)
            spare = block_open(&fault_allocator, NULL, BLOCK_ENTRIES, false);
        cr_assert_not_null(spare);
        cr_assert_eq(view_push(view, more ? &bytes : &last, &spare), 0);
    }
    if (spare)
        block_close(spare);
}

/* Takes the first handle out of a view; what stands in for it goes away with the view. */
static spw_handle *view_take_handle(struct spw_view *view)
{
    spw_cursor cursor = spw_view_head(view);
    spw_chunks stand_in = SPILLWAY_CHUNKS_NONE;
    spw_bytes bytes = dummy_bytes();
    spw_handle *handle;
    while (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES)
        spw_cursor_skip(&cursor);
    if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_NONE) {
        spw_bytes_release(&bytes);
        return NULL;
    }
    cr_assert_eq(spw_chunks_push(&stand_in, &bytes, &fault_allocator), 0);
    cr_assert_eq(spw_view_unpage(view, &cursor, &stand_in, &handle), 0);
    return handle;
}

size_t spill_all(spw_strategy *strategy, spw_chunks *chunks, spw_handle **out, size_t most)
{
    struct spw_view view;
    long spilled = 1;
    view_init(&view, &fault_allocator, NULL);
    view_fill(&view, chunks);
    for (unsigned i = 0; spw_view_resident_bytes(&view) > 1 && i < PATIENCE_MS; i++) {
        spw_cursor cursor = spw_view_head(&view);
        if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_HANDLE)
            spw_cursor_skip(&cursor);
        spilled = spw_view_spill(&view, &cursor, UINT64_MAX, strategy);
        if (spilled <= 0)
            nap(); /* the window is full */
    }
    cr_assert_eq(spw_view_resident_bytes(&view), 1, "a spill stopped with %ld", spilled);
    size_t count = 0;
    spw_handle *handle;
    while ((handle = view_take_handle(&view))) {
        cr_assert_lt(count, most);
        out[count++] = handle;
    }
    view_fini(&view);
    return count;
}

spw_chunks stream_chunks(uint64_t at, size_t count, size_t len)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    for (size_t i = 0; i < count; i++) {
        spw_bytes bytes = stream_piece(at + i * len, len);
        cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
    }
    return chunks;
}

spw_chunks slab_chunk(spw_pool *pool, uint64_t at, size_t len, size_t skip)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    spw_slab *slab;
    spw_bytes bytes;
    cr_assert_eq(spw_pool_slab_open(pool, skip + len, 0, &slab), 0);
    cr_assert_eq(spw_slab_cut(slab, skip, &bytes), 0);
    spw_bytes_release(&bytes);
    stream_fill(spw_slab_space(slab), at, len);
    cr_assert_eq(spw_slab_cut(slab, len, &bytes), 0);
    cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
    spw_slab_close(slab);
    return chunks;
}

bool chunks_are(spw_chunks *chunks, uint64_t at, size_t count, size_t len)
{
    bool right = chunks->count == count && chunks->bytes == (uint64_t)count * len;
    spw_chunks_iter iter = spw_chunks_begin(chunks);
    const spw_bytes *bytes;
    for (size_t i = 0; right && (bytes = spw_chunks_next(&iter)); i++)
        right = bytes->len == len && stream_is(bytes, at + i * len);
    spw_chunks_clear(chunks);
    return right;
}

/* ---- runs by hand ---- */

void hand_open(struct hand *hand, const struct setting *settings, unsigned dirs)
{
    *hand = (struct hand){0};
    bed_open(&hand->bed, settings, dirs);
    cr_assert_eq(spw_pool_strategy(hand->bed.pool, &hand->strategy), 0);
}

void hand_close(struct hand *hand)
{
    spw_stats stats = bed_quiet(&hand->bed);
    cr_assert_eq(stats.memory_tier_stored_bytes + stats.memory_tier_slab_bytes, 0);
    cr_assert_eq(stats.disk_stored_bytes + stats.runs, 0);
    hand->strategy->ops->close(hand->strategy);
    bed_close(&hand->bed);
}

size_t hand_spill(struct hand *hand, spw_chunks chunks)
{
    size_t more =
        spill_all(hand->strategy, &chunks, hand->handles + hand->count, HANDLES_MAX - hand->count);
    hand->count += more;
    return more;
}

struct run *hand_spill_run(struct hand *hand, spw_chunks chunks)
{
    cr_assert_eq(hand_spill(hand, chunks), 1);
    return (struct run *)hand->handles[hand->count - 1];
}

struct run *hand_spill_bytes(struct hand *hand, spw_bytes bytes)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
    return hand_spill_run(hand, chunks);
}

enum run_state state_of(spw_handle *handle)
{
    struct run *run = (struct run *)handle;
    pthread_mutex_lock(&run->pool->lock);
    enum run_state state = (enum run_state)run->state;
    pthread_mutex_unlock(&run->pool->lock);
    return state;
}

struct wanted_state {
    spw_handle *handle;
    enum run_state state;
};

static bool is_in_state(void *context)
{
    struct wanted_state *wanted = context;
    return state_of(wanted->handle) == wanted->state;
}

void wait_state(spw_handle *handle, enum run_state state)
{
    struct wanted_state wanted = {handle, state};
    cr_assert(wait_until(is_in_state, &wanted), "state %d instead of %d", (int)state_of(handle),
              (int)state);
}

int fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    *out = (spw_chunks)SPILLWAY_CHUNKS_NONE;
    return handle->ops->fetch(handle, flags, out);
}

/* ---- a gate ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum fault kind;
    bool shut;
    unsigned waiting;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void gate_pass(void *context)
{
    (void)context;
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    while (gate.shut)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.waiting--;
    pthread_mutex_unlock(&gate.lock);
}

void gate_shut(enum fault kind)
{
    pthread_mutex_lock(&gate.lock);
    gate.kind = kind;
    gate.shut = true;
    pthread_mutex_unlock(&gate.lock);
    fault_hook(kind, gate_pass, NULL);
}

void gate_open(void)
{
    fault_hook(gate.kind, NULL, NULL);
    pthread_mutex_lock(&gate.lock);
    gate.shut = false;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

unsigned gate_waiting(void)
{
    pthread_mutex_lock(&gate.lock);
    unsigned waiting = gate.waiting;
    pthread_mutex_unlock(&gate.lock);
    return waiting;
}

static bool gate_has(void *count)
{
    return gate_waiting() >= *(unsigned *)count;
}

void gate_wait(unsigned count)
{
    cr_assert(wait_until(gate_has, &count), "nothing came to the gate");
}
