/* SPDX-License-Identifier: MIT */
/*
 * The rules that the two policies and the queue started from: the two tests they
 * came with, and a plain model of both policies (arrays, scanned at each call)
 * against ours, entry by entry, with spills that stop partway and fetches that fail.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

/* ---- the first test: an eager policy moves the middle ---- */

struct eager {
    spw_policy policy;
    spw_strategy *strategy;
};

/* Spills every resident entry but the last. */
static void eager_apply(spw_policy *policy, spw_view *view)
{
    struct eager *eager = (struct eager *)policy;
    spw_cursor at = spw_view_head(view);
    while (spw_cursor_kind(&at) != SPILLWAY_ENTRY_NONE) {
        if (spw_cursor_kind(&at) == SPILLWAY_ENTRY_HANDLE)
            spw_cursor_next(&at);
        else if (spw_view_spill(view, &at, UINT64_MAX, eager->strategy) <= 0)
            return;
    }
}

static void eager_close(spw_policy *policy)
{
    spw_strategy *strategy = ((struct eager *)policy)->strategy;
    strategy->ops->close(strategy);
}

static const spw_policy_ops eager_ops = {
    .size = sizeof(eager_ops),
    .name = "eager",
    .apply = eager_apply,
    .close = eager_close,
};

Test(seed, eager_policy_moves_middle_entries)
{
    spw_mock *mock;
    struct eager eager = {{&eager_ops}, NULL};
    cr_assert_eq(spw_mock_open(NULL, &mock), 0);
    cr_assert_eq(spw_mock_strategy(mock, &eager.strategy), 0);
    spw_mock_close(mock);
    spw_queue_options options = {.size = sizeof(options), .writer_policy = &eager.policy};
    spw_writer *writer;
    spw_reader *reader;
    cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);
    spw_bytes values[4];
    for (uint64_t i = 0; i < 4; i++)
        values[i] = stream_piece(i * 8, 8);
    cr_assert_eq(spw_writer_extend(writer, values, 4, 0), 0);

    struct seen seen[5];
    cr_assert_eq(view_see(writer_view(writer), seen, 5), 4);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq((int)seen[i].kind, SPILLWAY_ENTRY_HANDLE);
        cr_assert_eq(seen[i].size_bytes, 8);
    }
    cr_assert_eq((int)seen[3].kind, SPILLWAY_ENTRY_BYTES);
    spw_writer_close(writer);
    spw_reader_close(reader);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- the second test: a hundred chunks through both policies ---- */

Test(seed, round_trip_through_both_policies)
{
    enum { RESERVE = 128, COUNT = 100, LEN = 64 };
    spw_mock *mock;
    spw_strategy *strategy;
    cr_assert_eq(spw_mock_open(NULL, &mock), 0);
    cr_assert_eq(spw_mock_strategy(mock, &strategy), 0);
    spw_threshold_config threshold = {
        .size = sizeof(threshold), .threshold_bytes = 512, .head_reserve_bytes = RESERVE};
    spw_prefetch_config prefetch = {.size = sizeof(prefetch), .budget_bytes = RESERVE};
    spw_queue_options options = {.size = sizeof(options)};
    cr_assert_eq(spw_threshold_open(strategy, &threshold, &options.writer_policy), 0);
    cr_assert_eq(spw_prefetch_open(&prefetch, &options.reader_policy), 0);
    spw_writer *writer;
    spw_reader *reader;
    cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);

    for (uint64_t i = 0; i < COUNT; i++) {
        spw_bytes value = stream_piece(i * LEN, LEN);
        cr_assert_eq(spw_writer_extend(writer, &value, 1, 0), 0);
    }
    spw_mock_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_mock_info_get(mock, &info), 0);
    cr_assert_gt(info.chunks_total, COUNT / 2, "most of it was spilled");

    uint64_t at = 0;
    spw_bytes out[16];
    long got;
    while ((got = spw_reader_drain(reader, out, 16)) > 0)
        for (long i = 0; i < got; i++) {
            cr_assert(out[i].len == LEN && stream_is(&out[i], at));
            at += out[i].len;
            spw_bytes_release(&out[i]);
        }
    cr_assert_eq(got, -EAGAIN, "the writer is still there");
    cr_assert_eq(at, COUNT * LEN);
    spw_writer_close(writer);
    cr_assert_eq(spw_reader_drain(reader, out, 16), 0);
    spw_reader_close(reader);
    cr_assert_eq(spw_mock_info_get(mock, &info), 0);
    cr_assert_eq(info.handles, 0);
    spw_mock_close(mock);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- a model of both policies ---- */

