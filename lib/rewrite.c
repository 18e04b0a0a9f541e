/* SPDX-License-Identifier: MIT */
/*
 * How policies change a queue: ranges of entries become handles and the reverse.
 * Every rewrite isolates its range in a stretch of its own, changes that, and
 * mends the stretch into its neighbours; blocks move by pointer.
 */
#include <errno.h>

#include "growable.h"
#include "view.h"

/* Where a mended stretch's entries begin, and what comes behind them. */
struct mended {
    spw_cursor start, behind;
};

/* The place behind entry `end` - 1 of `block`. */
static spw_cursor cursor_after(struct spw_stretch *stretch, struct spw_block *block, unsigned end)
{
    if (end < block->end)
        return (spw_cursor){stretch, block, end};
    if (block->next)
        return (spw_cursor){stretch, block->next, block->next->first};
    return cursor_at(stretch->next);
}

/* Joins the stretch behind into `stretch` if it is of the same kind; returns the place of the seam.
 */
static spw_cursor stretch_join_next(struct spw_view *view, struct spw_stretch *stretch)
{
    struct spw_block *block = stretch->list.last;
    unsigned end = block->end; /* before a small block is folded in behind it */
    struct spw_stretch *next = stretch->next;
    if (next && next->paged == stretch->paged) {
        list_join(&stretch->list, &next->list);
        stretch_unlink(view, next);
    }
    return cursor_after(stretch, block, end);
}

/* Joins `stretch` with neighbours of its kind, or unlinks it when it is empty. */
static struct mended stretch_mend(struct spw_view *view, struct spw_stretch *stretch)
{
    struct spw_stretch *prev = stretch->prev;
    struct mended mended;
    if (stretch->list.count == 0) {
        struct spw_stretch *next = stretch->next;
        stretch_unlink(view, stretch);
        mended.start = prev ? stretch_join_next(view, prev) : cursor_at(next);
        mended.behind = mended.start;
        return mended;
    }
    if (prev && prev->paged == stretch->paged) {
        mended.start = stretch_join_next(view, prev);
        stretch = prev;
    } else {
        mended.start = cursor_at(stretch);
    }
    mended.behind = stretch_join_next(view, stretch);
    return mended;
}

/*
 * Makes `cursor` the first entry of its stretch, by moving what is before it, with these sums, to a
 * stretch of its own. Needs one spare. Returns 0 or -ENOMEM (nothing changed).
 */
static int view_split_at(struct spw_view *view, spw_cursor *cursor, const struct list_sums *before)
{
    struct spw_stretch *stretch = cursor->stretch;
    if (before->count == 0)
        return 0;
    struct spw_stretch *front = stretch_insert(view, stretch->prev, stretch->paged);
    if (list_cut(&stretch->list, cursor->block, cursor->index, before, &front->list)) {
        stretch_unlink(view, front);
        return -ENOMEM;
    }
    view_forget(view, stretch);
    *cursor = cursor_at(stretch);
    return 0;
}

static int view_split_before(struct spw_view *view, spw_cursor *cursor)
{
    struct list_sums before = cursor_sums_before(view, cursor);
    return view_split_at(view, cursor, &before);
}

/* A range of entries of one stretch that begins at a cursor. */
struct range {
    struct list_sums sums;
    struct spw_block *end_block; /* NULL: to the end of the stretch */
    unsigned end_index;
};

/*
 * The whole stretch, or all but its last entry, where `max_count` says so and
 * `max_bytes` allows it: without a walk, since a strategy may refuse it at every extend.
 */
static bool range_of_stretch(const struct spw_stretch *stretch, size_t max_count,
                             uint64_t max_bytes, struct range *range)
{
    const spw_chunks *list = &stretch->list;
    *range = (struct range){{list->count, list->bytes, list->foreign_bytes}, NULL, 0};
    if (max_count + 1 == list->count) {
        struct list_sums last = {0};
        range->end_block = list->last;
        range->end_index = list->last->end - 1u;
        sums_add_entry(&last, list->last, range->end_index);
        range->sums.count -= last.count;
        range->sums.bytes -= last.bytes;
        range->sums.foreign_bytes -= last.foreign_bytes;
    }
    return range->sums.count <= max_count && range->sums.bytes <= max_bytes;
}

/* All entries from `cursor`, the first of its stretch, on up to both limits; walks blocks, not
 * entries, where it can. */
