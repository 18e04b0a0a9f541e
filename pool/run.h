/* SPDX-License-Identifier: MIT */
/*
 * A run: consecutive entries that spill and come back together. The run is the
 * handle in the queue; what moves it (references, buffer, I/O job) hangs off it
 * only while it moves, in a flight.
 *
 *   staged -> writing -> stored -> reading -> loaded -> fetched
 *               `-> held (no tier takes it; resident, offered again)
 *   stored in memory -> demoting -> stored on disk
 *
 * On disk a run is a region: `skip` bytes of a shared page, the payload, and, for more than
 * one chunk, their lengths. It is moved in pieces of at most RUN_MAX_BYTES, one extent each.
 */
#ifndef SPILLWAY_POOL_RUN_H
#define SPILLWAY_POOL_RUN_H

#include "pieces.h"
#include "pool.h"
#include "slot.h"

enum run_state {
    RUN_STAGED,
    RUN_WRITING,
    RUN_HELD,
    RUN_STORED,
    RUN_DEMOTING, /* stored in memory, on its way to disk */
    RUN_READING,
    RUN_LOADED,
    RUN_FAILED, /* the last read failed; stored as before */
};

enum run_place {
    PLACE_NONE,
    PLACE_MEMORY, /* a piece of a segment that is the run's alone */
    PLACE_SHARED, /* a piece of a segment, or a part of one, that others may hold as well */
    PLACE_DISK
};

struct shared_slot {
    const unsigned char *data;
    struct slot_owner *owner; /* with a reference */
};

/* Chunks whose list a fetch makes itself; one block of entries. */
enum { INSTANT_CHUNKS = 128 };

/* A piece of a segment, as long as the run's payload and table. */
struct own_slot {
    struct segment *segment;
    const unsigned char *data;
};

/* What one run costs for as long as it lives; DESIGN allows 160 bytes. */
struct run {
    spw_handle handle; /* first */
    struct spw_pool *pool;
    union {
        struct flight *flight;     /* while it moves or is loaded or held, else NULL */
        struct demotion *demotion; /* RUN_DEMOTING */
    };
    spw_waker *waker;                  /* armed, with a reference */
    struct run *list_prev, *list_next; /* of runs stored in memory, or of reads that wait */
    uint64_t id;
    uint64_t bytes; /* payload */
    uint64_t checksum;
    union {
        struct own_slot slot;      /* PLACE_MEMORY */
        struct shared_slot shared; /* PLACE_SHARED */
        struct extent extent;      /* one piece */
        struct extent *extents;    /* several */
    } at;
    uint32_t count;       /* chunks */
    uint16_t skip;        /* see above; below REGION_ALIGN */
    uint8_t state, place; /* enum run_state, run_place */
    uint8_t rounds;       /* fetches that failed */
    bool late : 1;        /* a head fetch found it not loaded */
    bool suspect : 1;     /* a fetch found lengths that do not add up */
    bool wanted : 1;      /* to be read as soon as it is stored */
    bool next : 1;        /* before others, see SPILLWAY_FETCH_NEXT */
    bool queued : 1;      /* on one of the pool's lists of reads that wait */
    int16_t error;        /* why it failed */
};

_Static_assert(sizeof(struct run) <= 104, "with its entry and what malloc adds, 160 bytes a run");

/* Guarded by the pool's lock, or used by the engine's threads alone while they move it. */
struct flight {
    struct pieces pieces;      /* first */
    struct run *run;           /* may be gone once the flight is off it */
    spw_chunks chunks;         /* what is to be written, or what was loaded */
    struct buffer *buffer;     /* to read to */
    unsigned char *region;     /* where the region is in a slab */
    _Atomic uint64_t checksum; /* so far */
    uint64_t charge_bytes;     /* of the window */
    uint32_t attempts;
    bool busy;   /* an engine thread reads chunks that a fetch would take away */
    bool direct; /* written straight from a slab's pages */
    struct run *held_prev, *held_next; /* the pool's list of held runs */
};

static inline struct flight *flight_of(struct pieces *pieces)
{
    return (struct flight *)pieces;
}

/* Bytes of a run's lengths table. */
static inline uint64_t run_table_bytes(uint32_t count)
{
    return count > 1 ? (uint64_t)count * sizeof(uint32_t) : 0;
}

static inline uint64_t run_total_bytes(const struct run *run)
{
    return run->bytes + run_table_bytes(run->count);
}

/* The piece of a segment that a run has to itself. */
static inline struct memslot run_slot(const struct run *run)
{
    return (struct memslot){run->at.slot.segment, run->at.slot.data, run_total_bytes(run)};
}

static inline uint64_t run_region_bytes(const struct run *run)
{
    return (run->skip + run_total_bytes(run) + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);
}

static inline uint32_t run_pieces(const struct run *run)
{
    return (uint32_t)((run_region_bytes(run) + RUN_MAX_BYTES - 1) / RUN_MAX_BYTES);
}

/* A piece's place in the region. */
struct piece {
    uint64_t offset, len;
};

static inline struct piece run_piece(const struct run *run, uint32_t index)
{
    uint64_t offset = (uint64_t)index * RUN_MAX_BYTES, rest = run_region_bytes(run) - offset;
    return (struct piece){offset, rest < RUN_MAX_BYTES ? rest : RUN_MAX_BYTES};
}

