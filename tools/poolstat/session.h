/* SPDX-License-Identifier: MIT */
/* The pools that a command is about, looked at once or again and again. */
#ifndef SPILLWAY_TOOLS_POOLSTAT_SESSION_H
#define SPILLWAY_TOOLS_POOLSTAT_SESSION_H

#include "args.h"
#include "columns.h"

struct session {
    const struct args *args;
    struct pools pools;
    bool queues;          /* their rows are wanted each time */
    uint64_t rounds;      /* looks so far */
    uint64_t next_ns;     /* when to look again, CLOCK_MONOTONIC */
    uint64_t searched_ns; /* when new pools were last looked for */
};

/*
 * Finds the pools that -p names, or all. Returns EXIT_FINE, or EXIT_NOT_FOUND after saying on
 * stderr why -p names none that can be read. session_close() is to be called either way.
 */
int session_open(struct session *session, const struct args *args, bool queues);
void session_close(struct session *session);

/* Waits for the next look and takes it, new pools included. False: that was all. */
bool session_again(struct session *session);

/* Sets the time of the next look. */
void session_tick(struct session *session);

/* Takes a look now. */
void session_look(struct session *session);

/* Pools whose process has ended are left out from now on. */
void session_forget_gone(struct session *session);

/* Puts the pools in the order that --sort asks for. Returns EXIT_FINE or EXIT_USAGE. */
int session_sort(struct session *session);

/* What could not be seen, in a sentence for people; "" when all could. Returns `out`. */
enum { UNSEEN_BYTES = 512 };
const char *session_unseen(const struct session *session, char out[UNSEEN_BYTES]);

#endif
