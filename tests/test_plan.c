/* SPDX-License-Identifier: MIT */
/* What must hold of every plan of who keeps how much. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../pool/plan.h"
#include "harness.h"
#include "queue_tools.h"

#define MIB UINT64_C(1048576)

enum { QUEUES_MAX = 40 };

struct case_of {
    struct plan_queue queues[QUEUES_MAX];
    size_t count;
    uint64_t resident_bytes, reserved_bytes; /* of all; what the reserves alone keep of it */
};

static uint64_t some_bytes(struct random *random)
{
    static const uint64_t most[] = {1, 1000, MIB, 100 * MIB, 4096 * MIB};
    return random_below(random, most[random_below(random, 5)]);
}

static void case_make(struct case_of *c, struct random *random)
{
    memset(c, 0, sizeof(*c));
    c->count = 1 + random_below(random, QUEUES_MAX);
    for (size_t i = 0; i < c->count; i++) {
        struct plan_queue *queue = &c->queues[i];
        queue->head_bytes = some_bytes(random);
        if (random_below(random, 2)) {
            queue->paged_bytes = some_bytes(random);
            queue->tail_bytes = some_bytes(random);
        }
        queue->reserve_bytes = random_below(random, 8 * MIB);
        if (random_below(random, 4) > 0)
            queue->rate = (double)(1 + some_bytes(random));
        uint64_t resident = plan_resident(queue);
        c->resident_bytes += resident;
        c->reserved_bytes += resident < queue->reserve_bytes ? resident : queue->reserve_bytes;
    }
}

static uint64_t kept(const struct case_of *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < c->count; i++)
        sum += plan_kept(&c->queues[i]);
    return sum;
}

/* Seconds until the last byte that is kept beyond the reserve is needed; 0: there is none. */
static double last_kept_s(const struct plan_queue *queue)
{
    uint64_t keeps = plan_kept(queue);
    if (keeps <= queue->reserve_bytes)
        return 0;
    uint64_t ahead = keeps + (keeps > queue->head_bytes ? queue->paged_bytes : 0);
    return queue->rate > 0 ? (double)ahead / queue->rate : PLAN_FOR_EVER;
}

/* Seconds until the first byte that goes is needed. */
static double first_gone_s(const struct plan_queue *queue)
{
    uint64_t keeps = plan_kept(queue);
    if (keeps == plan_resident(queue) || queue->rate <= 0)
        return PLAN_FOR_EVER;
    uint64_t ahead = keeps + (keeps >= queue->head_bytes ? queue->paged_bytes : 0);
    return (double)ahead / queue->rate;
}

Test(plan, sums_fit_and_reserves_are_kept)
{
    struct random random = {1};
    struct case_of c;
    for (unsigned i = 0; i < test_scaled(20000); i++) {
        case_make(&c, &random);
        uint64_t target = random_below(&random, c.resident_bytes + c.resident_bytes / 4 + 1);
        double horizon = plan_make(c.queues, c.count, target);
        uint64_t sum = kept(&c);
        if (target >= c.resident_bytes)
            cr_assert(isinf(horizon) && sum == c.resident_bytes, "nothing goes that fits");
        else if (target > c.reserved_bytes)
            cr_assert_leq(sum, target);
        else
            cr_assert_eq(sum, c.reserved_bytes, "no more than the reserves, and no less");
        for (size_t q = 0; q < c.count; q++)
            cr_assert_geq(c.queues[q].keep_bytes, c.queues[q].reserve_bytes);
    }
}

/* Nothing is given up that is needed before something that is kept. */
Test(plan, what_is_needed_last_goes_first)
{
    struct random random = {2};
    struct case_of c;
    for (unsigned i = 0; i < test_scaled(20000); i++) {
        case_make(&c, &random);
        plan_make(c.queues, c.count, random_below(&random, c.resident_bytes + 1));
        double last = 0, first = PLAN_FOR_EVER;
        for (size_t q = 0; q < c.count; q++) {
            double kept_s = last_kept_s(&c.queues[q]), gone_s = first_gone_s(&c.queues[q]);
            last = kept_s > last ? kept_s : last;
            first = gone_s < first ? gone_s : first;
        }
        /* Within a byte of each. */
        cr_assert(last <= first * 1.000001 + 1, "%g is kept, %g is given up", last, first);
    }
}

