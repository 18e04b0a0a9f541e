/* SPDX-License-Identifier: MIT */
/*
 * Spills the middle of a queue when too much of it is resident: the head reserve
 * stays for the reader, the last entry stays as the merge target.
 */
#include <errno.h>
#include <stdatomic.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "sizes.h"
#include "spillway/policies.h"

/* A head reserve is gone when an eighth of it is stuck. */
enum { STUCK_WEIGHT = 8 };

/* Further above its mark the budget cannot wait for what other queues would give up first. */
enum { EXCESS_SHARE = 8 };

struct threshold {
    spw_policy policy;
    spw_strategy *strategy;
    uint64_t threshold_bytes;    /* SPILLWAY_AUTO: scaled */
    uint64_t head_reserve_bytes; /* SPILLWAY_AUTO: scaled */
    uint64_t follows;            /* SPILLWAY_SET_*: these may be set anew */
    _Atomic bool more;           /* the last time it had to pause */
    const spw_allocator *allocator;
};

/* Nothing of the strategy can ask for anything that the queue itself does not show. */
static bool says_nothing(const spw_strategy *strategy)
{
    return !OPS_HAS(strategy->ops, limits) && !OPS_HAS(strategy->ops, settle);
}

static struct threshold *threshold_of(spw_policy *policy)
{
    return (struct threshold *)policy;
}

/* What there is to do with a queue. */
struct decision {
    bool spill;
    bool ordered;                /* by the governor */
    uint64_t head_reserve_bytes; /* stay in front */
    uint64_t run_bytes;          /* 0: no bound */
    uint64_t until_position;     /* nothing from here on; UINT64_MAX: no bound */
};

/* What others need later than we need this goes first, as long as the budget can wait. A head
 * reserve that nobody asked for may be part of what is ordered to go now. */
static uint64_t guided_head(const spw_guidance *guidance, const spw_limits *limits, uint64_t head,
                            bool automatic)
{
    bool can_wait = limits->excess_bytes <= limits->budget_bytes / EXCESS_SHARE;
    if (guidance->keep_bytes == UINT64_MAX || (!can_wait && !guidance->spill_now))
        return head;
    if (guidance->spill_now && automatic)
        return guidance->keep_bytes;
    return guidance->keep_bytes > head ? guidance->keep_bytes : head;
}

/* Where there is nothing to do the view may learn for how long. */
static void threshold_rest(const struct threshold *threshold, spw_view *view,
                           const spw_limits *limits, uint64_t head, uint64_t surplus)
{
    if (!limits->epoch && !says_nothing(threshold->strategy))
        return;
    spw_rest rest = {.size = sizeof(rest),
                     .resident_bytes = head < UINT64_MAX - surplus ? head + surplus : UINT64_MAX,
                     .paged_entries = SIZE_MAX,
                     .epoch = limits->epoch,
                     .epoch_seen = limits->epoch_seen};
    spw_view_rest(view, &rest);
}

/*
 * Above head reserve + threshold everything past the head reserve goes, in several times where it
 * is much. Over the budget the same, as soon as it makes a decent run: small runs would cost more
 * than they free. When the budget does not come down by that, a head reserve that nobody
 * asked for gives way too, and small runs have to do. Where the governor says what the queue may
 * keep, that counts as its head reserve, but for a threshold that somebody asked for.
 */
static struct decision threshold_decide(const struct threshold *threshold, spw_view *view)
{
    uint64_t resident_bytes = spw_view_resident_bytes(view);
    spw_limits limits = limits_of(threshold->strategy);
    uint64_t head = size_now(threshold->head_reserve_bytes, threshold->follows, &limits,
                             SPILLWAY_SET_HEAD_RESERVE, limits.set_head_reserve_bytes);
    uint64_t surplus = size_now(threshold->threshold_bytes, threshold->follows, &limits,
                                SPILLWAY_SET_THRESHOLD, limits.set_threshold_bytes);
    bool automatic = head == SPILLWAY_AUTO;
    if (automatic) {
        head = scaled_head_reserve(&limits);
        head -= limits.stuck_bytes < head / STUCK_WEIGHT ? limits.stuck_bytes * STUCK_WEIGHT : head;
    }
    bool asked_for = surplus != SPILLWAY_AUTO;
    if (!asked_for)
        surplus = scaled_threshold(&limits);
    spw_guidance guidance = {.size = sizeof(guidance)};
    spw_view_guidance(view, &guidance);
    bool above = asked_for && resident_bytes > head && resident_bytes - head > surplus;
    uint64_t rests_at = head, past_head;
    if (!above || guidance.spill_now)
        head = guided_head(&guidance, &limits, head, automatic);
    if (!asked_for)
        rests_at = head;
    past_head = resident_bytes > head ? resident_bytes - head : 0;
    bool begun = atomic_load_explicit(&threshold->more, memory_order_relaxed) && past_head > 0;
    struct decision decision = {
        .ordered = guidance.spill_now,
        .spill = begun || past_head > surplus || (guidance.spill_now && past_head > 0) ||
                 (limits.excess_bytes > 0 && past_head > limits.run_bytes) ||
                 (limits.stuck_bytes > 0 && past_head > 0),
        .head_reserve_bytes = head,
        .run_bytes = limits.run_bytes,
        .until_position = guidance.spill_now ? guidance.until_position : UINT64_MAX,
    };
    if (!decision.spill)
        threshold_rest(threshold, view, &limits, rests_at, surplus);
    return decision;
}

