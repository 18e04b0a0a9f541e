/* SPDX-License-Identifier: MIT */
/* Opening the memory tier: nodes, huge pages, sizes, margins, and a trial of all that. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../lib/alloc.h"
#include "memtier_tier.h"

#define MIB UINT64_C(1048576)

enum {
    MAP_COUNT_DEFAULT = 65530, /* vm.max_map_count where it cannot be read */
    DESCRIPTOR_SHARE = 4,      /* strict mode keeps at most 1/4 of RLIMIT_NOFILE */
    MAPS_RECYCLE = 2,          /* maps of one segment */
    SMALL_FILE_BYTES = 8192,
    TOLD_BYTES = 256, /* a line of our own making */
};
#define UNIT_MIN_BYTES (2 * MIB)

/* Kept free of segments, so that what the process does meanwhile finds room. */
#define MARGIN_MIN_BYTES (16 * MIB)
#define MARGIN_MAX_BYTES (1024 * MIB)

/* The number behind `key` in a file, or the file's first number where key is "". 0: not there. */
static uint64_t read_number(const struct os *os, const char *path, const char *key)
{
    char text[SMALL_FILE_BYTES];
    const char *at;

    if (os_read_file(os, path, text, sizeof(text)) <= 0)
        return 0;
    at = strstr(text, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

/* Whether a MADV_HUGEPAGE on a memfd's map does anything. */
static bool transparent_works(const struct os *os)
{
    char text[SMALL_FILE_BYTES];

    if (os_read_file(os, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof(text)) <=
        0)
        return false;
    return strstr(text, "[never]") == NULL && strstr(text, "[deny]") == NULL;
}

/* Some of the nodes asked for are not to be had, or none; `rc` is what reading them gave. */
static int lack_nodes(struct memtier *tier, const char *text, int rc)
{
    const char *lack = rc == -ENOSYS       ? "this kernel knows no NUMA nodes"
                       : tier->nodes.local ? "this machine, or its cpuset, has none of them"
                                           : "this machine, or its cpuset, lacks some of them";
    char line[TOLD_BYTES];

    if (tier->plan.strict) {
        log_line(tier->log, SPILLWAY_LOG_ERROR, "memory tier: nodes '%.64s': %s", text, lack);
        return -EOPNOTSUPP;
    }
    (void)snprintf(line, sizeof(line), "nodes '%.64s': %s; segments go %s", text, lack,
                   tier->nodes.local ? "where the kernel puts them" : "to those that are there");
    memtier_tell_fallback(tier, TOLD_LACK_NODES, "nodes", line);
    return 0;
}

/* Without a policy the kernel takes the node of who touches a page first: of who makes the segment,
 * which is close enough. */
static void open_nearness(struct memtier *tier, const struct node_map *map)
{
    if (tier->seal == SEAL_STRICT) {
        tier->near = NEAR_NONE; /* sealed once it is filled, and filled at once */
    } else if (tier->nodes.local || node_count(&map->memory) == 1) {
        tier->near = NEAR_ALL;
    } else if (node_count(&tier->nodes.set) == 1) {
        tier->near = NEAR_NODE;
        tier->near_node = (unsigned)node_first(&tier->nodes.set);
    }
}

static int open_nodes(struct memtier *tier, const char *text)
{
    struct node_map *map;
    int rc;

    if (text == NULL || strcmp(text, "local") == 0) {
        tier->nodes.local = true;
        open_nearness(tier, NULL);
        return 0;
    }
    map = allocator_zeroed(tier->allocator, sizeof(*map));
    if (map == NULL)
        return -ENOMEM;
    rc = node_map_read(tier->os, "", -1, map);
    if (rc == 0)
        rc = node_choose(map, text, &tier->nodes);
    if (rc == -ENOSYS)
        tier->nodes.local = tier->nodes.incomplete = true;
    open_nearness(tier, map);
    allocator_release(tier->allocator, map, sizeof(*map));
    if ((rc == 0 || rc == -ENOSYS) && tier->nodes.incomplete)
        rc = lack_nodes(tier, text, rc);
    if (rc == 0 && !tier->nodes.local)
        tier->plan.nodes = &tier->nodes.set;
    return rc;
}

static int open_huge(struct memtier *tier, enum huge_mode wanted)
{
    bool works = true;

    tier->plan.huge = wanted;
    tier->grain_bytes = tier->plan.page_bytes;
    if (wanted == HUGE_ON) {
        tier->plan.huge_page_bytes = read_number(tier->os, "/proc/meminfo", "Hugepagesize:") * 1024;
        works = tier->plan.huge_page_bytes > tier->plan.page_bytes;
        if (works)
            tier->grain_bytes = tier->plan.huge_page_bytes;
    } else if (wanted == HUGE_TRANSPARENT) {
        works = transparent_works(tier->os);
    }
    if (works)
        return 0;
    if (tier->plan.strict) {
        log_line(tier->log, SPILLWAY_LOG_ERROR, "memory tier: no huge pages here (%s)",
                 wanted == HUGE_ON ? "CONFIG_HUGETLBFS" : "shmem_enabled");
        return -EOPNOTSUPP;
    }
    tier->plan.huge = HUGE_OFF;
    memtier_tell_fallback(tier, TOLD_LACK_HUGE, "huge-pages",
                          wanted == HUGE_ON
                              ? "no huge pages here (CONFIG_HUGETLBFS); using normal ones"
                              : "no huge pages here (shmem_enabled); using normal ones");
    return 0;
}

/* How many segments there may be, and of what size, so that maps do not run out. */
static void open_sizes(struct memtier *tier, uint64_t wish_bytes)
{
    uint64_t maps = read_number(tier->os, "/proc/sys/vm/max_map_count", "");

    if (maps == 0)
        maps = MAP_COUNT_DEFAULT;
    tier->segment_max = maps / 2; /* half of them are the program's */
    if (tier->seal == SEAL_RECYCLE)
        tier->segment_max /= MAPS_RECYCLE;
    else if (tier->os->limit(RLIMIT_NOFILE, &tier->descriptors_max) == 0)
        tier->descriptors_max /= DESCRIPTOR_SHARE;
    tier->segment_max = larger(tier->segment_max, 1);
    tier->unit_bytes = larger(wish_bytes, UNIT_MIN_BYTES);
    tier->unit_bytes = larger(tier->unit_bytes, tier->capacity_bytes / tier->segment_max + 1);
    tier->unit_bytes = smaller(tier->unit_bytes, tier->capacity_bytes);
    tier->unit_bytes = smaller(round_up(tier->unit_bytes, tier->grain_bytes),
                               round_down(tier->capacity_bytes, tier->grain_bytes));
}

/* A sixteenth, at least 16 MiB, but never more than a quarter of a small limit. */
static uint64_t margin_of(uint64_t limit_bytes)
{
    uint64_t margin = larger(limit_bytes / 16, MARGIN_MIN_BYTES);

    return smaller(smaller(margin, limit_bytes / 4), MARGIN_MAX_BYTES);
}

static void open_margins(struct memtier *tier)
{
    uint64_t limit, total, available;

    cgroup_find(tier->os, "", &tier->cgroup);
    limit = cgroup_limit(tier->os, &tier->cgroup);
    tier->cgroup_margin_bytes = limit == CGROUP_UNLIMITED ? MARGIN_MIN_BYTES : margin_of(limit);
    total = host_memory(tier->os, "", &available);
    tier->host_known = total > 0 && available > 0;
    tier->host_margin_bytes = margin_of(total / 4); /* a 64th of a large machine */
}

/* Whether this process may lock as much as the capacity: asked with a map that has no pages. */
static int probe_lock(const struct memtier *tier)
{
    uint64_t bytes = round_up(tier->capacity_bytes, tier->plan.page_bytes);
    void *start;
    int rc;

    rc =
        tier->os->map(bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &start);
    if (rc < 0)
        return rc;
    rc = tier->os->lock(start, bytes, MLOCK_ONFAULT);
    (void)tier->os->unmap(start, bytes);
    return rc;
}

static int probe_segment(struct memtier *tier, const struct segment_plan *plan,
                         struct segment *segment, enum segment_step *step)
{
    static const unsigned char byte = 1;
    struct segment_source source = {.len = 1, .whole = &byte};

    if (tier->seal == SEAL_STRICT)
        return segment_open_strict(plan, tier->grain_bytes, &source, segment, step);
    return segment_open_recycle(plan, tier->grain_bytes, segment, step);
}

/* What a strict plan was refused at `step` for: one of the things that others do without, or
 * NULL. */
static const char *probe_lack(struct memtier *tier, const struct segment_plan *plan,
                              enum segment_step step)
{
    struct segment_plan normal = *plan;
    struct segment segment = {0};

    if (step == SEGMENT_STEP_LOCK)
        return LACK_MLOCK_TEXT;
    if (step == SEGMENT_STEP_POLICY)
        return LACK_NODES_TEXT;
    if (step == SEGMENT_STEP_HUGE)
        return LACK_HUGE_TEXT;
    /* With a reserve that is empty, each of several steps may fail. */
    normal.huge = HUGE_OFF;
    if (plan->huge == HUGE_OFF || probe_segment(tier, &normal, &segment, &step) < 0)
        return NULL;
    segment_close(tier->os, &segment);
    return LACK_HUGE_TEXT;
}

static int probe_failed(struct memtier *tier, struct segment_plan *plan, enum segment_step step,
                        int err)
{
    const char *lack = plan->strict ? probe_lack(tier, plan, step) : NULL;

    plan->huge = HUGE_OFF; /* or it is the lack */
    log_line(tier->log, plan->strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN,
             "memory tier: cannot be used, %s: %s%s", lack != NULL ? lack : segment_step_name(step),
             strerrordesc_np(-err), lack != NULL ? "" : memtier_step_hint(plan, step, err));
    return lack != NULL ? -EOPNOTSUPP : err;
}

/* Makes one small segment with everything that was asked for, so that what this machine refuses is
 * known, told and (when strict) an error now and not in the middle of the work. */
static int probe(struct memtier *tier)
{
    struct segment_plan plan = tier->plan;
    struct segment segment = {0};
    enum segment_step step = SEGMENT_STEP_NONE;
    int rc = 0;

    plan.bind = false; /* not on a node that may be full */
    if (tier->plan.mlock && tier->plan.strict) {
        step = SEGMENT_STEP_LOCK;
        rc = probe_lock(tier);
    }
    if (rc == 0)
        rc = probe_segment(tier, &plan, &segment, &step);
    if (rc < 0)
        return probe_failed(tier, &plan, step, rc);
    memtier_tell_lacks(tier, &segment);
    segment_close(tier->os, &segment);
    return 0;
}

static int open_locks(struct memtier *tier)
{
    int rc = -pthread_mutex_init(&tier->lock, NULL);

    if (rc == 0) {
        rc = -pthread_cond_init(&tier->made, NULL);
        if (rc < 0)
            (void)pthread_mutex_destroy(&tier->lock);
    }
    return rc;
}

int memtier_open(const struct memtier_config *config, struct memtier **out)
{
    struct memtier *tier = allocator_zeroed(config->allocator, sizeof(*tier));
    int rc;

    if (tier == NULL)
        return -ENOMEM;
    tier->os = config->os;
    tier->allocator = config->allocator;
    tier->log = config->log;
    tier->fallback = config->fallback;
    tier->fallback_context = config->fallback_context;
    tier->unused_budget = config->unused_budget;
    tier->unused_budget_context = config->unused_budget_context;
    tier->seal = config->seal;
    tier->plan.os = config->os;
    tier->plan.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    tier->plan.mlock = config->mlock;
    tier->plan.strict = config->strict;
    tier->capacity_bytes = smaller(config->capacity_bytes, INT64_MAX);
    tier->counters = config->counters;
    tier->rows = config->rows;
    atomic_init(&tier->told, 0);
    rc = open_nodes(tier, config->nodes);
    if (rc < 0)
        goto fail_alloc;
    rc = open_huge(tier, config->huge_pages);
    if (rc < 0)
        goto fail_alloc;
    open_sizes(tier, config->segment_bytes);
    open_margins(tier);
    rc = probe(tier);
    if (rc < 0)
        goto fail_alloc;
    rc = open_locks(tier);
    if (rc < 0)
        goto fail_alloc;
    memtier_tell_segments(tier);
    memtier_look_for_swap(tier);
    *out = tier;
    return 0;

fail_alloc:
    allocator_release(config->allocator, tier, sizeof(*tier));
    return rc;
}

void memtier_close(struct memtier *tier)
{
    (void)memtier_trim(tier);
    (void)pthread_cond_destroy(&tier->made);
    (void)pthread_mutex_destroy(&tier->lock);
    allocator_release(tier->allocator, tier, sizeof(*tier));
}
