/* SPDX-License-Identifier: MIT */
#include "commands.h"

#include <stddef.h>

const struct command *const commands[] = {
    &raw_command,   &stress_command, &compare_command,  &scale_command, &latency_command,
    &tiers_command, &crowd_command,  &pressure_command, &bars_command,  NULL,
};
