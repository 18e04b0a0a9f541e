/* SPDX-License-Identifier: MIT */
#include "adaptive_decide.h"

#include <inttypes.h>

#include "sizes.h"
#include "words.h"

#define MIB (UINT64_C(1) << 20)

/* The threshold is at least this part of what follows from the budget. */
enum { LEVEL_MIN = -2 };

/* Of what moved, so much was spilled in haste: that is a reason to push; less than that is calm. */
enum { HASTY_PART = 4, HASTY_CALM_PART = 16 };

/* Of the time, so much was waited: the same. Shorter waits are not worth a thought. */
enum { WAIT_PART = 10, WAIT_CALM_PART = 20, STALL_PART = 50 };

/* What a queue is drained of in so many times the time that reading a run takes is read ahead; at
 * most twice that, for each level. */
enum { AHEAD_TIMES = 2, AHEAD_LEVEL_MAX = 5 };
#define AHEAD_MAX_NS UINT64_C(10000000000)

/* So many of the runs were late: a reason to push; none is calm. */
enum { LATE_PART = 50, LATE_MIN = 2 };

/* How often it is told that a device has become slower or faster. */
#define TELL_AGAIN_NS UINT64_C(10000000000)

/* What happened since the last look. */
struct passage {
    uint64_t span_ns;
    uint64_t spilled_bytes, fetched_bytes, hasty_bytes;
    uint64_t writer_wait_ns, stall_ns; /* of writers; of both */
    uint64_t freed_byte_seconds;
};

static struct passage passage_of(const spw_outlook *from, const spw_outlook *to)
{
    struct passage passage = {
        .span_ns = to->now_ns - from->now_ns,
        .spilled_bytes = to->spilled_bytes_total - from->spilled_bytes_total,
        .fetched_bytes = to->fetched_bytes_total - from->fetched_bytes_total,
        .hasty_bytes = to->hasty_bytes_total - from->hasty_bytes_total,
        .writer_wait_ns = to->writer_wait_ns_total - from->writer_wait_ns_total,
        .freed_byte_seconds = to->freed_byte_seconds_total - from->freed_byte_seconds_total,
    };
    passage.stall_ns =
        passage.writer_wait_ns + to->reader_wait_ns_total - from->reader_wait_ns_total;
    return passage;
}

