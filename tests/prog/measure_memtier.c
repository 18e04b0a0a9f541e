/* SPDX-License-Identifier: MIT */
/*
 * measure_memtier [off|transparent|on] [mlock]
 * The memory tier against memcpy(3) into memory that is mapped in the same way: putting by a copy,
 * releasing, reading; adopted runs out and back; fetches by the number of chunks. Warm, one
 * against the other in turn, medians with the lowest and the highest. Not a test: it judges
 * nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../../lib/alloc.h"
#include "../../lib/view.h"
#include "../../pool/run.h"
#include "../../pool/segment.h"

#define MIB UINT64_C(1048576)

enum {
    ROUNDS = 11,
    PIECES_MAX = 256,
    SLABS = 32,
    RUNS = 16,
};
#define SET_BYTES (64 * MIB) /* more than any cache has */

static const char *huge_name = "off";
static bool locked;
static volatile uint64_t sink;

static uint64_t now_ns(void)
{
    return os_linux.clock_ns();
}

static void fail(const char *what, int err)
{
    fprintf(stderr, "measure_memtier: %s: %s\n", what, strerror(-err));
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct series {
    double values[ROUNDS];
    unsigned count;
};

static void add(struct series *series, double value)
{
    series->values[series->count++] = value;
}

static double median(struct series *series)
{
    qsort(series->values, series->count, sizeof(double), compare);
    return series->values[series->count / 2];
}

static void print(const char *what, struct series *series, const char *unit)
{
    double middle = median(series);
    printf("  %-44s %9.2f %s  (%.2f to %.2f)\n", what, middle, unit, series->values[0],
           series->values[series->count - 1]);
}

static uint64_t read_all(const unsigned char *data, size_t len)
{
    uint64_t sum[4] = {0}, word[4];
    for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
        memcpy(word, data + i, sizeof(word));
        for (unsigned k = 0; k < 4; k++)
            sum[k] += word[k];
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/* ---- putting ---- */

static enum huge_mode huge_mode(void)
{
    if (strcmp(huge_name, "on") == 0)
        return HUGE_ON;
    return strcmp(huge_name, "transparent") == 0 ? HUGE_TRANSPARENT : HUGE_OFF;
}

static void log_print(void *context, enum spw_log_level level, const char *line)
{
    (void)context;
    (void)level;
    printf("  log: %s\n", line);
}

struct putting {
    struct memtier *tier;
    unsigned char *source;
    struct segment plain[SET_BYTES / (2 * MIB)]; /* made as the tier makes its own */
    struct memslot slots[PIECES_MAX];
    struct series put, copied, ratio, release, read, read_again;
};

static void putting_open(struct putting *putting, struct log *log)
{
    struct memtier_config config = {.os = &os_linux,
                                    .allocator = allocator_or_default(NULL),
                                    .log = log,
                                    .capacity_bytes = SET_BYTES,
                                    .nodes = "local",
                                    .seal = SEAL_RECYCLE,
                                    .mlock = locked,
                                    .huge_pages = huge_mode()};
    struct segment_plan plan = {.os = &os_linux,
                                .page_bytes = 4096,
                                .huge_page_bytes = 2 * MIB,
                                .huge = huge_mode(),
                                .mlock = locked};
    enum segment_step step;
    int err = memtier_open(&config, &putting->tier);
    if (err)
        fail("memtier_open", err);
    for (unsigned i = 0; i < SET_BYTES / (2 * MIB); i++) {
        err = segment_open_recycle(&plan, 2 * MIB, &putting->plain[i], &step);
        if (err)
            fail(segment_step_name(step), err);
    }
    putting->source = mmap(NULL, SET_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    memset(putting->source, 7, SET_BYTES);
}

static void put_one(struct putting *putting, unsigned i, size_t len)
{
    struct memtier_source source = {.len = len, .whole = putting->source + i * len};
    int err = memtier_put(putting->tier, &source, &putting->slots[i]);
    if (err)
        fail("memtier_put", err);
}

static void copy_one(struct putting *putting, unsigned i, size_t len)
{
    uint64_t at = i * len;
    /* Of another half of the source than the put beside it, which would find it in the cache. */
    memcpy(putting->plain[at / (2 * MIB)].write + at % (2 * MIB),
           putting->source + (at + SET_BYTES / 2) % SET_BYTES, len);
}

static void release_all(struct putting *putting, size_t len)
{
    for (unsigned i = 0; i < SET_BYTES / len; i++)
        memtier_release(putting->tier, &putting->slots[i]);
}

/* Time on this thread's processor: others may want it too. */
static uint64_t cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static double us_each(uint64_t ns, size_t len)
{
    return (double)ns / 1e3 / (double)(SET_BYTES / len);
}

static void read_slots(struct putting *putting, size_t len)
{
    for (unsigned i = 0; i < SET_BYTES / len; i++)
        sink += read_all(putting->slots[i].data, len);
}

/* One piece by memcpy, the next by a put, so that both meet the same machine. */
static void put_round(struct putting *putting, size_t len)
{
    uint64_t put_ns = 0, copy_ns = 0, start_ns;
    for (unsigned i = 0; i < SET_BYTES / len; i++) {
        uint64_t a = cpu_ns();
        copy_one(putting, i, len);
        uint64_t b = cpu_ns();
        put_one(putting, i, len);
        put_ns += cpu_ns() - b;
        copy_ns += b - a;
    }
    add(&putting->put, us_each(put_ns, len));
    add(&putting->copied, us_each(copy_ns, len));
    add(&putting->ratio, (double)copy_ns / (double)put_ns);
    start_ns = cpu_ns();
    read_slots(putting, len);
    add(&putting->read, us_each(cpu_ns() - start_ns, len));
    start_ns = cpu_ns();
    read_slots(putting, len);
    add(&putting->read_again, us_each(cpu_ns() - start_ns, len));
    start_ns = cpu_ns();
    release_all(putting, len);
    add(&putting->release, us_each(cpu_ns() - start_ns, len));
}

static void measure_put(void)
{
    static struct putting putting;
    static const size_t sizes[] = {256 << 10, 1 << 20, 2 << 20};
    struct log log;
    log_init(&log, &os_linux, log_print, NULL, SPILLWAY_LOG_WARN);
    putting_open(&putting, &log);
    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        put_round(&putting, sizes[s]);
        putting.put.count = putting.copied.count = putting.ratio.count = 0; /* all is warm now */
        putting.release.count = putting.read.count = putting.read_again.count = 0;
        for (unsigned i = 0; i < ROUNDS; i++)
            put_round(&putting, sizes[s]);
        printf("pieces of %zu KiB\n", sizes[s] >> 10);
        print("memcpy into mapped memory", &putting.copied, "us");
        print("memtier_put", &putting.put, "us");
        print("memcpy / memtier_put", &putting.ratio, "  ");
        print("reading it for the first time", &putting.read, "us");
        print("reading it again", &putting.read_again, "us");
        print("memtier_release", &putting.release, "us");
    }
    for (unsigned i = 0; i < SET_BYTES / (2 * MIB); i++)
        segment_close(&os_linux, &putting.plain[i]);
    memtier_close(putting.tier);
    munmap(putting.source, SET_BYTES);
}

/* ---- runs ---- */

static spw_pool *pool_make(const char *memory_tier)
{
    spw_options *options;
    spw_pool *pool;
    spw_options_open(&options);
    spw_options_set(options, "memory", "128MiB");
    spw_options_set(options, "memory_tier", memory_tier);
    spw_options_set(options, "tiers", "memory");
    spw_options_set(options, "huge_pages", huge_name);
    spw_options_set(options, "mlock", locked ? "on" : "off");
    spw_pool_config config = {.size = sizeof(config), .options = options, .log = log_print};
    int err = spw_pool_open(&config, &pool);
    if (err)
        fail("spw_pool_open", err);
    spw_options_close(options);
    return pool;
}

/* A view with these bytes, and one more entry, which a view never spills. */
static void view_add(struct spw_view *view, spw_bytes *bytes)
{
    struct spw_block *spare = block_open(allocator_or_default(NULL), NULL, BLOCK_ENTRIES, false);
    view_push(view, bytes, &spare);
    if (spare)
        block_close(spare);
}

static void view_end(struct spw_view *view)
{
    spw_bytes last;
    spw_bytes_copy("", 1, NULL, &last);
    view_add(view, &last);
}

static void measure_adopted(void)
{
    struct series spill = {0}, fetch = {0}, release = {0};
    spw_pool *pool = pool_make("128MiB");
    spw_strategy *strategy;
    spw_slab *slabs[SLABS];
    uint64_t size;
    spw_pool_strategy(pool, &strategy);
    for (unsigned i = 0; i < SLABS; i++) {
        int err = spw_pool_slab_open(pool, 2 * MIB, 0, &slabs[i]);
        if (err)
            fail("spw_pool_slab_open", err);
        memset(spw_slab_space(slabs[i]), 1, 2 * MIB);
    }
    for (unsigned r = 0; r < ROUNDS; r++) {
        struct spw_view view;
        spw_handle *handles[SLABS];
        spw_chunks out = SPILLWAY_CHUNKS_NONE;
        view_init(&view, allocator_or_default(NULL), NULL);
        for (unsigned i = 0; i < SLABS; i++) {
            spw_bytes bytes;
            spw_slab_regain(slabs[i]);
            spw_slab_cut(slabs[i], 2 * MIB, &bytes);
            view_add(&view, &bytes);
        }
        view_end(&view);
        spw_cursor cursor = spw_view_head(&view);
        uint64_t start_ns = now_ns();
        long spilled = spw_view_spill(&view, &cursor, UINT64_MAX, strategy);
        add(&spill, (double)(now_ns() - start_ns) / SLABS);
        if (spilled != SLABS)
            fail("spw_view_spill", (int)spilled);
        for (unsigned i = 0; i < SLABS; i++)
            handles[i] = view_pop_handle(&view, &size);
        start_ns = now_ns();
        for (unsigned i = 0; i < SLABS; i++)
            handles[i]->ops->fetch(handles[i], SPILLWAY_FETCH_NOWAIT, &out);
        add(&fetch, (double)(now_ns() - start_ns) / SLABS);
        if (out.count != SLABS)
            fail("fetch", -EAGAIN);
        start_ns = now_ns();
        spw_chunks_clear(&out);
        add(&release, (double)(now_ns() - start_ns) / SLABS);
        view_fini(&view);
    }
    printf("adopted runs of 2 MiB, each of %u\n", SLABS);
    print("spill", &spill, "ns");
    print("fetch", &fetch, "ns");
    print("release", &release, "ns");
    spw_stats stats = {.size = sizeof(stats)};
    spw_pool_stats(pool, &stats);
    printf("  copied %llu bytes, adopted %llu\n", (unsigned long long)stats.copied_bytes_total,
           (unsigned long long)stats.adopted_bytes_total);
    for (unsigned i = 0; i < SLABS; i++)
        spw_slab_close(slabs[i]);
    strategy->ops->close(strategy);
    spw_pool_close_idle(pool);
}

/* `depth` slabs are filled, queued, drained, read and given back. */
static double cycle_us(spw_pool *pool, spw_writer *writer, spw_reader *reader, unsigned depth)
{
    uint64_t start_ns = cpu_ns();
    spw_bytes bytes;
    for (unsigned i = 0; i < depth; i++) {
        spw_slab *slab;
        int err = spw_pool_slab_open(pool, 2 * MIB, 0, &slab);
        if (err)
            fail("spw_pool_slab_open", err);
        memset(spw_slab_space(slab), (int)i, 2 * MIB);
        spw_slab_cut(slab, 2 * MIB, &bytes);
        spw_writer_extend(writer, &bytes, 1, 0);
        spw_slab_close(slab);
    }
    for (unsigned i = 0; i < depth; i++) {
        spw_reader_drain(reader, &bytes, 1);
        sink += read_all(bytes.data, bytes.len);
        spw_bytes_release(&bytes);
    }
    return (double)(cpu_ns() - start_ns) / 1e3 / depth;
}

/* What it costs a queue that never spills that its slabs lie in segments. */
static void measure_cycle(void)
{
    static const unsigned depths[] = {1, 4, 32};
    spw_pool *pools[2] = {pool_make("0"), pool_make("128MiB")};
    spw_writer *writers[2];
    spw_reader *readers[2];
    for (unsigned p = 0; p < 2; p++) {
        spw_queue_options options = {.size = sizeof(options),
                                     .account = spw_pool_account(pools[p])};
        spw_queue_open(&options, &writers[p], &readers[p]);
    }
    for (unsigned d = 0; d < sizeof(depths) / sizeof(depths[0]); d++) {
        struct series series[2] = {0};
        for (unsigned i = 0; i < ROUNDS; i++) {
            for (unsigned p = 0; p < 2; p++) {
                cycle_us(pools[p], writers[p], readers[p], depths[d]);
                add(&series[p], cycle_us(pools[p], writers[p], readers[p], depths[d]));
            }
        }
        printf("slabs of 2 MiB filled, queued, drained, read: %u at a time\n", depths[d]);
        print("in buffers of the pool", &series[0], "us");
        print("in segments", &series[1], "us");
    }
    for (unsigned p = 0; p < 2; p++) {
        spw_writer_close(writers[p]);
        spw_reader_close(readers[p]);
        spw_pool_close_idle(pools[p]);
    }
}

static bool is_in(struct run *run, enum run_state state)
{
    pthread_mutex_lock(&run->pool->lock);
    bool is = run->state == state;
    pthread_mutex_unlock(&run->pool->lock);
    return is;
}

static void wait_in(struct run *run, enum run_state state)
{
    while (!is_in(run, state))
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Runs of so many chunks each, stored in the memory tier by a copy. */
static void runs_store(spw_strategy *strategy, size_t count, size_t len, struct run **out)
{
    unsigned char *data = calloc(1, len);
    for (unsigned r = 0; r < RUNS; r++) {
        struct spw_view view;
        uint64_t size;
        view_init(&view, allocator_or_default(NULL), NULL);
        for (size_t i = 0; i < count; i++) {
            spw_bytes bytes;
            spw_bytes_copy(data, len, NULL, &bytes);
            view_add(&view, &bytes);
        }
        view_end(&view);
        spw_cursor cursor = spw_view_head(&view);
        long spilled = spw_view_spill(&view, &cursor, UINT64_MAX, strategy);
        if (spilled != (long)count || view.sums->paged_entries != 1)
            fail("one run of them", (int)spilled);
        out[r] = (struct run *)view_pop_handle(&view, &size);
        view_fini(&view);
        wait_in(out[r], RUN_STORED);
    }
    free(data);
    nap();
}

/* How long the fetch of one of them takes. */
static double fetch_ns(struct run **runs, unsigned flags, size_t count)
{
    spw_chunks out[RUNS] = {0};
    uint64_t start_ns = now_ns();
    for (unsigned r = 0; r < RUNS; r++) {
        int err = runs[r]->handle.ops->fetch(&runs[r]->handle, flags, &out[r]);
        if (err || out[r].count != count)
            fail("fetch", err);
    }
    uint64_t end_ns = now_ns();
    for (unsigned r = 0; r < RUNS; r++)
        spw_chunks_clear(&out[r]);
    return (double)(end_ns - start_ns) / RUNS;
}

static void measure_fetch(void)
{
    static const size_t counts[] = {1, 16, 64, 128, 129, 512, 4096, 32000};
    spw_pool *pool = pool_make("128MiB");
    spw_strategy *strategy;
    spw_pool_strategy(pool, &strategy);
    printf("fetches of runs that were put by a copy, each of %u\n", RUNS);
    for (unsigned c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct series ahead = {0}, unprepared = {0};
        size_t count = counts[c], len = count == 32000 ? 60 : (1 << 20) / count;
        struct run *runs[RUNS];
        char name[64];
        for (unsigned i = 0; i < ROUNDS; i++) {
            runs_store(strategy, count, len, runs);
            for (unsigned r = 0; r < RUNS; r++)
                runs[r]->handle.ops->prefetch(&runs[r]->handle, 0);
            for (unsigned r = 0; r < RUNS && !run_is_instant(runs[r]); r++)
                wait_in(runs[r], RUN_LOADED);
            nap();
            add(&ahead, fetch_ns(runs, SPILLWAY_FETCH_NOWAIT, count));
            runs_store(strategy, count, len, runs);
            add(&unprepared, fetch_ns(runs, SPILLWAY_FETCH_HEAD, count));
        }
        snprintf(name, sizeof(name), "%zu chunks of %zu bytes", count, len);
        print(name, &ahead, "ns");
        print(count > INSTANT_CHUNKS ? "  never prefetched, waiting" : "  never prefetched",
              &unprepared, "ns");
    }
    strategy->ops->close(strategy);
    spw_pool_close_idle(pool);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        huge_name = argv[1];
    locked = argc > 2 && strcmp(argv[2], "mlock") == 0;
    printf("huge pages %s, mlock %s\n", huge_name, locked ? "on" : "off");
    measure_put();
    measure_cycle();
    measure_adopted();
    measure_fetch();
    return 0;
}
