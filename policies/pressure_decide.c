/* SPDX-License-Identifier: MIT */
#include "pressure_decide.h"

#include <inttypes.h>
#include <stdio.h>

#include "words.h"

#define SECOND_NS UINT64_C(1000000000)

/* Between two looks at a source that tells by itself: it says nothing of calm, nor of the disk. */
#define LOOK_NS (2 * SECOND_NS)
/* How soon the use is to have come down. */
#define DUE_NS SECOND_NS
/* What comes sooner after a lowering is the same event. */
#define LOWER_GAP_NS SECOND_NS
/* The way back: so much calm first, then a step each RAISE_STEP_NS. Whole after 20 s of calm, which
 * with the 4 s that it takes to see it leaves some room below the 30 s that are promised. */
#define CALM_NS       (6 * SECOND_NS)
#define RAISE_STEP_NS (2 * SECOND_NS)
enum { RAISE_STEPS = 8 };

/* A lowering takes one part of so many from what is in use. */
enum { LOWER_PARTS = 4, KILLED_PARTS = 2 };

/* Calm is a quarter of what is pressure; where nobody can say what is, 2.5 %. */
enum { CALM_PARTS = 4, CALM_PERMILLE = 25 };

/* The disk is the worse evil: half of the time some task waits for it, and four times as long as
 * for memory. Half of that is no reason any more. Two spans in a row have to say so. */
enum { HOLD_PERMILLE = 500, HOLD_RATIO = 4, RELEASE_PERMILLE = 250, IO_SPANS = 2 };

/* ---- what is seen ---- */

enum cause { CAUSE_NONE, CAUSE_EVENT, CAUSE_LIMIT, CAUSE_KILL };

struct sight {
    struct pressure_measured measured;
    enum cause cause; /* of pressure */
    bool calm;        /* for all of the span */
};

static unsigned calm_permille(const struct pressure_input *input)
{
    if (input->window_ns == 0)
        return CALM_PERMILLE;
    return (unsigned)(input->stall_ns * 1000 / input->window_ns / CALM_PARTS);
}

/* Limits that are hit say little by themselves: a cgroup that reads files does so all the time. */
static enum cause cause_of(const struct pressure_input *input,
                           const struct pressure_measured *measured)
{
    if (input->reading == NULL)
        return CAUSE_NONE;
    if (measured->kills > 0)
        return CAUSE_KILL;
    if (input->reading->event)
        return CAUSE_EVENT;
    if (measured->limits_hit > 0 &&
        (!input->reading->has_memory || measured->memory_permille > calm_permille(input)))
        return CAUSE_LIMIT;
    return CAUSE_NONE;
}

/* Beside messages nobody knows whose waits the totals show. */
static bool is_calm(const struct pressure_input *input, const struct pressure_measured *measured)
{
    return measured->span_ns > 0 &&
           (input->way == PRESSURE_MESSAGES || !input->reading->has_memory ||
            (measured->has_memory && measured->memory_permille <= calm_permille(input)));
}

static struct sight look(struct pressure_state *state, const struct pressure_input *input)
{
    struct sight sight = {.cause = CAUSE_NONE};
    if (input->reading == NULL)
        return sight;
    sight.measured = pressure_measure(&state->meter, input->reading);
    sight.cause = cause_of(input, &sight.measured);
    sight.calm = sight.cause == CAUSE_NONE && is_calm(input, &sight.measured);
    return sight;
}

enum { CAUSE_BYTES = 112 };

static void say_cause(const struct sight *sight, const struct pressure_input *input,
                      char out[CAUSE_BYTES])
{
    const struct pressure_measured *measured = &sight->measured;
    if (sight->cause == CAUSE_KILL)
        (void)snprintf(out, CAUSE_BYTES, "the OOM killer was called %" PRIu64 " times",
                       measured->kills);
    else if (sight->cause == CAUSE_LIMIT)
        (void)snprintf(out, CAUSE_BYTES,
                       "limits hit %" PRIu64 " times, tasks waited %s of the time",
                       measured->limits_hit, show_share(measured->memory_permille).text);
    else if (input->way == PRESSURE_MESSAGES)
        (void)snprintf(out, CAUSE_BYTES, "a message came");
    else
        (void)snprintf(out, CAUSE_BYTES, "tasks waited %s in %s", show_time(input->stall_ns).text,
                       show_time(input->window_ns).text);
}

/* ---- down ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t pressure_floor(struct amount floor, uint64_t ceiling_bytes)
{
    return least(amount_of(floor, ceiling_bytes, 0), ceiling_bytes);
}

static void lower(struct pressure_state *state, struct amount floor, const struct sight *sight,
                  const struct pressure_input *input, const spw_outlook *outlook,
                  spw_orders *orders)
{
    state->calm_ns = 0;
    state->meter.from = *input->reading; /* what was before is no calm */
    if (state->lowered && outlook->now_ns - state->lowered_ns < LOWER_GAP_NS)
        return;
    uint64_t base = least(outlook->budget_bytes, outlook->used_bytes);
    uint64_t floor_bytes = pressure_floor(floor, outlook->ceiling_bytes);
    uint64_t target = base - base / (sight->cause == CAUSE_KILL ? KILLED_PARTS : LOWER_PARTS);
    if (target < floor_bytes)
        target = floor_bytes;
    target = least(target, outlook->budget_bytes);
    ebb_begin(&state->ebb, target, 0, DUE_NS, outlook, orders);
    orders->trim_bytes = outlook->warm_bytes;
    state->lowered_ns = outlook->now_ns;
    state->low_bytes = state->budget_bytes = target;
    state->lowered = target < outlook->ceiling_bytes;
    if (target == outlook->budget_bytes)
        return; /* at the floor already */
    char cause[CAUSE_BYTES];
    say_cause(sight, input, cause);
    orders->budget_bytes = target;
    orders_note(orders, "lower", "%s: %s used, %s%s allowed now, %s warm back, %s to spill", cause,
                show_bytes(outlook->used_bytes).text, target == floor_bytes ? "the floor " : "",
                show_bytes(target).text, show_bytes(orders->trim_bytes).text,
                show_bytes(orders->spill_bytes).text);
}

