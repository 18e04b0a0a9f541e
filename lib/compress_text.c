/* SPDX-License-Identifier: MIT */
#include "compress_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

static const char *const words[] = {
    [COMPRESS_AUTO] = "auto", [COMPRESS_ROOM] = "room", [COMPRESS_SPEED] = "speed",
    [COMPRESS_NONE] = "none", [COMPRESS_LZ4] = "lz4",   [COMPRESS_ZSTD] = "zstd",
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

static int level_parse(const char *text, int *out)
{
    int sign = *text == '-' ? -1 : 1, value = 0;

    if (*text == '-')
        text++;
    if (*text == '\0')
        return -EINVAL;
    for (; *text >= '0' && *text <= '9' && value <= COMPRESS_LEVEL_MAX; text++)
        value = value * 10 + (*text - '0');
    value *= sign;
    if (*text != '\0' || value < COMPRESS_LEVEL_MIN || value > COMPRESS_LEVEL_MAX || value == 0)
        return -EINVAL;
    *out = value;
    return 0;
}

int compress_parse(const char *text, struct compress_setting *out)
{
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    char word[8];
    int level = 0;

    if (len >= sizeof(word))
        return -EINVAL;
    memcpy(word, text, len);
    word[len] = '\0';
    for (unsigned mode = 0; mode < WORDS; mode++) {
        if (!text_equal(word, words[mode]))
            continue;
        if (mode == COMPRESS_ZSTD)
            level = COMPRESS_LEVEL_USUAL;
        if (colon && (mode != COMPRESS_ZSTD || level_parse(colon + 1, &level) != 0))
            return -EINVAL;
        out->mode = (enum compress_mode)mode;
        out->level = level;
        return 0;
    }
    return -EINVAL;
}

void compress_format(const struct compress_setting *setting, char *out, size_t capacity)
{
    if (setting->mode == COMPRESS_ZSTD)
        (void)snprintf(out, capacity, "zstd:%d", setting->level);
    else
        (void)snprintf(out, capacity, "%s", words[setting->mode]);
}
