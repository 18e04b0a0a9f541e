/* SPDX-License-Identifier: MIT */
/* Structs and ops tables of callers that were built against an older or a newer header. */
#include "../lib/growable.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/stats.h"
#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

/* The layout of 0.1 where pointers have 64 bits: programs are linked against it. */
#define HELD(first_bytes, bytes)                                                                   \
    _Static_assert(sizeof(void *) != 8 || (first_bytes) == (bytes), #first_bytes)
HELD(POOL_CONFIG_FIRST_BYTES, 48);
HELD(QUEUE_OPTIONS_FIRST_BYTES, 48);
HELD(THRESHOLD_CONFIG_FIRST_BYTES, 32);
HELD(PREFETCH_CONFIG_FIRST_BYTES, 40);
HELD(COMPRESS_CONFIG_FIRST_BYTES, 24);
HELD(MOCK_CONFIG_FIRST_BYTES, 48);
HELD(QUEUE_INFO_FIRST_BYTES, 80);
HELD(MOCK_INFO_FIRST_BYTES, 64);
HELD(OPTION_INFO_FIRST_BYTES, 48);
HELD(HISTOGRAMS_FIRST_BYTES, 8 + 5 * (128 + 1) * 8);
HELD(offsetof(spw_stats, budget_bytes), 8 + 16 + 16 + 256);

#define NEWER_BYTES 64 /* what a newer header has more */

/* ---- blocks of exactly the size that they claim, so that a sanitizer sees what is beyond ---- */

static unsigned char *block_make(size_t bytes, unsigned char fill)
{
    unsigned char *block = malloc(bytes);
    cr_assert_not_null(block);
    memset(block, fill, bytes);
    return block;
}

/* A caller's struct of `bytes`, which begins with what `known` holds; zero behind. */
static unsigned char *struct_make(const void *known, size_t known_bytes, size_t bytes)
{
    unsigned char *made = block_make(bytes, 0);
    if (known)
        memcpy(made, known, known_bytes < bytes ? known_bytes : bytes);
    memcpy(made, &bytes, sizeof(bytes));
    return made;
}

static size_t size_in(const void *structure)
{
    size_t size;
    memcpy(&size, structure, sizeof(size));
    return size;
}

/* ---- the two copies ---- */

struct grown {
    size_t size;
    uint64_t first;
    uint64_t second; /* came later */
    uint64_t third;  /* later still */
};
#define GROWN_FIRST_BYTES GROWABLE_END(struct grown, first)

Test(growable, read_smaller_keeps_defaults)
{
    struct grown given = {.first = 1, .second = 2, .third = 3};
    for (size_t bytes = GROWN_FIRST_BYTES; bytes <= sizeof(given); bytes += sizeof(uint64_t)) {
        struct grown known = {.first = 71, .second = 72, .third = 73};
        unsigned char *from = struct_make(&given, sizeof(given), bytes);
        cr_assert_eq(growable_read(from, GROWN_FIRST_BYTES, &known, sizeof(known)), 0);
        cr_assert_eq(known.size, sizeof(known));
        cr_assert_eq(known.first, 1);
        cr_assert_eq(known.second, bytes >= GROWABLE_END(struct grown, second) ? 2 : 72);
        cr_assert_eq(known.third, bytes >= GROWABLE_END(struct grown, third) ? 3 : 73);
        free(from);
    }
    struct grown known = {.first = 71, .third = 73};
    cr_assert_eq(growable_read(NULL, GROWN_FIRST_BYTES, &known, sizeof(known)), 0);
    cr_assert_eq(known.size, sizeof(known));
    cr_assert_eq(known.first, 71);
    cr_assert_eq(known.third, 73);
}

Test(growable, read_larger_with_zeros_only)
{
    struct grown given = {.first = 1, .second = 2, .third = 3}, known;
    for (size_t bytes = sizeof(given) + 1; bytes <= sizeof(given) + 20; bytes++) {
        unsigned char *from = struct_make(&given, sizeof(given), bytes);
        memset(&known, 0x55, sizeof(known));
        cr_assert_eq(growable_read(from, GROWN_FIRST_BYTES, &known, sizeof(known)), 0);
        cr_assert_eq(known.size, sizeof(known));
        cr_assert_eq(known.first, 1);
        cr_assert_eq(known.third, 3);
        for (size_t at = sizeof(given); at < bytes; at++) {
            struct grown was = known;
            from[at] = 0x80;
            cr_assert_eq(growable_read(from, GROWN_FIRST_BYTES, &known, sizeof(known)), -EINVAL);
            cr_assert_eq(memcmp(&was, &known, sizeof(known)), 0, "a failed call changes nothing");
            from[at] = 0;
        }
        free(from);
    }
}

Test(growable, write_smaller_and_larger)
{
    const struct grown now = {.size = 99, .first = 1, .second = 2, .third = 3};
    for (size_t bytes = GROWN_FIRST_BYTES; bytes <= sizeof(now) + 20; bytes++) {
        size_t copied = bytes < sizeof(now) ? bytes : sizeof(now);
        unsigned char *to = block_make(bytes, 0x55);
        memcpy(to, &bytes, sizeof(bytes));
        cr_assert_eq(growable_write(to, GROWN_FIRST_BYTES, &now, sizeof(now)), 0);
        cr_assert_eq(size_in(to), copied);
        cr_assert_eq(memcmp(to + sizeof(size_t), &now.first, copied - sizeof(size_t)), 0);
        for (size_t at = copied; at < bytes; at++)
            cr_assert_eq(to[at], 0);
        free(to);
    }
}

Test(growable, sizes_that_cannot_be)
{
    static const size_t sizes[] = {
        0, 1, sizeof(size_t), GROWN_FIRST_BYTES - 1, GROWABLE_MAX_BYTES + 1, SIZE_MAX / 2, SIZE_MAX,
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct grown given = {.size = sizes[i], .first = 1}, known = {.first = 71}, was;
        memcpy(&was, &given, sizeof(was));
        cr_assert_eq(growable_check(sizes[i], GROWN_FIRST_BYTES), -EINVAL);
        cr_assert_eq(growable_read(&given, GROWN_FIRST_BYTES, &known, sizeof(known)), -EINVAL);
        cr_assert_eq(known.first, 71);
        cr_assert_eq(growable_write(&given, GROWN_FIRST_BYTES, &known, sizeof(known)), -EINVAL);
        cr_assert_eq(memcmp(&was, &given, sizeof(was)), 0);
    }
    struct grown known = {0};
    cr_assert_eq(growable_write(NULL, GROWN_FIRST_BYTES, &known, sizeof(known)), -EINVAL);
    cr_assert_eq(growable_check(GROWN_FIRST_BYTES, GROWN_FIRST_BYTES), 0);
    cr_assert_eq(growable_check(GROWABLE_MAX_BYTES, GROWN_FIRST_BYTES), 0);
}

/* ---- what callers give ---- */

/* Opens whatever takes this struct, and closes it again; returns what opening returned. */
typedef int open_fn(const void *given);

/*
 * `known` is a good struct of this header, with fault_allocator in it, its last member in 0.1:
 * where that is used, the whole struct has arrived.
 */
static void given_grows(open_fn *try_open, const void *known, size_t known_bytes,
                        size_t first_bytes)
{
    const size_t good[] = {first_bytes, known_bytes, known_bytes + 1, known_bytes + NEWER_BYTES,
                           GROWABLE_MAX_BYTES};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        unsigned char *given = struct_make(known, known_bytes, good[i]);
        uint64_t acquired = fault_alloc_calls();
        cr_assert_eq(try_open(given), 0, "%zu", good[i]);
        cr_assert_gt(fault_alloc_calls(), acquired);
        if (good[i] > known_bytes) {
            given[good[i] - 1] = 1;
            acquired = fault_alloc_calls();
            cr_assert_eq(try_open(given), -EINVAL, "%zu", good[i]);
            cr_assert_eq(fault_alloc_calls(), acquired);
        }
        free(given);
    }
    const size_t bad[] = {0, sizeof(size_t), first_bytes - 1, GROWABLE_MAX_BYTES + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned char *given = struct_make(known, known_bytes, known_bytes);
        memcpy(given, &bad[i], sizeof(bad[i]));
        cr_assert_eq(try_open(given), -EINVAL, "%zu", bad[i]);
        free(given);
    }
    cr_assert_eq(fault_alloc_live(), 0);
}

