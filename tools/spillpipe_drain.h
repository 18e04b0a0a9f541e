/* SPDX-License-Identifier: MIT */
/* The consumer's end: drains the queue and writes standard output. */
#ifndef SPILLPIPE_DRAIN_H
#define SPILLPIPE_DRAIN_H

#include "spillpipe_transfer.h"

enum drain_result {
    DRAIN_DELIVERED,     /* everything that was extended has been written */
    DRAIN_FAILED,        /* told */
    DRAIN_CONSUMER_LEFT, /* EPIPE; not told */
};

/* Runs until the queue is at its end or something fails. Closes the reader. */
enum drain_result drain_run(struct transfer *transfer);

#endif
