/* SPDX-License-Identifier: MIT */
/*
 * Where word of memory pressure comes from. The first of these that can be used is taken, and when
 * that ends while it is used, the next one behind it:
 *
 *   option   a path that the user gave; anything that systemd's protocol allows
 *   systemd  MEMORY_PRESSURE_WATCH and MEMORY_PRESSURE_WRITE: a pressure file of the kernel, a
 *            FIFO or a stream socket; /dev/null turns it off
 *   cgroup   memory.pressure of the process's own group (version 2)
 *   proc     /proc/pressure/memory
 *   off      there is nothing, or it was turned off
 *
 * A source never waits and has no thread: who owns it polls its descriptor, or reads it every so
 * often. Nothing here may be called by two threads at once.
 */
#ifndef SPILLWAY_POLICIES_PRESSURE_SOURCE_H
#define SPILLWAY_POLICIES_PRESSURE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/log.h"
#include "../lib/os.h"
#include "psi_text.h"
#include "spillway/alloc.h"

struct pressure_source;

enum pressure_kind {
    PRESSURE_OPTION,
    PRESSURE_SYSTEMD,
    PRESSURE_CGROUP,
    PRESSURE_PROC,
    PRESSURE_OFF
};

/* How the source in use tells. */
enum pressure_way {
    PRESSURE_NONE,     /* it is off */
    PRESSURE_TRIGGER,  /* the kernel wakes the poller (POLLPRI) */
    PRESSURE_MESSAGES, /* bytes from a FIFO or socket do (POLLIN) */
    PRESSURE_POLLED    /* nothing does: its file has to be read again and again */
};

/* The texts are copied. */
struct pressure_source_config {
    const struct os *os;
    const spw_allocator *allocator; /* NULL: malloc and free */
    struct log *log;                /* NULL: silent; else it outlives the source */
    const char *root;               /* before /proc and mount points, in tests; NULL: "" */
    const char *watch;              /* text of MEMORY_PRESSURE_WATCH; NULL or "": not set */
    const char *write;              /* text of MEMORY_PRESSURE_WRITE; NULL or "": not set */
    const char *explicit_path;      /* a path, "off", or NULL, "" or "auto": what comes behind it */
    /* An event means: some task waited for memory for stall_ns within window_ns. Where the kernel
     * allows only windows of whole 2 s (without CAP_SYS_RESOURCE), both grow in proportion. */
    uint64_t stall_ns, window_ns;
};

/*
 * `has_` says whether the file behind a part could be read. Totals of two readings can be
 * subtracted only where `generation` is the same. The kernel brings averages up to date once in two
 * seconds, totals with each reading.
 */
struct pressure_reading {
    uint64_t now_ns; /* when it was read, clock of the seam */
    bool event;      /* the pressure asked for has been reached since the reading before */
    bool has_memory, has_io, has_events;
    uint32_t generation;         /* counts up with each change of file */
    struct psi_text memory;      /* of the source; beside messages, the best one that can be read */
    struct psi_text io;          /* of the own group, else of the whole machine */
    struct memory_events events; /* of the own group (version 2) */
};

/*
 * Never fails because there is no pressure to be seen; that is a source of kind PRESSURE_OFF.
 * Returns 0, -EINVAL (stall_ns is below a microsecond or more than window_ns), -ENOMEM, -EMFILE,
 * -ENFILE.
 */
int pressure_source_open(const struct pressure_source_config *config, struct pressure_source **out);
void pressure_source_close(struct pressure_source *source); /* NULL is harmless */

/*
 * What to poll, and for which events: POLLPRI, or POLLIN with POLLOUT while there is something left
 * to write. -1: nothing. Both may change with every pressure_source_read(), so ask anew each time.
 */
int pressure_source_fd(const struct pressure_source *source);
short pressure_source_events(const struct pressure_source *source);

/* Read it each time that so much has passed, while something is resident that could be moved; 0:
 * reading when poll(2) says so is enough. (More readings find events of their own, since they may
 * keep the kernel from telling.) May change like the descriptor. */
uint64_t pressure_source_interval_ns(const struct pressure_source *source);

/*
 * A new reading; may be called at any time. `revents` is what poll(2) reported for the descriptor
 * (0: nothing), errors and hang-ups included: these are dealt with here, so that they do not come
 * again. A source that has ended is replaced by the next one in the order, which is told once.
 * Returns 0, or -errno with *out untouched when there is no descriptor or memory for it just now
 * (-EMFILE, -ENFILE, -ENOMEM); try again later.
 */
int pressure_source_read(struct pressure_source *source, short revents,
                         struct pressure_reading *out);

/* Another meaning for an event, from now on; what is watched is sought anew, in the same order.
 * Both as pressure_source_open() takes them. */
void pressure_source_tune(struct pressure_source *source, uint64_t stall_ns, uint64_t window_ns);

enum pressure_kind pressure_source_kind(const struct pressure_source *source);
enum pressure_way pressure_source_way(const struct pressure_source *source);

/* "option", "systemd", "cgroup", "proc" or "off". Static storage. */
const char *pressure_source_name(const struct pressure_source *source);

/* What is watched; "" when it is off. This and the next are valid until the next read or close, and
 * hold no control characters. */
const char *pressure_source_path(const struct pressure_source *source);

/* Why nothing better is used, "" when there is nothing better: "systemd: /run/x: No such file or
 * directory; cgroup: ...". */
const char *pressure_source_why(const struct pressure_source *source);

/* Whether it is less than was asked for: a path from outside that is not usable, polling where a
 * trigger was refused, or nothing although it was not turned off. */
bool pressure_source_is_fallback(const struct pressure_source *source);

/* What an event means now, which may be more than was asked for. 0 with messages and when off. */
uint64_t pressure_source_stall_ns(const struct pressure_source *source);
uint64_t pressure_source_window_ns(const struct pressure_source *source);

#endif
