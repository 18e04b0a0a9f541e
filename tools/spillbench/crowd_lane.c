/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "crowd.h"
#include "ends.h"
#include "load.h"

enum { PAGE_BYTES = 4096, TURN_BYTES = 1 << 20, AT_ONCE = 64, TEXT_PAGES = 8 };

/* The clock: how far the greedy have come. */
#define CLOCK_END 1000000

const char *const crowd_role_names[CROWD_ROLES] = {
    "greedy", "light", "idle", "reader stops", "writer stops",
};

/* ---- content: by queue and place in it ---- */

/* Text repeats pages. */
static uint64_t page_sequence(const struct crowd_lane *lane, uint64_t at)
{
    uint64_t page = at / PAGE_BYTES;
    if (lane->crowd->plan->text)
        page /= TEXT_PAGES;
    return ((uint64_t)lane->id << 40) + page;
}

static void fill(const struct crowd_lane *lane, unsigned char *to, uint64_t at, uint64_t bytes)
{
    unsigned char page[PAGE_BYTES];
    while (bytes > 0) {
        uint64_t skip = at % PAGE_BYTES;
        uint64_t here = bytes < PAGE_BYTES - skip ? bytes : PAGE_BYTES - skip;
        if (skip == 0) {
            chunk_fill(to, here, page_sequence(lane, at));
        } else {
            chunk_fill(page, skip + here, page_sequence(lane, at));
            memcpy(to, page + skip, here);
        }
        to += here;
        at += here;
        bytes -= here;
    }
}

static bool matches(const struct crowd_lane *lane, const unsigned char *data, uint64_t at,
                    uint64_t bytes)
{
    while (bytes > 0) {
        uint64_t skip = at % PAGE_BYTES;
        uint64_t here = bytes < PAGE_BYTES - skip ? bytes : PAGE_BYTES - skip;
        if (!chunk_matches(data, here, page_sequence(lane, at), skip))
            return false;
        data += here;
        at += here;
        bytes -= here;
    }
    return true;
}

/* ---- what a role may do by now ---- */

static uint64_t clock_now(const struct crowd *crowd)
{
    return atomic_load(&crowd->greedy_bytes) / (crowd->greedy_total_bytes / CLOCK_END + 1);
}

static bool greedy_done(const struct crowd *crowd)
{
    return atomic_load(&crowd->greedy_bytes) >= crowd->greedy_total_bytes;
}

/* How much of the queue is to be pushed by now. */
static uint64_t push_until(const struct crowd_lane *lane)
{
    uint64_t clock = clock_now(lane->crowd), part = clock;
    if (lane->role == CROWD_GREEDY || greedy_done(lane->crowd))
        return lane->total_bytes;
    if (lane->role == CROWD_IDLE)
        part = clock < CLOCK_END / 10 * 9 ? CLOCK_END / 2 : CLOCK_END;
    else if (lane->role == CROWD_UNPUSHED && clock < CLOCK_END / 4 * 3)
        part = clock < CLOCK_END / 4 ? 2 * clock : CLOCK_END / 2;
    return lane->total_bytes / CLOCK_END * part;
}

/* Whether the reader wants bytes now: also in the middle of a burst. */
static bool wants(struct crowd_lane *lane, uint64_t standing_bytes)
{
    bool late = lane->role == CROWD_IDLE ||
                (lane->role == CROWD_UNREAD && clock_now(lane->crowd) > CLOCK_END / 4);
    if (crowd_pushed(lane))
        return !late || greedy_done(lane->crowd);
    if (late)
        return false;
    if (lane->role == CROWD_GREEDY)
        return standing_bytes > lane->lag_bytes;
    if (standing_bytes > lane->lag_bytes)
        lane->bursting = true;
    return lane->bursting;
}

bool crowd_pushed(const struct crowd_lane *lane)
{
    return atomic_load(&lane->pushed_bytes) == lane->total_bytes;
}

bool crowd_drained(const struct crowd_lane *lane)
{
    return atomic_load(&lane->drained_bytes) == lane->total_bytes;
}

