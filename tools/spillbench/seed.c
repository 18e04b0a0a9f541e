/* SPDX-License-Identifier: MIT */
#include "seed.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "seed_file.h"

/* One element of the queue: resident bytes, or a handle behind a NULL in the place of their data.
 */
struct entry {
    union {
        struct seed_bytes bytes;
        struct {
            unsigned char *no_data;
            struct seed_handle *handle;
        };
    };
};

_Static_assert(sizeof(struct entry) == 32, "an entry of the original has 32 bytes");

/* A ring that doubles. Entry i is slots[(head + i) % capacity]; capacity is a power of two. */
struct seed_queue {
    struct seed_config config;
    unsigned lock;  /* atomic; 0: free */
    unsigned token; /* atomic; 1: the reader need not sleep */
    struct entry *slots;
    size_t capacity, head, count;
};

/*
 * The original asks for its lock until it gets it and never sleeps. Its lock is always an atomic
 * exchange in and another one out, in a process with one thread too, where libc's leaves them out.
 */
static void lock(struct seed_queue *queue)
{
    unsigned is_free = 0;

    while (!__atomic_compare_exchange_n(&queue->lock, &is_free, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
        is_free = 0;
}

static void unlock(struct seed_queue *queue)
{
    __atomic_exchange_n(&queue->lock, 0, __ATOMIC_RELEASE);
}

static struct entry *at(const struct seed_queue *queue, size_t index)
{
    return &queue->slots[(queue->head + index) & (queue->capacity - 1)];
}

struct seed_queue *seed_open(const struct seed_config *config)
{
    struct seed_queue *queue = calloc(1, sizeof *queue);

    if (!queue)
        return NULL;
    queue->config = *config;
    queue->capacity = 4;
    queue->slots = malloc(queue->capacity * sizeof *queue->slots);
    if (!queue->slots) {
        free(queue);
        return NULL;
    }
    return queue;
}

void seed_close(struct seed_queue *queue)
{
    if (!queue)
        return;
    for (size_t i = 0; i < queue->count; i++) {
        struct entry *entry = at(queue, i);

        if (entry->bytes.data)
            seed_release(&entry->bytes);
        else
            seed_file_drop(entry->handle);
    }
    free(queue->slots);
    free(queue);
}

/* Makes room for one more; the part of the ring that wrapped around moves behind the rest. */
static int grow(struct seed_queue *queue)
{
    size_t capacity = queue->capacity * 2;
    struct entry *slots;

    if (queue->count < queue->capacity)
        return 0;
    slots = realloc(queue->slots, capacity * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    memcpy(slots + queue->capacity, slots, queue->head * sizeof *slots);
    queue->slots = slots;
    queue->capacity = capacity;
    return 0;
}

/* Copies entries one place towards the head or the tail; the ring may wrap anywhere. Whole
 * stretches at once, as the original's deque moves them. */
static void shift_down(struct seed_queue *queue, size_t from, size_t to)
{
    while (from < to) {
        size_t start = (queue->head + from) & (queue->capacity - 1);
        size_t run = queue->capacity - start;

        if (run > to - from)
            run = to - from;
        if (start == 0) {
            queue->slots[queue->capacity - 1] = queue->slots[0];
            run = 1;
        } else {
            memmove(&queue->slots[start - 1], &queue->slots[start], run * sizeof *queue->slots);
        }
        from += run;
    }
}

static void shift_up(struct seed_queue *queue, size_t from, size_t to)
{
    while (from < to) {
        size_t end = (queue->head + to) & (queue->capacity - 1); /* first slot that is free */
        size_t run = end == 0 ? 1 : end;

        if (run > to - from)
            run = to - from;
        if (end == 0)
            queue->slots[0] = queue->slots[queue->capacity - 1];
        else
            memmove(&queue->slots[end - run + 1], &queue->slots[end - run],
                    run * sizeof *queue->slots);
        to -= run;
    }
}

/* Takes entry `index` out; the shorter side moves up. */
static struct entry take(struct seed_queue *queue, size_t index)
{
    struct entry entry = *at(queue, index);

    if (queue->count - 1 - index < index) {
        shift_down(queue, index + 1, queue->count);
    } else {
        shift_up(queue, 0, index);
        queue->head = (queue->head + 1) & (queue->capacity - 1);
    }
    queue->count--;
    return entry;
}

/* Puts an entry in at `index`; the shorter side makes room. There is room. */
static void put(struct seed_queue *queue, size_t index, struct entry entry)
{
    if (queue->count - index < index) {
        shift_up(queue, index, queue->count);
    } else {
        queue->head = (queue->head - 1) & (queue->capacity - 1);
        shift_down(queue, 1, index + 1);
    }
    queue->count++;
    *at(queue, index) = entry;
}

/* What of the queue is resident: asked by a walk over all of it, in its two stretches. */
static uint64_t resident_bytes(const struct seed_queue *queue)
{
    size_t first = queue->capacity - queue->head;
    uint64_t sum = 0;

    if (first > queue->count)
        first = queue->count;
    for (const struct entry *entry = queue->slots + queue->head, *end = entry + first; entry < end;
         entry++)
        sum += entry->bytes.data ? entry->bytes.len : 0;
    for (const struct entry *entry = queue->slots, *end = entry + (queue->count - first);
         entry < end; entry++)
        sum += entry->bytes.data ? entry->bytes.len : 0;
    return sum;
}

/* The places and a reference each of what shall go. Lists that grow by doubling. */
struct targets {
    size_t *indices;
    struct seed_bytes *chunks;
    size_t count, capacity;
};

static int targets_add(struct targets *targets, size_t index, const struct seed_bytes *bytes)
{
    if (targets->count == targets->capacity) {
        size_t capacity = targets->capacity ? targets->capacity * 2 : 4;
        size_t *indices = realloc(targets->indices, capacity * sizeof *indices);
        struct seed_bytes *chunks;

        if (!indices)
            return -ENOMEM;
        targets->indices = indices;
        chunks = realloc(targets->chunks, capacity * sizeof *chunks);
        if (!chunks)
            return -ENOMEM;
        targets->chunks = chunks;
        targets->capacity = capacity;
    }
    targets->indices[targets->count] = index;
    targets->chunks[targets->count++] = seed_clone(bytes);
    return 0;
}

/* All resident entries past the head reserve, but the last entry. */
static int choose(const struct seed_queue *queue, struct targets *targets)
{
    uint64_t before = 0;
    int err = 0;

    for (size_t i = 0; i + 1 < queue->count && !err; i++) {
        const struct entry *entry = at(queue, i);

        if (!entry->bytes.data)
            continue;
        if (before >= queue->config.head_reserve_bytes)
            err = targets_add(targets, i, &entry->bytes);
        before += entry->bytes.len;
    }
    return err;
}

static int spill(struct seed_queue *queue)
{
    struct targets targets = {0};
    struct seed_handle **handles = NULL;
    int err = choose(queue, &targets);

    if (!err && targets.count > 0) {
        handles = malloc(targets.count * sizeof *handles);
        err = handles ? seed_file_spill(queue->config.dir, targets.chunks, targets.count, handles)
                      : -ENOMEM;
    }
    for (size_t i = 0; i < targets.count; i++) {
        struct entry *entry = at(queue, targets.indices[i]);

        seed_release(&targets.chunks[i]);
        if (!err) {
            seed_release(&entry->bytes);
            entry->handle = handles[i];
        }
    }
    free(handles);
    free(targets.indices);
    free(targets.chunks);
    return err;
}

/* Joins bytes to those that they continue. */
static bool merge(struct seed_bytes *tail, struct seed_bytes *bytes)
{
    if (tail->owner != bytes->owner || tail->data + tail->len != bytes->data)
        return false;
    tail->len += bytes->len;
    seed_release(bytes);
    return true;
}

/* There is room. */
static void push_back(struct seed_queue *queue, const struct seed_bytes *bytes)
{
    queue->count++;
    at(queue, queue->count - 1)->bytes = *bytes;
}

/* The original takes a resident tail out of the queue, and puts it back with what continues it, or
 * before what does not. */
static int append(struct seed_queue *queue, struct seed_bytes *bytes)
{
    if (queue->count > 0 && at(queue, queue->count - 1)->bytes.data) {
        struct seed_bytes tail = at(queue, --queue->count)->bytes;
        bool merged = merge(&tail, bytes);

        push_back(queue, &tail);
        if (merged)
            return 0;
    }
    int err = grow(queue);
    if (!err) {
        push_back(queue, bytes);
        *bytes = (struct seed_bytes){0};
    }
    return err;
}

int seed_push(struct seed_queue *queue, struct seed_bytes *bytes)
{
    uint64_t most = queue->config.head_reserve_bytes + queue->config.threshold_bytes;

    lock(queue);
    bool was_empty = queue->count == 0;
    int err = append(queue, bytes);
    if (!err && most > 0 && resident_bytes(queue) > most)
        err = spill(queue);
    unlock(queue);
    if (was_empty) /* the reader's thread is told, whether it sleeps or not */
        __atomic_exchange_n(&queue->token, 1, __ATOMIC_RELEASE);
    return err;
}

/* Brings back what is paged within the head reserve: each handle is taken out of the queue, and its
 * bytes put in where it was. */
static int bring_back(struct seed_queue *queue)
{
    uint64_t resident = 0;

    for (size_t i = 0; i < queue->count && resident < queue->config.head_reserve_bytes; i++) {
        struct entry entry = *at(queue, i);

        if (!entry.bytes.data) {
            int err;

            entry = take(queue, i);
            err = seed_file_fetch(entry.handle, &entry.bytes);
            put(queue, i, entry);
            if (err)
                return err;
        }
        resident += entry.bytes.len;
    }
    return 0;
}

int seed_drain(struct seed_queue *queue, struct seed_bytes **out, size_t *count, size_t *capacity)
{
    int err;

    lock(queue);
    err = bring_back(queue);
    while (!err && queue->count > 0 && at(queue, 0)->bytes.data) {
        if (*count == *capacity) {
            size_t more = *capacity ? *capacity * 2 : 4;
            struct seed_bytes *grown = realloc(*out, more * sizeof *grown);

            if (!grown) {
                err = -ENOMEM;
                break;
            }
            *out = grown;
            *capacity = more;
        }
        (*out)[(*count)++] = at(queue, 0)->bytes;
        queue->head = (queue->head + 1) & (queue->capacity - 1);
        queue->count--;
    }
    unlock(queue);
    return err;
}
