/* SPDX-License-Identifier: MIT */
/* What is told of a transfer: the progress line, the summary line, the JSON. */
#ifndef SPILLPIPE_REPORT_H
#define SPILLPIPE_REPORT_H

#include "spillpipe_transfer.h"

enum { REPORT_SAMPLES = 8 }; /* as many as fall into the window that rates are measured over */

struct report_sample {
    uint64_t at_ns, in_bytes, out_bytes;
};

struct report {
    struct transfer *transfer;
    struct report_sample samples[REPORT_SAMPLES]; /* a ring */
    size_t taken;
};

void report_init(struct report *report, struct transfer *transfer);

/* Takes a sample and draws the progress line. */
void report_progress(struct report *report);

/* Opens the file that --stats names, so that a bad one is known before anything flows. */
bool report_open_stats(struct transfer *transfer);

/* The summary and the JSON, as asked for. Returns false when the JSON could not be written. */
bool report_end(struct transfer *transfer);

#endif
