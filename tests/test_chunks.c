/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/block.h"
#include "../lib/owner.h"
#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

/* ---- the basics ---- */

static void push_piece(spw_chunks *chunks, uint64_t at, size_t len)
{
    spw_bytes bytes = stream_piece(at, len);
    cr_assert_eq(spw_chunks_push(chunks, &bytes, &fault_allocator), 0);
    cr_assert_null(bytes.owner, "the reference moved");
}

/* `count` chunks of one byte each, from the start of the stream. */
static spw_chunks single_bytes(size_t count)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    for (size_t i = 0; i < count; i++)
        push_piece(&chunks, i, 1);
    return chunks;
}

/* Whether the list holds single bytes of the stream from `at` on, and its sums say so. */
static void check_single_bytes(const spw_chunks *chunks, uint64_t at, size_t count)
{
    cr_assert_eq(chunks->count, count);
    cr_assert_eq(chunks->bytes, count);
    cr_assert_eq(chunks->foreign_bytes, count);
    spw_chunks_iter iter = spw_chunks_begin(chunks);
    const spw_bytes *bytes;
    size_t seen = 0;
    while ((bytes = spw_chunks_next(&iter)) != NULL) {
        cr_assert(bytes->len == 1 && stream_is(bytes, at + seen));
        seen++;
    }
    cr_assert_eq(seen, count);
    cr_assert_null(spw_chunks_next(&iter), "the end stays the end");
}

Test(chunks, empty)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE, other = SPILLWAY_CHUNKS_NONE;
    spw_bytes out;
    cr_assert_eq(spw_chunks_pop(&chunks, &out), 0);
    cr_assert_null(spw_chunks_peek(&chunks));
    cr_assert_eq(spw_chunks_take(&chunks, 10, 10, &other), 0);
    spw_chunks_iter iter = spw_chunks_begin(&chunks);
    cr_assert_null(spw_chunks_next(&iter));
    spw_chunks_join(&chunks, &other);
    spw_chunks_clear(&chunks);
    cr_assert_null(chunks.first);
    cr_assert_null(other.last);
}

