/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/growable.h"
#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

#define MIB (UINT64_C(1) << 20)

/* ---- a strategy with limits of the test's choice around boxes ---- */

struct limited {
    spw_strategy strategy;
    struct boxes boxes;
    spw_limits limits;
    uint64_t room_bytes;
    int admit_error, settles;
    unsigned seen_flags;
    uint64_t seen_bytes;
    bool closed;
};

static int limited_spill(spw_strategy *strategy, spw_chunks *chunks, spw_sink *sink)
{
    spw_strategy *boxes = &((struct limited *)strategy)->boxes.strategy;
    return boxes->ops->spill(boxes, chunks, sink);
}

static void limited_limits(spw_strategy *strategy, spw_limits *limits)
{
    cr_assert_eq(limits->size, sizeof(*limits));
    *limits = ((struct limited *)strategy)->limits;
}

static uint64_t limited_room(spw_strategy *strategy)
{
    return ((struct limited *)strategy)->room_bytes;
}

static int limited_admit(spw_strategy *strategy, uint64_t bytes, unsigned flags)
{
    struct limited *limited = (struct limited *)strategy;
    limited->seen_bytes = bytes;
    limited->seen_flags = flags;
    return limited->admit_error;
}

static int limited_settle(spw_strategy *strategy, unsigned flags)
{
    struct limited *limited = (struct limited *)strategy;
    limited->seen_flags = flags;
    return limited->settles-- > 0;
}

static void limited_close(spw_strategy *strategy)
{
    ((struct limited *)strategy)->closed = true;
}

static const spw_strategy_ops limited_ops = {
    .size = sizeof(limited_ops),
    .name = "limited",
    .spill = limited_spill,
    .limits = limited_limits,
    .room_bytes = limited_room,
    .admit = limited_admit,
    .settle = limited_settle,
    .close = limited_close,
};

static void limited_init(struct limited *limited)
{
    *limited = (struct limited){.strategy = {&limited_ops},
                                .limits = {.size = sizeof(spw_limits), .queues = 1},
                                .room_bytes = UINT64_MAX};
    boxes_init(&limited->boxes);
}

/* ---- a queue without ends ---- */

struct rig {
    struct spw_view view;
    uint64_t at;
};

static void rig_push(struct rig *rig, size_t count, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        spw_bytes bytes = stream_piece(rig->at, len);
        struct spw_block *spare =
            view_needs_block(&rig->view) ? block_open(&fault_allocator, NULL, 8, false) : NULL;
        cr_assert_eq(view_push(&rig->view, &bytes, &spare), 0);
        rig->at += len;
    }
}

static void rig_open(struct rig *rig, size_t count, size_t len)
{
    memset(rig, 0, sizeof(*rig));
    view_init(&rig->view, &fault_allocator, NULL);
    rig_push(rig, count, len);
}

/* Compares kinds with a text of 'r' (resident) and 'p' (paged), one letter an entry. */
static void check_kinds(const struct rig *rig, const char *want)
{
    struct seen seen[64];
    char got[65] = {0};
    size_t count = view_see(&rig->view, seen, 64);
    for (size_t i = 0; i < count; i++)
        got[i] = seen[i].kind == SPILLWAY_ENTRY_BYTES ? 'r' : 'p';
    cr_assert_str_eq(got, want);
    cr_assert(view_is_valid(&rig->view));
}

static spw_policy *threshold_open(spw_strategy *strategy, uint64_t threshold, uint64_t head)
{
    spw_threshold_config config = {.size = sizeof(config),
                                   .threshold_bytes = threshold,
                                   .head_reserve_bytes = head,
                                   .allocator = &fault_allocator};
    spw_policy *policy;
    cr_assert_eq(spw_threshold_open(strategy, &config, &policy), 0);
    return policy;
}

static spw_policy *prefetch_open(uint64_t budget)
{
    spw_prefetch_config config = {
        .size = sizeof(config), .budget_bytes = budget, .allocator = &fault_allocator};
    spw_policy *policy;
    cr_assert_eq(spw_prefetch_open(&config, &policy), 0);
    return policy;
}

