/* SPDX-License-Identifier: MIT */
#include "share.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/govern.h"
#include "governor.h"
#include "pool.h"

/* Between two looks while there is something to do. */
#define LOOK_AGAIN_NS UINT64_C(10000000)

/* And so many times as long as a look takes. */
enum { LOOK_SHARE = 20 };

/* A rate is what was seen of late: half of it within the last second. */
#define RATE_WINDOW_S 1.0
#define RATE_LOOK_NS  UINT64_C(10000000) /* less is no basis for a rate */

/* Decisions about shares are noted this often at most: they follow one another all the time. */
#define NOTE_AGAIN_NS UINT64_C(10000000000)

/* So far below the mark above which writers spill by themselves, as parts of the budget, spilling
 * begins and ends. */
enum { HIGH_SHARE = 64, LOW_SHARE = 16 };

enum { QUEUES_FIRST = 16, QUEUES_MORE = 8 };

/* ---- the queues ---- */

void share_init(struct share *share)
{
    memset(share, 0, sizeof(*share));
    share->next_ns = SPILLWAY_NEVER;
}

void share_fini(struct share *share, const spw_allocator *allocator)
{
    allocator_release(allocator, share->plans, share->capacity * sizeof(struct plan_queue));
    allocator_release(allocator, share->queues, share->capacity * sizeof(struct queue *));
    share->plans = NULL;
    share->queues = NULL;
    share->capacity = 0;
}

/* Room for so many; without memory for as many as there was room for. */
static void share_reserve(struct share *share, const spw_allocator *allocator, unsigned count)
{
    if (count <= share->capacity)
        return;
    unsigned capacity = count < QUEUES_FIRST ? QUEUES_FIRST : count + count / QUEUES_MORE;
    struct share more = {.capacity = capacity};
    more.plans = allocator_acquire(allocator, capacity * sizeof(struct plan_queue));
    more.queues = allocator_acquire(allocator, capacity * sizeof(struct queue *));
    if (!more.plans || !more.queues) {
        share_fini(&more, allocator);
        return;
    }
    share_fini(share, allocator);
    share->plans = more.plans;
    share->queues = more.queues;
    share->capacity = capacity;
}

/* How soon it is drained, from how far it has come since it was last looked at. */
static void rate_look(struct queue_memory *memory, const struct queue *queue,
                      const struct queue_figures *figures, uint64_t now_ns)
{
    uint64_t since_ns = memory->looked_ns ? memory->looked_ns : queue->opened_ns;
    if (now_ns < since_ns + RATE_LOOK_NS)
        return;
    double passed_s = (double)(now_ns - since_ns) / 1e9;
    double seen = (double)(figures->gone_bytes_total - memory->gone_bytes_total) / passed_s;
    double weight = memory->looked_ns ? passed_s / (passed_s + RATE_WINDOW_S) : 1;
    memory->rate += (seen - memory->rate) * weight;
    memory->looked_ns = now_ns;
    memory->gone_bytes_total = figures->gone_bytes_total;
}

/* Notes how far the queue has come, often enough to tell later what is as old as `age_ns`. */
static void mark_look(struct queue_memory *memory, const struct queue_figures *figures,
                      uint64_t age_ns, uint64_t now_ns)
{
    const struct queue_mark *last = &memory->marks[(memory->mark_count - 1) % QUEUE_MARKS];
    if (age_ns == 0 ||
        (memory->mark_count > 0 && now_ns - last->time_ns < age_ns / (QUEUE_MARKS / 2)))
        return;
    memory->marks[memory->mark_count++ % QUEUE_MARKS] =
        (struct queue_mark){now_ns, figures->extended_bytes_total};
}

/* Takes a reference on each queue and looks at it; those that nobody can have spill are left out.
 * Returns what went in and out of them so far. */
