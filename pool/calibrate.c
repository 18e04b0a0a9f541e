/* SPDX-License-Identifier: MIT */
#include "calibrate.h"

/* In per cent of the other. */
enum {
    AS_GOOD_PERCENT = 98, /* within noise */
    AS_GOOD_WORST_PERCENT = 92,
    BETTER_PERCENT = 104,       /* more in flight costs little */
    BETTER_SMALL_PERCENT = 108, /* smaller requests cost more, and soon a limit of their number */
    BAD_PERCENT = 75,           /* not worth another round */
};

static unsigned depth_of(const struct calibration *c, uint32_t request_bytes)
{
    uint64_t depth = (c->flight_bytes + request_bytes - 1) / request_bytes;
    if (c->forced_depth > 0)
        return c->forced_depth;
    return depth < CALIBRATE_DEPTH_MAX ? (unsigned)depth : CALIBRATE_DEPTH_MAX;
}

static void tell(struct calibration *c)
{
    if (!c->told)
        return;
    atomic_store_explicit(&c->told[0], c->depth, memory_order_relaxed);
    atomic_store_explicit(&c->told[1], c->request_bytes, memory_order_relaxed);
    atomic_store_explicit(&c->told[2], c->measured, memory_order_relaxed);
}

static void put_in_force(struct calibration *c, const struct calibrate_arm *arm)
{
    c->flight_bytes = arm->flight_bytes;
    atomic_store_explicit(&c->request_bytes, arm->request_bytes, memory_order_relaxed);
    atomic_store_explicit(&c->depth, depth_of(c, arm->request_bytes), memory_order_relaxed);
    tell(c);
}

static unsigned arm_of_turn(const struct calibration *c)
{
    return (c->preferred + c->turn) % c->arm_count;
}

static void trial_start(struct calibration *c)
{
    c->trying = true;
    c->filled = false;
    c->settle_bytes = c->trial_bytes / 2;
    c->moved_bytes = c->moved_requests = c->asleep_ns = 0;
    put_in_force(c, &c->arms[arm_of_turn(c)]);
}

/* Until there is enough to do again. */
static void trial_stop(struct calibration *c)
{
    c->trying = false;
    put_in_force(c, &c->arms[c->preferred]);
}

/* ---- phases ---- */

static void arm_add(struct calibration *c, uint64_t flight_bytes, uint32_t request_bytes)
{
    c->arms[c->arm_count++] =
        (struct calibrate_arm){.flight_bytes = flight_bytes, .request_bytes = request_bytes};
}

static void phase_start(struct calibration *c, enum calibrate_phase phase, unsigned preferred)
{
    c->phase = phase;
    c->preferred = preferred;
    c->round = c->turn = c->unreached = 0;
    trial_stop(c);
}

static void calibrate_end(struct calibration *c, struct calibrate_arm arm)
{
    c->phase = CALIBRATE_OVER;
    c->trying = false;
    put_in_force(c, &arm);
}

/* A quarter, half and twice as much in flight, and the same. */
static void flight_phase(struct calibration *c, struct calibrate_arm from)
{
    c->arm_count = 0;
    for (unsigned i = 0; i < CALIBRATE_ARMS; i++)
        arm_add(c, from.flight_bytes / 4 << i, from.request_bytes);
    phase_start(c, CALIBRATE_FLIGHT, 2);
}

/* Larger requests, where most were as large as they may be, and smaller ones, with as much in
 * flight. Those that are no smaller than jobs are all the same. */
static void request_phase(struct calibration *c, struct calibrate_arm from)
{
    uint32_t request_bytes = from.request_bytes;
    c->arm_count = 0;
    arm_add(c, from.flight_bytes, request_bytes);
    if (c->mean_request_bytes >= request_bytes / 4 * 3 &&
        from.flight_bytes >= 2 * (uint64_t)request_bytes)
        arm_add(c, from.flight_bytes, request_bytes * 2);
    while (c->arm_count < CALIBRATE_ARMS && request_bytes / 2 >= 2 * CALIBRATE_SMALL_BYTES) {
        request_bytes /= 2;
        if (request_bytes < c->mean_request_bytes)
            arm_add(c, from.flight_bytes, request_bytes);
    }
    if (c->forced_request || c->arm_count == 1)
        calibrate_end(c, from);
    else
        phase_start(c, CALIBRATE_REQUEST, 0);
}

