/* SPDX-License-Identifier: MIT */
#ifndef SPILLWAY_STATS_H
#define SPILLWAY_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The one table of what a pool counts: X(name, kind, help). Counters only grow
 * and end in _total; gauges are values of the moment. Bytes, counts, nanoseconds.
 * Rows keep their place; new ones come at the end.
 *
 * Identity, whatever goes on meanwhile, as spw_pool_stats() and poolstat tell them:
 *   used = resident_foreign + entry_blocks + buffers
 *   buffers = slabs + staging + reading + loaded + lent + warm + reserve
 *
 * Reading ahead: a run that a reader has fetched was on time or late, so that
 *   fetched_runs_total = on_time_runs_total + late_runs_total
 * once each late run was fetched: one that is dropped or lost stays late. A read that was started
 * for a run that is then dropped was wasted.
 *
 * A slab that lies in a segment of the memory tier is in none of these, whoever holds it: it counts
 * in memory_tier_stored_bytes, and against that tier's capacity.
 */
#define SPILLWAY_STATS_TABLE(X)                                                                    \
    X(budget_bytes, gauge, "the budget")                                                           \
    X(used_bytes, gauge, "of the budget: everything resident in queues and pool")                  \
    X(used_peak_bytes, gauge, "highest used_bytes so far")                                         \
    X(resident_foreign_bytes, gauge,                                                               \
      "payload in queues or staged in the user's memory, and what queues report ahead")            \
    X(entry_block_bytes, gauge, "blocks that hold queue entries")                                  \
    X(buffer_bytes, gauge, "the pool's own mapped buffers, all of the following seven")            \
    X(slab_bytes, gauge, "buffers that producers fill or queues hold")                             \
    X(staging_bytes, gauge, "buffers that gather small entries for a write")                       \
    X(reading_bytes, gauge, "buffers that a read is filling")                                      \
    X(loaded_bytes, gauge, "buffers whose run is back, not yet fetched")                           \
    X(lent_bytes, gauge, "buffers fetched by readers and not yet released")                        \
    X(warm_bytes, gauge, "buffers kept for reuse")                                                 \
    X(reserve_bytes, gauge, "the buffer kept for head fetches, while it is unused")                \
    X(in_flight_bytes, gauge, "payload staged or being written")                                   \
    X(held_bytes, gauge, "payload that no tier takes now, kept resident in its handle")            \
    X(queues, gauge, "open strategies, one a queue")                                               \
    X(runs, gauge, "live handles")                                                                 \
    X(memory_tier_capacity_bytes, gauge, "what the memory tier may hold")                          \
    X(memory_tier_bytes, gauge, "segments the memory tier has")                                    \
    X(memory_tier_stored_bytes, gauge, "segment bytes in use: payload put there, and slabs")       \
    X(memory_tier_misplaced_bytes, gauge, "segment bytes found on a node that was not asked for")  \
    X(memory_tier_locked_bytes, gauge, "segment bytes locked in RAM")                              \
    X(memory_tier_huge_bytes, gauge, "segment bytes on huge pages")                                \
    X(disk_limit_bytes, gauge, "what the disk tier may hold")                                      \
    X(disk_file_bytes, gauge, "allocated scratch file space")                                      \
    X(disk_stored_bytes, gauge, "extents in use")                                                  \
    X(spilled_runs_total, counter, "runs that a tier has confirmed")                               \
    X(spilled_bytes_total, counter, "their payload")                                               \
    X(spilled_memory_bytes_total, counter, "the part that went to the memory tier")                \
    X(spilled_disk_bytes_total, counter, "the part that went to the disk tier")                    \
    X(fetched_runs_total, counter, "runs that were read back and taken by a reader")               \
    X(fetched_bytes_total, counter, "their payload")                                               \
    X(fetched_memory_bytes_total, counter, "the part that came from the memory tier")              \
    X(fetched_disk_bytes_total, counter, "the part that came from the disk tier")                  \
    X(demoted_bytes_total, counter, "payload moved from the memory tier to disk")                  \
    X(elided_runs_total, counter, "runs fetched or dropped before anything was written")           \
    X(elided_bytes_total, counter, "their payload")                                                \
    X(copied_bytes_total, counter, "payload copied by the library, on any path")                   \
    X(direct_bytes_total, counter, "payload written straight from a slab's pages")                 \
    X(prefetched_runs_total, counter, "reads started before the fetch")                            \
    X(late_runs_total, counter, "head fetches that found their run not yet loaded")                \
    X(wasted_runs_total, counter, "runs read and then dropped unread")                             \
    X(writer_wait_ns_total, counter, "time writers waited for the budget")                         \
    X(reader_wait_ns_total, counter, "time fetches waited for I/O")                                \
    X(over_budget_total, counter, "times something was admitted over the budget")                  \
    X(full_total, counter, "times every tier refused a run")                                       \
    X(write_errors_total, counter, "writes that failed")                                           \
    X(read_errors_total, counter, "reads that failed, each attempt")                               \
    X(checksum_errors_total, counter, "runs whose checksum or identity was wrong")                 \
    X(enospc_total, counter, "times a file system had no room")                                    \
    X(no_memory_total, counter, "times memory or a map was refused")                               \
    X(lost_runs_total, counter, "runs that could not be brought back")                             \
    X(quarantined_dirs, gauge, "scratch directories withdrawn after a write error")                \
    X(fallbacks_total, counter, "fallbacks taken, each told once")                                 \
    X(oldest_request_ns, gauge, "age of the oldest I/O in flight")                                 \
    X(syscalls_total, counter, "I/O batches handed to the kernel")                                 \
    X(memory_tier_slab_bytes, gauge,                                                               \
      "of memory_tier_stored_bytes: slabs that lie in segments, whole, until the last of their "   \
      "bytes is released")                                                                         \
    X(adopted_bytes_total, counter,                                                                \
      "payload spilled to the memory tier without a copy, since it lay there already")             \
    X(lock_hold_cpu_peak_ns, gauge,                                                                \
      "longest time on the processor that a queue's lock was held; 0 unless all calls are timed")  \
    X(requests_total, counter, "I/O requests that have ended, good or bad")                        \
    X(wakeups_total, counter, "times that an I/O thread slept and was woken")                      \
    X(write_depth, gauge, "writes of write_request_bytes in flight at most")                       \
    X(write_request_bytes, gauge, "larger writes are split; 0: they are not")                      \
    X(write_calibrated, gauge, "1: both were measured here; 0: they are defaults or settings")     \
    X(read_depth, gauge, "reads of read_request_bytes in flight at most")                          \
    X(read_request_bytes, gauge, "larger reads are split; 0: they are not")                        \
    X(read_calibrated, gauge, "1: both were measured here; 0: they are defaults or settings")      \
    X(reported_ahead_bytes, gauge,                                                                 \
      "of resident_foreign_bytes: up to so much is there only for queues to go up and down")       \
    X(budget_ceiling_bytes, gauge, "what the budget may be moved up to")                           \
    X(decisions_total, counter, "decisions over all queues, by whomever")                          \
    X(governor_wakeups_total, counter, "times that the governor's thread looked")                  \
    X(disk_held, gauge, "1: nothing goes to disk now unless writers would have to wait")           \
    X(disk_held_total, counter, "times that the disk was held back")                               \
    X(on_time_runs_total, counter, "fetched runs that were there when their reader came for them") \
    X(hints_total, counter,                                                                        \
      "ranges that the kernel was asked to bring into memory ahead of a reader")                   \
    X(encoded_runs_total, counter, "of spilled_runs_total: those that a coder made smaller")       \
    X(encoded_bytes_total, counter, "their payload")                                               \
    X(encoded_stored_bytes_total, counter, "what the tiers got for it, not yet rounded up")        \
    X(encode_ns_total, counter, "processor time spent on choosing a code and encoding")            \
    X(decode_ns_total, counter, "the same on decoding")                                            \
    X(coder_refused_total, counter, "runs that did not get small enough")                          \
    X(coder_threads, gauge, "threads that encode and decode; 0: no coder is attached")             \
    X(governor_spilled_bytes_total, counter, "payload that queues spilled because they were told") \
    X(hasty_bytes_total, counter, "payload fetched within a second after it began to be spilled")  \
    X(freed_byte_seconds_total, counter,                                                           \
      "what spilling has kept out of the budget, for how long: bytes times seconds, up to the "    \
      "last run that came or went")                                                                \
    X(coder_bytes, gauge, "what the coder keeps for its work, beside the budget")                  \
    X(memory_stall_permille, gauge,                                                                \
      "thousandths of the time that some task waited for memory, as the pressure policy measured " \
      "it last")                                                                                   \
    X(io_stall_permille, gauge, "the same for the disk")                                           \
    X(stalls_measured_total, counter, "times that these two were measured")