static inline struct extent *run_extent(struct run *run, uint32_t index)
{
    return run_pieces(run) > 1 ? &run->at.extents[index] : &run->at.extent;
}

/*
 * What one piece, which is at `data`, adds to the checksum of the run's payload and table: a sum,
 * since pieces may come in any order, of hashes that depend on where each belongs. 0 where
 * checksums are off.
 */
uint64_t run_piece_checksum(const struct run *run, uint32_t index, const unsigned char *data);

/* Finds extents for the whole region. May call fallocate. Returns 0 or -errno. */
int run_open_extents(struct run *run);

/*
 * Makes a run and its flight of the chunks, which move in. Holds a reference on
 * the pool. Returns NULL without memory (the chunks stay).
 */
struct run *run_open(struct spw_pool *pool, spw_chunks *chunks);

/* The same of adoptable bytes, which stay the caller's too: the run is in the memory tier at once.
 */
struct run *run_open_adopted(struct spw_pool *pool, const spw_bytes *bytes);

/* Frees the run's place, flight and memory. No lock held; nobody else knows it. */
void run_close(struct run *run);

/* Gives the extents of a run on disk back. */
void run_free_extents(struct run *run);

/* Frees a flight with what it holds. No lock held. */
void flight_close(struct flight *flight);

/* With the lock held: takes the armed waker out; wake it after unlocking with run_wake(). */
spw_waker *run_take_waker(struct run *run);
void run_wake(spw_waker *waker);

/* ---- store.c ---- */

/* Puts a new run in flight. No pool lock held. */
void run_stage(struct run *run);

/* A directory refused a write: counts it, and has the disk tier draw its conclusions. */
void write_failed(struct spw_pool *pool, unsigned dir, int err);

/* A tier has the run. `direct`: no copy was made on the way. */
void count_stored(struct run *run, bool direct);

/* With the lock held: ends the flight's part in the window. */
void flight_uncharge(struct flight *flight);

/* ---- held.c ---- */

/* The pool's list of held runs. With the lock held. */
void held_append(struct run *run);
void held_remove(struct run *run);

/* Whether so much is held that no more should be offered. */
bool held_is_full(const struct spw_pool *pool);

/* Offers held runs to the tiers again, if their time has come. No lock held. */
void pool_retry_held(struct spw_pool *pool);

/* A tier has room that it did not have: offers held runs at once, and wakes who waits. No lock
 * held. */
void pool_room_freed(struct spw_pool *pool);

/* ---- demote.c ---- */

/*
 * The pool's list of runs stored in memory, in the order they came; those that could not be moved
 * to disk come first. Demotion begins at its end. With the lock held.
 */
void memory_append(struct run *run);
void memory_remove(struct run *run);

/*
 * A demoting run was fetched or dropped, with the lock held: the run is the caller's alone from now
 * on, and the write goes on by itself if it has begun.
 */
void demote_orphan(struct run *run);

/* ---- load.c ---- */

static inline bool run_is_in_memory(const struct run *run)
{
    return run->place == PLACE_MEMORY || run->place == PLACE_SHARED;
}

/*
 * Whether a stored run can be fetched without I/O or much work, under a queue's lock: for a few
 * chunks the list is made by the fetch, for more of them, or where they are doubtful, by an engine
 * thread.
 */
static inline bool run_is_instant(const struct run *run)
{
    return run_is_in_memory(run) && run->count <= INSTANT_CHUNKS && !run->suspect &&
           run->pool->checksum != CHECKSUM_ALL;
}

/*
 * Starts bringing a stored run back. No pool lock held. Returns 0, -EAGAIN (no
 * room in the budget) or -ENOMEM.
 */
int run_load(struct run *run, bool head);

/* A flight for reading some run from `place`, where it is `region_bytes` long. Returns as
 * run_load(). */
int load_open(struct spw_pool *pool, enum run_place place, uint64_t region_bytes, bool head,
              struct flight **out);

/* With the lock held: the stored run is read by this flight, whose pieces are to be started. */
void load_take_off(struct run *run, struct flight *flight);

/*
 * Chunks of a run in the memory tier, which point into its segment and take its place over. With
 * the lock held, or by the engine's thread that works on the run. Returns 0, -ENOMEM or -EBADMSG.
 */
int run_lend(struct run *run, spw_chunks *out);

/* ---- ahead.c ---- */

/*
 * Asks for a run before it is needed: it is read now, or once it is stored and there is memory for
 * it. No pool lock held. `flags` as in spw_handle_ops::prefetch, whose answers these are.
 */
int run_ask(struct run *run, unsigned flags);

/* With the lock held: a stored run waits for its turn to be read, or no longer does. */
void ahead_append(struct run *run);
void ahead_remove(struct run *run);

/* Starts the reads that wait, as far as there is memory for them. No lock held. */
void pool_read_ahead(struct spw_pool *pool);

/* With the lock held: puts a run that is stored now on the list where it belongs, if any. */
void run_list(struct run *run);

/* With the lock held: takes a stored run off the list that it is on. */
static inline void run_unlist(struct run *run)
{
    if (run->queued)
        ahead_remove(run);
    else
        memory_remove(run);
}

extern const spw_handle_ops run_handle_ops;

#endif
