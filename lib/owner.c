/* SPDX-License-Identifier: MIT */
/* Memory on the heap, in one allocation with its owner. */
#include "owner.h"

#include "alloc.h"

struct heap {
    struct spw_owner owner; /* first */
    const spw_allocator *allocator;
    size_t size;
    unsigned char data[];
};

static void heap_last(struct spw_owner *owner)
{
    struct heap *heap = (struct heap *)owner;
    allocator_release(heap->allocator, heap, heap->size);
}

struct spw_owner *owner_open(size_t len, const spw_allocator *allocator, unsigned char **data)
{
    if (len > PTRDIFF_MAX - sizeof(struct heap))
        return NULL;
    size_t size = sizeof(struct heap) + len;
    struct heap *heap = allocator_acquire(allocator, size);
    if (!heap)
        return NULL;
    owner_init(&heap->owner, 1, false, heap_last);
    heap->allocator = allocator;
    heap->size = size;
    *data = heap->data;
    return &heap->owner;
}