static void rig_close(struct rig *rig, spw_policy *policy)
{
    view_fini(&rig->view);
    policy->ops->close(policy);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- threshold ---- */

Test(threshold, acts_above_head_reserve_and_threshold_only)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    spw_policy *policy = threshold_open(&boxes.strategy, 30, 20);
    rig_open(&rig, 5, 10);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrr");
    cr_assert_eq(boxes.spill_calls, 0);
    rig_push(&rig, 1, 1);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrpppr");
    rig_push(&rig, 2, 10);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrppprrr");
    rig_push(&rig, 1, 10);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrpppppp"
                      "r");
    rig_close(&rig, policy);
    cr_assert(boxes.closed);
    cr_assert_eq(boxes.live, 0);
}

Test(threshold, never_spills_the_last_entry)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    spw_policy *policy = threshold_open(&boxes.strategy, 0, 0);
    rig_open(&rig, 0, 0);
    policy->ops->apply(policy, &rig.view);
    rig_push(&rig, 1, 1000);
    for (int i = 0; i < 3; i++)
        policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "r");
    rig_push(&rig, 1, 1);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "pr");
    rig_close(&rig, policy);
}

Test(threshold, what_is_refused_stays_and_is_offered_again)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    spw_policy *policy = threshold_open(&boxes.strategy, 10, 10);
    rig_open(&rig, 6, 10);
    boxes.spill_limit = 0;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrrr");
    cr_assert_eq(boxes.spill_calls, 1, "one try, not one an entry");
    boxes.spill_limit = 2;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rpprrr");
    boxes.spill_limit = UINT64_MAX;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rppppr");
    rig_close(&rig, policy);
}

Test(threshold, spills_around_what_is_paged_already)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    spw_policy *policy = threshold_open(&boxes.strategy, 10, 10);
    rig_open(&rig, 7, 10);
    spw_cursor at = spw_view_seek(&rig.view, 30);
    cr_assert_eq(spw_view_spill(&rig.view, &at, 10, &boxes.strategy), 1);
    check_kinds(&rig, "rrrprrr");
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rpppppr");
    rig_close(&rig, policy);
}

Test(threshold, works_without_memory)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    spw_policy *policy = threshold_open(&boxes.strategy, 10, 10);
    rig_open(&rig, 40, 10);
    for (uint64_t n = 1; spw_view_resident_bytes(&rig.view) > 20; n = n % 9 + 1) {
        fault_alloc_after(n);
        policy->ops->apply(policy, &rig.view);
        fault_alloc_after(0);
        cr_assert(view_is_valid(&rig.view));
        cr_assert_eq(spw_view_entries(&rig.view), 40);
    }
    rig_close(&rig, policy);
    cr_assert_eq(boxes.live, 0);
}

Test(threshold, offers_no_more_than_there_is_room_for)
{
    struct limited limited;
    struct rig rig;
    limited_init(&limited);
    spw_policy *policy = threshold_open(&limited.strategy, 10, 10);
    rig_open(&rig, 6, 10);
    limited.room_bytes = 0;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrrr");
    cr_assert_eq(limited.boxes.spill_calls, 0);
    limited.room_bytes = 25;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rpprrr");
    limited.room_bytes = 3;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rppprr");
    rig_close(&rig, policy);
    cr_assert(limited.closed);
}

Test(threshold, over_budget_it_spills_decent_runs_early)
{
    struct limited limited;
    struct rig rig;
    limited_init(&limited);
    limited.limits.run_bytes = 30;
    spw_policy *policy = threshold_open(&limited.strategy, 1000, 20);
    rig_open(&rig, 6, 10);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrrr");
    limited.limits.excess_bytes = 1;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrpppr");
    rig_push(&rig, 2, 10);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrppprrr");
    rig_close(&rig, policy);
}

/* With a budget B and n queues: head reserve min(64 MiB, B/4n), threshold min(256 MiB, B/2n). */
Test(threshold, automatic_sizes_scale_with_budget_and_queues)
{
    struct limited limited;
    struct rig rig;
    limited_init(&limited);
    limited.limits.budget_bytes = 800;
    limited.limits.queues = 2;
    spw_policy *policy = threshold_open(&limited.strategy, SPILLWAY_AUTO, SPILLWAY_AUTO);
    rig_open(&rig, 30, 10);
    policy->ops->apply(policy, &rig.view);
    cr_assert_eq(spw_view_paged_entries(&rig.view), 0, "100 + 200 are allowed");
    rig_push(&rig, 1, 10);
    policy->ops->apply(policy, &rig.view);
    cr_assert_eq(spw_view_resident_bytes(&rig.view), 110, "the head reserve and the last");
    limited.limits.queues = 8;
    rig_push(&rig, 1, 10);
    policy->ops->apply(policy, &rig.view);
    cr_assert_eq(spw_view_resident_bytes(&rig.view), 40, "25 rounded up to entries, and the last");
    rig_close(&rig, policy);
}

