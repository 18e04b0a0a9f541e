/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "memtier.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../lib/alloc.h"
#include "cgroup.h"
#include "node.h"
#include "segment.h"

#define MIB UINT64_C(1048576)

enum {
    LINE_BYTES = 64,           /* pieces begin on a cache line */
    OPEN_MAX = 8,              /* segments that still hand out pieces */
    WARM_LOOK_MAX = 64,        /* odd warm segments tried for one piece */
    MAP_COUNT_DEFAULT = 65530, /* vm.max_map_count where it cannot be read */
    DESCRIPTOR_SHARE = 4,      /* strict mode keeps at most 1/4 of RLIMIT_NOFILE */
    MAPS_RECYCLE = 2,          /* maps of one segment */
    SMALL_FILE_BYTES = 8192,
    TOLD_BYTES = 256, /* a line of our own making */
};
#define UNIT_MIN_BYTES (2 * MIB)

/* What a machine may refuse, and who could mend it. */
#define LACK_NODES_TEXT "the kernel refuses to place memory on the nodes asked for"
#define LACK_MLOCK_TEXT "memory cannot be locked (RLIMIT_MEMLOCK, CAP_IPC_LOCK)"
#define LACK_HUGE_TEXT  "no huge pages to be had (vm.nr_hugepages, shmem_enabled)"

/* Kept free of segments, so that what the process does meanwhile finds room. */
#define MARGIN_MIN_BYTES  (16 * MIB)
#define MARGIN_MAX_BYTES  (1024 * MIB)
#define NODE_MARGIN_BYTES (64 * MIB)

#define BACKOFF_FIRST_NS UINT64_C(100000000)
#define BACKOFF_MAX_NS   UINT64_C(2000000000)

/* What is told once; bits. */
enum told {
    TOLD_CAPACITY = 1 << 0,
    TOLD_COUNT = 1 << 1,
    TOLD_CGROUP = 1 << 2,
    TOLD_HOST = 1 << 3,
    TOLD_NODE = 1 << 4,
    TOLD_MAKING = 1 << 5,
    TOLD_LACK_NODES = 1 << 6,
    TOLD_LACK_MLOCK = 1 << 7,
    TOLD_LACK_HUGE = 1 << 8,
    TOLD_MISPLACED = 1 << 9,
    TOLD_DESCRIPTORS = 1 << 10,
};

struct memtier {
    const struct os *os;
    const spw_allocator *allocator;
    struct log *log;
    void (*fallback)(void *context, const char *name);
    void *fallback_context;
    uint64_t (*unused_budget)(void *context);
    void *unused_budget_context;

    /* Set when it is opened. */
    uint64_t capacity_bytes;
    uint64_t unit_bytes;  /* of the usual segment in recycle mode */
    uint64_t grain_bytes; /* what segment sizes are multiples of */
    uint64_t segment_max; /* bound by maps */
    uint64_t descriptors_max;
    enum seal_mode seal;
    struct segment_plan plan;
    struct node_choice nodes;
    struct cgroup cgroup;
    uint64_t cgroup_margin_bytes, host_margin_bytes;
    bool host_known;

    atomic_uint told; /* enum told, or-ed */

    pthread_mutex_t lock; /* a leaf: nothing is called under it but the clock and the allocator */
    pthread_cond_t made;  /* a reservation has become a segment, or has been given up */

    /* All below: guarded by lock. */
    struct segment *open[OPEN_MAX]; /* each with at least one live piece */
    unsigned open_count;
    struct segment *warm;     /* unit-sized and empty; last in, first out */
    struct segment *warm_odd; /* of other sizes */
    uint64_t warm_bytes;
    uint64_t resting;       /* empty segments that are on no list for a moment */
    uint64_t descriptors;   /* kept open by strict segments */
    uint64_t segments;      /* reserved ones included */
    uint64_t total_bytes;   /* of all segments, reserved ones included; never above capacity */
    uint64_t pending_bytes; /* reserved and not yet there */
    uint64_t stored_bytes, misplaced_bytes, locked_bytes, huge_bytes;
    uint64_t refused_headroom_total;
    uint64_t backoff_until_ns, backoff_ns;
};

static uint64_t round_up(uint64_t value, uint64_t grain)
{
    return (value + grain - 1) / grain * grain;
}

