/* SPDX-License-Identifier: MIT */
/*
 * Random operations on a queue, against a plain list of chunks: order, content,
 * boundaries, counters, accounts, after every operation; with policies that rewrite at
 * random, spills and fetches that fail, and allocations that fail.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/queue.h"
#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

enum { MOST = 4096, SLABS = 3, SLAB_BYTES = 3000, STEPS_PER_QUEUE = 400 };

/* A chunk that the queue should hold; chunks of one handle are several of these. */
struct chunk {
    uint64_t at;
    size_t len;
};

struct model {
    struct random random;
    bool asynchronous, rewriting;
    /* the queue */
    spw_writer *writer;
    spw_reader *reader;
    spw_mock *mock;
    spw_strategy *strategy; /* for the rewriting policies; else NULL */
    struct boxes boxes;     /* for what they page by hand */
    struct test_account account;
    spw_slab *slabs[SLABS];
    size_t depth; /* chunks that the writer aims at */
    /* what it should hold */
    struct chunk chunks[MOST];
    size_t count;
    uint64_t pushed, drained, skipped, merged;
    bool failed; /* the last drain told an error of the head, as it was at that time: */
    unsigned failed_changes;
    bool armed;
    int called;
    /* what the tests have reached */
    uint64_t rewrites, refused, skips, errors, calls;
};

/* ---- looking ---- */

/* Compares every entry; `contents` reads the bytes too. */
static void check_entries(const struct model *model, bool contents)
{
    const spw_view *view = writer_view(model->writer);
    size_t chunk = 0;
    uint64_t resident = 0;
    for (spw_cursor at = spw_view_head(view); spw_cursor_kind(&at) != SPILLWAY_ENTRY_NONE;
         spw_cursor_next(&at)) {
        const spw_bytes *bytes = spw_cursor_bytes(&at);
        spw_handle *handle = spw_cursor_handle(&at);
        size_t count = handle ? handle->ops->count(handle) : 1;
        uint64_t size = 0;
        cr_assert_leq(chunk + count, model->count);
        if (bytes && contents)
            cr_assert(stream_is(bytes, model->chunks[chunk].at), "chunk %zu", chunk);
        for (; count > 0; count--)
            size += model->chunks[chunk++].len;
        cr_assert_eq(spw_cursor_size(&at), size, "an entry up to chunk %zu", chunk);
        resident += bytes ? bytes->len : 0;
    }
    cr_assert_eq(chunk, model->count);
    cr_assert_eq(model->account.account.counters->resident_foreign_bytes, resident);
}

static void check_all(struct model *model, bool contents)
{
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert(view_is_valid(writer_view(model->writer)));
    check_entries(model, contents);
    cr_assert_eq(spw_writer_info(model->writer, &info), 0);
    cr_assert_eq(info.resident_bytes + info.paged_bytes,
                 model->pushed - model->drained - model->skipped);
    cr_assert_eq(info.extended_bytes_total, model->pushed);
    cr_assert_eq(info.drained_bytes_total, model->drained);
    cr_assert_eq(info.skipped_bytes_total, model->skipped);
    cr_assert_eq(info.merged_total, model->merged);
    spw_mock_info mock = {.size = sizeof(mock)};
    cr_assert_eq(spw_mock_info_get(model->mock, &mock), 0);
    cr_assert_eq(mock.handles + model->boxes.live, info.paged_entries);
    cr_assert_leq(mock.bytes, info.paged_bytes);
}

/* ---- a policy that rewrites at random ---- */

struct rewriter {
    spw_policy policy;
    struct model *model;
};

static spw_cursor random_cursor(struct random *random, spw_view *view)
{
    if (random_percent(random, 30))
        return spw_view_seek(view, random_below(random, 1 + spw_view_resident_bytes(view)));
    spw_cursor at = spw_view_head(view);
    for (uint64_t n = random_below(random, 1 + spw_view_entries(view)); n > 0; n--)
        spw_cursor_next(&at);
    if (random_percent(random, 20))
        spw_cursor_skip(&at);
    return at;
}

/* The first chunk of the entry at a cursor. */
static size_t chunk_index(const spw_view *view, const spw_cursor *cursor)
{
    size_t index = 0;
    for (spw_cursor at = spw_view_head(view);
         at.block != cursor->block || at.index != cursor->index; spw_cursor_next(&at)) {
        spw_handle *handle = spw_cursor_handle(&at);
        index += handle ? handle->ops->count(handle) : 1;
    }
    return index;
}

