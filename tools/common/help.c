/* SPDX-License-Identifier: MIT */
#include "help.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { HELP_COLUMNS = 80 };

void help_flag(const spw_option_info *info, char out[HELP_FLAG_BYTES])
{
    size_t n = 0;
    for (const char *at = info->name; *at && n + 1 < HELP_FLAG_BYTES; at++)
        out[n++] = *at == '_' ? '-' : *at;
    out[n] = '\0';
}

bool help_is_switch(const spw_option_info *info)
{
    return strcmp(info->allowed, "on or off") == 0;
}

int help_row(size_t index, spw_option_info *info)
{
    *info = (spw_option_info){.size = sizeof(*info)};
    return spw_options_describe(index, info);
}

void help_wrapped(const char *text, size_t indent, size_t used)
{
    while (*text) {
        size_t word = strcspn(text, " ");
        if (used > indent && used + word + 1 > HELP_COLUMNS) {
            printf("\n%*s", (int)indent, "");
            used = indent;
        }
        used += (size_t)printf("%s%.*s", used > indent ? " " : "", (int)word, text);
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

bool help_finish(const char *program)
{
    /* A full disk or closed pipe that took not all of it is an error. */
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    fprintf(stderr, "%s: cannot write to standard output: %s\n", program, strerror(errno));
    return false;
}
