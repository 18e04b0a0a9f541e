/* SPDX-License-Identifier: MIT */
/* The producer's end: reads the inputs straight into slabs of the pool and extends the queue. */
#ifndef SPILLPIPE_FEED_H
#define SPILLPIPE_FEED_H

#include "spillpipe_transfer.h"

/*
 * A thread's body; `transfer` is a struct transfer. Closes the writer when the
 * inputs are at their end, and also after an error, which it has told and noted in the meter:
 * what was read before is still delivered. Returns NULL.
 */
void *feed_run(void *transfer);

#endif
