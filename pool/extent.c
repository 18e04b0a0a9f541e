/* SPDX-License-Identifier: MIT */
#include "extent.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "../lib/alloc.h"

enum {
    LEAF_SHIFT = 16,
    ZONE_SHIFT = LEAF_SHIFT + EXTENT_ORDERS - 1,
    ZONES_FIRST = 16, /* capacity of the first array of zones */
    NO_LIST = -1,
};
_Static_assert(DISK_EXTENT_MIN_BYTES == UINT64_C(1) << LEAF_SHIFT, "a leaf is the smallest extent");
_Static_assert(DISK_ZONE_BYTES == UINT64_C(1) << ZONE_SHIFT, "zones are found by a shift");

/*
 * The tree has its root at 1 and the children of n at 2n and 2n + 1. best[n] is 1 + the largest
 * free order below n, 0 when there is none. An extent in use has 0 at its own node and its
 * subtree as if free; a node that is not opened has 0 down to the leaves.
 */
struct zone_link {
    struct zone *next, *prev;
};

struct zone {
    struct zone_link order; /* in by_order[list] */
    struct zone_link state; /* in `idle` or `absent` */
    struct zone_link rest;  /* in cold[cold] */
    uint32_t number;
    uint32_t ready;  /* leaves from the start that the file system has given */
    uint32_t used;   /* leaves in extents */
    uint32_t opened; /* leaves from the start that are in the tree */
    int8_t list;     /* order of the list it is in, or NO_LIST */
    int8_t cold;     /* order of the cold list it is in, or NO_LIST */
    bool withdrawn;  /* its space is being given back */
    uint8_t best[2 * EXTENT_LEAVES];
};
_Static_assert(sizeof(struct zone) <= 2048 + 96, "about 2 KiB a zone");

#define ORDER_LINK offsetof(struct zone, order)
#define STATE_LINK offsetof(struct zone, state)
#define COLD_LINK  offsetof(struct zone, rest)

uint64_t extent_bytes(unsigned order)
{
    return DISK_EXTENT_MIN_BYTES << order;
}

int extent_order(uint64_t len)
{
    int order = 0;

    if (len == 0 || len > DISK_ZONE_BYTES)
        return -EINVAL;
    while (extent_bytes((unsigned)order) < len)
        order++;
    return order;
}

void extent_init(struct extent_space *space, const spw_allocator *allocator)
{
    memset(space, 0, sizeof(*space));
    space->allocator = allocator;
}

void extent_fini(struct extent_space *space)
{
    for (uint32_t i = 0; i < space->zone_count; i++)
        allocator_release(space->allocator, space->zones[i], sizeof(struct zone));
    allocator_release(space->allocator, space->zones,
                      space->zone_capacity * sizeof(space->zones[0]));
    memset(space, 0, sizeof(*space));
}

/* A list is threaded through the zone_link at `at` bytes into each of its zones. */
static struct zone_link *link_of(struct zone *zone, size_t at)
{
    return (struct zone_link *)(void *)((char *)zone + at);
}

static void list_push(struct zone **head, struct zone *zone, size_t at)
{
    link_of(zone, at)->prev = NULL;
    link_of(zone, at)->next = *head;
    if (*head != NULL)
        link_of(*head, at)->prev = zone;
    *head = zone;
}

static void list_remove(struct zone **head, struct zone *zone, size_t at)
{
    struct zone_link *link = link_of(zone, at);

    if (link->prev != NULL)
        link_of(link->prev, at)->next = link->next;
    else
        *head = link->next;
    if (link->next != NULL)
        link_of(link->next, at)->prev = link->prev;
}

static void zone_unlist(struct extent_space *space, struct zone *zone)
{
    if (zone->list == NO_LIST)
        return;
    list_remove(&space->by_order[zone->list], zone, ORDER_LINK);
    if (space->by_order[zone->list] == NULL)
        space->occupied &= ~(1U << zone->list);
    zone->list = NO_LIST;
}