/* Bytes that nobody reads: sizes are all that counts. */
static void push_large(struct rig *rig, size_t len)
{
    spw_bytes bytes;
    struct spw_block *spare =
        view_needs_block(&rig->view) ? block_open(&fault_allocator, NULL, 8, false) : NULL;
    cr_assert_eq(
        spw_bytes_wrap((const void *)(uintptr_t)4096, len, NULL, NULL, &fault_allocator, &bytes),
        0);
    cr_assert_eq(view_push(&rig->view, &bytes, &spare), 0);
}

Test(threshold, without_a_budget_the_old_defaults)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    spw_policy *policy;
    cr_assert_eq(spw_threshold_open(&boxes.strategy, NULL, &policy), 0);
    rig_open(&rig, 0, 0);
    for (int i = 0; i < 5; i++)
        push_large(&rig, 64 * MIB);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrr");
    push_large(&rig, 1);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rppppr");
    rig_close(&rig, policy);
}

Test(threshold, sizes_so_large_that_they_never_act)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    spw_policy *policy = threshold_open(&boxes.strategy, UINT64_MAX - 1, UINT64_MAX - 1);
    rig_open(&rig, 6, 10);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrrr");
    rig_close(&rig, policy);
}

Test(threshold, passes_admit_and_settle_on)
{
    struct limited limited;
    limited_init(&limited);
    spw_queue_options options = {.size = sizeof(options)};
    options.writer_policy = threshold_open(&limited.strategy, 10, 10);
    spw_writer *writer;
    spw_reader *reader;
    cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);
    spw_bytes value = stream_piece(0, 7);
    limited.admit_error = -ENOSPC;
    cr_assert_eq(spw_writer_extend(writer, &value, 1, SPILLWAY_EXTEND_BOUNDED), -ENOSPC);
    cr_assert_eq(limited.seen_bytes, 7);
    cr_assert_eq(limited.seen_flags, SPILLWAY_EXTEND_BOUNDED);
    cr_assert_not_null(value.owner);
    limited.settles = 3;
    cr_assert_eq(spw_writer_extend(writer, &value, 1, 0), 0, "without flags nobody is asked");
    cr_assert_eq(limited.settles, -1, "settled until it was done");
    spw_writer_close(writer);
    spw_reader_close(reader);
    cr_assert(limited.closed);
}

/* ---- prefetch over a synchronous strategy ---- */

Test(prefetch, brings_back_what_is_within_the_budget)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    rig_open(&rig, 10, 10);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_spill(&rig.view, &at, UINT64_MAX, &boxes.strategy), 9);
    check_kinds(&rig, "pppppppppr");
    spw_policy *policy = prefetch_open(25);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrppppppr");
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrppppppr");
    spw_bytes out;
    view_pop(&rig.view, &out, 1);
    spw_bytes_release(&out);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrpppppr");
    rig_close(&rig, policy);
}

Test(prefetch, a_failed_fetch_stops_it)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    rig_open(&rig, 6, 10);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_spill(&rig.view, &at, UINT64_MAX, &boxes.strategy), 5);
    spw_policy *policy = prefetch_open(1000);
    boxes.fetch_limit = 2;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrpppr");
    cr_assert_eq(rig.view.fetch_error, 0, "not the head's");
    boxes.fetch_limit = UINT64_MAX;
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrrr");
    rig_close(&rig, policy);
}

Test(prefetch, runs_of_many_chunks)
{
    struct boxes boxes;
    struct rig rig;
    boxes_init(&boxes);
    boxes.chunks_per_box = 4;
    rig_open(&rig, 13, 10);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_spill(&rig.view, &at, UINT64_MAX, &boxes.strategy), 12);
    check_kinds(&rig, "pppr");
    spw_policy *policy = prefetch_open(41);
    policy->ops->apply(policy, &rig.view);
    check_kinds(&rig, "rrrrrrrrpr");
    rig_close(&rig, policy);
}