static int try_pool(const void *given)
{
    spw_pool *pool;
    int err = spw_pool_open(given, &pool);
    if (!err)
        cr_assert_eq(spw_pool_close_idle(pool), 0);
    return err;
}

/* Settings of a pool that needs nothing from the machine. */
static spw_options *plain_settings(void)
{
    static const char *const settings[][2] = {{"memory", "16MiB"}, {"tiers", "none"}};
    spw_options *options;
    cr_assert_eq(spw_options_open(&options), 0);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        cr_assert_eq(spw_options_set(options, settings[i][0], settings[i][1]), 0, "%s",
                     spw_options_message(options));
    return options;
}

Test(growable, pool_config)
{
    spw_options *options = plain_settings();
    spw_pool_config known = {.options = options, .allocator = &fault_allocator};
    given_grows(try_pool, &known, sizeof(known), POOL_CONFIG_FIRST_BYTES);
    spw_options_close(options);
}

static int try_queue(const void *given)
{
    spw_writer *writer;
    spw_reader *reader;
    int err = spw_queue_open(given, &writer, &reader);
    if (!err) {
        spw_writer_close(writer);
        spw_reader_close(reader);
    }
    return err;
}

Test(growable, queue_options)
{
    spw_queue_options known = {.name = "a name", .allocator = &fault_allocator};
    given_grows(try_queue, &known, sizeof(known), QUEUE_OPTIONS_FIRST_BYTES);
}

