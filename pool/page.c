/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "../lib/alloc.h"
#include "../lib/text.h"
#include "spillway/version.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum {
    INTERRUPTS_MAX = 16, /* by signals, in a row */
    STAT_BYTES = 1024,
    START_FIELD = 22, /* of /proc/PID/stat */
};

static const size_t shared_bytes =
    (PAGE_QUEUES_OFFSET + QUEUE_ROWS * sizeof(struct queue_row) + 4095) & ~(size_t)4095;

/* ---- the memfd ---- */

/* Growing past RLIMIT_FSIZE raises SIGXFSZ, which ends a process that does not expect it. */
static int file_size(const struct os *os, int fd)
{
    uint64_t most;
    int err, tries = 0;

    if (os->limit(RLIMIT_FSIZE, &most) == 0 && most < shared_bytes)
        return -EFBIG;
    do
        err = os->ftruncate(fd, shared_bytes);
    while (err == -EINTR && ++tries < INTERRUPTS_MAX);
    return err;
}

/* Kernels before 6.3 refuse the no-exec flag that they do not know. */
static int file_open(const struct os *os)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = os->memfd_create(PAGE_FILE, flags | MFD_NOEXEC_SEAL);

    return fd == -EINVAL ? os->memfd_create(PAGE_FILE, flags) : fd;
}

static int map_open(const struct os *os, int fd, struct page **out)
{
    void *start;
    int err = os->map(shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &start);

    if (err)
        return err;
    err = os->advise(start, shared_bytes, MADV_DONTFORK);
    if (!err)
        err = os->advise(start, shared_bytes, MADV_DONTDUMP);
    if (err) {
        os->unmap(start, shared_bytes);
        return err;
    }
    *out = start;
    return 0;
}

/* Our map is the only one that can ever write. */
static int file_seal(const struct os *os, int fd)
{
    unsigned long seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
    int err, tries = 0;

    do
        err = os->fcntl(fd, F_ADD_SEALS, seals);
    while (err == -EINTR && ++tries < INTERRUPTS_MAX);
    return err;
}

/*
 * All pages are there before the first is touched, so that touching them cannot fail. Whoever found
 * the file before it was sealed may have cut it: then this fails, since it may no longer grow.
 */
static int file_fill(const struct os *os, int fd)
{
    int err, tries = 0;

    do
        err = os->fallocate(fd, 0, 0, shared_bytes);
    while (err == -EINTR && ++tries < INTERRUPTS_MAX);
    return err;
}

static int shared_open(const struct os *os, struct page_owner *out)
{
    int err, fd = file_open(os);

    if (fd < 0)
        return fd;
    err = file_size(os, fd);
    if (err)
        goto no_size;
    err = map_open(os, fd, &out->page);
    if (err)
        goto no_size;
    err = file_seal(os, fd);
    if (!err)
        err = file_fill(os, fd);
    if (err)
        goto no_seal;
    out->queues = (struct queue_row *)((char *)out->page + PAGE_QUEUES_OFFSET);
    out->fd = fd;
    out->size = shared_bytes;
    return 0;

no_seal:
    os->unmap(out->page, shared_bytes);
no_size:
    os_close(os, fd);
    return err;
}

static int private_open(const spw_allocator *allocator, struct page_owner *out)
{
    *out = (struct page_owner){.fd = -1, .size = sizeof(struct page)};
    out->page = allocator_zeroed(allocator, out->size);
    return out->page ? 0 : -ENOMEM;
}

/* ---- what it says ---- */

/* Both stay 0 where /proc does not say. The name in brackets may hold anything. */
static void tell_process(const struct page_config *config, struct page_header *header)
{
    char path[256], text[STAT_BYTES];
    const char *at;

    (void)snprintf(path, sizeof(path), "%s/proc/self/stat", config->root);
    if (os_read_file(config->os, path, text, sizeof(text)) < 0)
        return;
    at = strrchr(text, ')');
    for (unsigned field = 2; at && field < START_FIELD; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return;
    header->pid = strtoull(text, NULL, 10);
    header->start_ticks = strtoull(at + 1, NULL, 10);
}

static void tell_header(const struct page_config *config, const struct page_owner *owner)
{
    struct page_header *header = &owner->page->header;

    header->layout = PAGE_LAYOUT;
    header->header_bytes = sizeof(*header);
    header->page_bytes = owner->size;
    header->sections_offset = offsetof(struct page, sections);
    header->sections = PAGE_SECTIONS;
    header->section_bytes = sizeof(struct page_section);
    header->id = config->id;
    header->opened_ns = config->os->clock_ns();
    text_copy_clean(header->library, sizeof(header->library), spw_version_text());
    text_copy_clean(header->name, sizeof(header->name), config->name);
    tell_process(config, header);
}

int page_open(const struct page_config *config, struct page_owner *out, int *why)
{
    int err = config->shared ? shared_open(config->os, out) : -ENODATA;

    *why = config->shared ? err : 0;
    if (!err) {
        tell_header(config, out);
        page_describe(out->page);
        atomic_thread_fence(memory_order_release);
        memcpy(out->page->header.magic, PAGE_MAGIC, PAGE_MAGIC_BYTES); /* last: now it is a page */
        return 0;
    }
    return private_open(config->allocator, out);
}

void page_close(const struct page_config *config, struct page_owner *owner)
{
    if (!owner->page)
        return;
    if (owner->fd < 0) {
        allocator_release(config->allocator, owner->page, owner->size);
        return;
    }
    /* A forked child may still have the descriptor. */
    atomic_store_explicit(&owner->page->header.state, PAGE_CLOSED, memory_order_relaxed);
    config->os->unmap(owner->page, owner->size);
    os_close(config->os, owner->fd);
}

void page_publish(struct page *page)
{
    atomic_store_explicit(&page->header.state, PAGE_OPEN, memory_order_release);
}

void page_texts_begin(struct page *page)
{
    uint64_t sequence = atomic_load_explicit(&page->header.sequence, memory_order_relaxed);

    atomic_store_explicit(&page->header.sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

void page_texts_end(struct page *page)
{
    uint64_t sequence = atomic_load_explicit(&page->header.sequence, memory_order_relaxed);

    atomic_store_explicit(&page->header.sequence, sequence + 1, memory_order_release);
}

static void tell_setting(struct page_setting *setting, const spw_options *options,
                         const spw_option_info *info)
{
    const char *origin = "default";
    const char *value = spw_options_value(options, info->name, &origin);

    text_copy_clean(setting->name, sizeof(setting->name), info->name);
    text_copy_clean(setting->value, sizeof(setting->value), value ? value : info->fallback);
    text_copy_clean(setting->fallback, sizeof(setting->fallback), info->fallback);
    text_copy_clean(setting->origin, sizeof(setting->origin), origin);
    text_copy_clean(setting->help, sizeof(setting->help), info->help);
}

void page_tell_settings(struct page *page, const spw_options *options)
{
    spw_option_info info = {.size = sizeof(info)};

    page_texts_begin(page);
    for (size_t i = 0; i < OPTION_COUNT && spw_options_describe(i, &info) == 0; i++)
        tell_setting(&page->settings[i], options, &info);
    page_texts_end(page);
}

void page_tell_change(struct page *page, const spw_options *options, unsigned index,
                      uint64_t now_ns)
{
    spw_option_info info = {.size = sizeof(info)};

    page_texts_begin(page);
    if (spw_options_describe(index, &info) == 0)
        tell_setting(&page->settings[index], options, &info);
    page->settings[index].set_ns = now_ns;
    page_texts_end(page);
}
