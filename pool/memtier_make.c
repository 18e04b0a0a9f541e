/* SPDX-License-Identifier: MIT */
/* The memory tier's segments: is there room for one, reserving, backing off, making, unmapping. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <string.h>

#include "../lib/alloc.h"
#include "memtier_tier.h"

/* Kept free on a node, so that what the process does meanwhile finds room. */
#define NODE_MARGIN_BYTES (UINT64_C(64) << 20)

/* What comes back from swap space is counted before it is there for so long. */
#define ROOM_HOLDS_NS UINT64_C(20000000)

#define BACKOFF_FIRST_NS UINT64_C(100000000)
#define BACKOFF_MAX_NS   UINT64_C(2000000000)

/* --- is there room outside? ----------------------------------------------------------------- */

/*
 * Under a cgroup limit, or on a full node, first touch does not fail, it kills; so look before.
 * `outstanding_bytes` is this segment and all that were reserved before it and are not there yet.
 */
static int check_room(struct memtier *tier, uint64_t outstanding_bytes, bool *bind)
{
    uint64_t room, free_bytes, spare = 0;
    int rc;

    if (tier->unused_budget != NULL)
        spare = tier->unused_budget(tier->unused_budget_context);
    rc = cgroup_headroom(tier->os, &tier->cgroup, &room);
    if (rc < 0) {
        memtier_tell_blind(tier, TOLD_CGROUP,
                           rc == -EMFILE ? "no descriptor left: RLIMIT_NOFILE"
                                         : strerrordesc_np(-rc));
        return -ENOSPC;
    }
    if (less(less(room, tier->cgroup_margin_bytes), spare) < outstanding_bytes) {
        memtier_tell_no_room(tier, TOLD_CGROUP, room);
        return -ENOSPC;
    }
    if (tier->host_known) {
        if (host_memory(tier->os, "", &room) == 0) {
            memtier_tell_blind(tier, TOLD_HOST, "/proc/meminfo, RLIMIT_NOFILE");
            return -ENOSPC;
        }
        if (less(less(room, tier->host_margin_bytes), spare) < outstanding_bytes) {
            memtier_tell_no_room(tier, TOLD_HOST, room);
            return -ENOSPC;
        }
    }
    *bind = tier->plan.strict;
    if (tier->plan.nodes == NULL)
        return 0;
    node_free_bytes(tier->os, "", tier->plan.nodes, &free_bytes, &room);
    if (room == NODE_UNKNOWN_BYTES)
        return 0;
    if (less(room, NODE_MARGIN_BYTES) < outstanding_bytes) {
        memtier_tell_no_room(tier, TOLD_NODE, room);
        return -ENOSPC;
    }
    /* What only reclaim could free is asked for, not insisted on. */
    if (less(free_bytes, NODE_MARGIN_BYTES) >= outstanding_bytes)
        *bind = true;
    return 0;
}

/* What is free outside beyond all margins; 0 when that is not known. */
static uint64_t room_outside(struct memtier *tier)
{
    uint64_t spare = tier->unused_budget ? tier->unused_budget(tier->unused_budget_context) : 0;
    uint64_t room, available;

    if (cgroup_headroom(tier->os, &tier->cgroup, &room) < 0)
        return 0;
    room = less(less(room, tier->cgroup_margin_bytes), spare);
    if (!tier->host_known)
        return room;
    if (host_memory(tier->os, "", &available) == 0)
        return 0;
    return smaller(room, less(less(available, tier->host_margin_bytes), spare));
}

