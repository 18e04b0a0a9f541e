/* SPDX-License-Identifier: MIT */
/* Types of option_types.c that only policies have: parse and format as there. */
#ifndef SPILLWAY_LIB_OPTION_POLICIES_H
#define SPILLWAY_LIB_OPTION_POLICIES_H

#include "option_types.h"

int policies_parse(const struct option_row *row, const char *text, struct settings *settings);
void policies_format(const struct option_row *row, const struct settings *settings,
                     char out[SETTINGS_TEXT]);

int pressure_parse(const struct option_row *row, const char *text, struct settings *settings);
void pressure_format(const struct option_row *row, const struct settings *settings,
                     char out[SETTINGS_TEXT]);

int stall_parse(const struct option_row *row, const char *text, struct settings *settings);
void stall_format(const struct option_row *row, const struct settings *settings,
                  char out[SETTINGS_TEXT]);

int period_parse(const struct option_row *row, const char *text, struct settings *settings);
void period_format(const struct option_row *row, const struct settings *settings,
                   char out[SETTINGS_TEXT]);

int price_parse(const struct option_row *row, const char *text, struct settings *settings);
void price_format(const struct option_row *row, const struct settings *settings,
                  char out[SETTINGS_TEXT]);

#endif
