/* SPDX-License-Identifier: MIT */
/* Which policies an option names, for queues and for their pool. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policies/compress_codec.h"
#include "fault.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

/* ---- a queue with what the options say ---- */

struct open_queue {
    struct ends ends;
    spw_policy *writer, *reader; /* the queue's */
};

static void queue_open_with(struct open_queue *queue, spw_pool *pool, const spw_options *options)
{
    spw_strategy *strategy;
    cr_assert_eq(spw_pool_strategy(pool, &strategy), 0);
    cr_assert_eq(spw_policies_open(strategy, options, &queue->writer, &queue->reader), 0);
    spw_queue_options config = {.size = sizeof(config),
                                .account = spw_pool_account(pool),
                                .writer_policy = queue->writer,
                                .reader_policy = queue->reader};
    cr_assert_eq(spw_queue_open(&config, &queue->ends.writer, &queue->ends.reader), 0);
}

/* `mib` MiB go in, and come out as they were. */
static void push(struct open_queue *queue, spw_pool *pool, unsigned mib)
{
    for (unsigned i = 0; i < mib; i++) {
        spw_chunks chunks = slab_chunk(pool, i * MIB, MIB, 0);
        spw_bytes bytes;
        cr_assert_eq(spw_chunks_pop(&chunks, &bytes), 1);
        cr_assert_eq(spw_writer_extend(queue->ends.writer, &bytes, 1, 0), 0);
    }
}

static void drain(struct open_queue *queue, unsigned mib)
{
    uint64_t at = 0;
    while (at < mib * MIB) {
        spw_bytes out[4];
        long got =
            spw_reader_drain_wait(queue->ends.reader, out, 4, UINT64_C(30) * 1000 * 1000 * 1000);
        cr_assert_gt(got, 0, "%s after %llu bytes", strerror((int)-got), (unsigned long long)at);
        for (long i = 0; i < got; i++) {
            cr_assert(stream_is(&out[i], at));
            at += out[i].len;
            spw_bytes_release(&out[i]);
        }
    }
    cr_assert_eq(at, mib * MIB);
}

static const char *name_of(const spw_policy *policy)
{
    return policy ? policy->ops->name : "none";
}

/* Opens a pool and a queue with this list; says what came of it. */
static void with_list(const char *list, struct bed *bed, struct open_queue *queue)
{
    struct setting settings[] = {{"memory", "16MiB"}, {"engine", "threads"}, {"policies", list},
                                 {"pressure", "off"}, {"period", "10ms"},    {NULL, NULL}};
    bed_open(bed, settings, 1);
    queue_open_with(queue, bed->pool, bed->options);
}

static void check_list(const char *list, const char *writer, const char *reader,
                       const char *regulators)
{
    static const char *const all[] = {"pressure", "periodic", "manual", "adaptive"};
    struct bed bed;
    struct open_queue queue;
    char found[64] = "";
    with_list(list, &bed, &queue);
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (spw_governor_regulator(spw_pool_governor(bed.pool), all[i])) {
            strcat(found, found[0] ? "," : "");
            strcat(found, all[i]);
        }
    }
    cr_assert_str_eq(name_of(queue.writer), writer, "%s", list);
    cr_assert_str_eq(name_of(queue.reader), reader, "%s", list);
    cr_assert_str_eq(found, regulators, "%s", list);
    push(&queue, bed.pool, 6);
    drain(&queue, 6);
    ends_close(&queue.ends);
    bed_close(&bed);
}

Test(select, lists)
{
    check_list("none", "none", "none", "");
    check_list("threshold", "threshold", "none", "");
    check_list("prefetch", "keeper", "prefetch", "");
    check_list("threshold,prefetch", "threshold", "prefetch", "");
    check_list("threshold,prefetch,pressure", "threshold", "prefetch", "pressure");
    check_list("threshold,prefetch,periodic", "threshold", "prefetch", "periodic");
    check_list("manual", "threshold", "none", "manual");
    check_list("prefetch,periodic,manual", "threshold", "prefetch", "periodic,manual");
    check_list("manual,pressure,periodic,threshold,prefetch", "threshold", "prefetch",
               "pressure,periodic,manual");
    check_list("adaptive", "threshold", "none", "adaptive");
    check_list("threshold,prefetch,pressure,adaptive", "threshold", "prefetch",
               "pressure,adaptive");
}

