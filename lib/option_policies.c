/* SPDX-License-Identifier: MIT */
#include "option_policies.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "text.h"
#include "units.h"

/* What the kernel takes as the window of a trigger. */
#define WINDOW_MIN_NS     (UINT64_C(500) * 1000 * 1000)
#define WINDOW_MAX_NS     (UINT64_C(10) * 1000 * 1000 * 1000)
#define WINDOW_DEFAULT_NS (UINT64_C(2) * 1000 * 1000 * 1000)

/* Shorter ones would only burn CPU; longer ones are a wrong unit. */
#define PERIOD_MIN_NS (UINT64_C(10) * 1000 * 1000)
#define PERIOD_MAX_NS (UINT64_C(24) * 3600 * 1000 * 1000 * 1000)

/* Less is nothing, more is no matter. */
#define PRICE_MIN_NS (UINT64_C(1000) * 1000)
#define PRICE_MAX_NS (UINT64_C(3600) * 1000 * 1000 * 1000)

/* --- which policies --- */

#define POLICY_WORD(NAME, word) [POLICY_##NAME] = word,
static const char *const policy_words[POLICY_KINDS] = {SETTINGS_POLICIES(POLICY_WORD)};

/* The bit of one name with blanks around it; 0: there is none of that name. */
static unsigned policy_bit(const char *item)
{
    char name[SETTINGS_TEXT];
    unsigned kind;

    (void)text_trim(name, sizeof(name), item);
    for (kind = 0; kind < POLICY_KINDS; kind++) {
        if (text_equal(name, policy_words[kind]))
            return 1u << kind;
    }
    return 0;
}

int policies_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    char copy[SETTINGS_TEXT], *item = copy;
    unsigned found = 0;

    (void)row;
    memcpy(copy, text, strlen(text) + 1);
    while (!text_equal(text, "none") && item != NULL) {
        char *end = strchr(item, ',');
        unsigned bit;

        if (end != NULL)
            *end++ = '\0';
        bit = policy_bit(item);
        if (bit == 0 || (found & bit) != 0)
            return -EINVAL;
        found |= bit;
        item = end;
    }
    settings->policies = found;
    return 0;
}

void policies_format(const struct option_row *row, const struct settings *settings,
                     char out[SETTINGS_TEXT])
{
    size_t used = 0;
    unsigned kind;

    (void)row;
    (void)snprintf(out, SETTINGS_TEXT, "none");
    for (kind = 0; kind < POLICY_KINDS; kind++) {
        if ((settings->policies & 1u << kind) != 0)
            used += (size_t)snprintf(out + used, SETTINGS_TEXT - used, "%s%s", used > 0 ? "," : "",
                                     policy_words[kind]);
    }
}

/* --- where word of pressure comes from --- */

int pressure_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    (void)row;
    if (text_equal(text, "auto"))
        text = "auto";
    else if (text_equal(text, "off"))
        text = "off";
    else if (*text != '/')
        return -EINVAL;
    memcpy(settings->pressure, text, strlen(text) + 1);
    return 0;
}

void pressure_format(const struct option_row *row, const struct settings *settings,
                     char out[SETTINGS_TEXT])
{
    (void)row;
    memcpy(out, settings->pressure, strlen(settings->pressure) + 1);
}

/* --- durations --- */

int stall_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    char copy[SETTINGS_TEXT], *window;
    uint64_t stall_ns, window_ns = WINDOW_DEFAULT_NS;

    (void)row;
    memcpy(copy, text, strlen(text) + 1);
    window = strchr(copy, '/');
    if (window != NULL)
        *window++ = '\0';
    if (units_parse_duration(copy, &stall_ns) != 0 ||
        (window != NULL && units_parse_duration(window, &window_ns) != 0))
        return -EINVAL;
    if (window_ns < WINDOW_MIN_NS || window_ns > WINDOW_MAX_NS || stall_ns > window_ns ||
        stall_ns < 1000) /* the kernel counts in us */
        return -EINVAL;
    settings->stall_ns = stall_ns;
    settings->stall_window_ns = window_ns;
    return 0;
}

void stall_format(const struct option_row *row, const struct settings *settings,
                  char out[SETTINGS_TEXT])
{
    char stall[UNITS_TEXT_BYTES], window[UNITS_TEXT_BYTES];

    (void)row;
    units_format_duration(settings->stall_ns, stall, sizeof(stall));
    units_format_duration(settings->stall_window_ns, window, sizeof(window));
    (void)snprintf(out, SETTINGS_TEXT, "%s/%s", stall, window);
}

/* Of one within these bounds. */
static int duration_parse(const char *text, uint64_t min_ns, uint64_t max_ns, uint64_t *out)
{
    uint64_t ns;

    if (units_parse_duration(text, &ns) != 0 || ns < min_ns || ns > max_ns)
        return -EINVAL;
    *out = ns;
    return 0;
}

int period_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    (void)row;
    return duration_parse(text, PERIOD_MIN_NS, PERIOD_MAX_NS, &settings->period_ns);
}

void period_format(const struct option_row *row, const struct settings *settings,
                   char out[SETTINGS_TEXT])
{
    (void)row;
    units_format_duration(settings->period_ns, out, SETTINGS_TEXT);
}

int price_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    (void)row;
    return duration_parse(text, PRICE_MIN_NS, PRICE_MAX_NS, &settings->price_ns);
}

void price_format(const struct option_row *row, const struct settings *settings,
                  char out[SETTINGS_TEXT])
{
    (void)row;
    units_format_duration(settings->price_ns, out, SETTINGS_TEXT);
}
