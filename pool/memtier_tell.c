/* SPDX-License-Identifier: MIT */
/* What the memory tier tells: its gauges; and, each matter once, fallbacks, and why it takes no
 * more. */
#include <errno.h>

#include "memtier_tier.h"

bool memtier_tell_first(struct memtier *tier, enum told what)
{
    unsigned before = atomic_fetch_or_explicit(&tier->told, (unsigned)what, memory_order_relaxed);

    return (before & (unsigned)what) == 0;
}

void memtier_tell_fallback(struct memtier *tier, enum told what, const char *name, const char *why)
{
    if (!memtier_tell_first(tier, what))
        return;
    log_line(tier->log, SPILLWAY_LOG_WARN, "memory tier: %s", why);
    if (tier->fallback != NULL)
        tier->fallback(tier->fallback_context, name);
}

void memtier_tell_lacks(struct memtier *tier, const struct segment *segment)
{
    if (segment->lacks & SEGMENT_LACK_NODES)
        memtier_tell_fallback(tier, TOLD_LACK_NODES, "nodes",
                              LACK_NODES_TEXT "; it is where the kernel puts it");
    if (segment->lacks & SEGMENT_LACK_MLOCK)
        memtier_tell_fallback(tier, TOLD_LACK_MLOCK, "mlock",
                              LACK_MLOCK_TEXT "; some of it is not");
    if (segment->lacks & SEGMENT_LACK_HUGE)
        memtier_tell_fallback(tier, TOLD_LACK_HUGE, "huge-pages",
                              LACK_HUGE_TEXT "; using normal ones");
    if (segment->misplaced_bytes > 0 && memtier_tell_first(tier, TOLD_MISPLACED))
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: %llu of %llu bytes of a segment are on other nodes than asked for",
                 (unsigned long long)segment->misplaced_bytes, (unsigned long long)segment->bytes);
}

void memtier_tell_full(struct memtier *tier, enum told what)
{
    if (!memtier_tell_first(tier, what))
        return;
    if (what == TOLD_CAPACITY)
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: full, its capacity of %llu bytes is used",
                 (unsigned long long)tier->capacity_bytes);
    else
        log_line(tier->log, SPILLWAY_LOG_WARN, "memory tier: full at %llu segments (%s)",
                 (unsigned long long)tier->segment_max, "vm.max_map_count");
}

void memtier_tell_no_room(struct memtier *tier, enum told what, uint64_t room_bytes)
{
    const char *where = what == TOLD_CGROUP ? "memory cgroup" : what == TOLD_HOST ? "host" : "node";

    if (memtier_tell_first(tier, what))
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: no further segment, the %s has only %llu bytes left", where,
                 (unsigned long long)room_bytes);
}

void memtier_tell_blind(struct memtier *tier, enum told what, const char *why)
{
    const char *where = what == TOLD_CGROUP ? "memory cgroup" : "host";

    if (memtier_tell_first(tier, what))
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: no further segment, what the %s has left cannot be read (%s)", where,
                 why);
}

void memtier_tell_segments(const struct memtier *tier)
{
    struct counters *counters = tier->counters;

    if (counters == NULL)
        return;
    row_set(&counters->memory_tier_capacity_bytes, tier->capacity_bytes);
    row_set(&counters->memory_tier_bytes, tier->total_bytes);
    row_set(&counters->memory_tier_misplaced_bytes, tier->misplaced_bytes);
    row_set(&counters->memory_tier_locked_bytes, tier->locked_bytes);
    row_set(&counters->memory_tier_huge_bytes, tier->huge_bytes);
}

/* NULL when there are as many nodes as rows already. */
static struct node_row *row_of_node(struct node_row *rows, unsigned node)
{
    for (struct node_row *row = rows; row < rows + ROW_NODES; row++) {
        if (row_get(&row->used) != 0 && row_get(&row->node) != node)
            continue;
        row_set(&row->node, node);
        row_set(&row->used, 1);
        return row;
    }
    return NULL;
}

void memtier_tell_nodes(const struct memtier *tier, const struct segment *segment, int sign)
{
    for (unsigned i = 0; i < segment->place_count && tier->rows != NULL; i++) {
        const struct segment_place *place = &segment->places[i];
        struct node_row *row = row_of_node(tier->rows, place->node);
        uint64_t bytes = sign > 0 ? place->bytes : 0 - place->bytes;

        if (row == NULL)
            continue;
        row_add(&row->segment_bytes, bytes);
        if (tier->plan.nodes != NULL && !node_has(tier->plan.nodes, place->node))
            row_add(&row->misplaced_bytes, bytes);
    }
}

const char *memtier_step_hint(const struct segment_plan *plan, enum segment_step step, int err)
{
    if (err == -EMFILE)
        return " (RLIMIT_NOFILE)";
    if (step == SEGMENT_STEP_LOCK)
        return " (RLIMIT_MEMLOCK)";
    if (plan->strict && plan->huge == HUGE_ON)
        return " (vm.nr_hugepages)"; /* others take normal pages then */
    return err == -ENOMEM ? " (RLIMIT_AS, vm.max_map_count)" : "";
}
