/* SPDX-License-Identifier: MIT */
#include "block.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "owner.h"

struct spw_block *block_open(const spw_allocator *allocator, struct spw_account *account,
                             unsigned capacity, bool paged)
{
    struct spw_block *block = allocator_acquire(allocator, block_size(capacity));
    if (!block)
        return NULL;
    *block = (struct spw_block){
        .allocator = allocator, .account = account, .capacity = (uint16_t)capacity, .paged = paged};
    account_add_blocks(account, (int64_t)block_size(capacity));
    return block;
}

void block_close(struct spw_block *block)
{
    size_t size = block_size(block->capacity);
    account_add_blocks(block->account, -(int64_t)size);
    allocator_release(block->allocator, block, size);
}

void block_uncharge(struct spw_block *block)
{
    account_add_blocks(block->account, -(int64_t)block_size(block->capacity));
    block->account = NULL;
}

void block_push_handle(struct spw_block *block, spw_handle *handle, uint64_t size_bytes)
{
    block->entries[block->end++].paged = (struct paged){handle, size_bytes};
    block->bytes += size_bytes;
}

void sums_add_block(struct list_sums *sums, const struct spw_block *block)
{
    sums->count += block_count(block);
    sums->bytes += block->bytes;
    sums->foreign_bytes += block->foreign_bytes;
}

static void list_add_sums(spw_chunks *list, const struct list_sums *sums)
{
    list->count += sums->count;
    list->bytes += sums->bytes;
    list->foreign_bytes += sums->foreign_bytes;
}

static void list_subtract_sums(spw_chunks *list, const struct list_sums *sums)
{
    list->count -= sums->count;
    list->bytes -= sums->bytes;
    list->foreign_bytes -= sums->foreign_bytes;
}

static void list_link(spw_chunks *list, struct spw_block *block)
{
    block->prev = list->last;
    block->next = NULL;
    if (list->last)
        list->last->next = block;
    else
        list->first = block;
    list->last = block;
}

static void list_unlink_first(spw_chunks *list)
{
    struct spw_block *block = list->first;
    list->first = block->next;
    if (list->first)
        list->first->prev = NULL;
    else
        list->last = NULL;
}

void list_append(spw_chunks *list, struct spw_block *block)
{
    list_link(list, block);
    list_add_sums(list,
                  &(struct list_sums){block_count(block), block->bytes, block->foreign_bytes});
}

unsigned list_pop_some(spw_chunks *list, size_t most, union entry *out, struct list_sums *gone,
                       struct spw_block **emptied)
{
    struct spw_block *block = list->first;
    unsigned count = block_count(block);
    *gone = (struct list_sums){0};
    *emptied = NULL;
    if (most >= count) {
        sums_add_block(gone, block);
    } else {
        count = (unsigned)most;
        for (unsigned i = 0; i < count; i++)
            sums_add_entry(gone, block, block->first + i);
    }
    memcpy(out, &block->entries[block->first], count * sizeof(*out));
    block->first = (uint16_t)(block->first + count);
    block->bytes -= gone->bytes;
    block->foreign_bytes -= gone->foreign_bytes;
    list_subtract_sums(list, gone);
    if (block_count(block) == 0) {
        list_unlink_first(list);
        *emptied = block;
    }
    return count;
}

union entry list_pop(spw_chunks *list, struct spw_block **emptied)
{
    union entry entry;
    struct list_sums gone;
    list_pop_some(list, 1, &entry, &gone, emptied);
    return entry;
}

/*
 * Splits `block`, which is in `list`, before `index`: the smaller part moves to a
 * new block on its side. Returns the block that ends up second, NULL without memory.
 */
static struct spw_block *block_split(spw_chunks *list, struct spw_block *block, unsigned index)
{
    unsigned front = index - block->first, rear = block->end - index;
    bool move_front = front <= rear;
    unsigned moving = move_front ? front : rear;
    unsigned capacity = moving < BLOCK_SMALL_ENTRIES ? BLOCK_SMALL_ENTRIES : moving;
    if (move_front)
        capacity = moving; /* a front part is never pushed to */
    struct spw_block *fresh = block_open(block->allocator, block->account, capacity, block->paged);
    if (!fresh)
        return NULL;
    struct list_sums sums = {0};
    unsigned from = move_front ? block->first : index;
    for (unsigned i = from; i < from + moving; i++) {
        sums_add_entry(&sums, block, i);
        fresh->entries[fresh->end++] = block->entries[i];
    }
    fresh->bytes = sums.bytes;
    fresh->foreign_bytes = sums.foreign_bytes;
    block->bytes -= sums.bytes;
    block->foreign_bytes -= sums.foreign_bytes;
    if (move_front) {
        block->first = (uint16_t)index;
        fresh->prev = block->prev;
        fresh->next = block;
        *(block->prev ? &block->prev->next : &list->first) = fresh;
        block->prev = fresh;
        return block;
    }
    block->end = (uint16_t)index;
    fresh->next = block->next;
    fresh->prev = block;
    *(block->next ? &block->next->prev : &list->last) = fresh;
    block->next = fresh;
    return fresh;
}

int list_cut(spw_chunks *list, struct spw_block *block, unsigned index,
             const struct list_sums *before, spw_chunks *front)
{
    if (before->count == 0)
        return 0;
    struct spw_block *second = block; /* the first block that stays; NULL: all move */
    if (block && index > block->first) {
        second = index < block->end ? block_split(list, block, index) : block->next;
        if (!second && index < block->end)
            return -ENOMEM;
    }
    spw_chunks moved = {0};
    moved.first = list->first;
    moved.last = second ? second->prev : list->last;
    list_add_sums(&moved, before);
    list_subtract_sums(list, before);
    list->first = second;
    if (second)
        second->prev = NULL;
    else
        list->last = NULL;
    moved.last->next = NULL;
    list_join(front, &moved);
    return 0;
}

/* Copies the entries of `tail`'s first block into room behind `list`'s last one, if they are few.
 */
static bool list_fold(spw_chunks *list, spw_chunks *tail)
{
    struct spw_block *to = list->last, *from = tail->first;
    unsigned count = block_count(from);
    if (count > BLOCK_SMALL_ENTRIES || count > (unsigned)to->capacity - to->end)
        return false;
    memcpy(&to->entries[to->end], &from->entries[from->first], count * sizeof(union entry));
    to->end = (uint16_t)(to->end + count);
    to->bytes += from->bytes;
    to->foreign_bytes += from->foreign_bytes;
    list_unlink_first(tail);
    block_close(from);
    return true;
}

void list_join(spw_chunks *list, spw_chunks *tail)
{
    if (tail->first && list->last)
        list_fold(list, tail);
    if (tail->first) {
        tail->first->prev = list->last;
        if (list->last)
            list->last->next = tail->first;
        else
            list->first = tail->first;
        list->last = tail->last;
    }
    list_add_sums(list, &(struct list_sums){tail->count, tail->bytes, tail->foreign_bytes});
    *tail = (spw_chunks)SPILLWAY_CHUNKS_NONE;
}

static void block_clear(struct spw_block *block)
{
    for (unsigned i = block->first; i < block->end; i++) {
        if (block->paged)
            block->entries[i].paged.handle->ops->drop(block->entries[i].paged.handle);
        else
            spw_bytes_release(&block->entries[i].bytes);
    }
}

void list_clear(spw_chunks *list)
{
    struct spw_block *block = list->first;
    *list = (spw_chunks)SPILLWAY_CHUNKS_NONE;
    while (block) {
        struct spw_block *next = block->next;
        block_clear(block);
        block_close(block);
        block = next;
    }
}
