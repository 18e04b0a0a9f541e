/* SPDX-License-Identifier: MIT */
#include "words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "../lib/text.h"
#include "../lib/units.h"

#define MS_NS UINT64_C(1000000)

struct shown show_bytes(uint64_t bytes)
{
    struct shown shown;
    uint64_t kib = bytes >> 10;
    bool small = kib < 10240;
    (void)snprintf(shown.text, sizeof(shown.text), "%" PRIu64 "%s", small ? kib : kib >> 10,
                   small ? "KiB" : "MiB");
    return shown;
}

struct shown show_share(unsigned permille)
{
    struct shown shown;
    (void)snprintf(shown.text, sizeof(shown.text), "%u.%u %%", permille / 10, permille % 10);
    return shown;
}

struct shown show_time(uint64_t ns)
{
    struct shown shown;
    units_format_duration(ns < MS_NS ? ns : ns - ns % MS_NS, shown.text, sizeof(shown.text));
    return shown;
}

void orders_note(spw_orders *orders, const char *action, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    orders->action = action;
    int len = vsnprintf(orders->reason, sizeof(orders->reason), format, arguments);
    va_end(arguments);
    if (len >= (int)sizeof(orders->reason))
        text_mark_cut(orders->reason, sizeof(orders->reason) - 1);
}
