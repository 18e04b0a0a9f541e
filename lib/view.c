/* SPDX-License-Identifier: MIT */
#include "view.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "growable.h"
#include "owner.h"

void view_init(struct spw_view *view, const spw_allocator *allocator, struct spw_account *account)
{
    *view = (struct spw_view){.allocator = allocator,
                              .account = account,
                              .paged_from = UINT64_MAX,
                              .keep_bytes = UINT64_MAX,
                              .until_position = UINT64_MAX,
                              .patience = VIEW_PATIENT};
    view->sums = &view->own_sums;
}

void view_clear_sums(struct spw_view *view)
{
    view->foreign_bytes = 0;
    if (!view->sums)
        return; /* of nothing */
    view->sums->entries = view->sums->paged_entries = 0;
    view->sums->resident_bytes = view->sums->paged_bytes = 0;
}

void view_move(struct spw_view *view, struct spw_view *out)
{
    *out = *view;
    out->own_sums = *view->sums;
    out->sums = &out->own_sums;
    view_init(view, out->allocator, out->account);
    view->clock = out->clock;
}

int spw_view_guidance(const spw_view *view, spw_guidance *guidance)
{
    spw_guidance now = {.size = sizeof(now),
                        .keep_bytes = view->keep_bytes,
                        .spill_now = view->spill_now,
                        .until_position = view->until_position};
    if (guidance && guidance->size == sizeof(now)) { /* at every look of a policy */
        *guidance = now;
        return 0;
    }
    return growable_write(guidance, GUIDANCE_FIRST_BYTES, &now, sizeof(now));
}

/* ---- stretches ---- */

int view_reserve(struct spw_view *view)
{
    while (view->spare_count < VIEW_SPARES) {
        struct spw_stretch *stretch = allocator_acquire(view->allocator, sizeof(*stretch));
        if (!stretch)
            return -ENOMEM;
        view->spares[view->spare_count++] = stretch;
    }
    return 0;
}

static void stretch_discard(struct spw_view *view, struct spw_stretch *stretch)
{
    if (view->spare_count < VIEW_SPARES)
        view->spares[view->spare_count++] = stretch;
    else
        allocator_release(view->allocator, stretch, sizeof(*stretch));
}

struct spw_stretch *stretch_insert(struct spw_view *view, struct spw_stretch *prev, bool paged)
{
    struct spw_stretch *stretch = view->spares[--view->spare_count];
    *stretch = (struct spw_stretch){.paged = paged, .prev = prev};
    stretch->next = prev ? prev->next : view->first;
    *(prev ? &prev->next : &view->first) = stretch;
    *(stretch->next ? &stretch->next->prev : &view->last) = stretch;
    return stretch;
}

void stretch_unlink(struct spw_view *view, struct spw_stretch *stretch)
{
    *(stretch->prev ? &stretch->prev->next : &view->first) = stretch->next;
    *(stretch->next ? &stretch->next->prev : &view->last) = stretch->prev;
    view_forget(view, stretch);
    stretch_discard(view, stretch);
}

/* ---- counters ---- */

void view_count(struct spw_view *view, const struct spw_stretch *stretch, int sign)
{
    uint64_t bytes = sign > 0 ? stretch->list.bytes : -stretch->list.bytes;
    size_t count = sign > 0 ? stretch->list.count : -stretch->list.count;
    struct queue_sums *sums = view->sums;
    sums->entries += count;
    if (stretch->paged) {
        sums->paged_entries += count;
        sums->paged_bytes += bytes;
    } else {
        sums->resident_bytes += bytes;
        view->foreign_bytes +=
            sign > 0 ? stretch->list.foreign_bytes : -stretch->list.foreign_bytes;
    }
}

size_t spw_view_entries(const spw_view *view)
{
    return view->sums->entries;
}

size_t spw_view_paged_entries(const spw_view *view)
{
    return view->sums->paged_entries;
}

