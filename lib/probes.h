/* SPDX-License-Identifier: MIT */
/*
 * Static probes (USDT) for tracers such as bpftrace and perf; tools/kit/trace.bt uses them all.
 * With systemtap's <sys/sdt.h> at build time each is one no-op and a note in the file; without it,
 * or with WITH_SDT=0, nothing at all.
 *
 *   spill     run, its bytes, its chunks      a queue has given up a run
 *   write     file, offset, bytes             a request to write goes to the kernel
 *   store     run, bytes, place               a tier has confirmed it
 *   fetch     run, bytes, place, late         a reader has taken it (late: 1 when it had to wait)
 *   evict     run, bytes                      it went from the memory tier to the disk
 *   decision  regulator, action, budget before and after, bytes asked for
 *   fallback  name
 *
 * A place is 1 in memory and 2 on disk; texts are addresses of such.
 */
#ifndef SPILLWAY_LIB_PROBES_H
#define SPILLWAY_LIB_PROBES_H

#if defined(SPILLWAY_HAVE_SDT) && SPILLWAY_HAVE_SDT
#include <sys/sdt.h>
#define PROBE1(name, a)             DTRACE_PROBE1(spillway, name, a)
#define PROBE2(name, a, b)          DTRACE_PROBE2(spillway, name, a, b)
#define PROBE3(name, a, b, c)       DTRACE_PROBE3(spillway, name, a, b, c)
#define PROBE4(name, a, b, c, d)    DTRACE_PROBE4(spillway, name, a, b, c, d)
#define PROBE5(name, a, b, c, d, e) DTRACE_PROBE5(spillway, name, a, b, c, d, e)
#else
#define PROBE1(name, a)             ((void)0)
#define PROBE2(name, a, b)          ((void)0)
#define PROBE3(name, a, b, c)       ((void)0)
#define PROBE4(name, a, b, c, d)    ((void)0)
#define PROBE5(name, a, b, c, d, e) ((void)0)
#endif

#endif
