/* SPDX-License-Identifier: MIT */
/*
 * The inside of the memory tier, shared by the files that make it: memtier_open.c (what was asked
 * for and what this machine gives), memtier_make.c (segments: room for them, making, unmapping),
 * memtier.c (pieces), memtier_cell.c (pieces of one size) and memtier_tell.c (what the log is told
 * once).
 */
#ifndef SPILLWAY_POOL_MEMTIER_TIER_H
#define SPILLWAY_POOL_MEMTIER_TIER_H

#include <pthread.h>
#include <stdatomic.h>

#include "cgroup.h"
#include "memtier.h"
#include "node.h"
#include "segment.h"

enum { MEMTIER_OPEN_MAX = 8 }; /* segments that still hand out pieces */

enum {
    CELLS_MAX = 64,      /* in a segment */
    CELL_CLASSES = 32,   /* 4 KiB and up, in powers of two */
    CELL_MIN_SHIFT = 12, /* of the first class */
    CELLED_SEGMENTS_MIN =
        8, /* that a tier must have room for: where there are few, each serves all */
};

/*
 * Segments whose readers' map stays when they are empty, so that a short queue faults no page in
 * again. Each of these bytes may count twice in the resident set, so they are few.
 */
#define MEMTIER_KEPT_MAX_BYTES (UINT64_C(8) << 20)

/* Which threads' own memory would be where the segments are. */
enum nearness { NEAR_NONE, NEAR_ALL, NEAR_NODE };

/* What a machine may refuse, and who could mend it. */
#define LACK_NODES_TEXT "the kernel refuses to place memory on the nodes asked for"
#define LACK_MLOCK_TEXT "memory cannot be locked (RLIMIT_MEMLOCK, CAP_IPC_LOCK)"
#define LACK_HUGE_TEXT  "no huge pages to be had (vm.nr_hugepages, shmem_enabled)"

/* What is told once; bits. */
enum told {
    TOLD_CAPACITY = 1 << 0,
    TOLD_COUNT = 1 << 1,
    TOLD_CGROUP = 1 << 2,
    TOLD_HOST = 1 << 3,
    TOLD_NODE = 1 << 4,
    TOLD_MAKING = 1 << 5,
    TOLD_LACK_NODES = 1 << 6,
    TOLD_LACK_MLOCK = 1 << 7,
    TOLD_LACK_HUGE = 1 << 8,
    TOLD_MISPLACED = 1 << 9,
    TOLD_DESCRIPTORS = 1 << 10,
};

struct memtier {
    const struct os *os;
    const spw_allocator *allocator;
    struct log *log;
    void (*fallback)(void *context, const char *name);
    void *fallback_context;
    uint64_t (*unused_budget)(void *context);
    void *unused_budget_context;

    /* Set when it is opened. */
    struct counters *counters; /* NULL: nobody wants to know; changed with the lock held */
    struct node_row *rows;     /* the same */
    uint64_t capacity_bytes;
    uint64_t unit_bytes;  /* of the usual segment in recycle mode */
    uint64_t grain_bytes; /* what segment sizes are multiples of */
    uint64_t segment_max; /* bound by maps */
    uint64_t descriptors_max;
    enum seal_mode seal;
    struct segment_plan plan;
    struct node_choice nodes;
    struct cgroup cgroup;
    uint64_t cgroup_margin_bytes, host_margin_bytes;
    bool host_known;
    enum nearness near;
    unsigned near_node; /* NEAR_NODE: of those that run on it */

    atomic_uint told;  /* enum told, or-ed */
    atomic_bool swaps; /* there is swap space */

    pthread_mutex_t lock; /* a leaf: nothing is called under it but the clock and the allocator */
    pthread_cond_t made;  /* a reservation has become a segment, or has been given up */

    /* All below: guarded by lock. */
    struct segment *open[MEMTIER_OPEN_MAX]; /* each with at least one live piece */
    unsigned open_count;
    struct segment *celled[CELL_CLASSES]; /* with free cells and used ones */
    struct segment *warm_kept; /* empty, with a readers' map; last in, first out, as the others */
    struct segment *warm;      /* unit-sized and empty */
    struct segment *warm_odd;  /* of other sizes */
    uint64_t warm_bytes;
    uint64_t kept_bytes;    /* of all segments that keep their readers' map, in use or warm */
    uint64_t resting;       /* empty segments that are on no list for a moment */
    uint64_t descriptors;   /* kept open by strict segments */
    uint64_t segments;      /* reserved ones included */
    uint64_t total_bytes;   /* of all segments, reserved ones included; never above capacity */
    uint64_t pending_bytes; /* reserved and not yet there */
    uint64_t stored_bytes, misplaced_bytes, locked_bytes, huge_bytes;
    uint64_t refused_headroom_total;
    uint64_t backoff_until_ns, backoff_ns;
    uint64_t room_bytes, room_seen_ns; /* for what comes back from swap space, and as of when */
    uint64_t coming_bytes;             /* of that: on its way */
};