Test(plan, what_nobody_drains_goes_first)
{
    struct plan_queue queues[] = {
        {.head_bytes = 51 * MIB, .reserve_bytes = MIB},
        {.head_bytes = MIB, .paged_bytes = 80 * MIB, .tail_bytes = 100 * MIB, .reserve_bytes = MIB},
        {.head_bytes = 50 * MIB, .reserve_bytes = MIB, .rate = 1},
        {.head_bytes = 50 * MIB, .reserve_bytes = MIB, .rate = 1e9},
    };
    cr_assert_gt(plan_make(queues, 4, 177 * MIB), 0);
    cr_assert_eq(plan_kept(&queues[0]), 51 * MIB);
    cr_assert_lt(llabs((long long)(plan_kept(&queues[1]) - 26 * MIB)), 2, "as far as it has to");
    cr_assert_eq(plan_kept(&queues[2]), 50 * MIB);
    cr_assert_eq(plan_kept(&queues[3]), 50 * MIB);
    plan_make(queues, 4, 142 * MIB);
    cr_assert_lt(llabs((long long)(plan_kept(&queues[0]) - 41 * MIB)), 2);
    cr_assert_eq(plan_kept(&queues[1]), MIB, "nothing but the reserve");
    plan_make(queues, 4, 62 * MIB);
    cr_assert_eq(plan_kept(&queues[0]), MIB);
    cr_assert_eq(plan_kept(&queues[1]), MIB);
    cr_assert_lt(plan_kept(&queues[2]), 11 * MIB);
    cr_assert_eq(plan_kept(&queues[3]), 50 * MIB);
    plan_make(queues, 4, 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(queues[i].keep_bytes, MIB);
    qsort(queues, 4, sizeof(queues[0]), plan_compare);
    cr_assert_eq(queues[0].tail_bytes, 100 * MIB);
    cr_assert_eq(queues[1].head_bytes, 51 * MIB);
    cr_assert_eq(queues[2].rate, 1);
}

/* What lies behind much that is paged is needed late, however little it is. */
Test(plan, paged_bytes_lie_between)
{
    struct plan_queue queues[] = {
        {.head_bytes = 10 * MIB, .paged_bytes = 1000 * MIB, .tail_bytes = 10 * MIB, .rate = 1e8},
        {.head_bytes = 20 * MIB, .rate = 1e8},
    };
    plan_make(queues, 2, 30 * MIB);
    cr_assert_eq(plan_kept(&queues[0]), 10 * MIB);
    cr_assert_eq(plan_kept(&queues[1]), 20 * MIB);
}

/* Of two queues alike each keeps the same, and a quicker one more. */
Test(plan, shares_follow_the_rates)
{
    struct plan_queue queues[] = {
        {.head_bytes = 100 * MIB, .rate = 1e6},
        {.head_bytes = 100 * MIB, .rate = 1e6},
        {.head_bytes = 100 * MIB, .rate = 3e6},
    };
    plan_make(queues, 3, 50 * MIB);
    cr_assert_lt(llabs((long long)(plan_kept(&queues[0]) - plan_kept(&queues[1]))), 2);
    cr_assert_lt(llabs((long long)(plan_kept(&queues[2]) - 3 * plan_kept(&queues[0]))), 8);
    cr_assert_geq(plan_kept(&queues[0]) + plan_kept(&queues[1]) + plan_kept(&queues[2]),
                  50 * MIB - 16);
}

/* With a larger target no queue keeps less. */
Test(plan, more_room_takes_from_nobody)
{
    struct random random = {3};
    struct case_of c, less;
    for (unsigned i = 0; i < test_scaled(5000); i++) {
        case_make(&c, &random);
        uint64_t target = random_below(&random, c.resident_bytes + 1);
        less = c;
        plan_make(less.queues, less.count, random_below(&random, target + 1));
        plan_make(c.queues, c.count, target);
        for (size_t q = 0; q < c.count; q++)
            cr_assert_leq(plan_kept(&less.queues[q]), plan_kept(&c.queues[q]) + 1);
    }
}

/* Nothing is given up for nothing. */
Test(plan, no_room_is_left_unused)
{
    struct random random = {4};
    struct case_of c;
    for (unsigned i = 0; i < test_scaled(5000); i++) {
        case_make(&c, &random);
        uint64_t more = random_below(&random, c.resident_bytes - c.reserved_bytes + 1);
        plan_make(c.queues, c.count, c.reserved_bytes + more);
        /* A byte for each queue, and what is left of the horizon after all halvings. */
        cr_assert_geq(kept(&c) + c.count + c.resident_bytes / 100000000, c.reserved_bytes + more);
    }
}

Test(plan, nothing_to_plan)
{
    struct plan_queue queue = {0};
    cr_assert(isinf(plan_make(NULL, 0, 0)));
    cr_assert(isinf(plan_make(&queue, 1, 0)));
    cr_assert_eq(plan_seconds(&queue), 0);
    queue = (struct plan_queue){.head_bytes = 10, .rate = 5};
    cr_assert_eq(plan_seconds(&queue), 2);
    queue.rate = 0;
    cr_assert(isinf(plan_seconds(&queue)));
}

/* What is seen of late of a queue that stopped comes ever nearer to nothing. */
Test(plan, a_queue_that_stopped_long_ago_takes_nothing_from_others)
{
    for (double rate = 1e6; rate > 0; rate /= 1e6) {
        struct plan_queue queues[] = {
            {.head_bytes = 4 * MIB, .reserve_bytes = 4 * MIB, .rate = rate},
            {.head_bytes = 100 * MIB, .reserve_bytes = MIB, .rate = 1e8},
            {.head_bytes = 100 * MIB, .reserve_bytes = MIB, .rate = 1e8},
        };
        plan_make(queues, 3, 104 * MIB);
        for (unsigned i = 1; i < 3; i++)
            cr_assert_geq(queues[i].keep_bytes, 49 * MIB, "keeps %llu bytes beside a rate of %g",
                          (unsigned long long)queues[i].keep_bytes, rate);
    }
}
