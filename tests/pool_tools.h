/* SPDX-License-Identifier: MIT */
/*
 * What the tests of pools share: a pool over the scripted system with its own scratch directory,
 * queues on it, a log that remembers, a gate at which I/O stops, and what must hold when a pool
 * is quiet and when it is gone.
 */
#ifndef SPILLWAY_TESTS_POOL_TOOLS_H
#define SPILLWAY_TESTS_POOL_TOOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../pool/run.h"
#include "dirs.h"
#include "fault.h"
#include "spillway/spillway.h"

#define KIB UINT64_C(1024)
#define MIB UINT64_C(1048576)

/* ---- the log ---- */

/* Lines told so far that contain `text`; "" counts all. */
unsigned log_lines_with(const char *text);
void log_forget(void);

/* ---- pools ---- */

/* A setting and its value; a list of them ends with a NULL name. */
struct setting {
    const char *name, *value;
};

/* A pool, its options and its directories; one at a time in a process, but for tests that know. */
struct bed {
    spw_pool *pool;
    spw_options *options;
    char dirs[2][DIRS_PATH];
    unsigned dir_count;
};

/*
 * Opens a pool over fault_os and fault_allocator with these settings, and `dirs` scratch
 * directories (0 to 2) unless they name some. Skips the test where there is no disk to make them
 * on. Returns what pool_open_with() returned.
 */
int bed_try(struct bed *bed, const struct setting *settings, unsigned dirs);

/* The same with /proc and /sys of a fixture below `root`. */
int bed_try_in(struct bed *bed, const char *root, const struct setting *settings, unsigned dirs);

/* The same where it must work. Skips the test where io_uring is asked for and not to be had. */
void bed_open(struct bed *bed, const struct setting *settings, unsigned dirs);

/* Removes directories and options of a bed whose pool is closed, or was never opened. */
void bed_remove(struct bed *bed);

/* Everything was given back: close_idle must say so; nothing may be left behind. */
void bed_close(struct bed *bed);

/* Nothing of a pool is left: descriptors, maps, small objects, threads. Waits for those on their
 * way. */
void nothing_left(void);

/* Stats of now. */
spw_stats bed_stats(const struct bed *bed);

/* What is in use is the sum of its parts; at any time. */
void budget_adds_up(const spw_stats *stats);

/* All identities of stats.h. Needs a quiet pool. */
void identity_holds(const spw_stats *stats);

/* Waits until nothing is staged, written or read; then checks the identities. */
spw_stats bed_quiet(const struct bed *bed);

/* Waits, for 30 s at most, until `done` says so. */
bool wait_until(bool (*done)(void *context), void *context);

/* Waits until a gauge or counter has at least (or exactly) this value. */
#define wait_stat(bed, name, op, value)                                                            \
    do {                                                                                           \
        unsigned tries_ = 0;                                                                       \
        while (!(bed_stats(bed).name op(value)) && ++tries_ < 30000)                               \
            nap();                                                                                 \
        cr_assert(bed_stats(bed).name op(value), #name " is %llu",                                 \
                  (unsigned long long)bed_stats(bed).name);                                        \
    } while (0)

/* A millisecond. */
void nap(void);

/* ---- queues ---- */

struct ends {
    spw_writer *writer;
    spw_reader *reader;
};

/* A queue on the pool with the usual policies, sized by the bed's options. */
struct ends ends_open(const struct bed *bed);
/* Either end may be closed already. */
void ends_close(struct ends *ends);

/*
 * Without policies: the test holds the handles itself. Spills all of `chunks` (all must be taken)
 * and returns how many handles came of it. Entries come from fault_allocator.
 */
size_t spill_all(spw_strategy *strategy, spw_chunks *chunks, spw_handle **out, size_t most);

/* `count` chunks of `len` bytes each from `at` of the stream on, not mergeable. */
spw_chunks stream_chunks(uint64_t at, size_t count, size_t len);

/* The same in one piece cut from a slab of the pool, unaligned by `skip` bytes. */
spw_chunks slab_chunk(spw_pool *pool, uint64_t at, size_t len, size_t skip);

/* Whether they are what stream_chunks() made, boundaries included; releases them. */
bool chunks_are(spw_chunks *chunks, uint64_t at, size_t count, size_t len);

/* ---- runs by hand ---- */

enum { HANDLES_MAX = 64 };

/* A pool without queues, whose handles the test holds itself. */
struct hand {
    struct bed bed;
    spw_strategy *strategy;
    spw_handle *handles[HANDLES_MAX];
    size_t count;
};

void hand_open(struct hand *hand, const struct setting *settings, unsigned dirs);

/* All handles were fetched or dropped: nothing is stored, and nothing is left. */
void hand_close(struct hand *hand);

/* Adds the handles of these chunks; returns how many there are. */
size_t hand_spill(struct hand *hand, spw_chunks chunks);

/* The same for what is one run. */
struct run *hand_spill_run(struct hand *hand, spw_chunks chunks);
struct run *hand_spill_bytes(struct hand *hand, spw_bytes bytes);

enum run_state state_of(spw_handle *handle);
void wait_state(spw_handle *handle, enum run_state state);

/* Fetches into an empty list. */
int fetch(spw_handle *handle, unsigned flags, spw_chunks *out);

/* ---- a gate ---- */

/* Calls of this kind stop at the gate, on the thread that makes them, until it opens. */
void gate_shut(enum fault kind);
/* Lets all through, and removes the hook. */
void gate_open(void);
/* How many wait there now. */
unsigned gate_waiting(void);
/* Waits until so many wait. */
void gate_wait(unsigned count);

#endif
