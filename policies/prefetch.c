/* SPDX-License-Identifier: MIT */
/*
 * Brings the front of a queue back. Synchronous handles are fetched one after
 * another; asynchronous ones are all started, and taken in up to the first that
 * is not loaded.
 */
#include <errno.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "sizes.h"
#include "spillway/policies.h"

struct prefetch {
    spw_policy policy;
    uint64_t budget_bytes; /* SPILLWAY_AUTO: scaled */
    void (*limits)(void *context, spw_limits *limits);
    void *limits_context;
    const spw_allocator *allocator;
};

static uint64_t prefetch_budget(const struct prefetch *prefetch)
{
    if (prefetch->budget_bytes != SPILLWAY_AUTO)
        return prefetch->budget_bytes;
    spw_limits limits = {.size = sizeof(limits), .queues = 1};
    if (prefetch->limits)
        prefetch->limits(prefetch->limits_context, &limits);
    return scaled_head_reserve(&limits);
}

/* Starts reads for the paged entries from `cursor` on, `near_bytes` away from the head. */
static void prefetch_start(spw_cursor cursor, uint64_t near_bytes, uint64_t budget_bytes)
{
    while (near_bytes < budget_bytes && spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_NONE) {
        spw_handle *handle = spw_cursor_handle(&cursor);
        if (!handle) {
            near_bytes += spw_cursor_skip(&cursor);
            continue;
        }
        if (!OPS_HAS(handle->ops, prefetch) || handle->ops->prefetch(handle, SPILLWAY_FETCH_NOWAIT))
            return; /* synchronous, or no memory for more now */
        near_bytes += spw_cursor_size(&cursor);
        spw_cursor_next(&cursor);
    }
}

static void prefetch_apply(spw_policy *policy, spw_view *view)
{
    struct prefetch *prefetch = (struct prefetch *)policy;
    if (spw_view_paged_entries(view) == 0) {
        static const spw_rest until_paged = {.size = sizeof(until_paged),
                                             .resident_bytes = UINT64_MAX};
        spw_view_rest(view, &until_paged);
        return;
    }
    uint64_t budget_bytes = prefetch_budget(prefetch), near_bytes = 0;
    spw_cursor cursor = spw_view_head(view);
    while (near_bytes < budget_bytes && spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_NONE) {
        if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES) {
            near_bytes += spw_cursor_skip(&cursor);
            continue;
        }
        uint64_t size_bytes = spw_cursor_size(&cursor);
        unsigned head = near_bytes == 0 ? SPILLWAY_FETCH_HEAD : 0;
        long fetched = spw_view_fetch(view, &cursor, SPILLWAY_FETCH_NOWAIT | head);
        if (fetched == -EAGAIN) {
            spw_handle *handle = spw_cursor_handle(&cursor);
            if (head && OPS_HAS(handle->ops, prefetch))
                handle->ops->prefetch(handle, SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_HEAD);
            prefetch_start(cursor, near_bytes, budget_bytes);
        }
        if (fetched < 0)
            return;
        near_bytes += size_bytes;
    }
}

static void prefetch_close(spw_policy *policy)
{
    struct prefetch *prefetch = (struct prefetch *)policy;
    allocator_release(prefetch->allocator, prefetch, sizeof(*prefetch));
}

static const spw_policy_ops prefetch_ops = {
    .size = sizeof(prefetch_ops),
    .name = "prefetch",
    .apply = prefetch_apply,
    .close = prefetch_close,
};

int spw_prefetch_open(const spw_prefetch_config *config, spw_policy **out)
{
    spw_prefetch_config known = {.budget_bytes = SPILLWAY_AUTO};
    int err = growable_read(config, PREFETCH_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct prefetch *prefetch = allocator_zeroed(allocator, sizeof(*prefetch));
    if (!prefetch)
        return -ENOMEM;
    prefetch->policy.ops = &prefetch_ops;
    prefetch->budget_bytes = known.budget_bytes;
    prefetch->limits = known.limits;
    prefetch->limits_context = known.limits_context;
    prefetch->allocator = allocator;
    *out = &prefetch->policy;
    return 0;
}