static uint64_t round_down(uint64_t value, uint64_t grain)
{
    return value / grain * grain;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* --- telling, never under the lock ---------------------------------------------------------- */

/* True for the first caller. */
static bool tell_first(struct memtier *tier, enum told what)
{
    unsigned before = atomic_fetch_or_explicit(&tier->told, (unsigned)what, memory_order_relaxed);

    return (before & (unsigned)what) == 0;
}

static void tell_fallback(struct memtier *tier, enum told what, const char *name, const char *why)
{
    if (!tell_first(tier, what))
        return;
    log_line(tier->log, SPILLWAY_LOG_WARN, "memory tier: %s", why);
    if (tier->fallback != NULL)
        tier->fallback(tier->fallback_context, name);
}

static void tell_lacks(struct memtier *tier, const struct segment *segment)
{
    if (segment->lacks & SEGMENT_LACK_NODES)
        tell_fallback(tier, TOLD_LACK_NODES, "nodes",
                      LACK_NODES_TEXT "; it is where the kernel puts it");
    if (segment->lacks & SEGMENT_LACK_MLOCK)
        tell_fallback(tier, TOLD_LACK_MLOCK, "mlock", LACK_MLOCK_TEXT "; some of it is not");
    if (segment->lacks & SEGMENT_LACK_HUGE)
        tell_fallback(tier, TOLD_LACK_HUGE, "huge-pages", LACK_HUGE_TEXT "; using normal ones");
    if (segment->misplaced_bytes > 0 && tell_first(tier, TOLD_MISPLACED))
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: %llu of %llu bytes of a segment are on other nodes than asked for",
                 (unsigned long long)segment->misplaced_bytes, (unsigned long long)segment->bytes);
}

static void tell_full(struct memtier *tier, enum told what)
{
    if (!tell_first(tier, what))
        return;
    if (what == TOLD_CAPACITY)
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: full, its capacity of %llu bytes is used",
                 (unsigned long long)tier->capacity_bytes);
    else
        log_line(tier->log, SPILLWAY_LOG_WARN, "memory tier: full at %llu segments (%s)",
                 (unsigned long long)tier->segment_max, "vm.max_map_count");
}

static void tell_no_room(struct memtier *tier, enum told what, uint64_t room_bytes)
{
    const char *where = what == TOLD_CGROUP ? "memory cgroup" : what == TOLD_HOST ? "host" : "node";

    if (tell_first(tier, what))
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: no further segment, the %s has only %llu bytes left", where,
                 (unsigned long long)room_bytes);
}

/* It is not known whether there is room, so none is taken. */
static void tell_blind(struct memtier *tier, enum told what, const char *why)
{
    const char *where = what == TOLD_CGROUP ? "memory cgroup" : "host";

    if (tell_first(tier, what))
        log_line(tier->log, SPILLWAY_LOG_WARN,
                 "memory tier: no further segment, what the %s has left cannot be read (%s)", where,
                 why);
}

/* --- is there room outside? ----------------------------------------------------------------- */