bool memtier_may_bring_in(struct memtier *tier, uint64_t bytes)
{
    uint64_t now_ns = tier->os->clock_ns(), room;
    bool may;

    pthread_mutex_lock(&tier->lock);
    if (tier->room_seen_ns == 0 || now_ns - tier->room_seen_ns >= ROOM_HOLDS_NS) {
        tier->room_seen_ns = now_ns;
        tier->room_bytes = 0; /* whoever asks meanwhile does without */
        pthread_mutex_unlock(&tier->lock);
        room = room_outside(tier);
        pthread_mutex_lock(&tier->lock);
        tier->room_bytes = less(room, tier->coming_bytes);
    }
    may = tier->room_bytes >= bytes;
    if (may) {
        tier->room_bytes -= bytes;
        tier->coming_bytes += bytes;
    }
    pthread_mutex_unlock(&tier->lock);
    return may;
}

void memtier_brought_in(struct memtier *tier, uint64_t bytes)
{
    pthread_mutex_lock(&tier->lock);
    tier->coming_bytes -= bytes;
    pthread_mutex_unlock(&tier->lock);
}

void memtier_look_for_swap(struct memtier *tier)
{
    atomic_store_explicit(&tier->swaps, host_swap(tier->os, "") > 0, memory_order_relaxed);
}

bool memtier_swaps(const struct memtier *tier)
{
    return atomic_load_explicit(&tier->swaps, memory_order_relaxed);
}

size_t memtier_page_bytes(const struct memtier *tier)
{
    return tier->plan.page_bytes;
}

/* Called with the lock held. */
static void back_off(struct memtier *tier)
{
    uint64_t now_ns = tier->os->clock_ns();

    if (now_ns < tier->backoff_until_ns)
        return; /* another thread has just been refused, too */
    tier->backoff_ns =
        tier->backoff_ns == 0 ? BACKOFF_FIRST_NS : smaller(2 * tier->backoff_ns, BACKOFF_MAX_NS);
    tier->backoff_until_ns = now_ns + tier->backoff_ns;
}

/* --- reserving ------------------------------------------------------------------------------ */

int memtier_segment_reserve(struct memtier *tier, uint64_t need_bytes, struct reservation *out,
                            unsigned *why)
{
    uint64_t room = tier->capacity_bytes - tier->total_bytes;
    bool crowded = tier->segments >= tier->segment_max;

    *why = 0;
    if (tier->os->clock_ns() < tier->backoff_until_ns)
        return -ENOSPC;
    if (room >= need_bytes && !crowded) {
        out->bytes = need_bytes;
        if (tier->seal == SEAL_RECYCLE && need_bytes < tier->unit_bytes)
            out->bytes = smaller(tier->unit_bytes, round_down(room, tier->grain_bytes));
        tier->total_bytes += out->bytes;
        tier->pending_bytes += out->bytes;
        tier->segments++;
        memtier_tell_segments(tier);
        out->outstanding_bytes = tier->pending_bytes;
        return 0;
    }
    if (tier->warm_bytes > 0 && room + tier->warm_bytes >= need_bytes) {
        struct segment *in_the_way = memtier_warm_pop(tier);

        pthread_mutex_unlock(&tier->lock);
        memtier_segment_destroy(tier, in_the_way);
        pthread_mutex_lock(&tier->lock);
        return -EAGAIN;
    }
    if (tier->pending_bytes > 0 || tier->resting > 0) { /* who has it never waits, so this ends */
        pthread_cond_wait(&tier->made, &tier->lock);
        return -EAGAIN;
    }
    *why = crowded ? TOLD_COUNT : TOLD_CAPACITY;
    return -ENOSPC;
}

void memtier_reservation_keep(struct memtier *tier, const struct reservation *reservation,
                              const struct segment *segment)
{
    tier->pending_bytes -= reservation->bytes;
    tier->total_bytes -= reservation->bytes - segment->bytes;
    tier->misplaced_bytes += segment->misplaced_bytes;
    tier->locked_bytes += segment->locked_bytes;
    tier->huge_bytes += segment->huge ? segment->bytes : 0;
    memtier_tell_segments(tier);
    memtier_tell_nodes(tier, segment, 1);
    tier->backoff_ns = 0;
    tier->backoff_until_ns = 0;
    (void)pthread_cond_broadcast(&tier->made);
}

