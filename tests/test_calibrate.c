/* SPDX-License-Identifier: MIT */
/*
 * How depth and request size are found, on devices that exist only here: a rate for each number of
 * bytes in flight and each request size, with noise. Time is simulated too.
 */
#include "../pool/calibrate.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define MIB     (UINT64_C(1) << 20)
#define FOREVER (UINT64_C(64) << 30) /* bytes: more than any calibration may take */

/* --- a device --- */

struct device {
    double peak;           /* bytes per second */
    uint64_t knee_bytes;   /* so much in flight gives half of it */
    uint64_t best_request; /* smaller and larger ones are slower by `slope` each power of two */
    double slope;
    double noise;         /* each measurement is off by up to this share */
    double drift;         /* and the device slows down and comes back by this share */
    uint32_t job_bytes;   /* no request is larger */
    uint64_t reach_bytes; /* no more is ever in flight; 0: no limit */
    double awake;         /* share of the time that the processor works */
    unsigned pauses;      /* one in so many batches is followed by a pause; 0: none */
    uint64_t stall_bytes; /* after so many it is half as fast for a measurement's time; 0: never */
    uint64_t seed;
    /* what came of it */
    uint64_t moved_bytes;
    uint64_t now_ns;
    double worse; /* seconds lost against the best setting */
};

static double device_random(struct device *device)
{
    device->seed = device->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(device->seed >> 40) / (double)(1 << 24) * 2 - 1;
}

static double device_rate(const struct device *device, uint64_t flight_bytes,
                          uint64_t request_bytes)
{
    double flight = (double)flight_bytes, rate = device->peak;
    if (device->knee_bytes > 0) {
        double depth = flight / (double)device->knee_bytes;
        rate *= depth / (depth + 1);
    }
    for (uint64_t at = request_bytes; device->best_request && at < device->best_request; at *= 2)
        rate *= 1 - device->slope;
    for (uint64_t at = request_bytes; device->best_request && at > device->best_request; at /= 2)
        rate *= 1 - device->slope;
    return rate;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is in flight where there is always more to do. */
static uint64_t flight_of(const struct device *device, const struct calibration *c,
                          uint64_t request)
{
    uint64_t bytes = 0;
    unsigned requests = 0;
    while (calibration_has_room(c, requests, bytes) &&
           (device->reach_bytes == 0 || bytes + request <= device->reach_bytes)) {
        bytes += request;
        requests++;
    }
    return bytes;
}

/* Traffic that never ends, until the calibration is over or `bytes` have moved. */
static void run(struct device *device, struct calibration *c, uint64_t bytes)
{
    double best = 0;
    for (uint64_t flight = MIB; flight <= 128 * MIB; flight *= 2)
        for (uint64_t request = MIB / 4; request <= 2 * MIB; request *= 2)
            if (device_rate(device, flight, request) > best)
                best = device_rate(device, flight, request);
    double wave = 0, off = 0;
    uint64_t noisy = 0, begin = device->moved_bytes;
    for (unsigned turn = 0; device->moved_bytes - begin < bytes && !calibration_is_over(c);
         turn++) {
        uint64_t request = least(atomic_load(&c->request_bytes), device->job_bytes);
        uint64_t flight = flight_of(device, c, request);
        double rate = device_rate(device, flight, request);
        /* Noise comes in stretches of a few MiB, as from neighbours. */
        if (device->moved_bytes >= noisy) {
            off = device->noise * device_random(device);
            noisy = device->moved_bytes + 40 * MIB;
            wave += 0.2;
        }
        double fold = wave - (double)(long)wave;
        double now = rate * (1 + off) * (1 - device->drift * (fold < 0.5 ? fold : 1 - fold));
        if (device->stall_bytes > 0 && device->moved_bytes >= device->stall_bytes &&
            device->moved_bytes < device->stall_bytes + 32 * MIB)
            now /= 2;
        uint64_t batch = request;
        uint64_t ns = (uint64_t)((double)batch / now * 1e9);
        bool full = device->reach_bytes == 0 || flight + request <= device->reach_bytes;
        device->moved_bytes += batch;
        device->now_ns += ns;
        device->worse += (double)batch / rate - (double)batch / best;
        calibration_moved(c, device->now_ns, batch, 1);
        if (device->pauses && turn % device->pauses == 0)
            full = false;
        if (full)
            calibration_slept_full(c, (uint64_t)((double)ns * (1 - device->awake)));
        else
            calibration_void(c);
    }
}

static double share_of_best(const struct device *device, const struct calibration *c)
{
    double best = 0;
    for (uint64_t flight = MIB; flight <= 128 * MIB; flight *= 2)
        for (uint64_t request = MIB / 4; request <= 2 * MIB; request *= 2)
            if (device_rate(device, flight, request) > best)
                best = device_rate(device, flight, request);
    uint64_t request = least(atomic_load(&c->request_bytes), device->job_bytes);
    return device_rate(device, flight_of(device, c, request), request) / best;
}

static struct calibration start(unsigned depth, uint32_t request_bytes, uint64_t window_bytes)
{
    struct calibration c;
    calibration_init(&c, &(struct calibrate_config){.depth = depth,
                                                    .request_bytes = request_bytes,
                                                    .window_bytes = window_bytes});
    return c;
}

static const struct device fast = {
    .peak = 3e9, .knee_bytes = MIB / 16, .job_bytes = 2 * MIB, .awake = 0.3, .seed = 1};

/* --- where it ends --- */

Test(calibrate, default_before_anything_is_known)
{
    struct calibration c = start(0, 0, 0);
    cr_assert_eq(atomic_load(&c.depth), 16);
    cr_assert_eq(atomic_load(&c.request_bytes), MIB);
    cr_assert_not(atomic_load(&c.measured));
    cr_assert(calibration_has_room(&c, 15, 15 * MIB));
    cr_assert_not(calibration_has_room(&c, 16, 16 * MIB));
    cr_assert(calibration_has_room(&c, 63, 63 * 64 << 10), "more of them when they are small");
    cr_assert_not(calibration_has_room(&c, 64, 64 * 64 << 10));
}

Test(calibrate, a_device_that_needs_little_gets_little)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 64 * MIB);
    run(&device, &c, FOREVER);
    cr_assert(calibration_is_over(&c));
    cr_assert(atomic_load(&c.measured));
    cr_assert_eq(atomic_load(&c.depth), 4, "%u", atomic_load(&c.depth));
    cr_assert_eq(atomic_load(&c.request_bytes), MIB);
    cr_assert_geq(share_of_best(&device, &c), 0.96);
}

