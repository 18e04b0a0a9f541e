/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_ALLOC_H
#define SPILLWAY_ALLOC_H

#include <stddef.h>

#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Where the library gets its small objects (entry blocks, runs, owners) from.
 * Payload buffers of a pool are always mapped, never taken from here.
 *
 * Both functions are called from any thread, also under a queue's lock, so they
 * must neither block for long nor call back into the library. `release` gets the
 * size that was asked for. The struct must outlive everything made with it.
 * NULL wherever an allocator is taken means malloc and free.
 */
typedef struct spw_allocator {
    void *(*acquire)(void *context, size_t size_bytes); /**< NULL when there is no memory */
    void (*release)(void *context, void *memory, size_t size_bytes);
    void *context;
} spw_allocator;

#ifdef __cplusplus
}
#endif
#endif