/* Puts the zone at the front of the list of its largest free order. */
static void zone_list(struct extent_space *space, struct zone *zone)
{
    zone_unlist(space, zone);
    if (zone->best[1] == 0)
        return;
    zone->list = (int8_t)(zone->best[1] - 1);
    list_push(&space->by_order[zone->list], zone, ORDER_LINK);
    space->occupied |= 1U << zone->list;
}

/* The first leaf from `leaf` on where a block of `order` may start. */
static uint32_t leaf_aligned(uint32_t leaf, unsigned order)
{
    uint32_t size = 1U << order;

    return (leaf + size - 1) & ~(size - 1);
}

static void zone_uncold(struct extent_space *space, struct zone *zone)
{
    if (zone->cold == NO_LIST)
        return;
    list_remove(&space->cold[zone->cold], zone, COLD_LINK);
    if (space->cold[zone->cold] == NULL)
        space->cold_occupied &= ~(1U << zone->cold);
    zone->cold = NO_LIST;
}

static unsigned node_of(uint32_t leaf, unsigned order)
{
    return (EXTENT_LEAVES + leaf) >> order;
}

/*
 * Where an extent of `order` starts that needs the zone's rest: as low as the free end of the
 * opened part allows. Blocks that make up that end cannot lie inside an extent, since what is above
 * them in the tree reaches into the rest; so a full one is free.
 */
static uint32_t rest_start(const struct zone *zone, unsigned order)
{
    for (unsigned bit = 0; bit < order; bit++) {
        uint32_t block = zone->opened >> (bit + 1) << (bit + 1);

        if ((zone->opened >> bit & 1) != 0 && zone->best[node_of(block, bit)] != bit + 1)
            return leaf_aligned(zone->opened, order);
    }
    return zone->opened >> order << order;
}

/* Puts the zone into the cold list where it belongs, if it has a rest to open. */
static void zone_cold(struct extent_space *space, struct zone *zone)
{
    unsigned order = 0;

    if (zone->opened == zone->ready) {
        zone_uncold(space, zone);
        return;
    }
    while (order + 1 < EXTENT_ORDERS && rest_start(zone, order + 1) + (2U << order) <= zone->ready)
        order++;
    if (zone->cold == (int)order)
        return;
    zone_uncold(space, zone);
    zone->cold = (int8_t)order;
    list_push(&space->cold[order], zone, COLD_LINK);
    space->cold_occupied |= 1U << order;
}

/* Carries a change at `node` of `order` up to the root; two free buddies become one. */
static void tree_update(struct zone *zone, unsigned node, unsigned order)
{
    while (node > 1) {
        uint8_t left, right;

        node >>= 1;
        order++;
        left = zone->best[2 * node];
        right = zone->best[2 * node + 1];
        if (left == order && right == order)
            zone->best[node] = (uint8_t)(order + 1);
        else
            zone->best[node] = left > right ? left : right;
    }
}

/* Makes an aligned block free that was not ready before. */
static void tree_add(struct zone *zone, uint32_t leaf, unsigned order)
{
    unsigned first = node_of(leaf, order), count = 1;

    for (unsigned level = order + 1; level-- > 0; first *= 2, count *= 2)
        memset(&zone->best[first], (int)(level + 1), count);
    tree_update(zone, node_of(leaf, order), order);
}

/* The lowest node of `order` in the tightest free block; there is one. */
static unsigned tree_find(const struct zone *zone, unsigned order)
{
    unsigned node = 1;

    for (unsigned level = EXTENT_ORDERS - 1; level > order; level--) {
        uint8_t left = zone->best[2 * node], right = zone->best[2 * node + 1];

        node *= 2;
        if (left <= order || (right > order && right < left))
            node++;
    }
    return node;
}

bool extent_has_warm(const struct extent_space *space, unsigned order)
{
    return (space->occupied >> order) != 0;
}

bool extent_has(const struct extent_space *space, unsigned order)
{
    return ((space->occupied | space->cold_occupied) >> order) != 0;
}

