/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum { CELL_BYTES = 8, TEXT_BYTES = 1024, EIGHTHS = 8 };

/* The end of a line: what was there before goes away. */
static const char line_end[] = "\033[K\r\n";

static void append(struct canvas *canvas, const char *bytes, size_t len)
{
    if (canvas->used + len > canvas->capacity) {
        size_t capacity = 2 * canvas->capacity + len + 4096;
        char *grown = canvas->broken ? NULL : realloc(canvas->bytes, capacity);

        if (grown == NULL) {
            canvas->broken = true;
            return;
        }
        canvas->bytes = grown;
        canvas->capacity = capacity;
    }
    memcpy(canvas->bytes + canvas->used, bytes, len);
    canvas->used += len;
}

static void append_text(struct canvas *canvas, const char *text)
{
    append(canvas, text, strlen(text));
}

void canvas_begin(struct canvas *canvas, unsigned columns, unsigned rows)
{
    canvas->used = 0;
    canvas->columns = columns;
    canvas->rows = rows;
    canvas->row = canvas->column = 0;
}

void canvas_free(struct canvas *canvas)
{
    free(canvas->bytes);
    canvas->bytes = NULL;
    canvas->used = canvas->capacity = 0;
}

unsigned canvas_left(const struct canvas *canvas)
{
    return canvas->rows - canvas->row;
}

/* ---- characters ---- */

/* The character at `text`: its bytes, and how many columns it takes. What is none, or may not be
 * shown, is a '?'. */
static size_t next(const struct canvas *canvas, const char *text, const char **shown,
                   size_t *shown_len, unsigned *width)
{
    unsigned char first = (unsigned char)*text;
    mbstate_t state = {0};
    wchar_t wide;
    size_t len;
    int columns;

    *shown = text;
    *shown_len = 1;
    *width = 1;
    if (first >= 0x20 && first < 0x7f)
        return 1;
    len = canvas->utf8 && first > 0x7f ? mbrtowc(&wide, text, strlen(text), &state) : 0;
    columns = len > 0 && len <= 4 ? wcwidth(wide) : -1;
    if (columns >= 0) {
        *shown_len = len;
        *width = (unsigned)columns;
        return len;
    }
    *shown = "?";
    return len > 0 && len <= 4 ? len : 1;
}

unsigned canvas_width(const struct canvas *canvas, const char *text)
{
    unsigned sum = 0, width;
    size_t shown_len;
    const char *shown;

    while (*text != '\0') {
        text += next(canvas, text, &shown, &shown_len, &width);
        sum += width;
    }
    return sum;
}

static const char *ink_code(enum ink ink)
{
    switch (ink) {
    case INK_BOLD:
        return "\033[1m";
    case INK_DIM:
        return "\033[2m";
    case INK_GOOD:
        return "\033[32m";
    case INK_WARM:
        return "\033[33m";
    case INK_HOT:
        return "\033[31m";
    case INK_TURNED:
        return "\033[7m";
    case INK_PLAIN:
    default:
        return "";
    }
}

void canvas_put(struct canvas *canvas, enum ink ink, const char *text)
{
    bool inked = canvas->colour && ink != INK_PLAIN && *text != '\0';
    unsigned width;
    size_t shown_len;
    const char *shown;

    if (canvas->row >= canvas->rows)
        return;
    if (inked)
        append_text(canvas, ink_code(ink));
    while (*text != '\0') {
        text += next(canvas, text, &shown, &shown_len, &width);
        if (canvas->column + width > canvas->columns)
            break;
        append(canvas, shown, shown_len);
        canvas->column += width;
    }
    if (inked)
        append_text(canvas, "\033[0m");
}

void canvas_print(struct canvas *canvas, enum ink ink, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    canvas_put(canvas, ink, text);
}

void canvas_to(struct canvas *canvas, unsigned column)
{
    while (canvas->column < column && canvas->column < canvas->columns)
        canvas_put(canvas, INK_PLAIN, " ");
}

void canvas_right(struct canvas *canvas, enum ink ink, const char *text)
{
    unsigned width = canvas_width(canvas, text);

    if (canvas->column + 2 + width > canvas->columns)
        return;
    canvas_to(canvas, canvas->columns - width);
    canvas_put(canvas, ink, text);
}

/* The last line has no end, or the screen would move up. */
void canvas_line(struct canvas *canvas)
{
    if (canvas->row >= canvas->rows)
        return;
    canvas->row++;
    canvas->column = 0;
    if (canvas->row < canvas->rows)
        append_text(canvas, line_end);
    else
        append_text(canvas, "\033[K");
}

/* ---- bars and charts ---- */

void canvas_bar(struct canvas *canvas, enum ink ink, unsigned width, double share)
{
    static const char *const parts[EIGHTHS + 1] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    double filled = share > 0 ? share * width * EIGHTHS : 0;
    unsigned eighths = filled < width * EIGHTHS ? (unsigned)filled : width * EIGHTHS;
    char text[4 * TEXT_BYTES] = "";
    size_t used = 0;

    for (unsigned i = 0; i < width && used + CELL_BYTES < sizeof(text); i++) {
        unsigned here = eighths > i * EIGHTHS ? eighths - i * EIGHTHS : 0;
        const char *cell = here >= EIGHTHS / 2 ? "#" : ".";

        if (canvas->utf8)
            cell = parts[here < EIGHTHS ? here : EIGHTHS];
        memcpy(text + used, cell, strlen(cell));
        used += strlen(cell);
    }
    text[used] = '\0';
    canvas_put(canvas, INK_DIM, "[");
    canvas_put(canvas, ink, text);
    canvas_put(canvas, INK_DIM, "]");
}

void canvas_chart(struct canvas *canvas, enum ink ink, unsigned width, unsigned height,
                  unsigned row, const float *values, unsigned count, float most)
{
    static const char *const blocks[EIGHTHS + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const letters[EIGHTHS + 1] = {" ", ".", ".", ":", ":", "-", "=", "#", "#"};
    unsigned shown = count < width ? count : width;
    char text[4 * TEXT_BYTES] = "";
    size_t used = 0;

    for (unsigned i = 0; i < width && used + CELL_BYTES < sizeof(text); i++) {
        float value = i < width - shown ? 0 : values[count - (width - i)];
        float scaled = most > 0 ? value / most * (float)(height * EIGHTHS) : 0;
        unsigned eighths =
            scaled < (float)(height * EIGHTHS) ? (unsigned)(scaled + 0.5F) : height * EIGHTHS;
        unsigned below = (height - 1 - row) * EIGHTHS;
        unsigned here = eighths > below ? eighths - below : 0;
        const char *cell;

        if (here == 0 && row + 1 == height && value > 0)
            here = 1; /* a little is not nothing */
        here = here < EIGHTHS ? here : EIGHTHS;
        cell = canvas->utf8 ? blocks[here] : letters[here];
        memcpy(text + used, cell, strlen(cell));
        used += strlen(cell);
    }
    text[used] = '\0';
    canvas_put(canvas, ink, text);
}
