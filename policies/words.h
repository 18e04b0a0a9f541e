/* SPDX-License-Identifier: MIT */
/* Figures as the reasons of decisions show them. */
#ifndef SPILLWAY_POLICIES_WORDS_H
#define SPILLWAY_POLICIES_WORDS_H

#include "spillway/governor.h"

struct shown {
    char text[24];
};

struct shown show_bytes(uint64_t bytes);    /* "812KiB", "64MiB": rounded down */
struct shown show_share(unsigned permille); /* "12.5 %" */
struct shown show_time(uint64_t ns);        /* "1.25s", to the ms; exact below */

/* Notes a decision: `action` lives as long as the orders; what does not fit is cut off. */
void orders_note(spw_orders *orders, const char *action, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
