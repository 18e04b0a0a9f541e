/* SPDX-License-Identifier: MIT */
#include "queue_tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../lib/queue.h"
#include "fault.h"

unsigned char stream_byte(uint64_t at)
{
    return (unsigned char)(at * 131 + (at >> 8) * 29 + (at >> 16) * 7);
}

void stream_fill(unsigned char *out, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = stream_byte(at + i);
}

bool stream_is(const spw_bytes *bytes, uint64_t at)
{
    for (size_t i = 0; i < bytes->len; i++)
        if (bytes->data[i] != stream_byte(at + i))
            return false;
    return true;
}

int stream_copy(uint64_t at, size_t len, spw_bytes *out)
{
    unsigned char *data = malloc(len + 1);
    if (!data)
        abort();
    stream_fill(data, at, len);
    int err = spw_bytes_copy(data, len, &fault_allocator, out);
    free(data);
    return err;
}

spw_bytes stream_piece(uint64_t at, size_t len)
{
    spw_bytes bytes;
    if (stream_copy(at, len, &bytes))
        abort();
    return bytes;
}

struct random random_open(const char *test)
{
    struct random random;
    const char *text = getenv("SPILLWAY_TEST_SEED");
    if (text && *text) {
        random.state = strtoull(text, NULL, 0);
    } else {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        random.state = (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    }
    fprintf(stderr, "%s: SPILLWAY_TEST_SEED=%llu\n", test, (unsigned long long)random.state);
    return random;
}

/* splitmix64 */
uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t limit)
{
    return limit > 0 ? random_next(random) % limit : 0;
}

bool random_percent(struct random *random, unsigned percent)
{
    return random_below(random, 100) < percent;
}

uint64_t test_scaled(uint64_t count)
{
    const char *text = getenv("SPILLWAY_TEST_SCALE");
    uint64_t percent = text && *text ? strtoull(text, NULL, 10) : 100;
    uint64_t scaled = count * percent / 100;
    return scaled > 0 ? scaled : 1;
}

static struct test_account *account_of(struct spw_account *account)
{
    return (struct test_account *)account;
}

static void account_acquire(struct spw_account *account)
{
    atomic_fetch_add(&account_of(account)->holders, 1);
}

static void account_release(struct spw_account *account)
{
    atomic_fetch_sub(&account_of(account)->holders, 1);
}

static void account_was_relieved(struct spw_account *account)
{
    atomic_fetch_add(&account_of(account)->relieved, 1);
}

void test_account_init(struct test_account *account)
{
    *account = (struct test_account){.account = {.counters = &account->counters,
                                                 .acquire = account_acquire,
                                                 .release = account_release,
                                                 .relieved = account_was_relieved}};
}

/* ---- boxes ---- */

struct box {
    spw_handle handle;
    struct boxes *boxes;
    spw_chunks chunks;
};

static struct box *box_of(spw_handle *handle)
{
    return (struct box *)handle;
}

static void box_free(struct box *box)
{
    box->boxes->live--;
    fault_allocator.release(fault_allocator.context, box, sizeof(*box));
}

static int box_fetch(spw_handle *handle, unsigned flags, spw_chunks *out)
{
    struct box *box = box_of(handle);
    (void)flags;
    if (box->boxes->fetch_failures > 0) {
        box->boxes->fetch_failures--;
        return box->boxes->fetch_error;
    }
    if (box->boxes->fetch_limit == 0)
        return box->boxes->fetch_error;
    if (box->boxes->fetch_limit != UINT64_MAX)
        box->boxes->fetch_limit--;
    spw_chunks_join(out, &box->chunks);
    box_free(box);
    return 0;
}

static uint64_t box_size(const spw_handle *handle)
{
    return ((const struct box *)handle)->chunks.bytes;
}

static size_t box_count(const spw_handle *handle)
{
    return ((const struct box *)handle)->chunks.count;
}

static void box_drop(spw_handle *handle)
{
    spw_chunks_clear(&box_of(handle)->chunks);
    box_free(box_of(handle));
}

static const spw_handle_ops box_ops = {
    .size = sizeof(box_ops),
    .fetch = box_fetch,
    .size_bytes = box_size,
    .count = box_count,
    .drop = box_drop,
};

spw_handle *box_open(struct boxes *boxes, spw_chunks *chunks)
{
    struct box *box = fault_allocator.acquire(fault_allocator.context, sizeof(*box));
    if (!box)
        return NULL;
    *box = (struct box){.handle = {&box_ops}, .boxes = boxes, .chunks = *chunks};
    *chunks = (spw_chunks)SPILLWAY_CHUNKS_NONE;
    boxes->live++;
    return &box->handle;
}

static size_t boxes_share(const struct boxes *boxes)
{
    return boxes->spill_limit < boxes->chunks_per_box ? (size_t)boxes->spill_limit
                                                      : boxes->chunks_per_box;
}

static int boxes_spill(spw_strategy *strategy, spw_chunks *chunks, spw_sink *sink)
{
    struct boxes *boxes = (struct boxes *)strategy;
    boxes->spill_calls++;
    while (chunks->count > 0) {
        if (boxes->spill_limit == 0)
            return boxes->spill_error;
        if (spw_sink_reserve(sink))
            return -ENOMEM;
        spw_chunks taken = SPILLWAY_CHUNKS_NONE;
        size_t count = spw_chunks_take(chunks, boxes_share(boxes), UINT64_MAX, &taken);
        if (count == 0)
            return -ENOMEM;
        spw_handle *handle = box_open(boxes, &taken);
        if (!handle) {
            /* Back to the front, where they came from. */
            spw_chunks_join(&taken, chunks);
            *chunks = taken;
            return -ENOMEM;
        }
        if (boxes->spill_limit != UINT64_MAX)
            boxes->spill_limit -= count;
        spw_sink_add(sink, handle, count);
    }
    return 0;
}

static void boxes_close(spw_strategy *strategy)
{
    ((struct boxes *)strategy)->closed = true;
}

static const spw_strategy_ops boxes_ops = {
    .size = sizeof(boxes_ops),
    .name = "boxes",
    .spill = boxes_spill,
    .close = boxes_close,
};

void boxes_init(struct boxes *boxes)
{
    *boxes = (struct boxes){.strategy = {&boxes_ops},
                            .spill_limit = UINT64_MAX,
                            .spill_error = -ENOSPC,
                            .chunks_per_box = 1,
                            .fetch_limit = UINT64_MAX,
                            .fetch_error = -EIO};
}

/* ---- looking at a queue ---- */

size_t view_see(const spw_view *view, struct seen *out, size_t most)
{
    size_t count = 0;
    for (spw_cursor at = spw_view_head(view); spw_cursor_kind(&at) != SPILLWAY_ENTRY_NONE;
         spw_cursor_next(&at), count++) {
        if (count >= most)
            continue;
        spw_handle *handle = spw_cursor_handle(&at);
        out[count] = (struct seen){.kind = spw_cursor_kind(&at),
                                   .chunks = handle ? handle->ops->count(handle) : 1,
                                   .size_bytes = spw_cursor_size(&at)};
    }
    return count;
}

spw_view *writer_view(spw_writer *writer)
{
    return &writer->queue->view;
}

spw_view *reader_view(spw_reader *reader)
{
    return &reader->queue->view;
}
