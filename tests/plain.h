/* SPDX-License-Identifier: MIT */
/*
 * A small test runner with the part of Criterion's interface that our tests use,
 * for builds in which Criterion's own library cannot run. Each test is a process
 * with a time limit; assertions take an optional printf message.
 */
#ifndef SPILLWAY_TESTS_PLAIN_H
#define SPILLWAY_TESTS_PLAIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plain_test {
    const char *suite, *name;
    void (*run)(void);
    struct plain_test *next;
};

void plain_register(struct plain_test *test);

/* Both print to stderr and end the test's process. `said` is a space and the test's own message, if
 * any. */
void plain_fail(const char *file, int line, const char *what, const char *said, ...)
    __attribute__((format(printf, 4, 5), noreturn));
void plain_skip(const char *why, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Whether two texts are the same; NULL equals only NULL. */
bool plain_str_same(const char *a, const char *b);

#define Test(suite_name, test_name)                                                                \
    static void suite_name##_##test_name##_run(void);                                              \
    __attribute__((constructor)) static void suite_name##_##test_name##_register(void)             \
    {                                                                                              \
        static struct plain_test test = {#suite_name, #test_name, suite_name##_##test_name##_run,  \
                                         NULL};                                                    \
        plain_register(&test);                                                                     \
    }                                                                                              \
    static void suite_name##_##test_name##_run(void)

#define PLAIN_CHECK(condition, what, ...)                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            plain_fail(__FILE__, __LINE__, what, " " __VA_ARGS__);                                 \
    } while (0)

/* The operands are evaluated once; as with Criterion, the usual conversions apply. */
#define PLAIN_COMPARE(a, op, b, ...)                                                               \
    PLAIN_CHECK((a)op(b), "expected " #a " " #op " " #b, __VA_ARGS__)

#define cr_assert(condition, ...) PLAIN_CHECK((condition), "expected " #condition, __VA_ARGS__)
#define cr_assert_not(condition, ...)                                                              \
    PLAIN_CHECK(!(condition), "expected not " #condition, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)    PLAIN_COMPARE(a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)   PLAIN_COMPARE(a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)    PLAIN_COMPARE(a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)   PLAIN_COMPARE(a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)    PLAIN_COMPARE(a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)   PLAIN_COMPARE(a, >=, b, __VA_ARGS__)
#define cr_assert_null(p, ...)     PLAIN_CHECK((p) == NULL, "expected no " #p, __VA_ARGS__)
#define cr_assert_not_null(p, ...) PLAIN_CHECK((p) != NULL, "expected a " #p, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)                                                                \
    PLAIN_CHECK(plain_str_same((a), (b)), "expected " #a " to be the text " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)                                                               \
    PLAIN_CHECK(!plain_str_same((a), (b)), "expected " #a " not to be the text " #b, __VA_ARGS__)

#define test_skip(...) plain_skip(__VA_ARGS__)

#endif
