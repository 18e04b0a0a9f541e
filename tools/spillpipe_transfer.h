/* SPDX-License-Identifier: MIT */
/* One run of spillpipe: what its threads share. */
#ifndef SPILLPIPE_TRANSFER_H
#define SPILLPIPE_TRANSFER_H

#include "spillpipe_args.h"
#include "spillpipe_meter.h"
#include "spillway/pool.h"

struct transfer {
    const struct args *args;
    struct console *console;
    spw_pool *pool;
    spw_writer *writer; /* the feed's */
    spw_reader *reader; /* the drain's */
    struct meter meter;
    int stats_fd; /* where --stats goes */
};

/* Carries everything from the inputs to standard output. Returns the program's exit code. */
int transfer_run(const struct args *args, struct console *console);

#endif
