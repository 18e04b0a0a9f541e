/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_GOVERNOR_H
#define SPILLWAY_GOVERNOR_H

#include "coder.h"
#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The governor is the part of a pool that looks over all its queues. A policy (policy.h) decides
 * for one queue, with that queue locked; a regulator decides for all of them: how large the budget
 * is now, what has to go though no queue asks for it, whether the disk may be written to. It sees
 * figures, gives orders, and does no I/O of its own but to read what it watches.
 */

/** "No order": what this member says stays as it is. */
#define SPILLWAY_KEEP UINT64_MAX

/** "Never", as a time in an order. */
#define SPILLWAY_NEVER UINT64_MAX

/** Descriptors that one regulator may watch. */
#define SPILLWAY_WATCHES_MAX 4

/** What a regulator sees. Sizes are in bytes, times in ns. */
typedef struct spw_outlook {
    size_t size;
    uint64_t now_ns;            /**< CLOCK_MONOTONIC */
    uint64_t budget_bytes;      /**< as it is now */
    uint64_t ceiling_bytes;     /**< the budget that was set, or follows from the limits */
    uint64_t used_bytes;        /**< of the budget */
    uint64_t warm_bytes;        /**< of these: kept for reuse, free for the asking */
    uint64_t in_flight_bytes;   /**< staged or being written */
    uint64_t memory_tier_bytes; /**< in use, of the next */
    uint64_t memory_tier_capacity_bytes;
    uint64_t disk_bytes; /**< in use, of the next */
    uint64_t disk_limit_bytes;
    uint64_t spilled_bytes_total;
    uint64_t fetched_bytes_total;
    uint64_t late_runs_total;   /**< head fetches that found their run not loaded */
    uint64_t hasty_bytes_total; /**< fetched within a second after they began to be spilled */
    uint64_t writer_wait_ns_total;
    uint64_t reader_wait_ns_total;
    uint64_t device_read_ns; /**< what reading a run takes at present; 0: not known yet */
    unsigned queues;
    unsigned ready; /**< bit i: descriptor i reported what was watched for, or an error */
    uint64_t
        freed_byte_seconds_total; /**< what spilling has kept out of the budget, for how long */
    short reported[SPILLWAY_WATCHES_MAX]; /**< by descriptor i, as in poll(2) */
    uint64_t fetched_runs_total;
} spw_outlook;

/**
 * What a regulator wants. Handed over with every member at "no order"; what it leaves alone stays
 * as it is.
 */
typedef struct spw_orders {
    size_t size;
    uint64_t budget_bytes;   /**< SPILLWAY_KEEP, or the budget from now on, up to `ceiling_bytes` */
    uint64_t trim_bytes;     /**< so much warm memory goes back to the kernel; 0: none */
    uint64_t spill_bytes;    /**< so much is spilled, what is needed last first; 0: nothing */
    uint64_t spill_older_ns; /**< what has been resident for longer is spilled; SPILLWAY_NEVER */
    int hold_disk; /**< 1: nothing more goes to disk, 0: it may again, -1: no order. The budget
                      still holds: where writers would have to wait, spilling goes on */
    /** For queues whose threshold, or prefetch, is automatic: SPILLWAY_KEEP; 0: it follows from the
     * budget again. */
    uint64_t threshold_bytes;
    uint64_t prefetch_bytes;
    /**
     * When to look again, CLOCK_MONOTONIC: at this time, while something is resident; and at this
     * one in any case. Both SPILLWAY_NEVER: only once a descriptor reports something. Never sooner
     * than a millisecond after this call.
     */
    uint64_t wake_in_use_ns;
    uint64_t wake_ns;
    /**
     * For the ring of decisions: a word such as "lower", and why, in a sentence with the figures
     * that led to it. Copied. NULL: nothing was decided, and nothing is noted.
     */
    const char *action;
    char reason[160];
    /** Less is to be had than was asked for: the decision is a warning, and the stats name this
     * fallback. Copied. NULL: no such thing. */
    const char *fallback;
    /** 1: what is spilled for these orders may be part of automatic head reserves too; never of
     * those that somebody has set. */
    int take_reserves;
    /** For queues whose prefetch is automatic: each reads ahead what it is drained of in so much
     * time. SPILLWAY_KEEP; 0: as far as there is memory, as without a word of it. */
    uint64_t prefetch_ns;
    /** For the stats: how much of the time, in thousandths, some task waited for memory, and for
     * the disk, as the regulator has just measured it. -1: not measured. */
    int memory_stall_permille;
    int io_stall_permille;
} spw_orders;

/** A descriptor to wait for, as in poll(2). */
typedef struct spw_watch {
    int fd; /**< the regulator's; -1: none */
    short events;
} spw_watch;

