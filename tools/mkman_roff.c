/* SPDX-License-Identifier: MIT */
#include "mkman_roff.h"

#include <stdio.h>
#include <string.h>

void roff_text(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '"')
            fputs("\\(dq", stdout);
        else
            putchar(*text);
    }
}

void roff_sentence(const char *text)
{
    char first[2] = {*text, '\0'};
    if (*text >= 'a' && *text <= 'z')
        first[0] = (char)(*text - 'a' + 'A');
    roff_text(first);
    if (*text)
        roff_text(text + 1);
    size_t length = strlen(text);
    puts(length && text[length - 1] == '.' ? "" : ".");
}
