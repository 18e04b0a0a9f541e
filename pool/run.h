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
 *
 * Where a coder (coding.h) made it smaller, a frame (frame.h) takes the place of payload and
 * lengths, in either tier. It passes over a worker thread before it is written and after it was
 * read: staged -> writing (being encoded, then written), reading (then being decoded) -> loaded.
 */
#ifndef SPILLWAY_POOL_RUN_H
#define SPILLWAY_POOL_RUN_H

#include "frame.h"
#include "pages.h"
#include "pieces.h"
#include "pool.h"
#include "slot.h"

enum run_state {
    RUN_STAGED,
    RUN_WRITING,
    RUN_HELD,
    RUN_STORED,   /* a tier has it, from here on */
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

/* A piece of a segment, as long as what is stored of the run. */
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
    bool hinted : 1;      /* the kernel was told, see hint.h */
    int16_t error;        /* why it failed */
    uint8_t code;         /* of its frame; 0: it is stored as it is */
    uint16_t lines;       /* of its frame: FRAME_LINE_BYTES each */
};

_Static_assert(sizeof(struct run) <= 104, "with its entry and what malloc adds, 160 bytes a run");

/* Guarded by the pool's lock, or used by the engine's threads alone while they move it. */
struct flight {
    struct pieces pieces;      /* first */
    struct run *run;           /* may be gone once the flight is off it */
    spw_chunks chunks;         /* what is to be written, or what was loaded */
    struct buffer *buffer;     /* to read to */
    struct buffer *whole;      /* to decode what was read to */
    struct buffer *frame;      /* encoded, on its way out */
    unsigned char *region;     /* where the region is in a slab, or the frame; NULL: nowhere yet */
    _Atomic uint64_t checksum; /* so far */
    uint64_t charge_bytes;     /* of the window */
    uint64_t begun_ns;         /* when its read began */
    uint32_t attempts;
    bool busy;     /* an engine thread or worker reads chunks that a fetch would take away */
    bool direct;   /* written straight from a slab's pages */
    bool encoding; /* staged: a worker has it first */
    bool gauged;   /* the device gauge knows that it is being written */
    struct task task;
    struct run *held_prev, *held_next; /* the pool's list of held runs */
};

static inline struct flight *flight_of(struct pieces *pieces)
{
    return (struct flight *)pieces;
}