static uint64_t share_gather(struct share *share, struct governor *governor, uint64_t now_ns,
                             bool take_reserves)
{
    struct census *census = &governor->census;
    uint64_t reserve_bytes = take_reserves ? 0 : budget_head_reserve(governor->pool);
    uint64_t moved_bytes = 0;
    share_reserve(share, governor->pool->allocator, census_count(census));
    unsigned taken = census_take(census, share->queues, share->capacity);
    share->count = 0;
    for (unsigned i = 0; i < taken; i++) {
        struct queue *queue = share->queues[i];
        struct queue_figures figures;
        queue_look(queue, &figures);
        if (!figures.spills) {
            queue_release(queue);
            continue;
        }
        rate_look(&queue->memory, queue, &figures, now_ns);
        mark_look(&queue->memory, &figures, share->age_ns, now_ns);
        moved_bytes += figures.extended_bytes_total + figures.gone_bytes_total;
        if (queue->memory.looked_ns == 0) { /* it has hardly begun: nobody knows */
            queue_release(queue);
            continue;
        }
        share->plans[share->count++] = (struct plan_queue){.queue = queue,
                                                           .head_bytes = figures.head_bytes,
                                                           .paged_bytes = figures.paged_bytes,
                                                           .tail_bytes = figures.tail_bytes,
                                                           .reserve_bytes = reserve_bytes,
                                                           .rate = queue->memory.rate,
                                                           .keep_bytes = UINT64_MAX};
    }
    return moved_bytes;
}

static void share_let_go(struct share *share)
{
    while (share->count > 0)
        queue_release(share->plans[--share->count].queue);
}

/* ---- a look ---- */

/* What the budget asks for. */
struct demand {
    bool above;           /* so much is in use that queues would be guided */
    bool guide;           /* and there are several: they are to know what each of them may keep */
    uint64_t plan_bytes;  /* of what they would give up so much */
    uint64_t spill_bytes; /* so much has to go now, or soon would */
};

/* Whether there would be somebody to guide, with the mark so much lower. */
static bool share_is_above(struct spw_pool *pool, uint64_t lower_bytes)
{
    return atomic_load_explicit(&pool->account.queues, memory_order_relaxed) > 1 &&
           budget_used_by_writers(pool) > budget_guide_mark(pool) - lower_bytes;
}

/*
 * Queues are guided before the budget is exceeded: their own policies are quicker than we are, and
 * should know by then. Marks are compared with what is left when all in flight has landed.
 */
static struct demand share_demand(struct spw_pool *pool, const struct share *share)
{
    uint64_t in_flight =
        counters_sum(atomic_load_explicit(&pool->counters->in_flight_bytes, memory_order_relaxed));
    uint64_t used = budget_used_by_writers(pool), budget = budget_now(pool);
    uint64_t lands = used > in_flight ? used - in_flight : 0;
    uint64_t mark = budget_spill_mark(pool), step = budget / LOW_SHARE;
    struct demand demand = {.above = share_is_above(pool, share->above ? step : 0)};
    demand.guide = demand.above && share->count > 1;
    if (!demand.guide)
        return demand;
    demand.plan_bytes = lands > mark ? lands - (mark - step) : step;
    if (lands > mark - budget / HIGH_SHARE)
        demand.spill_bytes = lands - (mark - step);
    return demand;
}

/* Plans that `bytes` of what is resident go. Returns the horizon. */
static double share_plan(struct share *share, uint64_t bytes)
{
    uint64_t resident = 0;
    for (unsigned i = 0; i < share->count; i++)
        resident += plan_resident(&share->plans[i]);
    double horizon_s =
        plan_make(share->plans, share->count, resident > bytes ? resident - bytes : 0);
    if (share->count > 1) /* there may be no plans at all */
        qsort(share->plans, share->count, sizeof(struct plan_queue), plan_compare);
    return horizon_s;
}

/* What of a queue is to go of `bytes`: no more than the plan says, but at least a decent run,
 * unless the head reserve leaves less. */
static uint64_t share_part(const struct plan_queue *plan, uint64_t bytes, uint64_t least_bytes)
{
    uint64_t resident = plan_resident(plan), part = resident - plan_kept(plan);
    uint64_t most = resident > plan->reserve_bytes ? resident - plan->reserve_bytes : 0;
    if (part > bytes)
        part = bytes;
    if (part > 0 && part < least_bytes)
        part = least_bytes;
    return part <= most ? part : 0;
}

