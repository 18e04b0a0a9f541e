/* SPDX-License-Identifier: MIT */
/*
 * How much of one direction (writes or reads) is in flight at once, and how large one request is:
 * found out on real traffic, while the device is the bottleneck. Settings are tried in turns, a
 * few MiB each, over several rounds, and compared within each round, so that a device that is
 * slower for a while does not decide. The default is left only for what was clearly better, or as
 * good with less in flight. Nothing is written for it, and it ends: after a bounded number of
 * measurements, of measurements that came to nothing, and of settings out of reach.
 *
 * One thread feeds it; any thread may look at what was chosen.
 */
#ifndef SPILLWAY_POOL_CALIBRATE_H
#define SPILLWAY_POOL_CALIBRATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CALIBRATE_ARMS = 4, /* of one phase, at most */
    CALIBRATE_ROUNDS = 5,
    CALIBRATE_CLIMBS_MAX = 2,    /* times that the search for the depth goes on further up */
    CALIBRATE_DEPTH_MAX = 64,    /* requests in flight, whatever their size */
    CALIBRATE_UNREACHED_MAX = 4, /* times that an arm did not fill up before it is left out */
    CALIBRATE_VOID_MAX = 500,    /* measurements that came to nothing */
};
/* The defaults. A run of 2 MiB goes as two requests: one request of 2 MiB wrote 10 to 15 % less a
 * second than two of 1 MiB, with as much in flight (spillbench bars --only disk). */
#define CALIBRATE_REQUEST_BYTES ((uint32_t)1 << 20)
#define CALIBRATE_FLIGHT_BYTES  ((uint64_t)16 << 20)
/* A default below is too little to compare anything with. */
#define CALIBRATE_FLIGHT_MIN_BYTES ((uint64_t)4 << 20)
/* Mean below which requests say more of their overhead than of the device. */
#define CALIBRATE_SMALL_BYTES ((uint32_t)128 << 10)
/* Moved by one measurement; and half as much before it starts. */
#define CALIBRATE_TRIAL_BYTES ((uint64_t)32 << 20)
/* A measurement takes at least and at most so long. */
#define CALIBRATE_TRIAL_MIN_NS ((uint64_t)2000000)
#define CALIBRATE_TRIAL_MAX_NS ((uint64_t)400000000)

enum calibrate_phase { CALIBRATE_FLIGHT, CALIBRATE_REQUEST, CALIBRATE_OVER };

/* A setting that is tried. */
struct calibrate_arm {
    uint64_t flight_bytes;
    uint32_t request_bytes;
    bool out; /* out of reach, or clearly worse */
    uint64_t bytes_per_s[CALIBRATE_ROUNDS];
};

struct calibration {
    /* What is in force. Relaxed. */
    _Atomic unsigned depth; /* requests of request_bytes in flight at most */
    _Atomic uint32_t request_bytes;
    _Atomic bool measured;
    _Atomic uint64_t *told;

    uint64_t trial_bytes;
    unsigned forced_depth; /* 0: not */
    bool forced_request;
    uint64_t flight_bytes; /* in force; of no meaning where the depth is forced */

    enum calibrate_phase phase;
    struct calibrate_arm arms[CALIBRATE_ARMS];
    unsigned arm_count, preferred; /* the default, or the best so far, is in force between trials */
    unsigned turn, round;          /* each round begins with the preferred arm */
    unsigned climbs, voids;
    bool trying;        /* the arm whose turn it is is in force */
    bool filled;        /* and has filled up */
    unsigned unreached; /* trials of it in a row that did not */
    uint64_t mean_request_bytes;

    /* The measurement that is under way. */
    uint64_t settle_bytes; /* still to move before it starts */
    uint64_t start_ns, moved_bytes, moved_requests, asleep_ns;
};

/* 0 everywhere: as is best. */
struct calibrate_config {
    unsigned depth; /* these two are forced */
    uint32_t request_bytes;
    uint64_t window_bytes; /* what callers have under way at most; 0: nobody knows */
    _Atomic uint64_t
        *told;            /* depth, request_bytes, measured, whenever they change; NULL: nowhere */
    uint64_t trial_bytes; /* CALIBRATE_TRIAL_BYTES */
};

void calibration_init(struct calibration *calibration, const struct calibrate_config *config);

/* Whether one more request may go, beside `requests` with `bytes` in all. */
bool calibration_has_room(const struct calibration *calibration, unsigned requests, uint64_t bytes);

static inline bool calibration_is_over(const struct calibration *calibration)
{
    return calibration->phase == CALIBRATE_OVER;
}

/* So much has come back, nothing but requests of this direction being in flight. */
void calibration_moved(struct calibration *calibration, uint64_t now_ns, uint64_t bytes,
                       unsigned requests);

/* The engine slept for so long, with as much in flight as may be and more to do. */
void calibration_slept_full(struct calibration *calibration, uint64_t ns);

/* Something else than the device decides: nothing to do, requests of the other direction, errors.
 */
void calibration_void(struct calibration *calibration);

#endif
