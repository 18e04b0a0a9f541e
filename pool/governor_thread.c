/* SPDX-License-Identifier: MIT */
/* The governor's thread: sleeps until there is something to look after, then has all who are
 * concerned look. */
#include <errno.h>
#include <string.h>

#include "../lib/growable.h"
#include "governor.h"
#include "pool.h"

/* A descriptor that stays ready whatever its regulator does is looked at no more often. */
#define READY_AGAIN_NS UINT64_C(5000000)

/* The limits of the process are looked at this often, while something is in use. */
#define LIMITS_AGAIN_NS UINT64_C(2000000000)

/* Whoever asks for a time that has passed is called no more often than that. */
#define CALL_AGAIN_NS UINT64_C(1000000)

/* After the kernel has refused to wait. */
#define REFUSED_PAUSE_NS UINT64_C(100000000)

enum { POLL_MAX = 2 + REGULATORS_MAX * SPILLWAY_WATCHES_MAX };

/* What is waited for. */
struct waiting {
    struct pollfd fds[POLL_MAX]; /* the first one wakes the thread */
    struct {
        uint64_t id; /* of the regulator */
        unsigned bit;
    } of[POLL_MAX];
    unsigned count;
    unsigned control;  /* the one of these that brings requests from outside; 0: none */
    uint64_t until_ns; /* SPILLWAY_NEVER: no limit */
};

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* With the lock held: what this one waits for. */
static void waiting_add(struct waiting *waiting, const struct regulated *regulated, bool in_use,
                        uint64_t now_ns)
{
    if (regulated->due)
        waiting->until_ns = 0;
    waiting->until_ns = earlier(waiting->until_ns, regulated->wake_ns);
    if (in_use)
        waiting->until_ns = earlier(waiting->until_ns, regulated->wake_in_use_ns);
    if (regulated->watch_count > 0 && now_ns - regulated->ready_ns < READY_AGAIN_NS) {
        waiting->until_ns = earlier(waiting->until_ns, regulated->ready_ns + READY_AGAIN_NS);
        return;
    }
    for (unsigned i = 0; i < regulated->watch_count; i++) {
        if (regulated->watches[i].fd < 0)
            continue;
        unsigned at = waiting->count++;
        waiting->fds[at] =
            (struct pollfd){.fd = regulated->watches[i].fd, .events = regulated->watches[i].events};
        waiting->of[at].id = regulated->id;
        waiting->of[at].bit = i;
    }
}

/* Requests from outside; not all the time, however many come. */
static void waiting_add_control(struct waiting *waiting, const struct control *control,
                                uint64_t now_ns)
{
    if (control->fd < 0 || control->broken)
        return;
    if (now_ns - control->looked_ns < READY_AGAIN_NS) {
        waiting->until_ns = earlier(waiting->until_ns, control->looked_ns + READY_AGAIN_NS);
        return;
    }
    waiting->control = waiting->count++;
    waiting->fds[waiting->control] = (struct pollfd){.fd = control->fd, .events = POLLIN};
}

/* With the lock held. */
static struct regulated *regulated_with(struct governor *governor, uint64_t id)
{
    for (unsigned i = 0; i < governor->count; i++)
        if (governor->regulators[i]->id == id)
            return governor->regulators[i];
    return NULL; /* detached meanwhile */
}

/* Notes which descriptors have reported something. */
static void waiting_reports(struct governor *governor, const struct waiting *waiting)
{
    uint64_t now_ns = governor->pool->os->clock_ns(), count;
    pthread_mutex_lock(&governor->lock);
    if (waiting->fds[0].revents) {
        governor->woken = false;
        (void)governor->pool->os->read(governor->event_fd, &count, sizeof(count));
    }
    for (unsigned i = 1; i < waiting->count; i++) {
        struct regulated *regulated =
            waiting->fds[i].revents ? regulated_with(governor, waiting->of[i].id) : NULL;
        if (regulated) {
            regulated->ready |= 1u << waiting->of[i].bit;
            regulated->reported[waiting->of[i].bit] |= waiting->fds[i].revents;
            regulated->ready_ns = now_ns;
        }
    }
    pthread_mutex_unlock(&governor->lock);
}

