/* SPDX-License-Identifier: MIT */
/*
 * Brings the front of a queue back. Synchronous handles are fetched one after
 * another; asynchronous ones are all started, and taken in up to the first that
 * is not loaded.
 */
#include <errno.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "pace.h"
#include "sizes.h"
#include "spillway/policies.h"

/* How far ahead of the reader runs are brought back, in bytes from the head. */
struct reach {
    uint64_t own_bytes;  /* as far as the queue's share of memory goes, beside what is in use */
    uint64_t all_bytes;  /* with what other readers leave free */
    uint64_t take_bytes; /* of what is there, so much becomes resident at a time */
    bool hints;          /* what is as far again behind that is worth a hint */
};

struct prefetch {
    spw_policy policy;
    uint64_t budget_bytes; /* SPILLWAY_AUTO: scaled */
    uint64_t follows;      /* SPILLWAY_SET_PREFETCH: it may be set anew */
    void (*limits)(void *context, spw_limits *limits);
    void *limits_context;
    struct reach reach; /* of the last apply */
    struct pace pace;   /* where a regulator orders how far to read ahead, as a time */
    /* Places in the stream: all handles before this were asked for; */
    uint64_t asked;
    uint64_t hinted;                /* to all before this a hint was given */
    uint64_t next;                  /* this one was, when no other lay before it */
    uint64_t refused, refused_head; /* this one was not there yet, when the head was there */
    uint64_t late;                  /* this one was not there when it was the head */
    const spw_allocator *allocator;
};

/* What the queue is drained of in the time that was ordered, but two runs at least, and of what
 * readers have together no more than half. */
static struct reach reach_in_time(const struct pace *pace, const spw_limits *limits)
{
    uint64_t bytes = pace_bytes(pace, limits->prefetch_ns), run = limits->run_bytes;
    if (bytes > limits->budget_bytes / 8)
        bytes = limits->budget_bytes / 8;
    if (bytes < 2 * run)
        bytes = 2 * run;
    return (struct reach){.own_bytes = bytes,
                          .all_bytes = bytes,
                          .take_bytes = bytes / 2 > run ? bytes / 2 : run,
                          .hints = limits->hints};
}

static struct reach prefetch_reach(struct prefetch *prefetch, uint64_t head)
{
    spw_limits limits = {.size = sizeof(limits), .queues = 1};
    if (prefetch->limits)
        prefetch->limits(prefetch->limits_context, &limits);
    uint64_t all = size_now(prefetch->budget_bytes, prefetch->follows, &limits,
                            SPILLWAY_SET_PREFETCH, limits.set_prefetch_bytes);
    bool in_time = all == SPILLWAY_AUTO && limits.prefetch_ns > 0 && limits.prefetch_bytes == 0 &&
                   limits.budget_bytes > 0;
    if (in_time)
        pace_look(&prefetch->pace, head, limits.prefetch_ns, limits.now_ns);
    if (in_time && prefetch->pace.rate > 0)
        return reach_in_time(&prefetch->pace, &limits);
    uint64_t share = scaled_head_reserve(&limits), own = share / 2;
    if (own < limits.run_bytes)
        own = limits.run_bytes; /* one run at least */
    if (all == SPILLWAY_AUTO && limits.prefetch_bytes > 0)
        all = limits.prefetch_bytes;
    if (all == SPILLWAY_AUTO)
        all = share < UINT64_MAX - limits.read_ahead_bytes ? share + limits.read_ahead_bytes
                                                           : UINT64_MAX;
    if (own > all || limits.budget_bytes == 0)
        own = all;
    return (struct reach){.own_bytes = own,
                          .all_bytes = all,
                          .take_bytes = limits.budget_bytes == 0 ? all - all / 2 : own,
                          .hints = limits.hints};
}

static bool is_asynchronous(const spw_handle *handle)
{
    return OPS_HAS(handle->ops, prefetch);
}

/* Tells which handle the reader will come to first, each time that it is another one. */
static void prefetch_next(struct prefetch *prefetch, spw_view *view, uint64_t head)
{
    uint64_t position = head;
    spw_cursor cursor = spw_view_head(view);
    if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES)
        position += spw_cursor_skip(&cursor);
    if (position == prefetch->next || position - head >= prefetch->reach.own_bytes ||
        spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_HANDLE ||
        !is_asynchronous(spw_cursor_handle(&cursor)))
        return;
    if (spw_view_prefetch(view, &cursor, SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_NEXT) == 0)
        prefetch->next = position;
}

static uint64_t place_after(uint64_t head, uint64_t bytes)
{
    return bytes < UINT64_MAX - head ? head + bytes : UINT64_MAX;
}

/* What is asked of handles between a mark in the stream and `end`. */
struct errand {
    uint64_t *mark; /* all before this were asked */
    uint64_t end;
    uint64_t own_end; /* what is behind this is beyond the queue's share */
    unsigned flags;
};

