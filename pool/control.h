/* SPDX-License-Identifier: MIT */
/*
 * Settings that others change while the pool is open, where the option `control` lets them. Who
 * may open a descriptor of this process writes to a pipe, on which the governor's thread sleeps
 * beside all else: no thread more, no wake-up without a request, and nothing that others write is
 * ever mapped here. Requests are copied by the kernel, so who dies leaves nothing behind that has
 * to be cleared, and two that write at once do not mix. Answers lie in the stats page, which
 * nobody else can write to.
 */
#ifndef SPILLWAY_POOL_CONTROL_H
#define SPILLWAY_POOL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control_format.h"

struct spw_pool;

/* The governor's thread only, but for opening and closing. */
struct control {
    int fd;             /* both ends of the pipe, so that it is never without a writer; -1: none */
    bool broken;        /* it could not be read: nobody looks there any more */
    bool told;          /* that something else than requests came */
    uint64_t looked_ns; /* when it was read last */
    uint64_t next;      /* the row for the next answer */
};

/* Opens it and starts the thread that reads it. What is missing is a fallback. Returns 0 or
 * -EOPNOTSUPP (strict). */
int control_open(struct spw_pool *pool, bool wanted);

/* After the thread has ended. */
void control_close(struct spw_pool *pool);

/* Reads what there is, up to a bound, and does what it asks for. No lock held. */
void control_serve(struct spw_pool *pool);

/* The same with what was read: anything at all. */
void control_take(struct spw_pool *pool, const char *bytes, size_t count);

#endif
