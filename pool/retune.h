/* SPDX-License-Identifier: MIT */
/* Settings that are changed while the pool is open: who asked, what it was before, and who takes
 * it. */
#ifndef SPILLWAY_POOL_RETUNE_H
#define SPILLWAY_POOL_RETUNE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../lib/options.h"

struct spw_pool;

/* Of a size: the rest is a percentage. No amount of bytes has it, and SETTINGS_AUTO is checked
 * first. */
#define SIZE_IS_SHARE (UINT64_C(1) << 63)

struct retune {
    /* Read by anybody; changed under the lock. */
    _Atomic uint64_t sizes; /* SPILLWAY_SET_*: which were set since the pool was opened */
    _Atomic uint64_t threshold, head_reserve, prefetch; /* bytes, share or SETTINGS_AUTO */
    _Atomic uint64_t changed; /* rows of the options that were, a bit each */

    pthread_mutex_t lock; /* before all others of the pool; nobody is called with it */
    spw_options *options; /* guarded by it: as they are now; NULL: as the pool was opened with */
};

int retune_init(struct retune *retune);
void retune_begin(struct retune *retune, const struct settings *settings);
void retune_fini(struct retune *retune);

/* What such a size is of `whole`; SETTINGS_AUTO. */
static inline uint64_t size_share(const _Atomic uint64_t *size, uint64_t whole)
{
    uint64_t value = atomic_load_explicit(size, memory_order_relaxed);
    if (value == SETTINGS_AUTO || (value & SIZE_IS_SHARE) == 0)
        return value;
    return amount_of((struct amount){.percent = (unsigned)(value & ~SIZE_IS_SHARE)}, whole, 0);
}

/* What an answer may take, with its NUL. */
enum { SET_ANSWER_BYTES = 256 };

/*
 * As spw_pool_set(), for whoever `origin` stands for. `answer` becomes a sentence for who asked:
 * the value, and the one before; or why it was refused. No lock held.
 */
int pool_set(struct spw_pool *pool, const char *name, const char *value, enum option_origin origin,
             char answer[SET_ANSWER_BYTES]);

/* The rows that were set since the pool was opened and are for whoever has this name. */
uint64_t retune_rows_of(const struct spw_pool *pool, const char *name);

/* The present value of a row, as text. */
void retune_value(struct spw_pool *pool, unsigned row, char out[SETTINGS_TEXT]);

#endif