/* A sixteenth, at least 16 MiB, but never more than a quarter of a small limit. */
static uint64_t margin_of(uint64_t limit_bytes)
{
    uint64_t margin = larger(limit_bytes / 16, MARGIN_MIN_BYTES);

    return smaller(smaller(margin, limit_bytes / 4), MARGIN_MAX_BYTES);
}

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
        tell_blind(tier, TOLD_CGROUP,
                   rc == -EMFILE ? "no descriptor left: RLIMIT_NOFILE" : strerrordesc_np(-rc));
        return -ENOSPC;
    }
    if (less(less(room, tier->cgroup_margin_bytes), spare) < outstanding_bytes) {
        tell_no_room(tier, TOLD_CGROUP, room);
        return -ENOSPC;
    }
    if (tier->host_known) {
        if (host_memory(tier->os, "", &room) == 0) {
            tell_blind(tier, TOLD_HOST, "/proc/meminfo, RLIMIT_NOFILE");
            return -ENOSPC;
        }
        if (less(less(room, tier->host_margin_bytes), spare) < outstanding_bytes) {
            tell_no_room(tier, TOLD_HOST, room);
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
        tell_no_room(tier, TOLD_NODE, room);
        return -ENOSPC;
    }
    /* What only reclaim could free is asked for, not insisted on. */
    if (less(free_bytes, NODE_MARGIN_BYTES) >= outstanding_bytes)
        *bind = true;
    return 0;
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

/* --- pieces and warm segments; all called with the lock held -------------------------------- */

static uint64_t segment_room(const struct segment *segment)
{
    return segment->bytes - segment->used_bytes;
}

/* Room and sizes are whole cache lines, so a piece that fits also fits rounded up. */
static void piece_take(struct memtier *tier, struct segment *segment, uint64_t len,
                       struct memslot *out)
{
    out->segment = segment;
    out->data = segment->read + segment->used_bytes;
    out->len = len;
    segment->used_bytes += round_up(len, LINE_BYTES);
    segment->pieces++;
    tier->stored_bytes += len;
}

static void open_remove(struct memtier *tier, const struct segment *segment)
{
    unsigned i;

    for (i = 0; i < tier->open_count; i++) {
        if (tier->open[i] == segment) {
            tier->open[i] = tier->open[--tier->open_count];
            return;
        }
    }
}

/* Pieces may come from it. When there are many, the one with the least room is left out; it comes
 * back through the warm list. */
static void open_add(struct memtier *tier, struct segment *segment)
{
    unsigned i, least = 0;

    if (tier->open_count < OPEN_MAX) {
        tier->open[tier->open_count++] = segment;
        return;
    }
    for (i = 1; i < OPEN_MAX; i++) {
        if (segment_room(tier->open[i]) < segment_room(tier->open[least]))
            least = i;
    }
    if (segment_room(tier->open[least]) < segment_room(segment))
        tier->open[least] = segment;
}

static struct segment **warm_list(struct memtier *tier, const struct segment *segment)
{
    return segment->bytes == tier->unit_bytes ? &tier->warm : &tier->warm_odd;
}

static void warm_push(struct memtier *tier, struct segment *segment)
{
    struct segment **list = warm_list(tier, segment);

    segment->used_bytes = 0;
    segment->next = *list;
    *list = segment;
    tier->warm_bytes += segment->bytes;
}

/* The link to a warm segment of at least `len` bytes, NULL when there is none. */
static struct segment **warm_find(struct memtier *tier, uint64_t len)
{
    struct segment **link;
    unsigned looked = 0;

    if (tier->warm != NULL && tier->unit_bytes >= len)
        return &tier->warm;
    for (link = &tier->warm_odd; *link != NULL && looked < WARM_LOOK_MAX; looked++) {
        if ((*link)->bytes >= len)
            return link;
        link = &(*link)->next;
    }
    return NULL;
}

static struct segment *open_find(const struct memtier *tier, uint64_t len)
{
    unsigned i;

    for (i = 0; i < tier->open_count; i++) {
        if (segment_room(tier->open[i]) >= len)
            return tier->open[i];
    }
    return NULL;
}

/* A piece out of memory that is there already. */
static bool room_take(struct memtier *tier, uint64_t len, struct memslot *out)
{
    struct segment *segment = open_find(tier, len);
    struct segment **link;

    if (segment == NULL) {
        link = warm_find(tier, len);
        if (link == NULL)
            return false;
        segment = *link;
        *link = segment->next;
        tier->warm_bytes -= segment->bytes;
        open_add(tier, segment);
    }
    piece_take(tier, segment, len, out);
    return true;
}

/* --- freeing -------------------------------------------------------------------------------- */

/* Counted as held until it is unmapped, so that capacity is never exceeded. Called without the
 * lock, which it takes. */
static void segment_destroy(struct memtier *tier, struct segment *segment)
{
    uint64_t bytes = segment->bytes;

    segment_close(tier->os, segment);
    pthread_mutex_lock(&tier->lock);
    tier->total_bytes -= bytes;
    tier->misplaced_bytes -= segment->misplaced_bytes;
    tier->locked_bytes -= segment->locked_bytes;
    tier->huge_bytes -= segment->huge ? bytes : 0;
    tier->descriptors -= segment->keeps_fd;
    tier->segments--;
    pthread_mutex_unlock(&tier->lock);
    allocator_release(tier->allocator, segment, sizeof(*segment));
}

/* Takes one warm segment off its list, NULL when there is none. Called with the lock held. */
static struct segment *warm_pop(struct memtier *tier)
{
    struct segment **list = tier->warm_odd != NULL ? &tier->warm_odd : &tier->warm;
    struct segment *segment = *list;

    if (segment != NULL) {
        *list = segment->next;
        tier->warm_bytes -= segment->bytes;
    }
    return segment;
}

uint64_t memtier_trim(struct memtier *tier)
{
    uint64_t freed = 0;

    for (;;) {
        struct segment *segment;

        pthread_mutex_lock(&tier->lock);
        segment = warm_pop(tier);
        pthread_mutex_unlock(&tier->lock);
        if (segment == NULL)
            return freed;
        freed += segment->bytes;
        segment_destroy(tier, segment);
    }
}

void memtier_release(struct memtier *tier, const struct memslot *slot)
{
    struct segment *segment = slot->segment;
    bool last;

    pthread_mutex_lock(&tier->lock);
    tier->stored_bytes -= slot->len;
    last = --segment->pieces == 0;
    if (last && tier->seal == SEAL_RECYCLE) {
        open_remove(tier, segment);
        tier->resting++;
    }
    pthread_mutex_unlock(&tier->lock);
    if (!last)
        return;
    if (tier->seal == SEAL_STRICT) {
        segment_destroy(tier, segment);
        return;
    }
    segment_unread(tier->os, segment);
    pthread_mutex_lock(&tier->lock);
    tier->resting--;
    warm_push(tier, segment);
    (void)pthread_cond_broadcast(&tier->made);
    pthread_mutex_unlock(&tier->lock);
}

/* --- making --------------------------------------------------------------------------------- */

struct reservation {
    uint64_t bytes;
    uint64_t outstanding_bytes; /* this one and those before it that are not there yet */
};

/*
 * Sets capacity aside for a segment that holds `need_bytes` (whole grains). Called with the lock
 * held, which it may drop for a while. Returns 0, -EAGAIN (it waited, or freed something: look
 * again) or -ENOSPC with `*why` set (0: backing off).
 */
static int reserve(struct memtier *tier, uint64_t need_bytes, struct reservation *out,
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
        out->outstanding_bytes = tier->pending_bytes;
        return 0;
    }
    if (tier->warm_bytes > 0 && room + tier->warm_bytes >= need_bytes) {
        struct segment *in_the_way = warm_pop(tier);

        pthread_mutex_unlock(&tier->lock);
        segment_destroy(tier, in_the_way);
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

/* What was reserved has become `segment`. Called with the lock held. */
static void reservation_keep(struct memtier *tier, const struct reservation *reservation,
                             const struct segment *segment)
{
    tier->pending_bytes -= reservation->bytes;
    tier->total_bytes -= reservation->bytes - segment->bytes;
    tier->misplaced_bytes += segment->misplaced_bytes;
    tier->locked_bytes += segment->locked_bytes;
    tier->huge_bytes += segment->huge ? segment->bytes : 0;
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
    tier->refused_headroom_total += refused;
    if (wait)
        back_off(tier);
    (void)pthread_cond_broadcast(&tier->made);
    pthread_mutex_unlock(&tier->lock);
}

/* What could be raised. */
static const char *step_hint(const struct segment_plan *plan, enum segment_step step, int err)
{
    if (err == -EMFILE)
        return " (RLIMIT_NOFILE)";
    if (step == SEGMENT_STEP_LOCK)
        return " (RLIMIT_MEMLOCK)";
    if (plan->strict && plan->huge == HUGE_ON)
        return " (vm.nr_hugepages)"; /* others take normal pages then */
    return err == -ENOMEM ? " (RLIMIT_AS, vm.max_map_count)" : "";
}

/* Makes the segment that was reserved, outside the lock. `source` is NULL in recycle mode. Returns
 * 0, -ENOSPC or -ENOMEM; then the reservation is gone. */
static int make(struct memtier *tier, const struct reservation *reservation,
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
        if (tell_first(tier, TOLD_MAKING))
            log_line(tier->log, SPILLWAY_LOG_WARN, "memory tier: no further segment, %s: %s%s",
                     segment_step_name(step), strerrordesc_np(-rc), step_hint(&plan, step, rc));
        allocator_release(tier->allocator, segment, sizeof(*segment));
        reservation_drop(tier, reservation, false, true);
        return -ENOSPC;
    }
    tell_lacks(tier, segment);
    *out = segment;
    return 0;
}

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
    tell_fallback(tier, TOLD_DESCRIPTORS, "descriptors",
                  "a quarter of RLIMIT_NOFILE is used: further sealed segments keep no descriptor");
}

