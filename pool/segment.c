/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 0x0004U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum {
    POPULATE_TRIES = 16, /* a signal may interrupt it */
    VERIFY_PAGES = 512,  /* looked at in a segment: every page of the usual 2 MiB */
    VERIFY_BATCH = 64,   /* of them in one call; bounds the stack */
};

/* What is under way; everything in it is undone by one ladder. */
struct making {
    const struct segment_plan *plan;
    const struct os *os;
    struct segment *segment;
    enum segment_step step; /* the one that runs now */
    int fd;
};

const char *segment_step_name(enum segment_step step)
{
    switch (step) {
    case SEGMENT_STEP_NONE:
        break;
    case SEGMENT_STEP_MEMFD:
        return "memfd_create";
    case SEGMENT_STEP_SIZE:
        return "ftruncate";
    case SEGMENT_STEP_MAP:
        return "mmap";
    case SEGMENT_STEP_PROTECT:
        return "madvise";
    case SEGMENT_STEP_POLICY:
        return "mbind";
    case SEGMENT_STEP_HUGE:
        return "huge pages";
    case SEGMENT_STEP_POPULATE:
        return "populating";
    case SEGMENT_STEP_LOCK:
        return "mlock";
    case SEGMENT_STEP_WRITE:
        return "writing";
    case SEGMENT_STEP_SEAL:
        return "sealing";
    case SEGMENT_STEP_REOPEN:
        return "reopening";
    }
    return "nothing";
}

/* --- steps that both modes share ------------------------------------------------------------ */

/* Kernels before 6.3 refuse the no-exec flag that they do not know. */
static int make_memfd(struct making *making, size_t bytes)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int rc;

    making->step = SEGMENT_STEP_MEMFD;
    if (making->segment->huge)
        flags |= MFD_HUGETLB;
    making->fd = making->os->memfd_create("spillway", flags | MFD_NOEXEC_SEAL);
    if (making->fd == -EINVAL)
        making->fd = making->os->memfd_create("spillway", flags);
    if (making->fd < 0)
        return making->fd;
    making->step = SEGMENT_STEP_SIZE;
    do
        rc = making->os->ftruncate(making->fd, bytes);
    while (rc == -EINTR);
    return rc;
}

/* A map that neither a forked child nor a core dump gets. */
static int make_map(struct making *making, size_t bytes, int prot, int fd, void **out)
{
    void *start;
    int rc;

    making->step = SEGMENT_STEP_MAP;
    rc = making->os->map(bytes, prot, MAP_SHARED, fd, 0, &start);
    if (rc < 0)
        return rc;
    making->step = SEGMENT_STEP_PROTECT;
    rc = making->os->advise(start, bytes, MADV_DONTFORK);
    if (rc == 0)
        rc = making->os->advise(start, bytes, MADV_DONTDUMP);
    if (rc < 0) {
        (void)making->os->unmap(start, bytes);
        return rc;
    }
    *out = start;
    return 0;
}

/* Something that can be done without is missing: an error only where the plan is strict. */
static int lack(struct making *making, enum segment_lack what, int err)
{
    if (making->plan->strict)
        return err;
    making->segment->lacks |= (unsigned)what;
    return 0;
}

/* The policy belongs to the file: it holds for pages that pwrite brings in, too. */
static int place(struct making *making, void *start, size_t bytes)
{
    const struct segment_plan *plan = making->plan;
    struct node_set first;
    int rc;

    if (plan->nodes == NULL)
        return 0;
    making->step = SEGMENT_STEP_POLICY;
    /* The kernel takes one off the count of bits. */
    rc = making->os->set_policy(start, bytes, plan->bind ? NODE_BIND : NODE_PREFERRED_MANY,
                                plan->nodes->words, NODE_MAX + 1, 0);
    if (rc == -EINVAL && !plan->bind) { /* before 5.15: one node only */
        memset(&first, 0, sizeof(first));
        node_add(&first, (unsigned)node_first(plan->nodes));
        rc = making->os->set_policy(start, bytes, NODE_PREFERRED, first.words, NODE_MAX + 1, 0);
    }
    return rc < 0 ? lack(making, SEGMENT_LACK_NODES, rc) : 0;
}

