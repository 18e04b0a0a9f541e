/* SPDX-License-Identifier: MIT */
#include "checksum.h"

#include "checksum_wide.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t checksum_identity(uint64_t pool_id, uint64_t run_id, uint64_t bytes)
{
    const uint64_t identity[] = {pool_id, run_id, bytes};
    return XXH3_64bits(identity, sizeof(identity));
}

uint64_t checksum_update(uint64_t checksum, const void *data, size_t len)
{
    if (checksum_wide_works())
        return checksum_wide(checksum, data, len);
    return checksum_narrow(checksum, data, len);
}

uint64_t checksum_narrow(uint64_t checksum, const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, checksum);
}