/* ---- pushing ---- */

static void heap_release(void *context, const void *data, size_t len)
{
    (void)data;
    (void)len;
    free(context);
}

static int make_heap(struct crowd_lane *lane, uint64_t at, uint64_t bytes, spw_bytes *out)
{
    void *memory = malloc(bytes);
    if (!memory)
        return -ENOMEM;
    fill(lane, memory, at, bytes);
    int rc = spw_bytes_wrap(memory, bytes, heap_release, memory, NULL, out);
    if (rc != 0)
        free(memory);
    return rc;
}

static int make_slab(struct crowd_lane *lane, uint64_t at, uint64_t bytes, spw_bytes *out)
{
    if (!lane->slab || spw_slab_room(lane->slab) < bytes) {
        size_t usual = spw_pool_run_bytes(lane->crowd->pool);
        spw_slab_close(lane->slab);
        lane->slab = NULL;
        int rc =
            spw_pool_slab_open(lane->crowd->pool, bytes > usual ? bytes : usual, 0, &lane->slab);
        if (rc != 0)
            return rc;
    }
    fill(lane, spw_slab_space(lane->slab), at, bytes);
    return spw_slab_cut(lane->slab, bytes, out);
}

static int push_one(struct crowd_lane *lane, uint64_t at, uint64_t bytes)
{
    spw_bytes entry = SPILLWAY_BYTES_NONE;
    uint64_t start_ns = now_ns();
    int rc = lane->crowd->plan->heap ? make_heap(lane, at, bytes, &entry)
                                     : make_slab(lane, at, bytes, &entry);
    if (rc == 0)
        rc = spw_writer_extend(lane->writer, &entry, 1, 0);
    uint64_t took_ns = now_ns() - start_ns;
    if (took_ns > lane->extend_most_ns)
        lane->extend_most_ns = took_ns;
    spw_bytes_release(&entry);
    return rc;
}

int64_t crowd_push(struct crowd_lane *lane)
{
    uint64_t at = atomic_load(&lane->pushed_bytes), start = at, until = push_until(lane);
    while (at < until && at - start < TURN_BYTES) {
        uint64_t left = lane->total_bytes - at;
        uint64_t bytes = left < lane->entry_bytes ? left : lane->entry_bytes;
        int rc = push_one(lane, at, bytes);
        if (rc != 0)
            return rc;
        at += bytes;
        atomic_store(&lane->pushed_bytes, at);
        if (lane->role == CROWD_GREEDY)
            atomic_fetch_add(&lane->crowd->greedy_bytes, bytes);
        atomic_fetch_add(&lane->crowd->measure->produced_bytes, bytes);
    }
    /* Who stops for long leaves nothing half filled. */
    if (at == start && lane->slab && (lane->role == CROWD_IDLE || lane->role == CROWD_UNPUSHED)) {
        spw_slab_close(lane->slab);
        lane->slab = NULL;
    }
    return (int64_t)(at - start);
}

/* ---- draining ---- */

/* The queue had bytes, and there were none for the reader. */
static void wait_begin(struct crowd_lane *lane)
{
    if (lane->waiting_ns)
        return;
    lane->waiting_ns = now_ns();
    lane->others_at = atomic_load(&lane->crowd->drained_bytes);
    lane->found.waits++;
}

static void wait_end(struct crowd_lane *lane)
{
    if (!lane->waiting_ns)
        return;
    uint64_t took_ns = now_ns() - lane->waiting_ns;
    uint64_t others = atomic_load(&lane->crowd->drained_bytes) - lane->others_at;
    if (took_ns > lane->found.wait_most_ns)
        lane->found.wait_most_ns = took_ns;
    if (others > lane->found.passed_by_bytes)
        lane->found.passed_by_bytes = others;
    lane->waiting_ns = 0;
}

