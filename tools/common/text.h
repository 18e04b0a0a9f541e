/* SPDX-License-Identifier: MIT */
/* Numbers as people read them, in binary units. */
#ifndef SPILLWAY_TOOLS_COMMON_TEXT_H
#define SPILLWAY_TOOLS_COMMON_TEXT_H

#include <stddef.h>
#include <stdint.h>

enum { TEXT_NUMBER_BYTES = 24 }; /* room for any of these, NUL included */

/* "0 B", "640 KiB", "1.25 GiB". Returns `out`. */
const char *text_size(char out[TEXT_NUMBER_BYTES], uint64_t bytes);

/* "0B", "640K", "1.25G". */
const char *text_short(char out[TEXT_NUMBER_BYTES], uint64_t bytes);

uint64_t text_per_second(uint64_t bytes, uint64_t ns);

/* text_size() per second, "0 B/s" when no time went by. */
const char *text_rate(char out[TEXT_NUMBER_BYTES], uint64_t bytes, uint64_t ns);

/* "0.42 s", "31.5 s". */
const char *text_seconds(char out[TEXT_NUMBER_BYTES], uint64_t ns);

/* A clock: "0:07", "1:02:03". */
const char *text_clock(char out[TEXT_NUMBER_BYTES], uint64_t ns);

#endif