/* How the policy's next calls go: with all allocations, or without the n-th. */
static void maybe_fail(struct random *random)
{
    fault_alloc_after(random_percent(random, 30) ? 1 + random_below(random, 5) : 0);
}

/* Pages some entries by hand. */
static long rewrite_page(struct model *model, spw_view *view, spw_cursor *at)
{
    spw_chunks copy = SPILLWAY_CHUNKS_NONE, removed = SPILLWAY_CHUNKS_NONE;
    size_t count = 1 + (size_t)random_below(&model->random, 6);
    spw_cursor from = *at;
    for (size_t i = 0; i < count; i++, spw_cursor_next(&from)) {
        const spw_bytes *bytes = spw_cursor_bytes(&from);
        if (!bytes) {
            count = i;
            break;
        }
        spw_bytes clone = spw_bytes_clone(bytes);
        cr_assert_eq(spw_chunks_push(&copy, &clone, &fault_allocator), 0);
    }
    spw_handle *handle = box_open(&model->boxes, &copy);
    maybe_fail(&model->random);
    int err = spw_view_page(view, at, count, handle, &removed);
    fault_alloc_after(0);
    cr_assert_eq(removed.count, err ? 0 : count);
    spw_chunks_clear(&removed);
    if (err)
        handle->ops->drop(handle);
    cr_assert(err == 0 || err == -ENOMEM || (count == 0 && err == -EINVAL));
    return err;
}

/* Replaces a handle by what is behind it, by hand. */
static long rewrite_unpage(struct model *model, spw_view *view, spw_cursor *at)
{
    spw_handle *handle = spw_cursor_handle(at), *out = NULL;
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    if (!handle)
        return -EINVAL;
    size_t first = chunk_index(view, at), count = handle->ops->count(handle);
    for (size_t i = first; i < first + count; i++) {
        spw_bytes bytes = stream_piece(model->chunks[i].at, model->chunks[i].len);
        cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
    }
    maybe_fail(&model->random);
    int err = spw_view_unpage(view, at, &chunks, &out);
    fault_alloc_after(0);
    if (err) {
        cr_assert_eq(err, -ENOMEM);
        cr_assert_null(out);
        spw_chunks_clear(&chunks);
        return err;
    }
    cr_assert_eq((uintptr_t)out, (uintptr_t)handle);
    out->ops->drop(out);
    return 0;
}

static long rewrite_spill(struct model *model, spw_view *view, spw_cursor *at)
{
    uint64_t most =
        random_percent(&model->random, 50) ? UINT64_MAX : random_below(&model->random, 500);
    maybe_fail(&model->random);
    long got = spw_view_spill(view, at, most, model->strategy);
    fault_alloc_after(0);
    return got;
}

static long rewrite_fetch(struct model *model, spw_view *view, spw_cursor *at)
{
    maybe_fail(&model->random);
    long got = spw_view_fetch(view, at, SPILLWAY_FETCH_NOWAIT);
    fault_alloc_after(0);
    return got;
}

static void rewriter_apply(spw_policy *policy, spw_view *view)
{
    static struct seen before[MOST], after[MOST];
    struct model *model = ((struct rewriter *)policy)->model;
    fault_alloc_after(0); /* what the test itself needs from here on */
    for (uint64_t n = random_below(&model->random, 4); n > 0; n--) {
        spw_cursor at = random_cursor(&model->random, view);
        if (spw_cursor_kind(&at) == SPILLWAY_ENTRY_NONE)
            continue;
        size_t count = view_see(view, before, MOST);
        bool resident = spw_cursor_kind(&at) == SPILLWAY_ENTRY_BYTES;
        bool by_hand = random_percent(&model->random, 40);
        long got = resident ? (by_hand ? rewrite_page : rewrite_spill)(model, view, &at)
                            : (by_hand ? rewrite_unpage : rewrite_fetch)(model, view, &at);
        model->rewrites += got >= 0;
        cr_assert(view_is_valid(view));
        if (got < 0) {
            cr_assert_eq(view_see(view, after, MOST), count);
            cr_assert_eq(memcmp(before, after, count * sizeof(before[0])), 0,
                         "a failed call changes nothing");
            model->refused++;
        }
    }
}

static void rewriter_close(spw_policy *policy)
{
    free(policy);
}

static const spw_policy_ops rewriter_ops = {.size = sizeof(rewriter_ops),
                                            .name = "rewriter",
                                            .apply = rewriter_apply,
                                            .close = rewriter_close};