static inline struct flight *flight_of_task(struct task *task)
{
    return (struct flight *)((char *)task - offsetof(struct flight, task));
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

/* What a tier keeps of it: that, or its frame. */
static inline uint64_t run_stored_bytes(const struct run *run)
{
    return run->code ? run->lines * (uint64_t)FRAME_LINE_BYTES : run_total_bytes(run);
}

/* The piece of a segment that a run has to itself. */
static inline struct memslot run_slot(const struct run *run)
{
    return (struct memslot){run->at.slot.segment, run->at.slot.data, run_stored_bytes(run)};
}

static inline uint64_t run_region_bytes(const struct run *run)
{
    return (run->skip + run_stored_bytes(run) + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);
}

/* A piece's place in the region. */
struct piece {
    uint64_t offset, len;
};

/*
 * Where the pieces of a frame are. Extents are powers of two, so that one would often be almost
 * half empty: a few of falling size are fuller.
 */
uint32_t frame_pieces(const struct run *run);
struct piece frame_piece(const struct run *run, uint32_t index);

static inline uint32_t run_pieces(const struct run *run)
{
    if (run->code)
        return frame_pieces(run);
    return (uint32_t)((run_region_bytes(run) + RUN_MAX_BYTES - 1) / RUN_MAX_BYTES);
}

static inline struct piece run_piece(const struct run *run, uint32_t index)
{
    if (run->code)
        return frame_piece(run, index);
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

/* With the lock held: takes a staged run back that no other thread has seen; and whether that would
 * work. */
bool store_cancel(struct flight *flight);
bool store_is_pending(const struct flight *flight);

/* The bytes can be handed over again: tells whoever waits for that. */
void store_let_go(struct flight *flight, bool wake);

/* A buffer that the region of a run can be gathered in. Returns 0 or -errno. */
int staging_open(struct flight *flight, struct lane *lane, enum buffer_claim claim);

/* Copies one piece of the region of a staged run there. */
void gather_piece(struct flight *flight, struct piece piece, unsigned char *to);

/* Where the pool reads a single chunk that lies in whole pages of its own, which can be written as
 * they are; NULL for all else. */
const unsigned char *chunks_own_pages(const struct spw_pool *pool, const spw_chunks *chunks);

/* So much less of the window is needed. No lock held. */
void flight_discharge(struct flight *flight, uint64_t bytes);

/* A directory refused a write: counts it, and has the disk tier draw its conclusions. */
void write_failed(struct spw_pool *pool, unsigned dir, int err);

/* A tier has the run. `direct`: no copy was made on the way. With the lock held. */
void count_stored(struct run *run, bool direct);

/* What a tier had is in memory again, or nobody wants it any more. With the lock held. */
void count_gone(const struct run *run, uint64_t now_ns);

/* With the lock held: ends the flight's part in the window. */
void flight_uncharge(struct flight *flight);

/* ---- encode.c ---- */

/* What encoding needs beside what run_stage() counts anyway. */
uint64_t encode_charge(const struct run *run);

/* Has a worker look at a staged run before it goes out. */
void encode_stage(struct flight *flight);

/* The run is no longer encoded; what a flight has of that is freed. No lock held. */
void encode_undo(struct flight *flight);

/* ---- decode.c ---- */

/* Has a worker decode what was read of a run, or what lies in the memory tier, and end the load. */
void decode_start(struct flight *flight);

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

/* The same of a run that is to be read from memory now, whatever becomes of the write. */
void demote_take_back(struct run *run);

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
    return run_is_in_memory(run) && run->count <= INSTANT_CHUNKS && !run->suspect && !run->code &&
           run->pool->checksum != CHECKSUM_ALL;
}

/*
 * Starts bringing a stored run back. No pool lock held. Returns 0, -EAGAIN (no
 * room in the budget) or -ENOMEM.
 */
int run_load(struct run *run, bool head);

/* What reading a run needs: of each kind of run the same. */
struct load_need {
    enum run_place place;
    uint64_t region_bytes;
    uint64_t whole_bytes; /* to decode to; 0: it is not encoded */
};

/* With the lock held. */
static inline struct load_need run_need(const struct run *run)
{
    return (struct load_need){(enum run_place)run->place, run_region_bytes(run),
                              run->code ? run_total_bytes(run) : 0};
}

static inline bool run_needs(const struct run *run, const struct load_need *need)
{
    struct load_need now = run_need(run);
    return now.place == need->place && now.region_bytes == need->region_bytes &&
           now.whole_bytes == need->whole_bytes;
}

/* A flight for reading some run that needs this. Returns as run_load(). */
int load_open(struct spw_pool *pool, const struct load_need *need, bool head, struct flight **out);

/* With the lock held: the stored run is read by this flight, which is to be started. */
void load_take_off(struct run *run, struct flight *flight);
void load_start(struct flight *flight);
/* Where the bytes of a run are, and where their lengths can be read without touching a reader's
 * page. */
struct payload {
    const unsigned char *data, *table;
};

/*
 * Rebuilds the chunks of a run. They take over the caller's reference to `owner` on success.
 * Returns 0, -ENOMEM, or -EBADMSG when the table does not add up.
 */
int chunks_rebuild(const struct run *run, const struct payload *payload, struct spw_owner *owner,
                   spw_chunks *out);

/* A load failed: whether to read once more before telling anybody. Counts it. */
bool load_again(struct flight *flight, int err);

/* The run is loaded, or was not: the flight ends. */
void load_end(struct flight *flight, int err);

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

/* Before memory of a run is read as a whole. A call of the kernel for each run, so only once memory
 * has been short: before that there is nothing in swap, as far as anyone knows. */
static inline void run_expect(const struct spw_pool *pool, const void *start, size_t bytes)
{
    if (atomic_load_explicit(&pool->was_short, memory_order_relaxed))
        pages_expect(pool->os, start, bytes);
}

extern const spw_handle_ops run_handle_ops;

#endif
