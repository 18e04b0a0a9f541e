/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

/* ---- a queue without ends over a mock ---- */

struct rig {
    spw_mock *mock;
    spw_strategy *strategy;
    struct spw_view view;
};

static void rig_open(struct rig *rig, spw_mock_config config, size_t entries)
{
    memset(rig, 0, sizeof(*rig));
    config.size = sizeof(config);
    config.allocator = &fault_allocator;
    cr_assert_eq(spw_mock_open(&config, &rig->mock), 0);
    cr_assert_eq(spw_mock_strategy(rig->mock, &rig->strategy), 0);
    view_init(&rig->view, &fault_allocator, NULL);
    for (size_t i = 0; i < entries; i++) {
        spw_bytes bytes = stream_piece(i * 4, 4);
        struct spw_block *spare =
            view_needs_block(&rig->view) ? block_open(&fault_allocator, NULL, 8, false) : NULL;
        cr_assert_eq(view_push(&rig->view, &bytes, &spare), 0);
    }
}

static void rig_close(struct rig *rig)
{
    view_fini(&rig->view);
    rig->strategy->ops->close(rig->strategy);
    spw_mock_close(rig->mock);
    cr_assert_eq(fault_alloc_live(), 0);
}

static long rig_spill(struct rig *rig)
{
    spw_cursor at = spw_view_seek(&rig->view, 0);
    return spw_view_spill(&rig->view, &at, UINT64_MAX, rig->strategy);
}

static spw_handle *rig_handle(const struct rig *rig, size_t index)
{
    spw_cursor at = spw_view_head(&rig->view);
    while (index-- > 0)
        spw_cursor_next(&at);
    return spw_cursor_handle(&at);
}

static spw_mock_info rig_info(const struct rig *rig)
{
    spw_mock_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_mock_info_get(rig->mock, &info), 0);
    return info;
}

/* ---- opening ---- */

Test(mock, open_and_close)
{
    spw_mock *mock = NULL;
    spw_mock_config config = {.size = 3};
    spw_mock_info info = {.size = 3};
    cr_assert_eq(spw_mock_open(&config, &mock), -EINVAL);
    cr_assert_null(mock);
    cr_assert_eq(spw_mock_open(NULL, &mock), 0);
    cr_assert_eq(spw_mock_info_get(mock, &info), -EINVAL);
    spw_mock_close(mock);
    spw_mock_close(NULL);
}

Test(mock, without_memory)
{
    spw_mock *mock = NULL;
    spw_strategy *strategy = NULL;
    spw_mock_config config = {.size = sizeof(config), .allocator = &fault_allocator};
    fault_alloc_after(1);
    cr_assert_eq(spw_mock_open(&config, &mock), -ENOMEM);
    cr_assert_null(mock);
    cr_assert_eq(spw_mock_open(&config, &mock), 0);
    fault_alloc_after(1);
    cr_assert_eq(spw_mock_strategy(mock, &strategy), -ENOMEM);
    cr_assert_null(strategy);
    spw_mock_close(mock);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- synchronous ---- */

Test(mock, one_chunk_a_handle)
{
    struct rig rig;
    rig_open(&rig, (spw_mock_config){0}, 5);
    cr_assert_eq(rig_spill(&rig), 4);
    spw_mock_info info = rig_info(&rig);
    cr_assert_eq(info.handles, 4);
    cr_assert_eq(info.bytes, 16);
    cr_assert_eq(info.spills_total, 1);
    cr_assert_eq(info.chunks_total, 4);
    spw_handle *handle = rig_handle(&rig, 0);
    cr_assert_null(handle->ops->prefetch);
    cr_assert_null(handle->ops->on_ready);
    cr_assert_eq(handle->ops->size_bytes(handle), 4);
    cr_assert_eq(handle->ops->count(handle), 1);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), 1);
    info = rig_info(&rig);
    cr_assert_eq(info.handles, 3);
    cr_assert_eq(info.bytes, 12);
    cr_assert_eq(info.fetches_total, 1);
    cr_assert_eq(info.dropped_total, 0);
    view_fini(&rig.view);
    info = rig_info(&rig);
    cr_assert_eq(info.handles, 0);
    cr_assert_eq(info.bytes, 0);
    cr_assert_eq(info.dropped_total, 3);
    rig_close(&rig);
}

