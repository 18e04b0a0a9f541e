/* SPDX-License-Identifier: MIT */
#include "epoch.h"

#include <stddef.h>

#include "growable.h"
#include "view.h"

const spw_epoch epoch_fixed = {0};

uint64_t spw_epoch_read(const spw_epoch *epoch)
{
    return epoch_read(epoch);
}

void spw_epoch_advance(spw_epoch *epoch)
{
    epoch_advance(epoch);
}

int spw_view_rest(spw_view *view, const spw_rest *rest)
{
    spw_rest known = {.resident_bytes = UINT64_MAX, .paged_entries = SIZE_MAX};
    int err = growable_read(rest, REST_FIRST_BYTES, &known, sizeof(known));
    if (err)
        return err;
    if (!view->rest)
        return 0;
    *view->rest = (struct rest){known.resident_bytes, known.paged_entries, &epoch_fixed, 0};
    if (known.epoch) {
        view->rest->epoch = known.epoch;
        view->rest->epoch_seen = known.epoch_seen;
    }
    return 0;
}