uint64_t spw_view_resident_bytes(const spw_view *view)
{
    return view->sums->resident_bytes;
}

uint64_t spw_view_paged_bytes(const spw_view *view)
{
    return view->sums->paged_bytes;
}

/* ---- the two ends ---- */

/* As view_push_here() where the last block has no room, or is paged. */
static int view_add_block(struct spw_view *view, spw_bytes *bytes, struct spw_block **spare)
{
    bool apart = !view->last || view->last->paged; /* a stretch of its own */
    if (!*spare) {
        *spare = view->spare_block;
        view->spare_block = NULL;
    }
    if (!*spare || (apart && view->spare_count == 0 && view_reserve(view)))
        return -ENOMEM;
    if (apart)
        stretch_insert(view, view->last, false);
    struct spw_block *block = *spare;
    *spare = NULL;
    view->sums->entries++;
    view->sums->resident_bytes += bytes->len;
    view->foreign_bytes += bytes_foreign_part(bytes);
    block_push_bytes(block, bytes);
    *bytes = (spw_bytes)SPILLWAY_BYTES_NONE;
    list_append(&view->last->list, block);
    return 0;
}

int view_push(struct spw_view *view, spw_bytes *bytes, struct spw_block **spare)
{
    int pushed = view_push_here(view, bytes);
    return pushed < 0 ? view_add_block(view, bytes, spare) : pushed;
}

/* A queue that is drained as fast as it is filled uses the same block again and again, unless there
 * are too many queues for that. */
static void view_keep_block(struct spw_view *view, struct spw_block *block)
{
    if (view->spare_block || block->capacity != BLOCK_ENTRIES || block->account != view->account ||
        !account_may_keep(view->account, block_size(BLOCK_ENTRIES))) {
        block_uncharge(block);
        block->next = view->emptied;
        view->emptied = block;
        return;
    }
    block->first = block->end = 0;
    view->spare_block = block;
}

void blocks_close(struct spw_block *first)
{
    while (first) {
        struct spw_block *block = first;
        first = block->next;
        block_close(block);
    }
}

_Static_assert(sizeof(union entry) == sizeof(spw_bytes), "resident entries are an array of bytes");

size_t view_pop(struct spw_view *view, spw_bytes *out, size_t most)
{
    struct spw_stretch *stretch = view->first;
    struct spw_block *emptied;
    struct list_sums gone;
    unsigned count =
        list_pop_some(&stretch->list, most, (union entry *)(void *)out, &gone, &emptied);
    if (emptied)
        view_keep_block(view, emptied);
    view_forget_first(view, stretch, &gone);
    struct queue_sums *sums = view->sums;
    sums->entries -= count;
    sums->gone_bytes_total += gone.bytes;
    sums->resident_bytes -= gone.bytes;
    view->foreign_bytes -= gone.foreign_bytes;
    if (stretch->list.count == 0)
        stretch_unlink(view, stretch);
    return count;
}

spw_handle *view_pop_handle(struct spw_view *view, uint64_t *size_bytes)
{
    struct spw_stretch *stretch = view->first;
    struct spw_block *emptied;
    struct paged paged = list_pop(&stretch->list, &emptied).paged;
    if (emptied)
        block_close(emptied);
    view_forget_first(view, stretch, &(struct list_sums){1, paged.size_bytes, 0});
    struct queue_sums *sums = view->sums;
    sums->entries--;
    sums->paged_entries--;
    sums->gone_bytes_total += paged.size_bytes;
    sums->paged_bytes -= paged.size_bytes;
    *size_bytes = paged.size_bytes;
    if (stretch->list.count == 0)
        stretch_unlink(view, stretch);
    return paged.handle;
}

