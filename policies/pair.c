/* SPDX-License-Identifier: MIT */
/* The policies of one queue, with sizes from the settings. */
#include "pair.h"

#include <errno.h>

#include "../lib/alloc.h"
#include "sizes.h"

static bool is_wanted(const struct settings *settings, enum policy_kind kind)
{
    return (settings->policies & 1u << kind) != 0;
}

/* An amount of the options; shares are of the budget, and of no use without one. */
static uint64_t pair_size(struct amount amount, spw_strategy *strategy)
{
    uint64_t budget_bytes = amount.percent > 0 ? limits_of(strategy).budget_bytes : 0;
    if (amount.percent > 0 && budget_bytes == 0)
        return SPILLWAY_AUTO;
    return amount_of(amount, budget_bytes, SPILLWAY_AUTO);
}

/* ---- the writer's ---- */

/* Does nothing but to keep the strategy, which its queue's reader uses. */
struct keeper {
    spw_policy policy;
    spw_strategy *strategy;
};

static void keeper_apply(spw_policy *policy, spw_view *view)
{
    static const spw_rest for_ever = {
        .size = sizeof(for_ever), .resident_bytes = UINT64_MAX, .paged_entries = SIZE_MAX};
    (void)policy;
    spw_view_rest(view, &for_ever);
}

static void keeper_close(spw_policy *policy)
{
    struct keeper *keeper = (struct keeper *)policy;
    spw_strategy *strategy = keeper->strategy;
    allocator_release(allocator_or_default(NULL), keeper, sizeof(*keeper));
    strategy->ops->close(strategy); /* last: it may end the pool */
}

static const spw_policy_ops keeper_ops = {
    .size = sizeof(keeper_ops),
    .name = "keeper",
    .apply = keeper_apply,
    .close = keeper_close,
};

static int keeper_open(spw_strategy *strategy, spw_policy **out)
{
    struct keeper *keeper = allocator_zeroed(allocator_or_default(NULL), sizeof(*keeper));
    if (!keeper)
        return -ENOMEM;
    keeper->policy.ops = &keeper_ops;
    keeper->strategy = strategy;
    *out = &keeper->policy;
    return 0;
}

static int writer_open(spw_strategy *strategy, const struct settings *settings, spw_policy **out)
{
    const unsigned ordering =
        1u << POLICY_PRESSURE | 1u << POLICY_PERIODIC | 1u << POLICY_MANUAL | 1u << POLICY_ADAPTIVE;
    spw_threshold_config config = {
        .size = sizeof(config),
        .threshold_bytes = pair_size(settings->threshold, strategy),
        .head_reserve_bytes = pair_size(settings->head_reserve, strategy),
        .follows = SPILLWAY_SET_THRESHOLD | SPILLWAY_SET_HEAD_RESERVE,
    };
    if (is_wanted(settings, POLICY_THRESHOLD))
        return spw_threshold_open(strategy, &config, out);
    /* Policies for the whole pool spill by the hand of the queue's own. */
    if ((settings->policies & ordering) != 0) {
        config.threshold_bytes = UINT64_MAX - 1;
        config.follows = SPILLWAY_SET_HEAD_RESERVE;
        return spw_threshold_open(strategy, &config, out);
    }
    return keeper_open(strategy, out);
}

/* ---- the reader's ---- */

static void pair_limits(void *context, spw_limits *limits)
{
    *limits = limits_of(context);
}

static int reader_open(spw_strategy *strategy, const struct settings *settings, spw_policy **out)
{
    /* The strategy outlives the reader's policy: a queue closes that one first. */
    const spw_prefetch_config config = {
        .size = sizeof(config),
        .budget_bytes = pair_size(settings->prefetch, strategy),
        .limits = pair_limits,
        .limits_context = strategy,
        .follows = SPILLWAY_SET_PREFETCH,
    };
    return spw_prefetch_open(&config, out);
}

int pair_open(spw_strategy *strategy, const struct settings *settings, spw_policy **writer,
              spw_policy **reader)
{
    const unsigned of_queues = settings->policies & ~(1u << POLICY_COMPRESS);
    spw_policy *spilling = NULL, *fetching = NULL;
    int err = 0;
    if (of_queues == 0) {
        strategy->ops->close(strategy);
    } else {
        if (is_wanted(settings, POLICY_PREFETCH))
            err = reader_open(strategy, settings, &fetching);
        if (!err)
            err = writer_open(strategy, settings, &spilling);
        if (err && fetching)
            fetching->ops->close(fetching);
    }
    if (err)
        return err;
    *writer = spilling;
    *reader = fetching;
    return 0;
}
