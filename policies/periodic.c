/* SPDX-License-Identifier: MIT */
/* The periodic policy: what has been resident for longer than a period goes. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "../lib/units.h"
#include "ebb.h"
#include "spillway/policies.h"
#include "words.h"

#define PERIOD_DEFAULT_NS UINT64_C(10000000000)

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct periodic {
    spw_regulator regulator;
    uint64_t period_ns;
    uint64_t due_ns;        /* the next time; 0: not begun yet */
    uint64_t spilled_bytes; /* in total, at the last time */
    uint64_t ordered_bytes; /* in total, when it was ordered last; while it goes on */
    bool going;
    const spw_allocator *allocator;
};

static void periodic_order(struct periodic *periodic, const spw_outlook *outlook,
                           spw_orders *orders)
{
    orders->spill_older_ns = periodic->period_ns;
    orders->take_reserves = 1;
    periodic->ordered_bytes = outlook->spilled_bytes_total;
}

static void periodic_round(struct periodic *periodic, const spw_outlook *outlook,
                           spw_orders *orders)
{
    uint64_t spilled = outlook->spilled_bytes_total - periodic->spilled_bytes;
    periodic->spilled_bytes = outlook->spilled_bytes_total;
    periodic->going = true;
    periodic_order(periodic, outlook, orders);
    /* What went the last time has left its memory warm. */
    orders->trim_bytes = least(spilled, outlook->warm_bytes);
    if (spilled == 0)
        return; /* as most times: not worth a note */
    orders_note(orders, "age",
                "what is older than %s goes: %s spilled since the last time, %s warm back, %s used",
                show_time(periodic->period_ns).text, show_bytes(spilled).text,
                show_bytes(orders->trim_bytes).text, show_bytes(outlook->used_bytes).text);
}

/* Not all of it may have found room on its way: as long as some goes, more may. */
static void periodic_go_on(struct periodic *periodic, const spw_outlook *outlook,
                           spw_orders *orders)
{
    uint64_t gone = outlook->spilled_bytes_total - periodic->ordered_bytes;
    periodic->going = gone > 0 || outlook->in_flight_bytes > 0;
    if (!periodic->going)
        return;
    periodic_order(periodic, outlook, orders);
    orders->trim_bytes = least(gone, outlook->warm_bytes);
}

static void periodic_apply(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders)
{
    struct periodic *periodic = (struct periodic *)regulator;
    if (periodic->due_ns == 0) {
        periodic->spilled_bytes = outlook->spilled_bytes_total;
        periodic->due_ns = outlook->now_ns + periodic->period_ns;
    } else if (outlook->now_ns >= periodic->due_ns) {
        periodic_round(periodic, outlook, orders);
        periodic->due_ns = outlook->now_ns + periodic->period_ns;
    } else if (periodic->going) {
        periodic_go_on(periodic, outlook, orders);
    }
    orders->wake_in_use_ns = periodic->due_ns;
    if (periodic->going)
        orders->wake_in_use_ns = least(periodic->due_ns, outlook->now_ns + EBB_LOOK_NS);
}

/* The next time is as far away as if the last one had been followed by the new period. */
static void periodic_set(spw_regulator *regulator, const char *name, const char *value)
{
    struct periodic *periodic = (struct periodic *)regulator;
    uint64_t before_ns = periodic->period_ns;
    if (strcmp(name, "period") != 0 || units_parse_duration(value, &periodic->period_ns) != 0)
        return;
    if (periodic->due_ns != 0)
        periodic->due_ns = periodic->due_ns - before_ns + periodic->period_ns;
}

static void periodic_close(spw_regulator *regulator)
{
    struct periodic *periodic = (struct periodic *)regulator;
    allocator_release(periodic->allocator, periodic, sizeof(*periodic));
}

static const spw_regulator_ops periodic_ops = {
    .size = sizeof(periodic_ops),
    .name = "periodic",
    .apply = periodic_apply,
    .close = periodic_close,
    .set = periodic_set,
};

int spw_periodic_open(const spw_periodic_config *config, spw_regulator **out)
{
    spw_periodic_config known = {.period_ns = 0};
    int err = growable_read(config, PERIODIC_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    if (known.period_ns == 0)
        known.period_ns = PERIOD_DEFAULT_NS;
    if (known.period_ns > UNITS_MAX_NS)
        return -EINVAL;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct periodic *periodic = allocator_zeroed(allocator, sizeof(*periodic));
    if (!periodic)
        return -ENOMEM;
    periodic->regulator.ops = &periodic_ops;
    periodic->period_ns = known.period_ns;
    periodic->allocator = allocator;
    *out = &periodic->regulator;
    return 0;
}
