/* SPDX-License-Identifier: MIT */
/* Settings by name: the public calls, except for the environment. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "growable.h"
#include "text.h"

/* How much of a hostile name or value a message shows. */
enum { SHOWN_BYTES = 100 };

int options_open(const spw_allocator *allocator, spw_options **out)
{
    spw_options *options;
    size_t i;

    options = allocator_zeroed(allocator, sizeof(*options));
    if (options == NULL)
        return -ENOMEM;
    options->allocator = allocator;
    settings_read(NULL, &options->settings);
    for (i = 0; i < OPTION_COUNT; i++)
        option_format(&option_rows[i], &options->settings, options->values[i].text);
    *out = options;
    return 0;
}

int spw_options_open(spw_options **out)
{
    return options_open(allocator_or_default(NULL), out);
}

void options_copy(spw_options *to, const spw_options *from)
{
    const spw_allocator *allocator = to->allocator;

    *to = *from;
    to->allocator = allocator;
}

void spw_options_close(spw_options *options)
{
    if (options != NULL)
        allocator_release(options->allocator, options, sizeof(*options));
}

const struct option_row *options_find(const char *name)
{
    size_t i;

    for (i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(name, option_rows[i].name) == 0 || strcmp(name, option_rows[i].variable) == 0)
            return &option_rows[i];
    }
    return NULL;
}

int options_apply(spw_options *options, const struct option_row *row, const char *shown,
                  const char *value, enum option_origin origin)
{
    size_t index = (size_t)(row - option_rows);
    char cut[SHOWN_BYTES];

    if (option_parse(row, value, &options->settings) != 0) {
        text_copy_clean(cut, sizeof(cut), value);
        (void)snprintf(options->message, sizeof(options->message),
                       "%s: '%s' is not allowed; give %s", shown, cut, row->allowed);
        return -EINVAL;
    }
    option_format(row, &options->settings, options->values[index].text);
    options->values[index].origin = origin;
    return 0;
}

int options_set(spw_options *options, const char *name, const char *value,
                enum option_origin origin)
{
    const struct option_row *row;
    char cut[SHOWN_BYTES];

    options->message[0] = '\0';
    row = options_find(name);
    if (row == NULL) {
        const struct option_row *nearest = options_nearest(name);

        text_copy_clean(cut, sizeof(cut), name);
        (void)snprintf(options->message, sizeof(options->message), "'%s' is not a setting; %s%s",
                       cut, nearest != NULL ? "the nearest is " : "spillway(7) lists them",
                       nearest != NULL ? nearest->name : "");
        return -ENOENT;
    }
    return options_apply(options, row, strcmp(name, row->name) == 0 ? row->name : row->variable,
                         value, origin);
}

int spw_options_set(spw_options *options, const char *name, const char *value)
{
    if (options == NULL)
        return -EINVAL;
    return options_set(options, name != NULL ? name : "", value != NULL ? value : "", ORIGIN_CALL);
}

const char *spw_options_message(const spw_options *options)
{
    return options != NULL ? options->message : "";
}

int spw_options_describe(size_t index, spw_option_info *info)
{
    spw_option_info now = {0};
    const struct option_row *row;

    if (index >= OPTION_COUNT)
        return -ENOENT;
    row = &option_rows[index];
    now.name = row->name;
    now.variable = row->variable;
    now.fallback = row->fallback;
    now.allowed = row->allowed;
    now.help = row->help;
    now.live = row->live != NULL;
    return growable_write(info, OPTION_INFO_FIRST_BYTES, &now, sizeof(now));
}

const char *spw_options_value(const spw_options *options, const char *name, const char **origin)
{
    static const char *const origins[] = {
        [ORIGIN_DEFAULT] = "default",
        [ORIGIN_ENVIRONMENT] = "environment",
        [ORIGIN_CALL] = "call",
        [ORIGIN_CONTROL] = "control",
    };
    const struct option_row *row;
    size_t index;

    if (options == NULL || name == NULL)
        return NULL;
    row = options_find(name);
    if (row == NULL)
        return NULL;
    index = (size_t)(row - option_rows);
    if (origin != NULL)
        *origin = origins[options->values[index].origin];
    return options->values[index].text;
}