/* Tells each queue what to keep; what keeps too much spills now, until `bytes` have gone. Returns
 * the bytes spilled. */
static uint64_t share_apply(struct share *share, uint64_t bytes, uint64_t least_bytes)
{
    uint64_t spilled_bytes = 0;
    for (unsigned i = 0; i < share->count; i++) {
        struct plan_queue *plan = &share->plans[i];
        struct queue *queue = plan->queue;
        uint64_t left_bytes = bytes > spilled_bytes ? bytes - spilled_bytes : 0;
        uint64_t part = share_part(plan, left_bytes, least_bytes);
        if (part == 0 && !queue->memory.guided && plan->keep_bytes == UINT64_MAX)
            continue;
        struct queue_guidance guidance = {
            .keep_bytes = plan->keep_bytes, .until_position = UINT64_MAX, .spill_now = part > 0};
        if (part > 0)
            guidance.keep_bytes = plan_resident(plan) - part;
        queue->memory.guided = plan->keep_bytes != UINT64_MAX;
        spilled_bytes += queue_guide(queue, &guidance);
    }
    return spilled_bytes;
}

/* Each queue decides for itself again. */
static void share_leave(struct share *share)
{
    for (unsigned i = 0; i < share->count; i++)
        share->plans[i].keep_bytes = UINT64_MAX;
    share_apply(share, 0, 0);
}

static void share_note(struct share *share, struct governor *governor, uint64_t bytes,
                       double horizon_s, uint64_t now_ns)
{
    if (share->noted_ns != 0 && now_ns - share->noted_ns < NOTE_AGAIN_NS)
        return;
    share->noted_ns = now_ns;
    uint64_t budget = budget_now(governor->pool);
    if (horizon_s > 0 && horizon_s < PLAN_FOR_EVER)
        governor_note(governor, "share", budget,
                      "%llu bytes have to go; %u queues keep what they need within %.3f s",
                      (unsigned long long)bytes, share->count, horizon_s);
    else
        governor_note(governor, "share", budget,
                      "%llu bytes have to go; %u queues keep their head reserves",
                      (unsigned long long)bytes, share->count);
}

/* What has to go does, as far as it can now. Returns whether anything was done. */
static bool share_act(struct share *share, struct governor *governor, uint64_t now_ns)
{
    struct spw_pool *pool = governor->pool;
    struct demand demand = share_demand(pool, share);
    bool ordered = share->owed_bytes > demand.spill_bytes;
    if (ordered)
        demand.spill_bytes = share->owed_bytes;
    if (demand.plan_bytes < demand.spill_bytes)
        demand.plan_bytes = demand.spill_bytes;
    uint64_t spilled = 0;
    double horizon_s = 0;
    if (demand.plan_bytes > 0) {
        horizon_s = share_plan(share, demand.plan_bytes);
        /* What is ordered goes to the last crumb that is worth a run of its own. */
        spilled = share_apply(share, demand.spill_bytes,
                              ordered ? RUN_MIN_BYTES : budget_run_bytes(pool));
    }
    if (!demand.guide)
        share_leave(share);
    share->active = demand.guide;
    share->above = demand.above;
    pool_count(pool, governor_spilled_bytes_total, spilled);
    share->owed_bytes -= spilled < share->owed_bytes ? spilled : share->owed_bytes;
    if (spilled > 0)
        share_note(share, governor, demand.spill_bytes, horizon_s, now_ns);
    return spilled > 0;
}

/*
 * Whether to stay awake for queues that may have to be guided. Who comes above the mark calls once
 * and not again before `guiding` is over, so that is when two looks in a row found the use below
 * it: else a use that goes up and down would call for each time that it does. And who came above
 * the mark meanwhile and did not call is seen here.
 */
