/* SPDX-License-Identifier: MIT */
/*
 * The one table of settings, from which come parser, defaults, help, man page and README:
 *
 *   X(name, VARIABLE after SPILLWAY_, member of struct settings, type in option_types.c,
 *     default, who takes a change while the pool is open, allowed: completes "give ...", help)
 */
#ifndef SPILLWAY_LIB_OPTIONS_TABLE_H
#define SPILLWAY_LIB_OPTIONS_TABLE_H

/* Who takes a change: nobody, the pool itself, or what is attached to it by this name. */
#define OPTIONS_AT_OPEN NULL
#define OPTIONS_POOL    "pool"

#define OPTIONS_BYTES "bytes with a unit (64MiB, 2G: K, M, G, T count in 1024s)"

#define OPTIONS_TABLE(X)                                                                           \
    X(memory, MEMORY, memory, budget, "auto", OPTIONS_POOL,                                        \
      OPTIONS_BYTES " of at least 64KiB, a share of the tightest memory limit (50%), or auto",     \
      "budget: what queues and pool may keep resident; auto is half of the tightest limit; "       \
      "less than 1MiB is raised to that")                                                          \
    X(memory_tier, MEMORY_TIER, memory_tier, capacity, "off", OPTIONS_AT_OPEN,                     \
      OPTIONS_BYTES ", a share of the host's memory (25%), or off",                                \
      "capacity of the memory tier, on top of the budget; it is charged to the same cgroup")       \
    X(threshold, THRESHOLD, threshold, share, "auto", OPTIONS_POOL,                                \
      OPTIONS_BYTES ", a share of the budget (50%), or auto",                                      \
      "resident bytes of a queue above its head reserve at which it spills")                       \
    X(head_reserve, HEAD_RESERVE, head_reserve, share, "auto", OPTIONS_POOL,                       \
      OPTIONS_BYTES ", a share of the budget (25%), or auto",                                      \
      "bytes next to the reader of a queue that are never spilled")                                \
    X(prefetch, PREFETCH, prefetch, optional, "auto", OPTIONS_POOL,                                \
      OPTIONS_BYTES ", a share of the budget (25%), off, or auto",                                 \
      "how far ahead of the reader of a queue runs are brought back")                              \
    X(tiers, TIERS, tier_memory, tiers, "memory,disk", OPTIONS_AT_OPEN,                            \
      "memory, disk, both with a comma between, or none",                                          \
      "which tiers may be used; the memory tier also needs a capacity")                            \
    X(nodes, NODES, nodes, nodes, "local", OPTIONS_AT_OPEN,                                        \
      "local, far, cpuless, all, or a list of NUMA nodes (1 or 0-1,3 or !0)",                      \
      "NUMA nodes for the memory tier; far has the largest distance, cpuless no processors")       \
    X(dirs, DIRS, dirs, dirs, "auto", OPTIONS_AT_OPEN,                                             \
      "up to 16 different directories with colons between, or auto",                               \
      "scratch directories; auto is the first that works of SLURM_TMPDIR, TMPDIR, /var/tmp")       \
    X(disk_limit, DISK_LIMIT, disk_limit, limit, "auto", OPTIONS_AT_OPEN,                          \
      OPTIONS_BYTES " of at least 64KiB, a share of what is free at start (80%), or auto",         \
      "what the disk tier may hold in all its directories; auto is 50%")                           \
    X(engine, ENGINE, engine, engine, "auto", OPTIONS_AT_OPEN, "io_uring, threads, or auto",       \
      "how scratch files are read and written; auto tries io_uring first")                         \
    X(depth, DEPTH, depth, depth, "auto", OPTIONS_AT_OPEN, "1 to 64, or auto",                     \
      "reads or writes of scratch files in flight at most; auto finds out on the device itself; "  \
      "without io_uring at most 4")                                                                \
    X(request, REQUEST, request_bytes, request, "auto", OPTIONS_AT_OPEN,                           \
      OPTIONS_BYTES " from 4KiB to 1GiB, or auto",                                                 \
      "larger reads and writes go in parts of at most this size, side by side, with io_uring; "    \
      "auto finds out on the device itself")                                                       \
    X(seal, SEAL, seal, seal, "recycle", OPTIONS_AT_OPEN, "recycle or strict",                     \
      "seals of memory segments: recycled warm, or immutable even for this process")               \
    X(mlock, MLOCK, mlock, toggle, "off", OPTIONS_AT_OPEN, "on or off",                            \
      "lock memory segments in RAM, within RLIMIT_MEMLOCK")                                        \
    X(huge_pages, HUGE_PAGES, huge_pages, huge, "off", OPTIONS_AT_OPEN, "on, transparent, or off", \
      "memory segments on reserved (on) or transparent huge pages")                                \
    X(checksum, CHECKSUM, checksum, checksum, "disk", OPTIONS_AT_OPEN, "disk, all, or off",        \
      "payload that is verified when it comes back: that of disk runs, of all runs, none")         \
    X(stats_page, STATS_PAGE, stats_page, toggle, "on", OPTIONS_AT_OPEN, "on or off",              \
      "publish what the pool counts for poolstat, in a sealed page that others can only read")     \
    X(control, CONTROL, control, toggle, "off", OPTIONS_AT_OPEN, "on or off",                      \
      "let poolstat set change settings of this pool while it is open; only for its own user "     \
      "and root")                                                                                  \
    X(log_level, LOG_LEVEL, log_level, level, "warning", OPTIONS_POOL,                             \
      "off, error, warning, info, or debug", "the least important messages that are still told")   \
    X(strict, STRICT, strict, toggle, "off", OPTIONS_AT_OPEN, "on or off",                         \
      "make each fallback, and each doubtful or unknown setting, an error at start")               \
    X(timing, TIMING, timing, timing, "auto", OPTIONS_AT_OPEN, "auto, all, or off",                \
      "which calls of a queue the histograms time; auto is those that spill, fetch or wait, and "  \
      "one in 1024 of the others")                                                                 \
    X(policies, POLICIES, policies, policies, "threshold,prefetch,pressure", OPTIONS_AT_OPEN,      \
      "some of threshold, prefetch, pressure, periodic, manual, adaptive and compress, with "      \
      "commas between, or none",                                                                   \
      "what decides which bytes move and when, where a service leaves it to "                      \
      "spw_policies_open()")                                                                       \
    X(floor, FLOOR, floor, floor, "25%", "pressure",                                               \
      OPTIONS_BYTES " of at least 64KiB, or a share of the budget (25%)",                          \
      "how far memory pressure may lower the budget")                                              \
    X(pressure, PRESSURE, pressure, pressure, "auto", OPTIONS_AT_OPEN,                             \
      "auto, off, or the whole path of a pressure file, FIFO or socket",                           \
      "where word of memory pressure comes from; auto is MEMORY_PRESSURE_WATCH, the own cgroup's " \
      "memory.pressure, or /proc/pressure/memory")                                                 \
    X(stall, STALL, stall_ns, stall, "200ms/2s", "pressure",                                       \
      "a duration in a window of 500ms to 10s (200ms/2s), or the duration alone (200ms) for one "  \
      "of 2s",                                                                                     \
      "pressure means that some task waited for memory for so long within the window")             \
    X(period, PERIOD, period_ns, period, "10s", "periodic",                                        \
      "a duration (500ms, 10s, 5min, 1h) of 10ms to 24h",                                          \
      "policy periodic: what has been resident for longer is spilled")                             \
    X(compress, COMPRESS, compress, coding, "auto", OPTIONS_AT_OPEN,                               \
      "auto, room, speed, none, lz4, zstd, or zstd with a level from -7 to 19 (zstd:3)",           \
      "what the compress policy does: choose by what is scarce, the tier's room or the device's "  \
      "speed (auto), look at one of them only, or always take one code")                           \
    X(price, PRICE, price_ns, price, "100ms", "adaptive", "a duration (20ms, 1s) of 1ms to 1h",    \
      "policy adaptive: how long writers and readers may wait for each GiB that is kept out of "   \
      "memory for a second")

#endif
