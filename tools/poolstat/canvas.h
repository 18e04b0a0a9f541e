/* SPDX-License-Identifier: MIT */
/*
 * A screen full of text, put together line by line and then written at once. Nothing gets wider
 * than the screen, whatever is in a text, and colours take no room.
 */
#ifndef SPILLWAY_TOOLS_POOLSTAT_CANVAS_H
#define SPILLWAY_TOOLS_POOLSTAT_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ink { INK_PLAIN, INK_BOLD, INK_DIM, INK_GOOD, INK_WARM, INK_HOT, INK_TURNED };

struct canvas {
    char *bytes; /* grows; NULL before anything was put there */
    size_t used, capacity;
    unsigned columns, rows;
    unsigned row, column; /* where the next text goes */
    bool utf8, colour;
    bool broken; /* no memory: what is there is all there will be */
};

/* An empty screen; keeps the memory of the one before. */
void canvas_begin(struct canvas *canvas, unsigned columns, unsigned rows);
void canvas_free(struct canvas *canvas);

/* Adds a text to the line, as far as it fits. Control characters become '?'. */
void canvas_put(struct canvas *canvas, enum ink ink, const char *text);
void canvas_print(struct canvas *canvas, enum ink ink, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fills up with blanks to this column. */
void canvas_to(struct canvas *canvas, unsigned column);

/* A text that ends at the right edge, if there is room for it. */
void canvas_right(struct canvas *canvas, enum ink ink, const char *text);

/* Ends the line. */
void canvas_line(struct canvas *canvas);

/* Lines that are left. */
unsigned canvas_left(const struct canvas *canvas);

/* A bar of this width, `share` of it filled (0 to 1, more is full). */
void canvas_bar(struct canvas *canvas, enum ink ink, unsigned width, double share);

/*
 * One row of a chart of `height` rows, 0 at the top: the last `width` of `count` values, the newest
 * at the right edge, where `most` is as high as the chart.
 */
void canvas_chart(struct canvas *canvas, enum ink ink, unsigned width, unsigned height,
                  unsigned row, const float *values, unsigned count, float most);

/* How many columns a text takes. */
unsigned canvas_width(const struct canvas *canvas, const char *text);

#endif