/* A piece, new or warm, to be filled by the caller. */
static int recycle_take(struct memtier *tier, uint64_t len, struct memslot *out)
{
    struct reservation reservation;
    struct segment *segment;
    unsigned why;
    int rc;

    pthread_mutex_lock(&tier->lock);
    do {
        if (room_take(tier, len, out)) {
            pthread_mutex_unlock(&tier->lock);
            return 0;
        }
        rc = reserve(tier, round_up(len, tier->grain_bytes), &reservation, &why);
    } while (rc == -EAGAIN);
    pthread_mutex_unlock(&tier->lock);
    if (rc < 0) {
        if (why != 0)
            tell_full(tier, (enum told)why);
        return rc;
    }
    rc = make(tier, &reservation, NULL, &segment);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&tier->lock);
    piece_take(tier, segment, len, out);
    open_add(tier, segment);
    reservation_keep(tier, &reservation, segment);
    pthread_mutex_unlock(&tier->lock);
    return 0;
}

static void copy_source(const struct memtier_source *source, unsigned char *to)
{
    if (source->whole != NULL)
        memcpy(to, source->whole, source->len);
    else
        source->fill(source->context, to);
}

static int strict_put(struct memtier *tier, const struct memtier_source *source,
                      struct memslot *out)
{
    struct segment_source from = {.len = source->len,
                                  .whole = source->whole,
                                  .fill = source->fill,
                                  .context = source->context};
    struct reservation reservation;
    struct segment *segment;
    unsigned why;
    int rc;

