/* SPDX-License-Identifier: MIT */
/* The checksum of a run: XXH3 over its payload, seeded with its identity; over each piece of a
 * large one by itself (see run.h). */
#ifndef SPILLWAY_POOL_CHECKSUM_H
#define SPILLWAY_POOL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Where a run's checksum starts. Run numbers are never used twice in a pool, so they are handle and
 * generation in one. */
uint64_t checksum_identity(uint64_t pool_id, uint64_t run_id, uint64_t bytes);

/* The checksum of `data`, with `checksum` as the seed. */
uint64_t checksum_update(uint64_t checksum, const void *data, size_t len);

/* The same, as every processor can. */
uint64_t checksum_narrow(uint64_t checksum, const void *data, size_t len);

#endif
