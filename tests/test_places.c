/* SPDX-License-Identifier: MIT */
/* That policies start where they left off: blocks walked, handles asked, runs spilled at a time. */
#include <errno.h>
#include <string.h>

#include "../lib/queue.h"
#include "fault.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

enum { ENTRIES = 40000, LEN = 10 };

/* Resident entries of LEN bytes, in blocks of eight. */
static void view_fill(struct spw_view *view, size_t count)
{
    spw_bytes piece = stream_piece(0, LEN);
    for (size_t i = 0; i < count; i++) {
        spw_bytes bytes = spw_bytes_clone(&piece);
        struct spw_block *spare =
            view_needs_block(view) ? block_open(&fault_allocator, NULL, 8, false) : NULL;
        cr_assert_eq(view_push(view, &bytes, &spare), 0);
    }
    spw_bytes_release(&piece);
}

static unsigned walked_by_seek(struct spw_view *view, uint64_t entries)
{
    unsigned before = view->walked;
    spw_cursor cursor = spw_view_seek(view, entries * LEN);
    cr_assert_eq(spw_cursor_kind(&cursor), SPILLWAY_ENTRY_BYTES);
    cr_assert_eq(cursor_sums_before(NULL, &cursor).count, entries);
    return view->walked - before;
}

Test(places, a_place_is_sought_from_the_nearest_known_one)
{
    struct spw_view view;
    spw_bytes out;
    view_init(&view, &fault_allocator, NULL);
    view_fill(&view, ENTRIES);
    cr_assert_leq(walked_by_seek(&view, 20), 3, "near the front");
    cr_assert_leq(walked_by_seek(&view, ENTRIES - 20), 4, "near the end");
    cr_assert_leq(walked_by_seek(&view, ENTRIES / 2), ENTRIES / 8 / 2 + 1);
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert_leq(walked_by_seek(&view, ENTRIES / 2 + i), 1, "the same place, or the next");
        view_fill(&view, 1);
        view_pop(&view, &out, 1);
        spw_bytes_release(&out);
    }
    cr_assert_leq(walked_by_seek(&view, ENTRIES / 2 - 500), 1 + 600 / 8);
    unsigned before = view.walked;
    spw_cursor cursor = spw_view_seek(&view, ENTRIES / 2 * LEN);
    cr_assert_eq(cursor_sums_before(&view, &cursor).count, ENTRIES / 2);
    cr_assert_leq(view.walked - before, 1 + 500 / 8 + 1, "what is before it is known");
    cr_assert(view_is_valid(&view));
    view_fini(&view);
}

/* A place is what it was, whatever happens to the entries before it or to itself. */
Test(places, places_follow_rewrites)
{
    struct random random = random_open("places::places_follow_rewrites");
    struct boxes boxes;
    struct spw_view view;
    spw_bytes out;
    boxes_init(&boxes);
    view_init(&view, &fault_allocator, NULL);
    view_fill(&view, 3000);
    for (unsigned i = 0; i < test_scaled(3000); i++) {
        uint64_t resident = spw_view_resident_bytes(&view);
        spw_cursor cursor = spw_view_seek(&view, random_below(&random, resident + 1));
        if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES) {
            spw_cursor walk = cursor_at(cursor.stretch);
            struct list_sums sums = cursor_sums_before(&view, &cursor), plain = {0};
            for (; walk.block != cursor.block || walk.index != cursor.index; spw_cursor_next(&walk))
                sums_add_entry(&plain, walk.block, walk.index);
            cr_assert_eq(sums.count, plain.count);
            cr_assert_eq(sums.bytes, plain.bytes);
            cr_assert_eq(sums.foreign_bytes, plain.foreign_bytes);
        }
        switch (random_below(&random, 5)) {
        case 0:
            spw_view_spill(&view, &cursor, random_below(&random, 2000), &boxes.strategy);
            break;
        case 1:
            cursor = spw_view_head(&view);
            if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES)
                spw_cursor_skip(&cursor);
            spw_view_fetch(&view, &cursor, 0);
            break;
        case 2:
            view_fill(&view, random_below(&random, 20));
            break;
        default:
            for (unsigned k = 0; k < 5 && view.first && !view.first->paged; k++) {
                view_pop(&view, &out, 1);
                spw_bytes_release(&out);
            }
        }
        cr_assert(view_is_valid(&view));
    }
    view_fini(&view);
    cr_assert_eq(boxes.live, 0);
}

/* ---- patience ---- */

struct seeker {
    spw_policy policy;
    unsigned applied, most_walked;
    bool found;
};

static void seeker_apply(spw_policy *policy, spw_view *view)
{
    struct seeker *seeker = (struct seeker *)policy;
    unsigned before = view->walked;
    spw_cursor cursor = spw_view_seek(view, spw_view_resident_bytes(view) / 2);
    unsigned walked = view->walked - before;
    seeker->applied++;
    seeker->most_walked = walked > seeker->most_walked ? walked : seeker->most_walked;
    seeker->found = spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES;
    cr_assert_neq(seeker->found, spw_view_should_pause(view) && walked == VIEW_PATIENCE);
}