    pthread_mutex_lock(&tier->lock);
    do
        rc = reserve(tier, round_up(source->len, tier->grain_bytes), &reservation, &why);
    while (rc == -EAGAIN);
    pthread_mutex_unlock(&tier->lock);
    if (rc < 0) {
        if (why != 0)
            tell_full(tier, (enum told)why);
        return rc;
    }
    rc = make(tier, &reservation, &from, &segment);
    if (rc < 0)
        return rc;
    limit_descriptors(tier, segment);
    pthread_mutex_lock(&tier->lock);
    piece_take(tier, segment, source->len, out);
    reservation_keep(tier, &reservation, segment);
    pthread_mutex_unlock(&tier->lock);
    return 0;
}

int memtier_put(struct memtier *tier, const struct memtier_source *source, struct memslot *out)
{
    int rc;

    if (source->len == 0)
        return -EINVAL;
    if (source->len > tier->capacity_bytes) {
        tell_full(tier, TOLD_CAPACITY);
        return -ENOSPC;
    }
    if (tier->seal == SEAL_STRICT)
        return strict_put(tier, source, out);
    rc = recycle_take(tier, source->len, out);
    if (rc < 0)
        return rc;
    copy_source(source, out->segment->write + (out->data - out->segment->read));
    return 0;
}

bool memtier_may_accept(struct memtier *tier, uint64_t len)
{
    uint64_t room;
    bool may;

    if (len == 0 || len > tier->capacity_bytes)
        return false;
    pthread_mutex_lock(&tier->lock);
    may = open_find(tier, len) != NULL || warm_find(tier, len) != NULL;
    if (!may) {
        room = tier->capacity_bytes - tier->total_bytes + tier->warm_bytes;
        may = room >= round_up(len, tier->grain_bytes) &&
              (tier->segments < tier->segment_max || tier->warm_bytes > 0) &&
              tier->os->clock_ns() >= tier->backoff_until_ns;
    }
    pthread_mutex_unlock(&tier->lock);
    return may;
}

void memtier_info(const struct memtier *tier, struct memtier_info *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&tier->lock;

    pthread_mutex_lock(lock);
    *out = (struct memtier_info){
        .capacity_bytes = tier->capacity_bytes,
        .segment_bytes = tier->total_bytes,
        .stored_bytes = tier->stored_bytes,
        .misplaced_bytes = tier->misplaced_bytes,
        .locked_bytes = tier->locked_bytes,
        .huge_bytes = tier->huge_bytes,
        .refused_headroom_total = tier->refused_headroom_total,
    };
    pthread_mutex_unlock(lock);
}

/* --- opening -------------------------------------------------------------------------------- */

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
    tell_fallback(tier, TOLD_LACK_NODES, "nodes", line);
    return 0;
}

static int open_nodes(struct memtier *tier, const char *text)
{
    struct node_map *map;
    int rc;

    if (text == NULL || strcmp(text, "local") == 0) {
        tier->nodes.local = true;
        return 0;
    }
    map = allocator_zeroed(tier->allocator, sizeof(*map));
    if (map == NULL)
        return -ENOMEM;
    rc = node_map_read(tier->os, "", -1, map);
    if (rc == 0)
        rc = node_choose(map, text, &tier->nodes);
    allocator_release(tier->allocator, map, sizeof(*map));
    if (rc == -ENOSYS)
        tier->nodes.local = tier->nodes.incomplete = true;
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
    tell_fallback(tier, TOLD_LACK_HUGE, "huge-pages",
                  wanted == HUGE_ON ? "no huge pages here (CONFIG_HUGETLBFS); using normal ones"
                                    : "no huge pages here (shmem_enabled); using normal ones");
    return 0;
}

/* How many segments there may be, and of what size, so that maps do not run out.
 */
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

/* What a strict plan was refused at `step` for: one of the things that others do without, or NULL.
 */
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
             strerrordesc_np(-err), lack != NULL ? "" : step_hint(plan, step, err));
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
    tell_lacks(tier, &segment);
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