/* ---- choosing ---- */

/* Rates of one arm in per cent of another's, round by round, the lowest first. */
static void ratios_sort(const struct calibrate_arm *arm, const struct calibrate_arm *other,
                        unsigned rounds, uint64_t percents[CALIBRATE_ROUNDS])
{
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t other_rate = other->bytes_per_s[i] > 0 ? other->bytes_per_s[i] : 1;
        uint64_t percent = arm->bytes_per_s[i] * 100 / other_rate;
        unsigned at = i;
        for (; at > 0 && percents[at - 1] > percent; at--)
            percents[at] = percents[at - 1];
        percents[at] = percent;
    }
}

/* In every round; or clearly in all but one, since a machine that stalls once should not decide. */
static bool is_better(const struct calibrate_arm *arm, const struct calibrate_arm *other,
                      uint64_t least_percent)
{
    uint64_t percents[CALIBRATE_ROUNDS];
    ratios_sort(arm, other, CALIBRATE_ROUNDS, percents);
    return !arm->out && (percents[0] > 100 || percents[1] >= least_percent) &&
           percents[CALIBRATE_ROUNDS / 2] >= least_percent;
}

static bool is_as_good(const struct calibrate_arm *arm, const struct calibrate_arm *other)
{
    uint64_t percents[CALIBRATE_ROUNDS];
    ratios_sort(arm, other, CALIBRATE_ROUNDS, percents);
    return !arm->out && percents[CALIBRATE_ROUNDS / 2] >= AS_GOOD_PERCENT &&
           percents[0] >= AS_GOOD_WORST_PERCENT;
}

static void choose_flight(struct calibration *c)
{
    unsigned top = c->arm_count - 1, best = c->preferred;
    if (is_better(&c->arms[top], &c->arms[best], BETTER_PERCENT))
        best = top;
    unsigned least = 0;
    while (least < best && !is_as_good(&c->arms[least], &c->arms[best]))
        least++;
    /* Where twice as much is better, even more may be. */
    if (least == top && c->climbs < CALIBRATE_CLIMBS_MAX) {
        c->climbs++;
        flight_phase(c, c->arms[top]);
        return;
    }
    atomic_store_explicit(&c->measured, true, memory_order_relaxed);
    request_phase(c, c->arms[least]);
}

static void choose_request(struct calibration *c)
{
    unsigned best = 0;
    for (unsigned i = 1; i < c->arm_count; i++) {
        bool smaller = c->arms[i].request_bytes < c->arms[best].request_bytes;
        if (is_better(&c->arms[i], &c->arms[best], smaller ? BETTER_SMALL_PERCENT : BETTER_PERCENT))
            best = i;
    }
    atomic_store_explicit(&c->measured, true, memory_order_relaxed);
    calibrate_end(c, c->arms[best]);
}

/* ---- turns ---- */

/* What was clearly worse in both of the first rounds is not tried again. */
static void leave_out_the_worst(struct calibration *c)
{
    for (unsigned i = 0; i < c->arm_count; i++) {
        uint64_t percents[CALIBRATE_ROUNDS];
        ratios_sort(&c->arms[i], &c->arms[c->preferred], 2, percents);
        c->arms[i].out = c->arms[i].out || percents[1] < BAD_PERCENT;
    }
}

/* The preferred arm is never out, so that this finds one. */
static void next_turn(struct calibration *c)
{
    c->unreached = 0;
    do {
        c->turn = (c->turn + 1) % c->arm_count;
        if (c->turn == 0 && ++c->round == 2)
            leave_out_the_worst(c);
    } while (c->arms[arm_of_turn(c)].out);
    if (c->round < CALIBRATE_ROUNDS)
        trial_start(c);
    else if (c->phase == CALIBRATE_FLIGHT)
        choose_flight(c);
    else
        choose_request(c);
}

