/* SPDX-License-Identifier: MIT */
/* The manual policy: an event descriptor that counts the MiB that are to go. */
#include "manual.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "ebb.h"
#include "words.h"

#define MIB (UINT64_C(1) << 20)

/* So near is there: the pool's own small things come and go. */
#define SLACK_BYTES (UINT64_C(64) << 10)

struct manual {
    spw_regulator regulator;
    const struct os *os;
    int fd;
    struct ebb ebb;
    const spw_allocator *allocator;
};

static const spw_regulator_ops manual_ops;

static const struct manual *manual_of(const spw_regulator *regulator)
{
    return regulator && regulator->ops == &manual_ops ? (const struct manual *)regulator : NULL;
}

static unsigned manual_watch(spw_regulator *regulator, spw_watch watches[SPILLWAY_WATCHES_MAX])
{
    watches[0] = (spw_watch){.fd = ((struct manual *)regulator)->fd, .events = POLLIN};
    return 1;
}

/* What was asked for since the last time; UINT64_MAX: all. */
static uint64_t manual_asked(const struct manual *manual)
{
    uint64_t count;
    if (manual->os->read(manual->fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return 0;
    return count >= SPILLWAY_MANUAL_ALL ? UINT64_MAX : count * MIB;
}

/* Begins where the one before has not ended yet. */
static void manual_begin(struct manual *manual, uint64_t asked_bytes, const spw_outlook *outlook,
                         spw_orders *orders)
{
    struct ebb *ebb = &manual->ebb;
    uint64_t from = outlook->used_bytes;
    if (ebb->until_ns != 0 && ebb->target_bytes < from)
        from = ebb->target_bytes;
    ebb_begin(ebb, asked_bytes < from ? from - asked_bytes : 0, SLACK_BYTES, EBB_PATIENCE_NS,
              outlook, orders);
    struct shown asked = {"all"};
    if (asked_bytes != UINT64_MAX)
        asked = show_bytes(asked_bytes);
    orders_note(orders, "spill",
                "asked for %s: of %s in use %s are to stay, %s warm back, %s to spill", asked.text,
                show_bytes(outlook->used_bytes).text, show_bytes(ebb->target_bytes).text,
                show_bytes(orders->trim_bytes).text, show_bytes(orders->spill_bytes).text);
}

static void manual_apply(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders)
{
    struct manual *manual = (struct manual *)regulator;
    uint64_t asked_bytes = manual_asked(manual);
    orders->take_reserves = 1;
    if (asked_bytes > 0)
        manual_begin(manual, asked_bytes, outlook, orders);
    else
        (void)ebb_look(&manual->ebb, outlook, orders);
    if (manual->ebb.until_ns != 0)
        orders->wake_ns = outlook->now_ns + EBB_LOOK_NS;
}

static void manual_close(spw_regulator *regulator)
{
    struct manual *manual = (struct manual *)regulator;
    os_close(manual->os, manual->fd);
    allocator_release(manual->allocator, manual, sizeof(*manual));
}

static const spw_regulator_ops manual_ops = {
    .size = sizeof(manual_ops),
    .name = "manual",
    .watch = manual_watch,
    .apply = manual_apply,
    .close = manual_close,
};

int manual_open_on(const struct os *os, const spw_manual_config *config, spw_regulator **out)
{
    spw_manual_config known = {.size = sizeof(known)};
    int err = growable_read(config, MANUAL_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct manual *manual = allocator_zeroed(allocator, sizeof(*manual));
    if (!manual)
        return -ENOMEM;
    manual->fd = os->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (manual->fd < 0) {
        err = manual->fd;
        allocator_release(allocator, manual, sizeof(*manual));
        return err;
    }
    manual->regulator.ops = &manual_ops;
    manual->os = os;
    manual->allocator = allocator;
    *out = &manual->regulator;
    return 0;
}

int spw_manual_open(const spw_manual_config *config, spw_regulator **out)
{
    return manual_open_on(&os_linux, config, out);
}

int spw_manual_fd(const spw_regulator *regulator)
{
    const struct manual *manual = manual_of(regulator);
    return manual ? manual->fd : -EINVAL;
}

int spw_manual_spill(const spw_regulator *regulator, uint64_t bytes)
{
    const struct manual *manual = manual_of(regulator);
    if (!manual)
        return -EINVAL;
    uint64_t count = bytes / MIB + (bytes % MIB != 0);
    if (bytes == UINT64_MAX || count > SPILLWAY_MANUAL_ALL)
        count = SPILLWAY_MANUAL_ALL;
    /* Fails only where so much was asked for already that it is all. */
    while (count > 0 && manual->os->write(manual->fd, &count, sizeof(count)) == -EINTR)
        ;
    return 0;
}