static spw_policy *rewriter_open(struct model *model)
{
    struct rewriter *rewriter = malloc(sizeof(*rewriter));
    cr_assert_not_null(rewriter);
    *rewriter = (struct rewriter){{&rewriter_ops}, model};
    return &rewriter->policy;
}

/* ---- the life of one queue ---- */

static void model_policies(struct model *model, spw_queue_options *options)
{
    struct random *random = &model->random;
    if (model->rewriting) {
        options->writer_policy = rewriter_open(model);
        options->reader_policy = random_percent(random, 70) ? rewriter_open(model) : NULL;
        cr_assert_eq(spw_mock_strategy(model->mock, &model->strategy), 0);
        return;
    }
    spw_threshold_config threshold = {.size = sizeof(threshold),
                                      .threshold_bytes = random_below(random, 2000),
                                      .head_reserve_bytes = random_below(random, 1000),
                                      .allocator = &fault_allocator};
    spw_prefetch_config prefetch = {.size = sizeof(prefetch),
                                    .budget_bytes = random_below(random, 2000),
                                    .allocator = &fault_allocator};
    spw_strategy *strategy;
    cr_assert_eq(spw_mock_strategy(model->mock, &strategy), 0);
    cr_assert_eq(spw_threshold_open(strategy, &threshold, &options->writer_policy), 0);
    if (random_percent(random, 80))
        cr_assert_eq(spw_prefetch_open(&prefetch, &options->reader_policy), 0);
}

static void model_open(struct model *model)
{
    struct random *random = &model->random;
    spw_mock_config config = {.size = sizeof(config),
                              .asynchronous = model->asynchronous,
                              .chunks_per_handle = random_below(random, 8),
                              .max_chunks_per_spill =
                                  random_percent(random, 50) ? 0 : 1 + random_below(random, 30),
                              .allocator = &fault_allocator};
    spw_queue_options options = {.size = sizeof(options), .allocator = &fault_allocator};
    test_account_init(&model->account);
    boxes_init(&model->boxes);
    options.account = &model->account.account;
    cr_assert_eq(spw_mock_open(&config, &model->mock), 0);
    model_policies(model, &options);
    cr_assert_eq(spw_queue_open(&options, &model->writer, &model->reader), 0);
    for (int i = 0; i < SLABS; i++)
        cr_assert_eq(spw_slab_open(SLAB_BYTES, &fault_allocator, &model->slabs[i]), 0);
    model->depth = random_percent(random, 10) ? 1200 : random_below(random, 150);
    model->count = 0;
    model->pushed = model->drained = model->skipped = model->merged = 0;
    model->failed = model->armed = false;
    model->called = 0;
}

