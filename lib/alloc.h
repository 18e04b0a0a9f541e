/* SPDX-License-Identifier: MIT */
/* Small objects come from the allocator that the user gave; these add the default and zeroing. */
#ifndef SPILLWAY_LIB_ALLOC_H
#define SPILLWAY_LIB_ALLOC_H

#include <stddef.h>

#include "spillway/alloc.h"

/* `allocator`, or malloc and free where it is NULL. Never NULL; lives for ever. */
const spw_allocator *allocator_or_default(const spw_allocator *allocator);

/* NULL when there is no memory. `allocator` is not NULL in any of these. */
void *allocator_acquire(const spw_allocator *allocator, size_t size_bytes);
void *allocator_zeroed(const spw_allocator *allocator, size_t size_bytes);

/* `size_bytes` as it was asked for. NULL memory is harmless. */
void allocator_release(const spw_allocator *allocator, void *memory, size_t size_bytes);

#endif