#define SPILLWAY_STATS_FIELD(name, kind, help) uint64_t name;

/** Counters and gauges of a pool. The table comes last: later versions append to it. */
typedef struct spw_stats {
    size_t size;         /**< sizeof(spw_stats); set to what was filled in */
    char engine[16];     /**< "io_uring", "threads" or "none" */
    char seal_mode[16];  /**< "recycle" or "strict" */
    char fallbacks[256]; /**< names of the fallbacks taken, separated by spaces */
    SPILLWAY_STATS_TABLE(SPILLWAY_STATS_FIELD)
} spw_stats;

/*
 * The table of histograms: X(name, help), all in nanoseconds. Rows keep their place; new ones come
 * at the end.
 */
#define SPILLWAY_HISTOGRAMS_TABLE(X)                                                               \
    X(extend_ns, "time that an extend took")                                                       \
    X(drain_ns, "time that a drain took")                                                          \
    X(lock_hold_ns, "time that a queue's lock was held")                                           \
    X(device_write_ns, "time from the submission of a write request to its completion")            \
    X(device_read_ns, "time from the submission of a read request to its completion")

/* Never changes: programs are compiled with it. */
#define SPILLWAY_HISTOGRAM_BUCKETS 128

/**
 * How often which values came. 0 to 3 have a bucket each; from 4 on each power of two has four of
 * the same width, so that a value read from it is at most a quarter too high. The last bucket also
 * holds what is beyond (7.5 seconds and more).
 */