void view_fini(struct spw_view *view)
{
    while (view->first) {
        list_clear(&view->first->list);
        stretch_unlink(view, view->first);
    }
    if (view->spare_block)
        block_close(view->spare_block);
    view->spare_block = NULL;
    blocks_close(view->emptied);
    view->emptied = NULL;
    while (view->spare_count > 0)
        allocator_release(view->allocator, view->spares[--view->spare_count],
                          sizeof(struct spw_stretch));
    view_clear_sums(view);
}

/* ---- cursors ---- */

spw_cursor cursor_at(struct spw_stretch *stretch)
{
    spw_cursor cursor = {0};
    if (stretch) {
        cursor.stretch = stretch;
        cursor.block = stretch->list.first;
        cursor.index = cursor.block->first;
    }
    return cursor;
}

spw_cursor spw_view_head(const spw_view *view)
{
    return cursor_at(view->first);
}

/* The place's block is the next one, or the one before. */
static void place_forward(struct spw_view *view, struct place *place)
{
    sums_add_block(&place->before, place->block);
    place->block = place->block->next;
    view->walked++;
    view_tire(view, 1);
}

static void place_back(struct spw_view *view, struct place *place)
{
    place->block = place->block->prev;
    place->before.count -= block_count(place->block);
    place->before.bytes -= place->block->bytes;
    place->before.foreign_bytes -= place->block->foreign_bytes;
    view->walked++;
    view_tire(view, 1);
}

/* The nearest known place to `bytes` from the start of the stretch: its front, its end, or where it
 * was sought last. */
static struct place place_near(const struct spw_view *view, struct spw_stretch *stretch,
                               uint64_t bytes)
{
    const spw_chunks *list = &stretch->list;
    const struct place *last = &view->places[stretch->paged];
    struct place front = {stretch, list->first, {0}};
    struct place end = {stretch,
                        list->last,
                        {list->count - block_count(list->last), list->bytes - list->last->bytes,
                         list->foreign_bytes - list->last->foreign_bytes}};
    struct place nearest = bytes < list->bytes / 2 ? front : end;
    uint64_t distance = bytes < list->bytes / 2 ? bytes : list->bytes - bytes;
    if (last->stretch == stretch) {
        uint64_t at = last->before.bytes;
        if ((at < bytes ? bytes - at : at - bytes) < distance)
            nearest = *last;
    }
    return nearest;
}

/*
 * Finds the block of the stretch that holds the entry `bytes` from its start, or the last one; the
 * bytes before it go to `*before`. NULL when the patience came to its end on the way.
 */
static struct spw_block *stretch_seek(struct spw_view *view, struct spw_stretch *stretch,
                                      uint64_t bytes, uint64_t *before)
{
    struct place place = place_near(view, stretch, bytes);
    bool there = false;
    while (!there && view->patience > 0) {
        if (place.before.bytes > bytes)
            place_back(view, &place);
        else if (place.before.bytes + place.block->bytes <= bytes && place.block->next)
            place_forward(view, &place);
        else
            there = true;
    }
    view->places[stretch->paged] = place;
    *before = place.before.bytes;
    return there ? place.block : NULL;
}

/* The first entry of the stretch with at least `bytes` before it; past the end when there is none,
 * or when the patience came to its end. `*before` is set to what is before it. */
static spw_cursor stretch_cursor(struct spw_view *view, struct spw_stretch *stretch, uint64_t bytes,
                                 uint64_t *before)
{
    struct spw_block *block = stretch_seek(view, stretch, bytes, before);
    if (!block)
        return (spw_cursor){0};
    unsigned index = block->first;
    for (; index < block->end && *before < bytes; index++)
        *before += stretch->paged ? block->entries[index].paged.size_bytes
                                  : block->entries[index].bytes.len;
    if (index < block->end)
        return (spw_cursor){stretch, block, index};
    if (block->next)
        return (spw_cursor){stretch, block->next, block->next->first};
    return (spw_cursor){0};
}

