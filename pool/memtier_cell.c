/* SPDX-License-Identifier: MIT */
/* Segments that are divided into cells of one size. */
#include "memtier_tier.h"

bool memtier_is_cell(const struct memtier *tier, uint64_t len)
{
    return (len & (len - 1)) == 0 && len >= UINT64_C(1) << CELL_MIN_SHIFT &&
           len >> (CELL_MIN_SHIFT + CELL_CLASSES) == 0 && len >= tier->plan.page_bytes &&
           len <= tier->unit_bytes / 2 &&
           tier->capacity_bytes / tier->unit_bytes >= CELLED_SEGMENTS_MIN;
}

static struct segment **celled_list(struct memtier *tier, uint64_t cell_bytes)
{
    return &tier->celled[__builtin_ctzll(cell_bytes) - CELL_MIN_SHIFT];
}

static void celled_link(struct memtier *tier, struct segment *segment)
{
    struct segment **list = celled_list(tier, segment->cell_bytes);

    segment->prev = NULL;
    segment->next = *list;
    if (*list != NULL)
        (*list)->prev = segment;
    *list = segment;
}

static void celled_unlink(struct memtier *tier, struct segment *segment)
{
    if (segment->next != NULL)
        segment->next->prev = segment->prev;
    *(segment->prev != NULL ? &segment->prev->next : celled_list(tier, segment->cell_bytes)) =
        segment->next;
}

void memtier_cells_begin(struct memtier *tier, struct segment *segment, uint64_t cell_bytes)
{
    uint64_t cells = smaller(segment->bytes / cell_bytes, CELLS_MAX);

    segment->cell_bytes = cell_bytes;
    segment->free_cells = UINT64_MAX >> (CELLS_MAX - cells);
    celled_link(tier, segment);
}

bool memtier_cell_take(struct memtier *tier, uint64_t len, struct memslot *out)
{
    struct segment *segment = *celled_list(tier, len);
    unsigned cell;

    if (segment == NULL)
        return false;
    cell = (unsigned)__builtin_ctzll(segment->free_cells);
    segment->free_cells &= segment->free_cells - 1;
    if (segment->free_cells == 0)
        celled_unlink(tier, segment);
    *out = (struct memslot){segment, segment->read + cell * len, len};
    segment->pieces++;
    tier->stored_bytes += len;
    memtier_tell_stored(tier);
    return true;
}

void memtier_cell_release(struct memtier *tier, const struct memslot *slot)
{
    struct segment *segment = slot->segment;

    if (segment->free_cells == 0)
        celled_link(tier, segment);
    segment->free_cells |= UINT64_C(1) << segment_cell(segment, slot->data);
}

void memtier_cells_end(struct memtier *tier, struct segment *segment)
{
    celled_unlink(tier, segment);
    segment->cell_bytes = 0;
}
