/* SPDX-License-Identifier: MIT */
#include "spillway/version.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

int spw_version(void)
{
    return SPILLWAY_VERSION_MAJOR * 10000 + SPILLWAY_VERSION_MINOR * 100 + SPILLWAY_VERSION_PATCH;
}

const char *spw_version_text(void)
{
    return TEXT(SPILLWAY_VERSION_MAJOR) "." TEXT(SPILLWAY_VERSION_MINOR) "." TEXT(
        SPILLWAY_VERSION_PATCH);
}