Test(prefetch, a_budget_of_nothing_leaves_all_to_the_reader)
{
    struct boxes boxes;
    boxes_init(&boxes);
    spw_queue_options options = {.size = sizeof(options)};
    options.writer_policy = threshold_open(&boxes.strategy, 0, 0);
    options.reader_policy = prefetch_open(0);
    spw_writer *writer;
    spw_reader *reader;
    cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);
    spw_bytes values[3] = {stream_piece(0, 1), stream_piece(1, 1), stream_piece(2, 1)}, out[3];
    cr_assert_eq(spw_writer_extend(writer, values, 3, 0), 0);
    for (uint64_t i = 0; i < 2; i++) {
        cr_assert_eq(spw_reader_drain(reader, out, 3), i == 0 ? 1 : 2, "one run a drain");
        spw_bytes_release(&out[0]);
        if (i > 0)
            spw_bytes_release(&out[1]);
    }
    spw_writer_close(writer);
    spw_reader_close(reader);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- prefetch over an asynchronous strategy ---- */

struct slow {
    struct rig rig;
    spw_mock *mock;
    spw_strategy *strategy;
};

/* `count` entries of 10 bytes; all but the last are spilled, `per_handle` to a handle. */
static void slow_open(struct slow *slow, size_t count, size_t per_handle)
{
    spw_mock_config config = {.size = sizeof(config),
                              .asynchronous = 1,
                              .chunks_per_handle = per_handle,
                              .allocator = &fault_allocator};
    cr_assert_eq(spw_mock_open(&config, &slow->mock), 0);
    cr_assert_eq(spw_mock_strategy(slow->mock, &slow->strategy), 0);
    rig_open(&slow->rig, count, 10);
    spw_cursor at = spw_view_head(&slow->rig.view);
    cr_assert_eq(spw_view_spill(&slow->rig.view, &at, UINT64_MAX, slow->strategy), (long)count - 1);
}

static size_t slow_pending(const struct slow *slow)
{
    spw_mock_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_mock_info_get(slow->mock, &info), 0);
    return info.pending;
}

static void slow_close(struct slow *slow, spw_policy *policy)
{
    slow->strategy->ops->close(slow->strategy);
    spw_mock_close(slow->mock);
    rig_close(&slow->rig, policy);
}

Test(prefetch, starts_every_read_within_the_budget)
{
    struct slow slow;
    slow_open(&slow, 10, 1);
    spw_policy *policy = prefetch_open(35);
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "pppppppppr");
    cr_assert_eq(slow_pending(&slow), 4, "those that begin within 35 bytes");
    policy->ops->apply(policy, &slow.rig.view);
    cr_assert_eq(slow_pending(&slow), 4, "each once");
    slow_close(&slow, policy);
}

Test(prefetch, counts_resident_entries_ahead)
{
    struct slow slow;
    slow_open(&slow, 10, 1);
    spw_policy *policy = prefetch_open(35);
    policy->ops->apply(policy, &slow.rig.view);
    cr_assert_eq(spw_mock_load(slow.mock, 2), 2);
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "rrpppppppr");
    cr_assert_eq(slow_pending(&slow), 2, "the third and the fourth still, none new");
    spw_bytes out;
    view_pop(&slow.rig.view, &out, 1);
    spw_bytes_release(&out);
    policy->ops->apply(policy, &slow.rig.view);
    cr_assert_eq(slow_pending(&slow), 3, "the fifth begins within the budget now");
    slow_close(&slow, policy);
}

Test(prefetch, takes_in_up_to_the_first_that_is_not_loaded)
{
    struct slow slow;
    slow_open(&slow, 8, 1);
    spw_policy *policy = prefetch_open(1000);
    /* The second is started first, so that it is loaded first. */
    spw_cursor at = spw_view_head(&slow.rig.view);
    spw_cursor_next(&at);
    spw_handle *second = spw_cursor_handle(&at);
    cr_assert_eq(second->ops->prefetch(second, 0), 0);
    cr_assert_eq(spw_mock_load(slow.mock, 1), 1);
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "pppppppr");
    cr_assert_eq(slow_pending(&slow), 6);
    cr_assert_eq(spw_mock_load(slow.mock, 1), 1);
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "rrpppppr");
    cr_assert_eq(spw_mock_load(slow.mock, 100), 5);
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "rrrrrrrr");
    slow_close(&slow, policy);
}

Test(prefetch, reads_runs_of_many_chunks)
{
    struct slow slow;
    slow_open(&slow, 13, 4);
    spw_policy *policy = prefetch_open(41);
    policy->ops->apply(policy, &slow.rig.view);
    cr_assert_eq(slow_pending(&slow), 2);
    cr_assert_eq(spw_mock_load(slow.mock, 1), 1);
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "rrrrppr");
    slow_close(&slow, policy);
}

