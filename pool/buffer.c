/* SPDX-License-Identifier: MIT */
#include "buffer.h"

#include <errno.h>

#include "../lib/alloc.h"
#include "pages.h"
#include "pool.h"

/* Large warm buffers looked at for one that fits. */
enum { LARGE_LOOK_MAX = 16 };

/* The warm list for this many bytes. */
static unsigned class_of(size_t bytes)
{
    unsigned index = 0;
    while (index < BUFFER_LARGE && (BUFFER_MIN_BYTES << index) < bytes)
        index++;
    return index;
}

static void use_add(struct buffers *buffers, enum buffer_use use, int64_t bytes)
{
    atomic_fetch_add(&buffers->use_bytes[use], (uint64_t)bytes);
}

static void total_add(struct buffers *buffers, int64_t bytes)
{
    atomic_fetch_add(&buffers->pool->counters->buffer_bytes, (uint64_t)bytes);
}

uint64_t buffers_used(const struct buffers *buffers, enum buffer_use use)
{
    return counters_sum(atomic_load_explicit(&buffers->use_bytes[use], memory_order_relaxed));
}

void buffer_set_use(struct buffer *buffer, enum buffer_use use)
{
    struct buffers *buffers = &buffer->pool->buffers;
    unsigned old = atomic_exchange_explicit(&buffer->use, use, memory_order_relaxed);
    if (old == use)
        return;
    use_add(buffers, use, (int64_t)buffer->capacity);
    use_add(buffers, old, -(int64_t)buffer->capacity);
}

struct buffer *buffer_of(const struct spw_pool *pool, const spw_bytes *bytes)
{
    struct spw_owner *owner = bytes->owner;
    if (!owner || !owner->pooled || owner->last != buffer_last)
        return NULL;
    struct buffer *buffer = (struct buffer *)owner;
    return buffer->pool == pool ? buffer : NULL;
}

/* Of the whole and of the use, one right after the other: who looks on finds them to agree. */
static void count_add(struct buffers *buffers, enum buffer_use use, int64_t bytes)
{
    total_add(buffers, bytes);
    use_add(buffers, use, bytes);
}

/* The buffer no longer counts. */
static void buffer_uncount(struct buffer *buffer)
{
    count_add(&buffer->pool->buffers, atomic_load_explicit(&buffer->use, memory_order_relaxed),
              -(int64_t)buffer->capacity);
}

static void buffer_unmap(struct buffer *buffer)
{
    struct spw_pool *pool = buffer->pool;
    pages_unmap(pool->os, buffer->base, buffer->capacity);
    allocator_release(pool->allocator, buffer, sizeof(*buffer));
}

/* To the kernel, and only then off the count: it takes a while, in which others would use the room.
 */
static void buffer_give_back(struct buffer *buffer)
{
    struct spw_pool *pool = buffer->pool;
    pages_unmap(pool->os, buffer->base, buffer->capacity);
    buffer_uncount(buffer);
    allocator_release(pool->allocator, buffer, sizeof(*buffer));
}

/* With the lock held: a large warm buffer that is not much larger than asked for; slabs are as
 * large as asked for. */
static struct buffer *large_reuse(struct buffers *buffers, size_t capacity, enum buffer_use use)
{
    size_t most = use == USE_SLAB ? capacity : capacity + capacity / 4;
    struct buffer **at = &buffers->warm[BUFFER_LARGE];
    for (unsigned i = 0; *at && i < LARGE_LOOK_MAX; i++, at = &(*at)->next) {
        struct buffer *buffer = *at;
        if (buffer->capacity >= capacity && buffer->capacity <= most) {
            *at = buffer->next;
            return buffer;
        }
    }
    return NULL;
}

/* With the lock held: takes any warm buffer, the largest first. */
static struct buffer *warm_take_any(struct buffers *buffers)
{
    for (unsigned i = BUFFER_LISTS; i-- > 0;) {
        struct buffer *buffer = buffers->warm[i];
        if (buffer) {
            buffers->warm[i] = buffer->next;
            return buffer;
        }
    }
    return NULL;
}

/* Takes warm buffers of `bytes` together out of the count; they are unmapped by buffers_reap(). */
static uint64_t buffers_retire(struct buffers *buffers, uint64_t bytes)
{
    uint64_t freed = 0;
    pthread_mutex_lock(&buffers->lock);
    while (freed < bytes) {
        struct buffer *buffer = warm_take_any(buffers);
        if (!buffer)
            break;
        freed += buffer->capacity;
        buffer_uncount(buffer);
        buffer->next = buffers->retired;
        buffers->retired = buffer;
    }
    pthread_mutex_unlock(&buffers->lock);
    return freed;
}