static struct range range_up_to(struct spw_view *view, const spw_cursor *cursor, size_t max_count,
                                uint64_t max_bytes)
{
    struct range range;
    if (range_of_stretch(cursor->stretch, max_count, max_bytes, &range))
        return range;
    range = (struct range){{0}, cursor->block, cursor->index};
    struct list_sums *sums = &range.sums;
    while (range.end_block) {
        struct spw_block *block = range.end_block;
        if (range.end_index == block->first && block_count(block) <= max_count - sums->count &&
            block->bytes <= max_bytes && sums->bytes <= max_bytes - block->bytes) {
            sums_add_block(sums, block);
            view->walked++;
        } else {
            for (; range.end_index < block->end; range.end_index++) {
                struct list_sums next = *sums;
                sums_add_entry(&next, block, range.end_index);
                if (next.count > max_count || (next.bytes > max_bytes && sums->count > 0))
                    return range;
                *sums = next;
            }
        }
        range.end_block = block->next;
        range.end_index = block->next ? block->next->first : 0;
    }
    return range;
}

/*
 * Isolates a range in a stretch of its own. `cursor` must be the first entry of
 * its stretch. Needs one spare. Returns it, or NULL without memory (nothing changed).
 */
static struct spw_stretch *view_isolate(struct spw_view *view, const spw_cursor *cursor,
                                        const struct range *range)
{
    struct spw_stretch *stretch = cursor->stretch;
    if (range->sums.count == stretch->list.count)
        return stretch;
    struct spw_stretch *front = stretch_insert(view, stretch->prev, stretch->paged);
    if (list_cut(&stretch->list, range->end_block, range->end_index, &range->sums, &front->list)) {
        stretch_unlink(view, front);
        return NULL;
    }
    view_forget(view, stretch);
    return front;
}

/* Collects handles for the place that they will stand in. */
struct spw_sink {
    struct spw_view *view;
    spw_chunks list; /* paged */
    struct spw_block *spare;
};

int spw_sink_reserve(spw_sink *sink)
{
    struct spw_block *last = sink->list.last;
    if (sink->spare || (last && last->end < last->capacity))
        return 0;
    sink->spare = block_open(sink->view->allocator, sink->view->account, BLOCK_SMALL_ENTRIES, true);
    return sink->spare ? 0 : -ENOMEM;
}

void spw_sink_add(spw_sink *sink, spw_handle *handle, size_t count)
{
    (void)count; /* what the handle covers has left the list already */
    uint64_t size_bytes = handle->ops->size_bytes(handle);
    struct spw_block *block = sink->spare;
    if (block) {
        sink->spare = NULL;
        block_push_handle(block, handle, size_bytes);
        list_append(&sink->list, block);
    } else {
        block_push_handle(sink->list.last, handle, size_bytes);
        sink->list.count++;
        sink->list.bytes += size_bytes;
    }
}

/* Tells who asks where entries became handles; `stretch` holds them. */
static void view_paged(struct spw_view *view, const struct spw_stretch *stretch)
{
    uint64_t position = stretch->list.count > 0 ? view_position_of(view, stretch) : UINT64_MAX;
    if (position < view->paged_from)
        view->paged_from = position;
}

long spw_view_spill(spw_view *view, spw_cursor *cursor, uint64_t max_bytes, spw_strategy *strategy)
{
    if (spw_cursor_kind(cursor) != SPILLWAY_ENTRY_BYTES)
        return -EINVAL;
    view_acts(view);
    struct list_sums before = cursor_sums_before(view, cursor);
    size_t max_count = cursor->stretch->list.count - before.count;
    if (!cursor->stretch->next)
        max_count--; /* the merge target stays */
    if (max_count == 0)
        return 0;
    if (view_reserve(view) || view_split_at(view, cursor, &before))
        return -ENOMEM;
    view_tire(view, PATIENCE_OF_SPILL);
    struct range range = range_up_to(view, cursor, max_count, max_bytes);
    struct spw_stretch *source = view_isolate(view, cursor, &range);
    if (!source) {
        *cursor = stretch_mend(view, cursor->stretch).start;
        return -ENOMEM;
    }
    struct spw_sink sink = {.view = view};
    view_count(view, source, -1);
    view_forget(view, source);
    size_t offered = source->list.count;
    int err = strategy->ops->spill(strategy, &source->list, &sink);
    size_t taken = offered - source->list.count;
    if (sink.spare)
        block_close(sink.spare);
    view_count(view, source, 1);
    struct spw_stretch *target = stretch_insert(view, source->prev, true);
    target->list = sink.list;
    view_count(view, target, 1);
    view_paged(view, target);
    if (target->list.count == 0) {
        stretch_unlink(view, target);
        *cursor = stretch_mend(view, source).start;
        return taken > 0 ? (long)taken : err;
    }
    if (source->list.count == 0)
        stretch_unlink(view, source);
    else
        stretch_mend(view, source); /* with the rest behind it: `target` is in front */
    *cursor = stretch_mend(view, target).behind;
    return (long)taken;
}

