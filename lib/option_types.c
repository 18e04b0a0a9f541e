/* SPDX-License-Identifier: MIT */
#include "option_types.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compress_text.h"
#include "option_policies.h"
#include "text.h"
#include "units.h"

/* The smallest budget or disk limit that makes sense: one buffer, one extent. Also catches a
 * forgotten unit. */
#define MIN_POOL_BYTES (UINT64_C(64) << 10)

/* The largest node number that a Linux kernel can be built for. */
enum { MAX_NODE = 1023 };

enum { MAX_DEPTH = 64 };
#define MIN_REQUEST_BYTES (UINT64_C(4) << 10)
#define MAX_REQUEST_BYTES (UINT64_C(1) << 30)

enum { ALLOW_AUTO = 1, ALLOW_OFF = 2, ALLOW_ZERO = 4 };

/* `text` is trimmed, not empty and shorter than SETTINGS_TEXT. */
struct option_type {
    int (*parse)(const struct option_row *row, const char *text, struct settings *settings);
    void (*format)(const struct option_row *row, const struct settings *settings,
                   char out[SETTINGS_TEXT]);
    unsigned flags;           /* amounts: ALLOW_* */
    uint64_t min_bytes;       /* amounts, unless it is 0 and that is allowed */
    const char *const *words; /* words: by enum value, NULL at the end */
};

static void *member(const struct option_row *row, struct settings *settings)
{
    return (char *)settings + row->offset;
}

static const void *member_const(const struct option_row *row, const struct settings *settings)
{
    return (const char *)settings + row->offset;
}

/* --- amounts --- */

/* K, M and the like followed by B: 1024s here, but 1000s for some. */
static bool unit_is_doubtful(const char *text)
{
    size_t len = strlen(text);

    return len >= 2 && text_equal(text + len - 1, "B") && strchr("kKmMgGtTpP", text[len - 2]);
}

static int amount_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    const struct option_type *type = row->type;
    struct amount amount = {0, 0};
    size_t len = strlen(text);

    if ((type->flags & ALLOW_AUTO) && text_equal(text, "auto")) {
        amount.bytes = SETTINGS_AUTO;
    } else if ((type->flags & ALLOW_OFF) && text_equal(text, "off")) {
        amount.bytes = 0;
    } else if (text[len - 1] == '%') {
        if (units_parse_percent(text, &amount.percent) != 0)
            return -EINVAL;
    } else {
        if (units_parse_bytes(text, &amount.bytes) != 0)
            return -EINVAL;
        if (settings->strict && unit_is_doubtful(text))
            return -EINVAL;
        if (amount.bytes < type->min_bytes || (amount.bytes == 0 && !(type->flags & ALLOW_ZERO)))
            return -EINVAL;
    }
    /* By member: settings are compared as memory, so what lies between members stays as it is. */
    struct amount *out = member(row, settings);
    out->bytes = amount.bytes;
    out->percent = amount.percent;
    return 0;
}

static void amount_format(const struct option_row *row, const struct settings *settings,
                          char out[SETTINGS_TEXT])
{
    const struct amount *amount = member_const(row, settings);

    if (amount->percent > 0)
        (void)snprintf(out, SETTINGS_TEXT, "%u%%", amount->percent);
    else if (amount->bytes == SETTINGS_AUTO)
        (void)snprintf(out, SETTINGS_TEXT, "auto");
    else if (amount->bytes == 0 && (row->type->flags & ALLOW_OFF))
        (void)snprintf(out, SETTINGS_TEXT, "off");
    else
        units_format_bytes(amount->bytes, out, SETTINGS_TEXT);
}

/* --- numbers, 0 for auto --- */

static int depth_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    unsigned value = 0;

    if (!text_equal(text, "auto")) {
        for (; *text >= '0' && *text <= '9' && value <= MAX_DEPTH; text++)
            value = value * 10 + (unsigned)(*text - '0');
        if (*text != '\0' || value == 0 || value > MAX_DEPTH)
            return -EINVAL;
    }
    *(unsigned *)member(row, settings) = value;
    return 0;
}

