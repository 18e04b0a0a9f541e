/* SPDX-License-Identifier: MIT */
#include "fault.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIVE_MARK UINT64_C(0x5a11a110c47edb0c)
#define DEAD_MARK UINT64_C(0xdeadb10cdeadb10c)

/* Before each block; keeps the alignment of malloc. */
struct header {
    _Alignas(16) uint64_t mark;
    uint64_t size_bytes;
};
_Static_assert(sizeof(struct header) == 16, "blocks stay aligned");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* all guarded by lock */
static uint64_t calls, fail_once_at, fail_from;
static int64_t live_blocks, live_bytes;

static void *fault_acquire(void *context, size_t size_bytes)
{
    struct header *header = NULL;

    (void)context;
    pthread_mutex_lock(&lock);
    calls++;
    if (calls == fail_once_at || (fail_from > 0 && calls >= fail_from))
        goto out;
    header = malloc(sizeof(*header) + size_bytes);
    if (header == NULL)
        goto out;
    header->mark = LIVE_MARK;
    header->size_bytes = size_bytes;
    /* Nobody may rely on zeroes. */
    memset(header + 1, 0xa5, size_bytes);
    live_blocks++;
    live_bytes += (int64_t)size_bytes;
out:
    pthread_mutex_unlock(&lock);
    return header != NULL ? header + 1 : NULL;
}

static void fault_release(void *context, void *memory, size_t size_bytes)
{
    struct header *header;

    (void)context;
    if (memory == NULL) {
        fputs("fault_allocator: release of NULL\n", stderr);
        abort();
    }
    header = (struct header *)memory - 1;
    if (header->mark != LIVE_MARK || header->size_bytes != size_bytes) {
        fprintf(stderr, "fault_allocator: release of %zu bytes, %s %llu\n", size_bytes,
                header->mark == LIVE_MARK ? "acquired were" : "not a live block",
                (unsigned long long)header->size_bytes);
        abort();
    }
    memset(memory, 0xdd, size_bytes);
    header->mark = DEAD_MARK;
    pthread_mutex_lock(&lock);
    live_blocks--;
    live_bytes -= (int64_t)size_bytes;
    pthread_mutex_unlock(&lock);
    free(header);
}

const spw_allocator fault_allocator = {
    .acquire = fault_acquire,
    .release = fault_release,
};

void fault_alloc_after(uint64_t n)
{
    pthread_mutex_lock(&lock);
    fail_once_at = n > 0 ? calls + n : 0;
    fail_from = 0;
    pthread_mutex_unlock(&lock);
}

void fault_alloc_from(uint64_t n)
{
    pthread_mutex_lock(&lock);
    fail_from = n > 0 ? calls + n : 0;
    fail_once_at = 0;
    pthread_mutex_unlock(&lock);
}

uint64_t fault_alloc_calls(void)
{
    uint64_t n;

    pthread_mutex_lock(&lock);
    n = calls;
    pthread_mutex_unlock(&lock);
    return n;
}

int64_t fault_alloc_live(void)
{
    int64_t n;

    pthread_mutex_lock(&lock);
    n = live_blocks;
    pthread_mutex_unlock(&lock);
    return n;
}

int64_t fault_alloc_live_bytes(void)
{
    int64_t n;

    pthread_mutex_lock(&lock);
    n = live_bytes;
    pthread_mutex_unlock(&lock);
    return n;
}
