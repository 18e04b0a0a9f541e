/* SPDX-License-Identifier: MIT */
/*
 * Test(suite, name) and the cr_assert family: Criterion's, or, where Criterion
 * cannot run (ThreadSanitizer), the small runner in plain.c with the same names.
 * A skip says why: test_skip("no io_uring here: %s", ...).
 */
#ifndef SPILLWAY_TESTS_HARNESS_H
#define SPILLWAY_TESTS_HARNESS_H

#ifndef TEST_PLAIN
#include <criterion/criterion.h>
#define test_skip(...) cr_skip_test(__VA_ARGS__)
#else
#include "plain.h"
#endif

#endif
