/* SPDX-License-Identifier: MIT */
/*
 * The memory tier: sealed memfd segments on chosen NUMA nodes. Data is put in by a copy, or is
 * written in its place by who makes it; read through a map that nobody can write through; and freed
 * when the last piece in its segment is released. The segment is then recycled warm (recycle mode)
 * or unmapped (strict mode).
 */
#ifndef SPILLWAY_POOL_MEMTIER_H
#define SPILLWAY_POOL_MEMTIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/counters.h"
#include "../lib/log.h"
#include "../lib/os.h"
#include "../lib/settings.h"
#include "rows.h"
#include "spillway/alloc.h"

struct memtier_config {
    const struct os *os;
    const spw_allocator *allocator; /* never NULL */
    struct log *log;
    uint64_t capacity_bytes;
    uint64_t segment_bytes; /* wish; scaled up with capacity (map count, descriptors) */
    const char *nodes;      /* as in the option */
    enum seal_mode seal;
    bool mlock;
    enum huge_mode huge_pages;
    struct counters *counters; /* where memory_tier_* is told; NULL: nowhere */
    struct node_row *rows;     /* ROW_NODES of them; NULL: nowhere */
    bool strict;               /* fallbacks are errors */
    void (*fallback)(void *context, const char *name); /* each told once; may be NULL */
    void *fallback_context;
    /* What the process may still come to need beside this tier (the unused part of its budget): no
     * segment is made out of that. Called from any thread, with no lock of the tier held. NULL: 0.
     */
    uint64_t (*unused_budget)(void *context);
    void *unused_budget_context;
};

struct memtier;
struct segment;

/* A piece of a segment; `data` is readable until memtier_release(). */
struct memslot {
    struct segment *segment;
    const unsigned char *data;
    uint64_t len;
};

/* What to put in: either `whole` (len bytes in one piece) or fill(), which writes all len bytes. */
struct memtier_source {
    uint64_t len;
    const void *whole;
    void (*fill)(void *context, unsigned char *to);
    void *context;
};

struct memtier_info {
    uint64_t capacity_bytes;
    uint64_t segment_bytes;   /* all segments, in use or warm */
    uint64_t stored_bytes;    /* live pieces */
    uint64_t misplaced_bytes; /* found on other nodes than asked for */
    uint64_t locked_bytes;
    uint64_t huge_bytes;
    uint64_t refused_headroom_total; /* segments not made because a cgroup or node had no room */
};

int memtier_open(const struct memtier_config *config, struct memtier **out);

/* Every piece must have been released. */
void memtier_close(struct memtier *tier);

/*
 * Copies the source in. Called from engine threads, several at once, never under a lock. Returns 0
 * or -ENOSPC (capacity, headroom of the cgroup path or node, map count, descriptors: the log says
 * which, once), -ENOMEM.
 */
int memtier_put(struct memtier *tier, const struct memtier_source *source, struct memslot *out);

/*
 * Whether slabs may lie in this tier's segments: they can be written in place (recycle mode) and
 * are where the calling thread's own memory would be. A thread that is moved changes the answer.
 */
bool memtier_is_near(const struct memtier *tier);

/*
 * A piece for the caller to fill: `*write` is where, `out->data` where it is read. Both begin on a
 * page. Recycle mode only. Returns as memtier_put().
 */
int memtier_take(struct memtier *tier, uint64_t len, struct memslot *out, unsigned char **write);

/* Gives a piece back. Any thread; the last piece of a strict segment unmaps it. */
void memtier_release(struct memtier *tier, const struct memslot *slot);

/* Whether the kernel may swap segments out, as of when one was made last. Any thread, cheap. */
bool memtier_swaps(const struct memtier *tier);

/* What maps consist of. */
size_t memtier_page_bytes(const struct memtier *tier);

/*
 * Whether so many bytes of segments may be brought in again without the OOM killer: there is room
 * for them, and now it is taken, until they are. What was seen holds for a moment. Not under a lock
 * of others: may read files.
 */
bool memtier_may_bring_in(struct memtier *tier, uint64_t bytes);
void memtier_brought_in(struct memtier *tier, uint64_t bytes);

/* A cheap guess whether memtier_put() of `len` may work now (backs off after a refusal). */
bool memtier_may_accept(struct memtier *tier, uint64_t len);

/* Unmaps warm segments; returns bytes. */
uint64_t memtier_trim(struct memtier *tier);

void memtier_info(const struct memtier *tier, struct memtier_info *out);

#endif