/* Opens so much of a zone's rest that an extent of `order` is free in it. */
static void zone_open(struct extent_space *space, struct zone *zone, unsigned order)
{
    uint32_t leaf = zone->opened, end = rest_start(zone, order) + (1U << order);

    while (leaf < end) {
        unsigned block = leaf > 0 ? (unsigned)__builtin_ctz(leaf) : EXTENT_ORDERS - 1;

        while (leaf + (1U << block) > end)
            block--;
        tree_add(zone, leaf, block);
        leaf += 1U << block;
    }
    space->opened_bytes += (uint64_t)(end - zone->opened) << LEAF_SHIFT;
    zone->opened = end;
    zone_list(space, zone);
}

int extent_take(struct extent_space *space, unsigned order, uint64_t *offset)
{
    struct zone *zone;
    uint32_t lists;
    unsigned node;

    if (!extent_has(space, order))
        return -ENOSPC;
    if (!extent_has_warm(space, order)) {
        lists = space->cold_occupied >> order << order;
        zone_open(space, space->cold[__builtin_ctz(lists)], order);
    }
    lists = space->occupied >> order << order;
    zone = space->by_order[__builtin_ctz(lists)];
    node = tree_find(zone, order);
    zone->best[node] = 0;
    tree_update(zone, node, order);
    if (zone->used == 0)
        list_remove(&space->idle, zone, STATE_LINK);
    zone->used += 1U << order;
    space->used_bytes += extent_bytes(order);
    if (zone->list != (int)zone->best[1] - 1)
        zone_list(space, zone);
    zone_cold(space, zone);
    *offset = ((uint64_t)zone->number << ZONE_SHIFT) +
              ((uint64_t)((node << order) - EXTENT_LEAVES) << LEAF_SHIFT);
    return 0;
}

/* Whether `node` stands for an extent in use, rather than for free, split or missing space. */
static bool tree_in_use(const struct zone *zone, unsigned node, unsigned order)
{
    for (unsigned above = node >> 1, level = order + 1; above > 0; above >>= 1, level++) {
        if (zone->best[above] == level + 1)
            return false; /* it is inside a larger free block or a larger extent */
    }
    if (zone->best[node] != 0)
        return false;
    return order == 0 || (zone->best[2 * node] == order && zone->best[2 * node + 1] == order);
}

int extent_give(struct extent_space *space, uint64_t offset, uint64_t len)
{
    uint64_t number = offset >> ZONE_SHIFT;
    uint32_t leaf = (uint32_t)((offset & (DISK_ZONE_BYTES - 1)) >> LEAF_SHIFT);
    int order = extent_order(len);
    struct zone *zone;
    unsigned node;

    if (order < 0 || extent_bytes((unsigned)order) != len || offset % len != 0 ||
        number >= space->zone_count)
        return -EINVAL;
    zone = space->zones[number];
    node = node_of(leaf, (unsigned)order);
    if (leaf + (1U << order) > zone->opened || !tree_in_use(zone, node, (unsigned)order))
        return -EINVAL;
    zone->best[node] = (uint8_t)(order + 1);
    tree_update(zone, node, (unsigned)order);
    zone->used -= 1U << order;
    space->used_bytes -= len;
    zone_list(space, zone);
    zone_cold(space, zone);
    if (zone->used == 0)
        list_push(&space->idle, zone, STATE_LINK);
    return 0;
}

/* Room for one more entry in the array of zones. */
static int zones_reserve(struct extent_space *space)
{
    uint32_t capacity = space->zone_capacity > 0 ? 2 * space->zone_capacity : ZONES_FIRST;
    struct zone **zones;

    if (space->zone_count < space->zone_capacity)
        return 0;
    zones = allocator_acquire(space->allocator, capacity * sizeof(zones[0]));
    if (zones == NULL)
        return -ENOMEM;
    if (space->zone_count > 0)
        memcpy(zones, space->zones, space->zone_count * sizeof(zones[0]));
    allocator_release(space->allocator, space->zones,
                      space->zone_capacity * sizeof(space->zones[0]));
    space->zones = zones;
    space->zone_capacity = capacity;
    return 0;
}

