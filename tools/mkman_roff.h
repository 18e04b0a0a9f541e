/* SPDX-License-Identifier: MIT */
/* Plain text in a man page. */
#ifndef SPILLWAY_TOOLS_MKMAN_ROFF_H
#define SPILLWAY_TOOLS_MKMAN_ROFF_H

/* Text in which nothing is a roff request, escape or hyphenation. */
void roff_text(const char *text);

/* A sentence of its own: a capital at the start, a full stop at the end. */
void roff_sentence(const char *text);

#endif