typedef struct spw_regulator spw_regulator;

/**
 * What a regulator can do; `watch` and `set` may be NULL. Called by the pool's governor, one call
 * at a time, with no lock held. Later versions append optional members.
 */
typedef struct spw_regulator_ops {
    size_t size;      /**< sizeof(spw_regulator_ops) */
    const char *name; /**< one word; a pool has one regulator of a name */
    /** What to wait for from now on; asked after each `apply`. Returns how many are filled in. */
    unsigned (*watch)(spw_regulator *regulator, spw_watch watches[SPILLWAY_WATCHES_MAX]);
    /** Called once when attached, when what it watches reports something, when its time has come,
     * and after spw_governor_wake(). `outlook` and `orders` live during the call. */
    void (*apply)(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders);
    /** Detached, or the pool ends. Frees the regulator. */
    void (*close)(spw_regulator *regulator);
    /** A setting of the regulator's was set anew, by spw_pool_set(): its name and value, as
     * spw_options_value() has them, which live during the call. Before the next `apply`. */
    void (*set)(spw_regulator *regulator, const char *name, const char *value);
} spw_regulator_ops;

struct spw_regulator {
    const spw_regulator_ops *ops;
};

/** What was decided, by whom and why. */
typedef struct spw_decision {
    size_t size;
    uint64_t number;  /**< counts all decisions of the pool, from 1 */
    uint64_t time_ns; /**< CLOCK_MONOTONIC */
    char regulator[16];
    char action[16];
    char reason[160];
    uint64_t budget_before_bytes;
    uint64_t budget_bytes; /**< from then on */
    uint64_t used_bytes;   /**< at that time */
    uint64_t spill_bytes;  /**< asked for */
} spw_decision;

/**
 * A governor; a pool has one, spw_pool_governor(). All calls may be made from any thread that holds
 * no lock of the library, and not by a regulator itself.
 */
typedef struct spw_governor spw_governor;

/** What a governor can do. Later versions append optional members. */
typedef struct spw_governor_ops {
    size_t size; /**< sizeof(spw_governor_ops) */
    int (*attach)(spw_governor *governor, spw_regulator *regulator);
    int (*detach)(spw_governor *governor, const char *name);
    void (*wake)(spw_governor *governor, const char *name);
    int (*attach_coder)(spw_governor *governor, spw_coder *coder);
    const spw_options *(*options)(spw_governor *governor);
    spw_regulator *(*regulator)(spw_governor *governor, const char *name);
    int (*fallback)(spw_governor *governor, const char *name, const char *why);
} spw_governor_ops;

struct spw_governor {
    const spw_governor_ops *ops;
};

/**
 * Takes over `regulator` on success and has it look for the first time soon. Returns 0, -EINVAL (no
 * regulator, or no name), -EEXIST (there is one of that name), -ENOMEM, -EAGAIN (no thread can be
 * started), or -EOWNERDEAD in a forked child.
 */
SPILLWAY_API int spw_governor_attach(spw_governor *governor, spw_regulator *regulator);

/** Closes the regulator of that name; waits for its call under way. What it ordered stays. Returns
 * 0, -EINVAL, -ENOENT or -EOWNERDEAD. */
SPILLWAY_API int spw_governor_detach(spw_governor *governor, const char *name);

/** The attached regulator of that name, which lives until it is detached; NULL: there is none. */
SPILLWAY_API spw_regulator *spw_governor_regulator(spw_governor *governor, const char *name);

/**
 * For who sets policies up: something is not to be had, and it goes on without. That is told as a
 * warning with `why`, a sentence, and counted in the stats under `name`, once for each name.
 * Returns 0, or -EOPNOTSUPP where the option `strict` forbids it (then the call that
 * meets this fails with it), or -EOWNERDEAD.
 */
SPILLWAY_API int spw_governor_fallback(spw_governor *governor, const char *name, const char *why);

/** Has the regulator of that name (NULL: all) look soon. Does not wait. */
SPILLWAY_API void spw_governor_wake(spw_governor *governor, const char *name);

/**
 * Takes over `coder` on success, through which runs go from now on, as long as the pool lives.
 * Returns 0, -EINVAL (no coder, or one without an operation), -EEXIST (there is one already),
 * -ENOTSUP (the governor has no use for one), -EAGAIN (no thread can be started) or -EOWNERDEAD.
 */
SPILLWAY_API int spw_governor_attach_coder(spw_governor *governor, spw_coder *coder);

/** The options that the pool was opened with; they live as long as the governor. */
SPILLWAY_API const spw_options *spw_governor_options(spw_governor *governor);

#ifdef __cplusplus
}
#endif
#endif
