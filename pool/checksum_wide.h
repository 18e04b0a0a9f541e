/* SPDX-License-Identifier: MIT */
/* The same checksums, computed in wider registers than each processor of this kind has. */
#ifndef SPILLWAY_POOL_CHECKSUM_WIDE_H
#define SPILLWAY_POOL_CHECKSUM_WIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether this build has them, and this processor can. */
bool checksum_wide_works(void);

/* As checksum_update(). Only where they work. */
uint64_t checksum_wide(uint64_t checksum, const void *data, size_t len);

#endif