enum { MOST = 2048 };

struct model_entry {
    bool paged;
    uint64_t at;
    size_t len;
    const unsigned char *end; /* where a value would have to begin to merge here */
    void *owner;
};

struct model {
    size_t count;
    struct model_entry entries[MOST];
    uint64_t threshold, head_reserve, budget;
};

static void model_push(struct model *model, const spw_bytes *value, uint64_t at)
{
    struct model_entry *last = model->count ? &model->entries[model->count - 1] : NULL;
    if (value->len == 0)
        return;
    if (last && !last->paged && last->owner == value->owner && last->end == value->data) {
        last->len += value->len;
        last->end += value->len;
        return;
    }
    cr_assert_lt(model->count, MOST);
    model->entries[model->count++] =
        (struct model_entry){false, at, value->len, value->data + value->len, value->owner};
}

/* What past the head reserve goes when there is too much; `limit` chunks are taken. */
static void model_threshold(struct model *model, uint64_t limit)
{
    uint64_t resident = 0, cumulative = 0;
    for (size_t i = 0; i < model->count; i++)
        resident += model->entries[i].paged ? 0 : model->entries[i].len;
    if (resident <= model->head_reserve + model->threshold)
        return;
    for (size_t i = 0; i + 1 < model->count; i++) {
        struct model_entry *entry = &model->entries[i];
        if (entry->paged)
            continue;
        uint64_t len = entry->len;
        if (cumulative >= model->head_reserve && limit > 0) {
            entry->paged = true;
            limit--;
        }
        cumulative += len;
    }
}

/* Brings back what is within the budget; stops at the first fetch that fails. Returns whether the
 * head's was the one. */
static bool model_prefetch(struct model *model, uint64_t *fetches)
{
    uint64_t resident_head = 0;
    for (size_t i = 0; i < model->count && resident_head < model->budget; i++) {
        struct model_entry *entry = &model->entries[i];
        if (entry->paged) {
            if (*fetches == 0)
                return i == 0;
            --*fetches;
            entry->paged = false;
        }
        resident_head += entry->len;
    }
    return false;
}

/* A drain: the policy first; a head that it left alone is fetched all the same. */
static long model_drain(struct model *model, uint64_t fetches, size_t capacity, int fetch_error)
{
    bool failed = model_prefetch(model, &fetches);
    if (!failed && model->count > 0 && model->entries[0].paged) {
        failed = fetches == 0;
        model->entries[0].paged = failed;
    }
    size_t count = 0;
    while (count < capacity && count < model->count && !model->entries[count].paged)
        count++;
    if (count > 0)
        return (long)count;
    return failed ? fetch_error : -EAGAIN;
}

struct twin {
    struct model model;
    struct boxes boxes;
    spw_writer *writer;
    spw_reader *reader;
    spw_slab *slab;
    uint64_t pushed_at, drained_at;
};

static void twin_compare(const struct twin *twin)
{
    const spw_view *view = writer_view(twin->writer);
    size_t i = 0;
    cr_assert(view_is_valid(view));
    for (spw_cursor at = spw_view_head(view); spw_cursor_kind(&at) != SPILLWAY_ENTRY_NONE;
         spw_cursor_next(&at), i++) {
        const struct model_entry *want = &twin->model.entries[i];
        cr_assert_lt(i, twin->model.count);
        cr_assert_eq(spw_cursor_kind(&at) == SPILLWAY_ENTRY_HANDLE, want->paged, "entry %zu", i);
        cr_assert_eq(spw_cursor_size(&at), want->len, "entry %zu", i);
        const spw_bytes *bytes = spw_cursor_bytes(&at);
        cr_assert(!bytes || stream_is(bytes, want->at), "entry %zu", i);
    }
    cr_assert_eq(i, twin->model.count);
}

static spw_bytes twin_value(struct twin *twin, struct random *random)
{
    size_t len = (size_t)random_below(random, 40);
    spw_bytes value;
    if (random_percent(random, 50) && len <= spw_slab_room(twin->slab)) {
        stream_fill(spw_slab_space(twin->slab), twin->pushed_at, len);
        cr_assert_eq(spw_slab_cut(twin->slab, len, &value), 0);
        return value;
    }
    return stream_piece(twin->pushed_at, len);
}