Test(mock, many_chunks_a_handle_and_few_a_spill)
{
    struct rig rig;
    rig_open(&rig, (spw_mock_config){.chunks_per_handle = 3, .max_chunks_per_spill = 7}, 12);
    cr_assert_eq(rig_spill(&rig), 7);
    cr_assert_eq(rig_info(&rig).handles, 3, "3, 3 and 1");
    cr_assert_eq(rig_handle(&rig, 1)->ops->count(rig_handle(&rig, 1)), 3);
    cr_assert_eq(rig_handle(&rig, 2)->ops->count(rig_handle(&rig, 2)), 1);
    cr_assert_eq(rig_spill(&rig), 4);
    cr_assert_eq(rig_info(&rig).chunks_total, 11);
    for (spw_cursor at = spw_view_head(&rig.view); spw_cursor_kind(&at) == SPILLWAY_ENTRY_HANDLE;)
        cr_assert_gt(spw_view_fetch(&rig.view, &at, 0), 0);
    cr_assert_eq(spw_view_entries(&rig.view), 12);
    size_t i = 0;
    for (spw_cursor at = spw_view_head(&rig.view); spw_cursor_bytes(&at); spw_cursor_next(&at))
        cr_assert(stream_is(spw_cursor_bytes(&at), 4 * i++));
    cr_assert_eq(i, 12);
    rig_close(&rig);
}

Test(mock, refuses_when_told)
{
    struct rig rig;
    rig_open(&rig, (spw_mock_config){0}, 5);
    spw_mock_fail_spill(rig.mock, -ENOSPC, 2);
    cr_assert_eq(rig_spill(&rig), -ENOSPC);
    cr_assert_eq(rig_spill(&rig), -ENOSPC);
    cr_assert_eq(spw_view_paged_entries(&rig.view), 0);
    cr_assert_eq(rig_spill(&rig), 4);
    cr_assert_eq(rig_info(&rig).spills_total, 3);
    spw_mock_fail_fetch(rig.mock, -EBADMSG, 2);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), -EBADMSG);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), -EBADMSG);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), 1);
    cr_assert_eq(rig_info(&rig).fetches_total, 1);
    rig_close(&rig);
}

Test(mock, a_spill_without_memory_takes_what_it_can)
{
    long got = 0;
    for (uint64_t n = 1; got != 20; n++) {
        struct rig rig;
        rig_open(&rig, (spw_mock_config){.chunks_per_handle = 2}, 21);
        fault_alloc_after(n);
        got = rig_spill(&rig);
        fault_alloc_after(0);
        cr_assert(got > 0 || got == -ENOMEM);
        cr_assert(view_is_valid(&rig.view));
        size_t taken = got > 0 ? (size_t)got : 0;
        cr_assert_eq(rig_info(&rig).chunks_total, taken);
        cr_assert_eq(spw_view_paged_bytes(&rig.view), taken * 4);
        cr_assert_eq(spw_view_resident_bytes(&rig.view), (21 - taken) * 4);
        rig_close(&rig);
    }
}

Test(mock, reports_its_budget)
{
    struct rig rig;
    rig_open(&rig, (spw_mock_config){.budget_bytes = 12345}, 0);
    spw_limits limits = {.size = sizeof(limits), .queues = 1};
    rig.strategy->ops->limits(rig.strategy, &limits);
    cr_assert_eq(limits.budget_bytes, 12345);
    cr_assert_eq(limits.queues, 1);
    rig_close(&rig);
}

/* ---- asynchronous ---- */

