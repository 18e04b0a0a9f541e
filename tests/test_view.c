/* SPDX-License-Identifier: MIT */
/*
 * Every rewrite at every place of every small queue, in blocks of two entries, against
 * arrays; each also with every allocation failing in turn.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

enum { MOST = 24, ROOM = 64 };

/* What a queue should look like. Chunk c of the queue has chunk_len(c) bytes of the stream. */
struct layout {
    size_t count;
    struct {
        enum spw_entry_kind kind;
        size_t chunks;
    } entries[ROOM];
};

struct rig {
    struct spw_view view;
    struct test_account account;
    struct boxes boxes;
    spw_handle *handle; /* for the rewrite to put in, or what it took out */
    spw_chunks chunks;  /* the same */
};

static size_t chunk_len(size_t chunk)
{
    return 1 + chunk % 3;
}

static uint64_t chunk_at(size_t chunk)
{
    uint64_t at = 0;
    for (size_t c = 0; c < chunk; c++)
        at += chunk_len(c);
    return at;
}

static size_t layout_chunks_before(const struct layout *layout, size_t index)
{
    size_t chunks = 0;
    for (size_t i = 0; i < index; i++)
        chunks += layout->entries[i].chunks;
    return chunks;
}

static uint64_t layout_bytes(const struct layout *layout, size_t index, size_t count)
{
    size_t chunk = layout_chunks_before(layout, index);
    return chunk_at(layout_chunks_before(layout, index + count)) - chunk_at(chunk);
}

static void layout_add(struct layout *layout, enum spw_entry_kind kind, size_t chunks)
{
    layout->entries[layout->count].kind = kind;
    layout->entries[layout->count++].chunks = chunks;
}

/* `layout` with `count` entries at `index` replaced by `fresh`. */
static struct layout layout_replace(const struct layout *layout, size_t index, size_t count,
                                    const struct layout *fresh)
{
    struct layout out = {0};
    for (size_t i = 0; i < index; i++)
        layout_add(&out, layout->entries[i].kind, layout->entries[i].chunks);
    for (size_t i = 0; i < fresh->count; i++)
        layout_add(&out, fresh->entries[i].kind, fresh->entries[i].chunks);
    for (size_t i = index + count; i < layout->count; i++)
        layout_add(&out, layout->entries[i].kind, layout->entries[i].chunks);
    return out;
}

/* Resident entries from `index` on, at most up to the next paged one. */
static size_t layout_residents(const struct layout *layout, size_t index)
{
    size_t count = 0;
    while (index + count < layout->count &&
           layout->entries[index + count].kind == SPILLWAY_ENTRY_BYTES)
        count++;
    return count;
}

static spw_cursor cursor_to(const spw_view *view, size_t index)
{
    spw_cursor cursor = spw_view_head(view);
    while (index-- > 0)
        spw_cursor_next(&cursor);
    return cursor;
}

static size_t cursor_index(const spw_view *view, const spw_cursor *cursor)
{
    size_t index = 0;
    spw_cursor at = spw_view_head(view);
    for (; spw_cursor_kind(&at) != SPILLWAY_ENTRY_NONE; spw_cursor_next(&at), index++)
        if (at.block == cursor->block && at.index == cursor->index)
            return index;
    cr_assert_eq((int)spw_cursor_kind(cursor), (int)SPILLWAY_ENTRY_NONE, "a cursor to nowhere");
    return index;
}

static void check_layout(const struct rig *rig, const struct layout *layout)
{
    const spw_view *view = &rig->view;
    struct seen seen[ROOM];
    uint64_t resident = 0, paged = 0;
    size_t handles = 0;
    cr_assert(view_is_valid(view));
    cr_assert_eq(view_see(view, seen, ROOM), layout->count);
    for (size_t i = 0; i < layout->count; i++) {
        cr_assert_eq((int)seen[i].kind, (int)layout->entries[i].kind, "entry %zu", i);
        cr_assert_eq(seen[i].chunks, layout->entries[i].chunks, "entry %zu", i);
        cr_assert_eq(seen[i].size_bytes, layout_bytes(layout, i, 1), "entry %zu", i);
        spw_cursor at = cursor_to(view, i);
        const spw_bytes *bytes = spw_cursor_bytes(&at);
        cr_assert_eq(bytes == NULL, seen[i].kind != SPILLWAY_ENTRY_BYTES);
        cr_assert_eq(spw_cursor_handle(&at) == NULL, seen[i].kind != SPILLWAY_ENTRY_HANDLE);
        cr_assert(!bytes || stream_is(bytes, chunk_at(layout_chunks_before(layout, i))));
        cr_assert_eq(spw_cursor_is_last(&at), i + 1 == layout->count);
        resident += bytes ? seen[i].size_bytes : 0;
        paged += bytes ? 0 : seen[i].size_bytes;
        handles += !bytes;
    }
    cr_assert_eq(spw_view_entries(view), layout->count);
    cr_assert_eq(spw_view_paged_entries(view), handles);
    cr_assert_eq(spw_view_resident_bytes(view), resident);
    cr_assert_eq(spw_view_paged_bytes(view), paged);
    cr_assert_eq(view->foreign_bytes, resident);
    cr_assert_eq(rig->boxes.live, handles + (rig->handle != NULL));
}

