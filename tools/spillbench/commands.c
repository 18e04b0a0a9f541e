/* SPDX-License-Identifier: MIT */
#include "commands.h"

#include <stddef.h>

const struct command *const commands[] = {
    &raw_command,
    &compare_command,
    NULL,
};
