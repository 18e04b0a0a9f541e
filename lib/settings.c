/* SPDX-License-Identifier: MIT */
#include "settings.h"

#include <string.h>

#include "options.h"

/* Defaults are values of the table, read as any other. */
static void settings_default(struct settings *out)
{
    size_t i;

    memset(out, 0, sizeof(*out));
    for (i = 0; i < OPTION_COUNT; i++)
        (void)option_parse(&option_rows[i], option_rows[i].fallback, out);
}

void settings_read(const spw_options *options, struct settings *out)
{
    if (options != NULL)
        memcpy(out, &options->settings, sizeof(*out));
    else
        settings_default(out);
}

uint64_t amount_of(struct amount amount, uint64_t whole, uint64_t fallback)
{
    if (amount.percent > 0)
        return (uint64_t)((unsigned __int128)whole * amount.percent / 100);
    return amount.bytes == SETTINGS_AUTO ? fallback : amount.bytes;
}
