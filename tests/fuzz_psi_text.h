/* SPDX-License-Identifier: MIT */
/* What must hold for the parsers of pressure texts whatever they are given. */
#ifndef SPILLWAY_TESTS_FUZZ_PSI_TEXT_H
#define SPILLWAY_TESTS_FUZZ_PSI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* NULL, or what did not hold. */
const char *fuzz_psi_text(const uint8_t *data, size_t len);

#endif
