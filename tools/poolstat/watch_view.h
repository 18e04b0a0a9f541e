/* SPDX-License-Identifier: MIT */
/* What --watch shows, for a screen of any size; knows nothing of terminals. */
#ifndef SPILLWAY_TOOLS_POOLSTAT_WATCH_VIEW_H
#define SPILLWAY_TOOLS_POOLSTAT_WATCH_VIEW_H

#include "canvas.h"
#include "columns.h"
#include "history.h"

struct watch_look {
    const struct pools *pools;
    const struct histories *histories;
    size_t selected;               /* whose details are shown */
    const struct columns *columns; /* as many as fit are shown */
    const char *clock;             /* the time of day */
    const char *pressure;          /* of the host, in words; "" where it is not known */
    const char *unseen;            /* what cannot be seen; "" when all can */
    uint64_t interval_ns;
    bool paused;
    bool exact; /* --bytes */
};

/* The columns that are shown where none were asked for, those worth most first. */
extern const char watch_columns[];

void watch_draw(struct canvas *canvas, const struct watch_look *look);

#endif