static int try_threshold(const void *given)
{
    struct boxes boxes;
    spw_policy *policy;
    boxes_init(&boxes);
    int err = spw_threshold_open(&boxes.strategy, given, &policy);
    if (!err)
        policy->ops->close(policy);
    return err;
}

Test(growable, threshold_config)
{
    spw_threshold_config known = {.allocator = &fault_allocator};
    given_grows(try_threshold, &known, sizeof(known), THRESHOLD_CONFIG_FIRST_BYTES);
}

static int try_prefetch(const void *given)
{
    spw_policy *policy;
    int err = spw_prefetch_open(given, &policy);
    if (!err)
        policy->ops->close(policy);
    return err;
}

Test(growable, prefetch_config)
{
    spw_prefetch_config known = {.allocator = &fault_allocator};
    given_grows(try_prefetch, &known, sizeof(known), PREFETCH_CONFIG_FIRST_BYTES);
}

static int try_compress(const void *given)
{
    spw_coder *coder;
    int err = spw_compress_open(given, &coder);
    if (!err)
        coder->ops->close(coder);
    return err;
}

Test(growable, compress_config)
{
    spw_compress_config known = {.allocator = &fault_allocator};
    spw_coder *coder;
    int err = spw_compress_open(NULL, &coder);
    if (err == -ENOTSUP)
        test_skip("built without any codec");
    cr_assert_eq(err, 0);
    coder->ops->close(coder);
    given_grows(try_compress, &known, sizeof(known), COMPRESS_CONFIG_FIRST_BYTES);
}

static int try_mock(const void *given)
{
    spw_mock *mock;
    int err = spw_mock_open(given, &mock);
    if (!err)
        spw_mock_close(mock);
    return err;
}

Test(growable, mock_config)
{
    spw_mock_config known = {.allocator = &fault_allocator};
    given_grows(try_mock, &known, sizeof(known), MOCK_CONFIG_FIRST_BYTES);
}

/* ---- what callers get ---- */

/* Fills in the struct; `context` is what it tells of. */
typedef int fill_fn(void *context, void *info);

static void filled_grows(fill_fn *fill, void *context, size_t known_bytes, size_t first_bytes)
{
    unsigned char *whole = struct_make(NULL, 0, known_bytes);
    cr_assert_eq(fill(context, whole), 0);
    cr_assert_eq(size_in(whole), known_bytes);
    const size_t good[] = {first_bytes, known_bytes, known_bytes + 1, known_bytes + NEWER_BYTES,
                           GROWABLE_MAX_BYTES};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        size_t filled = good[i] < known_bytes ? good[i] : known_bytes;
        unsigned char *info = block_make(good[i], 0x55);
        memcpy(info, &good[i], sizeof(good[i]));
        cr_assert_eq(fill(context, info), 0, "%zu", good[i]);
        cr_assert_eq(size_in(info), filled, "%zu", good[i]);
        cr_assert_eq(memcmp(info + sizeof(size_t), whole + sizeof(size_t), filled - sizeof(size_t)),
                     0);
        for (size_t at = filled; at < good[i]; at++)
            cr_assert_eq(info[at], 0);
        cr_assert_eq(fill(context, info), 0, "the same struct once more");
        cr_assert_eq(size_in(info), filled, "%zu", good[i]);
        free(info);
    }
    const size_t bad[] = {0, sizeof(size_t), first_bytes - 1, GROWABLE_MAX_BYTES + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned char *info = block_make(known_bytes, 0x55);
        memcpy(info, &bad[i], sizeof(bad[i]));
        cr_assert_eq(fill(context, info), -EINVAL, "%zu", bad[i]);
        cr_assert_eq(size_in(info), bad[i]);
        for (size_t at = sizeof(size_t); at < known_bytes; at++)
            cr_assert_eq(info[at], 0x55);
        free(info);
    }
    free(whole);
}