static int zone_add(struct extent_space *space)
{
    struct zone *zone;
    int rc;

    if (space->zone_count == EXTENT_ZONES_MAX)
        return -ENOSPC;
    rc = zones_reserve(space);
    if (rc < 0)
        return rc;
    zone = allocator_zeroed(space->allocator, sizeof(*zone));
    if (zone == NULL)
        return -ENOMEM;
    zone->number = space->zone_count;
    zone->list = zone->cold = NO_LIST;
    space->zones[space->zone_count++] = zone;
    list_push(&space->absent, zone, STATE_LINK);
    return 0;
}

int extent_plan(struct extent_space *space, unsigned order, struct extent_growth *out)
{
    struct zone *zone = space->partial;
    uint32_t size = 1U << order, end;
    int rc;

    /* A partial zone with too little left stays as it is until a trim returns it. */
    if (zone != NULL && rest_start(zone, order) + size > EXTENT_LEAVES)
        zone = NULL;
    if (zone == NULL && space->absent == NULL) {
        rc = zone_add(space);
        if (rc < 0)
            return rc;
    }
    if (zone == NULL)
        zone = space->absent;
    end = rest_start(zone, order) + size;
    if (end <= zone->ready)
        end = zone->ready + 1;
    out->offset = ((uint64_t)zone->number << ZONE_SHIFT) + ((uint64_t)zone->ready << LEAF_SHIFT);
    out->min_bytes = (uint64_t)(end - zone->ready) << LEAF_SHIFT;
    out->max_bytes = (uint64_t)(EXTENT_LEAVES - zone->ready) << LEAF_SHIFT;
    return 0;
}

void extent_grown(struct extent_space *space, uint64_t offset, uint64_t len)
{
    struct zone *zone = space->zones[offset >> ZONE_SHIFT];

    if (zone->ready == 0) {
        list_remove(&space->absent, zone, STATE_LINK);
        list_push(&space->idle, zone, STATE_LINK);
    }
    zone->ready += (uint32_t)(len >> LEAF_SHIFT);
    space->ready_bytes += len;
    if (zone->ready < EXTENT_LEAVES)
        space->partial = zone;
    else if (space->partial == zone)
        space->partial = NULL;
    zone_cold(space, zone);
}

static struct zone *zone_last_ready(const struct extent_space *space)
{
    for (uint32_t number = space->zone_count; number-- > 0;) {
        if (space->zones[number]->ready > 0 && !space->zones[number]->withdrawn)
            return space->zones[number];
    }
    return NULL;
}

int64_t extent_withdraw(struct extent_space *space, bool last, struct extent_growth *out)
{
    struct zone *zone = last ? zone_last_ready(space) : space->idle;

    if (zone == NULL || zone->used > 0)
        return -ENOENT;
    zone->withdrawn = true;
    zone_unlist(space, zone);
    zone_uncold(space, zone);
    list_remove(&space->idle, zone, STATE_LINK);
    out->offset = (uint64_t)zone->number << ZONE_SHIFT;
    out->min_bytes = out->max_bytes = (uint64_t)zone->ready << LEAF_SHIFT;
    return zone->number;
}

void extent_withdrawn(struct extent_space *space, uint32_t number, bool gone)
{
    struct zone *zone = space->zones[number];

    zone->withdrawn = false;
    if (!gone) {
        zone_list(space, zone);
        zone_cold(space, zone);
        list_push(&space->idle, zone, STATE_LINK);
        return;
    }
    space->ready_bytes -= (uint64_t)zone->ready << LEAF_SHIFT;
    space->opened_bytes -= (uint64_t)zone->opened << LEAF_SHIFT;
    if (space->partial == zone)
        space->partial = NULL;
    zone->ready = zone->opened = 0;
    memset(zone->best, 0, sizeof(zone->best));
    list_push(&space->absent, zone, STATE_LINK);
}

uint64_t extent_end(const struct extent_space *space)
{
    const struct zone *zone = zone_last_ready(space);

    if (zone == NULL)
        return 0;
    return ((uint64_t)zone->number << ZONE_SHIFT) + ((uint64_t)zone->ready << LEAF_SHIFT);
}

/* --- validators ------------------------------------------------------------------------------ */

