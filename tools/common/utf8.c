/* SPDX-License-Identifier: MIT */
#include "utf8.h"

size_t utf8_sequence(const char *text)
{
    static const unsigned char first[] = {0xc2, 0xe0, 0xf0, 0xf5};
    const unsigned char *at = (const unsigned char *)text;
    size_t length = 1;
    if (*at < 0x80)
        return 1;
    if (*at < first[0] || *at >= first[3])
        return 0;
    length = *at < first[1] ? 2 : *at < first[2] ? 3 : 4;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) ||
        (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}