spw_cursor spw_view_seek(spw_view *view, uint64_t resident_bytes)
{
    uint64_t before = 0;
    struct spw_stretch *stretch = view->first;
    for (; stretch; stretch = stretch->next) {
        if (stretch->paged)
            continue;
        if (before >= resident_bytes)
            return cursor_at(stretch);
        if (before + stretch->list.bytes <= resident_bytes) {
            before += stretch->list.bytes;
            continue;
        }
        uint64_t inside;
        spw_cursor cursor = stretch_cursor(view, stretch, resident_bytes - before, &inside);
        if (cursor.stretch || view->patience == 0)
            return cursor;
        before += inside; /* within its last entry */
    }
    return (spw_cursor){0};
}

spw_cursor spw_view_seek_position(spw_view *view, uint64_t *position)
{
    uint64_t at = view->sums->gone_bytes_total;
    struct spw_stretch *stretch = view->first;
    for (; stretch; stretch = stretch->next) {
        if (at >= *position)
            break;
        if (at + stretch->list.bytes > *position) {
            uint64_t inside;
            spw_cursor cursor = stretch_cursor(view, stretch, *position - at, &inside);
            if (cursor.stretch)
                *position = at + inside;
            if (cursor.stretch || view->patience == 0)
                return cursor;
        }
        at += stretch->list.bytes;
    }
    *position = at > *position ? at : *position;
    return cursor_at(stretch);
}

uint64_t spw_view_position(const spw_view *view)
{
    return view->sums->gone_bytes_total;
}

uint64_t spw_view_paged_since(spw_view *view)
{
    uint64_t position = view->paged_from;
    view->paged_from = UINT64_MAX;
    return position;
}

uint64_t spw_view_position_of(spw_view *view, const spw_cursor *cursor)
{
    const struct queue_sums *sums = view->sums;
    if (!cursor->stretch)
        return sums->gone_bytes_total + sums->resident_bytes + sums->paged_bytes;
    return view_position_of(view, cursor->stretch) + cursor_sums_before(view, cursor).bytes;
}

int spw_view_should_pause(const spw_view *view)
{
    return view->patience == 0;
}

uint64_t view_position_of(const struct spw_view *view, const struct spw_stretch *stretch)
{
    uint64_t before = 0, behind = 0;
    const struct spw_stretch *prev = stretch->prev, *next = stretch;
    for (;;) { /* from both sides: one of them is near */
        if (!prev)
            return view->sums->gone_bytes_total + before;
        before += prev->list.bytes;
        prev = prev->prev;
        if (!next)
            return view->sums->gone_bytes_total + view->sums->resident_bytes +
                   view->sums->paged_bytes - behind;
        behind += next->list.bytes;
        next = next->next;
    }
}

enum spw_entry_kind spw_cursor_kind(const spw_cursor *cursor)
{
    if (!cursor->stretch)
        return SPILLWAY_ENTRY_NONE;
    return cursor->stretch->paged ? SPILLWAY_ENTRY_HANDLE : SPILLWAY_ENTRY_BYTES;
}

void spw_cursor_next(spw_cursor *cursor)
{
    if (!cursor->stretch || ++cursor->index < cursor->block->end)
        return;
    cursor->block = cursor->block->next;
    if (cursor->block)
        cursor->index = cursor->block->first;
    else
        *cursor = cursor_at(cursor->stretch->next);
}

/* Sums of the blocks before `block`, from both sides at once: one of them is near, or the place was
 * sought. */
static struct list_sums block_sums_before(struct spw_view *view, const struct spw_stretch *stretch,
                                          const struct spw_block *block)
{
    const struct place *place = view ? &view->places[stretch->paged] : NULL;
    if (place && place->stretch == stretch && place->block == block)
        return place->before;
    struct list_sums before = {0}, behind = {0};
    const struct spw_block *prev = block->prev, *next = block;
    while (prev && next) {
        sums_add_block(&before, prev);
        sums_add_block(&behind, next);
        prev = prev->prev;
        next = next->next;
        if (view) {
            view->walked += 2;
            view_tire(view, 2);
        }
    }
    if (!prev)
        return before;
    return (struct list_sums){stretch->list.count - behind.count,
                              stretch->list.bytes - behind.bytes,
                              stretch->list.foreign_bytes - behind.foreign_bytes};
}