/* ---- what they do ---- */

Test(select, none_never_spills)
{
    struct bed bed;
    struct open_queue queue;
    with_list("none", &bed, &queue);
    push(&queue, bed.pool, 40);
    cr_assert_eq(bed_stats(&bed).spilled_bytes_total, 0);
    drain(&queue, 40);
    ends_close(&queue.ends);
    bed_close(&bed);
}

/* Without prefetch the head is fetched when somebody asks for it. */
Test(select, threshold_alone_spills_and_comes_back)
{
    struct bed bed;
    struct open_queue queue;
    with_list("threshold", &bed, &queue);
    push(&queue, bed.pool, 40);
    cr_assert_gt(bed_stats(&bed).spilled_bytes_total, 0);
    drain(&queue, 40);
    ends_close(&queue.ends);
    bed_close(&bed);
}

Test(select, the_first_queue_brings_the_pools_policies)
{
    struct bed bed;
    struct open_queue queues[3];
    with_list("threshold,prefetch,pressure,periodic,manual", &bed, &queues[0]);
    spw_governor *governor = spw_pool_governor(bed.pool);
    spw_regulator *first = spw_governor_regulator(governor, "manual");
    for (unsigned i = 1; i < 3; i++)
        queue_open_with(&queues[i], bed.pool, bed.options);
    cr_assert_eq(spw_governor_regulator(governor, "manual"), first);
    /* they are the pool's, and stay when queues go */
    for (unsigned i = 0; i < 3; i++)
        ends_close(&queues[i].ends);
    cr_assert_eq(spw_governor_regulator(governor, "manual"), first);
    bed_close(&bed);
}

/* As in the program in the README: what the pool was opened with rules. */
Test(select, without_options_those_of_the_pool)
{
    static const struct setting settings[] = {
        {"memory", "16MiB"},   {"engine", "threads"},    {"policies", "threshold,manual"},
        {"threshold", "1MiB"}, {"head_reserve", "1MiB"}, {NULL, NULL}};
    struct bed bed;
    struct open_queue queue;
    bed_open(&bed, settings, 1);
    queue_open_with(&queue, bed.pool, NULL);
    cr_assert_str_eq(name_of(queue.writer), "threshold");
    cr_assert_null(queue.reader);
    cr_assert_not_null(spw_governor_regulator(spw_pool_governor(bed.pool), "manual"));
    push(&queue, bed.pool, 6); /* an automatic threshold of 8 MiB would let it be */
    cr_assert_gt(bed_quiet(&bed).spilled_bytes_total, 0);
    drain(&queue, 6);
    ends_close(&queue.ends);
    bed_close(&bed);
}

/* ---- what is not to be had ---- */

Test(select, no_thread_is_told_and_left_out)
{
    struct setting settings[] = {{"memory", "16MiB"},
                                 {"tiers", "none"},
                                 {"policies", "threshold,manual,periodic"},
                                 {NULL, NULL}};
    struct bed bed;
    struct open_queue queue;
    bed_open(&bed, settings, 0);
    uint64_t before = bed_stats(&bed).fallbacks_total;
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    queue_open_with(&queue, bed.pool, bed.options);
    cr_assert_null(spw_governor_regulator(spw_pool_governor(bed.pool), "manual"));
    cr_assert_gt(bed_stats(&bed).fallbacks_total, before);
    cr_assert_gt(log_lines_with("manual: the policy is not to be had"), 0);
    /* the next queue tries again */
    fault_heal(FAULT_THREAD);
    struct open_queue second;
    queue_open_with(&second, bed.pool, bed.options);
    cr_assert_not_null(spw_governor_regulator(spw_pool_governor(bed.pool), "manual"));
    ends_close(&queue.ends);
    ends_close(&second.ends);
    bed_close(&bed);
}