static void twin_extend(struct twin *twin, struct random *random)
{
    spw_bytes values[8];
    size_t count = (size_t)random_below(random, 9);
    if (spw_slab_room(twin->slab) < 40) {
        spw_slab_close(twin->slab);
        cr_assert_eq(spw_slab_open(4000, &fault_allocator, &twin->slab), 0);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = twin_value(twin, random);
        model_push(&twin->model, &values[i], twin->pushed_at);
        twin->pushed_at += values[i].len;
    }
    uint64_t limit = random_percent(random, 60) ? UINT64_MAX : random_below(random, 20);
    twin->boxes.spill_limit = limit;
    model_threshold(&twin->model, limit);
    cr_assert_eq(spw_writer_extend(twin->writer, values, count, 0), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_null(values[i].owner);
}

static void twin_drain(struct twin *twin, struct random *random)
{
    spw_bytes out[32];
    size_t capacity = 1 + (size_t)random_below(random, 32);
    uint64_t fetches = random_percent(random, 60) ? UINT64_MAX : random_below(random, 8);
    twin->boxes.fetch_limit = fetches;
    long want = model_drain(&twin->model, fetches, capacity, twin->boxes.fetch_error);
    long got = spw_reader_drain(twin->reader, out, capacity);
    cr_assert_eq(got, want);
    for (long i = 0; i < got; i++) {
        cr_assert_eq(out[i].len, twin->model.entries[i].len);
        cr_assert(stream_is(&out[i], twin->drained_at));
        twin->drained_at += out[i].len;
        spw_bytes_release(&out[i]);
    }
    if (got > 0) {
        twin->model.count -= (size_t)got;
        memmove(twin->model.entries, twin->model.entries + got,
                twin->model.count * sizeof(twin->model.entries[0]));
    }
}

static void twin_open(struct twin *twin, struct random *random)
{
    memset(twin, 0, sizeof(*twin));
    boxes_init(&twin->boxes);
    twin->model.threshold = random_below(random, 600);
    twin->model.head_reserve = random_percent(random, 20) ? 0 : random_below(random, 300);
    twin->model.budget = random_percent(random, 10) ? 0 : random_below(random, 500);
    spw_threshold_config threshold = {.size = sizeof(threshold),
                                      .threshold_bytes = twin->model.threshold,
                                      .head_reserve_bytes = twin->model.head_reserve,
                                      .allocator = &fault_allocator};
    spw_prefetch_config prefetch = {.size = sizeof(prefetch),
                                    .budget_bytes = twin->model.budget,
                                    .allocator = &fault_allocator};
    spw_queue_options options = {.size = sizeof(options), .allocator = &fault_allocator};
    cr_assert_eq(spw_threshold_open(&twin->boxes.strategy, &threshold, &options.writer_policy), 0);
    cr_assert_eq(spw_prefetch_open(&prefetch, &options.reader_policy), 0);
    cr_assert_eq(spw_queue_open(&options, &twin->writer, &twin->reader), 0);
    cr_assert_eq(spw_slab_open(4000, &fault_allocator, &twin->slab), 0);
}

static void twin_close(struct twin *twin)
{
    spw_slab_close(twin->slab);
    spw_writer_close(twin->writer);
    spw_reader_close(twin->reader);
    cr_assert(twin->boxes.closed);
    cr_assert_eq(twin->boxes.live, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(seed, same_entries_as_the_plain_rules)
{
    struct random random = random_open("seed::same_entries_as_the_plain_rules");
    struct twin *twin = malloc(sizeof(*twin));
    cr_assert_not_null(twin);
    uint64_t queues = test_scaled(300);
    for (uint64_t q = 0; q < queues; q++) {
        twin_open(twin, &random);
        unsigned push = 30 + (unsigned)random_below(&random, 50);
        for (unsigned step = 0; step < 300; step++) {
            if (random_percent(&random, push) && twin->model.count < 1000)
                twin_extend(twin, &random);
            else
                twin_drain(twin, &random);
            twin_compare(twin);
        }
        twin_close(twin);
    }
    free(twin);
}
