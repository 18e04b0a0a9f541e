/* SPDX-License-Identifier: MIT */
/* One thing that tells of memory pressure: a pressure file of the kernel, any other file with such
 * text, a FIFO or a stream socket. */
#ifndef SPILLWAY_POLICIES_PRESSURE_WATCH_H
#define SPILLWAY_POLICIES_PRESSURE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/os.h"
#include "pressure_source.h"
#include "psi_text.h"

/* As much as a FIFO takes in one piece. */
enum { WATCH_MESSAGE_BYTES = 4096, WATCH_TEXT_BYTES = 4096 };

/* What is asked of it. */
struct watch_wish {
    uint64_t stall_us, window_us;
    unsigned char message[WATCH_MESSAGE_BYTES]; /* what MEMORY_PRESSURE_WRITE holds, decoded */
    size_t message_len;
};

struct watch {
    const struct os *os;
    const struct watch_wish *wish;
    const char *path;
    enum pressure_way way;
    int fd;                   /* of a trigger or messages */
    bool socket, read_only;   /* messages: what they come through */
    bool echo;                /* the message went into a FIFO that we read, too */
    size_t sent;              /* of the message */
    uint64_t opened_ns;       /* of a socket */
    struct psi_trigger armed; /* what an event means; 0, 0 with messages */
    int refusal;              /* -errno of a trigger that was refused, so that it is polled */
};

/*
 * Opens what is at `path`, which stays the caller's like `os` and `wish`, and may send the wish
 * there. Nothing is ever written to a file that is not the kernel's.
 * Returns 0 and for files the first text; -ECANCELED: it is /dev/null; -EISDIR; -ENXIO: it is a
 * device, or became something else; -EBADMSG: not the text of a pressure file; or -errno of a call.
 */
int watch_open(struct watch *watch, const struct os *os, const char *path,
               const struct watch_wish *wish, struct psi_text *text);
void watch_close(struct watch *watch);

/* The text of a file that is watched. `broken`: poll(2) told of an error, so that no trigger is
 * there any more. Returns 0 or -errno. */
int watch_text(struct watch *watch, bool broken, struct psi_text *text);

/*
 * Reads what has come through a FIFO or socket, if poll(2) has `told` of something, and opens it
 * again when the other end has closed. *event is set when there was something. Returns 0 or -errno:
 * it has ended, or could not be opened for a reason that passes; the next call then tries again.
 */
int watch_messages(struct watch *watch, bool told, bool *event);

/* Reads a whole small file; never waits, and takes no device, FIFO or socket for one. Returns its
 * length or -errno. */
long watch_read_file(const struct os *os, const char *path, char *buf, size_t capacity);

#endif