/* Asks those that were not asked yet; remembers how far it came. Returns whether it had to pause.
 */
static bool errand_run(const struct errand *errand, spw_view *view)
{
    if (*errand->mark >= errand->end)
        return false;
    spw_cursor cursor = spw_view_seek_position(view, errand->mark);
    while (*errand->mark < errand->end && spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_NONE) {
        if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES) {
            *errand->mark += spw_cursor_skip(&cursor);
            continue;
        }
        if (spw_view_should_pause(view))
            return true;
        unsigned spare = *errand->mark < errand->own_end ? 0 : SPILLWAY_FETCH_SPARE;
        if (spw_view_prefetch(view, &cursor, SPILLWAY_FETCH_NOWAIT | errand->flags | spare) != 0)
            return false; /* not now: asked again the next time */
        *errand->mark += spw_cursor_size(&cursor);
        spw_cursor_next(&cursor);
    }
    return *errand->mark < errand->end && spw_view_should_pause(view);
}

/* Asks for the paged entries within reach of `head`. Returns whether it had to pause. */
static bool prefetch_start(struct prefetch *prefetch, spw_view *view, uint64_t head)
{
    const struct reach *reach = &prefetch->reach;
    const struct errand ask = {.mark = &prefetch->asked,
                               .end = place_after(head, reach->all_bytes),
                               .own_end = place_after(head, reach->own_bytes)};
    const struct errand hint = {.mark = &prefetch->hinted,
                                .end = place_after(ask.end, reach->all_bytes),
                                .own_end = UINT64_MAX,
                                .flags = SPILLWAY_FETCH_HINT};
    uint64_t changed = spw_view_paged_since(view);
    if (changed < prefetch->asked)
        prefetch->asked = changed;
    if (changed < prefetch->hinted)
        prefetch->hinted = changed;
    bool more = errand_run(&ask, view);
    return (reach->hints && errand_run(&hint, view)) || more;
}

/* Whether it is worth to try the handle at `position` again: what is not loaded yet is so by the
 * next drain only now and then, but at the head someone waits for it. */
static bool is_due(const struct prefetch *prefetch, uint64_t head, uint64_t position,
                   uint64_t budget_bytes)
{
    return position != prefetch->refused || position == head || head == prefetch->refused_head ||
           head - prefetch->refused_head > budget_bytes / 16;
}

static void prefetch_refused(struct prefetch *prefetch, uint64_t head, uint64_t position)
{
    prefetch->refused = position;
    prefetch->refused_head = head;
}

/*
 * Takes in what is there, up to the first that is not. Of what loads by itself no more than half of
 * the queue's share: while the reader is busy with that, the other half is on its way, however much
 * it would take at once.
 */
static void prefetch_take(struct prefetch *prefetch, spw_view *view, uint64_t head)
{
    uint64_t all_bytes = prefetch->reach.all_bytes, position = head;
    spw_cursor cursor = spw_view_head(view);
    while (position - head < all_bytes && spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_NONE) {
        spw_handle *handle = spw_cursor_handle(&cursor);
        if (!handle) {
            position += spw_cursor_skip(&cursor);
            continue;
        }
        if (is_asynchronous(handle) &&
            (position - head >= prefetch->reach.take_bytes || spw_view_should_pause(view) ||
             !is_due(prefetch, head, position, all_bytes)))
            return;
        uint64_t size_bytes = spw_cursor_size(&cursor);
        unsigned first = position == head ? SPILLWAY_FETCH_HEAD : 0;
        long fetched = spw_view_fetch(view, &cursor, SPILLWAY_FETCH_NOWAIT | first);
        if (fetched == -EAGAIN) {
            if (first && position != prefetch->late) {
                prefetch->late = position;
                if (position < prefetch->asked) /* it should be there: others may be late too */
                    prefetch->asked = position;
            }
            prefetch_refused(prefetch, head, position);
            if (first)
                spw_view_prefetch(view, &cursor, SPILLWAY_FETCH_NOWAIT | SPILLWAY_FETCH_HEAD);
        }
        if (fetched < 0)
            return;
        position += size_bytes;
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
    uint64_t head = spw_view_position(view);
    prefetch->reach = prefetch_reach(prefetch, head);
    prefetch_take(prefetch, view, head);
    prefetch_start(prefetch, view, head);
    prefetch_next(prefetch, view, head);
}

static int prefetch_ahead(spw_policy *policy, spw_view *view)
{
    struct prefetch *prefetch = (struct prefetch *)policy;
    uint64_t head = spw_view_position(view);
    prefetch_next(prefetch, view, head);
    return prefetch_start(prefetch, view, head);
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
    .ahead = prefetch_ahead,
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
    prefetch->follows = known.follows;
    prefetch->next = prefetch->refused = prefetch->late = UINT64_MAX;
    prefetch->allocator = allocator;
    *out = &prefetch->policy;
    return 0;
}