/* Verifies and releases what came. Returns its bytes or -EBADMSG. */
static int64_t take(struct crowd_lane *lane, uint64_t at, spw_bytes *out, long count)
{
    uint64_t bytes = 0;
    bool good = true;
    for (long i = 0; i < count; i++) {
        good = good && at + bytes + out[i].len <= lane->total_bytes &&
               matches(lane, out[i].data, at + bytes, out[i].len);
        bytes += out[i].len;
        spw_bytes_release(&out[i]);
    }
    if (!good)
        return -EBADMSG;
    atomic_store(&lane->drained_bytes, at + bytes);
    atomic_fetch_add(&lane->crowd->drained_bytes, bytes);
    atomic_fetch_add(&lane->crowd->measure->drained_bytes, bytes);
    return (int64_t)bytes;
}

int64_t crowd_drain(struct crowd_lane *lane)
{
    uint64_t at = atomic_load(&lane->drained_bytes), start = at;
    while (at - start < TURN_BYTES) {
        uint64_t standing = atomic_load(&lane->pushed_bytes) - at;
        spw_bytes out[AT_ONCE];
        if (standing == 0)
            lane->bursting = false;
        if (standing == 0 || !wants(lane, standing)) {
            lane->waiting_ns = 0; /* the reader went away */
            break;
        }
        long got = spw_reader_drain(lane->reader, out, AT_ONCE);
        if (got == -EAGAIN) {
            wait_begin(lane);
            break;
        }
        if (got <= 0)
            return got == 0 ? -EPIPE : got;
        wait_end(lane);
        int64_t bytes = take(lane, at, out, got);
        if (bytes < 0)
            return bytes;
        at += (uint64_t)bytes;
    }
    return (int64_t)(at - start);
}

/* ---- opening ---- */

struct share {
    unsigned queues, percent; /* how many, and how much of all bytes they have together */
};

static void shares_make(unsigned queues, struct share shares[CROWD_ROLES])
{
    unsigned few = queues / 16 ? queues / 16 : 1;
    shares[CROWD_GREEDY] = (struct share){few, 75};
    shares[CROWD_IDLE] = (struct share){2 * few, 8};
    shares[CROWD_UNREAD] = (struct share){few, 8};
    shares[CROWD_UNPUSHED] = (struct share){few, 4};
    shares[CROWD_LIGHT] = (struct share){queues - 5 * few, 5};
}

static int lane_open(struct crowd_lane *lane)
{
    struct ends ends;
    int rc = ends_make(&ends, lane->crowd->pool, lane->crowd->options);
    lane->writer = ends.writer;
    lane->reader = ends.reader;
    return rc;
}

int crowd_lanes_open(struct crowd *crowd)
{
    const struct crowd_plan *plan = crowd->plan;
    struct share shares[CROWD_ROLES];
    int rc = 0;
    shares_make(plan->queues, shares);
    crowd->lanes = calloc(plan->queues, sizeof(*crowd->lanes));
    if (!crowd->lanes)
        return -ENOMEM;
    for (unsigned role = 0; role < CROWD_ROLES; role++) {
        uint64_t bytes = plan->total_bytes / 100 * shares[role].percent / shares[role].queues;
        for (unsigned i = 0; rc == 0 && i < shares[role].queues; i++) {
            struct crowd_lane *lane = &crowd->lanes[crowd->lane_count];
            lane->crowd = crowd;
            lane->id = crowd->lane_count++;
            lane->role = role;
            lane->total_bytes = bytes;
            lane->entry_bytes = plan->entry_bytes.values[lane->id % plan->entry_bytes.count];
            lane->lag_bytes =
                role == CROWD_GREEDY || (role == CROWD_LIGHT && i % 2) ? bytes / 4 : 0;
            if (role == CROWD_GREEDY)
                crowd->greedy_total_bytes += bytes;
            rc = lane_open(lane);
        }
    }
    return rc;
}

void crowd_lanes_close(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->lane_count; i++) {
        spw_slab_close(crowd->lanes[i].slab);
        spw_writer_close(crowd->lanes[i].writer);
        spw_reader_close(crowd->lanes[i].reader);
    }
    free(crowd->lanes);
}