static bool passage_is_still(const struct passage *passage)
{
    return passage->spilled_bytes == 0 && passage->fetched_bytes == 0 && passage->stall_ns == 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- the threshold ---- */

enum cause { CAUSE_CALM, CAUSE_UNSURE, CAUSE_HASTE, CAUSE_PRICE, CAUSE_SHORT };

/* What was waited for each GiB that was out of memory for a second; SPILLWAY_NEVER: for nothing. */
static uint64_t price_of(const struct passage *passage)
{
    uint64_t mib_seconds = passage->freed_byte_seconds / MIB;
    if (passage->stall_ns < passage->span_ns / STALL_PART)
        return 0;
    if (mib_seconds == 0 || passage->stall_ns > UINT64_MAX / 1024)
        return SPILLWAY_NEVER;
    return passage->stall_ns * 1024 / mib_seconds;
}

/* Writers spill from five eighths of the budget on (see spw_limits): there memory is short. */
static bool is_full(const spw_outlook *outlook)
{
    return outlook->used_bytes >= outlook->budget_bytes / 8 * 5;
}

static enum cause cause_of(const struct passage *passage, const struct adaptive_wish *wish,
                           const spw_outlook *outlook)
{
    uint64_t moved = larger(passage->spilled_bytes, passage->fetched_bytes);
    bool much = moved >= smaller(MIB, outlook->budget_bytes / 64);
    uint64_t price_ns = passage->spilled_bytes > 0 ? price_of(passage) : 0;
    if (much && passage->hasty_bytes >= moved / HASTY_PART)
        return CAUSE_HASTE;
    if (is_full(outlook) && passage->writer_wait_ns >= passage->span_ns / WAIT_PART)
        return CAUSE_SHORT;
    if (much && price_ns > wish->price_ns)
        return CAUSE_PRICE;
    bool calm = passage->hasty_bytes <= moved / HASTY_CALM_PART && price_ns <= wish->price_ns / 2 &&
                passage->writer_wait_ns < passage->span_ns / WAIT_CALM_PART;
    return calm ? CAUSE_CALM : CAUSE_UNSURE;
}

/* What the threshold is at a level. */
static uint64_t threshold_at(int level, const spw_outlook *outlook)
{
    const spw_limits limits = {.budget_bytes = outlook->budget_bytes, .queues = outlook->queues};
    uint64_t base = scaled_threshold(&limits), most = larger(base, outlook->budget_bytes / 2);
    if (level <= 0)
        return larger(base >> -level, 1);
    return level < 32 && base <= most >> level ? base << level : most;
}

/* Whether there is memory that a higher threshold could use. */
static bool has_room(const spw_outlook *outlook)
{
    uint64_t used = outlook->used_bytes - smaller(outlook->warm_bytes, outlook->used_bytes);
    return outlook->budget_bytes >= outlook->ceiling_bytes && used <= outlook->budget_bytes / 2;
}

static void tell_raise(const struct passage *passage, enum cause cause,
                       const struct adaptive_wish *wish, uint64_t from_bytes, uint64_t to_bytes,
                       spw_orders *orders)
{
    if (cause == CAUSE_HASTE)
        orders_note(orders, "raise",
                    "%s of %s were fetched within 1s after they were spilled: "
                    "threshold %s instead of %s",
                    show_bytes(passage->hasty_bytes).text,
                    show_bytes(larger(passage->spilled_bytes, passage->fetched_bytes)).text,
                    show_bytes(to_bytes).text, show_bytes(from_bytes).text);
    else
        orders_note(orders, "raise",
                    "%s waited in %s while %s were out of memory, above %s for a GiB: "
                    "threshold %s instead of %s",
                    show_time(passage->stall_ns).text, show_time(passage->span_ns).text,
                    show_bytes(passage->freed_byte_seconds / MIB * 1000 /
                               (passage->span_ns / 1000000) * MIB)
                        .text,
                    show_time(wish->price_ns).text, show_bytes(to_bytes).text,
                    show_bytes(from_bytes).text);
}

static void threshold_raise(struct adaptive_state *state, const struct passage *passage,
                            enum cause cause, const struct adaptive_wish *wish,
                            const spw_outlook *outlook, spw_orders *orders)
{
    struct lever *lever = &state->threshold;
    uint64_t from_bytes = threshold_at(lever->level, outlook);
    uint64_t to_bytes = threshold_at(lever->level + 1, outlook);
    lever_stir(lever, outlook->now_ns);
    if (to_bytes <= from_bytes || !has_room(outlook) || !lever_may_push(lever, 1, outlook->now_ns))
        return;
    lever_push(lever, 1, outlook->now_ns);
    tell_raise(passage, cause, wish, from_bytes, to_bytes, orders);
}

static void threshold_lower(struct adaptive_state *state, const struct passage *passage,
                            const spw_outlook *outlook, spw_orders *orders)
{
    struct lever *lever = &state->threshold;
    lever_stir(lever, outlook->now_ns);
    if (lever->level <= LEVEL_MIN || !lever_may_push(lever, -1, outlook->now_ns))
        return;
    uint64_t from_bytes = threshold_at(lever->level, outlook);
    lever_push(lever, -1, outlook->now_ns);
    orders_note(orders, "lower", "writers waited %s in %s, %s of %s used: threshold %s, not %s",
                show_time(passage->writer_wait_ns).text, show_time(passage->span_ns).text,
                show_bytes(outlook->used_bytes).text, show_bytes(outlook->budget_bytes).text,
                show_bytes(threshold_at(lever->level, outlook)).text, show_bytes(from_bytes).text);
}

static void threshold_back(struct adaptive_state *state, const spw_outlook *outlook,
                           spw_orders *orders)
{
    struct lever *lever = &state->threshold;
    uint64_t from_bytes = threshold_at(lever->level, outlook), calm_ns = lever->calm_ns;
    if (!lever_rest(lever, outlook->now_ns))
        return;
    orders_note(orders, "back", "calm for %s: threshold %s instead of %s",
                show_time(outlook->now_ns - calm_ns).text,
                show_bytes(threshold_at(lever->level, outlook)).text, show_bytes(from_bytes).text);
}

static void threshold_decide(struct adaptive_state *state, const struct passage *passage,
                             const struct adaptive_wish *wish, const spw_outlook *outlook,
                             spw_orders *orders)
{
    struct lever *lever = &state->threshold;
    enum cause cause = cause_of(passage, wish, outlook);
    if (cause == CAUSE_HASTE || cause == CAUSE_PRICE)
        threshold_raise(state, passage, cause, wish, outlook, orders);
    else if (cause == CAUSE_SHORT)
        threshold_lower(state, passage, outlook, orders);
    else if (cause == CAUSE_UNSURE)
        lever_stir(lever, outlook->now_ns);
    else
        threshold_back(state, outlook, orders);
    /* The budget and the number of queues change too. */
    uint64_t bytes = lever->level == 0 ? 0 : threshold_at(lever->level, outlook);
    if (bytes != state->threshold_bytes)
        orders->threshold_bytes = state->threshold_bytes = bytes;
}

/* ---- reading ahead ---- */

/* Pushes the lever by what is late. Returns the word for it; NULL: it stays. */
static const char *ahead_push(struct lever *lever, uint64_t runs, uint64_t late_runs,
                              uint64_t now_ns)
{
    if (late_runs == 0)
        return lever_rest(lever, now_ns) ? "shallow" : NULL;
    lever_stir(lever, now_ns);
    if (late_runs < LATE_MIN || late_runs <= runs / LATE_PART || lever->level == AHEAD_LEVEL_MAX ||
        !lever_may_push(lever, 1, now_ns))
        return NULL;
    lever_push(lever, 1, now_ns);
    return "deeper";
}

static void ahead_decide(struct adaptive_state *state, const spw_outlook *outlook,
                         spw_orders *orders)
{
    uint64_t read_ns = outlook->device_read_ns, now_ns = outlook->now_ns;
    uint64_t runs = outlook->fetched_runs_total - state->ahead_runs;
    uint64_t late_runs = outlook->late_runs_total - state->ahead_late_runs;
    state->ahead_runs = outlook->fetched_runs_total;
    state->ahead_late_runs = outlook->late_runs_total;
    if (read_ns == 0)
        return;
    const char *word =
        state->ahead_ns > 0 ? ahead_push(&state->ahead, runs, late_runs, now_ns) : "ahead";
    uint64_t times = (uint64_t)AHEAD_TIMES << state->ahead.level;
    uint64_t ns = read_ns < AHEAD_MAX_NS / times ? read_ns * times : AHEAD_MAX_NS;
    bool follow = ns > state->ahead_ns + state->ahead_ns / 2 || ns < state->ahead_ns / 2;
    if (!word && !follow)
        return;
    orders->prefetch_ns = state->ahead_ns = ns;
    if (!word && now_ns - state->ahead_noted_ns < TELL_AGAIN_NS)
        return;
    state->ahead_noted_ns = now_ns;
    orders_note(orders, word ? word : "ahead",
                "reading a run takes %s, %" PRIu64 " of %" PRIu64 " were late: "
                "what a queue is drained of in %s is read ahead",
                show_time(read_ns).text, late_runs, larger(runs, late_runs), show_time(ns).text);
}

/* ---- both ---- */

void adaptive_decide(struct adaptive_state *state, const struct adaptive_wish *wish,
                     const spw_outlook *outlook, spw_orders *orders)
{
    bool begins = state->from.now_ns == 0;
    if (begins) {
        state->look_ns = ADAPTIVE_LOOK_NS;
        state->ahead_runs = outlook->fetched_runs_total;
        state->ahead_late_runs = outlook->late_runs_total;
    }
    if (!begins && outlook->now_ns < state->from.now_ns + ADAPTIVE_LOOK_NS) {
        orders->wake_in_use_ns = state->from.now_ns + state->look_ns;
        return;
    }
    if (!begins) {
        struct passage passage = passage_of(&state->from, outlook);
        if (!wish->keeps_threshold)
            threshold_decide(state, &passage, wish, outlook, orders);
        if (!wish->keeps_prefetch && !orders->action) /* one decision at a time */
            ahead_decide(state, outlook, orders);
        state->look_ns = passage_is_still(&passage)
                             ? smaller(2 * state->look_ns, ADAPTIVE_LOOK_MAX_NS)
                             : ADAPTIVE_LOOK_NS;
    }
    state->from = *outlook;
    orders->wake_in_use_ns = outlook->now_ns + state->look_ns;
}
