/* SPDX-License-Identifier: MIT */
#include "frame.h"

#include <errno.h>
#include <string.h>

#define FRAME_MAGIC UINT32_C(0x77707366)

/* As it is stored. Never leaves the machine, so in its byte order. */
struct header {
    uint32_t magic;
    uint32_t coded_bytes;
    uint64_t whole_bytes;
    uint64_t run_id;
    uint8_t code, zero[7];
};

_Static_assert(sizeof(struct header) == FRAME_HEADER_BYTES, "nothing lies between the members");

size_t frame_close(unsigned char *at, const struct frame *frame)
{
    struct header header = {.magic = FRAME_MAGIC,
                            .coded_bytes = frame->coded_bytes,
                            .whole_bytes = frame->whole_bytes,
                            .run_id = frame->run_id,
                            .code = frame->code};
    size_t bytes = FRAME_HEADER_BYTES + frame->coded_bytes;
    size_t lines = (bytes + FRAME_LINE_BYTES - 1) / FRAME_LINE_BYTES;
    memcpy(at, &header, sizeof(header));
    memset(at + bytes, 0, lines * FRAME_LINE_BYTES - bytes);
    return lines;
}

int frame_open(const unsigned char *at, uint64_t stored_bytes, uint64_t run_id, uint8_t code,
               uint64_t whole_bytes, struct frame *out)
{
    static const uint8_t zero[sizeof(((struct header *)NULL)->zero)];
    struct header header;
    if (stored_bytes < sizeof(header))
        return -EBADMSG;
    memcpy(&header, at, sizeof(header));
    if (header.magic != FRAME_MAGIC || header.run_id != run_id || header.code != code ||
        header.whole_bytes != whole_bytes || memcmp(header.zero, zero, sizeof(zero)) != 0)
        return -EBADMSG;
    uint64_t bytes = sizeof(header) + (uint64_t)header.coded_bytes;
    if (header.coded_bytes == 0 || bytes > stored_bytes || stored_bytes - bytes >= FRAME_LINE_BYTES)
        return -EBADMSG;
    *out = (struct frame){.run_id = run_id,
                          .whole_bytes = whole_bytes,
                          .coded_bytes = header.coded_bytes,
                          .code = code};
    return 0;
}
