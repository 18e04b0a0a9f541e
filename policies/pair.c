/* SPDX-License-Identifier: MIT */
/* The usual pair of policies for one queue, with sizes from the options. */
#include <errno.h>

#include "../lib/alloc.h"
#include "../lib/settings.h"
#include "sizes.h"
#include "spillway/policies.h"

static void pair_limits(void *context, spw_limits *limits)
{
    *limits = limits_of(context);
}

/* An amount of the options; shares are of the budget, and of no use without one. */
static uint64_t pair_size(struct amount amount, uint64_t budget_bytes)
{
    if (amount.percent > 0 && budget_bytes == 0)
        return SPILLWAY_AUTO;
    return amount_of(amount, budget_bytes, SPILLWAY_AUTO);
}

int spw_policies_open(spw_strategy *strategy, const spw_options *options, spw_policy **writer,
                      spw_policy **reader)
{
    if (!strategy)
        return -EINVAL;
    spw_threshold_config threshold = {.size = sizeof(threshold),
                                      .threshold_bytes = SPILLWAY_AUTO,
                                      .head_reserve_bytes = SPILLWAY_AUTO};
    /* The strategy outlives the reader's policy: a queue closes that one first. */
    spw_prefetch_config prefetch = {.size = sizeof(prefetch),
                                    .budget_bytes = SPILLWAY_AUTO,
                                    .limits = pair_limits,
                                    .limits_context = strategy};
    if (options) {
        struct settings *settings =
            allocator_acquire(allocator_or_default(NULL), sizeof(*settings));
        if (!settings)
            return -ENOMEM;
        settings_read(options, settings);
        uint64_t budget_bytes = limits_of(strategy).budget_bytes;
        threshold.threshold_bytes = pair_size(settings->threshold, budget_bytes);
        threshold.head_reserve_bytes = pair_size(settings->head_reserve, budget_bytes);
        prefetch.budget_bytes = pair_size(settings->prefetch, budget_bytes);
        allocator_release(allocator_or_default(NULL), settings, sizeof(*settings));
    }
    spw_policy *fetching;
    int err = spw_prefetch_open(&prefetch, &fetching);
    if (err)
        return err;
    err = spw_threshold_open(strategy, &threshold, writer);
    if (err)
        fetching->ops->close(fetching);
    else
        *reader = fetching;
    return err;
}
