/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/owner.h"
#include "../lib/queue.h"
#include "child.h"
#include "fault.h"
#include "harness.h"
#include "queue_tools.h"

struct rig {
    spw_writer *writer;
    spw_reader *reader;
    struct test_account account;
    struct boxes boxes;
    uint64_t pushed, drained; /* places in the stream */
};

/* A queue whose policies, if any, spill all but `head` bytes and fetch one run a drain. */
static void rig_open(struct rig *rig, bool spills, uint64_t head)
{
    memset(rig, 0, sizeof(*rig));
    test_account_init(&rig->account);
    boxes_init(&rig->boxes);
    spw_queue_options options = {.size = sizeof(options),
                                 .name = "a queue",
                                 .account = &rig->account.account,
                                 .allocator = &fault_allocator};
    spw_threshold_config threshold = {
        .size = sizeof(threshold), .head_reserve_bytes = head, .allocator = &fault_allocator};
    if (spills)
        cr_assert_eq(spw_threshold_open(&rig->boxes.strategy, &threshold, &options.writer_policy),
                     0);
    cr_assert_eq(spw_queue_open(&options, &rig->writer, &rig->reader), 0);
    cr_assert_eq(rig->account.holders, 1);
}

/* Closes what is still open and looks for leftovers. */
static void rig_close(struct rig *rig)
{
    spw_writer_close(rig->writer);
    spw_reader_close(rig->reader);
    cr_assert_eq(rig->account.account.counters->resident_foreign_bytes, 0);
    cr_assert_eq(rig->account.account.counters->entry_block_bytes, 0);
    cr_assert_eq(rig->account.holders, 0);
    cr_assert_eq(rig->boxes.live, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

static void rig_extend(struct rig *rig, size_t len)
{
    spw_bytes value = stream_piece(rig->pushed, len);
    cr_assert_eq(spw_writer_extend(rig->writer, &value, 1, 0), 0);
    cr_assert_null(value.owner);
    rig->pushed += len;
}

/* Drains once; returns what that returned. */
static long rig_drain(struct rig *rig, size_t capacity)
{
    spw_bytes out[64];
    cr_assert_leq(capacity, 64);
    long got = spw_reader_drain(rig->reader, out, capacity);
    for (long i = 0; i < got; i++) {
        cr_assert(stream_is(&out[i], rig->drained), "byte %llu", (unsigned long long)rig->drained);
        rig->drained += out[i].len;
        spw_bytes_release(&out[i]);
    }
    return got;
}

static spw_queue_info rig_info(const struct rig *rig)
{
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_reader_info(rig->reader, &info), 0);
    return info;
}

/* ---- opening ---- */

Test(queue, open_without_options)
{
    spw_writer *writer;
    spw_reader *reader;
    cr_assert_eq(spw_queue_open(NULL, &writer, &reader), 0);
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_writer_info(writer, &info), 0);
    cr_assert_null(info.name);
    cr_assert_eq(info.size, sizeof(info));
    info.size = 1;
    cr_assert_eq(spw_writer_info(writer, &info), -EINVAL);
    cr_assert_eq(spw_reader_info(reader, &info), -EINVAL);
    spw_writer_close(writer);
    spw_reader_close(reader);
    spw_writer_close(NULL);
    spw_writer_abort(NULL, 0);
    spw_reader_close(NULL);
    spw_reader_abort(NULL, 0);
}

Test(queue, name_is_copied)
{
    char name[] = "exchange 7";
    spw_queue_options options = {.size = sizeof(options), .name = name};
    spw_writer *writer;
    spw_reader *reader;
    cr_assert_eq(spw_queue_open(&options, &writer, &reader), 0);
    name[0] = '?';
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_reader_info(reader, &info), 0);
    cr_assert_str_eq(info.name, "exchange 7");
    spw_writer_close(writer);
    spw_reader_close(reader);
}

struct idle_policy {
    spw_policy policy;
    int closed;
};

static void idle_apply(spw_policy *policy, spw_view *view)
{
    (void)policy;
    (void)view;
}

static void idle_close(spw_policy *policy)
{
    ((struct idle_policy *)policy)->closed++;
}

static const spw_policy_ops idle_ops = {
    .size = sizeof(idle_ops), .name = "idle", .apply = idle_apply, .close = idle_close};