static spw_chunks chunks_of(size_t chunk, size_t count)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    for (size_t c = chunk; c < chunk + count; c++) {
        spw_bytes bytes = stream_piece(chunk_at(c), chunk_len(c));
        cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
    }
    return chunks;
}

static void push_resident(struct rig *rig, size_t chunk)
{
    spw_bytes bytes = stream_piece(chunk_at(chunk), chunk_len(chunk));
    struct spw_block *spare = view_needs_block(&rig->view)
                                  ? block_open(&fault_allocator, &rig->account.account, 2, false)
                                  : NULL;
    cr_assert_eq(view_push(&rig->view, &bytes, &spare), 0);
    cr_assert_null(spare);
}

/* Makes a queue that looks like `layout`. */
static void rig_open(struct rig *rig, const struct layout *layout)
{
    memset(rig, 0, sizeof(*rig));
    test_account_init(&rig->account);
    boxes_init(&rig->boxes);
    view_init(&rig->view, &fault_allocator, &rig->account.account);
    size_t chunk = 0;
    for (size_t i = 0; i < layout->count; i++) {
        push_resident(rig, chunk);
        if (layout->entries[i].kind == SPILLWAY_ENTRY_HANDLE) {
            spw_chunks chunks = chunks_of(chunk, layout->entries[i].chunks), removed = {0};
            spw_cursor at = cursor_to(&rig->view, i);
            spw_handle *handle = box_open(&rig->boxes, &chunks);
            cr_assert_eq(spw_view_page(&rig->view, &at, 1, handle, &removed), 0);
            spw_chunks_clear(&removed);
        }
        chunk += layout->entries[i].chunks;
    }
    check_layout(rig, layout);
}

