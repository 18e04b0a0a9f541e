/* SPDX-License-Identifier: MIT */
/* What is read from perf's and strace's reports. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_BARS_PROOF_H
#define SPILLWAY_TOOLS_SPILLBENCH_BARS_PROOF_H

#include <stdint.h>
#include <stdio.h>

/* The share of samples in functions that copy, of a report with lines "12.34%  [k] name"; and how
 * many lines it has. */
double proof_copied_percent(FILE *report, unsigned *lines);

/* Calls of that name in a summary with lines "name calls". */
uint64_t proof_calls(FILE *summary, const char *call);

#endif
