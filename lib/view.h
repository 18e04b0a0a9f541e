/* SPDX-License-Identifier: MIT */
/*
 * The entries of a queue: an alternating list of resident and paged stretches,
 * each a list of blocks. Counters are kept as entries change, so nothing here
 * scans the queue. Guarded by the queue's lock.
 */
#ifndef SPILLWAY_VIEW_H
#define SPILLWAY_VIEW_H

#include <limits.h>

#include "block.h"
#include "epoch.h"
#include "spillway/policy.h"

struct spw_stretch {
    struct spw_stretch *next, *prev;
    bool paged;
    spw_chunks list; /* never empty while linked */
};

/* Spare stretches that a rewrite may need: a cut makes two, a spill one more. */
enum { VIEW_SPARES = 3 };

/* A block of a stretch, and what that holds before it. */
struct place {
    struct spw_stretch *stretch; /* NULL: none */
    struct spw_block *block;
    struct list_sums before;
};

/*
 * How many blocks may be walked while the lock is held once, and what other things count for. All
 * that is more waits for the next time; places found so far are remembered.
 */
enum {
    VIEW_PATIENCE = 256,
    PATIENCE_OF_SPILL = 128,
    PATIENCE_OF_FETCH = 64,
    PATIENCE_OF_PREFETCH = 32
};
#define VIEW_PATIENT UINT_MAX /* nobody waits for the lock */

struct spw_view {
    struct spw_stretch *first, *last;
    const spw_allocator *allocator;
    struct spw_account *account; /* may be NULL */
    struct queue_sums *sums;     /* of a row that others can read, or its own */
    uint64_t foreign_bytes;
    struct spw_stretch *spares[VIEW_SPARES];
    unsigned spare_count;
    struct spw_block *spare_block; /* resident, of full size, our account's, empty; may be NULL */
    struct spw_block *emptied; /* linked by next, no longer charged: to be freed without the lock */
    struct place places[2];    /* the last one sought among resident and paged entries */
    uint64_t paged_from;       /* the lowest place in the stream paged since it was asked for */
    bool corked;               /* the account is */
    unsigned patience;         /* what is left of it */
    unsigned walked;           /* blocks, for tests */
    unsigned head_changes;   /* times a paged head was replaced: a reader armed with it must wake */
    uint64_t (*clock)(void); /* NULL: nobody wants to know */
    uint64_t acted_ns;   /* when entries were first rewritten or looked for; 0: not since asked */
    uint64_t keep_bytes; /* what the governor lets the queue keep next to its head; UINT64_MAX: not
                            said */
    uint64_t until_position; /* and behind this place in the stream nothing is to go now */
    bool spill_now;          /* what is behind the former is to go now */
    struct rest *rest;       /* of the policy that looks now; NULL: nobody keeps it */
    struct queue_sums own_sums;
    int fetch_error; /* of the last fetch at the head, 0 when it worked or none was tried */
};

/* With the lock held: for who is going to wait. */
static inline void view_uncork(struct spw_view *view)
{
    if (view->corked)
        view->account->uncork(view->account);
    view->corked = false;
}

/* Notes when runs begin to be put in motion; who unlocks uncorks the account. */
static inline void view_acts(struct spw_view *view)
{
    if (!view->corked && view->account && view->account->cork) {
        view->corked = true;
        view->account->cork(view->account);
    }
    if (view->clock && view->acted_ns == 0)
        view->acted_ns = view->clock();
}

void view_init(struct spw_view *view, const spw_allocator *allocator, struct spw_account *account);
void view_fini(struct spw_view *view); /* releases and drops everything */

/* Moves all entries, and whatever else it has, to `*out`; what is left has sums of its own. */
void view_move(struct spw_view *view, struct spw_view *out);

/* There are no entries any more. */
void view_clear_sums(struct spw_view *view);

/* Whether the next view_push() that does not merge needs a spare block. */
static inline bool view_needs_block(const struct spw_view *view)
{
    const struct spw_stretch *last = view->last;
    return !last || last->paged || last->list.last->end == last->list.last->capacity;
}

/* Appends bytes where that needs no block: 1 when they became part of the last entry, 0 when they
 * became an entry, -1 when neither can be (nothing changed). */
