/* SPDX-License-Identifier: MIT */
/*
 * Real pressure: a process that passes bytes through a backlog, beside a hog in the same memory
 * cgroup that grows and shrinks; with the pressure policy, with a budget that stays as it is, and
 * as a plain heap that the kernel swaps out.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_PRESSURE_H
#define SPILLWAY_TOOLS_SPILLBENCH_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

#include "child.h"

/* X(identifier, name in options and JSON, what it is) */
#define RIVALS(X)                                                                                  \
    X(POLICY, "pressure", "a pool whose budget the pressure policy moves")                         \
    X(FIXED, "fixed", "a pool with the same budget all the time")                                  \
    X(SWAP, "swap", "plain heap, the kernel swaps to a file on the same disk")

#define RIVAL_ID(id, name, text) RIVAL_##id,
enum rival { RIVALS(RIVAL_ID) RIVAL_COUNT };
#undef RIVAL_ID

struct pressure_plan {
    const char *dir;        /* for all that goes to disk */
    uint64_t total_bytes;   /* that pass through */
    uint64_t backlog_bytes; /* stand between producer and consumer meanwhile */
    uint64_t chunk_bytes;
    uint64_t rate_bytes;   /* a second, that are made at most */
    uint64_t limit_bytes;  /* of the cgroup of both */
    uint64_t memory_bytes; /* budget */
    uint64_t hog_bytes;
    uint64_t hog_on_ms, hog_off_ms; /* how long it holds them, and how long it does not */
    uint64_t calm_s;     /* after the work, without the hog; until the budget is whole at most */
    uint64_t disk_bytes; /* that a run may take; 0: no limit */
    unsigned time_limit_s;
};

/* What there was at one time. */
struct moment {
    double at_s;                       /* since the work began, as all times here */
    uint64_t rss_bytes, swapped_bytes; /* of the process */
    uint64_t used_bytes, budget_bytes; /* of its pool; 0: it has none */
    uint64_t hog_bytes;
    uint64_t waited_us; /* for memory, by some task of the group; brought up to date once in 2 s */
};

struct pressure_decision {
    double at_s;
    uint64_t before_bytes, budget_bytes; /* the budget */
    char action[16], reason[160];
};

struct phase {
    double begin_s, end_s;
};

enum { MOMENTS_MAX = 16384, EVENTS_MAX = 256, PHASES_MAX = 64, DECISIONS_MAX = 256 };

/* All that a run has shown; in memory that its processes share. */
struct pressure_record {
    _Atomic uint64_t begin_ns; /* of the work; 0: not yet */
    _Atomic bool hog_stop;
    _Atomic uint64_t hog_now_bytes;
    double work_end_s, calm_begin_s; /* the hog is gone since then */
    uint64_t ceiling_bytes;          /* the budget that was set */
    unsigned moment_count, event_count, decision_count;
    _Atomic unsigned phase_count; /* begun */
    struct moment moments[MOMENTS_MAX];
    double events_s[EVENTS_MAX];     /* the kernel told a trigger of 200 ms in 2 s */
    struct phase phases[PHASES_MAX]; /* of the hog */
    struct pressure_decision decisions[DECISIONS_MAX];
    char source[64]; /* where the policy has word from */
};

const char *rival_name(enum rival rival);
const char *rival_text(enum rival rival);

/*
 * One run, in a process and a cgroup of its own, with swap space for the time of it. As
 * compare_run(); `*record` is to be given back with pressure_release().
 */
struct measure *pressure_run(enum rival rival, const struct pressure_plan *plan,
                             struct pressure_record **record);
void pressure_release(struct pressure_record *record);

/* ---- in the run's own process ---- */

/* Where its pressure is told: of the group that it is in, and of the one above, which may be read
 * without keeping the kernel from telling. Set once it is in there. */
struct pressure_files {
    char own[4096], above[4096];
};

/* Forks the hog, which begins with the work and ends with this process. Returns 0 or -errno. */
int hog_start(const struct pressure_plan *plan, struct pressure_record *record);

/* Notes moments and events, on a thread, until pressure_watch_end(). `pool` may be NULL. */
struct pressure_watcher;
struct spw_pool;
struct pressure_watcher *pressure_watch_begin(const struct pressure_files *files,
                                              struct spw_pool *pool, struct pressure_record *record,
                                              int *err);
void pressure_watch_end(struct pressure_watcher *watcher);

/* ---- what comes of it ---- */

/* One lowering of the budget. */
struct pressure_answer {
    double event_s;   /* the kernel's word of it */
    double decided_s; /* the budget was lowered */
    double fits_s;    /* the use fitted; negative: never */
    double gap_s;     /* meanwhile, the longest time in which a thread of this process that has next
                         to nothing to do could not do it: it waited for a core, or for memory */
};

enum { ANSWERS_MAX = 64 };

/* How the policy did; negative: it did not come to that. */
struct pressure_verdict {
    unsigned lowered;      /* times */
    double event_s;        /* the longest from an event until the use fitted */
    double stall_s;        /* the longest from when memory was full until it did */
    double whole_s;        /* from when the hog was gone until the budget was whole */
    double resident_share; /* the least resident size under pressure, of that before it */
    unsigned turns;        /* times that the budget changed its direction */
    double gap_s;          /* of the answer that took longest */
    unsigned answer_count;
    struct pressure_answer answers[ANSWERS_MAX];
};

struct pressure_verdict pressure_judge(const struct pressure_plan *plan,
                                       const struct pressure_record *record);

#endif
