/* SPDX-License-Identifier: MIT */
/* Inside of raw.h: the loops of the two engines. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_RAW_LOOP_H
#define SPILLWAY_TOOLS_SPILLBENCH_RAW_LOOP_H

#include "../../pool/scratch.h"
#include "raw.h"

struct raw_file {
    struct scratch scratch;
    uint64_t bytes;
};

/* A run: `count` requests, each with a buffer of its own while it is in flight. */
struct raw_loop {
    int fd;
    uint64_t file_bytes, request_bytes, count;
    unsigned depth;
    enum raw_direction direction;
    unsigned char *buffers; /* depth of them */
    bool checked;
};

struct raw_request {
    bool write;
    uint64_t offset;
};

/* What a plan that is checked asks for: to make the bytes and their checksum; their checksum. */
void raw_before_write(const struct raw_loop *loop, unsigned char *buffer, uint64_t index);
void raw_after_read(const struct raw_loop *loop, const unsigned char *buffer);

struct raw_request raw_request_at(const struct raw_loop *loop, uint64_t index);

/* Both return 0 or -errno; the first -ENOSYS when built without liburing. */
int raw_loop_uring(const struct raw_loop *loop);
int raw_loop_threads(const struct raw_loop *loop);

#endif