Test(queue, failed_open_changes_nothing)
{
    struct idle_policy writer_policy = {{&idle_ops}, 0}, reader_policy = {{&idle_ops}, 0};
    struct test_account account;
    test_account_init(&account);
    spw_queue_options options = {.size = sizeof(options) - 1,
                                 .name = "name",
                                 .writer_policy = &writer_policy.policy,
                                 .reader_policy = &reader_policy.policy,
                                 .account = &account.account,
                                 .allocator = &fault_allocator};
    spw_writer *writer = NULL;
    spw_reader *reader = NULL;
    cr_assert_eq(spw_queue_open(&options, &writer, &reader), -EINVAL);
    options.size = sizeof(options);
    uint64_t n = 1;
    for (;; n++) {
        fault_alloc_after(n);
        int err = spw_queue_open(&options, &writer, &reader);
        if (err == 0)
            break;
        cr_assert_eq(err, -ENOMEM);
        cr_assert_null(writer);
        cr_assert_null(reader);
        cr_assert_eq(account.holders, 0);
        cr_assert_eq(writer_policy.closed + reader_policy.closed, 0);
        cr_assert_eq(fault_alloc_live(), 0);
    }
    cr_assert_geq(n, 5);
    spw_writer_close(writer);
    cr_assert_eq(writer_policy.closed, 0, "policies live as long as an end");
    spw_reader_close(reader);
    cr_assert_eq(writer_policy.closed, 1);
    cr_assert_eq(reader_policy.closed, 1);
    cr_assert_eq(account.holders, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- order, merging ---- */

Test(queue, first_in_first_out)
{
    struct rig rig;
    rig_open(&rig, false, 0);
    cr_assert_eq(rig_drain(&rig, 1), -EAGAIN);
    cr_assert_eq(rig_drain(&rig, 0), -EINVAL);
    for (size_t i = 0; i < 1000; i++)
        rig_extend(&rig, 1 + i % 5);
    spw_queue_info info = rig_info(&rig);
    cr_assert_eq(info.entries, 1000);
    cr_assert_eq(info.resident_bytes, 3000);
    cr_assert_eq(info.paged_entries, 0);
    cr_assert_eq(info.extended_bytes_total, 3000);
    cr_assert_eq(rig_drain(&rig, 1), 1);
    cr_assert_eq(rig_drain(&rig, 64), 64);
    info = rig_info(&rig);
    cr_assert_eq(info.entries, 935);
    cr_assert_eq(info.drained_bytes_total, rig.drained);
    cr_assert_eq(info.resident_bytes, 3000 - rig.drained);
    while (rig_drain(&rig, 64) > 0)
        ;
    cr_assert_eq(rig.drained, 3000);
    cr_assert_eq(rig_drain(&rig, 64), -EAGAIN);
    rig_close(&rig);
}

static size_t slab_values(spw_slab *slab, uint64_t at, const size_t *lens, size_t count,
                          spw_bytes *out)
{
    for (size_t i = 0; i < count; i++) {
        stream_fill(spw_slab_space(slab), at, lens[i]);
        cr_assert_eq(spw_slab_cut(slab, lens[i], &out[i]), 0);
        at += lens[i];
    }
    return (size_t)at;
}

Test(queue, merges_within_a_call_and_at_a_resident_tail)
{
    struct rig rig;
    spw_slab *slab, *other;
    spw_bytes values[4];
    static const size_t lens[] = {3, 0, 4, 5};
    rig_open(&rig, false, 0);
    cr_assert_eq(spw_slab_open(100, &fault_allocator, &slab), 0);
    cr_assert_eq(spw_slab_open(100, &fault_allocator, &other), 0);
    rig.pushed = slab_values(slab, rig.pushed, lens, 4, values);
    cr_assert_eq(spw_writer_extend(rig.writer, values, 4, 0), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_null(values[i].owner);
    spw_queue_info info = rig_info(&rig);
    cr_assert_eq(info.entries, 1);
    cr_assert_eq(info.merged_total, 2);
    cr_assert_eq(info.resident_bytes, 12);
    rig.pushed = slab_values(slab, rig.pushed, lens, 1, values);
    cr_assert_eq(spw_writer_extend(rig.writer, values, 1, 0), 0);
    cr_assert_eq(rig_info(&rig).entries, 1, "merged at the tail");
    rig.pushed = slab_values(other, rig.pushed, lens, 1, values);
    cr_assert_eq(spw_writer_extend(rig.writer, values, 1, 0), 0);
    cr_assert_eq(rig_info(&rig).entries, 2, "another owner");
    rig.pushed = slab_values(slab, rig.pushed, lens, 1, values);
    cr_assert_eq(spw_writer_extend(rig.writer, values, 1, 0), 0);
    cr_assert_eq(rig_info(&rig).entries, 3, "not the tail's neighbour any more");
    cr_assert_eq(rig_drain(&rig, 64), 3);
    rig.pushed = slab_values(slab, rig.pushed, lens, 1, values);
    cr_assert_eq(spw_writer_extend(rig.writer, values, 1, 0), 0);
    cr_assert_eq(rig_info(&rig).entries, 1, "nothing left to merge with");
    cr_assert_eq(spw_slab_regain(slab), -EBUSY);
    cr_assert_eq(rig_drain(&rig, 64), 1);
    cr_assert_eq(spw_slab_regain(slab), 0, "merged references went back");
    spw_slab_close(slab);
    spw_slab_close(other);
    cr_assert_eq(rig.drained, rig.pushed);
    rig_close(&rig);
}

Test(queue, values_of_no_length_leave_no_entry)
{
    struct rig rig;
    spw_bytes values[3] = {stream_piece(0, 0), SPILLWAY_BYTES_NONE, stream_piece(0, 0)};
    rig_open(&rig, false, 0);
    cr_assert_eq(spw_writer_extend(rig.writer, values, 3, 0), 0);
    cr_assert_null(values[0].owner);
    cr_assert_null(values[2].owner);
    cr_assert_eq(rig_info(&rig).entries, 0);
    cr_assert_eq(rig_drain(&rig, 1), -EAGAIN);
    cr_assert_eq(spw_writer_extend(rig.writer, values, 0, 0), 0);
    cr_assert_eq(spw_writer_extend(rig.writer, NULL, 0, 0), 0);
    rig_extend(&rig, 5);
    rig_extend(&rig, 0);
    cr_assert_eq(rig_info(&rig).entries, 1, "nor one that comes alone, behind an entry");
    cr_assert_eq(rig_info(&rig).merged_total, 0);
    cr_assert_eq(rig_drain(&rig, 2), 1);
    rig_close(&rig);
}

/* A call with one value has a shorter way. */
Test(queue, one_value_a_call_is_the_same_as_many)
{
    struct rig one, many;
    spw_bytes values[300];
    rig_open(&one, false, 0);
    rig_open(&many, false, 0);
    for (unsigned i = 0; i < 300; i++) {
        values[i] = stream_piece(i * 7, 7);
        rig_extend(&one, 7);
    }
    cr_assert_eq(spw_writer_extend(many.writer, values, 300, 0), 0);
    many.pushed = 300 * 7;
    spw_queue_info infos[2] = {rig_info(&one), rig_info(&many)};
    cr_assert_eq(infos[0].entries, 300, "each value of an allocation of its own");
    cr_assert_eq(infos[0].entries, infos[1].entries);
    cr_assert_eq(infos[0].resident_bytes, infos[1].resident_bytes);
    cr_assert_eq(infos[0].extended_bytes_total, infos[1].extended_bytes_total);
    cr_assert_eq(one.account.account.counters->resident_foreign_bytes,
                 many.account.account.counters->resident_foreign_bytes);
    cr_assert_eq(one.account.account.counters->entry_block_bytes,
                 many.account.account.counters->entry_block_bytes);
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(rig_drain(&one, 1), 1);
    while (rig_drain(&many, 64) > 0)
        ;
    cr_assert_eq(one.drained, one.pushed);
    cr_assert_eq(many.drained, many.pushed);
    spw_writer_close(one.writer);
    spw_reader_close(one.reader);
    rig_close(&many);
}

/* Pages everything, the merge target too. */
struct pager {
    spw_policy policy;
    struct boxes *boxes;
};

static void pager_apply(spw_policy *policy, spw_view *view)
{
    struct boxes *boxes = ((struct pager *)policy)->boxes;
    for (spw_cursor at = spw_view_head(view); spw_cursor_kind(&at) != SPILLWAY_ENTRY_NONE;) {
        const spw_bytes *bytes = spw_cursor_bytes(&at);
        if (!bytes) {
            spw_cursor_next(&at);
            continue;
        }
        spw_chunks copy = SPILLWAY_CHUNKS_NONE, removed = SPILLWAY_CHUNKS_NONE;
        spw_bytes clone = spw_bytes_clone(bytes);
        cr_assert_eq(spw_chunks_push(&copy, &clone, &fault_allocator), 0);
        cr_assert_eq(spw_view_page(view, &at, 1, box_open(boxes, &copy), &removed), 0);
        spw_chunks_clear(&removed);
    }
}

static void pager_close(spw_policy *policy)
{
    (void)policy;
}

static const spw_policy_ops pager_ops = {
    .size = sizeof(pager_ops), .name = "pager", .apply = pager_apply, .close = pager_close};

Test(queue, never_merges_into_a_paged_tail)
{
    struct boxes boxes;
    struct pager pager = {{&pager_ops}, &boxes};
    struct test_account account;
    boxes_init(&boxes);
    test_account_init(&account);
    spw_queue_options options = {.size = sizeof(options),
                                 .writer_policy = &pager.policy,
                                 .account = &account.account,
                                 .allocator = &fault_allocator};
    struct rig rig = {0};
    spw_slab *slab;
    static const size_t lens[] = {3, 4};
    spw_bytes values[2];
    cr_assert_eq(spw_queue_open(&options, &rig.writer, &rig.reader), 0);
    cr_assert_eq(spw_slab_open(100, &fault_allocator, &slab), 0);
    for (size_t i = 0; i < 3; i++) {
        rig.pushed = slab_values(slab, rig.pushed, lens, 2, values);
        cr_assert_eq(spw_writer_extend(rig.writer, values, 2, 0), 0);
        spw_queue_info info = rig_info(&rig);
        cr_assert_eq(info.entries, i + 1);
        cr_assert_eq(info.paged_entries, i + 1);
        cr_assert_eq(info.merged_total, i + 1, "within the call only");
        cr_assert_eq(account.account.counters->resident_foreign_bytes, 0);
    }
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(rig_drain(&rig, 64), 1, "what is paged stays apart");
    cr_assert_eq(rig.drained, 21);
    spw_slab_close(slab);
    spw_writer_close(rig.writer);
    spw_reader_close(rig.reader);
    cr_assert_eq(account.account.counters->entry_block_bytes, 0);
    cr_assert_eq(fault_alloc_live(), 0);
}

Test(queue, extends_by_many_at_once)
{
    enum { MANY = 5000 };
    struct rig rig;
    spw_bytes *values = calloc(MANY, sizeof(*values));
    rig_open(&rig, true, 100);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++) {
            size_t len = (i + round) % 4;
            values[i] = stream_piece(rig.pushed, len);
            rig.pushed += len;
        }
        cr_assert_eq(spw_writer_extend(rig.writer, values, MANY, 0), 0);
        cr_assert_eq(rig_info(&rig).entries, (round + 1) * MANY * 3 / 4);
    }
    free(values);
    long got;
    while ((got = rig_drain(&rig, 64)) > 0)
        ;
    cr_assert_eq(got, -EAGAIN);
    cr_assert_eq(rig.drained, rig.pushed);
    rig_close(&rig);
}

/* ---- without memory ---- */

Test(queue, failed_extend_takes_nothing)
{
    enum { MANY = 700 };
    static spw_bytes values[MANY];
    uint64_t most = 0;
    for (size_t standing = 0; standing < 200; standing += 63) {
        uint64_t n = 1;
        for (bool done = false; !done; n++) {
            struct rig rig;
            rig_open(&rig, false, 0);
            for (size_t i = 0; i < standing; i++)
                rig_extend(&rig, 2);
            for (size_t i = 0; i < MANY; i++)
                values[i] = stream_piece(rig.pushed + i, 1);
            spw_queue_info before = rig_info(&rig);
            uint64_t blocks = rig.account.account.counters->entry_block_bytes;
            fault_alloc_after(n);
            int err = spw_writer_extend(rig.writer, values, MANY, 0);
            fault_alloc_after(0);
            if (err) {
                cr_assert_eq(err, -ENOMEM);
                for (size_t i = 0; i < MANY; i++)
                    cr_assert(values[i].owner && values[i].len == 1);
                spw_queue_info after = rig_info(&rig);
                cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0);
                cr_assert_eq(rig.account.account.counters->entry_block_bytes, blocks);
                cr_assert_eq(spw_writer_extend(rig.writer, values, MANY, 0), 0, "again");
            }
            done = !err;
            rig.pushed += MANY;
            while (rig_drain(&rig, 64) > 0)
                ;
            cr_assert_eq(rig.drained, rig.pushed);
            rig_close(&rig);
        }
        most = n > most ? n : most;
    }
    cr_assert_gt(most, 6, "one block after another was refused");
}

