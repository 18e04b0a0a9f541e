/* SPDX-License-Identifier: MIT */
/* The arithmetic of the bars: floors, net figures, verdicts. Pure functions. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_BARS_MATH_H
#define SPILLWAY_TOOLS_SPILLBENCH_BARS_MATH_H

#include <stdbool.h>
#include <stdint.h>

#include "series.h"

/* How a row ends. Limited: the bar is not reached, and a measured reason says why this machine
 * cannot. */
enum verdict { VERDICT_PASS, VERDICT_SHORT, VERDICT_LIMITED };

const char *verdict_name(enum verdict verdict);

/* Pass where the bar is reached; else limited with such a reason, short without one. */
enum verdict verdict_of(bool reached, bool machine_cannot);

/* A figure as it is compared: a NaN or an infinity, what comes of a missing measurement, reaches
 * no bar. */
bool at_most(double reached, double asked);
bool at_least(double reached, double asked);

/* Seconds for moving `bytes` out and back at the device's raw rates (bytes a second). */
double floor_s(double bytes, double write_rate, double read_rate);

/* A figure less what the null strategy needs in the same run; never below 0. */
double net(double gross, double null);

/* The same for interleaved rounds, the first with the first. */
void series_net(const struct series *gross, const struct series *null, struct series *out);

/* The floors of interleaved rounds. */
void series_floor(double bytes, const struct series *write_rate, const struct series *read_rate,
                  struct series *out);

/* How much a constant cost may grow: half again, or 15 ns, whichever is more. */
double constant_limit_ns(double at_smallest_ns);

/* CPU seconds for each GB (10^9 bytes): the fixed part, two checksum passes, and copies. */
double cpu_limit_s(double checksum_s, double copy_s, unsigned copies);

/* What a latency may be beside what the machine does to a thread that only spins. */
double latency_limit_ns(double control_ns, double allowance_ns);

/*
 * Whether stalls of the machine explain that more calls than that share were slow: a gap hits a
 * call only while it runs. `busy_ns` is how long the calls would take in all if none had been
 * stalled, `count` how many they are.
 */
bool stalls_explain(double gaps_per_s, double busy_ns, double count, double share);

/* Payload in GB, 10^9 bytes. */
double gigabytes(double bytes);

#endif