static void rig_close(struct rig *rig)
{
    view_fini(&rig->view);
    spw_chunks_clear(&rig->chunks);
    if (rig->handle)
        rig->handle->ops->drop(rig->handle);
    cr_assert_eq(rig->boxes.live, 0);
    cr_assert_eq(rig->account.account.counters->entry_block_bytes, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* Calls `visit` for every queue of up to `most` entries: resident, or of one or two chunks. */
static void each_layout(size_t most, void (*visit)(const struct layout *))
{
    size_t forms = 1;
    for (size_t count = 0; count <= most; count++, forms *= 3)
        for (size_t form = 0; form < forms; form++) {
            struct layout layout = {0};
            for (size_t i = 0, rest = form; i < count; i++, rest /= 3)
                layout_add(&layout, rest % 3 ? SPILLWAY_ENTRY_HANDLE : SPILLWAY_ENTRY_BYTES,
                           rest % 3 == 2 ? 2 : 1);
            visit(&layout);
        }
}

/* ---- walking ---- */

static void visit_walk(const struct layout *layout)
{
    struct rig rig;
    rig_open(&rig, layout);
    for (size_t i = 0; i <= layout->count; i++) {
        spw_cursor at = cursor_to(&rig.view, i);
        size_t same = 0;
        while (i + same < layout->count &&
               layout->entries[i + same].kind == layout->entries[i].kind)
            same++;
        cr_assert_eq(spw_cursor_skip(&at), layout_bytes(layout, i, same));
        cr_assert_eq(cursor_index(&rig.view, &at), i + same);
    }
    spw_cursor end = cursor_to(&rig.view, layout->count);
    spw_cursor_next(&end);
    cr_assert_eq((int)spw_cursor_kind(&end), SPILLWAY_ENTRY_NONE);
    cr_assert_eq(spw_cursor_size(&end), 0);
    cr_assert_not(spw_cursor_is_last(&end));
    rig_close(&rig);
}

static void visit_seek(const struct layout *layout)
{
    struct rig rig;
    rig_open(&rig, layout);
    for (uint64_t want = 0; want <= spw_view_resident_bytes(&rig.view) + 1; want++) {
        uint64_t before = 0;
        size_t i = 0;
        for (; i < layout->count; i++) {
            if (layout->entries[i].kind == SPILLWAY_ENTRY_HANDLE)
                continue;
            if (before >= want)
                break;
            before += layout_bytes(layout, i, 1);
        }
        spw_cursor at = spw_view_seek(&rig.view, want);
        cr_assert_eq(cursor_index(&rig.view, &at), i, "seek to %llu", (unsigned long long)want);
    }
    rig_close(&rig);
}

Test(view, walks_and_skips)
{
    each_layout(6, visit_walk);
}

Test(view, seeks)
{
    each_layout(6, visit_seek);
}

/* ---- one rewrite, with the n-th allocation failing until none is left to fail ---- */

struct rewrite {
    void (*prepare)(struct rig *rig, const struct rewrite *rewrite); /* may be NULL */
    long (*run)(struct rig *rig, const struct rewrite *rewrite, spw_cursor *cursor);
    struct layout before, after;
    size_t index, end; /* where the cursor begins and ends */
    long want;         /* result when there is memory */
    size_t chunk;      /* the first one at `index` */
    size_t count;      /* of the call */
    uint64_t max_bytes;
    size_t chunks_per_box, limit;
};

static void rewrite_check(const struct rewrite *rewrite)
{
    struct rig rig;
    long got;
    uint64_t failing = 0;
    do {
        rig_open(&rig, &rewrite->before);
        rig.boxes.chunks_per_box = rewrite->chunks_per_box ? rewrite->chunks_per_box : 1;
        rig.boxes.spill_limit = rewrite->limit;
        if (rewrite->prepare)
            rewrite->prepare(&rig, rewrite);
        spw_cursor at = cursor_to(&rig.view, rewrite->index);
        fault_alloc_after(++failing);
        got = rewrite->run(&rig, rewrite, &at);
        fault_alloc_after(0);
        if (got == -ENOMEM) {
            check_layout(&rig, &rewrite->before);
            cr_assert_eq(cursor_index(&rig.view, &at), rewrite->index, "a failed call");
            got = rewrite->run(&rig, rewrite, &at);
            cr_assert_eq(got, rewrite->want, "again, with memory: %ld", got);
            check_layout(&rig, &rewrite->after);
            got = -ENOMEM;
        } else if (got == rewrite->want) {
            check_layout(&rig, &rewrite->after);
            cr_assert_eq(cursor_index(&rig.view, &at), rewrite->end);
        } else {
            /* A spill that stopped partway for want of memory. */
            cr_assert(got > 0 && got < rewrite->want, "%ld instead of %ld", got, rewrite->want);
            cr_assert(view_is_valid(&rig.view));
            cr_assert_eq(rig.boxes.live, spw_view_paged_entries(&rig.view));
        }
        rig_close(&rig);
    } while (got == -ENOMEM || got != rewrite->want);
}

static long run_fetch(struct rig *rig, const struct rewrite *rewrite, spw_cursor *cursor)
{
    (void)rewrite;
    return spw_view_fetch(&rig->view, cursor, 0);
}

static long run_failing_fetch(struct rig *rig, const struct rewrite *rewrite, spw_cursor *cursor)
{
    (void)rewrite;
    rig->boxes.fetch_limit = 0;
    return spw_view_fetch(&rig->view, cursor, 0);
}

static void visit_fetch(const struct layout *layout)
{
    for (size_t i = 0; i <= layout->count; i++) {
        struct rewrite rewrite = {
            .run = run_fetch, .before = *layout, .after = *layout, .index = i, .end = i};
        if (i == layout->count || layout->entries[i].kind == SPILLWAY_ENTRY_BYTES) {
            rewrite.want = -EINVAL;
            rewrite_check(&rewrite);
            continue;
        }
        struct layout fresh = {0};
        for (size_t c = 0; c < layout->entries[i].chunks; c++)
            layout_add(&fresh, SPILLWAY_ENTRY_BYTES, 1);
        rewrite.after = layout_replace(layout, i, 1, &fresh);
        rewrite.end = i + fresh.count;
        rewrite.want = (long)fresh.count;
        rewrite_check(&rewrite);
        rewrite.run = run_failing_fetch;
        rewrite.after = *layout;
        rewrite.end = i;
        rewrite.want = -EIO;
        rewrite_check(&rewrite);
    }
}

Test(view, fetches)
{
    each_layout(5, visit_fetch);
}

static void prepare_page(struct rig *rig, const struct rewrite *rewrite)
{
    spw_chunks chunks = chunks_of(rewrite->chunk, rewrite->count);
    rig->handle = box_open(&rig->boxes, &chunks);
}

static long run_page(struct rig *rig, const struct rewrite *rewrite, spw_cursor *cursor)
{
    spw_chunks removed = SPILLWAY_CHUNKS_NONE;
    int err = spw_view_page(&rig->view, cursor, rewrite->count, rig->handle, &removed);
    if (err) {
        cr_assert_null(removed.first, "a failed call removes nothing");
        return err;
    }
    rig->handle = NULL; /* the queue's now */
    cr_assert_eq(removed.count, rewrite->count);
    spw_chunks_iter iter = spw_chunks_begin(&removed);
    for (size_t c = rewrite->chunk; c < rewrite->chunk + rewrite->count; c++) {
        const spw_bytes *bytes = spw_chunks_next(&iter);
        cr_assert(bytes->len == chunk_len(c) && stream_is(bytes, chunk_at(c)));
    }
    for (const struct spw_block *block = removed.first; block; block = block->next)
        cr_assert_null(block->account, "blocks that left are not charged to the queue");
    spw_chunks_clear(&removed);
    return 0;
}

static void visit_page(const struct layout *layout)
{
    for (size_t i = 0; i <= layout->count; i++) {
        size_t residents = layout_residents(layout, i);
        for (size_t count = 0; count <= residents + 1; count++) {
            struct rewrite rewrite = {.prepare = prepare_page,
                                      .run = run_page,
                                      .before = *layout,
                                      .after = *layout,
                                      .index = i,
                                      .end = i,
                                      .chunk = layout_chunks_before(layout, i),
                                      .count = count};
            if (residents == 0 || count == 0) {
                rewrite.want = -EINVAL;
            } else if (count > residents) {
                rewrite.want = -ERANGE;
            } else {
                struct layout fresh = {0};
                layout_add(&fresh, SPILLWAY_ENTRY_HANDLE, count);
                rewrite.after = layout_replace(layout, i, count, &fresh);
                rewrite.end = i + 1;
            }
            rewrite_check(&rewrite);
        }
    }
}

Test(view, pages)
{
    each_layout(4, visit_page);
}

static void prepare_unpage(struct rig *rig, const struct rewrite *rewrite)
{
    rig->chunks = chunks_of(rewrite->chunk, rewrite->count);
}

static long run_unpage(struct rig *rig, const struct rewrite *rewrite, spw_cursor *cursor)
{
    size_t count = rig->chunks.count;
    cr_assert_eq(count, rewrite->count);
    int err = spw_view_unpage(&rig->view, cursor, &rig->chunks, &rig->handle);
    if (err) {
        cr_assert_eq(rig->chunks.count, count);
        cr_assert_null(rig->handle);
        return err;
    }
    cr_assert_null(rig->chunks.first);
    cr_assert_not_null(rig->handle);
    return 0;
}

static void visit_unpage(const struct layout *layout)
{
    for (size_t i = 0; i <= layout->count; i++) {
        bool paged = i < layout->count && layout->entries[i].kind == SPILLWAY_ENTRY_HANDLE;
        struct rewrite rewrite = {.prepare = prepare_unpage,
                                  .run = run_unpage,
                                  .before = *layout,
                                  .after = *layout,
                                  .index = i,
                                  .end = i,
                                  .chunk = layout_chunks_before(layout, i),
                                  .count = paged ? layout->entries[i].chunks : 1,
                                  .want = paged ? 0 : -EINVAL};
        struct layout fresh = {0};
        for (size_t c = 0; paged && c < rewrite.count; c++)
            layout_add(&fresh, SPILLWAY_ENTRY_BYTES, 1);
        if (paged) {
            rewrite.after = layout_replace(layout, i, 1, &fresh);
            rewrite.end = i + fresh.count;
        }
        rewrite_check(&rewrite);
    }
}

Test(view, unpages)
{
    each_layout(5, visit_unpage);
}

static long run_spill(struct rig *rig, const struct rewrite *rewrite, spw_cursor *cursor)
{
    return spw_view_spill(&rig->view, cursor, rewrite->max_bytes, &rig->boxes.strategy);
}

/* What a spill at `index` should do, the strategy's own limits included. */
static void plan_spill(struct rewrite *rewrite)
{
    const struct layout *layout = &rewrite->before;
    size_t i = rewrite->index, range = 0, most = layout_residents(layout, i);
    rewrite->end = i;
    rewrite->after = *layout;
    if (most == 0) {
        rewrite->want = -EINVAL;
        return;
    }
    if (i + most == layout->count)
        most--; /* the queue's last entry stays */
    while (range < most && (range == 0 || layout_bytes(layout, i, range + 1) <= rewrite->max_bytes))
        range++;
    size_t taken = range < rewrite->limit ? range : rewrite->limit;
    rewrite->want = taken > 0 ? (long)taken : range > 0 ? -ENOSPC : 0;
    struct layout fresh = {0};
    for (size_t left = taken; left > 0;) {
        size_t box = left < rewrite->chunks_per_box ? left : rewrite->chunks_per_box;
        layout_add(&fresh, SPILLWAY_ENTRY_HANDLE, box);
        left -= box;
    }
    rewrite->after = layout_replace(layout, i, taken, &fresh);
    rewrite->end = i + fresh.count;
}

static void visit_spill(const struct layout *layout)
{
    static const uint64_t bytes[] = {0, 3, UINT64_MAX};
    static const size_t boxes[] = {1, 3}, limits[] = {0, 2, SIZE_MAX};
    for (size_t i = 0; i <= layout->count; i++)
        for (unsigned form = 0; form < 18; form++) {
            struct rewrite rewrite = {.run = run_spill,
                                      .before = *layout,
                                      .index = i,
                                      .max_bytes = bytes[form % 3],
                                      .chunks_per_box = boxes[form / 3 % 2],
                                      .limit = limits[form / 6]};
            plan_spill(&rewrite);
            rewrite_check(&rewrite);
        }
}

Test(view, spills)
{
    each_layout(4, visit_spill);
}

/* ---- pushing ---- */

/* Only a stretch of its own needs a spare stretch: else a push in mid-extend could fail. */
Test(view, push_needs_no_memory_beside_its_block)
{
    struct rig rig;
    memset(&rig, 0, sizeof(rig));
    test_account_init(&rig.account);
    view_init(&rig.view, &fault_allocator, &rig.account.account);
    cr_assert_eq(view_reserve(&rig.view), 0);
    while (rig.view.spare_count > 1)
        fault_allocator.release(fault_allocator.context, rig.view.spares[--rig.view.spare_count],
                                sizeof(struct spw_stretch));
    for (size_t c = 0; c < 6; c++) {
        spw_bytes bytes = stream_piece(chunk_at(c), chunk_len(c));
        struct spw_block *spare = block_open(&fault_allocator, &rig.account.account, 1, false);
        fault_alloc_from(1);
        cr_assert_eq(view_push(&rig.view, &bytes, &spare), 0);
        fault_alloc_from(0);
        cr_assert_null(spare);
    }
    cr_assert_eq(spw_view_entries(&rig.view), 6);
    /* Without a block it fails, and takes nothing. */
    spw_bytes bytes = stream_piece(0, 1);
    struct spw_block *none = NULL;
    cr_assert_eq(view_push(&rig.view, &bytes, &none), -ENOMEM);
    cr_assert_eq(bytes.len, 1);
    spw_bytes_release(&bytes);
    cr_assert(view_is_valid(&rig.view));
    rig_close(&rig);
}

/* ---- more than a block ---- */

/* Pushes `count` chunks into blocks as a writer fills them. */
static void fill_full_blocks(struct rig *rig, size_t count)
{
    memset(rig, 0, sizeof(*rig));
    test_account_init(&rig->account);
    boxes_init(&rig->boxes);
    view_init(&rig->view, &fault_allocator, &rig->account.account);
    for (size_t c = 0; c < count; c++) {
        spw_bytes bytes = stream_piece(c, 1);
        struct spw_block *spare =
            view_needs_block(&rig->view)
                ? block_open(&fault_allocator, &rig->account.account, BLOCK_ENTRIES, false)
                : NULL;
        cr_assert_eq(view_push(&rig->view, &bytes, &spare), 0);
    }
}

static size_t blocks_of(const spw_view *view)
{
    size_t blocks = 0;
    for (const struct spw_stretch *stretch = view->first; stretch; stretch = stretch->next)
        for (const struct spw_block *block = stretch->list.first; block; block = block->next)
            blocks++;
    return blocks;
}

Test(view, refused_spills_leave_no_crumbs)
{
    struct rig rig;
    fill_full_blocks(&rig, 1000);
    size_t blocks = blocks_of(&rig.view);
    rig.boxes.spill_limit = 0;
    for (unsigned i = 0; i < 1000; i++) {
        spw_cursor at = spw_view_seek(&rig.view, 100 + i % 7);
        cr_assert_eq(spw_view_spill(&rig.view, &at, UINT64_MAX, &rig.boxes.strategy), -ENOSPC);
        cr_assert_eq(cursor_index(&rig.view, &at), 100 + i % 7);
    }
    cr_assert(view_is_valid(&rig.view));
    cr_assert_leq(blocks_of(&rig.view), blocks + 8, "blocks do not fall to pieces");
    rig_close(&rig);
}

Test(view, whole_blocks_move_and_come_back_in_order)
{
    for (size_t start = 0; start < 500; start += 41)
        for (size_t per_box = 1; per_box <= 600; per_box = per_box * 3 + 1) {
            struct rig rig;
            fill_full_blocks(&rig, 520);
            rig.boxes.chunks_per_box = per_box;
            spw_cursor at = spw_view_seek(&rig.view, start);
            long spilled = spw_view_spill(&rig.view, &at, UINT64_MAX, &rig.boxes.strategy);
            cr_assert_eq(spilled, (long)(519 - start));
            cr_assert(spw_cursor_is_last(&at));
            cr_assert(view_is_valid(&rig.view));
            at = cursor_to(&rig.view, start);
            while (spw_cursor_kind(&at) == SPILLWAY_ENTRY_HANDLE)
                cr_assert_gt(spw_view_fetch(&rig.view, &at, 0), 0);
            cr_assert(view_is_valid(&rig.view));
            cr_assert_eq(spw_view_entries(&rig.view), 520);
            for (size_t c = 0; c < 520; c++) {
                spw_bytes out;
                view_pop(&rig.view, &out, 1);
                cr_assert(out.len == 1 && stream_is(&out, c));
                spw_bytes_release(&out);
            }
            rig_close(&rig);
        }
}

/* A queue whose paged head is replaced tells so; one that changes elsewhere does not. */
Test(view, counts_changes_of_a_paged_head)
{
    struct rig rig;
    fill_full_blocks(&rig, 5);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_spill(&rig.view, &at, UINT64_MAX, &rig.boxes.strategy), 4);
    unsigned before = rig.view.head_changes;
    at = cursor_to(&rig.view, 1);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), 1);
    cr_assert_eq(rig.view.head_changes, before);
    at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_fetch(&rig.view, &at, 0), 1);
    cr_assert_eq(rig.view.head_changes, before + 1);
    rig_close(&rig);
}

/* What came from elsewhere is in no account, so it must not become the queue's own spare. */
Test(view, keeps_only_blocks_of_its_own_account)
{
    struct rig rig;
    fill_full_blocks(&rig, 2);
    spw_cursor at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_spill(&rig.view, &at, UINT64_MAX, &rig.boxes.strategy), 1);
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    for (size_t c = 0; c < 300; c++) {
        spw_bytes bytes = stream_piece(c, 1);
        cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
    }
    at = spw_view_head(&rig.view);
    cr_assert_eq(spw_view_unpage(&rig.view, &at, &chunks, &rig.handle), 0);
    while (spw_view_entries(&rig.view) > 0) {
        spw_bytes out;
        view_pop(&rig.view, &out, 1);
        spw_bytes_release(&out);
        cr_assert(!rig.view.spare_block || rig.view.spare_block->account == &rig.account.account);
    }
    rig_close(&rig);
    fill_full_blocks(&rig, 1);
    spw_bytes out;
    view_pop(&rig.view, &out, 1);
    spw_bytes_release(&out);
    cr_assert_not_null(rig.view.spare_block, "the queue's own block is kept");
    rig_close(&rig);
}