Test(queue, spilling_and_fetching_without_memory_lose_nothing)
{
    uint64_t rounds = test_scaled(400);
    for (uint64_t n = 1; n <= rounds; n++) {
        struct rig rig;
        rig_open(&rig, true, 20);
        rig.boxes.chunks_per_box = 1 + n % 3;
        fault_alloc_after(n);
        for (size_t i = 0; i < 60; i++) {
            spw_bytes value = SPILLWAY_BYTES_NONE;
            while (stream_copy(rig.pushed, 5, &value))
                ;
            int err = spw_writer_extend(rig.writer, &value, 1, 0);
            if (err) {
                cr_assert_eq(err, -ENOMEM);
                cr_assert_eq(spw_writer_extend(rig.writer, &value, 1, 0), 0);
            }
            rig.pushed += 5;
            cr_assert(view_is_valid(writer_view(rig.writer)));
        }
        fault_alloc_after(n % 20 + 1);
        long got;
        while ((got = rig_drain(&rig, 7)) > 0 || got == -ENOMEM)
            cr_assert(view_is_valid(writer_view(rig.writer)));
        fault_alloc_after(0);
        cr_assert_eq(got, -EAGAIN);
        cr_assert_eq(rig.drained, rig.pushed);
        rig_close(&rig);
    }
}