static void window_end(struct calibration *c, uint64_t elapsed_ns)
{
    uint64_t mean_bytes = c->moved_bytes / c->moved_requests;
    /* Mostly awake: then the processor is the bottleneck, and small requests are one too. */
    if (c->asleep_ns < elapsed_ns / 4 || mean_bytes < CALIBRATE_SMALL_BYTES) {
        calibration_void(c);
        return;
    }
    c->arms[arm_of_turn(c)].bytes_per_s[c->round] =
        (uint64_t)((unsigned __int128)c->moved_bytes * 1000000000 / elapsed_ns);
    if (c->phase == CALIBRATE_FLIGHT)
        c->mean_request_bytes = mean_bytes;
    next_turn(c);
}

/* ---- what the engine says ---- */

void calibration_init(struct calibration *c, const struct calibrate_config *config)
{
    struct calibrate_arm start = {.flight_bytes = config->window_bytes / 4 * 3,
                                  .request_bytes = config->request_bytes};
    *c = (struct calibration){.forced_depth = config->depth,
                              .forced_request = config->request_bytes > 0,
                              .trial_bytes = config->trial_bytes,
                              .told = config->told,
                              .mean_request_bytes = UINT64_MAX};
    if (c->trial_bytes == 0)
        c->trial_bytes = CALIBRATE_TRIAL_BYTES;
    if (start.request_bytes == 0)
        start.request_bytes = CALIBRATE_REQUEST_BYTES;
    /* Some is left to wait, or it would never be seen that there is more to do. */
    if (start.flight_bytes < CALIBRATE_FLIGHT_MIN_BYTES ||
        start.flight_bytes > CALIBRATE_FLIGHT_BYTES)
        start.flight_bytes = CALIBRATE_FLIGHT_BYTES;
    if (c->forced_depth > 0)
        request_phase(c, start);
    else
        flight_phase(c, start);
}

bool calibration_has_room(const struct calibration *c, unsigned requests, uint64_t bytes)
{
    if (c->forced_depth > 0)
        return requests < c->forced_depth;
    return requests < CALIBRATE_DEPTH_MAX && bytes < c->flight_bytes;
}

void calibration_moved(struct calibration *c, uint64_t now_ns, uint64_t bytes, unsigned requests)
{
    if (!c->trying)
        return;
    if (c->settle_bytes > 0) {
        c->settle_bytes = bytes < c->settle_bytes ? c->settle_bytes - bytes : 0;
        c->start_ns = now_ns;
        c->asleep_ns = 0;
        return;
    }
    c->moved_bytes += bytes;
    c->moved_requests += requests;
    uint64_t elapsed_ns = now_ns - c->start_ns;
    if (elapsed_ns >= CALIBRATE_TRIAL_MAX_NS ||
        (c->moved_bytes >= c->trial_bytes && elapsed_ns >= CALIBRATE_TRIAL_MIN_NS))
        window_end(c, elapsed_ns);
}

void calibration_slept_full(struct calibration *c, uint64_t ns)
{
    if (calibration_is_over(c))
        return;
    if (!c->trying) {
        trial_start(c);
        return;
    }
    c->filled = true;
    c->asleep_ns += ns;
}

void calibration_void(struct calibration *c)
{
    if (!c->trying)
        return;
    if (++c->voids >= CALIBRATE_VOID_MAX) {
        calibrate_end(c, c->arms[c->preferred]);
        return;
    }
    trial_stop(c);
    if (c->filled) {
        c->unreached = 0;
    } else if (++c->unreached >= CALIBRATE_UNREACHED_MAX && c->turn != 0) {
        c->arms[arm_of_turn(c)].out = true;
        next_turn(c);
        if (!calibration_is_over(c))
            trial_stop(c);
    }
}