static void model_close(struct model *model)
{
    bool abort = random_percent(&model->random, 50);
    if (random_percent(&model->random, 50))
        spw_writer_abort(model->writer, -EIO);
    else
        spw_writer_close(model->writer);
    if (abort)
        spw_reader_abort(model->reader, -EIO);
    else
        spw_reader_close(model->reader);
    if (model->strategy)
        model->strategy->ops->close(model->strategy);
    model->strategy = NULL;
    spw_mock_close(model->mock);
    for (int i = 0; i < SLABS; i++)
        spw_slab_close(model->slabs[i]);
    cr_assert_eq(model->boxes.live, 0);
    cr_assert_eq(model->account.account.counters->resident_foreign_bytes, 0);
    cr_assert_eq(model->account.account.counters->entry_block_bytes, 0);
    cr_assert_eq(model->account.holders, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- operations ---- */

static void count_call(void *context)
{
    struct model *model = context;
    model->called++;
    model->calls++;
}

static spw_bytes next_value(struct model *model, uint64_t at)
{
    struct random *random = &model->random;
    spw_slab **slab = &model->slabs[random_below(random, SLABS)];
    size_t len = (size_t)random_below(random, 60);
    spw_bytes value;
    if (random_percent(random, 30))
        return stream_piece(at, len);
    if (spw_slab_room(*slab) < len && spw_slab_regain(*slab) != 0) {
        spw_slab_close(*slab);
        cr_assert_eq(spw_slab_open(SLAB_BYTES, &fault_allocator, slab), 0);
    }
    stream_fill(spw_slab_space(*slab), at, len);
    cr_assert_eq(spw_slab_cut(*slab, len, &value), 0);
    return value;
}

/* The resident entry that the next value may merge into; empty when there is none. */
static spw_bytes tail_of(const spw_view *view)
{
    spw_bytes tail = SPILLWAY_BYTES_NONE;
    if (view->last && !view->last->paged) {
        const struct spw_block *block = view->last->list.last;
        tail = block->entries[block->end - 1].bytes;
    }
    return tail;
}

static void model_push(struct model *model, const spw_bytes *value, spw_bytes *tail)
{
    if (value->len == 0)
        return;
    if (tail->owner && tail->owner == value->owner && tail->data + tail->len == value->data) {
        model->chunks[model->count - 1].len += value->len;
        tail->len += value->len;
        model->merged++;
    } else {
        cr_assert_lt(model->count, MOST);
        model->chunks[model->count++] = (struct chunk){model->pushed, value->len};
        *tail = *value;
    }
    model->pushed += value->len;
}

static void do_extend(struct model *model)
{
    struct random *random = &model->random;
    spw_bytes values[200];
    size_t count = (size_t)random_below(random, random_percent(random, 4) ? 200 : 10);
    uint64_t at = model->pushed;
    for (size_t i = 0; i < count; i++) {
        values[i] = next_value(model, at);
        at += values[i].len;
    }
    spw_bytes tail = tail_of(writer_view(model->writer)), given[200];
    memcpy(given, values, sizeof(values[0]) * count);
    /* The policy is called with everything in place, so the model has to be there before. */
    struct chunk last = model->count ? model->chunks[model->count - 1] : (struct chunk){0, 0};
    size_t before = model->count;
    uint64_t pushed = model->pushed, merged = model->merged;
    for (size_t i = 0; i < count; i++)
        model_push(model, &given[i], &tail);
    if (random_percent(random, 30))
        fault_alloc_after(1 + random_below(random, random_percent(random, 50) ? 1 : 5));
    int err = spw_writer_extend(model->writer, values, count, 0);
    fault_alloc_after(0);
    if (err) {
        cr_assert_eq(err, -ENOMEM);
        cr_assert_eq(memcmp(given, values, sizeof(values[0]) * count), 0, "nothing was taken");
        model->refused++;
        model->count = before;
        model->pushed = pushed;
        model->merged = merged;
        if (before > 0)
            model->chunks[before - 1] = last;
    }
    for (size_t i = 0; i < count; i++) {
        cr_assert(err || !values[i].owner);
        spw_bytes_release(&values[i]);
    }
    spw_cursor head = spw_view_head(writer_view(model->writer));
    if (model->armed && spw_cursor_kind(&head) == SPILLWAY_ENTRY_BYTES)
        cr_assert_eq(model->called, 1, "a wake-up was lost");
}

static void drop_chunks(struct model *model, size_t count)
{
    cr_assert_leq(count, model->count);
    model->count -= count;
    memmove(model->chunks, model->chunks + count, model->count * sizeof(model->chunks[0]));
}

static void check_drained(struct model *model, spw_bytes *out, long got, size_t capacity)
{
    for (long i = 0; i < got; i++) {
        cr_assert_eq(out[i].len, model->chunks[i].len);
        cr_assert(stream_is(&out[i], model->chunks[i].at));
        model->drained += out[i].len;
        spw_bytes_release(&out[i]);
    }
    if (got > 0)
        drop_chunks(model, (size_t)got);
    spw_cursor head = spw_view_head(writer_view(model->writer));
    if (got > 0 && (size_t)got < capacity)
        cr_assert_neq((int)spw_cursor_kind(&head), SPILLWAY_ENTRY_BYTES, "stopped too early");
}

static void do_drain(struct model *model)
{
    struct random *random = &model->random;
    spw_bytes out[64];
    size_t capacity = 1 + (size_t)random_below(random, random_percent(random, 80) ? 10 : 64);
    bool waits = random_percent(random, 10);
    if (random_percent(random, 15))
        fault_alloc_after(1 + random_below(random, 4));
    long got = waits ? spw_reader_drain_wait(model->reader, out, capacity, 0)
                     : spw_reader_drain(model->reader, out, capacity);
    fault_alloc_after(0);
    if (got == -ETIMEDOUT && waits)
        got = -EAGAIN;
    cr_assert(got > 0 || got == -EAGAIN || got == -EIO || got == -ENOMEM, "%ld", got);
    check_drained(model, out, got, capacity);
    model->armed = false;        /* whoever drains arms again */
    model->failed = got == -EIO; /* short memory says nothing about the run */
    model->failed_changes = writer_view(model->writer)->head_changes;
    model->errors += got == -EIO || got == -ENOMEM;
    if (got == -EAGAIN && !model->asynchronous)
        cr_assert_eq(model->count, 0, "nothing is to be waited for");
}

static void do_skip(struct model *model)
{
    const spw_view *view = writer_view(model->writer);
    spw_cursor head = spw_view_head(view);
    spw_handle *handle = spw_cursor_handle(&head);
    bool may = model->failed && handle && view->head_changes == model->failed_changes;
    size_t count = handle ? handle->ops->count(handle) : 0;
    uint64_t size = spw_cursor_size(&head), lost = 0;
    bool armed = model->armed;
    int err = spw_reader_skip(model->reader, &lost);
    cr_assert_eq(err, may ? 0 : -EINVAL);
    if (err)
        return;
    cr_assert(!armed || model->called == 1, "a wake-up was lost");
    model->armed = false;
    cr_assert_eq(lost, size);
    model->skipped += lost;
    drop_chunks(model, count);
    model->failed = false;
    model->skips++;
}

static void do_arm(struct model *model)
{
    model->called = 0;
    int armed = spw_reader_arm(model->reader, count_call, model);
    spw_cursor head = spw_view_head(writer_view(model->writer));
    if (spw_cursor_kind(&head) == SPILLWAY_ENTRY_BYTES)
        cr_assert_eq(armed, 1);
    else
        cr_assert(armed == 0 || (armed == 1 && model->count > 0), "%d", armed);
    model->armed = armed == 0;
    cr_assert_eq(model->called, 0);
}

static void do_mischief(struct model *model)
{
    struct random *random = &model->random;
    unsigned times = (unsigned)random_below(random, 3);
    switch (random_below(random, 4)) {
    case 0:
        spw_mock_fail_spill(model->mock, -ENOSPC, times);
        break;
    case 1:
        spw_mock_fail_fetch(model->mock, -EIO, times);
        break;
    case 2:
        model->boxes.fetch_failures = times;
        break;
    default:
        if (model->asynchronous)
            spw_mock_load(model->mock, random_below(random, 10));
    }
}

static void model_step(struct model *model)
{
    struct random *random = &model->random;
    uint64_t dice = random_below(random, 100);
    unsigned push = model->count < model->depth ? 55 : 20;
    if (dice < push)
        do_extend(model);
    else if (dice < 80)
        do_drain(model);
    else if (dice < 84)
        do_skip(model);
    else if (dice < 88)
        do_arm(model);
    else
        do_mischief(model);
    check_all(model, dice % 8 == 0);
}

/* Everything comes out in the end, whatever failed on the way. */
static void model_finish(struct model *model)
{
    spw_mock_fail_spill(model->mock, 0, 0);
    spw_mock_fail_fetch(model->mock, 0, 0);
    model->boxes.fetch_failures = 0;
    for (uint64_t tries = 0; model->count > 0; tries++) {
        spw_bytes out[64];
        long got = spw_reader_drain(model->reader, out, 64);
        cr_assert(got > 0 || got == -EAGAIN, "%ld", got);
        check_drained(model, out, got, 64);
        spw_mock_load(model->mock, 100);
        cr_assert_lt(tries, 100000, "it never ends");
    }
    check_all(model, true);
}

static void run_model(const char *name, bool asynchronous, bool rewriting)
{
    struct model *model = calloc(1, sizeof(*model));
    cr_assert_not_null(model);
    model->random = random_open(name);
    model->asynchronous = asynchronous;
    model->rewriting = rewriting;
    uint64_t steps = test_scaled(40000);
    while (steps > 0) {
        uint64_t some = steps < STEPS_PER_QUEUE ? steps : STEPS_PER_QUEUE;
        steps -= some;
        model_open(model);
        while (some-- > 0)
            model_step(model);
        if (random_percent(&model->random, 50))
            model_finish(model);
        model_close(model);
    }
    /* A test that never got anywhere would prove nothing. */
    if (test_scaled(100) >= 100) {
        cr_assert_gt(model->refused, 10);
        cr_assert_gt(model->errors, 50);
        cr_assert_gt(model->skips, 4);
        cr_assert_gt(model->calls, 4);
        cr_assert(!rewriting || model->rewrites > 1000);
    }
    free(model);
}

Test(model, synchronous_policies)
{
    run_model("model::synchronous_policies", false, false);
}

Test(model, asynchronous_policies)
{
    run_model("model::asynchronous_policies", true, false);
}

Test(model, synchronous_rewriting)
{
    run_model("model::synchronous_rewriting", false, true);
}

Test(model, asynchronous_rewriting)
{
    run_model("model::asynchronous_rewriting", true, true);
}
