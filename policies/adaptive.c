/* SPDX-License-Identifier: MIT */
/* The adaptive policy: the threshold by what spilling costs and buys, and how far to read ahead by
 * what the device takes. What it decides is in adaptive_decide.c. */
#include <errno.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "../lib/units.h"
#include "adaptive_decide.h"
#include "spillway/policies.h"

#define PRICE_DEFAULT_NS UINT64_C(100000000)

struct adaptive {
    spw_regulator regulator;
    struct adaptive_wish wish;
    struct adaptive_state state;
    const spw_allocator *allocator;
};

static void adaptive_apply(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders)
{
    struct adaptive *adaptive = (struct adaptive *)regulator;
    adaptive_decide(&adaptive->state, &adaptive->wish, outlook, orders);
}

static void adaptive_set(spw_regulator *regulator, const char *name, const char *value)
{
    struct adaptive *adaptive = (struct adaptive *)regulator;
    if (strcmp(name, "price") == 0)
        (void)units_parse_duration(value, &adaptive->wish.price_ns);
}

static void adaptive_close(spw_regulator *regulator)
{
    struct adaptive *adaptive = (struct adaptive *)regulator;
    allocator_release(adaptive->allocator, adaptive, sizeof(*adaptive));
}

static const spw_regulator_ops adaptive_ops = {
    .size = sizeof(adaptive_ops),
    .name = "adaptive",
    .apply = adaptive_apply,
    .close = adaptive_close,
    .set = adaptive_set,
};

int spw_adaptive_open(const spw_adaptive_config *config, spw_regulator **out)
{
    spw_adaptive_config known = {.price_ns = 0};
    int err = growable_read(config, ADAPTIVE_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    if (known.price_ns == 0)
        known.price_ns = PRICE_DEFAULT_NS;
    if (known.price_ns > UNITS_MAX_NS)
        return -EINVAL;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct adaptive *adaptive = allocator_zeroed(allocator, sizeof(*adaptive));
    if (!adaptive)
        return -ENOMEM;
    adaptive->regulator.ops = &adaptive_ops;
    adaptive->wish.price_ns = known.price_ns;
    adaptive->wish.keeps_threshold = known.keeps_threshold != 0;
    adaptive->wish.keeps_prefetch = known.keeps_prefetch != 0;
    adaptive->allocator = allocator;
    *out = &adaptive->regulator;
    return 0;
}
