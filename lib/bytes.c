/* SPDX-License-Identifier: MIT */
#include "spillway/bytes.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "owner.h"

/* Memory that the user lent. */
struct foreign {
    struct spw_owner owner;
    spw_bytes_release_fn *release;
    void *context;
    const void *data;
    size_t len;
    const spw_allocator *allocator;
};

static void foreign_last(struct spw_owner *owner)
{
    struct foreign *foreign = (struct foreign *)owner;
    if (foreign->release)
        foreign->release(foreign->context, foreign->data, foreign->len);
    allocator_release(foreign->allocator, foreign, sizeof(*foreign));
}

int spw_bytes_wrap(const void *data, size_t len, spw_bytes_release_fn *release, void *context,
                   const spw_allocator *allocator, spw_bytes *out)
{
    if ((!data && len > 0) || (uintptr_t)data > UINTPTR_MAX - len)
        return -EINVAL;
    allocator = allocator_or_default(allocator);
    struct foreign *foreign = allocator_acquire(allocator, sizeof(*foreign));
    if (!foreign)
        return -ENOMEM;
    owner_init(&foreign->owner, 1, false, foreign_last);
    foreign->release = release;
    foreign->context = context;
    foreign->data = data;
    foreign->len = len;
    foreign->allocator = allocator;
    *out = (spw_bytes){data, len, &foreign->owner};
    return 0;
}

int spw_bytes_copy(const void *data, size_t len, const spw_allocator *allocator, spw_bytes *out)
{
    if (!data && len > 0)
        return -EINVAL;
    unsigned char *copy;
    struct spw_owner *owner = owner_open(len, allocator_or_default(allocator), &copy);
    if (!owner)
        return -ENOMEM;
    if (len > 0)
        memcpy(copy, data, len);
    *out = (spw_bytes){copy, len, owner};
    return 0;
}

spw_bytes spw_bytes_clone(const spw_bytes *bytes)
{
    if (bytes->owner)
        owner_acquire(bytes->owner);
    return *bytes;
}

void spw_bytes_release(spw_bytes *bytes)
{
    struct spw_owner *owner = bytes->owner;
    *bytes = (spw_bytes)SPILLWAY_BYTES_NONE;
    if (owner)
        owner_release(owner);
}

int spw_bytes_split_front(spw_bytes *bytes, size_t n, spw_bytes *front)
{
    if (n > bytes->len)
        return -ERANGE;
    spw_bytes cut = spw_bytes_clone(bytes);
    cut.len = n;
    if (n > 0)
        bytes->data += n;
    bytes->len -= n;
    *front = cut;
    return 0;
}

int spw_bytes_try_merge(spw_bytes *bytes, spw_bytes *next)
{
    if (!bytes_adjoin(bytes, next))
        return 0;
    bytes->len += next->len; /* both lie in one allocation, so this cannot overflow */
    spw_bytes_release(next);
    return 1;
}
