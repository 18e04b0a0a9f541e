/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

/* ---- wrapping ---- */

struct released {
    _Atomic int times;
    const void *data;
    size_t len;
};

static void note_release(void *context, const void *data, size_t len)
{
    struct released *released = context;
    released->data = data;
    released->len = len;
    atomic_fetch_add(&released->times, 1);
}

Test(bytes, wrap_calls_release_once)
{
    struct released released = {0};
    static const char text[] = "lent";
    spw_bytes bytes;
    cr_assert_eq(spw_bytes_wrap(text, 4, note_release, &released, &fault_allocator, &bytes), 0);
    cr_assert_eq((uintptr_t)bytes.data, (uintptr_t)text);
    cr_assert_eq(bytes.len, 4);
    spw_bytes second = spw_bytes_clone(&bytes);
    spw_bytes front;
    cr_assert_eq(spw_bytes_split_front(&bytes, 1, &front), 0);
    spw_bytes_release(&bytes);
    spw_bytes_release(&front);
    cr_assert_eq(released.times, 0);
    spw_bytes_release(&second);
    cr_assert_eq(released.times, 1);
    cr_assert_eq((uintptr_t)released.data, (uintptr_t)text, "the range is the one that was lent");
    cr_assert_eq(released.len, 4);
    spw_bytes_release(&second);
    cr_assert_eq(released.times, 1, "an empty value releases nothing");
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(bytes, wrap_without_release_and_of_nothing)
{
    spw_bytes bytes;
    cr_assert_eq(spw_bytes_wrap("x", 1, NULL, NULL, NULL, &bytes), 0);
    spw_bytes_release(&bytes);
    struct released released = {0};
    cr_assert_eq(spw_bytes_wrap(NULL, 0, note_release, &released, NULL, &bytes), 0);
    cr_assert_eq(bytes.len, 0);
    spw_bytes_release(&bytes);
    cr_assert_eq(released.times, 1);
}

Test(bytes, wrap_refuses_what_is_no_range)
{
    struct released released = {0};
    spw_bytes bytes = SPILLWAY_BYTES_NONE;
    const unsigned char *high = (const unsigned char *)(UINTPTR_MAX - 3);
    cr_assert_eq(spw_bytes_wrap(NULL, 1, note_release, &released, NULL, &bytes), -EINVAL);
    cr_assert_eq(spw_bytes_wrap(high, 4, note_release, &released, NULL, &bytes), -EINVAL);
    cr_assert_eq(spw_bytes_wrap("x", SIZE_MAX, note_release, &released, NULL, &bytes), -EINVAL);
    cr_assert_eq(released.times, 0);
    cr_assert_null(bytes.owner);
    cr_assert_eq(spw_bytes_wrap(high, 3, note_release, &released, NULL, &bytes), 0,
                 "the last range that does not wrap around");
    spw_bytes_release(&bytes);
    cr_assert_eq(released.times, 1);
}

/* ---- copies, clones, splits, merges ---- */

Test(bytes, copy_is_private)
{
    char text[] = "private";
    spw_bytes bytes;
    cr_assert_eq(spw_bytes_copy(text, sizeof(text), &fault_allocator, &bytes), 0);
    memset(text, 'x', sizeof(text));
    cr_assert_eq(memcmp(bytes.data, "private", sizeof(text)), 0);
    spw_bytes_release(&bytes);
    cr_assert_null(bytes.data);
    cr_assert_null(bytes.owner);
    cr_assert_eq(bytes.len, 0);

    cr_assert_eq(spw_bytes_copy(NULL, 0, &fault_allocator, &bytes), 0);
    cr_assert_eq(bytes.len, 0);
    spw_bytes_release(&bytes);
    cr_assert_eq(spw_bytes_copy(NULL, 1, &fault_allocator, &bytes), -EINVAL);
    cr_assert_eq(spw_bytes_copy(text, SIZE_MAX, &fault_allocator, &bytes), -ENOMEM);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(bytes, clone_and_release_of_the_empty_value)
{
    spw_bytes none = SPILLWAY_BYTES_NONE;
    spw_bytes clone = spw_bytes_clone(&none);
    cr_assert_null(clone.owner);
    spw_bytes_release(&clone);
    spw_bytes_release(&none);
    spw_bytes front;
    cr_assert_eq(spw_bytes_split_front(&none, 0, &front), 0);
    cr_assert_null(front.owner);
    cr_assert_eq(spw_bytes_split_front(&none, 1, &front), -ERANGE);
    cr_assert_eq(spw_bytes_try_merge(&none, &front), 0);
}

Test(bytes, split_front_at_every_place)
{
    for (size_t at = 0; at <= 5; at++) {
        spw_bytes bytes = stream_piece(0, 5), front;
        cr_assert_eq(spw_bytes_split_front(&bytes, at, &front), 0);
        cr_assert_eq(front.len, at);
        cr_assert_eq(bytes.len, 5 - at);
        cr_assert(stream_is(&front, 0));
        cr_assert(stream_is(&bytes, at));
        cr_assert_eq(spw_bytes_try_merge(&front, &bytes), 1);
        cr_assert_null(bytes.owner);
        cr_assert_eq(front.len, 5);
        cr_assert(stream_is(&front, 0));
        spw_bytes_release(&front);
    }
    spw_bytes bytes = stream_piece(0, 5), front = SPILLWAY_BYTES_NONE, before = bytes;
    cr_assert_eq(spw_bytes_split_front(&bytes, 6, &front), -ERANGE);
    cr_assert_eq(spw_bytes_split_front(&bytes, SIZE_MAX, &front), -ERANGE);
    cr_assert_eq(memcmp(&bytes, &before, sizeof(bytes)), 0, "a failed split changes nothing");
    cr_assert_null(front.owner);
    spw_bytes_release(&bytes);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(bytes, merge_only_neighbours_of_one_owner)
{
    static unsigned char array[8];
    spw_bytes a, b;
    cr_assert_eq(spw_bytes_wrap(array, 4, NULL, NULL, &fault_allocator, &a), 0);
    cr_assert_eq(spw_bytes_wrap(array + 4, 4, NULL, NULL, &fault_allocator, &b), 0);
    cr_assert_eq(spw_bytes_try_merge(&a, &b), 0, "neighbours by chance, not by owner");
    cr_assert_not_null(b.owner);
    spw_bytes_release(&b);

    spw_bytes first, second;
    cr_assert_eq(spw_bytes_split_front(&a, 1, &first), 0);
    cr_assert_eq(spw_bytes_split_front(&a, 1, &second), 0);
    cr_assert_eq(spw_bytes_try_merge(&first, &a), 0, "a gap");
    cr_assert_eq(spw_bytes_try_merge(&second, &first), 0, "the wrong order");
    cr_assert_eq(spw_bytes_try_merge(&first, &first), 0, "not with itself");
    cr_assert_eq(spw_bytes_try_merge(&first, &second), 1);
    cr_assert_eq(spw_bytes_try_merge(&first, &second), 0, "an empty value");
    cr_assert_eq(spw_bytes_try_merge(&second, &first), 0);
    cr_assert_eq(spw_bytes_try_merge(&first, &a), 1);
    cr_assert_eq(first.len, 4);
    cr_assert_eq((uintptr_t)first.data, (uintptr_t)array);
    cr_assert_eq(fault_alloc_live(), 1, "merging gave the references back");
    spw_bytes_release(&first);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- slabs ---- */

Test(slab, cuts_are_adjacent)
{
    spw_slab *slab;
    cr_assert_eq(spw_slab_open(10, &fault_allocator, &slab), 0);
    cr_assert_eq(spw_slab_capacity(slab), 10);
    cr_assert_eq(spw_slab_room(slab), 10);
    stream_fill(spw_slab_space(slab), 0, 10);
    spw_bytes a, b, none, out = SPILLWAY_BYTES_NONE;
    cr_assert_eq(spw_slab_cut(slab, 4, &a), 0);
    cr_assert_eq(spw_slab_cut(slab, 0, &none), 0);
    cr_assert_eq(spw_slab_cut(slab, 7, &out), -ERANGE);
    cr_assert_null(out.owner);
    cr_assert_eq(spw_slab_room(slab), 6);
    cr_assert_eq(spw_slab_cut(slab, 6, &b), 0);
    cr_assert_eq(spw_slab_room(slab), 0);
    cr_assert(stream_is(&a, 0));
    cr_assert(stream_is(&b, 4));
    cr_assert_eq(spw_bytes_try_merge(&a, &none), 1);
    cr_assert_eq(spw_bytes_try_merge(&a, &b), 1);
    spw_slab_close(slab);
    cr_assert(stream_is(&a, 0), "bytes outlive their slab");
    spw_bytes_release(&a);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(slab, regain_needs_all_bytes_back)
{
    spw_slab *slab;
    spw_bytes bytes;
    cr_assert_eq(spw_slab_open(8, &fault_allocator, &slab), 0);
    cr_assert_eq(spw_slab_regain(slab), 0, "nothing was cut");
    unsigned char *start = spw_slab_space(slab);
    cr_assert_eq(spw_slab_cut(slab, 8, &bytes), 0);
    spw_bytes clone = spw_bytes_clone(&bytes);
    cr_assert_eq(spw_slab_regain(slab), -EBUSY);
    spw_bytes_release(&bytes);
    cr_assert_eq(spw_slab_regain(slab), -EBUSY);
    cr_assert_eq(spw_slab_room(slab), 0, "a refused regain changes nothing");
    spw_bytes_release(&clone);
    cr_assert_eq(spw_slab_regain(slab), 0);
    cr_assert_eq(spw_slab_room(slab), 8);
    cr_assert_eq((uintptr_t)spw_slab_space(slab), (uintptr_t)start);
    spw_slab_close(slab);
    spw_slab_close(NULL);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(slab, open_refuses_impossible_sizes)
{
    spw_slab *slab = NULL;
    cr_assert_eq(spw_slab_open(0, &fault_allocator, &slab), -EINVAL);
    cr_assert_eq(spw_slab_open(SIZE_MAX, &fault_allocator, &slab), -ENOMEM);
    cr_assert_eq(spw_slab_open(PTRDIFF_MAX, &fault_allocator, &slab), -ENOMEM);
    cr_assert_null(slab);
    cr_assert_eq(fault_alloc_calls(), 0);
}

/* ---- without memory ---- */

Test(bytes, failing_allocations)
{
    struct released released = {0};
    spw_bytes bytes = SPILLWAY_BYTES_NONE;
    spw_slab *slab = NULL;
    fault_alloc_after(1);
    cr_assert_eq(spw_bytes_wrap("x", 1, note_release, &released, &fault_allocator, &bytes),
                 -ENOMEM);
    cr_assert_eq(released.times, 0);
    fault_alloc_after(1);
    cr_assert_eq(spw_bytes_copy("x", 1, &fault_allocator, &bytes), -ENOMEM);
    cr_assert_null(bytes.owner);
    uint64_t n = 1;
    for (;; n++) {
        fault_alloc_after(n);
        if (spw_slab_open(100, &fault_allocator, &slab) == 0)
            break;
        cr_assert_null(slab);
        cr_assert_eq(fault_alloc_live(), 0);
    }
    cr_assert_gt(n, 2, "the slab and its memory can both be refused");
    spw_slab_close(slab);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- threads ---- */

enum { THREADS = 4, LENT_BYTES = 4096 };

struct shredder {
    spw_bytes bytes;
    uint64_t seed;
    bool wrong;
};

/* Cuts its clone into pieces, clones some, joins them again, and gives all back. */
static void *shred(void *argument)
{
    struct shredder *shredder = argument;
    struct random random = {shredder->seed};
    uint64_t rounds = test_scaled(2000);
    for (uint64_t round = 0; round < rounds; round++) {
        spw_bytes rest = spw_bytes_clone(&shredder->bytes), whole = SPILLWAY_BYTES_NONE;
        while (rest.len > 0) {
            spw_bytes piece;
            size_t most = rest.len < 600 ? rest.len : 600;
            spw_bytes_split_front(&rest, 1 + (size_t)random_below(&random, most), &piece);
            spw_bytes again = spw_bytes_clone(&piece);
            if (!whole.owner)
                whole = piece;
            else if (spw_bytes_try_merge(&whole, &piece) != 1)
                shredder->wrong = true;
            spw_bytes_release(&again);
        }
        spw_bytes_release(&rest);
        if (whole.len != LENT_BYTES ||
            whole.data[round % LENT_BYTES] != stream_byte(round % LENT_BYTES))
            shredder->wrong = true;
        spw_bytes_release(&whole);
    }
    spw_bytes_release(&shredder->bytes);
    return NULL;
}

Test(bytes, shared_by_threads)
{
    static unsigned char lent[LENT_BYTES];
    struct released released = {0};
    struct shredder shredders[THREADS];
    pthread_t threads[THREADS];
    spw_bytes bytes;
    stream_fill(lent, 0, sizeof(lent));
    cr_assert_eq(
        spw_bytes_wrap(lent, sizeof(lent), note_release, &released, &fault_allocator, &bytes), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        shredders[i] = (struct shredder){.bytes = spw_bytes_clone(&bytes), .seed = i};
        cr_assert_eq(pthread_create(&threads[i], NULL, shred, &shredders[i]), 0);
    }
    spw_bytes_release(&bytes);
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_not(shredders[i].wrong);
    }
    cr_assert_eq(released.times, 1, "released from whichever thread was last");
    cr_assert_eq(fault_alloc_live(), 0);
}

struct handover {
    pthread_mutex_t lock;
    spw_bytes bytes;
    bool full, wrong;
    uint64_t rounds;
};

static void *check_and_release(void *argument)
{
    struct handover *handover = argument;
    for (uint64_t round = 0; round < handover->rounds;) {
        spw_bytes bytes = SPILLWAY_BYTES_NONE;
        pthread_mutex_lock(&handover->lock);
        if (handover->full) {
            bytes = handover->bytes;
            handover->full = false;
        }
        pthread_mutex_unlock(&handover->lock);
        if (!bytes.owner) {
            sched_yield();
            continue;
        }
        handover->wrong |= !stream_is(&bytes, round);
        spw_bytes_release(&bytes);
        round++;
    }
    return NULL;
}

/* The producer writes again only after the consumer's last look: for ThreadSanitizer. */
Test(slab, regained_memory_is_nobody_elses)
{
    struct handover handover = {.lock = PTHREAD_MUTEX_INITIALIZER, .rounds = test_scaled(3000)};
    spw_slab *slab;
    pthread_t thread;
    cr_assert_eq(spw_slab_open(256, &fault_allocator, &slab), 0);
    cr_assert_eq(pthread_create(&thread, NULL, check_and_release, &handover), 0);
    for (uint64_t round = 0; round < handover.rounds; round++) {
        while (spw_slab_regain(slab) != 0)
            sched_yield();
        spw_bytes bytes;
        stream_fill(spw_slab_space(slab), round, 256);
        cr_assert_eq(spw_slab_cut(slab, 256, &bytes), 0);
        pthread_mutex_lock(&handover.lock);
        handover.bytes = bytes;
        handover.full = true;
        pthread_mutex_unlock(&handover.lock);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_not(handover.wrong);
    cr_assert_eq(spw_slab_regain(slab), 0);
    spw_slab_close(slab);
    cr_assert_eq(fault_alloc_live(), 0);
}
