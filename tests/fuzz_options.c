/* SPDX-License-Identifier: MIT */
#include "fuzz_options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/options.h"
#include "../lib/text.h"

enum { STRICT_BIT = 0x80, ENVIRONMENT = '*', FIRST_ROW = 'A', ENTRIES_MAX = 32 };

/* Memory of exactly this size, so that a sanitizer sees a read behind it. */
static char *string_of(const uint8_t *data, size_t len)
{
    char *copy = malloc(len + 1);

    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

/* ---- one value ---- */

/* The same all the time, but for the row in question: settings are large. */
static struct settings *scratch(bool before)
{
    static struct settings *pair;

    if (pair == NULL) {
        pair = calloc(2, sizeof(*pair));
        if (pair == NULL)
            abort();
        settings_read(NULL, &pair[0]);
        memcpy(&pair[1], &pair[0], sizeof(*pair));
    }
    return &pair[before];
}

static const char *check_accepted(const struct option_row *row, struct settings *now)
{
    static char text[SETTINGS_TEXT], again[SETTINGS_TEXT];

    memset(text, 0x5a, sizeof(text));
    option_format(row, now, text);
    if (memchr(text, '\0', sizeof(text)) == NULL)
        return "option_format: no end";
    if (text[0] == '\0' || text_has_controls(text))
        return "option_format: nothing, or control characters";
    if (option_parse(row, text, now) != 0)
        return "option_format: what it says is refused";
    option_format(row, now, again);
    return strcmp(text, again) != 0 ? "option_format: not the same when it is read again" : NULL;
}

static const char *check_value(const struct option_row *row, bool strict, const char *text)
{
    struct settings *now = scratch(false), *before = scratch(true);
    const char *wrong = NULL;
    int rc;

    now->strict = before->strict = strict;
    rc = option_parse(row, text, now);
    if (rc == 0)
        wrong = check_accepted(row, now);
    else if (rc != -EINVAL)
        wrong = "option_parse: another error";
    else if (memcmp(now, before, sizeof(*now)) != 0)
        wrong = "option_parse: failed, and wrote";
    /* Back to the default, and nothing beside the row was touched. */
    if (rc == 0 && wrong == NULL) {
        now->strict = strict;
        memcpy(before, now, sizeof(*now));
    }
    return wrong;
}

/* ---- an environment ---- */

static const char *check_row(spw_options *options, const struct option_row *row)
{
    size_t index = (size_t)(row - option_rows);
    const char *origin, *value = spw_options_value(options, row->name, &origin);

    if (value == NULL || value[0] == '\0')
        return "options_load: a setting without a value";
    if (options->values[index].origin == ORIGIN_DEFAULT)
        return strcmp(value, row->fallback) != 0 ? "options_load: another default" : NULL;
    if (options->values[index].origin != ORIGIN_ENVIRONMENT || strcmp(origin, "environment") != 0)
        return "options_load: another origin";
    return option_parse(row, value, &options->settings) != 0
               ? "options_load: its own value is refused"
               : NULL;
}

/* All at their defaults: as options_open() makes them, which takes its time. */
static spw_options *fresh_options(void)
{
    static spw_options *fresh, *options;

    if (options == NULL && (options_open(allocator_or_default(NULL), &fresh) != 0 ||
                            options_open(allocator_or_default(NULL), &options) != 0))
        abort();
    options_copy(options, fresh);
    return options;
}

static const char *check_environment(char *text)
{
    char *entries[ENTRIES_MAX + 1] = {NULL};
    const char *wrong = NULL, *message;
    spw_options *options = fresh_options();
    unsigned count = 0;
    int rc;

    for (char *at = text; at != NULL && count < ENTRIES_MAX; count++) {
        entries[count] = at;
        at = strchr(at, '\n');
        if (at != NULL)
            *at++ = '\0';
    }
    rc = options_load_from(options, entries);
    message = spw_options_message(options);
    if (rc != 0 && rc != -EINVAL)
        wrong = "options_load: another error";
    else if (rc != 0 && message[0] == '\0')
        wrong = "options_load: refused without a word";
    else if (strlen(message) >= OPTIONS_MESSAGE_BYTES || text_has_controls(message))
        wrong = "options_load: a message that cannot be shown";
    for (size_t i = 0; wrong == NULL && i < OPTION_COUNT; i++)
        wrong = check_row(options, &option_rows[i]);
    return wrong;
}

const char *fuzz_options(const uint8_t *data, size_t len)
{
    const char *wrong;
    char *text;

    if (len == 0)
        return NULL;
    text = string_of(data + 1, len - 1);
    if (data[0] == ENVIRONMENT)
        wrong = check_environment(text);
    else
        wrong = check_value(
            &option_rows[(unsigned)((data[0] & ~STRICT_BIT) + OPTION_COUNT * 8 - FIRST_ROW) %
                         OPTION_COUNT],
            (data[0] & STRICT_BIT) != 0, text);
    free(text);
    return wrong;
}
