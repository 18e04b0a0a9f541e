/* SPDX-License-Identifier: MIT */
/* What spilling bought, and what was spilled in haste. */
#include <string.h>

#include "../pool/ledger.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#define SECOND_NS UINT64_C(1000000000)

static uint64_t byte_seconds(struct ledger *ledger, uint64_t now_ns)
{
    ledger_advance(ledger, now_ns);
    return ledger_byte_seconds(ledger);
}

Test(ledger, bytes_times_seconds)
{
    struct ledger ledger = {0};
    uint64_t now_ns = 5000 * SECOND_NS;
    cr_assert_eq(byte_seconds(&ledger, now_ns), 0);
    ledger_stored(&ledger, 1000, 2, now_ns);
    cr_assert_eq(byte_seconds(&ledger, now_ns + SECOND_NS / 2), 500);
    now_ns += SECOND_NS;
    ledger_stored(&ledger, 3000, 3, now_ns);
    now_ns += 2 * SECOND_NS;
    ledger_gone(&ledger, 1000, now_ns);
    now_ns += SECOND_NS;
    cr_assert_eq(byte_seconds(&ledger, now_ns), 1000 + 2 * 4000 + 3000);
    ledger_gone(&ledger, 3000, now_ns);
    cr_assert_eq(byte_seconds(&ledger, now_ns + 100 * SECOND_NS), 12000);
}

/* As much as fits into a large machine, for years. */
Test(ledger, large_sums)
{
    struct ledger ledger = {0};
    uint64_t tib = UINT64_C(1) << 40, year_s = 365 * 24 * 3600;
    ledger_stored(&ledger, tib, 2, SECOND_NS);
    cr_assert_eq(byte_seconds(&ledger, SECOND_NS + year_s / 4 * SECOND_NS), tib * (year_s / 4));
}

Test(ledger, what_was_spilled_within_a_second_was_in_haste)
{
    struct ledger ledger = {0};
    uint64_t begin_ns = 77 * SECOND_NS;
    /* One run each 10 ms: run 1 at 0, run 2 at 10 ms. */
    for (uint64_t id = 1; id <= 500; id++)
        ledger_stored(&ledger, 1, id + 1, begin_ns + (id - 1) * SECOND_NS / 100);
    uint64_t now_ns = begin_ns + 499 * SECOND_NS / 100;
    cr_assert(ledger_is_hasty(&ledger, 500, now_ns));
    cr_assert(ledger_is_hasty(&ledger, 401, now_ns));
    cr_assert_not(ledger_is_hasty(&ledger, 1, now_ns));
    cr_assert_not(ledger_is_hasty(&ledger, 385, now_ns), "one step is not told apart");
    cr_assert(ledger_is_hasty(&ledger, 500, now_ns + SECOND_NS - 1));
    cr_assert_not(ledger_is_hasty(&ledger, 500, now_ns + SECOND_NS), "nothing came since");
    /* A pause, and one more run. */
    ledger_stored(&ledger, 1, 502, now_ns + 10 * SECOND_NS);
    cr_assert_not(ledger_is_hasty(&ledger, 500, now_ns + 10 * SECOND_NS));
    cr_assert(ledger_is_hasty(&ledger, 501, now_ns + 10 * SECOND_NS));
}

Test(ledger, a_pool_keeps_it)
{
    static const struct setting settings[] = {
        {"memory", "8MiB"}, {"engine", "threads"}, {NULL, NULL}};
    struct hand hand;
    spw_chunks out;
    hand_open(&hand, settings, 1);
    fault_clock_set(1000 * SECOND_NS);
    hand_spill(&hand, stream_chunks(0, 1, 100000));
    hand_spill(&hand, stream_chunks(100000, 1, 100000));
    wait_state(hand.handles[0], RUN_STORED);
    wait_state(hand.handles[1], RUN_STORED);
    fault_clock_advance(SECOND_NS / 2);
    cr_assert_eq(fetch(hand.handles[0], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 0, 1, 100000));
    cr_assert_eq(bed_stats(&hand.bed).hasty_bytes_total, 100000);
    cr_assert_eq(bed_stats(&hand.bed).freed_byte_seconds_total, 100000);
    fault_clock_advance(2 * SECOND_NS);
    cr_assert_eq(fetch(hand.handles[1], SPILLWAY_FETCH_HEAD, &out), 0);
    cr_assert(chunks_are(&out, 100000, 1, 100000));
    cr_assert_eq(bed_stats(&hand.bed).hasty_bytes_total, 100000);
    cr_assert_eq(bed_stats(&hand.bed).freed_byte_seconds_total, 300000);
    hand_spill(&hand, stream_chunks(0, 1, 100000));
    wait_state(hand.handles[2], RUN_STORED);
    fault_clock_advance(SECOND_NS);
    hand.handles[2]->ops->drop(hand.handles[2]);
    fault_clock_advance(SECOND_NS);
    cr_assert_eq(bed_stats(&hand.bed).freed_byte_seconds_total, 400000);
    cr_assert_eq(bed_stats(&hand.bed).hasty_bytes_total, 100000, "dropped is not fetched");
    fault_clock_real();
    hand_close(&hand);
}

/* What readers wait for in a drain counts too. */
Test(ledger, a_drain_that_waits_is_counted)
{
    static const struct setting settings[] = {
        {"memory", "2MiB"}, {"engine", "threads"}, {NULL, NULL}};
    struct bed bed;
    spw_bytes bytes;
    bed_open(&bed, settings, 1);
    struct ends ends = ends_open(&bed);
    for (unsigned i = 0; i < 100; i++) {
        bytes = stream_piece(i * 100000, 100000);
        cr_assert_eq(spw_writer_extend(ends.writer, &bytes, 1, 0), 0);
    }
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(spw_reader_drain_wait(ends.reader, &bytes, 1, SPILLWAY_FOREVER), 1);
        spw_bytes_release(&bytes);
    }
    cr_assert_gt(bed_stats(&bed).reader_wait_ns_total, 0);
    ends_close(&ends);
    bed_close(&bed);
}