Test(chunks, first_in_first_out)
{
    spw_chunks chunks = single_bytes(1000);
    check_single_bytes(&chunks, 0, 1000);
    for (size_t i = 0; i < 1000; i++) {
        const spw_bytes *first = spw_chunks_peek(&chunks);
        cr_assert_not_null(first);
        spw_bytes out;
        unsigned char byte = first->data[0];
        cr_assert_eq(spw_chunks_pop(&chunks, &out), 1);
        cr_assert_eq(out.data[0], byte);
        cr_assert_eq(byte, stream_byte(i));
        spw_bytes_release(&out);
        if (i % 97 == 0)
            check_single_bytes(&chunks, i + 1, 999 - i);
    }
    check_single_bytes(&chunks, 0, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(chunks, take_at_every_place)
{
    for (size_t total = 0; total <= 300; total += 37)
        for (size_t count = 0; count <= total + 1; count += 1 + total / 40) {
            spw_chunks from = single_bytes(total), to = single_bytes(3);
            size_t want = count < total ? count : total;
            cr_assert_eq(spw_chunks_take(&from, count, UINT64_MAX, &to), want);
            check_single_bytes(&from, want, total - want);
            cr_assert_eq(to.count, 3 + want);
            spw_bytes out;
            for (int i = 0; i < 3; i++) {
                spw_chunks_pop(&to, &out);
                spw_bytes_release(&out);
            }
            check_single_bytes(&to, 0, want);
            spw_chunks_join(&to, &from);
            check_single_bytes(&to, 0, total);
            check_single_bytes(&from, 0, 0);
            spw_chunks_clear(&to);
        }
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(chunks, take_by_bytes_takes_at_least_one)
{
    spw_chunks from = SPILLWAY_CHUNKS_NONE, to = SPILLWAY_CHUNKS_NONE;
    static const size_t sizes[] = {10, 20, 30, 0, 5};
    uint64_t at = 0;
    for (size_t i = 0; i < 5; at += sizes[i++])
        push_piece(&from, at, sizes[i]);
    cr_assert_eq(spw_chunks_take(&from, 0, UINT64_MAX, &to), 0);
    cr_assert_eq(spw_chunks_take(&from, 9, 0, &to), 1, "one, though it is too large");
    cr_assert_eq(to.bytes, 10);
    cr_assert_eq(spw_chunks_take(&from, 9, 49, &to), 1);
    cr_assert_eq(spw_chunks_take(&from, 9, 34, &to), 2, "30 and 0, not 5");
    cr_assert_eq(from.bytes, 5);
    cr_assert_eq(spw_chunks_take(&from, 9, 5, &to), 1);
    cr_assert_eq(to.count, 5);
    cr_assert_eq(to.bytes, 65);
    spw_chunks_clear(&to);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- sums of what is a pool's own ---- */

static void owner_stays(struct spw_owner *owner)
{
    (void)owner;
}

Test(chunks, pooled_bytes_are_not_foreign)
{
    struct spw_owner pooled;
    owner_init(&pooled, 1, true, owner_stays);
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE, front = SPILLWAY_CHUNKS_NONE;
    for (unsigned i = 0; i < 40; i++) {
        owner_acquire(&pooled);
        spw_bytes bytes = {(const unsigned char *)"pool", 4, &pooled};
        cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
        push_piece(&chunks, i, 3);
    }
    cr_assert_eq(chunks.bytes, 280);
    cr_assert_eq(chunks.foreign_bytes, 120);
    cr_assert_eq(spw_chunks_take(&chunks, 21, UINT64_MAX, &front), 21);
    cr_assert_eq(front.foreign_bytes, 30);
    cr_assert_eq(chunks.foreign_bytes, 90);
    spw_bytes out;
    cr_assert_eq(spw_chunks_pop(&chunks, &out), 1);
    cr_assert_eq(chunks.foreign_bytes, 87, "the 22nd is foreign");
    spw_bytes_release(&out);
    spw_chunks_join(&front, &chunks);
    cr_assert_eq(front.foreign_bytes, 117);
    spw_chunks_clear(&front);
    cr_assert(owner_is_unique(&pooled));
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- without memory ---- */

Test(chunks, push_without_memory_moves_nothing)
{
    spw_chunks chunks = SPILLWAY_CHUNKS_NONE;
    size_t refused = 0;
    for (size_t i = 0; i < 400; i++) {
        spw_bytes bytes = stream_piece(i, 1);
        fault_alloc_after(1);
        if (spw_chunks_push(&chunks, &bytes, &fault_allocator) == -ENOMEM) {
            refused++;
            cr_assert_not_null(bytes.owner);
            check_single_bytes(&chunks, 0, i);
            cr_assert_eq(spw_chunks_push(&chunks, &bytes, &fault_allocator), 0);
        }
        fault_alloc_after(0);
    }
    cr_assert_geq(refused, 4);
    cr_assert_leq(refused, 10, "a block holds many");
    check_single_bytes(&chunks, 0, 400);
    spw_chunks_clear(&chunks);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(chunks, take_without_memory_moves_fewer)
{
    for (size_t count = 1; count <= 300; count += 7) {
        spw_chunks from = single_bytes(300), to = SPILLWAY_CHUNKS_NONE;
        fault_alloc_from(1);
        size_t got = spw_chunks_take(&from, count, UINT64_MAX, &to);
        fault_alloc_from(0);
        cr_assert_leq(got, count);
        check_single_bytes(&to, 0, got);
        check_single_bytes(&from, got, 300 - got);
        cr_assert_eq(spw_chunks_take(&from, count - got, UINT64_MAX, &to), count - got);
        check_single_bytes(&to, 0, count);
        check_single_bytes(&from, count, 300 - count);
        spw_chunks_clear(&from);
        spw_chunks_clear(&to);
    }
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- lists that are cut and joined at random, against their places in the stream ---- */

enum { LISTS = 4, MOST = 600 };

struct model_list {
    spw_chunks chunks;
    size_t count;
    uint64_t bytes;
    struct {
        uint64_t at;
        size_t len;
    } items[MOST];
};

static void model_check(const struct model_list *list)
{
    cr_assert_eq(list->chunks.count, list->count);
    cr_assert_eq(list->chunks.bytes, list->bytes);
    cr_assert_eq(list->chunks.foreign_bytes, list->bytes);
    spw_chunks_iter iter = spw_chunks_begin(&list->chunks);
    for (size_t i = 0; i < list->count; i++) {
        const spw_bytes *bytes = spw_chunks_next(&iter);
        cr_assert_not_null(bytes);
        cr_assert_eq(bytes->len, list->items[i].len);
        cr_assert(stream_is(bytes, list->items[i].at));
    }
    cr_assert_null(spw_chunks_next(&iter));
    size_t blocks = 0;
    const struct spw_block *prev = NULL;
    for (const struct spw_block *b = list->chunks.first; b; prev = b, b = b->next, blocks++) {
        cr_assert_eq((uintptr_t)b->prev, (uintptr_t)prev);
        cr_assert_gt(block_count(b), 0, "no block in a list is empty");
    }
    cr_assert_eq((uintptr_t)list->chunks.last, (uintptr_t)prev);
}

static void model_move(struct model_list *from, size_t count, struct model_list *to)
{
    for (size_t i = 0; i < count; i++) {
        to->items[to->count + i] = from->items[i];
        to->bytes += from->items[i].len;
        from->bytes -= from->items[i].len;
    }
    to->count += count;
    from->count -= count;
    memmove(from->items, from->items + count, from->count * sizeof(from->items[0]));
}

static void model_push(struct random *random, struct model_list *list)
{
    for (uint64_t n = random_below(random, 40); n > 0 && list->count < MOST; n--) {
        uint64_t at = random_below(random, 100000);
        size_t len = (size_t)random_below(random, 20);
        push_piece(&list->chunks, at, len);
        list->items[list->count].at = at;
        list->items[list->count++].len = len;
        list->bytes += len;
    }
}

static void model_take(struct random *random, struct model_list *from, struct model_list *to)
{
    size_t max_count = (size_t)random_below(random, 200);
    uint64_t max_bytes = random_percent(random, 50) ? UINT64_MAX : random_below(random, 1500);
    size_t count = 0;
    uint64_t bytes = 0;
    while (count < from->count && count < max_count &&
           (count == 0 || bytes + from->items[count].len <= max_bytes))
        bytes += from->items[count++].len;
    if (to->count + count > MOST)
        return;
    if (random_percent(random, 20)) {
        fault_alloc_after(1);
        size_t got = spw_chunks_take(&from->chunks, max_count, max_bytes, &to->chunks);
        fault_alloc_after(0);
        cr_assert_leq(got, count);
        model_move(from, got, to);
        return;
    }
    cr_assert_eq(spw_chunks_take(&from->chunks, max_count, max_bytes, &to->chunks), count);
    model_move(from, count, to);
}

static void model_pop(struct random *random, struct model_list *list)
{
    for (uint64_t n = random_below(random, 50); n > 0 && list->count > 0; n--) {
        spw_bytes out;
        cr_assert_eq(spw_chunks_pop(&list->chunks, &out), 1);
        cr_assert_eq(out.len, list->items[0].len);
        cr_assert(stream_is(&out, list->items[0].at));
        spw_bytes_release(&out);
        list->bytes -= list->items[0].len;
        memmove(list->items, list->items + 1, --list->count * sizeof(list->items[0]));
    }
}

Test(chunks, random_cuts_and_joins)
{
    struct random random = random_open("chunks::random_cuts_and_joins");
    struct model_list *lists = calloc(LISTS, sizeof(*lists));
    cr_assert_not_null(lists);
    uint64_t rounds = test_scaled(20000);
    for (uint64_t round = 0; round < rounds; round++) {
        struct model_list *a = &lists[random_below(&random, LISTS)];
        struct model_list *b = &lists[random_below(&random, LISTS)];
        switch (random_below(&random, 5)) {
        case 0:
            model_push(&random, a);
            break;
        case 1:
            model_pop(&random, a);
            break;
        case 2:
            if (a != b && a->count + b->count <= MOST) {
                spw_chunks_join(&a->chunks, &b->chunks);
                model_move(b, b->count, a);
            }
            break;
        default:
            if (a != b)
                model_take(&random, a, b);
        }
        model_check(a);
        model_check(b);
    }
    for (unsigned i = 0; i < LISTS; i++)
        spw_chunks_clear(&lists[i].chunks);
    free(lists);
    cr_assert_eq(fault_alloc_live(), 0);
}