/* ---- closing ---- */

Test(queue, clean_end)
{
    struct rig rig;
    rig_open(&rig, true, 4);
    for (int i = 0; i < 5; i++)
        rig_extend(&rig, 4);
    cr_assert_not(spw_reader_complete(rig.reader));
    spw_writer_close(rig.writer);
    rig.writer = NULL;
    cr_assert_not(spw_reader_complete(rig.reader), "something is left");
    while (rig_drain(&rig, 2) > 0)
        ;
    cr_assert_eq(rig.drained, 20);
    cr_assert(spw_reader_complete(rig.reader));
    cr_assert_eq(rig_drain(&rig, 2), 0);
    spw_bytes out;
    cr_assert_eq(spw_reader_drain_wait(rig.reader, &out, 1, SPILLWAY_FOREVER), 0);
    rig_close(&rig);
}

Test(queue, unclean_end_of_the_writer)
{
    static const int given[] = {-EIO, 0, 7, -ECONNRESET},
                     told[] = {-EIO, -ECONNRESET, -ECONNRESET, -ECONNRESET};
    for (unsigned i = 0; i < 4; i++) {
        struct rig rig;
        rig_open(&rig, true, 4);
        for (int v = 0; v < 5; v++)
            rig_extend(&rig, 4);
        cr_assert_gt(rig.boxes.live, 0);
        spw_writer_abort(rig.writer, given[i]);
        rig.writer = NULL;
        cr_assert_eq(rig.boxes.live, 0, "what was left is dropped");
        cr_assert_eq(rig.account.account.counters->resident_foreign_bytes, 0);
        spw_bytes out;
        cr_assert_eq(rig_drain(&rig, 2), told[i]);
        cr_assert_eq(spw_reader_drain_wait(rig.reader, &out, 1, 0), told[i]);
        cr_assert_not(spw_reader_complete(rig.reader));
        cr_assert_eq(spw_reader_skip(rig.reader, NULL), -EINVAL);
        rig_close(&rig);
    }
}