static void depth_format(const struct option_row *row, const struct settings *settings,
                         char out[SETTINGS_TEXT])
{
    unsigned value = *(const unsigned *)member_const(row, settings);

    if (value == 0)
        (void)snprintf(out, SETTINGS_TEXT, "auto");
    else
        (void)snprintf(out, SETTINGS_TEXT, "%u", value);
}

static int request_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    uint64_t bytes = 0;

    if (!text_equal(text, "auto")) {
        if (units_parse_bytes(text, &bytes) != 0 || bytes < MIN_REQUEST_BYTES ||
            bytes > MAX_REQUEST_BYTES || (settings->strict && unit_is_doubtful(text)))
            return -EINVAL;
    }
    *(uint32_t *)member(row, settings) = (uint32_t)bytes;
    return 0;
}

static void request_format(const struct option_row *row, const struct settings *settings,
                           char out[SETTINGS_TEXT])
{
    uint32_t bytes = *(const uint32_t *)member_const(row, settings);

    if (bytes == 0)
        (void)snprintf(out, SETTINGS_TEXT, "auto");
    else
        units_format_bytes(bytes, out, SETTINGS_TEXT);
}

/* --- switches --- */

static int toggle_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    return units_parse_bool(text, member(row, settings));
}

static void toggle_format(const struct option_row *row, const struct settings *settings,
                          char out[SETTINGS_TEXT])
{
    const bool *on = member_const(row, settings);

    (void)snprintf(out, SETTINGS_TEXT, "%s", *on ? "on" : "off");
}

/* --- words of an enum --- */

_Static_assert(sizeof(enum engine_kind) == sizeof(unsigned) &&
                   sizeof(enum seal_mode) == sizeof(unsigned) &&
                   sizeof(enum huge_mode) == sizeof(unsigned) &&
                   sizeof(enum checksum_mode) == sizeof(unsigned) &&
                   sizeof(enum timing_mode) == sizeof(unsigned) &&
                   sizeof(enum spw_log_level) == sizeof(unsigned),
               "words are stored through memcpy of an unsigned");

static int word_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    const char *const *words = row->type->words;
    unsigned value;

    for (value = 0; words[value] != NULL; value++) {
        if (text_equal(text, words[value])) {
            memcpy(member(row, settings), &value, sizeof(value));
            return 0;
        }
    }
    return -EINVAL;
}

static void word_format(const struct option_row *row, const struct settings *settings,
                        char out[SETTINGS_TEXT])
{
    unsigned value;

    memcpy(&value, member_const(row, settings), sizeof(value));
    (void)snprintf(out, SETTINGS_TEXT, "%s", row->type->words[value]);
}

/* --- tiers --- */

/* Cuts the next item off at `separator`; false when there is none left. */
static bool next_item(char **rest, char separator, char **item)
{
    char *end;

    if (*rest == NULL)
        return false;
    *item = *rest;
    end = strchr(*rest, separator);
    if (end != NULL)
        *end++ = '\0';
    *rest = end;
    return true;
}

static int tiers_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    char copy[SETTINGS_TEXT], name[SETTINGS_TEXT], *rest = copy, *item;
    bool memory = false, disk = false;

    (void)row;
    memcpy(copy, text, strlen(text) + 1);
    if (text_equal(text, "none"))
        rest = NULL;
    while (next_item(&rest, ',', &item)) {
        (void)text_trim(name, sizeof(name), item);
        if (text_equal(name, "memory") && !memory)
            memory = true;
        else if (text_equal(name, "disk") && !disk)
            disk = true;
        else
            return -EINVAL;
    }
    settings->tier_memory = memory;
    settings->tier_disk = disk;
    return 0;
}

