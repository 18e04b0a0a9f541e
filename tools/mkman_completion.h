/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_TOOLS_MKMAN_COMPLETION_H
#define SPILLWAY_TOOLS_MKMAN_COMPLETION_H

#include <stdbool.h>

/* Writes the bash completion of one of the tools. False: there is none of this name. */
bool completion_of(const char *program);

#endif
