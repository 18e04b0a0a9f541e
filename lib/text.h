/* SPDX-License-Identifier: MIT */
/* Text from outside (file names, values of variables): compared without the locale, and made fit
 * to be shown. */
#ifndef SPILLWAY_LIB_TEXT_H
#define SPILLWAY_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Equal apart from the case of ASCII letters, in any locale. */
bool text_equal(const char *a, const char *b);

/* Copies `text` without the blanks (also tabs and newlines) at its ends. Returns the length, or
 * -ENAMETOOLONG when it does not fit. */
long text_trim(char *out, size_t capacity, const char *text);

/* Whether there is a control character in it. */
bool text_has_controls(const char *text);

/* Replaces control characters, C1 ones in UTF-8 included, by '?' in place. */
void text_clean(char *text);

/* Copies at most capacity - 1 bytes, cleaned and NUL-terminated; what did not fit shows as
 * "..." at the end, and no UTF-8 sequence is cut. `capacity` > 3. */
void text_copy_clean(char *out, size_t capacity, const char *text);

/* Marks a text that was cut to fit: its last three bytes, or a few more so as not to split
 * a UTF-8 sequence, become "...". `len` is strlen(text) and at least 3. */
void text_mark_cut(char *text, size_t len);

#endif
