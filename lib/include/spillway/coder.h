/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_CODER_H
#define SPILLWAY_CODER_H

#include <stddef.h>
#include <stdint.h>

#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A coder makes runs smaller on their way to a tier, and whole again on their way back. Which runs,
 * and how much work they are worth, is its own decision, from what the pool tells it of the place
 * that a run goes to.
 */

/** What a coder may want to know before a run. Times are in ns. */
typedef struct spw_coder_view {
    size_t size;
    int to_memory;         /**< 1: the run goes to the memory tier, 0: to disk */
    uint64_t run_bytes;    /**< of this run */
    uint64_t stored_bytes; /**< what that tier holds, of the next */
    uint64_t capacity_bytes;
    uint64_t waiting_bytes;       /**< on its way out: staged and being written */
    uint64_t written_bytes_total; /**< to the device, and for how long it was busy with that */
    uint64_t write_busy_ns_total;
    unsigned workers; /**< threads that encode side by side */
} spw_coder_view;

typedef struct spw_coder spw_coder;

/**
 * What a coder can do. Called by several threads at once, with no lock held; never by a thread of
 * the service itself. Later versions append optional members.
 */
typedef struct spw_coder_ops {
    size_t size;
    const char *name;
    /** Picks a code for the next run; 0: it is stored as it is, and `encode` is not called. */
    unsigned (*choose)(spw_coder *coder, const spw_coder_view *view);
    /**
     * Writes `in` to `out`, at most `capacity` bytes. Returns how many, or -ENOSPC when it does not
     * get that small (the run is then stored as it is), or another -errno.
     */
    long (*encode)(spw_coder *coder, unsigned code, const void *in, size_t in_bytes, void *out,
                   size_t capacity);
    /** The reverse: exactly `out_bytes`. Returns 0, -EBADMSG (not what `encode` wrote), -ENOMEM. */
    int (*decode)(spw_coder *coder, unsigned code, const void *in, size_t in_bytes, void *out,
                  size_t out_bytes);
    void (*close)(spw_coder *coder);
} spw_coder_ops;

struct spw_coder {
    const spw_coder_ops *ops;
};

#ifdef __cplusplus
}
#endif
#endif