static int fill_stats(void *context, void *info)
{
    return spw_pool_stats(context, info);
}

static int fill_histograms(void *context, void *info)
{
    return spw_pool_histograms(context, info);
}

Test(growable, stats)
{
    spw_options *options = plain_settings();
    spw_pool_config config = {
        .size = sizeof(config), .options = options, .allocator = &fault_allocator};
    spw_pool *pool;
    cr_assert_eq(spw_pool_open(&config, &pool), 0);
    filled_grows(fill_stats, pool, sizeof(spw_stats), STATS_FIRST_BYTES);
    filled_grows(fill_histograms, pool, sizeof(spw_histograms), HISTOGRAMS_FIRST_BYTES);
    spw_stats stats = {.size = sizeof(stats)};
    cr_assert_eq(spw_pool_stats(pool, &stats), 0);
    cr_assert_eq(stats.budget_bytes, UINT64_C(16) << 20);
    cr_assert_eq(spw_pool_close_idle(pool), 0);
    spw_options_close(options);
}

struct queue_ends {
    spw_writer *writer;
    spw_reader *reader;
};

static int fill_writer_info(void *context, void *info)
{
    return spw_writer_info(((struct queue_ends *)context)->writer, info);
}

static int fill_reader_info(void *context, void *info)
{
    return spw_reader_info(((struct queue_ends *)context)->reader, info);
}

Test(growable, queue_info)
{
    struct queue_ends ends;
    cr_assert_eq(spw_queue_open(NULL, &ends.writer, &ends.reader), 0);
    spw_bytes bytes = stream_piece(0, 8);
    cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    filled_grows(fill_writer_info, &ends, sizeof(spw_queue_info), QUEUE_INFO_FIRST_BYTES);
    filled_grows(fill_reader_info, &ends, sizeof(spw_queue_info), QUEUE_INFO_FIRST_BYTES);
    spw_writer_close(ends.writer);
    spw_reader_close(ends.reader);
}

static int fill_mock_info(void *context, void *info)
{
    return spw_mock_info_get(context, info);
}

Test(growable, mock_info)
{
    spw_mock *mock;
    cr_assert_eq(spw_mock_open(NULL, &mock), 0);
    filled_grows(fill_mock_info, mock, sizeof(spw_mock_info), MOCK_INFO_FIRST_BYTES);
    spw_mock_close(mock);
}

static int fill_option_info(void *context, void *info)
{
    return spw_options_describe(*(const size_t *)context, info);
}

Test(growable, option_info)
{
    size_t index = 1;
    filled_grows(fill_option_info, &index, sizeof(spw_option_info), OPTION_INFO_FIRST_BYTES);
}

/* ---- stats as text ---- */

Test(growable, json_of_smaller_stats)
{
    char text[8192];
    size_t bytes = GROWABLE_END(spw_stats, held_bytes);
    spw_stats full = {.size = sizeof(full), .engine = "threads", .held_bytes = 5, .queues = 6};
    unsigned char *given = struct_make(&full, sizeof(full), bytes);
    long len = stats_json((const spw_stats *)(const void *)given, bytes, text, sizeof(text));
    cr_assert_gt(len, 0);
    cr_assert_eq((size_t)len, strlen(text));
    cr_assert_not_null(strstr(text, "\"held_bytes\":5,\"engine\":\"threads\""),
                       "the last row that is there, then the texts: %s", text);
    cr_assert_null(strstr(text, "\"queues\""));
    free(given);
}