static void tiers_format(const struct option_row *row, const struct settings *settings,
                         char out[SETTINGS_TEXT])
{
    static const char *const texts[2][2] = {{"none", "disk"}, {"memory", "memory,disk"}};

    (void)row;
    (void)snprintf(out, SETTINGS_TEXT, "%s", texts[settings->tier_memory][settings->tier_disk]);
}

/* --- nodes --- */

static int node_number(const char **text, unsigned *out)
{
    unsigned value = 0;
    const char *at = *text;

    if (*at < '0' || *at > '9')
        return -EINVAL;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (unsigned)(*at - '0');
        if (value > MAX_NODE)
            return -EINVAL;
    }
    *text = at;
    *out = value;
    return 0;
}

/* A list as libnuma reads it: [!][+]first[-last][,...]. Whether the nodes exist is not
 * looked at here. */
static int nodes_check(const char *text)
{
    unsigned first, last;

    if (*text == '!')
        text++;
    if (*text == '+')
        text++;
    for (;; text++) {
        if (node_number(&text, &first) != 0)
            return -EINVAL;
        if (*text == '-') {
            text++;
            if (node_number(&text, &last) != 0 || last < first)
                return -EINVAL;
        }
        if (*text == '\0')
            return 0;
        if (*text != ',')
            return -EINVAL;
    }
}

/* The canonical spelling of a word for nodes; NULL when it is none. */
static const char *nodes_word(const char *text)
{
    static const char *const words[] = {"local", "far", "cpuless", "all"};
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (text_equal(text, words[i]))
            return words[i];
    }
    return NULL;
}

static int nodes_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    const char *word = nodes_word(text);

    (void)row;
    if (word != NULL)
        text = word;
    else if (nodes_check(text) != 0)
        return -EINVAL;
    memcpy(settings->nodes, text, strlen(text) + 1);
    return 0;
}

static void nodes_format(const struct option_row *row, const struct settings *settings,
                         char out[SETTINGS_TEXT])
{
    (void)row;
    memcpy(out, settings->nodes, strlen(settings->nodes) + 1);
}

/* --- directories --- */

static int dirs_check(char *rest, bool strict)
{
    const char *seen[SETTINGS_MAX_DIRS];
    unsigned count = 0, i;
    char *item;

    while (next_item(&rest, ':', &item)) {
        if (*item == '\0' || count == SETTINGS_MAX_DIRS)
            return -EINVAL;
        if (strict && *item != '/')
            return -EINVAL;
        for (i = 0; i < count; i++) {
            if (strcmp(seen[i], item) == 0)
                return -EINVAL;
        }
        seen[count++] = item;
    }
    return 0;
}

/* A directory that is called auto can be given as ./auto. */
static int dirs_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    char copy[SETTINGS_TEXT], *rest = copy, *item;

    (void)row;
    if (text_equal(text, "auto")) {
        settings->dir_count = 0;
        return 0;
    }
    memcpy(copy, text, strlen(text) + 1);
    if (dirs_check(copy, settings->strict) != 0)
        return -EINVAL;
    memcpy(copy, text, strlen(text) + 1);
    settings->dir_count = 0;
    while (next_item(&rest, ':', &item)) {
        memcpy(settings->dirs[settings->dir_count], item, strlen(item) + 1);
        settings->dir_count++;
    }
    return 0;
}

static void dirs_format(const struct option_row *row, const struct settings *settings,
                        char out[SETTINGS_TEXT])
{
    size_t used = 0;
    unsigned i;

    (void)row;
    if (settings->dir_count == 0) {
        (void)snprintf(out, SETTINGS_TEXT, "auto");
        return;
    }
    /* Fits: the text that they came from did. */
    for (i = 0; i < settings->dir_count; i++) {
        size_t len = strlen(settings->dirs[i]);

        if (i > 0)
            out[used++] = ':';
        memcpy(out + used, settings->dirs[i], len + 1);
        used += len;
    }
}

/* --- compress --- */

static int coding_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    return compress_parse(text, member(row, settings));
}