static int ask_for_transparent_huge(struct making *making, void *start, size_t bytes)
{
    int rc;

    if (making->plan->huge != HUGE_TRANSPARENT)
        return 0;
    making->step = SEGMENT_STEP_HUGE;
    rc = making->os->advise(start, bytes, MADV_HUGEPAGE);
    return rc < 0 ? lack(making, SEGMENT_LACK_HUGE, rc) : 0;
}

/* Brings in every page, so that a later touch can neither fail nor end the process. */
static int populate(struct making *making, void *start, size_t bytes)
{
    int rc, tries = 0;

    making->step = SEGMENT_STEP_POPULATE;
    do
        rc = making->os->advise(start, bytes, MADV_POPULATE_WRITE);
    while ((rc == -EINTR || rc == -EAGAIN) && ++tries < POPULATE_TRIES);
    if (rc != -EINVAL)
        return rc;
    do /* before 5.14 */
        rc = making->os->fallocate(making->fd, 0, 0, bytes);
    while (rc == -EINTR && ++tries < POPULATE_TRIES);
    return rc;
}

static int lock_pages(struct making *making, const void *start, size_t bytes)
{
    int rc;

    if (!making->plan->mlock)
        return 0;
    making->step = SEGMENT_STEP_LOCK;
    rc = making->os->lock(start, bytes, 0);
    if (rc < 0) {
        (void)making->os->unlock(start, bytes); /* it may have got part of the way */
        return lack(making, SEGMENT_LACK_MLOCK, rc);
    }
    making->segment->locked_bytes = bytes;
    return 0;
}

static void note_place(struct segment *segment, unsigned node, uint64_t bytes)
{
    unsigned i = 0;

    while (i < segment->place_count && segment->places[i].node != node)
        i++;
    if (i == SEGMENT_PLACES)
        return;
    if (i == segment->place_count)
        segment->places[segment->place_count++] = (struct segment_place){.node = (uint16_t)node};
    segment->places[i].bytes += bytes;
}

/* `bytes`: that each page found stands for. */
static uint64_t count_misplaced(const struct node_set *nodes, struct segment *segment,
                                const int *found, unsigned count, uint64_t bytes)
{
    uint64_t misplaced = 0;
    unsigned i;

    for (i = 0; i < count; i++) {
        if (found[i] < 0 || found[i] >= NODE_MAX)
            continue;
        note_place(segment, (unsigned)found[i], bytes);
        if (!node_has(nodes, (unsigned)found[i]))
            misplaced += bytes;
    }
    return misplaced;
}

/*
 * Asks the kernel where pages are. Looks at no more than VERIFY_PAGES of them, evenly spread; what
 * it cannot tell counts as well placed.
 */
static void verify_nodes(struct making *making, const unsigned char *start)
{
    const struct segment_plan *plan = making->plan;
    size_t page = making->segment->huge ? plan->huge_page_bytes : plan->page_bytes;
    size_t pages = making->segment->bytes / page;
    size_t stride = (pages + VERIFY_PAGES - 1) / VERIFY_PAGES;
    size_t at = 0;
    uint64_t misplaced = 0;

    if (plan->nodes == NULL)
        return;
    while (at < pages) {
        void *addresses[VERIFY_BATCH];
        int found[VERIFY_BATCH];
        unsigned count = 0;

        for (; at < pages && count < VERIFY_BATCH; at += stride)
            addresses[count++] = (void *)(uintptr_t)(start + at * page);
        memset(found, 0xff, sizeof(found));
        if (making->os->where(count, addresses, found) < 0)
            return;
        misplaced += count_misplaced(plan->nodes, making->segment, found, count, stride * page);
    }
    making->segment->misplaced_bytes =
        misplaced < making->segment->bytes ? misplaced : making->segment->bytes;
}