/* Puts `chunks` in the place of the handle at `cursor`, the first of its stretch. Needs one spare.
 */
static void view_replace_handle(struct spw_view *view, spw_cursor *cursor, spw_chunks *chunks)
{
    struct spw_stretch *paged = cursor->stretch;
    if (paged == view->first) {
        view->head_changes++;
        view->fetch_error = 0; /* was said of that head */
    }
    struct spw_block *emptied;
    view_count(view, paged, -1);
    uint64_t size_bytes = list_pop(&paged->list, &emptied).paged.size_bytes;
    view_forget_first(view, paged, &(struct list_sums){1, size_bytes, 0});
    view_count(view, paged, 1);
    if (emptied)
        block_close(emptied);
    struct spw_stretch *fresh = stretch_insert(view, paged->prev, false);
    fresh->list = *chunks;
    *chunks = (spw_chunks)SPILLWAY_CHUNKS_NONE;
    view_count(view, fresh, 1);
    if (paged->list.count == 0)
        stretch_unlink(view, paged);
    *cursor = stretch_mend(view, fresh).behind;
}

long spw_view_fetch(spw_view *view, spw_cursor *cursor, unsigned flags)
{
    spw_handle *handle = spw_cursor_handle(cursor);
    if (!handle)
        return -EINVAL;
    view_acts(view);
    if (!(flags & SPILLWAY_FETCH_NOWAIT))
        view_uncork(view);
    if (view_reserve(view) || view_split_before(view, cursor))
        return -ENOMEM;
    view_tire(view, PATIENCE_OF_FETCH);
    bool head = cursor->stretch == view->first;
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    int err = handle->ops->fetch(handle, flags, &chunks);
    if (head)
        view->fetch_error = err;
    if (err) {
        if (cursor->stretch->prev && cursor->stretch->prev->paged)
            *cursor = stretch_mend(view, cursor->stretch).start;
        return err;
    }
    long count = (long)chunks.count;
    view_replace_handle(view, cursor, &chunks);
    return count;
}

int spw_view_prefetch(spw_view *view, const spw_cursor *cursor, unsigned flags)
{
    spw_handle *handle = spw_cursor_handle(cursor);
    if (!handle)
        return -EINVAL;
    if (!OPS_HAS(handle->ops, prefetch))
        return -ENOTSUP;
    view_acts(view);
    view_tire(view, PATIENCE_OF_PREFETCH);
    return handle->ops->prefetch(handle, flags);
}

/* Blocks that leave the queue for a list of the user's are no longer charged to its account. */
static void list_uncharge(spw_chunks *list)
{
    for (struct spw_block *block = list->first; block; block = block->next)
        block_uncharge(block);
}

int spw_view_page(spw_view *view, spw_cursor *cursor, size_t count, spw_handle *handle,
                  spw_chunks *removed)
{
    if (spw_cursor_kind(cursor) != SPILLWAY_ENTRY_BYTES || count == 0)
        return -EINVAL;
    struct list_sums before = cursor_sums_before(view, cursor);
    if (count > cursor->stretch->list.count - before.count)
        return -ERANGE;
    view_acts(view);
    struct spw_sink sink = {.view = view};
    if (view_reserve(view) || spw_sink_reserve(&sink))
        return -ENOMEM;
    if (view_split_at(view, cursor, &before))
        goto no_split;
    struct range range = range_up_to(view, cursor, count, UINT64_MAX);
    struct spw_stretch *source = view_isolate(view, cursor, &range);
    if (!source)
        goto no_isolate;
    view_count(view, source, -1);
    view_forget(view, source);
    spw_chunks out = source->list;
    list_uncharge(&out);
    spw_sink_add(&sink, handle, count);
    source->list = sink.list;
    source->paged = true;
    view_count(view, source, 1);
    view_paged(view, source);
    *cursor = stretch_mend(view, source).behind;
    list_join(removed, &out);
    return 0;

no_isolate:
    *cursor = stretch_mend(view, cursor->stretch).start;
no_split:
    block_close(sink.spare);
    return -ENOMEM;
}

int spw_view_unpage(spw_view *view, spw_cursor *cursor, spw_chunks *chunks, spw_handle **out)
{
    spw_handle *handle = spw_cursor_handle(cursor);
    if (!handle)
        return -EINVAL;
    view_acts(view);
    if (view_reserve(view) || view_split_before(view, cursor))
        return -ENOMEM;
    *out = handle;
    view_replace_handle(view, cursor, chunks);
    return 0;
}
