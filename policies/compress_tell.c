/* SPDX-License-Identifier: MIT */
#include "compress_tell.h"

#include <stdio.h>

#include "../lib/units.h"
#include "compress_known.h"

static const char *name_of(const struct chooser *chooser, unsigned code)
{
    return code > 0 ? chooser->codes[code - 1].name : "none";
}

/* Bytes a ns as MB or GB a second. */
static const char *rate_text(double rate, char out[16])
{
    if (rate < 1)
        snprintf(out, 16, "%.0f MB/s", rate * 1000);
    else
        snprintf(out, 16, "%.1f GB/s", rate);
    return out;
}

static void tell_room(const struct chooser *chooser, const spw_coder_view *view, unsigned code,
                      char *out, size_t capacity)
{
    const char *tier = view->to_memory ? "memory" : "disk";
    char stored[UNITS_TEXT_BYTES], whole[UNITS_TEXT_BYTES];

    if (chooser->mode == COMPRESS_ROOM) {
        snprintf(out, capacity, "told to save room, %s makes %.1f x", name_of(chooser, code),
                 known_gain(chooser, &chooser->codes[code - 1]));
        return;
    }
    units_format_bytes(view->stored_bytes & ~(MIB - 1), stored, sizeof(stored));
    units_format_bytes(view->capacity_bytes & ~(MIB - 1), whole, sizeof(whole));
    snprintf(out, capacity, "the %s tier holds %s of %s: room is scarce, %s makes %.1f x", tier,
             stored, whole, name_of(chooser, code), known_gain(chooser, &chooser->codes[code - 1]));
}

static void tell_speed(const struct chooser *chooser, const spw_coder_view *view,
                       const struct verdict *verdict, char *out, size_t capacity)
{
    unsigned code = verdict->code > 0 ? verdict->code : 1;
    const struct chooser_code *known = &chooser->codes[code - 1];
    char device[16], rate[16];

    rate_text(known_device(chooser), device);
    rate_text(known_rate(chooser, known), rate);
    if (verdict->why == WHY_SPEED)
        snprintf(out, capacity,
                 "the disk writes at %s, %s makes %.1f x at %s on each of %u threads", device,
                 known->name, known_gain(chooser, known), rate, view->workers);
    else if (verdict->why == WHY_FAST)
        snprintf(out, capacity, "the disk writes at %s, a processor makes %s at %s", device,
                 known->name, rate);
    else
        snprintf(out, capacity, "the disk writes at %s, %s makes %.1f x at %s: not worth it",
                 device, known->name, known_gain(chooser, known), rate);
}

static void tell_data(const spw_coder_view *view, double sample_gain, bool promises, char *out,
                      size_t capacity)
{
    if (promises)
        snprintf(out, capacity, "the data does not get smaller, though samples of it do");
    else
        snprintf(out, capacity, "the data does not get smaller: a sample of %zu bytes makes %.2f x",
                 view->sample_bytes, sample_gain);
}

void chooser_tell(struct chooser *chooser, const spw_coder_view *view,
                  const struct verdict *verdict, double sample_gain, spw_coder_choice *choice)
{
    struct chooser_told *told = &chooser->told[view->to_memory != 0];
    char *out = choice->reason, with[16];
    size_t capacity = sizeof(choice->reason);

    if (verdict->why == WHY_MEASURE ||
        (verdict->why == WHY_DATA && chooser->misses <= MISSES_FREE) ||
        (told->code == verdict->code && told->why == verdict->why))
        return;
    if (verdict->code > 0 && chooser->data.cpu_ns <= 0)
        return; /* with what it really makes, as soon as that is known */
    *told = (struct chooser_told){verdict->code, verdict->why};
    choice->action = name_of(chooser, verdict->code);
    switch (verdict->why) {
    case WHY_TOLD:
        snprintf(out, capacity, "told to take it");
        break;
    case WHY_ROOM:
        tell_room(chooser, view, verdict->code, out, capacity);
        break;
    case WHY_UP:
        snprintf(out, capacity, "the disk keeps up with what there is to write");
        break;
    case WHY_AMPLE:
        snprintf(out, capacity, "the memory tier has room");
        break;
    case WHY_DATA:
        tell_data(view, sample_gain, chooser->refused, out, capacity);
        break;
    case WHY_VAIN:
        rate_text(known_outcome(chooser, true), with);
        snprintf(out, capacity, "no more went out with a code than without one: %s", with);
        break;
    default:
        tell_speed(chooser, view, verdict, out, capacity);
        break;
    }
}
