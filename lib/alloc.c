/* SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <stdlib.h>
#include <string.h>

static void *default_acquire(void *context, size_t size_bytes)
{
    (void)context;
    return malloc(size_bytes);
}

static void default_release(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    (void)size_bytes;
    free(memory);
}

static const spw_allocator default_allocator = {
    .acquire = default_acquire,
    .release = default_release,
};

const spw_allocator *allocator_or_default(const spw_allocator *allocator)
{
    return allocator != NULL ? allocator : &default_allocator;
}

void *allocator_acquire(const spw_allocator *allocator, size_t size_bytes)
{
    return allocator->acquire(allocator->context, size_bytes);
}

void *allocator_zeroed(const spw_allocator *allocator, size_t size_bytes)
{
    void *memory = allocator_acquire(allocator, size_bytes);

    if (memory != NULL)
        memset(memory, 0, size_bytes);
    return memory;
}

void allocator_release(const spw_allocator *allocator, void *memory, size_t size_bytes)
{
    if (memory != NULL)
        allocator->release(allocator->context, memory, size_bytes);
}
