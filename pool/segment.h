/* SPDX-License-Identifier: MIT */
/*
 * One memfd: made, placed, filled in by the kernel before anyone touches it, sealed,
 * mapped, locked, verified, freed. Knows nothing about capacity, room or recycling, and
 * takes no lock.
 */
#ifndef SPILLWAY_POOL_SEGMENT_H
#define SPILLWAY_POOL_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/os.h"
#include "../lib/settings.h"
#include "node.h"

/* What can be done without; segment_open_*() reports what it had to leave out. */
enum segment_lack {
    SEGMENT_LACK_NODES = 1 << 0,
    SEGMENT_LACK_MLOCK = 1 << 1,
    SEGMENT_LACK_HUGE = 1 << 2,
};

/* The step that failed, for the log; in their order. */
enum segment_step {
    SEGMENT_STEP_NONE,
    SEGMENT_STEP_MEMFD,
    SEGMENT_STEP_SIZE,
    SEGMENT_STEP_MAP,
    SEGMENT_STEP_PROTECT, /* from fork and core dumps */
    SEGMENT_STEP_POLICY,
    SEGMENT_STEP_HUGE,
    SEGMENT_STEP_POPULATE,
    SEGMENT_STEP_WRITE,
    SEGMENT_STEP_SEAL,
    SEGMENT_STEP_REOPEN,
    SEGMENT_STEP_LOCK,
};

const char *segment_step_name(enum segment_step step);

/* How segments of a tier are made. */
struct segment_plan {
    const struct os *os;
    size_t page_bytes, huge_page_bytes;
    enum huge_mode huge;          /* HUGE_ON: with a fallback to normal pages */
    const struct node_set *nodes; /* NULL: no policy */
    bool bind;                    /* MPOL_BIND, else a preference */
    bool mlock;
    bool strict; /* a lack is an error */
};

/* What a strict segment is filled with; as struct memtier_source. */
struct segment_source {
    uint64_t len;
    const void *whole;
    void (*fill)(void *context, unsigned char *to);
    void *context;
};

/* What of a segment was found on a node. */
struct segment_place {
    uint16_t node;
    uint64_t bytes;
};
enum { SEGMENT_PLACES = 4 }; /* nodes told apart */

struct segment {
    size_t bytes;              /* of each map; whole pages */
    unsigned char *write;      /* recycle mode, else NULL */
    const unsigned char *read; /* nobody can write through it */
    int fd;                    /* strict mode: read-only, else -1 */
    bool huge;                 /* on huge pages from the reserve */
    uint64_t locked_bytes, misplaced_bytes;
    unsigned lacks;                              /* enum segment_lack, or-ed */
    struct segment_place places[SEGMENT_PLACES]; /* where nodes were asked for */
    unsigned place_count;

    /* The tier's; guarded by its lock. */
    uint64_t used_bytes; /* handed out from the front, in whole cache lines; 0 with cells */
    uint64_t pieces;     /* live */
    uint64_t cell_bytes; /* all pieces are of this size, a power of two; 0: of any size */
    uint64_t free_cells; /* a bit each */
    bool keeps_fd;
    bool keeps_read;             /* its readers' map stays when it is recycled */
    struct segment *next, *prev; /* of one list: warm, or with free cells */
};

/*
 * Where the pool itself reads what is at `data` of a segment: in its own map, if there is one. The
 * pages are there already, and readers' maps have only what readers have touched.
 */
static inline const unsigned char *segment_own_view(const struct segment *segment,
                                                    const unsigned char *data)
{
    return segment->write != NULL ? segment->write + (data - segment->read) : data;
}

/* Whether the kernel may swap it out. */
static inline bool segment_swaps(const struct segment *segment)
{
    return !segment->huge && segment->locked_bytes == 0;
}

/* The cell that begins at `data`. */
static inline unsigned segment_cell(const struct segment *segment, const unsigned char *data)
{
    return (unsigned)((uint64_t)(data - segment->read) / segment->cell_bytes);
}

/*
 * `bytes` is a multiple of the page size, and of the huge page size with HUGE_ON. All
 * pages are there when this returns, so that touching them cannot fail. Returns 0 or -errno with
 * `*step` set and nothing left behind.
 */
int segment_open_recycle(const struct segment_plan *plan, size_t bytes, struct segment *out,
                         enum segment_step *step);

/* The same, filled from `source` (len <= bytes) and sealed for good. Where huge pages were to be
 * had but are not, the segment is only as large as `len` needs. fill() is called at most once. */
int segment_open_strict(const struct segment_plan *plan, size_t bytes,
                        const struct segment_source *source, struct segment *out,
                        enum segment_step *step);

/*
 * Lets the readers' map of an empty recycle segment go; its pages stay, warm, in the writable one.
 * A page that is in both maps would count twice in the resident set that users look at.
 */
void segment_unread(const struct os *os, const struct segment *segment);

void segment_close(const struct os *os, struct segment *segment);

#endif
