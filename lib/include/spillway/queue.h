/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_QUEUE_H
#define SPILLWAY_QUEUE_H

#include "policy.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The two ends of a merge queue: an unbounded FIFO of bytes between one writer
 * and one reader. Each end may be used by one thread at a time; the two may be
 * the same thread, and no call of one end ever waits for the other end.
 */
typedef struct spw_writer spw_writer;
typedef struct spw_reader spw_reader;

/** Where a queue reports what it keeps resident; a pool has one, spw_pool_account(). */
typedef struct spw_account spw_account;

typedef struct spw_queue_options {
    size_t size;               /**< sizeof(spw_queue_options) */
    const char *name;          /**< copied; NULL: none */
    spw_policy *writer_policy; /**< the queue's from success on; NULL: nothing ever spills */
    spw_policy *reader_policy; /**< the queue's from success on; NULL: heads are still read */
    spw_account *account;      /**< NULL: none; must outlive the queue, which holds a reference */
    const spw_allocator *allocator; /**< NULL: malloc */
} spw_queue_options;

/**
 * Opens a queue. `options` may be NULL for a plain queue. Returns 0, -EINVAL (a
 * size that this library does not know), -ENOMEM, or -EOWNERDEAD in a forked child
 * of the process that opened the account's pool. On failure the policies stay the caller's.
 */
SPILLWAY_API int spw_queue_open(const spw_queue_options *options, spw_writer **writer,
                                spw_reader **reader);

/**
 * Appends `count` bytes, moving them out of `bytes` (which are empty values
 * afterwards), merging each into the resident tail where it continues it. Values
 * of length 0 are released and leave no entry. `flags`: SPILLWAY_EXTEND_*.
 *
 * Waits only for I/O that is in flight, and only where the process is over its budget.
 * Returns 0, or, with nothing taken:
 *  -ENOMEM      no memory for an entry block
 *  -EPIPE       the reader has closed
 *  -ECONNRESET  or the reader's own error, when it closed uncleanly
 *  -EAGAIN      SPILLWAY_EXTEND_NOWAIT, and the call would wait
 *  -ENOSPC      SPILLWAY_EXTEND_BOUNDED, over budget, and no tier takes more
 *  -EAGAIN      SPILLWAY_EXTEND_BOUNDED, and what readers hold fills the budget
 *  -EMSGSIZE    SPILLWAY_EXTEND_BOUNDED, and the bytes are more than the whole budget
 *  -EOWNERDEAD  in a forked child
 */
SPILLWAY_API int spw_writer_extend(spw_writer *writer, spw_bytes *bytes, size_t count,
                                   unsigned flags);

/** Ends the stream: the reader drains what is left, then sees the end. NULL is harmless. */
SPILLWAY_API void spw_writer_close(spw_writer *writer);

/**
 * Ends the stream uncleanly: the reader's next call returns `err` (negative; 0
 * stands for -ECONNRESET) and what was left is dropped.
 */
SPILLWAY_API void spw_writer_abort(spw_writer *writer, int err);

/**
 * Moves up to `capacity` resident entries from the head into `out`, up to the
 * first paged one; the caller releases them. Never waits.
 *
 * Returns how many, or 0 at the end of the stream, or:
 *  -EAGAIN      nothing now: the queue is empty, or its head is on its way back
 *  -EINVAL      capacity is 0
 *  the error of the run at the head, when its fetch failed (errors.h says the class):
 *               drain again to retry, or spw_reader_skip()
 *  -ECONNRESET  or the writer's own error, when it closed uncleanly
 *  -EOWNERDEAD  in a forked child
 */
SPILLWAY_API long spw_reader_drain(spw_reader *reader, spw_bytes *out, size_t capacity);

/** Wait without a limit. */
#define SPILLWAY_FOREVER UINT64_MAX

/** As spw_reader_drain(), but waits up to `timeout_ns` for a first entry; -ETIMEDOUT instead of
 * -EAGAIN. */
SPILLWAY_API long spw_reader_drain_wait(spw_reader *reader, spw_bytes *out, size_t capacity,
                                        uint64_t timeout_ns);

/** 1 when the writer has closed cleanly and everything was drained, else 0. */
SPILLWAY_API int spw_reader_complete(const spw_reader *reader);

/**
 * Told once that draining may bring something; from any thread, with no lock held. It may be one of
 * the pool's I/O threads: be quick there, and take less than 100 KiB of stack. Calls that would
 * wait for I/O do not wait there.
 */
typedef void spw_ready_fn(void *context);

/**
 * Arms one call of `ready` for when the queue has something to drain (or has
 * ended). Returns 0 when armed, 1 when there is something already (nothing is
 * armed), -ENOTSUP when the head is a handle that cannot tell and has just said -EAGAIN, or
 * -EOWNERDEAD. Arm again after each call of `ready`, and after each drain.
 */
SPILLWAY_API int spw_reader_arm(spw_reader *reader, spw_ready_fn *ready, void *context);

/**
 * An event descriptor for poll, epoll or io_uring, made at the first call and
 * owned by the reader: readable when draining may bring something. Drain until
 * -EAGAIN, then wait; draining resets it, do not read it. It stays readable over a head
 * whose fetch fails: skip that, or wait before draining again. Returns the
 * descriptor or -errno (-EMFILE, -ENFILE, -ENOMEM).
 */
SPILLWAY_API int spw_reader_event_fd(spw_reader *reader);

/**
 * Gives up the run at the head after its fetch failed, and says in
 * `*lost_bytes` (may be NULL) how many bytes that were. Returns 0, -EOWNERDEAD, or -EINVAL when the
 * head is not a run whose last fetch failed (for want of memory does not count).
 */
SPILLWAY_API int spw_reader_skip(spw_reader *reader, uint64_t *lost_bytes);

/**
 * Drops what is left and makes the writer's next call return -EPIPE. Waits for a
 * callback of spw_reader_arm() that runs on another thread. NULL is harmless.
 */
SPILLWAY_API void spw_reader_close(spw_reader *reader);

/** As spw_reader_close(), but the writer gets `err` (negative; 0 stands for -ECONNRESET). */
SPILLWAY_API void spw_reader_abort(spw_reader *reader, int err);

/** Constant-time sums of a queue. */
typedef struct spw_queue_info {
    size_t size;      /**< sizeof(spw_queue_info); set to what was filled in */
    const char *name; /**< valid while this end is open; NULL: none */
    uint64_t entries;
    uint64_t paged_entries; /**< handles */
    uint64_t resident_bytes;
    uint64_t paged_bytes;
    uint64_t extended_bytes_total;
    uint64_t drained_bytes_total;
    uint64_t merged_total; /**< values that became part of the entry before them */
    uint64_t skipped_bytes_total;
} spw_queue_info;

/** Either end may ask, from its own thread. Returns 0, -EINVAL (a size that this library does not
 * know) or -EOWNERDEAD. */
SPILLWAY_API int spw_writer_info(const spw_writer *writer, spw_queue_info *info);
SPILLWAY_API int spw_reader_info(const spw_reader *reader, spw_queue_info *info);

#ifdef __cplusplus
}
#endif
#endif
