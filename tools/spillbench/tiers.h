/* SPDX-License-Identifier: MIT */
/* The memory tier against memcpy. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_TIERS_H
#define SPILLWAY_TOOLS_SPILLBENCH_TIERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "series.h"
#include "spillway/spillway.h"

struct tiers_plan {
    const char *seal;       /* "recycle" or "strict" */
    const char *huge_pages; /* "off", "transparent" or "on" */
    bool mlock;
    bool slabs;           /* entries in the pool's slabs, which may be adopted; else foreign ones */
    uint64_t total_bytes; /* spilled in a round */
    uint64_t run_bytes;   /* of a run, spilled as */
    unsigned chunks;      /* so many entries */
    unsigned rounds;
};

struct tiers_result {
    struct series spill_rate;  /* bytes a second, until the tier has all */
    struct series memcpy_rate; /* the same bytes, into memory mapped in the same way, both warm */
    struct series fetch_ns;    /* a run: the median of a round's */
    struct series fetch_p99_ns;
    spw_stats stats;
};

/* In a process of its own. Returns false with the reason in `why`. */
bool tiers_run(const struct tiers_plan *plan, struct tiers_result *result, char *why,
               size_t why_bytes);

#endif