Test(queue, end_of_the_reader)
{
    static const int told[] = {-EPIPE, -ECONNRESET, -EBADMSG};
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        rig_open(&rig, true, 4);
        for (int v = 0; v < 5; v++)
            rig_extend(&rig, 4);
        if (i == 0)
            spw_reader_close(rig.reader);
        else
            spw_reader_abort(rig.reader, i == 1 ? 0 : -EBADMSG);
        rig.reader = NULL;
        cr_assert_eq(rig.boxes.live, 0, "what was left is dropped");
        cr_assert_eq(rig.account.account.counters->resident_foreign_bytes, 0);
        spw_bytes value = stream_piece(0, 3);
        cr_assert_eq(spw_writer_extend(rig.writer, &value, 1, 0), told[i]);
        cr_assert_eq(value.len, 3, "and nothing is taken");
        cr_assert_not_null(value.owner);
        spw_bytes_release(&value);
        spw_queue_info info = {.size = sizeof(info)};
        cr_assert_eq(spw_writer_info(rig.writer, &info), 0);
        cr_assert_eq(info.entries, 0);
        rig_close(&rig);
    }
}

Test(queue, drained_bytes_outlive_the_queue)
{
    struct rig rig;
    spw_bytes out;
    rig_open(&rig, false, 0);
    rig_extend(&rig, 50);
    cr_assert_eq(spw_reader_drain(rig.reader, &out, 1), 1);
    spw_writer_close(rig.writer);
    spw_reader_close(rig.reader);
    cr_assert(stream_is(&out, 0));
    spw_bytes_release(&out);
    cr_assert_eq(fault_alloc_live(), 0);
}