/* The kernel does not let us wait for descriptors now: not in a busy loop either. */
static void governor_pause(struct governor *governor)
{
    uint64_t until_ns = governor->pool->os->clock_ns() + REFUSED_PAUSE_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    pthread_mutex_lock(&governor->lock);
    if (!governor->closing)
        pthread_cond_timedwait(&governor->changed, &governor->lock, &until);
    pthread_mutex_unlock(&governor->lock);
}

/*
 * While nothing is in use, nobody's clock runs; who brings something in calls. The order is that of
 * budget_look(): whoever adds to the use looks at the level afterwards.
 */
static bool governor_sees_use(struct governor *governor)
{
    struct spw_pool *pool = governor->pool;
    if (budget_in_use(pool) == 0) {
        atomic_store(&governor->level_bytes, 0);
        if (budget_in_use(pool) == 0)
            return false;
    }
    atomic_store(&governor->level_bytes, UINT64_MAX);
    return true;
}

/* Sleeps until something is to be done. Returns false when the pool ends. */
static bool governor_wait(struct governor *governor)
{
    const struct os *os = governor->pool->os;
    struct waiting waiting = {.fds[0] = {.fd = governor->event_fd, .events = POLLIN},
                              .count = 1,
                              .until_ns = SPILLWAY_NEVER};
    bool in_use = governor_sees_use(governor);
    uint64_t now_ns = os->clock_ns();
    waiting.until_ns = governor->share.next_ns;
    pthread_mutex_lock(&governor->lock);
    bool closing = governor->closing;
    governor->resting = waiting.until_ns == SPILLWAY_NEVER && !governor->woken;
    waiting_add_control(&waiting, &governor->pool->control, now_ns);
    for (unsigned i = 0; i < governor->count; i++)
        waiting_add(&waiting, governor->regulators[i], in_use, now_ns);
    pthread_mutex_unlock(&governor->lock);
    if (closing)
        return false;
    if (in_use)
        waiting.until_ns = earlier(waiting.until_ns, governor->limits_ns);
    uint64_t timeout_ns = waiting.until_ns == SPILLWAY_NEVER ? UINT64_MAX
                          : waiting.until_ns > now_ns        ? waiting.until_ns - now_ns
                                                             : 0;
    int ready = os->poll(waiting.fds, waiting.count, timeout_ns);
    if (ready > 0) {
        waiting_reports(governor, &waiting);
        if (waiting.control > 0 && waiting.fds[waiting.control].revents)
            control_serve(governor->pool);
    } else if (ready < 0 && ready != -EINTR) {
        governor_pause(governor);
    }
    return true;
}

/* With the lock held: the next one whose time has come and who has not had its turn. */
static struct regulated *regulated_due(struct governor *governor, bool in_use, uint64_t now_ns)
{
    for (unsigned i = 0; i < governor->count; i++) {
        struct regulated *regulated = governor->regulators[i];
        if (regulated->pass != governor->pass &&
            (regulated->due || regulated->ready || now_ns >= regulated->wake_ns ||
             (in_use && now_ns >= regulated->wake_in_use_ns)))
            return regulated;
    }
    return NULL;
}

/* No lock held: a regulator hears what was set. */
static void regulator_tune(struct spw_pool *pool, spw_regulator *regulator, uint64_t rows)
{
    char value[SETTINGS_TEXT];
    for (unsigned i = 0; rows != 0 && OPS_HAS(regulator->ops, set); i++, rows >>= 1) {
        if ((rows & 1) == 0)
            continue;
        retune_value(pool, i, value);
        regulator->ops->set(regulator, option_rows[i].name, value);
    }
}