Test(calibrate, a_device_that_needs_much_gets_much)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 256 * MIB);
    device.knee_bytes = 4 * MIB;
    run(&device, &c, FOREVER);
    cr_assert(atomic_load(&c.measured));
    cr_assert_geq(atomic_load(&c.depth), 32, "%u", atomic_load(&c.depth));
    cr_assert_geq(share_of_best(&device, &c), 0.9);
}

Test(calibrate, smaller_requests_where_the_device_likes_them)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 64 * MIB);
    device.best_request = MIB / 2;
    device.slope = 0.1;
    run(&device, &c, FOREVER);
    cr_assert(atomic_load(&c.measured));
    cr_assert_eq(atomic_load(&c.request_bytes), MIB / 2);
    cr_assert_geq(share_of_best(&device, &c), 0.94);
}

Test(calibrate, larger_requests_where_the_device_likes_them)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 64 * MIB);
    device.best_request = 2 * MIB;
    device.slope = 0.1;
    run(&device, &c, FOREVER);
    cr_assert(atomic_load(&c.measured));
    cr_assert_eq(atomic_load(&c.request_bytes), 2 * MIB);
    cr_assert_geq(share_of_best(&device, &c), 0.94);
    /* Where no job is so large there is nothing to find. */
    device = fast;
    device.job_bytes = MIB / 2;
    c = start(0, 0, 64 * MIB);
    run(&device, &c, FOREVER);
    cr_assert(atomic_load(&c.measured));
    cr_assert_eq(atomic_load(&c.request_bytes), MIB);
}

Test(calibrate, forced_settings_stay)
{
    struct device device = fast;
    struct calibration c = start(5, 0, 64 * MIB);
    device.best_request = MIB / 4;
    device.slope = 0.2;
    run(&device, &c, FOREVER);
    cr_assert_eq(atomic_load(&c.depth), 5);
    cr_assert_eq(atomic_load(&c.request_bytes), MIB / 4, "the other one is found out");
    cr_assert_not(calibration_has_room(&c, 5, 1));
    cr_assert(calibration_has_room(&c, 4, UINT64_MAX / 2));

    device = fast;
    c = start(0, 1 << 20, 64 * MIB);
    device.best_request = MIB / 4;
    device.slope = 0.2;
    run(&device, &c, FOREVER);
    cr_assert(atomic_load(&c.measured));
    cr_assert_eq(atomic_load(&c.request_bytes), MIB);
    cr_assert_leq(atomic_load(&c.depth), 4);

    c = start(64, 4096, 64 * MIB);
    cr_assert(calibration_is_over(&c));
    cr_assert_not(atomic_load(&c.measured));
    cr_assert_eq(atomic_load(&c.depth), 64);
    cr_assert_eq(atomic_load(&c.request_bytes), 4096);
}

/* --- noise --- */

/* Whatever the noise, what is chosen is not much worse than the default, and what it costs to find
 * it is bounded. */
