/* SPDX-License-Identifier: MIT */
/*
 * The terminal as a screen of our own: what was there comes back when it is closed, also when a
 * signal ends the program or puts it aside.
 */
#ifndef SPILLWAY_TOOLS_POOLSTAT_SCREEN_H
#define SPILLWAY_TOOLS_POOLSTAT_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum screen_event {
    SCREEN_TIME,   /* the time has come */
    SCREEN_RESIZE, /* or it was covered by something else */
    SCREEN_UP,
    SCREEN_DOWN,
    SCREEN_SORT,
    SCREEN_PAUSE,
    SCREEN_OTHER, /* a key without a meaning */
    SCREEN_QUIT,
};

/* Whether this may be a screen: stdin and stdout are a terminal that can place text. */
bool screen_possible(void);

/* Returns 0 or -errno. */
int screen_open(void);
void screen_close(void);

/* 80 by 24 where the terminal does not say. */
void screen_size(unsigned *columns, unsigned *rows);

/* Waits for something to happen until `until_ns`, CLOCK_MONOTONIC. */
enum screen_event screen_wait(uint64_t until_ns);

/* All of it at once. False: the terminal is gone. */
bool screen_write(const char *bytes, size_t len);

/* The signal that asked for the end, 0: none did. */
int screen_signal(void);

#endif
