/* SPDX-License-Identifier: MIT */
/*
 * A coder for tests: a vault. It keeps a copy of each run that it encodes and writes little more
 * than the copy's number, so that anything gets as small as a test asks for. What it is given to
 * decode must be exactly what it wrote. It can be told to refuse, to fail and to wait at a gate.
 */
#ifndef SPILLWAY_TESTS_CODER_TOOLS_H
#define SPILLWAY_TESTS_CODER_TOOLS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../pool/pool.h"
#include "pool_tools.h"
#include "spillway/coder.h"

enum vault_call { VAULT_CHOOSE, VAULT_ENCODE, VAULT_DECODE, VAULT_CALLS };

enum { VAULT_RUNS_MAX = 1 << 16 };

struct vault {
    spw_coder coder;
    /* Settings; may change at any time. */
    _Atomic unsigned code;           /* 0: none */
    _Atomic unsigned skip;           /* with code 0 */
    _Atomic unsigned shrink_percent; /* what is left of a run; 0: each time another share */
    _Atomic int fail[VAULT_CALLS];   /* of encode and decode: an errno, for the next calls */
    _Atomic unsigned fail_times[VAULT_CALLS];
    /* What happened. */
    _Atomic unsigned calls[VAULT_CALLS];
    _Atomic bool closed;
    /* Guarded by the lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shut[VAULT_CALLS];
    unsigned waiting[VAULT_CALLS];
    spw_coder_view seen; /* the last one, without its sample */
    unsigned char sample[1 << 14];
    unsigned char *copies[VAULT_RUNS_MAX];
    size_t copy_bytes[VAULT_RUNS_MAX], written_bytes[VAULT_RUNS_MAX];
    unsigned count;
};

/* The vault of the test; one at a time. It encodes all, to a third. */
struct vault *vault_open(void);

/* Opens one and attaches it. The pool closes it; vault_free() frees it then. */
struct vault *vault_attach(struct spw_pool *pool);
void vault_free(struct vault *vault);

/* Calls of this kind wait until it is opened again. */
void vault_shut(struct vault *vault, enum vault_call call);
void vault_let(struct vault *vault, enum vault_call call);
void vault_wait(struct vault *vault, enum vault_call call, unsigned count);

/* A pool by hand with a vault. */
struct scene {
    struct hand hand;
    struct vault *vault;
};

void scene_open(struct scene *scene, const struct setting *settings, unsigned dirs);
void scene_close(struct scene *scene);

#endif