typedef struct spw_histogram {
    uint64_t counts[SPILLWAY_HISTOGRAM_BUCKETS];
    uint64_t highest; /**< exactly; 0 when nothing was counted */
} spw_histogram;

#define SPILLWAY_HISTOGRAMS_FIELD(name, help) spw_histogram name;

/** The histograms of a pool, since it was opened. Later versions append to it. */
typedef struct spw_histograms {
    size_t size; /**< sizeof(spw_histograms); set to what was filled in */
    SPILLWAY_HISTOGRAMS_TABLE(SPILLWAY_HISTOGRAMS_FIELD)
} spw_histograms;

/** The highest value of a bucket; UINT64_MAX for the last one, and beyond. */
SPILLWAY_API uint64_t spw_histogram_bound(unsigned bucket);

/** How many values were counted. */
SPILLWAY_API uint64_t spw_histogram_count(const spw_histogram *histogram);

/**
 * A value that `percent` of all (0 to 100) do not exceed: the bound of the bucket that holds
 * theirs, or the highest value where that is less. 0 when nothing was counted.
 */
SPILLWAY_API uint64_t spw_histogram_percentile(const spw_histogram *histogram, double percent);

/**
 * The stats as one JSON object, NUL-terminated: what `stats->size` holds and this library knows.
 * Returns its length, -ENOSPC when `capacity` is too small (8 KiB is enough), or -EINVAL (`stats`
 * is NULL, or its size less than in the first version or more than 16 KiB; or `out` is NULL).
 */
SPILLWAY_API long spw_stats_json(const spw_stats *stats, char *out, size_t capacity);

/**
 * The same with a last member "histograms", an object with one member a histogram: "count",
 * "highest", "p50", "p90", "p99", "p99_9", and "buckets", a list of [bound, count] for those that
 * are not empty. Either pointer may be NULL, and what it stands for is then left out. Returns as
 * spw_stats_json(); 48 KiB are enough.
 */
SPILLWAY_API long spw_report_json(const spw_stats *stats, const spw_histograms *histograms,
                                  char *out, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
