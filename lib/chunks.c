/* SPDX-License-Identifier: MIT */
#include "spillway/chunks.h"

#include <errno.h>

#include "alloc.h"
#include "block.h"

int spw_chunks_push(spw_chunks *chunks, spw_bytes *bytes, const spw_allocator *allocator)
{
    struct spw_block *block = chunks->last;
    bool fresh = !block || block->end == block->capacity;
    if (fresh) {
        /* The second block is a large one: a list that grows at all may grow long. */
        unsigned capacity = block ? BLOCK_ENTRIES : BLOCK_SMALL_ENTRIES;
        block = block_open(allocator_or_default(allocator), NULL, capacity, false);
        if (!block)
            return -ENOMEM;
    }
    uint64_t bytes_before = block->bytes, foreign_before = block->foreign_bytes;
    block_push_bytes(block, bytes);
    *bytes = (spw_bytes)SPILLWAY_BYTES_NONE;
    if (fresh) {
        list_append(chunks, block);
        return 0;
    }
    chunks->count++;
    chunks->bytes += block->bytes - bytes_before;
    chunks->foreign_bytes += block->foreign_bytes - foreign_before;
    return 0;
}

int spw_chunks_pop(spw_chunks *chunks, spw_bytes *out)
{
    if (chunks->count == 0)
        return 0;
    struct spw_block *emptied;
    *out = list_pop(chunks, &emptied).bytes;
    if (emptied)
        block_close(emptied);
    return 1;
}

const spw_bytes *spw_chunks_peek(const spw_chunks *chunks)
{
    return chunks->count ? &chunks->first->entries[chunks->first->first].bytes : NULL;
}

/* How much of `block` still fits; adds it to `sums`. Returns the index where the limits are
 * reached. */
static unsigned take_from_block(const struct spw_block *block, size_t max_count, uint64_t max_bytes,
                                struct list_sums *sums)
{
    unsigned index = block->first;
    for (; index < block->end && sums->count < max_count; index++) {
        uint64_t len = block->entries[index].bytes.len;
        if (sums->count > 0 && (len > max_bytes || sums->bytes > max_bytes - len))
            break;
        sums_add_entry(sums, block, index);
    }
    return index;
}

size_t spw_chunks_take(spw_chunks *from, size_t max_count, uint64_t max_bytes, spw_chunks *to)
{
    struct list_sums sums = {0};
    struct spw_block *block = from->first;
    unsigned index = 0;
    for (; block; block = block->next) {
        unsigned count = block_count(block);
        if (count <= max_count - sums.count && block->bytes <= max_bytes &&
            sums.bytes <= max_bytes - block->bytes) {
            sums.count += count;
            sums.bytes += block->bytes;
            sums.foreign_bytes += block->foreign_bytes;
            continue;
        }
        index = take_from_block(block, max_count, max_bytes, &sums);
        break;
    }
    if (list_cut(from, block, index, &sums, to))
        return 0;
    return sums.count;
}

void spw_chunks_join(spw_chunks *chunks, spw_chunks *tail)
{
    list_join(chunks, tail);
}

void spw_chunks_clear(spw_chunks *chunks)
{
    list_clear(chunks);
}

spw_chunks_iter spw_chunks_begin(const spw_chunks *chunks)
{
    spw_chunks_iter iter = {chunks->first, chunks->first ? chunks->first->first : 0};
    return iter;
}

const spw_bytes *spw_chunks_next(spw_chunks_iter *iter)
{
    const struct spw_block *block = iter->block;
    if (!block)
        return NULL;
    const spw_bytes *bytes = &block->entries[iter->index].bytes;
    if (++iter->index == block->end) {
        iter->block = block->next;
        iter->index = block->next ? block->next->first : 0;
    }
    return bytes;
}
