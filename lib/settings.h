/* SPDX-License-Identifier: MIT */
/* The parsed form of spw_options, for the library's own use. */
#ifndef SPILLWAY_SETTINGS_H
#define SPILLWAY_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "compress_text.h"
#include "spillway/log.h"
#include "spillway/options.h"

enum { SETTINGS_MAX_DIRS = 16, SETTINGS_TEXT = 4096 };

/* An amount that was not set. */
#define SETTINGS_AUTO UINT64_MAX

/* An amount of bytes, or a share of a whole that is known later. */
struct amount {
    uint64_t bytes;   /* SETTINGS_AUTO: not set */
    unsigned percent; /* 1 to 100 when the value was a share, else 0 */
};

enum engine_kind { ENGINE_AUTO, ENGINE_IO_URING, ENGINE_THREADS };
enum seal_mode { SEAL_RECYCLE, SEAL_STRICT };
enum checksum_mode {
    CHECKSUM_DISK,
    CHECKSUM_ALL,
    CHECKSUM_OFF
}; /* payload of disk runs / of all runs / none */
enum timing_mode { TIMING_AUTO, TIMING_ALL, TIMING_OFF };
enum huge_mode { HUGE_OFF, HUGE_ON, HUGE_TRANSPARENT };

/* The policies that option `policies` can name, in the order in which it lists them. */
#define SETTINGS_POLICIES(X)                                                                       \
    X(THRESHOLD, "threshold")                                                                      \
    X(PREFETCH, "prefetch")                                                                        \
    X(PRESSURE, "pressure")                                                                        \
    X(PERIODIC, "periodic")                                                                        \
    X(MANUAL, "manual")                                                                            \
    X(ADAPTIVE, "adaptive")                                                                        \
    X(COMPRESS, "compress")

#define SETTINGS_POLICY(NAME, word) POLICY_##NAME,
enum policy_kind { SETTINGS_POLICIES(SETTINGS_POLICY) POLICY_KINDS };
#undef SETTINGS_POLICY

struct settings {
    struct amount memory;      /* budget */
    struct amount memory_tier; /* capacity; percent is of the host's memory */
    struct amount threshold;   /* percent is of the budget, for this and the next two */
    struct amount head_reserve;
    struct amount prefetch;
    bool tier_memory, tier_disk; /* option `tiers` */
    char nodes[SETTINGS_TEXT];   /* "local", "far", "cpuless", "all" or a libnuma list */
    char dirs[SETTINGS_MAX_DIRS][SETTINGS_TEXT];
    unsigned dir_count;       /* 0: not set */
    struct amount disk_limit; /* percent is of what is free at start; auto is 50% */
    enum engine_kind engine;
    unsigned depth;         /* 0: auto */
    uint32_t request_bytes; /* 0: auto */
    enum seal_mode seal;
    bool mlock;
    enum huge_mode huge_pages;
    enum checksum_mode checksum;
    bool stats_page;
    bool control;
    enum spw_log_level log_level;
    bool strict;
    enum timing_mode timing;
    unsigned policies;            /* bit i: enum policy_kind i */
    struct amount floor;          /* percent is of the budget that was set */
    char pressure[SETTINGS_TEXT]; /* "auto", "off", or a path */
    uint64_t stall_ns, stall_window_ns;
    uint64_t period_ns;
    struct compress_setting compress;
    uint64_t price_ns;
};

/* All values as `options` has them; NULL: the defaults. */
void settings_read(const spw_options *options, struct settings *out);

/* What an amount comes to where `whole` is 100 % (rounded down); `fallback` when it was not set. */
uint64_t amount_of(struct amount amount, uint64_t whole, uint64_t fallback);

#endif