/* Called without the lock, which it takes. `refused`: there was no room outside. */
static void reservation_drop(struct memtier *tier, const struct reservation *reservation,
                             bool refused, bool wait)
{
    pthread_mutex_lock(&tier->lock);
    tier->pending_bytes -= reservation->bytes;
    tier->total_bytes -= reservation->bytes;
    tier->segments--;
    memtier_tell_segments(tier);
    tier->refused_headroom_total += refused;
    if (wait)
        back_off(tier);
    (void)pthread_cond_broadcast(&tier->made);
    pthread_mutex_unlock(&tier->lock);
}

/* --- making and unmapping ------------------------------------------------------------------- */

/*
 * A strict segment keeps its descriptor, so that it could be handed to another process, as long as
 * that leaves the program enough of them. Without it it is as immutable.
 */
static void limit_descriptors(struct memtier *tier, struct segment *segment)
{
    pthread_mutex_lock(&tier->lock);
    segment->keeps_fd = tier->descriptors < tier->descriptors_max;
    tier->descriptors += segment->keeps_fd;
    pthread_mutex_unlock(&tier->lock);
    if (segment->keeps_fd)
        return;
    os_close(tier->os, segment->fd);
    segment->fd = -1;
    memtier_tell_fallback(
        tier, TOLD_DESCRIPTORS, "descriptors",
        "a quarter of RLIMIT_NOFILE is used: further sealed segments keep no descriptor");
}

int memtier_segment_make(struct memtier *tier, const struct reservation *reservation,
                         const struct segment_source *source, struct segment **out)
{
    struct segment_plan plan = tier->plan;
    struct segment *segment;
    enum segment_step step;
    int rc;

    segment = allocator_zeroed(tier->allocator, sizeof(*segment));
    if (segment == NULL) {
        reservation_drop(tier, reservation, false, false);
        return -ENOMEM;
    }
    rc = check_room(tier, reservation->outstanding_bytes, &plan.bind);
    if (rc < 0) {
        allocator_release(tier->allocator, segment, sizeof(*segment));
        reservation_drop(tier, reservation, true, true);
        return rc;
    }
    if (source == NULL)
        rc = segment_open_recycle(&plan, reservation->bytes, segment, &step);
    else
        rc = segment_open_strict(&plan, reservation->bytes, source, segment, &step);
    if (rc < 0) {
        if (memtier_tell_first(tier, TOLD_MAKING))
            log_line(tier->log, SPILLWAY_LOG_WARN, "memory tier: no further segment, %s: %s%s",
                     segment_step_name(step), strerrordesc_np(-rc),
                     memtier_step_hint(&plan, step, rc));
        allocator_release(tier->allocator, segment, sizeof(*segment));
        reservation_drop(tier, reservation, false, true);
        return -ENOSPC;
    }
    memtier_look_for_swap(tier);
    memtier_tell_lacks(tier, segment);
    if (source != NULL)
        limit_descriptors(tier, segment);
    *out = segment;
    return 0;
}

/* Counted as held until it is unmapped, so that capacity is never exceeded. */
void memtier_segment_destroy(struct memtier *tier, struct segment *segment)
{
    uint64_t bytes = segment->bytes;

    segment_close(tier->os, segment);
    pthread_mutex_lock(&tier->lock);
    tier->total_bytes -= bytes;
    tier->misplaced_bytes -= segment->misplaced_bytes;
    tier->locked_bytes -= segment->locked_bytes;
    tier->huge_bytes -= segment->huge ? bytes : 0;
    tier->descriptors -= segment->keeps_fd;
    tier->kept_bytes -= segment->keeps_read ? bytes : 0;
    tier->segments--;
    memtier_tell_segments(tier);
    memtier_tell_nodes(tier, segment, -1);
    pthread_mutex_unlock(&tier->lock);
    allocator_release(tier->allocator, segment, sizeof(*segment));
}
