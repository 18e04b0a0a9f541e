/* SPDX-License-Identifier: MIT */
/*
 * Blocks of entries, and lists of them. A list is a struct spw_chunks; its blocks
 * are all resident (entries are bytes) or all paged (entries are handles, and
 * `bytes` is their payload). No block in a list is empty.
 */
#ifndef SPILLWAY_BLOCK_H
#define SPILLWAY_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "owner.h"
#include "spillway/chunks.h"
#include "spillway/strategy.h"

enum {
    BLOCK_ENTRIES = 128, /* entries in a block that a writer fills: 3 KiB */
    BLOCK_SMALL_ENTRIES =
        16, /* entries in other blocks; also the most that are copied to save a block */
};

struct paged {
    spw_handle *handle;
    uint64_t size_bytes;
};

union entry {
    spw_bytes bytes;
    struct paged paged;
};

struct spw_block {
    struct spw_block *next, *prev;
    const spw_allocator *allocator;
    struct spw_account *account;   /* charged with the block; may be NULL */
    uint64_t bytes, foreign_bytes; /* sums over the entries */
    uint16_t first, end, capacity; /* entries [first, end) are in use */
    bool paged;
    union entry entries[];
};

/* Sums over some entries. */
struct list_sums {
    size_t count;
    uint64_t bytes, foreign_bytes;
};

static inline unsigned block_count(const struct spw_block *block)
{
    return (unsigned)block->end - block->first;
}

static inline size_t block_size(unsigned capacity)
{
    return sizeof(struct spw_block) + capacity * sizeof(union entry);
}

struct spw_block *block_open(const spw_allocator *allocator, struct spw_account *account,
                             unsigned capacity, bool paged);
void block_close(struct spw_block *block);

/* The block no longer counts in its account. */
void block_uncharge(struct spw_block *block);

/* Adds an entry to a block that has room; the list's sums are the caller's. */
static inline void block_push_bytes(struct spw_block *block, const spw_bytes *bytes)
{
    block->entries[block->end++].bytes = *bytes;
    block->bytes += bytes->len;
    block->foreign_bytes += bytes_foreign_part(bytes);
}

void block_push_handle(struct spw_block *block, spw_handle *handle, uint64_t size_bytes);

/* Links an unlinked, non-empty block in at the end. */
void list_append(spw_chunks *list, struct spw_block *block);

/*
 * Takes up to `most` entries out of the first block, in order; `*gone` are their sums. A block that
 * had no others is unlinked and given to the caller, else `*emptied` is NULL. Returns how many.
 */
unsigned list_pop_some(spw_chunks *list, size_t most, union entry *out, struct list_sums *gone,
                       struct spw_block **emptied);

/* Takes the first entry out. A block that had no other is unlinked and given to the caller. */
union entry list_pop(spw_chunks *list, struct spw_block **emptied);

/*
 * Moves everything before entry `index` of `block` to the end of `front` (whose
 * old content stays). Splits the block where needed. `count`, `bytes` and `foreign_bytes` are the
 * sums of what moves. Returns 0 or -ENOMEM (nothing moved).
 */
int list_cut(spw_chunks *list, struct spw_block *block, unsigned index,
             const struct list_sums *before, spw_chunks *front);

/* Adds one entry to running sums. */
static inline void sums_add_entry(struct list_sums *sums, const struct spw_block *block,
                                  unsigned index)
{
    const union entry *entry = &block->entries[index];
    sums->count++;
    if (block->paged) {
        sums->bytes += entry->paged.size_bytes;
    } else {
        sums->bytes += entry->bytes.len;
        /* To ask the owner costs a cache line each, so only where the block holds both kinds. */
        if (block->foreign_bytes == block->bytes)
            sums->foreign_bytes += entry->bytes.len;
        else if (block->foreign_bytes != 0)
            sums->foreign_bytes += bytes_foreign_part(&entry->bytes);
    }
}

/* Adds a whole block. */
void sums_add_block(struct list_sums *sums, const struct spw_block *block);

/* Moves `tail` to the end of `list`; copies a small first block into room at the end. */
void list_join(spw_chunks *list, spw_chunks *tail);

/* Releases all bytes, or drops all handles. */
void list_clear(spw_chunks *list);

#endif
