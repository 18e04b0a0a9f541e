/* SPDX-License-Identifier: MIT */
/* Data as services have it, for what depends on content: files of this machine. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_TEXT_H
#define SPILLWAY_TOOLS_SPILLBENCH_TEXT_H

#include <stdint.h>

enum text_kind {
    TEXT_TAR,   /* files of every kind below /usr, each behind a header, as tar packs them */
    TEXT_PLAIN, /* sources, headers and other text, packed likewise */
};

/*
 * Up to `bytes` of them, taken from all over the tree; `*found` says how many. To be freed. NULL
 * where there is not a MiB, or no memory.
 */
unsigned char *text_load(enum text_kind kind, uint64_t bytes, uint64_t *found);

#endif
