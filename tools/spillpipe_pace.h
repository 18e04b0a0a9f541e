/* SPDX-License-Identifier: MIT */
/*
 * Few, large reads from a pipe that is written in small pieces. A reader that
 * takes each piece as it comes pays a system call for a few KiB. So after a
 * small read the feed naps while the pipe fills, but only where nobody waits for
 * the bytes: while the consumer is behind anyway, or for a moment so short that 64 KiB
 * come in it. A slow stream with a prompt consumer is never held up.
 */
#ifndef SPILLPIPE_PACE_H
#define SPILLPIPE_PACE_H

#include <stddef.h>
#include <stdint.h>

struct pace {
    size_t want_bytes;    /* a read of this size is large; 0: not a pipe, never nap */
    uint64_t last_ns;     /* when the last read came back; 0: none did */
    uint64_t ns_per_want; /* estimate: how long the producer needs for want_bytes; 0: none yet */
};

/* `pipe_bytes`: the size of the pipe, 0 when the input is none. */
void pace_init(struct pace *pace, size_t pipe_bytes);

/* After a read of `n` bytes, with `backlog_bytes` between the two ends; may nap. */
void pace_after_read(struct pace *pace, size_t n, uint64_t backlog_bytes);

/*
 * The decision alone: how long to nap, given how long the producer needs for a large read, how
 * much the last one brought, and whether the consumer is behind.
 */
uint64_t pace_nap_ns(const struct pace *pace, size_t n, uint64_t backlog_bytes);

#endif
