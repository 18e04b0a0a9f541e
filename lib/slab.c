/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>

#include "alloc.h"
#include "owner.h"
#include "spillway/bytes.h"

struct spw_slab {
    struct spw_owner *owner; /* the slab's own reference */
    unsigned char *writable;
    const unsigned char *readable;
    size_t capacity;
    size_t cut; /* bytes given out from the front */
    const spw_allocator *allocator;
};

int slab_open_over(struct spw_owner *owner, unsigned char *writable, const unsigned char *readable,
                   size_t capacity, const spw_allocator *allocator, spw_slab **out)
{
    struct spw_slab *slab = allocator_acquire(allocator, sizeof(*slab));
    if (!slab)
        return -ENOMEM;
    *slab = (struct spw_slab){.owner = owner,
                              .writable = writable,
                              .readable = readable,
                              .capacity = capacity,
                              .allocator = allocator};
    *out = slab;
    return 0;
}

int spw_slab_open(size_t capacity_bytes, const spw_allocator *allocator, spw_slab **out)
{
    if (capacity_bytes == 0)
        return -EINVAL;
    allocator = allocator_or_default(allocator);
    unsigned char *data;
    struct spw_owner *owner = owner_open(capacity_bytes, allocator, &data);
    if (!owner)
        return -ENOMEM;
    int err = slab_open_over(owner, data, data, capacity_bytes, allocator, out);
    if (err)
        owner_release(owner);
    return err;
}

void spw_slab_close(spw_slab *slab)
{
    if (!slab)
        return;
    struct spw_owner *owner = slab->owner;
    allocator_release(slab->allocator, slab, sizeof(*slab));
    owner_release(owner); /* last: it may end the pool that the allocator belongs to */
}

unsigned char *spw_slab_space(const spw_slab *slab)
{
    return slab->writable + slab->cut;
}

size_t spw_slab_room(const spw_slab *slab)
{
    return slab->capacity - slab->cut;
}

size_t spw_slab_capacity(const spw_slab *slab)
{
    return slab->capacity;
}

int spw_slab_cut(spw_slab *slab, size_t n, spw_bytes *out)
{
    if (n > spw_slab_room(slab))
        return -ERANGE;
    owner_acquire(slab->owner);
    *out = (spw_bytes){slab->readable + slab->cut, n, slab->owner};
    slab->cut += n;
    return 0;
}

int spw_slab_regain(spw_slab *slab)
{
    if (!owner_is_unique(slab->owner))
        return -EBUSY;
    slab->cut = 0;
    return 0;
}
