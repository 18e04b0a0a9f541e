/* SPDX-License-Identifier: MIT */
/* The memory tier's pieces: put, release, open and warm segments, info. */
#include "memtier.h"

#include <errno.h>
#include <string.h>

#include "memtier_tier.h"

enum {
    LINE_BYTES = 64,    /* pieces begin on a cache line */
    WARM_LOOK_MAX = 64, /* odd warm segments tried for one piece */
};

/* What is asked for: `align` is a power of two, from a cache line to a page. */
struct wanted {
    uint64_t len, align;
    bool cell; /* in a segment of pieces of this size; len is a power of two */
    bool slab; /* can lie elsewhere as well: a tier that is full is no news */
};

/* --- pieces and warm segments; all called with the lock held -------------------------------- */

/* Where the next piece begins. */
static uint64_t segment_next(const struct segment *segment, uint64_t align)
{
    return round_up(segment->used_bytes, align);
}

static uint64_t segment_room(const struct segment *segment, uint64_t align)
{
    return less(segment->bytes, segment_next(segment, align));
}

/* Room and sizes are whole cache lines, so a piece that fits also fits rounded up. */
static void piece_take(struct memtier *tier, struct segment *segment, const struct wanted *wanted,
                       struct memslot *out)
{
    uint64_t begin = segment_next(segment, wanted->align);

    out->segment = segment;
    out->data = segment->read + begin;
    out->len = wanted->len;
    segment->used_bytes = begin + round_up(wanted->len, LINE_BYTES);
    segment->pieces++;
    tier->stored_bytes += wanted->len;
    memtier_tell_stored(tier);
}

/* --- segments that hand out pieces of any size; with the lock held -------------------------- */

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

    if (tier->open_count < MEMTIER_OPEN_MAX) {
        tier->open[tier->open_count++] = segment;
        return;
    }
    for (i = 1; i < MEMTIER_OPEN_MAX; i++) {
        if (segment_room(tier->open[i], LINE_BYTES) < segment_room(tier->open[least], LINE_BYTES))
            least = i;
    }
    if (segment_room(tier->open[least], LINE_BYTES) < segment_room(segment, LINE_BYTES))
        tier->open[least] = segment;
}

static struct segment **warm_list(struct memtier *tier, const struct segment *segment)
{
    if (segment->bytes != tier->unit_bytes)
        return &tier->warm_odd;
    return segment->keeps_read ? &tier->warm_kept : &tier->warm;
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

    if (tier->warm_kept != NULL && tier->unit_bytes >= len)
        return &tier->warm_kept;
    if (tier->warm != NULL && tier->unit_bytes >= len)
        return &tier->warm;
    for (link = &tier->warm_odd; *link != NULL && looked < WARM_LOOK_MAX; looked++) {
        if ((*link)->bytes >= len)
            return link;
        link = &(*link)->next;
    }
    return NULL;
}

static struct segment *open_find(const struct memtier *tier, const struct wanted *wanted)
{
    unsigned i;

    for (i = 0; i < tier->open_count; i++) {
        if (segment_room(tier->open[i], wanted->align) >= wanted->len)
            return tier->open[i];
    }
    return NULL;
}

/* The first piece of an empty segment that is on no list. */
static void first_take(struct memtier *tier, struct segment *segment, const struct wanted *wanted,
                       struct memslot *out)
{
    if (wanted->cell) {
        memtier_cells_begin(tier, segment, wanted->len);
        (void)memtier_cell_take(tier, wanted->len, out);
        return;
    }
    open_add(tier, segment);
    piece_take(tier, segment, wanted, out);
}

/* A piece out of memory that is there already. */
static bool room_take(struct memtier *tier, const struct wanted *wanted, struct memslot *out)
{
    struct segment *segment = NULL;
    struct segment **link;

    if (wanted->cell) {
        if (memtier_cell_take(tier, wanted->len, out))
            return true;
    } else {
        segment = open_find(tier, wanted);
    }
    if (segment != NULL) {
        piece_take(tier, segment, wanted, out);
        return true;
    }
    link = warm_find(tier, wanted->len);
    if (link == NULL)
        return false;
    segment = *link;
    *link = segment->next;
    tier->warm_bytes -= segment->bytes;
    first_take(tier, segment, wanted, out);
    return true;
}

struct segment *memtier_warm_pop(struct memtier *tier)
{
    struct segment **list = &tier->warm_odd, *segment;

    if (*list == NULL)
        list = &tier->warm;
    if (*list == NULL)
        list = &tier->warm_kept;
    segment = *list;
    if (segment != NULL) {
        *list = segment->next;
        tier->warm_bytes -= segment->bytes;
    }
    return segment;
}

/* --- freeing -------------------------------------------------------------------------------- */

uint64_t memtier_trim(struct memtier *tier)
{
    uint64_t freed = 0;

    for (;;) {
        struct segment *segment;

        pthread_mutex_lock(&tier->lock);
        segment = memtier_warm_pop(tier);
        pthread_mutex_unlock(&tier->lock);
        if (segment == NULL)
            return freed;
        freed += segment->bytes;
        memtier_segment_destroy(tier, segment);
    }
}

/*
 * Whether an empty segment's readers' map may stay. Pages of the reserve are in nobody's resident
 * set. With the lock held.
 */