static void seeker_close(spw_policy *policy)
{
    (void)policy;
}

static const spw_policy_ops seeker_ops = {
    .size = sizeof(seeker_ops), .name = "seeker", .apply = seeker_apply, .close = seeker_close};

Test(places, a_far_place_is_found_in_several_times)
{
    struct seeker seeker = {.policy = {&seeker_ops}};
    spw_queue_options options = {.size = sizeof(options), .writer_policy = &seeker.policy};
    struct ends ends;
    cr_assert_eq(spw_queue_open(&options, &ends.writer, &ends.reader), 0);
    /* So that the first look comes late. */
    ends.writer->queue->writer_rest = rest_forever();
    static spw_bytes bytes[1000];
    spw_bytes piece = stream_piece(0, LEN);
    for (unsigned i = 0; i < 260; i++) { /* 2000 blocks: the middle is 1000 away */
        for (unsigned k = 0; k < 1000; k++)
            bytes[k] = spw_bytes_clone(&piece);
        cr_assert_eq(spw_writer_extend(ends.writer, bytes, 1000, 0), 0);
    }
    cr_assert_eq(seeker.applied, 0);
    ends.writer->queue->writer_rest = rest_none();
    while (!seeker.found && seeker.applied < 100) {
        bytes[0] = spw_bytes_clone(&piece);
        cr_assert_eq(spw_writer_extend(ends.writer, bytes, 1, 0), 0);
    }
    cr_assert(seeker.found);
    cr_assert_geq(seeker.applied, 4);
    cr_assert_leq(seeker.applied, 5);
    cr_assert_leq(seeker.most_walked, VIEW_PATIENCE);
    spw_bytes_release(&piece);
    ends_close(&ends);
}

/* ---- spilling a little at a time ---- */

struct portions {
    spw_strategy strategy;
    struct boxes boxes;
    struct queue *queue;
    unsigned spills, settles, at_once, most_at_once;
};

static int portions_spill(spw_strategy *strategy, spw_chunks *chunks, spw_sink *sink)
{
    struct portions *portions = (struct portions *)strategy;
    portions->spills++;
    if (++portions->at_once > portions->most_at_once)
        portions->most_at_once = portions->at_once;
    cr_assert_leq(chunks->bytes, 100 * LEN, "no more than a run is offered");
    return portions->boxes.strategy.ops->spill(&portions->boxes.strategy, chunks, sink);
}

static void portions_limits(spw_strategy *strategy, spw_limits *limits)
{
    ((struct portions *)strategy)->at_once = 0; /* asked once in each apply */
    limits->run_bytes = 100 * LEN;
}

static void portions_close(spw_strategy *strategy)
{
    (void)strategy;
}

static const spw_strategy_ops portions_ops = {.size = sizeof(portions_ops),
                                              .name = "portions",
                                              .spill = portions_spill,
                                              .limits = portions_limits,
                                              .close = portions_close};

/* One extend brings much at once: all of it is spilled before that returns, but not in one go. */
Test(places, much_is_spilled_a_few_runs_at_a_time)
{
    struct portions portions = {.strategy = {&portions_ops}};
    spw_threshold_config config = {
        .size = sizeof(config), .threshold_bytes = 500 * LEN, .head_reserve_bytes = 100 * LEN};
    spw_queue_options options = {.size = sizeof(options)};
    struct ends ends;
    boxes_init(&portions.boxes);
    cr_assert_eq(spw_threshold_open(&portions.strategy, &config, &options.writer_policy), 0);
    cr_assert_eq(spw_queue_open(&options, &ends.writer, &ends.reader), 0);
    static spw_bytes bytes[5000];
    spw_bytes piece = stream_piece(0, LEN);
    for (unsigned k = 0; k < 5000; k++)
        bytes[k] = spw_bytes_clone(&piece);
    cr_assert_eq(spw_writer_extend(ends.writer, bytes, 5000, 0), 0);
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_writer_info(ends.writer, &info), 0);
    cr_assert_eq(info.resident_bytes, 101 * LEN, "the head reserve and the last");
    cr_assert_eq(portions.spills, 49);
    cr_assert_leq(portions.most_at_once, VIEW_PATIENCE / PATIENCE_OF_SPILL);
    spw_bytes_release(&piece);
    ends_close(&ends);
}

/* ---- prefetch ---- */

struct claim {
    spw_handle handle;
    unsigned *asked, *fetches;
    spw_chunks chunks;
};

static int claim_fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    (void)flags;
    (void)out;
    ++*((struct claim *)handle)->fetches;
    return -EAGAIN;
}

static uint64_t claim_size(const spw_handle *handle)
{
    return ((const struct claim *)handle)->chunks.bytes;
}

static size_t claim_count(const spw_handle *handle)
{
    return ((const struct claim *)handle)->chunks.count;
}

static void claim_drop(spw_handle *handle)
{
    spw_chunks_clear(&((struct claim *)handle)->chunks);
}