struct list_sums cursor_sums_before(struct spw_view *view, const spw_cursor *cursor)
{
    struct list_sums sums = block_sums_before(view, cursor->stretch, cursor->block);
    for (unsigned i = cursor->block->first; i < cursor->index; i++)
        sums_add_entry(&sums, cursor->block, i);
    return sums;
}

uint64_t spw_cursor_skip(spw_cursor *cursor)
{
    if (!cursor->stretch)
        return 0;
    uint64_t bytes = cursor->stretch->list.bytes - cursor_sums_before(NULL, cursor).bytes;
    *cursor = cursor_at(cursor->stretch->next);
    return bytes;
}

int spw_cursor_is_last(const spw_cursor *cursor)
{
    return cursor->stretch && !cursor->stretch->next && !cursor->block->next &&
           cursor->index + 1u == cursor->block->end;
}

const spw_bytes *spw_cursor_bytes(const spw_cursor *cursor)
{
    return spw_cursor_kind(cursor) == SPILLWAY_ENTRY_BYTES
               ? &cursor->block->entries[cursor->index].bytes
               : NULL;
}

spw_handle *spw_cursor_handle(const spw_cursor *cursor)
{
    return spw_cursor_kind(cursor) == SPILLWAY_ENTRY_HANDLE
               ? cursor->block->entries[cursor->index].paged.handle
               : NULL;
}

uint64_t spw_cursor_size(const spw_cursor *cursor)
{
    switch (spw_cursor_kind(cursor)) {
    case SPILLWAY_ENTRY_BYTES:
        return cursor->block->entries[cursor->index].bytes.len;
    case SPILLWAY_ENTRY_HANDLE:
        return cursor->block->entries[cursor->index].paged.size_bytes;
    default:
        return 0;
    }
}

/* ---- validation ---- */

static bool stretch_is_valid(const struct spw_stretch *stretch)
{
    struct list_sums sums = {0};
    const struct spw_block *prev = NULL;
    for (const struct spw_block *block = stretch->list.first; block; block = block->next) {
        if (block->prev != prev || block->paged != stretch->paged || block_count(block) == 0 ||
            block->end > block->capacity)
            return false;
        struct list_sums own = {0};
        for (unsigned i = block->first; i < block->end; i++)
            sums_add_entry(&own, block, i);
        if (own.bytes != block->bytes || own.foreign_bytes != block->foreign_bytes)
            return false;
        sums.count += own.count;
        sums.bytes += own.bytes;
        sums.foreign_bytes += own.foreign_bytes;
        prev = block;
    }
    return stretch->list.last == prev && sums.count > 0 && sums.count == stretch->list.count &&
           sums.bytes == stretch->list.bytes && sums.foreign_bytes == stretch->list.foreign_bytes;
}

bool view_is_valid(const struct spw_view *view)
{
    struct spw_view found = {.sums = &found.own_sums};
    const struct spw_stretch *prev = NULL;
    for (const struct spw_stretch *stretch = view->first; stretch; stretch = stretch->next) {
        if (stretch->prev != prev || (prev && prev->paged == stretch->paged) ||
            !stretch_is_valid(stretch))
            return false;
        view_count(&found, stretch, 1);
        prev = stretch;
    }
    const struct queue_sums *sums = view->sums;
    return view->last == prev && found.sums->entries == sums->entries &&
           found.sums->paged_entries == sums->paged_entries &&
           found.sums->resident_bytes == sums->resident_bytes &&
           found.sums->paged_bytes == sums->paged_bytes &&
           found.foreign_bytes == view->foreign_bytes;
}