Test(select, strict_does_not_do_without)
{
    struct setting settings[] = {
        {"memory", "16MiB"},           {"tiers", "none"}, {"policies", "threshold,pressure"},
        {"pressure", "/no/such/file"}, {"strict", "on"},  {NULL, NULL}};
    struct bed bed;
    spw_strategy *strategy;
    spw_policy *writer = NULL, *reader = NULL;
    bed_open(&bed, settings, 0);
    cr_assert_eq(spw_pool_strategy(bed.pool, &strategy), 0);
    cr_assert_eq(spw_policies_open(strategy, bed.options, &writer, &reader), -EOPNOTSUPP);
    cr_assert_null(writer);
    cr_assert_null(reader);
    cr_assert_gt(log_lines_with("pressure: the policy is not to be had"), 0);
    cr_assert_eq(spw_options_set(bed.options, "pressure", "off"), 0);
    cr_assert_eq(spw_policies_open(strategy, bed.options, &writer, &reader), 0);
    writer->ops->close(writer);
    cr_assert_null(reader);
    bed_close(&bed);
}

/* The pool's allocator fails: the strategy stays the caller's, and the next try works. */
Test(select, no_memory_changes_nothing)
{
    struct setting settings[] = {
        {"memory", "16MiB"}, {"tiers", "none"}, {"policies", "threshold,manual"}, {NULL, NULL}};
    struct bed bed;
    spw_strategy *strategy;
    spw_policy *writer = NULL, *reader = NULL;
    bed_open(&bed, settings, 0);
    cr_assert_eq(spw_pool_strategy(bed.pool, &strategy), 0);
    fault_alloc_after(1);
    cr_assert_eq(spw_policies_open(strategy, bed.options, &writer, &reader), -ENOMEM);
    cr_assert_null(writer);
    cr_assert_null(spw_governor_regulator(spw_pool_governor(bed.pool), "manual"));
    cr_assert_eq(spw_policies_open(strategy, bed.options, &writer, &reader), 0);
    cr_assert_not_null(spw_governor_regulator(spw_pool_governor(bed.pool), "manual"));
    writer->ops->close(writer);
    bed_close(&bed);
}

Test(select, by_the_environment)
{
    struct bed bed;
    struct open_queue queue;
    struct setting settings[] = {{"memory", "16MiB"}, {"tiers", "none"}, {NULL, NULL}};
    bed_open(&bed, settings, 0);
    cr_assert_eq(setenv("SPILLWAY_POLICIES", "prefetch,manual", 1), 0);
    cr_assert_eq(spw_options_load(bed.options), 0);
    queue_open_with(&queue, bed.pool, bed.options);
    cr_assert_str_eq(name_of(queue.reader), "prefetch");
    cr_assert_not_null(spw_governor_regulator(spw_pool_governor(bed.pool), "manual"));
    ends_close(&queue.ends);
    bed_close(&bed);
}

/* ---- compress ---- */

static const struct setting compressed[] = {
    {"memory", "16MiB"}, {"engine", "threads"}, {"policies", "threshold,prefetch,compress"},
    {"compress", "lz4"}, {"tiers", "disk"},     {NULL, NULL}};

/* Pushes runs that get smaller, and looks at them coming back. */
static void carry_text(struct open_queue *queue, unsigned mib)
{
    static unsigned char text[256 * KIB];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (unsigned char)("what is said twice is said shorter "[i % 35]);
    for (unsigned i = 0; i < 4 * mib; i++) {
        spw_bytes bytes;
        cr_assert_eq(spw_bytes_copy(text, sizeof(text), NULL, &bytes), 0);
        cr_assert_eq(spw_writer_extend(queue->ends.writer, &bytes, 1, 0), 0);
    }
    for (unsigned got = 0; got < 4 * mib; got++) {
        spw_bytes out;
        cr_assert_eq(
            spw_reader_drain_wait(queue->ends.reader, &out, 1, UINT64_C(30) * 1000 * 1000 * 1000),
            1);
        cr_assert_eq(out.len, sizeof(text));
        cr_assert(memcmp(out.data, text, sizeof(text)) == 0);
        spw_bytes_release(&out);
    }
}