struct waker {
    spw_waker waker;
    int wakes, held;
};

static void waker_wake(spw_waker *waker)
{
    ((struct waker *)waker)->wakes++;
}

static void waker_acquire(spw_waker *waker)
{
    ((struct waker *)waker)->held++;
}

static void waker_release(spw_waker *waker)
{
    ((struct waker *)waker)->held--;
}

static const spw_waker waker_functions = {waker_wake, waker_acquire, waker_release};

Test(mock, loads_in_the_order_of_prefetches)
{
    struct rig rig;
    rig_open(&rig, (spw_mock_config){.asynchronous = 1}, 5);
    cr_assert_eq(rig_spill(&rig), 4);
    cr_assert_eq(spw_mock_load(rig.mock, 9), 0, "nothing was started");
    static const size_t order[] = {2, 0, 3};
    for (size_t i = 0; i < 3; i++) {
        spw_handle *handle = rig_handle(&rig, order[i]);
        cr_assert_eq(handle->ops->prefetch(handle, 0), 0);
        cr_assert_eq(handle->ops->prefetch(handle, 0), 0, "twice is once");
    }
    cr_assert_eq(rig_info(&rig).pending, 3);
    for (size_t i = 0; i < 3; i++) {
        struct waker waker = {waker_functions, 0, 0};
        spw_handle *handle = rig_handle(&rig, order[i]);
        cr_assert_eq(handle->ops->on_ready(handle, &waker.waker), 0);
        cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
        cr_assert_eq(waker.wakes, 1);
        cr_assert_eq(waker.held, 0);
        cr_assert_eq(handle->ops->on_ready(handle, &waker.waker), 1);
        cr_assert_eq(handle->ops->prefetch(handle, 0), 0);
        cr_assert_eq(waker.held, 0);
    }
    cr_assert_eq(rig_info(&rig).pending, 0);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), 1);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), -EAGAIN, "the second was never started");
    rig_close(&rig);
}

Test(mock, one_waker_a_handle)
{
    struct rig rig;
    struct waker first = {waker_functions, 0, 0}, second = first, dropped = first;
    rig_open(&rig, (spw_mock_config){.asynchronous = 1}, 3);
    cr_assert_eq(rig_spill(&rig), 2);
    spw_handle *handle = rig_handle(&rig, 0), *other = rig_handle(&rig, 1);
    cr_assert_eq(handle->ops->on_ready(handle, &first.waker), 0);
    cr_assert_eq(handle->ops->on_ready(handle, &second.waker), 0);
    cr_assert_eq(handle->ops->on_ready(handle, &second.waker), 0);
    cr_assert_eq(first.held, 0, "replaced");
    cr_assert_eq(second.held, 1);
    cr_assert_eq(other->ops->on_ready(other, &dropped.waker), 0);
    cr_assert_eq(handle->ops->prefetch(handle, 0), 0);
    cr_assert_eq(other->ops->prefetch(other, 0), 0);
    cr_assert_eq(spw_mock_load(rig.mock, 1), 1);
    cr_assert_eq(first.wakes, 0);
    cr_assert_eq(second.wakes, 1);
    cr_assert_eq(second.held, 0);
    view_fini(&rig.view);
    cr_assert_eq(dropped.wakes, 0);
    cr_assert_eq(dropped.held, 0, "a handle that is dropped gives its waker back");
    cr_assert_eq(rig_info(&rig).pending, 0);
    cr_assert_eq(spw_mock_load(rig.mock, 9), 0);
    rig_close(&rig);
}

Test(mock, handles_outlive_all_else)
{
    struct rig rig;
    rig_open(&rig, (spw_mock_config){0}, 3);
    cr_assert_eq(rig_spill(&rig), 2);
    rig.strategy->ops->close(rig.strategy);
    spw_mock_close(rig.mock);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), 1);
    view_fini(&rig.view);
    cr_assert_eq(fault_alloc_live(), 0);
}
