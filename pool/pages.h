/* SPDX-License-Identifier: MIT */
/*
 * Private memory from the kernel, straight: page aligned, not for children, not for core dumps.
 * Where it is large enough it asks for huge pages, aligned to them, which the device writes and
 * reads with less work than many small ones.
 */
#ifndef SPILLWAY_POOL_PAGES_H
#define SPILLWAY_POOL_PAGES_H

#include <stddef.h>

#include "../lib/os.h"

#define PAGES_HUGE_BYTES ((size_t)2 << 20)

/* `bytes` are whole pages. Returns 0 or -errno. */
int pages_map(const struct os *os, size_t bytes, unsigned char **out);
void pages_unmap(const struct os *os, unsigned char *pages, size_t bytes);

/*
 * Whoever is about to read this memory tells the kernel: what it has swapped out of it comes in all
 * at once, where each touch would wait for a few pages. Only a hint; any memory, whole pages or
 * not.
 */
void pages_expect(const struct os *os, const void *start, size_t bytes);

#endif