static int add_seals(struct making *making, unsigned long seals)
{
    int rc;

    making->step = SEGMENT_STEP_SEAL;
    do
        rc = making->os->fcntl(making->fd, F_ADD_SEALS, seals);
    while (rc == -EINTR);
    return rc;
}

static void begin(struct making *making, const struct segment_plan *plan, size_t bytes, bool huge,
                  struct segment *segment)
{
    unsigned lacks = segment->lacks;

    memset(segment, 0, sizeof(*segment));
    segment->bytes = bytes;
    segment->fd = -1;
    segment->huge = huge;
    segment->lacks = lacks;
    *making = (struct making){
        .plan = plan, .os = plan->os, .segment = segment, .step = SEGMENT_STEP_NONE, .fd = -1};
}

/* --- recycle -------------------------------------------------------------------------------- */

static int try_recycle(const struct segment_plan *plan, size_t bytes, bool huge,
                       struct segment *out, enum segment_step *step)
{
    struct making making;
    void *write = NULL, *read = NULL;
    int rc;

    begin(&making, plan, bytes, huge, out);
    rc = make_memfd(&making, bytes);
    if (rc < 0)
        goto fail_memfd;
    rc = make_map(&making, bytes, PROT_READ | PROT_WRITE, making.fd, &write);
    if (rc < 0)
        goto fail_memfd;
    rc = place(&making, write, bytes);
    if (rc < 0)
        goto fail_map_write;
    rc = ask_for_transparent_huge(&making, write, bytes);
    if (rc < 0)
        goto fail_map_write;
    rc = populate(&making, write, bytes);
    if (rc < 0)
        goto fail_map_write;
    rc = lock_pages(&making, write, bytes);
    if (rc < 0)
        goto fail_map_write;
    rc = add_seals(&making, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    if (rc < 0)
        goto fail_map_write;
    /* Behind the seal: a map that was there before could be made writable with mprotect. */
    rc = make_map(&making, bytes, PROT_READ, making.fd, &read);
    if (rc < 0)
        goto fail_map_write;
    os_close(making.os, making.fd); /* the maps keep the file */
    out->write = write;
    out->read = read;
    verify_nodes(&making, out->write);
    return 0;

fail_map_write:
    (void)plan->os->unmap(write, bytes);
fail_memfd:
    os_close(plan->os, making.fd);
    *step = making.step;
    return rc;
}

int segment_open_recycle(const struct segment_plan *plan, size_t bytes, struct segment *out,
                         enum segment_step *step)
{
    int rc;

    out->lacks = 0;
    *step = SEGMENT_STEP_NONE;
    if (plan->huge == HUGE_ON) {
        rc = try_recycle(plan, bytes, true, out, step);
        if (rc == 0 || plan->strict)
            return rc;
        out->lacks = SEGMENT_LACK_HUGE;
    }
    return try_recycle(plan, bytes, false, out, step);
}

/* --- strict --------------------------------------------------------------------------------- */

/* Writing into the file is faster than faulting a fresh map in, where the pages may be small. */
static int write_whole(struct making *making, const struct segment_source *source)
{
    const unsigned char *from = source->whole;
    uint64_t done = 0;
    ssize_t n;

    making->step = SEGMENT_STEP_WRITE;
    while (done < source->len) {
        n = making->os->pwrite(making->fd, from + done, source->len - done, done);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EIO;
        done += (uint64_t)n;
    }
    return 0;
}

static int write_mapped(struct making *making, const struct segment_source *source, void *to)
{
    int rc;

    rc = ask_for_transparent_huge(making, to, making->segment->bytes);
    if (rc == 0)
        rc = populate(making, to, making->segment->bytes);
    if (rc < 0)
        return rc;
    if (source->whole != NULL)
        memcpy(to, source->whole, source->len);
    else
        source->fill(source->context, to);
    return 0;
}

/* A writable map would keep the write seal from being set, so it goes before this returns. */
static int fill_memfd(struct making *making, const struct segment_source *source)
{
    size_t bytes = making->segment->bytes;
    bool by_write =
        source->whole != NULL && making->plan->huge != HUGE_TRANSPARENT && !making->segment->huge;
    void *map;
    int rc;

    if (by_write && making->plan->nodes == NULL)
        return write_whole(making, source);
    rc = make_map(making, bytes, PROT_READ | PROT_WRITE, making->fd, &map);
    if (rc < 0)
        return rc;
    rc = place(making, map, bytes);
    if (rc == 0 && !by_write)
        rc = write_mapped(making, source, map);
    (void)making->os->unmap(map, bytes);
    if (rc == 0 && by_write)
        rc = write_whole(making, source);
    return rc;
}

/* The descriptor that made the file may write, and so may its maps; a new one may not. */
static int reopen_read_only(struct making *making)
{
    char path[64];
    int fd;

    making->step = SEGMENT_STEP_REOPEN;
    (void)snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", making->fd);
    do
        fd = making->os->open(path, O_RDONLY | O_CLOEXEC, 0);
    while (fd == -EINTR);
    return fd;
}

static void verify_strict(struct making *making)
{
    if (making->plan->nodes == NULL)
        return;
    /* Pages that this map has not touched yet have no place that could be asked for. */
    (void)making->os->advise((void *)(uintptr_t)making->segment->read, making->segment->bytes,
                             MADV_POPULATE_READ);
    verify_nodes(making, making->segment->read);
}

static int try_strict(const struct segment_plan *plan, size_t bytes, bool huge,
                      const struct segment_source *source, struct segment *out,
                      enum segment_step *step)
{
    struct making making;
    void *read = NULL;
    int rc, read_fd;

