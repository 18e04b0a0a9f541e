/* SPDX-License-Identifier: MIT */
/*
 * What the tests of bytes, queues and policies share: a stream whose bytes tell
 * their place in it, random numbers that can be replayed, an account, and a handle
 * and a strategy of our own that do exactly what they are told.
 */
#ifndef SPILLWAY_TESTS_QUEUE_TOOLS_H
#define SPILLWAY_TESTS_QUEUE_TOOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/account.h"
#include "../lib/view.h"
#include "spillway/spillway.h"

/* ---- the stream ---- */

unsigned char stream_byte(uint64_t at);
void stream_fill(unsigned char *out, uint64_t at, size_t len);

/* Whether `bytes` are what the stream has at `at`. */
bool stream_is(const spw_bytes *bytes, uint64_t at);

/* A private copy of a piece of the stream, from fault_allocator; never fails unless it is told to.
 */
int stream_copy(uint64_t at, size_t len, spw_bytes *out);

/* The same where a failure would be the test's own mistake. */
spw_bytes stream_piece(uint64_t at, size_t len);

/* ---- random numbers ---- */

struct random {
    uint64_t state;
};

/* Seeded from SPILLWAY_TEST_SEED or the clock; says on stderr with what. */
struct random random_open(const char *test);
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t limit);
bool random_percent(struct random *random, unsigned percent);

/* `count` in the proportion that SPILLWAY_TEST_SCALE (percent) asks for, at least 1. */
uint64_t test_scaled(uint64_t count);

/* ---- an account that knows no pool ---- */

struct test_account {
    struct spw_account account;
    struct counters counters;
    _Atomic int holders;
    _Atomic int relieved;
};

void test_account_init(struct test_account *account);

/* ---- boxes: synchronous handles that hold their chunks ---- */

/* Makes a handle of all of `chunks`; the strategy's `owner` decides when its fetch fails. */
struct boxes {
    spw_strategy strategy;
    uint64_t spill_limit; /* chunks that are still taken; UINT64_MAX: no end */
    int spill_error;      /* returned when it stops early */
    size_t chunks_per_box;
    uint64_t fetch_failures; /* fetches that fail first */
    uint64_t fetch_limit;    /* fetches that work then */
    int fetch_error;         /* of those that fail */
    size_t live;             /* handles */
    size_t spill_calls;
    bool closed;
};

/* An open strategy: takes everything, one chunk a handle, and fetches always work. */
void boxes_init(struct boxes *boxes);
/* NULL without memory (fault_allocator). */
spw_handle *box_open(struct boxes *boxes, spw_chunks *chunks);

/* ---- looking at a queue ---- */

struct seen {
    enum spw_entry_kind kind;
    size_t chunks; /* 1 for resident entries */
    uint64_t size_bytes;
};

/* All entries of a view in order; `most` at most. Returns how many there are. */
size_t view_see(const spw_view *view, struct seen *out, size_t most);

/* The view behind a queue's ends; nobody else may use the queue meanwhile. */
spw_view *writer_view(spw_writer *writer);
spw_view *reader_view(spw_reader *reader);

#endif