static bool share_watches(struct share *share, struct governor *governor)
{
    bool below = share->below;
    share->below = false;
    if (share->above || !atomic_load(&governor->guiding))
        return share->above;
    if (below) {
        atomic_store(&governor->guiding, false);
        if (!share_is_above(governor->pool, 0))
            return false;
        atomic_store(&governor->guiding, true);
    }
    share->below = true;
    return true;
}

/* Looks once. Nobody may take a pool for idle meanwhile, since queues are held. */
static void share_look(struct governor *governor)
{
    struct share *share = &governor->share;
    struct spw_pool *pool = governor->pool;
    uint64_t now_ns = pool->os->clock_ns();
    governor_begin_look(governor);
    uint64_t moved_bytes =
        share_gather(share, governor, now_ns, share->owed_bytes > 0 && share->owed_reserves);
    bool acted = share_act(share, governor, now_ns);
    bool flows = acted || moved_bytes != share->moved_bytes ||
                 atomic_load_explicit(&pool->counters->in_flight_bytes, memory_order_relaxed) > 0;
    share->moved_bytes = moved_bytes;
    share_let_go(share);
    governor_end_look(governor);
    if (!flows)
        share->owed_bytes = 0; /* nothing more can go */
    share->next_ns = SPILLWAY_NEVER;
    if (!share_watches(share, governor) && share->owed_bytes == 0)
        return;
    uint64_t after_ns = pool->os->clock_ns();
    uint64_t rest_ns = (after_ns - now_ns) * LOOK_SHARE;
    if (flows || share->below)
        share->next_ns = after_ns + (rest_ns > LOOK_AGAIN_NS ? rest_ns : LOOK_AGAIN_NS);
    else /* whoever moves something next */
        atomic_store(&governor->called, true);
}

void share_pass(struct governor *governor, uint64_t now_ns)
{
    struct share *share = &governor->share;
    if (now_ns >= share->next_ns || share->above || atomic_load(&governor->guiding))
        share_look(governor);
}

/* ---- orders ---- */

void share_spill(struct governor *governor, uint64_t bytes, bool take_reserves)
{
    struct share *share = &governor->share;
    share->owed_reserves = take_reserves || (share->owed_bytes > 0 && share->owed_reserves);
    if (share->owed_bytes < bytes)
        share->owed_bytes = bytes;
    share_look(governor);
}

/* How far the queue had come `age_ns` ago; 0 where that is not known. */
static uint64_t position_at_age(const struct queue_memory *memory, uint64_t age_ns, uint64_t now_ns)
{
    uint64_t position = 0;
    unsigned first = memory->mark_count > QUEUE_MARKS ? memory->mark_count - QUEUE_MARKS : 0;
    for (unsigned i = first; i < memory->mark_count; i++) {
        const struct queue_mark *mark = &memory->marks[i % QUEUE_MARKS];
        if (now_ns - mark->time_ns >= age_ns)
            position = mark->extended_bytes_total;
    }
    return position;
}

void share_spill_older(struct governor *governor, uint64_t age_ns, bool take_reserves)
{
    struct share *share = &governor->share;
    uint64_t now_ns = governor->pool->os->clock_ns(), spilled_bytes = 0;
    share->age_ns = age_ns > 0 ? age_ns : 1;
    governor_begin_look(governor);
    share_gather(share, governor, now_ns, take_reserves);
    for (unsigned i = 0; i < share->count; i++) {
        struct plan_queue *plan = &share->plans[i];
        struct queue *queue = plan->queue;
        uint64_t until = position_at_age(&queue->memory, age_ns, now_ns);
        if (until <= queue->memory.gone_bytes_total)
            continue;
        queue->memory.guided = true;
        spilled_bytes +=
            queue_guide(queue, &(struct queue_guidance){.keep_bytes = plan->reserve_bytes,
                                                        .until_position = until,
                                                        .spill_now = true});
    }
    if (!share->active)
        share_leave(share);
    share_let_go(share);
    governor_end_look(governor);
    pool_count(governor->pool, governor_spilled_bytes_total, spilled_bytes);
}