/* Whether the entry here can be spilled without any room. */
static bool is_adoptable(spw_strategy *strategy, const spw_cursor *cursor)
{
    return OPS_HAS(strategy->ops, adopts) &&
           strategy->ops->adopts(strategy, spw_cursor_bytes(cursor));
}

/* What lies between the cursor and where spilling ends. */
static uint64_t bytes_until(spw_view *view, const spw_cursor *cursor, uint64_t until_position)
{
    if (until_position == UINT64_MAX)
        return UINT64_MAX;
    uint64_t position = spw_view_position_of(view, cursor);
    return until_position > position ? until_position - position : 0;
}

/*
 * Spills from the cursor on, one run at a time, until the room is used up or it is time to pause.
 * What needs no room goes without it too, up to the first entry that does need some: looking
 * behind that one would take ever longer. Returns whether there may be more to do.
 */
static bool threshold_spill(spw_strategy *strategy, spw_view *view, spw_cursor cursor,
                            uint64_t room_bytes, const struct decision *decision)
{
    uint64_t run_bytes = decision->run_bytes;
    while (spw_cursor_kind(&cursor) != SPILLWAY_ENTRY_NONE) {
        if (spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_HANDLE) {
            spw_cursor_skip(&cursor);
            continue;
        }
        bool full = room_bytes == 0;
        if (full && (spw_cursor_is_last(&cursor) || !is_adoptable(strategy, &cursor)))
            return false;
        if (spw_view_should_pause(view))
            return true;
        uint64_t until_bytes = bytes_until(view, &cursor, decision->until_position);
        if (spw_cursor_size(&cursor) > until_bytes)
            return false;
        if (until_bytes < UINT64_MAX && (until_bytes < run_bytes || run_bytes == 0))
            run_bytes = until_bytes;
        bool part = full || (run_bytes > 0 && run_bytes < room_bytes);
        uint64_t before = spw_view_resident_bytes(view);
        if (spw_view_spill(view, &cursor, part ? run_bytes : room_bytes, strategy) <= 0)
            return false;
        uint64_t spilled = before - spw_view_resident_bytes(view);
        room_bytes -= spilled < room_bytes ? spilled : room_bytes;
        if (!part && spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_BYTES)
            return false; /* the strategy stopped early, or this is the last entry */
    }
    return false;
}

static void threshold_apply(spw_policy *policy, spw_view *view)
{
    struct threshold *threshold = threshold_of(policy);
    spw_strategy *strategy = threshold->strategy;
    struct decision decision = threshold_decide(threshold, view);
    uint64_t room_bytes = 0;
    if (decision.spill)
        room_bytes =
            OPS_HAS(strategy->ops, room_bytes) ? strategy->ops->room_bytes(strategy) : UINT64_MAX;
    bool more = false;
    if (room_bytes > 0 || (decision.spill && OPS_HAS(strategy->ops, adopts))) {
        spw_cursor cursor = spw_view_seek(view, decision.head_reserve_bytes);
        more = spw_cursor_kind(&cursor) == SPILLWAY_ENTRY_NONE
                   ? spw_view_should_pause(view)
                   : threshold_spill(strategy, view, cursor, room_bytes, &decision);
    }
    if (!decision.ordered) /* else who ordered it sees to the rest */
        atomic_store_explicit(&threshold->more, more, memory_order_relaxed);
}

static int threshold_admit(spw_policy *policy, uint64_t bytes, unsigned flags)
{
    spw_strategy *strategy = threshold_of(policy)->strategy;
    return OPS_HAS(strategy->ops, admit) ? strategy->ops->admit(strategy, bytes, flags) : 0;
}

static int threshold_settle(spw_policy *policy, unsigned flags)
{
    spw_strategy *strategy = threshold_of(policy)->strategy;
    if (atomic_load_explicit(&threshold_of(policy)->more, memory_order_relaxed))
        return 1;
    return OPS_HAS(strategy->ops, settle) ? strategy->ops->settle(strategy, flags) : 0;
}

static void threshold_close(spw_policy *policy)
{
    struct threshold *threshold = threshold_of(policy);
    const spw_allocator *allocator = threshold->allocator;
    spw_strategy *strategy = threshold->strategy;
    allocator_release(allocator, threshold, sizeof(*threshold));
    strategy->ops->close(strategy); /* last: it may end the pool */
}

static const spw_policy_ops threshold_ops = {
    .size = sizeof(threshold_ops),
    .name = "threshold",
    .apply = threshold_apply,
    .admit = threshold_admit,
    .settle = threshold_settle,
    .close = threshold_close,
};

int spw_threshold_open(spw_strategy *strategy, const spw_threshold_config *config, spw_policy **out)
{
    spw_threshold_config known = {.threshold_bytes = SPILLWAY_AUTO,
                                  .head_reserve_bytes = SPILLWAY_AUTO};
    if (!strategy)
        return -EINVAL;
    int err = growable_read(config, THRESHOLD_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct threshold *threshold = allocator_zeroed(allocator, sizeof(*threshold));
    if (!threshold)
        return -ENOMEM;
    threshold->policy.ops = &threshold_ops;
    threshold->strategy = strategy;
    threshold->threshold_bytes = known.threshold_bytes;
    threshold->head_reserve_bytes = known.head_reserve_bytes;
    threshold->follows = known.follows;
    threshold->allocator = allocator;
    *out = &threshold->policy;
    return 0;
}