/* Capacity set aside for a segment that is being made. */
struct reservation {
    uint64_t bytes;
    uint64_t outstanding_bytes; /* this one and those before it that are not there yet */
};

static inline uint64_t round_up(uint64_t value, uint64_t grain)
{
    return (value + grain - 1) / grain * grain;
}

static inline uint64_t round_down(uint64_t value, uint64_t grain)
{
    return value / grain * grain;
}

static inline uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/*
 * --- memtier_cell.c; the lock is held, but in the first
 *
 * Slabs of one size share segments that are divided into cells, of which each is used again as
 * soon as it is free: slabs of many queues lie beside each other and go at different times.
 */

/* Whether pieces of this length are cells: pages, a power of two of them, several in a segment. */
bool memtier_is_cell(const struct memtier *tier, uint64_t len);

/* Divides an empty segment that is on no list. */
void memtier_cells_begin(struct memtier *tier, struct segment *segment, uint64_t cell_bytes);

/* A free cell of a segment that has used ones as well; false when there is none. */
bool memtier_cell_take(struct memtier *tier, uint64_t len, struct memslot *out);

void memtier_cell_release(struct memtier *tier, const struct memslot *slot);

/* All cells are free: the segment may become something else. It is on no list now. */
void memtier_cells_end(struct memtier *tier, struct segment *segment);

/* --- the lock is held in all of these -------------------------------------------------------- */

/* Takes one warm segment off its list, NULL when there is none. */
struct segment *memtier_warm_pop(struct memtier *tier);

/*
 * Sets capacity aside for a segment that holds `need_bytes` (whole grains). The lock may be dropped
 * for a while. Returns 0, -EAGAIN (it waited, or freed something: look again) or -ENOSPC with
 * `*why` set (an enum told; 0: backing off).
 */
int memtier_segment_reserve(struct memtier *tier, uint64_t need_bytes, struct reservation *out,
                            unsigned *why);

/* What was reserved has become `segment`. */
void memtier_reservation_keep(struct memtier *tier, const struct reservation *reservation,
                              const struct segment *segment);

/* Tells the tier's gauges: after pieces came or went; after segments did. */
static inline void memtier_tell_stored(const struct memtier *tier)
{
    if (tier->counters != NULL)
        row_set(&tier->counters->memory_tier_stored_bytes, tier->stored_bytes);
}

void memtier_tell_segments(const struct memtier *tier);

/* A segment has come (sign 1) or gone (-1): tells the rows of the nodes where it is. */
void memtier_tell_nodes(const struct memtier *tier, const struct segment *segment, int sign);

/* --- without the lock ------------------------------------------------------------------------ */

/*
 * Makes the segment that was reserved. `source` is NULL in recycle mode. Returns 0, -ENOSPC or
 * -ENOMEM; then the reservation is gone.
 */
int memtier_segment_make(struct memtier *tier, const struct reservation *reservation,
                         const struct segment_source *source, struct segment **out);

/* Sets `swaps`. */
void memtier_look_for_swap(struct memtier *tier);

/* Unmaps a segment that is on no list and has no pieces. */
void memtier_segment_destroy(struct memtier *tier, struct segment *segment);

/* Each of these tells its matter once. */

/* For those who log it themselves: true for the first caller. */
bool memtier_tell_first(struct memtier *tier, enum told what);
void memtier_tell_fallback(struct memtier *tier, enum told what, const char *name, const char *why);
void memtier_tell_lacks(struct memtier *tier, const struct segment *segment);
void memtier_tell_full(struct memtier *tier, enum told what);
void memtier_tell_no_room(struct memtier *tier, enum told what, uint64_t room_bytes);

/* It is not known whether there is room, so none is taken. */
void memtier_tell_blind(struct memtier *tier, enum told what, const char *why);

/* What could be raised after a failed step; "" when that is not known. */
const char *memtier_step_hint(const struct segment_plan *plan, enum segment_step step, int err);

#endif
