/* SPDX-License-Identifier: MIT */
/* Many unequal queues over one pool: greedy ones, light ones, and some that stop on the way. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_CROWD_H
#define SPILLWAY_TOOLS_SPILLBENCH_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "args.h"
#include "child.h"
#include "spillway/spillway.h"

enum { CROWD_QUEUES_LEAST = 8, CROWD_QUEUES_MAX = 4096, CROWD_THREADS_MAX = 64 };

/*
 * What a queue does. How far the greedy ones have come is the clock of all others, so that a run is
 * the same on a slow machine.
 */
enum crowd_role {
    CROWD_GREEDY,   /* pushed as fast as it goes; its reader stays far behind */
    CROWD_LIGHT,    /* a little now and then, drained at once or in bursts */
    CROWD_IDLE,     /* half at the start, half near the end; drained when all else is pushed */
    CROWD_UNREAD,   /* pushed steadily; its reader stops after a quarter until all is pushed */
    CROWD_UNPUSHED, /* drained at once; its writer stops for half of the time */
    CROWD_ROLES
};

struct crowd_plan {
    const char *dir;
    const char *memory, *memory_tier, *tiers, *engine, *policies, *compress; /* NULL: as usual */
    unsigned queues, threads; /* one thread pushes and drains all; else half of them push */
    uint64_t total_bytes;
    struct arg_list entry_bytes; /* of the queues in turn */
    bool heap;                   /* entries on the heap; else in the pool's slabs */
    bool text;                   /* what compresses well; else what does not */
    bool apart;                  /* no governor: each queue looks after itself */
};

/* What became of the queues of a role. */
struct crowd_outcome {
    unsigned queues;
    uint64_t bytes;           /* pushed, drained and verified */
    uint64_t extend_most_ns;  /* the longest extend, and slab where one was due */
    uint64_t waits;           /* a reader came, its queue had bytes, and it got none at once */
    uint64_t wait_most_ns;    /* the longest time until it got some, */
    uint64_t passed_by_bytes; /* and the most that other readers got in such a time */
};

struct crowd_result {
    struct crowd_outcome roles[CROWD_ROLES];
    uint64_t samples, identity_broken;    /* of the stats, a millisecond apart; wrong ones */
    spw_stats stats;                      /* when all was drained */
    uint64_t write_most_ns, read_most_ns; /* the longest request of the device */
};

extern const char *const crowd_role_names[CROWD_ROLES];

/*
 * In a process of its own, sampled. Returns the measure, to be given back with child_release();
 * NULL without memory. Where it failed, `measure->error` is set and `result` says nothing.
 */
struct measure *crowd_run(const struct crowd_plan *plan, struct crowd_result *result);

/* ---- lanes, crowd_lane.c ---- */

struct crowd;

/* One queue; `pushing` is the writer's thread's, `draining` the reader's. */
struct crowd_lane {
    struct crowd *crowd;
    unsigned id;
    enum crowd_role role;
    uint64_t total_bytes, entry_bytes;
    uint64_t lag_bytes; /* so much stands before the reader comes */
    spw_writer *writer;
    spw_reader *reader;
    spw_slab *slab;
    _Atomic uint64_t pushed_bytes, drained_bytes;
    uint64_t extend_most_ns;
    bool bursting;       /* the reader came, and drains all there is */
    uint64_t waiting_ns; /* since when it waits; 0: it does not */
    uint64_t others_at;  /* what all readers had got then */
    struct crowd_outcome found;
};

struct crowd {
    const struct crowd_plan *plan;
    spw_pool *pool;
    spw_options *options;
    struct crowd_lane *lanes;
    unsigned lane_count;
    uint64_t greedy_total_bytes;
    _Atomic uint64_t greedy_bytes;  /* pushed by the greedy so far: the clock */
    _Atomic uint64_t drained_bytes; /* by all */
    _Atomic int error;              /* of the first thing that failed; all threads end then */
    struct measure *measure;
};

/* Opens the queues with their roles and shares. Returns 0 or -errno. */
int crowd_lanes_open(struct crowd *crowd);
void crowd_lanes_close(struct crowd *crowd);

/* One turn of a queue: up to about a MiB. Returns the bytes moved, 0 where there is nothing to do
 * now, or -errno. */
int64_t crowd_push(struct crowd_lane *lane);
int64_t crowd_drain(struct crowd_lane *lane);

/* Whether all is pushed, or drained. */
bool crowd_pushed(const struct crowd_lane *lane);
bool crowd_drained(const struct crowd_lane *lane);

#endif
