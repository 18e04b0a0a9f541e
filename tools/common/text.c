/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

const char *text_size(char out[TEXT_NUMBER_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    double value = (double)bytes;
    while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(out, TEXT_NUMBER_BYTES, "%.*f %s", decimals, value, units[unit]);
    return out;
}

const char *text_short(char out[TEXT_NUMBER_BYTES], uint64_t bytes)
{
    text_size(out, bytes);
    char *space = strchr(out, ' ');
    space[0] = space[1];
    space[1] = '\0';
    return out;
}

uint64_t text_per_second(uint64_t bytes, uint64_t ns)
{
    double rate = ns ? (double)bytes * (double)NS_PER_S / (double)ns : 0;
    /* More than 64 bits hold means that the clock stood still. */
    return rate < 1e18 ? (uint64_t)rate : 0;
}

const char *text_rate(char out[TEXT_NUMBER_BYTES], uint64_t bytes, uint64_t ns)
{
    char size[TEXT_NUMBER_BYTES];
    text_size(size, text_per_second(bytes, ns));
    snprintf(out, TEXT_NUMBER_BYTES, "%.20s/s", size);
    return out;
}

const char *text_seconds(char out[TEXT_NUMBER_BYTES], uint64_t ns)
{
    double seconds = (double)ns / (double)NS_PER_S;
    snprintf(out, TEXT_NUMBER_BYTES, "%.*f s", seconds < 9.995 ? 2 : 1, seconds);
    return out;
}

const char *text_clock(char out[TEXT_NUMBER_BYTES], uint64_t ns)
{
    uint64_t s = ns / NS_PER_S;
    unsigned long long hours = s / 3600;
    unsigned minutes = (unsigned)(s / 60 % 60), seconds = (unsigned)(s % 60);
    if (hours)
        snprintf(out, TEXT_NUMBER_BYTES, "%llu:%02u:%02u", hours, minutes, seconds);
    else
        snprintf(out, TEXT_NUMBER_BYTES, "%u:%02u", minutes, seconds);
    return out;
}