/* The first that is this regulator's: others may have decided something before. */
static spw_decision decision_of(spw_pool *pool, const char *regulator)
{
    spw_decision decision = {.size = sizeof(decision)};
    uint64_t number = 0;
    do
        cr_assert_eq(spw_pool_decisions(pool, number++, &decision, 1), 1, "none of %s", regulator);
    while (strcmp(decision.regulator, regulator) != 0);
    return decision;
}

Test(select, compress_makes_runs_smaller)
{
    struct bed bed;
    struct open_queue queue, second;
    if (!codec_lz4.built)
        test_skip("built without lz4");
    bed_open(&bed, compressed, 1);
    queue_open_with(&queue, bed.pool, bed.options);
    queue_open_with(&second, bed.pool, bed.options); /* which finds it there */
    carry_text(&queue, 40);
    spw_stats stats = bed_stats(&bed);
    cr_assert_geq(stats.coder_threads, 1);
    cr_assert_gt(stats.encoded_bytes_total, 8 * MIB);
    cr_assert_lt(stats.encoded_stored_bytes_total, stats.encoded_bytes_total / 10);
    spw_decision decision = decision_of(bed.pool, "compress");
    cr_assert_str_eq(decision.action, "lz4");
    cr_assert_str_eq(decision.reason, "told to take it");
    ends_close(&queue.ends);
    ends_close(&second.ends);
    bed_close(&bed);
}

Test(select, compress_without_a_thread_is_told_and_left_out)
{
    struct bed bed;
    struct open_queue queue;
    bed_open(&bed, compressed, 1);
    fault_fail(FAULT_THREAD, 0, FAULT_ALWAYS, -EAGAIN);
    queue_open_with(&queue, bed.pool, bed.options);
    fault_heal(FAULT_THREAD);
    cr_assert_eq(bed_stats(&bed).coder_threads, 0);
    cr_assert_not_null(strstr(bed_stats(&bed).fallbacks, "compress"));
    carry_text(&queue, 20);
    cr_assert_eq(bed_stats(&bed).encoded_runs_total, 0);
    ends_close(&queue.ends);
    bed_close(&bed);
}

Test(select, compress_without_its_codec_is_told_and_left_out)
{
    struct bed bed;
    struct open_queue queue;
    if (codec_lz4.built)
        test_skip("built with lz4");
    bed_open(&bed, compressed, 1);
    queue_open_with(&queue, bed.pool, bed.options);
    cr_assert_eq(log_lines_with("compress: the policy is not to be had"), 1);
    carry_text(&queue, 20);
    ends_close(&queue.ends);
    bed_close(&bed);
}

/* A strategy that has no pool has no policies for it. */
Test(select, without_a_governor)
{
    struct boxes boxes;
    spw_policy *writer, *reader;
    spw_options *options;
    boxes_init(&boxes);
    cr_assert_eq(spw_policies_open(&boxes.strategy, NULL, &writer, &reader), 0);
    cr_assert_str_eq(name_of(writer), "threshold");
    cr_assert_str_eq(name_of(reader), "prefetch");
    reader->ops->close(reader);
    writer->ops->close(writer);
    cr_assert(boxes.closed);
    boxes_init(&boxes);
    cr_assert_eq(spw_options_open(&options), 0);
    cr_assert_eq(spw_options_set(options, "policies", "none"), 0);
    cr_assert_eq(spw_policies_open(&boxes.strategy, options, &writer, &reader), 0);
    cr_assert_null(writer);
    cr_assert_null(reader);
    cr_assert(boxes.closed);
    spw_options_close(options);
}
