/* SPDX-License-Identifier: MIT */
/* The pressure policy with all of what it takes from the system, for tests. */
#ifndef SPILLWAY_POLICIES_PRESSURE_H
#define SPILLWAY_POLICIES_PRESSURE_H

#include "../lib/os.h"
#include "spillway/policies.h"

/* Where spw_pressure_open() takes the real ones. */
struct pressure_host {
    const struct os *os;
    const char *root;  /* before /proc and mount points; NULL: "" */
    const char *watch; /* MEMORY_PRESSURE_WATCH and MEMORY_PRESSURE_WRITE; NULL: not set */
    const char *write;
};

/* As spw_pressure_open(). The texts are copied. */
int pressure_open_on(const struct pressure_host *host, const spw_pressure_config *config,
                     spw_regulator **out);

#endif
