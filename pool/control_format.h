/* SPDX-License-Identifier: MIT */
/*
 * How a pool is asked for something from outside: in requests of a fixed size, each of which is
 * written at once to the pipe whose descriptor the stats page names (section "control"). The answer
 * appears in the page (section "answers") under the number that the request came with. Numbers are
 * of the machine's own byte order.
 */
#ifndef SPILLWAY_POOL_CONTROL_FORMAT_H
#define SPILLWAY_POOL_CONTROL_FORMAT_H

#include <stdint.h>

#define CONTROL_MAGIC "SPWCTRL1" /* without its NUL; another form of requests has another one */

enum { CONTROL_MAGIC_BYTES = 8, CONTROL_NAME_BYTES = 48, CONTROL_VALUE_BYTES = 184 };

/* "Set this to that." Texts end with a NUL. */
struct control_request {
    char magic[CONTROL_MAGIC_BYTES];
    uint64_t id;          /* not 0, and no other's */
    uint64_t deadline_ns; /* CLOCK_MONOTONIC: later than that, nothing is to happen */
    char name[CONTROL_NAME_BYTES];
    char value[CONTROL_VALUE_BYTES];
};

/* What is written at once stays in one piece up to 4096 bytes. */
_Static_assert(sizeof(struct control_request) == 256, "a part of the format");

#endif