/* ---- heads that fail ---- */

Test(queue, a_failed_head_is_told_and_can_be_retried)
{
    struct rig rig;
    rig_open(&rig, true, 8);
    for (int i = 0; i < 8; i++)
        rig_extend(&rig, 4);
    rig.boxes.fetch_failures = 3;
    cr_assert_eq(rig_drain(&rig, 10), 2, "what is resident comes first");
    spw_bytes out;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(i == 1 ? spw_reader_drain_wait(rig.reader, &out, 1, SPILLWAY_FOREVER)
                            : rig_drain(&rig, 10),
                     -EIO, "told, not waited for");
    cr_assert_eq((int)spw_error_class(-EIO), SPILLWAY_CLASS_RETRY);
    cr_assert_eq(rig_info(&rig).entries, 6);
    while (rig_drain(&rig, 10) > 0)
        ;
    cr_assert_eq(rig.drained, rig.pushed);
    rig_close(&rig);
}

Test(queue, a_lost_head_can_be_skipped)
{
    struct rig rig;
    uint64_t lost = 0;
    rig_open(&rig, true, 4);
    for (size_t i = 0; i < 6; i++)
        rig_extend(&rig, 4 + i);
    cr_assert_eq(spw_reader_skip(rig.reader, &lost), -EINVAL, "a resident head");
    cr_assert_eq(rig_drain(&rig, 1), 1);
    cr_assert_eq(spw_reader_skip(rig.reader, &lost), -EINVAL, "a paged one that nobody tried");
    rig.boxes.fetch_failures = 1;
    rig.boxes.fetch_error = -EBADMSG;
    cr_assert_eq(rig_drain(&rig, 1), -EBADMSG);
    cr_assert_eq((int)spw_error_class(-EBADMSG), SPILLWAY_CLASS_LOST);
    cr_assert_eq(lost, 0);
    cr_assert_eq(spw_reader_skip(rig.reader, &lost), 0);
    cr_assert_eq(lost, 5);
    cr_assert_eq(spw_reader_skip(rig.reader, &lost), -EINVAL, "the next one did not fail");
    cr_assert_eq(rig_info(&rig).skipped_bytes_total, 5);
    rig.drained += 5;
    cr_assert_eq(rig_drain(&rig, 1), 1);
    rig.boxes.fetch_failures = 1;
    cr_assert_eq(rig_drain(&rig, 1), -EBADMSG);
    cr_assert_eq(rig_drain(&rig, 1), 1, "the retry worked");
    cr_assert_eq(spw_reader_skip(rig.reader, NULL), -EINVAL);
    rig.boxes.fetch_failures = 1;
    cr_assert_eq(rig_drain(&rig, 1), -EBADMSG);
    cr_assert_eq(spw_reader_skip(rig.reader, NULL), 0);
    rig.drained += 8;
    cr_assert_eq(rig_drain(&rig, 1), 1);
    cr_assert_eq(rig.drained, rig.pushed);
    spw_queue_info info = rig_info(&rig);
    cr_assert_eq(info.skipped_bytes_total, 13);
    cr_assert_eq(info.extended_bytes_total, info.drained_bytes_total + info.skipped_bytes_total);
    rig_close(&rig);
}

/* Brings the head back and pages it again: another handle, which nobody tried. */
static void swap_head(spw_policy *policy, spw_view *view)
{
    spw_cursor head = spw_view_head(view);
    cr_assert_eq(spw_view_fetch(view, &head, 0), 1);
    pager_apply(policy, view);
}

