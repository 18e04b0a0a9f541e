/* SPDX-License-Identifier: MIT */
/* Settings from the environment, and the nearest known name for one that is not. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "options.h"
#include "text.h"

#define PREFIX "SPILLWAY_"
/* Variables of the project's own tests. */
#define TEST_PREFIX PREFIX "TEST_"

enum { PREFIX_BYTES = sizeof(PREFIX) - 1, NAME_BYTES = 64 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, changes and swaps of neighbours that make `a` from `b`; only the first
 * NAME_BYTES of each count, in either case. */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_BYTES + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2], *spare;
    size_t a_len = strnlen(a, NAME_BYTES), b_len = strnlen(b, NAME_BYTES), i, j;

    memset(rows, 0, sizeof(rows));
    for (j = 0; j <= b_len; j++)
        last[j] = (unsigned)j;
    for (i = 1; i <= a_len; i++) {
        now[0] = (unsigned)i;
        for (j = 1; j <= b_len; j++) {
            const char x[2] = {a[i - 1], '\0'}, y[2] = {b[j - 1], '\0'};
            unsigned change = text_equal(x, y) ? 0 : 1;

            now[j] = least(least(last[j] + 1, now[j - 1] + 1), last[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b_len];
}

/* Whether `part` is in `name`, in either case. */
static bool contains(const char *name, const char *part)
{
    size_t len = strlen(part);
    char piece[NAME_BYTES + 1];

    for (; strlen(name) >= len; name++) {
        memcpy(piece, name, len);
        piece[len] = '\0';
        if (text_equal(piece, part))
            return true;
    }
    return false;
}

/* Not any word resembles a setting: a third of it may differ, or a setting's name is part of it. */
static bool resembles(const char *name, const char *setting, unsigned distance)
{
    size_t len = strnlen(name, NAME_BYTES), setting_len = strlen(setting);

    return 3 * (size_t)distance <= (len > setting_len ? len : setting_len) ||
           (strnlen(name, NAME_BYTES + 1) <= NAME_BYTES && contains(name, setting));
}

const struct option_row *options_nearest(const char *name)
{
    const struct option_row *nearest = NULL;
    unsigned best = UINT32_MAX;
    size_t i;

    if (strncmp(name, PREFIX, PREFIX_BYTES) == 0)
        name += PREFIX_BYTES;
    for (i = 0; i < OPTION_COUNT; i++) {
        unsigned distance = edit_distance(name, option_rows[i].name);

        if (distance < best && resembles(name, option_rows[i].name, distance)) {
            best = distance;
            nearest = &option_rows[i];
        }
    }
    return nearest;
}

/* The value of the first "name=value". */
static const char *find_value(char *const *environment, const char *name)
{
    size_t len = strlen(name);

    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
            return *environment + len + 1;
    }
    return NULL;
}

/* As most programs have it, a variable that is set to nothing is not set. */
static bool is_blank(const char *value)
{
    return value[strspn(value, " \t\r\n\v\f")] == '\0';
}

/* Writes the name to `name` where the entry is one of ours and no setting. */
static bool is_unknown(const char *entry, char name[NAME_BYTES])
{
    size_t len = strcspn(entry, "="), i;

    if (entry[len] == '\0' || is_blank(entry + len + 1))
        return false;
    if (strncmp(entry, PREFIX, PREFIX_BYTES) != 0 ||
        strncmp(entry, TEST_PREFIX, sizeof(TEST_PREFIX) - 1) == 0)
        return false;
    for (i = 0; i < OPTION_COUNT; i++) {
        if (strlen(option_rows[i].variable) == len &&
            strncmp(option_rows[i].variable, entry, len) == 0)
            return false;
    }
    (void)snprintf(name, NAME_BYTES, "%.*s", len < NAME_BYTES ? (int)len : NAME_BYTES, entry);
    text_clean(name);
    return true;
}

/* Returns 0 or -EINVAL; only the first refusal leaves its message. */
static int load_row(spw_options *options, const struct option_row *row, char *const *environment)
{
    const char *value = find_value(environment, row->variable);
    char first[OPTIONS_MESSAGE_BYTES];
    int rc;

    if (value == NULL || is_blank(value))
        return 0;
    memcpy(first, options->message, sizeof(first));
    rc = options_apply(options, row, row->variable, value, ORIGIN_ENVIRONMENT);
    if (first[0] != '\0')
        memcpy(options->message, first, sizeof(first));
    return rc;
}

/* Leaves the message that a variable is none of ours. */
static void tell_unknown(spw_options *options, const char *name)
{
    const struct option_row *nearest = options_nearest(name);

    if (nearest != NULL)
        (void)snprintf(options->message, sizeof(options->message),
                       "%s is not a setting; the nearest is %s", name, nearest->variable);
    else
        (void)snprintf(options->message, sizeof(options->message),
                       "%s is not a setting; spillway(7) lists them", name);
}

/* One message has room for one name. */
static void tell_more(spw_options *options, unsigned more)
{
    size_t len = strlen(options->message);

    (void)snprintf(options->message + len, sizeof(options->message) - len, "; %u more %s unknown",
                   more, more == 1 ? "is" : "are");
}

int options_load_from(spw_options *options, char *const *environment)
{
    char name[NAME_BYTES];
    unsigned more = 0;
    bool told = false;
    size_t i;
    int rc;

    options->message[0] = '\0';
    /* First of all, since the others are read by it. */
    rc = load_row(options, &option_rows[OPTION_STRICT], environment);
    for (i = 0; i < OPTION_COUNT; i++) {
        if (i != OPTION_STRICT && load_row(options, &option_rows[i], environment) != 0)
            rc = -EINVAL;
    }
    for (; *environment != NULL; environment++) {
        if (!is_unknown(*environment, name))
            continue;
        if (told) {
            more++;
        } else if (options->message[0] == '\0') {
            tell_unknown(options, name);
            told = true;
        }
        if (options->settings.strict)
            rc = -EINVAL;
    }
    if (more > 0)
        tell_more(options, more);
    return rc;
}

int spw_options_load(spw_options *options)
{
    static char *const nothing[] = {NULL};

    if (options == NULL)
        return -EINVAL;
    /* As secure_getenv(): a set-uid program takes nothing from who started it. */
    if (getauxval(AT_SECURE) != 0 || environ == NULL)
        return options_load_from(options, nothing);
    return options_load_from(options, environ);
}
