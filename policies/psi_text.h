/* SPDX-License-Identifier: MIT */
/*
 * The texts that a pressure source reads: pressure stall information, memory.events, and the value
 * of MEMORY_PRESSURE_WRITE. Pure functions; the text comes from files that anybody may have
 * written, and is not NUL-terminated where its length is given. A parser that fails leaves *out as
 * it was.
 */
#ifndef SPILLWAY_POLICIES_PSI_TEXT_H
#define SPILLWAY_POLICIES_PSI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 100.00 %, as averages are given here: in hundredths of a percent. */
enum { PSI_WHOLE = 10000 };

struct psi_line {
    uint32_t avg10, avg60, avg300; /* share of the last 10, 60, 300 s, at most PSI_WHOLE */
    uint64_t total_us;             /* stalled since the counting began */
};

struct psi_text {
    struct psi_line some; /* at least one task waited */
    struct psi_line full; /* all of them did; zeros where the kernel has no such line */
    bool has_full;
};

struct memory_events {
    uint64_t low, high, max, oom, oom_kill; /* a count that is missing is 0 */
};

/*
 * "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", the same for "full". The line "full", the last
 * newline, and avg60 and avg300 may be missing; lines and keys that are not known are passed over.
 * Returns 0 or -EBADMSG: anything else, also text that was cut off before the end of a line's
 * total, a line or key that is there twice, and a number that does not fit.
 */
int psi_parse(const char *text, size_t len, struct psi_text *out);

/* Lines "key count". Keys that are not known are passed over. Returns 0 or -EBADMSG, also where
 * no key is known. */
int memory_events_parse(const char *text, size_t len, struct memory_events *out);

/* A trigger as it is written to a pressure file: "some 150000 2000000", in us. */
struct psi_trigger {
    bool full;
    uint64_t stall_us, window_us;
};

/* A NUL or newline at the end does not matter. Returns 0 or -EBADMSG. */
int psi_trigger_parse(const char *text, size_t len, struct psi_trigger *out);

/*
 * Base64 with padding; blanks and newlines in it do not matter. Returns the number of bytes, which
 * may be 0; -EBADMSG where it is none, -EFBIG when they do not fit. `text` is NUL-terminated.
 */
long base64_decode(const char *text, unsigned char *out, size_t capacity);

#endif