Test(calibrate, noise_leads_to_no_bad_choice)
{
    static const double noises[] = {0.02, 0.1, 0.3, 0.7}, bounds[] = {0.95, 0.92, 0.88, 0.8};
    static const uint64_t knees[] = {MIB / 16, MIB, 4 * MIB};
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 3; j++) {
            for (uint64_t seed = 1; seed <= 100; seed++) {
                struct device device = fast;
                struct calibration c = start(0, 0, 64 * MIB);
                device.noise = noises[i];
                device.drift = noises[i];
                device.knee_bytes = knees[j];
                device.best_request = 2 * MIB;
                device.slope = 0.05;
                device.seed = seed * 7919;
                double by_default = share_of_best(&device, &c);
                run(&device, &c, FOREVER);
                cr_assert(calibration_is_over(&c));
                double chosen = share_of_best(&device, &c);
                cr_assert_geq(chosen, by_default * bounds[i],
                              "noise %.2f, knee %u KiB, seed %u: %.3f of the best after %.3f",
                              noises[i], (unsigned)(knees[j] >> 10), (unsigned)seed, chosen,
                              by_default);
                cr_assert_leq(device.moved_bytes, 8192 * MIB);
            }
        }
    }
}

/* A machine that stalls once does so within one measurement, or two; the others decide. */
Test(calibrate, one_stall_decides_nothing)
{
    for (uint64_t stall = 16 * MIB; stall < 3072 * MIB; stall += 16 * MIB) {
        struct device device = fast;
        struct calibration c = start(0, 0, 64 * MIB);
        device.best_request = MIB;
        device.slope = 0.15;
        device.stall_bytes = stall;
        run(&device, &c, FOREVER);
        cr_assert(atomic_load(&c.measured));
        cr_assert_eq(atomic_load(&c.request_bytes), MIB, "stalled after %u MiB",
                     (unsigned)(stall >> 20));
    }
}

/* --- where nothing can be measured --- */

Test(calibrate, nothing_is_tried_before_the_default_is_filled)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 0);
    device.reach_bytes = 8 * MIB;
    run(&device, &c, 1024 * MIB);
    cr_assert_not(calibration_is_over(&c));
    cr_assert_not(c.trying);
    cr_assert_eq(c.voids, 0);
    cr_assert_eq(atomic_load(&c.depth), 16);
}

/* What callers have under way bounds what can be tried; it still ends. */
Test(calibrate, arms_out_of_reach_are_left_out)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 16 * MIB);
    cr_assert_eq(atomic_load(&c.depth), 12);
    device.reach_bytes = 16 * MIB;
    run(&device, &c, FOREVER);
    cr_assert(calibration_is_over(&c));
    cr_assert(atomic_load(&c.measured));
    cr_assert_leq(atomic_load(&c.depth), 12);
    /* A window that is too small to compare anything. */
    c = start(0, 0, 1 * MIB);
    cr_assert_eq(atomic_load(&c.depth), 16);
}

Test(calibrate, pauses_and_a_busy_processor_end_it)
{
    for (unsigned kind = 0; kind < 3; kind++) {
        struct device device = fast;
        struct calibration c = start(0, 0, 64 * MIB);
        if (kind == 0)
            device.pauses = 5; /* never long enough busy for one measurement */
        else if (kind == 1)
            device.awake = 0.9; /* the processor is the bottleneck */
        else
            device.job_bytes = 64 << 10; /* small ones */
        run(&device, &c, FOREVER);
        cr_assert(calibration_is_over(&c), "%u", kind);
        cr_assert_not(atomic_load(&c.measured));
        cr_assert_eq(atomic_load(&c.depth), 16);
        cr_assert_eq(atomic_load(&c.request_bytes), MIB);
        cr_assert_not(c.trying);
    }
}

/* Between trials, while there is little to do, the default holds. */
Test(calibrate, a_pause_puts_the_default_in_force)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 64 * MIB);
    run(&device, &c, 120 * MIB);
    cr_assert(c.trying);
    cr_assert_neq(atomic_load(&c.depth), 16);
    calibration_void(&c);
    cr_assert_not(c.trying);
    cr_assert_eq(atomic_load(&c.depth), 16);
    calibration_void(&c);
    cr_assert_eq(c.voids, 1, "nothing was under way");
    run(&device, &c, FOREVER);
    cr_assert_eq(atomic_load(&c.depth), 4);
}

/* A slow device: what is measured ends by time. */
Test(calibrate, slow_devices_are_measured_too)
{
    struct device device = fast;
    struct calibration c = start(0, 0, 64 * MIB);
    device.peak = 20e6;
    run(&device, &c, FOREVER);
    cr_assert(calibration_is_over(&c));
    cr_assert_geq(share_of_best(&device, &c), 0.9);
    cr_assert_leq(device.moved_bytes, 2048 * MIB);
}