static void coding_format(const struct option_row *row, const struct settings *settings,
                          char out[SETTINGS_TEXT])
{
    compress_format(member_const(row, settings), out, SETTINGS_TEXT);
}

/* --- the types by name --- */

#define AMOUNT_TYPE(name, allow, min)                                                              \
    static const struct option_type type_##name = {                                                \
        .parse = amount_parse, .format = amount_format, .flags = (allow), .min_bytes = (min)}
#define WORDS_TYPE(name, ...)                                                                      \
    static const char *const words_##name[] = {__VA_ARGS__, NULL};                                 \
    static const struct option_type type_##name = {                                                \
        .parse = word_parse, .format = word_format, .words = words_##name}
#define OWN_TYPE(name)                                                                             \
    static const struct option_type type_##name = {.parse = name##_parse, .format = name##_format}

AMOUNT_TYPE(budget, ALLOW_AUTO, MIN_POOL_BYTES);
AMOUNT_TYPE(floor, 0, MIN_POOL_BYTES);
AMOUNT_TYPE(limit, ALLOW_AUTO, MIN_POOL_BYTES);
AMOUNT_TYPE(capacity, ALLOW_OFF | ALLOW_ZERO, 0);
AMOUNT_TYPE(share, ALLOW_AUTO | ALLOW_ZERO, 0);
AMOUNT_TYPE(optional, ALLOW_AUTO | ALLOW_OFF | ALLOW_ZERO, 0);
WORDS_TYPE(
    engine, [ENGINE_AUTO] = "auto", [ENGINE_IO_URING] = "io_uring", [ENGINE_THREADS] = "threads");
WORDS_TYPE(seal, [SEAL_RECYCLE] = "recycle", [SEAL_STRICT] = "strict");
WORDS_TYPE(huge, [HUGE_OFF] = "off", [HUGE_ON] = "on", [HUGE_TRANSPARENT] = "transparent");
WORDS_TYPE(checksum, [CHECKSUM_DISK] = "disk", [CHECKSUM_ALL] = "all", [CHECKSUM_OFF] = "off");
WORDS_TYPE(timing, [TIMING_AUTO] = "auto", [TIMING_ALL] = "all", [TIMING_OFF] = "off");
WORDS_TYPE(
    level, [SPILLWAY_LOG_OFF] = "off", [SPILLWAY_LOG_ERROR] = "error",
    [SPILLWAY_LOG_WARN] = "warning", [SPILLWAY_LOG_INFO] = "info", [SPILLWAY_LOG_DEBUG] = "debug");
OWN_TYPE(depth);
OWN_TYPE(request);
OWN_TYPE(toggle);
OWN_TYPE(tiers);
OWN_TYPE(nodes);
OWN_TYPE(dirs);
OWN_TYPE(policies);
OWN_TYPE(pressure);
OWN_TYPE(stall);
OWN_TYPE(period);
OWN_TYPE(price);
OWN_TYPE(coding);

#define OPTION_ROW(name_, variable_, member_, kind_, fallback_, live_, allowed_, help_)            \
    {.name = #name_,                                                                               \
     .variable = "SPILLWAY_" #variable_,                                                           \
     .type = &type_##kind_,                                                                        \
     .offset = offsetof(struct settings, member_),                                                 \
     .fallback = (fallback_),                                                                      \
     .live = live_,                                                                                \
     .allowed = (allowed_),                                                                        \
     .help = (help_)},

const struct option_row option_rows[OPTION_COUNT] = {OPTIONS_TABLE(OPTION_ROW)};

int option_parse(const struct option_row *row, const char *text, struct settings *settings)
{
    char trimmed[SETTINGS_TEXT];

    if (text_trim(trimmed, sizeof(trimmed), text) <= 0 || text_has_controls(trimmed))
        return -EINVAL;
    return row->type->parse(row, trimmed, settings);
}

void option_format(const struct option_row *row, const struct settings *settings,
                   char out[SETTINGS_TEXT])
{
    row->type->format(row, settings, out);
}