Test(growable, json_of_other_sizes)
{
    char want[8192], text[8192];
    spw_stats full = {.size = sizeof(full), .engine = "threads", .syscalls_total = 7};
    long len = spw_stats_json(&full, want, sizeof(want));
    cr_assert_gt(len, 0);
    cr_assert_not_null(strstr(want, "\"syscalls_total\":7"));
    spw_stats *first = (spw_stats *)(void *)struct_make(&full, sizeof(full), STATS_FIRST_BYTES);
    cr_assert_gt(spw_stats_json(first, text, sizeof(text)), 0);
    cr_assert_not_null(strstr(text, "\"syscalls_total\":7,\"engine\""));
    free(first);
    const size_t good[] = {sizeof(full), sizeof(full) + 1, sizeof(full) + NEWER_BYTES,
                           GROWABLE_MAX_BYTES};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        spw_stats *given = (spw_stats *)(void *)struct_make(&full, sizeof(full), good[i]);
        cr_assert_eq(spw_stats_json(given, text, sizeof(text)), len, "%zu", good[i]);
        cr_assert_str_eq(text, want);
        free(given);
    }
    const size_t bad[] = {0, STATS_FIRST_BYTES - 1, GROWABLE_MAX_BYTES + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        full.size = bad[i];
        cr_assert_eq(spw_stats_json(&full, text, sizeof(text)), -EINVAL, "%zu", bad[i]);
    }
}

/* ---- ops tables whose size ends before their optional members ---- */

/* The first `bytes` of a table, alone in memory, with that size in it. */
static void *ops_make(const void *ops, size_t bytes)
{
    return struct_make(ops, bytes, bytes);
}

static int calls_of_none; /* of members that no table has */

static int handle_fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    (void)handle;
    (void)flags;
    (void)out;
    return -EAGAIN;
}

static uint64_t handle_size(const spw_handle *handle)
{
    (void)handle;
    return 8;
}

static size_t handle_count(const spw_handle *handle)
{
    (void)handle;
    return 1;
}

static void handle_drop(spw_handle *handle)
{
    (void)handle;
}

static int none_prefetch(spw_handle *handle, unsigned flags)
{
    (void)handle;
    (void)flags;
    calls_of_none++;
    return -EIO;
}

static int none_ready(spw_handle *handle, spw_waker *waker)
{
    (void)handle;
    (void)waker;
    calls_of_none++;
    return -EIO;
}

static const spw_handle_ops handle_ops = {
    .fetch = handle_fetch,
    .size_bytes = handle_size,
    .count = handle_count,
    .drop = handle_drop,
    .prefetch = none_prefetch,
    .on_ready = none_ready,
};

static void nothing_called(void *context)
{
    (void)context;
}

/* A queue whose head is such a handle: what the reader and the prefetch policy ask of it. */
static void handle_is_served(const spw_handle_ops *ops, spw_policy *reader_policy)
{
    spw_queue_options options = {.size = sizeof(options), .reader_policy = reader_policy};
    spw_handle handle = {ops};
    spw_chunks removed = SPILLWAY_CHUNKS_NONE;
    spw_writer *writer;
    spw_reader *reader;
    cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);
    spw_bytes bytes = stream_piece(0, 8);
    cr_assert_eq(spw_writer_extend(writer, &bytes, 1, 0), 0);
    spw_cursor head = spw_view_head(writer_view(writer));
    cr_assert_eq(spw_view_page(writer_view(writer), &head, 1, &handle, &removed), 0);
    spw_chunks_clear(&removed);
    cr_assert_eq(spw_reader_drain(reader, &bytes, 1), -EAGAIN);
    cr_assert_eq(spw_reader_arm(reader, nothing_called, NULL), -ENOTSUP, "it cannot tell");
    spw_writer_close(writer);
    spw_reader_close(reader);
    cr_assert_eq(calls_of_none, 0);
}

Test(growable, handle_without_what_is_beyond)
{
    static const size_t sizes[] = {offsetof(spw_handle_ops, prefetch),
                                   GROWABLE_END(spw_handle_ops, prefetch) - 1,
                                   offsetof(spw_handle_ops, prefetch) + 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        spw_handle_ops *ops = ops_make(&handle_ops, sizes[i]);
        spw_policy *prefetch;
        handle_is_served(ops, NULL);
        cr_assert_eq(spw_prefetch_open(NULL, &prefetch), 0);
        handle_is_served(ops, prefetch);
        free(ops);
    }
}