static int claim_prefetch(spw_handle *handle, unsigned flags)
{
    /* Once more where it is the next one: that is another matter. */
    *((struct claim *)handle)->asked += !(flags & SPILLWAY_FETCH_NEXT);
    return 0;
}

static const spw_handle_ops claim_ops = {.size = sizeof(claim_ops),
                                         .fetch = claim_fetch,
                                         .size_bytes = claim_size,
                                         .count = claim_count,
                                         .drop = claim_drop,
                                         .prefetch = claim_prefetch};

enum { CLAIMS = 2000, AHEAD = 1000 };

static void page_one(struct spw_view *view, uint64_t at, struct claim *claim)
{
    spw_cursor cursor = spw_view_seek(view, at);
    struct list_sums one = {0};
    sums_add_entry(&one, cursor.block, cursor.index);
    claim->chunks.bytes = one.bytes; /* until the chunks are there */
    spw_chunks removed = SPILLWAY_CHUNKS_NONE;
    cr_assert_eq(spw_view_page(view, &cursor, 1, &claim->handle, &removed), 0);
    claim->chunks = removed;
}

/* AHEAD entries are resident in front, then CLAIMS handles of one entry each. */
Test(places, prefetch_asks_each_handle_once)
{
    static struct claim claims[CLAIMS + 1];
    unsigned asked = 0, fetches = 0;
    struct spw_view view;
    spw_bytes out;
    view_init(&view, &fault_allocator, NULL);
    view_fill(&view, AHEAD + CLAIMS + 10);
    for (unsigned i = 0; i <= CLAIMS; i++)
        claims[i] = (struct claim){.handle = {&claim_ops}, .asked = &asked, .fetches = &fetches};
    for (unsigned i = 0; i < CLAIMS; i++)
        page_one(&view, AHEAD * LEN, &claims[i]);
    spw_prefetch_config config = {.size = sizeof(config),
                                  .budget_bytes = (AHEAD + CLAIMS / 2) * LEN};
    spw_policy *policy;
    cr_assert_eq(spw_prefetch_open(&config, &policy), 0);
    policy->ops->apply(policy, &view);
    cr_assert_eq(asked, CLAIMS / 2);
    unsigned walked = view.walked;
    for (unsigned i = 1; i <= 500; i++) {
        view_pop(&view, &out, 1);
        spw_bytes_release(&out);
        policy->ops->apply(policy, &view);
        cr_assert_eq(asked, CLAIMS / 2 + i, "the one that has come into reach, and no other");
    }
    cr_assert_leq(view.walked - walked, 2 * 500);
    cr_assert_leq(fetches, 40, "%u tries of what is not there", fetches);
    for (unsigned i = 0; i < 500; i++)
        policy->ops->apply(policy, &view);
    cr_assert_eq(asked, CLAIMS / 2 + 500);

    /* What is paged nearer to the head than that is asked for as well. */
    page_one(&view, 100 * LEN, &claims[CLAIMS]);
    policy->ops->apply(policy, &view);
    cr_assert_geq(asked, CLAIMS / 2 + 501);

    /* One that should be there and is not: the others may be late too. */
    for (unsigned i = 0; i < 100; i++) {
        view_pop(&view, &out, 1);
        spw_bytes_release(&out);
    }
    unsigned before = asked;
    policy->ops->apply(policy, &view);
    cr_assert_geq(asked, before + CLAIMS / 2 + 500);
    cr_assert_leq(asked, before + CLAIMS / 2 + 700);
    before = asked;
    for (unsigned i = 0; i < 10; i++)
        policy->ops->apply(policy, &view);
    cr_assert_eq(asked, before + 10, "once; then the head alone");
    cr_assert(view_is_valid(&view));
    policy->ops->close(policy);
    view_fini(&view);
}

/* ---- draining much at once ---- */

Test(places, a_long_drain_lets_others_in)
{
    static const struct setting settings[] = {
        {"memory", "8MiB"}, {"tiers", "none"}, {"timing", "all"}, {NULL, NULL}};
    static spw_bytes bytes[1000];
    struct bed bed;
    bed_open(&bed, settings, 0);
    struct ends ends = ends_open(&bed);
    spw_bytes piece = stream_piece(0, LEN);
    for (unsigned k = 0; k < 1000; k++)
        bytes[k] = spw_bytes_clone(&piece);
    cr_assert_eq(spw_writer_extend(ends.writer, bytes, 1000, 0), 0);
    spw_histograms before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    cr_assert_eq(spw_pool_histograms(bed.pool, &before), 0);
    cr_assert_eq(spw_reader_drain(ends.reader, bytes, 1000), 1000);
    cr_assert_eq(spw_pool_histograms(bed.pool, &after), 0);
    cr_assert_eq(spw_histogram_count(&after.lock_hold_ns) -
                     spw_histogram_count(&before.lock_hold_ns),
                 4, "256 at a time");
    for (unsigned k = 0; k < 1000; k++)
        spw_bytes_release(&bytes[k]);
    spw_bytes_release(&piece);
    ends_close(&ends);
    bed_close(&bed);
}
