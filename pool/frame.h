/* SPDX-License-Identifier: MIT */
/*
 * A coded run as it is stored: a header, what the coder wrote, and zeros to the end of a line. The
 * run's checksum is over all of it; where there is none, what the header says must still make sense
 * before anybody believes the rest.
 */
#ifndef SPILLWAY_POOL_FRAME_H
#define SPILLWAY_POOL_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* Lengths of stored frames are counted in these. */
#define FRAME_LINE_BYTES   ((size_t)64)
#define FRAME_HEADER_BYTES ((size_t)32)

struct frame {
    uint64_t run_id;
    uint64_t whole_bytes; /* decoded */
    uint32_t coded_bytes;
    uint8_t code;
};

/* Fills in header and padding around `frame->coded_bytes` that lie at `at + FRAME_HEADER_BYTES`.
 * Returns the length in lines. */
size_t frame_close(unsigned char *at, const struct frame *frame);

/*
 * Reads the header of what should be the frame of run `run_id`, of `stored_bytes` in whole lines.
 * Returns 0, or -EBADMSG when it is not.
 */
int frame_open(const unsigned char *at, uint64_t stored_bytes, uint64_t run_id, uint8_t code,
               uint64_t whole_bytes, struct frame *out);

#endif