/* Leaves in extents at or below `node`; sets *ok to false where the tree contradicts itself. */
static uint32_t count_used(const struct zone *zone, unsigned node, unsigned order, bool *ok)
{
    uint32_t leaf = (node << order) - EXTENT_LEAVES, size = 1U << order;
    uint8_t best = zone->best[node], left, right, expected;

    if (order == 0) {
        if (best > 1 || (best == 1 && leaf >= zone->opened))
            *ok = false;
        return best == 0 && leaf < zone->opened ? 1 : 0;
    }
    left = zone->best[2 * node];
    right = zone->best[2 * node + 1];
    if (best == 0 && left == order && right == order) { /* an extent */
        if (leaf + size > zone->opened)
            *ok = false;
        return size;
    }
    if (left == order && right == order)
        expected = (uint8_t)(order + 1);
    else
        expected = left > right ? left : right;
    if (best != expected)
        *ok = false;
    return count_used(zone, 2 * node, order - 1, ok) +
           count_used(zone, 2 * node + 1, order - 1, ok);
}

static bool zone_valid(const struct zone *zone)
{
    bool ok =
        zone->used <= zone->opened && zone->opened <= zone->ready && zone->ready <= EXTENT_LEAVES;
    int list = zone->withdrawn ? NO_LIST : (int)zone->best[1] - 1;

    if (zone->list != list || (zone->withdrawn && zone->used > 0))
        return false;
    return count_used(zone, 1, EXTENT_ORDERS - 1, &ok) == zone->used && ok;
}

/* How many zones a list has; UINT32_MAX where its links are wrong. */
static uint32_t list_length(struct zone *zone, size_t at)
{
    uint32_t count = 0;

    for (struct zone *before = NULL; zone != NULL; before = zone, zone = link_of(zone, at)->next) {
        if (link_of(zone, at)->prev != before)
            return UINT32_MAX;
        count++;
    }
    return count;
}

/* Both lists of one order hold what belongs there. */
static bool order_valid(const struct extent_space *space, unsigned order)
{
    const struct zone *zone;

    for (zone = space->by_order[order]; zone != NULL; zone = zone->order.next) {
        if (zone->list != (int)order)
            return false;
    }
    for (zone = space->cold[order]; zone != NULL; zone = zone->rest.next) {
        if (zone->cold != (int)order || zone->opened == zone->ready ||
            rest_start(zone, order) + (1U << order) > zone->ready)
            return false;
    }
    return (space->by_order[order] != NULL) == ((space->occupied >> order & 1) != 0) &&
           (space->cold[order] != NULL) == ((space->cold_occupied >> order & 1) != 0);
}

bool extent_valid(const struct extent_space *space)
{
    uint64_t ready = 0, used = 0, opened = 0;
    uint32_t listed = 0, absent = 0, idle = 0, cold = 0;

    for (uint32_t i = 0; i < space->zone_count; i++) {
        const struct zone *zone = space->zones[i];

        if (zone->number != i || !zone_valid(zone))
            return false;
        ready += (uint64_t)zone->ready << LEAF_SHIFT;
        used += (uint64_t)zone->used << LEAF_SHIFT;
        opened += (uint64_t)zone->opened << LEAF_SHIFT;
        listed += zone->list != NO_LIST;
        absent += zone->ready == 0;
        cold += zone->opened < zone->ready && !zone->withdrawn;
        idle += zone->ready > 0 && zone->used == 0 && !zone->withdrawn;
    }
    if (ready != space->ready_bytes || used != space->used_bytes || opened != space->opened_bytes)
        return false;
    if (space->partial != NULL &&
        (space->partial->ready == 0 || space->partial->ready == EXTENT_LEAVES))
        return false;
    for (unsigned order = 0; order < EXTENT_ORDERS; order++) {
        if (!order_valid(space, order))
            return false;
        listed -= list_length(space->by_order[order], ORDER_LINK);
        cold -= list_length(space->cold[order], COLD_LINK);
    }
    return listed == 0 && cold == 0 && absent == list_length(space->absent, STATE_LINK) &&
           idle == list_length(space->idle, STATE_LINK);
}