Test(queue, only_the_run_that_failed_can_be_skipped)
{
    static const spw_policy_ops swapping = {
        .size = sizeof(swapping), .name = "swapper", .apply = swap_head, .close = pager_close};
    struct rig rig = {0};
    struct pager pager = {{&pager_ops}, &rig.boxes};
    spw_queue_options options = {
        .size = sizeof(options), .writer_policy = &pager.policy, .allocator = &fault_allocator};
    test_account_init(&rig.account);
    boxes_init(&rig.boxes);
    cr_assert_eq(spw_queue_open(&options, &rig.writer, &rig.reader), 0);
    rig_extend(&rig, 4);
    rig.boxes.fetch_failures = 1;
    cr_assert_eq(rig_drain(&rig, 1), -EIO);
    pager.policy.ops = &swapping;
    rig_extend(&rig, 4);
    cr_assert_eq(spw_reader_skip(rig.reader, NULL), -EINVAL);
    cr_assert_eq(rig_drain(&rig, 1), 1);
    cr_assert_eq(rig_drain(&rig, 1), 1);
    rig_close(&rig);
}

Test(queue, a_head_that_is_not_ready_is_no_failure)
{
    struct rig rig;
    rig_open(&rig, true, 4);
    for (int i = 0; i < 4; i++)
        rig_extend(&rig, 4);
    cr_assert_eq(rig_drain(&rig, 1), 1);
    rig.boxes.fetch_failures = 1;
    rig.boxes.fetch_error = -EAGAIN;
    cr_assert_eq(rig_drain(&rig, 1), -EAGAIN);
    cr_assert_eq(spw_reader_skip(rig.reader, NULL), -EINVAL);
    cr_assert_eq(rig_drain(&rig, 1), 1);
    rig_close(&rig);
}

/* ---- accounts ---- */

Test(queue, accounts_follow_what_is_resident)
{
    struct rig rig;
    rig_open(&rig, true, 1000);
    struct spw_account *account = &rig.account.account;
    for (size_t i = 0; i < 2000; i++) {
        rig_extend(&rig, 10);
        spw_queue_info info = rig_info(&rig);
        cr_assert_eq(account->counters->resident_foreign_bytes, info.resident_bytes);
        cr_assert_geq(account->counters->entry_block_bytes,
                      (info.entries - info.paged_entries) * sizeof(spw_bytes));
        cr_assert_leq(account->counters->entry_block_bytes, 20000 + info.paged_entries * 500,
                      "%llu for %llu", (unsigned long long)account->counters->entry_block_bytes,
                      (unsigned long long)info.paged_entries);
        if (i % 3 == 0)
            cr_assert_gt(rig_drain(&rig, 2), 0);
        cr_assert_eq(account->counters->resident_foreign_bytes, rig_info(&rig).resident_bytes);
    }
    account_add_waiters(account, 1);
    int before = rig.account.relieved;
    cr_assert_gt(rig_drain(&rig, 2), 0);
    cr_assert_eq(rig.account.relieved, before + 1, "who waits for memory is told");
    rig_close(&rig);
}

static void owner_stays(struct spw_owner *owner)
{
    (void)owner;
}

Test(queue, pooled_bytes_are_not_counted_as_foreign)
{
    struct rig rig;
    struct spw_owner pooled;
    static unsigned char data[16];
    owner_init(&pooled, 1, true, owner_stays);
    rig_open(&rig, false, 0);
    stream_fill(data, 0, 16);
    for (size_t i = 0; i < 4; i++) {
        owner_acquire(&pooled);
        spw_bytes value = {data + i * 4, 4, &pooled};
        cr_assert_eq(spw_writer_extend(rig.writer, &value, 1, 0), 0);
    }
    cr_assert_eq(rig_info(&rig).entries, 1, "merged");
    cr_assert_eq(rig.account.account.counters->resident_foreign_bytes, 0);
    rig.pushed = 16;
    rig_extend(&rig, 5);
    cr_assert_eq(rig.account.account.counters->resident_foreign_bytes, 5);
    cr_assert_eq(rig_drain(&rig, 4), 2);
    cr_assert_eq(rig.account.account.counters->resident_foreign_bytes, 0);
    cr_assert(owner_is_unique(&pooled));
    rig_close(&rig);
}

/* ---- forked children ---- */