static bool read_map_stays(struct memtier *tier, struct segment *segment)
{
    if (segment->huge || segment->keeps_read)
        return true;
    if (segment->bytes != tier->unit_bytes ||
        segment->bytes > less(MEMTIER_KEPT_MAX_BYTES, tier->kept_bytes))
        return false;
    segment->keeps_read = true;
    tier->kept_bytes += segment->bytes;
    return true;
}

/* The last piece of a recycle segment is gone. Takes and leaves the lock held. */
static void recycle(struct memtier *tier, struct segment *segment)
{
    if (segment->cell_bytes != 0)
        memtier_cells_end(tier, segment);
    else
        open_remove(tier, segment);
    if (!read_map_stays(tier, segment)) {
        tier->resting++;
        pthread_mutex_unlock(&tier->lock);
        segment_unread(tier->os, segment);
        pthread_mutex_lock(&tier->lock);
        tier->resting--;
    }
    warm_push(tier, segment);
    (void)pthread_cond_broadcast(&tier->made);
}

void memtier_release(struct memtier *tier, const struct memslot *slot)
{
    struct segment *segment = slot->segment;
    bool last;

    pthread_mutex_lock(&tier->lock);
    tier->stored_bytes -= slot->len;
    memtier_tell_stored(tier);
    if (segment->cell_bytes != 0)
        memtier_cell_release(tier, slot);
    last = --segment->pieces == 0;
    if (last && tier->seal == SEAL_RECYCLE)
        recycle(tier, segment);
    pthread_mutex_unlock(&tier->lock);
    if (last && tier->seal == SEAL_STRICT)
        memtier_segment_destroy(tier, segment);
}

/* --- putting -------------------------------------------------------------------------------- */

/* A piece, new or warm, to be filled by the caller. */
static int recycle_take(struct memtier *tier, const struct wanted *wanted, struct memslot *out)
{
    struct reservation reservation;
    struct segment *segment;
    unsigned why;
    int rc;

    pthread_mutex_lock(&tier->lock);
    do {
        if (room_take(tier, wanted, out)) {
            pthread_mutex_unlock(&tier->lock);
            return 0;
        }
        rc = memtier_segment_reserve(tier, round_up(wanted->len, tier->grain_bytes), &reservation,
                                     &why);
    } while (rc == -EAGAIN);
    pthread_mutex_unlock(&tier->lock);
    if (rc < 0) {
        if (why != 0 && !(wanted->slab && why == TOLD_CAPACITY))
            memtier_tell_full(tier, (enum told)why);
        return rc;
    }
    rc = memtier_segment_make(tier, &reservation, NULL, &segment);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&tier->lock);
    first_take(tier, segment, wanted, out);
    memtier_reservation_keep(tier, &reservation, segment);
    pthread_mutex_unlock(&tier->lock);
    return 0;
}

static unsigned char *writable_at(const struct memslot *slot)
{
    return slot->segment->write + (slot->data - slot->segment->read);
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
        rc = memtier_segment_reserve(tier, round_up(source->len, tier->grain_bytes), &reservation,
                                     &why);
    while (rc == -EAGAIN);
    pthread_mutex_unlock(&tier->lock);
    if (rc < 0) {
        if (why != 0)
            memtier_tell_full(tier, (enum told)why);
        return rc;
    }
    rc = memtier_segment_make(tier, &reservation, &from, &segment);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&tier->lock);
    piece_take(tier, segment, &(struct wanted){.len = source->len, .align = LINE_BYTES}, out);
    memtier_reservation_keep(tier, &reservation, segment);
    pthread_mutex_unlock(&tier->lock);
    return 0;
}

int memtier_put(struct memtier *tier, const struct memtier_source *source, struct memslot *out)
{
    int rc;

    if (source->len == 0)
        return -EINVAL;
    if (source->len > tier->capacity_bytes) {
        memtier_tell_full(tier, TOLD_CAPACITY);
        return -ENOSPC;
    }
    if (tier->seal == SEAL_STRICT)
        return strict_put(tier, source, out);
    rc = recycle_take(tier, &(struct wanted){.len = source->len, .align = LINE_BYTES}, out);
    if (rc < 0)
        return rc;
    copy_source(source, writable_at(out));
    return 0;
}

bool memtier_is_near(const struct memtier *tier)
{
    return tier->near == NEAR_ALL ||
           (tier->near == NEAR_NODE && node_of_thread() == (int)tier->near_node);
}

int memtier_take(struct memtier *tier, uint64_t len, struct memslot *out, unsigned char **write)
{
    int rc;

    if (len == 0 || tier->seal == SEAL_STRICT)
        return -EINVAL;
    if (len > tier->capacity_bytes)
        return -ENOSPC;
    rc = recycle_take(tier,
                      &(struct wanted){.len = len,
                                       .align = tier->plan.page_bytes,
                                       .cell = memtier_is_cell(tier, len),
                                       .slab = true},
                      out);
    if (rc < 0)
        return rc;
    *write = writable_at(out);
    return 0;
}

bool memtier_may_accept(struct memtier *tier, uint64_t len)
{
    uint64_t room;
    bool may;

    if (len == 0 || len > tier->capacity_bytes)
        return false;
    pthread_mutex_lock(&tier->lock);
    may = open_find(tier, &(struct wanted){.len = len, .align = LINE_BYTES}) != NULL ||
          warm_find(tier, len) != NULL;
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
