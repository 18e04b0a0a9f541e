/* SPDX-License-Identifier: MIT */
/* A device slowed down in the seam to the operating system, for whoever may not slow down a real
 * one. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_SLOW_H
#define SPILLWAY_TOOLS_SPILLBENCH_SLOW_H

#include "../../lib/os.h"

/*
 * A system whose files take `rate` bytes a second, and give as many, whoever asks and however many
 * at a time; one in a process. The I/O itself is real. Only pread(2) and pwrite(2) pass here: the
 * thread engine.
 */
const struct os *slow_os(double rate);

#endif
