/* SPDX-License-Identifier: MIT */
#include "growable.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

_Static_assert(sizeof(spw_histograms) >= sizeof(spw_stats) &&
                   sizeof(spw_histograms) <= GROWABLE_MAX_BYTES / 2,
               "the largest has room to grow");

/* Every such struct starts with it. */
static size_t size_of(const void *structure)
{
    size_t size;
    memcpy(&size, structure, sizeof(size));
    return size;
}

static bool is_zero(const unsigned char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] != 0)
            return false;
    return true;
}

int growable_check(size_t struct_bytes, size_t first_bytes)
{
    return struct_bytes >= first_bytes && struct_bytes <= GROWABLE_MAX_BYTES ? 0 : -EINVAL;
}

int growable_read(const void *from, size_t first_bytes, void *to, size_t to_bytes)
{
    if (from) {
        size_t from_bytes = size_of(from);
        if (growable_check(from_bytes, first_bytes))
            return -EINVAL;
        if (from_bytes > to_bytes &&
            !is_zero((const unsigned char *)from + to_bytes, from_bytes - to_bytes))
            return -EINVAL;
        memcpy(to, from, from_bytes < to_bytes ? from_bytes : to_bytes);
    }
    memcpy(to, &to_bytes, sizeof(to_bytes));
    return 0;
}

int growable_write(void *to, size_t first_bytes, const void *from, size_t from_bytes)
{
    if (!to)
        return -EINVAL;
    size_t room_bytes = size_of(to);
    if (growable_check(room_bytes, first_bytes))
        return -EINVAL;
    size_t copied_bytes = room_bytes < from_bytes ? room_bytes : from_bytes;
    memcpy(to, from, copied_bytes);
    memset((unsigned char *)to + copied_bytes, 0, room_bytes - copied_bytes);
    memcpy(to, &copied_bytes, sizeof(copied_bytes));
    return 0;
}