/* With the lock held, which is dropped meanwhile: one regulator looks, and has its will. */
static void regulated_look(struct governor *governor, struct regulated *regulated)
{
    spw_regulator *regulator = regulated->regulator;
    spw_outlook outlook = {.ready = regulated->ready};
    spw_orders orders = {.size = sizeof(orders),
                         .budget_bytes = SPILLWAY_KEEP,
                         .spill_older_ns = SPILLWAY_NEVER,
                         .hold_disk = -1,
                         .threshold_bytes = SPILLWAY_KEEP,
                         .prefetch_bytes = SPILLWAY_KEEP,
                         .prefetch_ns = SPILLWAY_KEEP,
                         .memory_stall_permille = -1,
                         .io_stall_permille = -1,
                         .wake_in_use_ns = SPILLWAY_NEVER,
                         .wake_ns = SPILLWAY_NEVER};
    spw_watch watches[SPILLWAY_WATCHES_MAX] = {{.fd = -1}};
    unsigned count = 0;
    uint64_t tuned = regulated->tuned;
    regulated->tuned = 0;
    regulated->due = false;
    regulated->ready = 0;
    memcpy(outlook.reported, regulated->reported, sizeof(outlook.reported));
    memset(regulated->reported, 0, sizeof(regulated->reported));
    regulated->pass = governor->pass;
    governor->calling = regulated->id;
    pthread_mutex_unlock(&governor->lock);
    regulator_tune(governor->pool, regulator, tuned);
    outlook_fill(governor->pool, &outlook);
    regulator->ops->apply(regulator, &outlook, &orders);
    if (OPS_HAS(regulator->ops, watch))
        count = regulator->ops->watch(regulator, watches);
    char name[sizeof(((spw_decision *)NULL)->regulator)];
    strncpy(name, regulator->ops->name, sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    pthread_mutex_lock(&governor->lock);
    uint64_t again_ns = outlook.now_ns + CALL_AGAIN_NS;
    regulated->wake_ns = later(orders.wake_ns, again_ns);
    regulated->wake_in_use_ns = later(orders.wake_in_use_ns, again_ns);
    regulated->watch_count = count < SPILLWAY_WATCHES_MAX ? count : SPILLWAY_WATCHES_MAX;
    memcpy(regulated->watches, watches, sizeof(watches));
    pthread_mutex_unlock(&governor->lock);
    /* Carrying them out may call back to the user, who may detach it: it is not touched again. */
    orders_carry_out(governor, name, &orders);
    pthread_mutex_lock(&governor->lock);
    governor->calling = 0;
    pthread_cond_broadcast(&governor->changed);
}

/* Limits may be changed from outside, and nobody tells. */
static void governor_look_at_limits(struct governor *governor, uint64_t now_ns)
{
    struct spw_pool *pool = governor->pool;
    uint64_t limit_bytes, before_bytes = budget_now(pool);
    if (now_ns < governor->limits_ns)
        return;
    governor->limits_ns = now_ns + LIMITS_AGAIN_NS;
    if (!budget_look_at_limits(pool, &limit_bytes))
        return;
    governor_note(governor, "limit", before_bytes, "the tightest memory limit is %llu bytes now",
                  (unsigned long long)limit_bytes);
    spw_governor_wake(&governor->governor, NULL);
}

/* A queue that rests gives up nothing by itself, and one alone is not guided either. */
static void governor_shrink(struct governor *governor)
{
    struct spw_pool *pool = governor->pool;
    uint64_t used_bytes = budget_used_by_writers(pool), mark_bytes = budget_spill_mark(pool);
    if (used_bytes > mark_bytes)
        share_spill(governor, used_bytes - mark_bytes, false);
}

static void governor_pass(struct governor *governor)
{
    struct spw_pool *pool = governor->pool;
    bool in_use = budget_in_use(pool) > 0;
    uint64_t now_ns = pool->os->clock_ns();
    struct regulated *regulated;
    pool_count(pool, governor_wakeups_total, 1);
    governor->pass++;
    pthread_mutex_lock(&governor->lock);
    governor->resting = false;
    pthread_mutex_unlock(&governor->lock);
    if (in_use)
        governor_look_at_limits(governor, now_ns);
    pthread_mutex_lock(&governor->lock);
    while (!governor->closing && (regulated = regulated_due(governor, in_use, now_ns)))
        regulated_look(governor, regulated);
    bool closing = governor->closing;
    pthread_mutex_unlock(&governor->lock);
    if (closing)
        return;
    if (atomic_exchange(&governor->shrunk, false))
        governor_shrink(governor);
    share_pass(governor, now_ns);
}

void *governor_main(void *context)
{
    struct governor *governor = context;
    governor->self = pthread_self();
    atomic_store_explicit(&governor->running, true, memory_order_release);
    do
        governor_pass(governor);
    while (governor_wait(governor));
    return NULL;
}