/* The use should come down to the budget for a while after an event. */
static void follow(struct pressure_state *state, const spw_outlook *outlook, spw_orders *orders)
{
    if (ebb_look(&state->ebb, outlook, orders) != EBB_SHORT)
        return;
    orders_note(orders, "short", "%s used of %s allowed, %s after pressure; %s under way to a tier",
                show_bytes(outlook->used_bytes).text, show_bytes(state->ebb.target_bytes).text,
                show_time(outlook->now_ns - state->lowered_ns).text,
                show_bytes(outlook->in_flight_bytes).text);
}

/* ---- up ---- */

static void raise_budget(struct pressure_state *state, const struct sight *sight,
                         const spw_outlook *outlook, spw_orders *orders)
{
    uint64_t ceiling = outlook->ceiling_bytes, low = state->low_bytes;
    if (!state->lowered)
        return;
    state->budget_bytes = outlook->budget_bytes; /* somebody else may have set it */
    if (state->budget_bytes >= ceiling) {
        state->lowered = false;
        return;
    }
    if (sight->calm)
        state->calm_ns += sight->measured.span_ns;
    if (!sight->calm || state->calm_ns < CALM_NS)
        return;
    uint64_t steps = least(1 + (state->calm_ns - CALM_NS) / RAISE_STEP_NS, RAISE_STEPS);
    uint64_t way_bytes = ceiling > low ? ceiling - low : 0,
             target = low + way_bytes / RAISE_STEPS * steps;
    if (steps == RAISE_STEPS)
        target = ceiling;
    if (target <= state->budget_bytes)
        return;
    state->budget_bytes = orders->budget_bytes = target;
    state->lowered = target < ceiling;
    orders_note(
        orders, state->lowered ? "raise" : "whole",
        "tasks waited %s of the last %" PRIu64 " s, calm for %" PRIu64 " s: %s of %s allowed again",
        show_share(sight->measured.memory_permille).text, sight->measured.span_ns / SECOND_NS,
        state->calm_ns / SECOND_NS, show_bytes(target).text, show_bytes(ceiling).text);
}

/* ---- the disk ---- */

static bool is_critical(const struct pressure_state *state)
{
    return state->lowered && state->calm_ns < CALM_NS;
}

static bool io_is_worse(const struct pressure_state *state,
                        const struct pressure_measured *measured)
{
    return !is_critical(state) && measured->io_permille >= HOLD_PERMILLE &&
           measured->io_permille >= HOLD_RATIO * measured->memory_permille;
}

static bool io_is_better(const struct pressure_measured *measured)
{
    return measured->io_permille < RELEASE_PERMILLE ||
           measured->io_permille < 2 * measured->memory_permille;
}

/* A decision that is there already keeps its words; orders do not get in each other's way. */
static void say_io(const struct sight *sight, const char *action, const char *what,
                   spw_orders *orders)
{
    if (orders->action == NULL)
        orders_note(orders, action, "tasks waited %s of the time for the disk, %s for memory: %s",
                    show_share(sight->measured.io_permille).text,
                    show_share(sight->measured.memory_permille).text, what);
}

static void weigh_disk(struct pressure_state *state, const struct sight *sight, spw_orders *orders)
{
    const struct pressure_measured *measured = &sight->measured;
    bool turn = false;
    if (measured->span_ns > 0 && measured->has_io) {
        turn = state->holding ? io_is_better(measured) : io_is_worse(state, measured);
        state->io_spans = turn ? state->io_spans + 1 : 0;
    }
    if (state->holding && (is_critical(state) || (turn && state->io_spans >= IO_SPANS))) {
        state->holding = false;
        state->io_spans = 0;
        orders->hold_disk = 0;
        say_io(sight, "release", "spilling to disk goes on", orders);
    } else if (!state->holding && turn && state->io_spans >= IO_SPANS) {
        state->holding = true;
        state->io_spans = 0;
        orders->hold_disk = 1;
        say_io(sight, "hold", "what the budget allows stays in memory", orders);
    }
}

/* ---- all of it ---- */

static void plan_wake(const struct pressure_state *state, const struct pressure_input *input,
                      uint64_t now_ns, spw_orders *orders)
{
    uint64_t look_ns = input->interval_ns > 0 ? least(input->interval_ns, LOOK_NS) : LOOK_NS;
    if (state->ebb.until_ns > 0)
        orders->wake_ns = now_ns + EBB_LOOK_NS;
    else if (state->lowered)
        orders->wake_ns = now_ns + look_ns;
    else if (input->way != PRESSURE_NONE)
        orders->wake_in_use_ns = now_ns + look_ns;
}

void pressure_decide(struct pressure_state *state, struct amount floor,
                     const struct pressure_input *input, const spw_outlook *outlook,
                     spw_orders *orders)
{
    struct sight sight = look(state, input);
    if (sight.cause != CAUSE_NONE) {
        lower(state, floor, &sight, input, outlook, orders);
    } else {
        follow(state, outlook, orders);
        raise_budget(state, &sight, outlook, orders);
    }
    weigh_disk(state, &sight, orders);
    if (sight.measured.has_memory)
        orders->memory_stall_permille = (int)sight.measured.memory_permille;
    if (sight.measured.has_io)
        orders->io_stall_permille = (int)sight.measured.io_permille;
    plan_wake(state, input, outlook->now_ns, orders);
}