void buffers_reap(struct buffers *buffers)
{
    for (;;) {
        pthread_mutex_lock(&buffers->lock);
        struct buffer *buffer = buffers->retired;
        if (buffer)
            buffers->retired = buffer->next;
        pthread_mutex_unlock(&buffers->lock);
        if (!buffer)
            return;
        buffer_unmap(buffer);
    }
}

uint64_t buffers_trim(struct buffers *buffers, uint64_t bytes)
{
    uint64_t freed = buffers_retire(buffers, bytes);
    buffers_reap(buffers);
    return freed;
}

/* Nobody uses a buffer any more: warm again, or unmapped when the budget is exceeded. */
static void buffer_rest(struct buffer *buffer)
{
    struct spw_pool *pool = buffer->pool;
    struct buffers *buffers = &pool->buffers;
    bool keep = budget_used(pool) <= budget_now(pool);
    pthread_mutex_lock(&buffers->lock);
    if (!buffers->reserve && buffer->capacity == buffers->reserve_capacity) {
        buffers->reserve = buffer;
        buffer_set_use(buffer, USE_RESERVE);
        buffer = NULL;
    } else if (keep) {
        unsigned index = class_of(buffer->capacity);
        buffer->next = buffers->warm[index];
        buffers->warm[index] = buffer;
        buffer_set_use(buffer, USE_WARM);
        buffer = NULL;
    }
    pthread_mutex_unlock(&buffers->lock);
    if (buffer)
        buffer_give_back(buffer);
}

/* The last reference to a buffer is gone. */
void buffer_last(struct spw_owner *owner)
{
    struct buffer *buffer = (struct buffer *)owner;
    struct spw_pool *pool = buffer->pool;
    if (pool_in_child(pool))
        return; /* the memory is the parent's */
    buffer_rest(buffer);
    pool_progress(pool);
    pool_release(pool);
}

/* Maps a new buffer; its bytes are counted already. */
static int buffer_map(struct buffers *buffers, size_t capacity, enum buffer_use use,
                      struct buffer **out)
{
    struct spw_pool *pool = buffers->pool;
    struct buffer *buffer = allocator_zeroed(pool->allocator, sizeof(*buffer));
    if (!buffer)
        return -ENOMEM;
    if (pages_map(pool->os, capacity, &buffer->base)) {
        allocator_release(pool->allocator, buffer, sizeof(*buffer));
        return -ENOMEM;
    }
    atomic_fetch_add_explicit(&buffers->mapped_total, 1, memory_order_relaxed);
    buffer->pool = pool;
    buffer->capacity = capacity;
    atomic_init(&buffer->use, use);
    owner_init(&buffer->owner, 1, true, buffer_last);
    *out = buffer;
    return 0;
}

/* With the lock held: the reserve; NULL when it is out or too small. */
static struct buffer *reserve_take(struct buffers *buffers, size_t capacity)
{
    struct buffer *buffer = NULL;
    if (capacity <= buffers->reserve_capacity) {
        buffer = buffers->reserve;
        buffers->reserve = NULL;
    }
    return buffer;
}

/* With the lock held: a warm buffer of the class, or the reserve for a head fetch. */
static struct buffer *buffer_reuse(struct buffers *buffers, size_t capacity, enum buffer_use use,
                                   enum buffer_claim claim)
{
    struct buffer *buffer = NULL;
    unsigned index = class_of(capacity);
    if (index == BUFFER_LARGE) {
        buffer = large_reuse(buffers, capacity, use);
    } else {
        buffer = buffers->warm[index];
        if (buffer)
            buffers->warm[index] = buffer->next;
    }
    if (!buffer && claim == CLAIM_HEAD &&
        budget_used(buffers->pool) + capacity > budget_now(buffers->pool))
        buffer = reserve_take(buffers, capacity);
    return buffer;
}

/* Whether `capacity` more bytes would fit if all warm memory were given up. */
static bool budget_allows(const struct buffers *buffers, size_t capacity)
{
    const struct spw_pool *pool = buffers->pool;
    uint64_t used = budget_used(pool), warm = buffers_used(buffers, USE_WARM);
    return used - (warm < used ? warm : used) + capacity <= budget_now(pool);
}

/* A new buffer, counted; warm ones make room for it. */
static int buffer_add(struct buffers *buffers, size_t capacity, enum buffer_use use,
                      struct buffer **out)
{
    struct spw_pool *pool = buffers->pool;
    count_add(buffers, use, (int64_t)capacity);
    int err = buffer_map(buffers, capacity, use, out);
    if (err) {
        count_add(buffers, use, -(int64_t)capacity);
        pool_count(pool, no_memory_total, 1);
        return err;
    }
    uint64_t used = budget_used(pool);
    if (used > budget_now(pool))
        used -= buffers_retire(buffers, used - budget_now(pool));
    if (used > budget_now(pool))
        pool_count(pool, over_budget_total, 1);
    budget_note_peak(pool, used);
    return 0;
}