static int child_calls(struct rig *rig)
{
    spw_bytes value = SPILLWAY_BYTES_NONE, out;
    spw_queue_info info = {.size = sizeof(info)};
    spw_queue_options options = {.size = sizeof(options), .account = &rig->account.account};
    spw_writer *writer;
    spw_reader *reader;
    return spw_writer_extend(rig->writer, &value, 1, 0) == -EOWNERDEAD &&
           spw_reader_drain(rig->reader, &out, 1) == -EOWNERDEAD &&
           spw_reader_drain_wait(rig->reader, &out, 1, 0) == -EOWNERDEAD &&
           spw_reader_arm(rig->reader, NULL, NULL) == -EOWNERDEAD &&
           spw_reader_event_fd(rig->reader) == -EOWNERDEAD &&
           spw_reader_skip(rig->reader, NULL) == -EOWNERDEAD &&
           spw_reader_complete(rig->reader) == 0 &&
           spw_reader_info(rig->reader, &info) == -EOWNERDEAD &&
           spw_writer_info(rig->writer, &info) == -EOWNERDEAD &&
           spw_queue_open(&options, &writer, &reader) == -EOWNERDEAD;
}

Test(queue, a_forked_child_is_refused)
{
    struct rig rig;
    struct guard guard;
    int err = guard_open(&guard, &os_linux);
    if (err)
        test_skip("no wipe-on-fork here: %d", err);
    rig_open(&rig, false, 0);
    rig.account.account.guard = &guard;
    rig.writer->queue->alive = guard.word; /* as if the account had had it from the start */
    rig_extend(&rig, 10);
    /* As if another thread were in the middle of a call. */
    pthread_mutex_lock(&rig.writer->queue->lock);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        int good = child_calls(&rig);
        spw_writer_close(rig.writer);
        spw_reader_abort(rig.reader, -EIO);
        child_leaves(!good);
    }
    pthread_mutex_unlock(&rig.writer->queue->lock);
    int status = -1;
    cr_assert_gt(child, 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    cr_assert_eq(rig_drain(&rig, 1), 1);
    rig_close(&rig);
    guard_close(&guard, &os_linux);
}

/* ---- cost ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void push_clone(struct rig *rig, const spw_bytes *bytes)
{
    spw_bytes value = spw_bytes_clone(bytes);
    cr_assert_eq(spw_writer_extend(rig->writer, &value, 1, 0), 0);
}

static void pop_one(struct rig *rig)
{
    spw_bytes out;
    cr_assert_eq(spw_reader_drain(rig->reader, &out, 1), 1);
    spw_bytes_release(&out);
}

/* The best of several times of extend + drain at a standing depth, in ns for all of them. */
static uint64_t cost_at_depth(struct rig *rig, const spw_bytes *bytes, size_t depth)
{
    enum { TRIES = 5, OPERATIONS = 2000 };
    uint64_t best = UINT64_MAX;
    while (rig_info(rig).entries < depth)
        push_clone(rig, bytes);
    for (int i = 0; i < TRIES; i++) {
        uint64_t start = now_ns();
        for (int o = 0; o < OPERATIONS; o++) {
            push_clone(rig, bytes);
            pop_one(rig);
        }
        uint64_t took = now_ns() - start;
        best = took < best ? took : best;
    }
    return best;
}

static void check_cost(bool spills, uint64_t spill_limit)
{
    struct rig rig;
    spw_bytes bytes = stream_piece(0, 1);
    size_t deep = (size_t)test_scaled(500000);
    rig_open(&rig, spills, 100);
    rig.boxes.spill_limit = spill_limit;
    uint64_t shallow_ns = cost_at_depth(&rig, &bytes, 1000);
    uint64_t deep_ns = cost_at_depth(&rig, &bytes, 1000 + deep);
    cr_assert_lt(deep_ns, 20 * shallow_ns, "%llu ns at 1000 entries, %llu at %zu",
                 (unsigned long long)shallow_ns, (unsigned long long)deep_ns, 1000 + deep);
    spw_bytes_release(&bytes);
    rig_close(&rig);
}

Test(queue, cost_does_not_grow_with_resident_entries)
{
    check_cost(false, 0);
}

Test(queue, cost_does_not_grow_with_paged_entries)
{
    check_cost(true, UINT64_MAX);
}

Test(queue, cost_does_not_grow_when_spills_are_refused)
{
    check_cost(true, 0);
}
