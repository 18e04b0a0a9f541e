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

/** Codes of a coder are numbers from 1 to this one. */
#define SPILLWAY_CODES_MAX 255

/** What a coder may want to know before a run. Times are in ns, sizes in bytes. */
typedef struct spw_coder_view {
    size_t size;
    uint64_t now_ns;     /**< CLOCK_MONOTONIC */
    int to_memory;       /**< 1: the run goes to the memory tier, 0: to disk */
    uint64_t run_bytes;  /**< of this run */
    const void *sample;  /**< some of them, from all over it; valid during the call */
    size_t sample_bytes; /**< at least 1 */
    uint64_t budget_bytes;
    uint64_t stored_bytes; /**< what that tier holds, of the next */
    uint64_t capacity_bytes;
    uint64_t waiting_bytes; /**< on its way out: staged and being written */
    /**
     * Bytes that went to the device while it had several writes to do, and for how long it had: so
     * they say how fast it is, not how much there was to write.
     */
    uint64_t written_bytes_total;
    uint64_t write_busy_ns_total;
    unsigned workers; /**< threads that encode side by side */
    /** Payload that went to disk while writers had to wait for that, and for how long they had: so
     * what the choices so far were good for. */
    uint64_t passed_bytes_total;
    uint64_t passed_ns_total;
} spw_coder_view;

/** What a coder picks; handed over with every member 0. */
typedef struct spw_coder_choice {
    size_t size;
    unsigned code; /**< 0: the run is stored as it is, and `encode` is not called */
    /**
     * With code 0: so many of the next runs are stored as they are too, without asking. Asking
     * takes a run over a worker thread, which costs something even where nothing is encoded.
     */
    unsigned skip_runs;
    /**
     * For the log and the ring of decisions: a word such as "lz4", and why, in a sentence with the
     * figures that led to it. Copied. NULL: nothing new was decided.
     */
    const char *action;
    char reason[160];
} spw_coder_choice;

typedef struct spw_coder spw_coder;

/**
 * What a coder can do. Called by several worker threads at once, with no lock held; never by a
 * thread of the service itself. Later versions append optional members.
 */
typedef struct spw_coder_ops {
    size_t size; /**< sizeof(spw_coder_ops) */
    const char *name;
    /** Picks a code for this run, and says for how many the answer holds. */
    void (*choose)(spw_coder *coder, const spw_coder_view *view, spw_coder_choice *choice);
    /**
     * Writes `in` to `out`, at most `capacity` bytes. Returns how many, or -ENOSPC when it does not
     * get that small, or another -errno; the run is then stored as it is.
     */
    long (*encode)(spw_coder *coder, unsigned code, const void *in, size_t in_bytes, void *out,
                   size_t capacity);
    /**
     * The reverse: exactly `out_bytes`, and nothing beyond them whatever `in` holds. Returns 0,
     * -EBADMSG (not what `encode` wrote) or -ENOMEM.
     */
    int (*decode)(spw_coder *coder, unsigned code, const void *in, size_t in_bytes, void *out,
                  size_t out_bytes);
    /** The pool ends. Frees the coder. */
    void (*close)(spw_coder *coder);
    /** What it keeps for its work, in bytes: for the stats, it is no part of the budget. May be
     * NULL. */
    uint64_t (*used_bytes)(spw_coder *coder);
} spw_coder_ops;

struct spw_coder {
    const spw_coder_ops *ops;
};

#ifdef __cplusplus
}
#endif
#endif
