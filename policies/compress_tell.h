/* SPDX-License-Identifier: MIT */
/* What the compress policy says of its choices. */
#ifndef SPILLWAY_POLICIES_COMPRESS_TELL_H
#define SPILLWAY_POLICIES_COMPRESS_TELL_H

#include "compress_choose.h"

struct verdict {
    unsigned code;
    enum chooser_why why;
    uint64_t skip_bytes;
};

/* From this many misses in a row on, the data does not get smaller. */
enum { MISSES_FREE = 4 };

/* Fills in `choice->action` and why, where that is new. */
void chooser_tell(struct chooser *chooser, const spw_coder_view *view,
                  const struct verdict *verdict, double sample_gain, spw_coder_choice *choice);

#endif