static int prefetches;

static int counted_prefetch(spw_handle *handle, unsigned flags)
{
    (void)handle;
    (void)flags;
    prefetches++;
    return 0;
}

Test(growable, handle_with_prefetch_only)
{
    spw_handle_ops known = handle_ops;
    known.prefetch = counted_prefetch;
    spw_handle_ops *ops = ops_make(&known, GROWABLE_END(spw_handle_ops, prefetch));
    handle_is_served(ops, NULL);
    cr_assert_eq(prefetches, 1, "the drain; nobody arms it");
    free(ops);
}

static void policy_apply(spw_policy *policy, spw_view *view)
{
    (void)policy;
    (void)view;
}

static int none_policy_admit(spw_policy *policy, uint64_t bytes, unsigned flags)
{
    (void)policy;
    (void)bytes;
    (void)flags;
    calls_of_none++;
    return -ENOSPC;
}

static int none_policy_settle(spw_policy *policy, unsigned flags)
{
    (void)policy;
    (void)flags;
    calls_of_none++;
    return 0;
}

static void policy_close(spw_policy *policy)
{
    (void)policy;
}

/* `close` is required, and behind them: the table is all there, its size says otherwise. */
Test(growable, policy_without_what_is_beyond)
{
    static const size_t sizes[] = {0, offsetof(spw_policy_ops, admit),
                                   GROWABLE_END(spw_policy_ops, admit) - 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const spw_policy_ops ops = {.size = sizes[i],
                                    .apply = policy_apply,
                                    .admit = none_policy_admit,
                                    .settle = none_policy_settle,
                                    .close = policy_close};
        spw_policy writer_policy = {&ops}, reader_policy = {&ops};
        spw_queue_options options = {.size = sizeof(options),
                                     .writer_policy = &writer_policy,
                                     .reader_policy = &reader_policy};
        spw_writer *writer;
        spw_reader *reader;
        spw_bytes bytes = stream_piece(0, 8);
        cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);
        cr_assert_eq(spw_writer_extend(writer, &bytes, 1, SPILLWAY_EXTEND_BOUNDED), 0);
        cr_assert_eq(spw_reader_drain(reader, &bytes, 1), 1);
        spw_bytes_release(&bytes);
        spw_writer_close(writer);
        spw_reader_close(reader);
        cr_assert_eq(calls_of_none, 0);
    }
}

static void none_limits(spw_strategy *strategy, spw_limits *limits)
{
    (void)strategy;
    (void)limits;
    calls_of_none++;
}

static uint64_t none_room(spw_strategy *strategy)
{
    (void)strategy;
    calls_of_none++;
    return 0;
}

static int none_admit(spw_strategy *strategy, uint64_t bytes, unsigned flags)
{
    (void)strategy;
    (void)bytes;
    (void)flags;
    calls_of_none++;
    return -ENOSPC;
}

static int none_settle(spw_strategy *strategy, unsigned flags)
{
    (void)strategy;
    (void)flags;
    calls_of_none++;
    return 0;
}

Test(growable, strategy_without_what_is_beyond)
{
    static const size_t sizes[] = {0, offsetof(spw_strategy_ops, limits),
                                   GROWABLE_END(spw_strategy_ops, limits) - 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct boxes boxes;
        boxes_init(&boxes);
        spw_strategy_ops ops = *boxes.strategy.ops;
        ops.size = sizes[i];
        ops.limits = none_limits;
        ops.room_bytes = none_room;
        ops.admit = none_admit;
        ops.settle = none_settle;
        boxes.strategy.ops = &ops;
        spw_threshold_config config = {.size = sizeof(config)};
        spw_queue_options options = {.size = sizeof(options)};
        spw_writer *writer;
        spw_reader *reader;
        cr_assert_eq(spw_threshold_open(&boxes.strategy, &config, &options.writer_policy), 0);
        cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);
        spw_bytes bytes[2] = {stream_piece(0, 8), stream_piece(8, 8)};
        cr_assert_eq(spw_writer_extend(writer, bytes, 2, SPILLWAY_EXTEND_BOUNDED), 0);
        cr_assert_eq(boxes.live, 1, "it spills all the same");
        spw_reader_close(reader);
        spw_writer_close(writer);
        cr_assert(boxes.closed);
        cr_assert_eq(calls_of_none, 0);
    }
}
