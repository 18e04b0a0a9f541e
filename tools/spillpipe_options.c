/* SPDX-License-Identifier: MIT */
#include "spillpipe_options.h"

#include <stddef.h>

const struct option spillpipe_options[SPILLPIPE_OPTIONS] = {
    {"dir", required_argument, NULL, FLAG_DIR},
    {"verbose", no_argument, NULL, FLAG_VERBOSE},
    {"quiet", no_argument, NULL, FLAG_QUIET},
    {"progress", no_argument, NULL, FLAG_PROGRESS},
    {"no-progress", no_argument, NULL, FLAG_NO_PROGRESS},
    {"stats", required_argument, NULL, FLAG_STATS},
    {"help", no_argument, NULL, FLAG_HELP},
    {"version", no_argument, NULL, FLAG_VERSION},
};
