/* SPDX-License-Identifier: MIT */
/* Values with units, read strictly: no sign, no blanks, nothing behind the unit. */
#ifndef SPILLWAY_LIB_UNITS_H
#define SPILLWAY_LIB_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than any file or memory can hold; keeps every amount a valid file offset. */
#define UNITS_MAX_BYTES ((uint64_t)INT64_MAX)

/* More than any machine runs for; keeps every duration clear of overflow when it is added to the
 * clock. */
#define UNITS_MAX_NS ((uint64_t)INT64_MAX)

/* What units_format_bytes() and units_format_duration() need at most, the NUL included. */
enum { UNITS_TEXT_BYTES = 32 };

/*
 * "4096", "64M", "1.5GiB": decimal digits, with a unit also a fraction of up to nine digits
 * (rounded down to whole bytes). Units in either case: B, then K, M, G, T, P alone or followed by
 * iB or B, all counting in 1024s. Returns 0, -EINVAL, or -ERANGE above UNITS_MAX_BYTES.
 */
int units_parse_bytes(const char *text, uint64_t *out);

/* "1%" to "100%", whole numbers. Returns 0, -EINVAL or -ERANGE. */
int units_parse_percent(const char *text, unsigned *out);

/*
 * "250ms", "1.5s": decimal digits with a fraction of up to nine digits (rounded down to whole ns),
 * and a unit, in either case: ns, us, ms, s, min or h. Returns 0, -EINVAL, or -ERANGE above
 * UNITS_MAX_NS.
 */
int units_parse_duration(const char *text, uint64_t *out_ns);

/* on, yes, true, 1 or off, no, false, 0, in either case. Returns 0 or -EINVAL. */
int units_parse_bool(const char *text, bool *out);

/* The shortest exact form: "64MiB", "1536KiB", "100". */
void units_format_bytes(uint64_t bytes, char *out, size_t capacity);

/* The same for durations: "250ms", "90s", "2min", "0s". */
void units_format_duration(uint64_t ns, char *out, size_t capacity);

#endif