Test(prefetch, a_failed_read_stops_it)
{
    struct slow slow;
    slow_open(&slow, 6, 1);
    spw_policy *policy = prefetch_open(1000);
    policy->ops->apply(policy, &slow.rig.view);
    cr_assert_eq(spw_mock_load(slow.mock, 3), 3);
    spw_mock_fail_fetch(slow.mock, -EIO, 1);
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "pppppr");
    cr_assert_eq(slow.rig.view.fetch_error, -EIO, "the head's own");
    policy->ops->apply(policy, &slow.rig.view);
    check_kinds(&slow.rig, "rrrppr");
    slow_close(&slow, policy);
}

Test(prefetch, automatic_budget_is_the_head_reserve)
{
    struct slow slow;
    struct limited limited;
    slow_open(&slow, 40, 1);
    limited_init(&limited);
    limited.limits.budget_bytes = 800;
    limited.limits.queues = 2;
    spw_policy *writer, *reader;
    cr_assert_eq(spw_policies_open(&limited.strategy, NULL, &writer, &reader), 0);
    reader->ops->apply(reader, &slow.rig.view);
    cr_assert_eq(slow_pending(&slow), 10, "800 / (4 x 2)");
    limited.limits.budget_bytes = 0;
    reader->ops->apply(reader, &slow.rig.view);
    cr_assert_eq(slow_pending(&slow), 39, "64 MiB without a budget");
    writer->ops->close(writer);
    slow_close(&slow, reader);
}

/* ---- opening ---- */

Test(policies, open_refuses_nonsense)
{
    struct boxes boxes;
    boxes_init(&boxes);
    spw_policy *policy = NULL, *other = NULL;
    spw_threshold_config threshold = {.size = THRESHOLD_CONFIG_FIRST_BYTES - 1};
    spw_prefetch_config prefetch = {.size = 0};
    cr_assert_eq(spw_threshold_open(&boxes.strategy, &threshold, &policy), -EINVAL);
    cr_assert_eq(spw_threshold_open(NULL, NULL, &policy), -EINVAL);
    cr_assert_eq(spw_prefetch_open(&prefetch, &policy), -EINVAL);
    cr_assert_eq(spw_policies_open(NULL, NULL, &policy, &other), -EINVAL);
    threshold = (spw_threshold_config){.size = sizeof(threshold), .allocator = &fault_allocator};
    fault_alloc_after(1);
    cr_assert_eq(spw_threshold_open(&boxes.strategy, &threshold, &policy), -ENOMEM);
    prefetch = (spw_prefetch_config){.size = sizeof(prefetch), .allocator = &fault_allocator};
    fault_alloc_after(1);
    cr_assert_eq(spw_prefetch_open(&prefetch, &policy), -ENOMEM);
    cr_assert_null(policy);
    cr_assert_null(other);
    cr_assert_not(boxes.closed, "the strategy stays the caller's");
}

/* How many bytes stay resident of `count` entries of 10 bytes under the options' policy. */
static uint64_t resident_under(const spw_options *options, uint64_t budget_bytes, size_t count)
{
    struct limited limited;
    struct rig rig;
    limited_init(&limited);
    limited.limits.budget_bytes = budget_bytes;
    spw_policy *writer, *reader;
    cr_assert_eq(spw_policies_open(&limited.strategy, options, &writer, &reader), 0);
    rig_open(&rig, count, 10);
    writer->ops->apply(writer, &rig.view);
    uint64_t resident = spw_view_resident_bytes(&rig.view);
    reader->ops->close(reader);
    rig_close(&rig, writer);
    return resident;
}

Test(policies, sizes_from_options)
{
    spw_options *options;
    cr_assert_eq(spw_options_open(&options), 0);
    cr_assert_eq(resident_under(options, 400, 31), 110, "automatic: 100 and the last");
    cr_assert_eq(spw_options_set(options, "threshold", "100"), 0);
    cr_assert_eq(spw_options_set(options, "head_reserve", "50"), 0);
    cr_assert_eq(resident_under(options, 400, 15), 150);
    cr_assert_eq(resident_under(options, 400, 16), 60);
    cr_assert_eq(spw_options_set(options, "head_reserve", "10%"), 0);
    cr_assert_eq(resident_under(options, 400, 16), 50, "a share is of the budget");
    cr_assert_eq(resident_under(options, 0, 16), 160, "without one it is of no use");
    spw_options_close(options);
}
