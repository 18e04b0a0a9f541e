/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_LIB_STATS_H
#define SPILLWAY_LIB_STATS_H

#include "spillway/stats.h"

/* As spw_stats_json(), for stats of which only the first `stats_bytes` are there: the texts, and
 * the table up to some row. Rows behind are left out. */
long stats_json(const spw_stats *stats, size_t stats_bytes, char *out, size_t capacity);

#endif
