/* SPDX-License-Identifier: MIT */
/* What must hold for settings whatever the environment has. */
#ifndef SPILLWAY_TESTS_FUZZ_OPTIONS_H
#define SPILLWAY_TESTS_FUZZ_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

/*
 * The first byte says what the others are: the value of a row of the table ('A' is row 0; with bit
 * 7 set, in strict mode), or an environment ('*', entries with newlines between). Returns NULL, or
 * what is wrong.
 */
const char *fuzz_options(const uint8_t *data, size_t len);

#endif
