/* SPDX-License-Identifier: MIT */
/* Whether bytes that somebody else wrote are UTF-8. */
#ifndef SPILLWAY_TOOLS_COMMON_UTF8_H
#define SPILLWAY_TOOLS_COMMON_UTF8_H

#include <stddef.h>

/* The length of a well-formed sequence at `text`, which ends with a NUL; 0 when there is none. */
size_t utf8_sequence(const char *text);

#endif