    begin(&making, plan, bytes, huge, out);
    rc = make_memfd(&making, bytes);
    if (rc < 0)
        goto fail_memfd;
    rc = fill_memfd(&making, source);
    if (rc < 0)
        goto fail_memfd;
    rc = add_seals(&making, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    if (rc < 0)
        goto fail_memfd;
    rc = read_fd = reopen_read_only(&making);
    if (rc < 0)
        goto fail_memfd;
    rc = make_map(&making, bytes, PROT_READ, read_fd, &read);
    if (rc < 0)
        goto fail_reopen;
    rc = lock_pages(&making, read, bytes);
    if (rc < 0)
        goto fail_map;
    os_close(making.os, making.fd);
    out->read = read;
    out->fd = read_fd;
    verify_strict(&making);
    return 0;

fail_map:
    (void)plan->os->unmap(read, bytes);
fail_reopen:
    os_close(plan->os, read_fd);
fail_memfd:
    os_close(plan->os, making.fd);
    *step = making.step;
    return rc;
}

int segment_open_strict(const struct segment_plan *plan, size_t bytes,
                        const struct segment_source *source, struct segment *out,
                        enum segment_step *step)
{
    int rc;

    out->lacks = 0;
    *step = SEGMENT_STEP_NONE;
    if (plan->huge == HUGE_ON) {
        rc = try_strict(plan, bytes, true, source, out, step);
        /* Once filled, it is not filled again: what fails behind that is not about huge pages. */
        if (rc == 0 || plan->strict || *step > SEGMENT_STEP_POPULATE)
            return rc;
        out->lacks = SEGMENT_LACK_HUGE;
        bytes = (source->len + plan->page_bytes - 1) / plan->page_bytes * plan->page_bytes;
    }
    return try_strict(plan, bytes, false, source, out, step);
}

void segment_unread(const struct os *os, const struct segment *segment)
{
    /* On a shared map this drops page table entries, not data. A refusal costs nothing but looks.
     */
    (void)os->advise((void *)(uintptr_t)segment->read, segment->bytes, MADV_DONTNEED);
}

void segment_close(const struct os *os, struct segment *segment)
{
    if (segment->read != NULL)
        (void)os->unmap((void *)(uintptr_t)segment->read, segment->bytes);
    if (segment->write != NULL)
        (void)os->unmap(segment->write, segment->bytes);
    os_close(os, segment->fd);
    segment->read = NULL;
    segment->write = NULL;
    segment->fd = -1;
}
