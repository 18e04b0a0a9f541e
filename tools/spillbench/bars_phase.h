/* SPDX-License-Identifier: MIT */
/* A phase of the disk tier by itself, and its row. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_BARS_PHASE_H
#define SPILLWAY_TOOLS_SPILLBENCH_BARS_PHASE_H

#include "bars.h"

/* A phase alone: the device's bytes a second, gross; those of a raw loop over as many bytes right
 * beside it; and of a bare loop with the pool's own requests, so in as much memory, that makes and
 * checks its bytes: what this machine lets anybody reach who does. */
struct phase {
    struct series rate, raw, bare;
};

/* Rows of the disk tier that are limited where the bare loop is short of the bar and the pool is
 * about as fast as it. */
void phase_row(struct bars *bars, const char *name, const char *of, const struct phase *phase);

/* Net seconds of a round, those of the floor, and those of the bare loops. */
void floor_row(struct bars *bars, const char *of, const struct series *wall_s,
               const struct series *floor_s, const struct series *bare_s);

#endif