size_t buffer_capacity(size_t bytes)
{
    return bytes <= BUFFER_MAX_BYTES ? BUFFER_MIN_BYTES << class_of(bytes)
                                     : (bytes + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1);
}

int buffer_acquire(struct buffers *buffers, size_t bytes, enum buffer_use use,
                   enum buffer_claim claim, struct buffer **out)
{
    struct spw_pool *pool = buffers->pool;
    if (bytes > SIZE_MAX / 2)
        return -ENOMEM;
    size_t capacity = buffer_capacity(bytes);
    pthread_mutex_lock(&buffers->lock);
    struct buffer *buffer = buffer_reuse(buffers, capacity, use, claim);
    pthread_mutex_unlock(&buffers->lock);
    if (!buffer) {
        if (claim == CLAIM_WITHIN && !budget_allows(buffers, capacity))
            return -EAGAIN;
        int err = buffer_add(buffers, capacity, use, &buffer);
        if (err && claim == CLAIM_HEAD) {
            pthread_mutex_lock(&buffers->lock);
            buffer = reserve_take(buffers, capacity);
            pthread_mutex_unlock(&buffers->lock);
        }
        if (!buffer)
            return err;
    }
    atomic_store_explicit(&buffer->owner.refs, 1, memory_order_relaxed);
    buffer_set_use(buffer, use);
    budget_look(pool);
    pool_acquire(pool);
    *out = buffer;
    return 0;
}

int buffer_acquire_pair(struct buffers *buffers, const size_t bytes[2], enum buffer_use use,
                        enum buffer_claim claim, struct buffer *out[2])
{
    struct spw_pool *pool = buffers->pool;
    if (claim == CLAIM_WITHIN &&
        !budget_allows(buffers, buffer_capacity(bytes[0]) + buffer_capacity(bytes[1])))
        return -EAGAIN;
    int err = buffer_acquire(buffers, bytes[0], use, claim, &out[0]);
    if (err)
        return err;
    err = buffer_acquire(buffers, bytes[1], use, claim, &out[1]);
    if (!err)
        return 0;
    /* No progress is told: that would be a reason to try this again, over and over. */
    buffer_rest(out[0]);
    out[0] = NULL;
    pool_release(pool); /* not the last: the caller's pool is open */
    return err;
}

void buffer_release(struct buffer *buffer)
{
    owner_release(&buffer->owner);
}

#define USE_IS_PLACED(use, name)                                                                   \
    _Static_assert(offsetof(struct counters, name) ==                                              \
                       offsetof(struct counters, slab_bytes) + (use) * sizeof(uint64_t),           \
                   "uses are in the order of their rows")
USE_IS_PLACED(USE_STAGING, staging_bytes);
USE_IS_PLACED(USE_READING, reading_bytes);
USE_IS_PLACED(USE_LOADED, loaded_bytes);
USE_IS_PLACED(USE_LENT, lent_bytes);
USE_IS_PLACED(USE_WARM, warm_bytes);
USE_IS_PLACED(USE_RESERVE, reserve_bytes);

int buffers_init(struct buffers *buffers, struct spw_pool *pool, size_t reserve_bytes)
{
    buffers->pool = pool;
    buffers->use_bytes = &pool->counters->slab_bytes;
    int err = -pthread_mutex_init(&buffers->lock, NULL);
    if (err)
        return err;
    count_add(buffers, USE_RESERVE, (int64_t)reserve_bytes);
    err = buffer_map(buffers, reserve_bytes, USE_RESERVE, &buffers->reserve);
    if (err)
        pthread_mutex_destroy(&buffers->lock);
    else
        buffers->reserve_capacity = reserve_bytes;
    return err;
}

void buffers_fit(struct buffers *buffers, size_t reserve_bytes)
{
    pthread_mutex_lock(&buffers->lock);
    bool fits = buffers->reserve_capacity == reserve_bytes;
    pthread_mutex_unlock(&buffers->lock);
    if (fits)
        return;
    struct buffer *fresh;
    count_add(buffers, USE_RESERVE, (int64_t)reserve_bytes);
    if (buffer_map(buffers, reserve_bytes, USE_RESERVE, &fresh)) {
        count_add(buffers, USE_RESERVE, -(int64_t)reserve_bytes);
        return;
    }
    pthread_mutex_lock(&buffers->lock);
    struct buffer *old = buffers->reserve; /* NULL while it is out: then it will be warm */
    buffers->reserve = fresh;
    buffers->reserve_capacity = reserve_bytes;
    pthread_mutex_unlock(&buffers->lock);
    if (old)
        buffer_give_back(old);
}

void buffers_fini(struct buffers *buffers)
{
    buffers_trim(buffers, UINT64_MAX);
    if (buffers->reserve) {
        buffer_uncount(buffers->reserve);
        buffer_unmap(buffers->reserve);
    }
    pthread_mutex_destroy(&buffers->lock);
}
