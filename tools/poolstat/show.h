/* SPDX-License-Identifier: MIT */
/* What poolstat writes, one function a form. Each returns an exit code. */
#ifndef SPILLWAY_TOOLS_POOLSTAT_SHOW_H
#define SPILLWAY_TOOLS_POOLSTAT_SHOW_H

#include "session.h"

/* No command: as the options ask for. */
int show_pools(const struct args *args);

/* A few lines for each pool. */
int show_summary(const struct args *args);

/* A line for each pool, again and again. */
int show_lines(const struct args *args);

/* A screen of their own. */
int show_watch(const struct args *args);

int show_diff(const struct args *args);
int show_json(const struct args *args);
int show_prometheus(const struct args *args);
int show_check(const struct args *args);
int show_queues(const struct args *args);
int show_why(const struct args *args);
int show_config(const struct args *args);

/* Changes settings of pools that are open. */
int show_set(const struct args *args);

/* What the host allows; no pool is looked at. */
int show_doctor(const struct args *args);

/* Whether stdout took all; else EXIT_NOT_FOUND, which is said on stderr. */
int show_end(int code);

#endif