static inline int view_push_here(struct spw_view *view, spw_bytes *bytes)
{
    struct spw_stretch *stretch = view->last;
    if (!stretch || stretch->paged)
        return -1;
    struct spw_block *block = stretch->list.last;
    union entry *entry = &block->entries[block->end];
    uint64_t len = bytes->len, foreign_bytes = bytes_foreign_part(bytes);
    bool merges = bytes_adjoin(&entry[-1].bytes, bytes);
    if (merges) {
        entry[-1].bytes.len += len; /* both lie in one allocation, so this cannot overflow */
        owner_release_many(bytes->owner, 1);
    } else {
        if (block->end == block->capacity)
            return -1;
        block->end++;
        entry->bytes = *bytes;
        stretch->list.count++;
        view->sums->entries++;
    }
    *bytes = (spw_bytes)SPILLWAY_BYTES_NONE;
    block->bytes += len;
    block->foreign_bytes += foreign_bytes;
    stretch->list.bytes += len;
    stretch->list.foreign_bytes += foreign_bytes;
    view->sums->resident_bytes += len;
    view->foreign_bytes += foreign_bytes;
    return merges;
}

/*
 * Appends bytes behind the last entry, merging into it where possible. `*spare` is a block
 * of the caller's, used and set to NULL when a new block is needed. Returns 1 when merged, 0
 * when it became an entry, -ENOMEM when `*spare` or a stretch is missing (nothing changed).
 */
int view_push(struct spw_view *view, spw_bytes *bytes, struct spw_block **spare);

/* Makes all spares ready. Returns 0 or -ENOMEM. */
int view_reserve(struct spw_view *view);

/* Takes entries from the head, which must be resident, in order: at least one, at most `most` (not
 * 0) or as many as lie in one block. Returns how many. */
size_t view_pop(struct spw_view *view, spw_bytes *out, size_t most);

/* Takes the head entry, which must be paged. */
spw_handle *view_pop_handle(struct spw_view *view, uint64_t *size_bytes);

/* Frees blocks that view_pop() has emptied. */
void blocks_close(struct spw_block *first);

/* Takes `cost` of the patience. */
static inline void view_tire(struct spw_view *view, unsigned cost)
{
    view->patience = view->patience > cost ? view->patience - cost : 0;
}

/* The stretch's content changes other than at its end: no place in it is known any more. */
static inline void view_forget(struct spw_view *view, const struct spw_stretch *stretch)
{
    for (unsigned i = 0; i < 2; i++)
        if (view->places[i].stretch == stretch)
            view->places[i].stretch = NULL;
}

/* The stretch lost its first entries, all of them in its first block. */
static inline void view_forget_first(struct spw_view *view, const struct spw_stretch *stretch,
                                     const struct list_sums *gone)
{
    struct place *place = &view->places[stretch->paged];
    if (place->stretch != stretch)
        return;
    if (place->before.count == 0) {
        place->stretch = NULL; /* it is in this very block */
        return;
    }
    place->before.count -= gone->count;
    place->before.bytes -= gone->bytes;
    place->before.foreign_bytes -= gone->foreign_bytes;
}

/* Where the stretch begins in the stream. */
uint64_t view_position_of(const struct spw_view *view, const struct spw_stretch *stretch);

/* For rewriting (rewrite.c). stretch_insert() needs a spare and links an empty stretch in behind
 * `prev` (NULL: at the front). */
struct spw_stretch *stretch_insert(struct spw_view *view, struct spw_stretch *prev, bool paged);
void stretch_unlink(struct spw_view *view, struct spw_stretch *stretch);

/* Adds the stretch's sums to the view's counters, or takes them away (sign -1). */
void view_count(struct spw_view *view, const struct spw_stretch *stretch, int sign);

/* The first entry of a stretch; past the end for NULL. */
spw_cursor cursor_at(struct spw_stretch *stretch);

/* Sums from the start of the cursor's stretch up to the cursor. `view` may be NULL. */
struct list_sums cursor_sums_before(struct spw_view *view, const spw_cursor *cursor);

/* Walks everything and compares with the counters; for tests and debug builds. */
bool view_is_valid(const struct spw_view *view);

#endif
